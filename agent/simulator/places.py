"""Where a simulated reader is reached, as its profile describes the line: port, pty, USB bus or radio."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from agent.errors import AgentError
from agent.simulator.control import Trick
from agent.simulator.sockets import PtySocket, SocketUnavailable, TcpSocket
from firmware_profiles import load_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from agent.simulator.bluetooth import BleSocket, Bluez
    from agent.simulator.sockets import Socket
    from firmware_profiles import ReaderProfile

Line = Literal["tcp", "serial", "usb", "ble"]

#: A radio address that no maker owns (locally administered).
SAMPLE_MAC: Final = "C2:00:5E:00:53:01"
_BLUETOOTHD_AWAY_S: Final = 3.0
_FRAMINGS: Final = {"tcp": "tcp", "serial": "serial", "usb": "usb_hid", "ble": "ble_gatt"}
_IN_WORDS: Final = {
    "tcp": "on TCP",
    "serial": "on a serial line",
    "usb": "on USB",
    "ble": "on Bluetooth",
}


class LineNotOffered(AgentError):
    """Readers of this protocol have no such line."""

    code = "line_not_offered"


@dataclass(frozen=True, slots=True)
class Place:
    """A socket, what a host's program needs in its environment to see it, and what its line can suffer."""

    socket: Socket
    environment: Mapping[str, str] = field(default_factory=dict)
    tricks: Mapping[str, Trick] = field(default_factory=dict)


def profile_for(protocol: str, line: Line, wanted: str | None = None) -> ReaderProfile | None:
    """A profile of readers that speak this protocol on such a line: the one wanted, or else the most general one.

    None for a stream that no profile describes, which is tried all the same. Raises LineNotOffered for packets.
    """
    profiles, _ = load_all()
    of_protocol = [one for one in profiles.values() if one.protocol.name == protocol]
    fitting = [one for one in of_protocol if _offers(one, line) and wanted in {None, one.id}]
    if fitting:
        return min(fitting, key=lambda one: (not one.id.startswith("generic-"), one.id))
    if wanted is None and line in {"tcp", "serial"}:
        return None
    offered = sorted({one.id for one in of_protocol if _offers(one, line)})
    raise LineNotOffered(
        f"{wanted or protocol} is not simulated {_IN_WORDS[line]}; "
        + (f"profiles that are: {', '.join(offered)}" if offered else "no profile describes that")
    )


def framing_of(profile: ReaderProfile | None, line: Line) -> str:
    """How messages are cut on it: a stream on USB is as a serial line."""
    if line == "usb" and profile is not None and profile.protocol.framing == "serial":
        return "serial"
    return _FRAMINGS[line]


def _offers(profile: ReaderProfile, line: Line) -> bool:
    protocol = profile.protocol
    return {
        "tcp": protocol.tcp is not None,
        "serial": protocol.serial is not None and protocol.framing != "tcp",
        "usb": bool(profile.match.usb)
        and (protocol.usb_hid is not None or protocol.framing == "serial"),
        "ble": protocol.ble_gatt is not None,
    }[line]


@asynccontextmanager
async def on_tcp(host: str, port: int) -> AsyncIterator[Place]:
    """Listens there; port 0 takes a free one."""
    yield Place(TcpSocket(host, port))


@asynccontextmanager
async def on_pty(path: Path) -> AsyncIterator[Place]:
    """Under this path."""
    yield Place(PtySocket(path))


@asynccontextmanager
async def on_usb(profile: ReaderProfile, serial_number: str) -> AsyncIterator[Place]:
    """On a USB bus of its own. Raises SocketUnavailable where umockdev is not installed."""
    from agent.simulator.usb_bus import (  # noqa: PLC0415 (only this line needs it)
        UsbBus,
        UsbDevice,
        UsbSocket,
        cdc_interfaces,
        hid_interface,
    )

    matched = next(one for one in profile.match.usb if one.enabled)
    hid = profile.protocol.usb_hid
    is_stream = framing_of(profile, "usb") == "serial"
    size = hid.report_len if hid is not None else 64
    device = UsbDevice(
        vid=matched.vid,
        pid=matched.pid or 1,
        manufacturer=profile.profile.vendor,
        product=profile.profile.model,
        serial=serial_number,
        interfaces=cdc_interfaces() if is_stream else (hid_interface(size=size),),
    )
    async with UsbBus() as bus:
        yield Place(UsbSocket(bus, "reader", device), bus.environment)


@asynccontextmanager
async def on_ble(profile: ReaderProfile, mac: str) -> AsyncIterator[Place]:
    """On a radio of its own. Raises SocketUnavailable where dbus-daemon is not installed."""
    from agent.simulator.bluetooth import (  # noqa: PLC0415 (loads what only this line needs)
        BleSocket,
        Bluez,
        private_bus,
    )

    gatt = profile.protocol.ble_gatt
    if gatt is None:
        raise SocketUnavailable(f"{profile.id} describes no line on Bluetooth")
    service = next((one.service for one in profile.match.ble if one.service), None) or gatt.write
    async with private_bus() as address, AsyncExitStack() as things:
        bluez = Bluez(address)
        things.callback(bluez.crash)
        await bluez.start()
        socket = BleSocket(
            bluez,
            mac=mac,
            name=profile.profile.model,
            service=service,
            write=gatt.write,
            notify=gatt.notify,
        )
        yield Place(socket, {"DBUS_SYSTEM_BUS_ADDRESS": address}, _of_radio(bluez, socket))


def _of_radio(bluez: Bluez, socket: BleSocket) -> dict[str, Trick]:
    def break_link() -> None:
        if socket.peripheral is not None:
            bluez.hang_up(socket.peripheral)

    restarts: set[asyncio.Task[None]] = set()

    async def restart() -> None:
        bluez.crash()
        await asyncio.sleep(_BLUETOOTHD_AWAY_S)
        await bluez.start()

    def crash() -> None:
        task = asyncio.ensure_future(restart())
        restarts.add(task)
        task.add_done_callback(restarts.discard)

    def set_trick(name: str, value: object) -> None:
        setattr(bluez.tricks, name, value)

    return {
        "break_link": Trick("let the radio link break once", break_link),
        "lose_notification": Trick(
            "lose the next thing it says", lambda: set_trick("lose_notifications", 1)
        ),
        "att_error": Trick("refuse the next write", lambda: set_trick("att_error", 0x0E)),
        "in_progress": Trick("be busy for three writes", lambda: set_trick("in_progress", 3)),
        "bluetoothd_crash": Trick("let bluetoothd crash; it is back after three seconds", crash),
        "adapter_off": Trick("switch the adapter off", lambda: bluez.switch(on=False)),
        "adapter_on": Trick("switch the adapter on", lambda: bluez.switch(on=True)),
    }
