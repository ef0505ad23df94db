"""Waiting ends with the value, or says what it last saw."""

from __future__ import annotations

import pytest

from tests.support.waiting import DeadlinePassed, eventually, eventually_async


def test_waiting_returns_the_first_truthy_answer() -> None:
    answers = iter([0, None, "", "here", "later"])

    assert eventually(lambda: next(answers)) == "here"


def test_waiting_gives_up_and_tells_what_it_last_saw() -> None:
    with pytest.raises(DeadlinePassed, match=r"not within 0\.02 s; last seen: 0"):
        eventually(lambda: 0, deadline_s=0.02)


def test_a_failing_assertion_is_not_yet_and_becomes_the_cause() -> None:
    def is_never_so() -> bool:
        raise AssertionError("three are missing")

    with pytest.raises(DeadlinePassed) as passed:
        eventually(is_never_so, deadline_s=0.02)

    assert str(passed.value.__cause__) == "three are missing"


def test_another_exception_ends_the_wait_at_once() -> None:
    def breaks() -> bool:
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        eventually(breaks, deadline_s=60)


async def test_async_waiting_takes_coroutine_functions() -> None:
    answers = iter([0, 0, 7])

    async def look() -> int:
        return next(answers)

    assert await eventually_async(look) == 7


async def test_async_waiting_gives_up_too() -> None:
    async def look() -> None:
        return None

    with pytest.raises(DeadlinePassed, match="last seen: None"):
        await eventually_async(look, deadline_s=0.02)
