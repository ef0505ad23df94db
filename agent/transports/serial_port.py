"""Serial lines: `serial:///dev/ttyUSB0`, with options `baud`, `stopbits`, `parity`, `bytesize`, `write_timeout_s`.

pyserial blocks, so one thread per open port reads and writes; it ends when the port is closed or unplugged.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import termios
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import serial

from agent.errors import AddressUnreadable, Lost, TransportLost, TransportUnavailable, Unavailable
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.transports.transport import Address

#: Opening a port whose driver hangs, and closing it, may take this long before it is left to its thread.
OPEN_S: Final = 5.0
CLOSE_S: Final = 2.0
#: What was written last, such as an acknowledgement, may still be on its way when the port is closed.
_LAST_BYTES_S: Final = 0.3

_REASONS: Final = {
    errno.ENOENT: Unavailable.NOT_FOUND,
    errno.ENODEV: Unavailable.NOT_FOUND,
    errno.ENXIO: Unavailable.NOT_FOUND,
    # What a pty says whose other side is gone, and a USB port on its way out.
    errno.EIO: Unavailable.NOT_FOUND,
    errno.EACCES: Unavailable.NO_PERMISSION,
    errno.EPERM: Unavailable.NO_PERMISSION,
    errno.EBUSY: Unavailable.BUSY,
    errno.EAGAIN: Unavailable.BUSY,
    errno.ENOTTY: Unavailable.NOT_A_PORT,
    errno.EISDIR: Unavailable.NOT_A_PORT,
    errno.EINVAL: Unavailable.NOT_A_PORT,
}


@dataclass(frozen=True, slots=True)
class Line:
    """How the wire is set."""

    baud: int = 9600
    bytesize: int = 8
    parity: str = "N"
    stopbits: int = 2
    write_timeout_s: float = 5


def from_address(address: Address) -> SerialTransport:
    """Raises AddressUnreadable when the path is missing or an option is not understood."""
    if address.host or not address.path.startswith("/"):
        raise AddressUnreadable(
            f"{address.text!r}: the path of the port is needed, such as serial:///dev/ttyUSB0",
            address=address.text,
        )
    line = Line(
        baud=int(address.number("baud", 9600)),
        bytesize=int(address.choice("bytesize", "8", ("7", "8"))),
        parity=address.choice("parity", "N", ("N", "E", "O")),
        stopbits=int(address.choice("stopbits", "2", ("1", "2"))),
        write_timeout_s=address.number("write_timeout_s", 5),
    )
    return SerialTransport(address.path, line)


class SerialTransport:
    """A serial port that belongs to this process alone while it is open."""

    def __init__(self, path: str, line: Line | None = None) -> None:
        self._path = path
        self._line = line or Line()
        self._worker: _Worker | None = None

    @property
    def address(self) -> str:
        return f"serial://{self._path}"

    @property
    def lost(self) -> Lost | None:
        return self._worker.inbox.lost if self._worker else None

    async def open(self) -> None:
        await self.close()
        worker = _Worker(self._path, self._line, self.address)
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
            # A driver that does not let go: the thread is a daemon and ends with the driver, or with the process.
            pass
        else:
            self._worker.join()

    def _open_worker(self) -> _Worker:
        if self._worker is None:
            raise TransportUnavailable(self.address, Unavailable.FAILED, "open it first")
        return self._worker


class _Worker:
    """The thread of one open port. Everything public here is called on the event loop."""

    def __init__(self, path: str, line: Line, address: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._line = line
        self._address = address
        # Clear while the thread must not read on: the loop has not taken what it was given.
        self._go_on = threading.Event()
        self.inbox = Inbox(address, drained=self._go_on.set)
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self.ended = asyncio.Event()
        self._stopping = False
        self._outgoing: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._port: serial.Serial | None = None
        self._port_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"serial {path}", daemon=True)
        self._thread.start()

    async def write(self, outgoing: bytes) -> None:
        self.inbox.check()
        written: asyncio.Future[None] = self._loop.create_future()
        self._outgoing.append((outgoing, written))
        self._wake()
        await written

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def join(self) -> None:
        """Wait for a thread that has said that it ends."""
        self._thread.join(CLOSE_S)

    def _wake(self) -> None:
        self._go_on.set()
        with self._port_lock:
            if self._port is not None:
                self._port.cancel_read()
                if self._stopping:
                    self._port.cancel_write()

    # --- in the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        lost, detail = Lost.CLOSED, ""
        try:
            port = self._open()
            try:
                self._exchange(port)
            except serial.SerialTimeoutException:
                lost = Lost.WRITE_TIMEOUT
            except (OSError, termios.error, TypeError) as error:
                # TypeError: pyserial's own, when the port vanishes between two of its steps.
                lost, detail = Lost.UNPLUGGED, str(error)
            finally:
                self._close(port)
        except TransportUnavailable as unavailable:
            self._on_loop(self._refuse, unavailable)
        finally:
            self._on_loop(self._end, lost, detail)

    def _open(self) -> serial.Serial:
        try:
            port = serial.Serial(
                self._path,
                baudrate=self._line.baud,
                bytesize=self._line.bytesize,
                parity=self._line.parity,
                stopbits=self._line.stopbits,
                timeout=None,
                write_timeout=self._line.write_timeout_s,
                exclusive=True,
            )
        except (OSError, ValueError, termios.error) as error:
            reason = reason_of(error)
            plain = reason in {Unavailable.NOT_FOUND, Unavailable.NO_PERMISSION, Unavailable.BUSY}
            raise TransportUnavailable(
                self._address, reason, "" if plain else str(error)
            ) from error
        with self._port_lock:
            self._port = port
        self._on_loop(self._accept)
        return port

    def _exchange(self, port: serial.Serial) -> None:
        while not self._stopping:
            while self._outgoing:
                outgoing, written = self._outgoing.popleft()
                try:
                    port.write(outgoing)
                except BaseException:
                    # Its waiter is told with the others, when the thread ends.
                    self._outgoing.appendleft((outgoing, written))
                    raise
                self._on_loop(_settle, written)
            received = port.read(1)
            if not received:
                continue
            try:
                received += port.read(port.in_waiting)
            finally:
                self._go_on.clear()
                self._on_loop(self._receive, received)
            self._go_on.wait()

    def _close(self, port: serial.Serial) -> None:
        with self._port_lock:
            self._port = None
        with contextlib.suppress(OSError, termios.error):
            # The kernel would wait up to 30 s in close() for bytes that nobody takes.
            give_up = time.monotonic() + _LAST_BYTES_S
            while port.out_waiting and time.monotonic() < give_up:
                time.sleep(0.005)
            port.reset_output_buffer()
        with contextlib.suppress(OSError):
            port.close()

    def _on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed; nobody is left to hear it.
            self._stopping = True
            self._go_on.set()

    # --- on the loop, asked by the thread ------------------------------------------------------------------

    def _receive(self, received: bytes) -> None:
        if not self.inbox.put(received):
            self._go_on.set()

    def _accept(self) -> None:
        if not self.opened.done():
            self.opened.set_result(None)

    def _refuse(self, unavailable: TransportUnavailable) -> None:
        if not self.opened.done():
            self.opened.set_exception(unavailable)

    def _end(self, lost: Lost, detail: str) -> None:
        self.inbox.end(lost, detail)
        while self._outgoing:
            _, written = self._outgoing.popleft()
            if not written.done():
                written.set_exception(TransportLost(self._address, self.inbox.lost or lost, detail))
        self.ended.set()


def _settle(written: asyncio.Future[None]) -> None:
    if not written.done():
        written.set_result(None)


def reason_of(error: Exception) -> Unavailable:
    """Why opening a port failed; pyserial hides the number in several places."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, termios.error) and error.args:
        number = error.args[0]
    if number is None:
        # pyserial's SerialException without a number: the port could not be read or set as one.
        return Unavailable.NOT_A_PORT
    return _REASONS.get(number, Unavailable.FAILED)
