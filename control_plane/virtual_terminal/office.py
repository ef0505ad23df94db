"""What the desk works with: the database in short turns, and the processor between them.

**No transaction is open while the processor is asked.** A call may take twenty seconds; meanwhile nothing is locked,
no connection is held, and no turn to write is taken. So each verb is: ``with office.writing()`` (write down what is
meant, commit), the call, ``with office.writing()`` (write down what came of it, commit).

**Threads.** Whatever talks to the processor runs in a thread that may wait: ``await apart(desk.charge, …)``
(``control_plane.http.threads``) from a route, or a job's own thread. Such a thread waits for SQLite's one writer
without keeping anybody from finishing, since whoever writes needs none of these threads. Routes of the desk are
``async def`` and declare neither ``Db`` nor ``WriterSlot``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.keyring import Keyring
from control_plane.virtual_terminal.processor import Processors

#: Connections that the desk uses at a time; what requests use leaves room for them.
_TURNS: Final = 8


class Office:
    """The database, the processors and the time."""

    def __init__(self, database: Database, processors: Processors, clock: Clock) -> None:
        self._database = database
        self.processors = processors
        self.clock = clock
        self._turns = threading.BoundedSemaphore(_TURNS)

    @property
    def keyring(self) -> Keyring:
        """Signs the addresses of links."""
        return self._database.keyring

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One short transaction."""
        with self._turns, self._database.connection() as db:
            yield db

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot."""
        with self._turns, self._database.reading_connection() as db:
            yield db
