"""Tables of payments, their attempts, refunds and disputes, and of the processor's accounts and readers."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from control_plane.db.columns import (
    AutoIncrement,
    Json,
    UtcDateTime,
    encrypted,
    table_of,
    text_enum,
)
from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
    RefundReason,
    RefundState,
)

_MERCHANT = "merchant.id"
_LOCATION = "location.id"
_PAYMENT = "payment.id"
_OPEN: Final = "state IN ({})".format(
    ", ".join(f"'{state.value}'" for state in AttemptState if state in OPEN_ATTEMPTS)
)
#: Payments whose truth must be read again by themselves.
_UNSETTLED: Final = (
    "state IN ('in_progress', 'requires_action', 'processing', 'authorized', 'unknown')"
)


class ProcessorAccount(SQLModel, table=True):
    """A merchant's account with the processor."""

    __tablename__ = "processor_account"

    #: ``acc_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, unique=True, max_length=40)
    processor: str = Field(default="stripe", max_length=20)
    #: ``acct_…``
    account_id: str = Field(max_length=64)
    secret_key: str = Field(sa_type=encrypted("processor.secret_key"))
    publishable_key: str = Field(max_length=200)
    #: Where the API is; the processor's own when empty. Only the sandbox differs.
    api_base: str = Field(default="", max_length=300)
    #: Where the browser loads the card fields from.
    script_url: str = Field(max_length=300)
    #: One a line, the newest last: several are accepted while one is being replaced.
    webhook_secrets: str = Field(default="", sa_type=encrypted("processor.webhook_secrets"))
    livemode: bool
    country: str = Field(max_length=2)
    default_currency: str = Field(max_length=3)
    #: None until it was asked.
    moto_enabled: bool | None = None
    moto_probed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: Events up to then were asked for, whether or not they came by themselves.
    swept_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    connected_at: datetime = Field(sa_type=UtcDateTime)


class Payment(SQLModel, table=True):
    """The money of one order: one PaymentIntent at a time that can take it.

    Only when a reader of ours takes over is the PaymentIntent cancelled first; what follows gets a new one.
    """

    __tablename__ = "payment"
    __table_args__ = (
        UniqueConstraint("merchant_id", "form_key"),
        UniqueConstraint("merchant_id", "processor_id"),
        Index("ix_payment_merchant_id", "merchant_id", "id"),
        Index("ix_payment_guard", "merchant_id", "amount_minor", "currency", "created_at"),
        Index(
            "ix_payment_unsettled",
            "look_again_at",
            postgresql_where=text(_UNSETTLED),
            sqlite_where=text(_UNSETTLED),
        ),
        Index("ix_payment_customer", "customer_id", "id"),
    )

    #: ``pay_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    location_id: str | None = Field(default=None, foreign_key=_LOCATION, max_length=40)
    cashier_id: str = Field(max_length=64)
    cashier_name: str = Field(max_length=200)
    customer_id: str | None = Field(default=None, max_length=40)
    #: The same form, sent again, is the same payment.
    form_key: str | None = Field(default=None, max_length=64)
    #: All of it: items, tax and tip.
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    tax_minor: int = Field(default=0, sa_type=BigInteger)
    tip_minor: int = Field(default=0, sa_type=BigInteger)
    #: ``[{name, quantity, unit_minor, tax_rate, total_minor, item_id}]``
    items: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    #: Values of the merchant's own fields, by their key.
    fields: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    reference: str = Field(default="", max_length=200)
    note: str = Field(default="", max_length=200)
    receipt_email: str = Field(default="", max_length=254)
    capture_later: bool = False
    state: PaymentState = Field(sa_type=text_enum(PaymentState))
    state_since: datetime = Field(sa_type=UtcDateTime)
    #: ``pi_…``; None until the first call.
    processor_id: str | None = Field(default=None, max_length=64)
    livemode: bool = False
    authorized_minor: int = Field(default=0, sa_type=BigInteger)
    captured_minor: int = Field(default=0, sa_type=BigInteger)
    #: An authorisation lapses then.
    capture_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    refunded_minor: int = Field(default=0, sa_type=BigInteger)
    #: ``ch_…`` of the attempt that brought the money, and what is known of it.
    charge_id: str | None = Field(default=None, max_length=64)
    method_kind: str | None = Field(default=None, max_length=40)
    card_brand: str | None = Field(default=None, max_length=40)
    card_last4: str | None = Field(default=None, max_length=4)
    card_fingerprint: str | None = Field(default=None, max_length=64, index=True)
    risk_level: str | None = Field(default=None, max_length=20)
    fee_minor: int | None = Field(default=None, sa_type=BigInteger)
    settlement_minor: int | None = Field(default=None, sa_type=BigInteger)
    settlement_currency: str | None = Field(default=None, max_length=3)
    #: As the processor wrote it.
    settlement_rate: str | None = Field(default=None, max_length=40)
    #: Its row in the ledger, once money moved.
    transaction_id: str | None = Field(default=None, max_length=64)
    #: Another payment that looks like the same sale, charged to the same card.
    duplicate_of: str | None = Field(default=None, max_length=40)
    #: One English sentence: why it is unknown, or how it was found out.
    explanation: str = Field(default="", max_length=2000)
    #: When the sweep reads it again; grows with each look that changed nothing.
    look_again_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    looks: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    #: Guards a change that was decided on an older row.
    version: int = 0


