"""A reader's totals beside the ledger's rows of the same time. Pure.

A reader tells counts and sums, a scheme at a time, and the first and last receipt of its day; never its payments. So a
difference is looked for in three ways: rows whose receipt lies outside of what the reader counts, sessions that nobody
has decided yet, and single rows whose amount alone explains it. What none of them explains stays as a plain sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Why(StrEnum):
    """How a transaction may explain a difference."""

    OUTSIDE = "outside"
    """The reader's receipts of this day do not reach it: it counts it on another day, or not at all."""
    UNDECIDED = "undecided"
    """Nobody knows how it ended; the reader's totals suggest that it was charged."""
    ALONE = "alone"
    """Its amount alone is the difference."""
    UNEXPLAINED = "unexplained"
    """No single transaction explains what is left."""


@dataclass(frozen=True, slots=True)
class Booked:
    """A row of the ledger: ``minor`` is negative for money that went back."""

    transaction_id: str
    minor: int
    receipt_number: int | None


@dataclass(frozen=True, slots=True)
class Open:
    """A session of that time that is not decided."""

    session_id: str
    minor: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of the list. ``minor`` is what the reader has more than the ledger."""

    why: Why
    minor: int
    count: int
    transaction_id: str = ""
    session_id: str = ""
    receipt_number: int | None = None

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Told:
    """The reader's totals."""

    count: int
    minor: int
    receipt_from: int | None = None
    receipt_to: int | None = None


def compare(told: Told, booked: Sequence[Booked], undecided: Sequence[Open]) -> list[Difference]:
    """Every difference; empty when reader and ledger agree."""
    count = told.count - len(booked)
    minor = told.minor - sum(one.minor for one in booked)
    found: list[Difference] = []
    if (count, minor) == (0, 0):
        return found
    for one in _outside(told, booked):
        found.append(
            Difference(
                Why.OUTSIDE, -one.minor, -1, one.transaction_id, receipt_number=one.receipt_number
            )
        )
        count, minor = count + 1, minor + one.minor
    for session in undecided:
        if count > 0 and _same_way(minor, session.minor):
            found.append(Difference(Why.UNDECIDED, session.minor, 1, session_id=session.session_id))
            count, minor = count - 1, minor - session.minor
    if count == -1:
        named = {one.transaction_id for one in found}
        alone = [one for one in booked if one.minor == -minor and one.transaction_id not in named]
        if len(alone) == 1:
            (one,) = alone
            found.append(
                Difference(
                    Why.ALONE, -one.minor, -1, one.transaction_id, receipt_number=one.receipt_number
                )
            )
            count, minor = count + 1, minor + one.minor
    if (count, minor) != (0, 0):
        found.append(Difference(Why.UNEXPLAINED, minor, count))
    return found


def _outside(told: Told, booked: Sequence[Booked]) -> list[Booked]:
    first, last = told.receipt_from, told.receipt_to
    if first is None or last is None or not 0 < first <= last:
        # None told, or numbers that went round.
        return []
    return [
        one
        for one in booked
        if one.receipt_number is not None and not first <= one.receipt_number <= last
    ]


def _same_way(minor: int, part: int) -> bool:
    return minor * part > 0 and abs(part) <= abs(minor)
