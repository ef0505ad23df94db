"""An event loop whose time jumps to the next timer as soon as there is nothing to do.

Hours of protocol time-outs pass in milliseconds, in the same order every time. Only for code that does no real I/O.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

_START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
#: Longer than any test wants; a test that gets here waits for something that never comes.
_END_OF_TIME_S = 7 * 86_400.0


class NothingWillHappen(AssertionError):
    """Every task waits for another one, or virtual time ran out."""


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None or self._loop.jumped_s > _END_OF_TIME_S:
                raise NothingWillHappen(f"after {self._loop.jumped_s:.1f} virtual seconds")
            self._loop.jumped_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0; `time()` moves only by the length of the naps it skipped."""

    def __init__(self) -> None:
        self.jumped_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.jumped_s


class VirtualClock:
    """An `agent.clock.Clock` on the time of a virtual loop."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._loop.time())

    def elapsed(self) -> float:
        return self._loop.time()


def run_virtually(
    main: Coroutine[Any, Any, T],
) -> T:  # what a coroutine yields to its loop is its own business
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_clock() -> VirtualClock:
    """The clock of the running virtual loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return VirtualClock(loop)
