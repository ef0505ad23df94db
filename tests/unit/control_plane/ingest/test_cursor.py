"""The record by which duplicates are known, against a plain set."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.ingest.cursor import MAX_RANGES, Cursor, Taken
from protocols.cloud.envelope import GENESIS

orders = st.lists(st.integers(1, 40), max_size=120)


def digest(seq: int) -> str:
    """The hash of message ``seq`` of an unbroken chain."""
    return f"{seq:032x}" if seq else GENESIS


def take(cursor: Cursor, seq: int) -> Taken:
    return cursor.take(seq, digest(seq - 1), digest(seq))


def stored_again(cursor: Cursor) -> Cursor:
    return Cursor(cursor.upto, cursor.last_hash, cursor.beyond())


@given(orders)
def test_each_message_is_new_once_in_whatever_order_they_come(order: list[int]) -> None:
    cursor, seen = Cursor(), set[int]()

    for seq in order:
        assert (take(cursor, seq) is Taken.NEW) == (seq not in seen)
        seen.add(seq)


@given(orders)
def test_what_is_stored_knows_the_same(order: list[int]) -> None:
    cursor = Cursor()
    for seq in order:
        take(cursor, seq)

    again = stored_again(cursor)

    assert [take(again, seq) for seq in order] == [Taken.DUPLICATE] * len(order)
    assert (again.upto, again.beyond()) == (cursor.upto, cursor.beyond())


@given(orders)
def test_the_prefix_ends_before_the_first_that_is_missing(order: list[int]) -> None:
    cursor = Cursor()
    for seq in order:
        take(cursor, seq)

    assert cursor.upto == next(seq for seq in range(42) if seq + 1 not in order)
    assert cursor.has_gap == (len(set(order)) > cursor.upto)


@given(orders)
def test_exactly_what_is_missing_is_asked_for(order: list[int]) -> None:
    cursor = Cursor()
    for seq in order:
        take(cursor, seq)

    asked = {seq for first, last in cursor.missing() for seq in range(first, last + 1)}

    missing = sorted(set(range(1, max(order, default=0))) - set(order))
    assert asked <= set(missing)
    assert not missing or missing[0] in asked


@given(st.permutations(range(1, 30)))
def test_an_unbroken_chain_is_never_called_broken(order: list[int]) -> None:
    cursor = Cursor()
    for seq in order:
        take(cursor, seq)
        cursor = stored_again(cursor)

    assert cursor.broken_at == []
    assert (cursor.upto, cursor.last_hash) == (29, digest(29))


@given(st.permutations(range(1, 12)), st.integers(2, 11))
def test_a_message_that_names_another_one_is_found_in_whatever_order_they_come(
    order: list[int], forged: int
) -> None:
    cursor = Cursor()
    for seq in order:
        prev = "f" * 32 if seq == forged else digest(seq - 1)
        cursor.take(seq, prev, digest(seq))

    assert forged in cursor.broken_at


def test_a_device_with_too_many_gaps_is_told_to_begin_with_the_oldest() -> None:
    cursor = Cursor()
    for seq in range(2, 2 + 2 * MAX_RANGES, 2):
        assert take(cursor, seq) is Taken.NEW

    assert take(cursor, 10_000) is Taken.NOT_NOW
    assert take(cursor, 1) is Taken.NEW
    assert take(cursor, 10_000) is Taken.NEW


def test_a_far_jump_costs_no_room_and_asks_for_little() -> None:
    cursor = Cursor()

    assert take(cursor, 2**53 - 1) is Taken.NEW

    assert len(cursor.beyond()) == 1
    assert cursor.missing() == [(1, 500)]


@pytest.mark.parametrize("seed", range(3))
def test_a_long_stream_in_disorder_ends_without_a_gap(seed: int) -> None:
    order = list(range(1, 2_001))
    shuffled = random.Random(seed)
    for start in range(0, 2_000, 100):
        block = order[start : start + 100]
        shuffled.shuffle(block)
        order[start : start + 100] = block
    cursor = Cursor()

    taken = [take(cursor, seq) for seq in order + order]

    assert taken == [Taken.NEW] * 2_000 + [Taken.DUPLICATE] * 2_000
    assert (cursor.upto, cursor.has_gap, cursor.broken_at) == (2_000, False, [])
