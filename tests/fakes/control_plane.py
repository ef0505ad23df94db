"""A control plane that a test plays: takes in and acknowledges, grants claims, sends commands, answers over HTTPS.

It keeps to `protocols.cloud` in every message, and it is strict where the real one is: an event's key is (device,
stream, epoch, seq) for ever, the first nonce wins a claim, a signature must fit.
"""

from __future__ import annotations

import base64
import itertools
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from protocols.cloud import http as contract
from protocols.cloud.commands import (
    Ack,
    Command,
    CommandBody,
    DesiredConfig,
    Grant,
    ServiceState,
    TimeAnswer,
    encode,
)
from protocols.cloud.envelope import Envelope, body_hash, open_envelope
from protocols.cloud.events import (
    Claim,
    Presence,
    ReportedState,
    StreamData,
    Telemetry,
    TimeAsk,
)
from protocols.cloud.http import Broker
from protocols.cloud.topics import (
    CHANNEL_STREAM,
    Channel,
    Stream,
    ingest_subscription,
    service_topic,
    topic,
)
from protocols.cloud.topics import parse as parse_topic
from tests.fakes.authority import Authority
from tests.support.ports import LOOPBACK

CELL = "00"
Key = tuple[str, int, int]


@dataclass
class Taken:
    """What came from one device. May be read while more comes."""

    rows: dict[Key, bytes] = field(default_factory=dict)
    deliveries: list[Key] = field(default_factory=list)
    contradictions: list[Key] = field(default_factory=list)
    presence: list[Presence] = field(default_factory=list)
    states: list[ReportedState] = field(default_factory=list)
    telemetry: list[Telemetry] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def envelopes(self, stream: Stream) -> list[Envelope]:
        """In the order of their numbers."""
        keys = sorted(key for key in list(self.rows) if key[0] == stream)
        return [open_envelope(self.rows[key]) for key in keys]

    def told(self, stream: Stream) -> list[StreamData]:
        return [envelope.data for envelope in self.envelopes(stream)]

    def broken_links(self, stream: Stream) -> list[int]:
        """Numbers of messages whose `prev` is not the hash of the one before."""
        keys = sorted(key for key in list(self.rows) if key[0] == stream)
        return [
            key[2]
            for before, key in itertools.pairwise(keys)
            if before[1] == key[1]
            and open_envelope(self.rows[key]).prev != body_hash(self.rows[before])
        ]


