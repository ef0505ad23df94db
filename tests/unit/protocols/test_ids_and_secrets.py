"""Ids sort by time and are safe in topics; secrets hide themselves."""

from __future__ import annotations

import pickle
import re

import msgspec
import pytest

from protocols.ids import is_device_id, new_device_id, new_id, uuid7
from protocols.secret import HIDDEN, Secret


def test_ids_carry_their_prefix_and_never_repeat() -> None:
    ids = {new_id("ts") for _ in range(1000)}

    assert len(ids) == 1000
    assert all(re.fullmatch(r"ts_[0-9a-hjkmnp-tv-z]{26}", each) for each in ids)


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    made = [uuid7() for _ in range(2000)]

    stamps = [each.int >> 80 for each in made]
    assert stamps == sorted(stamps)
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}


def test_a_device_id_may_stand_in_a_topic() -> None:
    assert is_device_id(new_device_id())


@pytest.mark.parametrize(
    "text", ["+", "#", "dev-A", "a/b", "abc", "-dev", "a" * 65, "dev.1", "", "dev-1\n", "$sys"]
)
def test_what_a_broker_could_misread_is_no_device_id(text: str) -> None:
    assert not is_device_id(text)


def test_a_secret_shows_nothing_but_gives_its_value_back() -> None:
    secret = Secret("123456")

    assert [repr(secret), str(secret), f"{secret}", f"{secret:>3}"] == [HIDDEN] * 4
    assert secret.reveal() == "123456"
    assert secret == Secret("123456")
    assert secret != Secret("654321")
    assert secret != "123456"


def test_a_secret_does_not_leave_by_json_or_pickle() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode({"password": Secret("123456")})
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("123456"))
