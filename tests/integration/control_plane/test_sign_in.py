"""Signing in: cookies, lockout, forgery, sessions, invitations, API keys, last owner."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from starlette.testclient import TestClient

from control_plane.accounts import queries
from control_plane.accounts.permissions import Permission, Role
from control_plane.audit.service import EVENTS
from control_plane.http.security import CSRF_HEADER
from control_plane.parts import Parts
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import PASSWORD, Factory

EMAIL = "ada@example.com"


@pytest.fixture
def merchant(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def ada(make: Factory, merchant: str) -> str:
    """The only owner."""
    return make.user(merchant, Role.OWNER, email=EMAIL)


def attempt(client: TestClient, email: str = EMAIL, password: str = PASSWORD) -> int:
    return client.post("/v1/sign-in", json={"email": email, "password": password}).status_code


def signed_in(client: TestClient) -> TestClient:
    answer = client.post("/v1/sign-in", json={"email": EMAIL, "password": PASSWORD})
    client.headers[CSRF_HEADER] = answer.json()["csrf_token"]
    return client


def sessions_in(parts: Parts) -> int:
    with parts.database.reading() as db:
        return db.execute(select(func.count()).select_from(queries.SESSIONS)).scalar_one()


def tags_in(parts: Parts) -> list[str]:
    with parts.database.reading() as db:
        return list(db.execute(select(EVENTS.c.tag).order_by(EVENTS.c.position)).scalars())


def test_signing_in_gives_a_cookie_that_scripts_cannot_read(
    client: TestClient, parts: Parts, ada: str
) -> None:
    answer = client.post("/v1/sign-in", json={"email": " ADA@example.com", "password": PASSWORD})

    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 200
    assert cookie.startswith("omnitill=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert client.get("/v1/me").json()["id"] == ada
    assert tags_in(parts)[-1] == "user:session:start"


def test_behind_tls_the_cookie_is_bound_to_it(parts: Parts, app: FastAPI, ada: str) -> None:
    parts.settings.public_url = "https://till.example.com"
    client = TestClient(app, base_url="https://till.example.com")

    cookie = client.post("/v1/sign-in", json={"email": EMAIL, "password": PASSWORD}).headers[
        "set-cookie"
    ]

    assert cookie.startswith("__Host-omnitill=")
    assert "Secure" in cookie.split("; ")
    assert "Domain" not in cookie
    assert client.get("/v1/me").headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("email", "password"),
    [(EMAIL, "wrong password"), ("nobody@example.com", PASSWORD), (EMAIL, "")],
    ids=["wrong password", "nobody", "empty"],
)
def test_a_refusal_does_not_tell_which_of_the_two_was_wrong(
    client: TestClient, parts: Parts, ada: str, email: str, password: str
) -> None:
    answer = client.post("/v1/sign-in", json={"email": email, "password": password})

    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_refused")
    assert answer.json()["detail"] == (
        "The e-mail address and the password do not match. Check both and try again."
    )
    assert "set-cookie" not in answer.headers
    assert sessions_in(parts) == 0


def test_the_merchant_can_see_refused_attempts(client: TestClient, parts: Parts, ada: str) -> None:
    attempt(client, password="wrong password")

    assert tags_in(parts)[-1] == "user:session:refuse"


def test_after_five_attempts_an_account_waits_even_for_the_right_password(
    client: TestClient, parts: Parts, clock: FakeClock, ada: str
) -> None:
    refused = [attempt(client, password="wrong password") for _ in range(5)]
    blocked = client.post("/v1/sign-in", json={"email": EMAIL, "password": PASSWORD})
    sessions_while_blocked = sessions_in(parts)
    clock.advance(30)
    later = attempt(client)

    assert refused == [401] * 5
    assert (blocked.status_code, blocked.headers["retry-after"]) == (429, "30")
    assert sessions_while_blocked == 0
    assert later == 200


def test_each_further_attempt_doubles_the_wait(
    client: TestClient, clock: FakeClock, ada: str
) -> None:
    for _ in range(5):
        attempt(client, password="wrong password")

    waits = []
    for _ in range(6):
        answer = client.post("/v1/sign-in", json={"email": EMAIL, "password": "wrong password"})
        waits.append(int(answer.headers["retry-after"]))
        clock.advance(waits[-1])
        assert attempt(client, password="wrong password") == 401

    assert waits == [30, 60, 120, 240, 480, 900]


def test_a_right_password_forgets_the_wrong_ones(client: TestClient, ada: str) -> None:
    for _ in range(3):
        for _ in range(4):
            assert attempt(client, password="wrong password") == 401
        assert attempt(client) == 200


def test_one_address_cannot_try_many_accounts(client: TestClient, ada: str) -> None:
    answers = [attempt(client, f"user{n}@example.com", "guess") for n in range(61)]

    assert answers == [401] * 60 + [429]
    assert attempt(client) == 429


def test_attempts_at_the_same_moment_all_count(app: FastAPI, parts: Parts, ada: str) -> None:
    answers: list[int] = []
    barrier = threading.Barrier(12)

    def guess(client: TestClient) -> None:
        barrier.wait()
        answers.append(attempt(client, password="wrong password"))

    with TestClient(app) as client:
        threads = [threading.Thread(target=guess, args=(client,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(answers) == [401] * 5 + [429] * 7


def test_a_request_that_changes_something_needs_the_token_of_the_sign_in(
    client: TestClient, parts: Parts, ada: str
) -> None:
    signed_in(client)
    del client.headers[CSRF_HEADER]

    without = client.post("/v1/locations", json={"name": "Lyon"})
    wrong = client.post("/v1/locations", json={"name": "Lyon"}, headers={CSRF_HEADER: "x"})

    assert [without.status_code, wrong.status_code] == [403, 403]
    assert without.json()["code"] == "csrf_refused"
    with parts.database.reading() as db:
        assert db.execute(select(queries.LOCATIONS)).all() == []
    assert client.get("/v1/me").status_code == 200


def test_the_token_of_one_sign_in_does_not_count_for_another(
    make: Factory, merchant: str, ada: str
) -> None:
    first, second = make.client_of(ada, merchant), make.client_of(ada, merchant)
    second.headers[CSRF_HEADER] = first.headers[CSRF_HEADER]

    assert first.post("/v1/locations", json={"name": "A"}).status_code == 201
    assert second.post("/v1/locations", json={"name": "B"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_another_site_can_neither_sign_in_nor_change_anything(
    client: TestClient, make: Factory, merchant: str, ada: str, headers: dict[str, str]
) -> None:
    browser = make.client_of(ada, merchant)

    signing_in = client.post(
        "/v1/sign-in", json={"email": EMAIL, "password": PASSWORD}, headers=headers
    )
    changing = browser.post("/v1/locations", json={"name": "Lyon"}, headers=headers)

    assert (signing_in.status_code, changing.status_code) == (403, 403)
    assert "set-cookie" not in signing_in.headers


def test_our_own_pages_can(make: Factory, merchant: str, ada: str) -> None:
    browser = make.client_of(ada, merchant)

    for headers in ({"sec-fetch-site": "same-origin"}, {"origin": "http://testserver"}):
        answer = browser.post("/v1/locations", json={"name": str(headers)}, headers=headers)
        assert answer.status_code == 201


def test_an_unused_sign_in_ends_and_a_used_one_ends_too(
    make: Factory, merchant: str, ada: str, clock: FakeClock
) -> None:
    idle, used = make.client_of(ada, merchant), make.client_of(ada, merchant)
    for _ in range(3):
        clock.advance(timedelta(hours=11))
        assert used.get("/v1/me").status_code == 200
    idle_answer = idle.get("/v1/me").status_code
    statuses = []
    for _ in range(13):
        clock.advance(timedelta(hours=11))
        statuses.append(used.get("/v1/me").status_code)

    assert idle_answer == 401
    # Seven days are sixteen times eleven hours; three have passed.
    assert statuses == [200] * 12 + [401]


def test_signing_out_ends_the_sign_in_on_the_server(
    make: Factory, merchant: str, ada: str, app: FastAPI
) -> None:
    browser = make.client_of(ada, merchant)
    stolen = dict(browser.cookies)

    out = browser.post("/v1/sign-out")

    thief = TestClient(app, cookies=stolen)
    assert out.status_code == 204
    assert 'omnitill=""' in out.headers["set-cookie"]
    assert thief.get("/v1/me").status_code == 401


def test_a_user_sees_and_ends_their_own_sign_ins_only(
    make: Factory, merchant: str, ada: str
) -> None:
    laptop, phone = make.client_of(ada, merchant), make.client_of(ada, merchant)
    other = make.client_as(merchant, Role.CASHIER)
    theirs = other.get("/v1/me/sessions").json()["items"][0]["id"]

    listed = laptop.get("/v1/me/sessions").json()["items"]
    phones = next(one["id"] for one in listed if not one["is_this"])
    ended = laptop.delete(f"/v1/me/sessions/{phones}").status_code
    not_mine = laptop.delete(f"/v1/me/sessions/{theirs}").status_code

    assert len(listed) == 2
    assert (ended, not_mine) == (204, 404)
    assert phone.get("/v1/me").status_code == 401
    assert other.get("/v1/me").status_code == 200


def test_a_new_password_ends_the_other_sign_ins(
    make: Factory, client: TestClient, merchant: str, ada: str
) -> None:
    here, elsewhere = make.client_of(ada, merchant), make.client_of(ada, merchant)
    new = "a much better password"

    wrong = here.post("/v1/me/password", json={"current": "nonsense", "new": new})
    short = here.post("/v1/me/password", json={"current": PASSWORD, "new": "short"})
    right = here.post("/v1/me/password", json={"current": PASSWORD, "new": new})

    assert (wrong.status_code, short.status_code, right.status_code) == (422, 422, 204)
    assert elsewhere.get("/v1/me").status_code == 401
    assert here.get("/v1/me").status_code == 200
    assert attempt(client) == 401
    assert attempt(client, password=new) == 200


def test_an_invited_user_chooses_a_password_once(
    make: Factory, client: TestClient, merchant: str, ada: str
) -> None:
    owner = make.client_of(ada, merchant)
    invited = owner.post(
        "/v1/users", json={"email": "noe@example.com", "name": "Noé", "role": "cashier"}
    ).json()
    token = invited["invitation_url"].partition("#")[2]
    before = attempt(client, "noe@example.com", "noés own password")
    choice = {"token": token, "password": "noés own password"}

    accepted = client.post("/v1/invitations/accept", json=choice)
    again = client.post("/v1/invitations/accept", json={**choice, "password": "another one!"})

    assert before == 401
    assert invited["state"] == "invited"
    assert (accepted.status_code, again.status_code) == (204, 422)
    assert again.json()["code"] == "invitation_spent"
    assert attempt(client, "noe@example.com", "noés own password") == 200


def test_an_invitation_expires(
    make: Factory, client: TestClient, merchant: str, ada: str, clock: FakeClock
) -> None:
    owner = make.client_of(ada, merchant)
    answer = owner.post(
        "/v1/users", json={"email": "noe@example.com", "name": "Noé", "role": "cashier"}
    )
    token = answer.json()["invitation_url"].partition("#")[2]
    clock.advance(timedelta(hours=73))

    late = client.post(
        "/v1/invitations/accept", json={"token": token, "password": "noés own password"}
    )

    assert late.json()["code"] == "invitation_spent"
    assert attempt(client, "noe@example.com", "noés own password") == 401


def test_inviting_does_not_take_over_an_account_of_another_merchant(
    make: Factory, client: TestClient, merchant: str, ada: str
) -> None:
    other_owner = make.client_as(make.merchant("Other"), Role.OWNER)

    answer = other_owner.post("/v1/users", json={"email": EMAIL, "name": "Ada", "role": "cashier"})

    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert attempt(client) == 200


def test_a_manager_cannot_give_rights_that_a_manager_does_not_have(
    make: Factory, parts: Parts, merchant: str, ada: str
) -> None:
    manager = make.client_as(merchant, Role.MANAGER)
    cashier = make.user(merchant, Role.CASHIER)
    person = {"email": "x@example.com", "name": "X"}

    owner = manager.post("/v1/users", json={**person, "role": "owner"})
    promoted = manager.put(f"/v1/users/{cashier}/rights", json={"role": "it"})
    disabled = manager.post(f"/v1/users/{ada}/disable")

    assert [owner.status_code, promoted.status_code, disabled.status_code] == [403, 403, 403]
    assert owner.json()["code"] == "rights_not_yours"
    with parts.database.reading() as db:
        assert queries.user_by_email(db, "x@example.com") is None
        roles = set(db.execute(select(queries.MEMBERSHIPS.c.role)).scalars())
    assert roles == {Role.OWNER, Role.MANAGER, Role.CASHIER}


def test_who_sees_one_shop_cannot_let_others_into_another(make: Factory, merchant: str) -> None:
    lyon, paris = make.location(merchant, "Lyon"), make.location(merchant, "Paris")
    manager = make.client_as(merchant, Role.MANAGER, location_ids=[lyon])
    person = {"email": "x@example.com", "name": "X", "role": "cashier"}

    everywhere = manager.post("/v1/users", json=person)
    in_paris = manager.post("/v1/users", json={**person, "location_ids": [paris]})
    in_lyon = manager.post("/v1/users", json={**person, "location_ids": [lyon]})

    assert [one.status_code for one in (everywhere, in_paris, in_lyon)] == [403, 403, 201]
    assert [one["name"] for one in manager.get("/v1/locations").json()["items"]] == ["Lyon"]
    assert manager.get(f"/v1/locations/{paris}").status_code == 404


@pytest.mark.parametrize("how", ["demote", "confine", "disable"])
def test_the_last_owner_stays(
    make: Factory, client: TestClient, merchant: str, ada: str, how: str
) -> None:
    lyon = make.location(merchant, "Lyon")
    owner = make.client_of(ada, merchant)

    match how:
        case "demote":
            answer = owner.put(f"/v1/users/{ada}/rights", json={"role": "cashier"})
        case "confine":
            rights = {"role": "owner", "location_ids": [lyon]}
            answer = owner.put(f"/v1/users/{ada}/rights", json=rights)
        case _:
            answer = owner.post(f"/v1/users/{ada}/disable")

    assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
    assert owner.get("/v1/me").json()["role"] == "owner"
    assert attempt(client) == 200


def test_of_two_owners_who_demote_each_other_at_once_one_stays(
    make: Factory, parts: Parts, merchant: str, ada: str
) -> None:
    bea = make.user(merchant, Role.OWNER)
    pairs = [(make.client_of(ada, merchant), bea), (make.client_of(bea, merchant), ada)]
    barrier = threading.Barrier(2)
    answers: list[int] = []

    def demote(client: TestClient, other: str) -> None:
        barrier.wait()
        answer = client.put(f"/v1/users/{other}/rights", json={"role": "cashier"})
        answers.append(answer.status_code)

    threads = [threading.Thread(target=demote, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with parts.database.transaction() as db:
        assert len(queries.active_owners(db, merchant)) == 1
    assert answers.count(200) == 1


def test_a_disabled_user_is_out_at_once_and_can_come_back(
    make: Factory, client: TestClient, merchant: str, ada: str
) -> None:
    owner = make.client_of(ada, merchant)
    noe = make.user(merchant, Role.CASHIER, email="noe@example.com")
    browser = make.client_of(noe, merchant)

    state = owner.post(f"/v1/users/{noe}/disable").json()["state"]
    out = browser.get("/v1/me").status_code
    refused = attempt(client, "noe@example.com")
    back = owner.post(f"/v1/users/{noe}/enable").json()["state"]

    assert (state, out, refused, back) == ("disabled", 401, 401, "active")
    assert attempt(client, "noe@example.com") == 200


def test_an_api_key_does_what_it_was_made_for_and_no_more(
    make: Factory, parts: Parts, merchant: str
) -> None:
    program = make.client_with_key(merchant, [Permission.USER_VIEW])

    assert program.get("/v1/users").status_code == 200
    refused = program.get("/v1/api-keys")
    assert (refused.status_code, refused.json()["facts"]) == (403, {"permission": "apikey:view"})
    with parts.database.reading() as db:
        stored = db.execute(select(queries.API_KEYS)).mappings().one()
    token = program.headers["Authorization"].removeprefix("Bearer ")
    assert token not in str(dict(stored))
    assert token.startswith(stored["prefix"])


def test_an_api_key_is_shown_once_and_works_until_it_is_revoked(
    make: Factory, app: FastAPI, merchant: str, ada: str
) -> None:
    owner = make.client_of(ada, merchant)
    made = owner.post("/v1/api-keys", json={"name": "Shop", "permissions": ["user:view"]}).json()
    program = TestClient(app, headers={"Authorization": f"Bearer {made['key']}"})
    before = program.get("/v1/users").status_code

    revoked = owner.post(f"/v1/api-keys/{made['id']}/revoke").json()

    assert before == 200
    assert revoked["revoked_at"] is not None
    assert program.get("/v1/users").status_code == 401
    assert "key" not in owner.get("/v1/api-keys").json()["items"][0]


def test_an_api_key_expires(
    make: Factory, app: FastAPI, merchant: str, ada: str, clock: FakeClock
) -> None:
    expires = (clock.now() + timedelta(hours=1)).isoformat()
    made = make.client_of(ada, merchant).post(
        "/v1/api-keys",
        json={"name": "Shop", "permissions": ["user:view"], "expires_at": expires},
    )
    program = TestClient(app, headers={"Authorization": f"Bearer {made.json()['key']}"})
    before = program.get("/v1/users").status_code
    clock.advance(timedelta(hours=1))

    assert (before, program.get("/v1/users").status_code) == (200, 401)


def test_a_key_cannot_make_a_stronger_key(make: Factory, parts: Parts, merchant: str) -> None:
    program = make.client_with_key(merchant, [Permission.APIKEY_MANAGE])

    answer = program.post(
        "/v1/api-keys", json={"name": "Strong", "permissions": ["payment:session:create"]}
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "rights_not_yours")
    with parts.database.reading() as db:
        assert len(db.execute(select(queries.API_KEYS)).all()) == 1


@pytest.mark.parametrize("value", ["Bearer omk_test_unknown", "Basic YTpi", "Bearer", "nonsense"])
def test_credentials_that_do_not_count_are_refused(client: TestClient, value: str) -> None:
    answer = client.get("/v1/me", headers={"Authorization": value})

    assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_merchants_do_not_see_each_other(make: Factory, merchant: str, ada: str) -> None:
    lyon = make.location(merchant, "Lyon")
    stranger = make.client_as(make.merchant("Other"), Role.OWNER)

    assert stranger.get(f"/v1/users/{ada}").status_code == 404
    assert stranger.get(f"/v1/locations/{lyon}").status_code == 404
    assert stranger.put(f"/v1/users/{ada}/rights", json={"role": "cashier"}).status_code == 404
    assert stranger.post(f"/v1/users/{ada}/disable").status_code == 404
    listed = stranger.get("/v1/audit-events").json()["items"]
    assert {one["actor_name"] for one in listed} == {"Omnitill", "Tester"}
