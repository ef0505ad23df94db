"""What time it is, for people (`now`) and for deadlines (`elapsed`)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final, Protocol

#: A machine that was suspended wakes with its event-loop timers behind: sleepers look at `elapsed` this often.
LONGEST_NAP_S: Final = 5.0


class Clock(Protocol):
    """Both times. Deadlines and leases use only `elapsed`: nobody can set it, and it runs on during suspend."""

    def now(self) -> datetime:
        """The wall clock in UTC; it may jump."""
        ...

    def elapsed(self) -> float:
        """Seconds since this machine started, suspended or not."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def elapsed(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
