"""Tables of customers, of the words that find them, and of the methods that they let the merchant keep.

No card number is stored: a method is the processor's id, and what stands on a receipt.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, ForeignKey, Index, String, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from control_plane.db.columns import Json, UtcDateTime, table_of, text_enum

#: Longest word that finds a customer.
WORD_LENGTH: Final = 64
_IS_DEFAULT: Final = "is_default"


class MethodKind(StrEnum):
    """What is kept."""

    CARD = "card"
    US_BANK_ACCOUNT = "us_bank_account"
    SEPA_DEBIT = "sepa_debit"


class MethodStatus(StrEnum):
    """Whether it can be charged. That a card's date has passed is not a status: see ``expiry``."""

    PENDING = "pending"
    """The bank account or the mandate is still being confirmed."""
    ACTIVE = "active"
    EXPIRED = "expired"
    """The bank said so."""
    FAILED = "failed"
    """The bank refuses it for good: closed, stolen, mandate withdrawn."""
    REMOVED = "removed"


class ConsentHow(StrEnum):
    """How the customer agreed to its being kept."""

    IN_PERSON = "in_person"
    PHONE = "phone"
    ONLINE = "online"
    PAPER = "paper"


class MandateStatus(StrEnum):
    """Whether a bank debit's mandate is in force, as the processor says."""

    PENDING = "pending"
    ACTIVE = "active"
    INACTIVE = "inactive"


class Customer(SQLModel, table=True):
    """Somebody who pays, known to the whole merchant."""

    __tablename__ = "customer"
    __table_args__ = (
        UniqueConstraint("merchant_id", "processor_id"),
        Index("ix_customer_merchant_used", "merchant_id", "used_at", "id"),
        Index("ix_customer_merchant_email", "merchant_id", "email"),
    )

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", max_length=40)
    #: Empty only when there is a company.
    name: str = Field(default="", max_length=200)
    #: Trimmed and case-folded; several customers may share one.
    email: str = Field(default="", max_length=254)
    phone: str = Field(default="", max_length=40)
    company: str = Field(default="", max_length=200)
    #: line1, line2, city, state, postal_code, country (two capitals); without what is empty.
    address: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    #: Of receipts and mails: en or fr; None follows the merchant's template.
    language: str | None = Field(default=None, max_length=10)
    note: str = Field(default="", max_length=2000)
    #: ``cus_…`` of the processor, once it knows the customer.
    processor_id: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    #: When they last paid or were last charged; the first in lists is the latest.
    used_at: datetime = Field(sa_type=UtcDateTime)
    archived_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


def _word_column() -> Any:
    # Compared bytewise, so that a range of one index finds every word that begins with some letters.
    kind = String(WORD_LENGTH).with_variant(String(WORD_LENGTH, collation="C"), "postgresql")
    return Field(sa_column=Column(kind, primary_key=True))


class CustomerWord(SQLModel, table=True):
    """A folded word that finds a customer: of the name, company or e-mail, the end of a phone number, last four."""

    __tablename__ = "customer_word"
    __table_args__ = (Index("ix_customer_word_found", "merchant_id", "word", "customer_id"),)

    customer_id: str = Field(
        sa_column=Column(
            String(40), ForeignKey("customer.id", ondelete="CASCADE"), primary_key=True
        )
    )
    word: str = _word_column()
    merchant_id: str = Field(max_length=40)


class SavedMethod(SQLModel, table=True):
    """A card or bank account that the processor keeps for us, and the consent to keep it."""

    __tablename__ = "saved_method"
    __table_args__ = (
        UniqueConstraint("merchant_id", "processor_id"),
        Index(
            "uq_saved_method_default",
            "customer_id",
            unique=True,
            postgresql_where=text(_IS_DEFAULT),
            sqlite_where=text(_IS_DEFAULT),
        ),
        Index("ix_saved_method_expiry", "merchant_id", "exp_year", "exp_month"),
    )

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", max_length=40)
    customer_id: str = Field(foreign_key="customer.id", index=True, max_length=40)
    kind: MethodKind = Field(sa_type=text_enum(MethodKind))
    #: visa, mastercard, …; empty for a bank account.
    brand: str = Field(default="", max_length=40)
    last4: str = Field(max_length=4)
    exp_month: int | None = None
    exp_year: int | None = None
    #: The processor's, the same for the same number.
    fingerprint: str = Field(default="", max_length=64)
    #: credit, debit, prepaid, unknown; checking or savings of a bank account.
    funding: str = Field(default="", max_length=20)
    bank_name: str = Field(default="", max_length=200)
    #: ``pm_…``
    processor_id: str = Field(max_length=64)
    mandate_id: str | None = Field(default=None, max_length=64)
    mandate_status: MandateStatus | None = Field(default=None, sa_type=text_enum(MandateStatus))
    #: The words that the customer agreed to, as they were shown or read out.
    consent_text: str = Field(max_length=2000)
    consent_how: ConsentHow = Field(sa_type=text_enum(ConsentHow))
    consent_at: datetime = Field(sa_type=UtcDateTime)
    #: ``usr_…`` or ``key_…`` who asked for it, with the name of then.
    consent_by: str = Field(max_length=64)
    consent_by_name: str = Field(max_length=200)
    status: MethodStatus = Field(default=MethodStatus.ACTIVE, sa_type=text_enum(MethodStatus))
    #: Why it failed, as the processor's code.
    status_reason: str = Field(default="", max_length=100)
    is_default: bool = False
    #: always, limited or unspecified: whether the processor's own form may show it again.
    allow_redisplay: str = Field(default="limited", max_length=20)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


CUSTOMERS: Final = table_of(Customer)
WORDS: Final = table_of(CustomerWord)
METHODS: Final = table_of(SavedMethod)
