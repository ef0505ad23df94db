"""The first password of somebody who was invited."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts import service
from control_plane.accounts.errors import CsrfRefused, InvitationSpent
from control_plane.accounts.passwords import LONGEST, SHORTEST
from control_plane.errors import RequestRefused
from control_plane.http.dependencies import App, Db
from control_plane.http.security import PUBLIC, address_of, refuse_other_sites, user_agent_of
from control_plane.web.i18n import N_, translations
from control_plane.web.visits import language_of, sentence, site_of

router = APIRouter(prefix="/invitation")


@router.get("", dependencies=[PUBLIC])
def ask(request: Request) -> Response:
    """The form. The token is behind the ``#`` of the address, which no browser sends; a module fills it in."""
    return _form(request, "", {})


@router.post("", dependencies=[PUBLIC])
def accept(
    request: Request,
    db: Db,
    parts: App,
    token: Annotated[str, Form(max_length=200)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Set the password, then let them sign in with it."""
    language = language_of(request, None)
    try:
        refuse_other_sites(request)
        hashed = parts.passwords.hash(password)
        with db.begin_nested():
            service.accept_invitation(
                db, token, hashed, ip=address_of(request), user_agent=user_agent_of(request)
            )
    except (InvitationSpent, CsrfRefused) as refused:
        problems = {"form": sentence(language, refused.message, refused.facts)}
        return _form(request, token, problems, status=refused.status)
    except RequestRefused as refused:
        told = N_("Choose a password of %(shortest)s to %(longest)s characters.")
        text = translations(language).gettext(told)
        problems = {"password": text % {"shortest": SHORTEST, "longest": LONGEST}}
        return _form(request, token, problems, status=refused.status)
    return RedirectResponse("/sign-in", 303)


def _form(request: Request, token: str, problems: dict[str, str], *, status: int = 200) -> Response:
    return site_of(request).public_page(
        request, "invitation.html", status=status, token=token, problems=problems
    )
