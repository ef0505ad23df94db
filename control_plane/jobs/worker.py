"""Runs owed jobs in threads, woken when something is owed, looking by itself every second."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError
from control_plane.jobs import job_queue
from control_plane.jobs.catalog import JobKind, JobRun
from control_plane.jobs.job_queue import ClaimedJob
from control_plane.outbox import WAKE_TOPIC, JobState
from control_plane.parts import Parts

log = structlog.get_logger()

_POLL_S: Final = 1.0
_STOP_S: Final = 10.0
_RUNS: Final = Counter("omnitill_job_runs", "Runs of jobs", ["kind", "outcome"])


@dataclass(frozen=True, slots=True)
class _Ended:
    """A job that ran; ``failure`` is None when it did what it should."""

    job: ClaimedJob
    failure: str | None


class Worker:
    """Some threads that claim and run jobs until they are stopped. A started job is finished first."""

    def __init__(
        self, parts: Parts, kinds: dict[str, JobKind], *, threads: int, poll_s: float = _POLL_S
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"[:100]
        self._parts = parts
        self._kinds = kinds
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._turnstile = threading.Condition()
        self._wakes = 0
        self._unlisten: Callable[[], None] | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(threads)
        ]
        self._threads.append(threading.Thread(target=self._beat, name="worker-beat", daemon=True))

    def start(self) -> None:
        self._unlisten = self._parts.live.listen(WAKE_TOPIC, self._wake)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        if self._unlisten is not None:
            self._unlisten()
        self._stopping.set()
        self._wake()
        for thread in self._threads:
            thread.join(timeout=_STOP_S)

    def run_one(self) -> bool:
        """Claim and run one job that is due, and write down how it ended; False when there is none."""
        job = self._settle_and_claim(None)
        if job is None:
            return False
        ended = self._execute(job)
        with self._parts.database.connection() as db:
            self._settle(db, ended)
        return True

    def _settle_and_claim(self, ended: _Ended | None) -> ClaimedJob | None:
        """In one transaction; one that a power cut may undo, after which the job is run once more."""
        with self._parts.database.connection(durable=False) as db:
            if ended is not None:
                self._settle(db, ended)
            return job_queue.claim(db, self.name, list(self._kinds))

    def _execute(self, job: ClaimedJob) -> _Ended:
        run = JobRun(
            self._parts, job.id, job.kind, job.payload, job.merchant_id, job.attempt, job.created_at
        )
        with structlog.contextvars.bound_contextvars(job_id=job.id, job_kind=job.kind):
            return _Ended(job, self._failure_of(self._kinds[job.kind], run))

    def _settle(self, db: Transaction, ended: _Ended) -> None:
        job = ended.job
        if ended.failure is None:
            outcome = "done" if job_queue.finish(db, job, self.name) else "lost"
        else:
            state = job_queue.give_back(db, job, self.name, ended.failure)
            outcome = "lost" if state is None else state.value
        _RUNS.labels(job.kind, outcome).inc()
        if outcome == JobState.PARKED:
            log.error("job_parked", job_id=job.id, job_kind=job.kind, attempts=job.attempt)

    def _failure_of(self, kind: JobKind, run: JobRun) -> str | None:
        try:
            kind.handler(run)
        except DomainError as error:
            log.warning("job_failed", code=error.code, attempt=run.attempt)
            return f"{error.code}: {error}"
        except Exception as error:
            log.warning("job_failed", attempt=run.attempt, exc_info=error)
            return "".join(traceback.format_exception(error))
        return None

    def _work(self) -> None:
        ended: _Ended | None = None
        while True:
            with self._turnstile:
                seen = self._wakes
            stopping = self._stopping.is_set()
            try:
                if stopping:
                    if ended is not None:
                        with self._parts.database.connection() as db:
                            self._settle(db, ended)
                    return
                job = self._settle_and_claim(ended)
            except (DBAPIError, PoolTimeout) as error:
                # What ran is claimed again when its lease ends.
                log.warning("job_queue_unreachable", reason=str(error).splitlines()[0])
                job = None
            ended = None if job is None else self._execute(job)
            if ended is None and not stopping:
                with self._turnstile:
                    # Not if something was owed since we looked.
                    if self._wakes == seen and not self._stopping.is_set():
                        self._turnstile.wait(self._poll_s)

    def _wake(self) -> None:
        with self._turnstile:
            self._wakes += 1
            self._turnstile.notify_all()

    def _beat(self) -> None:
        pause_s = job_queue.LEASE.total_seconds() / 4
        while not self._stopping.wait(pause_s):
            try:
                with self._parts.database.connection() as db:
                    job_queue.beat(db, self.name)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("job_queue_unreachable", reason=str(error).splitlines()[0])
