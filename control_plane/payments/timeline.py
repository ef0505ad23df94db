"""Moves a session and writes its timeline, in one go; tells the pages and other features.

The only code that updates ``tap_session.state``. Every caller holds the session's row (a lock, or the one atomic
update that made the move possible), so two replicas cannot both win.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, insert, update

from control_plane import live
from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import changed
from control_plane.payments.lifecycle import StepKind
from control_plane.payments.models import SESSIONS, STEPS
from protocols.session import SessionState

_APPEND: Final = insert(STEPS)
#: Sets the columns that are given with it.
_MOVE: Final = update(SESSIONS).where(
    SESSIONS.c.id == bindparam("session"), SESSIONS.c.state == bindparam("before")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a timeline will say; ``state`` is where the session stands after it."""

    kind: StepKind
    state: SessionState
    at: datetime
    text: str = ""
    code: int | None = None
    remaining_ms: int | None = None
    actor_name: str = ""


def session_topic(session_id: str) -> str:
    """The live topic of one session: a message for each step."""
    return f"session:{session_id}"


def sessions_topic(merchant_id: str) -> str:
    """The live topic of all sessions of a merchant; the newest message of each session counts."""
    return f"merchant:{merchant_id}:sessions"


def write(db: Transaction, session_id: str, merchant_id: str, *lines: Line) -> None:
    """Append to a timeline, and tell who watches."""
    if not lines:
        return
    rows = [
        {
            "merchant_id": merchant_id,
            "session_id": session_id,
            "at": line.at,
            "kind": line.kind,
            "state": line.state,
            "text": line.text,
            "code": line.code,
            "remaining_ms": line.remaining_ms,
            "actor_name": line.actor_name,
        }
        for line in lines
    ]
    db.execute(_APPEND, rows if len(rows) > 1 else rows[0])
    for line in lines:
        live.publish(
            db, session_topic(session_id), {"kind": line.kind.value, "state": line.state.value}
        )
    live.publish(
        db,
        sessions_topic(merchant_id),
        {"session_id": session_id, "state": lines[-1].state.value},
        key=session_id,
    )


def move(
    db: Transaction,
    session_id: str,
    *,
    before: SessionState,
    after: SessionState,
    at: datetime,
    **facts: Any,
) -> bool:
    """Change the row if it is still in ``before``; False when another process was quicker."""
    values: dict[str, Any] = {**facts}
    if after is not before:
        values |= {"state": after, "state_since": at}
    if after.is_final:
        values |= {"decided_at": at, "holds_reader": False}
    return changed(db, _MOVE, {"session": session_id, "before": before, **values}) == 1
