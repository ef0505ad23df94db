"""Version texts as readers really write them, and what may be said of two of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_profiles import load_profile
from firmware_profiles.profile import Firmware
from firmware_profiles.versions import (
    Order,
    applies,
    compare,
    foreign_groups,
    groups,
    is_installed,
    is_readable,
    is_rule,
)

FEIG = Firmware(
    version_source="zvt:05 01",
    version_format=r"^(?P<lang>[A-Z]{3})-APP-v(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)",
    compare="numeric:major,minor,patch",
    group_must_match=["lang"],
)


def firmware(compare_rule: str, **more: Any) -> Firmware:  # any field of [firmware]
    return Firmware(version_source="somewhere", compare=compare_rule, **more)


@pytest.mark.parametrize(
    ("installed", "other", "order"),
    [
        ("GER-APP-v2.0.9", "GER-APP-v2.0.10", Order.OLDER),
        ("GER-APP-v2.0.10", "GER-APP-v2.0.9", Order.NEWER),
        ("GER-APP-v2.0.9   ", "2.0.9", Order.SAME),
        ("GER-APP-v2.0.9\x00\x00", "2.0.9", Order.SAME),
        ("GER-APP-v2.0.9", "2.0", Order.NEWER),
        ("GER-APP-v2.0.0", "2", Order.SAME),
        ("GER-APP-v02.00.009", "2.0.9", Order.SAME),
        ("GER-APP-v2.0.9;KERNEL 4.1", "2.0.9", Order.SAME),
        ("SIM 1.02.3", "2.0.9", Order.UNKNOWN),
        ("", "2.0.9", Order.UNKNOWN),
        ("GER-APP-v2.0", "2.0.9", Order.UNKNOWN),
        ("GER-APP-v2.0.9.1", "2.0.9", Order.UNKNOWN),
        ("GER-APP-v2.0.9-rc1", "2.0.9", Order.UNKNOWN),
        ("GER-APP-v2.0.9", "2.0.9.1", Order.UNKNOWN),
        ("GER-APP-v2.0.9", "next", Order.UNKNOWN),
    ],
)
def test_numbers_are_compared_as_numbers(installed: str, other: str, order: Order) -> None:
    assert compare(FEIG, installed, other) is order


def test_the_same_number_in_hex_is_not_taken_for_another_decimal_one() -> None:
    rule = firmware("numeric:build", version_format=r"^build (?P<build>\d+)$")

    assert compare(rule, "build 0x1a", "build 26") is Order.UNKNOWN
    assert compare(rule, "build 26", "build 026") is Order.SAME


@pytest.mark.parametrize(
    ("installed", "wanted", "is_same"),
    [
        ("GER-APP-v2.0.1", "2.0.1", True),
        ("GER-APP-v2.0.1 KERNEL 3", "2.0.1", True),
        ("2.0.1;BOOT 1.1", "2.0.1", True),
        ("GER-APP-v2.0.12", "2.0.1", False),
        ("GER-APP-v12.0.1", "2.0.1", False),
        ("GER-APP-v1.2.0.1", "2.0.1", False),
        ("GER-APP-v2.0.1.4", "2.0.1", False),
        ("GER-APP-v2.0.1-rc1", "2.0.1", False),
        ("GER-APP-v2.0.1a", "2.0.1", False),
        ("GER-APP-v2x0x1", "2.0.1", False),
        ("XAPP 2", "APP 2", False),
    ],
)
def test_a_contained_version_is_a_word_of_its_own(
    installed: str, wanted: str, is_same: bool
) -> None:
    expected = Order.SAME if is_same else Order.DIFFERENT

    assert compare(firmware("contains"), installed, wanted) is expected


@pytest.mark.parametrize(
    ("rule", "installed", "other", "order"),
    [
        ("exact", "1000008024-AA0-PCI", "1000008024-AA0-PCI", Order.SAME),
        ("exact", "1000008024-AA0-PCI", "1000008024-AB0-PCI", Order.DIFFERENT),
        ("exact", "VP5300 FW v1.00.S", "VP5300 FW v1.00.T", Order.DIFFERENT),
        ("opaque", "SIM 1.02.3", "SIM 1.02.3 ", Order.SAME),
        ("opaque", "SIM 1.02.3", "SIM 1.02.4", Order.DIFFERENT),
        ("list", "APP 1.2;EMV 3.4;BOOT 1", "APP 1.2; EMV 3.4; BOOT 1", Order.SAME),
        ("list", "REL00001REL00002", "REL00001", Order.DIFFERENT),
        ("list", "REL00001 REL00002", "REL00001 REL00003", Order.DIFFERENT),
        ("list", "REL00001 REL00002", "REL00002 REL00001", Order.DIFFERENT),
        ("revision_letters", "1000003585 B", "1000003585 C", Order.OLDER),
        ("revision_letters", "1000003585 Z", "1000003585 AA", Order.OLDER),
        ("revision_letters", "1000003585 B2", "1000003585 B10", Order.OLDER),
        ("revision_letters", "1000003585 C", "1000003585 C", Order.SAME),
        ("revision_letters", "1000003585", "1000003585 C", Order.UNKNOWN),
        ("exact", "", "C", Order.UNKNOWN),
    ],
)
def test_the_other_rules_say_no_more_than_they_know(
    rule: str, installed: str, other: str, order: Order
) -> None:
    assert compare(firmware(rule), installed, other) is order


def test_letters_of_a_revision_are_taken_from_their_group() -> None:
    rule = firmware(
        "revision_letters", version_format=r"^(?P<part>\d{4,})[-_ ](?P<rev>[A-Z]{1,2}\d*)"
    )

    assert compare(rule, "1000008024-AA0-PCI", "1000008024-AB0-PCI") is Order.OLDER
    assert compare(rule, "1000008024-AB0-PCI", "1000008024-AA9-PCI") is Order.NEWER


def test_a_text_that_does_not_fit_the_format_is_unknown_by_every_rule() -> None:
    for rule in ("exact", "opaque", "contains", "list", "numeric:a", "revision_letters"):
        strict = firmware(rule, version_format=r"^APP (?P<a>\d+)")

        assert compare(strict, "boot loader", "APP 3") is Order.UNKNOWN
        assert not is_readable(strict, "boot loader")


def test_another_language_is_another_variant() -> None:
    assert foreign_groups(FEIG, "GER-APP-v2.0.9", {"lang": "FRA"}) == ("lang",)
    assert foreign_groups(FEIG, "GER-APP-v2.0.9", {"lang": "GER"}) == ()
    assert foreign_groups(FEIG, "GER-APP-v2.0.9", {}) == ()
    assert not is_installed(FEIG, "FRA-APP-v2.0.9", "GER-APP-v2.0.9")
    assert is_installed(FEIG, "GER-APP-v2.0.9", "GER-APP-v2.0.9")
    assert not is_installed(FEIG, "something else", "GER-APP-v2.0.9")


@pytest.mark.parametrize(
    ("rule", "installed", "holds"),
    [
        ("*", "anything", True),
        ("<2.0.9", "GER-APP-v2.0.8", True),
        ("<2.0.9", "GER-APP-v2.0.9", False),
        (">=2.0.9, <2.1", "GER-APP-v2.0.10", True),
        (">=2.0.9, <2.1", "GER-APP-v2.1.0", False),
        ("=2.0.9", "GER-APP-v2.0.9", True),
        (">2.0.9", "GER-APP-v2.0.10", True),
        ("<2.0.9", "SIM 1.02.3", False),
        (">2.0.9", "SIM 1.02.3", False),
        ("version_missing:voltage", "GER-APP-v2.0.9", True),
        ("version_missing:lang", "GER-APP-v2.0.9", False),
    ],
)
def test_a_quirk_applies_to_its_versions_only(rule: str, installed: str, holds: bool) -> None:
    assert is_rule(rule)
    assert applies(FEIG, rule, installed) is holds


def test_what_the_reader_told_is_not_missing() -> None:
    assert not applies(FEIG, "version_missing:voltage", "GER-APP-v2.0.9", {"voltage"})
    assert applies(None, "version_missing:voltage", "")
    assert not applies(None, "<2", "1")


@pytest.mark.parametrize("text", ["", "2.0.9", "~2.0", "version_missing:", "** ", "<"])
def test_a_range_that_nobody_understands_is_no_rule(text: str) -> None:
    assert not is_rule(text)


NUMBERS = st.tuples(*[st.integers(0, 999)] * 3)


@given(NUMBERS, NUMBERS)
def test_numeric_order_is_that_of_the_numbers(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    mine, theirs = (f"GER-APP-v{a}.{b}.{c}" for a, b, c in (one, other))
    order = Order.SAME if one == other else Order.OLDER if one < other else Order.NEWER

    assert compare(FEIG, mine, theirs) is order
    assert groups(FEIG, mine) == {
        "lang": "GER", "major": str(one[0]), "minor": str(one[1]), "patch": str(one[2])
    }  # fmt: skip


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_breaks_a_rule_and_nothing_is_its_own_opposite(one: str, other: str) -> None:
    mirrored = {Order.OLDER: Order.NEWER, Order.NEWER: Order.OLDER}
    for rule in (FEIG, firmware("exact"), firmware("list"), firmware("revision_letters")):
        order = compare(rule, one, other)

        assert compare(rule, other, one) is mirrored.get(order, order)


@pytest.mark.parametrize("name", ["idtech-vp3300", "idtech-kiosk-iii"])
def test_a_text_of_id_tech_is_readable(name: str) -> None:
    found = load_profile(name).firmware

    assert found is not None
    assert is_readable(found, "VP5300 FW v1.00.S")
    assert not is_readable(found, "Boot loader")
    assert compare(found, "VP5300 FW v1.00.S", "VP5300 FW v1.00.T") is Order.DIFFERENT
