"""Bluetooth without a radio: a private D-Bus, and on it something that looks like BlueZ to programs that use it.

`private_bus` starts the D-Bus; its address goes into `DBUS_SYSTEM_BUS_ADDRESS` of whoever is to find these readers.
`Bluez` plays adapter and devices, `BleSocket` is the place where a simulated reader is reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dbus_fast import DBusFastError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from agent.errors import Lost
from agent.simulator.sockets import SocketUnavailable
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from agent.simulator.sockets import Line

_ADAPTER: Final = "/org/bluez/hci0"
_MTU: Final = 247
_START_S: Final = 5.0
_CONFIG: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


def _ending_with_us() -> list[str]:
    """What a command begins with to get SIGTERM when this process is gone, also after kill -9."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


@asynccontextmanager
async def private_bus() -> AsyncIterator[str]:
    """A D-Bus of our own; gives its address. Raises SocketUnavailable when the program for it is not installed."""
    program = shutil.which("dbus-daemon")
    if program is None:
        raise SocketUnavailable(
            "A reader on Bluetooth needs the program dbus-daemon. To install: sudo apt-get install dbus"
        )
    with tempfile.TemporaryDirectory(prefix="omnitill-bus-") as folder:
        path = Path(folder) / "bus"
        config = Path(folder) / "bus.conf"
        config.write_text(_CONFIG.format(path=path))
        daemon = await asyncio.create_subprocess_exec(
            *_ending_with_us(), program, f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog",
            "--print-address",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            # Its socket is there before anybody may connect to it; the address is told after that.
            told = b""
            if daemon.stdout is not None:
                with contextlib.suppress(TimeoutError):
                    told = await asyncio.wait_for(daemon.stdout.readline(), _START_S)
            if not told:
                raise SocketUnavailable("dbus-daemon did not start")
            yield f"unix:path={path}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                daemon.terminate()
            await daemon.wait()


@dataclass(eq=False)
class Peripheral:
    """One device with one service: what is written to it arrives at `line`, what `line` says is notified."""

    mac: str
    name: str
    service: str
    write: str
    notify: str
    on_line: Callable[[BleLine], None]
    #: Bluetooth Core, assigned numbers: who made it.
    manufacturer_id: int | None = None
    line: BleLine | None = None
    is_notifying: bool = False
    is_resolved: bool = False

    @property
    def path(self) -> str:
        """The D-Bus path of the device."""
        return f"{_ADAPTER}/dev_{self.mac.replace(':', '_')}"

    @property
    def is_connected(self) -> bool:
        """Whether a host is connected."""
        return self.line is not None


class BleLine:
    """One connection of a host, seen from the reader."""

    def __init__(self, bluez: Bluez, peripheral: Peripheral) -> None:
        self._bluez = bluez
        self._peripheral = peripheral
        self.inbox = Inbox(f"ble://{peripheral.mac}", packets=True)

    @property
    def lost(self) -> Lost | None:
        return self.inbox.lost

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, outgoing: bytes) -> None:
        """Notify; a host that does not listen hears nothing."""
        self.inbox.check()
        self._bluez.notify(self._peripheral, outgoing)

    async def close(self) -> None:
        if self.inbox.lost is None:
            self._bluez.hang_up(self._peripheral)


@dataclass
class Tricks:
    """What goes wrong from now on. Counts go down as they strike."""

    att_error: int = 0
    """ATT error code of the next write; 0 for none."""
    in_progress: int = 0
    """So many writes are answered with InProgress first."""
    lose_notifications: int = 0
    never_resolves: bool = False
    """Devices connect but do not tell their services."""
    wants_pairing: bool = False
    """Listening is refused until the devices are paired, which they never are."""


