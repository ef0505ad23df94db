"""What comes out of layers: the more particular wins, and everybody can see from where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.configuration.layers import Layer, LayerKind, difference, effective
from firmware_profiles import load_profile

ECR = load_profile("generic-ecr17-tcp")
ZVT = load_profile("generic-zvt-tcp")


def layer(kind: LayerKind, profile: str = ECR.id, **values: Any) -> Layer:
    return Layer(kind, "it", {profile: values})


def test_without_layers_nothing_is_set() -> None:
    assert effective(ECR, []).values == {}


def test_the_more_particular_layer_wins_setting_by_setting() -> None:
    found = effective(
        ECR,
        [
            layer(LayerKind.ORGANISATION, lrc_mode="std", result_timeout_s=60),
            layer(LayerKind.LOCATION, result_timeout_s=90),
            layer(LayerKind.READER, lrc_mode="stx"),
        ],
    )

    assert found.values == {"lrc_mode": "stx", "result_timeout_s": 90}
    assert found.origins == {"lrc_mode": "reader:it", "result_timeout_s": "location:it"}
    assert found.cannot == ()


def test_in_one_layer_the_model_stands_above_every_model() -> None:
    both = Layer(
        LayerKind.ORGANISATION,
        "it",
        {ECR.id: {"result_timeout_s": 70}, "*": {"result_timeout_s": 60}},
    )
    assert effective(ECR, [both]).values == {"result_timeout_s": 70}


def test_a_layer_for_every_model_above_one_for_a_model_still_loses_to_the_particular_one() -> None:
    found = effective(
        ECR,
        [
            layer(LayerKind.ORGANISATION, result_timeout_s=70),
            layer(LayerKind.LOCATION, "*", result_timeout_s=80),
        ],
    )
    assert found.values == {"result_timeout_s": 80}


def test_what_is_for_every_model_is_left_out_where_a_model_does_not_have_it() -> None:
    found = effective(ZVT, [layer(LayerKind.ORGANISATION, "*", lrc_mode="std")])
    assert (found.values, found.cannot) == ({}, ())


def test_a_value_that_the_model_does_not_take_is_named_and_the_general_one_holds() -> None:
    found = effective(
        ECR,
        [
            layer(LayerKind.ORGANISATION, result_timeout_s=60),
            layer(LayerKind.LOCATION, result_timeout_s=1),
        ],
    )
    assert found.values == {"result_timeout_s": 60}
    assert [(name, refused.need) for name, refused in found.cannot] == [
        ("result_timeout_s", "range")
    ]


def test_a_setting_that_the_model_lost_is_named() -> None:
    found = effective(ECR, [layer(LayerKind.ORGANISATION, colour="red")])
    assert [(name, refused.need) for name, refused in found.cannot] == [("colour", "known")]


def test_a_secret_is_never_inherited() -> None:
    assert effective(ZVT, [layer(LayerKind.ORGANISATION, ZVT.id, password="1")]).values == {}


@given(st.lists(st.integers(5, 300), max_size=6))
def test_the_last_layer_that_says_something_is_what_holds(seconds: list[int]) -> None:
    kinds = list(LayerKind)
    chain = [
        layer(kinds[at % len(kinds)], result_timeout_s=value) for at, value in enumerate(seconds)
    ]
    taken = [
        one for one in seconds if not effective(ECR, [layer(kinds[0], result_timeout_s=one)]).cannot
    ]

    assert effective(ECR, chain).values == ({"result_timeout_s": taken[-1]} if taken else {})


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({}, {}, []),
        ({"a": {"b": 1}}, {"a": {"b": 1}}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a/b", 1, 2)]),
        ({"a": {"b": 1}}, {}, [("a/b", 1, None)]),
        ({}, {"a": {"b": True}, "c": "x"}, [("a/b", None, True), ("c", None, "x")]),
    ],
)
def test_a_difference_names_the_leaves(before: Any, after: Any, paths: Any) -> None:
    assert [tuple(one) for one in difference(before, after)] == paths
