"""The port to a card processor: what we ask of it, what it answers, and how it fails.

Amounts are minor units. Words of states are Stripe's, because its adapter is the only one; codes of declines too.
Every method may raise the errors below. None of them keeps a database transaction open: callers write down what they
mean to do, commit, call, and write down what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from protocols.money import Money
from protocols.secret import Secret

CaptureMethod = Literal["automatic", "manual"]
IntentStatus = Literal[
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
    "requires_capture",
    "canceled",
    "succeeded",
]
StoredUsage = Literal["installment", "recurring", "unscheduled"]


# --- failures ---------------------------------------------------------------------------------------------------


class ProcessorError(Exception):
    """A call that did not bring what was asked."""


class Declined(ProcessorError):
    """The answer is no. ``payment`` is how the intent stands after it, when it was told."""

    def __init__(self, decline: Decline, payment: ProcessorPayment | None = None) -> None:
        super().__init__(decline.message)
        self.decline = decline
        self.payment = payment


class Refused(ProcessorError):
    """The request itself was not taken (4xx): nothing happened. ``code`` and ``param`` are the processor's."""

    def __init__(self, message: str, *, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class MotoNotEnabled(Refused):
    """The account may not take mail and telephone orders."""


class UnexpectedState(Refused):
    """The intent is elsewhere than the call needs (``payment_intent_unexpected_state``): read it again."""


class ReaderRefused(Refused):
    """A reader could not take the command: ``terminal_reader_offline``, ``_busy``, ``_hardware_fault``, …"""


class NotReached(ProcessorError):
    """Surely nothing happened: no connection was made, or the processor turned us away before it began (429)."""


class AnswerUnknown(ProcessorError):
    """It may or may not have happened: time-out, lost connection, 5xx, ``terminal_reader_timeout``. Read it again."""


class NotVerified(ProcessorError):
    """A webhook whose signature or age does not hold."""


# --- what it says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """Why not. ``code`` is the decline code when there is one, else the error's code."""

    code: str
    message: str
    network_code: str | None = None
    advice: str | None = None
    """confirm_card_data, do_not_try_again, try_again_later."""
    param: str | None = None
    charge_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """pass, fail, unavailable, unchecked; None when it was not given."""

    address: str | None = None
    postal_code: str | None = None
    cvc: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What was paid with; never more of a card than its last four digits."""

    kind: str
    """card, card_present, interac_present, us_bank_account, sepa_debit, …"""
    processor_id: str | None = None
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str | None = None
    funding: str | None = None
    country: str | None = None
    bank_name: str | None = None
    wallet: str | None = None
    entry_mode: str | None = None
    """Of a reader: contact_emv, contactless_emv, magnetic_stripe_track2, …"""
    generated_card: str | None = None
    """A card that can be charged later, made from a card on a reader."""
    emv: Mapping[str, str] = field(default_factory=dict)
    """What a receipt must show: the names of ``card_present.receipt``."""
    mandate_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A balance transaction: what reaches the account. As given, never computed."""

    id: str
    amount: Money
    fee_minor: int
    net_minor: int
    rate: str | None
    available_on: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorCharge:
    """One charge of a PaymentIntent."""

    id: str
    status: Literal["succeeded", "pending", "failed"]
    amount: Money
    captured: bool
    captured_minor: int
    refunded_minor: int
    instrument: Instrument
    created_at: datetime
    checks: Checks = Checks()
    decline: Decline | None = None
    risk_level: str | None = None
    authorization_code: str | None = None
    moto: bool | None = None
    three_d_secure: str | None = None
    disputed: bool = False
    capture_before: datetime | None = None
    can_increment: bool = False
    settlement: Settlement | None = None
    receipt_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAction:
    """What the payer must do: use_stripe_sdk, redirect_to_url, verify_with_microdeposits, display_…"""

    kind: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorPayment:
    """A PaymentIntent as it stands, with its latest charge."""

    id: str
    status: IntentStatus
    amount: Money
    received_minor: int
    capturable_minor: int
    created_at: datetime
    livemode: bool
    client_secret: str | None = field(default=None, repr=False)
    customer_id: str | None = None
    instrument_id: str | None = None
    """``pm_…``"""
    tip_minor: int | None = None
    next_action: NextAction | None = None
    last_error: Decline | None = None
    charge: ProcessorCharge | None = None
    cancellation_reason: str | None = None
    description: str = ""
    receipt_email: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorRefund:
    """A refund as it stands."""

    id: str
    status: Literal["pending", "succeeded", "failed", "requires_action", "canceled"]
    amount: Money
    payment_id: str | None
    charge_id: str | None
    created_at: datetime
    reason: str | None = None
    failure_reason: str | None = None
    settlement: Settlement | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorDispute:
    """A dispute as it stands. ``movements`` are its balance transactions: withdrawn is negative."""

    id: str
    charge_id: str
    payment_id: str | None
    amount: Money
    reason: str
    status: str
    due_by: datetime | None
    has_evidence: bool
    created_at: datetime
    movements: tuple[Settlement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorCustomer:
    """A customer there."""

    id: str
    name: str | None
    email: str | None
    phone: str | None
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorMandate:
    """A payer's permission to debit."""

    id: str
    status: str
    accepted_at: datetime | None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorSetup:
    """A SetupIntent as it stands."""

    id: str
    status: str
    client_secret: str | None = field(default=None, repr=False)
    instrument: Instrument | None = None
    next_action: NextAction | None = None
    last_error: Decline | None = None
    mandate_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderAction:
    """What a reader of the processor does, or did last."""

    kind: str
    """process_payment_intent, refund_payment, collect_inputs, …"""
    status: Literal["in_progress", "succeeded", "failed"]
    payment_id: str | None = None
    charge_id: str | None = None
    refund_id: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    decline: Decline | None = None
    inputs: tuple[Mapping[str, str], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What we wrote on a refund."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorReader:
    """A reader as the processor knows it."""

    id: str
    device_type: str
    label: str
    serial_number: str
    status: str | None
    location_id: str | None
    software_version: str | None = None
    ip_address: str | None = None
    last_seen_at: datetime | None = None
    action: ReaderAction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorAccountInfo:
    """Whose key it is."""

    id: str
    country: str
    default_currency: str
    livemode: bool
    business_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """A verified event. ``object_kind`` is Stripe's ``data.object.object``."""

    id: str
    kind: str
    object_kind: str
    object_id: str
    created_at: datetime
    livemode: bool
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookAddress:
    """An address of ours to which events are sent, and what they are signed with."""

    id: str
    secret: Secret[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One object of the account's history, for the import; ``cursor`` goes on after it."""

    cursor: str
    payment: ProcessorPayment | None = None
    refund: ProcessorRefund | None = None
    dispute: ProcessorDispute | None = None


# --- what we ask ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIntent:
    """A PaymentIntent to make. ``methods`` are Stripe's ``allowed_payment_method_types``."""

    amount: Money
    methods: tuple[str, ...]
    metadata: Mapping[str, str]
    capture: CaptureMethod = "automatic"
    customer_id: str | None = None
    description: str = ""
    receipt_email: str | None = None
    save_for: Literal["off_session", "on_session"] | None = None
    ask_incremental: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """With what, and how, an intent is confirmed: one of ``token`` and ``instrument_id``."""

    token: str | None = field(default=None, repr=False)
    instrument_id: str | None = None
    moto: bool = False
    off_session: bool = False
    stored_usage: StoredUsage | None = None
    fail_on_action: bool = False
    return_url: str | None = None
    mandate_offline: bool = False
    """The payer agreed by telephone or on paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSetup:
    """A payment method to save without a charge."""

    customer_id: str
    methods: tuple[str, ...]
    token: str = field(repr=False)
    moto: bool = False
    mandate_offline: bool = False
    return_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderPayment:
    """How a reader is to take a payment."""

    customer_may_cancel: bool = True
    skip_tipping: bool = True
    tip_eligible_minor: int | None = None
    moto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderInput:
    """One question on a reader's screen."""

    kind: Literal["text", "numeric", "email", "phone", "signature", "selection"]
    title: str
    description: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CartLine:
    """One line on a reader's screen."""

    description: str
    amount_minor: int
    quantity: int = 1


class Processor(Protocol):
    """One merchant's account. ``key`` is an idempotency key: the same one, sent again, does nothing twice."""

    def account(self) -> ProcessorAccountInfo: ...
    def probe_moto(self) -> bool:
        """Whether mail and telephone orders are allowed; charges nothing and leaves nothing behind."""
        ...

    # payments
    def create_payment(
        self, new: NewIntent, confirm: Confirmation | None = None, *, key: str
    ) -> ProcessorPayment: ...
    def confirm_payment(
        self, payment_id: str, confirm: Confirmation, *, methods: tuple[str, ...] = (), key: str
    ) -> ProcessorPayment: ...
    def update_payment(
        self,
        payment_id: str,
        *,
        amount: Money | None = None,
        methods: tuple[str, ...] = (),
        capture: CaptureMethod | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str,
    ) -> ProcessorPayment: ...
    def read_payment(self, payment_id: str) -> ProcessorPayment:
        """Expands the latest charge and its balance transaction."""
        ...

    def find_payment(self, metadata_key: str, value: str) -> ProcessorPayment | None:
        """The intent whose creation got no answer, by what we wrote on it."""
        ...

    def capture(
        self, payment_id: str, *, amount_minor: int | None = None, key: str
    ) -> ProcessorPayment: ...
    def cancel_payment(
        self, payment_id: str, *, reason: str | None = None, key: str
    ) -> ProcessorPayment: ...
    def increment(self, payment_id: str, amount_minor: int, *, key: str) -> ProcessorPayment:
        """``amount_minor`` is the new total."""
        ...

    def verify_microdeposits(
        self, payment_id: str, *, amounts: tuple[int, int] | None = None, code: str | None = None
    ) -> ProcessorPayment: ...

    # refunds and disputes
    def refund(
        self,
        payment_id: str,
        *,
        amount_minor: int,
        reason: str | None,
        metadata: Mapping[str, str],
        key: str,
    ) -> ProcessorRefund: ...
    def read_refund(self, refund_id: str) -> ProcessorRefund: ...
    def refunds_of(self, payment_id: str) -> list[ProcessorRefund]: ...
    def read_dispute(self, dispute_id: str) -> ProcessorDispute: ...
    def disputes_of(self, payment_id: str) -> list[ProcessorDispute]: ...

    # customers and saved methods
    def save_customer(
        self,
        customer_id: str | None,
        *,
        name: str,
        email: str,
        phone: str,
        metadata: Mapping[str, str],
        key: str,
    ) -> ProcessorCustomer: ...
    def instruments_of(self, customer_id: str) -> list[Instrument]: ...
    def read_instrument(self, instrument_id: str) -> Instrument: ...
    def detach(self, instrument_id: str, *, key: str) -> None: ...
    def setup(self, new: NewSetup, *, key: str) -> ProcessorSetup: ...
    def read_setup(self, setup_id: str) -> ProcessorSetup: ...
    def read_mandate(self, mandate_id: str) -> ProcessorMandate: ...

    # readers
    def create_location(self, name: str, address: Mapping[str, str], *, key: str) -> str: ...
    def register_reader(
        self, code: str, *, label: str, location_id: str, metadata: Mapping[str, str], key: str
    ) -> ProcessorReader: ...
    def rename_reader(self, reader_id: str, label: str) -> ProcessorReader: ...
    def remove_reader(self, reader_id: str) -> None: ...
    def read_reader(self, reader_id: str) -> ProcessorReader: ...
    def readers(self, location_id: str | None = None) -> list[ProcessorReader]: ...
    def process_on_reader(
        self, reader_id: str, payment_id: str, how: ReaderPayment, *, key: str
    ) -> ProcessorReader: ...
    def refund_on_reader(
        self,
        reader_id: str,
        *,
        payment_id: str,
        amount_minor: int,
        metadata: Mapping[str, str],
        key: str,
    ) -> ProcessorReader:
        """The customer presents the card that paid, and may cancel; ``metadata`` marks the refund that comes of it."""
        ...

    def cancel_on_reader(self, reader_id: str) -> ProcessorReader: ...
    def show_cart(
        self, reader_id: str, lines: tuple[CartLine, ...], total: Money, tax_minor: int
    ) -> ProcessorReader: ...
    def ask_on_reader(
        self, reader_id: str, inputs: tuple[ReaderInput, ...], *, key: str
    ) -> ProcessorReader: ...
    def connection_token(self, location_id: str | None = None) -> str: ...
    def onboarding_link(self, merchant_name: str) -> str:
        """Where an owner accepts Apple's terms for Tap to Pay."""
        ...

    # what happened
    def add_webhook(self, url: str, kinds: tuple[str, ...], *, key: str) -> WebhookAddress:
        """Have events of these kinds sent to an address."""
        ...

    def verify_webhook(self, payload: bytes, signature: str, secrets: list[str]) -> WebhookEvent:
        """Raises NotVerified."""
        ...

    def events_since(self, since: datetime) -> Iterator[WebhookEvent]: ...
    def history(self, since: datetime, *, after: str | None = None) -> Iterator[Past]:
        """Everything since then, oldest pages last, resumable by the cursor of the last one taken."""
        ...


class Processors(Protocol):
    """Finds a merchant's processor."""

    def of(self, merchant_id: str) -> Processor:
        """Raises ``errors.NotConnected`` when the merchant has none."""
        ...

    def with_key(self, secret_key: Secret[str], api_base: str = "") -> Processor:
        """The account behind a key that is not stored yet; the processor's own address when ``api_base`` is empty."""
        ...
