"""Who works with Omnitill, and what each role may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts import queries as accounts
from control_plane.accounts import service
from control_plane.accounts.caller import Caller
from control_plane.accounts.errors import EmailTaken
from control_plane.accounts.permissions import ROLES, Permission, Role
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError, NotFound, RequestRefused
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.security import requires
from control_plane.web import words
from control_plane.web.i18n import N_
from control_plane.web.views import Choice
from control_plane.web.visits import Site, Visit, shops_to_give, site_of

router = APIRouter()

Seeing = Annotated[Caller, requires(Permission.USER_VIEW)]
Managing = Annotated[Caller, requires(Permission.USER_MANAGE)]


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who can sign in. ``can_change`` is whether the visitor may switch them off or on."""

    id: str
    name: str
    email: str
    role: str
    places: str
    since: datetime
    is_active: bool
    has_password: bool
    can_change: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom to add, as typed in."""

    name: str = ""
    email: str = ""
    role: str = ""
    location: str = ""


@router.get("/team")
def team(request: Request, caller: Seeing, db: ReadDb) -> Response:
    """Everybody with their role and shops."""
    site = site_of(request)
    return _team(site, site.visit(db, request, caller), db)


@router.get("/team/add")
def ask_for_member(request: Request, caller: Managing, db: ReadDb) -> Response:
    """The form for somebody new."""
    site = site_of(request)
    return _form(site, site.visit(db, request, caller), Wanted(), {})


@router.post("/team/add")
def add_member(
    request: Request,
    caller: Managing,
    db: Db,
    name: Annotated[str, Form(max_length=200)] = "",
    email: Annotated[str, Form(max_length=254)] = "",
    role: Annotated[str, Form(max_length=20)] = "",
    location: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Invite somebody, and show their link the only time that it can be shown."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    wanted = Wanted(name.strip(), email.strip(), role, location)
    problems = {}
    if not wanted.name:
        problems["name"] = visit.say(N_("Write the name."))
    if role not in set(Role):
        problems["role"] = visit.say(N_("Choose a role."))
    if problems:
        return _form(site, visit, wanted, problems, status=422)
    settings = site.parts.settings
    try:
        with db.begin_nested():
            _, token = service.invite_user(
                db,
                caller,
                email=wanted.email,
                name=wanted.name,
                role=Role(role),
                location_ids=[location] if location else None,
                valid_for=settings.sign_in.invitation_life,
            )
    except DomainError as refused:
        problems = _problems(visit, refused)
        return _form(site, visit, wanted, problems, status=refused.status)
    link = f"{settings.base_url}/invitation#{token.reveal()}"
    ends_at = visit.now + settings.sign_in.invitation_life
    return _form(site, visit, wanted, {}, link=link, ends_at=ends_at)


@router.post("/team/{user_id}/{step}")
def switch_member(request: Request, caller: Managing, db: Db, user_id: str, step: str) -> Response:
    """Switch somebody off or on."""
    if step not in ("off", "on"):
        raise NotFound("page", step)
    try:
        with db.begin_nested():
            service.set_enabled(db, caller, user_id, enabled=step == "on")
    except DomainError as refused:
        site = site_of(request)
        visit = site.visit(db, request, caller)
        return _team(site, visit, db, notice=visit.explain(refused), status=refused.status)
    return RedirectResponse("/team", 303)


def _roles_to_give(caller: Caller) -> list[Role]:
    return [role for role in Role if all(caller.can(one) for one in ROLES[role])]


def _problems(visit: Visit, refused: DomainError) -> dict[str, str]:
    match refused:
        case EmailTaken():
            return {"email": visit.explain(refused)}
        case RequestRefused() if refused.facts.get("field") == "email":
            return {"email": visit.say(N_("Write the address like name@example.com."))}
        case _:
            return {"form": visit.explain(refused)}


def _form(
    site: Site,
    visit: Visit,
    wanted: Wanted,
    problems: dict[str, str],
    *,
    status: int = 200,
    link: str = "",
    ends_at: datetime | None = None,
) -> Response:
    return site.page(
        visit,
        "team_add.html",
        status=status,
        wanted=wanted,
        problems=problems,
        roles=[Choice(role.value, visit.say(words.ROLES[role])) for role in _roles_to_give(visit.caller)],
        shops=shops_to_give(visit),
        link=link,
        ends_at=ends_at,
    )  # fmt: skip


def _team(
    site: Site, visit: Visit, db: Transaction, *, notice: str = "", status: int = 200
) -> Response:
    caller = visit.caller
    given = _roles_to_give(caller) if caller.can(Permission.USER_MANAGE) else []
    everywhere = visit.say(N_("All shops"))
    members = [
        Member(
            id=row.id,
            name=row.name,
            email=row.email,
            role=row.role.value,
            places=everywhere
            if row.location_ids is None
            else ", ".join(visit.places.get(one, one) for one in row.location_ids),
            since=row.created_at,
            is_active=row.disabled_at is None,
            has_password=row.has_password,
            can_change=row.role in given and row.id != caller.id,
        )
        for row in db.execute(accounts.users_of(caller.scope)).all()
    ]
    return site.page(
        visit,
        "team.html",
        status=status,
        notice=notice,
        members=sorted(members, key=lambda member: (not member.is_active, member.name)),
        roles=[
            (role.value, sorted(permission.value for permission in permissions))
            for role, permissions in ROLES.items()
        ],
    )
