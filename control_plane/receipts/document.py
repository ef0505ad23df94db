"""A receipt as a neutral value: what was paid, with what, to whom; in no language and no form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from enum import StrEnum

from protocols.money import Money


class Standing(StrEnum):
    """How far the money is."""

    DONE = "done"
    HELD = "held"
    """Authorised, and captured later."""
    ON_ITS_WAY = "on_its_way"
    """A bank debit that takes days."""
    NOT_TAKEN = "not_taken"
    """Declined or cancelled: a slip that nothing was charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A line of what was bought."""

    name: str
    quantity: int
    unit: Money
    total: Money


@dataclass(frozen=True, slots=True)
class Tax:
    """What of the total is tax of one rate."""

    name: str
    percent: Decimal
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The sale that money is given back of."""

    id: str
    at: datetime
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One sale, refund or reversal."""

    id: str
    """``tx_…``, or ``pay_…`` while there is no row in the ledger."""
    merchant: str
    place: str
    at: datetime
    zone: tzinfo
    kind: str
    """sale, refund, reversal, …"""
    standing: Standing
    total: Money
    items: tuple[Item, ...] = ()
    taxes: tuple[Tax, ...] = ()
    tip: Money | None = None
    given_back: Money | None = None
    """Of a sale, so far."""
    original: Original | None = None
    method: str = "card"
    """card, bank_debit_ach, sepa_debit, link, cash, other."""
    channel: str = "in_person"
    card_brand: str = ""
    card_last4: str = ""
    entry_mode: str = ""
    verification: str = ""
    """How the holder was checked: pin, signature, none, …"""
    approval_code: str = ""
    application_label: str = ""
    aid: str = ""
    terminal_id: str = ""
    receipt_number: int | None = None
    is_moto: bool = False
    reference: str = ""
    fields: tuple[tuple[str, str, str], ...] = ()
    """The merchant's own: (English label, French label, value)."""
    cashier: str = ""
    customer: str = ""
    customer_language: str | None = None
    settled: Money | None = None
    settled_rate: Decimal | None = None
    printed: tuple[str, ...] = ()
    """What the reader printed for the customer; with what its scheme wants on paper."""
