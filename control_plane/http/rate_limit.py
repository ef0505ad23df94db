"""How often one caller may ask, counted in this process: with N replicas it is N times as often."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CALLERS = 10_000


class RateLimit:
    """A bucket of tokens for each caller, refilled steadily; a burst of ten seconds' worth is fine."""

    def __init__(self, per_minute: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._size = max(1.0, self._rate * 10)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, who: str) -> int:
        """0 when the request may pass, and is counted; else in how many seconds it may."""
        now = self._monotonic()
        with self._lock:
            tokens, at = self._buckets.pop(who, (self._size, now))
            tokens = min(self._size, tokens + (now - at) * self._rate)
            passes = tokens >= 1
            self._buckets[who] = (tokens - 1 if passes else tokens, now)
            if len(self._buckets) > _MOST_CALLERS:
                self._buckets.popitem(last=False)
        return 0 if passes else max(1, math.ceil((1 - tokens) / self._rate))
