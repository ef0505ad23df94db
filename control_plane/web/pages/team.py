"""Who works with Omnitill, and what each role may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request
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
from control_plane.till import queries as till
from control_plane.till.limits import MemberLimits
from control_plane.till.service import set_limits
from control_plane.till.values import Channel
from control_plane.web import till_words, words
from control_plane.web.filled import Form as WholeForm
from control_plane.web.i18n import N_
from control_plane.web.pages.settings import (
    amounts_of,
    as_written,
    attempt,
    limits_text,
    written_amounts,
)
from control_plane.web.views import Choice
from control_plane.web.visits import Site, Visit, shops_to_give, site_of

router = APIRouter()

Seeing = Annotated[Caller, requires(Permission.USER_VIEW)]
Managing = Annotated[Caller, requires(Permission.USER_MANAGE)]

_AMOUNTS: Final = ("charge", "day", "refund")


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


@router.get("/team/{user_id}")
def member(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    user_id: str,
    saved: Annotated[bool, Query()] = False,
) -> Response:
    """One member: what they may do, and their limits at the till."""
    site = site_of(request)
    return _member(site, site.visit(db, request, caller), db, user_id, {}, saved=saved)


@router.post("/team/{user_id}/rights")
def change_rights(
    request: Request,
    caller: Managing,
    db: Db,
    user_id: str,
    role: Annotated[str, Form(max_length=20)] = "",
    location: Annotated[list[str], Form(max_length=1000)] = [],  # noqa: B006 - FastAPI copies defaults
) -> Response:
    """Give a member another role or other shops."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    problems = {}
    if role not in set(Role):
        problems["role"] = visit.say(N_("Choose a role."))
    if not location:
        problems["location"] = visit.say(N_("Choose at least one shop."))
    if problems:
        return _member(site, visit, db, user_id, problems, status=422)
    # The empty choice is every shop.
    places = None if "" in location else location
    try:
        with db.begin_nested():
            service.change_rights(db, caller, user_id, Role(role), places)
    except DomainError as refused:
        problems = {"rights": visit.explain(refused)}
        return _member(site, visit, db, user_id, problems, status=refused.status)
    return RedirectResponse(f"/team/{user_id}?saved=1", 303)


@router.post("/team/{user_id}/limits")
def change_limits(
    request: Request, caller: Managing, db: Db, user_id: str, form: WholeForm
) -> Response:
    """Limit what a member may do at the till."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    settings = till.settings_of(db, caller.merchant_id)
    problems: dict[str, str] = {}
    amounts = {name: amounts_of(form, name, settings, visit, problems) for name in _AMOUNTS}
    methods = frozenset(Channel(one) for one in form.texts("methods") if one in set(Channel))
    limits = MemberLimits(
        charge=amounts["charge"],
        refund=amounts["refund"],
        day=amounts["day"],
        methods=None if len(methods) == len(Channel) else methods,
    )
    if not problems:
        attempt(db, visit, problems, lambda: set_limits(db, caller, user_id, limits))
    if problems:
        written = {name: written_amounts(form, name, settings) for name in _AMOUNTS}
        return _member(
            site, visit, db, user_id, problems, status=422, written=written, methods=methods
        )
    return RedirectResponse(f"/team/{user_id}?saved=1", 303)


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


def _member(
    site: Site,
    visit: Visit,
    db: Transaction,
    user_id: str,
    problems: Mapping[str, str],
    *,
    status: int = 200,
    saved: bool = False,
    written: Mapping[str, Mapping[str, str]] | None = None,
    methods: frozenset[Channel] | None = None,
) -> Response:
    caller = visit.caller
    row = accounts.user_of(db, caller.scope, user_id)
    if row is None:
        raise NotFound("user", user_id)
    given = _roles_to_give(caller) if caller.can(Permission.USER_MANAGE) else []
    can_change = row.role in given and row.id != caller.id
    limits = till.limits_of(db, caller.merchant_id, user_id)
    if written is None:
        written = {name: as_written(getattr(limits, name)) for name in _AMOUNTS}
        methods = limits.methods
    everywhere = visit.say(N_("All shops"))
    return site.page(
        visit,
        "team_member.html",
        status=status,
        saved=saved,
        problems=problems,
        member=row,
        is_self=row.id == caller.id,
        can_change=can_change,
        condition="off" if row.disabled_at else "active" if row.has_password else "invited",
        roles=[Choice(role.value, visit.say(words.ROLES[role])) for role in given],
        shops=shops_to_give(visit),
        places=everywhere
        if row.location_ids is None
        else ", ".join(visit.places.get(one, one) for one in row.location_ids),
        chosen=[""] if row.location_ids is None else row.location_ids,
        permissions=sorted(permission.value for permission in ROLES[row.role]),
        currencies=till.settings_of(db, caller.merchant_id).currencies,
        written=written,
        channels={channel.value: text for channel, text in till_words.CHANNELS.items()},
        methods=frozenset(Channel) if methods is None else methods,
        limits=limits_text(visit, limits),
    )


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
