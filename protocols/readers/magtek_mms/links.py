"""How messages travel: USB HID reports, BLE packets, UART frames (SLIP). All three carry the same messages.

A link hands out one packet at a time and reads a long message only as far as that packet goes. None of them has a check
code or an acknowledgement: what does not fit together is dropped and told as an ``Oddity``.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from protocols.errors import CommandNotPossible, MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.readers.magtek_mms.message import Outgoing

FRAMINGS: Final = ("usb_hid", "ble_gatt", "serial")
LONGEST_MESSAGE: Final = 256 * 1024
"""What a till believes of a reader; card data are about a kilobyte."""

SINGLE: Final = 0x00
HEAD: Final = 0x01
MIDDLE: Final = 0x02
TAIL: Final = 0x03
CANCEL: Final = 0x04


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole message came; nothing is known of its content."""

    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something dropped or tolerated: the name of a quirk."""

    name: str


LinkEvent = Arrived | Oddity


class Link(Protocol):
    """Carries messages. Moves no bytes itself and knows no clock."""

    @property
    def sent(self) -> int:
        """Bytes of messages handed out so far; grows for ever."""
        ...

    def reset(self) -> None:
        """Forget everything of an earlier connection."""
        ...

    def send(self, message: Outgoing) -> None:
        """Queue a message. Raises CommandNotPossible for one that is too long for this line."""
        ...

    def feed(self, received: bytes) -> Sequence[LinkEvent]:
        """Take one packet, or a piece of the stream. Never raises."""
        ...

    def outgoing(self) -> bytes:
        """The next packet, or piece of the stream; empty when nothing waits. Handed out once."""
        ...

    def is_sending(self) -> bool:
        """True while something waits to be handed out."""
        ...


def make_link(
    framing: str,
    *,
    report_len: int = 64,
    pdu_max: int = 244,
    longest: int = LONGEST_MESSAGE,
) -> Link:
    """The link for a framing. Raises CommandNotPossible for one there is not, or a size that cannot work."""
    match framing:
        case "usb_hid":
            return HidLink(report_len=report_len, longest=longest)
        case "ble_gatt":
            return BleLink(pdu_max=pdu_max, longest=longest)
        case "serial":
            return SlipLink(longest=longest)
        case _:
            raise CommandNotPossible(
                "MMS has no such framing", framing=framing, known=", ".join(FRAMINGS)
            )


class _Queue:
    """Messages that wait, and how far the first one is."""

    def __init__(self) -> None:
        self.sent = 0
        self._waiting: deque[Outgoing] = deque()
        self._at = 0

    def clear(self) -> None:
        self._waiting.clear()
        self._at = 0

    def add(self, message: Outgoing) -> None:
        self._waiting.append(message)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def left(self) -> int:
        """Bytes of the first message that were not taken."""
        return self._waiting[0].size - self._at

    @property
    def size(self) -> int:
        return self._waiting[0].size

    @property
    def is_begun(self) -> bool:
        return self._at > 0

    def take(self, length: int) -> bytes:
        """The next bytes of the first message; the message is gone with its last."""
        part = self._waiting[0].part(self._at, length)
        self._at += len(part)
        self.sent += len(part)
        if self._at >= self._waiting[0].size:
            self._waiting.popleft()
            self._at = 0
        return part


# --- USB HID ---------------------------------------------------------------------------------------------------


class HidLink:
    """Reports of a fixed length, zero padded: single, head, numbered middles, tail, and a cancel."""

    def __init__(self, *, report_len: int = 64, longest: int = LONGEST_MESSAGE) -> None:
        if not 8 <= report_len <= 257:
            raise CommandNotPossible("a report has 8 to 257 bytes", report_len=report_len)
        self._report_len = report_len
        self._longest = longest
        self._queue = _Queue()
        self._number = 0
        self._expected = 0
        self._collected: bytearray | None = None
        self._next_number = 0

    @property
    def sent(self) -> int:
        """As in ``Link``."""
        return self._queue.sent

    def reset(self) -> None:
        """As in ``Link``."""
        self._queue.clear()
        self._collected = None

    def send(self, message: Outgoing) -> None:
        """As in ``Link``. Middle reports are numbered with two bytes; what they do after FFFF is not known."""
        most = self._report_len - 5 + 0xFFFF * (self._report_len - 3) + self._report_len - 2
        if message.size > most:
            raise CommandNotPossible(
                "the file is too long for USB reports", bytes=message.size, most=most
            )
        self._queue.add(message)

    def outgoing(self) -> bytes:
        """One report."""
        queue = self._queue
        if not queue:
            return b""
        room = self._report_len
        left = queue.left
        if not queue.is_begun:
            if left <= room - 2:
                return (bytes((SINGLE, left)) + queue.take(left)).ljust(room, b"\x00")
            self._number = 0
            return bytes((HEAD,)) + left.to_bytes(4, "big") + queue.take(room - 5)
        if left > room - 2:
            self._number += 1
            return bytes((MIDDLE,)) + self._number.to_bytes(2, "big") + queue.take(room - 3)
        return (bytes((TAIL, left)) + queue.take(left)).ljust(room, b"\x00")

    def is_sending(self) -> bool:
        """As in ``Link``."""
        return bool(self._queue)

    def feed(self, received: bytes) -> Sequence[LinkEvent]:
        """Take one report."""
        if not received:
            return ()
        kind = received[0]
        if kind == MIDDLE:
            return self._middle(received)
        events: list[LinkEvent] = []
        if kind == TAIL:
            return self._tail(received)
        if self._collected is not None:
            self._collected = None
            # A cancel says so itself; anything else cuts in.
            events.append(
                Oddity("message_cancelled" if kind == CANCEL else "message_not_completed")
            )
        if kind == SINGLE:
            size = received[1] if len(received) > 1 else 0
            if not size or 2 + size > len(received):
                events.append(Oddity("report_malformed"))
            else:
                events.append(Arrived(received[2 : 2 + size]))
        elif kind == HEAD:
            total = int.from_bytes(received[1:5], "big")
            if len(received) < 6 or not len(received) - 5 < total <= self._longest:
                events.append(Oddity("report_malformed"))
            else:
                self._collected = bytearray(received[5:])
                self._expected = total
                self._next_number = 1
        elif kind != CANCEL:
            events.append(Oddity("report_unknown"))
        return events

    def _middle(self, received: bytes) -> Sequence[LinkEvent]:
        collected = self._collected
        if collected is None:
            return (Oddity("report_without_head"),)
        if (
            int.from_bytes(received[1:3], "big") != self._next_number
            or len(collected) + len(received) - 3 >= self._expected
        ):
            self._collected = None
            return (Oddity("report_lost"),)
        self._next_number += 1
        collected += received[3:]
        return ()

    def _tail(self, received: bytes) -> Sequence[LinkEvent]:
        collected, self._collected = self._collected, None
        if collected is None:
            return (Oddity("report_without_head"),)
        size = received[1] if len(received) > 1 else 0
        if 2 + size > len(received) or len(collected) + size != self._expected:
            return (Oddity("report_lost"),)
        return (Arrived(bytes(collected) + received[2 : 2 + size]),)


# --- BLE -------------------------------------------------------------------------------------------------------


class BleLink:
    """Packets with a message counter and a packet counter; the first one of a message tells its length.

    Counters begin at zero with each connection (unverified). The packet counter goes on from FF to 01.
    """

    def __init__(self, *, pdu_max: int = 244, longest: int = LONGEST_MESSAGE) -> None:
        if not 8 <= pdu_max <= 512:
            raise CommandNotPossible("a BLE packet has 8 to 512 bytes", pdu_max=pdu_max)
        self._pdu_max = pdu_max
        self._longest = longest
        self._queue = _Queue()
        self._out_message = 0
        self._out_pdu = 0
        self._in_message: int | None = None
        self._in_pdu = 0
        self._expected = 0
        self._collected: bytearray | None = None

    @property
    def sent(self) -> int:
        """As in ``Link``."""
        return self._queue.sent

    def reset(self) -> None:
        """As in ``Link``; both counters begin anew."""
        self._queue.clear()
        self._out_message = 0
        self._in_message = None
        self._collected = None

    def send(self, message: Outgoing) -> None:
        """As in ``Link``."""
        self._queue.add(message)

    def outgoing(self) -> bytes:
        """One packet."""
        queue = self._queue
        if not queue:
            return b""
        if queue.is_begun:
            self._out_pdu = next_pdu(self._out_pdu)
            packet = bytes((self._out_message, self._out_pdu)) + queue.take(self._pdu_max - 2)
        else:
            self._out_pdu = 0
            head = bytes((self._out_message, 0, 0)) + queue.size.to_bytes(4, "big")
            packet = head + queue.take(self._pdu_max - 7)
        if not queue.is_begun:
            self._out_message = (self._out_message + 1) & 0xFF
        return packet

    def is_sending(self) -> bool:
        """As in ``Link``."""
        return bool(self._queue)

    def feed(self, received: bytes) -> Sequence[LinkEvent]:
        """Take one notification; it may hold several packets in a row."""
        events: list[LinkEvent] = []
        while received:
            received = received[self._packet(received, events) :]
        return events

    def _packet(self, received: bytes, events: list[LinkEvent]) -> int:
        """Take the first packet; how many bytes it was."""
        if len(received) < 3:
            events.append(Oddity("packet_malformed"))
            return len(received)
        message, pdu = received[0], received[1]
        return (
            self._first(received, message, events)
            if pdu == 0
            else self._next(received, message, pdu, events)
        )

    def _first(self, received: bytes, message: int, events: list[LinkEvent]) -> int:
        if self._collected is not None:
            self._collected = None
            events.append(Oddity("message_not_completed"))
        total = int.from_bytes(received[3:7], "big")
        if len(received) < 8 or not total or total > self._longest:
            events.append(Oddity("packet_malformed"))
            return len(received)
        if self._in_message is not None and message != (self._in_message + 1) & 0xFF:
            events.append(Oddity("message_counter_jumped"))
        self._in_message = message
        self._in_pdu = 0
        self._expected = total
        self._collected = bytearray()
        return self._collect(received, 7, events)

    def _next(self, received: bytes, message: int, pdu: int, events: list[LinkEvent]) -> int:
        if self._collected is None:
            events.append(Oddity("packet_without_first"))
            return len(received)
        if message != self._in_message or pdu != next_pdu(self._in_pdu):
            self._collected = None
            events.append(Oddity("packet_lost"))
            return len(received)
        self._in_pdu = pdu
        return self._collect(received, 2, events)

    def _collect(self, received: bytes, start: int, events: list[LinkEvent]) -> int:
        collected = self._collected
        if collected is None:
            return len(received)
        end = min(len(received), start + self._expected - len(collected))
        if self._is_glued(received):
            end = min(end, self._pdu_max)
        collected += received[start:end]
        if len(collected) == self._expected:
            self._collected = None
            events.append(Arrived(bytes(collected)))
        return end

    def _is_glued(self, received: bytes) -> bool:
        """Whether the next packet of the same message follows in the same notification, rather than a larger packet."""
        at = self._pdu_max
        return len(received) > at + 2 and received[at : at + 2] == bytes(
            (received[0], next_pdu(received[1]))
        )


def next_pdu(pdu: int) -> int:
    """The packet counter after this one: 0, 1 … FF, then 01 again."""
    return pdu % 0xFF + 1


# --- UART ------------------------------------------------------------------------------------------------------

_END: Final = 0xC0
_ESCAPE: Final = b"\xdb"
_TO_ESCAPE: Final = re.compile(rb"[\xc0\xdb]")
_ESCAPES: Final = {b"\xc0": b"\xdb\xdc", b"\xdb": b"\xdb\xdd"}
_ESCAPED: Final = re.compile(rb"\xdb(.?)", re.DOTALL)
_PLAIN: Final = {b"\xdc": b"\xc0", b"\xdd": b"\xdb"}
_DIRECTION: Final = b"\x00"
_PIECE: Final = 1024


class SlipLink:
    """SLIP frames around a direction byte, a length of four bytes and the message.

    The direction byte is 00 from the till; what a reader writes there is not known, so any is taken.
    """

    def __init__(self, *, longest: int = LONGEST_MESSAGE) -> None:
        self._longest = longest
        self._queue = _Queue()
        self._buffer = bytearray()
        self._skips = False

    @property
    def sent(self) -> int:
        """As in ``Link``."""
        return self._queue.sent

    def reset(self) -> None:
        """As in ``Link``."""
        self._queue.clear()
        self._buffer.clear()
        self._skips = False

    def send(self, message: Outgoing) -> None:
        """As in ``Link``."""
        self._queue.add(message)

    def outgoing(self) -> bytes:
        """The next piece of the stream: a whole frame when it is short."""
        queue = self._queue
        if not queue:
            return b""
        piece = b""
        if not queue.is_begun:
            piece = b"\xc0" + escaped(_DIRECTION + queue.size.to_bytes(4, "big"))
        piece += escaped(queue.take(_PIECE))
        return piece if queue.is_begun else piece + b"\xc0"

    def is_sending(self) -> bool:
        """As in ``Link``."""
        return bool(self._queue)

    def feed(self, received: bytes) -> Sequence[LinkEvent]:
        """Take bytes of the stream."""
        events: list[LinkEvent] = []
        *closed, rest = received.split(b"\xc0")
        for piece in closed:
            self._grow(piece)
            if self._skips:
                events.append(Oddity("frame_too_long"))
            elif self._buffer:
                events.append(_unframed(bytes(self._buffer), self._longest))
            self._buffer.clear()
            self._skips = False
        self._grow(rest)
        return events

    def _grow(self, piece: bytes) -> None:
        if self._skips or len(self._buffer) + len(piece) > 2 * self._longest:
            self._skips = True
            self._buffer.clear()
        else:
            self._buffer += piece


def escaped(plain: bytes) -> bytes:
    """Without the two bytes that SLIP keeps for itself."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], plain)


def unescaped(encoded: bytes) -> bytes:
    """The inverse of ``escaped``. Raises MalformedMessage for an escape that means nothing."""

    def plain(found: re.Match[bytes]) -> bytes:
        meant = _PLAIN.get(found[1])
        if meant is None:
            raise MalformedMessage("escape that SLIP does not have", offset=found.start())
        return meant

    return _ESCAPED.sub(plain, encoded) if _ESCAPE in encoded else encoded


def frame(message: bytes) -> bytes:
    """A whole UART frame."""
    return b"\xc0" + escaped(_DIRECTION + len(message).to_bytes(4, "big") + message) + b"\xc0"


def _unframed(encoded: bytes, longest: int) -> LinkEvent:
    try:
        content = unescaped(encoded)
    except MalformedMessage:
        return Oddity("frame_malformed")
    size = len(content) - 5
    if not 0 < size <= longest or int.from_bytes(content[1:5], "big") != size:
        return Oddity("frame_malformed")
    return Arrived(content[5:])
