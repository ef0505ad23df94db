"""Checks what was written into a merchant's own fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from control_plane.till.values import FieldKind, TillField, TillSettings

LONGEST_VALUE: Final = 200
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_POSTAL_CODE: Final = re.compile(r"[0-9A-Z][0-9A-Z \-]{1,8}[0-9A-Z]")
_ORDER_NUMBER: Final = re.compile(r"[^\W_](?:[\w./# \-]{0,58}[^\W_])?")
_PARTS: Final = {"9": "[0-9]", "A": "[A-Za-z]", "*": "[0-9A-Za-z]"}
_EXAMPLES: Final = {"9": "1234567890", "A": "ABCDEFGHIJ", "*": "A1B2C3D4E5"}


class Missing:
    """A field that this way of paying asks for."""

    message = "Write {label}."


class NotANumber:
    """Digits were expected."""

    message = "Write {label} as a number, like {example}."


class NotADate:
    """A day was expected."""

    message = "Write {label} as a day, like {example}."


class NotAChoice:
    """One of a list was expected."""

    message = "Choose {label} from the list."


class OtherForm:
    """It does not look like what it is."""

    message = "Write {label} like {example}."


class TooLong:
    """More than is kept."""

    message = "Write {label} in at most {example} characters."


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one value."""

    text: str
    """An English template, the key of its translation."""
    label_en: str
    label_fr: str
    example: str = ""

    def __str__(self) -> str:
        return self.said(self.text, "en")

    def said(self, translated: str, language: str) -> str:
        """The translated text, filled in."""
        label = self.label_fr if language == "fr" and self.label_fr else self.label_en
        return translated.format(label=label, example=self.example)


@dataclass(frozen=True, slots=True)
class CheckedFields:
    """``clean``: what to keep, without what is empty. ``problems``: by key; empty when all is well."""

    clean: dict[str, str]
    problems: dict[str, Problem]


def check_fields(settings: TillSettings, channel: str, values: Mapping[str, str]) -> CheckedFields:
    """Check what was written, for a payment by a channel. Keys that are no field of this merchant are left out."""
    clean, problems = {}, {}
    for one in settings.fields:
        text = _plain(values.get(one.key, ""))
        if not text:
            if channel in one.required_for:
                problems[one.key] = _problem(one, Missing.message)
            continue
        taken = _taken(one, text)
        if isinstance(taken, Problem):
            problems[one.key] = taken
        else:
            clean[one.key] = taken
    return CheckedFields(clean, problems)


def reference_of(settings: TillSettings, clean: Mapping[str, str]) -> str:
    """The order number among checked values; empty when there is no such field or value."""
    keys = (one.key for one in settings.fields if one.kind is FieldKind.ORDER_NUMBER)
    return next((clean[key] for key in keys if key in clean), "")


def searchable(settings: TillSettings, clean: Mapping[str, str]) -> dict[str, str]:
    """Those of the checked values that payments are found by."""
    return {
        one.key: clean[one.key] for one in settings.fields if one.searchable and one.key in clean
    }


def example_of(pattern: str) -> str:
    """A text of a pattern's form: ``AA-999`` is like ``AB-123``."""
    seen = dict.fromkeys(_EXAMPLES, 0)
    signs = []
    for sign in pattern:
        if sign in _EXAMPLES:
            signs.append(_EXAMPLES[sign][seen[sign] % 10])
            seen[sign] += 1
        else:
            signs.append(sign)
    return "".join(signs)


def _plain(text: str) -> str:
    """Without what cannot be printed, and with single blanks."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _taken(one: TillField, text: str) -> str | Problem:
    if len(text) > LONGEST_VALUE:
        return _problem(one, TooLong.message, str(LONGEST_VALUE))
    match one.kind:
        case FieldKind.NUMBER:
            number = _number(text)
            if number is None:
                return _problem(one, NotANumber.message, "12.5")
            text = number
        case FieldKind.DATE:
            try:
                text = date.fromisoformat(text).isoformat()
            except ValueError:
                return _problem(one, NotADate.message, "2026-11-23")
        case FieldKind.CHOICE:
            if text not in one.choices:
                return _problem(one, NotAChoice.message)
        case FieldKind.EMAIL:
            text = text.casefold()
            if _EMAIL.fullmatch(text) is None:
                return _problem(one, OtherForm.message, "name@example.com")
        case FieldKind.POSTAL_CODE:
            text = text.upper()
            if _POSTAL_CODE.fullmatch(text) is None:
                return _problem(one, OtherForm.message, "75011")
        case FieldKind.ORDER_NUMBER:
            if _ORDER_NUMBER.fullmatch(text) is None:
                return _problem(one, OtherForm.message, example_of(one.pattern) or "1042")
        case FieldKind.TEXT:
            pass
    if one.pattern and re.fullmatch(_expression(one.pattern), text) is None:
        return _problem(one, OtherForm.message, example_of(one.pattern))
    return text


def _number(text: str) -> str | None:
    try:
        number = Decimal(text.replace(",", ".").replace(" ", ""))
    except InvalidOperation:
        return None
    return f"{number:f}" if number.is_finite() else None


def _expression(pattern: str) -> str:
    return "".join(_PARTS.get(sign, re.escape(sign)) for sign in pattern)


def _problem(one: TillField, text: str, example: str = "") -> Problem:
    return Problem(text, one.label_en, one.label_fr, example)
