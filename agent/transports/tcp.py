"""TCP lines: `tcp://HOST:PORT`, with options `connect_timeout_s`, `silence_s` and `write_timeout_s`."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Final

from agent.errors import AddressUnreadable, Lost, TransportUnavailable, Unavailable
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from agent.transports.transport import Address

#: How long a polite close may take before the connection is dropped.
CLOSE_S: Final = 1.0
_KEEPALIVE_PROBES: Final = 3

_REASONS: Final = {
    errno.ECONNREFUSED: Unavailable.REFUSED,
    errno.EHOSTUNREACH: Unavailable.UNREACHABLE,
    errno.ENETUNREACH: Unavailable.UNREACHABLE,
    errno.ENETDOWN: Unavailable.UNREACHABLE,
    errno.ETIMEDOUT: Unavailable.TIMEOUT,
    errno.EACCES: Unavailable.NO_PERMISSION,
    errno.EPERM: Unavailable.NO_PERMISSION,
}


def from_address(address: Address) -> TcpTransport:
    """Raises AddressUnreadable when host or port are missing."""
    if not address.host or address.port is None:
        raise AddressUnreadable(
            f"{address.text!r}: host and port are needed, such as tcp://192.168.1.50:20007",
            address=address.text,
        )
    return TcpTransport(
        address.host,
        address.port,
        connect_timeout_s=address.number("connect_timeout_s", 5),
        silence_s=address.number("silence_s", 20),
        write_timeout_s=address.number("write_timeout_s", 10),
    )


class TcpTransport:
    """A connection that we open. A peer that vanished without a word is noticed within about `silence_s`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout_s: float = 5,
        silence_s: float = 20,
        write_timeout_s: float = 10,
    ) -> None:
        self._host = host
        self._port = port
        self._connect_timeout_s = connect_timeout_s
        self._silence_s = silence_s
        self._write_timeout_s = write_timeout_s
        self._connection: TcpConnection | None = None

    @property
    def address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"tcp://{host}:{self._port}"

    @property
    def lost(self) -> Lost | None:
        return self._connection.lost if self._connection else None

    async def open(self) -> None:
        await self.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, self._connection = await loop.create_connection(
                    lambda: TcpConnection(self.address, self._silence_s, self._write_timeout_s),
                    self._host,
                    self._port,
                )
        except TimeoutError:
            raise TransportUnavailable(self.address, Unavailable.TIMEOUT) from None
        except OSError as error:
            raise TransportUnavailable(
                self.address, _reason(error), error.strerror or ""
            ) from error

    async def read(self) -> bytes:
        return await self._open_connection().read()

    async def write(self, outgoing: bytes) -> None:
        await self._open_connection().write(outgoing)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    def _open_connection(self) -> TcpConnection:
        if self._connection is None:
            raise TransportUnavailable(self.address, Unavailable.FAILED, "open it first")
        return self._connection


class TcpConnection(asyncio.Protocol):
    """One established connection, whoever opened it: reads, writes and closes like a `Transport`."""

    def __init__(self, address: str, silence_s: float = 20, write_timeout_s: float = 10) -> None:
        self.address = address
        self._silence_s = silence_s
        self._write_timeout_s = write_timeout_s
        self._inbox = Inbox(address, drained=self._resume_reading)
        self._closed = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._pipe: asyncio.Transport | None = None

    @property
    def lost(self) -> Lost | None:
        return self._inbox.lost

    async def read(self) -> bytes:
        return await self._inbox.take()

    async def write(self, outgoing: bytes) -> None:
        self._inbox.check()
        assert self._pipe is not None  # noqa: S101 (set before anybody gets hold of the connection)
        self._pipe.write(outgoing)
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writable.wait()
        except TimeoutError:
            self._inbox.end(Lost.WRITE_TIMEOUT)
            self._pipe.abort()
        self._inbox.check()

    async def close(self) -> None:
        self._inbox.end(Lost.CLOSED)
        if self._pipe is None:
            return
        self._pipe.close()
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._closed.wait()
        except TimeoutError:
            self._pipe.abort()

    def abort(self) -> None:
        """Drop the connection at once; what was not sent yet is gone."""
        if self._pipe is not None:
            self._pipe.abort()

    # --- called by the event loop --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe = transport  # type: ignore[assignment]  # asyncio types every pipe as its base
        connection: socket.socket = transport.get_extra_info("socket")
        interval_s = max(1, round(self._silence_s / (_KEEPALIVE_PROBES + 1)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, interval_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
        # Keepalive says nothing about bytes that are on their way; this bounds how long they may stay unanswered.
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(self._silence_s * 1000)
        )

    def data_received(self, data: bytes) -> None:
        if self._inbox.put(data) and self._pipe is not None:
            self._pipe.pause_reading()

    def eof_received(self) -> bool:
        self._inbox.end(Lost.CLOSED_BY_PEER)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, TimeoutError):
            self._inbox.end(Lost.NO_ANSWER)
        elif isinstance(exc, ConnectionError) or exc is None:
            self._inbox.end(Lost.CLOSED_BY_PEER)
        else:
            self._inbox.end(Lost.FAILED, str(exc))
        self._writable.set()
        self._closed.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _resume_reading(self) -> None:
        if self._pipe is not None and not self._pipe.is_closing():
            self._pipe.resume_reading()


def _reason(error: OSError) -> Unavailable:
    if isinstance(error, socket.gaierror):
        return Unavailable.NOT_FOUND
    return _REASONS.get(error.errno or 0, Unavailable.FAILED)
