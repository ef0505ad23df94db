"""Payments that wait for their truth find it: by themselves, on demand, and only by what the processor says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal import settle
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.models import ATTEMPTS, PAYMENTS
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import ChargeWish, Order
from tests.integration.virtual_terminal.conftest import PRICE, Counter
from tests.support.play_account import DECLINED

#: As often as a call and its repetitions can go wrong.
ALWAYS = 99


def test_a_lost_answer_is_found_at_once_when_reading_works(counter: Counter) -> None:
    counter.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/payment_intents", times=ALWAYS)

    view = counter.desk.charge(counter.cashier, counter.keyed())

    assert view.state is PaymentState.PAID
    assert len(counter.sandbox.taken()) == 1
    assert len(counter.ledger()) == 1


def test_the_sweep_settles_what_nobody_asks_about(counter: Counter) -> None:
    counter.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/payment_intents", times=ALWAYS)
    counter.sandbox.fault(FaultKind.SERVER_ERROR, "GET *", times=ALWAYS)
    view = counter.desk.charge(counter.cashier, counter.keyed())
    assert view.state is PaymentState.UNKNOWN
    counter.sandbox.engine.faults.clear()
    assert counter.desk.settle_due() == 0

    counter.clock.advance(30)
    counter.desk.settle_due()

    assert counter.payment(view.id).state is PaymentState.PAID
    assert len(counter.sandbox.taken()) == 1


def test_a_declined_card_whose_answer_was_lost_is_found_declined(counter: Counter) -> None:
    counter.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/payment_intents", times=ALWAYS)

    view = counter.desk.charge(counter.cashier, counter.keyed(DECLINED))

    assert view.state is PaymentState.OPEN
    assert view.attempt is not None
    assert view.attempt.state is AttemptState.DECLINED
    assert counter.sandbox.taken() == []


def test_what_never_arrived_is_given_up_only_after_two_looks_and_a_while(counter: Counter) -> None:
    counter.sandbox.fault(FaultKind.LOST_REQUEST, "POST /v1/payment_intents", times=ALWAYS)
    view = counter.desk.charge(counter.cashier, counter.keyed())
    if view.state is PaymentState.OPEN:
        # The adapter was sure already.
        assert view.attempt is not None
        assert view.attempt.code == "not_reached"
        return
    counter.sandbox.engine.faults.clear()

    counter.clock.advance(30)
    counter.desk.settle_due()
    assert counter.payment(view.id).state is PaymentState.UNKNOWN
    counter.clock.advance(timedelta(minutes=3))
    counter.desk.settle_due()

    found = counter.payment(view.id)
    assert found.state is PaymentState.OPEN
    assert found.attempt is not None
    assert (found.attempt.state, found.attempt.code) == (AttemptState.FAILED, "not_processed")
    assert counter.sandbox.taken() == []
    assert counter.ledger() == []


@pytest.mark.parametrize("happened", [True, False])
def test_a_server_that_died_in_the_middle_leaves_nothing_open_for_ever(
    counter: Counter, happened: bool
) -> None:
    view = counter.paid() if happened else _written_only(counter)
    if happened:
        _forget_the_answer(counter, view.id)

    for pause_s in (60, 30, 120):
        counter.clock.advance(pause_s)
        counter.desk.settle_due()

    found = counter.payment(view.id)
    assert found.state is (PaymentState.PAID if happened else PaymentState.OPEN)
    assert len(counter.sandbox.taken()) == (1 if happened else 0)
    assert len(counter.ledger()) == (1 if happened else 0)


def test_a_webhook_before_our_own_answer_is_no_second_payment(counter: Counter) -> None:
    view = counter.paid()
    _forget_the_answer(counter, view.id)
    [intent] = counter.sandbox.objects("payment_intent")
    told = counter.connected.processor.read_payment(intent["id"])

    for _ in range(2):
        with counter.parts.database.connection() as db:
            settle.apply_snapshot(db, counter.connected.merchant_id, told)

    assert [one.id for one in counter.payments()] == [view.id]
    assert counter.payment(view.id).state is PaymentState.PAID
    assert len(counter.ledger()) == 1


def test_a_bank_debit_is_on_its_way_until_the_bank_has_paid(counter: Counter) -> None:
    view = counter.desk.charge(
        counter.cashier,
        ChargeWish(
            order=Order(amount=PRICE),
            method="bank_debit",
            token=counter.sandbox.bank_token(),
            bank_kind="us_bank_account",
            mandate_offline=True,
        ),
    )
    assert view.state is PaymentState.PROCESSING
    assert counter.ledger() == []

    counter.sandbox.put_forward(days=6)
    counter.clock.advance(timedelta(days=6))
    counter.desk.settle_due()

    done = counter.payment(view.id)
    assert done.state is PaymentState.PAID
    assert done.method_kind == "us_bank_account"
    assert [row[:2] for row in counter.ledger()] == [("sale", "approved")]


def test_a_bank_debit_that_the_bank_returns_can_be_tried_another_way(counter: Counter) -> None:
    view = counter.desk.charge(
        counter.cashier,
        ChargeWish(
            order=Order(amount=PRICE),
            method="bank_debit",
            token=counter.sandbox.bank_token(account_number="000111111113"),
            bank_kind="us_bank_account",
            mandate_offline=True,
        ),
    )
    assert view.state is PaymentState.PROCESSING

    counter.sandbox.put_forward(days=6)
    counter.clock.advance(timedelta(days=6))
    counter.desk.settle_due()

    found = counter.payment(view.id)
    assert found.state is PaymentState.OPEN
    assert found.attempt is not None
    assert found.attempt.state is AttemptState.DECLINED
    assert counter.ledger()[0][1] == "declined"


def test_small_deposits_are_checked_before_a_debit_begins(counter: Counter) -> None:
    view = counter.desk.charge(
        counter.cashier,
        ChargeWish(
            order=Order(amount=PRICE),
            method="bank_debit",
            token=counter.sandbox.bank_token(verified=False),
            bank_kind="us_bank_account",
            mandate_offline=True,
        ),
    )
    assert view.state is PaymentState.REQUIRES_ACTION
    assert view.action is not None
    assert view.action.kind == "verify_with_microdeposits"

    done = counter.desk.verify_microdeposits(counter.cashier, view.id, amounts=(32, 45))

    assert done.state is PaymentState.PROCESSING
    assert "microdeposits" in counter.kinds(view.id)


def _written_only(counter: Counter) -> PaymentView:
    """A payment whose server died before it asked."""
    counter.sandbox.fault(FaultKind.RATE_LIMIT, "POST /v1/payment_intents", times=ALWAYS)
    view = counter.desk.charge(counter.cashier, counter.keyed())
    counter.sandbox.engine.faults.clear()
    _forget_the_answer(counter, view.id)
    return view


def _forget_the_answer(counter: Counter, payment_id: str) -> None:
    """As if the second transaction had never been: the ledger, which cannot forget, is left as it is."""
    with counter.parts.database.connection() as db:
        db.execute(
            update(PAYMENTS)
            .where(PAYMENTS.c.id == payment_id)
            .values(
                state=PaymentState.IN_PROGRESS,
                processor_id=None,
                captured_minor=0,
                charge_id=None,
                transaction_id=None,
                look_again_at=counter.clock.now() + timedelta(seconds=45),
            )
        )
        db.execute(
            update(ATTEMPTS)
            .where(ATTEMPTS.c.payment_id == payment_id)
            .values(state=AttemptState.SENT, charge_id=None, code=None, ended_at=None)
        )
