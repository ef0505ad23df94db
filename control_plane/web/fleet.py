"""What the pages of readers and of boxes share: rows, axes of state with their causes, and codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from markupsafe import Markup
from sqlalchemy import Row

from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries
from control_plane.web import present, words
from control_plane.web.i18n import N_
from control_plane.web.views import Choice
from control_plane.web.visits import Visit

#: Most rows of a list that is not paged.
MOST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Something that can be done on the page of a box or a reader."""

    key: str
    text: str
    icon: str
    action: str = ""
    href: str = ""
    title: str = ""
    confirm: str = ""
    is_grave: bool = False
    field: str = ""
    field_label: str = ""
    value: str = ""
    options: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """One of the ways in which a reader can be well or not."""

    name: str
    word: words.Word
    why: str


@dataclass(frozen=True, slots=True)
class BoxRow:
    """A box in the fleet."""

    id: str
    href: str
    name: str
    place: str
    reach: str
    sync: str
    readers: int
    version: str
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class CodeView:
    """A code with which boxes are set up. ``text`` is known only right after it was made."""

    id: str
    href: str
    place: str
    hint: str
    used: int
    uses: int
    is_open: bool
    expires_at: datetime
    boxes: tuple[BoxRow, ...] = ()
    text: str = ""
    command: str = ""
    qr: Markup | None = None


def box_rows(db: Transaction, visit: Visit, devices: Sequence[Row[Any]]) -> list[BoxRow]:
    """Boxes as lists show them."""
    hashes = queries.desired_hashes(db, [device.id for device in devices])
    return [
        BoxRow(
            id=device.id,
            href=f"/readers/boxes/{device.id}",
            name=device.name,
            place=visit.places.get(device.location_id, ""),
            reach=present.reach(device.is_online, device.last_seen_at),
            sync=present.sync(device.reported, hashes.get(device.id)),
            readers=len((device.reported or {}).get("readers", [])),
            version=device.agent_version,
            last_seen=device.last_seen_at,
        )
        for device in devices
    ]


def reach_axis(visit: Visit, reach: str, last_seen: datetime | None) -> Axis:
    if last_seen is None:
        why = visit.say(N_("The box has never connected. Check that the agent runs there."))
    elif reach == "online":
        why = visit.say(N_("Heard of %(when)s."), when=visit.formats.ago(last_seen, visit.now))
    else:
        why = visit.say(
            N_("Last heard of %(when)s. Check the power and the network of the box."),
            when=visit.formats.ago(last_seen, visit.now),
        )
    return Axis(visit.say(N_("Reach")), words.word(words.REACH, reach), why)


def sync_axis(visit: Visit, sync: str, reported: Mapping[str, Any] | None) -> Axis:
    told = waiting(visit, reported)
    errors = ((reported or {}).get("config") or {}).get("errors") or {}
    if sync == "failed" and errors:
        why = "; ".join(f"{name}: {text}" for name, text in errors.items())
    else:
        why = told or visit.say(N_("Nothing waits on the box."))
    return Axis(visit.say(N_("Sync")), words.word(words.SYNC, sync), why)


def waiting(visit: Visit, reported: Mapping[str, Any] | None) -> str:
    outbox = (reported or {}).get("outbox") or {}
    pending = int(outbox.get("pending", 0))
    if not pending:
        return ""
    return visit.say(
        N_("%(count)s messages wait on the box, the oldest for %(span)s."),
        count=visit.formats.number(pending),
        span=visit.formats.span(timedelta(seconds=int(outbox.get("oldest_s", 0)))),
    )


def open_codes(db: Transaction, visit: Visit) -> list[CodeView]:
    codes = [code_view(visit, row) for row in queries.codes(db, visit.caller.scope)]
    return [code for code in codes if code.is_open]


def code_view(visit: Visit, row: Row[Any]) -> CodeView:
    is_open = row.revoked_at is None and row.used < row.max_uses and row.expires_at > visit.now
    return CodeView(
        id=row.id,
        href=f"/readers/codes/{row.id}",
        place=visit.places.get(row.location_id, ""),
        hint=f"••••-••{row.hint}",
        used=row.used,
        uses=row.max_uses,
        is_open=is_open,
        expires_at=row.expires_at,
    )
