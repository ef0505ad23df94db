"""Ends what nobody answers: commands that expire, and sessions whose device fell silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update

from control_plane import events
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.devices import timeline as devices
from control_plane.payments import commands, queries, timeline
from control_plane.payments.events import AnswerLost, SessionDecided
from control_plane.payments.lifecycle import CommandState, StepKind
from control_plane.payments.models import COMMANDS
from control_plane.payments.queries import Found
from control_plane.payments.timeline import Line
from protocols.money import Money
from protocols.session import TRANSITIONS, SessionEvent, SessionState, advance

#: Silence of a device that is connected, on top of the time that the customer has for the card.
SLACK: Final = timedelta(seconds=45)
#: Silence of a device that is known to be gone.
OFFLINE_SLACK: Final = timedelta(seconds=20)

_EXPIRED: Final = (
    "The device did not take the payment within {seconds} s, so it never began. Nobody was charged."
)
_SILENT: Final = (
    "Nothing was heard from the device for {seconds} s after {step}, so it is not known whether the card was charged. "
    "The device tells what happened as soon as it can; do not charge again before."
)
_STEP_WORDS: Final = {
    SessionState.CLAIMED: "it took the payment",
    SessionState.SENT: "the reader got the amount",
    SessionState.WAITING_FOR_CARD: "the reader asked for the card",
    SessionState.CARD_SEEN: "the card was seen",
    SessionState.AUTHORIZING: "the bank was asked",
    SessionState.CANCELLING: "it was asked to cancel",
}


def is_anything_due(db: Transaction, now: datetime) -> bool:
    """Whether it is worth while to open a writing transaction for the two functions below."""
    return queries.has_overdue_commands(db, now) or bool(_silent(db, now, limit=200))


def expire_due(db: Transaction, *, limit: int = 500) -> int:
    """Expire commands that nobody claimed or answered in time, and their sessions; how many."""
    now = context_of(db).clock.now()
    rows = queries.expired_commands(db, now, limit=limit)
    if not rows:
        return 0
    db.execute(
        update(COMMANDS)
        .where(COMMANDS.c.id.in_([row.id for row in rows]))
        .values(state=CommandState.EXPIRED, finished_at=now, next_send_at=None)
    )
    for row in rows:
        if row.session_id is not None and commands.is_claimed_kind(row.kind):
            _expire_session(db, row.session_id, now)
        elif row.session_id is None:
            devices.tell(db, row.merchant_id, device_id=row.device_id, reader_id=row.reader_id)
    return len(rows)


def declare_silent(db: Transaction, *, limit: int = 200) -> int:
    """Say of sessions that their answer is lost when their device was silent for too long; how many."""
    now = context_of(db).clock.now()
    return sum(_declare_silent(db, row.id, now) for row in _silent(db, now, limit=limit))


def _silent(db: Transaction, now: datetime, *, limit: int) -> list[Found]:
    quiet = queries.silent_sessions(db, now - OFFLINE_SLACK, limit=limit)
    return [row for row in quiet if now - row.last_heard_at >= _patience(row)]


def _patience(row: Found) -> timedelta:
    if not row.is_online:
        return OFFLINE_SLACK
    return SLACK + timedelta(seconds=row.card_timeout_s)


def _expire_session(db: Transaction, session_id: str, now: datetime) -> None:
    row = queries.lock_session(db, session_id)
    expired = advance(SessionState.CREATED, SessionEvent.EXPIRE)
    explanation = _EXPIRED.format(seconds=round((row.expires_at - row.created_at).total_seconds()))
    moved = timeline.move(
        db,
        session_id,
        before=SessionState.CREATED,
        after=expired,
        at=now,
        decided_by="server",
        explanation=explanation,
    )
    if not moved:
        return
    timeline.write(
        db,
        session_id,
        row.merchant_id,
        Line(kind=StepKind.EXPIRED, state=expired, at=now, text=explanation),
    )
    events.publish(
        db,
        SessionDecided(
            row.id, row.merchant_id, expired, Money(row.amount_minor, row.currency), None
        ),
    )


def _declare_silent(db: Transaction, session_id: str, now: datetime) -> bool:
    row = queries.lock_session(db, session_id)
    if (row.state, SessionEvent.LOSE_ANSWER) not in TRANSITIONS:
        return False
    unknown = advance(row.state, SessionEvent.LOSE_ANSWER)
    explanation = _SILENT.format(
        seconds=int((now - row.last_heard_at).total_seconds()), step=_STEP_WORDS[row.state]
    )
    timeline.move(db, session_id, before=row.state, after=unknown, at=now, explanation=explanation)
    timeline.write(
        db,
        session_id,
        row.merchant_id,
        Line(kind=StepKind.SILENT, state=unknown, at=now, text=explanation),
    )
    events.publish(db, AnswerLost(row.id, row.merchant_id))
    return True
