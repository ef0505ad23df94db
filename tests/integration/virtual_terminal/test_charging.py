"""Keyed, saved and bank charges against the sandbox: money moves once, and our state says what is true."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from control_plane.accounts.permissions import Role
from control_plane.audit.service import EVENTS
from control_plane.errors import Forbidden, NotFound
from control_plane.payments.errors import AmountRefused
from control_plane.sandbox.faults import FaultKind
from control_plane.till import service as till
from control_plane.till.errors import CurrencyNotOffered, LimitReached
from control_plane.till.limits import MemberLimits
from control_plane.virtual_terminal.errors import (
    AttemptRunning,
    FormReused,
    MethodIncomplete,
    PaymentPaid,
    PaymentUnknown,
    PossibleDuplicate,
)
from control_plane.virtual_terminal.ladder import Offer
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.models import ACCOUNTS
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, Order
from protocols.money import Money
from tests.integration.virtual_terminal.conftest import PRICE, Counter
from tests.support.play_account import DECLINED, INSUFFICIENT, NEEDS_3DS

EVERY_LOST_ANSWER = 9


def again(counter: Counter, payment_id: str, number: str = "", **facts: Any) -> ChargeWish:
    wish = counter.keyed(number) if number else counter.keyed()
    return replace(wish, order=Again(payment_id=payment_id, **facts))


def test_a_typed_card_is_charged_once_and_stands_in_the_ledger(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed(reference="order 7"))

    [charge] = counter.sandbox.taken()
    assert view.state is PaymentState.PAID
    assert (view.captured_minor, view.card_brand, view.card_last4) == (12_34, "visa", "4242")
    assert view.location_id == counter.connected.location_id
    assert counter.ledger() == [("sale", "approved", charge["id"], 12_34)]
    assert view.transaction_id is not None
    assert view.fee_minor is not None
    assert view.settlement_currency == "USD"
    assert charge["amount"] == 12_34
    [intent] = counter.sandbox.objects("payment_intent")
    assert intent["metadata"]["payment"] == view.id


def test_a_decline_is_told_with_what_may_follow_and_takes_nothing(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed(INSUFFICIENT))

    assert counter.sandbox.taken() == []
    assert view.state is PaymentState.OPEN
    assert view.attempt is not None
    assert (view.attempt.state, view.attempt.code) == (
        AttemptState.DECLINED,
        "insufficient_funds",
    )
    assert Offer.LINK in view.offers
    [(kind, status, _, amount)] = counter.ledger()
    assert (kind, status, amount) == ("sale", "declined", 12_34)


def test_another_card_pays_the_same_intent(counter: Counter) -> None:
    refused = counter.desk.charge(counter.cashier, counter.keyed(DECLINED))

    view = counter.desk.charge(counter.cashier, again(counter, refused.id))

    assert view.state is PaymentState.PAID
    assert [one.state for one in counter.attempts(view.id)] == [
        AttemptState.DECLINED,
        AttemptState.SUCCEEDED,
    ]
    assert len(counter.sandbox.objects("payment_intent")) == 1
    assert len(counter.sandbox.taken()) == 1
    assert [row[:2] for row in counter.ledger()] == [("sale", "declined"), ("sale", "approved")]


def test_a_paid_payment_is_not_charged_again(counter: Counter) -> None:
    view = counter.paid()

    with pytest.raises(PaymentPaid):
        counter.desk.charge(counter.cashier, again(counter, view.id))

    assert len(counter.sandbox.taken()) == 1
    assert len(counter.attempts(view.id)) == 1


def test_a_telephone_order_needs_no_cardholder(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, replace(counter.keyed(NEEDS_3DS), moto=True))

    assert view.state is PaymentState.PAID
    assert view.attempt is not None
    assert view.attempt.moto is True


def test_where_telephone_orders_are_not_allowed_the_payer_confirms(counter: Counter) -> None:
    with counter.parts.database.connection() as db:
        db.execute(update(ACCOUNTS).values(moto_enabled=False))

    wish = replace(counter.keyed(NEEDS_3DS), moto=True, return_url="https://shop.example/pos")
    view = counter.desk.charge(counter.cashier, wish)

    assert view.state is PaymentState.REQUIRES_ACTION
    assert view.action is not None
    assert view.action.client_secret
    assert view.attempt is not None
    assert view.attempt.moto is False
    assert counter.sandbox.taken() == []
    assert "secret" not in repr(view)


def test_a_confirmation_that_never_comes_gives_way_to_another_card(counter: Counter) -> None:
    waiting = counter.desk.charge(counter.cashier, counter.keyed(NEEDS_3DS))
    assert waiting.attempt is not None

    with pytest.raises(AttemptRunning):
        counter.desk.charge(counter.cashier, again(counter, waiting.id))
    view = counter.desk.charge(
        counter.cashier, again(counter, waiting.id, replaces=waiting.attempt.id)
    )

    assert view.state is PaymentState.PAID
    assert [one["status"] for one in counter.sandbox.objects("payment_intent")] == [
        "canceled",
        "succeeded",
    ]
    assert len(counter.sandbox.taken()) == 1


def test_the_same_form_is_the_same_payment(counter: Counter) -> None:
    wish = counter.keyed(form_key="form-1")

    first = counter.desk.charge(counter.cashier, wish)
    second = counter.desk.charge(counter.cashier, wish)

    assert second.id == first.id
    assert len(counter.sandbox.taken()) == 1
    assert len(counter.payments()) == 1


def test_the_same_form_with_another_amount_is_refused(counter: Counter) -> None:
    counter.desk.charge(counter.cashier, counter.keyed(form_key="form-1"))

    with pytest.raises(FormReused):
        counter.desk.charge(
            counter.cashier, counter.keyed(amount=Money(99, "USD"), form_key="form-1")
        )

    assert len(counter.sandbox.taken()) == 1


def test_a_second_attempt_sent_twice_is_one_attempt(counter: Counter) -> None:
    refused = counter.desk.charge(counter.cashier, counter.keyed(DECLINED))
    wish = again(counter, refused.id, DECLINED, form_key="form-2")

    counter.desk.charge(counter.cashier, wish)
    counter.desk.charge(counter.cashier, wish)

    assert len(counter.attempts(refused.id)) == 2


@pytest.mark.parametrize("alike", ["card", "order"])
def test_the_same_sale_within_minutes_is_asked_about_first(counter: Counter, alike: str) -> None:
    first = counter.paid(reference="order 7")
    wish = counter.keyed(reference="order 7" if alike == "order" else "")
    if alike == "order":
        wish = replace(wish, hint_last4=None)

    with pytest.raises(PossibleDuplicate) as asked:
        counter.desk.charge(counter.cashier, wish)

    assert asked.value.facts["other"] == first.id
    assert len(counter.sandbox.taken()) == 1
    assert len(counter.payments()) == 1


def test_a_cashier_who_means_it_charges_the_same_card_twice(counter: Counter) -> None:
    counter.paid()

    view = counter.desk.charge(counter.cashier, counter.keyed(confirm_duplicate=True))

    assert view.state is PaymentState.PAID
    assert view.duplicate_of is None
    assert "duplicate_confirmed" in counter.kinds(view.id)
    assert len(counter.sandbox.taken()) == 2


def test_a_declined_charge_is_no_duplicate(counter: Counter) -> None:
    counter.desk.charge(counter.cashier, counter.keyed(DECLINED))

    view = counter.desk.charge(counter.cashier, counter.keyed(DECLINED))

    assert view.attempt is not None
    assert view.attempt.state is AttemptState.DECLINED


def test_a_pair_that_no_hint_told_of_is_marked_afterwards(counter: Counter) -> None:
    blind = replace(counter.keyed(), hint_last4=None)
    first = counter.desk.charge(counter.cashier, blind)

    second = counter.desk.charge(
        counter.cashier, replace(blind, token=counter.sandbox.token(), hint_last4=None)
    )

    assert counter.payment(second.id).duplicate_of == first.id
    assert "duplicate_found" in counter.kinds(first.id)


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Runs them together; what each brought, or raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait(5)
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_two_payments_at_once_do_not_pass_the_limit_of_the_day(counter: Counter) -> None:
    with counter.parts.database.transaction() as db:
        day = MemberLimits(day={"USD": 20_00})
        till.set_limits(db, counter.owner, counter.cashier.id, day)
    wishes = [counter.keyed(amount=Money(9_00 + cents, "USD")) for cents in range(4)]

    outcomes = at_once(
        *(lambda wish=wish: counter.desk.charge(counter.cashier, wish) for wish in wishes)
    )

    assert sum(isinstance(one, PaymentView) for one in outcomes) == 2
    assert sum(isinstance(one, LimitReached) for one in outcomes) == 2
    assert len(counter.sandbox.taken()) == 2


def test_two_browsers_that_charge_one_payment_at_once_charge_once(counter: Counter) -> None:
    refused = counter.desk.charge(counter.cashier, counter.keyed(DECLINED))
    wishes = [again(counter, refused.id), again(counter, refused.id)]

    outcomes = at_once(
        *(lambda wish=wish: counter.desk.charge(counter.cashier, wish) for wish in wishes)
    )

    assert len(counter.sandbox.taken()) == 1
    kinds = sorted(type(one).__name__ for one in outcomes)
    assert kinds in (["AttemptRunning", "PaymentView"], ["PaymentPaid", "PaymentView"])
    assert len(counter.attempts(refused.id)) == 2


def test_one_form_sent_twice_at_once_is_one_payment(counter: Counter) -> None:
    wishes = [counter.keyed(form_key="form-1"), counter.keyed(form_key="form-1")]

    outcomes = at_once(
        *(lambda wish=wish: counter.desk.charge(counter.cashier, wish) for wish in wishes)
    )

    assert len(counter.sandbox.taken()) == 1
    assert len({one.id for one in outcomes}) == 1  # type: ignore[attr-defined]  # two views
    assert len(counter.payments()) == 1


def test_of_two_forms_for_one_card_at_once_the_second_is_asked(counter: Counter) -> None:
    wishes = [counter.keyed(form_key="form-1"), counter.keyed(form_key="form-2")]

    outcomes = at_once(
        *(lambda wish=wish: counter.desk.charge(counter.cashier, wish) for wish in wishes)
    )

    assert sorted(type(one).__name__ for one in outcomes) == ["PaymentView", "PossibleDuplicate"]
    assert len(counter.sandbox.taken()) == 1
    assert len(counter.payments()) == 1


def test_an_answer_that_is_lost_for_good_leaves_the_payment_unknown_and_closed(
    counter: Counter,
) -> None:
    counter.sandbox.fault(
        FaultKind.LOST_ANSWER, "POST /v1/payment_intents", times=EVERY_LOST_ANSWER
    )
    counter.sandbox.fault(FaultKind.SERVER_ERROR, "GET *", times=EVERY_LOST_ANSWER)

    view = counter.desk.charge(counter.cashier, counter.keyed())

    assert view.state is PaymentState.UNKNOWN
    with pytest.raises(PaymentUnknown):
        counter.desk.charge(counter.cashier, again(counter, view.id))
    assert len(counter.sandbox.taken()) == 1
    counter.sandbox.engine.faults.clear()
    settled = counter.desk.resolve(counter.cashier, view.id)
    assert settled.state is PaymentState.PAID
    assert [row[:2] for row in counter.ledger()] == [("sale", "approved")]
    assert counter.kinds(view.id) == [
        "created", "unknown", "found_out", "authorized", "paid", "settled",
    ]  # fmt: skip


@pytest.mark.parametrize("amount", [0, -1, 1_000_000_01])
def test_an_impossible_amount_is_refused_before_anything_is_written(
    sqlite_counter: Counter, amount: int
) -> None:
    with pytest.raises(AmountRefused):
        sqlite_counter.desk.charge(
            sqlite_counter.cashier, sqlite_counter.keyed(amount=Money(amount, "USD"))
        )

    assert sqlite_counter.payments() == []
    assert sqlite_counter.sandbox.objects("payment_intent") == []


def test_a_currency_that_the_till_does_not_take_is_refused(sqlite_counter: Counter) -> None:
    with pytest.raises(CurrencyNotOffered):
        sqlite_counter.desk.charge(
            sqlite_counter.cashier, sqlite_counter.keyed(amount=Money(500, "JPY"))
        )

    assert sqlite_counter.payments() == []
    assert sqlite_counter.sandbox.objects("payment_intent") == []


def test_a_card_without_its_token_is_refused(sqlite_counter: Counter) -> None:
    with pytest.raises(MethodIncomplete):
        sqlite_counter.desk.charge(
            sqlite_counter.cashier, ChargeWish(order=Order(amount=PRICE), method="keyed")
        )

    assert sqlite_counter.payments() == []


def test_what_was_typed_into_a_note_by_mistake_is_no_card_number_afterwards(
    sqlite_counter: Counter,
) -> None:
    view = sqlite_counter.paid(note="card 4242 4242 4242 4242", reference="4242424242424242")

    assert "4242 4242 4242" not in view.note
    assert "424242424242" not in view.reference


def test_a_payment_of_another_shop_does_not_exist_for_a_cashier(sqlite_counter: Counter) -> None:
    other = sqlite_counter.connected.make.location(sqlite_counter.connected.merchant_id)
    view = sqlite_counter.desk.charge(sqlite_counter.owner, sqlite_counter.keyed(location_id=other))

    with pytest.raises(NotFound):
        sqlite_counter.desk.resolve(sqlite_counter.cashier, view.id)


def test_an_accountant_charges_nothing(sqlite_counter: Counter) -> None:
    connected = sqlite_counter.connected
    accountant = connected.make.caller(connected.merchant_id, Role.ACCOUNTANT)

    with pytest.raises(Forbidden):
        sqlite_counter.desk.charge(accountant, sqlite_counter.keyed())

    assert sqlite_counter.sandbox.objects("payment_intent") == []


def test_a_charge_stands_in_the_activity_log(sqlite_counter: Counter) -> None:
    view = sqlite_counter.paid()

    with sqlite_counter.parts.database.reading_connection() as db:
        tags = db.execute(select(EVENTS.c.tag).where(EVENTS.c.object_id == view.id)).scalars().all()
    assert tags == ["payment:charge:create"]
