"""Looks, twice a second, for payments that nobody took in time and for devices that fell silent."""

from __future__ import annotations

import threading
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.parts import Parts
from control_plane.payments import deadlines

log = structlog.get_logger()

_PAUSE_S: Final = 0.5


class SessionDeadlines:
    """A thread of each worker process. Two of them are harmless: every end is guarded by the state before it."""

    def __init__(self, parts: Parts, *, pause_s: float = _PAUSE_S) -> None:
        self._parts = parts
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session-deadlines", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def look(self) -> int:
        """End what is overdue now; how many."""
        database = self._parts.database
        with database.reading_connection() as db:
            is_due = deadlines.is_anything_due(db, self._parts.clock.now())
        if not is_due:
            return 0
        with database.connection() as db:
            ended = deadlines.expire_due(db)
        with database.connection() as db:
            return ended + deadlines.declare_silent(db)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            try:
                self.look()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("session_deadlines_late", reason=str(error).splitlines()[0])
