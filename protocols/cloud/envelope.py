"""The envelope around every durable message, and its hash chain.

A message is written once into the device's outbox and published, re-sent and stored as exactly these bytes. Its key is
(device, stream, epoch, seq), for ever. ``prev`` is the hash of the message before it in its stream, so that a missing
or changed row shows.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from protocols.cloud.events import UNREADABLE, StreamData
from protocols.errors import MalformedMessage

#: ``prev`` of the first message of a stream in an epoch.
GENESIS: Final = "0" * 32


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds ``data``. ``ts`` is the device's belief; ``boot`` and ``mono_ms`` let the server rebuild order."""

    v: int = 1
    id: str
    """UUID version 7, made on the device."""
    ts: str
    """RFC 3339 UTC, by the device's wall clock."""
    boot: int
    """Counter of starts of the agent on this device."""
    mono_ms: int
    """CLOCK_BOOTTIME in milliseconds."""
    clk_unc_ms: int = -1
    """How far ``ts`` may be off; -1 when the clock was never compared with the server's."""
    stream: str
    epoch: int
    """Grows by one when a device starts a new outbox."""
    seq: int
    """1, 2, 3… within stream and epoch."""
    prev: str
    data: StreamData


class EnvelopeHead(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope without its data: what can still be read of a message whose data this version does not know."""

    id: str
    stream: str
    epoch: int
    seq: int
    prev: str = ""
    ts: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Envelope)
_head_decoder = msgspec.json.Decoder(EnvelopeHead)


def seal(envelope: Envelope) -> bytes:
    """The bytes that stand for this message from now on."""
    return _encoder.encode(envelope)


def open_envelope(payload: bytes) -> Envelope:
    """Decode and validate. Raises MalformedMessage that names the field."""
    try:
        return _decoder.decode(payload)
    except UNREADABLE as error:
        raise MalformedMessage(str(error)) from error


def open_head(payload: bytes) -> EnvelopeHead | None:
    """The key of a message that could not be opened, if even that can be read."""
    try:
        return _head_decoder.decode(payload)
    except UNREADABLE:
        return None


def body_hash(payload: bytes) -> str:
    """128-bit BLAKE2b of a message's bytes, in hex: the next message's ``prev``."""
    return hashlib.blake2b(payload, digest_size=16).hexdigest()
