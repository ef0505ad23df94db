"""One simulated device: packets of MQTT in, packets out. It holds no socket and reads no clock.

It does what a real agent does on the wire: presence with a last will, state, telemetry, sales that it repeats until
they are acknowledged, an answer to every command and every configuration. Some members misbehave, see ``Vice``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from control_plane.mqtt.wire import (
    Message,
    Packet,
    Will,
    encode_connect,
    encode_packet,
    encode_publish,
    encode_text,
)
from protocols.cloud.commands import (
    Ack,
    Command,
    DesiredConfig,
    Grant,
    ReversePayment,
    StartPayment,
    encode,
)
from protocols.cloud.envelope import GENESIS, Envelope, body_hash, seal
from protocols.cloud.events import (
    UNREADABLE,
    Claim,
    CommandResult,
    OutboxLevel,
    PaymentResult,
    Presence,
    ReportedConfig,
    ReportedReader,
    ReportedState,
    StreamData,
    Telemetry,
)
from protocols.cloud.topics import (
    DELIVERY,
    KEEPALIVE_S,
    MAX_PAYLOAD_BYTES,
    STREAM_CHANNEL,
    Channel,
    Stream,
    device_subscriptions,
    topic,
)
from protocols.ids import new_id, uuid7

VERSION: Final = "swarm"
PROFILE: Final = "generic-zvt-tcp"
#: As the agent does it.
TELEMETRY_S: Final = 60.0
RESEND_S: Final = 5.0
#: Acknowledged messages that can be asked for again.
_KEPT: Final = 200
_MOST_RESENT: Final = 50


class Vice(StrEnum):
    """How a member misbehaves."""

    NONE = "none"
    DEAF = "deaf"
    """Answers no command and no configuration."""
    REFUSING = "refusing"
    """Rejects every configuration."""
    FLAPPING = "flapping"
    """Loses its connection every few seconds."""
    REPEATING = "repeating"
    """Sends each message three times."""
    SHUFFLING = "shuffling"
    """Sends messages in another order than it numbered them."""
    GARBLING = "garbling"
    """Sends bytes that are no message."""
    SPYING = "spying"
    """Publishes as another device and listens to everybody."""
    FLOODING = "flooding"
    """Sends its telemetry fifty times a second."""
    OVERSIZED = "oversized"
    """Sends more than a message may have."""


VICES: Final = tuple(one for one in Vice if one is not Vice.NONE)


@dataclass(slots=True)
class Habits:
    """What all members share. ``sale_every_s`` is for each reader, 0 for none."""

    readers: int = 1
    sale_every_s: float = 60.0
    heartbeat_s: float = TELEMETRY_S
    decline_share: float = 0.06


@dataclass(slots=True)
class Tally:
    """What the swarm has seen, added up over all members. Latencies in seconds."""

    sales: int = 0
    sold_minor: int = 0
    acknowledged: int = 0
    commands: int = 0
    configs: int = 0
    resent: int = 0
    ack_s: list[float] = field(default_factory=list)
    """Of sales, from the first sending to the acknowledgement."""
    config_at: dict[str, list[float]] = field(default_factory=dict)
    """When members took a configuration, by its version."""


@dataclass(slots=True)
class _Outbox:
    seq: int = 0
    prev: str = GENESIS
    waiting: dict[int, tuple[bytes, float, float]] = field(default_factory=dict)
    """Number -> payload, when it was made, when it was last sent."""
    kept: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a member keeps over a restart of the swarm: its numbers, so that it does not begin an epoch."""

    boot: int
    epoch: int
    streams: dict[str, tuple[int, str]]


