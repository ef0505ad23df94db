"""Reads again, by the clock, payments and refunds that wait for their truth; webhooks are only faster."""

from __future__ import annotations

import threading
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.parts import Parts
from control_plane.virtual_terminal.desk import Desk

log = structlog.get_logger()

_PAUSE_S: Final = 2.0


class PaymentsSweep:
    """A thread of each worker process. Each payment has its own growing interval, so most turns find nothing.

    Two processes that look at the same payment are harmless: what is read settles it once.
    """

    def __init__(self, parts: Parts, *, pause_s: float = _PAUSE_S) -> None:
        self._parts = parts
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payments-sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            try:
                self._parts.get(Desk).settle_due()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("payments_sweep_late", reason=str(error).splitlines()[0])
            except Exception:
                # One payment that cannot be looked at must not hide all others for ever.
                log.exception("payments_sweep_failed")
