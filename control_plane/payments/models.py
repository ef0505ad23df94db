"""Tables of tap sessions, their timelines, and the commands that devices are sent."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, text
from sqlmodel import Field, SQLModel

from control_plane.db.columns import AutoIncrement, Json, UtcDateTime, table_of, text_enum
from control_plane.payments.lifecycle import CommandState, SessionKind, StepKind
from protocols.session import SessionState

#: Condition of the index that lets one session at a time have a reader.
HOLDS_READER: Final = "holds_reader"
_HAS_TO_BE_SENT: Final = "next_send_at IS NOT NULL"
_ISSUED: Final = "state = 'issued'"


class TapSession(SQLModel, table=True):
    """One attempt to take a payment on a reader."""

    __tablename__ = "tap_session"
    __table_args__ = (
        Index(
            "uq_tap_session_reader_held",
            "reader_id",
            unique=True,
            postgresql_where=text(HOLDS_READER),
            sqlite_where=text(HOLDS_READER),
        ),
        Index("ix_tap_session_merchant_id", "merchant_id", "id"),
        Index("ix_tap_session_reader_id", "reader_id", "id"),
        Index(
            "ix_tap_session_heard",
            "last_heard_at",
            postgresql_where=text(HOLDS_READER),
            sqlite_where=text(HOLDS_READER),
        ),
        Index(
            "ix_tap_session_original",
            "original_session_id",
            postgresql_where=text("original_session_id IS NOT NULL"),
            sqlite_where=text("original_session_id IS NOT NULL"),
        ),
    )

    id: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40)
    location_id: str = Field(max_length=40)
    device_id: str = Field(max_length=64)
    reader_id: str = Field(max_length=64)
    #: ``usr_…`` or ``key_…`` who started it, with the name of then.
    cashier_id: str = Field(max_length=64)
    cashier_name: str = Field(max_length=200)
    kind: SessionKind = Field(sa_type=text_enum(SessionKind))
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    #: The shop's own order number.
    reference: str = Field(default="", max_length=200)
    note: str = Field(default="", max_length=200)
    card_timeout_s: int
    state: SessionState = Field(sa_type=text_enum(SessionState))
    state_since: datetime = Field(sa_type=UtcDateTime)
    #: True while the reader is taken by this session; released by the end, or by a result that contradicts it.
    holds_reader: bool
    #: The command that starts it.
    command_id: str = Field(max_length=64)
    #: Unless it was claimed by then, it never runs.
    expires_at: datetime = Field(sa_type=UtcDateTime)
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancel_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: When the device last said something about it, by our clock.
    last_heard_at: datetime = Field(sa_type=UtcDateTime)
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: answer, recall, totals, reader_status or not_begun; ``server`` when it ended before any device had it.
    decided_by: str | None = Field(default=None, max_length=20)
    #: One English sentence: why it is unknown, or how it was found out.
    explanation: str = Field(default="", max_length=2000)
    approved_minor: int | None = Field(default=None, sa_type=BigInteger)
    result_code: int | None = Field(default=None)
    result_text: str = Field(default="", max_length=200)
    authorization_code: str | None = Field(default=None, max_length=40)
    receipt_number: int | None = Field(default=None, sa_type=BigInteger)
    terminal_id: str | None = Field(default=None, max_length=40)
    card_brand: str | None = Field(default=None, max_length=40)
    card_masked: str | None = Field(default=None, max_length=40)
    entry_mode: str | None = Field(default=None, max_length=40)
    verification: str | None = Field(default=None, max_length=40)
    #: Its row in the ledger.
    transaction_id: str | None = Field(default=None, max_length=64)
    #: Of a refund or reversal: the session of the sale and its row in the ledger.
    original_session_id: str | None = Field(default=None, max_length=64)
    original_transaction_id: str | None = Field(default=None, max_length=64)
    #: The payment of the virtual terminal that it is an attempt of.
    payment_id: str | None = Field(default=None, max_length=40)
    #: A result came that the session could not take; the ledger row is ``transaction_id``.
    late_result: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)


class SessionStepRow(SQLModel, table=True):
    """One line of a timeline. Append-only; the id orders a session's lines and resumes its live stream."""

    __tablename__ = "session_step"
    __table_args__ = (Index("ix_session_step_session_id", "session_id", "id"),)

    id: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    merchant_id: str = Field(max_length=40)
    session_id: str = Field(max_length=64)
    at: datetime = Field(sa_type=UtcDateTime)
    kind: StepKind = Field(sa_type=text_enum(StepKind))
    #: Where the session stands after it.
    state: SessionState = Field(sa_type=text_enum(SessionState))
    text: str = Field(default="", max_length=2000)
    code: int | None = Field(default=None)
    #: How long the reader will go on waiting, when it was said.
    remaining_ms: int | None = Field(default=None)
    #: Who did it, when it was a person.
    actor_name: str = Field(default="", max_length=200)


class DeviceCommand(SQLModel, table=True):
    """Something a device is asked. The row is the outbox: whoever publishes reads it here."""

    __tablename__ = "device_command"
    __table_args__ = (
        Index(
            "ix_device_command_due",
            "next_send_at",
            postgresql_where=text(_HAS_TO_BE_SENT),
            sqlite_where=text(_HAS_TO_BE_SENT),
        ),
        Index(
            "ix_device_command_expiry",
            "expires_at",
            postgresql_where=text(_ISSUED),
            sqlite_where=text(_ISSUED),
        ),
        Index("ix_device_command_device_id", "device_id", "id"),
    )

    id: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40)
    device_id: str = Field(max_length=64)
    reader_id: str | None = Field(default=None, max_length=64)
    session_id: str | None = Field(default=None, max_length=64)
    #: The tag of the body, such as ``payment.start``.
    kind: str = Field(max_length=40)
    body: dict[str, Any] = Field(sa_type=Json)
    state: CommandState = Field(sa_type=text_enum(CommandState))
    issued_by: str = Field(max_length=64)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    attempts: int = 0
    #: None when it need not be sent any more.
    next_send_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    nonce: str | None = Field(default=None, max_length=64)
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    result_code: str = Field(default="", max_length=200)
    result_text: str = Field(default="", max_length=2000)
    output: dict[str, Any] = Field(default_factory=dict, sa_type=Json)


SESSIONS: Final = table_of(TapSession)
STEPS: Final = table_of(SessionStepRow)
COMMANDS: Final = table_of(DeviceCommand)
