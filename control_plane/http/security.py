"""Who sends a request and whether they may: every route declares ``requires(…)`` or ``PUBLIC``.

Credentials are an API key (``Authorization: Bearer omk_…``) or the cookie of a sign-in. With the cookie, a
request that changes something also carries the CSRF token, as header ``X-CSRF-Token`` or form field
``csrf_token``, and does not come from another site.
"""

from __future__ import annotations

import hmac
from asyncio import get_running_loop, to_thread
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Final

from fastapi import Depends, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response

from control_plane.accounts import sign_in
from control_plane.accounts.caller import Caller
from control_plane.accounts.errors import CsrfRefused
from control_plane.accounts.permissions import Permission
from control_plane.errors import NotSignedIn, TooManyRequests
from control_plane.http.dependencies import parts_of
from control_plane.http.rate_limit import RateLimit
from control_plane.parts import Parts

CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})
_FORM_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")
# Threads of their own: they may wait for SQLite's one writer, who must not wait for a thread in turn.
_TOUCHING: Final = ThreadPoolExecutor(2, thread_name_prefix="touch")


class Requirement:
    """A dependency that lets a request through, and gives its caller; ``permission`` is for tests and docs."""

    def __init__(self, permission: Permission | None) -> None:
        #: None: whoever is signed in.
        self.permission = permission

    async def __call__(self, request: Request) -> Caller:
        caller = await current_caller(request)
        if caller is None:
            _limit(request, address_of(request))
            raise NotSignedIn
        _limit(request, caller.id)
        if caller.session_id is not None and request.method not in _SAFE_METHODS:
            await _refuse_forgery(request, caller.session_id)
        if self.permission is not None:
            caller.must(self.permission)
        return caller


class PublicRoute:
    """A dependency of routes that anybody may call; counts calls of one address, unless they cost nothing."""

    def __init__(self, *, counted: bool = True) -> None:
        self._counted = counted

    async def __call__(self, request: Request) -> None:
        if self._counted:
            _limit(request, address_of(request))


def requires(permission: Permission) -> Any:
    """``caller: Annotated[Caller, requires(Permission.X)]``: callers with this permission only."""
    return Depends(Requirement(permission))


#: Whoever is signed in, whatever their permissions.
SIGNED_IN: Final[Any] = Depends(Requirement(None))
#: ``dependencies=[PUBLIC]``: anybody.
PUBLIC: Final[Any] = Depends(PublicRoute())
#: The same for files and probes, which are not counted: a shop's tills share one address.
PUBLIC_FILE: Final[Any] = Depends(PublicRoute(counted=False))


async def current_caller(request: Request) -> Caller | None:
    """Who sends this request; None without credentials. Raises NotSignedIn for credentials that do not count."""
    if not hasattr(request.state, "caller"):
        request.state.caller = await _identify(request)
    caller: Caller | None = request.state.caller
    return caller


def csrf_token(parts: Parts, session_id: str) -> str:
    """What a form or script of this sign-in sends along."""
    return parts.keyring.sign(session_id.encode(), "csrf")


def cookie_name(parts: Parts) -> str:
    """``__Host-`` binds the cookie to this host and to TLS; browsers refuse it without TLS."""
    return "__Host-omnitill" if parts.settings.is_https else "omnitill"


def set_session_cookie(response: Response, parts: Parts, token: str) -> None:
    """Hand the sign-in to the browser; scripts cannot read it, other sites cannot send it."""
    response.set_cookie(
        cookie_name(parts),
        token,
        max_age=parts.settings.sign_in.absolute_hours * 3600,
        path="/",
        secure=parts.settings.is_https,
        httponly=True,
        samesite="lax",
    )


def clear_session_cookie(response: Response, parts: Parts) -> None:
    """Take the sign-in from the browser."""
    response.delete_cookie(
        cookie_name(parts),
        path="/",
        secure=parts.settings.is_https,
        httponly=True,
        samesite="lax",
    )


def refuse_other_sites(request: Request) -> None:
    """Raises CsrfRefused when a browser says that another site sent this; for forms before a sign-in."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITE:
        raise CsrfRefused(permission="")
    origin = request.headers.get("origin")
    if site is None and origin is not None and origin.partition("://")[2] != request.url.netloc:
        raise CsrfRefused(permission="")


def address_of(request: HTTPConnection) -> str:
    """The address that the request came from, as our trusted proxies tell it."""
    return request.client.host if request.client else ""


def user_agent_of(request: HTTPConnection) -> str:
    """What the program that sent it calls itself."""
    return request.headers.get("user-agent", "")


async def _identify(request: Request) -> Caller | None:
    parts = parts_of(request)
    authorization = request.headers.get("authorization", "")
    cookie = request.cookies.get(cookie_name(parts))
    if authorization:
        found = await to_thread(_by_key, parts, authorization, request)
    elif cookie:
        found = await to_thread(_by_cookie, parts, cookie, request)
    else:
        return None
    if found is None:
        # An old cookie is like none, so that its owner is shown the sign-in page.
        if authorization:
            raise NotSignedIn
        return None
    caller, touch_due = found
    if touch_due:
        await get_running_loop().run_in_executor(_TOUCHING, _touch, parts, caller)
    return caller


def _touch(parts: Parts, caller: Caller) -> None:
    with parts.database.connection() as db:
        sign_in.touch(db, caller)


def _by_key(parts: Parts, authorization: str, request: Request) -> tuple[Caller, bool] | None:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    with parts.database.glance() as db:
        return sign_in.caller_by_api_key(
            db, token.strip(), ip=address_of(request), user_agent=user_agent_of(request)
        )


def _by_cookie(parts: Parts, token: str, request: Request) -> tuple[Caller, bool] | None:
    with parts.database.glance() as db:
        return sign_in.caller_by_session(
            db,
            token,
            timedelta(minutes=parts.settings.sign_in.idle_minutes),
            ip=address_of(request),
            user_agent=user_agent_of(request),
        )


async def _refuse_forgery(request: Request, session_id: str) -> None:
    refuse_other_sites(request)
    given = request.headers.get(CSRF_HEADER, "")
    if not given and request.headers.get("content-type", "").startswith(_FORM_TYPES):
        value = (await request.form()).get(CSRF_FIELD)
        given = value if isinstance(value, str) else ""
    expected = csrf_token(parts_of(request), session_id)
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise CsrfRefused(permission="")


def _limit(request: Request, who: str) -> None:
    limit: RateLimit = request.app.state.rate_limit
    wait = limit.seconds_to_wait(who)
    if wait:
        raise TooManyRequests(retry_after_s=wait)
