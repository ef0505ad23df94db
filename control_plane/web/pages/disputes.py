"""Payments that a cardholder's bank wants back."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.http.dependencies import ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.models import DISPUTES
from control_plane.web.refund_words import DISPUTES_OPEN
from control_plane.web.sale import disputed
from control_plane.web.views import Page
from control_plane.web.visits import site_of

router = APIRouter(prefix="/disputes")

Seeing = Annotated[Caller, requires(Permission.DISPUTE_VIEW)]
_ON_A_PAGE: Final = 50


@router.get("")
def disputes(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    every: Annotated[bool, Query(alias="all")] = False,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Those that need an answer, or all, the newest first."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    statuses = () if every else DISPUTES_OPEN
    page = PageRequest(_ON_A_PAGE, cursor, f"/disputes {every}").read(
        db,
        queries.disputes_of(caller.scope, statuses=statuses),
        [DISPUTES.c.id],
        lambda row: disputed(visit, queries.dispute_view(row)),
    )
    rows = page.items if every else sorted(page.items, key=lambda one: one.due_by or visit.now)
    address = "/disputes?all=1" if every else "/disputes?all=0"
    return site.page(
        visit,
        "disputes.html",
        disputes=rows,
        every=every,
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&cursor={page.next_cursor}" if page.next_cursor else "",
        ),
    )
