"""Webhook endpoints, and the deliveries that each event owes them: signed, retried, resent."""

from __future__ import annotations

import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import msgspec
from stripe.params import (
    EventListParams,
    EventRetrieveParams,
    WebhookEndpointCreateParams,
    WebhookEndpointListParams,
    WebhookEndpointRetrieveParams,
    WebhookEndpointUpdateParams,
)

from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.faults import FaultKind
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.settings import API_VERSION

routes = Routes()

#: Sends one delivery and returns the HTTP status, 0 when nobody answered: (url, headers, body) -> status.
Post = Callable[[str, Mapping[str, str], bytes], int]

#: Pauses between tries, in seconds: three days in all, as Stripe's.
_PAUSES_S = (5, 60, 300, 1800, 7200, 18_000, 36_000, 36_000, 36_000, 36_000, 36_000, 36_000)
_ANSWER_WITHIN_S = 10


@routes.post("/v1/webhook_endpoints", WebhookEndpointCreateParams)
def create(call: Call) -> Json:
    """The only answer that carries the secret."""
    _check_url(call.params["url"])
    secret = call.sandbox.new_id("whsec_", 32)
    endpoint = call.sandbox.create(
        "webhook_endpoint",
        "we_",
        api_version=call.params.get("api_version"),
        description=call.params.get("description"),
        enabled_events=call.params["enabled_events"],
        metadata=_set_only(call.params.get("metadata")),
        status="enabled",
        url=call.params["url"],
        _secret=secret,
    )
    return {**endpoint, "secret": secret}


@routes.get("/v1/webhook_endpoints/{endpoint}", WebhookEndpointRetrieveParams)
def retrieve(call: Call, endpoint: str) -> Json:
    return call.sandbox.fetch("webhook_endpoint", endpoint)


@routes.post("/v1/webhook_endpoints/{endpoint}", WebhookEndpointUpdateParams)
def update(call: Call, endpoint: str) -> Json:
    found = call.sandbox.fetch("webhook_endpoint", endpoint)
    params = dict(call.params)
    if "url" in params:
        _check_url(params["url"])
    if "disabled" in params:
        found["status"] = "disabled" if params.pop("disabled") else "enabled"
    if "metadata" in params:
        found["metadata"] = merged(found["metadata"], params.pop("metadata"))
    params.pop("expand", None)
    found.update(params)
    return call.sandbox.save(found)


@routes.delete("/v1/webhook_endpoints/{endpoint}")
def delete(call: Call, endpoint: str) -> Json:
    call.sandbox.fetch("webhook_endpoint", endpoint)
    call.sandbox.store.remove(endpoint)
    return {"id": endpoint, "object": "webhook_endpoint", "deleted": True}


@routes.get("/v1/webhook_endpoints", WebhookEndpointListParams)
def list_all(call: Call) -> Json:
    return call.page("webhook_endpoint")


@routes.get("/v1/events", EventListParams)
def list_events(call: Call) -> Json:
    """``type`` may have an asterisk; ``types`` and ``delivery_success`` narrow further."""
    params = call.params
    wanted = params.get("types") or ([params["type"]] if "type" in params else [])
    if (
        not any("*" in one for one in wanted)
        and len(wanted) <= 1
        and "delivery_success" not in params
    ):
        return call.page("event", type=wanted[0] if wanted else None)
    limit = params.get("limit", 10)
    call.params = {**params, "limit": 100}
    page = call.page("event")
    fitting = [
        one
        for one in page["data"]
        if (not wanted or any(fnmatchcase(one["type"], pattern) for pattern in wanted))
        and params.get("delivery_success", True) == (one["pending_webhooks"] == 0)
    ]
    return {**page, "data": fitting[:limit], "has_more": page["has_more"] or len(fitting) > limit}


@routes.get("/v1/events/{event}", EventRetrieveParams)
def retrieve_event(call: Call, event: str) -> Json:
    return call.sandbox.fetch("event", event)


def owe(sandbox: Sandbox, event: Json) -> None:
    """Write down a delivery for every endpoint that wants the event. A listener of the sandbox."""
    wanting = [
        one
        for one in sandbox.store.find("webhook_endpoint", status="enabled")
        if any(fnmatchcase(event["type"], pattern) for pattern in one["enabled_events"])
    ]
    if not wanting:
        return
    event["pending_webhooks"] = len(wanting)
    sandbox.save(event)
    for endpoint in wanting:
        fault = sandbox.faults.take(event["type"], webhook=True)
        kind = None if fault is None else fault.kind
        if kind is FaultKind.WEBHOOK_LOST:
            continue
        due = sandbox.clock.now() + (
            fault.delay_s if fault and kind is FaultKind.WEBHOOK_LATE else 0
        )
        held = kind is FaultKind.WEBHOOK_OUT_OF_ORDER
        for _ in range(2 if kind is FaultKind.WEBHOOK_DOUBLED else 1):
            _add_delivery(sandbox, event["id"], endpoint["id"], due, held=held)


