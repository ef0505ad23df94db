"""The desk, with each fault at each call: money moves at most once, our state ends right, and the ledger agrees.

Faults come in two shapes: one that passes (the adapter overcomes it, or the first look does), and an outage that lasts
until nobody waits any more, during which nothing can be read either; then it ends and the sweep finds the truth.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.errors import DomainError
from control_plane.sandbox.faults import FaultKind
from control_plane.transactions.models import SETTLEMENTS, TRANSACTIONS, Kind, Status
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptState,
    PaymentState,
    RefundState,
)
from control_plane.virtual_terminal.models import ATTEMPTS, PAYMENTS, REFUNDS
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, Order, RefundWish
from protocols.money import Money
from tests.fakes.clock import FakeClock
from tests.fixtures.virtual_terminal import Connected
from tests.support.play_account import DECLINED, REFUND_FAILS

PRICE = 12_34
FAULTS = [
    FaultKind.LOST_REQUEST,
    FaultKind.LOST_ANSWER,
    FaultKind.TIMEOUT_AFTER_SUCCESS,
    FaultKind.SERVER_ERROR,
    FaultKind.SERVER_ERROR_AFTER_SUCCESS,
    FaultKind.SERVER_ERROR_REMEMBERED,
    FaultKind.CONFLICT,
    FaultKind.RATE_LIMIT,
]
#: Faults after which what was asked has been done.
DONE = {
    FaultKind.LOST_ANSWER,
    FaultKind.TIMEOUT_AFTER_SUCCESS,
    FaultKind.SERVER_ERROR_AFTER_SUCCESS,
}


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop whose desk is in front of the sandbox."""

    connected: Connected
    clock: FakeClock
    desk: Desk
    owner: Caller

    def charge(
        self, number: str = "4242424242424242", *, order: Order | Again | None = None
    ) -> PaymentView:
        wish = ChargeWish(
            order=order or Order(amount=Money(PRICE, "USD")),
            method="keyed",
            token=self.connected.sandbox.token(number),
            moto=True,
        )
        return self.desk.charge(self.owner, wish)

    def hold(self) -> PaymentView:
        return self.charge(order=Order(amount=Money(PRICE, "USD"), capture_later=True))

    def outage(self, kind: FaultKind, on: str) -> None:
        """The call goes wrong, and until ``mend`` nothing can be read either."""
        self.connected.sandbox.fault(kind, on, times=99)
        self.connected.sandbox.fault(FaultKind.LOST_REQUEST, "GET *", times=999)

    def mend(self) -> None:
        """The outage is over, and the sweep runs for some hours."""
        self.connected.sandbox.engine.faults.clear()
        for _ in range(30):
            self.clock.advance(timedelta(minutes=10))
            self.desk.settle_due()

    def payment(self) -> PaymentView:
        """The only one."""
        with self.connected.parts.database.reading_connection() as db:
            payment_id = db.execute(select(PAYMENTS.c.id)).scalar_one()
        return self.desk.resolve(self.owner, payment_id)

    def states(self) -> list[AttemptState]:
        with self.connected.parts.database.reading_connection() as db:
            return list(db.execute(select(ATTEMPTS.c.state).order_by(ATTEMPTS.c.number)).scalars())

    def refunds(self) -> list[RefundState]:
        with self.connected.parts.database.reading_connection() as db:
            return list(db.execute(select(REFUNDS.c.state).order_by(REFUNDS.c.id)).scalars())

    def agrees(self) -> bool:
        """Whether the ledger has what the processor's balance has, amounts and fees, to the cent."""
        with self.connected.parts.database.reading_connection() as db:
            rows = db.execute(
                select(TRANSACTIONS, SETTLEMENTS.c.fee_minor.label("later_fee"))
                .outerjoin(SETTLEMENTS, SETTLEMENTS.c.transaction_id == TRANSACTIONS.c.id)
                .where(TRANSACTIONS.c.status == Status.APPROVED)
            ).all()
        gross = sum(_SIGNS[row.kind] * row.amount_minor for row in rows if row.kind is not Kind.FEE)
        # A row's own fee counts first; that of a dispute is a row of its own.
        fees = sum(
            row.amount_minor
            if row.kind is Kind.FEE
            else 0
            if row.kind in {Kind.DISPUTE, Kind.ADJUSTMENT}
            else (row.fee_minor if row.fee_minor is not None else row.later_fee or 0)
            for row in rows
        )
        told = self.connected.sandbox.objects("balance_transaction")
        assert gross == sum(one["amount"] for one in told)
        assert fees == sum(one["fee"] for one in told)
        return True


