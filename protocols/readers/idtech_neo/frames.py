"""Frames of protocol 2, and the reports that carry them on USB.

``ViVOtech2`` 00, command, sub-command or status, length (2, high first), data, CRC-16/CCITT-FALSE over all before it:
low byte first in a command, high byte first in an answer. Some commands carry it the other way, so both are accepted.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.errors import CommandNotPossible, MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER: Final = b"ViVOtech2\x00"
#: Frame without data: header, command, status, length, check code.
EMPTY_BYTES: Final = len(HEADER) + 6
MOST_DATA: Final = 1500 - EMPTY_BYTES
REPORT_BYTES: Final = 64
_CARRIED: Final = REPORT_BYTES - 1
_COMPLETE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4

STREAM_FRAMINGS: Final = ("serial", "tcp")
FRAMINGS: Final = (*STREAM_FRAMINGS, "usb_hid", "ble_gatt")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. ``sub`` is the sub-command of a command and the status of an answer."""

    command: int
    sub: int
    data: bytes = field(default=b"", repr=False)
    is_high_first: bool = False
    """How its check code was written: high byte first, as answers have it."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something on the line that is no frame: ``noise``, ``bad_check_code`` or ``bad_length``."""

    name: str


def encode(frame: Frame) -> bytes:
    """The bytes of a frame. Raises MalformedMessage for more data than a reader takes."""
    if len(frame.data) > MOST_DATA:
        raise MalformedMessage("too much for one frame", length=len(frame.data), most=MOST_DATA)
    head = bytes((frame.command, frame.sub)) + len(frame.data).to_bytes(2, "big")
    covered = HEADER + head + frame.data
    check = check_code(covered)
    return covered + check.to_bytes(2, "big" if frame.is_high_first else "little")


def decode(encoded: bytes) -> Frame:
    """The one frame that these bytes are. Raises MalformedMessage."""
    if encoded[: len(HEADER)] != HEADER or len(encoded) < EMPTY_BYTES:
        raise MalformedMessage("no frame of this protocol", length=len(encoded))
    length = int.from_bytes(encoded[12:14], "big")
    if len(encoded) != EMPTY_BYTES + length:
        raise MalformedMessage("the length is wrong", says=length, has=len(encoded) - EMPTY_BYTES)
    frame = _checked(encoded)
    if frame is None:
        raise MalformedMessage("the check code is wrong")
    return frame


