"""The parts of a running program, put together by ``app.build`` and handed to every edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from control_plane.accounts.passwords import Passwords
from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.db.keyring import Keyring
from control_plane.events import Handlers
from control_plane.live import LiveHub

T = TypeVar("T")


class ProcessRole(StrEnum):
    """What a process does. ``serve`` is WEB; ``serve --all`` is everything."""

    BROKER = "broker"
    WEB = "web"
    INGEST = "ingest"
    WORKER = "worker"
    SCHEDULER = "scheduler"


class Service(Protocol):
    """Something that runs for as long as the process does."""

    def start(self) -> None:
        """Begin; return once it works. Raises what keeps it from working."""
        ...

    def stop(self) -> None:
        """End, within a few seconds. Called once, also after a failed start."""
        ...


@dataclass(slots=True)
class Parts:
    """Everything an edge may need. Features get what they need as arguments instead."""

    settings: Settings
    clock: Clock
    keyring: Keyring
    database: Database
    live: LiveHub
    handlers: Handlers
    passwords: Passwords
    #: Told by /readyz: a name for people, and whether it works.
    readiness: dict[str, Callable[[], bool]] = field(default_factory=dict)
    _services: list[tuple[ProcessRole, str, Callable[[], Service]]] = field(default_factory=list)
    _adapters: dict[object, object] = field(default_factory=dict)

    def provide(self, port: Callable[..., T], adapter: T) -> None:
        """Register the adapter for a port (a Protocol or class)."""
        self._adapters[port] = adapter

    def get(self, port: Callable[..., T]) -> T:
        """The adapter for a port. Raises LookupError when nothing was provided."""
        try:
            return self._adapters[port]  # type: ignore[return-value]  # provide() put a T there
        except KeyError:
            raise LookupError(f"nothing provides {port}; see control_plane/wiring") from None

    def find(self, port: Callable[..., T]) -> T | None:
        """The adapter for a port, or None."""
        return self._adapters.get(port)  # type: ignore[return-value]  # provide() put a T there

    def add_service(self, role: ProcessRole, name: str, make: Callable[[], Service]) -> None:
        """Run a service in the processes of a role; started in order, stopped in reverse."""
        self._services.append((role, name, make))

    def services_of(self, roles: frozenset[ProcessRole]) -> list[tuple[str, Callable[[], Service]]]:
        """What these roles run, brokers first."""
        order = list(ProcessRole)
        chosen = [one for one in self._services if one[0] in roles]
        chosen.sort(key=lambda one: order.index(one[0]))
        return [(name, make) for _, name, make in chosen]

    def close(self) -> None:
        """Let go of everything. Streams end first."""
        self.live.close()
        self.database.close()