_SIGNS = {Kind.SALE: 1, Kind.REFUND: -1, Kind.DISPUTE: -1, Kind.ADJUSTMENT: 1}


@pytest.fixture
def shop(sqlite_connected: Connected, clock: FakeClock) -> Shop:
    parts = sqlite_connected.parts
    owner = sqlite_connected.make.caller(sqlite_connected.merchant_id, Role.OWNER)
    return Shop(sqlite_connected, clock, parts.get(Desk), owner)


@pytest.fixture
def any_shop(connected: Connected, clock: FakeClock) -> Shop:
    """On SQLite and on PostgreSQL."""
    owner = connected.make.caller(connected.merchant_id, Role.OWNER)
    return Shop(connected, clock, connected.parts.get(Desk), owner)


def taken(shop: Shop) -> int:
    """What the processor holds of ours, less what it gave back."""
    return shop.connected.sandbox.balance()


# --- charging ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_a_fault_that_passes_leaves_one_paid_sale(shop: Shop, kind: FaultKind) -> None:
    shop.connected.sandbox.fault(kind, "POST /v1/payment_intents")

    view = shop.charge()
    if kind is FaultKind.SERVER_ERROR_REMEMBERED:
        # Nothing happened, which is known when some time has passed; then it is tried anew.
        shop.mend()
        view = shop.charge(order=Again(payment_id=view.id))

    assert view.state is PaymentState.PAID
    assert taken(shop) == PRICE
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_after_an_outage_the_charge_is_what_it_truly_was(any_shop: Shop, kind: FaultKind) -> None:
    shop = any_shop
    shop.outage(kind, "POST /v1/payment_intents")
    during = shop.charge()
    surely_not = kind in {FaultKind.CONFLICT, FaultKind.RATE_LIMIT}
    assert during.state is (PaymentState.OPEN if surely_not else PaymentState.UNKNOWN)

    shop.mend()

    happened = kind in DONE
    assert shop.payment().state is (PaymentState.PAID if happened else PaymentState.OPEN)
    assert shop.states() == [AttemptState.SUCCEEDED if happened else AttemptState.FAILED]
    assert taken(shop) == (PRICE if happened else 0)
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_money_held_for_its_checks_is_taken_once_the_outage_is_over(
    shop: Shop, kind: FaultKind
) -> None:
    shop.outage(kind, "POST /v1/payment_intents/*/capture")
    assert shop.charge().state in {PaymentState.AUTHORIZED, PaymentState.PAID}

    shop.mend()

    assert shop.payment().state is PaymentState.PAID
    assert taken(shop) == PRICE
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_five_presses_at_once_charge_once(any_shop: Shop, kind: FaultKind) -> None:
    shop = any_shop
    declined = shop.charge(DECLINED)
    shop.connected.sandbox.fault(kind, "POST /v1/payment_intents/*/confirm")
    together = threading.Barrier(5)

    def press(_: int) -> None:
        together.wait()
        with suppress(DomainError):
            shop.charge(order=Again(payment_id=declined.id))

    with ThreadPoolExecutor(5) as cashiers:
        list(cashiers.map(press, range(5)))
    shop.mend()
    if shop.payment().state is PaymentState.OPEN:
        shop.charge(order=Again(payment_id=declined.id))

    assert shop.payment().state is PaymentState.PAID
    assert taken(shop) == PRICE
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_nobody_charges_again_while_it_is_not_known(shop: Shop, kind: FaultKind) -> None:
    shop.outage(kind, "POST /v1/payment_intents")
    shop.charge()
    payment_id = shop.payment().id

    # The second press, during the outage and after it.
    with suppress(DomainError):
        shop.charge(order=Again(payment_id=payment_id))
    shop.mend()
    with suppress(DomainError):
        shop.charge(order=Again(payment_id=payment_id))

    assert shop.payment().state is PaymentState.PAID
    assert taken(shop) == PRICE
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_the_second_try_of_a_declined_sale_takes_the_money_once(
    shop: Shop, kind: FaultKind
) -> None:
    declined = shop.charge(DECLINED)
    assert declined.state is PaymentState.OPEN
    again = Again(payment_id=declined.id)
    shop.outage(kind, "POST /v1/payment_intents/*/confirm")
    shop.charge(order=again)

    shop.mend()
    if shop.payment().state is PaymentState.OPEN:
        shop.charge(order=again)

    assert shop.payment().state is PaymentState.PAID
    assert taken(shop) == PRICE
    assert len(shop.connected.sandbox.objects("payment_intent")) == 1
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_a_lost_decline_is_found_to_be_one(shop: Shop, kind: FaultKind) -> None:
    shop.outage(kind, "POST /v1/payment_intents")
    shop.charge(DECLINED)

    shop.mend()

    assert shop.payment().state is PaymentState.OPEN
    assert shop.states() == [AttemptState.DECLINED if kind in DONE else AttemptState.FAILED]
    assert taken(shop) == 0
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_a_bank_debit_is_asked_for_once_and_ends_paid(shop: Shop, kind: FaultKind) -> None:
    wish = ChargeWish(
        order=Order(amount=Money(PRICE, "USD")),
        method="bank_debit",
        bank_kind="us_bank_account",
        token=shop.connected.sandbox.bank_token(),
        mandate_offline=True,
    )
    shop.outage(kind, "POST /v1/payment_intents")
    shop.desk.charge(shop.owner, wish)
    shop.mend()
    happened = kind in DONE
    assert shop.payment().state is (PaymentState.PROCESSING if happened else PaymentState.OPEN)
    assert shop.agrees()

    shop.connected.sandbox.put_forward(days=10)
    shop.mend()

    assert shop.payment().state is (PaymentState.PAID if happened else PaymentState.OPEN)
    assert taken(shop) == (PRICE if happened else 0)
    assert shop.agrees()


