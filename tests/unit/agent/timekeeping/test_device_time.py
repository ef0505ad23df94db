"""The server's time as the device knows it."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.timekeeping import NEVER_COMPARED, DeviceTime, rfc3339
from agent.version import BUILT_AFTER, VERSION
from tests.fakes.device_clock import START, FakeDeviceClock

ROOT = Path(__file__).parents[4]


@pytest.fixture
def clock() -> FakeDeviceClock:
    return FakeDeviceClock()


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_before_any_comparison_the_wall_clock_is_believed_and_its_error_unknown(
    clock: FakeDeviceClock,
) -> None:
    time = DeviceTime(clock)

    assert time.now() == START
    assert time.uncertainty_ms() == NEVER_COMPARED
    assert time.offset_ms() is None


def test_a_clock_from_before_the_agent_was_made_is_not_believed(clock: FakeDeviceClock) -> None:
    clock.set_wall(datetime(1970, 1, 1, tzinfo=UTC))
    time = DeviceTime(clock)

    assert time.now() == BUILT_AFTER
    assert time.is_wall_clock_wrong()


def test_an_answer_of_the_server_corrects_the_time_however_wrong_the_clock_is(
    clock: FakeDeviceClock,
) -> None:
    clock.set_wall(datetime(1970, 1, 1, tzinfo=UTC))
    time = DeviceTime(clock)
    asked = clock.elapsed()
    clock.advance(0.2)

    time.learn(_ms(START), asked_at=asked, answered_at=clock.elapsed())

    assert time.now() == START + timedelta(seconds=0.1)
    assert time.uncertainty_ms() == 100


def test_a_jump_of_the_wall_clock_changes_nothing_once_the_server_was_asked(
    clock: FakeDeviceClock,
) -> None:
    time = DeviceTime(clock)
    time.learn(_ms(START), asked_at=clock.elapsed(), answered_at=clock.elapsed())

    clock.set_wall(START - timedelta(hours=1))
    clock.advance(10)

    assert time.now() == START + timedelta(seconds=10)
    assert time.offset_ms() == 3_600_000


def test_of_several_answers_the_one_with_the_shortest_way_is_kept(clock: FakeDeviceClock) -> None:
    time = DeviceTime(clock)
    asked = clock.elapsed()
    time.learn(_ms(START), asked_at=asked, answered_at=asked + 0.020)

    time.learn(_ms(START) + 900, asked_at=asked, answered_at=asked + 2.0)

    assert time.uncertainty_ms() == 10
    assert time.now() == START - timedelta(seconds=0.010)


def test_an_old_comparison_is_given_up_for_a_fresh_one_that_is_better_by_now(
    clock: FakeDeviceClock,
) -> None:
    time = DeviceTime(clock)
    time.learn(_ms(START), asked_at=clock.elapsed(), answered_at=clock.elapsed() + 0.02)
    clock.advance(86_400)

    before = time.uncertainty_ms()
    time.learn(
        _ms(START + timedelta(days=1, seconds=3)),
        asked_at=clock.elapsed(),
        answered_at=clock.elapsed() + 0.2,
    )

    assert before == 8_650
    assert time.uncertainty_ms() == 100
    assert time.now() == START + timedelta(days=1, seconds=2.9)


def test_a_date_of_whole_seconds_counts_as_one_second_off(clock: FakeDeviceClock) -> None:
    time = DeviceTime(clock)

    time.learn(_ms(START), asked_at=clock.elapsed(), answered_at=clock.elapsed(), coarse_s=1.0)

    assert time.uncertainty_ms() == 1000


def test_times_are_written_in_utc_with_milliseconds() -> None:
    assert rfc3339(datetime(2027, 3, 1, 8, 0, 0, 123_456, tzinfo=UTC)) == "2027-03-01T08:00:00.123Z"


def test_the_agent_knows_its_own_version_and_was_not_made_in_the_future() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION
    assert datetime.now(UTC) >= BUILT_AFTER
