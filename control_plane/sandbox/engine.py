"""One sandbox: its account, objects, clock, faults and webhooks, without HTTP."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from control_plane.sandbox.clock import SandboxClock
from control_plane.sandbox.errors import ApiError, Json, no_such
from control_plane.sandbox.faults import Faults
from control_plane.sandbox.settings import API_VERSION, SandboxSettings
from control_plane.sandbox.shapes import make
from control_plane.sandbox.store import Store

#: Runs when due: the sandbox and the id of what it is about.
Task = Callable[["Sandbox", str], None]
#: Hears of each event in its transaction.
Listener = Callable[["Sandbox", Json], None]

_LENGTHS = {"cus_": 14, "prod_": 14}
_ALPHABET = (string.ascii_letters + string.digits).encode()
#: Any byte as a letter or digit.
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


class Sandbox:
    """What endpoints work with. Everything that changes objects runs in ``transaction()``."""

    def __init__(self, settings: SandboxSettings, clock: SandboxClock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SandboxClock()
        self.store = Store(settings.database)
        self.faults = Faults()
        self.tasks: dict[str, Task] = {}
        self.listeners: list[Listener] = []
        #: The call that is being answered: (request id, idempotency key), named by its events.
        self.current_request: tuple[str | None, str | None] = (None, None)

    def close(self) -> None:
        self.store.close()

    # --- time ---

    def now(self) -> int:
        """Seconds since 1970, as objects carry them."""
        return int(self.clock.now())

    def after(self, seconds: float, task: str, target: str) -> None:
        """Run a registered task so much later by the sandbox's clock."""
        self.store.schedule(self.clock.now() + seconds, task, target)

    def run_due(self) -> int:
        """Run what is due by now, in order, each at its own moment; returns how many ran."""
        ran = 0
        until = self.clock.now()
        while True:
            due = self.store.next_due()
            if due is None or due > until:
                return ran
            with self.store.transaction():
                taken = self.store.take_due(until)
                if taken is None:
                    return ran
                moment, name, target = taken
                with self.clock.held_at(moment):
                    self.tasks[name](self, target)
            ran += 1

    def put_forward(self, seconds: float) -> int:
        """Put the clock forward and run what became due; returns how many tasks ran."""
        self.clock.put_forward(seconds)
        return self.run_due()

    # --- objects ---

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside become durable together, or none does."""
        with self.store.transaction():
            yield

    def new_id(self, prefix: str, length: int = 24) -> str:
        """``pi_`` and random letters, as Stripe's ids."""
        return prefix + secrets.token_bytes(length).translate(_LETTERS).decode()

    def create(self, kind: str, prefix: str, **fields: object) -> Json:
        """A new stored object of a kind with an id, the time, test mode and the given fields."""
        shape = make(kind, **fields)
        shape["id"] = shape["id"] or self.new_id(prefix, _LENGTHS.get(prefix, 24))
        if "created" in shape and "created" not in fields:
            shape["created"] = self.now()
        return self.store.add(kind, shape)

    def save(self, value: Json) -> Json:
        return self.store.save(value)

    def fetch(self, kind: str, identifier: str, *, param: str = "id", status: int = 404) -> Json:
        """The object, or Stripe's ``resource_missing``; in a parameter give its name and status 400."""
        found = self.store.get(identifier, kind)
        if found is None:
            raise no_such(_SPOKEN.get(kind, kind), identifier, param=param, status=status)
        return found

    def named(self, kind: str, identifier: str | None, param: str) -> Json | None:
        """The object that a parameter names; None for none; 400 when there is no such object."""
        if identifier is None:
            return None
        return self.fetch(kind, identifier, param=param, status=400)

    # --- events ---

    def emit(self, name: str, value: Json, previous: Json | None = None) -> Json:
        """Write the event down and owe it to the webhook endpoints that want it."""
        request, key = self.current_request
        snapshot: Json = {"object": public(value)}
        if previous:
            snapshot["previous_attributes"] = previous
        event = self.create(
            "event",
            "evt_",
            api_version=API_VERSION,
            data=snapshot,
            livemode=False,
            pending_webhooks=0,
            request={"id": request, "idempotency_key": key},
            type=name,
        )
        for listener in self.listeners:
            listener(self, event)
        return event


_SPOKEN = {
    "payment_method": "PaymentMethod",
    "webhook_endpoint": "webhook endpoint",
    "setup_intent": "setupintent",
}


def public(value: Json) -> Json:
    """The object as answers show it: without the sandbox's own keys."""
    return {key: inner for key, inner in value.items() if key[0] != "_"}


__all__ = ["ApiError", "Sandbox", "public"]
