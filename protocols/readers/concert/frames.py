"""What travels on a Concert line: single control bytes, and messages with a check byte that may have any value."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from protocols.errors import MalformedMessage
from protocols.readers.framing import xor_of

STX: Final = 0x02
ETX: Final = 0x03
#: The long answer; nothing longer exists.
LONGEST_BODY: Final = 80


class Signal(IntEnum):
    """A control byte outside messages."""

    EOT = 0x04
    ENQ = 0x05
    ACK = 0x06
    NAK = 0x15


@dataclass(frozen=True, slots=True)
class Message:
    """A message. ``is_sound`` is False when its check byte or one of its characters is wrong."""

    body: bytes = field(repr=False)
    is_sound: bool = True


Frame = Signal | Message
_SIGNALS: Final = frozenset(Signal)


def lrc(body: bytes) -> int:
    """The check byte: body and ETX."""
    return xor_of(body) ^ ETX


def encode_frame(body: bytes) -> bytes:
    """A message in its frame. Raises MalformedMessage for a body that could not be cut out again."""
    if ETX in body or not body.isascii() or len(body) > LONGEST_BODY:
        raise MalformedMessage("the message cannot be framed", length=len(body))
    return b"\x02%b\x03%c" % (body, lrc(body))


class FrameStream:
    """Cuts a stream of bytes into signals and messages."""

    def __init__(self) -> None:
        self._rest = b""
        self.skipped = 0
        """How many bytes belonged to nothing so far."""

    def reset(self) -> None:
        """Forget the beginning of a message."""
        self._rest = b""

    @property
    def is_inside(self) -> bool:
        """True while a message has begun and not ended."""
        return bool(self._rest)

    def feed(self, received: bytes) -> list[Frame]:
        """What is complete now, in order."""
        pending = self._rest + received
        frames: list[Frame] = []
        at, end = 0, len(pending)
        while at < end:
            lead = pending[at]
            if lead in _SIGNALS:
                frames.append(Signal(lead))
                at += 1
            elif lead != STX:
                self.skipped += 1
                at += 1
            else:
                etx = pending.find(ETX, at + 1, at + LONGEST_BODY + 2)
                # Nothing but text stands in a message: a control byte in it begins something new.
                broken = _first_control(pending, at + 1, etx if etx >= 0 else end)
                if broken is not None or (etx < 0 and end - at > LONGEST_BODY + 1):
                    following = broken if broken is not None else at + 1
                    self.skipped += following - at
                    at = following
                    continue
                if etx < 0 or etx + 1 == end:
                    break
                body = pending[at + 1 : etx]
                frames.append(Message(body, body.isascii() and lrc(body) == pending[etx + 1]))
                at = etx + 2
        self._rest = pending[at:]
        return frames


def _first_control(pending: bytes, start: int, stop: int) -> int | None:
    text = pending[start:stop]
    # Quick for the rule: a body of text and digits.
    if text.isascii() and text.decode("ascii").isprintable():
        return None
    return next((at for at in range(start, stop) if pending[at] in _SIGNALS | {STX}), None)
