"""Customers over the API, on both databases."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Permission, Role
from control_plane.transactions.ledger import append
from control_plane.transactions.models import Kind, Method, SaleChannel, Status
from protocols.ids import new_id
from tests.fixtures.control_plane import Factory
from tests.fixtures.virtual_terminal import Connected
from tests.support.play_account import DECLINED

JEANNE = {
    "name": "Jeanne Dupont",
    "email": "Jeanne@Example.com",
    "phone": "+33 6 12 34 56 78",
    "address": {"city": "Paris", "country": "fr"},
    "language": "fr",
}
CONSENT = {"consent_text": "You may charge my card for my orders.", "consent_how": "in_person"}


@pytest.fixture
def merchant_id(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def till(make: Factory, merchant_id: str) -> TestClient:
    return make.client_as(merchant_id, Role.CASHIER)


def test_a_customer_is_added_found_changed_and_put_away(till: TestClient) -> None:
    made = till.post("/v1/customers", json=JEANNE)
    assert made.status_code == 201
    customer = made.json()
    address = f"/v1/customers/{customer['id']}"
    assert customer["email"] == "jeanne@example.com"
    assert customer["address"] == {"city": "Paris", "country": "FR"}

    found = till.get("/v1/customers", params={"q": "durand"}).json()["items"]
    assert [one["id"] for one in found] == []
    found = till.get("/v1/customers", params={"q": "jeanne dup"}).json()["items"]
    assert [one["id"] for one in found] == [customer["id"]]
    exact = till.get("/v1/customers", params={"email": "JEANNE@example.com"}).json()["items"]
    assert len(exact) == 1

    changed = till.patch(address, json={"phone": "", "note": "regular"}).json()
    assert (changed["phone"], changed["note"], changed["name"]) == ("", "regular", "Jeanne Dupont")

    assert till.post(f"{address}/archive").json()["archived_at"] is not None
    assert till.get("/v1/customers").json()["items"] == []
    refused = till.patch(address, json={"name": "X"})
    assert (refused.status_code, refused.json()["code"]) == (409, "customer_archived")
    assert till.post(f"{address}/restore").json()["archived_at"] is None


def test_the_same_request_again_adds_nobody_else(till: TestClient) -> None:
    key = {"Idempotency-Key": "customer-1"}

    first = till.post("/v1/customers", json=JEANNE, headers=key)
    again = till.post("/v1/customers", json=JEANNE, headers=key)

    assert first.json() == again.json()
    assert len(till.get("/v1/customers").json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "customer_name_missing"),
        ({"name": "A", "email": "nobody"}, "customer_email_not_recognised"),
        ({"name": "A", "phone": "x"}, "customer_phone_not_recognised"),
        ({"name": "A", "address": {"country": "France"}}, "customer_country_not_recognised"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(
    till: TestClient, body: dict[str, object], code: str
) -> None:
    answer = till.post("/v1/customers", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert till.get("/v1/customers").json()["items"] == []


def test_pages_go_on_where_the_last_ended(till: TestClient) -> None:
    for number in range(5):
        till.post("/v1/customers", json={"name": f"Customer {number}"})

    first = till.get("/v1/customers", params={"limit": 3}).json()
    rest = till.get("/v1/customers", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    names = [one["name"] for one in first["items"] + rest["items"]]
    assert sorted(names) == [f"Customer {number}" for number in range(5)]
    assert rest["next_cursor"] is None


def test_who_only_looks_changes_nothing(make: Factory, merchant_id: str, till: TestClient) -> None:
    customer = till.post("/v1/customers", json=JEANNE).json()
    looker = make.client_with_key(merchant_id, [Permission.CUSTOMER_VIEW])
    address = f"/v1/customers/{customer['id']}"

    answers = [
        looker.post("/v1/customers", json={"name": "B"}),
        looker.patch(address, json={"name": "B"}),
        looker.post(f"{address}/archive"),
        looker.post(f"{address}/methods", json={"confirmation_token": "ctoken_1", **CONSENT}),
        looker.get(f"{address}/transactions"),
    ]

    assert [answer.status_code for answer in answers] == [403] * 5
    assert looker.get(address).json() == customer


def test_a_customer_of_another_merchant_does_not_exist(make: Factory, till: TestClient) -> None:
    customer = till.post("/v1/customers", json=JEANNE).json()
    stranger = make.client_as(make.merchant("Elsewhere"), Role.OWNER)
    address = f"/v1/customers/{customer['id']}"

    answers = [
        stranger.get(address),
        stranger.patch(address, json={"name": "Mine"}),
        stranger.post(f"{address}/archive"),
        stranger.get(f"{address}/methods"),
        stranger.get(f"{address}/transactions"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 5
    assert till.get(address).json() == customer


def test_the_history_has_every_channel_and_stays_within_the_callers_shops(
    make: Factory, merchant_id: str
) -> None:
    here, there = make.location(merchant_id), make.location(merchant_id)
    owner = make.client_as(merchant_id, Role.OWNER)
    customer_id = owner.post("/v1/customers", json=JEANNE).json()["id"]
    for place, channel in ((here, SaleChannel.IN_PERSON), (there, SaleChannel.LINK)):
        with make.parts.database.transaction() as db:
            append(
                db,
                {
                    "id": new_id("tx"), "merchant_id": merchant_id, "location_id": place,
                    "customer_id": customer_id, "kind": Kind.SALE, "status": Status.APPROVED,
                    "channel": channel, "method": Method.CARD, "amount_minor": 1200,
                    "currency": "EUR", "source": "tests", "external_id": new_id("ext"),
                    "occurred_at": make.parts.clock.now(),
                },
            )  # fmt: skip
    cashier = make.client_as(merchant_id, Role.CASHIER, location_ids=[here])
    address = f"/v1/customers/{customer_id}/transactions"

    everything = owner.get(address).json()["items"]
    theirs = cashier.get(address).json()["items"]

    assert {one["channel"] for one in everything} == {"in_person", "link"}
    assert [one["location_id"] for one in theirs] == [here]


def test_a_card_is_saved_listed_preferred_and_removed(connected: Connected) -> None:
    till = connected.make.client_as(connected.merchant_id, Role.CASHIER)
    customer_id = till.post("/v1/customers", json=JEANNE).json()["id"]
    address = f"/v1/customers/{customer_id}/methods"
    wishes = [connected.sandbox.token(), connected.sandbox.token("5555555555554444")]

    saved = [till.post(address, json={"confirmation_token": token, **CONSENT}) for token in wishes]

    assert [answer.status_code for answer in saved] == [201, 201]
    visa, mastercard = (answer.json()["method"] for answer in saved)
    assert (visa["title"], visa["is_default"], visa["expiry"]) == ("Visa •• 4242", True, "later")
    assert mastercard["consent_how"] == "in_person"

    preferred = till.post(f"{address}/{mastercard['id']}/prefer").json()
    assert preferred["is_default"]
    assert till.delete(f"{address}/{mastercard['id']}").status_code == 204
    assert [one["id"] for one in till.get(address).json()] == [visa["id"]]
    everything = till.get(address, params={"removed": True}).json()
    assert {one["status"] for one in everything} == {"active", "removed"}
    refused = till.post(f"{address}/{mastercard['id']}/prefer")
    assert (refused.status_code, refused.json()["code"]) == (409, "saved_method_not_usable")


def test_a_card_that_the_bank_refuses_is_answered_with_the_reason(connected: Connected) -> None:
    till = connected.make.client_as(connected.merchant_id, Role.CASHIER)
    customer_id = till.post("/v1/customers", json=JEANNE).json()["id"]
    address = f"/v1/customers/{customer_id}/methods"

    answer = till.post(
        address, json={"confirmation_token": connected.sandbox.token(DECLINED), **CONSENT}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "saving_declined")
    assert till.get(address).json() == []


def test_a_method_of_another_customer_is_not_found_under_this_one(connected: Connected) -> None:
    till = connected.make.client_as(connected.merchant_id, Role.CASHIER)
    first, second = (
        till.post("/v1/customers", json={"name": name}).json()["id"] for name in ("A", "B")
    )
    saved = till.post(
        f"/v1/customers/{first}/methods",
        json={"confirmation_token": connected.sandbox.token(), **CONSENT},
    ).json()["method"]

    answer = till.delete(f"/v1/customers/{second}/methods/{saved['id']}")

    assert answer.status_code == 404
    assert len(till.get(f"/v1/customers/{first}/methods").json()) == 1
