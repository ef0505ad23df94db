"""Pure ASGI layers around every route; none of them holds back a stream."""

from __future__ import annotations

import re
import time
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocols.ids import new_id

log = structlog.get_logger()

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_REQUESTS: Final = Counter(
    "omnitill_http_requests", "Answered requests", ["method", "route", "status"]
)
_DURATION: Final = Histogram(
    "omnitill_http_request_seconds",
    "Time from request to the start of its answer",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: No script but our own files: no inline script, no eval. A page may widen it by setting the header itself.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_SECURE: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(self)"),
    ("Cache-Control", "no-store"),
)
_HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")


def request_id_of(scope: MutableMapping[str, Any]) -> str:
    """The id under which the log knows this request."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = Headers(scope=scope).get("x-request-id", "")
        state["request_id"] = given if _REQUEST_ID.fullmatch(given) else new_id("req")
    request_id: str = state["request_id"]
    return request_id


def secure_headers(scope: MutableMapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Headers of every answer that does not set its own."""
    return (*_SECURE, _HSTS) if scope.get("scheme") == "https" else _SECURE


class RequestContext:
    """Gives a request its id, its headers, its line in the log and its place in the metrics."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        began = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in secure_headers(scope):
                    headers.setdefault(name, value)
                _note(scope, status, time.perf_counter() - began)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a request body that is larger than it may be, also one that hides its length.

    Unlike FastAPI's own limit, from inside the routes, so that the refusal is a problem like any other.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise HTTPException(413)
            return message

        await self.app(scope, receive_limited, send)


def _note(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    _REQUESTS.labels(method, route, str(status)).inc()
    _DURATION.labels(method, route).observe(seconds)
    log.debug(
        "request_answered",
        method=method, path=scope["path"], status=status, milliseconds=round(seconds * 1000, 1),
    )  # fmt: skip
