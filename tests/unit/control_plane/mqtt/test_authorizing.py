"""Cards wait beside the gateway, and only so many."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from control_plane.card_present import response_codes
from control_plane.mqtt.authorizing import Authorizing
from protocols.cloud.commands import AuthorizationAnswer
from protocols.cloud.events import AuthorizationAsk
from tests.support.card_sessions import ask_for
from tests.support.waiting import eventually


class Desk:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[str] = []
        self.told: list[AuthorizationAnswer] = []
        self.trouble: Exception | None = None

    def authorize(self, device_id: str, ask: AuthorizationAsk) -> AuthorizationAnswer | None:
        self.asked.append(ask.tap_id)
        self.may_answer.wait(20)
        if self.trouble is not None:
            raise self.trouble
        return AuthorizationAnswer(
            session_id=ask.session_id, tap_id=ask.tap_id, status="approved", response_code="00"
        )

    def tell(self, device_id: str, answer: AuthorizationAnswer) -> None:
        self.told.append(answer)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def waiting(desk: Desk) -> Iterator[Authorizing]:
    """One thread, and one place to wait."""
    made = Authorizing(desk.authorize, desk.tell, threads=1, waiting=1)
    made.start()
    yield made
    desk.may_answer.set()
    made.stop()


def test_who_finds_no_place_is_told_at_once(desk: Desk, waiting: Authorizing) -> None:
    first, second, third = (ask_for(f"ts_number{number}") for number in range(3))

    waiting.take("dev-1", first)
    eventually(lambda: desk.asked == [first.tap_id], 5)
    waiting.take("dev-1", second)
    waiting.take("dev-1", third)

    assert [(one.tap_id, one.status, one.text) for one in desk.told] == [
        (third.tap_id, "unavailable", response_codes.OVERLOADED)
    ]
    desk.may_answer.set()
    eventually(lambda: len(desk.told) == 3, 5)
    assert desk.asked == [first.tap_id, second.tap_id]


def test_what_is_under_way_is_not_asked_twice(desk: Desk, waiting: Authorizing) -> None:
    ask = ask_for("ts_number1")

    for _ in range(5):
        waiting.take("dev-1", ask)
    desk.may_answer.set()
    eventually(lambda: len(desk.told) == 1, 5)

    assert desk.asked == [ask.tap_id]


def test_a_card_that_breaks_does_not_end_the_thread(desk: Desk, waiting: Authorizing) -> None:
    desk.may_answer.set()
    desk.trouble = RuntimeError("of one card")
    waiting.take("dev-1", ask_for("ts_number1"))
    eventually(lambda: len(desk.asked) == 1, 5)
    desk.trouble = None

    def told() -> bool:
        waiting.take("dev-1", ask_for("ts_number2"))
        return bool(desk.told)

    eventually(told, 5)

    assert desk.told[0].status == "approved"
