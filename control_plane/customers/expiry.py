"""How long a card is still good, by the date on it: it is valid to the end of that month."""

from __future__ import annotations

from datetime import date
from enum import StrEnum


class Expiry(StrEnum):
    """When a card stops working."""

    NONE = "none"
    """It has no date: a bank account."""
    LATER = "later"
    NEXT_MONTH = "next_month"
    THIS_MONTH = "this_month"
    EXPIRED = "expired"

    @property
    def is_soon(self) -> bool:
        """Whether to ask for a new card now."""
        return self in {Expiry.NEXT_MONTH, Expiry.THIS_MONTH}


def month_of(day: date) -> int:
    """Months since year 0, to compare months by."""
    return day.year * 12 + day.month - 1


def expiry_of(exp_month: int | None, exp_year: int | None, today: date) -> Expiry:
    """Where a card's date stands today."""
    if exp_month is None or exp_year is None:
        return Expiry.NONE
    left = exp_year * 12 + exp_month - 1 - month_of(today)
    if left < 0:
        return Expiry.EXPIRED
    return {0: Expiry.THIS_MONTH, 1: Expiry.NEXT_MONTH}.get(left, Expiry.LATER)
