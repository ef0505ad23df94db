"""Turns what went wrong into an answer: ``application/problem+json`` (RFC 9457), or a page.

A browser page is rendered by ``app.state.render_problem``, when the web pages are plugged in and the path is not
of the API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from control_plane.errors import DomainError, TooManyRequests, Unavailable
from control_plane.http.encoding import json_bytes
from control_plane.http.middleware import request_id_of, secure_headers
from protocols.errors import ProtocolError

log = structlog.get_logger()

#: Paths that are asked for by programs; the others are asked for by browsers.
_FOR_PROGRAMS: Final = ("/v1/", "/webhooks/stripe/", "/healthz", "/readyz", "/metrics")
_MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong. ``message`` is the key of the translation and still has its ``{facts}``."""

    status: int
    code: str
    message: str
    facts: dict[str, object] = field(default_factory=dict)
    retryable: bool = False
    #: What to change, by field: ``{"field", "detail", "fix"}``.
    errors: list[dict[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def detail(self) -> str:
        """The English sentence."""
        return DomainError(**self.facts).detail(self.message)

    def body(self, request_id: str) -> dict[str, Any]:
        """As RFC 9457 and our additions write it."""
        body: dict[str, Any] = {
            "type": f"urn:omnitill:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
            "request_id": request_id,
        }
        if self.facts:
            body["facts"] = {
                name: value if isinstance(value, (int, bool, type(None))) else str(value)
                for name, value in self.facts.items()
            }
        if self.errors:
            body["errors"] = self.errors
        return body


def install(app: FastAPI) -> None:
    """Answer every exception with a problem."""
    for kind in (
        DomainError, ProtocolError, RequestValidationError, HTTPException, DBAPIError, PoolTimeout,
        Exception,
    ):  # fmt: skip
        app.add_exception_handler(kind, _answer)


def problem_of(error: Exception) -> Problem:
    """What an exception means to whoever sent the request."""
    match error:
        case DomainError():
            headers = dict(error.headers)
            if isinstance(error, TooManyRequests):
                headers["Retry-After"] = str(error.facts.get("retry_after_s", 1))
            if error.status == HTTPStatus.UNAUTHORIZED:
                headers["WWW-Authenticate"] = "Bearer"
            fields = []
            if "field" in error.facts:
                fields.append(
                    {
                        "field": str(error.facts["field"]),
                        "detail": error.detail(),
                        "fix": error.detail(),
                    }
                )
            return Problem(
                error.status,
                error.code,
                error.message,
                error.facts,
                error.retryable,
                fields,
                headers,
            )
        case RequestValidationError():
            return Problem(
                422,
                "malformed_request",
                "The request does not have the expected form. See errors for what to change.",
                errors=[_field_error(one) for one in error.errors()],
            )
        case ProtocolError():
            facts = {**error.facts, "reason": error.reason}
            return Problem(422, error.code, "{reason}", facts)
        case HTTPException():
            return _of_http(error)
        case OperationalError() | InterfaceError() | PoolTimeout():
            return _of_domain(Unavailable(what="The database"))
        case _:
            return _of_domain(DomainError())


async def _answer(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status >= 500:
        level = log.warning if problem.retryable else log.error
        level("request_failed", code=problem.code, exc_info=error)
    render = getattr(request.app.state, "render_problem", None)
    if render is not None and not request.url.path.startswith(_FOR_PROGRAMS):
        page: Response = await render(request, problem)
        page.headers.update(problem.headers)
        return page
    return respond(request, problem)


def respond(request: Request, problem: Problem) -> Response:
    """The problem as JSON."""
    request_id = request_id_of(request.scope)
    response = Response(
        json_bytes(problem.body(request_id)),
        problem.status,
        {**problem.headers, "X-Request-Id": request_id},
        media_type=_MEDIA_TYPE,
    )
    # An answer to an unexpected exception does not pass through our middleware.
    for name, value in secure_headers(request.scope):
        response.headers.setdefault(name, value)
    return response


def _of_domain(error: DomainError) -> Problem:
    return Problem(error.status, error.code, error.message, error.facts, error.retryable)


def _of_http(error: HTTPException) -> Problem:
    match error.status_code:
        case 404:
            message = "There is nothing at this address. Check it."
        case 405:
            message = "This address does not take this method. See Allow for those that it takes."
        case 413:
            message = "The request is too large. Send it in smaller parts."
        case _:
            message = str(error.detail)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(error.status_code, code, message, headers=dict(error.headers or {}))


def _field_error(found: dict[str, Any]) -> dict[str, str]:
    where = [str(part) for part in found["loc"] if part not in {"body", "query", "path", "header"}]
    kind = str(found["type"])
    context = found.get("ctx") or {}
    match kind:
        case "missing":
            fix = "Send this field."
        case "extra_forbidden":
            fix = "Leave this field out; it is not known here."
        case "json_invalid":
            fix = "Send JSON that parses."
        case "string_too_long":
            fix = f"Use at most {context.get('max_length')} characters."
        case "string_too_short":
            fix = f"Use at least {context.get('min_length')} characters."
        case "greater_than_equal":
            fix = f"Use {context.get('ge')} or more."
        case "greater_than":
            fix = f"Use more than {context.get('gt')}."
        case "less_than_equal":
            fix = f"Use {context.get('le')} or less."
        case "less_than":
            fix = f"Use less than {context.get('lt')}."
        case "enum" | "literal_error":
            fix = f"Use one of {context.get('expected')}."
        case _:
            fix = f"{found['msg']}."
    return {"field": ".".join(where), "detail": str(found["msg"]), "fix": fix}