class FakeControlPlane:
    """Everything behind the broker. `devices` and `codes` decide who may come over HTTPS."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.boot = "boot-1"
        self.acknowledges = True
        self.acks_to_lose = 0
        self.grants_to_lose = 0
        self.lease_ms = 2000
        self.refusal = ""
        self.answers_claims = True
        self.clock_offset_s = 0.0
        self.codes: dict[str, str] = {}
        self.certificates: dict[str, str] = {}
        self.certificate_days = 90.0
        self.sign: Callable[[str, str], str] = self._sign
        """Makes a certificate from a request and a name; a test may replace it."""
        self.broker: Broker | None = None
        self.requests: list[tuple[str, str]] = []
        self.is_http_down = False
        self.config = DesiredConfig(version=1, hash="h1", document={})
        self._taken: dict[str, Taken] = {}
        self._nonces: dict[str, str] = {}
        self._commands: dict[str, list[Command]] = {}
        self._news = threading.Condition()
        self._client: Client | None = None
        self._server: ThreadingHTTPServer | None = None
        self.enrolments: list[contract.EnrollRequest] = []

    def taken(self, device_id: str) -> Taken:
        """What came from a device so far."""
        return self._taken.setdefault(device_id, Taken())

    def close(self) -> None:
        """End all connections."""
        self.leave()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    # --- MQTT --------------------------------------------------------------------------------------------------

    def join(self, port: int, tls: tuple[str, str, str] | None = None) -> None:
        """Take in what comes over a broker; `tls`: files of the authority, a certificate and its key."""
        client = Client(CallbackAPIVersion.VERSION2, client_id="svc-ingest", clean_session=False)
        if tls is not None:
            client.tls_set(*tls)
        client.on_socket_open = _without_delay
        client.on_connect = self._connected
        client.on_message = self._arrived
        client.reconnect_delay_set(1, 1)
        client.connect(LOOPBACK if tls is None else "localhost", port)
        client.loop_start()
        self._client = client

    def leave(self) -> None:
        """Ingest ends; the broker keeps what comes."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def say_service(self, *, up: bool) -> None:
        """State to all devices that ingest is there, or not."""
        state = ServiceState(up=up, boot=self.boot, ts="now")
        self._publish_raw(service_topic(CELL), encode(state), retain=True)

    def send(
        self, device_id: str, body: CommandBody, command_id: str, *, ttl_ms: int = 10_000
    ) -> Command:
        """Send a command; over HTTPS it waits until the device asks."""
        command = Command(
            id=command_id, ttl_ms=ttl_ms, issued_at="now", expires_at="later", body=body
        )
        with self._news:
            self._commands.setdefault(device_id, []).append(command)
            self._news.notify_all()
        self.publish(device_id, Channel.COMMAND, encode(command))
        return command

    def publish(
        self, device_id: str, channel: Channel, payload: bytes, *, retain: bool = False
    ) -> None:
        """Send anything down to a device."""
        self._publish_raw(topic(CELL, device_id, channel), payload, retain=retain)

    def _publish_raw(self, name: str, payload: bytes, *, retain: bool = False) -> None:
        if self._client is not None:
            self._client.publish(name, payload, qos=1, retain=retain)

    def _connected(self, client: Client, *_: object) -> None:
        client.subscribe(ingest_subscription(CELL), qos=1)
        self.say_service(up=True)

    def _arrived(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        address = parse_topic(message.topic)
        for channel, answer in self._take(
            address.device_id, address.channel, bytes(message.payload)
        ):
            self.publish(address.device_id, channel, answer)

    # --- what both ways do -------------------------------------------------------------------------------------

    def _take(
        self, device_id: str, channel: Channel, payload: bytes
    ) -> list[tuple[Channel, bytes]]:
        """Take one message in; returns what is to be answered."""
        taken = self.taken(device_id)
        if channel in CHANNEL_STREAM:
            ack = self._commit(taken, payload)
            return [] if ack is None else [(Channel.ACK, encode(ack))]
        match channel:
            case Channel.PRESENCE:
                taken.presence.append(msgspec.json.decode(payload, type=Presence))
            case Channel.STATE:
                taken.states.append(msgspec.json.decode(payload, type=ReportedState))
            case Channel.TELEMETRY:
                taken.telemetry.append(msgspec.json.decode(payload, type=Telemetry))
            case Channel.CLAIM:
                claim = msgspec.json.decode(payload, type=Claim)
                grant = self._claim(taken, claim)
                return [] if grant is None else [(Channel.GRANT, encode(grant))]
            case Channel.TIME_ASK:
                asked = msgspec.json.decode(payload, type=TimeAsk)
                answer = TimeAnswer(t0_mono_ms=asked.t0_mono_ms, server_ms=self._now_ms())
                return [(Channel.TIME_ANSWER, encode(answer))]
            case _:
                pass
        return []

    def _commit(self, taken: Taken, payload: bytes) -> Ack | None:
        envelope = open_envelope(payload)
        key = (envelope.stream, envelope.epoch, envelope.seq)
        taken.deliveries.append(key)
        if taken.rows.setdefault(key, payload) != payload:
            taken.contradictions.append(key)
        if not self.acknowledges:
            return None
        if self.acks_to_lose > 0:
            self.acks_to_lose -= 1
            return None
        return self.ack_of(taken, envelope.stream, envelope.epoch)

    def ack_of(self, taken: Taken, stream: str, epoch: int) -> Ack:
        """What is committed of a stream."""
        have = sorted(seq for name, of, seq in list(taken.rows) if (name, of) == (stream, epoch))
        upto = 0
        while upto + 1 in have:
            upto += 1
        return Ack(
            stream=stream, epoch=epoch, upto=upto, also=[seq for seq in have if seq > upto][:500]
        )

    def _claim(self, taken: Taken, claim: Claim) -> Grant | None:
        taken.claims.append(claim)
        if not self.answers_claims:
            return None
        first = self._nonces.setdefault(claim.command_id, claim.nonce)
        if self.grants_to_lose > 0:
            self.grants_to_lose -= 1
            return None
        reason = self.refusal or ("" if first == claim.nonce else "already_claimed")
        return msgspec.convert(
            {
                "command_id": claim.command_id,
                "nonce": claim.nonce,
                "granted": not reason,
                "lease_ms": 0 if reason else self.lease_ms,
                "reason": reason,
            },
            Grant,
        )

    def _now_ms(self) -> int:
        return int((time.time() + self.clock_offset_s) * 1000)

    # --- HTTPS -------------------------------------------------------------------------------------------------

    def serve(self, tls: tuple[str, str] | None = None) -> str:
        """Answer HTTP, or HTTPS with these files of a certificate and its key; returns the address."""
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                plane.answer(self, b"")

            def do_POST(self) -> None:
                plane.answer(self, self.rfile.read(int(self.headers["Content-Length"] or 0)))

            def log_message(self, *args: Any) -> None:
                return

        self._server = _Server((LOOPBACK, 0), Handler)
        scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return f"{scheme}://localhost:{self._server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        """One request, whatever it is."""
        path = urlsplit(request.path).path
        self.requests.append((request.command, path))
        handlers: dict[tuple[str, str], Callable[[str, bytes, str], object]] = {
            ("POST", contract.RENEW): self._renew,
            ("POST", contract.OUTBOX): self._outbox,
            ("POST", contract.CLAIM): self._http_claim,
            ("GET", contract.DESIRED): self._desired,
        }
        if self.is_http_down:
            _reply(request, 503, {"code": "unavailable", "detail": "The service is being updated."})
        elif (request.command, path) == ("POST", contract.ENROLL):
            self._enroll(request, body)
        elif (handler := handlers.get((request.command, path))) is None:
            _reply(request, 404, {"code": "not_found", "detail": "There is nothing here."})
        elif (device_id := self._who(request, body)) is not None:
            _reply(request, 200, handler(device_id, body, request.path), self._now_ms())

    def _sign(self, csr_pem: str, name: str) -> str:
        return self.authority.sign_request(csr_pem, name, days=self.certificate_days)

    def _who(self, request: BaseHTTPRequestHandler, body: bytes) -> str | None:
        """The device that signed a request; answers by itself when none did."""
        device_id = request.headers[contract.HEADER_DEVICE] or ""
        timestamp = int(request.headers[contract.HEADER_TIMESTAMP] or 0)
        certificate = self.certificates.get(device_id)
        if certificate is None:
            _reply(request, 401, {"code": "device_not_trusted", "detail": "Not enrolled."})
            return None
        if abs(self._now_ms() - timestamp) > contract.MAX_SKEW_S * 1000:
            detail = {"code": "clock_skew", "detail": "The clock is off."}
            _reply(request, 401, detail, self._now_ms())
            return None
        key = load_pem_x509_certificate(certificate.encode()).public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        signature = base64.b64decode(request.headers[contract.HEADER_SIGNATURE] or "")
        text = contract.signed_text(request.command, request.path, timestamp, body)
        try:
            key.verify(signature, text, ECDSA(SHA256()))
        except InvalidSignature:
            _reply(request, 401, {"code": "device_not_trusted", "detail": "Not signed by it."})
            return None
        return device_id

    def _enroll(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        asked = msgspec.json.decode(body, type=contract.EnrollRequest)
        fate = self.codes.get(asked.code, "unknown")
        if fate != "good":
            detail = f"This code does not work: it is {fate}. Ask for a new code in the console."
            _reply(request, 403, {"code": "enrollment_code_refused", "detail": detail, "why": fate})
            return
        self.codes[asked.code] = "used_up"

        device_id = f"dev-{len(self.enrolments) + 1:04}"
        certificate = self.sign(asked.csr_pem, device_id)
        self.certificates[device_id] = certificate
        self.enrolments.append(asked)
        _reply(
            request,
            201,
            contract.Enrolled(
                device_id=device_id,
                cell=CELL,
                epoch=1,
                certificate_pem=certificate,
                ca_pem=self.authority.pem,
                broker=self.broker
                or Broker(host="localhost", port=1, mqtt_level=4, server_name="localhost"),
                location_name="Old Town",
                merchant_name="Café Test",
                server_ms=self._now_ms(),
            ),
        )

    def _renew(self, device_id: str, body: bytes, _path: str) -> object:
        asked = msgspec.json.decode(body, type=contract.RenewRequest)
        certificate = self.sign(asked.csr_pem, device_id)
        self.certificates[device_id] = certificate
        assert self.broker is not None
        return contract.Renewed(
            certificate_pem=certificate,
            ca_pem=self.authority.pem,
            broker=self.broker,
            server_ms=self._now_ms(),
        )

    def _outbox(self, device_id: str, body: bytes, _path: str) -> object:
        upload = msgspec.json.decode(body, type=contract.OutboxUpload)
        acks: dict[tuple[str, int], Ack] = {}
        for message in upload.messages:
            for channel, answer in self._take(
                device_id, Channel(message.channel), message.payload.encode()
            ):
                assert channel is Channel.ACK
                ack = msgspec.json.decode(answer, type=Ack)
                acks[ack.stream, ack.epoch] = ack
        return contract.OutboxAnswer(acks=list(acks.values()), server_ms=self._now_ms())

    def _http_claim(self, device_id: str, body: bytes, _path: str) -> object:
        claim = msgspec.json.decode(body, type=Claim)
        grant = self._claim(self.taken(device_id), claim)
        assert grant is not None
        return contract.ClaimAnswer(grant=grant, server_ms=self._now_ms())

    def _desired(self, device_id: str, _body: bytes, path: str) -> object:
        asked = parse_qs(urlsplit(path).query)
        wait_s = float(asked.get("wait", ["0"])[0])
        config = None if asked.get("config_hash") == [self.config.hash] else self.config
        with self._news:
            if config is None:
                self._news.wait_for(
                    lambda: bool(self._open_commands(device_id)), timeout=min(wait_s, 2)
                )
            return contract.Desired(
                commands=self._open_commands(device_id),
                config=config,
                resend=[],
                server_ms=self._now_ms(),
            )

    def _open_commands(self, device_id: str) -> list[Command]:
        """Commands that the device has not answered."""
        answered = {
            envelope.data.command_id
            for envelope in self.taken(device_id).envelopes(Stream.RESULTS)
            if hasattr(envelope.data, "command_id")
        }
        return [one for one in self._commands.get(device_id, []) if one.id not in answered]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A device that left before its answer is no news."""


def _reply(
    request: BaseHTTPRequestHandler, status: int, value: object, server_ms: int | None = None
) -> None:
    body = json.dumps(value).encode() if isinstance(value, dict) else contract.encode(value)
    request.send_response(status)
    kind = "application/json" if status < 400 else "application/problem+json"
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    if server_ms is not None:
        request.send_header(contract.HEADER_TIME, str(server_ms))
    request.end_headers()
    request.wfile.write(body)


def _without_delay(_client: Client, _userdata: object, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