class PaymentAttempt(SQLModel, table=True):
    """One try by one method; committed before the processor is asked."""

    __tablename__ = "payment_attempt"
    __table_args__ = (
        Index(
            "uq_payment_attempt_open",
            "payment_id",
            unique=True,
            postgresql_where=text(_OPEN),
            sqlite_where=text(_OPEN),
        ),
        Index("ix_payment_attempt_payment", "payment_id", "number", unique=True),
        Index("ix_payment_attempt_session", "session_id"),
        Index(
            "uq_payment_attempt_reader_held",
            "cloud_reader_id",
            unique=True,
            postgresql_where=text(_OPEN),
            sqlite_where=text(_OPEN),
        ),
    )

    #: ``att_…``; with a step behind it, it is the idempotency key of a call.
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(max_length=40)
    payment_id: str = Field(foreign_key=_PAYMENT, max_length=40)
    #: 1 for the first.
    number: int
    method: AttemptMethod = Field(sa_type=text_enum(AttemptMethod))
    state: AttemptState = Field(sa_type=text_enum(AttemptState))
    moto: bool = False
    #: What the browser knew of the card before the charge.
    hint_brand: str | None = Field(default=None, max_length=40)
    hint_last4: str | None = Field(default=None, max_length=4)
    saved_method_id: str | None = Field(default=None, max_length=40)
    cloud_reader_id: str | None = Field(default=None, max_length=40)
    #: A tap session of one of our own readers.
    session_id: str | None = Field(default=None, max_length=64)
    #: Of a link: our own page, on which the payer confirms the same PaymentIntent.
    link_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    link_sent_to: str | None = Field(default=None, max_length=254)
    charge_id: str | None = Field(default=None, max_length=64)
    #: Stripe's ``decline_code``, else ``code``; or one of ours.
    code: str | None = Field(default=None, max_length=80)
    network_code: str | None = Field(default=None, max_length=20)
    #: The processor's own English words.
    message: str = Field(default="", max_length=1000)
    card_brand: str | None = Field(default=None, max_length=40)
    card_last4: str | None = Field(default=None, max_length=4)
    card_fingerprint: str | None = Field(default=None, max_length=64)
    address_check: str | None = Field(default=None, max_length=20)
    postal_code_check: str | None = Field(default=None, max_length=20)
    cvc_check: str | None = Field(default=None, max_length=20)
    three_d_secure: str | None = Field(default=None, max_length=40)
    risk_level: str | None = Field(default=None, max_length=20)
    authorization_code: str | None = Field(default=None, max_length=40)
    started_by: str = Field(max_length=64)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PaymentMoment(SQLModel, table=True):
    """One line of a payment's timeline. Append-only."""

    __tablename__ = "payment_moment"
    __table_args__ = (Index("ix_payment_moment_payment", "payment_id", "id"),)

    id: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    merchant_id: str = Field(max_length=40)
    payment_id: str = Field(max_length=40)
    attempt_id: str | None = Field(default=None, max_length=40)
    at: datetime = Field(sa_type=UtcDateTime)
    #: A word of ``timeline.MomentKind``.
    kind: str = Field(max_length=40)
    text: str = Field(default="", max_length=2000)
    facts: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    actor_name: str = Field(default="", max_length=200)


