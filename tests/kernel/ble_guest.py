"""What the guest proves: a reader by radio is heard, sells, is lost and comes back. Ends with 0, or a traceback.

The reader is one of our simulated ones behind bumble's radio; everything between it and the payment desk is what a shop
has: the kernel's Bluetooth, bluetoothd, D-Bus, bleak, and the agent's own transport.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.errors import TransportUnavailable
from agent.payment import PaymentDesk
from agent.readers.connecting import reader_for
from agent.readers.reader import ReaderState
from agent.simulator.bluetooth import private_bus
from agent.simulator.reader import SimulatedReader
from agent.transports.ble_scan import heard
from firmware_profiles import load_profile
from protocols.readers.registry import terminal_machine
from tests.kernel.proof import PATIENCE_S, check, say, sell, until
from tests.kernel.radio import NAME, RadioSocket, radio
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROFILE = "magtek-dynaflex-ii-go"
SERVICE = "0cba14b7-ff24-47b0-be09-26440538530c"
DAEMON = Path(os.environ["SYSTEM"], "usr/libexec/bluetooth/bluetoothd")
#: Is shown when the guest fails.
CONSOLE = Path("/dev/ttyS0")


async def main() -> None:
    profile = load_profile(PROFILE)
    gatt = profile.protocol.ble_gatt
    if gatt is None:
        raise AssertionError(f"{PROFILE} describes no line on Bluetooth")
    async with private_bus() as bus, radio() as device, bluetoothd(bus):
        socket = RadioSocket(device, SERVICE, gatt.write, gatt.notify)
        simulated = SimulatedReader(terminal_machine("magtek_mms", "ble_gatt", {}), socket)
        reader = reader_for(profile, f"{socket.address}?connect_timeout_s=20", currency="USD")
        desk = PaymentDesk(reader, authorises=profile.can("authorises"))
        say(loaded=PROFILE)
        async with asyncio.TaskGroup() as tasks:
            simulating = tasks.create_task(simulated.run())
            await asyncio.wait_for(simulated.is_up.wait(), PATIENCE_S)
            check(await hear(), NAME, "bluetoothd hears the reader")

            driving = tasks.create_task(reader.run())
            await until(reader.until(ReaderState.READY), "ready")
            check(await sell(desk), ("approved", 1), "a sale")

            simulated.unplug()
            await until(reader.until(ReaderState.DISCONNECTED), "out of range")
            say(reason=reader.status.reason)
            simulated.plug_in()
            await until(reader.until(ReaderState.READY), "ready")
            check(await sell(desk), ("approved", 1), "a sale after the link was lost")

            driving.cancel()
            await asyncio.wait([driving])
            simulating.cancel()


async def hear() -> str:
    """The name of the reader that is announced."""

    async def name() -> str:
        try:
            found = [one async for one in heard(3, services=[SERVICE])]
        except TransportUnavailable as not_yet:
            raise AssertionError(not_yet.message) from not_yet
        return found[0].name if found else ""

    return await eventually_async(name, PATIENCE_S)


@asynccontextmanager
async def bluetoothd(bus: str) -> AsyncIterator[None]:
    """Debian's daemon, with an adapter that is switched on."""
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus
    config = Path(tempfile.gettempdir(), "bluetoothd.conf")
    await asyncio.to_thread(config.write_text, "[Policy]\nAutoEnable=true\n")
    console = await asyncio.to_thread(CONSOLE.open, "wb")
    daemon = await asyncio.create_subprocess_exec(
        *(str(DAEMON), "--nodetach", f"--configfile={config}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=console,
        stderr=console,
    )
    console.close()
    try:
        yield
    finally:
        daemon.terminate()
        await daemon.wait()


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
asyncio.run(main())
