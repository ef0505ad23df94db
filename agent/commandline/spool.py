"""`omnitill-agent spool`: what the device remembers and has still to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.commandline import add_command, complain, write_json

if TYPE_CHECKING:
    import argparse
    import sqlite3
    from collections.abc import Iterator, Mapping

    from agent.commandline import Subparsers

EXAMPLE = """
omnitill-agent spool list --pending
omnitill-agent spool export --stream tx > payments.jsonl
omnitill-agent spool stats
"""
NOTES = """
May be run while the agent works. list shows one line a message, export the whole messages as they were or will be
sent (JSON lines; they hold no card number), stats what waits in each stream.
"""


def register(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "spool",
        run,
        summary="show what the device remembers and has still to tell",
        example=EXAMPLE,
        notes=NOTES,
    )
    parser.add_argument("what", choices=["list", "export", "stats"])
    parser.add_argument("--stream", choices=["tx", "ev", "job", "res"], help="only this stream")
    parser.add_argument("--pending", action="store_true", help="only what is not acknowledged yet")
    parser.add_argument("--limit", type=int, metavar="N", help="at most the newest N messages")
    parser.add_argument("--config", metavar="FILE", help="settings; only state_dir is used here")
    parser.add_argument("--state-dir", metavar="DIR", help="where the journal is kept")


def run(arguments: argparse.Namespace) -> int:
    from agent.logs import configure_logs

    configure_logs("console", "error")

    import contextlib
    from pathlib import Path

    from agent.config import load
    from agent.errors import AgentError
    from agent.journal import open_read_only

    try:
        config = load(Path(arguments.config) if arguments.config else None)
        folder = Path(arguments.state_dir or config.state_dir)
        with contextlib.closing(open_read_only(folder)) as db:
            if arguments.what == "stats":
                write_json(_stats(db))
                return 0
            for row in _rows(db, arguments.stream, arguments.pending, arguments.limit):
                write_json(_line(row) if arguments.what == "list" else _whole(row))
    except AgentError as error:
        complain(error.message)
        return 1
    return 0


Row = tuple[str, int, int, bytes, "int | None", "str | None"]


def _rows(
    db: sqlite3.Connection, stream: str | None, only_pending: bool, limit: int | None
) -> Iterator[Row]:
    """Oldest first."""
    yield from db.execute(
        "SELECT * FROM (SELECT stream, epoch, seq, payload, acked_at, reject_code FROM outbox"
        " WHERE (:stream IS NULL OR stream = :stream) AND (NOT :pending OR acked_at IS NULL)"
        " ORDER BY rowid DESC LIMIT :limit) ORDER BY stream, epoch, seq",
        {
            "stream": stream,
            "pending": only_pending,
            "limit": -1 if limit is None else limit,
        },
    )


def _state(acked_at: int | None, reject_code: str | None) -> str:
    if acked_at is None:
        return "pending"
    return f"rejected: {reject_code}" if reject_code else "acknowledged"


def _line(row: Row) -> Mapping[str, object]:
    stream, epoch, seq, payload, acked_at, reject_code = row
    message = _opened(payload)
    body = message.get("data")
    told = body if isinstance(body, dict) else {}
    names = (
        "session_id",
        "outcome",
        "amount_minor",
        "currency",
        "step",
        "kind",
        "command_id",
        "status",
        "code",
    )
    return {
        "stream": stream,
        "epoch": epoch,
        "seq": seq,
        "state": _state(acked_at, reject_code),
        "ts": message.get("ts"),
        "type": told.get("type"),
        **{name: told[name] for name in names if name in told},
    }


def _whole(row: Row) -> Mapping[str, object]:
    _, _, _, payload, acked_at, reject_code = row
    return {"state": _state(acked_at, reject_code), "message": _opened(payload)}


def _opened(payload: bytes) -> dict[str, Any]:  # what a sealed message holds
    """Masked once more, although nothing that was sealed should hold a card number."""
    import msgspec

    from agent.logs import without_cards

    try:
        opened = without_cards(msgspec.json.decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"unreadable": True}
    return opened if isinstance(opened, dict) else {"unreadable": True}


def _stats(db: sqlite3.Connection) -> Mapping[str, object]:
    from agent.journal import fact

    streams = {
        stream: {
            "stored": stored,
            "pending": pending,
            "rejected": rejected,
            "oldest_pending": oldest,
        }
        for stream, stored, pending, rejected, oldest in db.execute(
            "SELECT stream, count(*), sum(acked_at IS NULL), sum(reject_code IS NOT NULL),"
            " datetime(min(CASE WHEN acked_at IS NULL THEN created_at END), 'unixepoch')"
            " FROM outbox GROUP BY stream ORDER BY stream"
        )
    }
    undecided = db.execute("SELECT count(*) FROM session WHERE outcome IS NULL").fetchone()[0]
    return {
        "epoch": int(fact(db, "epoch") or 0),
        "boot": int(fact(db, "boot") or 0),
        "device_id": fact(db, "device_id"),
        "streams": streams,
        "undecided_sessions": undecided,
    }
