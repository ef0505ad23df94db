"""The two clocks of a till: a wall clock that may be wrong or jump, and one that only runs on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# After the agent was made: a clock that can be true.
START = datetime(2027, 3, 1, 8, 0, tzinfo=UTC)


class FakeDeviceClock:
    """Implements `agent.clock.Clock`; both times move only by `advance`, the wall clock also by `set_wall`."""

    def __init__(self, wall: datetime = START, elapsed: float = 1_000.0) -> None:
        self._wall = wall
        self._elapsed = elapsed

    def now(self) -> datetime:
        return self._wall

    def elapsed(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let both clocks run."""
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        self._wall += timedelta(seconds=seconds)
        self._elapsed += seconds

    def set_wall(self, wall: datetime) -> None:
        """Somebody, or NTP, set the clock."""
        self._wall = wall
