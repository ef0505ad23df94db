"""A card is good to the end of the month that is written on it."""

from __future__ import annotations

from datetime import date

import pytest

from control_plane.customers.expiry import Expiry, expiry_of


@pytest.mark.parametrize(
    ("month", "year", "today", "expiry"),
    [
        (11, 2026, date(2026, 11, 30), Expiry.THIS_MONTH),
        (11, 2026, date(2026, 12, 1), Expiry.EXPIRED),
        (1, 2027, date(2026, 12, 1), Expiry.NEXT_MONTH),
        (2, 2027, date(2026, 12, 31), Expiry.LATER),
        (12, 2025, date(2026, 1, 1), Expiry.EXPIRED),
        (None, None, date(2026, 1, 1), Expiry.NONE),
    ],
)
def test_a_card_counts_to_the_end_of_its_month(
    month: int | None, year: int | None, today: date, expiry: Expiry
) -> None:
    assert expiry_of(month, year, today) is expiry


def test_only_this_month_and_the_next_are_soon() -> None:
    assert {one for one in Expiry if one.is_soon} == {Expiry.THIS_MONTH, Expiry.NEXT_MONTH}
