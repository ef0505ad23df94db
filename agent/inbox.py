"""Commands that were received: each is run at most once, and its result can be told again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.spool import Position

if TYPE_CHECKING:
    import sqlite3

    from agent.journal import Transaction

#: How long the id of a command is remembered: far beyond the longest life of one.
KEPT_S: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Known:
    """A command that came before. `result` is where its result stands in the outbox; `None` while it runs."""

    result: Position | None


def accept(tx: Transaction, command_id: str, kind: str, received_at: int) -> Known | None:
    """Remember a command; `None` when it is new, and only then may it be run. `received_at` in Unix seconds."""
    inserted = tx.db.execute(
        "INSERT OR IGNORE INTO command (id, kind, received_at) VALUES (?, ?, ?)",
        (command_id, kind, received_at),
    ).rowcount
    return None if inserted else known(tx.db, command_id)


def known(db: sqlite3.Connection, command_id: str) -> Known | None:
    """What is remembered of a command."""
    row = db.execute("SELECT epoch, seq FROM command WHERE id = ?", (command_id,)).fetchone()
    if row is None:
        return None
    return Known(None if row[0] is None else Position(row[0], row[1]))


def finish(tx: Transaction, command_id: str, result: Position) -> None:
    """The result of a command is in the outbox."""
    tx.db.execute(
        "UPDATE command SET epoch = ?, seq = ? WHERE id = ?",
        (result.epoch, result.seq, command_id),
    )


def unfinished(db: sqlite3.Connection) -> list[str]:
    """Ids of commands without a result."""
    return [row[0] for row in db.execute("SELECT id FROM command WHERE seq IS NULL")]


def forget_old(tx: Transaction, before: int) -> int:
    """Drop what was finished and received before this Unix time; returns how many."""
    return tx.db.execute(
        "DELETE FROM command WHERE id IN"
        " (SELECT id FROM command WHERE received_at < ? AND seq IS NOT NULL LIMIT 1000)",
        (before,),
    ).rowcount
