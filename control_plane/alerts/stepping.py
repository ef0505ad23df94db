"""How an alert goes on from one look to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class AlertState(StrEnum):
    """Where an alert is."""

    PENDING = "pending"
    """Wrong, but not for long enough."""
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Reading(StrEnum):
    """What a look says. Between the two limits nothing changes by itself."""

    WRONG = "wrong"
    BETWEEN = "between"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long it must be wrong before it is open, and well before it is resolved."""

    wrong: timedelta
    well: timedelta


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert as it stands."""

    state: AlertState
    changed_at: datetime
    well_since: datetime | None = None
    raised: int = 0


def step(
    before: Standing | None, reading: Reading, now: datetime, patience: Patience
) -> Standing | None:
    """As it stands after this look; None for what never was wrong."""
    if before is None or before.state is AlertState.RESOLVED:
        if reading is not Reading.WRONG:
            return before
        raised = before.raised if before is not None else 0
        before = Standing(AlertState.PENDING, now, raised=raised)
    if before.state is AlertState.PENDING:
        if reading is Reading.WELL:
            return Standing(AlertState.RESOLVED, now, raised=before.raised)
        if reading is Reading.WRONG and now - before.changed_at >= patience.wrong:
            return Standing(AlertState.OPEN, now, raised=before.raised + 1)
        return before
    if reading is not Reading.WELL:
        return Standing(before.state, before.changed_at, None, before.raised)
    since = before.well_since or now
    if now - since >= patience.well:
        return Standing(AlertState.RESOLVED, now, raised=before.raised)
    return Standing(before.state, before.changed_at, since, before.raised)
