"""A receipt goes to the address that was given with a payment, as soon as it is paid."""

from __future__ import annotations

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.outbox import owe
from control_plane.parts import Parts
from control_plane.virtual_terminal import queries as payments
from control_plane.virtual_terminal.events import PaymentPaid


def wire(parts: Parts) -> None:
    """Listen for payments."""
    parts.handlers.on(PaymentPaid, _promise)


def _promise(db: Transaction, event: PaymentPaid) -> None:
    """Only the promise: the receipt is drawn later, by a job, which the payment does not wait for."""
    payment = payments.payment(db, Scope(event.merchant_id), event.payment_id)
    if payment.receipt_email:
        owe(
            db,
            "receipts.send_promised",
            {"payment_id": event.payment_id, "email": payment.receipt_email},
            merchant_id=event.merchant_id,
            dedupe_key=f"receipt {event.payment_id}",
        )
