"""Brings sales on the processor's readers to their end, and follows how the readers are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.jobs.catalog import JobRun, job
from control_plane.parts import Parts
from control_plane.virtual_terminal import cloud_readers, reader_refunds
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.errors import NotConnected
from control_plane.virtual_terminal.processor import ProcessorError
from control_plane.virtual_terminal.reader_desk import ReaderDesk

log = structlog.get_logger()

_PAUSE_S: Final = 0.5
#: Sales that are looked at at the same time; each waits for the processor most of its time.
_THREADS: Final = 8


@job("stripe.readers", every=timedelta(seconds=20))
def follow_readers(run: JobRun) -> None:
    """Look at the readers of each account; the processor tells nobody when one goes offline."""
    fleet = run.parts.get(ReaderFleet)
    with run.parts.database.reading_connection() as db:
        merchants = cloud_readers.merchants_with_readers(db)
    for merchant_id in merchants:
        try:
            fleet.sync(merchant_id)
        except (ProcessorError, NotConnected) as failure:
            log.warning("readers_not_seen", merchant_id=merchant_id, reason=str(failure))


class ReaderWatch:
    """Threads of each worker process. Several are harmless: a sale or refund is leased before anybody takes a step."""

    def __init__(self, parts: Parts, desk: ReaderDesk, *, pause_s: float = _PAUSE_S) -> None:
        self._parts = parts
        self._desk = desk
        self._office = desk.office
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader-watch")
        self._thread = threading.Thread(target=self._run, name="reader-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)
        # What is under way goes on when its lease ends, wherever somebody looks next.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            try:
                sales = self._desk.due(limit=_THREADS)
                refunds = reader_refunds.due(self._office, limit=_THREADS)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("reader_watch_late", reason=str(error).splitlines()[0])
                continue
            for attempt_id in sales:
                self._begin(attempt_id, partial(self._desk.look, attempt_id))
            for merchant_id, refund_id in refunds:
                self._begin(
                    refund_id, partial(reader_refunds.look, self._office, merchant_id, refund_id)
                )

    def _begin(self, thing: str, look: Callable[[], None]) -> None:
        with self._lock:
            if thing in self._busy:
                return
            self._busy.add(thing)
        self._pool.submit(self._look, thing, look)

    def _look(self, thing: str, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:
            # The lease ends by itself; then it is tried again.
            log.warning("reader_look_failed", thing=thing, exc_info=error)
        finally:
            with self._lock:
                self._busy.discard(thing)
