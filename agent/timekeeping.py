"""The server's time as this device knows it; a till's own clock is not trusted, and never set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.version import BUILT_AFTER

if TYPE_CHECKING:
    from agent.clock import Clock

#: `uncertainty_ms` of a clock that was never compared with the server's.
NEVER_COMPARED: Final = -1

#: A till's crystal: 100 ppm, 8.6 s a day.
_DRIFT: Final = 100e-6


@dataclass(frozen=True, slots=True)
class _Comparison:
    at: float
    server: float
    uncertainty: float

    def uncertainty_at(self, elapsed: float) -> float:
        return self.uncertainty + abs(elapsed - self.at) * _DRIFT


class DeviceTime:
    """Tells the server's time once it was compared with it, else the wall clock, but never before the agent was made.

    May be read from any thread.
    """

    def __init__(self, clock: Clock, *, floor: datetime = BUILT_AFTER) -> None:
        self._clock = clock
        self._floor = floor
        self._comparison: _Comparison | None = None

    def now(self) -> datetime:
        """The best guess of the time in UTC."""
        known = self._comparison
        if known is None:
            return max(self._clock.now(), self._floor)
        seconds = known.server + (self._clock.elapsed() - known.at)
        return datetime.fromtimestamp(seconds, UTC)

    def elapsed_ms(self) -> int:
        """CLOCK_BOOTTIME in milliseconds."""
        return int(self._clock.elapsed() * 1000)

    def uncertainty_ms(self) -> int:
        """How far `now` may be off, in milliseconds; `NEVER_COMPARED` before the first comparison."""
        known = self._comparison
        if known is None:
            return NEVER_COMPARED
        return round(known.uncertainty_at(self._clock.elapsed()) * 1000)

    def offset_ms(self) -> int | None:
        """Server's time minus the machine's wall clock; `None` before the first comparison."""
        if self._comparison is None:
            return None
        return round((self.now() - self._clock.now()) / timedelta(milliseconds=1))

    def is_wall_clock_wrong(self) -> bool:
        """True when the wall clock shows a time before the agent was made: nothing can be checked against it."""
        return self._clock.now() < self._floor

    def learn(
        self, server_ms: int, *, asked_at: float, answered_at: float, coarse_s: float = 0.0
    ) -> None:
        """Take an answer of the server: its Unix milliseconds, and `elapsed()` when it was asked and answered.

        The clock was read somewhere between the two; `coarse_s` is the grain of what was read (1 s for an HTTP date).
        Kept only when it is better than what is known.
        """
        uncertainty = (answered_at - asked_at) / 2 + coarse_s
        known = self._comparison
        if known is not None and known.uncertainty_at(answered_at) < uncertainty:
            return
        self._comparison = _Comparison((asked_at + answered_at) / 2, server_ms / 1000, uncertainty)


def rfc3339(moment: datetime) -> str:
    """`2026-05-04T08:00:00.123Z`"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
