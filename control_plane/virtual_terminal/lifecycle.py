"""What a payment, one attempt at it, and a refund can be in."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class PaymentState(StrEnum):
    """Where an order's money stands."""

    OPEN = "open"
    """Nothing is charged; it can be tried."""
    IN_PROGRESS = "in_progress"
    """An attempt is running."""
    REQUIRES_ACTION = "requires_action"
    """The payer must do something: 3-D Secure, micro-deposits."""
    PROCESSING = "processing"
    """A bank debit is on its way; that takes days."""
    AUTHORIZED = "authorized"
    """The money is held and waits for its capture."""
    PAID = "paid"
    UNKNOWN = "unknown"
    """The processor's answer was lost. Reading it again settles it; until then nothing may be tried."""
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether no attempt can follow."""
        return self in {PaymentState.PAID, PaymentState.CANCELED}

    @property
    def can_be_tried(self) -> bool:
        """Whether another attempt may begin."""
        return self is PaymentState.OPEN


class AttemptState(StrEnum):
    """Where one try stands."""

    CREATED = "created"
    """Written down; the processor was not asked yet."""
    SENT = "sent"
    """The processor or its reader has it."""
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    AUTHORIZED = "authorized"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    FAILED = "failed"
    """It could not be tried: a reader was offline, a parameter was refused. No money moved."""
    CANCELED = "canceled"
    UNKNOWN = "unknown"

    @property
    def is_open(self) -> bool:
        """Whether its outcome is still to come."""
        return self in OPEN_ATTEMPTS


OPEN_ATTEMPTS: Final = frozenset(
    {
        AttemptState.CREATED,
        AttemptState.SENT,
        AttemptState.REQUIRES_ACTION,
        AttemptState.PROCESSING,
        AttemptState.UNKNOWN,
    }
)


class AttemptMethod(StrEnum):
    """How the money is asked for."""

    READER = "reader"
    KEYED = "keyed"
    SAVED = "saved"
    BANK_DEBIT = "bank_debit"
    LINK = "link"


class RefundState(StrEnum):
    """Where a refund stands."""

    AWAITING_APPROVAL = "awaiting_approval"
    REJECTED = "rejected"
    CREATED = "created"
    """Written down; the processor was not asked yet."""
    AT_READER = "at_reader"
    """A reader has it, and waits for the customer's card."""
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"

    @property
    def holds_money(self) -> bool:
        """Whether its amount counts as given back, or may still become so."""
        return self not in {RefundState.REJECTED, RefundState.FAILED, RefundState.CANCELED}

    @property
    def holds_reader(self) -> bool:
        """Whether the reader that it was given, if any, is not free for anything else."""
        return self in {RefundState.CREATED, RefundState.AT_READER, RefundState.UNKNOWN}


class RefundReason(StrEnum):
    """Stripe's words, and one of ours."""

    REQUESTED_BY_CUSTOMER = "requested_by_customer"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    OTHER = "other"
