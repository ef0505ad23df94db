"""The account and refunds, as programs and people reach them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Permission, Role
from control_plane.acquirer_sandbox.faults import FaultKind
from control_plane.card_present import refunds
from control_plane.card_present.clearing import Clearing
from control_plane.card_present.models import CARD_ACCOUNTS
from control_plane.card_present.processor import CardPresentProcessors
from control_plane.card_present.service import CardPresent
from control_plane.parts import Parts
from control_plane.payments import sessions
from control_plane.payments.models import SESSIONS
from control_plane.till.errors import LimitReached
from protocols.money import Money
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory
from tests.integration.card_present.conftest import CardShop, card_shop
from tests.support.acquirer import AcquirerServer, sealed_card
from tests.support.card_sessions import READER, ask_for

ACCOUNT = "/v1/card-present/account"


@pytest.fixture
def shop(
    sqlite_parts: Parts, sqlite_make: Factory, clock: FakeClock, acquirer: AcquirerServer
) -> CardShop:
    """Without an account yet; everything else goes through the program's own wiring."""
    made = card_shop(sqlite_parts, sqlite_make, clock, None)
    made.processors = sqlite_parts.get(CardPresentProcessors)  # type: ignore[assignment]  # the real one
    return made


@pytest.fixture
def owner(shop: CardShop, sqlite_make: Factory) -> TestClient:
    return sqlite_make.client_as(shop.merchant_id, Role.OWNER)


def keys(acquirer: AcquirerServer, **other: object) -> dict[str, object]:
    access = acquirer.access
    return {
        "organization": access.organization, "key_id": access.key_id, "secret": access.secret,
        "api_base": acquirer.url,
    } | other  # fmt: skip


def sold(shop: CardShop, minor: int = 12_50) -> str:
    """A sale that the processor has captured; the id of its row."""
    ask = ask_for(shop.sale(minor), amount_minor=minor, card=sealed_card())
    assert shop.ask(ask).status == "approved"
    row_id = shop.end(ask)
    shop.settle()
    return row_id


def test_an_owner_connects_and_nobody_sees_the_secret(
    shop: CardShop, owner: TestClient, acquirer: AcquirerServer
) -> None:
    assert owner.get(ACCOUNT).json()["code"] == "card_present_not_connected"

    connected = owner.put(ACCOUNT, json=keys(acquirer))

    assert connected.status_code == 200, connected.text
    assert acquirer.access.secret not in owner.get(ACCOUNT).text
    assert (connected.json()["address"], connected.json()["problem"]) == (acquirer.url, "")
    with shop.parts.database.engine.connect() as raw:
        stored = raw.exec_driver_sql("SELECT secret FROM card_present_account").scalar_one()
    assert acquirer.access.secret not in str(stored)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret": "bm90IHRoZSBzZWNyZXQgb2YgYW55Ym9keQ=="}, "card_present_key_refused"),
        ({"secret": "short"}, "card_present_key_refused"),
        ({"organization": "no such\nname"}, "card_present_key_refused"),
        ({"livemode": True}, "card_present_live_elsewhere"),
        ({"livemode": True, "api_base": "", "key_id": "live-1"}, "card_present_live_in_demo"),
        ({"api_base": "https://api.cybersource.com"}, "card_present_live_elsewhere"),
        ({"key_id": "some-real-key"}, "card_present_key_refused"),
        ({"api_base": ""}, "card_present_key_refused"),
    ],
)
def test_keys_that_do_not_fit_go_nowhere(
    shop: CardShop,
    owner: TestClient,
    acquirer: AcquirerServer,
    change: dict[str, object],
    code: str,
) -> None:
    refused = owner.put(ACCOUNT, json=keys(acquirer, **change))

    assert (refused.status_code, refused.json()["code"]) == (422, code)
    with shop.parts.database.reading_connection() as db:
        assert db.execute(select(CARD_ACCOUNTS)).all() == []


