"""Which Bluetooth Low Energy devices are heard around this machine. Listening connects to nobody."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bleak import BleakScanner
from bleak.uuids import normalize_uuid_str

from agent.transports.ble_host import BROKEN, BleHost, bounded, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

_STOP_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One announcement. ``services``: UUIDs in full, lower case."""

    address: str
    """The radio address; ``ble://`` before it makes the address of a reader."""
    name: str
    services: tuple[str, ...]
    manufacturer_ids: tuple[int, ...]
    rssi_dbm: int | None


async def heard(seconds: float, *, services: Collection[str] = ()) -> AsyncIterator[Heard]:
    """What is announced during so many seconds, each device again when it says something new.

    ``services``: only devices that announce one of these. Raises TransportUnavailable when Bluetooth does not work.
    """
    wanted = [normalize_uuid_str(uuid) for uuid in services]
    queue: asyncio.Queue[Heard] = asyncio.Queue()
    known: dict[str, Heard] = {}

    def notice(device: BLEDevice, said: AdvertisementData) -> None:
        one = Heard(
            address=device.address.upper(),
            name=said.local_name or device.name or "",
            services=tuple(sorted(uuid.lower() for uuid in said.service_uuids)),
            manufacturer_ids=tuple(sorted(said.manufacturer_data)),
            rssi_dbm=said.rssi if said.rssi > -127 else None,
        )
        before, known[one.address] = known.get(one.address), one
        if before is None or (before.name, before.services) != (one.name, one.services):
            queue.put_nowait(one)

    host = BleHost("ble://", lambda _why: None)
    scanner = BleakScanner(notice, service_uuids=wanted or None)
    try:
        await host.open()
        try:
            await scanner.start()
        except BROKEN as error:
            raise unavailable("ble://", error) from error
        until = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                async with asyncio.timeout_at(until):
                    one = await queue.get()
            except TimeoutError:
                return
            yield one
    finally:
        await bounded(_STOP_S, scanner.stop())
        host.close()
