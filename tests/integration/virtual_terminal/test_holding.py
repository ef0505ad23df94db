"""Held money: captured, raised, let go; and what is held only until its checks are looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from control_plane.errors import Forbidden
from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal.errors import (
    AnswerLost,
    AttemptRunning,
    CaptureTooLarge,
    NoChecksToAccept,
    NotCancelable,
    NotCapturable,
    NotIncrementable,
)
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.models import PAYMENTS
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again
from tests.integration.virtual_terminal.conftest import Counter
from tests.support.play_account import NEEDS_3DS

ZIP_FAILS = "4000000000000036"
CVC_FAILS = "4000000000000101"


def held(counter: Counter, number: str = "4242424242424242") -> PaymentView:
    view = counter.desk.charge(counter.cashier, counter.keyed(number, capture_later=True))
    assert view.state is PaymentState.AUTHORIZED
    return view


def test_held_money_is_no_sale_until_it_is_captured(counter: Counter) -> None:
    view = held(counter)
    assert counter.ledger() == []
    assert (view.authorized_minor, view.captured_minor) == (12_34, 0)

    done = counter.desk.capture(counter.manager, view.id)

    assert done.state is PaymentState.PAID
    assert done.captured_minor == 12_34
    assert [row[0] for row in counter.ledger()] == ["sale"]


def test_a_part_is_captured_and_the_rest_let_go(counter: Counter) -> None:
    view = held(counter)

    done = counter.desk.capture(counter.manager, view.id, amount_minor=10_00)

    assert (done.state, done.captured_minor) == (PaymentState.PAID, 10_00)
    assert counter.ledger()[0][3] == 10_00
    assert done.refundable_minor == 10_00


def test_more_than_is_held_is_not_captured(counter: Counter) -> None:
    view = held(counter)

    with pytest.raises(CaptureTooLarge):
        counter.desk.capture(counter.manager, view.id, amount_minor=12_35)

    assert counter.payment(view.id).state is PaymentState.AUTHORIZED
    assert counter.ledger() == []


def test_a_capture_whose_answer_is_lost_is_found(counter: Counter) -> None:
    view = held(counter)
    counter.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/payment_intents/*/capture", times=9)

    done = counter.desk.capture(counter.manager, view.id)

    assert done.state is PaymentState.PAID
    assert len(counter.ledger()) == 1


def test_a_capture_that_never_arrived_says_so_and_can_be_done_again(counter: Counter) -> None:
    view = held(counter)
    counter.sandbox.fault(FaultKind.SERVER_ERROR, "POST /v1/payment_intents/*/capture", times=9)

    with pytest.raises(AnswerLost):
        counter.desk.capture(counter.manager, view.id)
    assert counter.payment(view.id).state is PaymentState.AUTHORIZED
    counter.sandbox.engine.faults.clear()

    assert counter.desk.capture(counter.manager, view.id).state is PaymentState.PAID
    assert len(counter.ledger()) == 1


def test_a_cashier_does_not_capture(counter: Counter) -> None:
    view = held(counter)

    with pytest.raises(Forbidden):
        counter.desk.capture(counter.cashier, view.id)

    assert counter.payment(view.id).state is PaymentState.AUTHORIZED


def test_what_is_paid_has_nothing_to_capture_and_cannot_be_canceled(counter: Counter) -> None:
    view = counter.paid()

    with pytest.raises(NotCapturable):
        counter.desk.capture(counter.manager, view.id)
    with pytest.raises(NotCancelable):
        counter.desk.cancel(counter.manager, view.id)

    assert counter.payment(view.id).state is PaymentState.PAID


def test_held_money_is_let_go(counter: Counter) -> None:
    view = held(counter)

    gone = counter.desk.cancel(counter.manager, view.id, reason="changed their mind")

    assert gone.state is PaymentState.CANCELED
    assert gone.attempt is not None
    assert gone.attempt.state is AttemptState.CANCELED
    assert counter.ledger() == []
    assert counter.desk.cancel(counter.manager, view.id).state is PaymentState.CANCELED


def test_a_declined_payment_is_canceled_before_anything_else_is_tried(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed("4000000000000002"))

    assert counter.desk.cancel(counter.cashier, view.id).state is PaymentState.CANCELED
    assert counter.sandbox.taken() == []


def test_the_held_amount_is_raised_or_the_refusal_changes_nothing(counter: Counter) -> None:
    view = held(counter)

    with pytest.raises(NotIncrementable):
        counter.desk.increment(counter.manager, view.id, 12_34)
    try:
        raised = counter.desk.increment(counter.manager, view.id, 20_00)
    except NotIncrementable:
        raised = counter.payment(view.id)
        assert raised.authorized_minor == 12_34
    else:
        assert (raised.amount_minor, raised.authorized_minor) == (20_00, 20_00)
    [charge] = counter.sandbox.taken()
    assert charge["amount"] == raised.authorized_minor


def test_a_wrong_security_code_is_blocked_and_the_money_let_go(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed(CVC_FAILS))

    assert view.state is PaymentState.OPEN
    assert view.attempt is not None
    assert (view.attempt.state, view.attempt.code) in {
        (AttemptState.DECLINED, "cvc_check_failed"),
        (AttemptState.DECLINED, "incorrect_cvc"),
    }
    assert all(one["captured"] is False for one in counter.sandbox.taken())
    assert counter.ledger() == [] or counter.ledger()[0][1] == "declined"


def test_a_wrong_postal_code_waits_for_a_persons_word(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed(ZIP_FAILS))
    assert view.state is PaymentState.AUTHORIZED
    assert view.waits_for_checks
    assert "postal code" in view.explanation
    assert counter.ledger() == []

    done = counter.desk.accept_checks(counter.cashier, view.id)

    assert done.state is PaymentState.PAID
    assert len(counter.ledger()) == 1
    assert "checks_accepted" in counter.kinds(view.id)


def test_a_wrong_postal_code_can_be_refused(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed(ZIP_FAILS))

    gone = counter.desk.cancel(counter.cashier, view.id)

    assert gone.state is PaymentState.CANCELED
    assert counter.ledger() == []


def test_nobody_accepts_checks_of_money_that_is_held_for_later(counter: Counter) -> None:
    view = held(counter)

    with pytest.raises(NoChecksToAccept):
        counter.desk.accept_checks(counter.manager, view.id)

    assert counter.payment(view.id).state is PaymentState.AUTHORIZED


def test_a_running_attempt_is_not_canceled_under_its_feet(counter: Counter) -> None:
    view = counter.desk.charge(counter.cashier, counter.keyed(NEEDS_3DS))
    gone = counter.desk.give_up_attempt(counter.cashier, view.id)
    assert gone.state is PaymentState.OPEN
    assert gone.processor_id is None
    counter.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/payment_intents", times=9)
    counter.sandbox.fault(FaultKind.SERVER_ERROR, "GET *", times=9)
    wish = replace(counter.keyed(), order=Again(payment_id=view.id))
    unknown = counter.desk.charge(counter.cashier, wish)
    assert unknown.state is PaymentState.UNKNOWN

    with pytest.raises(AttemptRunning):
        counter.desk.give_up_attempt(counter.cashier, view.id)

    counter.sandbox.engine.faults.clear()
    assert counter.desk.resolve(counter.cashier, view.id).state is PaymentState.PAID


def test_held_money_is_announced_a_day_before_it_lapses_once(counter: Counter) -> None:
    view = held(counter)
    assert view.capture_before is not None
    with counter.parts.database.reading_connection() as db:
        due = db.execute(select(PAYMENTS.c.look_again_at)).scalar_one()
    assert due <= view.capture_before - timedelta(hours=24)

    counter.clock.advance(view.capture_before - timedelta(hours=23) - counter.clock.now())
    counter.desk.settle_due()
    counter.desk.resolve(counter.manager, view.id)

    assert counter.kinds(view.id).count("capture_lapsing") == 1
