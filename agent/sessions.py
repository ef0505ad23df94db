"""Tap sessions as the journal knows them: what was asked, what the reader's books said before, how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from protocols.cloud.commands import ReversePayment, StartPayment

if TYPE_CHECKING:
    import sqlite3

    from agent.journal import Transaction

#: How long a session id is remembered after its end.
KEPT_S: Final = 90 * 86_400

#: `outcome` of a session of which it is certain that the reader was never asked.
NOT_BEGUN: Final = "not_begun"
#: `outcome` of a session that was cancelled before the command to start it came.
STOPPED_BEFORE: Final = "stopped_before"

Request = StartPayment | ReversePayment


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session that is not decided."""

    id: str
    command_id: str
    request: Request
    baseline: bytes | None
    """What `on_begin` got; `None` means that the money command has not left."""
    began_ms: int
    cancels: tuple[str, ...]
    """Ids of commands that asked to cancel it; each is answered when it is decided."""


def record(tx: Transaction, command_id: str, request: Request, now: int) -> bool:
    """Remember a session before anything is done for it; False when its id was seen before."""
    return bool(
        tx.db.execute(
            "INSERT OR IGNORE INTO session (id, reader_id, command_id, request, recorded_at)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                request.session_id,
                request.reader_id,
                command_id,
                msgspec.json.encode(request),
                now,
            ),
        ).rowcount
    )


def begin(tx: Transaction, session_id: str, baseline: bytes, began_ms: int) -> None:
    """From here on the reader may have been asked, whatever happens."""
    tx.db.execute(
        "UPDATE session SET baseline = ?, began_ms = ? WHERE id = ? AND outcome IS NULL",
        (baseline, began_ms, session_id),
    )


def close(tx: Transaction, session_id: str, outcome: str) -> tuple[str, ...] | None:
    """End a session, once: the cancel commands that wait for its end, or `None` when it had ended before."""
    row = tx.db.execute(
        "UPDATE session SET outcome = ? WHERE id = ? AND outcome IS NULL RETURNING cancels",
        (outcome, session_id),
    ).fetchone()
    return None if row is None else tuple(json.loads(row[0]))


def ask_cancel(tx: Transaction, session_id: str, command_id: str, now: int) -> str | None:
    """Note that a cancel waits for the session's end; the outcome instead when there is one already.

    A session that was never heard of is closed before it can begin.
    """
    row = tx.db.execute(
        "SELECT outcome, cancels FROM session WHERE id = ?", (session_id,)
    ).fetchone()
    if row is None:
        tx.db.execute(
            "INSERT INTO session (id, reader_id, command_id, request, recorded_at, outcome)"
            " VALUES (?, '', ?, x'', ?, ?)",
            (session_id, command_id, now, STOPPED_BEFORE),
        )
        return STOPPED_BEFORE
    outcome, cancels = row
    if outcome is None:
        waiting = [*json.loads(cancels), command_id]
        tx.db.execute(
            "UPDATE session SET cancels = ? WHERE id = ?", (json.dumps(waiting), session_id)
        )
    return None if outcome is None else str(outcome)


def outcome_of(db: sqlite3.Connection, session_id: str) -> str | None:
    """How a session ended; `None` when it has not, or is not known."""
    row = db.execute("SELECT outcome FROM session WHERE id = ?", (session_id,)).fetchone()
    return None if row is None else row[0]


def began_ms(db: sqlite3.Connection, session_id: str) -> int:
    """When a session began, on `elapsed_ms`; 0 when it has not."""
    row = db.execute("SELECT began_ms FROM session WHERE id = ?", (session_id,)).fetchone()
    return 0 if row is None else row[0] or 0


def undecided(db: sqlite3.Connection) -> list[StoredSession]:
    """All sessions without an outcome, oldest first."""
    return [_stored(row) for row in db.execute(f"{_UNDECIDED} ORDER BY recorded_at, id")]


def undecided_one(db: sqlite3.Connection, session_id: str) -> StoredSession | None:
    """A session, when it has no outcome."""
    row = db.execute(f"{_UNDECIDED} AND id = ?", (session_id,)).fetchone()
    return None if row is None else _stored(row)


_UNDECIDED: Final = (
    "SELECT id, command_id, request, baseline, began_ms, cancels FROM session WHERE outcome IS NULL"
)


def _stored(row: tuple[str, str, bytes, bytes | None, int | None, str]) -> StoredSession:
    session_id, command_id, request, baseline, began_ms, cancels = row
    return StoredSession(
        session_id,
        command_id,
        msgspec.json.decode(request, type=Request),
        None if baseline is None else bytes(baseline),
        began_ms or 0,
        tuple(json.loads(cancels)),
    )


def forget_old(tx: Transaction, before: int) -> int:
    """Drop decided sessions recorded before this Unix time; returns how many."""
    return tx.db.execute(
        "DELETE FROM session WHERE id IN"
        " (SELECT id FROM session WHERE recorded_at < ? AND outcome IS NOT NULL LIMIT 1000)",
        (before,),
    ).rowcount
