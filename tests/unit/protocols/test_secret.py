"""A secret shows itself nowhere but where it is asked to."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import msgspec
import pytest

from protocols.secret import HIDDEN, Secret


@pytest.mark.parametrize(
    "write",
    [repr, str, format, ascii, "{:>3}".format, "%s".__mod__],
    ids=["repr", "str", "format", "ascii", "braces", "percent"],
)
def test_a_secret_hides_in_every_way_of_writing_it(write: Callable[[object], str]) -> None:
    assert "hunter2" not in write(Secret("hunter2"))


def test_in_its_place_are_three_dots() -> None:
    assert f"{Secret('hunter2')}" == HIDDEN == "•••"


def test_a_secret_hides_inside_other_things() -> None:
    assert repr({"key": [Secret("hunter2")]}) == "{'key': [" + HIDDEN + "]}"


@pytest.mark.parametrize(
    "encode", [json.dumps, msgspec.json.encode, pickle.dumps], ids=["json", "msgspec", "pickle"]
)
def test_a_secret_does_not_leave_the_process(encode: object) -> None:
    with pytest.raises(TypeError):
        encode(Secret("hunter2"))  # type: ignore[operator]  # three functions of one shape


def test_it_is_given_back_on_request() -> None:
    assert Secret("hunter2").reveal() == "hunter2"


def test_two_secrets_are_equal_when_their_values_are() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
