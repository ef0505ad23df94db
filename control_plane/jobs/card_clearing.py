"""Takes, takes back and gives back what encrypting readers sold, by the clock."""

from __future__ import annotations

import threading
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.card_present.clearing import Clearing
from control_plane.parts import Parts

log = structlog.get_logger()

_PAUSE_S: Final = 1.0


class CardClearing:
    """A thread of each worker process. Two of them are harmless: each call has one key for ever."""

    def __init__(self, parts: Parts, *, pause_s: float = _PAUSE_S) -> None:
        self._parts = parts
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card-clearing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            try:
                self._parts.get(Clearing).settle_due()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("card_clearing_late", reason=str(error).splitlines()[0])
            except Exception:
                # One that cannot be cleared must not hide all others for ever.
                log.exception("card_clearing_failed")