class Member:
    """A device. Every method that sends gives bytes for the connection."""

    def __init__(
        self,
        device_id: str,
        cell: str,
        number: int,
        habits: Habits,
        tally: Tally,
        *,
        vice: Vice = Vice.NONE,
        victim: str = "",
        remembered: Remembered | None = None,
    ) -> None:
        self.id = device_id
        self.vice = vice
        self.number = number
        self.is_up = False
        self._cell = cell
        self._habits = habits
        self._tally = tally
        self._victim = victim
        self._random = random.Random(device_id)  # noqa: S311 (the same swarm behaves the same)
        self._boot = remembered.boot + 1 if remembered else 1
        self._epoch = remembered.epoch if remembered else 1
        self._connection = 0
        self._life = uuid7().hex
        self._packet_id = 0
        self._config = ReportedConfig()
        self._outboxes = {stream: _Outbox() for stream in Stream}
        for name, (seq, prev) in (remembered.streams if remembered else {}).items():
            self._outboxes[Stream(name)] = _Outbox(seq, prev)
        self._topics = {channel: topic(cell, device_id, channel) for channel in Channel}
        self._channels = {text: channel for channel, text in self._topics.items()}
        self._claims: dict[str, StartPayment | ReversePayment] = {}
        self._done: set[str] = set()
        self._receipt = 0
        self._beat_at = self._sale_at = self._resend_at = self._vice_at = 0.0
        self._started = 0.0

    # --- the connection ----------------------------------------------------------------------------------------

    def connect(self, level: int = 4) -> bytes:
        """CONNECT, with the last will."""
        self._connection += 1
        will = Will(self._topics[Channel.PRESENCE], self._presence("offline"))
        return encode_connect(
            self.id, level=level, clean=True, keepalive_s=KEEPALIVE_S * 2, receive_maximum=100,
            will=will,
        )  # fmt: skip

    def connected(self, now: float) -> bytes:
        """What is said first."""
        self.is_up = True
        self._started = self._started or now
        self._resend_at = now + RESEND_S * self._random.uniform(0.5, 1.5)
        self._beat_at = now + self._habits.heartbeat_s * self._random.random()
        self._sale_at = self._next_sale(now)
        self._vice_at = now + self._random.uniform(5, 20)
        filters = device_subscriptions(self._cell, self.id)
        if self.vice is Vice.SPYING:
            filters = [*filters, "fl/#"]
        body = (1).to_bytes(2, "big") + b"".join(encode_text(one) + b"\0" for one in filters)
        return b"".join(
            (
                encode_packet(0x82, body),
                self._publish(Channel.PRESENCE, self._presence("online")),
                self._publish(Channel.STATE, self._state()),
                self._unsent(now),
            )
        )

    def lost(self) -> None:
        """The connection ended."""
        self.is_up = False

    def goodbye(self) -> bytes:
        """What is said last."""
        return self._publish(Channel.PRESENCE, self._presence("offline")) + encode_packet(0xE0, b"")

    def remember(self) -> Remembered:
        """What the next run of the swarm has to know."""
        streams = {
            stream.value: (box.seq, box.prev) for stream, box in self._outboxes.items() if box.seq
        }
        return Remembered(self._boot, self._epoch, streams)

    @property
    def waiting(self) -> int:
        """Messages without an acknowledgement."""
        return sum(len(box.waiting) for box in self._outboxes.values())

    # --- what comes in -----------------------------------------------------------------------------------------

    def take(self, packet: Message | Packet, now: float) -> bytes:
        """Answer a packet from the broker."""
        if isinstance(packet, Packet):
            return b""
        channel = self._channels.get(packet.topic)
        if channel is None or self.vice is Vice.DEAF:
            return b""
        try:
            match channel:
                case Channel.ACK:
                    return self._acknowledged(msgspec.json.decode(packet.payload, type=Ack), now)
                case Channel.CONFIG if packet.payload:
                    wanted = msgspec.json.decode(packet.payload, type=DesiredConfig)
                    return self._configured(wanted, now)
                case Channel.COMMAND:
                    return self._commanded(msgspec.json.decode(packet.payload, type=Command), now)
                case Channel.GRANT:
                    return self._granted(msgspec.json.decode(packet.payload, type=Grant), now)
                case _:
                    return b""
        except UNREADABLE:
            return b""

    def _acknowledged(self, ack: Ack, now: float) -> bytes:
        try:
            box = self._outboxes[Stream(ack.stream)]
        except ValueError:
            return b""
        if ack.epoch != self._epoch:
            return b""
        done = [seq for seq in box.waiting if seq <= ack.upto or seq in ack.also]
        for seq in done:
            payload, made_at, _ = box.waiting.pop(seq)
            box.kept[seq] = payload
            if ack.stream == Stream.TRANSACTIONS.value:
                self._tally.acknowledged += 1
                self._tally.ack_s.append(now - made_at)
        while len(box.kept) > _KEPT:
            del box.kept[next(iter(box.kept))]
        again = [
            box.kept[seq]
            for first, last in ack.resend
            for seq in range(first, min(last, first + _MOST_RESENT) + 1)
            if seq in box.kept
        ]
        self._tally.resent += len(again)
        channel = STREAM_CHANNEL[Stream(ack.stream)]
        return b"".join(self._publish(channel, payload) for payload in again)

    def _configured(self, wanted: DesiredConfig, now: float) -> bytes:
        if wanted.hash == self._config.hash:
            return b""
        self._tally.configs += 1
        self._tally.config_at.setdefault(str(wanted.version), []).append(now)
        if self.vice is Vice.REFUSING:
            self._config = ReportedConfig(
                version=wanted.version, hash=wanted.hash, status="rejected",
                errors={"document": "this device takes none"},
            )  # fmt: skip
        else:
            self._config = ReportedConfig(
                version=wanted.version, hash=wanted.hash, status="applied"
            )
        return self._publish(Channel.STATE, self._state())

    def _commanded(self, command: Command, now: float) -> bytes:
        if command.id in self._done:
            return self._unsent(now, everything=True)
        body = command.body
        if isinstance(body, StartPayment | ReversePayment):
            if command.id in self._claims:
                return b""
            self._claims[command.id] = body
            nonce = f"{self._random.getrandbits(64):016x}"
            return self._publish(Channel.CLAIM, encode(Claim(command_id=command.id, nonce=nonce)))
        return self._finish(
            command.id, CommandResult(command_id=command.id, status="succeeded"), now
        )

    def _granted(self, grant: Grant, now: float) -> bytes:
        body = self._claims.pop(grant.command_id, None)
        if body is None:
            return b""
        if not grant.granted:
            refused = CommandResult(
                command_id=grant.command_id, status="too_late", code=grant.reason
            )
            return self._finish(grant.command_id, refused, now)
        self._receipt += 1
        result = PaymentResult(
            session_id=body.session_id,
            reader_id=body.reader_id,
            kind="reversal" if isinstance(body, ReversePayment) else body.transaction,
            outcome="approved",
            amount_minor=body.amount_minor,
            currency=body.currency,
            decided_by="answer",
            receipt_number=self._receipt,
        )
        done = CommandResult(command_id=grant.command_id, status="succeeded")
        return self._say(Stream.TRANSACTIONS, result, now) + self._finish(
            grant.command_id, done, now
        )

    def _finish(self, command_id: str, result: CommandResult, now: float) -> bytes:
        self._done.add(command_id)
        self._tally.commands += 1
        return self._say(Stream.RESULTS, result, now)

    # --- what happens by the clock -----------------------------------------------------------------------------

    @property
    def next_at(self) -> float:
        """When `tick` has something to do."""
        return min(self._beat_at, self._sale_at, self._resend_at, self._vice_at)

    def tick(self, now: float) -> bytes:
        """What is due."""
        out = b""
        if now >= self._beat_at:
            self._beat_at = now + self._habits.heartbeat_s
            out += self._publish(Channel.TELEMETRY, self._telemetry(now))
            # Also keeps the connection alive.
            out += encode_packet(0xC0, b"")
        if now >= self._sale_at:
            self._sale_at = self._next_sale(now)
            out += self._sell(now)
        if now >= self._resend_at:
            self._resend_at = now + RESEND_S
            out += self._unsent(now)
        if now >= self._vice_at:
            out += self._misbehave(now)
        return out

    def wants_to_drop(self, now: float) -> bool:
        """Whether it is time to lose the connection."""
        return self.vice is Vice.FLAPPING and now >= self._vice_at

    def _next_sale(self, now: float) -> float:
        if not self._habits.sale_every_s:
            return float("inf")
        pace = self._habits.readers / self._habits.sale_every_s
        return now + self._random.expovariate(pace)

    def _sell(self, now: float) -> bytes:
        self._receipt += 1
        is_declined = self._random.random() < self._habits.decline_share
        minor = self._random.randint(150, 9_000)
        self._tally.sales += 1
        if not is_declined:
            self._tally.sold_minor += minor
        sale = PaymentResult(
            session_id=new_id("ts"),
            reader_id=self.reader_id(self._random.randrange(self._habits.readers)),
            kind="sale",
            outcome="declined" if is_declined else "approved",
            amount_minor=minor,
            currency="EUR",
            decided_by="answer",
            result_code=5 if is_declined else 0,
            receipt_number=self._receipt,
            card_brand=self._random.choice(("Visa", "Mastercard", "girocard")),
            entry_mode="contactless",
        )
        if self.vice is Vice.SHUFFLING:
            self._say(Stream.TRANSACTIONS, sale, now)
            box = self._outboxes[Stream.TRANSACTIONS]
            payloads = [payload for payload, _, _ in box.waiting.values()][-3:]
            self._random.shuffle(payloads)
            return b"".join(self._publish(Channel.TRANSACTIONS, one) for one in payloads)
        return self._say(Stream.TRANSACTIONS, sale, now)

    def _misbehave(self, now: float) -> bytes:
        match self.vice:
            case Vice.GARBLING:
                self._vice_at = now + 10
                junk = self._random.randbytes(self._random.randint(1, 400))
                return self._publish(
                    self._random.choice(list(STREAM_CHANNEL.values())), junk
                ) + self._publish(Channel.STATE, b'{"v":1,"readers":[{}]}')
            case Vice.SPYING:
                self._vice_at = now + 10
                forged = topic(self._cell, self._victim or "dev-nobody", Channel.PRESENCE)
                return encode_publish(forged, self._presence("offline"))
            case Vice.FLOODING:
                self._vice_at = now + 0.1
                return self._publish(Channel.TELEMETRY, self._telemetry(now)) * 5
            case Vice.OVERSIZED:
                self._vice_at = now + 20
                return self._publish(Channel.EVENTS, b" " * (MAX_PAYLOAD_BYTES + 1024))
            case Vice.FLAPPING:
                # The herd looks at `wants_to_drop`.
                return b""
            case _:
                self._vice_at = float("inf")
                return b""

    # --- packets -----------------------------------------------------------------------------------------------

    def reader_id(self, index: int) -> str:
        """Of one of its readers."""
        return f"rd_swarm{self.number:07d}{index:02d}"

    def _say(self, stream: Stream, data: StreamData, now: float) -> bytes:
        box = self._outboxes[stream]
        box.seq += 1
        payload = seal(
            Envelope(
                id=str(uuid7()),
                ts=_stamp(),
                boot=self._boot,
                mono_ms=int((now - self._started) * 1000),
                clk_unc_ms=20,
                stream=stream.value,
                epoch=self._epoch,
                seq=box.seq,
                prev=box.prev,
                data=data,
            )
        )
        box.prev = body_hash(payload)
        box.waiting[box.seq] = (payload, now, now)
        if not self.is_up:
            return b""
        times = 3 if self.vice is Vice.REPEATING else 1
        return self._publish(STREAM_CHANNEL[stream], payload) * times

    def _unsent(self, now: float, *, everything: bool = False) -> bytes:
        out = []
        for stream, box in self._outboxes.items():
            late = [
                (seq, one)
                for seq, one in box.waiting.items()
                if everything or now - one[2] >= RESEND_S
            ]
            for seq, (payload, made_at, _) in late[:_MOST_RESENT]:
                box.waiting[seq] = (payload, made_at, now)
                out.append(self._publish(STREAM_CHANNEL[stream], payload))
        self._tally.resent += len(out)
        return b"".join(out)

    def _publish(self, channel: Channel, payload: bytes) -> bytes:
        delivery = DELIVERY[channel]
        packet_id = 0
        if delivery.qos:
            self._packet_id = self._packet_id % 65_535 + 1
            packet_id = self._packet_id
        return encode_publish(
            self._topics[channel], payload, packet_id=packet_id, retain=delivery.retain
        )

    def _presence(self, state: str) -> bytes:
        return encode(
            Presence(
                state="online" if state == "online" else "offline",
                boot=self._boot,
                conn=self._connection,
                life=self._life,
                agent_version=VERSION,
                ts=_stamp(),
            )
        )

    def _state(self) -> bytes:
        readers = [
            ReportedReader(
                reader_id=self.reader_id(index),
                name=f"till {self.number}-{index + 1}",
                profile=PROFILE,
                address=f"tcp://10.{self.number >> 8 & 255}.{self.number & 255}.{index + 10}:20007",
                state="ready",
                vendor="CCV",
                model="Base Next",
                serial_number=f"{self.number:08d}{index:02d}",
                terminal_id=f"{52_000_000 + self.number * 100 + index}",
                software_version="GER-APP-v2.0.9",
            )
            for index in range(self._habits.readers)
        ]
        return encode(
            ReportedState(
                ts=_stamp(),
                boot=self._boot,
                agent_version=VERSION,
                accepts=["cmd.v1"],
                epoch=self._epoch,
                config=self._config,
                readers=readers,
                outbox=OutboxLevel(pending=self.waiting, oldest_s=0),
                hostname=f"till-{self.number}",
                platform="swarm",
            )
        )

    def _telemetry(self, now: float) -> bytes:
        return encode(
            Telemetry(
                ts=_stamp(),
                boot=self._boot,
                uptime_s=int(now - self._started),
                rss_kib=41_000 + self._random.randrange(2_000),
                load_1m=round(self._random.random() / 4, 2),
                disk_free_mib=5_000,
                outbox_pending=self.waiting,
            )
        )


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
