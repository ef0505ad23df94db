"""Keeps card numbers, and what databases cannot hold, out of everything that is stored."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from protocols.errors import MalformedMessage
from protocols.readers.emv import contains_card_number, redact_card_numbers

T = TypeVar("T")

_SHORTEST_CARD: Final = b"0" * 13
#: Every digit becomes 0; what may stand between the digits of a card number is dropped.
_DIGITS: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_SEPARATORS: Final = b" -\xc2\xa0"
_BACKSLASH: Final = 0x5C


def looks_harmless(payload: bytes) -> bool:
    """True when the data of a message certainly holds no card number and no escape; quick, and often enough."""
    data = payload[max(0, payload.find(b'"data":')) :]
    # Looking for one byte is much faster than for two.
    return _SHORTEST_CARD not in data.translate(_DIGITS, _SEPARATORS) and (
        _BACKSLASH not in data or b"\\u" not in data
    )


def cleaned(value: T) -> tuple[T, int]:
    """The message data with card numbers masked and NUL characters dropped, and how many texts were masked.

    Raises MalformedMessage when a card number stands where only a number can.
    """
    plain, masked = _clean(msgspec.to_builtins(value))
    return msgspec.convert(plain, type(value)), masked


def cleaned_text(payload: bytes, length: int = 8000) -> str:
    """Raw bytes as text that may be stored."""
    return redact_card_numbers(payload.decode("utf-8", "replace").replace("\x00", ""))[:length]


def _clean(value: Any) -> tuple[Any, int]:
    match value:
        case str():
            text = redact_card_numbers(value)
            return text.replace("\x00", ""), int(text != value)
        case bool() | float() | None:
            return value, 0
        case int():
            if contains_card_number(str(abs(value))):
                raise MalformedMessage("a number that could be a card number")
            return value, 0
        case dict():
            pairs = [(_clean(key), _clean(inner)) for key, inner in value.items()]
            return (
                {key: inner for (key, _), (inner, _) in pairs},
                sum(first + second for (_, first), (_, second) in pairs),
            )
        case _:
            parts = [_clean(inner) for inner in value]
            return [inner for inner, _ in parts], sum(count for _, count in parts)
