"""Holds what readers told against the ledger, and asks them to close when their shop's clock says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, case, func, or_, select, update

from control_plane.accounts.caller import Caller
from control_plane.accounts.models import Location
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.columns import table_of
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert, insert_new
from control_plane.devices.models import DEVICES, EVENTS, READERS
from control_plane.end_of_day.comparing import Booked, Open, Told, compare
from control_plane.end_of_day.errors import ClosingTimeUnreadable
from control_plane.end_of_day.models import DAYS, RUNS, SCHEDULES, DayStatus
from control_plane.errors import NotFound
from control_plane.payments.commands import issue_command
from control_plane.payments.models import SESSIONS
from control_plane.transactions.models import TRANSACTIONS, Kind, Status
from firmware_profiles import load_all
from protocols.cloud.commands import CloseReaderDay
from protocols.ids import new_id
from protocols.session import SessionState

LOCATIONS: Final = table_of(Location)

#: Results and totals travel on two streams; the results of a day are there this long after its totals.
SETTLES_AFTER: Final = timedelta(seconds=15)
#: A difference is looked at again for so long, because a late result may explain it.
LOOKED_AT_FOR: Final = timedelta(days=3)
#: A reader that could not be asked is asked again, until so long after its time.
ASKED_FOR: Final = timedelta(hours=6)
ASKED_AGAIN: Final = timedelta(minutes=15)
_TTL: Final = timedelta(minutes=10)
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_BACK: Final = (Kind.REFUND, Kind.REVERSAL)
_OPEN: Final = (SessionState.UNKNOWN,)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a shop's readers close. ``at`` is ``HH:MM`` local, or empty."""

    location_id: str
    location_name: str
    time_zone: str
    at: str


# --- comparing -------------------------------------------------------------------------------------------------


def take_in(db: Transaction, *, limit: int = 200) -> int:
    """Compare closings that were told and not compared yet; how many."""
    now = context_of(db).clock.now()
    told = db.execute(
        select(
            EVENTS.c.id,
            EVENTS.c.merchant_id,
            EVENTS.c.reader_id,
            EVENTS.c.happened_at.label("at"),
            EVENTS.c.facts,
            READERS.c.location_id,
        )
        .join_from(EVENTS, READERS, READERS.c.id == EVENTS.c.reader_id)
        .outerjoin(DAYS, DAYS.c.event_id == EVENTS.c.id)
        .where(
            EVENTS.c.kind == "reader.totals",
            EVENTS.c.recorded_at <= now - SETTLES_AFTER,
            EVENTS.c.recorded_at > now - timedelta(days=90),
            DAYS.c.id.is_(None),
        )
        .order_by(EVENTS.c.id)
        .limit(limit)
    ).all()
    done = 0
    for row in told:
        if row.facts.get("closed") and row.facts.get("currency"):
            done += _compare_first(db, row, now)
    return done


def look_again(db: Transaction, *, limit: int = 200) -> int:
    """Compare differences once more; how many are explained now."""
    now = context_of(db).clock.now()
    rows = db.execute(
        select(DAYS)
        .where(DAYS.c.status == DayStatus.DIFFERS, DAYS.c.closed_at > now - LOOKED_AT_FOR)
        .order_by(DAYS.c.compared_at)
        .limit(limit)
    ).all()
    explained = 0
    for row in rows:
        told = Told(row.reader_count, row.reader_minor, row.receipt_from, row.receipt_to)
        compared = _compared(db, row, row.opened_at, row.closed_at, row.currency, told, now)
        db.execute(update(DAYS).where(DAYS.c.id == row.id).values(**compared))
        explained += compared["status"] is DayStatus.MATCHES
    return explained


def _compare_first(db: Transaction, row: Any, now: datetime) -> bool:  # a row of device_event
    facts = row.facts
    schemes = facts.get("per_scheme") or []
    told = Told(
        sum(count for _, count, _ in schemes),
        sum(minor for _, _, minor in schemes),
        facts.get("receipt_from"),
        facts.get("receipt_to"),
    )
    opened_at = db.execute(
        select(func.max(DAYS.c.closed_at)).where(
            DAYS.c.reader_id == row.reader_id,
            DAYS.c.currency == facts["currency"],
            DAYS.c.closed_at < row.at,
        )
    ).scalar_one_or_none()
    return insert_new(
        db,
        DAYS,
        {
            "id": new_id("eod"),
            "merchant_id": row.merchant_id,
            "location_id": row.location_id,
            "reader_id": row.reader_id,
            "event_id": row.id,
            "opened_at": opened_at,
            "closed_at": row.at,
            "currency": facts["currency"],
            "reader_count": told.count,
            "reader_minor": told.minor,
            "receipt_from": told.receipt_from,
            "receipt_to": told.receipt_to,
            "per_scheme": schemes,
            **_compared(db, row, opened_at, row.at, facts["currency"], told, now),
        },
        unique=["event_id"],
    )


