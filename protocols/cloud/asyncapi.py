"""The MQTT contract as an AsyncAPI 3 document, built from the topics and the message structs.

It is written from the device's side: ``send`` is what an agent publishes, ``receive`` what it subscribes to. Nothing is
described twice: addresses and delivery come from ``topics``, schemas and sentences from the structs, and every example
is a message of ours that was encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from protocols.cloud import topics
from protocols.cloud.commands import (
    Ack,
    AuthorizationAnswer,
    CancelPayment,
    CloseReaderDay,
    Command,
    CommandBody,
    DesiredConfig,
    DiagnoseReader,
    FetchLogs,
    FirmwareRelease,
    Grant,
    RebootReader,
    Rejected,
    ReleaseFile,
    RenewCertificate,
    ReportNow,
    RestartAgent,
    ReversePayment,
    SelfTest,
    ServiceState,
    ShowReaderText,
    StartPayment,
    TailLog,
    TimeAnswer,
    UpdateReader,
)
from protocols.cloud.configuration import document_hash
from protocols.cloud.envelope import GENESIS, Envelope
from protocols.cloud.events import (
    AuthorizationAsk,
    Claim,
    CommandResult,
    CurrencySum,
    DailyClosing,
    DeviceEvent,
    JobProgress,
    LogLines,
    OutboxLevel,
    PaymentResult,
    Presence,
    ReaderTotals,
    ReportedConfig,
    ReportedReader,
    ReportedState,
    SealedCard,
    SessionStep,
    StreamData,
    Telemetry,
    TimeAsk,
)
from protocols.cloud.topics import DELIVERY, Channel, Delivery, Direction, Stream

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
JsonObject: TypeAlias = dict[str, Json]

_SCHEMAS: Final = "#/components/schemas/"
_MQTT_BINDING: Final = "0.2.0"
#: Also the key of the channel that belongs to no device.
SERVICE: Final = "service"

_DESCRIPTION: Final = (
    "Written from the device's side: `send` is what an agent publishes, `receive` what it subscribes to. "
    "Messages of the streams tx, ev, job and res are numbered, kept by the device and sent again until `dn/ack` names "
    "them; neither PUBACK nor message expiry is relied on. A command that can move money is claimed first: only a "
    "granted lease lets it run, and it ends on the device before it ends here. Unknown keys of what a device sends are "
    "ignored; unknown keys of a command make the device reject it."
)
_SESSION, _READER = "ts_06f3k8m2q7v1x4b9c5d0e6g8h2", "rd_06f3k8a1b2c3d4e5f6g7h8j9k0"
_COMMAND, _CASHIER = "cmd_06f3k8m2r4s6t8v0w2x4y6z8a0", "usr_06f3a0b1c2d3e4f5g6h7j8k9m0"
_AT, _LATER = "2026-05-04T08:15:30.120Z", "2026-05-04T08:16:30.120Z"
_NONCE: Final = "6f1c0a9e3b7d42f8"


@dataclass(frozen=True, slots=True)
class Example:
    """A message as it could be published, and a word on when."""

    name: str
    message: msgspec.Struct
    summary: str = ""

    @property
    def payload(self) -> bytes:
        """Its exact bytes."""
        return msgspec.json.encode(self.message)


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message on a channel. ``kind`` is the struct that says what it is; its docstring describes it."""

    kind: type[msgspec.Struct]
    schema: JsonObject
    examples: tuple[Example, ...]

    @property
    def name(self) -> str:
        """The message's key in the document."""
        return self.kind.__name__


_RESULT: Final = PaymentResult(
    session_id=_SESSION,
    reader_id=_READER,
    kind="sale",
    outcome="approved",
    amount_minor=1234,
    currency="EUR",
    decided_by="answer",
    command_id=_COMMAND,
    result_code=0,
    terminal_id="52500041",
    merchant_number="4711001",
    receipt_number=17,
    trace_number=301,
    authorization_code="A1B2C3",
    masked_pan="541333******0012",
    card_brand="Mastercard",
    entry_mode="contactless",
    verification="none",
    started_mono_ms=812_400,
    decided_mono_ms=818_950,
    reference="order 1042",
    cashier_id=_CASHIER,
)

