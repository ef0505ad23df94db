"""The message layer, the same on every line: ``AA 00 | 81 04 TT RR II II | [82 status] | [84 payload]``.

Lengths are BER, also longer than they need to be (readers write ``82 00 2C``). Nothing protects a message but the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage
from protocols.readers.emv import Tlv, decode_length, encode_length, encode_tlv
from protocols.readers.magtek_mms import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_MARK: Final = b"\xaa\x00\x81\x04"
_HEAD: Final = 8
_STATUS: Final = 0x82
_PAYLOAD: Final = 0x84


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``kind`` as in ``codes.TYPES``; ``number`` says what it is about.

    ``status`` is the content of tag 82: one byte and a detail of three (of a notification: technology or category, and
    detail). ``payload`` is the content of tag 84; it may hold card data and is not in ``repr``.
    """

    kind: int
    reference: int
    number: int
    status: bytes | None = None
    payload: bytes | None = field(default=None, repr=False)

    @property
    def first(self) -> int:
        """The operation status, technology or category; 0 when there is none."""
        return self.status[0] if self.status else 0

    @property
    def detail(self) -> int:
        """The three detail bytes as a number."""
        return int.from_bytes(self.status[1:4], "big") if self.status else 0

    @property
    def is_success(self) -> bool:
        """True when a response says that the request was taken. A response without a status says nothing else."""
        return self.status is None or self.first in codes.SUCCESSES

    @property
    def parameters(self) -> bytes:
        """The payload without the number that most of them begin with."""
        payload = self.payload or b""
        return payload[2:] if payload[:2] == self.number.to_bytes(2, "big") else payload

    def encode(self) -> bytes:
        """The message as bytes."""
        encoded = bytearray(_MARK)
        encoded += bytes((self.kind, self.reference)) + self.number.to_bytes(2, "big")
        if self.status is not None:
            encoded += bytes((_STATUS,)) + encode_length(len(self.status)) + self.status
        if self.payload is not None:
            encoded += bytes((_PAYLOAD,)) + encode_length(len(self.payload)) + self.payload
        return bytes(encoded)


def decode_message(encoded: bytes) -> Message:
    """One whole message. Raises MalformedMessage when it is cut off, too long, or none."""
    if not encoded.startswith(_MARK) or len(encoded) < _HEAD:
        raise MalformedMessage("does not begin like a message", length=len(encoded))
    status: bytes | None = None
    payload: bytes | None = None
    at, end = _HEAD, len(encoded)
    while at < end:
        tag = encoded[at]
        length = decode_length(encoded, at + 1, end)
        if length is None or length[1] + length[0] > end:
            raise MalformedMessage("object of the message is cut off", offset=at)
        size, start = length
        at = start + size
        if tag == _STATUS and status is None:
            status = encoded[start:at]
        elif tag == _PAYLOAD and payload is None:
            payload = encoded[start:at]
        elif tag & 0x1F == 0x1F:
            raise MalformedMessage("object that no message has", tag=tag)
    return Message(encoded[4], encoded[5], int.from_bytes(encoded[6:8], "big"), status, payload)


def request(number: int, reference: int, objects: Iterable[Tlv] = ()) -> Message:
    """A request of the host; its payload repeats the number."""
    payload = number.to_bytes(2, "big") + encode_tlv(objects)
    return Message(codes.REQUEST, reference, number, payload=payload)


def response(
    asked: Message, status: int = 0, detail: int = 0, parameters: bytes | None = None
) -> Message:
    """The reader's answer to a request."""
    payload = None if parameters is None else asked.number.to_bytes(2, "big") + parameters
    return Message(codes.RESPONSE, asked.reference, asked.number, _status(status, detail), payload)


def notification(number: int, first: int, detail: int, payload: bytes | None = None) -> Message:
    """Something the reader says by itself."""
    return Message(codes.NOTIFICATION, 0, number, _status(first, detail), payload)


def _status(first: int, detail: int) -> bytes:
    return bytes((first,)) + detail.to_bytes(3, "big")


# --- messages that are longer than memory should be -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message on its way out, cut into packets one by one. ``body`` is read when its turn comes, or never."""

    head: bytes = field(repr=False)
    body_size: int = 0
    read: Callable[[int, int], bytes] | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the whole message."""
        return len(self.head) + self.body_size

    def part(self, offset: int, length: int) -> bytes:
        """These bytes of it; fewer at the end. What the body fails to give is zero, so that lengths stay true."""
        length = max(0, min(length, self.size - offset))
        head = self.head[offset : offset + length]
        missing = length - len(head)
        if not missing or self.read is None:
            return head
        got = self.read(offset + len(head) - len(self.head), missing)[:missing]
        return head + got.ljust(missing, b"\x00")


def load_firmware(
    reference: int,
    image_type: int,
    sha256: bytes,
    size: int,
    read: Callable[[int, int], bytes],
) -> Outgoing:
    """The request that carries a whole firmware file (D801, without automatic commit)."""
    objects = _firmware_objects(image_type, sha256)
    inside = (
        codes.LOAD_FIRMWARE.to_bytes(2, "big") + encode_tlv(objects) + b"\x87" + _long_length(size)
    )
    head = (
        Message(codes.REQUEST, reference, codes.LOAD_FIRMWARE).encode()
        + bytes((_PAYLOAD,))
        + _long_length(len(inside) + size)
        + inside
    )
    return Outgoing(head, size, read)


def commit_firmware(reference: int, image_type: int, sha256: bytes) -> Message:
    """The request to install the file that was loaded (D901)."""
    progress, *rest = _firmware_objects(image_type, sha256)
    return request(codes.COMMIT_FIRMWARE, reference, (progress, Tlv(0x82, b"\x00"), *rest))


def _firmware_objects(image_type: int, sha256: bytes) -> Sequence[Tlv]:
    return Tlv(0x81, b"\x03"), Tlv(0x85, image_type.to_bytes(2, "big")), Tlv(0x86, sha256)


def _long_length(length: int) -> bytes:
    # MagTek writes these two lengths with three bytes whatever they are.
    return b"\x83" + length.to_bytes(3, "big")
