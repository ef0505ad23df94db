"""A device on a real broker: enrolled, connected with its certificate, with an outbox that re-sends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.audit.actor import SYSTEM
from control_plane.db.scope import Scope
from control_plane.devices import enrollment
from control_plane.devices.authority import KeyPair
from control_plane.mqtt.wire import Message, Will, WireClient, WireError
from control_plane.parts import Parts
from control_plane.wiring.mqtt import MqttEdge
from protocols.cloud.commands import Ack
from protocols.cloud.http import EnrollRequest
from protocols.cloud.topics import STREAM_CHANNEL, Channel, Stream, device_subscriptions, topic
from tests.fakes.device_outbox import DeviceOutbox
from tests.support.certificates import csr_for, pair_of
from tests.support.waiting import eventually


@dataclass
class MqttDevice:
    """Publishes, listens, and sends again what is not acknowledged."""

    edge: MqttEdge
    device_id: str
    pair: KeyPair
    outbox: DeviceOutbox
    client: WireClient | None = None
    heard: list[Message] = field(default_factory=list)
    #: stream -> end of the acknowledged prefix
    acked: dict[str, int] = field(default_factory=dict)

    @property
    def line(self) -> WireClient:
        """The connection. Raises when there is none."""
        assert self.client is not None
        return self.client

    def connect(self, *, will: Will | None = None) -> MqttDevice:
        """Connect as soon as the broker lets it in, and subscribe to all that is meant for it."""

        if self.client is not None:
            self.client.abandon()

        def connected() -> bool:
            try:
                self.client = self.edge.clients().connect(self.device_id, self.pair, will=will)
            except WireError:
                return False
            return True

        eventually(connected, 10)
        self.line.subscribe([(name, 0) for name in device_subscriptions("00", self.device_id)])
        return self

    def publish(self, channel: Channel, payload: bytes, *, qos: int = 1) -> None:
        """On its own topic."""
        self.line.publish(topic("00", self.device_id, channel), payload, qos=qos)

    def send(self, *seqs: int, stream: Stream = Stream.TRANSACTIONS) -> None:
        """Publish messages of the outbox."""
        for seq in seqs:
            self.publish(STREAM_CHANNEL[stream], self.outbox.sent[stream, seq])

    def sell(self, count: int) -> None:
        """Put sales into the outbox and publish them."""
        for _ in range(count):
            self.outbox.sale()
            self.send(max(seq for stream, seq in self.outbox.sent if stream is Stream.TRANSACTIONS))

    def listen(self, seconds: float = 0.05) -> list[Message]:
        """Take what has come; acknowledgements are noted."""
        found = self.line.receive(seconds)
        self.heard += found
        for message in found:
            if message.topic == topic("00", self.device_id, Channel.ACK):
                ack = msgspec.json.decode(message.payload, type=Ack)
                self.acked[ack.stream] = max(self.acked.get(ack.stream, 0), ack.upto)
        return found

    def payloads(self, channel: Channel) -> list[bytes]:
        """What has come on one channel so far."""
        self.listen()
        wanted = topic("00", self.device_id, channel)
        return [one.payload for one in self.heard if one.topic == wanted]

    def until_acknowledged(
        self, upto: int, *, deadline_s: float = 20, stream: Stream = Stream.TRANSACTIONS
    ) -> None:
        """Listen, and re-send what waits too long, reconnecting when the line breaks; as an agent does."""
        deadline = time.monotonic() + deadline_s
        sent_at = time.monotonic()
        while self.acked.get(stream.value, 0) < upto:
            assert time.monotonic() < deadline, f"acknowledged {self.acked}, not {upto}"
            try:
                self.listen()
                if time.monotonic() - sent_at > 1.0:
                    sent_at = time.monotonic()
                    first = self.acked.get(stream.value, 0) + 1
                    self.send(*range(first, upto + 1), stream=stream)
            except WireError:
                self.connect()
                sent_at = 0.0


def enrolled_device(parts: Parts, merchant_id: str, location_id: str) -> MqttDevice:
    """A new device of a location, not yet connected."""
    edge = parts.get(MqttEdge)
    key = ec.generate_private_key(ec.SECP256R1())
    with parts.database.transaction() as db:
        _, code = enrollment.issue_code(db, Scope(merchant_id), location_id, by=SYSTEM)
    with parts.database.transaction() as db:
        request = EnrollRequest(code=code.reveal(), csr_pem=csr_for(key), agent_version="1.0")
        new = enrollment.enrol(db, edge.authority, request)
    edge.look_now()
    return MqttDevice(edge, new.device_id, pair_of(key, new.issued), DeviceOutbox(new.device_id))