_STREAM_EXAMPLES: Final[dict[Stream, tuple[tuple[str, str, StreamData], ...]]] = {
    Stream.TRANSACTIONS: (
        ("approved", "The reader answered: the card was charged.", _RESULT),
        (
            "approvedByEvidence",
            "The answer was lost; the reader's last receipt told what had happened.",
            msgspec.structs.replace(
                _RESULT,
                decided_by="recall",
                explanation="The connection broke after the amount was sent; the reader's last receipt shows it.",
            ),
        ),
        (
            "declined",
            "Nothing moved; the amount is what was asked.",
            PaymentResult(
                session_id=_SESSION,
                reader_id=_READER,
                kind="sale",
                outcome="declined",
                amount_minor=1234,
                currency="EUR",
                decided_by="answer",
                command_id=_COMMAND,
                result_code=5,
                result_text="Declined",
            ),
        ),
        (
            "closing",
            "The device's own count of a day.",
            DailyClosing(
                day="2026-05-04",
                first_seq=1,
                last_seq=212,
                sums=[CurrencySum("EUR", 187, 512_340)],
                last_hash="9b0f3c5a7d1e2f4864a1b2c3d4e5f607",
            ),
        ),
    ),
    Stream.EVENTS: (
        (
            "waitingForCard",
            "",
            SessionStep(
                session_id=_SESSION, step="waiting_for_card", reader_id=_READER, remaining_ms=58_000
            ),
        ),
        (
            "totals",
            "",
            ReaderTotals(
                reader_id=_READER,
                closed=True,
                currency="EUR",
                per_scheme=[("Mastercard", 12, 34_210), ("girocard", 31, 80_055)],
                receipt_from=1,
                receipt_to=43,
            ),
        ),
        (
            "unplugged",
            "",
            DeviceEvent(
                kind="reader.unplugged",
                severity="warning",
                reader_id=_READER,
                text="The serial line of counter-1 is gone.",
                facts={"address": "serial:///dev/ttyUSB0"},
            ),
        ),
    ),
    Stream.JOBS: (
        (
            "applied",
            "",
            JobProgress(job_id="job_06f3k8m2q7v1x4b9c5d0e6g8h2", state="applied", percent=100),
        ),
    ),
    Stream.RESULTS: (
        ("done", "", CommandResult(command_id=_COMMAND, status="succeeded")),
        (
            "tooLate",
            "The lease ended before the reader could be asked, so it was not asked.",
            CommandResult(
                command_id=_COMMAND,
                status="too_late",
                code="lease_over",
                text="The lease ended 120 ms before the reader was free.",
            ),
        ),
    ),
}

_COMMANDS: Final[tuple[tuple[str, CommandBody, int], ...]] = (
    (
        "startPayment",
        StartPayment(
            session_id=_SESSION,
            reader_id=_READER,
            amount_minor=1234,
            currency="EUR",
            reference="order 1042",
            cashier_id=_CASHIER,
        ),
        10_000,
    ),
    ("cancelPayment", CancelPayment(session_id=_SESSION), 60_000),
    (
        "reversePayment",
        ReversePayment(
            session_id="ts_06f3k9n4p6q8r0s2t4v6w8x0y2",
            original_session_id=_SESSION,
            reader_id=_READER,
            receipt_number=17,
            amount_minor=1234,
            currency="EUR",
        ),
        10_000,
    ),
    ("rebootReader", RebootReader(reader_id=_READER), 60_000),
    ("diagnoseReader", DiagnoseReader(reader_id=_READER), 60_000),
    ("closeReaderDay", CloseReaderDay(reader_id=_READER), 60_000),
    (
        "showReaderText",
        ShowReaderText(reader_id=_READER, lines=["Back at 14:00"], seconds=30),
        60_000,
    ),
    (
        "updateReader",
        UpdateReader(
            job_id="job_06f3k8m2q7v1x4b9c5d0e6g8h2",
            reader_id=_READER,
            release=FirmwareRelease(
                release_id="frl_06f3k8m2q7v1x4b9c5d0e6g8h2",
                profile="feig-cvend-plug",
                component="app",
                version="GER-APP-v2.0.12",
                files=[
                    ReleaseFile(
                        number=32,
                        size=1_048_576,
                        sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                        path="/v1/device/firmware/frl_06f3k8m2q7v1x4b9c5d0e6g8h2/32",
                    )
                ],
                signature="MEUCIQD…",
                certificate="-----BEGIN CERTIFICATE-----…",
            ),
            end_of_day=True,
        ),
        3_600_000,
    ),
    ("restartAgent", RestartAgent(), 60_000),
    ("reportNow", ReportNow(), 10_000),
    ("renewCertificate", RenewCertificate(), 60_000),
    ("selfTest", SelfTest(), 120_000),
    ("tailLog", TailLog(lines=100, seconds=120), 60_000),
    ("fetchLogs", FetchLogs(), 300_000),
)

