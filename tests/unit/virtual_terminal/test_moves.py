"""The tables that turn the processor's view into our states, over every word of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
)
from control_plane.virtual_terminal.moves import (
    ATTEMPT_MOVES,
    ENDED_ATTEMPTS,
    PAYMENT_MOVES,
    RELEASED,
    Evidence,
    attempt_state_after,
    evidence_of,
    payment_state_after,
    target_of,
)
from control_plane.virtual_terminal.processor import (
    Decline,
    Instrument,
    IntentStatus,
    ProcessorCharge,
    ProcessorPayment,
)
from protocols.money import Money

P, A, E = PaymentState, AttemptState, Evidence
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEN = Money(10_00, "EUR")


@dataclass(frozen=True, slots=True)
class Row:
    """As much of an attempt's row as is looked at."""

    id: str = "att_1"
    state: AttemptState = A.SENT
    method: AttemptMethod = AttemptMethod.KEYED
    charge_id: str | None = None
    code: str | None = None


def charge(status: Any = "failed", charge_id: str = "ch_1") -> ProcessorCharge:
    decline = Decline(code="card_declined", message="No.", charge_id=charge_id)
    return ProcessorCharge(
        id=charge_id,
        status=status,
        amount=TEN,
        captured=False,
        captured_minor=0,
        refunded_minor=0,
        instrument=Instrument(kind="card"),
        created_at=NOW,
        decline=decline if status == "failed" else None,
    )


def intent(status: Any, **facts: Any) -> ProcessorPayment:
    return ProcessorPayment(
        id="pi_1",
        status=status,
        amount=TEN,
        received_minor=0,
        capturable_minor=0,
        created_at=NOW,
        livemode=False,
        **facts,
    )


def evidence(snapshot: ProcessorPayment, *rows: Row) -> Evidence:
    return evidence_of(snapshot, rows, target_of(snapshot, rows))


def test_both_tables_name_every_state_for_every_evidence() -> None:
    assert set(PAYMENT_MOVES) == set(ATTEMPT_MOVES) == set(Evidence)
    assert all(set(moves) == set(PaymentState) for moves in PAYMENT_MOVES.values())
    assert all(set(moves) == set(AttemptState) for moves in ATTEMPT_MOVES.values())


@pytest.mark.parametrize("what", Evidence)
def test_what_is_paid_stays_paid(what: Evidence) -> None:
    assert PAYMENT_MOVES[what][P.PAID] is P.PAID
    assert ATTEMPT_MOVES[what][A.SUCCEEDED] is A.SUCCEEDED


@pytest.mark.parametrize("state", PaymentState)
def test_money_that_moved_wins_over_everything(state: PaymentState) -> None:
    assert PAYMENT_MOVES[E.PAID][state] is P.PAID


@pytest.mark.parametrize("what", sorted(set(Evidence) - {E.PAID, E.CANCELED, E.RELEASED, E.HELD}))
def test_held_money_is_only_taken_or_let_go(what: Evidence) -> None:
    assert PAYMENT_MOVES[what][P.AUTHORIZED] is P.AUTHORIZED


@pytest.mark.parametrize("what", sorted(set(Evidence) - {E.PAID}))
def test_what_was_canceled_is_opened_by_money_only(what: Evidence) -> None:
    assert PAYMENT_MOVES[what][P.CANCELED] is P.CANCELED


@pytest.mark.parametrize("state", sorted(set(PaymentState) - {P.PAID, P.CANCELED}))
def test_every_open_state_can_reach_an_end(state: PaymentState) -> None:
    assert PAYMENT_MOVES[E.PAID][state].is_final
    assert PAYMENT_MOVES[E.CANCELED][state].is_final


@pytest.mark.parametrize("what", sorted({E.REFUSED, E.ACTION, E.CANCELED, E.RELEASED, E.NOTHING}))
@pytest.mark.parametrize("state", sorted(ENDED_ATTEMPTS))
def test_an_attempt_that_ended_is_opened_by_money_only(what: Evidence, state: AttemptState) -> None:
    assert ATTEMPT_MOVES[what][state] is state


