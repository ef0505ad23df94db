"""The OpenAPI document: what FastAPI knows of the routes, and what all of them have in common."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from control_plane.http.security import PublicRoute, Requirement

_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "retryable", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; programs decide by it."},
        "detail": {"type": "string", "description": "What happened and what to do next."},
        "retryable": {"type": "boolean", "description": "The same request may succeed later."},
        "request_id": {"type": "string"},
        "facts": {"type": "object"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail", "fix"],
                "properties": {
                    "field": {"type": "string"},
                    "detail": {"type": "string"},
                    "fix": {"type": "string"},
                },
            },
        },
    },
    "example": {
        "type": "urn:omnitill:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "There is no user usr_0 that you may see. Check the id, or ask for access.",
        "retryable": False,
        "request_id": "req_01k9m3v6x2e8t4q7w5y1z0a2b3",
        "facts": {"kind": "user", "id": "usr_0"},
    },
}
_DESCRIPTION: Final = """\
Take card payments in shops, and look after the readers that do it.

- Send an API key as `Authorization: Bearer omk_…`. Each operation names the permission that it needs.
- A problem is `application/problem+json`; decide by its `code`, and repeat only what is `retryable`.
- Send an `Idempotency-Key` with a POST that creates: sent again, it gets the first answer again.
- Listings give `next_cursor`; send it as `cursor` for the next page.
- Amounts are whole minor units with their currency; times are UTC.
"""


def declared_routes(app: FastAPI) -> list[RouteContext]:
    """Every route that somebody wrote, of every router."""
    return [
        route
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute)
    ]


def requirement_of(route: RouteContext) -> Requirement | PublicRoute | None:
    """What a route declares: a permission, that it is public, or (a mistake) nothing."""
    waiting = list(route.dependant.dependencies)
    while waiting:
        dependant = waiting.pop()
        if isinstance(dependant.call, (Requirement, PublicRoute)):
            return dependant.call
        waiting += dependant.dependencies
    return None


def describe(app: FastAPI) -> None:
    """Make ``app.openapi()`` complete."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents to extend it


def _document(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
    )
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    for replaced in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(replaced, None)
    components["securitySchemes"] = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key, `omk_…`."}
    }
    for route in declared_routes(app):
        for method in route.methods or ():
            operation = schema["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete(operation, requirement_of(route))
    return schema


def _complete(operation: dict[str, Any], requirement: Requirement | PublicRoute | None) -> None:
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)
    answers["default"] = {
        "description": "A problem.",
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    if isinstance(requirement, Requirement):
        operation["security"] = [{"apiKey": []}]
        if requirement.permission is not None:
            operation["x-permission"] = requirement.permission.value
            note = f"Needs the permission `{requirement.permission.value}`."
            operation["description"] = f"{operation.get('description', '')}\n\n{note}".strip()