_CONFIG_DOCUMENT: Final[dict[str, object]] = {
    "readers": [{"name": "counter-1", "profile": "zvt-generic", "address": "serial:///dev/ttyUSB0"}]
}

#: Channels that carry one struct as it is, with one or more examples.
_PLAIN: Final[dict[Channel, tuple[Example, ...]]] = {
    Channel.PRESENCE: (
        Example("online", Presence(state="online", boot=7, conn=3, agent_version="0.1.0", ts=_AT)),
        Example(
            "lastWill",
            Presence(state="offline", boot=7, conn=3),
            "Left with the broker when connecting.",
        ),
    ),
    Channel.STATE: (
        Example(
            "ready",
            ReportedState(
                ts=_AT,
                boot=7,
                agent_version="0.1.0",
                accepts=["cmd.v1", "cfg.v1"],
                epoch=1,
                config=ReportedConfig(
                    version=4, hash=document_hash(_CONFIG_DOCUMENT), status="applied"
                ),
                readers=[
                    ReportedReader(
                        reader_id=_READER,
                        name="counter-1",
                        profile="zvt-generic",
                        address="serial:///dev/ttyUSB0",
                        state="ready",
                        terminal_id="52500041",
                    )
                ],
                outbox=OutboxLevel(pending=0, oldest_s=0),
            ),
        ),
    ),
    Channel.TELEMETRY: (
        Example(
            "idle",
            Telemetry(
                ts=_AT,
                boot=7,
                uptime_s=86_400,
                rss_kib=41_200,
                load_1m=0.04,
                disk_free_mib=5_120,
                outbox_pending=0,
                readers={_READER: {"battery_percent": 81.0}},
            ),
        ),
    ),
    Channel.CLAIM: (Example("claim", Claim(command_id=_COMMAND, nonce=_NONCE)),),
    Channel.LOG: (
        Example(
            "tail", LogLines(command_id=_COMMAND, seq=1, lines=["reader_ready name=counter-1"])
        ),
    ),
    Channel.TIME_ASK: (Example("ask", TimeAsk(t0_mono_ms=812_400)),),
    Channel.TIME_ANSWER: (
        Example("answer", TimeAnswer(t0_mono_ms=812_400, server_ms=1_777_882_530_120)),
    ),
    Channel.CONFIG: (
        Example(
            "desired",
            DesiredConfig(
                version=4, hash=document_hash(_CONFIG_DOCUMENT), document=_CONFIG_DOCUMENT
            ),
        ),
    ),
    Channel.GRANT: (
        Example("granted", Grant(command_id=_COMMAND, nonce=_NONCE, granted=True, lease_ms=2_000)),
        Example(
            "cancelledFirst",
            Grant(command_id=_COMMAND, nonce=_NONCE, granted=False, reason="cancelled"),
            "The cashier's cancel won, so the reader is never asked.",
        ),
    ),
    Channel.AUTHORIZE: (
        Example(
            "sealed",
            AuthorizationAsk(
                session_id=_SESSION,
                tap_id="tap_01k4d2m8q7v1x4b9c5d0e6g8h2",
                reader_id=_READER,
                amount_minor=1250,
                currency="EUR",
                card=SealedCard(
                    format="magtek_mms",
                    scheme="dukpt-tdes",
                    ksn=bytes.fromhex("ffff9876543210e00001"),
                    data=bytes.fromhex("f900"),
                    serial_number="B5A0001",
                    masked_pan="476173******0119",
                    entry_mode="contactless",
                ),
            ),
            "The device cannot open it, and neither can the control plane.",
        ),
    ),
    Channel.AUTHORIZATION: (
        Example(
            "approved",
            AuthorizationAnswer(
                session_id=_SESSION,
                tap_id="tap_01k4d2m8q7v1x4b9c5d0e6g8h2",
                status="approved",
                response_code="00",
                authorization_code="831000",
            ),
        ),
        Example(
            "unavailable",
            AuthorizationAnswer(
                session_id=_SESSION,
                tap_id="tap_01k4d2m8q7v1x4b9c5d0e6g8h2",
                status="unavailable",
                text="The processor did not answer in time.",
            ),
            "What it may still approve is taken back.",
        ),
    ),
    Channel.ACK: (
        Example("gapless", Ack(stream="tx", epoch=1, upto=212)),
        Example(
            "gap",
            Ack(
                stream="ev",
                epoch=1,
                upto=40,
                also=[43, 44],
                reject=[Rejected(seq=39, code="malformed_message")],
                resend=[(41, 42)],
            ),
            "41 and 42 never arrived; 39 is in quarantine and need not come again.",
        ),
    ),
}
_SERVICE_EXAMPLES: Final = (
    Example("up", ServiceState(up=True, boot="06f3k8m2q7v1x4b9c5d0e6g8h2", ts=_AT)),
)