def _compared(
    db: Transaction,
    row: Any,  # of device_event or reader_day
    opened_at: datetime | None,
    closed_at: datetime,
    currency: str,
    told: Told,
    now: datetime,
) -> dict[str, Any]:
    booked = _booked(db, row.merchant_id, row.reader_id, opened_at, closed_at, currency)
    undecided = _undecided(db, row.merchant_id, row.reader_id, opened_at, closed_at, currency)
    differences = compare(told, booked, undecided)
    return {
        "ledger_count": len(booked),
        "ledger_minor": sum(one.minor for one in booked),
        "differences": [one.written() for one in differences],
        "status": DayStatus.DIFFERS if differences else DayStatus.MATCHES,
        "compared_at": now,
    }


def _booked(
    db: Transaction,
    merchant_id: str,
    reader_id: str,
    opened_at: datetime | None,
    closed_at: datetime,
    currency: str,
) -> list[Booked]:
    minor = case(
        (TRANSACTIONS.c.kind.in_(_BACK), -TRANSACTIONS.c.amount_minor),
        else_=TRANSACTIONS.c.amount_minor,
    )
    wanted = (
        select(TRANSACTIONS.c.id, minor, TRANSACTIONS.c.receipt_number)
        .where(
            TRANSACTIONS.c.merchant_id == merchant_id,
            TRANSACTIONS.c.reader_id == reader_id,
            TRANSACTIONS.c.status == Status.APPROVED,
            TRANSACTIONS.c.currency == currency,
            TRANSACTIONS.c.occurred_at <= closed_at,
        )
        .order_by(TRANSACTIONS.c.occurred_at)
    )
    if opened_at is not None:
        wanted = wanted.where(TRANSACTIONS.c.occurred_at > opened_at)
    return [Booked(*one) for one in db.execute(wanted)]


def _undecided(
    db: Transaction,
    merchant_id: str,
    reader_id: str,
    opened_at: datetime | None,
    closed_at: datetime,
    currency: str,
) -> list[Open]:
    wanted = select(SESSIONS.c.id, SESSIONS.c.amount_minor).where(
        SESSIONS.c.merchant_id == merchant_id,
        SESSIONS.c.reader_id == reader_id,
        SESSIONS.c.currency == currency,
        SESSIONS.c.state.in_(_OPEN),
        SESSIONS.c.created_at <= closed_at,
    )
    if opened_at is not None:
        wanted = wanted.where(SESSIONS.c.created_at > opened_at)
    return [Open(*one) for one in db.execute(wanted.order_by(SESSIONS.c.id))]


# --- closing by the clock --------------------------------------------------------------------------------------


def schedules(db: Transaction, scope: Scope) -> list[Schedule]:
    """Of every shop within the scope, by name."""
    conditions = [LOCATIONS.c.merchant_id == scope.merchant_id, LOCATIONS.c.archived_at.is_(None)]
    rows = db.execute(
        select(LOCATIONS.c.id, LOCATIONS.c.name, LOCATIONS.c.time_zone, SCHEDULES.c.at)
        .outerjoin_from(LOCATIONS, SCHEDULES, SCHEDULES.c.location_id == LOCATIONS.c.id)
        .where(*conditions)
        .order_by(LOCATIONS.c.name)
    )
    return [
        Schedule(one.id, one.name, one.time_zone, one.at or "")
        for one in rows
        if scope.covers(one.id)
    ]


def set_schedule(db: Transaction, caller: Caller, location_id: str, at: str) -> Schedule:
    """Close the readers of a shop every day at this local time. Raises NotFound, ClosingTimeUnreadable."""
    at = at.strip()
    if at and not _TIME.fullmatch(at):
        raise ClosingTimeUnreadable(given=at)
    before = next(
        (one for one in schedules(db, caller.scope) if one.location_id == location_id), None
    )
    if before is None:
        raise NotFound("location", location_id)
    values = {
        "location_id": location_id,
        "merchant_id": caller.scope.merchant_id,
        "at": at,
        "updated_at": context_of(db).clock.now(),
    }
    statement = insert(db, SCHEDULES).values(values)
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["location_id"],
            set_={"at": statement.excluded.at, "updated_at": statement.excluded.updated_at},
        )
    )
    record(
        db,
        caller.scope.merchant_id,
        caller.actor,
        AuditTag.CLOSING_SCHEDULE,
        object_id=location_id,
        object_name=before.location_name,
        before={"at": before.at},
        after={"at": at},
    )
    return Schedule(location_id, before.location_name, before.time_zone, at)


