"""Payments over HTTP, without a browser: who may do what, and that a refusal begins nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from control_plane.accounts.permissions import Role
from control_plane.parts import Parts
from control_plane.virtual_terminal.models import PAYMENTS
from tests.fixtures.control_plane import Factory
from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import counter_of

KEYED = {"key": "form_1", "amount": "12.00", "currency": "USD", "method": "keyed"}
JSON = {"Accept": "application/json"}


def count(parts: Parts) -> int:
    with parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(PAYMENTS)).scalar_one()


def charge(shop: Connected, role: Role = Role.CASHIER, **more: str) -> str:
    """The address of a payment by a card that is good."""
    client = shop.make.client_as(shop.merchant_id, role)
    wish = {**KEYED, "token": shop.sandbox.token(), **more}
    answer = client.post("/pos/payments", data=wish, headers=JSON)
    assert answer.status_code == 200, answer.text
    go: str = answer.json()["go"]
    return go


@pytest.mark.parametrize("role", [Role.IT, Role.ACCOUNTANT])
def test_a_role_that_takes_no_money_begins_no_payment(connected: Connected, role: Role) -> None:
    client = connected.make.client_as(connected.merchant_id, role)

    answer = client.post(
        "/pos/payments", data={**KEYED, "token": connected.sandbox.token()}, headers=JSON
    )

    assert answer.status_code == 403
    assert count(connected.parts) == 0
    assert connected.sandbox.taken() == []


def test_the_same_form_sent_again_is_the_same_payment(connected: Connected) -> None:
    client = connected.make.client_as(connected.merchant_id, Role.CASHIER)
    wish = {**KEYED, "token": connected.sandbox.token()}

    answers = [client.post("/pos/payments", data=wish, headers=JSON).json() for _ in range(3)]

    assert len({answer["go"] for answer in answers}) == 1
    assert count(connected.parts) == 1
    assert len(connected.sandbox.taken()) == 1


def test_a_form_without_its_token_against_forgery_begins_nothing(connected: Connected) -> None:
    client = connected.make.client_as(connected.merchant_id, Role.CASHIER)
    del client.headers["X-CSRF-Token"]

    answer = client.post(
        "/pos/payments", data={**KEYED, "token": connected.sandbox.token()}, headers=JSON
    )

    assert answer.status_code == 403
    assert count(connected.parts) == 0


@pytest.mark.parametrize(
    ("wish", "place"),
    [
        ({"amount": ""}, "amount"),
        ({"amount": "12.345"}, "amount"),
        ({"token": ""}, "token"),
        ({"method": "saved", "token": ""}, "saved"),
        ({"method": "bank_debit"}, "mandate"),
        ({"method": "reader"}, "reader"),
        ({"note": "4242 4242 4242 4242"}, "note"),
        ({"line": "itm_gone:1"}, "items"),
    ],
)
def test_what_is_missing_is_said_at_its_place_and_nothing_is_begun(
    sqlite_connected: Connected, wish: dict[str, str], place: str
) -> None:
    shop = sqlite_connected
    client = shop.make.client_as(shop.merchant_id, Role.CASHIER)

    answer = client.post(
        "/pos/payments", data={**KEYED, "token": shop.sandbox.token(), **wish}, headers=JSON
    )

    assert answer.status_code == 422
    assert list(answer.json()["problems"]) == [place]
    assert count(shop.parts) == 0
    assert shop.sandbox.objects("payment_intent") == []


def test_a_cashier_does_not_take_held_money(sqlite_connected: Connected) -> None:
    shop = sqlite_connected
    where = charge(shop, later="1")

    answer = shop.make.client_as(shop.merchant_id, Role.CASHIER).post(f"{where}/capture")

    assert answer.status_code == 403
    assert [one["captured"] for one in shop.sandbox.taken()] == [False]


def test_a_payment_is_nobodys_business_elsewhere(
    sqlite_connected: Connected, sqlite_make: Factory
) -> None:
    shop = sqlite_connected
    where = charge(shop)
    stranger = sqlite_make.client_as(sqlite_make.merchant("Elsewhere"), Role.OWNER)

    answers = [
        stranger.get(where),
        stranger.post(f"{where}/cancel"),
        stranger.post(f"{where}/send", data={"send_to": "me@example.com"}),
        stranger.post(f"{where}/attempts", data={**KEYED, "token": "ctoken_1"}, headers=JSON),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404, 404]


def test_a_page_of_a_payment_names_no_secret(sqlite_connected: Connected) -> None:
    shop = sqlite_connected
    where = charge(shop)

    text = shop.make.client_as(shop.merchant_id, Role.OWNER).get(where).text

    assert "_secret_" not in text
    assert "sk_test" not in text
    assert "ctoken_" not in text


def test_a_typed_card_is_taken_in_the_shop_of_the_tills_reader(sqlite_connected: Connected) -> None:
    reader = counter_of(sqlite_connected).reader
    named = charge(sqlite_connected, Role.OWNER, reader=reader.id)
    elsewhere = charge(
        sqlite_connected, Role.OWNER, reader="rd_of_nobody", key="form_2", amount="8.00"
    )

    with sqlite_connected.parts.database.reading_connection() as db:
        shops = {
            f"/pos/{row.id}": row.location_id
            for row in db.execute(select(PAYMENTS.c.id, PAYMENTS.c.location_id))
        }
    assert (shops[named], shops[elsewhere]) == (reader.location_id, None)
