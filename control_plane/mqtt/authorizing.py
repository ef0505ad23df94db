"""Cards that wait for their issuer: a few threads and a short queue beside the gateway, which never waits itself."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control_plane.card_present import response_codes
from control_plane.card_present.service import unavailable
from protocols.cloud.commands import AuthorizationAnswer
from protocols.cloud.events import AuthorizationAsk

log = structlog.get_logger()

#: Processors answer within seconds: so many at once are more than any of our cells has.
THREADS: Final = 16
#: Whoever is further behind would not get an answer in time.
WAITING: Final = 64

#: Asks the processor; None when another is asking about the same card and will tell.
Authorize = Callable[[str, AuthorizationAsk], AuthorizationAnswer | None]
#: Sends an answer to a device.
Tell = Callable[[str, AuthorizationAnswer], None]


class Authorizing:
    """Takes asks, and tells their answers when they are there."""

    def __init__(
        self, authorize: Authorize, tell: Tell, *, threads: int = THREADS, waiting: int = WAITING
    ) -> None:
        self._authorize = authorize
        self._tell = tell
        self._asks: queue.Queue[tuple[str, AuthorizationAsk] | None] = queue.Queue(waiting)
        self._under_way: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"authorizing-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End without waiting for processors: what they still approve is found and taken back by the clock."""
        for _ in self._threads:
            try:
                self._asks.put_nowait(None)
            except queue.Full:
                return

    def take(self, device_id: str, ask: AuthorizationAsk) -> None:
        """Queue an ask. One that is under way here already is left alone; when the queue is full, nobody is asked."""
        key = (device_id, ask.tap_id)
        with self._lock:
            if key in self._under_way:
                return
            self._under_way.add(key)
        try:
            self._asks.put_nowait((device_id, ask))
        except queue.Full:
            with self._lock:
                self._under_way.discard(key)
            log.warning("authorizing_overloaded", device_id=device_id, session_id=ask.session_id)
            self._tell(device_id, unavailable(ask, response_codes.OVERLOADED))

    def _work(self) -> None:
        while (one := self._asks.get()) is not None:
            device_id, ask = one
            try:
                answer = self._authorize(device_id, ask)
                if answer is not None:
                    self._tell(device_id, answer)
            except SQLAlchemyError as error:
                # The device asks again; without its row nothing was asked, with it the clock takes it back.
                log.warning("authorizing_without_database", reason=str(error).splitlines()[0])
            except Exception:
                # Nothing may end this thread: the next card would wait for ever.
                log.exception("authorizing_failed", device_id=device_id)
            finally:
                with self._lock:
                    self._under_way.discard((device_id, ask.tap_id))
