"""A machine with Bluetooth, for the real bleak: a private D-Bus with the simulator's BlueZ on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from bleak.backends.bluezdbus import manager

from agent.simulator.bluetooth import BleLine, Bluez, Peripheral, private_bus
from agent.transports import Transport, transport_for
from tests.support.programs import program
from tests.support.waiting import eventually_async

MAC = "C0:FF:EE:12:34:56"
GATT = {
    "service": "0cba14b7-ff24-47b0-be09-26440538530c",
    "write": "47f05ffa-5909-4969-bc57-250d47e874e5",
    "notify": "fed49118-c7e2-4a61-9ed5-e6dd65c3071b",
    "settle_ms": 0,
    "connect_timeout_s": 3,
}
PATIENCE_S = 10.0


class Radio:
    """BlueZ, and one device that keeps what it was sent."""

    def __init__(self, bluez: Bluez) -> None:
        self.bluez = bluez
        self.lines: list[BleLine] = []
        self.device = Peripheral(
            mac=MAC,
            name="DynaFlex II GO",
            service=str(GATT["service"]),
            write=str(GATT["write"]),
            notify=str(GATT["notify"]),
            on_line=self.lines.append,
            manufacturer_id=0x0801,
        )

    @property
    def line(self) -> BleLine:
        """The connection that came last."""
        return self.lines[-1]

    def transport(self, **options: object) -> Transport:
        """A closed transport to the device."""
        return transport_for(f"ble://{MAC}", {**GATT, **options})


@asynccontextmanager
async def radio(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Radio]:
    """Bluetooth that works, and a device in its range."""
    program("dbus-daemon")
    async with private_bus() as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        bluez = Bluez(address)
        await bluez.start()
        made = Radio(bluez)
        bluez.show(made.device)
        try:
            yield made
        finally:
            bluez.crash()
            await forget_bleak()


async def forget_bleak() -> None:
    """bleak keeps a connection for each event loop, which nobody closes."""
    instances = manager._global_instances  # noqa: SLF001 (it has no other way)
    kept = instances.pop(asyncio.get_running_loop(), None)
    if kept is not None and kept._bus is not None:  # noqa: SLF001
        kept._bus.disconnect()  # noqa: SLF001
        if kept._bus_watcher_task is not None:  # noqa: SLF001
            await asyncio.wait({kept._bus_watcher_task})  # noqa: SLF001


async def eventually(holds: Callable[[], object]) -> None:
    """Until it holds; the event loop goes on meanwhile."""

    async def look() -> object:
        return holds()

    await eventually_async(look, PATIENCE_S)


async def within(work: Awaitable[bytes]) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        return await work
