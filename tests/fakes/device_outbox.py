"""A device's outbox: makes the messages that a real one would send, numbered and chained."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from protocols.cloud.envelope import GENESIS, Envelope, body_hash, seal
from protocols.cloud.events import PaymentResult, StreamData
from protocols.cloud.topics import STREAM_CHANNEL, Channel, Stream
from protocols.ids import new_id, uuid7
from tests.fakes.clock import START


@dataclass
class DeviceOutbox:
    """One epoch of one device. ``sent`` keeps every payload by (stream, seq)."""

    device_id: str = "dev-test"
    epoch: int = 1
    boot: int = 1
    at: datetime = START
    sent: dict[tuple[Stream, int], bytes] = field(default_factory=dict)
    _last: dict[Stream, tuple[int, str]] = field(default_factory=dict)

    def put(self, stream: Stream, data: StreamData, **changes: Any) -> bytes:
        """The next message of a stream; ``changes`` replace fields of its envelope."""
        seq, prev = self._last.get(stream, (0, GENESIS))
        seq += 1
        fields: dict[str, Any] = {
            "id": str(uuid7()),
            "ts": self.at.isoformat(),
            "boot": self.boot,
            "mono_ms": 60_000 + seq,
            "clk_unc_ms": 20,
            "stream": stream.value,
            "epoch": self.epoch,
            "seq": seq,
            "prev": prev,
            "data": data,
        }
        payload = seal(Envelope(**(fields | changes)))
        self._last[stream] = (seq, body_hash(payload))
        self.sent[stream, seq] = payload
        return payload

    def sale(self, **changes: Any) -> bytes:
        """The next message of the money stream: an approved sale, unless told otherwise."""
        return self.put(Stream.TRANSACTIONS, sale(**changes))

    @staticmethod
    def channel(stream: Stream) -> Channel:
        """Where messages of a stream are published."""
        return STREAM_CHANNEL[stream]


def sale(**changes: Any) -> PaymentResult:
    """An approved sale of 12.34 EUR in a session of its own."""
    fields: dict[str, Any] = {
        "session_id": new_id("ts"),
        "reader_id": "rd_01m84mg76afkw90d0nd4w86764",
        "kind": "sale",
        "outcome": "approved",
        "amount_minor": 1234,
        "currency": "EUR",
        "decided_by": "answer",
        "result_code": 0,
        "result_text": "approved",
        "terminal_id": "52500001",
        "receipt_number": 17,
        "trace_number": 204,
        "authorization_code": "087612",
        "masked_pan": "476173******0119",
        "card_brand": "Visa",
        "entry_mode": "contactless",
        "receipt_lines": ["Café Lumière", "12.34 EUR", "APPROVED"],
    }
    return PaymentResult(**(fields | changes))
