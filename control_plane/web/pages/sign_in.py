"""Signing in and out."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts import sign_in as rules
from control_plane.accounts.caller import Caller
from control_plane.accounts.errors import CsrfRefused, SignInBlocked, SignInRefused
from control_plane.accounts.permissions import Role
from control_plane.db.unit_of_work import Transaction
from control_plane.http.dependencies import App, Db, WriterSlot
from control_plane.http.security import (
    PUBLIC,
    SIGNED_IN,
    address_of,
    clear_session_cookie,
    refuse_other_sites,
    set_session_cookie,
    user_agent_of,
)
from control_plane.http.sign_in import sign_in
from control_plane.parts import Parts
from control_plane.web.visits import language_of, own_path, sentence, site_of
from protocols.secret import Secret

router = APIRouter()


@router.get("/sign-in", dependencies=[PUBLIC])
def ask(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name in the address
    """The form."""
    return site_of(request).sign_in_page(request, next=own_path(next))


@router.post("/sign-in", dependencies=[PUBLIC])
def enter(
    request: Request,
    parts: App,
    _turn: WriterSlot,
    email: Annotated[str, Form(max_length=254)] = "",
    password: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the name in the form
) -> Response:
    """Begin a session, or say in words why not."""
    try:
        refuse_other_sites(request)
        _, token = sign_in(
            parts, email, password, ip=address_of(request), user_agent=user_agent_of(request)
        )
    except (SignInRefused, SignInBlocked, CsrfRefused) as refused:
        wait_s = refused.facts.get("retry_after_s", 0)
        response: Response = site_of(request).sign_in_page(
            request,
            status=refused.status,
            problem=sentence(language_of(request, None), refused.message, refused.facts),
            wait_s=wait_s,
            next=own_path(next),
            email=email,
        )
        if wait_s:
            response.headers["Retry-After"] = str(wait_s)
        return response
    target = own_path(next)
    if target == "/":
        with parts.database.reading_connection() as db:
            target = _first_page(db, parts, token, request)
    response = RedirectResponse(target, 303)
    set_session_cookie(response, parts, token.reveal())
    return response


def _first_page(db: Transaction, parts: Parts, token: Secret[str], request: Request) -> str:
    """The till for those who mostly take payments, the overview for others."""
    idle = timedelta(minutes=parts.settings.sign_in.idle_minutes)
    found = rules.caller_by_session(
        db, token.reveal(), idle, ip=address_of(request), user_agent=user_agent_of(request)
    )
    return "/pos" if found is not None and found[0].role == Role.CASHIER else "/"


@router.post("/sign-out")
def leave(caller: Annotated[Caller, SIGNED_IN], parts: App, db: Db) -> Response:
    """End the session of this browser."""
    rules.sign_out(db, caller)
    response = RedirectResponse("/sign-in", 303)
    clear_session_cookie(response, parts)
    return response
