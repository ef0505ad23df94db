"""What callers see of payments, their attempts, refunds and disputes. Tables never leave the process; these do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from control_plane.virtual_terminal.ladder import Offer
from control_plane.virtual_terminal.lifecycle import (
    AttemptMethod,
    AttemptState,
    PaymentState,
    RefundReason,
    RefundState,
)
from control_plane.virtual_terminal.timeline import MomentKind
from protocols.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One try, as it stands."""

    id: str
    merchant_id: str
    payment_id: str
    number: int
    method: AttemptMethod
    state: AttemptState
    moto: bool
    hint_brand: str | None
    hint_last4: str | None
    saved_method_id: str | None
    cloud_reader_id: str | None
    session_id: str | None
    link_expires_at: datetime | None
    link_sent_to: str | None
    charge_id: str | None
    code: str | None
    """Why not: a code of ``declines.explain``."""
    network_code: str | None
    message: str
    card_brand: str | None
    card_last4: str | None
    card_fingerprint: str | None
    address_check: str | None
    postal_code_check: str | None
    cvc_check: str | None
    three_d_secure: str | None
    risk_level: str | None
    authorization_code: str | None
    started_by: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionView:
    """What the payer's browser has to do next; only in the answer of a call that asked the processor."""

    kind: str
    """use_stripe_sdk, redirect_to_url, verify_with_microdeposits, …"""
    client_secret: str | None = field(default=None, repr=False)
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentView:
    """A payment as it stands."""

    id: str
    merchant_id: str
    location_id: str | None
    cashier_id: str
    cashier_name: str
    customer_id: str | None
    customer_name: str
    """``""`` without a customer."""
    amount_minor: int
    currency: str
    tax_minor: int
    tip_minor: int
    items: list[dict[str, Any]]
    fields: dict[str, str]
    reference: str
    note: str
    receipt_email: str
    capture_later: bool
    state: PaymentState
    state_since: datetime
    processor_id: str | None
    livemode: bool
    authorized_minor: int
    captured_minor: int
    capture_before: datetime | None
    refunded_minor: int
    charge_id: str | None
    method_kind: str | None
    card_brand: str | None
    card_last4: str | None
    card_fingerprint: str | None
    risk_level: str | None
    fee_minor: int | None
    settlement_minor: int | None
    settlement_currency: str | None
    settlement_rate: str | None
    transaction_id: str | None
    duplicate_of: str | None
    explanation: str
    created_at: datetime
    version: int
    attempt: AttemptView | None = None
    """The last one; None in lists."""
    offers: tuple[Offer, ...] = ()
    """What may be tried now, the best first; empty in lists."""
    action: ActionView | None = None

    @property
    def amount(self) -> Money:
        """What was asked."""
        return Money(self.amount_minor, self.currency)

    @property
    def refundable_minor(self) -> int:
        """Captured, and not given back or on its way back."""
        return max(0, self.captured_minor - self.refunded_minor)

    @property
    def is_final(self) -> bool:
        """Whether no attempt can follow."""
        return self.state.is_final

    @property
    def waits_for_checks(self) -> bool:
        """Whether the money is held until somebody accepts that a check of the card failed."""
        return (
            self.state is PaymentState.AUTHORIZED
            and not self.capture_later
            and self.attempt is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentView:
    """One line of a timeline; ``id`` grows. ``kind.english`` and ``.french`` are sentences to fill with ``facts``."""

    id: int
    payment_id: str
    attempt_id: str | None
    at: datetime
    kind: MomentKind
    text: str
    facts: dict[str, str]
    actor_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundView:
    """A refund as it stands."""

    id: str
    merchant_id: str
    location_id: str | None
    payment_id: str
    amount_minor: int
    currency: str
    reason: RefundReason
    note: str
    lines: list[dict[str, Any]]
    state: RefundState
    state_since: datetime
    processor_id: str | None
    failure_reason: str | None
    requested_by: str
    requested_by_name: str
    decided_by: str | None
    decided_by_name: str | None
    transaction_id: str | None
    cloud_reader_id: str | None
    created_at: datetime

    @property
    def reader_id(self) -> str | None:
        """The reader that asks for the card, where that is needed."""
        return self.cloud_reader_id

    @property
    def is_stoppable(self) -> bool:
        """Whether it can still be taken off its reader."""
        return self.cloud_reader_id is not None and self.state.holds_reader

    @property
    def amount(self) -> Money:
        """What goes back."""
        return Money(self.amount_minor, self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeView:
    """A dispute as it stands."""

    id: str
    merchant_id: str
    location_id: str | None
    payment_id: str | None
    processor_id: str
    charge_id: str
    amount_minor: int
    currency: str
    reason: str
    status: str
    due_by: datetime | None
    has_evidence: bool
    created_at: datetime
    updated_at: datetime

    @property
    def amount(self) -> Money:
        """What the bank wants back."""
        return Money(self.amount_minor, self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """A link on which a payer pays; the address is ``/pay/{token}``."""

    payment: PaymentView
    attempt_id: str
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLink:
    """What the payer's page needs. ``client_secret`` is None when there is nothing to pay on it any more."""

    payment: PaymentView
    merchant_name: str
    is_payable: bool
    expires_at: datetime | None
    publishable_key: str
    script_url: str
    client_secret: str | None = field(default=None, repr=False)
