"""The sentences of a timeline, in both languages."""

from __future__ import annotations

from string import Formatter

import pytest

from control_plane.virtual_terminal.timeline import MomentKind


def facts_in(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


@pytest.mark.parametrize("kind", MomentKind)
def test_both_sentences_tell_the_same_facts(kind: MomentKind) -> None:
    assert facts_in(kind.english) == facts_in(kind.french)
    assert kind.english != kind.french
    assert len(kind.value) <= 40


@pytest.mark.parametrize("kind", MomentKind)
def test_a_kind_is_found_by_its_word(kind: MomentKind) -> None:
    assert MomentKind.of(kind.value) is kind
