"""A radio for the kernel (`hci_vhci`) and a peripheral in its range, both of bumble: BlueZ takes them for hardware.

Bumble lies in a folder of its own, since what it needs of USB would hide the system's from the agent.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from bumble.controller import Controller
from bumble.core import AdvertisingData
from bumble.device import Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address, LeFeatureMask, OwnAddressType
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport import open_transport

from agent.errors import Lost
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.simulator.sockets import Line

#: Bumble tells of these but does not do all that Linux then asks of them.
_NOT_REALLY = LeFeatureMask.LL_PRIVACY | LeFeatureMask.LE_EXTENDED_ADVERTISING
#: As much of it as an announcement has room for.
NAME = "DynaFlex"
_EVERY_MS = 100
_ADAPTER_MAC = "00:00:5E:00:53:01"
_MAC = "F0:0D:00:C0:FF:EE"


class RadioSocket:
    """Where a simulated reader is reached by radio. A host that listens is a line."""

    def __init__(self, device: Device, service: str, write: str, notify: str) -> None:
        self._device = device
        self._service = service
        self._line: RadioLine | None = None
        self._on_line: Callable[[Line], None] = lambda _: None
        self._is_plugged = False
        self._announcing: asyncio.Future[None] | None = None
        written = CharacteristicValue(write=self._take)
        kinds = Characteristic.Properties
        self._writes = Characteristic(
            write, kinds.WRITE | kinds.WRITE_WITHOUT_RESPONSE, Characteristic.WRITEABLE, written
        )
        self._notifies = Characteristic(notify, kinds.NOTIFY, Characteristic.READABLE, b"")
        self._notifies.on("subscription", self._listened_to)
        device.add_service(Service(service, [self._writes, self._notifies]))
        device.on("connection", self._connected)

    @property
    def address(self) -> str:
        return f"ble://{_MAC}"

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        """Be heard, from now on."""
        self._on_line, self._is_plugged = on_line, True
        if not self._device.powered_on:
            await self._device.power_on()
        await self._announce()

    async def unplug(self) -> None:
        """The reader loses its power."""
        self._is_plugged = False
        await self._device.stop_advertising()
        for connection in list(self._device.connections.values()):
            await connection.disconnect()

    async def notify(self, packet: bytes) -> None:
        await self._device.notify_subscribers(self._notifies, packet)

    async def _announce(self) -> None:
        # All in one packet, as bumble's air carries no answers to a scan.
        service = bytes.fromhex(self._service.replace("-", ""))[::-1]
        said = AdvertisingData(
            [
                (AdvertisingData.FLAGS, b"\x06"),
                (AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, service),
                (AdvertisingData.SHORTENED_LOCAL_NAME, self._device.name.encode()),
            ]
        )
        await self._device.start_advertising(
            own_address_type=OwnAddressType.RANDOM,
            advertising_data=bytes(said),
            advertising_interval_min=_EVERY_MS,
            advertising_interval_max=_EVERY_MS,
        )

    def _connected(self, connection: Any) -> None:  # bumble's
        connection.on("disconnection", lambda _: self._gone())

    def _listened_to(self, _: object, notify_enabled: bool, __: bool) -> None:
        if notify_enabled and self._line is None:
            self._line = RadioLine(self)
            self._on_line(self._line)

    def _take(self, _: object, packet: bytes) -> None:
        if self._line is not None:
            self._line.inbox.put(packet)

    def _gone(self) -> None:
        if self._line is not None:
            self._line.inbox.end(Lost.RADIO)
            self._line = None
        if self._is_plugged:
            self._announcing = asyncio.ensure_future(self._announce())


class RadioLine:
    """One connection of a host, seen from the reader."""

    def __init__(self, socket: RadioSocket) -> None:
        self._socket = socket
        self.inbox = Inbox(socket.address, packets=True)

    @property
    def lost(self) -> Lost | None:
        return self.inbox.lost

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, outgoing: bytes) -> None:
        self.inbox.check()
        await self._socket.notify(outgoing)

    async def close(self) -> None:
        """A reader ends a line by falling silent, which `RadioSocket.unplug` does."""
        self.inbox.end(Lost.CLOSED)


class _Air(LocalLink):  # type: ignore[misc]  # bumble is not where types are checked
    """Between the two radios. Linux connects with its public address and scans with another one."""

    def send_acl_data(
        self, sender_controller: Any, destination_address: Any, transport: Any, data: bytes
    ) -> None:
        """As the base, which takes the address of scans for the sender's."""
        receiver = self.find_le_controller(destination_address)
        connection = sender_controller.le_connections.get(destination_address)
        if receiver is not None and connection is not None:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, connection.self_address, transport, data
            )


@asynccontextmanager
async def radio() -> AsyncIterator[Device]:
    """Plugs the radio in to the kernel; gives the peripheral, silent as yet."""
    async with await open_transport("vhci") as (source, sink):
        air = _Air()
        kernels = Controller(
            "kernel", host_source=source, host_sink=sink, link=air, public_address=_ADAPTER_MAC
        )
        readers = Controller("reader", link=air)
        for one in (kernels, readers):
            one.le_features &= ~_NOT_REALLY
        host = Host()
        host.controller = readers
        yield Device(NAME, Address(_MAC), host=host)