#: Reserved in the topic tree; no message of version 1 travels there.
RESERVED: Final = frozenset({Channel.RELEASE})


def messages_of(channel: Channel) -> tuple[Message, ...]:
    """The kinds of message that travel on a channel, each with its examples; none on a reserved channel."""
    if channel in RESERVED:
        return ()
    if channel is Channel.COMMAND:
        return tuple(_command_message(name, body, ttl_ms) for name, body, ttl_ms in _COMMANDS)
    stream = topics.CHANNEL_STREAM.get(channel)
    if stream is not None:
        return _stream_messages(stream)
    examples = _PLAIN[channel]
    kind = type(examples[0].message)
    return (Message(kind, _ref(kind), examples),)


def document(version: str = "0.0.0") -> JsonObject:
    """The AsyncAPI 3 document; ``version`` is that of the program that speaks."""
    channels: JsonObject = {}
    operations: JsonObject = {}
    components: JsonObject = {}
    for channel in Channel:
        messages = messages_of(channel)
        if messages:
            key = channel.name.lower()
            address = topics.topic("{cell}", "{device}", channel)
            sends = channel.direction is Direction.UP
            _describe(
                channels,
                operations,
                components,
                key,
                address,
                DELIVERY[channel],
                messages,
                sends=sends,
            )
    kind = ServiceState
    _describe(
        channels,
        operations,
        components,
        SERVICE,
        topics.service_topic("{cell}"),
        Delivery(qos=1, retain=True),
        (Message(kind, _ref(kind), _SERVICE_EXAMPLES),),
        sends=False,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Omnitill devices over MQTT",
            "version": version,
            "license": {"name": "Apache-2.0"},
            "description": _DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "{host}:{port}",
                "protocol": "secure-mqtt",
                "description": "MQTT 3.1.1 is enough. The certificate's common name is the client id is the device id.",
                "variables": {
                    "host": {"description": "As told at enrolment."},
                    "port": {"default": "8883"},
                },
                "security": [{"$ref": "#/components/securitySchemes/deviceCertificate"}],
                "bindings": {
                    "mqtt": {
                        "clientId": "the device id",
                        "cleanSession": False,
                        "keepAlive": topics.KEEPALIVE_S,
                        "lastWill": {
                            "topic": topics.topic("{cell}", "{device}", Channel.PRESENCE),
                            "qos": 1,
                            "retain": True,
                            "message": _PLAIN[Channel.PRESENCE][1].payload.decode(),
                        },
                        "bindingVersion": _MQTT_BINDING,
                    }
                },
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": components,
            "schemas": _schemas(),
            "parameters": {
                "cell": {"description": "Two hexadecimal digits, told at enrolment."},
                "device": {"description": "The device's own id; a broker lets it use no other."},
            },
            "securitySchemes": {
                "deviceCertificate": {
                    "type": "X509",
                    "description": "A client certificate over a P-256 key that never leaves the device.",
                }
            },
        },
    }