class Refund(SQLModel, table=True):
    """Money given back of one payment."""

    __tablename__ = "refund"
    __table_args__ = (
        UniqueConstraint("merchant_id", "processor_id"),
        UniqueConstraint("merchant_id", "form_key"),
        Index("ix_refund_merchant_id", "merchant_id", "id"),
    )

    #: ``rfd_…``; the idempotency key of its call.
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    location_id: str | None = Field(default=None, foreign_key=_LOCATION, max_length=40)
    payment_id: str = Field(foreign_key=_PAYMENT, index=True, max_length=40)
    form_key: str | None = Field(default=None, max_length=64)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    reason: RefundReason = Field(sa_type=text_enum(RefundReason))
    note: str = Field(default="", max_length=200)
    #: ``[{index, quantity}]`` of the payment's items, of a refund by line.
    lines: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    state: RefundState = Field(sa_type=text_enum(RefundState))
    state_since: datetime = Field(sa_type=UtcDateTime)
    #: ``re_…``
    processor_id: str | None = Field(default=None, max_length=64)
    failure_reason: str | None = Field(default=None, max_length=200)
    requested_by: str = Field(max_length=64)
    requested_by_name: str = Field(max_length=200)
    decided_by: str | None = Field(default=None, max_length=64)
    decided_by_name: str | None = Field(default=None, max_length=200)
    transaction_id: str | None = Field(default=None, max_length=64)
    #: The reader on which the customer presents the card again; None when the processor needs no card.
    cloud_reader_id: str | None = Field(
        default=None, foreign_key="cloud_reader.id", index=True, max_length=40
    )
    cancel_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    look_again_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: Somebody asks the reader, or looks at it, until then at the latest.
    leased_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Dispute(SQLModel, table=True):
    """A cardholder's bank that wants money back."""

    __tablename__ = "dispute"
    __table_args__ = (
        UniqueConstraint("merchant_id", "processor_id"),
        Index("ix_dispute_merchant_id", "merchant_id", "id"),
    )

    #: ``dsp_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    location_id: str | None = Field(default=None, foreign_key=_LOCATION, max_length=40)
    payment_id: str | None = Field(default=None, foreign_key=_PAYMENT, index=True, max_length=40)
    #: ``dp_…`` (also ``du_…``) and the charge that it is about.
    processor_id: str = Field(max_length=64)
    charge_id: str = Field(max_length=64)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    reason: str = Field(max_length=80)
    #: Stripe's word: needs_response, under_review, won, lost, warning_…, prevented, …
    status: str = Field(max_length=40)
    due_by: datetime | None = Field(default=None, sa_type=UtcDateTime)
    has_evidence: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class ProcessorEvent(SQLModel, table=True):
    """A webhook as it came: stored first, worked on afterwards, replayable."""

    __tablename__ = "processor_event"
    __table_args__ = (
        Index(
            "ix_processor_event_open",
            "received_at",
            postgresql_where=text("processed_at IS NULL"),
            sqlite_where=text("processed_at IS NULL"),
        ),
        Index("ix_processor_event_merchant_id", "merchant_id", "received_at"),
        Index("ix_processor_event_object", "merchant_id", "object_id"),
    )

    #: ``evt_…`` with the account before it, as test accounts of one sandbox may share numbers: ``acc_…/evt_…``.
    id: str = Field(primary_key=True, max_length=120)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    event_id: str = Field(max_length=64)
    kind: str = Field(max_length=80)
    #: What to read again because of it, such as ``pi_…``: of a charge, its payment.
    object_id: str = Field(max_length=200)
    created_at: datetime = Field(sa_type=UtcDateTime)
    #: Raw, with card data that a processor never sends redacted all the same.
    payload: dict[str, Any] = Field(sa_type=Json)
    received_at: datetime = Field(sa_type=UtcDateTime)
    #: How often it came.
    deliveries: int = 1
    processed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0
    last_error: str | None = Field(default=None, max_length=2000)


