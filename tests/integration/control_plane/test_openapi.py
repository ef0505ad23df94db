"""Requests made up from the OpenAPI document, good and bad: none is answered with a 500, all as described."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Permission, Role
from tests.fixtures.control_plane import Factory

#: They end the sign-in or do not end by themselves.
LEFT_OUT = ("/events", "/stream", "/live", "/sign-out")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["owner's key", "cashier"])
def test_no_request_that_the_document_allows_or_forbids_breaks_the_server(
    sqlite_make: Factory, who: str
) -> None:
    merchant = sqlite_make.merchant()
    sqlite_make.location(merchant)
    client = (
        sqlite_make.client_as(merchant, Role.CASHIER)
        if who == "cashier"
        else sqlite_make.client_with_key(merchant, list(Permission))
    )
    document = client.get("/v1/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    broken: list[str] = []
    undescribed: list[str] = []
    statuses: set[int] = set()
    for found in schema.get_all_operations():
        operation: Any = found.ok() if isinstance(found, Ok) else pytest.fail(str(found))
        if not operation.path.endswith(LEFT_OUT):
            statuses |= try_out(operation, client, broken, undescribed)

    # Else it would say little that nothing broke.
    assert statuses >= ({200, 403, 422} if who == "cashier" else {200, 201, 404, 409, 422})
    assert sorted(set(broken)) == []
    assert sorted(set(undescribed)) == []


def headers_of(request: dict[str, Any]) -> dict[bytes, bytes]:
    """Made-up headers, save for credentials: those are the client's own."""
    return {
        name.lower().encode("latin-1"): value.encode("latin-1", "replace")
        for name, value in dict(request.get("headers") or {}).items()
        if name.lower() != "authorization"
    }


def try_out(
    operation: Any,  # schemathesis's own generic type says no more
    client: TestClient,
    broken: list[str],
    undescribed: list[str],
) -> set[int]:
    statuses: set[int] = set()
    cases = st.one_of(
        operation.as_strategy(),
        operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE),
    )

    @settings(
        max_examples=8,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
    )
    @given(case=cases)
    def send(case: Any) -> None:
        request = case.as_transport_kwargs(base_url="http://testserver")
        answer = client.request(
            request["method"],
            request["url"],
            params=request.get("params"),
            headers=headers_of(request),
            json=request.get("json"),
            content=request.get("data"),
        )
        statuses.add(answer.status_code)
        where = f"{operation.method.upper()} {operation.path}"
        if answer.status_code >= 500 and answer.status_code != 503:
            broken.append(f"{where}: {answer.status_code} for {request}")
        is_problem = answer.headers.get("content-type") == "application/problem+json"
        if answer.status_code >= 400 and not is_problem:
            undescribed.append(f"{where}: {answer.status_code}")

    send()
    return statuses