def _describe(
    channels: JsonObject,
    operations: JsonObject,
    components: JsonObject,
    key: str,
    address: str,
    delivery: Delivery,
    messages: tuple[Message, ...],
    *,
    sends: bool,
) -> None:
    """Write one channel, its operation and its messages into the three sections."""
    names = ("cell", "device") if "{device}" in address else ("cell",)
    channels[key] = {
        "address": address,
        "messages": {
            item.name: {"$ref": f"#/components/messages/{item.name}"} for item in messages
        },
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
    }
    binding: JsonObject = {
        "qos": delivery.qos,
        "retain": delivery.retain,
        "bindingVersion": _MQTT_BINDING,
    }
    if delivery.expiry_s is not None:
        binding["messageExpiryInterval"] = delivery.expiry_s
    operations[f"{'send' if sends else 'receive'}_{key}"] = {
        "action": "send" if sends else "receive",
        "channel": {"$ref": f"#/channels/{key}"},
        "messages": [{"$ref": f"#/channels/{key}/messages/{item.name}"} for item in messages],
        "bindings": {"mqtt": binding},
    }
    for item in messages:
        components[item.name] = _component(item)


def _component(message: Message) -> JsonObject:
    text = " ".join((message.kind.__doc__ or "").replace("``", "`").split())
    return {
        "name": message.name,
        "title": text.partition(". ")[0].rstrip("."),
        "summary": text,
        "contentType": "application/json",
        "payload": message.schema,
        "examples": [
            {
                "name": example.name,
                **({"summary": example.summary} if example.summary else {}),
                "payload": msgspec.json.decode(example.payload),
            }
            for example in message.examples
        ],
    }


def _stream_messages(stream: Stream) -> tuple[Message, ...]:
    examples = _STREAM_EXAMPLES[stream]
    return tuple(
        Message(
            kind,
            _narrowed(Envelope, "data", kind, stream={"const": stream.value}),
            tuple(
                Example(name, _enveloped(stream, seq, data), summary)
                for seq, (name, summary, data) in enumerate(examples, start=1)
                if type(data) is kind
            ),
        )
        for kind in dict.fromkeys(type(data) for _, _, data in examples)
    )


def _enveloped(stream: Stream, seq: int, data: StreamData) -> Envelope:
    return Envelope(
        id="0196a0c2-7b51-7c3e-9a41-5d0f6b2e8c90",
        ts=_AT,
        boot=7,
        mono_ms=818_960,
        clk_unc_ms=12,
        stream=stream.value,
        epoch=1,
        seq=seq,
        prev=GENESIS if seq == 1 else "5f2c8e1a9b3d4076c8e0f1a2b3c4d5e6",
        data=data,
    )


def _command_message(name: str, body: CommandBody, ttl_ms: int) -> Message:
    command = Command(id=_COMMAND, ttl_ms=ttl_ms, issued_at=_AT, expires_at=_LATER, body=body)
    return Message(type(body), _narrowed(Command, "body", type(body)), (Example(name, command),))


def _narrowed(
    outer: type[msgspec.Struct], part: str, kind: type[msgspec.Struct], **fixed: Json
) -> JsonObject:
    """The schema of ``outer`` whose ``part`` is one kind of its union."""
    return {"allOf": [_ref(outer), {"properties": {part: _ref(kind), **fixed}}]}


def _ref(kind: type[msgspec.Struct]) -> JsonObject:
    return {"$ref": f"{_SCHEMAS}{kind.__name__}"}


def _schemas() -> JsonObject:
    kinds: list[type[msgspec.Struct]] = [Envelope, Command, ServiceState]
    kinds += [type(examples[0].message) for examples in _PLAIN.values()]
    _, schemas = msgspec.json.schema_components(
        kinds, ref_template=f"{_SCHEMAS}{{name}}", schema_hook=_anything
    )
    return {name: _draft_07(schema) for name, schema in sorted(schemas.items())}


def _anything(kind: type) -> dict[str, object]:
    if kind is not object:
        raise NotImplementedError
    return {"description": "Any JSON without fractions; the reader's profile says what is allowed."}


def _draft_07(schema: Json) -> Json:
    """AsyncAPI reads JSON Schema draft 7; msgspec writes 2020-12. They differ here in tuples and discriminators."""
    if isinstance(schema, list):
        return [_draft_07(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    written = {key: _draft_07(value) for key, value in schema.items() if key != "discriminator"}
    if "prefixItems" in written:
        written["additionalItems"] = written.pop("items", True)
        written["items"] = written.pop("prefixItems")
    return written
