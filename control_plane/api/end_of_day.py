"""End of day: what readers counted, and what the ledger has."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.end_of_day import closings
from control_plane.end_of_day.models import DAYS, DayStatus
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires

router = APIRouter(prefix="/v1", tags=["end of day"])


class DifferenceOut(BaseModel):
    """One line of what does not agree."""

    why: Annotated[
        str,
        Field(
            description="`outside`: its receipt is not among the reader’s of that day. `undecided`: nobody knows how "
            "it ended. `alone`: its amount alone is the difference. `unexplained`: what is left."
        ),
    ]
    minor: Annotated[int, Field(description="What the reader has more than the ledger.")]
    count: int
    transaction_id: str
    session_id: str
    receipt_number: int | None


class ClosingOut(BaseModel):
    """One closing of a reader."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    reader_id: str
    reader_name: str
    location_id: str
    location_name: str
    opened_at: datetime | None
    closed_at: datetime
    currency: str
    reader_count: int
    reader_minor: int
    ledger_count: int
    ledger_minor: int
    receipt_from: int | None
    receipt_to: int | None
    per_scheme: Annotated[
        list[tuple[str, int, int]], Field(description="(scheme, count, sum in minor units)")
    ]
    differences: list[DifferenceOut]
    status: DayStatus
    compared_at: datetime


class ScheduleIn(BaseModel):
    """When the readers of a shop close their day."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"at": "03:30"}]})

    at: Annotated[
        str, Field(max_length=5, description="`HH:MM` in the shop’s time zone; empty: never.")
    ]


class ScheduleOut(BaseModel):
    """When the readers of a shop close their day."""

    model_config = ConfigDict(from_attributes=True)

    location_id: str
    location_name: str
    time_zone: str
    at: str


Viewer = Annotated[Caller, requires(Permission.REPORT_VIEW)]
Manager = Annotated[Caller, requires(Permission.READER_MANAGE)]


@router.get("/end-of-day")
def list_closings(
    caller: Viewer,
    parts: App,
    page: PageOf,
    reader_id: Annotated[str | None, Query(max_length=64)] = None,
    only_differing: bool = False,
) -> Page[ClosingOut]:
    """Closings, the newest first."""
    wanted = closings.days_of(caller.scope, reader_id=reader_id, only_differing=only_differing)
    with parts.database.reading() as db:
        return page.read(db, wanted, [DAYS.c.closed_at, DAYS.c.id], make=ClosingOut.model_validate)


@router.get("/end-of-day/schedules")
def list_schedules(caller: Viewer, db: ReadDb) -> list[ScheduleOut]:
    """When the readers of each shop close."""
    return [ScheduleOut.model_validate(one) for one in closings.schedules(db, caller.scope)]


@router.get("/end-of-day/{closing_id}")
def read_closing(
    closing_id: Annotated[str, Path(max_length=64)], caller: Viewer, db: ReadDb
) -> ClosingOut:
    """One closing."""
    found: Any = closings.day(db, caller.scope, closing_id)
    return ClosingOut.model_validate(found)


@router.put("/locations/{location_id}/end-of-day")
def set_schedule(
    location_id: Annotated[str, Path(max_length=64)], wish: ScheduleIn, caller: Manager, db: Db
) -> ScheduleOut:
    """Close the readers of this shop every day at this time, or never."""
    return ScheduleOut.model_validate(closings.set_schedule(db, caller, location_id, wish.at))
