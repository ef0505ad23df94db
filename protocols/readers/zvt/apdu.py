"""ZVT messages as bytes: control field, length, data; and how they follow one another on a TCP connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocols.errors import MalformedMessage

LONGEST_DATA: Final = 0xFFFF
LONGEST_APDU: Final = LONGEST_DATA + 5
_LONG: Final = 0xFF

#: First bytes that a message of either side can have; on a bare byte stream anything else is noise.
_CLASSES: Final = frozenset((0x01, 0x04, 0x05, 0x06, 0x08, 0x0F, 0x80, 0x84))


@dataclass(frozen=True, slots=True)
class Apdu:
    """One message: ``control`` is class and instruction (0601), ``content`` what follows the length.

    The content may hold a password or card data, so its ``repr`` tells the size only.
    """

    control: int
    content: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Raises MalformedMessage above 65535 bytes of content."""
        length = len(self.content)
        if length > LONGEST_DATA:
            raise MalformedMessage("message is too long", length=length)
        size = bytes((length,)) if length < _LONG else bytes((_LONG, length & 0xFF, length >> 8))
        return self.control.to_bytes(2, "big") + size + self.content

    @property
    def is_answer(self) -> bool:
        """True for 80 xx and 84 xx, which answer a message and are not answered."""
        return self.control >> 8 in {0x80, 0x84}

    @classmethod
    def decode(cls, encoded: bytes) -> Apdu:
        """Exactly one message. Raises MalformedMessage when its length does not match."""
        total = apdu_length(encoded)
        if total is None or total != len(encoded):
            raise MalformedMessage(
                "message is not as long as it says", says=total, has=len(encoded)
            )
        return cls(int.from_bytes(encoded[:2], "big"), encoded[_header_length(encoded) :])


def apdu_length(begin: bytes | bytearray) -> int | None:
    """Length of the whole message that begins so; None when more bytes are needed to tell."""
    if len(begin) < 3:
        return None
    if begin[2] != _LONG:
        return 3 + begin[2]
    if len(begin) < 5:
        return None
    return 5 + begin[3] + (begin[4] << 8)


class ApduStream:
    """Cuts a TCP stream into messages, however it was split or joined. Holds at most one unfinished message."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.skipped = 0
        """Bytes dropped so far because no message begins with them."""

    def feed(self, received: bytes) -> list[Apdu]:
        """The messages that are complete now."""
        pending = self._pending
        pending += received
        complete: list[Apdu] = []
        at = 0
        while at < len(pending):
            if pending[at] not in _CLASSES:
                at += 1
                self.skipped += 1
                continue
            total = apdu_length(pending[at : at + 5])
            if total is None or at + total > len(pending):
                break
            complete.append(Apdu.decode(bytes(pending[at : at + total])))
            at += total
        del pending[:at]
        return complete

    def is_inside(self) -> bool:
        """True while a message has begun and not ended."""
        return bool(self._pending)


def _header_length(encoded: bytes) -> int:
    return 5 if encoded[2] == _LONG else 3
