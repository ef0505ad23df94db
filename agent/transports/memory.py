"""Lines within this process: `memory://NAME`, answered by whoever called `serve(NAME, …)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import AddressUnreadable, Lost, TransportUnavailable, Unavailable
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.transports.transport import Address

_servers: dict[str, Server] = {}


def from_address(address: Address) -> MemoryTransport:
    """Raises AddressUnreadable without a name."""
    if not address.host:
        raise AddressUnreadable(
            f"{address.text!r}: a name is needed, such as memory://reader", address=address.text
        )
    return MemoryTransport(address.host)


class Server:
    """Takes the connections to one name until it is closed."""

    def __init__(self, name: str, on_connect: Callable[[MemoryEnd], None]) -> None:
        self.name = name
        self.on_connect = on_connect
        self.ends: list[MemoryEnd] = []
        if name in _servers:
            raise TransportUnavailable(f"memory://{name}", Unavailable.BUSY)
        _servers[name] = self

    def close(self) -> None:
        """Stop listening and pull the cable of every connection."""
        _servers.pop(self.name, None)
        for end in self.ends:
            end.unplug()
        self.ends.clear()


class MemoryEnd:
    """One end of a line: what is written here is read at the other end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.other: MemoryEnd | None = None
        self.inbox = Inbox(address)

    @property
    def lost(self) -> Lost | None:
        return self.inbox.lost

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, outgoing: bytes) -> None:
        self.inbox.check()
        if self.other is not None:
            self.other.inbox.put(outgoing)

    async def close(self) -> None:
        self.inbox.end(Lost.CLOSED)
        if self.other is not None:
            self.other.inbox.end(Lost.CLOSED_BY_PEER)

    def unplug(self) -> None:
        """The cable is pulled: both ends are lost."""
        self.inbox.end(Lost.UNPLUGGED)
        if self.other is not None:
            self.other.inbox.end(Lost.UNPLUGGED)


class MemoryTransport:
    """The end that connects to a server of this process; one connection at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._end: MemoryEnd | None = None

    @property
    def address(self) -> str:
        return f"memory://{self._name}"

    @property
    def lost(self) -> Lost | None:
        return self._end.lost if self._end else None

    async def open(self) -> None:
        await self.close()
        server = _servers.get(self._name)
        if server is None:
            raise TransportUnavailable(self.address, Unavailable.NOT_FOUND)
        server.ends = [end for end in server.ends if end.lost is None]
        if server.ends:
            raise TransportUnavailable(self.address, Unavailable.BUSY)
        ours, theirs = MemoryEnd(self.address), MemoryEnd(self.address)
        ours.other, theirs.other = theirs, ours
        self._end = ours
        server.ends.append(theirs)
        server.on_connect(theirs)

    async def read(self) -> bytes:
        return await self._open_end().read()

    async def write(self, outgoing: bytes) -> None:
        await self._open_end().write(outgoing)

    async def close(self) -> None:
        if self._end is not None:
            await self._end.close()

    def _open_end(self) -> MemoryEnd:
        if self._end is None:
            raise TransportUnavailable(self.address, Unavailable.FAILED, "open it first")
        return self._end
