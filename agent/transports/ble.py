"""Bluetooth Low Energy: `ble://AA:BB:CC:DD:EE:FF`, one notification or write a packet.

Options, mostly from the profile's `ble_gatt` table: `service`, `write`, `notify` (UUIDs, the first may be left out),
`write_with_response`, `pdu_max`, `settle_ms`, `connect_timeout_s`, `write_timeout_s`. Linux with BlueZ, through bleak.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDeviceNotFoundError, BleakGATTProtocolError
from bleak.uuids import normalize_uuid_str

from agent.errors import AddressUnreadable, Lost, TransportUnavailable, Unavailable
from agent.transports.ble_host import BROKEN, BleHost, bounded, unavailable
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.scanner import AdvertisementData

    from agent.transports.transport import Address

CLOSE_S: Final = 3.0
#: An attribute is never longer, whatever packet size was agreed on (Bluetooth Core, Vol 3 Part F 3.2.9).
LONGEST_VALUE: Final = 512
_UNPAIRED: Final = frozenset({0x05, 0x08, 0x0C, 0x0F})


@dataclass(frozen=True, slots=True)
class Gatt:
    """Where the bytes go. UUIDs in full, lower case."""

    write: str
    notify: str
    service: str | None = None
    write_with_response: bool = True
    pdu_max: int = 244
    settle_s: float = 0.5
    connect_timeout_s: float = 20
    write_timeout_s: float = 5


def from_address(address: Address) -> BleTransport:
    """Raises AddressUnreadable when the radio address or a characteristic is missing."""
    if address.host.count(":") != 5:
        raise AddressUnreadable(
            f"{address.text!r}: the reader's radio address is needed, such as ble://C0:FF:EE:12:34:56",
            address=address.text,
        )
    gatt = Gatt(
        write=_uuid(address, "write"),
        notify=_uuid(address, "notify"),
        service=_uuid(address, "service") if address.options.get("service") else None,
        write_with_response=address.choice(
            "write_with_response", "TRUE", ("TRUE", "FALSE", "1", "0")
        )
        in {"TRUE", "1"},
        pdu_max=int(address.number("pdu_max", address.number("pdu", 244))),
        settle_s=address.number("settle_ms", 500, above=-1) / 1000,
        connect_timeout_s=address.number("connect_timeout_s", 20),
        write_timeout_s=address.number("write_timeout_s", 5),
    )
    return BleTransport(address.host, gatt)


def _uuid(address: Address, name: str) -> str:
    try:
        return normalize_uuid_str(address.options[name])
    except (KeyError, ValueError) as error:
        raise AddressUnreadable(
            f"{address.text!r}: {name}= is the UUID of what to {'write to' if name == 'write' else 'listen to'};"
            " it comes from the reader's profile",
            address=address.text,
        ) from error


class BleTransport:
    """One reader by radio. BlueZ allows others to talk to it too; that nobody does is up to the machine's owner."""

    def __init__(self, mac: str, gatt: Gatt) -> None:
        self._mac = mac
        self._gatt = gatt
        self._link: _Link | None = None

    @property
    def address(self) -> str:
        return f"ble://{self._mac}"

    @property
    def lost(self) -> Lost | None:
        return self._link.inbox.lost if self._link else None

    async def open(self) -> None:
        await self.close()
        link = _Link(self.address, self._mac, self._gatt)
        try:
            async with asyncio.timeout(self._gatt.connect_timeout_s + self._gatt.settle_s):
                await link.open()
        except TimeoutError:
            await link.close()
            raise TransportUnavailable(self.address, Unavailable.TIMEOUT, link.step) from None
        except BaseException:
            await link.close()
            raise
        self._link = link

    async def read(self) -> bytes:
        return await self._open_link().inbox.take()

    async def write(self, outgoing: bytes) -> None:
        await self._open_link().write(outgoing)

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()

    def _open_link(self) -> _Link:
        if self._link is None:
            raise TransportUnavailable(self.address, Unavailable.FAILED, "open it first")
        return self._link


