"""The words that find a customer: how they are folded when they are stored, and when they are looked for.

A search finds a customer when each of its words is the beginning of a word of theirs. So ``dup 4242`` finds
Jeanne Dupont by the last four digits of her card, and ``06 12 34`` finds +33 6 12 34 56 78.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from control_plane.customers.models import WORD_LENGTH

#: A search looks at this many words; more make it no narrower in practice.
MOST_WORDS: Final = 6
#: The end of a number that is worth finding.
_SHORTEST_END: Final = 3
_LONGEST_NUMBER: Final = 20
#: Letters that Unicode does not take apart.
_PLAIN: Final = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "\u0131": "i",
    }
)
_CHUNK = re.compile(r"\S+")
_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"[\d\s+().\-/]*\d[\d\s+().\-/]*")


def fold(text: str) -> str:
    """Without accents and case: ``Éloïse`` is ``eloise``, ``Straße`` is ``strasse``."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in plain if not unicodedata.combining(sign)).translate(_PLAIN)


def words_of(*, texts: list[str], phone: str, last4: list[str]) -> set[str]:
    """What finds a customer with these texts, this number and these cards."""
    found = set(last4) | _ends_of(phone)
    for text in texts:
        for chunk in _CHUNK.findall(fold(text)):
            parts = _WORD.findall(chunk)
            # O'Brien is found as brien and as obrien.
            found.update(parts, ["".join(parts)])
    return {word[:WORD_LENGTH] for word in found if word}


def wanted_words(query: str) -> list[tuple[str, ...]]:
    """Beginnings of words, all of which must be met; of each, any spelling will do. The rarest first."""
    if _NUMBER.fullmatch(query):
        return [_spellings("".join(sign for sign in query if sign.isdecimal()))]
    found = dict.fromkeys(part[:WORD_LENGTH] for part in _WORD.findall(fold(query)))
    longest_first = sorted(found, key=len, reverse=True)[:MOST_WORDS]
    return [_spellings(word) for word in longest_first]


def _spellings(word: str) -> tuple[str, ...]:
    """A number also without the zeros that are dialled before it within a country, or to leave one."""
    without = word.lstrip("0")
    return (word, without) if word.isdecimal() and without and without != word else (word,)


def _ends_of(phone: str) -> set[str]:
    digits = "".join(sign for sign in phone if sign.isdecimal())[-_LONGEST_NUMBER:]
    return {digits[start:] for start in range(len(digits) - _SHORTEST_END + 1)}