def resend(sandbox: Sandbox, event_id: str, endpoint_id: str | None = None) -> int:
    """Owe the event again, to one endpoint or to all enabled ones; returns how many deliveries that is."""
    with sandbox.transaction():
        sandbox.fetch("event", event_id)
        endpoints = [
            one["id"]
            for one in sandbox.store.find("webhook_endpoint", status="enabled")
            if endpoint_id in (None, one["id"])
        ]
        for endpoint in endpoints:
            _add_delivery(sandbox, event_id, endpoint, sandbox.clock.now(), held=False)
    return len(endpoints)


def deliveries(sandbox: Sandbox) -> list[Json]:
    """Every delivery, newest first: event, endpoint, tries, status (pending, delivered, failed), last_answer."""
    return sandbox.store.find("_delivery")


def deliver_due(sandbox: Sandbox, post: Post | None = None) -> int:
    """Send what is due by the sandbox's clock; returns how many were sent. Not inside a transaction."""
    sent = 0
    now = sandbox.clock.now()
    waiting = reversed(sandbox.store.find("_delivery", status="pending"))
    due = [one for one in waiting if one["due"] <= now]
    # A held delivery goes once a later event of its endpoint went before it.
    ready = [one for one in due if not one["held"]]
    for one in due:
        if one["held"] and any(other["endpoint"] == one["endpoint"] for other in ready):
            ready.append(one)
    for one in ready:
        _deliver(sandbox, one, post or post_over_http)
        sent += 1
    return sent


def signature(secret: str, body: bytes, moment: int) -> str:
    """The ``Stripe-Signature`` header."""
    signed = hmac.new(secret.encode(), b"%d.%s" % (moment, body), hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


def post_over_http(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Send to a real address; 0 when it does not answer in time."""
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_WITHIN_S) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return int(refused.code)
    except OSError:
        return 0


def merged(before: Json, change: Json | None) -> Json:
    """Metadata after a change: null unsets a key, null for the whole unsets all."""
    if change is None:
        return {}
    return {key: value for key, value in {**before, **change}.items() if value is not None}


def _set_only(metadata: Json | None) -> Json:
    return merged({}, metadata)


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ApiError(
            "Invalid URL: An explicit scheme (such as https) must be provided.",
            code="url_invalid",
            param="url",
        )


def _add_delivery(sandbox: Sandbox, event: str, endpoint: str, due: float, *, held: bool) -> None:
    delivery = {
        "id": sandbox.new_id("_del_"),
        "created": sandbox.now(),
        "event": event,
        "endpoint": endpoint,
        "due": due,
        "held": held,
        "tries": 0,
        "status": "pending",
        "last_answer": None,
    }
    sandbox.store.add("_delivery", delivery)


def _deliver(sandbox: Sandbox, delivery: Json, post: Post) -> None:
    event = sandbox.store.get(delivery["event"])
    endpoint = sandbox.store.get(delivery["endpoint"])
    if event is None or endpoint is None:
        delivery["status"] = "failed"
        sandbox.save(delivery)
        return
    body = msgspec.json.encode(public(event))
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        # Receivers compare this with their own clock, which does not know how far ours was put forward.
        "Stripe-Signature": signature(endpoint["_secret"], body, sandbox.clock.wall()),
    }
    status = post(endpoint["url"], headers, body)
    with sandbox.transaction():
        delivery["tries"] += 1
        delivery["last_answer"] = status
        if 200 <= status < 300:
            delivery["status"] = "delivered"
        elif delivery["tries"] > len(_PAUSES_S):
            delivery["status"] = "failed"
        else:
            delivery["due"] = sandbox.clock.now() + _PAUSES_S[delivery["tries"] - 1]
        sandbox.save(delivery)
        if delivery["status"] == "delivered":
            event = sandbox.fetch("event", event["id"])
            event["pending_webhooks"] = max(0, event["pending_webhooks"] - 1)
            sandbox.save(event)


__all__ = [
    "API_VERSION",
    "deliver_due",
    "deliveries",
    "merged",
    "owe",
    "resend",
    "routes",
    "signature",
]
