"""What the guest proves: a reader on real USB is found, sells, is lost and comes back. Ends with 0, or a traceback.

The reader is one of our simulated ones on the kernel's virtual host; everything between it and the payment desk is what
a shop has: usbcore, usbhid, usbfs, udev, libusb, pyusb, pyudev, and the agent's own transport.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import structlog

from agent.discovery.sighting import Gone, Sighting
from agent.discovery.usb_watch import watch
from agent.payment import PaymentDesk
from agent.readers.connecting import reader_for
from agent.readers.reader import ReaderState
from agent.simulator.reader import SimulatedReader
from agent.simulator.usb_bus import UsbDevice
from firmware_profiles import load_profile
from protocols.readers.registry import terminal_machine
from tests.kernel.proof import PATIENCE_S, check, say, sell, until
from tests.kernel.vhci import VhciSocket
from tests.support.waiting import eventually_async

READERS = (
    (
        "magtek_mms",
        "magtek-dynaflex-ii-go",
        UsbDevice(0x0801, 0x2020, "MagTek", "DynaFlex II", "B5A0001"),
    ),
    ("idtech_neo", "idtech-vp3300", UsbDevice(0x0ACD, 0x3530, "ID TECH", "VP3300", "730T000001")),
)


async def main() -> None:
    for protocol, profile_id, device in READERS:
        await prove(protocol, profile_id, device)


async def prove(protocol: str, profile_id: str, device: UsbDevice) -> None:
    machine = terminal_machine(protocol, "usb_hid", {"serial_number": device.serial})
    plug = SimulatedReader(machine, VhciSocket(device))
    sightings: asyncio.Queue[Sighting | Gone] = asyncio.Queue()

    async def look() -> None:
        async for seen in watch():
            sightings.put_nowait(seen)

    async def told() -> str:
        seen = await asyncio.wait_for(sightings.get(), PATIENCE_S)
        return seen.address if isinstance(seen, Sighting) else type(seen).__name__

    profile = load_profile(profile_id)
    reader = reader_for(profile, f"usb://{device.vid:04x}:{device.pid:04x}", currency="USD")
    desk = PaymentDesk(reader, authorises=profile.can("authorises"))
    say(loaded=profile_id)
    async with asyncio.TaskGroup() as tasks:
        around = [tasks.create_task(look()), tasks.create_task(plug.run())]
        check(await told(), device.address, "udev tells of the reader")
        check(await driver(), "usbhid", "the kernel's HID driver has it")

        driving = tasks.create_task(reader.run())
        await until(reader.until(ReaderState.READY), "ready")
        check(await driver(), "usbfs", "the agent has it")
        check(await sell(desk), ("approved", 1), "a sale")

        plug.unplug()
        await until(reader.until(ReaderState.DISCONNECTED), "unplugged")
        say(reason=reader.status.reason)
        check(await told(), "Gone", "udev tells that it is gone")
        plug.plug_in()
        check(await told(), device.address, "udev tells that it is back")
        await until(reader.until(ReaderState.READY), "ready")

        selling = tasks.create_task(sell(desk, "waiting_for_card", plug.unplug))
        check(await told(), "Gone", "udev tells that it is gone in a sale")
        plug.plug_in()
        check(await told(), device.address, "udev tells that it is back")
        check(await selling, ("failed", 0), "a sale that loses its cable moves no money")
        await until(reader.until(ReaderState.READY), "ready")
        check(await sell(desk), ("approved", 1), "the sale after it")

        driving.cancel()
        await asyncio.wait([driving])
        check(await driver(), "usbhid", "the kernel's HID driver has it again")
        for task in around:
            task.cancel()


async def driver() -> str:
    """Who has the reader's interface."""
    return await eventually_async(lambda: asyncio.to_thread(_holder), PATIENCE_S)


def _holder() -> str:
    found = list(Path("/sys/bus/usb/devices").glob("*-1:1.0/driver"))
    return found[0].resolve().name if found else ""


structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
asyncio.run(main())
