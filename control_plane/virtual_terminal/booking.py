"""Rows of the ledger for what the processor says happened to money. Each stands there once, told once or often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from sqlalchemy import bindparam, select

from control_plane.db.unit_of_work import Transaction
from control_plane.transactions import ledger
from control_plane.transactions.models import TRANSACTIONS, Kind, Method, SaleChannel, Status
from control_plane.transactions.settlements import note_settlement
from control_plane.virtual_terminal.lifecycle import AttemptMethod
from control_plane.virtual_terminal.processor import (
    Decline,
    ProcessorCharge,
    ProcessorRefund,
    Settlement,
)
from protocols.ids import new_id
from protocols.money import Money

#: ``source`` of rows that the processor numbered.
SOURCE: Final = "stripe"
_ID_OF: Final = select(TRANSACTIONS.c.id).where(
    TRANSACTIONS.c.source == SOURCE,
    TRANSACTIONS.c.external_id == bindparam("number"),
    TRANSACTIONS.c.merchant_id == bindparam("merchant"),
)
_SALE: Final = select(TRANSACTIONS.c.method, TRANSACTIONS.c.channel).where(
    TRANSACTIONS.c.id == bindparam("sale")
)
_METHODS: Final = {
    "card": Method.CARD,
    "card_present": Method.CARD,
    "interac_present": Method.CARD,
    "us_bank_account": Method.ACH,
    "sepa_debit": Method.SEPA,
    "link": Method.LINK,
}
_CHANNELS: Final = {
    AttemptMethod.KEYED: SaleChannel.KEYED,
    AttemptMethod.SAVED: SaleChannel.KEYED,
    AttemptMethod.BANK_DEBIT: SaleChannel.KEYED,
    AttemptMethod.READER: SaleChannel.IN_PERSON,
    AttemptMethod.LINK: SaleChannel.LINK,
}
#: What a chip said, as schemes want it on the customer's paper: (name at the processor, name on paper).
_CHIP_LINES: Final = (
    ("application_cryptogram", "AC"),
    ("authorization_response_code", "ARC"),
    ("terminal_verification_results", "TVR"),
    ("transaction_status_information", "TSI"),
)
IN_PERSON: Final = frozenset({"card_present", "interac_present"})


def row_of(db: Transaction, merchant_id: str, number: str) -> str | None:
    """The ledger id of what the processor numbered so."""
    found = db.execute(_ID_OF, {"number": number, "merchant": merchant_id}).scalar()
    return None if found is None else str(found)


def book_sale(db: Transaction, payment: Any, attempt: Any, charge: ProcessorCharge) -> str | None:
    """The sale of a captured charge; its id, None when it was there."""
    instrument = charge.instrument
    return _append(
        db,
        payment,
        charge.id,
        Kind.SALE,
        Status.APPROVED,
        Money(charge.captured_minor or charge.amount.minor, charge.amount.currency),
        charge.created_at,
        settlement=charge.settlement,
        attempt=attempt,
        method=_METHODS.get(instrument.kind, Method.OTHER),
        channel=_channel(attempt, instrument.kind),
        card_brand=instrument.brand,
        card_last4=instrument.last4,
        entry_mode=instrument.entry_mode,
        authorization_code=charge.authorization_code,
        aid=instrument.emv.get("dedicated_file_name"),
        application_label=instrument.emv.get("application_preferred_name"),
        verification=instrument.emv.get("cardholder_verification_method"),
        receipt=_chip_lines(instrument.emv),
    )


def _chip_lines(emv: Mapping[str, str]) -> str | None:
    lines = [f"{label} {emv[name]}" for name, label in _CHIP_LINES if name in emv]
    return "\n".join(lines) or None


def book_decline(
    db: Transaction,
    payment: Any,
    attempt: Any,
    refusal: Decline,
    charge: ProcessorCharge | None,
    charge_id: str,
    at: datetime,
) -> bool:
    """A refused sale; False when it was there."""
    instrument = None if charge is None or charge.id != charge_id else charge.instrument
    kind = "card" if instrument is None else instrument.kind
    done = _append(
        db,
        payment,
        charge_id,
        Kind.SALE,
        Status.DECLINED,
        Money(payment.amount_minor, payment.currency),
        at if charge is None else charge.created_at,
        attempt=attempt,
        method=_METHODS.get(kind, Method.OTHER),
        channel=_channel(attempt, kind),
        card_brand=attempt.hint_brand if instrument is None else instrument.brand,
        card_last4=attempt.hint_last4 if instrument is None else instrument.last4,
        result_text=refusal.code[:200],
    )
    return done is not None


def book_refund(db: Transaction, payment: Any, refund: ProcessorRefund) -> str | None:
    """Money that went back; the id of its row, None when it was there."""
    return _append(
        db,
        payment,
        refund.id,
        Kind.REFUND,
        Status.APPROVED,
        refund.amount,
        refund.created_at,
        settlement=refund.settlement,
        **_as_the_sale(db, payment),
    )


def book_return(db: Transaction, payment: Any, refund: ProcessorRefund, at: datetime) -> bool:
    """A refund that came back after it had looked done."""
    done = _append(
        db,
        payment,
        f"{refund.id}:failed",
        Kind.ADJUSTMENT,
        Status.APPROVED,
        refund.amount,
        at,
        result_text=(refund.failure_reason or "failed")[:200],
        **_as_the_sale(db, payment),
    )
    return done is not None


def book_movement(
    db: Transaction,
    payment: Any,
    number: str,
    kind: Kind,
    amount: Money,
    at: datetime,
    settlement: Settlement | None = None,
) -> bool:
    """What a dispute took, gave back, or cost. The cost is a row of its own, so it is in no other."""
    if settlement is not None:
        settlement = replace(settlement, fee_minor=0)
    done = _append(
        db,
        payment,
        number,
        kind,
        Status.APPROVED,
        amount,
        at,
        settlement=settlement,
        **_as_the_sale(db, payment),
    )
    return done is not None


def book_settlement(
    db: Transaction, merchant_id: str, transaction_id: str, settlement: Settlement
) -> bool:
    """Fee and settled amount of a row that was written without them."""
    return note_settlement(
        db,
        merchant_id,
        transaction_id,
        amount_minor=abs(settlement.amount.minor),
        currency=settlement.amount.currency,
        rate=_rate(settlement.rate),
        fee_minor=settlement.fee_minor,
        available_on=settlement.available_on,
        source_id=settlement.id,
    )


def _append(
    db: Transaction,
    payment: Any,
    number: str,
    kind: Kind,
    status: Status,
    amount: Money,
    at: datetime,
    *,
    settlement: Settlement | None = None,
    attempt: Any = None,
    **columns: Any,
) -> str | None:
    row_id = new_id("tx")
    settled = {}
    if settlement is not None:
        settled = {
            "settlement_amount_minor": abs(settlement.amount.minor),
            "settlement_currency": settlement.amount.currency,
            "settlement_rate": _rate(settlement.rate),
            "fee_minor": settlement.fee_minor,
        }
    done = ledger.append(
        db,
        {
            "id": row_id,
            "merchant_id": payment.merchant_id,
            "location_id": payment.location_id,
            "reader_id": None if attempt is None else attempt.cloud_reader_id,
            "payment_id": payment.id,
            "cashier_id": payment.cashier_id,
            "customer_id": payment.customer_id,
            "kind": kind,
            "status": status,
            "amount_minor": amount.minor,
            "currency": amount.currency,
            "original_id": None if kind is Kind.SALE else payment.transaction_id,
            "source": SOURCE,
            "external_id": number,
            "reference": payment.reference or None,
            "note": payment.note or None,
            "occurred_at": at,
            **settled,
            **columns,
        },
    )
    return row_id if done else None


def _channel(attempt: Any, kind: str) -> SaleChannel:
    if kind in IN_PERSON:
        return SaleChannel.IN_PERSON
    if attempt.started_by == SOURCE:
        return SaleChannel.KEYED if attempt.moto else SaleChannel.ONLINE
    return _CHANNELS[attempt.method]


def _as_the_sale(db: Transaction, payment: Any) -> dict[str, Any]:
    sale = db.execute(_SALE, {"sale": payment.transaction_id}).one_or_none()
    kind = payment.method_kind or "card"
    return {
        "method": _METHODS.get(kind, Method.OTHER) if sale is None else sale.method,
        "channel": SaleChannel.ONLINE if sale is None else sale.channel,
        "card_brand": payment.card_brand,
        "card_last4": payment.card_last4,
    }


def _rate(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None
