"""This machine's Bluetooth as BlueZ tells of it on D-Bus: is it there, what does it know, and when does it go away.

A connection of our own, because bleak keeps calling a reader connected after bluetoothd has died.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bleak.exc import BleakBluetoothNotAvailableError, BleakDBusError, BleakError
from bleak.exc import BleakBluetoothNotAvailableReason as NotAvailable
from dbus_fast import DBusFastError, Message, MessageType, unpack_variants
from dbus_fast.aio import MessageBus
from dbus_fast.constants import BusType

from agent.errors import TransportUnavailable, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

#: What the libraries raise when Bluetooth or the bus goes away beneath them.
BROKEN: Final = (BleakError, DBusFastError, OSError, EOFError, AssertionError)

_BLUEZ: Final = "org.bluez"
_OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
_START_SERVICE: Final = "bluetoothd is not running: sudo systemctl enable --now bluetooth"
_NO_BUS: Final = (
    "the system's D-Bus does not answer: sudo apt-get install dbus bluez, then restart this machine"
)
_NO_ADAPTER: Final = (
    "no Bluetooth adapter is there; plug one in, or switch the built-in one on in the BIOS"
)
_ADAPTER_OFF: Final = (
    "the adapter is switched off: sudo rfkill unblock bluetooth && bluetoothctl power on"
)
_NOT_ALLOWED: Final = (
    "this user may not use Bluetooth: sudo usermod -aG bluetooth $USER, then start the agent anew"
)
_REASONS: Final = {
    NotAvailable.NO_BLUETOOTH: _NO_ADAPTER,
    NotAvailable.NO_BLE_CENTRAL_ROLE: "the adapter is too old for Bluetooth Low Energy; plug in another one",
    NotAvailable.POWERED_OFF: _ADAPTER_OFF,
}


@dataclass(frozen=True, slots=True)
class Known:
    """A device that BlueZ remembers. ``properties`` as on D-Bus, unpacked."""

    path: str
    properties: dict[str, Any]  # BlueZ's own, of many types

    @property
    def is_connected(self) -> bool:
        return bool(self.properties.get("Connected"))


class BleHost:
    """A watch over BlueZ. `on_gone` is called once, with the reason, when BlueZ or the watched device goes away."""

    def __init__(self, address: str, on_gone: Callable[[str], None]) -> None:
        self._address = address
        self._on_gone = on_gone
        self._bus: MessageBus | None = None
        self._device_path: str | None = None

    async def open(self) -> list[Known]:
        """What BlueZ knows. Raises TransportUnavailable with what to do when Bluetooth does not work."""
        try:
            self._bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            self._bus.add_message_handler(self._hear)
            for rule in (
                f"type='signal',member='NameOwnerChanged',arg0='{_BLUEZ}'",
                f"type='signal',sender='{_BLUEZ}',member='InterfacesRemoved'",
            ):
                await self._call("org.freedesktop.DBus", "/", "AddMatch", "s", rule)
            objects = await self._call(_BLUEZ, "/", "GetManagedObjects", interface=_OBJECTS)
        except BROKEN as error:
            raise unavailable(self._address, error) from error
        known: dict[str, dict[str, Any]] = unpack_variants(objects[0])  # BlueZ's own, of many types
        adapters = [
            one["org.bluez.Adapter1"] for one in known.values() if "org.bluez.Adapter1" in one
        ]
        if not adapters:
            raise TransportUnavailable(self._address, Unavailable.NO_BLUETOOTH, _NO_ADAPTER)
        if not any(one.get("Powered") for one in adapters):
            raise TransportUnavailable(self._address, Unavailable.NO_BLUETOOTH, _ADAPTER_OFF)
        return [
            Known(path, one["org.bluez.Device1"])
            for path, one in known.items()
            if "org.bluez.Device1" in one
        ]

    def watch(self, device_path: str) -> None:
        """From now on this device's disappearance counts too."""
        self._device_path = device_path

    def close(self) -> None:
        """Let go of the bus; never raises."""
        if self._bus is not None:
            with contextlib.suppress(*BROKEN):
                self._bus.disconnect()
            self._bus = None

    async def _call(
        self,
        destination: str,
        path: str,
        member: str,
        signature: str = "",
        *body: object,
        interface: str = "org.freedesktop.DBus",
    ) -> list[Any]:  # the answer's values, as D-Bus types them
        assert self._bus is not None  # noqa: S101 (only called once it is open)
        reply = await self._bus.call(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
        assert reply is not None  # noqa: S101 (only a message that wants none has none)
        if reply.message_type is MessageType.ERROR:
            raise BleakDBusError(reply.error_name or "", reply.body)
        return list(reply.body)

    def _hear(self, message: Message) -> None:
        if message.member == "NameOwnerChanged" and message.body[0] == _BLUEZ and message.body[1]:
            self._on_gone("bluetoothd stopped; the line is opened anew when it is back")
        elif message.member == "InterfacesRemoved":
            path, interfaces = message.body
            if path == self._device_path and "org.bluez.Device1" in interfaces:
                self._on_gone("the Bluetooth adapter was taken away, or the reader was forgotten")


def unavailable(address: str, error: BaseException) -> TransportUnavailable:
    """What a technician is told of an error of the libraries."""
    if isinstance(error, BleakBluetoothNotAvailableError):
        words = _REASONS.get(error.reason)
        if words is None:
            return TransportUnavailable(address, Unavailable.NO_PERMISSION, _NOT_ALLOWED)
        return TransportUnavailable(address, Unavailable.NO_BLUETOOTH, words)
    if isinstance(error, BleakDBusError):
        name = error.dbus_error
        if name.endswith((".ServiceUnknown", ".NameHasNoOwner", ".NoReply", ".Disconnected")) or (
            "Spawn" in name
        ):
            return TransportUnavailable(address, Unavailable.NO_BLUETOOTH, _START_SERVICE)
        if name.endswith(".AccessDenied"):
            return TransportUnavailable(address, Unavailable.NO_PERMISSION, _NOT_ALLOWED)
        if name.endswith(".NotReady"):
            return TransportUnavailable(address, Unavailable.NO_BLUETOOTH, _ADAPTER_OFF)
        return TransportUnavailable(address, Unavailable.FAILED, str(error))
    if isinstance(error, (OSError, EOFError, DBusFastError)):
        return TransportUnavailable(address, Unavailable.NO_BLUETOOTH, _NO_BUS)
    return TransportUnavailable(address, Unavailable.FAILED, str(error))


async def bounded(seconds: float, work: Any) -> None:  # any awaitable
    """Wait for the end of something that is only to be tidied up; neither its time nor its trouble counts."""
    with contextlib.suppress(TimeoutError, *BROKEN):
        async with asyncio.timeout(seconds):
            await work