class Bluez:
    """Adapter hci0 and devices around it, for programs on one bus. `start` and `crash` may alternate."""

    def __init__(self, bus_address: str) -> None:
        self._bus_address = bus_address
        self._bus: MessageBus | None = None
        self._peripherals: dict[str, Peripheral] = {}
        self._is_discovering = False
        self._shown: set[str] = set()
        self.has_adapter = True
        self.is_powered = True
        self.tricks = Tricks()
        self.calls: Counter[str] = Counter()
        """How often each method was called."""

    @property
    def is_running(self) -> bool:
        """Whether there is something on the bus that calls itself BlueZ."""
        return self._bus is not None

    async def start(self) -> None:
        """Be there, with nobody connected. Raises SocketUnavailable when there is no bus."""
        try:
            bus = await MessageBus(bus_address=self._bus_address).connect()
            bus.add_message_handler(self._answer)
            await bus.request_name("org.bluez")
        except (OSError, EOFError, DBusFastError) as error:
            raise SocketUnavailable(f"{self._bus_address}: {error}") from error
        self._bus = bus
        # bluetoothd tells of its objects one by one as it comes up.
        for path, interfaces in self._objects().items():
            self._tell_added(path, interfaces)

    def crash(self) -> None:
        """Be gone without a word, as after kill -9. The radio links break; devices go on."""
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None
        self._is_discovering = False
        self._shown = {one.path for one in self._peripherals.values()}
        for one in self._peripherals.values():
            self._cut(one, Lost.RADIO)

    # --- devices -------------------------------------------------------------------------------------------

    def show(self, peripheral: Peripheral) -> None:
        """The device announces itself from now on."""
        self._peripherals[peripheral.path] = peripheral
        if self._is_discovering:
            self._announce(peripheral)

    def hide(self, peripheral: Peripheral) -> None:
        """The device is switched off, or carried away."""
        self._peripherals.pop(peripheral.path, None)
        self.hang_up(peripheral)

    def hang_up(self, peripheral: Peripheral) -> None:
        """The radio link breaks; the device announces itself again."""
        if not peripheral.is_connected:
            return
        self._cut(peripheral, Lost.RADIO)
        self._changed(
            peripheral.path,
            "org.bluez.Device1",
            Connected=Variant("b", False),
            ServicesResolved=Variant("b", False),
        )
        for path in _gatt_paths(peripheral):
            self._signal(
                "/", "InterfacesRemoved", "oas", [path, list(self._gatt(peripheral)[path])]
            )
        if self._is_discovering:
            self._announce(peripheral)

    def notify(self, peripheral: Peripheral, packet: bytes) -> None:
        """The device says something."""
        if not peripheral.is_notifying:
            return
        if self.tricks.lose_notifications > 0:
            self.tricks.lose_notifications -= 1
            return
        self._changed(
            _gatt_paths(peripheral)[2], "org.bluez.GattCharacteristic1", Value=Variant("ay", packet)
        )

    # --- the adapter ---------------------------------------------------------------------------------------

    def switch(self, *, on: bool) -> None:
        """Power of the adapter; without it all links break."""
        self.is_powered = on
        if not on:
            self._is_discovering = False
            for one in list(self._peripherals.values()):
                self.hang_up(one)
        self._changed(_ADAPTER, "org.bluez.Adapter1", Powered=Variant("b", on))

    def take_adapter_away(self) -> None:
        """Somebody pulls the Bluetooth stick."""
        self.has_adapter = self._is_discovering = False
        for one in self._peripherals.values():
            self._cut(one, Lost.RADIO)
            for path in reversed(_gatt_paths(one)):
                self._signal("/", "InterfacesRemoved", "oas", [path, list(self._gatt(one)[path])])
            self._signal("/", "InterfacesRemoved", "oas", [one.path, ["org.bluez.Device1"]])
        self._shown.clear()
        self._signal("/", "InterfacesRemoved", "oas", [_ADAPTER, ["org.bluez.Adapter1"]])

    def put_adapter_back(self) -> None:
        """And puts it back."""
        self.has_adapter = True
        for path, interfaces in self._objects().items():
            self._tell_added(path, interfaces)

    # --- what programs ask ---------------------------------------------------------------------------------

    def _answer(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL:
            return None
        member, path = message.member or "", message.path or ""
        self.calls[member] += 1
        if message.interface == "org.freedesktop.DBus.Peer":
            return None
        if member == "GetManagedObjects":
            return _reply(message, "a{oa{sa{sv}}}", self._objects())
        if path == _ADAPTER and self.has_adapter:
            return self._answer_adapter(message)
        for peripheral in self._peripherals.values() if self.has_adapter else ():
            if path == peripheral.path:
                return self._answer_device(message, peripheral)
            if path in _gatt_paths(peripheral):
                return self._answer_characteristic(message, peripheral)
        return _refusal(message, "org.freedesktop.DBus.Error.UnknownObject", "no such object")

    def _answer_adapter(self, message: Message) -> Message:
        if not self.is_powered:
            return _refusal(message, "org.bluez.Error.NotReady", "Resource Not Ready")
        if message.member == "StartDiscovery":
            self._is_discovering = True
            for one in self._peripherals.values():
                if not one.is_connected:
                    self._announce(one)
        elif message.member == "StopDiscovery":
            self._is_discovering = False
        return _reply(message)

    def _answer_device(self, message: Message, peripheral: Peripheral) -> Message | bool:
        if message.member == "Connect":
            # BlueZ answers once the services are known.
            if not peripheral.is_connected and not self._connect(peripheral):
                return True
        elif message.member == "Disconnect":
            self.hang_up(peripheral)
        return _reply(message)

    def _answer_characteristic(self, message: Message, peripheral: Peripheral) -> Message:
        line, path = peripheral.line, message.path
        if line is None:
            return _refusal(message, "org.bluez.Error.Failed", "Not connected")
        _, write, notify = _gatt_paths(peripheral)
        if message.member == "WriteValue" and path == write:
            if self.tricks.in_progress > 0:
                self.tricks.in_progress -= 1
                return _refusal(message, "org.bluez.Error.InProgress", "In Progress")
            if code := self.tricks.att_error:
                self.tricks.att_error = 0
                return _refusal(
                    message,
                    "org.bluez.Error.Failed",
                    f"Operation failed with ATT error: 0x{code:02x}",
                )
            is_unconfirmed = message.body[1].get("type", Variant("s", "")).value == "command"
            if is_unconfirmed and len(message.body[0]) > _MTU - 3:
                return _refusal(message, "org.bluez.Error.InvalidArguments", "Invalid Length")
            line.inbox.put(bytes(message.body[0]))
        elif message.member == "StartNotify" and path == notify:
            if self.tricks.wants_pairing:
                return _refusal(
                    message, "org.bluez.Error.Failed", "Operation failed with ATT error: 0x05"
                )
            peripheral.is_notifying = True
        elif message.member == "StopNotify":
            peripheral.is_notifying = False
        else:
            return _refusal(message, "org.bluez.Error.NotSupported", "Operation is not supported")
        return _reply(message)

    # --- what is told --------------------------------------------------------------------------------------

    def _connect(self, peripheral: Peripheral) -> bool:
        """Whether the services are known then."""
        peripheral.line = BleLine(self, peripheral)
        self._changed(peripheral.path, "org.bluez.Device1", Connected=Variant("b", True))
        if self.tricks.never_resolves:
            return False
        peripheral.is_resolved = True
        for path, interfaces in self._gatt(peripheral).items():
            self._tell_added(path, interfaces)
        self._changed(peripheral.path, "org.bluez.Device1", ServicesResolved=Variant("b", True))
        peripheral.on_line(peripheral.line)
        return True

    def _cut(self, peripheral: Peripheral, why: Lost) -> None:
        if peripheral.line is not None:
            peripheral.line.inbox.end(why)
        peripheral.line = None
        peripheral.is_notifying = peripheral.is_resolved = False

    def _announce(self, peripheral: Peripheral) -> None:
        if peripheral.path not in self._shown:
            self._shown.add(peripheral.path)
            self._tell_added(peripheral.path, {"org.bluez.Device1": self._device(peripheral)})
        else:
            self._changed(peripheral.path, "org.bluez.Device1", RSSI=Variant("n", -48))

    def _objects(self) -> dict[str, dict[str, dict[str, Variant]]]:
        if not self.has_adapter:
            return {}
        objects = {
            _ADAPTER: {
                "org.bluez.Adapter1": {
                    "Address": Variant("s", "00:00:5E:00:53:01"),
                    "Name": Variant("s", "simulated"),
                    "Alias": Variant("s", "simulated"),
                    "Powered": Variant("b", self.is_powered),
                    "Discovering": Variant("b", self._is_discovering),
                    "Roles": Variant("as", ["central", "peripheral"]),
                    "UUIDs": Variant("as", []),
                }
            }
        }
        for one in self._peripherals.values():
            if one.path in self._shown:
                objects[one.path] = {"org.bluez.Device1": self._device(one)}
                if one.is_resolved:
                    objects.update(self._gatt(one))
        return objects

    def _device(self, peripheral: Peripheral) -> dict[str, Variant]:
        properties = {
            "Address": Variant("s", peripheral.mac),
            "AddressType": Variant("s", "public"),
            "Name": Variant("s", peripheral.name),
            "Alias": Variant("s", peripheral.name),
            "Adapter": Variant("o", _ADAPTER),
            "Paired": Variant("b", False),
            "Trusted": Variant("b", False),
            "Connected": Variant("b", peripheral.is_connected),
            "ServicesResolved": Variant("b", peripheral.is_resolved),
            "UUIDs": Variant("as", [peripheral.service]),
            "RSSI": Variant("n", -48),
        }
        if peripheral.manufacturer_id is not None:
            said = {peripheral.manufacturer_id: Variant("ay", b"\x00")}
            properties["ManufacturerData"] = Variant("a{qv}", said)
        return properties

    def _gatt(self, peripheral: Peripheral) -> dict[str, dict[str, dict[str, Variant]]]:
        service, write, notify = _gatt_paths(peripheral)
        objects = {
            service: {
                "org.bluez.GattService1": {
                    "UUID": Variant("s", peripheral.service),
                    "Device": Variant("o", peripheral.path),
                    "Primary": Variant("b", True),
                }
            }
        }
        for path, uuid, flags in (
            (write, peripheral.write, ["write", "write-without-response"]),
            (notify, peripheral.notify, ["notify"]),
        ):
            objects[path] = {
                "org.bluez.GattCharacteristic1": {
                    "UUID": Variant("s", uuid),
                    "Service": Variant("o", service),
                    "Flags": Variant("as", flags),
                    "Value": Variant("ay", b""),
                    "MTU": Variant("q", _MTU),
                }
            }
        return objects

    def _tell_added(self, path: str, interfaces: Mapping[str, Mapping[str, Variant]]) -> None:
        self._signal("/", "InterfacesAdded", "oa{sa{sv}}", [path, interfaces])

    def _changed(self, path: str, of: str, **properties: Variant) -> None:
        self._signal(path, "PropertiesChanged", "sa{sv}as", [of, properties, []])

    def _signal(self, path: str, member: str, signature: str, body: list[Any]) -> None:  # any type
        interface = "Properties" if member == "PropertiesChanged" else "ObjectManager"
        if self._bus is not None and self._bus.connected:
            self._bus.send(
                Message(
                    message_type=MessageType.SIGNAL,
                    path=path,
                    interface=f"org.freedesktop.DBus.{interface}",
                    member=member,
                    signature=signature,
                    body=body,
                )
            )


def _gatt_paths(peripheral: Peripheral) -> tuple[str, str, str]:
    """Of the service, of what is written to, of what notifies."""
    service = f"{peripheral.path}/service000a"
    return service, f"{service}/char000b", f"{service}/char000e"


def _reply(message: Message, signature: str = "", *body: object) -> Message:
    return Message.new_method_return(message, signature, list(body))


def _refusal(message: Message, name: str, text: str) -> Message:
    return Message.new_error(message, name, text)


class BleSocket:
    """Where a simulated reader is reached by radio. `bluez` runs on the bus that hosts were told of."""

    def __init__(
        self, bluez: Bluez, *, mac: str, name: str, service: str, write: str, notify: str
    ) -> None:
        self._bluez = bluez
        self._mac = mac
        self._name = name
        self._gatt = {"service": service, "write": write, "notify": notify}
        self.peripheral: Peripheral | None = None

    @property
    def address(self) -> str:
        return f"ble://{self._mac}"

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        if not self._bluez.is_running:
            await self._bluez.start()
        self.peripheral = Peripheral(
            mac=self._mac,
            name=self._name,
            service=self._gatt["service"],
            write=self._gatt["write"],
            notify=self._gatt["notify"],
            on_line=on_line,
        )
        self._bluez.show(self.peripheral)

    async def unplug(self) -> None:
        if self.peripheral is not None:
            self._bluez.hide(self.peripheral)
            self.peripheral = None