class _Link:
    """One connection, from looking for the reader to its end."""

    def __init__(self, address: str, mac: str, gatt: Gatt) -> None:
        self.inbox = Inbox(address, packets=True)
        self.step = ""
        """What was going on last; for somebody who wants to know why it took too long."""
        self._address = address
        self._mac = mac
        self._gatt = gatt
        self._host = BleHost(address, lambda why: self.inbox.end(Lost.FAILED, why))
        self._client: BleakClient | None = None
        self._writes_to: BleakGATTCharacteristic | None = None

    async def open(self) -> None:
        """Raises TransportUnavailable, and TimeoutError from the outside."""
        self.step = "bluetoothd does not answer"
        known = await self._host.open()
        try:
            self.step = "the reader is not heard"
            for one in known:
                if one.properties.get("Address") == self._mac and one.is_connected:
                    # Left connected by a program that was killed: it does not announce itself then.
                    path, properties = one.path, one.properties
                    device = BLEDevice(self._mac, None, {"path": path, "props": properties})
                    break
            else:
                device = await self._look()
            self._host.watch(device.details["path"])
            await self._connect(device)
        except BleakDeviceNotFoundError as error:
            raise TransportUnavailable(self._address, Unavailable.OUT_OF_RANGE) from error
        except BROKEN as error:
            raise self._unavailable(error) from error
        if self.inbox.lost is not None:
            raise TransportUnavailable(
                self._address, Unavailable.FAILED, "it let go of the connection at once"
            )

    async def _look(self) -> BLEDevice:
        heard: asyncio.Future[BLEDevice] = asyncio.get_running_loop().create_future()

        def notice(device: BLEDevice, _: AdvertisementData) -> None:
            if device.address.upper() == self._mac and not heard.done():
                heard.set_result(device)

        try:
            # Half of the time, so that some is left to connect.
            async with BleakScanner(notice), asyncio.timeout(self._gatt.connect_timeout_s / 2):
                return await heard
        except TimeoutError:
            raise TransportUnavailable(self._address, Unavailable.OUT_OF_RANGE) from None

    async def _connect(self, device: BLEDevice) -> None:
        self.step = "it is heard, but does not tell its services; switch it off and on"
        self._client = BleakClient(
            device,
            disconnected_callback=lambda _: self.inbox.end(Lost.RADIO),
            timeout=self._gatt.connect_timeout_s,
        )
        await self._client.connect()
        self._writes_to = self._characteristic(self._gatt.write)
        listens_to = self._characteristic(self._gatt.notify)
        # Readers answer nothing, or wrongly, in the first moments of a connection.
        await asyncio.sleep(self._gatt.settle_s)
        self.step = "it does not let us listen"
        await self._client.start_notify(listens_to, self._receive)

    def _receive(self, _: BleakGATTCharacteristic, received: bytearray) -> None:
        self.inbox.put(bytes(received))

    def _characteristic(self, uuid: str) -> BleakGATTCharacteristic:
        assert self._client is not None  # noqa: S101 (connected before)
        services = self._client.services
        scope = services.get_service(self._gatt.service) if self._gatt.service else services
        found = scope.get_characteristic(uuid) if scope is not None else None
        if found is None:
            offered = ", ".join(sorted(service.uuid for service in services)) or "none"
            raise TransportUnavailable(
                self._address,
                Unavailable.WRONG_DEVICE,
                f"no characteristic {uuid}; its services are {offered}",
            )
        return found

    async def write(self, outgoing: bytes) -> None:
        """Whole where the reader confirms writes (BlueZ sends a long one in parts), else as much as goes at once."""
        self.inbox.check()
        client, characteristic = self._client, self._writes_to
        assert client is not None  # noqa: S101 (nobody gets hold of a link that is not open)
        assert characteristic is not None  # noqa: S101
        confirmed = self._gatt.write_with_response
        longest = LONGEST_VALUE if confirmed else characteristic.max_write_without_response_size
        size = max(1, min(self._gatt.pdu_max, longest, LONGEST_VALUE))
        try:
            async with asyncio.timeout(self._gatt.write_timeout_s):
                for start in range(0, len(outgoing), size):
                    piece = outgoing[start : start + size]
                    # bleak tries again while BlueZ says that another write is in progress.
                    await client.write_gatt_char(characteristic, piece, response=confirmed)
        except TimeoutError:
            self.inbox.end(Lost.WRITE_TIMEOUT)
        except BleakGATTProtocolError as refused:
            self.inbox.end(Lost.FAILED, self._att(refused))
        except BROKEN as error:
            # Where the connection's end was already told, that counts.
            self.inbox.end(Lost.RADIO, str(error))
        self.inbox.check()

    async def close(self) -> None:
        self.inbox.end(Lost.CLOSED)
        if self._client is not None:
            await bounded(CLOSE_S, self._client.disconnect())
            self._client = None
        self._host.close()

    def _unavailable(self, error: BaseException) -> TransportUnavailable:
        if isinstance(error, BleakGATTProtocolError):
            return TransportUnavailable(self._address, Unavailable.FAILED, self._att(error))
        return unavailable(self._address, error)

    def _att(self, error: BleakGATTProtocolError) -> str:
        if error.code in _UNPAIRED:
            return f"it wants to be paired first: bluetoothctl pair {self._mac}"
        return f"the reader refused with ATT error {error.code:#04x}, {error.code.name.lower()}"
