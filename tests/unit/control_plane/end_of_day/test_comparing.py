"""What explains that a reader's totals are not the ledger's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.end_of_day.closings import last_due
from control_plane.end_of_day.comparing import Booked, Open, Told, Why, compare

ROWS = [Booked("tx_1", 1000, 11), Booked("tx_2", 250, 12), Booked("tx_3", -100, 13)]


def whys(told: Told, booked: list[Booked], undecided: list[Open]) -> list[tuple[str, int, str]]:
    return [
        (one.why.value, one.minor, one.transaction_id or one.session_id)
        for one in compare(told, booked, undecided)
    ]


def test_what_agrees_has_no_difference() -> None:
    assert compare(Told(3, 1150, 11, 13), ROWS, [Open("ts_9", 500)]) == []


def test_a_receipt_that_the_reader_does_not_count_is_named() -> None:
    late = Booked("tx_4", 700, 14)

    assert whys(Told(3, 1150, 11, 13), [*ROWS, late], []) == [("outside", -700, "tx_4")]


def test_a_payment_that_nobody_decided_explains_what_the_reader_has_more() -> None:
    assert whys(Told(4, 1650, 11, 14), ROWS, [Open("ts_9", 500)]) == [("undecided", 500, "ts_9")]


def test_an_undecided_payment_is_not_named_when_the_reader_has_less() -> None:
    assert whys(Told(2, 900, None, None), ROWS, [Open("ts_9", 500)]) == [("alone", -250, "tx_2")]


def test_two_rows_of_the_same_amount_are_not_guessed_between() -> None:
    rows = [*ROWS, Booked("tx_4", 250, None)]

    assert whys(Told(3, 1150), rows, []) == [("unexplained", -250, "")]


def test_what_nothing_explains_stays_as_a_sum() -> None:
    assert whys(Told(5, 9999, 11, 13), ROWS, []) == [("unexplained", 8849, "")]


@given(
    st.integers(0, 9),
    st.integers(-5000, 5000),
    st.lists(st.tuples(st.integers(-900, 900), st.none() | st.integers(1, 40)), max_size=6),
    st.lists(st.integers(1, 900), max_size=3),
    st.none() | st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_the_lines_add_up_to_the_difference(
    count: int,
    minor: int,
    rows: list[tuple[int, int | None]],
    waiting: list[int],
    receipts: tuple[int, int] | None,
) -> None:
    booked = [Booked(f"tx_{at}", one, receipt) for at, (one, receipt) in enumerate(rows)]
    undecided = [Open(f"ts_{at}", one) for at, one in enumerate(waiting)]
    told = Told(count, minor, *(receipts or (None, None)))

    lines = compare(told, booked, undecided)

    assert sum(one.minor for one in lines) == minor - sum(one.minor for one in booked)
    assert sum(one.count for one in lines) == count - len(booked)
    named = [one.transaction_id for one in lines if one.transaction_id]
    assert len(named) == len(set(named))
    assert all(one.why is not Why.UNEXPLAINED for one in lines[:-1])


@pytest.mark.parametrize(
    ("now", "zone", "at", "due"),
    [
        ((2026, 5, 4, 2, 0), "Europe/Paris", "03:30", (2026, 5, 4, 1, 30)),
        ((2026, 5, 4, 1, 0), "Europe/Paris", "03:30", (2026, 5, 3, 1, 30)),
        ((2026, 11, 24, 5, 0), "America/New_York", "23:00", (2026, 11, 24, 4, 0)),
    ],
)
def test_a_shop_closes_by_its_own_clock(
    now: tuple[int, ...], zone: str, at: str, due: tuple[int, ...]
) -> None:
    when = datetime(*now, tzinfo=UTC)  # type: ignore[misc, arg-type]  # five numbers

    assert last_due(when, zone, at) == datetime(*due, tzinfo=UTC)  # type: ignore[misc, arg-type]  # as above