# --- held money -------------------------------------------------------------------------------------------------


def _capture(shop: Shop, payment_id: str) -> object:
    return shop.desk.capture(shop.owner, payment_id, amount_minor=1000)


def _cancel(shop: Shop, payment_id: str) -> object:
    return shop.desk.cancel(shop.owner, payment_id)


HELD = {
    "capture": (_capture, "POST /v1/payment_intents/*/capture", PaymentState.PAID, 1000),
    "cancel": (_cancel, "POST /v1/payment_intents/*/cancel", PaymentState.CANCELED, 0),
}


@pytest.mark.parametrize(("verb", "kind"), list(product(HELD, FAULTS)), ids=str)
def test_held_money_is_taken_or_let_go_once(shop: Shop, verb: str, kind: FaultKind) -> None:
    ask, on, ends, amount = HELD[verb]
    held = shop.hold()
    assert held.state is PaymentState.AUTHORIZED
    shop.outage(kind, on)
    with pytest.raises(DomainError):
        ask(shop, held.id)

    shop.mend()
    settled = shop.payment().state
    assert settled is (ends if kind in DONE else PaymentState.AUTHORIZED)
    if settled is PaymentState.AUTHORIZED:
        # It did not happen, so it is asked for once more.
        ask(shop, held.id)

    assert shop.payment().state is ends
    assert taken(shop) == amount
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_a_hold_is_raised_once(shop: Shop, kind: FaultKind) -> None:
    held = shop.hold()
    shop.outage(kind, "POST /v1/payment_intents/*/increment_authorization")
    with pytest.raises(DomainError):
        shop.desk.increment(shop.owner, held.id, 2000)

    shop.mend()
    if shop.payment().authorized_minor == PRICE:
        shop.desk.increment(shop.owner, held.id, 2000)

    assert shop.payment().authorized_minor == 2000
    shop.desk.capture(shop.owner, held.id)
    assert taken(shop) == 2000
    assert shop.agrees()


