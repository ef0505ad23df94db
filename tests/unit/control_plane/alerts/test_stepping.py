"""An alert waits before it opens, waits before it is resolved, and is counted when it comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from control_plane.alerts.stepping import AlertState, Patience, Reading, Standing, step

START = datetime(2026, 1, 5, tzinfo=UTC)
PATIENCE = Patience(wrong=timedelta(seconds=60), well=timedelta(seconds=30))


def after(*looks: tuple[int, Reading], standing: Standing | None = None) -> Standing | None:
    for second, reading in looks:
        standing = step(standing, reading, START + timedelta(seconds=second), PATIENCE)
    return standing


def state(*looks: tuple[int, Reading]) -> AlertState:
    standing = after(*looks)
    assert standing is not None
    return standing.state


def test_it_opens_only_after_it_was_wrong_for_long_enough() -> None:
    assert state((0, Reading.WRONG), (59, Reading.WRONG)) is AlertState.PENDING
    assert state((0, Reading.WRONG), (60, Reading.WRONG)) is AlertState.OPEN
    assert after((0, Reading.WELL), (60, Reading.BETWEEN)) is None


def test_a_short_trouble_opens_nothing() -> None:
    standing = after(
        (0, Reading.WRONG), (30, Reading.WELL), (40, Reading.WRONG), (70, Reading.WRONG)
    )
    assert standing is not None
    assert (standing.state, standing.raised) == (AlertState.PENDING, 0)


def test_between_the_limits_nothing_opens_and_nothing_is_resolved() -> None:
    assert state((0, Reading.WRONG), (90, Reading.BETWEEN)) is AlertState.PENDING
    wrong = ((0, Reading.WRONG), (60, Reading.WRONG))
    assert (
        state(*wrong, (70, Reading.WELL), (90, Reading.BETWEEN), (105, Reading.WELL))
        is AlertState.OPEN
    )
    assert state(*wrong, (70, Reading.WELL), (100, Reading.WELL)) is AlertState.RESOLVED


def test_what_comes_back_is_counted_and_what_was_acknowledged_stays_so() -> None:
    wrong, well = Reading.WRONG, Reading.WELL
    once = ((0, wrong), (60, wrong), (70, well), (100, well))
    twice = after(*once, (200, wrong), (260, wrong))
    assert twice is not None
    assert (twice.state, twice.raised) == (AlertState.OPEN, 2)
    seen = Standing(AlertState.ACKNOWLEDGED, START, raised=1)
    assert after((500, wrong), standing=seen) == seen
