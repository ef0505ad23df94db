"""API keys: what lets other programs in, with which permissions, and when it was last used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts import queries as accounts
from control_plane.accounts import service
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.errors import DomainError
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.security import requires
from control_plane.web.i18n import N_
from control_plane.web.visits import Site, Visit, shops_to_give, site_of

router = APIRouter(prefix="/keys")

Seeing = Annotated[Caller, requires(Permission.APIKEY_VIEW)]
Managing = Annotated[Caller, requires(Permission.APIKEY_MANAGE)]


@dataclass(frozen=True, slots=True)
class Key:
    """A key, without what it is."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    places: str
    made_at: datetime
    used_at: datetime | None
    state: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The key to make, as typed in."""

    name: str = ""
    scopes: frozenset[str] = frozenset()
    location: str = ""


@router.get("")
def keys(request: Request, caller: Seeing, db: ReadDb) -> Response:
    """Those that work first, the newest first."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    rows = db.execute(accounts.api_keys_of(caller.scope)).all()
    found = [
        Key(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            scopes=tuple(row.permissions),
            places=visit.say(N_("All shops"))
            if row.location_ids is None
            else ", ".join(visit.places.get(one, one) for one in row.location_ids),
            made_at=row.created_at,
            used_at=row.last_used_at,
            state=_state(row.revoked_at, row.expires_at, visit.now),
        )
        for row in sorted(rows, key=lambda row: row.created_at, reverse=True)
    ]
    return site.page(
        visit, "keys/list.html", keys=sorted(found, key=lambda key: key.state != "active")
    )


@router.get("/add")
def ask_for_key(request: Request, caller: Managing, db: ReadDb) -> Response:
    """The form of a new key."""
    site = site_of(request)
    return _form(site, site.visit(db, request, caller), Wanted(), {})


@router.post("/add")
def make_key(
    request: Request,
    caller: Managing,
    db: Db,
    scopes: Annotated[list[Permission], Form(default_factory=list, max_length=100)],
    name: Annotated[str, Form(max_length=200)] = "",
    location: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Make a key, and show it the only time that it can be shown."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    wanted = Wanted(name.strip(), frozenset(scopes), location)
    problems = {}
    if not wanted.name:
        problems["name"] = visit.say(N_("Write what the key is for."))
    if not scopes:
        problems["scopes"] = visit.say(N_("Choose what the key may do."))
    if problems:
        return _form(site, visit, wanted, problems, status=422)
    try:
        with db.begin_nested():
            _, secret = service.create_api_key(
                db,
                caller,
                name=wanted.name,
                permissions=scopes,
                location_ids=[location] if location else None,
                mode=site.parts.settings.mode,
            )
    except DomainError as refused:
        problems = {"form": visit.explain(refused)}
        return _form(site, visit, wanted, problems, status=refused.status)
    return _form(site, visit, wanted, {}, secret=secret.reveal())


@router.post("/{key_id}/revoke")
def revoke_key(caller: Managing, db: Db, key_id: str) -> Response:
    """From now on the key lets nobody in."""
    service.revoke_api_key(db, caller, key_id)
    return RedirectResponse("/keys", 303)


def _state(revoked_at: datetime | None, expires_at: datetime | None, now: datetime) -> str:
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now else "active"


def _form(
    site: Site,
    visit: Visit,
    wanted: Wanted,
    problems: dict[str, str],
    *,
    status: int = 200,
    secret: str = "",
) -> Response:
    return site.page(
        visit,
        "keys/add.html",
        status=status,
        wanted=wanted,
        problems=problems,
        scopes=sorted(visit.caller.scope.permissions),
        shops=shops_to_give(visit),
        secret=secret,
    )
