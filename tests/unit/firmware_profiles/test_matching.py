"""Which profiles a device may belong to, and in which order they are tried."""

from __future__ import annotations

from typing import Any

import pytest

from firmware_profiles.matching import BleSeen, TcpSeen, UsbSeen, candidates, score
from firmware_profiles.profile import ReaderProfile, read_profile


def profile(name: str, **match: Any) -> ReaderProfile:  # any table of [match]
    about = {
        "id": name,
        "revision": 1,
        "vendor": "any",
        "model": "any",
        "kind": "card_reader",
        "family": "any",
    }
    tables = {"schema": 1, "profile": about, "protocol": {"name": "zvt"}, "match": match}
    return read_profile(tables, f"{name}.toml")


READER = UsbSeen(0x0801, 0x2020, "MagTek", "DynaFlex", interface_classes=frozenset({3}))


@pytest.mark.parametrize(
    ("rule", "points"),
    [
        ({"vid": 0x0801, "pid": 0x2020}, 1),
        ({"vid": 0x0801, "pid": 0x2020, "interface_class": 3}, 2),
        ({"vid": 0x0801, "pid": 0x2020, "product": "(?i)dynaflex"}, 3),
        ({"vid": 0x0801, "pid": 0x2020, "product": "(?i)dynaflex", "interface_class": 3}, 4),
        ({"vid": 0x0801, "pid": 0x2020, "product": "Other"}, 1),
        ({"vid": 0x0801}, 0.5),
        ({"vid": 0x0801, "pid": 0x2021}, 0),
        ({"vid": 0x0802, "pid": 0x2020}, 0),
        ({"vid": 0x0801, "pid": 0x2020, "enabled": False}, 0),
    ],
)
def test_a_usb_rule_scores_what_fits(rule: dict[str, object], points: float) -> None:
    assert score(profile("one", usb=[rule]), READER) == points


def test_a_serial_bridge_chip_is_weak_and_needs_its_own_rule() -> None:
    bridge = UsbSeen(0x10C4, 0xEA60, is_serial_bridge=True)
    usb = {"vid": 0x10C4, "pid": 0xEA60}

    assert score(profile("one", serial=[{"usb": [usb]}]), bridge) == 0.5
    assert score(profile("one", usb=[usb]), bridge) == 0


def test_a_ble_service_says_more_than_a_name() -> None:
    seen = BleSeen(frozenset({"0cba14b7-ff24-47b0-be09-26440538530c"}), "DynaFlex 12")
    service = {"service": "0CBA14B7-ff24-47b0-be09-26440538530c"}

    assert score(profile("one", ble=[service]), seen) == 2
    assert score(profile("one", ble=[{**service, "name": "^DynaFlex"}]), seen) == 3
    assert score(profile("one", ble=[{"name": "^DynaFlex"}]), seen) == 1
    assert score(profile("one", ble=[{**service, "manufacturer_id": 7}]), seen) == 0


def test_a_tcp_port_is_weak_and_a_hardware_address_helps() -> None:
    rule = {"port": 20007, "oui": ["00:1A:2B"]}

    assert score(profile("one", tcp=[rule]), TcpSeen(20007)) == 0.5
    assert score(profile("one", tcp=[rule]), TcpSeen(20007, "00:1a:2b:00:00:01")) == 1.5
    assert score(profile("one", tcp=[rule]), TcpSeen(22000)) == 0


def test_candidates_come_best_first_and_equal_ones_by_name() -> None:
    exact = profile("zebra", tcp=[{"port": 20007, "oui": ["00:1a:2b"]}])
    second = profile("beta", tcp=[{"port": 20007}])
    first = profile("alpha", tcp=[{"port": 20007}])
    other = profile("other", tcp=[{"port": 1}])

    found = candidates([second, other, first, exact], TcpSeen(20007, "00:1a:2b:00:00:01"))

    assert [profile.id for profile in found] == ["zebra", "alpha", "beta"]
