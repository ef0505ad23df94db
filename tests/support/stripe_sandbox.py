"""The sandbox for tests: in process without a socket, or on a loopback port, with the official SDK in front of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import stripe
import uvicorn
from fastapi import FastAPI

from control_plane.sandbox.app import SandboxApi, create_sandbox
from control_plane.sandbox.clock import SandboxClock
from control_plane.sandbox.dispatch import Request
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.settings import SandboxSettings
from tests.support.ports import LOOPBACK
from tests.support.waiting import eventually

SECRET_KEY = "sk_test_omnitill"
PUBLISHABLE_KEY = "pk_test_omnitill"
_LOCAL = "http://sandbox.local"


class InProcessHttpClient(stripe.HTTPClient):
    """Hands the SDK's requests straight to a sandbox. A broken connection raises what the SDK's own clients raise."""

    name = "sandbox"

    def __init__(self, api: SandboxApi) -> None:
        super().__init__()
        self._api = api
        #: Every request as (method, path, form body), for tests that look at what was sent.
        self.sent: list[tuple[str, str, str]] = []

    # Any: the SDK's signature.
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        address = urlsplit(url)
        body = post_data.encode() if isinstance(post_data, str) else (post_data or b"")
        self.sent.append((method.upper(), address.path, body.decode(errors="replace")))
        answer = self._api.answer(
            Request(
                method=method.upper(),
                path=address.path,
                query=address.query,
                headers={name.lower(): value for name, value in (headers or {}).items()},
                body=body,
            )
        )
        if answer.breaks:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call] # the SDK's
                "the connection broke", should_retry=True
            )
        return answer.body.decode(), answer.status, answer.headers

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, answered = self.request(method, url, headers, post_data)
        return body.encode(), status, answered

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class StripeSandbox:
    """A sandbox in this process. ``http`` goes where an adapter takes an SDK HTTP client."""

    api: SandboxApi
    http: InProcessHttpClient
    client: stripe.StripeClient
    #: What webhooks brought, newest last, after ``deliver()``.
    delivered: list[dict[str, Any]]

    @property
    def sandbox(self) -> Sandbox:
        return self.api.sandbox

    @property
    def v1(self) -> Any:
        """The SDK's services, untyped: tests send plain dicts and read what came freely."""
        return self.client.v1

    def as_browser(self) -> stripe.StripeClient:
        """The SDK with the publishable key, for what a browser may call."""
        return client_of(self.api, key=PUBLISHABLE_KEY)

    def put_forward(self, *, days: float = 0, seconds: float = 0) -> None:
        """Put the sandbox's clock forward; what is due happens."""
        self.sandbox.put_forward(days * 86_400 + seconds)

    def event_types(self) -> list[str]:
        """Types of all events so far, oldest first."""
        return [one["type"] for one in reversed(self.sandbox.store.find("event"))]

    def deliver(self, status: int = 200) -> int:
        """Send due webhooks into ``delivered``; the receiver answers with this status."""

        def receive(url: str, headers: Mapping[str, str], body: bytes) -> int:
            signed = headers["Stripe-Signature"]
            self.delivered.append(
                {"url": url, "signature": signed, "body": body, "event": json.loads(body)}
            )
            return status

        return self.api.pump(receive)


def error_of(refused: stripe.StripeError) -> dict[str, Any]:
    """The error's JSON, as it was answered."""
    error: dict[str, Any] = refused.json_body["error"]  # type: ignore[index] # the SDK says object
    return error


def client_of(api: SandboxApi, *, key: str = SECRET_KEY, retries: int = 0) -> stripe.StripeClient:
    """The official SDK in front of an in-process sandbox."""
    return stripe.StripeClient(
        key,
        http_client=InProcessHttpClient(api),
        base_addresses={"api": _LOCAL, "files": _LOCAL},
        max_network_retries=retries,
    )


@contextmanager
def stripe_sandbox(
    settings: SandboxSettings | None = None, clock: SandboxClock | None = None
) -> Iterator[StripeSandbox]:
    """A fresh sandbox in memory with the SDK on it; no socket, no thread."""
    api = SandboxApi(settings or SandboxSettings(), clock)
    http = InProcessHttpClient(api)
    client = stripe.StripeClient(
        SECRET_KEY,
        http_client=http,
        base_addresses={"api": _LOCAL, "files": _LOCAL},
        max_network_retries=0,
    )
    try:
        yield StripeSandbox(api=api, http=http, client=client, delivered=[])
    finally:
        api.close()


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """A sandbox on a loopback port, with its pump running: webhooks leave by themselves."""

    url: str
    api: SandboxApi

    @property
    def sandbox(self) -> Sandbox:
        return self.api.sandbox

    def client(self, *, key: str = SECRET_KEY, retries: int = 0) -> stripe.StripeClient:
        """The official SDK over a real socket."""
        return stripe.StripeClient(
            key,
            base_addresses={"api": self.url, "files": self.url},
            max_network_retries=retries,
        )


@contextmanager
def sandbox_server(
    settings: SandboxSettings | None = None, *, app: FastAPI | None = None
) -> Iterator[SandboxServer]:
    """Serve a sandbox in a thread on a free port; its own address is its public one."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
        served = app or create_sandbox(replace(settings or SandboxSettings(), public_url=url))
        config = uvicorn.Config(served, log_level="critical", access_log=False, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=server.run, args=([listening],), name="sandbox-server", daemon=True
        )
        thread.start()
        try:
            eventually(lambda: server.started, deadline_s=20)
            yield SandboxServer(url=url, api=served.state.sandbox)
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            served.state.sandbox.close()
