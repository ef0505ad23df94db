"""The activity log: who did what, and when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit import queries
from control_plane.audit.service import EVENTS
from control_plane.audit.tags import AuditTag
from control_plane.http.dependencies import ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.web.views import Choice, Page
from control_plane.web.visits import Visit, site_of

if TYPE_CHECKING:
    from sqlalchemy import Row

router = APIRouter()
_ON_A_PAGE = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is read."""

    at: datetime
    text: str
    tag: str
    actor: str
    address: str
    object: str
    details: str


@router.get("/activity")
def activity(
    request: Request,
    caller: Annotated[Caller, requires(Permission.AUDIT_VIEW)],
    db: ReadDb,
    q: Annotated[str, Query(max_length=80)] = "",
    actor: Annotated[str, Query(max_length=64)] = "",
    from_: Annotated[str, Query(alias="from", max_length=10)] = "",
    to: Annotated[str, Query(max_length=10)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """The log, newest first, fifty on a page."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    # An id is looked for among the objects, anything else among the tags: `user`, `payment:session`.
    text = q.strip()
    is_tag = any(tag.value.startswith(text) for tag in AuditTag)
    since, until = visit.start_of(from_), visit.start_of(to, days=1)
    statement = queries.events(
        caller.scope,
        tag=text if text and is_tag else None,
        object_id=text if text and not is_tag else None,
        actor_id=actor or None,
        since=since,
        until=until,
    )
    page = PageRequest(_ON_A_PAGE, cursor, "/activity").read(
        db, statement, [EVENTS.c.seq], lambda row: _entry(visit, row)
    )
    filters = {"q": text, "actor": actor, "from": from_, "to": to}
    address = "/activity?" + urlencode({name: value for name, value in filters.items() if value})
    people = []
    if caller.can(Permission.USER_VIEW):
        people = [
            Choice(row.id, row.name) for row in db.execute(accounts.users_of(caller.scope)).all()
        ]
    return site.page(
        visit,
        "activity.html",
        events=page.items,
        filters=filters,
        choices={"actor": people},
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&{urlencode({'cursor': page.next_cursor})}" if page.next_cursor else "",
        ),
    )


def _entry(visit: Visit, row: Row[Any]) -> Entry:
    tag = AuditTag.tagged(row.tag)
    sentence = "{actor}: {object}"
    if tag is not None:
        sentence = tag.french if visit.language == "fr" else tag.english
    details = {name: value for name in ("before", "after") if (value := getattr(row, name))}
    return Entry(
        at=row.at,
        text=sentence.format(actor=row.actor_name, object=row.object_name),
        tag=row.tag,
        actor=row.actor_name,
        address=row.ip,
        object=row.object_id,
        details=json.dumps(details, indent=2, ensure_ascii=False) if details else "",
    )
