"""What finds a customer, and what a search asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.customers.words import MOST_WORDS, fold, wanted_words, words_of


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Éloïse", "eloise"),
        ("Straße", "strasse"),
        ("ﬁne", "fine"),
        ("ŁUKASZ", "lukasz"),
        ("Cœur", "coeur"),
    ],
)
def test_accents_and_case_do_not_count(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_a_name_is_found_by_its_parts_and_written_together() -> None:
    words = words_of(texts=["Jean-Luc O’Brien"], phone="", last4=[])

    assert words == {"jean", "luc", "jeanluc", "o", "brien", "obrien"}


def test_a_number_is_found_by_each_of_its_ends() -> None:
    words = words_of(texts=[], phone="+33 6 12 34", last4=["4242"])

    assert words == {"3361234", "361234", "61234", "1234", "234", "4242"}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", []),
        ("  ", []),
        ("Dup", [("dup",)]),
        ("jean dupont", [("dupont",), ("jean",)]),
        ("dupont dupont", [("dupont",)]),
        ("jean.dupont@ex", [("dupont",), ("jean",), ("ex",)]),
        ("06 12-34", [("061234", "61234")]),
        ("+33 6", [("336",)]),
        ("0042", [("0042", "42")]),
        ("000", [("000",)]),
        ("dup 0042", [("0042", "42"), ("dup",)]),
        ("()", []),
    ],
)
def test_a_search_asks_for_the_beginnings_of_words(
    query: str, wanted: list[tuple[str, ...]]
) -> None:
    assert wanted_words(query) == wanted


@given(st.text(max_size=300))
def test_any_search_asks_for_a_few_words_of_letters_and_digits(query: str) -> None:
    wanted = wanted_words(query)

    assert len(wanted) <= MOST_WORDS
    assert all(word.isalnum() for spellings in wanted for word in spellings)


@given(st.text(alphabet=st.characters(categories=["L", "Nd"]), min_size=1, max_size=40))
def test_whoever_is_stored_under_a_name_is_found_by_it(name: str) -> None:
    stored = words_of(texts=[name], phone="", last4=[])

    assert all(
        any(word.startswith(one) for word in stored for one in spellings)
        for spellings in wanted_words(name)
    )
