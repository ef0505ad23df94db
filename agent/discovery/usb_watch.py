"""USB devices as udev tells of them: those that are there at the start, then each that comes or goes.

Nothing is opened and nothing is polled: the numbers and texts are the kernel's, in sysfs.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pyudev

from agent.discovery.sighting import Gone, Sighting
from agent.errors import AgentError
from firmware_profiles.matching import UsbSeen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

#: What udev itself does with a device that was just plugged in may take this long, its serial port included.
_SETTLES_S: Final = 0.1
_INTERFACE: Final = 4
_HUB: Final = 9


class UsbUnwatchable(AgentError):
    """This machine does not tell of USB devices."""

    code = "usb_unwatchable"


def present(bridges: Collection[tuple[int, int]] = ()) -> list[Sighting]:
    """Everything that is plugged in now, hubs left out. `bridges`: numbers of USB-serial chips.

    Raises UsbUnwatchable.
    """
    context = _context()
    found = [
        sighting
        for device in context.list_devices(subsystem="usb", DEVTYPE="usb_device")
        if (sighting := _sighting(context, device, bridges)) is not None
    ]
    found.sort(key=lambda one: one.place)
    return [_told_apart(one, found) for one in found]


async def watch(bridges: Collection[tuple[int, int]] = ()) -> AsyncIterator[Sighting | Gone]:
    """Everything that is there, then what comes and goes, until it is closed. Raises UsbUnwatchable."""
    context = _context()
    loop = asyncio.get_running_loop()
    try:
        monitor = pyudev.Monitor.from_netlink(context)
        monitor.filter_by("usb", "usb_device")
        monitor.start()
    except OSError as error:
        raise UsbUnwatchable(f"udev cannot be listened to: {error}") from error
    heard = asyncio.Event()
    loop.add_reader(monitor.fileno(), heard.set)
    try:
        # Listening came first, so nothing is missed; what is told twice changes nothing.
        known = {one.place: one for one in present(bridges)}
        for one in known.values():
            yield one
        while True:
            await heard.wait()
            heard.clear()
            device = monitor.poll(0)
            while device is not None:
                if device.action == "remove":
                    if (place := _place(device)) in known:
                        del known[place]
                        yield Gone(place)
                elif device.action == "add":
                    await asyncio.sleep(_SETTLES_S)
                    fresh = _sighting(context, device, bridges)
                    if fresh is not None and known.get(fresh.place) != fresh:
                        others = [one for one in known.values() if one.place != fresh.place]
                        fresh = known[fresh.place] = _told_apart(fresh, [*others, fresh])
                        yield fresh
                device = monitor.poll(0)
    finally:
        loop.remove_reader(monitor.fileno())


def _context() -> Any:  # pyudev has no types
    try:
        return pyudev.Context()
    except (ImportError, OSError) as error:
        raise UsbUnwatchable(f"udev is not there: {error}") from error


def _place(device: Any) -> str:
    return f"usb {device.sys_name}"


def _sighting(context: Any, device: Any, bridges: Collection[tuple[int, int]]) -> Sighting | None:
    """None for hubs, and for a device that is gone again."""
    facts = device.attributes
    with contextlib.suppress(OSError, TypeError, ValueError):
        vid, pid = int(facts.get("idVendor"), 16), int(facts.get("idProduct"), 16)
        if int(facts.get("bDeviceClass"), 16) == _HUB:
            return None
        bus = int(facts.get("busnum"))
        serial = _text(facts, "serial")
        is_bridge = (vid, pid) in bridges
        port = next(
            (one.device_node for one in context.list_devices(subsystem="tty", parent=device)), ""
        )
        seen = UsbSeen(
            vid=vid,
            pid=pid,
            manufacturer=_text(facts, "manufacturer"),
            product=_text(facts, "product"),
            serial=serial,
            interface_classes=_interface_classes(Path(device.sys_path, "descriptors").read_bytes()),
            is_serial_bridge=is_bridge,
        )
        address = f"usb://{vid:04x}:{pid:04x}"
        if is_bridge:
            address = f"serial://{port}" if port else ""
        elif serial:
            address += f"/{quote(serial, safe='')}"
        else:
            address += f"?bus={bus}&port={_text(facts, 'devpath')}"
        return Sighting(_place(device), address, seen, port or "")
    return None


def _told_apart(one: Sighting, all_seen: Collection[Sighting]) -> Sighting:
    """Some makers give every unit the same serial number: then only the port tells two of them apart."""
    twins = [other for other in all_seen if other.address == one.address]
    if len(twins) < 2 or not one.address.startswith("usb:") or not isinstance(one.seen, UsbSeen):
        return one
    bus, _, port = one.place.removeprefix("usb ").partition("-")
    address = f"usb://{one.seen.vid:04x}:{one.seen.pid:04x}?bus={bus}&port={port}"
    return Sighting(one.place, address, one.seen, one.port)


def _text(facts: Any, name: str) -> str:
    """A descriptor's text as the device gave it; it may be anything."""
    raw: bytes = facts.get(name) or b""
    return raw.decode("utf-8", "replace").strip().replace("\0", "")[:120]


def _interface_classes(descriptors: bytes) -> frozenset[int]:
    """From the chain of descriptors that sysfs shows: length, type, content."""
    classes, at = set(), 0
    while at + 1 < len(descriptors) and descriptors[at] >= 2:
        one = descriptors[at : at + descriptors[at]]
        if one[1] == _INTERFACE and len(one) >= 9:
            classes.add(one[5])
        at += descriptors[at]
    return frozenset(classes)
