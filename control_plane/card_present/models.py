"""Tables of accounts that take sealed cards, of authorisations, and of refunds. No card data, sealed or open."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from control_plane.card_present.lifecycle import (
    HOLDING,
    TO_SETTLE,
    AuthorizationState,
    RefundState,
)
from control_plane.db.columns import UtcDateTime, encrypted, table_of, text_enum

_MERCHANT = "merchant.id"


def _among(states: tuple[AuthorizationState, ...]) -> Any:
    return text("state IN ({})".format(", ".join(f"'{state.value}'" for state in states)))


class CardPresentAccount(SQLModel, table=True):
    """A merchant's account with a processor that can open what its readers seal."""

    __tablename__ = "card_present_account"

    #: ``cpa_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, unique=True, max_length=40)
    processor: str = Field(default="cybersource", max_length=20)
    #: The merchant's name at the processor.
    organization: str = Field(max_length=64)
    #: The serial number of the shared secret.
    key_id: str = Field(max_length=64)
    secret: str = Field(sa_type=encrypted("card_present.secret"))
    livemode: bool
    #: The processor's own address when empty; only a sandbox differs.
    api_base: str = Field(default="", max_length=300)
    connected_at: datetime = Field(sa_type=UtcDateTime)
    #: What it last objected to about key or account; empty when it works.
    problem: str = Field(default="", max_length=300)


class CardPresentAuthorization(SQLModel, table=True):
    """One card that was shown to an encrypting reader; committed before the processor is asked."""

    __tablename__ = "card_present_authorization"
    __table_args__ = (
        Index(
            "uq_card_present_session_held",
            "session_id",
            unique=True,
            postgresql_where=_among(HOLDING),
            sqlite_where=_among(HOLDING),
        ),
        Index("ix_card_present_authorization_session", "session_id"),
        Index("ix_card_present_authorization_merchant", "merchant_id", "asked_at"),
        Index(
            "ix_card_present_authorization_due",
            "look_again_at",
            postgresql_where=_among(TO_SETTLE),
            sqlite_where=_among(TO_SETTLE),
        ),
    )

    #: Made by the device for each card; the same one is the same question.
    tap_id: str = Field(primary_key=True, max_length=64)
    merchant_id: str = Field(max_length=40)
    location_id: str = Field(max_length=40)
    device_id: str = Field(max_length=64)
    reader_id: str = Field(max_length=64)
    session_id: str = Field(max_length=64)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    state: AuthorizationState = Field(sa_type=text_enum(AuthorizationState))
    state_since: datetime = Field(sa_type=UtcDateTime)
    #: What the device was, or will be, told: approved, declined, refused, unavailable.
    answer: str | None = Field(default=None, max_length=20)
    #: ISO 8583 field 39.
    response_code: str = Field(default="", max_length=2)
    authorization_code: str = Field(default="", max_length=40)
    #: Objects 91, 71 and 72 as hexadecimal digits.
    issuer_data: str = Field(default="", max_length=2048)
    #: One English sentence: why not.
    text: str = Field(default="", max_length=200)
    #: Of the authorisation, and of its capture, at the processor.
    processor_reference: str = Field(default="", max_length=64)
    capture_reference: str = Field(default="", max_length=64)
    #: Whose account it was; the account may have been replaced since.
    account_id: str = Field(default="", max_length=40)
    ksn: str = Field(max_length=24)
    reader_serial: str = Field(default="", max_length=200)
    card_masked: str = Field(default="", max_length=40)
    card_brand: str = Field(default="", max_length=40)
    entry_mode: str = Field(default="", max_length=40)
    #: The ledger row of the sale, once the reader told how it ended.
    transaction_id: str | None = Field(default=None, max_length=64, index=True)
    refunded_minor: int = Field(default=0, sa_type=BigInteger)
    asked_at: datetime = Field(sa_type=UtcDateTime)
    look_again_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    looks: int = 0
    #: Why the last look brought nothing.
    problem: str = Field(default="", max_length=300)


class CardPresentRefund(SQLModel, table=True):
    """Money given back of a captured sale; committed before the processor is asked."""

    __tablename__ = "card_present_refund"
    __table_args__ = (
        UniqueConstraint("merchant_id", "form_key"),
        Index("ix_card_present_refund_tap", "tap_id"),
        Index(
            "ix_card_present_refund_due",
            "look_again_at",
            postgresql_where=text("state = 'asked'"),
            sqlite_where=text("state = 'asked'"),
        ),
    )

    #: ``cpr_…``; the key of its call.
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(max_length=40)
    location_id: str = Field(max_length=40)
    tap_id: str = Field(foreign_key="card_present_authorization.tap_id", max_length=64)
    #: The ledger row of the sale.
    original_id: str = Field(max_length=64)
    form_key: str = Field(max_length=64)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    note: str = Field(default="", max_length=200)
    state: RefundState = Field(sa_type=text_enum(RefundState))
    processor_reference: str = Field(default="", max_length=64)
    problem: str = Field(default="", max_length=300)
    requested_by: str = Field(max_length=64)
    requested_by_name: str = Field(max_length=200)
    requested_at: datetime = Field(sa_type=UtcDateTime)
    transaction_id: str | None = Field(default=None, max_length=64)
    look_again_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    looks: int = 0


CARD_ACCOUNTS: Final = table_of(CardPresentAccount)
AUTHORIZATIONS: Final = table_of(CardPresentAuthorization)
CARD_REFUNDS: Final = table_of(CardPresentRefund)
