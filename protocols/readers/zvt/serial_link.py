"""The serial line of ZVT: frames with DLE stuffing and CRC, ACK and NAK, repeats and duplicates.

``DLE STX | message, each 10 doubled | DLE ETX | CRC low | CRC high``; the CRC is taken over the plain message and ETX,
and its own bytes are never doubled. The receiver answers each frame at once with a bare ACK or NAK.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage
from protocols.readers.framing import crc16_kermit
from protocols.readers.zvt.apdu import LONGEST_APDU, Apdu
from protocols.readers.zvt.link import Arrived, Delivered, LinkEvent, NotDelivered, Oddity

if TYPE_CHECKING:
    from collections.abc import Sequence

DLE: Final = 0x10
STX: Final = 0x02
ETX: Final = 0x03
ACK: Final = 0x06
NAK: Final = 0x15

_ACK: Final = bytes((ACK,))
_NAK: Final = bytes((NAK,))
_DLE: Final = bytes((DLE,))
_START: Final = bytes((DLE, STX))
_END: Final = bytes((DLE, ETX))


def encode_frame(apdu: bytes) -> bytes:
    """A message framed for the serial line."""
    crc = crc16_kermit(apdu + bytes((ETX,)))
    return _START + apdu.replace(_DLE, _DLE * 2) + _END + crc.to_bytes(2, "little")


def decode_frame(frame: bytes) -> bytes:
    """The message in exactly one frame. Raises MalformedMessage for a broken frame or a wrong CRC."""
    reader = FrameReader()
    found = [item for byte in frame if (item := reader.take(byte)) is not None]
    if len(found) != 1 or isinstance(found[0], Broken) or reader.is_inside() or reader.noise:
        reason = (
            found[0].reason if found and isinstance(found[0], Broken) else "not one whole frame"
        )
        raise MalformedMessage("serial frame cannot be read", because=reason)
    return found[0]


@dataclass(frozen=True, slots=True)
class Broken:
    """A frame that ended and cannot be used."""

    reason: str


class _Place(Enum):
    OUTSIDE = auto()
    OUTSIDE_DLE = auto()
    INSIDE = auto()
    INSIDE_DLE = auto()
    CRC_LOW = auto()
    CRC_HIGH = auto()


class FrameReader:
    """Finds frames in a stream of bytes. What is not in a frame and no ACK or NAK is counted as ``noise``."""

    def __init__(self) -> None:
        self.noise = 0
        self.signals: list[int] = []
        """ACK and NAK seen outside frames, oldest first; the owner takes them away."""
        self._place = _Place.OUTSIDE
        self._apdu = bytearray()
        self._crc_low = 0
        self._flaw = ""
        self._in_noise = False

    def is_inside(self) -> bool:
        """True while a frame has begun and not ended."""
        return self._place is not _Place.OUTSIDE

    def abandon(self) -> None:
        """Forget the frame that has begun: its bytes stopped coming."""
        self._place = _Place.OUTSIDE
        self._in_noise = False

    def forget_noise(self) -> None:
        """The line was silent: the next byte may be ACK or NAK again."""
        self._in_noise = False

    def take(self, byte: int) -> bytes | Broken | None:
        """The message, or why there is none, when this byte ends a frame."""
        match self._place:
            case _Place.INSIDE:
                if byte == DLE:
                    self._place = _Place.INSIDE_DLE
                elif len(self._apdu) < LONGEST_APDU:
                    self._apdu.append(byte)
                else:
                    self._flaw = "too long"
            case _Place.OUTSIDE:
                self._take_outside(byte)
            case _Place.OUTSIDE_DLE:
                if byte == STX:
                    self._begin()
                else:
                    self._place = _Place.OUTSIDE
                    self.noise += 1
                    self._take_outside(byte)
            case _Place.INSIDE_DLE:
                self._take_after_dle(byte)
            case _Place.CRC_LOW:
                self._crc_low = byte
                self._place = _Place.CRC_HIGH
            case _Place.CRC_HIGH:
                return self._end(self._crc_low | byte << 8)
        return None

    def _take_outside(self, byte: int) -> None:
        if byte == DLE:
            self._place = _Place.OUTSIDE_DLE
        elif byte in {ACK, NAK} and not self._in_noise:
            self.signals.append(byte)
        else:
            # 06 and 15 are ordinary bytes inside a frame whose beginning was lost: after noise they mean nothing.
            self._in_noise = True
            self.noise += 1

    def _take_after_dle(self, byte: int) -> None:
        self._place = _Place.INSIDE
        if byte == ETX:
            self._place = _Place.CRC_LOW
        elif byte == STX:
            # The rest of the frame before was lost, and the sender begins anew.
            self._begin()
        elif byte != DLE:
            self._flaw = "stray DLE"
        elif len(self._apdu) < LONGEST_APDU:
            self._apdu.append(DLE)
        else:
            self._flaw = "too long"

    def _begin(self) -> None:
        self._place = _Place.INSIDE
        self._apdu.clear()
        self._flaw = ""
        self._in_noise = False

    def _end(self, crc: int) -> bytes | Broken:
        self._place = _Place.OUTSIDE
        apdu = bytes(self._apdu)
        if self._flaw:
            return Broken(self._flaw)
        if crc != crc16_kermit(apdu + bytes((ETX,))):
            return Broken("wrong CRC")
        return apdu


class SerialLink:
    """One end of a serial line: sends one frame at a time, answers each received frame at once.

    T1 between bytes of a frame, then NAK. T2 from a frame to its ACK, then the frame is repeated; so it is after NAK.
    After ``repeats`` more tries the frame is given up. A frame that comes again before we sent one of our own, or so
    soon after that nobody can have answered ours, is a repeat whose ACK was lost: it is acknowledged and dropped, but
    no more often than the peer may repeat, else a command that we left unanswered could never be given again. Where
    the answer itself comes without an ACK before it, the answer counts as one.
    """

    def __init__(self, *, t1_s: float = 0.2, t2_s: float = 5.0, repeats: int = 2) -> None:
        self._t1_s = t1_s
        self._t2_s = t2_s
        self._repeats = repeats
        self._reader = FrameReader()
        self._waiting: deque[bytes] = deque()
        self._unacknowledged: bytes | None = None
        self._is_handed_out = False
        self._repeats_left = 0
        self._ack_by: float | None = None
        self._byte_by: float | None = None
        self._heard_at = float("-inf")
        self._last_received: bytes | None = None
        self._last_received_at = 0.0
        self._sent_since = False
        self._repeats_dropped = 0
        self._out = bytearray()

    def reset(self) -> None:
        """Forget everything of an earlier connection."""
        self._reader = FrameReader()
        self._waiting.clear()
        self._unacknowledged = None
        self._ack_by = self._byte_by = None
        self._last_received = None
        self._out.clear()

    def send(self, message: bytes, now: float) -> Sequence[LinkEvent]:
        """Send a message as soon as the one before is acknowledged."""
        self._waiting.append(message)
        self._send_next(now)
        return ()

    def feed(self, received: bytes, now: float) -> Sequence[LinkEvent]:
        """Take bytes from the line."""
        events: list[LinkEvent] = []
        reader = self._reader
        if now - self._heard_at >= self._t1_s:
            reader.forget_noise()
        self._heard_at = now
        noise = reader.noise
        for byte in received:
            ended = reader.take(byte)
            if reader.signals:
                self._take_signal(reader.signals.pop(), now, events)
            if ended is not None:
                self._take_frame(ended, now, events)
        self._byte_by = now + self._t1_s if reader.is_inside() else None
        if reader.noise != noise:
            events.append(Oddity("noise_between_frames"))
        return events

    def expired(self, now: float) -> Sequence[LinkEvent]:
        """Act on T1 and T2 if their time has come."""
        events: list[LinkEvent] = []
        if self._byte_by is not None and now >= self._byte_by:
            self._byte_by = None
            self._reader.abandon()
            self._out.append(NAK)
            events.append(Oddity("frame_cut_off"))
        if self._ack_by is not None and now >= self._ack_by:
            self._repeat("no acknowledgement", now, events)
        return events

    def outgoing(self) -> bytes:
        """Bytes to put on the line now."""
        out = bytes(self._out)
        self._out.clear()
        self._is_handed_out = True
        return out

    def frame(self, message: bytes) -> bytes:
        """How a message goes on the line; a simulator overrides it to damage frames."""
        return encode_frame(message)

    def signal(self, apdu: bytes) -> bytes:  # noqa: ARG002 - for those that override it
        """How a sound frame is answered: with ACK; a simulator may refuse it with NAK, or say nothing."""
        return _ACK

    def deadline(self) -> float | None:
        """When ``expired`` wants to be called."""
        return min((at for at in (self._byte_by, self._ack_by) if at is not None), default=None)

    def has_unsent(self) -> bool:
        """True while a message waits here and none of its bytes was handed out."""
        return bool(self._waiting) or bool(self._out)

    def _take_signal(self, signal: int, now: float, events: list[LinkEvent]) -> None:
        if self._unacknowledged is None or not self._is_handed_out:
            # Also a second signal for the frame before, which must not count for the next one.
            events.append(Oddity("stray_acknowledgement"))
        elif signal == ACK:
            self._acknowledged(now, events)
        else:
            self._repeat("not accepted", now, events)

    def _take_frame(self, ended: bytes | Broken, now: float, events: list[LinkEvent]) -> None:
        if isinstance(ended, Broken):
            self._out.append(NAK)
            events.append(Oddity("frame_broken"))
            return
        if self._is_repeat(ended, now):
            self._out += _ACK
            events.append(Oddity("duplicate_frame"))
            return
        signal = self.signal(ended)
        self._out += signal
        if signal == _NAK:
            return
        if self._unacknowledged is not None:
            events.append(Oddity("acknowledgement_missing"))
            self._acknowledged(now, events)
        self._last_received, self._last_received_at, self._sent_since = ended, now, False
        self._repeats_dropped = 0
        try:
            events.append(Arrived(Apdu.decode(ended)))
        except MalformedMessage:
            events.append(Arrived(None))

    def _is_repeat(self, apdu: bytes, now: float) -> bool:
        if apdu != self._last_received or self._repeats_dropped == self._repeats:
            return False
        if self._sent_since and now - self._last_received_at >= self._t1_s:
            return False
        self._repeats_dropped += 1
        return True

    def _acknowledged(self, now: float, events: list[LinkEvent]) -> None:
        message = self._unacknowledged
        self._unacknowledged = None
        self._ack_by = None
        if self._sent_since:
            self._last_received = None
        if message is not None:
            events.append(Delivered(message))
        self._send_next(now)

    def _repeat(self, reason: str, now: float, events: list[LinkEvent]) -> None:
        message = self._unacknowledged
        if message is None:
            return
        if self._repeats_left:
            self._repeats_left -= 1
            self._out += self.frame(message)
            self._is_handed_out = False
            self._ack_by = now + self._t2_s
            return
        self._unacknowledged = None
        self._ack_by = None
        events.append(NotDelivered(message, reason, left=True))
        # The line is dead or the peer deaf; what waits would meet the same end, later and at a worse moment.
        events.extend(NotDelivered(message, reason, left=False) for message in self._waiting)
        self._waiting.clear()

    def _send_next(self, now: float) -> None:
        if self._unacknowledged is not None or not self._waiting:
            return
        self._unacknowledged = self._waiting.popleft()
        self._repeats_left = self._repeats
        self._is_handed_out = False
        self._ack_by = now + self._t2_s
        self._sent_since = True
        self._out += self.frame(self._unacknowledged)
