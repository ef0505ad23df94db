"""What was seen, in words and in points, and the rules that let the agent open it."""

from __future__ import annotations

import pytest

from agent.discovery.ble_watch import sighting
from agent.discovery.sighting import Sighting, loader_of, may_be_reader, ranked
from agent.transports.ble_scan import Heard
from agent.udev_rules import rule_for, rules
from firmware_profiles import load_all
from firmware_profiles.matching import BleSeen, UsbSeen

PROFILES = load_all()[0]


def usb(vid: int, pid: int, product: str = "") -> Sighting:
    return Sighting("usb 1-1", f"usb://{vid:04x}:{pid:04x}", UsbSeen(vid, pid, product=product))


def test_the_profile_whose_text_fits_comes_first() -> None:
    found = ranked(PROFILES.values(), usb(0x0801, 0x2020, product="DynaFlex II GO"))

    points = [one for one, _ in found]
    assert points == sorted(points, reverse=True)
    assert all(profile.profile.family == "magtek-mms" for _, profile in found)
    assert ranked(PROFILES.values(), usb(0x0781, 0x5567)) == []


def test_boot_loaders_and_other_products_of_reader_makers_are_told_apart_from_the_rest() -> None:
    loader = loader_of(PROFILES.values(), usb(0x0801, 0x2021))
    assert loader is not None
    assert loader.profile.vendor == "MagTek"
    assert loader_of(PROFILES.values(), usb(0x0801, 0x2020)) is None
    assert may_be_reader(PROFILES.values(), usb(0x0801, 0x0002))
    assert not may_be_reader(PROFILES.values(), usb(0x0781, 0x5567))


def test_what_the_radio_heard_is_a_sighting_like_any_other() -> None:
    heard = Heard(
        "C0:FF:EE:12:34:56", "DynaFlex", ("0cba14b7-ff24-47b0-be09-26440538530c",), (7,), -60
    )

    one = sighting(heard)

    assert one.address == "ble://C0:FF:EE:12:34:56"
    assert one.seen == BleSeen(frozenset(heard.services), "DynaFlex", frozenset({7}))
    assert one.words() == "DynaFlex, at ble C0:FF:EE:12:34:56"
    assert ranked(PROFILES.values(), one)


@pytest.mark.parametrize(
    ("vid", "pid", "says"),
    [(0x0801, 0x2020, "magtek"), (0x0801, 0x2021, "magtek"), (0x0ACD, 0x3530, "idtech")],
)
def test_the_rules_name_every_reader_and_its_boot_loader(vid: int, pid: int, says: str) -> None:
    printed = rules(PROFILES.values()).splitlines()

    at = printed.index(rule_for(vid, pid))
    assert says in printed[at - 1]
    assert 'MODE="0660"' in printed[at]
    assert printed.count(rule_for(vid, pid)) == 1
