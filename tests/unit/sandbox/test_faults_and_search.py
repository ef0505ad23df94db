"""Faults go off where and as often as they were told; searches read Stripe's language."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError
from control_plane.sandbox.faults import Fault, FaultKind, Faults
from control_plane.sandbox.routing import Call
from control_plane.sandbox.search import search
from control_plane.sandbox.settings import SandboxSettings

CALL = "POST /v1/payment_intents/pi_1/confirm"


def test_a_fault_goes_off_as_often_as_it_was_told() -> None:
    faults = Faults()
    faults.add(Fault(kind=FaultKind.LOST_ANSWER, on="POST /v1/payment_intents*", times=2))

    hit = [faults.take(CALL) is not None for _ in range(3)]

    assert hit == [True, True, False]
    assert faults.listed() == []


def test_a_fault_leaves_other_calls_alone() -> None:
    faults = Faults()
    faults.add(Fault(kind=FaultKind.CONFLICT, on="POST /v1/refunds"))

    assert faults.take(CALL) is None
    assert faults.take("POST /v1/refunds") is not None


def test_faults_of_webhooks_do_not_hit_calls() -> None:
    faults = Faults()
    faults.add(Fault(kind=FaultKind.WEBHOOK_LOST, on="*"))

    assert faults.take(CALL) is None
    assert faults.take("charge.succeeded", webhook=True) is not None


def test_one_fault_can_be_unset() -> None:
    faults = Faults()
    first = faults.add(Fault(kind=FaultKind.CONFLICT))
    second = faults.add(Fault(kind=FaultKind.RATE_LIMIT))

    faults.clear(first.id)

    assert faults.listed() == [second]


@pytest.fixture
def sandbox() -> Sandbox:
    sandbox = Sandbox(SandboxSettings())
    for number in range(12):
        sandbox.store.add(
            "charge",
            {
                "id": f"ch_{number}",
                "amount": number * 100,
                "status": "succeeded" if number % 2 else "failed",
                "metadata": {"order": f"A-{number}"},
                "billing_details": {"email": f"u{number}@example.com"},
                "customer": None,
            },
        )
    return sandbox


def found(sandbox: Sandbox, query: str, **params: Any) -> list[str]:
    call = Call(sandbox=sandbox, params={"query": query, **params}, publishable=False, path="/v1/x")
    return [one["id"] for one in search(call, "charge")["data"]]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("metadata['order']:'A-3'", ["ch_3"]),
        ("status:'succeeded' AND amount>900", ["ch_11"]),
        ("amount:100 OR amount:200", ["ch_2", "ch_1"]),
        ("billing_details.email~'U11@'", ["ch_11"]),
        ("-status:'failed' AND amount<=100", ["ch_1"]),
        ("customer:null AND amount<100", ["ch_0"]),
    ],
)
def test_queries_find_what_they_say(sandbox: Sandbox, query: str, ids: list[str]) -> None:
    assert found(sandbox, query) == ids


def test_a_search_is_cut_into_pages(sandbox: Sandbox) -> None:
    assert found(sandbox, "status:'failed'", limit=2, page="2") == ["ch_6", "ch_4"]


@pytest.mark.parametrize("query", ["status 'x'", "a:'1' AND b:'2' OR c:'3'", "status:'x"])
def test_a_query_that_cannot_be_read_is_refused(sandbox: Sandbox, query: str) -> None:
    with pytest.raises(ApiError) as refused:
        found(sandbox, query)

    assert refused.value.fields["param"] == "query"
