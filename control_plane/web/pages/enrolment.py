"""Setting up a new box: a code, shown once, and waiting until the box appears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final

import segno
from fastapi import APIRouter, Form, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import enrollment, queries
from control_plane.devices.timeline import readers_topic
from control_plane.errors import NotFound, RequestRefused
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.security import requires
from control_plane.web.fleet import MOST, CodeView, box_rows, code_view
from control_plane.web.streams import follow
from control_plane.web.views import Choice
from control_plane.web.visits import Site, Visit, site_of

router = APIRouter(prefix="/readers")

Enrolling = Annotated[Caller, requires(Permission.DEVICE_ENROLL)]

#: Minutes that a code can live.
_VALIDITIES: Final = (15, 60, 24 * 60, 7 * 24 * 60)


@router.get("/add")
def ask_for_code(request: Request, caller: Enrolling, db: ReadDb) -> Response:
    """The first step of setting up a box."""
    site = site_of(request)
    return _code_form(site, site.visit(db, request, caller), {})


@router.post("/add")
def make_code(
    request: Request,
    caller: Enrolling,
    db: Db,
    location: Annotated[str, Form(max_length=64)] = "",
    validity: Annotated[int, Form()] = 60,
    uses: Annotated[int, Form()] = 1,
    replaces: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Make a code, and show it the only time that it can be shown."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    try:
        with db.begin_nested():
            code_id, secret = enrollment.issue_code(
                db,
                caller.scope,
                location,
                by=caller.actor,
                lifetime=timedelta(minutes=validity),
                max_uses=uses,
                replaces_id=replaces or None,
            )
    except RequestRefused as refused:
        return _code_form(site, visit, {"form": visit.explain(refused)}, status=refused.status)
    code = _code(db, visit, code_id)
    command = f"omnitill-agent enroll --url {site.parts.settings.base_url} --code {secret.reveal()}"
    drawn = segno.make(command, error="m").svg_inline(border=2, omitsize=True)
    # segno writes nothing of the text into the drawing but its squares.
    shown = replace(code, text=secret.reveal(), command=command, qr=Markup(drawn))  # noqa: S704
    headers = {"HX-Push-Url": code.href}
    return site.page(visit, "readers/code.html", code=shown, headers=headers)


@router.get("/codes/{code_id}")
def show_code(request: Request, caller: Enrolling, db: ReadDb, code_id: str) -> Response:
    """A code that was made before: whether its box has come."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(visit, "readers/code.html", code=_code(db, visit, code_id))


@router.post("/codes/{code_id}/withdraw")
def withdraw_code(caller: Enrolling, db: Db, code_id: str) -> Response:
    """From now on the code lets nobody in."""
    enrollment.revoke_code(db, caller.scope, code_id, by=caller.actor)
    return RedirectResponse(f"/readers/codes/{code_id}", 303)


@router.get("/codes/{code_id}/live", response_class=EventSourceResponse)
async def code_live(
    request: Request, caller: Enrolling, parts: App, code_id: str
) -> AsyncIterator[ServerSentEvent]:
    """Tells when the box has come."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            code = _code(db, visit, code_id)
            return {"#arrivals": site.fragment(visit, "readers/_arrivals.html", code=code)}

    async for event in follow(parts.live, [readers_topic(caller.merchant_id)], render):
        yield event


def _code(db: Transaction, visit: Visit, code_id: str) -> CodeView:
    row = queries.code(db, visit.caller.scope, code_id)
    if row is None:
        raise NotFound("enrolment code", code_id)
    found = queries.devices(
        db, visit.caller.scope, queries.DeviceFilter(location_id=row.location_id), limit=MOST
    )
    since = [
        device
        for device in found
        if device.enrolled_at is not None and device.enrolled_at >= row.created_at
    ]
    boxes = tuple(box_rows(db, visit, since if row.used else []))
    return replace(code_view(visit, row), boxes=boxes)


def _code_form(
    site: Site, visit: Visit, problems: Mapping[str, str], *, status: int = 200
) -> Response:
    return site.page(
        visit,
        "readers/add.html",
        status=status,
        places=[Choice(id_, name) for id_, name in visit.places.items()],
        problems=problems,
        validities=[
            (minutes, visit.formats.span(timedelta(minutes=minutes))) for minutes in _VALIDITIES
        ],
    )
