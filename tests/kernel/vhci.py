"""A plug in the kernel's virtual USB host (`vhci_hcd`): what is plugged in here is like any other USB device to Linux.

The kernel speaks USB/IP (Documentation/usb/usbip_protocol.rst) over a socket that it is handed through sysfs; the
device is the other end. For root, on a kernel of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.errors import Lost
from agent.transports.transport import Inbox
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.simulator.sockets import Line
    from agent.simulator.usb_bus import UsbDevice

HOST: Final = Path("/sys/devices/platform/vhci_hcd.0")
_PORT: Final = 0
_FREE: Final = "004"
_FULL_SPEED: Final = 2
_DEVICE_ID: Final = 0x00010002

_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_HEADER: Final = struct.Struct(">5I28s")
_SUBMIT_BODY: Final = struct.Struct(">Iiiii8s")
_ANSWER_BODY: Final = struct.Struct(">iiiii8x")

_IN: Final = 0x80
_STANDARD_IN, _INTERFACE_IN, _CLASS_OUT = 0x80, 0x81, 0x21
_GET_DESCRIPTOR, _SET_REPORT, _SET_IDLE = 0x06, 0x09, 0x0A
_DEVICE, _CONFIGURATION, _STRING, _REPORT = 1, 2, 3, 0x22
#: Reports of 64 bytes in and out on a vendor's page, without an id.
_REPORTS: Final = bytes.fromhex(
    "0600ff 0901 a101 1500 26ff00 7508 9540 0901 8102 9540 0901 9102 c0"
)


class VhciSocket:
    """A HID reader's plug. A host's first report, asked for or sent, is a line; a driver that starts over ends it."""

    def __init__(self, device: UsbDevice) -> None:
        self._device = device
        self._endpoints = [one["address"] for one in device.interfaces[0]["endpoints"]]
        self._line: _VhciLine | None = None
        self._on_line: Callable[[Line], None] = lambda _: None
        self._serving: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._asked: deque[tuple[int, int]] = deque()
        """Sequence number and size of each report that the host waits for."""
        self._reports: deque[bytes] = deque()

    @property
    def address(self) -> str:
        return self._device.address

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        self._on_line = on_line
        await eventually_async(_port_is_free)
        ours, kernels = socket.socketpair()
        with kernels:
            words = f"{_PORT} {kernels.fileno()} {_DEVICE_ID} {_FULL_SPEED}"
            await asyncio.to_thread((HOST / "attach").write_text, words)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        self._serving = asyncio.create_task(self._serve(reader))

    async def unplug(self) -> None:
        """The kernel takes a closed socket for a pulled plug."""
        if self._serving is None or self._writer is None:
            return
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
        self._writer.close()
        self._serving = self._writer = None
        self._end(Lost.UNPLUGGED)

    def send(self, report: bytes) -> None:
        self._reports.append(report)
        self._hand_out()

    # --- what the kernel asks ------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                command, number, _, direction, endpoint, body = _HEADER.unpack(
                    await reader.readexactly(_HEADER.size)
                )
                if command == _UNLINK:
                    self._unlink(number, struct.unpack_from(">I", body)[0])
                    continue
                _, length, _, _, _, setup = _SUBMIT_BODY.unpack(body)
                content = b"" if direction else await reader.readexactly(length)
                if endpoint == 0:
                    self._control(number, setup, content)
                elif direction:
                    self._wait_for_report(number, length)
                else:
                    self._take(content)
                    self._answer(number, taken=length)

    def _control(self, number: int, setup: bytes, content: bytes) -> None:
        kind, request, value, _, length = struct.unpack("<BBHHH", setup)
        if request == _GET_DESCRIPTOR and kind in (_STANDARD_IN, _INTERFACE_IN):
            described = self._describe(value >> 8, value & 0xFF)
            if described is None:
                self._answer(number, status=-errno.EPIPE)
            else:
                self._answer(number, described[:length])
            return
        if kind & _IN:
            self._answer(number, bytes(length))
            return
        if (kind, request) == (_CLASS_OUT, _SET_REPORT):
            self._take(content)
        elif (kind, request) == (_CLASS_OUT, _SET_IDLE):
            self._end(Lost.CLOSED_BY_PEER)
        self._answer(number, taken=len(content))

    def _wait_for_report(self, number: int, length: int) -> None:
        self._asked.append((number, length))
        self._line_of_host()
        self._hand_out()

    def _take(self, report: bytes) -> None:
        self._line_of_host().inbox.put(report)

    def _line_of_host(self) -> _VhciLine:
        if self._line is None:
            self._line = _VhciLine(self)
            self._on_line(self._line)
        return self._line

    def _unlink(self, number: int, unwanted: int) -> None:
        known = [one for one in self._asked if one[0] == unwanted]
        for one in known:
            self._asked.remove(one)
        # 0: it had been answered before the kernel changed its mind.
        self._say(
            _UNLINKED, number, _ANSWER_BODY.pack(-errno.ECONNRESET if known else 0, 0, 0, 0, 0)
        )

    def _hand_out(self) -> None:
        while self._asked and self._reports:
            number, length = self._asked.popleft()
            self._answer(number, self._reports.popleft()[:length])

    def _answer(
        self, number: int, content: bytes = b"", *, taken: int = 0, status: int = 0
    ) -> None:
        body = _ANSWER_BODY.pack(status, len(content) or taken, 0, 0, 0)
        self._say(_SUBMITTED, number, body + content)

    def _say(self, command: int, number: int, body: bytes) -> None:
        if self._writer is not None:
            self._writer.write(struct.pack(">5I", command, number, 0, 0, 0) + body)

    def _end(self, lost: Lost) -> None:
        if self._line is not None:
            self._line.inbox.end(lost)
            self._line = None
        self._asked.clear() if lost is Lost.UNPLUGGED else None
        self._reports.clear()

    # --- descriptors ---------------------------------------------------------------------------------------

    def _describe(self, kind: int, index: int) -> bytes | None:
        device = self._device
        texts = (device.manufacturer, device.product, device.serial)
        match kind:
            case _ if kind == _DEVICE:
                return struct.pack(
                    "<BBHBBBBHHHBBBB",
                    *(18, _DEVICE, 0x0200, 0, 0, 0, 64, device.vid, device.pid, 0x0100),
                    *(place if text else 0 for place, text in enumerate(texts, 1)),
                    1,
                )
            case _ if kind == _CONFIGURATION:
                ends = b"".join(
                    struct.pack("<BBBBHB", 7, 5, address, 3, 64, 1) for address in self._endpoints
                )
                body = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, len(self._endpoints), 3, 0, 0, 0)
                body += (
                    struct.pack("<BBHBBBH", 9, 0x21, 0x0111, 0, 1, _REPORT, len(_REPORTS)) + ends
                )
                head = struct.pack("<BBHBBBBB", 9, _CONFIGURATION, 9 + len(body), 1, 1, 0, 0x80, 50)
                return head + body
            case _ if kind == _STRING and index == 0:
                return bytes([4, _STRING, 0x09, 0x04])
            case _ if kind == _STRING and index <= len(texts):
                text = texts[index - 1].encode("utf-16-le")
                return bytes([2 + len(text), _STRING]) + text
            case _ if kind == _REPORT:
                return _REPORTS
        return None


class _VhciLine:
    """The reader's end."""

    def __init__(self, plug: VhciSocket) -> None:
        self._plug = plug
        self.inbox = Inbox(plug.address, packets=True)

    @property
    def lost(self) -> Lost | None:
        return self.inbox.lost

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, outgoing: bytes) -> None:
        self.inbox.check()
        self._plug.send(outgoing)

    async def close(self) -> None:
        """A device cannot end a line but by leaving the bus."""
        self.inbox.end(Lost.CLOSED)


async def _port_is_free() -> bool:
    rows = [row.split() for row in (HOST / "status").read_text().splitlines()[1:]]
    return any(int(row[1]) == _PORT and row[2] == _FREE for row in rows)
