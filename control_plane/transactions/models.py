"""The ledger, and the book of what devices have sent.

The ledger is append-only: a correction is a new row that names the old one. PostgreSQL and SQLite refuse UPDATE and
DELETE on it by triggers. It has few indexes, because it is written in bulk.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Numeric,
    String,
    Text,
    UniqueConstraint,
)
from sqlmodel import Field, SQLModel

from control_plane.db.columns import AutoIncrement, Json, UtcDateTime, table_of, text_enum


class Kind(StrEnum):
    """What a row is. ``amount_minor`` is never negative: the kind tells which way money went."""

    SALE = "sale"
    REFUND = "refund"
    REVERSAL = "reversal"
    DISPUTE = "dispute"
    FEE = "fee"
    ADJUSTMENT = "adjustment"


class Status(StrEnum):
    """How it ended. Only approved rows moved money."""

    APPROVED = "approved"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    FAILED = "failed"
    PENDING = "pending"


class SaleChannel(StrEnum):
    """Where the customer was."""

    IN_PERSON = "in_person"
    KEYED = "keyed"
    LINK = "link"
    INVOICE = "invoice"
    RECURRING = "recurring"
    ONLINE = "online"
    OFFLINE = "offline"
    """On a reader while the cloud was away."""


class Method(StrEnum):
    """What was paid with."""

    CARD = "card"
    ACH = "bank_debit_ach"
    SEPA = "sepa_debit"
    LINK = "link"
    CASH = "cash"
    OTHER = "other"


def _id(**options: Any) -> Any:
    """A column for an id. Ids are ASCII: PostgreSQL compares them bytewise, which indexes feel."""
    kind = String(64).with_variant(String(64, collation="C"), "postgresql")
    return Field(sa_column=Column(kind, **options))


class Transaction(SQLModel, table=True):
    """One row of the ledger."""

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        Index("ix_transactions_merchant_time", "merchant_id", "occurred_at", "id"),
    )

    #: Of a device's message: made from the id of its envelope, so that the same id cannot come in twice.
    id: str = _id(primary_key=True)
    merchant_id: str = _id(nullable=False)
    location_id: str | None = _id()
    device_id: str | None = _id()
    reader_id: str | None = _id()
    session_id: str | None = _id()
    cashier_id: str | None = _id()
    customer_id: str | None = _id()
    kind: Kind = Field(sa_type=text_enum(Kind))
    status: Status = Field(sa_type=text_enum(Status))
    channel: SaleChannel = Field(sa_type=text_enum(SaleChannel))
    method: Method = Field(sa_type=text_enum(Method))
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    #: As the processor gave them; never computed here.
    settlement_amount_minor: int | None = Field(default=None, sa_type=BigInteger)
    settlement_currency: str | None = Field(default=None, max_length=3)
    settlement_rate: Decimal | None = Field(default=None, sa_type=Numeric(24, 12))
    fee_minor: int | None = Field(default=None, sa_type=BigInteger)
    #: The sale that a refund, reversal, dispute or fee belongs to.
    original_id: str | None = _id()
    #: Who numbered it (``reader``, ``stripe``, …) and its number there. Of a reader: the session id, so that a session
    #: is in the ledger once.
    source: str = _id(nullable=False)
    external_id: str = _id(nullable=False)
    card_brand: str | None = Field(default=None, max_length=40)
    card_last4: str | None = Field(default=None, max_length=4)
    card_masked: str | None = Field(default=None, max_length=40)
    entry_mode: str | None = Field(default=None, max_length=40)
    verification: str | None = Field(default=None, max_length=40)
    aid: str | None = Field(default=None, max_length=40)
    application_label: str | None = Field(default=None, max_length=100)
    authorization_code: str | None = Field(default=None, max_length=40)
    receipt_number: int | None = Field(default=None, sa_type=BigInteger)
    trace_number: int | None = Field(default=None, sa_type=BigInteger)
    terminal_id: str | None = Field(default=None, max_length=40)
    merchant_number: str | None = Field(default=None, max_length=40)
    result_code: int | None = Field(default=None)
    result_text: str | None = Field(default=None, max_length=200)
    reference: str | None = Field(default=None, max_length=200)
    note: str | None = Field(default=None, max_length=200)
    #: What the reader printed, one line a line.
    receipt: str | None = Field(default=None, sa_type=Text)
    #: The device's time, corrected by what is known of its clock.
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime)
    decided_by: str | None = Field(default=None, max_length=20)
    explanation: str | None = Field(default=None, sa_type=Text)
    #: Hash of the bytes that the device sent, which its next message names.
    message_hash: str | None = Field(default=None, max_length=32)
    epoch: int | None = Field(default=None)
    seq: int | None = Field(default=None, sa_type=BigInteger)


class StreamCursor(SQLModel, table=True):
    """What has been taken in of one stream in one epoch of a device: duplicates are known by it, for ever.

    ``upto`` ends the prefix without a gap; ``beyond`` lists what came after a gap, as ranges
    ``[first, last, prev of first, hash of last]``.
    """

    __tablename__ = "stream_cursor"

    device_id: str = _id(primary_key=True)
    stream: str = Field(primary_key=True, max_length=8)
    epoch: int = Field(primary_key=True)
    upto: int = Field(default=0, sa_type=BigInteger)
    last_hash: str = Field(max_length=32)
    beyond: list[Any] = Field(default_factory=list, sa_type=Json)
    #: Grows with each change: two processes that take in the same stream notice each other.
    version: int = 0
    gap_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: When the device was last asked to send again.
    asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: A newer epoch has begun; rows from ``upto + 1`` on that did not come are for reconciliation.
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Inbox(SQLModel, table=True):
    """Key and hash of every streamed message that is not a ledger row."""

    __tablename__ = "inbox"

    device_id: str = _id(primary_key=True)
    stream: str = Field(primary_key=True, max_length=8)
    epoch: int = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)
    message_hash: str = Field(max_length=32)


class Quarantined(SQLModel, table=True):
    """A message that could not be taken in, as it came but without card numbers. It never holds up its stream."""

    __tablename__ = "quarantine"
    __table_args__ = (Index("ix_quarantine_key", "device_id", "stream", "epoch", "seq"),)

    id: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    merchant_id: str | None = Field(default=None, max_length=40, index=True)
    device_id: str = Field(max_length=64)
    channel: str = Field(max_length=20)
    stream: str | None = Field(default=None, max_length=8)
    epoch: int | None = Field(default=None, sa_type=BigInteger)
    seq: int | None = Field(default=None, sa_type=BigInteger)
    #: ``malformed``, ``changed``, ``session_twice``, ``refused``…
    code: str = Field(max_length=40)
    reason: str = Field(max_length=500)
    raw: str = Field(sa_type=Text)
    message_hash: str = Field(max_length=32)
    received_at: datetime = Field(sa_type=UtcDateTime)
    resolved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    resolution: str = Field(default="", max_length=500)


class DayClosing(SQLModel, table=True):
    """A device's own count of a day beside the ledger's: what every other layer missed shows here."""

    __tablename__ = "day_closing"

    device_id: str = Field(primary_key=True, max_length=64)
    epoch: int = Field(primary_key=True)
    first_seq: int = Field(primary_key=True, sa_type=BigInteger)
    merchant_id: str = Field(max_length=40, index=True)
    last_seq: int = Field(sa_type=BigInteger)
    day: str = Field(max_length=10)
    #: ``[[currency, count, sum in minor units], …]``
    reported: list[Any] = Field(sa_type=Json)
    counted: list[Any] | None = Field(default=None, sa_type=Json)
    #: ``waiting`` until all rows up to ``last_seq`` are there, then ``agrees`` or ``differs``.
    result: str = Field(max_length=10)
    received_at: datetime = Field(sa_type=UtcDateTime)
    compared_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


TRANSACTIONS: Final = table_of(Transaction)
CURSORS: Final = table_of(StreamCursor)
INBOX: Final = table_of(Inbox)
QUARANTINE: Final = table_of(Quarantined)
CLOSINGS: Final = table_of(DayClosing)