def ask_due(db: Transaction) -> int:
    """Ask the readers whose shop's clock says so to close their day; how many were asked."""
    now = context_of(db).clock.now()
    rows = db.execute(
        select(LOCATIONS.c.id, LOCATIONS.c.time_zone, SCHEDULES.c.at)
        .join_from(SCHEDULES, LOCATIONS, LOCATIONS.c.id == SCHEDULES.c.location_id)
        .where(SCHEDULES.c.at != "", LOCATIONS.c.archived_at.is_(None))
    ).all()
    closing = frozenset(
        name for name, profile in load_all()[0].items() if profile.can("end_of_day")
    )
    asked = 0
    for row in rows:
        due = last_due(now, row.time_zone, row.at)
        if now - due <= ASKED_FOR:
            asked += _ask_location(db, row.id, due, now, closing)
    return asked


def last_due(now: datetime, time_zone: str, at: str) -> datetime:
    """When the time of day `at` was last passed in that zone; one that a change of clocks skips counts all the same."""
    zone = ZoneInfo(time_zone)
    hour, minute = map(int, at.split(":"))
    local = now.astimezone(zone)
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return due if due <= local else due - timedelta(days=1)


def _ask_location(
    db: Transaction, location_id: str, due: datetime, now: datetime, closing: frozenset[str]
) -> int:
    day = due.date()
    rows = db.execute(
        select(
            READERS.c.id,
            READERS.c.merchant_id,
            READERS.c.device_id,
            READERS.c.profile,
            RUNS.c.attempts,
        )
        .join_from(READERS, DEVICES, DEVICES.c.id == READERS.c.device_id)
        .outerjoin(RUNS, and_(RUNS.c.reader_id == READERS.c.id, RUNS.c.day == day))
        .outerjoin(DAYS, and_(DAYS.c.reader_id == READERS.c.id, DAYS.c.closed_at >= due))
        .where(
            READERS.c.location_id == location_id,
            READERS.c.gone_at.is_(None),
            READERS.c.state == "ready",
            DEVICES.c.is_online.is_(True),
            DAYS.c.id.is_(None),
            or_(RUNS.c.asked_at.is_(None), RUNS.c.asked_at <= now - ASKED_AGAIN),
        )
    ).all()
    asked = 0
    for row in rows:
        if row.profile not in closing:
            continue
        command_id = issue_command(
            db,
            merchant_id=row.merchant_id,
            device_id=row.device_id,
            body=CloseReaderDay(reader_id=row.id),
            issued_by="schedule",
            reader_id=row.id,
            ttl=_TTL,
        )
        statement = insert(db, RUNS).values(
            reader_id=row.id,
            day=day,
            merchant_id=row.merchant_id,
            attempts=1,
            asked_at=now,
            command_id=command_id,
        )
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["reader_id", "day"],
                set_={
                    "attempts": (row.attempts or 0) + 1,
                    "asked_at": now,
                    "command_id": command_id,
                },
            )
        )
        asked += 1
    return asked


# --- what people see -------------------------------------------------------------------------------------------


def days_of(
    scope: Scope, *, reader_id: str | None = None, only_differing: bool = False
) -> Select[*tuple[Any, ...]]:
    """Closings with their reader's name; the id puts them in the order in which they were compared."""
    wanted = (
        select(
            *DAYS.c, READERS.c.name.label("reader_name"), LOCATIONS.c.name.label("location_name")
        )
        .join_from(DAYS, READERS, READERS.c.id == DAYS.c.reader_id)
        .join(LOCATIONS, LOCATIONS.c.id == DAYS.c.location_id)
        .where(*scope.conditions(DAYS))
    )
    if reader_id:
        wanted = wanted.where(DAYS.c.reader_id == reader_id)
    if only_differing:
        wanted = wanted.where(DAYS.c.status == DayStatus.DIFFERS)
    return wanted


def day(db: Transaction, scope: Scope, day_id: str) -> Any:
    """One row of ``days_of``. Raises NotFound."""
    found = db.execute(days_of(scope).where(DAYS.c.id == day_id)).one_or_none()
    if found is None:
        raise NotFound("closing", day_id)
    return found
