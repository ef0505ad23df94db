"""Every state that can be shown has a word, an icon that exists, and a tone."""

from __future__ import annotations

import re

import pytest

from control_plane.payments.lifecycle import StepKind
from control_plane.transactions.models import Kind, Method, SaleChannel, Status
from control_plane.web import words
from control_plane.web.static_files import FOLDER
from control_plane.web.words import Word
from protocols.session import FINAL_STATES, OPEN_STATES, SessionState

TABLES: dict[str, dict[str, Word]] = {
    name: table
    for name in ("SESSION", "REACH", "SYNC", "HEALTH", "SESSION_STEPS", "DEVICE_EVENTS",
                 "DEVICE_STATES", "MEMBERS")
    for table in [getattr(words, name)]
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_each_state_has_an_icon_of_the_sprite_and_a_known_tone(name: str) -> None:
    icons = set(re.findall(r'<symbol id="([\w-]+)"', (FOLDER / "img/icons.svg").read_text()))

    assert {word.icon for word in TABLES[name].values()} <= icons
    assert {word.tone for word in TABLES[name].values()} <= {"good", "warn", "bad", "wait", "off"}


def test_what_the_other_packages_can_say_has_words() -> None:
    assert set(SessionState) <= set(words.SESSION)
    assert {status.value for status in Status} <= set(words.SESSION)
    assert {kind.value for kind in StepKind} == set(words.SESSION_STEPS)
    assert {kind.value for kind in Kind} == set(words.KINDS)
    assert {channel.value for channel in SaleChannel} == set(words.CHANNELS)
    assert {method.value for method in Method} == set(words.METHODS)
    assert set(words.HEALTH) == set(words.HEALTH_NEXT)


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_an_open_session_says_what_to_do_and_where_it_stands(state: SessionState) -> None:
    assert words.call_for(state).text
    assert [mark for _, mark in words.step_marks(state)].count("now") == 1


def test_nobody_is_told_to_charge_again_while_the_outcome_is_not_known() -> None:
    assert "Do not charge again" in words.call_for(SessionState.UNKNOWN).text
    assert words.call_for(SessionState.UNKNOWN, "recalling") == words.call_for(SessionState.UNKNOWN)
    # A late step of before the loss does not hide it.
    assert words.call_for(SessionState.UNKNOWN, "enter_pin") == words.call_for(SessionState.UNKNOWN)


@pytest.mark.parametrize("state", sorted(FINAL_STATES - {SessionState.APPROVED}))
def test_an_end_without_money_has_a_reason_even_for_a_code_that_nobody_knows(
    state: SessionState,
) -> None:
    assert words.reason_for(state, None).text
    assert words.reason_for(state, 9999) == words.reason_for(state, None)


def test_a_known_code_says_why_and_what_to_do_next() -> None:
    reason = words.reason_for(SessionState.DECLINED, 51)

    assert reason.text == "There is not enough money on the account."
    assert reason.more == "Ask for another card or another way to pay."


def test_a_state_that_is_new_to_the_pages_is_shown_as_it_is() -> None:
    assert words.word(words.HEALTH, "levitating") == Word("levitating", "question", "off")
