"""What devices say for us is marked for the catalogues: all of it, and nothing that nobody says."""

from __future__ import annotations

from control_plane.card_present import response_codes
from control_plane.web.card_words import SAID_BY_US


def _sentences() -> set[str]:
    """Every sentence of the module but the one that is filled with a code."""
    loose = {
        value
        for name, value in vars(response_codes).items()
        if name.isupper() and isinstance(value, str)
    }
    return {*response_codes.WORDS.values(), *loose} - {response_codes.OTHER}


def test_what_devices_may_say_for_us_is_what_is_translated_no_more_and_no_less() -> None:
    assert _sentences() == SAID_BY_US


def test_each_code_has_words_of_its_own_and_others_are_named() -> None:
    assert all(response_codes.words_of(code) in SAID_BY_US for code in response_codes.WORDS)
    assert len(set(response_codes.WORDS.values())) == len(response_codes.WORDS)
    assert "ZZ" in response_codes.words_of("ZZ")
    assert response_codes.words_of("ZZ") not in SAID_BY_US
