"""Domain events: how a feature tells others what happened without knowing them.

A handler runs in the publisher's transaction and must be quick: what takes time, it owes (``outbox.owe``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from control_plane.db.unit_of_work import Transaction, context_of

E = TypeVar("E")


class Handlers:
    """Who wants to hear of what: one dictionary, filled while the program is wired."""

    def __init__(self) -> None:
        self._by_event: dict[type, list[Callable[[Transaction, Any], None]]] = {}

    def on(self, event: type[E], handler: Callable[[Transaction, E], None]) -> None:
        """Call ``handler(db, event)`` whenever exactly this kind of event is published."""
        self._by_event.setdefault(event, []).append(handler)

    def __call__(self, db: Transaction, event: object) -> None:
        for handler in self._by_event.get(type(event), ()):
            handler(db, event)


def publish(db: Transaction, event: object) -> None:
    """Tell everyone who asked, now and in this transaction. What a handler raises undoes it all."""
    context_of(db).publish(db, event)
