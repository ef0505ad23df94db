"""The same contract over HTTPS: enrolment, renewal, and the fallback for shops that block the MQTT port.

A request of a device is signed with the key of its certificate, so it works behind any proxy that ends TLS. What is
signed: ``METHOD\\nPATH\\nTIMESTAMP\\nSHA256-HEX-OF-BODY`` (PATH with its query, TIMESTAMP in Unix milliseconds), ECDSA
over P-256 with SHA-256, DER, base64. A server refuses a timestamp further away than ``MAX_SKEW_S`` with the code
``clock_skew`` and its own time in the header ``Omnitill-Time``, from which the device corrects its offset and tries
once more. Replays are harmless: everything that goes up is idempotent by its key, claims by their nonce.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocols.cloud.commands import Ack, AuthorizationAnswer, Command, DesiredConfig, Grant

ENROLL: Final = "/v1/device/enroll"
RENEW: Final = "/v1/device/renew"
OUTBOX: Final = "/v1/device/outbox"
DESIRED: Final = "/v1/device/desired"
CLAIM: Final = "/v1/device/claim"
AUTHORIZATION: Final = "/v1/device/authorization"
#: ``PUT /v1/device/bundles/<command id>``: the zip file that an ``agent.log_bundle`` asked for.
BUNDLE: Final = "/v1/device/bundles"

HEADER_DEVICE: Final = "Omnitill-Device"
HEADER_TIMESTAMP: Final = "Omnitill-Timestamp"
HEADER_SIGNATURE: Final = "Omnitill-Signature"
HEADER_TIME: Final = "Omnitill-Time"
MAX_SKEW_S: Final = 300
#: Largest log bundle.
MAX_BUNDLE_BYTES: Final = 3 * 1024 * 1024
#: Most messages in one ``POST /v1/device/outbox``.
MAX_MESSAGES: Final = 200


def signed_text(method: str, path: str, timestamp_ms: int, body: bytes) -> bytes:
    """The bytes that are signed and verified."""
    return f"{method.upper()}\n{path}\n{timestamp_ms}\n{hashlib.sha256(body).hexdigest()}".encode()


class EnrollRequest(Struct, frozen=True, kw_only=True):
    """``POST /v1/device/enroll``: the code is the only credential; the key never leaves the device."""

    code: Annotated[str, Meta(min_length=4, max_length=64)]
    csr_pem: Annotated[str, Meta(max_length=8192)]
    """PKCS #10 over a P-256 key; its subject is ignored, the server chooses the name."""
    agent_version: str
    hostname: Annotated[str, Meta(max_length=255)] = ""
    platform: Annotated[str, Meta(max_length=255)] = ""
    serial_number: Annotated[str, Meta(max_length=100)] = ""
    previous_device_id: str | None = None
    """Set when this box was enrolled before, so that its history can be joined."""


class Broker(Struct, frozen=True, kw_only=True):
    """Where to connect with MQTT over TLS, and what that broker can do."""

    host: str
    port: int
    mqtt_level: int
    """4 for MQTT 3.1.1, 5 for MQTT 5."""
    server_name: str
    """The name in the broker's certificate."""


class Enrolled(Struct, frozen=True, kw_only=True):
    """What a device needs to be itself."""

    device_id: str
    cell: str
    epoch: int
    """The outbox epoch to begin with, or a later one."""
    certificate_pem: str
    ca_pem: str
    """Certificates to trust for the broker, one or more (overlap while a CA is rotated)."""
    broker: Broker
    location_name: str
    merchant_name: str
    server_ms: int


class RenewRequest(Struct, frozen=True, kw_only=True):
    """``POST /v1/device/renew``, signed with the present key; the request may bring a new key."""

    csr_pem: Annotated[str, Meta(max_length=8192)]


class Renewed(Struct, frozen=True, kw_only=True):
    """A fresh certificate; the old one stays good until its own end."""

    certificate_pem: str
    ca_pem: str
    broker: Broker
    server_ms: int


class UpMessage(Struct, frozen=True, kw_only=True):
    """One message as it would be published: ``channel`` such as ``up/tx``, ``payload`` its exact bytes."""

    channel: str
    payload: str


class OutboxUpload(Struct, frozen=True, kw_only=True):
    """``POST /v1/device/outbox``."""

    messages: Annotated[list[UpMessage], Meta(max_length=MAX_MESSAGES)]


class OutboxAnswer(Struct, frozen=True, kw_only=True):
    """Committed before it is answered."""

    acks: list[Ack]
    server_ms: int


class Desired(Struct, frozen=True, kw_only=True):
    """``GET /v1/device/desired?wait=S&config_hash=H``: answers when there is something, else after S seconds."""

    commands: list[Command]
    config: DesiredConfig | None
    resend: list[Ack]
    """Acknowledgements that ask for messages again."""
    server_ms: int


class ClaimAnswer(Struct, frozen=True, kw_only=True):
    """``POST /v1/device/claim`` with a Claim as its body."""

    grant: Grant
    server_ms: int


class AuthorizationReply(Struct, frozen=True, kw_only=True):
    """``POST /v1/device/authorization`` with an AuthorizationAsk as its body."""

    answer: AuthorizationAnswer
    server_ms: int


encode = msgspec.json.encode
