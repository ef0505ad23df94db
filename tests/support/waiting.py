"""Waiting for something to become true, with a deadline. The only place in tests that sleeps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01


class DeadlinePassed(AssertionError):
    """What a test waited for did not come in time."""


def eventually(probe: Callable[[], T], deadline_s: float = 5.0, *, poll_s: float = POLL_S) -> T:
    """Call `probe` until it returns something truthy, and return that. A dear probe asks for a longer `poll_s`.

    An `AssertionError` of the probe counts as "not yet"; the last one is the cause of `DeadlinePassed`.
    """
    deadline = _Deadline(deadline_s)
    while True:
        try:
            seen = probe()
        except AssertionError as failure:
            deadline.check(None, failure)
        else:
            if seen:
                return seen
            deadline.check(seen, None)
        time.sleep(poll_s)


async def eventually_async(probe: Callable[[], Awaitable[T]], deadline_s: float = 5.0) -> T:
    """Like `eventually`, for a coroutine function; the event loop goes on meanwhile."""
    deadline = _Deadline(deadline_s)
    while True:
        try:
            seen = await probe()
        except AssertionError as failure:
            deadline.check(None, failure)
        else:
            if seen:
                return seen
            deadline.check(seen, None)
        await asyncio.sleep(POLL_S)


class _Deadline:
    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._end = time.monotonic() + after_s

    def check(self, seen: object, failure: AssertionError | None) -> None:
        if time.monotonic() >= self._end:
            raise DeadlinePassed(f"not within {self._after_s} s; last seen: {seen!r}") from failure
