"""Where a host can plug in to a simulated reader: a TCP port, a pty, or a name within this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import stat
import tty
from typing import TYPE_CHECKING, Protocol

from agent.errors import AgentError, Lost
from agent.transports import memory
from agent.transports.tcp import TcpConnection
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class SocketUnavailable(AgentError):
    """A simulated reader cannot be reached where it was told to be."""

    code = "socket_unavailable"


class Line(Protocol):
    """One established line, seen from the reader; as `agent.transports.Transport`, without opening."""

    @property
    def lost(self) -> Lost | None: ...

    async def read(self) -> bytes: ...

    async def write(self, outgoing: bytes) -> None: ...

    async def close(self) -> None: ...


class Socket(Protocol):
    """A place where hosts plug in."""

    @property
    def address(self) -> str:
        """What a host gives as the address of the reader."""
        ...

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        """Be reachable; `on_line` gets each line that comes about. Raises SocketUnavailable."""
        ...

    async def unplug(self) -> None:
        """Be gone, as with a pulled cable: lines are lost and hosts find nothing."""
        ...


class TcpSocket:
    """Listens on a TCP port. Port 0 takes a free one, and keeps it."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: list[TcpConnection] = []

    @property
    def address(self) -> str:
        return f"tcp://{self._host}:{self._port}"

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        def accept() -> asyncio.Protocol:
            connection = _Accepted(self.address, on_line)
            self._connections = [known for known in self._connections if known.lost is None]
            self._connections.append(connection)
            return connection

        try:
            self._server = await asyncio.get_running_loop().create_server(
                accept, self._host, self._port
            )
        except OSError as error:
            raise SocketUnavailable(f"{self.address}: {error.strerror or error}") from error
        self._port = self._server.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.abort()
        self._connections.clear()


class _Accepted(TcpConnection):
    def __init__(self, address: str, on_line: Callable[[Line], None]) -> None:
        super().__init__(address)
        self._on_line = on_line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._on_line(self)


class PtySocket:
    """A pseudo terminal, found under a path of our choice that is gone while it is unplugged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line: PtyLine | None = None

    @property
    def address(self) -> str:
        return f"serial://{self._path.absolute()}"

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISLNK(self._path.lstat().st_mode):
                raise SocketUnavailable(f"{self._path} is there and is no link; name another path")
            # Left behind by a simulator that was killed.
            self._path.unlink()
        master, slave = pty.openpty()
        tty.setraw(slave)
        try:
            self._path.symlink_to(os.ttyname(slave))
        except OSError as error:
            os.close(master)
            os.close(slave)
            raise SocketUnavailable(f"{self._path}: {error.strerror}") from error
        self._line = PtyLine(self.address, master, slave)
        on_line(self._line)

    async def unplug(self) -> None:
        if self._line is None:
            return
        self._path.unlink(missing_ok=True)
        await self._line.close()
        self._line = None


class PtyLine:
    """The reader's end. It holds the other end open too, so that the line outlives a host that closes and opens it."""

    def __init__(self, address: str, master: int, slave: int) -> None:
        os.set_blocking(master, False)
        self._loop = asyncio.get_running_loop()
        self._master = master
        self._slave = slave
        self._inbox = Inbox(address)
        self._outgoing = bytearray()
        self._loop.add_reader(master, self._receive)

    @property
    def lost(self) -> Lost | None:
        return self._inbox.lost

    async def read(self) -> bytes:
        return await self._inbox.take()

    async def write(self, outgoing: bytes) -> None:
        """A host that does not read holds nothing up: a wire has no memory, what does not fit is gone."""
        self._inbox.check()
        self._outgoing += outgoing
        self._send()

    async def close(self) -> None:
        if self._inbox.lost is not None:
            return
        self._inbox.end(Lost.CLOSED)
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        # The slave first: a select() on it reports the hang-up late otherwise.
        os.close(self._slave)
        os.close(self._master)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._inbox.put(os.read(self._master, 4096))

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = os.write(self._master, self._outgoing)
            del self._outgoing[:sent]
        if self._outgoing:
            self._loop.add_writer(self._master, self._send)
        else:
            self._loop.remove_writer(self._master)


class MemorySocket:
    """Reachable as `memory://NAME` within this process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._server: memory.Server | None = None

    @property
    def address(self) -> str:
        return f"memory://{self._name}"

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        self._server = memory.Server(self._name, on_line)

    async def unplug(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
