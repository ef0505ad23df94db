"""The clock of tests moves when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.clock import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_time_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(NOON)

    assert (clock.now(), clock.now()) == (NOON, NOON)
    assert clock.advance(1.5) == NOON + timedelta(seconds=1.5)
    assert clock.advance(timedelta(hours=2)) == NOON + timedelta(hours=2, seconds=1.5)


def test_time_does_not_go_back() -> None:
    clock = FakeClock(NOON)

    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)

    assert clock.now() == NOON


def test_a_time_without_its_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="not in UTC"):
        FakeClock(NOON.replace(tzinfo=None))
