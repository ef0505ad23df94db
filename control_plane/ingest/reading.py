"""From the bytes of a message to values that may be stored. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from control_plane.ingest.guard import cleaned, looks_harmless
from protocols.cloud.envelope import Envelope, EnvelopeHead, open_head
from protocols.cloud.events import (
    UNREADABLE,
    CommandResult,
    DailyClosing,
    DeviceEvent,
    JobProgress,
    PaymentResult,
    ReaderTotals,
    SessionStep,
)
from protocols.cloud.topics import Stream
from protocols.errors import MalformedMessage

#: Epochs and boots are small counters, sequence numbers can be exact in JSON everywhere.
_LARGEST_EPOCH: Final = 2**31 - 1
LARGEST_SEQ: Final = 2**53 - 1
_HASH: Final = re.compile(r"[0-9a-f]{32}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,64}", re.ASCII)
_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class _MoneyEnvelope(Envelope, frozen=True, kw_only=True):
    data: PaymentResult | DailyClosing


class _EventEnvelope(Envelope, frozen=True, kw_only=True):
    data: SessionStep | ReaderTotals | DeviceEvent


class _JobEnvelope(Envelope, frozen=True, kw_only=True):
    data: JobProgress


class _ResultEnvelope(Envelope, frozen=True, kw_only=True):
    data: CommandResult


#: Each stream carries its own kinds of messages; another kind there is malformed.
_DECODERS: Final[dict[Stream, msgspec.json.Decoder[Any]]] = {
    Stream.TRANSACTIONS: msgspec.json.Decoder(_MoneyEnvelope),
    Stream.EVENTS: msgspec.json.Decoder(_EventEnvelope),
    Stream.JOBS: msgspec.json.Decoder(_JobEnvelope),
    Stream.RESULTS: msgspec.json.Decoder(_ResultEnvelope),
}


class Read(NamedTuple):
    """A message that was understood."""

    envelope: Envelope
    digest: str
    #: The id of the envelope as a number of 128 bits.
    number: int
    #: Texts in which a card number was masked.
    masked: int


class Unreadable(NamedTuple):
    """A message that was not; with its key, if even that can be read."""

    reason: str
    digest: str
    head: EnvelopeHead | None


def read(stream: Stream, payload: bytes) -> Read | Unreadable:
    """Decode, validate, and take card numbers out."""
    digest = blake2b(payload, digest_size=16).hexdigest()
    try:
        envelope: Envelope = _DECODERS[stream].decode(payload)
        masked = 0
        if not looks_harmless(payload):
            data, masked = cleaned(envelope.data)
            envelope = msgspec.structs.replace(envelope, data=data)
        if objection := _objection(envelope, stream):
            return Unreadable(objection, digest, _head(stream, payload))
        number = _number(envelope.id)
        if number < 0:
            return Unreadable("the id is no UUID", digest, _head(stream, payload))
    except (*UNREADABLE, MalformedMessage) as error:
        return Unreadable(str(error), digest, _head(stream, payload))
    return Read(envelope, digest, number, masked)


def happened_at(envelope: Envelope, received: datetime, anchor_ms: int | None) -> datetime:
    """When a message was made, by our clock as far as can be known; never later than it was received.

    ``anchor_ms`` is the best known start of the device's monotonic clock, in our Unix milliseconds: it decides when
    the device's own clock was never compared with ours.
    """
    if envelope.clk_unc_ms < 0 and anchor_ms is not None:
        at = _EPOCH_START + (anchor_ms + envelope.mono_ms) * _MILLISECOND
    else:
        try:
            at = datetime.fromisoformat(envelope.ts)
        except ValueError:
            return received
        if at.tzinfo is None:
            return received
    return at if at < received else received


def _objection(envelope: Envelope, stream: Stream) -> str | None:
    # Two comparisons in one go for what nearly always holds; which one it was matters only to people.
    if envelope.v != 1 or envelope.stream != stream:
        return f"stream {envelope.stream} of version {envelope.v} is not that of the topic"
    if not (
        0 < envelope.seq <= LARGEST_SEQ
        and 0 < envelope.epoch <= _LARGEST_EPOCH
        and 0 <= envelope.mono_ms <= LARGEST_SEQ
    ):
        return "a number of the envelope is out of bounds"
    if len(envelope.prev) != 32:
        return "prev is no hash"
    data = envelope.data
    if isinstance(data, PaymentResult):
        if data.amount_minor < 0:
            return "an amount below zero"
        if not (_is_id(data.session_id) and _is_id(data.reader_id)):
            return "an id with characters that no id has"
    elif isinstance(data, DeviceEvent) and data.reader_id and len(data.reader_id) > 64:
        return "an id longer than ids are"
    return None


def _number(uuid: str) -> int:
    """The number that a UUID writes; -1 for what is none."""
    if len(uuid) != 36 or uuid.count("-") != 4:
        return -1
    try:
        return int(uuid.replace("-", ""), 16)
    except ValueError:
        return -1


def _is_id(text: str) -> bool:
    # An id with a prefix is an identifier of Python, too, which is quicker to know.
    return (text.isidentifier() and text.isascii()) or _ID.fullmatch(text) is not None


def _head(stream: Stream, payload: bytes) -> EnvelopeHead | None:
    head = open_head(payload)
    if (
        head is None
        or head.stream != stream
        or not (0 < head.seq <= LARGEST_SEQ and 0 < head.epoch <= _LARGEST_EPOCH)
    ):
        return None
    return head if _HASH.fullmatch(head.prev) else msgspec.structs.replace(head, prev="")
