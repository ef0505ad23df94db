"""What the processor's view of a payment means for ours: two tables, and how a snapshot is read. Pure.

Snapshots come in any order, late and several times. What makes that harmless: an intent that succeeded or was canceled
stays so; an attempt that ended is opened again by money only; and a refusal counts once, for the attempt whose charge
it names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
)
from control_plane.virtual_terminal.processor import Decline, ProcessorPayment

S = TypeVar("S", bound=StrEnum)

#: Why we cancel an intent whose payment goes on another way; the processor keeps it with the intent.
RELEASED: Final = "abandoned"
#: Why we cancel an intent with its payment.
GIVEN_UP: Final = "requested_by_customer"
#: An attempt that surely never reached a bank.
NEVER_HAPPENED: Final = "not_processed"


class Evidence(StrEnum):
    """What a snapshot proves about the attempt that it is about."""

    NOTHING = "nothing"
    """No news: the intent waits, or an old refusal is told again."""
    REFUSED = "refused"
    ACTION = "action"
    PROCESSING = "processing"
    HELD = "held"
    PAID = "paid"
    RELEASED = "released"
    """The intent was canceled so that the payment can go on another way."""
    CANCELED = "canceled"


_P = PaymentState
_A = AttemptState
_WAITING: Final = frozenset({_P.IN_PROGRESS, _P.REQUIRES_ACTION, _P.UNKNOWN})


#: Without money.
ENDED_ATTEMPTS: Final = frozenset({_A.DECLINED, _A.FAILED, _A.CANCELED})


def _table(
    states: type[S], moves: dict[Evidence, tuple[S, Collection[S]]]
) -> dict[Evidence, dict[S, S]]:
    """For each evidence: where it leads, and from which states; in all others nothing moves."""
    table: dict[Evidence, dict[S, S]] = {}
    for evidence in Evidence:
        target, sources = moves.get(evidence, (None, ()))
        table[evidence] = {
            state: target if target is not None and state in sources else state for state in states
        }
    return table


PAYMENT_MOVES: Final[dict[Evidence, dict[PaymentState, PaymentState]]] = _table(
    PaymentState,
    {
        Evidence.REFUSED: (_P.OPEN, _WAITING | {_P.PROCESSING}),
        Evidence.ACTION: (_P.REQUIRES_ACTION, _WAITING),
        Evidence.PROCESSING: (_P.PROCESSING, _WAITING | {_P.OPEN}),
        Evidence.HELD: (_P.AUTHORIZED, _WAITING | {_P.OPEN, _P.PROCESSING}),
        Evidence.PAID: (_P.PAID, set(_P)),
        Evidence.RELEASED: (_P.OPEN, _WAITING | {_P.PROCESSING, _P.AUTHORIZED}),
        Evidence.CANCELED: (_P.CANCELED, set(_P) - {_P.PAID}),
    },
)
_UNDECIDED: Final = frozenset({_A.CREATED, _A.SENT, _A.REQUIRES_ACTION, _A.UNKNOWN})
ATTEMPT_MOVES: Final[dict[Evidence, dict[AttemptState, AttemptState]]] = _table(
    AttemptState,
    {
        Evidence.REFUSED: (_A.DECLINED, OPEN_ATTEMPTS),
        Evidence.ACTION: (_A.REQUIRES_ACTION, _UNDECIDED),
        Evidence.PROCESSING: (_A.PROCESSING, _UNDECIDED | {_A.FAILED, _A.CANCELED}),
        Evidence.HELD: (_A.AUTHORIZED, set(_A) - {_A.SUCCEEDED}),
        Evidence.PAID: (_A.SUCCEEDED, set(_A)),
        Evidence.RELEASED: (_A.CANCELED, OPEN_ATTEMPTS | {_A.AUTHORIZED}),
        Evidence.CANCELED: (_A.CANCELED, OPEN_ATTEMPTS | {_A.AUTHORIZED}),
    },
)


def target_of(snapshot: ProcessorPayment, attempts: Sequence[Any]) -> Any | None:
    """The attempt (row, first to last) that a snapshot is about: by its charge, else the open one, else the last."""
    charge_id = charge_of(snapshot)
    for attempt in reversed(attempts):
        if charge_id is not None and attempt.charge_id == charge_id:
            return attempt
    for attempt in attempts:
        if attempt.state in OPEN_ATTEMPTS:
            return attempt
    return attempts[-1] if attempts else None


def charge_of(snapshot: ProcessorPayment) -> str | None:
    """The charge that a snapshot tells of."""
    if snapshot.charge is not None:
        return snapshot.charge.id
    return None if snapshot.last_error is None else snapshot.last_error.charge_id


def refusal_in(snapshot: ProcessorPayment) -> Decline | None:
    """Why the last try was refused, if the intent is where refusals leave it."""
    if snapshot.status not in {"requires_payment_method", "requires_confirmation"}:
        return None
    charge = snapshot.charge
    if charge is not None and charge.status == "failed" and charge.decline is not None:
        return charge.decline
    return snapshot.last_error


def evidence_of(snapshot: ProcessorPayment, attempts: Sequence[Any], target: Any) -> Evidence:
    """What a snapshot proves about ``target``, one of ``attempts`` (rows, first to last)."""
    # As text: Stripe may add words. Only an explicit failure is a failure.
    status: str = snapshot.status
    match status:
        case "succeeded":
            return Evidence.PAID
        case "canceled":
            is_released = snapshot.cancellation_reason == RELEASED
            return Evidence.RELEASED if is_released else Evidence.CANCELED
        case "requires_capture":
            return Evidence.NOTHING if _is_over(snapshot, target) else Evidence.HELD
        case "processing":
            is_old = _is_over(snapshot, target) or target.state is AttemptState.DECLINED
            return Evidence.NOTHING if is_old else Evidence.PROCESSING
        case "requires_action":
            return Evidence.NOTHING if _is_over(snapshot, target) else Evidence.ACTION
        case "requires_payment_method" | "requires_confirmation":
            refusal = refusal_in(snapshot)
            is_news = refusal is not None and _is_news(refusal, snapshot, attempts, target)
            return Evidence.REFUSED if is_news else Evidence.NOTHING
        case _:
            return Evidence.NOTHING


def _is_over(snapshot: ProcessorPayment, target: Any) -> bool:
    """Whether the charge is of an attempt that ended: an old view of it."""
    charge = snapshot.charge
    return charge is not None and target.charge_id == charge.id and target.state in ENDED_ATTEMPTS


def _is_news(
    refusal: Decline, snapshot: ProcessorPayment, attempts: Sequence[Any], target: Any
) -> bool:
    if target.state not in OPEN_ATTEMPTS:
        return False
    charge_id = refusal.charge_id or (snapshot.charge.id if snapshot.charge else None)
    if charge_id is not None:
        # A payer on a link may try several cards; the attempt goes on, so each charge is news.
        return all(one is target or one.charge_id != charge_id for one in attempts)
    if target.state is AttemptState.REQUIRES_ACTION:
        return True
    # Without a charge, the same words may be those about an earlier attempt.
    return all(
        one.charge_id is not None or one.code != refusal.code
        for one in attempts
        if one.state in ENDED_ATTEMPTS
    )


def attempt_state_after(evidence: Evidence, attempt: Any) -> AttemptState:
    """Where the attempt stands then."""
    if evidence is Evidence.REFUSED and attempt.method is AttemptMethod.LINK:
        # The payer sees the refusal and can try another card on the same page.
        return AttemptState.SENT
    if evidence is Evidence.RELEASED and attempt.code in CHECK_CODES:
        return AttemptState.DECLINED
    return ATTEMPT_MOVES[evidence][attempt.state]


def payment_state_after(
    evidence: Evidence, state: PaymentState, attempt: Any | None
) -> PaymentState:
    """Where the payment stands then."""
    if (
        evidence is Evidence.REFUSED
        and attempt is not None
        and attempt.method is AttemptMethod.LINK
        and PAYMENT_MOVES[evidence][state] is PaymentState.OPEN
    ):
        return PaymentState.IN_PROGRESS
    return PAYMENT_MOVES[evidence][state]


#: We let held money go because of these.
CHECK_CODES: Final = frozenset(
    {"address_check_failed", "postal_code_check_failed", "cvc_check_failed"}
)
