"""What is wrong with boxes and readers, and who looks after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Query, Request
from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.alerts import queries, watching
from control_plane.alerts.models import ALERTS
from control_plane.alerts.stepping import AlertState
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.web import words
from control_plane.web.views import Page
from control_plane.web.visits import Visit, site_of

router = APIRouter(prefix="/alerts")

Seeing = Annotated[Caller, requires(Permission.DEVICE_VIEW)]
Managing = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]
View = Literal["open", "acknowledged", "resolved"]
_ON_A_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert in the list."""

    id: str
    word: words.Word
    name: str
    href: str
    place: str
    since: datetime
    raised: int


@router.get("")
def alerts(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    state: Annotated[View, Query()] = "open",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    taken: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Alerts in one state, the one that changed last first."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    found = PageRequest(_ON_A_PAGE, cursor, f"/alerts {state}").read(
        db,
        queries.alerts_of(caller.scope, [AlertState(state)]),
        [ALERTS.c.changed_at, ALERTS.c.id],
        lambda row: _row(visit, row),
    )
    address = f"/alerts?state={state}"
    return site.page(
        visit,
        "alerts.html",
        alerts=found.items,
        state=state,
        taken=taken,
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&cursor={found.next_cursor}" if found.next_cursor else "",
        ),
    )


@router.post("/acknowledge")
def acknowledge(
    caller: Managing,
    db: Db,
    alert: Annotated[list[str], Form(max_length=500)],
) -> Response:
    """The person looks after these."""
    taken = watching.acknowledge(db, caller, alert)
    return RedirectResponse(f"/alerts?taken={len(taken)}", 303)


def _row(visit: Visit, row: Row[Any]) -> AlertRow:
    is_box = row.object_id == row.device_id
    base = "/readers/boxes" if is_box else "/readers"
    return AlertRow(
        row.id,
        words.word(words.ALERTS, row.kind),
        (row.device_name if is_box else row.reader_name) or row.object_id,
        f"{base}/{row.object_id}",
        visit.places.get(row.location_id, ""),
        row.changed_at,
        row.raised,
    )
