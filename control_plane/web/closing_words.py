"""A closing as its page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from control_plane.end_of_day.comparing import Why
from control_plane.end_of_day.models import DayStatus
from control_plane.web.i18n import N_
from protocols.money import Money

if TYPE_CHECKING:
    from collections.abc import Sequence

    from control_plane.web.visits import Visit

WHY: Final[dict[str, str]] = {
    Why.OUTSIDE: N_("The ledger has it; the reader’s receipts of this day do not."),
    Why.UNDECIDED: N_("Nobody knows how it ended. The reader’s sum says that it was charged."),
    Why.ALONE: N_("The ledger has it, and its amount alone is the difference."),
    Why.UNEXPLAINED: N_("No single transaction explains this. Compare the reader’s receipts."),
}


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """One line of what does not agree."""

    text: str
    amount: Money
    count: int
    href: str = ""
    receipt_number: int | None = None


@dataclass(frozen=True, slots=True)
class ClosingRow:
    """One closing."""

    reader: str
    location: str
    closed_at: datetime
    reader_sum: Money
    reader_count: int
    ledger_sum: Money
    ledger_count: int
    is_right: bool
    differences: Sequence[DifferenceRow]


def closing(visit: Visit, row: Any) -> ClosingRow:  # of closings.days_of
    """As a row of the page."""
    return ClosingRow(
        reader=row.reader_name,
        location=row.location_name,
        closed_at=row.closed_at,
        reader_sum=Money(row.reader_minor, row.currency),
        reader_count=row.reader_count,
        ledger_sum=Money(row.ledger_minor, row.currency),
        ledger_count=row.ledger_count,
        is_right=row.status is DayStatus.MATCHES,
        differences=[_difference(visit, one, row.currency) for one in row.differences],
    )


def _difference(visit: Visit, one: dict[str, Any], currency: str) -> DifferenceRow:
    href = ""
    if one["transaction_id"]:
        href = f"/transactions/{one['transaction_id']}"
    elif one["session_id"]:
        href = f"/pos/{one['session_id']}"
    return DifferenceRow(
        text=visit.say(WHY[one["why"]]),
        amount=Money(one["minor"], currency),
        count=one["count"],
        href=href,
        receipt_number=one["receipt_number"],
    )