def test_a_manager_may_look_and_not_connect(
    shop: CardShop, owner: TestClient, sqlite_make: Factory, acquirer: AcquirerServer
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    manager = sqlite_make.client_as(shop.merchant_id, Role.MANAGER)
    assert manager.get(ACCOUNT).status_code == 200
    assert manager.put(ACCOUNT, json=keys(acquirer)).status_code == 403
    assert manager.delete(ACCOUNT).status_code == 403


def test_an_account_with_open_money_is_not_let_go(
    shop: CardShop, owner: TestClient, acquirer: AcquirerServer
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    ask = ask_for(shop.sale(), card=sealed_card())
    shop.ask(ask)

    refused = owner.delete(ACCOUNT)
    shop.end(ask, "cancelled")
    shop.settle()

    assert refused.json()["code"] == "card_present_open"
    assert owner.delete(ACCOUNT).status_code == 204
    assert acquirer.money() == (0, 0, 0)


def test_a_sale_is_refunded_in_parts_and_stands_in_the_ledger_once(
    shop: CardShop, owner: TestClient, acquirer: AcquirerServer
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    row_id = sold(shop)
    address = f"/v1/card-present/sales/{row_id}/refunds"

    first = owner.post(address, json={"amount_minor": 5_00}, headers={"Idempotency-Key": "k1"})
    again = owner.post(address, json={"amount_minor": 5_00}, headers={"Idempotency-Key": "k1"})
    too_much = owner.post(address, json={"amount_minor": 7_51})
    rest = owner.post(address)
    shop.settle(hours=1)

    assert (first.status_code, first.json()["state"]) == (201, "done")
    assert again.json() == first.json()
    assert too_much.json()["code"] == "card_refund_too_large"
    assert rest.json()["amount_minor"] == 7_50
    assert acquirer.money() == (0, 12_50, 12_50)
    assert [row for row in shop.ledger() if row[0] == "refund"] == [
        ("refund", "approved", 5_00),
        ("refund", "approved", 7_50),
    ]
    told = owner.get(f"/v1/card-present/sales/{row_id}").json()
    assert (told["left_minor"], len(told["refunds"])) == (0, 2)


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.LOST_REQUEST,
        FaultKind.LOST_ANSWER,
        FaultKind.SERVER_ERROR,
        FaultKind.SERVER_ERROR_AFTER_SUCCESS,
    ],
)
def test_a_lost_refund_moves_the_money_once(
    shop: CardShop, owner: TestClient, acquirer: AcquirerServer, kind: FaultKind
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    row_id = sold(shop)
    acquirer.fault(kind, "*/refunds", times=2)

    asked = owner.post(f"/v1/card-present/sales/{row_id}/refunds")
    for _ in range(4):
        shop.settle(seconds=60)

    assert asked.json()["state"] == "asked"
    assert acquirer.money() == (0, 12_50, 12_50)
    assert shop.ledger().count(("refund", "approved", 12_50)) == 1


def test_two_refunds_at_once_give_no_more_than_was_taken(
    shop: CardShop, owner: TestClient, acquirer: AcquirerServer
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    row_id = sold(shop)
    address = f"/v1/card-present/sales/{row_id}/refunds"

    def ask(_: int) -> int:
        return owner.post(address, json={"amount_minor": 10_00}).status_code

    with ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(ask, range(4)))

    assert codes == [201, 422, 422, 422]
    assert acquirer.money() == (0, 12_50, 10_00)


def test_a_cashier_gives_nothing_back(
    shop: CardShop, owner: TestClient, sqlite_make: Factory, acquirer: AcquirerServer
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    row_id = sold(shop)
    cashier = sqlite_make.client_as(shop.merchant_id, Role.CASHIER)
    assert cashier.post(f"/v1/card-present/sales/{row_id}/refunds").status_code == 403
    stranger = sqlite_make.merchant("Elsewhere")
    other = sqlite_make.client_as(stranger, Role.OWNER)
    assert other.post(f"/v1/card-present/sales/{row_id}/refunds").status_code == 404

    assert acquirer.money() == (0, 12_50, 0)


def test_a_refund_above_ones_limit_moves_no_money(
    shop: CardShop, owner: TestClient, sqlite_make: Factory, acquirer: AcquirerServer
) -> None:
    owner.put(ACCOUNT, json=keys(acquirer))
    row_id = sold(shop)
    caller = sqlite_make.caller(shop.merchant_id, Role.MANAGER)
    narrow = replace(
        caller,
        scope=replace(
            caller.scope,
            permissions=caller.scope.permissions - {Permission.PAYMENT_REFUND_APPROVE},
        ),
    )
    limited = owner.put(f"/v1/till/limits/{caller.id}", json={"refund": {"EUR": 5_00}})
    assert limited.status_code == 200, limited.text

    with pytest.raises(LimitReached), shop.parts.database.connection() as db:
        refunds.begin(db, narrow, row_id, "form-1", amount_minor=5_01)
    with shop.parts.database.connection() as db:
        within = refunds.begin(db, narrow, row_id, "form-2", amount_minor=5_00)

    assert within.amount_minor == 5_00
    assert acquirer.money() == (0, 12_50, 0)


def test_no_sale_starts_where_nobody_takes_its_card(
    shop: CardShop, owner: TestClient, sqlite_make: Factory, acquirer: AcquirerServer
) -> None:
    caller = sqlite_make.caller(shop.merchant_id, Role.OWNER)
    wish = sessions.StartSession(reader_id=READER, amount=Money(12_50, "EUR"))

    with (
        pytest.raises(Exception, match="Stripe") as refused,
        shop.parts.database.transaction() as db,
    ):
        sessions.start_session(db, caller, wish)
    with shop.parts.database.reading_connection() as db:
        assert db.execute(select(SESSIONS)).all() == []
    owner.put(ACCOUNT, json=keys(acquirer))
    with shop.parts.database.transaction() as db:
        started = sessions.start_session(db, caller, wish)

    assert getattr(refused.value, "code", "") == "reader_needs_processor"
    assert started.amount == Money(12_50, "EUR")


def test_the_pages_connect_refund_and_explain(
    shop: CardShop, owner: TestClient, acquirer: AcquirerServer
) -> None:
    assert "Stripe does not accept readers of other makers" in owner.get(f"/readers/{READER}").text
    assert "Stripe does not accept readers of other makers" in owner.get("/pos").text
    page = owner.get("/settings/payments").text
    token = page.split('name="csrf_token" value="', 1)[1].split('"', 1)[0]
    form = {
        "csrf_token": token, "card_organization": acquirer.access.organization,
        "card_key_id": acquirer.access.key_id, "card_secret": "bm90IHRoZSBzZWNyZXQgb2YgYW55Ym9keQ==",
        "card_livemode": "test", "card_api_base": acquirer.url,
    }  # fmt: skip

    refused = owner.post("/settings/payments/readers/connect", data=form)
    form["card_secret"] = acquirer.access.secret
    connected = owner.post("/settings/payments/readers/connect", data=form)

    assert "CyberSource does not know this key" in refused.text
    assert connected.status_code == 200
    assert acquirer.access.organization in connected.text
    assert "Its cards are taken by CyberSource." in owner.get(f"/readers/{READER}").text
    row_id = sold(shop)
    sale = owner.get(f"/transactions/{row_id}").text
    assert f"/transactions/{row_id}/card-refunds" in sale
    given = owner.post(
        f"/transactions/{row_id}/card-refunds",
        data={"csrf_token": token, "by": "amount", "amount": "2.50", "key": "frm_1"},
    )
    assert "The money is on its way back to the customer." in given.text
    assert acquirer.money() == (0, 12_50, 2_50)


def test_what_the_program_wires_is_what_was_tested(shop: CardShop) -> None:
    assert isinstance(shop.parts.get(CardPresent), CardPresent)
    assert isinstance(shop.parts.get(Clearing), Clearing)