class CloudReader(SQLModel, table=True):
    """A reader that the processor drives from its cloud."""

    __tablename__ = "cloud_reader"
    __table_args__ = (UniqueConstraint("merchant_id", "processor_id"),)

    #: ``rd_…``, as our own readers.
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, index=True, max_length=40)
    location_id: str = Field(foreign_key=_LOCATION, index=True, max_length=40)
    #: ``tmr_…``
    processor_id: str = Field(max_length=64)
    name: str = Field(max_length=200)
    device_type: str = Field(max_length=60)
    serial_number: str = Field(max_length=100)
    software_version: str | None = Field(default=None, max_length=60)
    #: online or offline, in the processor's words; ``""`` before it was asked.
    status: str = Field(default="", max_length=20)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    checked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: We put a cart on its screen and have not taken it off.
    shows_cart: bool = False
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class ReaderTask(SQLModel, table=True):
    """How far a sale on a reader of the processor is; who drives it reads nothing else to go on."""

    __tablename__ = "reader_task"
    __table_args__ = (
        Index(
            "ix_reader_task_due",
            "look_at",
            postgresql_where=text("look_at IS NOT NULL"),
            sqlite_where=text("look_at IS NOT NULL"),
        ),
    )

    attempt_id: str = Field(primary_key=True, foreign_key="payment_attempt.id", max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, index=True, max_length=40)
    payment_id: str = Field(foreign_key=_PAYMENT, index=True, max_length=40)
    #: A phone has none: its own software drives it.
    cloud_reader_id: str | None = Field(
        default=None, foreign_key="cloud_reader.id", index=True, max_length=40
    )
    #: A word of ``cloud_readers.Step``.
    step: str = Field(max_length=20)
    customer_may_cancel: bool = True
    skip_tipping: bool = True
    tip_eligible_minor: int | None = Field(default=None, sa_type=BigInteger)
    save_card: bool = False
    #: How often the present step was tried without an answer; part of the key of the next try.
    tries: int = 0
    looks: int = 0
    #: The reader was seen working on it.
    seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancel_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: When it is looked at next. None: over.
    look_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    #: Somebody works on it until then at the latest.
    leased_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Phone(SQLModel, table=True):
    """A phone that takes cards by itself (Tap to Pay), bound to a shop and to who paired it."""

    __tablename__ = "phone"
    __table_args__ = (Index("ix_phone_merchant_id", "merchant_id", "id"),)

    #: ``phn_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    location_id: str = Field(foreign_key=_LOCATION, index=True, max_length=40)
    user_id: str = Field(max_length=64)
    user_name: str = Field(max_length=200)
    name: str = Field(max_length=200)
    #: Keyed hashes: of the code in the QR picture, once, and of what the phone signs in with afterwards.
    code_hash: str = Field(unique=True, max_length=64)
    code_expires_at: datetime = Field(sa_type=UtcDateTime)
    token_hash: str | None = Field(default=None, unique=True, max_length=64)
    platform: str = Field(default="", max_length=100)
    app_version: str = Field(default="", max_length=60)
    paired_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class HistoryImport(SQLModel, table=True):
    """An import of what happened on the account before, as far as it came."""

    __tablename__ = "history_import"
    __table_args__ = (Index("ix_history_import_merchant_id", "merchant_id", "id"),)

    #: ``imp_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    since: datetime = Field(sa_type=UtcDateTime)
    #: Goes on after this one.
    cursor: str | None = Field(default=None, max_length=300)
    payments: int = 0
    refunds: int = 0
    disputes: int = 0
    #: How far back it has come: when the last one that was taken happened.
    reached_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = Field(default=None, max_length=2000)
    started_by: str = Field(max_length=64)
    started_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ProcessorLocation(SQLModel, table=True):
    """One of our locations, as the processor knows it; its readers must have one."""

    __tablename__ = "processor_location"

    #: ``acct_…``: another account knows nothing of it.
    account_id: str = Field(primary_key=True, max_length=64)
    location_id: str = Field(primary_key=True, foreign_key=_LOCATION, index=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, index=True, max_length=40)
    #: ``tml_…``
    processor_id: str = Field(max_length=64)
    #: line1, line2, city, state, postal_code, country.
    address: dict[str, str] = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)


ACCOUNTS: Final = table_of(ProcessorAccount)
PAYMENTS: Final = table_of(Payment)
ATTEMPTS: Final = table_of(PaymentAttempt)
MOMENTS: Final = table_of(PaymentMoment)
REFUNDS: Final = table_of(Refund)
DISPUTES: Final = table_of(Dispute)
PROCESSOR_EVENTS: Final = table_of(ProcessorEvent)
CLOUD_READERS: Final = table_of(CloudReader)
PROCESSOR_LOCATIONS: Final = table_of(ProcessorLocation)
READER_TASKS: Final = table_of(ReaderTask)
PHONES: Final = table_of(Phone)
HISTORY_IMPORTS: Final = table_of(HistoryImport)
