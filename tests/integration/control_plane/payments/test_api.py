"""The REST API of payments, over HTTP, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Permission, Role
from control_plane.api.commands import CommandOut
from control_plane.api.sessions import PaymentSessionOut
from control_plane.db.scope import Scope
from control_plane.parts import Parts
from control_plane.payments import queries
from control_plane.payments.commands import claim_command
from control_plane.payments.reports import ReportedResult, ReportedStep, apply_results, apply_steps
from protocols.cloud.events import PaymentResult, SessionStep
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory
from tests.integration.control_plane.payments.conftest import DEVICE, READER, furnish

EVERYTHING = list(Permission)


@dataclass
class ApiShop:
    """A shop behind the API, and the device in it."""

    parts: Parts
    make: Factory
    clock: FakeClock
    merchant_id: str
    http: TestClient

    def start(self, **changes: Any) -> Any:
        answer = self.http.post("/v1/sessions", json={**SALE, **changes})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def device_runs(self, session: dict[str, Any], *steps: Any) -> None:
        with self.parts.database.connection() as db:
            view = queries.session(db, Scope(self.merchant_id), session["id"])
            claim_command(db, DEVICE, view.command_id, "nonce-0001", self.clock.now())
        self.device_says(session, *steps)

    def device_says(self, session: dict[str, Any], *steps: Any) -> None:
        batch = [
            ReportedStep(DEVICE, self.clock.now(), SessionStep(session_id=session["id"], step=step))
            for step in steps
        ]
        with self.parts.database.connection() as db:
            apply_steps(db, batch)

    def device_decides(self, session: dict[str, Any], outcome: Any) -> None:
        result = PaymentResult(
            session_id=session["id"],
            reader_id=READER,
            kind="sale",
            outcome=outcome,
            amount_minor=session["amount_minor"],
            currency=session["currency"],
            decided_by="answer",
            receipt_number=17,
        )
        with self.parts.database.connection() as db:
            apply_results(
                db, [ReportedResult(DEVICE, self.merchant_id, "tx_1", self.clock.now(), result)]
            )


SALE = {"reader_id": READER, "amount_minor": 1234, "currency": "EUR", "reference": "order 1042"}


@pytest.fixture
def api_shop(parts: Parts, make: Factory, clock: FakeClock) -> ApiShop:
    merchant_id = make.merchant()
    location_id = make.location(merchant_id)
    with parts.database.connection() as db:
        furnish(db, clock, merchant_id, location_id)
    return ApiShop(parts, make, clock, merchant_id, make.client_with_key(merchant_id, EVERYTHING))


def events_of(answer: Any) -> Iterator[dict[str, Any]]:
    """Server-sent events as they come."""
    event: dict[str, Any] = {}
    for line in answer.iter_lines():
        if not line:
            if "data" in event:
                yield event
            event = {}
            continue
        name, _, value = line.partition(": ")
        event[name] = json.loads(value) if name == "data" else value


def test_a_payment_is_started_and_read_again(api_shop: ApiShop) -> None:
    answer = api_shop.http.post("/v1/sessions", json=SALE)

    assert answer.status_code == 201
    session = answer.json()
    assert (session["state"], session["amount_minor"], session["reader_name"]) == (
        "created",
        1234,
        "Counter 1",
    )
    assert api_shop.http.get(f"/v1/sessions/{session['id']}").json() == session


def test_the_same_request_with_the_same_key_starts_one_payment(api_shop: ApiShop) -> None:
    key = {"Idempotency-Key": "sale-1"}

    first = api_shop.http.post("/v1/sessions", json=SALE, headers=key)
    again = api_shop.http.post("/v1/sessions", json=SALE, headers=key)
    other = api_shop.http.post("/v1/sessions", json={**SALE, "amount_minor": 1}, headers=key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert len(api_shop.http.get("/v1/sessions").json()["items"]) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount_minor": 12.34}, "amount_minor"),
        ({"amount_minor": "1234"}, "amount_minor"),
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": 100_000_001}, "amount_minor"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"kind": "gift"}, "kind"),
        ({"card_timeout_s": 1}, "card_timeout_s"),
        ({"tip": 5}, "tip"),
        ({"reference": "x" * 201}, "reference"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_a_malformed_request_names_the_field_and_the_fix(
    api_shop: ApiShop, change: dict[str, Any], field: str
) -> None:
    answer = api_shop.http.post("/v1/sessions", json={**SALE, **change})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"].endswith(field)
    assert error["fix"]
    assert api_shop.http.get("/v1/sessions").json()["items"] == []


def test_a_busy_reader_is_a_conflict_that_names_the_other_payment(api_shop: ApiShop) -> None:
    session = api_shop.start()

    answer = api_shop.http.post("/v1/sessions", json=SALE)

    assert answer.status_code == 409
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("reader_busy", True)
    assert problem["facts"]["session_id"] == session["id"]
    assert problem["detail"].startswith(f"Counter 1 is busy with the payment {session['id']}.")


def test_a_reader_nobody_knows_is_not_found(api_shop: ApiShop) -> None:
    answer = api_shop.http.post("/v1/sessions", json={**SALE, "reader_id": "rd_none"})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_card_number_in_a_note_is_not_kept(api_shop: ApiShop) -> None:
    session = api_shop.start(note="card 4111 1111 1111 1111", reference="4111111111111111")

    assert "1111111" not in json.dumps(session).replace(" ", "")


def test_a_cancel_is_answered_with_where_the_payment_stands(api_shop: ApiShop) -> None:
    session = api_shop.start()

    first = api_shop.http.post(f"/v1/sessions/{session['id']}/cancel")
    again = api_shop.http.post(f"/v1/sessions/{session['id']}/cancel")

    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (again.status_code, again.json()["code"]) == (409, "session_decided")


def test_an_approved_sale_is_taken_back(api_shop: ApiShop) -> None:
    session = api_shop.start()
    api_shop.device_runs(session, "sent")
    api_shop.device_decides(session, "approved")

    answer = api_shop.http.post(f"/v1/sessions/{session['id']}/reversal")

    assert answer.status_code == 201
    reversal = answer.json()
    assert (reversal["kind"], reversal["original_session_id"]) == ("reversal", session["id"])
    assert reversal["original_transaction_id"] == "tx_1"


def test_payments_are_listed_by_pages_and_filters(api_shop: ApiShop) -> None:
    started = []
    for _ in range(5):
        session = api_shop.start()
        started.append(session["id"])
        api_shop.http.post(f"/v1/sessions/{session['id']}/cancel")

    first = api_shop.http.get("/v1/sessions", params={"limit": 3}).json()
    rest = api_shop.http.get(
        "/v1/sessions", params={"limit": 3, "cursor": first["next_cursor"]}
    ).json()
    none = api_shop.http.get("/v1/sessions", params={"state": "approved"}).json()

    seen = [one["id"] for one in first["items"] + rest["items"]]
    assert sorted(seen) == sorted(started)
    assert (len(first["items"]), rest["next_cursor"], none["items"]) == (3, None, [])


def test_the_stream_tells_every_step_and_ends_with_the_payment(api_shop: ApiShop) -> None:
    session = api_shop.start()
    go = threading.Event()

    def device() -> None:
        go.wait(10)
        api_shop.device_runs(session, "accepted", "sent")
        api_shop.device_says(session, "waiting_for_card")
        api_shop.device_decides(session, "approved")

    thread = threading.Thread(target=device)
    thread.start()
    with api_shop.http.stream("GET", f"/v1/sessions/{session['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        go.set()
        events = list(events_of(answer))
    thread.join()

    assert [one["data"]["kind"] for one in events if one["event"] == "step"] == [
        "created",
        "claimed",
        "accepted",
        "sent",
        "waiting_for_card",
        "approved",
    ]
    assert events[-1]["event"] == "end"
    assert events[-1]["data"]["state"] == "approved"


def test_a_stream_goes_on_where_it_was_cut(api_shop: ApiShop) -> None:
    session = api_shop.start()
    api_shop.device_runs(session, "sent", "waiting_for_card")
    api_shop.device_decides(session, "declined")
    path = f"/v1/sessions/{session['id']}/events"
    with api_shop.http.stream("GET", path) as answer:
        whole = list(events_of(answer))

    cut_after = whole[1]["id"]
    with api_shop.http.stream("GET", path, headers={"Last-Event-ID": cut_after}) as answer:
        rest = list(events_of(answer))

    assert rest == whole[2:]
    assert [one["event"] for one in rest] == ["step", "step", "step", "end"]


def test_a_stream_of_a_payment_out_of_reach_is_not_found(api_shop: ApiShop) -> None:
    session = api_shop.start()
    stranger = api_shop.make.client_with_key(api_shop.make.merchant("Other"), EVERYTHING)

    for path in ("", "/events", "/steps"):
        assert stranger.get(f"/v1/sessions/{session['id']}{path}").status_code == 404


def test_a_reader_is_asked_to_show_text_and_the_command_can_be_followed(api_shop: ApiShop) -> None:
    answer = api_shop.http.post(
        f"/v1/readers/{READER}/commands",
        json={"kind": "show_text", "lines": ["Back at 14:00"], "seconds": 30},
    )

    assert answer.status_code == 201
    command = answer.json()
    assert (command["kind"], command["state"]) == ("reader.show_text", "issued")
    assert api_shop.http.get(f"/v1/commands/{command['id']}").json() == command
    listed = api_shop.http.get("/v1/commands", params={"reader_id": READER}).json()
    assert [one["id"] for one in listed["items"]] == [command["id"]]


@pytest.mark.parametrize("kind", ["reboot", "diagnose", "end_of_day"])
def test_other_commands_need_nothing_but_their_name(api_shop: ApiShop, kind: str) -> None:
    answer = api_shop.http.post(f"/v1/readers/{READER}/commands", json={"kind": kind})

    assert (answer.status_code, answer.json()["kind"]) == (201, f"reader.{kind}")


def test_an_unknown_command_is_refused(api_shop: ApiShop) -> None:
    answer = api_shop.http.post(f"/v1/readers/{READER}/commands", json={"kind": "explode"})

    assert answer.status_code == 422
    assert api_shop.http.get("/v1/commands").json()["items"] == []


def test_a_cashier_may_sell_and_cancel_and_no_more(api_shop: ApiShop) -> None:
    cashier = api_shop.make.client_as(api_shop.merchant_id, Role.CASHIER)

    session = cashier.post("/v1/sessions", json=SALE)
    cancel = cashier.post(f"/v1/sessions/{session.json()['id']}/cancel")
    refund = cashier.post("/v1/sessions", json={**SALE, "kind": "refund"})
    reboot = cashier.post(f"/v1/readers/{READER}/commands", json={"kind": "reboot"})

    assert (session.status_code, cancel.status_code) == (201, 200)
    assert (refund.status_code, refund.json()["facts"]["permission"]) == (
        403,
        "payment:refund:create",
    )
    assert reboot.status_code == 403


@pytest.mark.parametrize("kind", [PaymentSessionOut, CommandOut])
def test_the_documented_example_is_a_possible_and_complete_answer(kind: type[BaseModel]) -> None:
    (example,) = kind.model_json_schema(mode="serialization")["examples"]

    assert set(example) == set(kind.model_fields)
    kind.model_validate(example)
