"""The ledger.

It is append-only: a correction is a new row that names the old one. PostgreSQL and SQLite refuse UPDATE and
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
    text,
)
from sqlmodel import Field, SQLModel

from control_plane.db.columns import UtcDateTime, table_of, text_enum


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


def id_column(**options: Any) -> Any:
    """A column for an id. Ids are ASCII: PostgreSQL compares them bytewise, which indexes feel."""
    kind = String(64).with_variant(String(64, collation="C"), "postgresql")
    return Field(sa_column=Column(kind, **options))


class Transaction(SQLModel, table=True):
    """One row of the ledger."""

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("source", "external_id"),
        Index("ix_transactions_merchant_time", "merchant_id", "occurred_at", "id"),
        Index(
            "ix_transactions_original",
            "original_id",
            postgresql_where=text("original_id IS NOT NULL"),
            sqlite_where=text("original_id IS NOT NULL"),
        ),
        Index(
            "ix_transactions_payment",
            "payment_id",
            postgresql_where=text("payment_id IS NOT NULL"),
            sqlite_where=text("payment_id IS NOT NULL"),
        ),
        Index(
            "ix_transactions_customer",
            "customer_id",
            "occurred_at",
            postgresql_where=text("customer_id IS NOT NULL"),
            sqlite_where=text("customer_id IS NOT NULL"),
        ),
    )

    #: Of a device's message: made from the id of its envelope, so that the same id cannot come in twice.
    id: str = id_column(primary_key=True)
    merchant_id: str = id_column(nullable=False)
    location_id: str | None = id_column()
    device_id: str | None = id_column()
    reader_id: str | None = id_column()
    session_id: str | None = id_column()
    #: The payment of the virtual terminal that it belongs to.
    payment_id: str | None = id_column()
    cashier_id: str | None = id_column()
    customer_id: str | None = id_column()
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
    original_id: str | None = id_column()
    #: Who numbered it (``reader``, ``stripe``, …) and its number there. Of a reader: the session id, so that a session
    #: is in the ledger once.
    source: str = id_column(nullable=False)
    external_id: str = id_column(nullable=False)
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
    #: What the reader printed for the customer, one line a line, and for the shop.
    receipt: str | None = Field(default=None, sa_type=Text)
    merchant_receipt: str | None = Field(default=None, sa_type=Text)
    #: The device's time, corrected by what is known of its clock.
    occurred_at: datetime = Field(sa_type=UtcDateTime)
    received_at: datetime = Field(sa_type=UtcDateTime)
    decided_by: str | None = Field(default=None, max_length=20)
    explanation: str | None = Field(default=None, sa_type=Text)
    #: Hash of the bytes that the device sent, which its next message names.
    message_hash: str | None = Field(default=None, max_length=32)
    epoch: int | None = Field(default=None)
    seq: int | None = Field(default=None, sa_type=BigInteger)


class TransactionSettlement(SQLModel, table=True):
    """Fee and settled amount of a row that was written before the processor told them. Written once."""

    __tablename__ = "transaction_settlement"

    transaction_id: str = id_column(primary_key=True)
    merchant_id: str = id_column(nullable=False)
    settlement_amount_minor: int = Field(sa_type=BigInteger)
    settlement_currency: str = Field(max_length=3)
    settlement_rate: Decimal | None = Field(default=None, sa_type=Numeric(24, 12))
    fee_minor: int = Field(sa_type=BigInteger)
    #: When the money can be paid out.
    available_on: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: The processor's number of it, such as ``txn_…``.
    source_id: str = Field(max_length=64)
    noted_at: datetime = Field(sa_type=UtcDateTime)


class PaymentField(SQLModel, table=True):
    """A value of a merchant's own field, folded, by which a payment is found."""

    __tablename__ = "payment_field"
    __table_args__ = (Index("ix_payment_field_found", "merchant_id", "folded", "payment_id"),)

    payment_id: str = id_column(primary_key=True)
    key: str = id_column(primary_key=True)
    merchant_id: str = id_column(nullable=False)
    #: See ``found_by.folded``; compared bytewise, so that a range of the index finds every beginning.
    folded: str = Field(
        sa_column=Column(
            String(200).with_variant(String(200, collation="C"), "postgresql"), nullable=False
        )
    )


TRANSACTIONS: Final = table_of(Transaction)
PAYMENT_FIELDS: Final = table_of(PaymentField)
SETTLEMENTS: Final = table_of(TransactionSettlement)
