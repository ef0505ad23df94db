"""The sandbox's own time: runs with this machine's, and can be put forward."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SandboxClock:
    """Seconds since 1970 UTC. ``base`` is replaced in tests."""

    def __init__(self, base: Callable[[], float] = time.time) -> None:
        self._base = base
        self._ahead_s = 0.0
        self._held: float | None = None

    def now(self) -> float:
        """The present moment of the sandbox."""
        return self._base() + self._ahead_s if self._held is None else self._held

    def wall(self) -> int:
        """What this machine's clock says, for those who compare with their own."""
        return int(self._base())

    def put_forward(self, seconds: float) -> None:
        """Later by so many seconds; time never goes back."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._ahead_s += seconds

    @contextmanager
    def held_at(self, moment: float) -> Iterator[None]:
        """Inside, it is ``moment``: what was due then carries that time."""
        self._held = moment
        try:
            yield
        finally:
            self._held = None
