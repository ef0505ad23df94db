"""Payments, refunds and disputes over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.sandbox.faults import FaultKind
from tests.integration.virtual_terminal.conftest import Counter
from tests.support.play_account import DECLINED, VISA


@pytest.fixture
def cashier(counter: Counter) -> TestClient:
    connected = counter.connected
    return connected.make.client_as(
        connected.merchant_id, Role.CASHIER, location_ids=[connected.location_id]
    )


@pytest.fixture
def manager(counter: Counter) -> TestClient:
    return counter.connected.make.client_as(counter.connected.merchant_id, Role.MANAGER)


def keyed(counter: Counter, number: str = VISA, **facts: Any) -> dict[str, Any]:
    return {
        "method": "keyed",
        "token": counter.sandbox.token(number),
        "hint_last4": number[-4:],
        "amount_minor": 12_34,
        "currency": "USD",
        **facts,
    }


def test_a_typed_card_is_charged_and_found_again(counter: Counter, cashier: TestClient) -> None:
    answer = cashier.post("/v1/payments", json=keyed(counter, reference="order 7"))

    assert answer.status_code == 201, answer.text
    paid = answer.json()
    assert (paid["state"], paid["captured_minor"], paid["card_last4"]) == ("paid", 12_34, "4242")
    assert cashier.get(f"/v1/payments/{paid['id']}").json()["attempt"]["state"] == "succeeded"
    found = cashier.get("/v1/payments", params={"text": "order 7", "state": "paid"}).json()
    assert [one["id"] for one in found["items"]] == [paid["id"]]
    lines = cashier.get(f"/v1/payments/{paid['id']}/timeline").json()
    assert lines[0]["kind"] == "created"
    assert cashier.get("/v1/transactions").json()["items"][0]["fee_minor"] == paid["fee_minor"]


def test_a_decline_is_an_answer_and_another_attempt_follows(
    counter: Counter, cashier: TestClient
) -> None:
    refused = cashier.post("/v1/payments", json=keyed(counter, DECLINED)).json()
    assert (refused["state"], refused["attempt"]["state"]) == ("open", "declined")
    assert "link" in refused["offers"]

    again = {"method": "keyed", "token": counter.sandbox.token()}
    paid = cashier.post(f"/v1/payments/{refused['id']}/attempts", json=again)

    assert paid.status_code == 201, paid.text
    assert paid.json()["state"] == "paid"
    assert len(cashier.get(f"/v1/payments/{refused['id']}/attempts").json()) == 2
    assert len(counter.sandbox.taken()) == 1


def test_an_idempotency_key_charges_once(counter: Counter, cashier: TestClient) -> None:
    headers = {"Idempotency-Key": "sale-1"}
    wish = keyed(counter)

    first = cashier.post("/v1/payments", json=wish, headers=headers)
    second = cashier.post("/v1/payments", json=wish, headers=headers)
    other = cashier.post("/v1/payments", json={**wish, "amount_minor": 99}, headers=headers)

    assert first.json()["id"] == second.json()["id"]
    assert (other.status_code, other.json()["code"]) == (409, "form_reused")
    assert len(counter.sandbox.taken()) == 1


def test_a_possible_duplicate_names_the_other_payment(
    counter: Counter, cashier: TestClient
) -> None:
    first = cashier.post("/v1/payments", json=keyed(counter)).json()

    asked = cashier.post("/v1/payments", json=keyed(counter))

    assert (asked.status_code, asked.json()["code"]) == (409, "possible_duplicate")
    assert first["id"] in asked.json()["detail"]
    assert len(counter.sandbox.taken()) == 1


def test_a_card_number_is_not_taken(counter: Counter, cashier: TestClient) -> None:
    answer = cashier.post("/v1/payments", json=keyed(counter, token="4242424242424242"))

    assert answer.status_code == 422
    assert "4242424242424242" not in answer.text
    assert counter.sandbox.objects("payment_intent") == []


def test_held_money_is_for_managers(
    counter: Counter, cashier: TestClient, manager: TestClient
) -> None:
    held = cashier.post("/v1/payments", json=keyed(counter, capture_later=True)).json()
    assert held["state"] == "authorized"

    assert cashier.post(f"/v1/payments/{held['id']}/capture").status_code == 403
    done = manager.post(f"/v1/payments/{held['id']}/capture", json={"amount_minor": 10_00})

    assert done.json()["captured_minor"] == 10_00


def test_a_link_is_made_shown_and_given_up(counter: Counter, cashier: TestClient) -> None:
    wish = {"method": "link", "amount_minor": 5_00, "currency": "USD"}
    payment = cashier.post("/v1/payments", json=wish).json()

    link = cashier.get(f"/v1/payments/{payment['id']}/link").json()
    assert "/pay/att_" in link["url"]
    gone = cashier.post(f"/v1/payments/{payment['id']}/attempts/give-up")

    assert gone.json()["state"] == "open"
    assert cashier.get(f"/v1/payments/{payment['id']}/link").json() is None
    assert counter.sandbox.taken() == []


def test_money_goes_back_over_http(
    counter: Counter, cashier: TestClient, manager: TestClient
) -> None:
    paid = cashier.post("/v1/payments", json=keyed(counter)).json()
    path = f"/v1/payments/{paid['id']}/refunds"
    assert cashier.post(path, json={}).status_code == 403
    headers = {"Idempotency-Key": "refund-1"}

    first = manager.post(path, json={"amount_minor": 5_00, "note": "cold"}, headers=headers)
    second = manager.post(path, json={"amount_minor": 5_00, "note": "cold"}, headers=headers)
    too_much = manager.post(path, json={"amount_minor": 7_35})

    assert first.status_code == 201, first.text
    assert first.json()["state"] == "succeeded"
    assert second.json()["id"] == first.json()["id"]
    assert (too_much.status_code, too_much.json()["code"]) == (422, "refund_too_large")
    listed = manager.get("/v1/refunds", params={"payment_id": paid["id"]}).json()["items"]
    assert [one["amount_minor"] for one in listed] == [5_00]
    assert len(counter.sandbox.objects("refund")) == 1


def test_another_merchants_payment_does_not_exist(counter: Counter, cashier: TestClient) -> None:
    paid = cashier.post("/v1/payments", json=keyed(counter)).json()
    make = counter.connected.make
    stranger = make.client_as(make.merchant("Elsewhere"), Role.OWNER)

    for path in ("", "/attempts", "/timeline", "/link"):
        assert stranger.get(f"/v1/payments/{paid['id']}{path}").status_code == 404
    assert stranger.post(f"/v1/payments/{paid['id']}/refunds", json={}).status_code == 404
    assert counter.refunds(paid["id"]) == []


def test_without_an_account_nothing_is_written(counter: Counter) -> None:
    make = counter.connected.make
    owner = make.client_as(make.merchant("Elsewhere"), Role.OWNER)

    answer = owner.post("/v1/payments", json=keyed(counter, currency="EUR"))

    assert (answer.status_code, answer.json()["code"]) == (409, "processor_not_connected")
    assert owner.get("/v1/payments").json()["items"] == []


def test_while_the_processor_takes_its_time_others_are_served(
    counter: Counter, cashier: TestClient, manager: TestClient
) -> None:
    # More than there are threads for requests; each waits at the processor, none holds anything meanwhile.
    slow = 45
    counter.sandbox.fault(FaultKind.SLOW, "POST /v1/payment_intents", times=slow, delay_s=1.5)
    wishes = [keyed(counter, amount_minor=1_00 + number, hint_last4=None) for number in range(slow)]

    with ThreadPoolExecutor(slow) as pool:
        charges = [pool.submit(cashier.post, "/v1/payments", json=wish) for wish in wishes]
        others = [
            manager.post("/v1/customers", json={"name": f"Customer {number}"}).status_code
            for number in range(5)
        ]
        was_waiting = not all(charge.done() for charge in charges)
        answers = [charge.result(timeout=60) for charge in charges]

    assert others == [201] * 5
    assert was_waiting
    assert {answer.json()["state"] for answer in answers} == {"paid"}
    assert len(counter.sandbox.taken()) == slow
