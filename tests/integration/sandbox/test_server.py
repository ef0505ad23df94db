"""The sandbox on a socket, as a program, and after a restart."""

from __future__ import annotations

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import stripe

from control_plane.sandbox.app import SandboxApi
from control_plane.sandbox.faults import Fault, FaultKind
from control_plane.sandbox.program import webhook_secret
from control_plane.sandbox.settings import SandboxSettings
from tests.support.ports import LOOPBACK
from tests.support.stripe_sandbox import SandboxServer, client_of, error_of
from tests.support.waiting import eventually

PAY: dict[str, Any] = {
    "amount": 1000,
    "currency": "usd",
    "confirm": True,
    "payment_method": "pm_card_visa",
    "allowed_payment_method_types": ["card"],
}


def test_the_sdk_charges_over_a_socket(sandbox_server: SandboxServer) -> None:
    client: Any = sandbox_server.client()

    paid = client.v1.payment_intents.create({**PAY, "expand": ["latest_charge"]})

    assert paid.status == "succeeded"
    assert paid.latest_charge.receipt_url.startswith(sandbox_server.url)


def test_two_at_once_with_one_key_charge_once(sandbox_server: SandboxServer) -> None:
    slow = Fault(kind=FaultKind.SLOW, on="POST /v1/payment_intents", delay_s=0.5)
    sandbox_server.sandbox.faults.add(slow)
    client: Any = sandbox_server.client()
    first: list[Any] = []

    def pay() -> None:
        first.append(client.v1.payment_intents.create(PAY, {"idempotency_key": "one"}))

    thread = threading.Thread(target=pay)
    thread.start()
    eventually(lambda: not sandbox_server.sandbox.faults.listed())
    with pytest.raises(stripe.StripeError) as refused:
        client.v1.payment_intents.create(PAY, {"idempotency_key": "one"})
    thread.join()

    # The SDK drops the code of a 409 from its exception.
    code = error_of(refused.value)["code"]
    assert (refused.value.http_status, code) == (409, "idempotency_key_in_use")
    assert [one.status for one in first] == ["succeeded"]
    assert len(sandbox_server.sandbox.store.find("charge")) == 1


def test_a_lost_answer_breaks_the_connection_after_the_charge(
    sandbox_server: SandboxServer,
) -> None:
    sandbox_server.sandbox.faults.add(Fault(kind=FaultKind.LOST_ANSWER, on="POST *"))
    client: Any = sandbox_server.client()

    with pytest.raises(stripe.APIConnectionError):
        client.v1.payment_intents.create(PAY)

    assert len(sandbox_server.sandbox.store.find("charge")) == 1


class Receiver(BaseHTTPRequestHandler):
    """Answers 200 and remembers body and signature."""

    got: ClassVar[list[tuple[bytes, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((body, self.headers["stripe-signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def test_webhooks_leave_by_themselves(sandbox_server: SandboxServer) -> None:
    client: Any = sandbox_server.client()
    with ThreadingHTTPServer((LOOPBACK, 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        endpoint = client.v1.webhook_endpoints.create(
            {
                "url": f"http://{LOOPBACK}:{receiver.server_port}/",
                "enabled_events": ["product.created"],
            }
        )
        client.v1.products.create({"name": "Tea"})

        body, signed = eventually(lambda: Receiver.got)[0]
        receiver.shutdown()

    event = stripe.Webhook.construct_event(body, signed, str(endpoint.secret))
    assert event.type == "product.created"


def test_a_file_is_uploaded(sandbox_server: SandboxServer) -> None:
    content = io.BytesIO(b"scan")
    content.name = "scan.png"

    made = sandbox_server.client().v1.files.create({"purpose": "dispute_evidence", "file": content})

    assert (made.filename, made.size, made.purpose) == ("scan.png", 4, "dispute_evidence")


def test_objects_keys_and_tasks_survive_a_restart(tmp_path: Path) -> None:
    settings = SandboxSettings(database=tmp_path / "sandbox.db")
    before = SandboxApi(settings)
    first: Any = client_of(before)
    held = first.v1.payment_intents.create(
        {**PAY, "capture_method": "manual"},
        {"idempotency_key": "one"},
    )
    secret = webhook_secret(before, "http://127.0.0.1:9/hook")
    before.close()

    after = SandboxApi(settings)
    client: Any = client_of(after)
    again = client.v1.payment_intents.create(
        {**PAY, "capture_method": "manual"},
        {"idempotency_key": "one"},
    )
    after.sandbox.put_forward(8 * 86_400)

    assert again.id == held.id
    assert client.v1.payment_intents.retrieve(held.id).status == "canceled"
    assert webhook_secret(after, "http://127.0.0.1:9/hook") == secret
    after.close()


def test_many_threads_with_keys_of_their_own_charge_once_each(
    sandbox_server: SandboxServer,
) -> None:
    client: Any = sandbox_server.client(retries=0)

    def pay(number: int) -> None:
        for _ in range(2):
            client.v1.payment_intents.create(PAY, {"idempotency_key": f"key-{number}"})

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(sandbox_server.sandbox.store.find("charge")) == 8
