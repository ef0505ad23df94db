"""End of day, for owners and accountants: does what the readers counted agree with the ledger?"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.end_of_day import closings
from control_plane.end_of_day.errors import ClosingTimeUnreadable
from control_plane.end_of_day.models import DAYS
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.web.closing_words import closing
from control_plane.web.views import Page
from control_plane.web.visits import Visit, site_of

router = APIRouter(prefix="/end-of-day")

Seeing = Annotated[Caller, requires(Permission.REPORT_VIEW)]
Setting = Annotated[Caller, requires(Permission.READER_MANAGE)]
_ON_A_PAGE: Final = 30


@router.get("")
def days(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    every: Annotated[bool, Query(alias="all")] = True,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    saved: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Closings, the newest first, with what does not agree; and when each shop closes."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    found = PageRequest(_ON_A_PAGE, cursor, f"/end-of-day {every}").read(
        db,
        closings.days_of(caller.scope, only_differing=not every),
        [DAYS.c.closed_at, DAYS.c.id],
        lambda row: closing(visit, row),
    )
    address = f"/end-of-day?all={int(every)}"
    return site.page(
        visit,
        "end_of_day.html",
        closings=found.items,
        every=every,
        schedules=closings.schedules(db, caller.scope),
        saved=saved,
        problems={},
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&cursor={found.next_cursor}" if found.next_cursor else "",
        ),
    )


@router.post("/schedule")
def set_schedule(
    request: Request,
    caller: Setting,
    db: Db,
    location_id: Annotated[str, Form(max_length=64)],
    at: Annotated[str, Form(max_length=8)] = "",
) -> Response:
    """Save when a shop closes; what cannot be read is said under its field."""
    try:
        closings.set_schedule(db, caller, location_id, at)
    except ClosingTimeUnreadable as problem:
        site = site_of(request)
        visit: Visit = site.visit(db, request, caller)
        return site.page(
            visit,
            "end_of_day.html",
            status=422,
            closings=[],
            every=True,
            schedules=closings.schedules(db, caller.scope),
            saved="",
            problems={location_id: visit.say(problem.message, given=at)},
            page=Page(),
        )
    return RedirectResponse(f"/end-of-day?saved={location_id}", 303)