@pytest.mark.parametrize("status", get_args(IntentStatus))
@pytest.mark.parametrize("state", sorted(set(AttemptState)))
def test_every_word_of_the_processor_leads_somewhere(status: str, state: AttemptState) -> None:
    row = Row(state=state)

    what = evidence(intent(status), row)

    assert attempt_state_after(what, row) in AttemptState
    assert all(payment_state_after(what, one, row) in PaymentState for one in PaymentState)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("succeeded", E.PAID),
        ("requires_capture", E.HELD),
        ("processing", E.PROCESSING),
        ("requires_action", E.ACTION),
        ("canceled", E.CANCELED),
        ("requires_payment_method", E.NOTHING),
        ("requires_confirmation", E.NOTHING),
        ("a_word_of_tomorrow", E.NOTHING),
    ],
)
def test_a_status_alone_proves(status: str, expected: Evidence) -> None:
    assert evidence(intent(status), Row()) is expected


def test_an_intent_that_we_left_leaves_the_payment_open() -> None:
    released = intent("canceled", cancellation_reason=RELEASED)

    assert evidence(released, Row()) is E.RELEASED
    assert payment_state_after(E.RELEASED, P.REQUIRES_ACTION, Row()) is P.OPEN


@pytest.mark.parametrize("state", sorted(OPEN_ATTEMPTS))
def test_a_failed_charge_refuses_the_open_attempt(state: AttemptState) -> None:
    assert evidence(intent("requires_payment_method", charge=charge()), Row(state=state)) is (
        E.REFUSED
    )


def test_the_refusal_of_the_attempt_before_is_no_news() -> None:
    before = Row(id="att_1", state=A.DECLINED, charge_id="ch_1", code="card_declined")
    now = Row(id="att_2")

    assert evidence(intent("requires_payment_method", charge=charge()), before, now) is E.NOTHING
    told = intent("requires_payment_method", last_error=charge().decline)
    assert evidence(told, before, now) is E.NOTHING


def test_another_charge_is_news() -> None:
    before = Row(id="att_1", state=A.DECLINED, charge_id="ch_1", code="card_declined")
    snapshot = intent("requires_payment_method", charge=charge(charge_id="ch_2"))

    assert evidence(snapshot, before, Row(id="att_2")) is E.REFUSED


def test_a_failed_confirmation_without_a_charge_refuses_once() -> None:
    error = Decline(code="payment_intent_authentication_failure", message="No.")
    snapshot = intent("requires_payment_method", last_error=error)
    before = Row(id="att_1", state=A.DECLINED, code=error.code)

    assert evidence(snapshot, Row(state=A.REQUIRES_ACTION)) is E.REFUSED
    assert evidence(snapshot, before, Row(id="att_2")) is E.NOTHING


@pytest.mark.parametrize("status", ["processing", "requires_capture", "requires_action"])
def test_an_old_view_of_a_charge_that_failed_is_no_news(status: str) -> None:
    row = Row(state=A.DECLINED, charge_id="ch_1")

    assert evidence(intent(status, charge=charge("pending")), row) is E.NOTHING


def test_on_a_link_a_refused_card_leaves_the_link_open() -> None:
    link = Row(method=AttemptMethod.LINK, state=A.REQUIRES_ACTION)

    assert attempt_state_after(E.REFUSED, link) is A.SENT
    assert payment_state_after(E.REFUSED, P.REQUIRES_ACTION, link) is P.IN_PROGRESS


def test_held_money_that_a_check_let_go_counts_as_declined() -> None:
    row = Row(state=A.AUTHORIZED, code="cvc_check_failed")

    assert attempt_state_after(E.RELEASED, row) is A.DECLINED
    assert attempt_state_after(E.RELEASED, replace(row, code=None)) is A.CANCELED


def test_a_snapshot_is_about_the_attempt_of_its_charge() -> None:
    rows = [
        Row(id="att_1", state=A.DECLINED, charge_id="ch_1"),
        Row(id="att_2", state=A.SENT),
    ]

    assert target_of(intent("succeeded", charge=charge("succeeded", "ch_1")), rows) is rows[0]
    assert target_of(intent("succeeded", charge=charge("succeeded", "ch_2")), rows) is rows[1]
    assert target_of(intent("succeeded"), rows[:1]) is rows[0]
    assert target_of(intent("succeeded"), []) is None
