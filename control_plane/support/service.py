"""Takes in what boxes send of their logs, when somebody asked for it, and forgets it after some days."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete

from control_plane import live
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.db.upsert import insert as upsert
from control_plane.errors import Conflict, RequestRefused
from control_plane.support import queries
from control_plane.support.models import LOG_BUNDLES, LOG_LINES
from protocols.cloud.events import LogLines
from protocols.readers.emv import redact_card_numbers

#: Lines of one tail that are kept: what a box may say in the quarter of an hour that it may talk.
MOST_LINES: Final = 20_000
#: A tail ends after a quarter of an hour; what comes later was never asked for.
_TAIL_LASTS: Final = timedelta(minutes=20)
_BUNDLE_LASTS: Final = timedelta(hours=1)
KEPT: Final = timedelta(days=7)
_LONGEST_LINE: Final = 4000


class BundleNotWanted(Conflict):
    """A bundle that nobody asked this device for, or not lately."""

    code = "bundle_not_wanted"
    message = "Nobody asked this device for {command_id}. Ask for a new bundle."


class BundleUnreadable(RequestRefused):
    """What came is no zip file."""

    code = "bundle_unreadable"
    message = "The bundle is no zip file."


def log_topic(device_id: str) -> str:
    """Live topic: new lines of a device's log."""
    return f"device:{device_id}:log"


def keep_lines(
    db: Transaction, messages: Sequence[tuple[str, LogLines]], received_at: datetime
) -> None:
    """Keep pieces of tails, each with the id of the device that sent it. What nobody asked for is dropped."""
    ids = {lines.command_id for _, lines in messages}
    asked = queries.asked(db, queries.TAIL, ids, received_at - _TAIL_LASTS)
    there = queries.counts(db, asked) if asked else {}
    rows: list[dict[str, Any]] = []
    for device_id, lines in messages:
        command = asked.get(lines.command_id)
        if command is None or command.device_id != device_id:
            continue
        room = MOST_LINES - there.get(lines.command_id, 0)
        taken = lines.lines[: max(0, room)]
        there[lines.command_id] = there.get(lines.command_id, 0) + len(taken)
        rows += [
            {
                "merchant_id": command.merchant_id,
                "device_id": device_id,
                "command_id": lines.command_id,
                "seq": lines.seq,
                "position": position,
                "received_at": received_at,
                **_columns(line),
            }
            for position, line in enumerate(_with_gap(taken, lines.dropped))
        ]
        live.publish(db, log_topic(device_id), key=log_topic(device_id))
    if rows:
        db.execute(upsert(db, LOG_LINES).on_conflict_do_nothing(), rows)


def keep_bundle(db: Transaction, device_id: str, command_id: str, content: bytes) -> None:
    """Keep what a device was asked for; the same bundle again changes nothing.

    Raises BundleNotWanted, BundleUnreadable.
    """
    now = context_of(db).clock.now()
    command = queries.asked(db, queries.BUNDLE, {command_id}, now - _BUNDLE_LASTS).get(command_id)
    if command is None or command.device_id != device_id:
        raise BundleNotWanted(command_id=command_id)
    if not content.startswith(b"PK"):
        raise BundleUnreadable
    db.execute(
        upsert(db, LOG_BUNDLES)
        .values(
            command_id=command_id,
            merchant_id=command.merchant_id,
            device_id=device_id,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            content=content,
            received_at=now,
        )
        .on_conflict_do_nothing()
    )
    live.publish(db, log_topic(device_id), key=log_topic(device_id))


def forget_old(db: Transaction) -> int:
    """Delete what is older than it is kept; how many rows."""
    before = context_of(db).clock.now() - KEPT
    lines = changed(db, delete(LOG_LINES).where(LOG_LINES.c.received_at < before))
    bundles = changed(db, delete(LOG_BUNDLES).where(LOG_BUNDLES.c.received_at < before))
    return lines + bundles


def _with_gap(lines: Sequence[str], dropped: int) -> Sequence[str]:
    if not dropped:
        return lines
    return [json.dumps({"level": "warning", "event": "lines_left_out", "count": dropped}), *lines]


def _columns(line: str) -> dict[str, Any]:
    text = redact_card_numbers(line.replace("\x00", ""))[:_LONGEST_LINE]
    level, at = "", None
    try:
        said = json.loads(text)
        level = str(said.get("level", ""))[:10]
        at = datetime.fromisoformat(str(said.get("timestamp", "")))
    except (ValueError, AttributeError):
        pass
    return {"text": text, "level": level, "written_at": at if at and at.tzinfo else None}
