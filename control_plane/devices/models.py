"""Tables of devices, readers, certificates and what happened to them."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, text
from sqlmodel import Field, SQLModel

from control_plane.db.columns import AutoIncrement, Json, UtcDateTime, table_of, text_enum
from control_plane.devices.lifecycle import DeviceState


class Severity(StrEnum):
    """How much a device event matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class EventSource(StrEnum):
    """Who noticed it."""

    DEVICE = "device"
    SERVER = "server"


class EnrollmentCode(SQLModel, table=True):
    """A short code that turns boxes into devices of one location. Only its keyed hash is kept."""

    __tablename__ = "enrollment_code"

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(max_length=40, index=True, foreign_key="merchant.id")
    location_id: str = Field(max_length=40, index=True, foreign_key="location.id")
    code_hash: str = Field(max_length=64, unique=True)
    #: The last two characters, so that a person can tell codes apart.
    hint: str = Field(max_length=2)
    note: str = Field(default="", max_length=200)
    #: The device whose place the new one takes, with its name.
    replaces_id: str | None = Field(default=None, max_length=64)
    max_uses: int = 1
    used: int = 0
    expires_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_by: str = Field(default="", max_length=40)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Device(SQLModel, table=True):
    """One box with an agent on it. Its id is its certificate's common name and its MQTT client id."""

    __tablename__ = "device"
    __table_args__ = (Index("ix_device_merchant_state", "merchant_id", "state"),)

    id: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40, foreign_key="merchant.id")
    location_id: str = Field(max_length=40, index=True, foreign_key="location.id")
    name: str = Field(max_length=100)
    state: DeviceState = Field(sa_type=text_enum(DeviceState))
    state_since: datetime = Field(sa_type=UtcDateTime)
    cell: str = Field(default="00", max_length=2)
    serial_number: str = Field(default="", max_length=100)
    hostname: str = Field(default="", max_length=255)
    platform: str = Field(default="", max_length=255)
    agent_version: str = Field(default="", max_length=100)
    #: Counters of the newest presence; an older last will says nothing.
    boot: int = Field(default=0, sa_type=BigInteger)
    conn: int = Field(default=0, sa_type=BigInteger)
    #: What the device, or its last will, said last.
    presence: str = Field(default="unknown", max_length=10)
    presence_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: What people are shown: presence after a pause, and heard of lately.
    is_online: bool = False
    online_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    reported: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    reported_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    telemetry: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    telemetry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: Number of the outbox that the device writes now.
    epoch: int = 1
    replaces_id: str | None = Field(default=None, max_length=64)
    replaced_by_id: str | None = Field(default=None, max_length=64)
    certificate_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    enrolled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class DeviceConfig(SQLModel, table=True):
    """What should be in force on a device now. ``hash`` is over the canonical JSON of ``document``."""

    __tablename__ = "device_config"

    device_id: str = Field(primary_key=True, max_length=64, foreign_key="device.id")
    merchant_id: str = Field(max_length=40, index=True)
    version: int
    hash: str = Field(max_length=64)
    document: dict[str, Any] = Field(sa_type=Json)
    #: Revision of the layers that it was made from.
    revision: int = 0
    changed_at: datetime = Field(sa_type=UtcDateTime)
    #: The device has not been told of this version yet, or reported another one since.
    must_send: bool = Field(default=True, index=True)


class Reader(SQLModel, table=True):
    """A card reader as its device last reported it. Its id is made by the agent."""

    __tablename__ = "reader"
    __table_args__ = (Index("ix_reader_merchant_location", "merchant_id", "location_id"),)

    id: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40)
    location_id: str = Field(max_length=40, index=True)
    device_id: str = Field(max_length=64, index=True, foreign_key="device.id")
    name: str = Field(max_length=200)
    profile: str = Field(default="", max_length=100)
    address: str = Field(default="", max_length=300)
    vendor: str | None = Field(default=None, max_length=200)
    model: str | None = Field(default=None, max_length=200)
    serial_number: str | None = Field(default=None, max_length=200)
    terminal_id: str | None = Field(default=None, max_length=100)
    software_version: str | None = Field(default=None, max_length=200)
    #: starting, ready, busy, disconnected, locked, failing, unidentified
    state: str = Field(max_length=20)
    reason: str = Field(default="", max_length=200)
    since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    health: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
    reported_at: datetime = Field(sa_type=UtcDateTime)
    #: When its device no longer listed it.
    gone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Certificate(SQLModel, table=True):
    """A certificate that we issued to a device."""

    __tablename__ = "certificate"

    #: As on the certificate, in hex.
    serial: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(max_length=40, index=True)
    device_id: str = Field(max_length=64, index=True, foreign_key="device.id")
    #: SHA-256 of the DER form, in hex.
    fingerprint: str = Field(max_length=64, unique=True)
    #: SubjectPublicKeyInfo, PEM: what signatures over HTTPS are checked with.
    public_key: str
    not_after: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    issued_at: datetime = Field(sa_type=UtcDateTime)


class DeviceEvent(SQLModel, table=True):
    """Something that happened to a device or one of its readers: the timeline."""

    __tablename__ = "device_event"
    __table_args__ = (
        Index("ix_device_event_device", "device_id", "id"),
        Index(
            "ix_device_event_reader",
            "reader_id",
            "id",
            postgresql_where=text("reader_id IS NOT NULL"),
            sqlite_where=text("reader_id IS NOT NULL"),
        ),
        Index(
            "ix_device_event_alarm",
            "merchant_id",
            "id",
            postgresql_where=text("severity = 'error'"),
            sqlite_where=text("severity = 'error'"),
        ),
    )

    id: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    merchant_id: str = Field(max_length=40)
    device_id: str = Field(max_length=64)
    reader_id: str | None = Field(default=None, max_length=64)
    source: EventSource = Field(sa_type=text_enum(EventSource))
    kind: str = Field(max_length=60)
    severity: Severity = Field(sa_type=text_enum(Severity))
    text: str = Field(default="", max_length=2000)
    facts: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    happened_at: datetime = Field(sa_type=UtcDateTime)
    recorded_at: datetime = Field(sa_type=UtcDateTime)


class DeviceLife(SQLModel, table=True):
    """One run of an agent, as it named itself. Two of one boot are two boxes with one identity."""

    __tablename__ = "device_life"

    device_id: str = Field(primary_key=True, max_length=64, foreign_key="device.id")
    boot: int = Field(primary_key=True, sa_type=BigInteger)
    life: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40, index=True)
    seen_at: datetime = Field(sa_type=UtcDateTime, index=True)


DEVICES: Final = table_of(Device)
LIVES: Final = table_of(DeviceLife)
READERS: Final = table_of(Reader)
CERTIFICATES: Final = table_of(Certificate)
CODES: Final = table_of(EnrollmentCode)
EVENTS: Final = table_of(DeviceEvent)
CONFIGS: Final = table_of(DeviceConfig)
