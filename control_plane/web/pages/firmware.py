"""New software for one reader, ordered on its page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.errors import Conflict
from control_plane.firmware import updates
from control_plane.http.dependencies import Db
from control_plane.http.security import requires
from control_plane.web.pages.readers import reader_page
from control_plane.web.visits import site_of

router = APIRouter(prefix="/readers")

Managing = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]

#: What the form says when the reader fetches its software by itself.
ITS_OWN = "own"


@router.post("/{reader_id}/firmware-update")
def order_update(
    request: Request,
    caller: Managing,
    db: Db,
    reader_id: str,
    release_id: Annotated[str, Form(max_length=64)],
) -> Response:
    """Order it; the reader's page shows how far it is. The day is closed first, as a person would."""
    order = updates.Order(
        release_id=None if release_id == ITS_OWN else release_id,
        end_of_day=True,
        # Whoever stands at this page has seen how the last one ended.
        despite_failure=True,
    )
    try:
        with db.begin_nested():
            updates.order_update(db, caller, reader_id, order)
    except Conflict as refused:
        site = site_of(request)
        visit = site.visit(db, request, caller)
        return reader_page(
            site, visit, db, reader_id, notice=visit.explain(refused), status=refused.status
        )
    return RedirectResponse(f"/readers/{reader_id}", 303)
