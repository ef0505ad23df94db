"""Bluetooth readers as they announce themselves. A reader that is connected announces nothing, so none is ever gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from agent.discovery.sighting import Sighting
from agent.errors import TransportUnavailable
from agent.transports.ble_scan import heard
from firmware_profiles.matching import BleSeen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from agent.transports.ble_scan import Heard

log = structlog.get_logger()

#: Listening costs the radio time that connected readers need.
_LISTEN_S: Final = 10.0
_PAUSE_S: Final = 50.0


async def watch(services: Collection[str]) -> AsyncIterator[Sighting]:
    """Everything that announces one of these services, again and again."""
    was_told = False
    while True:
        try:
            async for one in heard(_LISTEN_S, services=services):
                was_told = False
                yield sighting(one)
        except TransportUnavailable as unavailable:
            if not was_told:
                log.warning("bluetooth_not_heard", reason=unavailable.message)
            was_told = True
        await asyncio.sleep(_PAUSE_S)


def sighting(one: Heard) -> Sighting:
    """The same, in the terms of discovery."""
    seen = BleSeen(frozenset(one.services), one.name, frozenset(one.manufacturer_ids))
    return Sighting(f"ble {one.address}", f"ble://{one.address}", seen)
