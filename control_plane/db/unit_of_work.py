"""A transaction and what rides on it: domain events inside, announcements after the commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.keyring import Keyring

#: Services and queries work in either: an ORM session, or a Core connection on a hot path.
Transaction: TypeAlias = Session | Connection

_KEY = "omnitill"


class Announcer(Protocol):
    """Tells the world that something changed; the live hub is one."""

    def send_many(self, messages: list[Announcement]) -> None:
        """Deliver, without blocking and without raising."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """A message for a topic. Of several with one ``key``, only the newest matters."""

    topic: str
    message: dict[str, Any]
    key: str | None = None


@dataclass(slots=True)
class Context:
    """What one transaction carries with it."""

    clock: Clock
    keyring: Keyring
    publish: Callable[[Transaction, object], None]
    announcements: list[Announcement] = field(default_factory=list)

    def announce(self, announcement: Announcement) -> None:
        """Send it if, and only after, the transaction commits."""
        self.announcements.append(announcement)


def context_of(db: Transaction) -> Context:
    """What rides on this transaction. Raises LookupError when ``Database`` did not open it."""
    context: Context | None = db.info.get(_KEY)
    if context is None:
        raise LookupError("this transaction was not opened by control_plane.db.engine.Database")
    return context


def attach(db: Transaction, context: Context | None) -> None:
    """Put a context on a transaction, or (None) take it off."""
    db.info.pop(_KEY, None)
    if context is not None:
        db.info[_KEY] = context
