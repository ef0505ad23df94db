"""Which profiles a device that was seen may belong to, best first. Pure: seeing and probing are the agent's.

A candidate is bound only after its `match.confirm` question was answered as expected. Numbers of a USB-serial chip and
of a TCP port say little about what is behind them, so they weigh least.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firmware_profiles.profile import BleMatch, ReaderProfile, SerialMatch, TcpMatch, UsbMatch


@dataclass(frozen=True, slots=True)
class UsbSeen:
    """A USB device with its descriptors. `is_serial_bridge`: a chip behind which anything may be."""

    vid: int
    pid: int
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    interface_classes: frozenset[int] = frozenset()
    is_serial_bridge: bool = False


@dataclass(frozen=True, slots=True)
class BleSeen:
    """A Bluetooth LE advertisement."""

    services: frozenset[str] = frozenset()
    name: str = ""
    manufacturer_ids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class TcpSeen:
    """A port that accepts connections, with the hardware address of its machine where that is known."""

    port: int
    mac: str = ""


Seen = UsbSeen | BleSeen | TcpSeen


def candidates(profiles: Iterable[ReaderProfile], seen: Seen) -> list[ReaderProfile]:
    """The profiles whose rules fit, highest score first; equal scores in the order of their ids."""
    scored = [(score(profile, seen), profile) for profile in profiles]
    return [
        profile
        for points, profile in sorted(scored, key=lambda pair: (-pair[0], pair[1].id))
        if points > 0
    ]


def score(profile: ReaderProfile, seen: Seen) -> float:
    """Points of the best rule of the profile; 0 when none fits."""
    rules = profile.match
    points: list[float]
    match seen:
        case UsbSeen(is_serial_bridge=True):
            points = [_score_bridge(rule, seen) for rule in rules.serial if rule.enabled]
        case UsbSeen():
            points = [_score_usb(rule, seen) for rule in rules.usb if rule.enabled]
        case BleSeen():
            points = [_score_ble(rule, seen) for rule in rules.ble if rule.enabled]
        case TcpSeen():
            points = [_score_tcp(rule, seen) for rule in rules.tcp if rule.enabled]
        case _:
            assert_never(seen)
    return max(points, default=0)


def _score_usb(rule: UsbMatch, seen: UsbSeen) -> float:
    if rule.vid != seen.vid or rule.pid not in (None, seen.pid):
        return 0
    if rule.serial is not None and not re.search(rule.serial, seen.serial):
        return 0
    points = 0.5 if rule.pid is None else 1.0
    points += rule.interface_class in seen.interface_classes
    texts = ((rule.product, seen.product), (rule.manufacturer, seen.manufacturer))
    hit = any(expression is not None and re.search(expression, text) for expression, text in texts)
    return points + (2 if hit else 0)


def _score_bridge(rule: SerialMatch, seen: UsbSeen) -> float:
    return 0.5 if any((usb.vid, usb.pid) == (seen.vid, seen.pid) for usb in rule.usb) else 0


def _score_ble(rule: BleMatch, seen: BleSeen) -> float:
    if rule.manufacturer_id is not None and rule.manufacturer_id not in seen.manufacturer_ids:
        return 0
    points = 2.0 if rule.service is not None and rule.service.lower() in seen.services else 0
    return points + (rule.name is not None and re.search(rule.name, seen.name) is not None)


def _score_tcp(rule: TcpMatch, seen: TcpSeen) -> float:
    if rule.port != seen.port:
        return 0
    known = [prefix.lower() for prefix in rule.oui]
    return 0.5 + (seen.mac.lower()[:8] in known)
