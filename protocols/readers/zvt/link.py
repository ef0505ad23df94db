"""What a machine needs of the way its messages travel, and the simple one of the two: TCP.

On TCP bare messages follow one another, with no check and no acknowledgement; the connection does all that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from protocols.readers.zvt.apdu import Apdu, ApduStream

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message came. ``apdu`` is None when a sound frame held something that is no message."""

    apdu: Apdu | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has this message, as far as the link can tell."""

    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """The link gave up on this message. ``left`` is False when none of its bytes was ever handed out."""

    message: bytes = field(repr=False)
    reason: str
    left: bool


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something tolerated: the name of a quirk."""

    name: str


LinkEvent = Arrived | Delivered | NotDelivered | Oddity


class Link(Protocol):
    """Carries messages over a byte pipe. Moves no bytes itself and knows no clock."""

    def reset(self) -> None:
        """Forget everything of an earlier connection."""
        ...

    def send(self, message: bytes, now: float) -> Sequence[LinkEvent]:
        """Send an encoded message as soon as the link may."""
        ...

    def feed(self, received: bytes, now: float) -> Sequence[LinkEvent]:
        """Take bytes as they come."""
        ...

    def expired(self, now: float) -> Sequence[LinkEvent]:
        """Act on the timers whose time has come."""
        ...

    def outgoing(self) -> bytes:
        """Bytes to send now; handed out once."""
        ...

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        ...

    def has_unsent(self) -> bool:
        """True while a message waits of which no byte was handed out."""
        ...


class TcpLink:
    """A byte stream that loses nothing."""

    def __init__(self) -> None:
        self._stream = ApduStream()
        self._out = bytearray()

    def reset(self) -> None:
        """Forget everything of an earlier connection."""
        self._stream = ApduStream()
        self._out.clear()

    def send(self, message: bytes, now: float) -> Sequence[LinkEvent]:  # noqa: ARG002 - no timer runs
        """Queue a message; TCP delivers it or the connection ends."""
        self._out += message
        return (Delivered(message),)

    def feed(self, received: bytes, now: float) -> Sequence[LinkEvent]:  # noqa: ARG002
        """Take bytes from the connection."""
        skipped = self._stream.skipped
        events: list[LinkEvent] = [Arrived(apdu) for apdu in self._stream.feed(received)]
        if self._stream.skipped != skipped:
            events.append(Oddity("noise_between_frames"))
        return events

    def expired(self, now: float) -> Sequence[LinkEvent]:  # noqa: ARG002
        """Nothing is timed here."""
        return ()

    def outgoing(self) -> bytes:
        """Bytes to put on the connection now."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def deadline(self) -> float | None:
        """Never."""
        return None

    def has_unsent(self) -> bool:
        """True while bytes wait here."""
        return bool(self._out)
