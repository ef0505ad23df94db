"""What callers ask the desk for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from control_plane.customers.models import ConsentHow
from control_plane.virtual_terminal.lifecycle import RefundReason
from protocols.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is paid for: the facts of a new payment."""

    amount: Money
    """All of it: items, tax and tip."""
    location_id: str | None = None
    """None: the caller's only shop, else none."""
    customer_id: str | None = None
    tax_minor: int = 0
    tip_minor: int = 0
    items: tuple[Mapping[str, Any], ...] = ()
    """``{name, quantity, unit_minor, tax_rate, total_minor, item_id}`` each."""
    fields: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    note: str = ""
    receipt_email: str = ""
    capture_later: bool = False
    form_key: str | None = None
    """The same form, sent again, is the same payment."""
    confirm_duplicate: bool = False
    """The cashier was asked, and means it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Another attempt at a payment that is there."""

    payment_id: str
    replaces: str | None = None
    """The open attempt (a link, 3-D Secure) that is given up for it; its intent is cancelled first."""
    form_key: str | None = None
    """The same form, sent again, is the same attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeWish:
    """A charge by card token, saved method or bank debit; of a new ``Order``, or ``Again``."""

    order: Order | Again
    method: Literal["keyed", "saved", "bank_debit"]
    token: str | None = field(default=None, repr=False)
    """``ctoken_…`` of the processor's own fields; for keyed, and for a bank debit that is not saved."""
    saved_method_id: str | None = None
    """``smt_…``; for saved, and for a saved bank account."""
    bank_kind: Literal["us_bank_account", "sepa_debit"] | None = None
    """Of a bank debit by token."""
    moto: bool = False
    """A mail or telephone order: the payer is not there for 3-D Secure."""
    hint_brand: str | None = None
    hint_last4: str | None = None
    return_url: str | None = None
    """Where 3-D Secure leads back to."""
    mandate_offline: bool = False
    """The payer agreed to the debit by telephone or on paper."""
    save_for_later: bool = False
    """Keep the method with the customer of the order, who agreed."""
    consent_text: str = ""
    """The words that they agreed to; the usual ones when empty."""
    consent_how: ConsentHow | None = None
    """None: by telephone for a telephone order, else in person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkWish:
    """A link on which the payer pays by themselves."""

    order: Order | Again
    valid_for: timedelta = timedelta(days=3)
    send_to: str | None = None
    """An e-mail address, kept with the attempt; who sends it is another matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderWish:
    """A sale on one of our own agent-driven readers, as an attempt of a payment."""

    order: Order | Again
    reader_id: str
    card_timeout_s: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundWish:
    """Money to give back: all that is left, an amount, or lines of the order."""

    payment_id: str
    amount_minor: int | None = None
    """None: by ``lines`` when there are some, else all that is left."""
    lines: tuple[Mapping[str, int], ...] = ()
    """``{index, quantity}`` of the payment's items."""
    reader_id: str | None = None
    """The processor's reader on which the customer presents the card again, where that is needed (Interac)."""
    reason: RefundReason = RefundReason.REQUESTED_BY_CUSTOMER
    note: str = ""
    form_key: str | None = None
