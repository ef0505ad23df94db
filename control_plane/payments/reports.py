"""What devices say of sessions and commands, taken in by ingest in the transaction of the ledger rows.

Batches are in the order of the device; each message comes here once. A session is decided by a result alone, through
the table of ``protocols.session``; what the table refuses is kept beside the session and raises an alarm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import update

from control_plane import events
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.devices import timeline as alarms
from control_plane.devices.models import Severity
from control_plane.payments import commands, queries, timeline
from control_plane.payments.events import AnswerLost, LateResult, SessionDecided
from control_plane.payments.lifecycle import NEVER_RAN, CommandState, StepKind, after_report
from control_plane.payments.models import COMMANDS
from control_plane.payments.queries import Found
from control_plane.payments.timeline import Line
from protocols.cloud.events import CommandResult, PaymentResult, SessionStep
from protocols.errors import MoneyMismatch, TransitionRefused
from protocols.money import Money
from protocols.session import (
    TRANSITIONS,
    Facts,
    SessionEvent,
    SessionState,
    advance,
)

log = structlog.get_logger()

LOST_ANSWER: Final = (
    "The answer of the reader was lost, so it is not known whether the card was charged. "
    "The device is asking the reader what happened."
)

#: What a step means for the state; steps that are not here only stand in the timeline.
_STEP_EVENTS: Final[dict[str, SessionEvent]] = {
    "sent": SessionEvent.SEND,
    "waiting_for_card": SessionEvent.WAIT_FOR_CARD,
    "card_seen": SessionEvent.SEE_CARD,
    "enter_pin": SessionEvent.SEE_CARD,
    "authorizing": SessionEvent.AUTHORIZE,
    "unknown": SessionEvent.LOSE_ANSWER,
    "recalling": SessionEvent.LOSE_ANSWER,
}
_OUTCOMES: Final[dict[str, tuple[SessionEvent, StepKind]]] = {
    "approved": (SessionEvent.APPROVE, StepKind.APPROVED),
    "declined": (SessionEvent.DECLINE, StepKind.DECLINED),
    "cancelled": (SessionEvent.CANCEL, StepKind.CANCELLED),
    "failed": (SessionEvent.FAIL, StepKind.FAILED),
}


@dataclass(frozen=True, slots=True)
class ReportedResult:
    """A new row of the ledger that a device sent. ``at`` is when it happened, by our clock as far as known."""

    device_id: str
    merchant_id: str
    transaction_id: str
    at: datetime
    result: PaymentResult


@dataclass(frozen=True, slots=True)
class ReportedStep:
    """A step that a device sent, new to us."""

    device_id: str
    at: datetime
    step: SessionStep


@dataclass(frozen=True, slots=True)
class ReportedCommandResult:
    """The end of a command on a device, new to us."""

    device_id: str
    at: datetime
    result: CommandResult


def apply_steps(db: Transaction, batch: Sequence[ReportedStep]) -> None:
    """Write steps into their timelines, and let each tell its session where it stands."""
    if not batch:
        return
    by_session: defaultdict[str, list[ReportedStep]] = defaultdict(list)
    for one in batch:
        by_session[one.step.session_id].append(one)
    for session_id, row in queries.lock_sessions(db, by_session).items():
        reported = [one for one in by_session[session_id] if one.device_id == row.device_id]
        if reported:
            _apply_steps(db, row, reported)


def apply_results(db: Transaction, batch: Sequence[ReportedResult]) -> None:
    """Decide the sessions of new ledger rows. Rows without a session here cost one indexed query together."""
    if not batch:
        return
    rows = queries.lock_sessions(db, [one.result.session_id for one in batch])
    if not rows:
        return
    for one in batch:
        row = rows.get(one.result.session_id)
        if row is not None:
            _apply_result(db, row, one)


def apply_command_results(db: Transaction, batch: Sequence[ReportedCommandResult]) -> None:
    """Finish commands, and end sessions of which the device says that it never began."""
    if not batch:
        return
    rows = queries.lock_commands(db, [one.result.command_id for one in batch])
    for one in batch:
        row = rows.get(one.result.command_id)
        if row is not None and row.device_id == one.device_id:
            _apply_command_result(db, row, one)


def _apply_steps(db: Transaction, row: Found, reported: list[ReportedStep]) -> None:
    now = context_of(db).clock.now()
    state: SessionState = row.state
    lines = []
    for one in reported:
        event = _STEP_EVENTS.get(one.step.step)
        # A step that came too late to change anything still stands in the timeline.
        if event is not None and (state, event) in TRANSITIONS:
            state = advance(state, event)
        lines.append(
            Line(
                kind=StepKind(one.step.step),
                state=state,
                at=one.at,
                text=one.step.text,
                code=one.step.code,
                remaining_ms=one.step.remaining_ms,
            )
        )
    facts: dict[str, Any] = {"last_heard_at": now}
    if state is SessionState.UNKNOWN and row.state is not SessionState.UNKNOWN:
        facts["explanation"] = LOST_ANSWER
        events.publish(db, AnswerLost(row.id, row.merchant_id))
    timeline.move(db, row.id, before=row.state, after=state, at=now, **facts)
    timeline.write(db, row.id, row.merchant_id, *lines)


def _apply_result(db: Transaction, row: Found, reported: ReportedResult) -> None:
    result = reported.result
    event, kind = _OUTCOMES[result.outcome]
    if row.state.is_final:
        moved_no_money = result.outcome != "approved" and not row.state.may_have_moved_money
        if moved_no_money and row.transaction_id is None and _is_its_own(row, reported):
            # Another word for the same end came first; the ledger row completes it.
            timeline.move(
                db, row.id, before=row.state, after=row.state, at=reported.at, **_outcome(reported)
            )
            return
        _keep_beside(db, row, reported, f"the payment had already ended as {row.state.value}")
        return
    try:
        state = advance(row.state, event, _facts(row, reported))
    except TransitionRefused as refused:
        _keep_beside(db, row, reported, refused.reason)
        return
    now = context_of(db).clock.now()
    timeline.move(
        db,
        row.id,
        before=row.state,
        after=state,
        at=now,
        last_heard_at=now,
        explanation=result.explanation,
        **_outcome(reported),
    )
    timeline.write(
        db,
        row.id,
        row.merchant_id,
        Line(
            kind=kind,
            state=state,
            at=reported.at,
            text=result.explanation or result.result_text,
            code=result.result_code,
        ),
    )
    moved = result.amount_minor if state is SessionState.APPROVED else row.amount_minor
    events.publish(
        db,
        SessionDecided(
            row.id, row.merchant_id, state, Money(moved, row.currency), reported.transaction_id
        ),
    )


def _apply_command_result(db: Transaction, row: Found, reported: ReportedCommandResult) -> None:
    now = context_of(db).clock.now()
    result = reported.result
    state = after_report(row.state, result)
    if state is None or (row.state is CommandState.EXPIRED and commands.is_claimed_kind(row.kind)):
        return
    done = changed(
        db,
        update(COMMANDS)
        .where(COMMANDS.c.id == row.id, COMMANDS.c.state == row.state)
        .values(
            state=state,
            finished_at=now,
            next_send_at=None,
            result_code=result.code,
            result_text=result.text,
            output=result.output,
        ),
    )
    if done and row.session_id is None:
        alarms.tell(db, row.merchant_id, device_id=row.device_id, reader_id=row.reader_id)
    if done and state in NEVER_RAN and row.session_id and commands.is_claimed_kind(row.kind):
        _end_not_begun(db, row.session_id, result, now)


def _end_not_begun(db: Transaction, session_id: str, result: CommandResult, now: datetime) -> None:
    row = queries.lock_session(db, session_id)
    if row.state.is_final or queries.was_sent(db, session_id):
        return
    is_claimed = row.claimed_at is not None
    match result:
        case CommandResult(code="cancelled"):
            event = SessionEvent.CANCEL
        case CommandResult(status="expired") if not is_claimed:
            event = SessionEvent.EXPIRE
        case _:
            event = SessionEvent.FAIL
    state = advance(row.state, event, Facts(has_evidence=is_claimed, is_claimed=is_claimed))
    words = (result.text or result.code.replace("_", " ") or result.status).rstrip(".")
    explanation = f"The reader was not asked: {words}. Nobody was charged."
    timeline.move(
        db,
        session_id,
        before=row.state,
        after=state,
        at=now,
        last_heard_at=now,
        decided_by="not_begun",
        explanation=explanation,
        result_text=result.code,
    )
    timeline.write(
        db,
        session_id,
        row.merchant_id,
        Line(kind=StepKind.NOT_BEGUN, state=state, at=now, text=explanation),
    )
    events.publish(
        db,
        SessionDecided(row.id, row.merchant_id, state, Money(row.amount_minor, row.currency), None),
    )


def _keep_beside(db: Transaction, row: Found, reported: ReportedResult, reason: str) -> None:
    """The session stays as it is; the ledger row is linked, people are told."""
    now = context_of(db).clock.now()
    state: SessionState = row.state
    if _contradicts(row, reported):
        # The reader is done with it, whatever it did; it must be free for the next customer.
        state = _to_unknown(state)
    log.warning(
        "late_result_kept_beside",
        session_id=row.id,
        device_id=reported.device_id,
        outcome=reported.result.outcome,
        reason=reason,
    )
    facts: dict[str, Any] = {"late_result": True}
    if row.transaction_id is None:
        facts["transaction_id"] = reported.transaction_id
    if _contradicts(row, reported):
        facts |= {
            "holds_reader": False,
            "explanation": f"The reader reported {reported.result.outcome}, but {reason}.",
        }
    timeline.move(db, row.id, before=row.state, after=state, at=now, **facts)
    timeline.write(
        db,
        row.id,
        row.merchant_id,
        Line(
            kind=StepKind.LATE_RESULT,
            state=state,
            at=reported.at,
            text=f"{reported.result.outcome}: {reason}",
            code=reported.result.result_code,
        ),
    )
    alarms.record(
        db,
        row.merchant_id,
        row.device_id,
        "payment.late_result",
        f"The payment {row.id} of {Money(row.amount_minor, row.currency)} is {state.value}, but the device "
        f"{reported.device_id} reported it {reported.result.outcome}: {reason}. "
        "Compare the ledger with the reader's receipt.",
        severity=Severity.ERROR,
        reader_id=row.reader_id,
        facts={"session_id": row.id, "transaction_id": reported.transaction_id},
        happened_at=reported.at,
    )
    events.publish(
        db,
        LateResult(
            row.id,
            row.merchant_id,
            reported.device_id,
            reported.transaction_id,
            reported.result.outcome,
            reason,
        ),
    )


def _contradicts(row: Found, reported: ReportedResult) -> bool:
    """Its own device decided a running session in a way that the session cannot take, such as another amount."""
    return row.claimed_at is not None and not row.state.is_final and _is_its_own(row, reported)


def _to_unknown(state: SessionState) -> SessionState:
    if (state, SessionEvent.LOSE_ANSWER) in TRANSITIONS:
        return advance(state, SessionEvent.LOSE_ANSWER)
    return state


def _is_its_own(row: Found, reported: ReportedResult) -> bool:
    return bool(row.device_id == reported.device_id)


def _facts(row: Found, reported: ReportedResult) -> Facts:
    is_claimed = row.claimed_at is not None
    return Facts(
        asked=Money(row.amount_minor, row.currency),
        reported=_money(reported.result),
        has_evidence=is_claimed and _is_its_own(row, reported),
        is_claimed=is_claimed,
    )


def _money(result: PaymentResult) -> Money | None:
    try:
        return Money(result.amount_minor, result.currency)
    except MoneyMismatch:
        return None


def _outcome(reported: ReportedResult) -> dict[str, Any]:
    """Columns of the session that a result fills."""
    result = reported.result
    return {
        "transaction_id": reported.transaction_id,
        "decided_by": result.decided_by,
        "approved_minor": result.amount_minor if result.outcome == "approved" else None,
        "result_code": result.result_code,
        "result_text": result.result_text,
        "authorization_code": result.authorization_code,
        "receipt_number": result.receipt_number,
        "terminal_id": result.terminal_id,
        "card_brand": result.card_brand,
        "card_masked": result.masked_pan,
        "entry_mode": result.entry_mode,
        "verification": result.verification,
    }