# --- giving back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_a_refund_is_given_once_or_not_at_all(shop: Shop, kind: FaultKind) -> None:
    payment_id = shop.charge().id
    shop.outage(kind, "POST /v1/refunds")
    shop.desk.refund(shop.owner, RefundWish(payment_id=payment_id, amount_minor=500))

    shop.mend()

    happened = kind in DONE
    assert shop.refunds() == [RefundState.SUCCEEDED if happened else RefundState.FAILED]
    assert shop.payment().refunded_minor == (500 if happened else 0)
    assert taken(shop) == PRICE - (500 if happened else 0)
    assert shop.agrees()


@pytest.mark.parametrize("kind", FAULTS, ids=str)
def test_all_that_is_left_can_be_given_back_after_an_outage(shop: Shop, kind: FaultKind) -> None:
    payment_id = shop.charge().id
    shop.outage(kind, "POST /v1/refunds")
    shop.desk.refund(shop.owner, RefundWish(payment_id=payment_id, amount_minor=500))
    shop.mend()

    shop.desk.refund(shop.owner, RefundWish(payment_id=payment_id))

    assert taken(shop) == 0
    assert shop.payment().refunded_minor == PRICE
    assert shop.agrees()


# --- what comes later -------------------------------------------------------------------------------------------


def test_a_refund_that_fails_later_is_in_the_ledger_again(shop: Shop) -> None:
    payment_id = shop.charge(REFUND_FAILS).id
    shop.desk.refund(shop.owner, RefundWish(payment_id=payment_id))
    assert shop.agrees()

    shop.connected.sandbox.put_forward(days=30)
    with shop.connected.parts.database.reading_connection() as db:
        refund_id = db.execute(select(REFUNDS.c.id)).scalar_one()
    shop.mend()
    shop.desk.resolve_refund(shop.owner, refund_id)
    shop.desk.resolve(shop.owner, payment_id)

    assert shop.refunds() == [RefundState.FAILED]
    assert taken(shop) == PRICE
    assert shop.agrees()


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_done_and_whatever_fails_the_books_agree_in_the_end(
    any_shop: Shop, seed: int
) -> None:
    """Two dozen deeds in any order, each with a fault of any kind somewhere, some left over for the next deed."""
    shop, chance = any_shop, random.Random(seed)
    for number in range(24):
        if chance.random() < 0.7:
            on = chance.choice(["POST *", "GET *", "*", "POST /v1/payment_intents/*"])
            times = chance.choice([1, 1, 2, 4, 99])
            shop.connected.sandbox.fault(chance.choice(FAULTS), on, times=times)
        with suppress(DomainError):
            _do_something(shop, chance, number)
        if chance.random() < 0.6:
            shop.connected.sandbox.engine.faults.clear()
        shop.clock.advance(chance.choice([1, 30, 100, 1000]))
        shop.desk.settle_due()

    shop.mend()

    with shop.connected.parts.database.reading_connection() as db:
        payments = db.execute(select(PAYMENTS)).all()
        refunds = db.execute(select(REFUNDS)).all()
        attempts = db.execute(select(ATTEMPTS)).all()
    at_rest = {
        PaymentState.PAID,
        PaymentState.OPEN,
        PaymentState.CANCELED,
        PaymentState.AUTHORIZED,
    }
    assert {payment.state for payment in payments} <= at_rest
    assert {refund.state for refund in refunds} <= {RefundState.SUCCEEDED, RefundState.FAILED}
    assert [one for one in attempts if one.state in OPEN_ATTEMPTS] == []
    _money_is_where_we_say(shop, payments)
    assert shop.agrees()


