"""Stripe's bracketed form bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.sandbox.errors import MalformedRequest
from control_plane.sandbox.forms import as_list, decode


def test_brackets_nest_objects_and_lists() -> None:
    form = decode("amount=5&items[0][price]=a&items[1][price]=b&metadata[order]=7&name=")

    assert form == {
        "amount": "5",
        "items": {"0": {"price": "a"}, "1": {"price": "b"}},
        "metadata": {"order": "7"},
        "name": "",
    }


def test_empty_brackets_append() -> None:
    form = decode("expand[]=a&expand[]=b")

    assert as_list(form["expand"]) == ["a", "b"]


def test_a_list_is_in_the_order_of_its_numbers() -> None:
    form = decode("x[10]=c&x[2]=b&x[0]=a")

    assert as_list(form["x"]) == ["a", "b", "c"]


def test_an_object_is_no_list() -> None:
    assert as_list(decode("x[a]=1")["x"]) is None


def test_a_value_that_is_also_an_object_is_refused() -> None:
    with pytest.raises(MalformedRequest) as refused:
        decode("a=1&a[b]=2")

    assert refused.value.fields["param"] == "a[b]"


@given(st.text(max_size=60))
def test_any_text_is_a_form_or_a_refusal(text: str) -> None:
    try:
        form = decode(text)
    except MalformedRequest:
        return
    assert isinstance(form, dict)
