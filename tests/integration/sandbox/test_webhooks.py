"""Events and their signed deliveries: verified by the SDK, retried by the sandbox's clock."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from control_plane.sandbox import webhooks
from control_plane.sandbox.faults import Fault, FaultKind
from tests.support.stripe_sandbox import StripeSandbox

URL = "https://shop.test/webhooks"


def listen(sandbox: StripeSandbox, *types: str) -> Any:
    return sandbox.v1.webhook_endpoints.create({"url": URL, "enabled_events": list(types) or ["*"]})


def make_customers(sandbox: StripeSandbox, count: int = 1) -> None:
    for number in range(count):
        sandbox.v1.customers.create({"name": f"Customer {number}"})


def names(sandbox: StripeSandbox) -> list[str]:
    return [one["event"]["data"]["object"]["name"] for one in sandbox.delivered]


def test_a_delivery_is_verified_by_the_sdk(stripe_sandbox: StripeSandbox) -> None:
    endpoint = listen(stripe_sandbox, "customer.created")
    make_customers(stripe_sandbox)

    assert stripe_sandbox.deliver() == 1

    (got,) = stripe_sandbox.delivered
    event = stripe.Webhook.construct_event(got["body"], got["signature"], endpoint.secret)
    assert (event.type, got["url"]) == ("customer.created", URL)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(got["body"], got["signature"], "whsec_other")


def test_an_endpoint_hears_of_what_it_asked_for(stripe_sandbox: StripeSandbox) -> None:
    listen(stripe_sandbox, "refund.created")
    make_customers(stripe_sandbox)

    assert stripe_sandbox.deliver() == 0


def test_the_secret_is_told_once(stripe_sandbox: StripeSandbox) -> None:
    endpoint = listen(stripe_sandbox)

    again = stripe_sandbox.v1.webhook_endpoints.retrieve(endpoint.id)

    assert endpoint.secret.startswith("whsec_")
    assert again.secret is None


def test_a_failed_delivery_is_tried_again_later_and_later(stripe_sandbox: StripeSandbox) -> None:
    listen(stripe_sandbox, "customer.created")
    make_customers(stripe_sandbox)

    first = stripe_sandbox.deliver(status=500)
    at_once = stripe_sandbox.deliver(status=500)
    stripe_sandbox.put_forward(seconds=6)
    second = stripe_sandbox.deliver(status=500)
    stripe_sandbox.put_forward(seconds=6)
    too_early = stripe_sandbox.deliver()
    stripe_sandbox.put_forward(seconds=60)
    third = stripe_sandbox.deliver()

    assert (first, at_once, second, too_early, third) == (1, 0, 1, 0, 1)
    (delivery,) = webhooks.deliveries(stripe_sandbox.sandbox)
    assert (delivery["status"], delivery["tries"]) == ("delivered", 3)
    assert stripe_sandbox.v1.events.list().data[0].pending_webhooks == 0


def test_after_three_days_it_gives_up(stripe_sandbox: StripeSandbox) -> None:
    listen(stripe_sandbox, "customer.created")
    make_customers(stripe_sandbox)

    for _ in range(20):
        stripe_sandbox.deliver(status=0)
        stripe_sandbox.put_forward(days=1)

    (delivery,) = webhooks.deliveries(stripe_sandbox.sandbox)
    assert (delivery["status"], delivery["tries"]) == ("failed", 13)


def test_an_event_is_sent_again_on_request(stripe_sandbox: StripeSandbox) -> None:
    listen(stripe_sandbox, "customer.created")
    make_customers(stripe_sandbox)
    stripe_sandbox.deliver()
    (event,) = stripe_sandbox.v1.events.list({"type": "customer.created"}).data

    assert webhooks.resend(stripe_sandbox.sandbox, event.id) == 1
    stripe_sandbox.deliver()

    assert [one["event"]["id"] for one in stripe_sandbox.delivered] == [event.id, event.id]


def test_a_disabled_endpoint_hears_nothing(stripe_sandbox: StripeSandbox) -> None:
    endpoint = listen(stripe_sandbox)
    stripe_sandbox.v1.webhook_endpoints.update(endpoint.id, {"disabled": True})
    make_customers(stripe_sandbox)

    assert stripe_sandbox.deliver() == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FaultKind.WEBHOOK_DOUBLED, ["Customer 0", "Customer 0", "Customer 1"]),
        (FaultKind.WEBHOOK_OUT_OF_ORDER, ["Customer 1", "Customer 0"]),
        (FaultKind.WEBHOOK_LOST, ["Customer 1"]),
        (FaultKind.WEBHOOK_LATE, ["Customer 1"]),
    ],
)
def test_webhooks_go_wrong_on_request(
    stripe_sandbox: StripeSandbox, kind: FaultKind, expected: list[str]
) -> None:
    listen(stripe_sandbox, "customer.created")
    stripe_sandbox.sandbox.faults.add(Fault(kind=kind, on="customer.*", delay_s=600))
    make_customers(stripe_sandbox, 2)

    stripe_sandbox.deliver()

    assert names(stripe_sandbox) == expected


def test_a_late_webhook_comes_in_the_end(stripe_sandbox: StripeSandbox) -> None:
    listen(stripe_sandbox, "customer.created")
    stripe_sandbox.sandbox.faults.add(Fault(kind=FaultKind.WEBHOOK_LATE, delay_s=600))
    make_customers(stripe_sandbox, 2)
    stripe_sandbox.deliver()

    stripe_sandbox.put_forward(seconds=601)
    stripe_sandbox.deliver()

    assert names(stripe_sandbox) == ["Customer 1", "Customer 0"]


def test_a_call_that_fails_tells_nobody(stripe_sandbox: StripeSandbox) -> None:
    listen(stripe_sandbox)

    with pytest.raises(stripe.InvalidRequestError):
        stripe_sandbox.v1.customers.create({"name": "Ann", "payment_method": "pm_nothing"})

    assert stripe_sandbox.deliver() == 0
    assert stripe_sandbox.sandbox.store.find("customer") == []
