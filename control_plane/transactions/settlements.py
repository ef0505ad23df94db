"""Fees and settled amounts that the processor told after the row was written."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from control_plane.transactions.models import SETTLEMENTS


def note_settlement(
    db: Transaction,
    merchant_id: str,
    transaction_id: str,
    *,
    amount_minor: int,
    currency: str,
    rate: Decimal | None,
    fee_minor: int,
    available_on: datetime | None,
    source_id: str,
) -> bool:
    """Write down what reaches the account, as the processor gave it; False when that was done before.

    Only for a row without these figures: what stands in the row itself counts first.
    """
    return insert_new(
        db,
        SETTLEMENTS,
        {
            "transaction_id": transaction_id,
            "merchant_id": merchant_id,
            "settlement_amount_minor": amount_minor,
            "settlement_currency": currency,
            "settlement_rate": rate,
            "fee_minor": fee_minor,
            "available_on": available_on,
            "source_id": source_id,
            "noted_at": context_of(db).clock.now(),
        },
        unique=["transaction_id"],
    )
