"""USB devices that no serial port stands for: `usb://0801:2020/SERIAL?bus=1&port=2.3&interface=0`.

Everything after the numbers is optional and tells equal devices apart. `transfer=interrupt` moves one packet at a time
(HID reports, as they are on the wire), `transfer=bulk` a stream (vendor endpoints, CDC-ACM). pyusb blocks, so an open
device has two threads, for reading and writing; both end when it is closed or unplugged.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import queue
import re
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import usb.core
import usb.util

from agent.errors import AddressUnreadable, Lost, TransportLost, TransportUnavailable, Unavailable
from agent.transports.transport import Inbox
from agent.udev_rules import rule_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.transports.transport import Address

OPEN_S: Final = 5.0
CLOSE_S: Final = 2.0
#: How long the reading thread is in a call that nothing can end.
_SLICE_MS: Final = 250
_CONTROL_MS: Final = 1000
#: After udev has told of a device, libusb may not list it yet.
_SHOWS_UP_S: Final = 0.5
#: A transfer that fails this often in a row will not work any more.
_PATIENCE: Final = 3
_AFTER_FAULT_S: Final = 0.05
_STREAM_CHUNK: Final = 4096

_HID, _CDC, _CDC_DATA = 3, 2, 10
_SET_REPORT, _SET_LINE_CODING, _SET_CONTROL_LINES = 0x09, 0x20, 0x22
_OUTPUT_REPORT: Final = 0x0200
_DTR_RTS: Final = 0x03
_TO_INTERFACE: Final = 0x21
_IN: Final = 0x80

_GONE: Final = {errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.ENOENT}
_REASONS: Final = {
    **dict.fromkeys(_GONE, Unavailable.NOT_FOUND),
    errno.EACCES: Unavailable.NO_PERMISSION,
    errno.EPERM: Unavailable.NO_PERMISSION,
    errno.EBUSY: Unavailable.BUSY,
    errno.ETIMEDOUT: Unavailable.TIMEOUT,
}
_NUMBERS: Final = re.compile(r"(?P<vid>[0-9a-fA-F]{4}):(?P<pid>[0-9a-fA-F]{4})")
_PORT_PATH: Final = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True, slots=True)
class Which:
    """The device and the part of it that is meant."""

    vid: int
    pid: int
    serial: str = ""
    bus: int | None = None
    port: str = ""
    """The chain of hub ports, such as `2.3`."""
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class How:
    """How bytes are moved."""

    is_stream: bool = False
    report_len: int = 64
    report_id: int = 0
    write_timeout_s: float = 5
    baud: int = 9600
    parity: str = "N"
    stopbits: int = 1
    bytesize: int = 8


def from_address(address: Address) -> UsbTransport:
    """Raises AddressUnreadable when the numbers are missing or an option is not understood."""
    numbers = _NUMBERS.fullmatch(address.host)
    port = address.options.get("port", "")
    if numbers is None or (port and not _PORT_PATH.fullmatch(port)):
        raise AddressUnreadable(
            f"{address.text!r}: vendor and product number are needed, such as usb://0801:2020, "
            "and the port, if there is one, like port=2.3",
            address=address.text,
        )
    which = Which(
        vid=int(numbers["vid"], 16),
        pid=int(numbers["pid"], 16),
        serial=unquote(address.path.strip("/")),
        bus=int(address.number("bus", 1)) if "bus" in address.options else None,
        port=port,
        interface=int(address.number("interface", 0, above=-1))
        if "interface" in address.options
        else None,
    )
    how = How(
        is_stream=address.choice("transfer", "INTERRUPT", ("INTERRUPT", "BULK")) == "BULK",
        report_len=int(address.number("report_len", 64)),
        report_id=int(address.number("report_id", 0, above=-1)),
        write_timeout_s=address.number("write_timeout_s", 5),
        baud=int(address.number("baud", 9600)),
        parity=address.choice("parity", "N", ("N", "E", "O")),
        stopbits=int(address.choice("stopbits", "1", ("1", "2"))),
        bytesize=int(address.choice("bytesize", "8", ("7", "8"))),
    )
    return UsbTransport(address.text, which, how)


class UsbTransport:
    """One interface of a USB device that belongs to this process alone while it is open."""

    def __init__(self, address: str, which: Which, how: How | None = None) -> None:
        self.address = address
        self._which = which
        self._how = how or How()
        self._worker: _Worker | None = None

    @property
    def lost(self) -> Lost | None:
        return self._worker.inbox.lost if self._worker else None

    async def open(self) -> None:
        await self.close()
        worker = _Worker(self.address, self._which, self._how)
        try:
            async with asyncio.timeout(OPEN_S):
                await worker.opened
        except TimeoutError:
            worker.stop()
            raise TransportUnavailable(self.address, Unavailable.TIMEOUT) from None
        except asyncio.CancelledError:
            worker.stop()
            raise
        self._worker = worker

    async def read(self) -> bytes:
        return await self._open_worker().inbox.take()

    async def write(self, outgoing: bytes) -> None:
        await self._open_worker().write(outgoing)

    async def close(self) -> None:
        if self._worker is None:
            return
        self._worker.inbox.end(Lost.CLOSED)
        self._worker.stop()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._worker.ended.wait()
        except TimeoutError:
            # A transfer that does not end: its thread is a daemon and ends with it, or with the process.
            pass
        else:
            self._worker.join()

    def _open_worker(self) -> _Worker:
        if self._worker is None:
            raise TransportUnavailable(self.address, Unavailable.FAILED, "open it first")
        return self._worker


_Outgoing = tuple[bytes, "asyncio.Future[None]"]


class _Worker:
    """The threads of one open device. Everything public here is called on the event loop."""

    def __init__(self, address: str, which: Which, how: How) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._which = which
        self._how = how
        # Clear while the thread must not read on: the loop has not taken what it was given.
        self._go_on = threading.Event()
        self._go_on.set()
        self.inbox = Inbox(address, drained=self._go_on.set, packets=not how.is_stream)
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.ended = asyncio.Event()
        self._stopping = False
        self._outgoing: queue.SimpleQueue[_Outgoing | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"usb {address}", daemon=True)
        self._thread.start()

    async def write(self, outgoing: bytes) -> None:
        self.inbox.check()
        written: asyncio.Future[None] = self._loop.create_future()
        self._outgoing.put((outgoing, written))
        await written

    def stop(self) -> None:
        self._stopping = True
        self._go_on.set()
        self._outgoing.put(None)

    def join(self) -> None:
        """Wait for threads that have said that they end."""
        self._thread.join(CLOSE_S)

    # --- in the threads ------------------------------------------------------------------------------------

    def _run(self) -> None:
        lost, detail = Lost.CLOSED, ""
        try:
            pipe = _Pipe(self._address, self._which, self._how)
            self._on_loop(self._accept)
            writing = threading.Thread(
                target=self._write_on, args=(pipe,), name=f"usb {self._address} out", daemon=True
            )
            writing.start()
            try:
                while not self._stopping:
                    if received := pipe.read():
                        self._go_on.clear()
                        self._on_loop(self._receive, received)
                        self._go_on.wait()
            except _Broken as broken:
                lost, detail = broken.lost, broken.detail
                # Whoever reads is told at once; the other thread may still be in a transfer.
                self._on_loop(self.inbox.end, lost, detail)
            finally:
                self._stopping = True
                self._outgoing.put(None)
                writing.join()
                pipe.close()
        except TransportUnavailable as unavailable:
            self._on_loop(self._refuse, unavailable)
        finally:
            self._on_loop(self._end, lost, detail)

    def _write_on(self, pipe: _Pipe) -> None:
        while (waiting := self._outgoing.get()) is not None:
            outgoing, written = waiting
            try:
                pipe.write(outgoing)
            except _Broken as broken:
                self._stopping = True
                self._go_on.set()
                self._on_loop(self._fail, written, broken)
                return
            self._on_loop(_settle, written)

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed; nobody is left to hear it.
            self._stopping = True
            self._go_on.set()

    # --- on the loop, asked by the threads -----------------------------------------------------------------

    def _accept(self) -> None:
        _settle(self.opened)

    def _refuse(self, unavailable: TransportUnavailable) -> None:
        if not self.opened.done():
            self.opened.set_exception(unavailable)

    def _receive(self, received: bytes) -> None:
        if not self.inbox.put(received):
            self._go_on.set()

    def _fail(self, written: asyncio.Future[None], broken: _Broken) -> None:
        self.inbox.end(broken.lost, broken.detail)
        if not written.done():
            written.set_exception(TransportLost(self._address, broken.lost, broken.detail))

    def _end(self, lost: Lost, detail: str) -> None:
        self.inbox.end(lost, detail)
        with contextlib.suppress(queue.Empty):
            while True:
                if (waiting := self._outgoing.get_nowait()) is not None:
                    self._fail(waiting[1], _Broken(self.inbox.lost or lost, detail))
        self.ended.set()


class _Broken(Exception):
    """A transfer ended in a way that ends the line."""

    def __init__(self, lost: Lost, detail: str = "") -> None:
        super().__init__(detail)
        self.lost = lost
        self.detail = detail


class _Pipe:
    """A claimed interface and its endpoints; blocking. Raises TransportUnavailable when it cannot be had."""

    def __init__(self, address: str, which: Which, how: How) -> None:
        self._address = address
        self._how = how
        self._device: Any = None  # pyusb has no types
        self._claimed: list[int] = []
        self._detached: list[int] = []
        self._faults = 0
        try:
            self._device = _find(address, which)
            self._take(which)
        except usb.core.NoBackendError as error:
            raise TransportUnavailable(
                address, Unavailable.FAILED, "libusb is missing; install libusb-1.0-0"
            ) from error
        except usb.core.USBError as error:
            self.close()
            raise self._unavailable(error) from error
        except TransportUnavailable:
            self.close()
            raise

    def read(self) -> bytes:
        """What came within a moment; nothing when nothing did. Raises _Broken."""
        try:
            received = bytes(self._device.read(self._in, self._chunk, _SLICE_MS))
        except usb.core.USBTimeoutError:
            return b""
        except usb.core.USBError as error:
            self._endure(error, self._in)
            return b""
        self._faults = 0
        return received

    def write(self, outgoing: bytes) -> None:
        """Raises _Broken; then it is not known how much of it arrived."""
        try:
            self._send(outgoing)
        except usb.core.USBError as error:
            if error.errno != errno.EPIPE or self._how.is_stream or self._out is None:
                self._break(error)
            # A stalled packet was not taken: it may be sent again, once.
            try:
                self._device.clear_halt(self._out)
                self._send(outgoing)
            except usb.core.USBError as again:
                self._break(again)

    def close(self) -> None:
        """Give everything back; the kernel's driver gets its interface again."""
        if self._device is None:
            return
        with contextlib.suppress(usb.core.USBError):
            for number in self._claimed:
                usb.util.release_interface(self._device, number)
        for number in self._detached:
            with contextlib.suppress(usb.core.USBError, NotImplementedError):
                self._device.attach_kernel_driver(number)
        with contextlib.suppress(usb.core.USBError):
            usb.util.dispose_resources(self._device)

    # --- opening -------------------------------------------------------------------------------------------

    def _take(self, which: Which) -> None:
        interface = self._interface(which.interface)
        number = interface.bInterfaceNumber
        self._in, self._out = _endpoints(interface, is_stream=self._how.is_stream)
        control = self._control_interface(number) if self._how.is_stream else None
        for one in sorted({number, *([] if control is None else [control])}):
            self._claim(one)
        self._number = number
        size = usb.util.find_descriptor(interface, bEndpointAddress=self._in).wMaxPacketSize & 0x7FF
        self._chunk = _STREAM_CHUNK if self._how.is_stream else max(size, self._how.report_len)
        if control is not None:
            self._set_line(control)

    def _interface(self, wanted: int | None) -> Any:
        found = [
            interface
            for interface in self._device[0]
            if wanted in (None, interface.bInterfaceNumber)
            and _endpoints(interface, is_stream=self._how.is_stream)[0]
        ]
        preferred = _CDC_DATA if self._how.is_stream else _HID
        found.sort(key=lambda one: one.bInterfaceClass != preferred)
        if not found:
            what = "a stream" if self._how.is_stream else "packets"
            raise TransportUnavailable(
                self._address, Unavailable.WRONG_DEVICE, f"no interface of it carries {what}"
            )
        return found[0]

    def _control_interface(self, number: int) -> int | None:
        """The interface that sets the line of a CDC-ACM device."""
        numbers = [one.bInterfaceNumber for one in self._device[0] if one.bInterfaceClass == _CDC]
        return min((one for one in numbers if one != number), default=None)

    def _claim(self, number: int) -> None:
        with contextlib.suppress(NotImplementedError):
            if self._device.is_kernel_driver_active(number):
                self._device.detach_kernel_driver(number)
                self._detached.append(number)
        usb.util.claim_interface(self._device, number)
        self._claimed.append(number)

    def _set_line(self, control: int) -> None:
        how = self._how
        coding = struct.pack(
            "<IBBB", how.baud, (how.stopbits - 1) * 2, "NOE".index(how.parity), how.bytesize
        )
        for request, value, content in (
            (_SET_LINE_CODING, 0, coding),
            (_SET_CONTROL_LINES, _DTR_RTS, b""),
        ):
            # A device whose line is not a real one may stall this; it talks all the same.
            with contextlib.suppress(usb.core.USBError):
                self._device.ctrl_transfer(
                    _TO_INTERFACE, request, value, control, content, _CONTROL_MS
                )

    def _unavailable(self, error: usb.core.USBError) -> TransportUnavailable:
        reason = _REASONS.get(error.errno or 0, Unavailable.FAILED)
        if reason is Unavailable.NO_PERMISSION and self._device is not None:
            rule = rule_for(self._device.idVendor, self._device.idProduct)
            return TransportUnavailable(
                self._address,
                reason,
                advice="this user may not open it; print the rules for readers with "
                "`omnitill-agent doctor --udev-rules` into /etc/udev/rules.d/70-omnitill.rules, "
                f"run `udevadm control --reload`, and plug it in again; the line for this one is {rule}",
            )
        plain = reason in {Unavailable.NOT_FOUND, Unavailable.BUSY, Unavailable.TIMEOUT}
        return TransportUnavailable(self._address, reason, "" if plain else str(error))

    # --- transfers -----------------------------------------------------------------------------------------

    def _send(self, outgoing: bytes) -> None:
        timeout_ms = round(self._how.write_timeout_s * 1000)
        if self._out is None:
            numbered = outgoing[0] if self._how.report_id and outgoing else 0
            sent = self._device.ctrl_transfer(
                _TO_INTERFACE,
                _SET_REPORT,
                _OUTPUT_REPORT | numbered,
                self._number,
                outgoing,
                timeout_ms,
            )
        else:
            sent = self._device.write(self._out, outgoing, timeout_ms)
        if sent != len(outgoing):
            raise _Broken(Lost.WRITE_TIMEOUT, f"{sent} of {len(outgoing)} bytes were taken")

    def _endure(self, error: usb.core.USBError, endpoint: int) -> None:
        """Whatever ended a transfer, the next may work; not for ever, and not when the device is gone."""
        self._faults += 1
        if error.errno in _GONE or self._faults > _PATIENCE:
            self._break(error)
        if error.errno == errno.EPIPE:
            try:
                self._device.clear_halt(endpoint)
            except usb.core.USBError as worse:
                self._break(worse)
        elif error.errno != errno.EOVERFLOW:
            # Noise on the cable, or the first sign of a plug on its way out.
            time.sleep(_AFTER_FAULT_S)

    def _break(self, error: usb.core.USBError) -> None:
        """Raises _Broken: how the line ended."""
        if isinstance(error, usb.core.USBTimeoutError) or error.errno == errno.ETIMEDOUT:
            raise _Broken(Lost.WRITE_TIMEOUT) from error
        if error.errno in _GONE or not self._is_there():
            raise _Broken(Lost.UNPLUGGED) from error
        raise _Broken(Lost.FAILED, str(error)) from error

    def _is_there(self) -> bool:
        with contextlib.suppress(usb.core.USBError):
            return any(
                (one.bus, one.address) == (self._device.bus, self._device.address)
                for one in usb.core.find(find_all=True)
            )
        return False


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _find(address: str, which: Which) -> Any:
    """The one device that is meant. Raises TransportUnavailable, also when several are."""
    give_up = time.monotonic() + _SHOWS_UP_S
    while True:
        found = [
            device
            for device in usb.core.find(find_all=True, idVendor=which.vid, idProduct=which.pid)
            if which.bus in (None, device.bus)
            and which.port in ("", _port_path(device))
            and which.serial in ("", _serial(device))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            places = ", ".join(f"bus={one.bus}&port={_port_path(one)}" for one in found)
            raise TransportUnavailable(
                address,
                Unavailable.AMBIGUOUS,
                f"name its serial number or one of {places}",
            )
        if time.monotonic() >= give_up:
            raise TransportUnavailable(address, Unavailable.NOT_FOUND)
        time.sleep(0.05)


def _port_path(device: Any) -> str:
    return ".".join(str(number) for number in device.port_numbers or ())


def _serial(device: Any) -> str:
    """The serial number in the descriptors; from sysfs, since asking the device takes the right to open it."""
    path = Path(f"/sys/bus/usb/devices/{device.bus}-{_port_path(device)}/serial")
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        with contextlib.suppress(usb.core.USBError, ValueError):
            return device.serial_number or ""
        return ""


def _endpoints(interface: Any, *, is_stream: bool) -> tuple[int, int | None]:
    """Addresses in and out; 0 when there is none in. A HID device may have no way out but its control endpoint."""
    kind = usb.util.ENDPOINT_TYPE_BULK if is_stream else usb.util.ENDPOINT_TYPE_INTR
    found = [
        one.bEndpointAddress
        for one in interface
        if usb.util.endpoint_type(one.bmAttributes) == kind
    ]
    ins = [one for one in found if one & _IN]
    outs = [one for one in found if not one & _IN]
    if not ins or (not outs and (is_stream or interface.bInterfaceClass != _HID)):
        return 0, None
    return ins[0], outs[0] if outs else None