def check_code(covered: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 1021, start FFFF; of ``123456789`` it is 29B1."""
    return crc_hqx(covered, 0xFFFF)


def to_reports(encoded: bytes) -> Iterator[bytes]:
    """A frame as USB reports of 64 bytes, the last one filled with zeros."""
    pieces = [encoded[at : at + _CARRIED] for at in range(0, len(encoded), _CARRIED)]
    for at, piece in enumerate(pieces):
        if len(pieces) == 1:
            number = _COMPLETE
        elif at == 0:
            number = _FIRST
        else:
            number = _LAST if at == len(pieces) - 1 else _MIDDLE
        yield bytes((number,)) + piece.ljust(_CARRIED, b"\0")


def _checked(encoded: bytes) -> Frame | None:
    check = check_code(encoded[:-2])
    for order in ("little", "big"):
        if encoded[-2:] == check.to_bytes(2, "little" if order == "little" else "big"):
            return Frame(encoded[10], encoded[11], encoded[14:-2], is_high_first=order == "big")
    return None


class Line:
    """Frames in, frames out, on one framing. What it gives does not depend on how a stream was cut."""

    def __init__(self, framing: str) -> None:
        """Raises CommandNotPossible for a framing there is not."""
        if framing not in FRAMINGS:
            raise CommandNotPossible(
                "NEO has no such framing", framing=framing, known=", ".join(FRAMINGS)
            )
        self._is_hid = framing == "usb_hid"
        self._is_stream = framing in STREAM_FRAMINGS
        self._out: deque[bytes] = deque()
        self._received = bytearray()
        self._has_noise = self._is_lost = False
        self._is_assembling = False

    def reset(self) -> None:
        """Forget what came and what was not sent."""
        self._out.clear()
        self.forget()

    def forget(self) -> None:
        """Forget what came of a frame that does not end."""
        self._received.clear()
        self._has_noise = self._is_lost = self._is_assembling = False

    def send(self, frame: Frame) -> None:
        """Queue a frame."""
        self.send_raw(encode(frame))

    def send_raw(self, encoded: bytes) -> None:
        """Queue bytes as they are."""
        self._out.extend(to_reports(encoded) if self._is_hid else (encoded,))

    def outgoing(self) -> bytes:
        """What is to be sent now: one packet, or on a stream everything."""
        if not self._out:
            return b""
        if not self._is_stream:
            return self._out.popleft()
        everything = b"".join(self._out)
        self._out.clear()
        return everything

    def has_unsent(self) -> bool:
        """Whether something waits for ``outgoing``."""
        return bool(self._out)

    def feed(self, received: bytes) -> Sequence[Frame | Oddity]:
        """Take what came: a piece of a stream, or one packet."""
        return self._take_report(received) if self._is_hid else self._take(received)

    # --- a stream ---

    def _take(self, received: bytes) -> Sequence[Frame | Oddity]:
        buffer = self._received
        buffer += received
        found: list[Frame | Oddity] = []
        while buffer:
            start = buffer.find(HEADER)
            if start < 0:
                # Only the beginning of a header at the very end may still become one.
                kept = next(
                    (
                        size
                        for size in range(len(HEADER) - 1, 0, -1)
                        if buffer.endswith(HEADER[:size])
                    ),
                    0,
                )
                self._has_noise |= len(buffer) > kept
                del buffer[: len(buffer) - kept]
                break
            if start:
                self._has_noise = True
                del buffer[:start]
            if len(buffer) < EMPTY_BYTES - 2:
                break
            length = int.from_bytes(buffer[12:14], "big")
            if length > MOST_DATA:
                self._skip_header("bad_length", found)
                continue
            if len(buffer) < EMPTY_BYTES + length:
                break
            frame = _checked(bytes(buffer[: EMPTY_BYTES + length]))
            if frame is None:
                # A frame that was cut off may have the next one inside what it claims to be.
                self._skip_header("bad_check_code", found)
                continue
            if self._has_noise and not self._is_lost:
                found.append(Oddity("noise"))
            self._has_noise = self._is_lost = False
            found.append(frame)
            del buffer[: EMPTY_BYTES + length]
        return found

    def _skip_header(self, name: str, found: list[Frame | Oddity]) -> None:
        """Look for the next frame; what stands before it is the rest of this one and no news."""
        found.append(Oddity(name))
        self._is_lost = True
        del self._received[: len(HEADER)]

    # --- reports ---

    def _take_report(self, report: bytes) -> Sequence[Frame | Oddity]:
        number = report[0] if report else 0
        if number in {_COMPLETE, _FIRST}:
            self._received = bytearray(report[1:REPORT_BYTES])
            self._is_assembling = number == _FIRST
        elif number in {_MIDDLE, _LAST} and self._is_assembling:
            self._received += report[1:REPORT_BYTES]
        else:
            return ()
        if number in {_FIRST, _MIDDLE}:
            if len(self._received) > EMPTY_BYTES + MOST_DATA + _CARRIED:
                self.forget()
                return (Oddity("bad_length"),)
            return ()
        received = bytes(self._received)
        self.forget()
        if received[: len(HEADER)] != HEADER:
            return (Oddity("noise"),)
        length = int.from_bytes(received[12:14], "big")
        if len(received) < EMPTY_BYTES + length:
            return (Oddity("bad_length"),)
        frame = _checked(received[: EMPTY_BYTES + length])
        return (frame or Oddity("bad_check_code"),)
