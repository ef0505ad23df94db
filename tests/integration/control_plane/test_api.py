"""What all of the API has in common: problems, ids, headers, idempotency, pages, commits, metrics."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, text
from starlette.testclient import TestClient

from control_plane import outbox
from control_plane.accounts import queries
from control_plane.accounts.permissions import Permission, Role
from control_plane.audit.service import EVENTS
from control_plane.http.dependencies import Db
from control_plane.http.idempotency import KEYS
from control_plane.http.rate_limit import RateLimit
from control_plane.http.security import PUBLIC
from control_plane.outbox import JOBS, JobState, owe
from control_plane.parts import Parts
from tests.fixtures.control_plane import Factory


@pytest.fixture
def merchant(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def owner(make: Factory, merchant: str) -> TestClient:
    return make.client_as(merchant, Role.OWNER)


def location_names(parts: Parts) -> list[str]:
    with parts.database.reading() as db:
        return sorted(db.execute(select(queries.LOCATIONS.c.name)).scalars())


def test_a_problem_has_all_that_a_program_and_a_person_need(owner: TestClient) -> None:
    answer = owner.get("/v1/users/usr_0", headers={"X-Request-Id": "till-7"})

    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:omnitill:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "There is no user usr_0 that you may see. Check the id, or ask for access.",
        "retryable": False,
        "request_id": "till-7",
        "facts": {"kind": "user", "id": "usr_0"},
    }
    assert answer.headers["x-request-id"] == "till-7"


@pytest.mark.parametrize("given", ["", "has blanks", "x" * 81, "new\nline"])
def test_a_request_id_that_could_forge_the_log_is_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/healthz", headers={b"X-Request-Id": given.encode()})

    assert answer.headers["x-request-id"].startswith("req_")


def test_a_malformed_request_says_which_field_to_change_and_how(owner: TestClient) -> None:
    answer = owner.post(
        "/v1/locations", json={"name": "", "time_zone": "Mars/Olympus", "colour": "red"}
    )

    errors = {one["field"]: one["fix"] for one in answer.json()["errors"]}
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_request")
    assert set(errors) == {"name", "time_zone", "colour"}
    assert errors["name"] == "Use at least 1 characters."
    assert errors["colour"] == "Leave this field out; it is not known here."


def test_a_body_that_is_no_json_is_a_problem_too(owner: TestClient) -> None:
    answer = owner.post(
        "/v1/locations", content=b"{nonsense", headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_request")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("DELETE", "/v1/users", 405), ("POST", "/v1/locations", 413)],
)
def test_what_the_framework_refuses_is_a_problem_too(
    owner: TestClient, parts: Parts, method: str, path: str, status: int
) -> None:
    body = b"x" * (parts.settings.body_limit + 1) if status == 413 else b""

    answer = owner.request(method, path, content=body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_answer_carries_the_headers_that_keep_browsers_safe(
    client: TestClient, owner: TestClient
) -> None:
    for answer in (client.get("/healthz"), client.get("/v1/me"), owner.get("/v1/me")):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_an_unexpected_exception_is_a_500_that_tells_nothing(app: FastAPI) -> None:
    @app.get("/v1/explode", dependencies=[PUBLIC])
    def explode() -> None:
        raise RuntimeError("password=hunter2")

    answer = TestClient(app, raise_server_exceptions=False).get("/v1/explode")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "hunter2" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_a_commit_that_fails_is_a_500_and_not_a_200(app: FastAPI, parts: Parts) -> None:
    @app.post("/v1/deferred", dependencies=[PUBLIC])
    def deferred(db: Db) -> dict[str, bool]:
        # Both databases look at a deferred foreign key only when the transaction commits.
        db.execute(text("INSERT INTO broken_child (parent) VALUES ('nobody')"))
        return {"ok": True}

    with parts.database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE broken_parent (id VARCHAR(40) PRIMARY KEY)"))
        connection.execute(
            text(
                "CREATE TABLE broken_child (parent VARCHAR(40) REFERENCES broken_parent (id) "
                "DEFERRABLE INITIALLY DEFERRED)"
            )
        )

    answer = TestClient(app, raise_server_exceptions=False).post("/v1/deferred")

    assert answer.status_code == 500
    with parts.database.reading() as db:
        assert db.execute(text("SELECT count(*) FROM broken_child")).scalar_one() == 0


def test_a_request_that_is_sent_again_gets_the_same_answer_and_creates_nothing(
    owner: TestClient, parts: Parts
) -> None:
    headers = {"Idempotency-Key": "new-shop-1"}

    first = owner.post("/v1/locations", json={"name": "Lyon"}, headers=headers)
    again = owner.post("/v1/locations", json={"name": "Lyon"}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert location_names(parts) == ["Lyon"]


def test_the_same_key_with_another_request_is_refused(owner: TestClient, parts: Parts) -> None:
    headers = {"Idempotency-Key": "new-shop-1"}
    owner.post("/v1/locations", json={"name": "Lyon"}, headers=headers)

    other = owner.post("/v1/locations", json={"name": "Paris"}, headers=headers)

    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert location_names(parts) == ["Lyon"]


def test_a_refused_request_does_not_use_up_its_key(owner: TestClient, parts: Parts) -> None:
    headers = {"Idempotency-Key": "new-shop-1"}
    owner.post("/v1/locations", json={"name": "Lyon"})

    taken = owner.post("/v1/locations", json={"name": "Lyon"}, headers=headers)
    mended = owner.post("/v1/locations", json={"name": "Paris"}, headers=headers)

    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    assert mended.status_code == 201
    assert location_names(parts) == ["Lyon", "Paris"]


def test_keys_of_two_merchants_and_of_two_routes_do_not_meet(
    owner: TestClient, make: Factory, parts: Parts
) -> None:
    headers = {"Idempotency-Key": "1"}
    other = make.client_as(make.merchant("Other"), Role.OWNER)

    answers = [
        owner.post("/v1/locations", json={"name": "Lyon"}, headers=headers),
        other.post("/v1/locations", json={"name": "Lyon"}, headers=headers),
        owner.post(
            "/v1/api-keys", json={"name": "x", "permissions": ["user:view"]}, headers=headers
        ),
    ]

    assert [one.status_code for one in answers] == [201, 201, 201]
    assert location_names(parts) == ["Lyon", "Lyon"]


def test_duplicates_at_the_same_moment_create_one_thing(owner: TestClient, parts: Parts) -> None:
    barrier = threading.Barrier(8)
    answers: list[Any] = []

    def create() -> None:
        barrier.wait()
        answers.append(
            owner.post(
                "/v1/api-keys",
                json={"name": "Shop", "permissions": ["user:view"]},
                headers={"Idempotency-Key": "same"},
            )
        )

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    codes = Counter(one.status_code for one in answers)
    assert set(codes) <= {201, 409}
    assert codes[201] >= 1
    assert {one.json()["code"] for one in answers if one.status_code == 409} <= {
        "request_in_flight"
    }
    assert len({one.json()["key"] for one in answers if one.status_code == 201}) == 1
    with parts.database.reading() as db:
        made = db.execute(select(func.count()).select_from(queries.API_KEYS)).scalar_one()
        kept = db.execute(select(func.count()).select_from(KEYS)).scalar_one()
        noted = db.execute(
            select(func.count()).select_from(EVENTS).where(EVENTS.c.tag == "apikey:key:create")
        ).scalar_one()
    assert (made, kept, noted) == (1, 1, 1)


def test_forty_writers_at_once_all_get_their_turn(owner: TestClient, parts: Parts) -> None:
    statuses: list[int] = []
    barrier = threading.Barrier(60)

    def create(number: int) -> None:
        barrier.wait()
        statuses.append(owner.post("/v1/locations", json={"name": f"Shop {number}"}).status_code)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Counter(statuses) == {201: 60}
    assert len(location_names(parts)) == 60


def test_pages_hold_everything_once_while_rows_are_added(owner: TestClient) -> None:
    names = [f"Shop {n:02}" for n in range(25)]
    for name in names:
        owner.post("/v1/locations", json={"name": name})

    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 10, **({"cursor": cursor} if cursor else {})}
        page = owner.get("/v1/locations", params=params).json()
        seen += [one["name"] for one in page["items"]]
        owner.post("/v1/locations", json={"name": f"A new one {len(seen)}"})
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == names


def test_pages_by_time_hold_everything_even_when_all_happened_at_once(
    owner: TestClient, make: Factory, merchant: str
) -> None:
    made = {make.user(merchant, Role.CASHIER) for _ in range(12)}

    seen: list[str] = []
    cursor = None
    for _ in range(5):
        page = owner.get("/v1/users", params={"limit": 3, **({"cursor": cursor} if cursor else {})})
        seen += [one["id"] for one in page.json()["items"]]
        cursor = page.json()["next_cursor"]

    assert cursor is None
    assert len(seen) == 13
    assert made < set(seen)


@pytest.mark.parametrize("cursor", ["nonsense", "W10.AAAA", "", "é", "eyJ4IjoxfQ.x"])
def test_a_cursor_that_we_did_not_give_out_is_refused(owner: TestClient, cursor: str) -> None:
    answer = owner.get("/v1/users", params={"cursor": cursor})

    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_refused")


def test_a_cursor_of_one_listing_does_not_open_another(owner: TestClient) -> None:
    for name in ("a", "b"):
        owner.post("/v1/locations", json={"name": name})
    cursor = owner.get("/v1/locations", params={"limit": 1}).json()["next_cursor"]

    assert owner.get("/v1/users", params={"cursor": cursor}).json()["code"] == "cursor_refused"


@pytest.mark.parametrize("limit", [0, -1, 201, "many"])
def test_a_page_has_a_sensible_size(owner: TestClient, limit: int | str) -> None:
    assert owner.get("/v1/users", params={"limit": limit}).status_code == 422


def test_a_caller_who_asks_too_often_is_told_when_to_come_back(
    app: FastAPI, client: TestClient
) -> None:
    app.state.rate_limit = RateLimit(6)

    answers = [client.get("/v1/me") for _ in range(2)]

    assert [one.status_code for one in answers] == [401, 429]
    assert int(answers[1].headers["retry-after"]) >= 9
    assert client.get("/healthz").status_code == 200


def test_large_answers_are_compressed(owner: TestClient) -> None:
    for n in range(20):
        owner.post("/v1/locations", json={"name": f"Shop {n}"})

    answer = owner.get("/v1/locations", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["items"]) == 20


def test_the_log_shows_what_was_done_and_by_whom(owner: TestClient, merchant: str) -> None:
    shop = owner.post("/v1/locations", json={"name": "Lyon"}).json()
    owner.put(f"/v1/locations/{shop['id']}", json={"name": "Lyon 2", "time_zone": "Europe/Paris"})

    newest = owner.get("/v1/audit-events", params={"tag": "account:location"}).json()["items"]

    assert [one["tag"] for one in newest] == ["account:location:update", "account:location:create"]
    assert newest[0]["before"] == {"name": "Lyon", "time_zone": "UTC"}
    assert newest[0]["after"] == {"name": "Lyon 2", "time_zone": "Europe/Paris"}
    assert newest[0]["sentence"] == "Owner 1 changed the location Lyon 2."
    assert newest[0]["ip"] == "testclient"
    verdict = owner.get("/v1/audit-events/verification").json()
    assert verdict["is_intact"] is True
    assert verdict["findings"] == []


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"tag": "account"}, 1),
        ({"tag": "acc"}, 0),
        ({"tag": "account%"}, 0),
        ({"actor_id": "system"}, 2),
        ({"since": "2026-05-05T00:00:00Z"}, 0),
        ({"until": "2026-05-05T00:00:00Z"}, 3),
    ],
    ids=str,
)
def test_the_log_is_filtered(owner: TestClient, filters: dict[str, str], count: int) -> None:
    answer = owner.get("/v1/audit-events", params=filters)

    assert len(answer.json()["items"]) == count


def parked_job(parts: Parts, merchant: str | None) -> str:
    with parts.database.transaction() as db:
        job_id = owe(db, "some.job", {"n": 1}, merchant_id=merchant) or ""
        db.execute(
            JOBS.update().where(JOBS.c.id == job_id).values(state=JobState.PARKED, attempts=12)
        )
    return job_id


def test_a_parked_job_runs_again_when_a_person_says_so(
    make: Factory, parts: Parts, merchant: str
) -> None:
    it = make.client_as(merchant, Role.IT)
    job_id = parked_job(parts, merchant)

    listed = it.get("/v1/jobs", params={"state": "parked"}).json()["items"]
    again = it.post(f"/v1/jobs/{job_id}/retry").json()
    twice = it.post(f"/v1/jobs/{job_id}/retry")

    assert [one["id"] for one in listed] == [job_id]
    assert (again["state"], again["attempts"]) == ("ready", 0)
    assert (twice.status_code, twice.json()["code"]) == (409, "job_not_parked")


def test_a_parked_job_is_discarded(make: Factory, parts: Parts, merchant: str) -> None:
    it = make.client_as(merchant, Role.IT)
    job_id = parked_job(parts, merchant)

    assert it.post(f"/v1/jobs/{job_id}/discard").status_code == 204
    assert it.post(f"/v1/jobs/{job_id}/discard").status_code == 404
    with parts.database.reading() as db:
        assert outbox.counts(db) == {}


@pytest.mark.parametrize("whose", ["nobody's", "another's"])
def test_jobs_of_others_are_neither_seen_nor_touched(
    make: Factory, parts: Parts, merchant: str, whose: str
) -> None:
    it = make.client_as(merchant, Role.IT)
    job_id = parked_job(parts, None if whose == "nobody's" else make.merchant("Other"))

    assert it.get("/v1/jobs").json()["items"] == []
    assert it.post(f"/v1/jobs/{job_id}/discard").status_code == 404
    with parts.database.reading() as db:
        assert outbox.counts(db) == {"parked": 1}


def test_alive_and_ready_differ(client: TestClient, parts: Parts) -> None:
    ready = client.get("/readyz")

    assert client.get("/healthz").json() == {"status": "alive"}
    # The tables of tests are made without the history.
    assert (ready.status_code, ready.json()["code"]) == (503, "schema_outdated")
    assert ready.json()["retryable"] is True


def test_metrics_are_for_this_machine_or_for_who_has_the_token(
    client: TestClient, app: FastAPI, parts: Parts, merchant: str
) -> None:
    parked_job(parts, merchant)
    local = TestClient(app, client=("127.0.0.1", 1))

    assert client.get("/metrics").status_code == 403
    assert 'omnitill_jobs{state="parked"} 1.0' in local.get("/metrics").text

    parts.settings.metrics_token = type(parts.settings.metrics_token)("sesame")

    assert local.get("/metrics").status_code == 403
    opened = client.get("/metrics", headers={"Authorization": "Bearer sesame"})
    assert "omnitill_http_requests_total" in opened.text


def test_the_description_of_the_api_names_each_permission_and_shows_examples(
    client: TestClient,
) -> None:
    document = client.get("/v1/openapi.json").json()

    operation = document["paths"]["/v1/users"]["post"]
    assert operation["x-permission"] == Permission.USER_MANAGE
    assert operation["security"] == [{"apiKey": []}]
    assert "422" not in operation["responses"]
    assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}
    assert "security" not in document["paths"]["/v1/sign-in"]["post"]
    assert document["components"]["schemas"]["NewUser"]["properties"]["email"]["examples"]
    assert [path for path in document["paths"] if not path.startswith("/v1/")] == [
        "/healthz",
        "/readyz",
    ]
