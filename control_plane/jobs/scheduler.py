"""Owes what is due by the clock. Runs nothing itself, and only in the process that leads.

Each firing inserts a job whose dedupe key is its time slot, so that two leaders cost one refused insert.
"""

from __future__ import annotations

import fcntl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Protocol

import psycopg
import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.jobs.catalog import JobKind
from control_plane.outbox import owe
from control_plane.parts import Parts

log = structlog.get_logger()

#: Any number, the same in every process.
_LEADER_LOCK: Final = 7_046_029_255
_CANDIDACY_S: Final = 2.0
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Leadership(Protocol):
    """Whether this process leads; asked again and again."""

    def is_mine(self) -> bool:
        """Try to lead, or confirm it."""
        ...

    def give_up(self) -> None:
        """Lead no longer."""
        ...


class LockFile:
    """Leads whoever holds a lock on a file: for SQLite, whose processes share a machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def is_mine(self) -> bool:
        if self._file is not None:
            return True
        file = self._path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def give_up(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class AdvisoryLock:
    """Leads whoever holds a PostgreSQL advisory lock: it is free again as soon as the holder's connection is gone."""

    def __init__(self, conninfo: str, number: int = _LEADER_LOCK) -> None:
        self._conninfo = conninfo
        self._number = number
        self._connection: psycopg.Connection[Any] | None = None
        self._held = False

    def is_mine(self) -> bool:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
            if self._held:
                self._connection.execute("SELECT 1")
                return True
            row = self._connection.execute(
                "SELECT pg_try_advisory_lock(%s)", (self._number,)
            ).fetchone()
            self._held = bool(row and row[0])
        except psycopg.Error as error:
            log.warning("leadership_unknown", reason=str(error).strip())
            self.give_up()
        return self._held

    def give_up(self) -> None:
        self._held = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Scheduler:
    """Owes each job that has an ``every``, in its slots, while this process leads."""

    def __init__(self, parts: Parts, kinds: dict[str, JobKind], leadership: Leadership) -> None:
        self._parts = parts
        self._timed = [(kind, kind.every) for kind in kinds.values() if kind.every is not None]
        self._leadership = leadership
        self._stopping = threading.Event()
        self._leads = False
        self._clockwork = BackgroundScheduler(timezone=UTC)
        self._thread = threading.Thread(target=self._candidate, name="scheduler", daemon=True)

    def start(self) -> None:
        for kind, every in self._timed:
            self._clockwork.add_job(
                self.enqueue,
                IntervalTrigger(seconds=every.total_seconds(), start_date=_EPOCH, timezone=UTC),
                args=[kind, every],
                id=kind.name,
                coalesce=True,
                misfire_grace_time=None,
            )
        self._clockwork.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._clockwork.shutdown(wait=True)
        self._thread.join(timeout=5)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that owes."""
        return self._leads

    def enqueue(self, kind: JobKind, every: timedelta) -> bool:
        """Owe the job of the present slot; False when this process does not lead or the slot is taken."""
        if not self._leads:
            return False
        slot = slot_of(self._parts.clock.now(), every)
        try:
            with self._parts.database.connection() as db:
                owed = owe(
                    db,
                    kind.name,
                    {"slot": slot.isoformat()},
                    dedupe_key=f"{kind.name}@{slot.isoformat()}",
                    max_attempts=kind.max_attempts,
                )
        except (DBAPIError, PoolTimeout) as error:
            # The next slot comes; a scheduled job makes up for what a former one missed.
            log.warning("slot_missed", job_kind=kind.name, reason=str(error).splitlines()[0])
            return False
        return owed is not None

    def _candidate(self) -> None:
        while True:
            mine = self._leadership.is_mine()
            if mine and not self._leads:
                log.info("leadership_taken")
            self._leads = mine
            if self._stopping.wait(_CANDIDACY_S):
                self._leads = False
                self._leadership.give_up()
                return


def slot_of(now: datetime, every: timedelta) -> datetime:
    """The beginning of the time slot that ``now`` is in; slots of all processes agree."""
    return _EPOCH + (now - _EPOCH) // every * every
