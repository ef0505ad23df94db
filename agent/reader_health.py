"""How one reader fares, against the limits of its profile. Pure: it is told what happened and says what to tell.

A limit is told when it is crossed, and again only after the reader had recovered; so a battery at its limit, or a loose
plug, is one line and not a flood. Limits that the profile leaves out are not watched.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from protocols.readers.protocol import (
    MONEY_COMMANDS,
    Finished,
    Noticed,
    Outcome,
    Purchase,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from firmware_profiles.profile import Health
    from protocols.readers.protocol import ReaderEvent

Severity = Literal["info", "warning", "error"]

#: Rates are of this many operations at most, and mean nothing for fewer than the least.
_OPERATIONS: Final = 100
_LEAST_OPERATIONS: Final = 20
_LEAST_PAYMENTS: Final = 10
_HOUR_S: Final = 3600.0
#: A value must come back by this much before its limit counts as not crossed.
_BACK_BY: Final = 2
_STAMP: Final = "%m%d%H%M%S"

#: What a reader tells of itself, and how bad that is.
_NOTICES: Final[Mapping[str, tuple[Severity, str]]] = {
    "tamper": (
        "error",
        "It says that it was opened or tampered with. Take it out of service and call its maker.",
    ),
    "clear_card_data": (
        "error",
        "It sends card data without encryption. They were thrown away; it takes no payments until its maker has put "
        "its keys in order.",
    ),
    "ksn_repeated": ("error", "It used a key number twice. Have its key replaced."),
    "battery_low": ("warning", "Its battery is low. Charge it."),
    "restarted": ("info", "It restarted."),
    "restart_soon": ("info", "It will restart soon."),
    "firmware_installed": ("info", "It installed its new software."),
    "firmware_failed": ("error", "It could not install its new software."),
    "firmware_current": ("info", "It has this software already."),
}


@dataclass(frozen=True, slots=True)
class Told:
    """Something to tell of a reader: `kind` is that of a DeviceEvent, without its `reader.`."""

    kind: str
    severity: Severity
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)


class ReaderHealth:
    """Watches one reader. Times are `Clock.elapsed()`."""

    def __init__(self, limits: Health) -> None:
        self._limits = limits
        self._crossed: set[str] = set()
        self._operations: deque[bool] = deque(maxlen=_OPERATIONS)
        """Whether each went wrong."""
        self._payments: deque[bool] = deque(maxlen=_OPERATIONS)
        """Whether each was declined."""
        self._losses: deque[float] = deque()
        self._heard_at: float | None = None
        self._busy_since: float | None = None
        self.measured: dict[str, str] = {}
        """What it said of itself last, by the names of `Finished.details`, and the rates in percent."""

    # --- what happened -----------------------------------------------------------------------------------------

    def happened(self, event: ReaderEvent, now: float) -> list[Told]:
        """The reader said something, or a command on it ended."""
        if isinstance(event, Noticed):
            return self._noticed(event)
        if not isinstance(event, Finished):
            return []
        if event.outcome is not Outcome.LOST:
            self._heard_at = now
        self._operations.append(event.outcome in {Outcome.LOST, Outcome.FAILED})
        if isinstance(event.command, Purchase) and event.outcome in {
            Outcome.APPROVED,
            Outcome.DECLINED,
        }:
            self._payments.append(event.outcome is Outcome.DECLINED)
        return [
            *self._measure(event.details),
            *self._rates(isinstance(event.command, MONEY_COMMANDS)),
        ]

    def lost(self, now: float) -> list[Told]:
        """The line to it broke."""
        self._losses.append(now)
        while self._losses[0] < now - _HOUR_S:
            self._losses.popleft()
        limit = self._limits.disconnects_per_hour_warn
        return list(
            self._judge(
                "unstable",
                len(self._losses) if limit else None,
                limit,
                None,
                "It was lost {value} times within an hour. Look at its cable, hub and power.",
            )
        )

    def looked_at(
        self, now: float, *, is_busy: bool, clock: tuple[str, float] | None, wall: datetime
    ) -> list[Told]:
        """Time passed. `clock`: what its own clock showed, as `MMDDHHMMSS`, and when; `wall` is local time now."""
        self._busy_since = (self._busy_since or now) if is_busy else None
        told: list[Told] = []
        if self._heard_at is not None:
            told += self._judge(
                "silent",
                int(now - self._heard_at),
                self._limits.silent_max_s,
                None,
                "It has not answered for {value} seconds. Look whether it is switched on and connected.",
            )
        if self._limits.busy_9c_max_s is not None:
            told += self._judge(
                "stuck_busy",
                int(now - self._busy_since) if self._busy_since is not None else 0,
                self._limits.busy_9c_max_s,
                None,
                "It has been busy for {value} seconds. Look at its display; switch it off and on if it does not move.",
            )
        if clock is not None and self._limits.clock_drift_s_warn is not None:
            told += self._judge(
                "clock_drift",
                _drift_s(clock[0], wall - timedelta(seconds=now - clock[1])),
                self._limits.clock_drift_s_warn,
                None,
                "Its clock is {value} seconds off. Its receipts carry the wrong time; set it.",
            )
        return told

    # --- judging -----------------------------------------------------------------------------------------------

    def _noticed(self, notice: Noticed) -> list[Told]:
        if notice.kind == "tamper" and self._limits.tamper == "ignored":
            return []
        severity, text = _NOTICES.get(notice.kind, ("warning", "It reports something of its own."))
        if notice.text:
            text = f"{text} ({notice.text})"
        return [Told(notice.kind, severity, text, notice.facts)]

    def _measure(self, details: Mapping[str, str]) -> Iterator[Told]:
        limits = self._limits
        for name in ("battery_percent", "external_power", "temperature_c", "voltage_mv", "tamper"):
            if name in details:
                self.measured[name] = details[name]
        if (battery := _number(details.get("battery_percent"))) is not None:
            yield from self._judge(
                "battery",
                -battery,
                None if limits.battery_warn_pct is None else -limits.battery_warn_pct,
                None if limits.battery_crit_pct is None else -limits.battery_crit_pct,
                "Its battery is at {value} percent. Charge it.",
            )
        if (degrees := _number(details.get("temperature_c"))) is not None:
            yield from self._judge(
                "hot",
                degrees,
                limits.temperature_c_warn,
                limits.temperature_c_crit,
                "It is {value} degrees Celsius warm. Give it air, or take it out of the sun.",
            )
        if details.get("tamper") == "yes" and "tamper" not in self._crossed:
            self._crossed.add("tamper")
            yield from self._noticed(Noticed("tamper"))

    def _rates(self, is_money: bool) -> Iterator[Told]:
        if len(self._operations) >= _LEAST_OPERATIONS:
            share = sum(self._operations) / len(self._operations)
            self.measured["error_rate"] = f"{share:.0%}"
            yield from self._judge(
                "errors",
                round(share * 100),
                _percent(self._limits.error_rate_warn),
                _percent(self._limits.error_rate_crit),
                "{value} percent of what it was asked went wrong lately. Look at its cable, then at its log.",
            )
        if is_money and len(self._payments) >= _LEAST_PAYMENTS:
            share = sum(self._payments) / len(self._payments)
            self.measured["decline_rate"] = f"{share:.0%}"
            yield from self._judge(
                "declines",
                round(share * 100),
                _percent(self._limits.decline_rate_warn),
                None,
                "{value} percent of its payments were declined lately, more than usual. Try a card that works "
                "elsewhere, and ask its bank.",
            )

    def _judge(
        self, kind: str, value: int | None, warn: int | None, crit: int | None, text: str
    ) -> Iterator[Told]:
        """The worst limit that is newly crossed, or that all is well again. Higher values are worse."""
        if value is None:
            return
        facts = {"value": str(abs(value))}
        words = text.format(value=abs(value))
        warned, alarmed = kind in self._crossed, f"{kind}!" in self._crossed
        if crit is not None and value >= crit:
            self._crossed |= {kind, f"{kind}!"}
            if not alarmed:
                yield Told(kind, "error", words, facts)
        elif warn is not None and value >= warn:
            self._crossed.add(kind)
            if not warned:
                yield Told(kind, "warning", words, facts)
        elif warned and (warn is None or value <= warn - _BACK_BY):
            self._crossed -= {kind, f"{kind}!"}
            yield Told(f"{kind}_over", "info", "It is back to normal.", facts)


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else round(float(text))
    except ValueError:
        return None


def _percent(share: float | None) -> int | None:
    return None if share is None else round(share * 100)


def _drift_s(stamp: str, wall: datetime) -> int:
    """Seconds between a reader's clock, which has no year, and local time."""
    wall = wall.replace(tzinfo=None)
    around = []
    for year in (wall.year - 1, wall.year, wall.year + 1):
        try:
            around.append(abs(datetime.strptime(f"{year}{stamp}", f"%Y{_STAMP}") - wall))  # noqa: DTZ007 (local)
        except ValueError:
            # The 29th of February, or no date at all.
            continue
    return int(min(around).total_seconds()) if around else 0
