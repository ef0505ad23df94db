"""Domain events: what others may want to know of payments that a processor takes."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.money import Money


@dataclass(frozen=True, slots=True)
class PaymentPaid:
    """The money is there."""

    payment_id: str
    merchant_id: str
    amount: Money
    """What was captured."""
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class PaymentDeclined:
    """One attempt was refused; the payment can be tried another way."""

    payment_id: str
    merchant_id: str
    attempt_id: str
    code: str


@dataclass(frozen=True, slots=True)
class PaymentUnknown:
    """It is not known whether money moved; it is being found out."""

    payment_id: str
    merchant_id: str
    attempt_id: str | None


@dataclass(frozen=True, slots=True)
class RefundSucceeded:
    """Money went back."""

    refund_id: str
    payment_id: str
    merchant_id: str
    amount: Money


@dataclass(frozen=True, slots=True)
class RefundFailed:
    """Money did not go back, perhaps after it had looked so."""

    refund_id: str
    payment_id: str
    merchant_id: str
    amount: Money
    reason: str


@dataclass(frozen=True, slots=True)
class DisputeOpened:
    """A cardholder's bank wants money back."""

    dispute_id: str
    payment_id: str | None
    merchant_id: str
    amount: Money
