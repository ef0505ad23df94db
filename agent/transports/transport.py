"""What every byte pipe to a reader offers, and the parts they share: the address and the inbox."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from agent.errors import AddressUnreadable, Lost, TransportLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Bytes that may wait for the program before a sender is held back.
HIGH_WATER: Final = 64 * 1024
_RADIO_ADDRESS: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


class Transport(Protocol):
    """A line to one reader. All methods belong to one event loop; after `close` it can be opened again."""

    @property
    def address(self) -> str:
        """The address in full, without secrets."""
        ...

    @property
    def lost(self) -> Lost | None:
        """How the line ended; None while it is open or was never opened."""
        ...

    async def open(self) -> None:
        """Open the line, for this process alone where the system can promise that. Raises TransportUnavailable."""
        ...

    async def read(self) -> bytes:
        """The bytes that have arrived, at least one; waits for them. May be cancelled without losing any.

        On a line of packets it is exactly one packet, and each `write` takes one.
        Raises TransportLost when the line is gone and everything that came before was handed out.
        """
        ...

    async def write(self, outgoing: bytes) -> None:
        """Hand bytes to the line. Raises TransportLost; then it is not known how many of them arrived."""
        ...

    async def close(self) -> None:
        """Close the line; never raises, never hangs, leaves no thread and no task behind."""
        ...


class Inbox:
    """What has arrived on a line and was not read yet, then how the line ended.

    `packets`: what was put in one piece is taken in one piece, as USB reports and BLE notifications must be.
    """

    def __init__(
        self, address: str, *, drained: Callable[[], None] | None = None, packets: bool = False
    ) -> None:
        self.address = address
        self.lost: Lost | None = None
        self._detail = ""
        self._received: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._drained = drained
        self._packets = packets

    def put(self, received: bytes) -> bool:
        """Add bytes; True when so many wait that the sender must be held back until `drained` is called."""
        if received:
            self._received.append(received)
            self._size += len(received)
            self._news.set()
        return self._size >= HIGH_WATER

    def end(self, lost: Lost, detail: str = "") -> None:
        """The line is gone; only the first reason counts."""
        if self.lost is None:
            self.lost, self._detail = lost, detail
            self._news.set()

    async def take(self) -> bytes:
        """As `Transport.read`."""
        while not self._received:
            self.check()
            self._news.clear()
            await self._news.wait()
        if self._packets:
            received = self._received.popleft()
        else:
            received = b"".join(self._received)
            self._received.clear()
        self._size = sum(map(len, self._received))
        if self._drained is not None and not self._received:
            self._drained()
        return received

    def check(self) -> None:
        """Raises TransportLost when the line has ended."""
        if self.lost is not None:
            raise TransportLost(self.address, self.lost, self._detail)


@dataclass(frozen=True, slots=True)
class Address:
    """An address such as `serial:///dev/ttyUSB0?baud=9600` or `tcp://192.168.1.50:20007`, taken apart."""

    text: str
    scheme: str
    host: str
    port: int | None
    path: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, defaults: Mapping[str, object]) -> Address:
        """Raises AddressUnreadable. Options that the address does not name come from `defaults`."""
        parts = urlsplit(text)
        host = parts.hostname or ""
        try:
            # What follows the colons of radio addresses and USB numbers is no port.
            has_no_port = (
                parts.scheme == "usb" or _RADIO_ADDRESS.fullmatch(parts.netloc) is not None
            )
            host, port = (parts.netloc.upper(), None) if has_no_port else (host, parts.port)
        except ValueError:
            raise AddressUnreadable(
                f"{text!r}: a port is a number from 1 to 65535", address=text
            ) from None
        if not parts.scheme or "://" not in text:
            raise AddressUnreadable(
                f"{text!r} is no address; write one like tcp://192.168.1.50:20007 or serial:///dev/ttyUSB0",
                address=text,
            )
        options = {name: str(value) for name, value in defaults.items() if value is not None}
        options.update(parse_qsl(parts.query, keep_blank_values=True))
        if port is None and options.get("port", "").isdigit():
            port = int(options["port"])
        return cls(text, parts.scheme.lower(), host, port, parts.path, options)

    def number(self, name: str, default: float, *, above: float = 0) -> float:
        """A numeric option. Raises AddressUnreadable when it is no number greater than `above`."""
        text = self.options.get(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not value > above:
            raise AddressUnreadable(
                f"{self.text!r}: {name}={text} is not understood; it is a number above {above:g}",
                address=self.text,
            )
        return value

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """An option with a few values. Raises AddressUnreadable for another one."""
        value = self.options.get(name, default).upper()
        if value not in allowed:
            raise AddressUnreadable(
                f"{self.text!r}: {name}={value} is not understood; it is one of {', '.join(allowed)}",
                address=self.text,
            )
        return value
