"""Software versions as readers write them: read by the profile's `version_format`, compared by its `compare` rule.

A vendor's version is free text. Two texts are compared by one rule only, the profile's, and what cannot be read is
`UNKNOWN`: it never counts as old. The rules: `exact` and `opaque` (the same text or another), `numeric:a,b,c` (named
groups as whole numbers, a missing one is 0), `contains` (the installed text names the wanted one, as its own word),
`list` (components between `;` and blanks, all of them), `revision_letters` (A, B, … Z, AA, then the digits behind).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from firmware_profiles.profile import Firmware

_NUMERIC: Final = "numeric:"
#: A bound may be written without the text around its numbers: `2.0.9`.
_BARE: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_REVISION: Final = re.compile(r"(?P<letters>[A-Z]+)(?P<digits>[0-9]*)")
#: The letters at the end of a text, for a format without a group `rev`.
_LAST_REVISION: Final = re.compile(r"(?:^|[^A-Za-z])(?P<rev>[A-Z]{1,2}[0-9]*)$")
#: What follows the numbers and belongs to them: `2.0.9.1` and `2.0.9-rc1` are not 2.0.9.
_GOES_ON: Final = re.compile(r"[._+-]?[A-Za-z0-9]")
_RANGE: Final = re.compile(r"(?P<relation><=|>=|<|>|=)\s*(?P<version>[^,]+)")
_MISSING: Final = "version_missing:"


class Order(StrEnum):
    """How an installed version stands to another one."""

    OLDER = "older"
    SAME = "same"
    NEWER = "newer"
    DIFFERENT = "different"
    """Not the same, and the rule knows no order: only a list of releases can tell."""
    UNKNOWN = "unknown"
    """One of the two cannot be read."""


def tidy(text: str) -> str:
    """A version text without the padding that readers put around it."""
    return " ".join(text.replace("\x00", " ").split())


def groups(firmware: Firmware, text: str) -> dict[str, str] | None:
    """The named parts of a version; empty without a `version_format`, `None` when it does not fit."""
    text = tidy(text)
    if not text:
        return None
    if not firmware.version_format:
        return {}
    found = re.search(firmware.version_format, text)
    if found is None:
        return None
    return {name: part for name, part in found.groupdict().items() if part is not None}


def group_names(firmware: Firmware) -> tuple[str, ...]:
    """The groups that the format has."""
    return tuple(re.compile(firmware.version_format).groupindex)


def compare(firmware: Firmware, installed: str, other: str) -> Order:
    """How `installed`, as the reader told it, stands to `other`, a release or a bound."""
    installed, other = tidy(installed), tidy(other)
    if not installed or not other:
        return Order.UNKNOWN
    rule = firmware.compare
    if rule.startswith(_NUMERIC):
        names = rule.removeprefix(_NUMERIC).split(",")
        return _ordered(_numbers(firmware, names, installed), _numbers(firmware, names, other))
    if rule == "revision_letters":
        return _ordered(_revision(firmware, installed), _revision(firmware, other))
    if groups(firmware, installed) is None:
        return Order.UNKNOWN
    match rule:
        case "contains":
            is_same = _contains(installed, other)
        case "list":
            is_same = _components(installed) == _components(other)
        case _:
            is_same = installed == other
    return Order.SAME if is_same else Order.DIFFERENT


def is_readable(firmware: Firmware, installed: str) -> bool:
    """Whether the rule can say anything about this text."""
    rule = firmware.compare
    if rule.startswith(_NUMERIC):
        return (
            _numbers(firmware, rule.removeprefix(_NUMERIC).split(","), tidy(installed)) is not None
        )
    if rule == "revision_letters":
        return _revision(firmware, tidy(installed)) is not None
    return groups(firmware, installed) is not None


def is_installed(firmware: Firmware, installed: str, wanted: str) -> bool:
    """The proof after an update: the reader now tells the version that was meant."""
    return compare(firmware, installed, wanted) is Order.SAME and not foreign_groups(
        firmware, installed, groups(firmware, wanted) or {}
    )


def foreign_groups(
    firmware: Firmware, installed: str, variant: Mapping[str, str]
) -> tuple[str, ...]:
    """The groups that make another variant, such as another language: those of `group_must_match` that differ.

    What `variant` does not name is not compared. An installed text that cannot be read matches no variant.
    """
    mine = groups(firmware, installed) or {}
    return tuple(
        name
        for name in firmware.group_must_match
        if name in variant and mine.get(name) != variant[name]
    )


def applies(
    firmware: Firmware | None, rule: str, installed: str, facts: Collection[str] = ()
) -> bool:
    """Whether a quirk is one of this software: `*`, `<2.0.9`, `>=2.0,<2.1`, or `version_missing:NAME`.

    The last one asks whether neither the version nor the `facts` that the reader told hold that name. A range says
    nothing of a version that cannot be read.
    """
    if rule == "*":
        return True
    if rule.startswith(_MISSING):
        name = rule.removeprefix(_MISSING)
        known = (groups(firmware, installed) or {}) if firmware else {}
        return name not in known and name not in facts
    if firmware is None:
        return False
    return all(_is_within(firmware, installed, bound) for bound in rule.split(","))


def is_rule(text: str) -> bool:
    """Whether `applies` understands this."""
    if text == "*":
        return True
    if text.startswith(_MISSING):
        return re.fullmatch(r"[a-z0-9_]+", text.removeprefix(_MISSING)) is not None
    return all(_RANGE.fullmatch(bound.strip()) for bound in text.split(","))


def _is_within(firmware: Firmware, installed: str, bound: str) -> bool:
    found = _RANGE.fullmatch(bound.strip())
    if found is None:
        return False
    order = compare(firmware, installed, found["version"])
    wanted = {
        "<": {Order.OLDER},
        "<=": {Order.OLDER, Order.SAME},
        "=": {Order.SAME},
        ">=": {Order.NEWER, Order.SAME},
        ">": {Order.NEWER},
    }
    return order in wanted[found["relation"]]


def _ordered(installed: tuple[object, ...] | None, other: tuple[object, ...] | None) -> Order:
    if installed is None or other is None:
        return Order.UNKNOWN
    if installed == other:
        return Order.SAME
    return Order.OLDER if installed < other else Order.NEWER  # tuples of one rule have one shape


def _numbers(firmware: Firmware, names: list[str], text: str) -> tuple[int, ...] | None:
    if _BARE.fullmatch(text) and (parts := text.split(".")) and len(parts) <= len(names):
        return tuple(int(part) for part in parts) + (0,) * (len(names) - len(parts))
    found = re.search(firmware.version_format, text) if firmware.version_format else None
    if found is None or _GOES_ON.match(text, found.end()):
        return None
    parts_by_name = found.groupdict()
    try:
        return tuple(int(parts_by_name.get(name) or 0) for name in names)
    except ValueError:
        return None


def _revision(firmware: Firmware, text: str) -> tuple[int, str, int] | None:
    found = groups(firmware, text)
    if found is None:
        return None
    revision = found.get("rev", "")
    if not revision:
        last = _LAST_REVISION.search(text)
        revision = last["rev"] if last else ""
    parts = _REVISION.fullmatch(revision)
    return parts and (len(parts["letters"]), parts["letters"], int(parts["digits"] or 0))


def _contains(installed: str, wanted: str) -> bool:
    """`2.0.1` is in `GER-APP-v2.0.1` and neither in `2.0.12` nor in `12.0.1`, `2.0.1.4` or `2.0.1-rc1`."""
    before = r"(?<![0-9])(?<![0-9]\.)" if wanted[0].isdigit() else r"(?<![A-Za-z0-9])"
    return re.search(f"{before}{re.escape(wanted)}(?!{_GOES_ON.pattern})", installed) is not None


def _components(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[;\s]+", text) if part)
