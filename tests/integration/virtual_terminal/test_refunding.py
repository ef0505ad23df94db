"""Refunds and disputes: never more than is left, approved above a limit, mirrored whoever began them."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from control_plane.accounts.permissions import Role
from control_plane.errors import Forbidden
from control_plane.sandbox.faults import FaultKind
from control_plane.till import service as till
from control_plane.till.limits import MemberLimits
from control_plane.till.queries import settings_of
from control_plane.virtual_terminal import queries, settle
from control_plane.virtual_terminal.errors import (
    FormReused,
    LinesRefused,
    NotRefundable,
    OwnRefund,
    RefundDecided,
    RefundTooLarge,
)
from control_plane.virtual_terminal.lifecycle import RefundReason, RefundState
from control_plane.virtual_terminal.wishes import RefundWish
from protocols.money import Money
from tests.integration.virtual_terminal.conftest import Counter
from tests.integration.virtual_terminal.test_charging import at_once
from tests.support.play_account import DISPUTED, REFUND_FAILS

CUPS: tuple[dict[str, Any], ...] = (
    {"name": "Cup", "quantity": 3, "unit_minor": 333, "tax_rate": None, "total_minor": 1000},
    {"name": "Tea", "quantity": 1, "unit_minor": 234, "tax_rate": None, "total_minor": 234},
)


def limited(counter: Counter, minor: int) -> None:
    """From now on refunds above so much wait for approval."""
    with counter.parts.database.transaction() as db:
        settings = settings_of(db, counter.connected.merchant_id)
        wanted = dataclasses.replace(settings, refund_limits={"USD": minor})
        till.update_settings(db, counter.owner, wanted)


def test_all_of_it_goes_back(counter: Counter) -> None:
    sale = counter.paid()

    refund = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id))

    assert (refund.state, refund.amount_minor) == (RefundState.SUCCEEDED, 12_34)
    assert counter.payment(sale.id).refunded_minor == 12_34
    [there] = counter.sandbox.objects("refund")
    assert there["amount"] == 12_34
    assert counter.ledger()[1] == ("refund", "approved", there["id"], 12_34)


def test_more_than_is_left_is_refused_and_moves_no_money(counter: Counter) -> None:
    sale = counter.paid()
    counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id, amount_minor=10_00))

    with pytest.raises(RefundTooLarge) as refused:
        counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id, amount_minor=2_35))

    assert refused.value.facts["remaining"] == Money(2_34, "USD")
    assert len(counter.sandbox.objects("refund")) == 1
    assert len(counter.refunds(sale.id)) == 1


def test_two_refunds_at_once_never_give_back_more_than_there_was(counter: Counter) -> None:
    sale = counter.paid()
    wish = RefundWish(payment_id=sale.id, amount_minor=10_00)

    outcomes = at_once(
        lambda: counter.desk.refund(counter.manager, wish),
        lambda: counter.desk.refund(counter.owner, wish),
    )

    assert sorted(type(one).__name__ for one in outcomes) == ["RefundTooLarge", "RefundView"]
    assert [one["amount"] for one in counter.sandbox.objects("refund")] == [10_00]


def test_lines_go_back_and_add_up_to_the_whole(counter: Counter) -> None:
    sale = counter.paid(items=CUPS)

    amounts = [
        counter.desk.refund(
            counter.manager,
            RefundWish(payment_id=sale.id, lines=({"index": 0, "quantity": 1},)),
        ).amount_minor
        for _ in range(3)
    ]

    assert sum(amounts) == 1000
    with pytest.raises(LinesRefused):
        counter.desk.refund(
            counter.manager, RefundWish(payment_id=sale.id, lines=({"index": 0, "quantity": 1},))
        )
    assert len(counter.refunds(sale.id)) == 3


def test_the_same_refund_form_gives_back_once(counter: Counter) -> None:
    sale, other = counter.paid(), counter.paid(confirm_duplicate=True)
    wish = RefundWish(payment_id=sale.id, amount_minor=5_00, form_key="form-1")

    first = counter.desk.refund(counter.manager, wish)
    second = counter.desk.refund(counter.manager, wish)

    assert second.id == first.id
    assert len(counter.sandbox.objects("refund")) == 1
    with pytest.raises(FormReused):
        counter.desk.refund(counter.manager, dataclasses.replace(wish, payment_id=other.id))


def test_nothing_goes_back_of_what_was_not_paid(counter: Counter) -> None:
    declined = counter.desk.charge(counter.cashier, counter.keyed("4000000000000002"))

    with pytest.raises(NotRefundable):
        counter.desk.refund(counter.manager, RefundWish(payment_id=declined.id))

    assert counter.refunds(declined.id) == []


def test_a_cashier_gives_nothing_back(counter: Counter) -> None:
    sale = counter.paid()

    with pytest.raises(Forbidden):
        counter.desk.refund(counter.cashier, RefundWish(payment_id=sale.id))

    assert counter.sandbox.objects("refund") == []


def test_above_the_limit_somebody_else_approves(counter: Counter) -> None:
    limited(counter, 5_00)
    sale = counter.paid()

    asked = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id, note="broken"))

    assert asked.state is RefundState.AWAITING_APPROVAL
    assert counter.sandbox.objects("refund") == []
    with counter.parts.database.reading_connection() as db:
        waiting = queries.waiting_for_approval(db, counter.owner.scope)
    assert [one.id for one in waiting] == [asked.id]
    with pytest.raises(OwnRefund):
        counter.desk.approve_refund(counter.manager, asked.id)
    assert counter.sandbox.objects("refund") == []
    done = counter.desk.approve_refund(counter.owner, asked.id)
    assert (done.state, done.decided_by) == (RefundState.SUCCEEDED, counter.owner.id)
    with pytest.raises(RefundDecided):
        counter.desk.approve_refund(counter.owner, asked.id)
    assert len(counter.sandbox.objects("refund")) == 1


def test_a_rejected_refund_moves_no_money_and_frees_what_it_held(counter: Counter) -> None:
    limited(counter, 5_00)
    sale = counter.paid()
    asked = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id))
    with pytest.raises(RefundTooLarge):
        counter.desk.refund(counter.owner, RefundWish(payment_id=sale.id, amount_minor=1))

    rejected = counter.desk.reject_refund(counter.owner, asked.id, note="not broken")

    assert rejected.state is RefundState.REJECTED
    assert counter.sandbox.objects("refund") == []
    small = RefundWish(payment_id=sale.id, amount_minor=4_00)
    assert counter.desk.refund(counter.owner, small).state is RefundState.SUCCEEDED


def test_a_members_own_limit_counts_as_well(counter: Counter) -> None:
    sale = counter.paid()
    with counter.parts.database.transaction() as db:
        till.set_limits(db, counter.owner, counter.manager.id, MemberLimits(refund={"USD": 1_00}))

    asked = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id, amount_minor=1_01))

    assert asked.state is RefundState.AWAITING_APPROVAL
    assert counter.sandbox.objects("refund") == []


def test_a_refund_whose_answer_is_lost_is_found_and_made_once(counter: Counter) -> None:
    sale = counter.paid()
    counter.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/refunds", times=9)
    counter.sandbox.fault(FaultKind.SERVER_ERROR, "GET *", times=9)

    lost = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id))

    assert lost.state is RefundState.UNKNOWN
    with pytest.raises(RefundTooLarge):
        counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id, amount_minor=1))
    counter.sandbox.engine.faults.clear()
    counter.clock.advance(30)
    assert counter.desk.settle_due() >= 1
    [found] = counter.refunds(sale.id)
    assert found.state is RefundState.SUCCEEDED
    assert len(counter.sandbox.objects("refund")) == 1
    assert [row[0] for row in counter.ledger()] == ["sale", "refund"]


def test_a_refund_that_never_arrived_fails_and_frees_the_money(counter: Counter) -> None:
    sale = counter.paid()
    counter.sandbox.fault(FaultKind.SERVER_ERROR, "POST /v1/refunds", times=9)
    lost = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id))
    assert lost.state is RefundState.UNKNOWN
    counter.sandbox.engine.faults.clear()

    counter.clock.advance(timedelta(minutes=5))
    counter.desk.settle_due()

    assert counter.refunds(sale.id)[0].state is RefundState.FAILED
    assert counter.sandbox.objects("refund") == []
    again = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id))
    assert again.state is RefundState.SUCCEEDED


def test_a_refund_that_comes_back_is_corrected_in_the_ledger(counter: Counter) -> None:
    sale = counter.desk.charge(counter.cashier, counter.keyed(REFUND_FAILS))
    refund = counter.desk.refund(counter.manager, RefundWish(payment_id=sale.id))
    assert refund.processor_id is not None

    counter.sandbox.put_forward(days=3)
    told = counter.connected.processor.read_refund(refund.processor_id)
    assert told.status == "failed"
    with counter.parts.database.connection() as db:
        settle.apply_refund(db, counter.connected.merchant_id, told)

    assert counter.refunds(sale.id)[0].state is RefundState.FAILED
    assert counter.payment(sale.id).refunded_minor == 0
    moved = {"sale": 1, "refund": -1, "adjustment": 1}
    assert sum(moved[kind] * amount for kind, _, _, amount in counter.ledger()) == 12_34


def test_a_refund_made_elsewhere_is_taken_over(counter: Counter) -> None:
    sale = counter.paid()
    assert sale.processor_id is not None
    counter.connected.processor.refund(
        sale.processor_id, amount_minor=3_00, reason=None, metadata={}, key="elsewhere"
    )

    seen = counter.desk.resolve(counter.manager, sale.id)

    assert seen.refunded_minor == 3_00
    [refund] = counter.refunds(sale.id)
    assert (refund.state, refund.requested_by, refund.reason) == (
        RefundState.SUCCEEDED,
        "stripe",
        RefundReason.OTHER,
    )
    assert seen.refundable_minor == 9_34


def test_a_dispute_stands_beside_its_sale_with_what_it_took(counter: Counter) -> None:
    sale = counter.desk.charge(counter.cashier, counter.keyed(DISPUTED))
    assert sale.processor_id is not None
    counter.sandbox.put_forward(seconds=60)
    [told] = counter.connected.processor.disputes_of(sale.processor_id)

    for _ in range(2):
        with counter.parts.database.connection() as db:
            settle.apply_dispute(db, counter.connected.merchant_id, told)

    with counter.parts.database.reading_connection() as db:
        [dispute] = queries.disputes(db, counter.owner.scope, payment_id=sale.id)
    assert (dispute.amount_minor, dispute.status) == (12_34, told.status)
    assert dispute.due_by is not None
    rows = counter.ledger()
    assert ("dispute", "approved", told.id, 12_34) in rows
    assert [row[0] for row in rows].count("dispute") == 1
    assert counter.kinds(sale.id).count("dispute_opened") == 1


def test_an_accountant_sees_refunds_and_makes_none(counter: Counter) -> None:
    sale = counter.paid()
    connected = counter.connected
    accountant = connected.make.caller(connected.merchant_id, Role.ACCOUNTANT)

    with pytest.raises(Forbidden):
        counter.desk.refund(accountant, RefundWish(payment_id=sale.id))

    assert counter.refunds(sale.id) == []