def _do_something(shop: Shop, chance: random.Random, number: int) -> None:
    with shop.connected.parts.database.reading_connection() as db:
        known = list(db.execute(select(PAYMENTS.c.id).order_by(PAYMENTS.c.id)).scalars())
    payment_id = chance.choice(known) if known else ""
    card = chance.choice(["4242424242424242", "4000056655665556", DECLINED])
    match chance.choice(
        ["charge", "charge", "hold", "again", "again", "refund", "capture", "cancel"]
    ):
        case "refund" if known:
            amount = chance.choice([None, 100, 1000])
            shop.desk.refund(shop.owner, RefundWish(payment_id=payment_id, amount_minor=amount))
        case "capture" if known:
            shop.desk.capture(shop.owner, payment_id, amount_minor=chance.choice([None, 900]))
        case "cancel" if known:
            shop.desk.cancel(shop.owner, payment_id)
        case "again" if known:
            shop.charge(card, order=Again(payment_id=payment_id))
        case deed:
            price = Money(2000 + number, "USD")
            shop.charge(card, order=Order(amount=price, capture_later=deed == "hold"))


def _money_is_where_we_say(shop: Shop, payments: Sequence[Any]) -> None:  # rows
    """Each payment has what its intent has, and no intent is unknown to us or has taken twice."""
    sandbox = shop.connected.sandbox
    charges = [one["payment_intent"] for one in sandbox.taken()]
    assert len(charges) == len(set(charges))
    of_ours = {one.processor_id: one for one in payments if one.processor_id is not None}
    for intent in sandbox.objects("payment_intent"):
        mine = of_ours.get(intent["id"])
        if mine is None:
            # Let go, so that the payment could go on another way.
            assert intent["status"] == "canceled"
            continue
        given_back = sum(
            one["amount"]
            for one in sandbox.objects("refund", payment_intent=intent["id"])
            if one["status"] == "succeeded"
        )
        assert mine.captured_minor == intent["amount_received"]
        assert mine.refunded_minor == given_back
        assert (mine.state is PaymentState.PAID) is (intent["status"] == "succeeded")
        assert (mine.state is PaymentState.AUTHORIZED) is (intent["status"] == "requires_capture")


def test_every_call_fails_now_and_then_and_a_day_of_sales_still_adds_up(any_shop: Shop) -> None:
    shop = any_shop
    sandbox = shop.connected.sandbox
    paid: list[str] = []
    for number in range(21):
        kind = FAULTS[number % len(FAULTS)]
        sandbox.fault(kind, "POST *", times=1 + number % 4)
        order = Order(amount=Money(1000 + number, "USD"), reference=f"order {number}")
        view = shop.charge(DECLINED if number % 5 == 4 else "4242424242424242", order=order)
        if view.state is PaymentState.PAID:
            paid.append(view.id)
        if paid and number % 3 == 2:
            with suppress(DomainError):
                shop.desk.refund(shop.owner, RefundWish(payment_id=paid[-1], amount_minor=100))
        sandbox.engine.faults.clear()

    shop.mend()

    with shop.connected.parts.database.reading_connection() as db:
        states = set(db.execute(select(PAYMENTS.c.state)).scalars())
        refunds = set(db.execute(select(REFUNDS.c.state)).scalars())
    assert states == {PaymentState.PAID, PaymentState.OPEN}
    assert refunds <= {RefundState.SUCCEEDED, RefundState.FAILED}
    charges = [one["payment_intent"] for one in sandbox.taken()]
    assert len(charges) == len(set(charges))
    assert shop.agrees()
