"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# A Monday, early, far from any month, year or daylight-saving boundary.
START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


class FakeClock:
    """Tells the time it was given; only `advance` moves it, and only forwards."""

    def __init__(self, now: datetime = START) -> None:
        if now.utcoffset() != timedelta(0):
            raise ValueError(f"{now!r} is not in UTC")
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta | float) -> datetime:
        """Move on by a duration or a number of seconds; returns the new time."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta(0):
            raise ValueError(f"time cannot go back by {-step}")
        self._now += step
        return self._now
