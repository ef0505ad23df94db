"""Every route, with every role and without credentials: what it declares is what it does."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from control_plane.accounts.permissions import ROLES, Role
from control_plane.http.openapi import declared_routes, requirement_of
from control_plane.http.security import PublicRoute, Requirement
from tests.fixtures.control_plane import Factory

NOBODY = "nobody"


def addresses(app: FastAPI) -> list[tuple[str, str, Requirement | PublicRoute | None]]:
    """Method, a path with ids of nothing filled in, and what is declared."""
    found = []
    for route in declared_routes(app):
        path = re.sub(r"\{[^}]+\}", "0", route.path or "")
        found += [(method, path, requirement_of(route)) for method in route.methods or ()]
    return found


def test_every_route_declares_who_may_call_it(sqlite_app: FastAPI) -> None:
    undeclared = [
        f"{method} {path}" for method, path, declared in addresses(sqlite_app) if declared is None
    ]

    assert undeclared == []


def test_every_api_route_is_where_programs_look_for_it(sqlite_app: FastAPI) -> None:
    names = [
        route.name or ""
        for route in declared_routes(sqlite_app)
        if (route.path or "").startswith("/v1/")
    ]

    assert len(names) > 20
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("who", [NOBODY, *Role], ids=str)
def test_a_route_lets_in_exactly_those_who_have_its_permission(
    sqlite_make: Factory, sqlite_app: FastAPI, who: str
) -> None:
    merchant = sqlite_make.merchant()
    held = frozenset[str]() if who == NOBODY else ROLES[Role(who)]
    surprises = []
    for method, path, declared in addresses(sqlite_app):
        if not isinstance(declared, Requirement) or is_stream(path):
            continue
        # A sign-in of its own: some routes end it.
        client = (
            TestClient(sqlite_app, raise_server_exceptions=False, follow_redirects=False)
            if who == NOBODY
            else sqlite_make.client_as(merchant, Role(who))
        )
        client.follow_redirects = False
        answer = client.request(method, path)
        if who == NOBODY:
            let_in = answer.status_code not in {401, 303, 307}
            expected = False
        else:
            let_in = not was_forbidden(answer.status_code, answer.text)
            expected = declared.permission is None or declared.permission in held
        if let_in is not expected or answer.status_code >= 500:
            surprises.append(f"{method} {path}: {answer.status_code}")

    assert surprises == []


#: Devices sign their requests, and phones carry a token of their own.
_KNOWN_BY_THEMSELVES = ("/v1/device", "/v1/terminal/phone")


def test_public_routes_let_anybody_in(sqlite_app: FastAPI, sqlite_client: TestClient) -> None:
    sqlite_client.follow_redirects = False
    locked = []
    for method, path, declared in addresses(sqlite_app):
        if isinstance(declared, PublicRoute) and not path.startswith(_KNOWN_BY_THEMSELVES):
            status = sqlite_client.request(method, path).status_code
            # Signing in without a password is refused, but not for want of a sign-in.
            needs_sign_in = status == 401 and not path.endswith("/sign-in")
            if needs_sign_in or (status >= 500 and path != "/readyz"):
                locked.append(f"{method} {path}: {status}")

    assert locked == []


def is_stream(path: str) -> bool:
    """Streams do not end by themselves; their refusals are tested beside them."""
    return path.endswith(("/events", "/stream", "/live"))


def was_forbidden(status: int, body: str) -> bool:
    return status == 403 and "needs the permission" in body
