"""Identifiers: prefixed, unique, in order of their making, safe in topics."""

from __future__ import annotations

import re
import time
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.cloud.topics import Channel, parse, topic
from protocols.errors import MalformedMessage
from protocols.ids import is_device_id, new_device_id, new_id, uuid7


def test_a_uuid7_says_that_it_is_one_and_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, RFC_4122)
    assert before <= made.int >> 80 <= after


def test_an_id_is_its_prefix_and_26_characters_without_those_that_look_alike() -> None:
    assert re.fullmatch(r"ts_[0-9abcdefghjkmnpqrstvwxyz]{26}", new_id("ts"))


def test_ten_thousand_ids_are_all_different() -> None:
    assert len({new_id("ts") for _ in range(10_000)}) == 10_000


def test_ids_sort_by_the_millisecond_of_their_making(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1_700_000_000_000, 1_700_000_000_001, 1_700_000_001_000, 1_800_000_000_000]
    made = []
    for moment in moments:
        monkeypatch.setattr("protocols.ids.time.time_ns", lambda at=moment: at * 1_000_000)
        made.append(new_id("tx"))

    assert made == sorted(made)


def test_a_device_id_can_stand_in_a_topic() -> None:
    device_id = new_device_id()

    assert is_device_id(device_id)
    assert parse(topic("0a", device_id, Channel.CLAIM)).device_id == device_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "a" * 65,
        "Dev-1234",
        "dev/1234",
        "dev+1234",
        "dev#1234",
        "-dev1234",
        "dev.1234",
        "dev-1234\n",
        "$sys",
    ],
)
def test_what_a_broker_could_misread_is_no_device_id(text: str) -> None:
    assert not is_device_id(text)


@given(st.text(max_size=80))
def test_a_topic_made_of_any_text_is_refused_or_is_that_device(text: str) -> None:
    try:
        address = parse(f"fl/1/00/{text}/up/tx")
    except MalformedMessage:
        assert not is_device_id(text)
    else:
        assert address.device_id == text
