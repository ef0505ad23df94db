"""Who works with Omnitill, and what each role may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import ROLES, Permission
from control_plane.http.dependencies import ReadDb
from control_plane.http.security import requires
from control_plane.web.i18n import N_
from control_plane.web.visits import site_of

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who can sign in."""

    name: str
    email: str
    role: str
    places: str
    since: datetime
    is_active: bool
    has_password: bool


@router.get("/team")
def team(
    request: Request, caller: Annotated[Caller, requires(Permission.USER_VIEW)], db: ReadDb
) -> Response:
    """Everybody with their role and shops."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    everywhere = visit.say(N_("All shops"))
    members = [
        Member(
            name=row.name,
            email=row.email,
            role=row.role.value,
            places=everywhere
            if row.location_ids is None
            else ", ".join(visit.places.get(one, one) for one in row.location_ids),
            since=row.created_at,
            is_active=row.disabled_at is None,
            has_password=row.has_password,
        )
        for row in db.execute(accounts.users_of(caller.scope)).all()
    ]
    return site.page(
        visit,
        "team.html",
        members=sorted(members, key=lambda member: (not member.is_active, member.name)),
        roles=[
            (role.value, sorted(permission.value for permission in permissions))
            for role, permissions in ROLES.items()
        ],
    )
