"""What devices need to reach us, as the edges are given it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from control_plane.devices.authority import Authority
from protocols.cloud.http import Broker


@dataclass(frozen=True, slots=True)
class BrokerDirectory:
    """Who signs for devices, where their broker is, and how the broker is told at once that a device is new."""

    authority: Callable[[], Authority]
    broker: Callable[[], Broker]
    look_now: Callable[[], None]
