"""Makes the receipt of a row of the ledger, or of a payment that has none yet; of every channel alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from control_plane.accounts import queries as accounts
from control_plane.customers import queries as customers
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotFound
from control_plane.receipts.document import Item, Original, Receipt, Standing, Tax
from control_plane.till import queries as till
from control_plane.transactions import queries as transactions
from control_plane.transactions.models import SETTLEMENTS, Kind, Status
from control_plane.transactions.queries import Found
from control_plane.virtual_terminal import queries as payments
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.views import PaymentView
from protocols.money import Money
from protocols.readers.emv import redact_card_numbers

_STANDINGS: Final = {Status.APPROVED: Standing.DONE, Status.PENDING: Standing.ON_ITS_WAY}
_PAYMENT_STANDINGS: Final = {
    PaymentState.PAID: Standing.DONE,
    PaymentState.AUTHORIZED: Standing.HELD,
    PaymentState.PROCESSING: Standing.ON_ITS_WAY,
}
_METHODS: Final = {
    "us_bank_account": "bank_debit_ach",
    "sepa_debit": "sepa_debit",
    "link": "link",
}


def receipt_of(db: Transaction, scope: Scope, thing_id: str) -> Receipt:
    """The receipt of ``tx_…`` or ``pay_…``. Raises NotFound for what the scope does not reach.

    A payment with a row in the ledger has that row's receipt.
    """
    if not thing_id.startswith("pay_"):
        return _of_row(db, scope, thing_id)
    payment = payments.payment(db, scope, thing_id)
    if payment.transaction_id is not None:
        return _of_row(db, scope, payment.transaction_id)
    return _of_payment(db, scope, payment)


def _of_row(db: Transaction, scope: Scope, row_id: str) -> Receipt:
    row = transactions.transaction(db, scope, row_id)
    if row is None:
        raise NotFound("transaction", row_id)
    total = Money(row.amount_minor, row.currency)
    payment = None
    if row.kind is Kind.SALE and row.payment_id is not None:
        payment = payments.payment(db, scope, row.payment_id)
    settled, rate = _settled(db, row)
    standing = _STANDINGS.get(row.status, Standing.NOT_TAKEN)
    return Receipt(
        id=row.id,
        at=row.occurred_at,
        kind=row.kind.value,
        standing=standing,
        total=total,
        given_back=_given_back(db, scope, row) if row.kind is Kind.SALE else None,
        original=_original(db, scope, row),
        method=row.method.value,
        channel=row.channel.value,
        card_brand=row.card_brand or "",
        card_last4=row.card_last4 or "",
        entry_mode=row.entry_mode or "",
        verification=row.verification or "",
        approval_code=row.authorization_code or "",
        application_label=row.application_label or "",
        aid=row.aid or "",
        terminal_id=row.terminal_id or "",
        receipt_number=row.receipt_number,
        reference=redact_card_numbers(row.reference or ""),
        settled=settled,
        settled_rate=rate,
        printed=tuple(redact_card_numbers(row.receipt or "").splitlines()),
        **_bought(db, payment, total),
        **_around(db, scope, row.location_id, row.cashier_id, row.customer_id),
    )


def _of_payment(db: Transaction, scope: Scope, payment: PaymentView) -> Receipt:
    held = payment.state is PaymentState.AUTHORIZED and payment.authorized_minor
    total = Money(payment.authorized_minor, payment.currency) if held else payment.amount
    return Receipt(
        id=payment.id,
        at=payment.state_since,
        kind="sale",
        standing=_PAYMENT_STANDINGS.get(payment.state, Standing.NOT_TAKEN),
        total=total,
        method=_METHODS.get(payment.method_kind or "", "card"),
        channel="keyed",
        card_brand=payment.card_brand or "",
        card_last4=payment.card_last4 or "",
        reference=payment.reference,
        **_bought(db, payment, total),
        **_around(db, scope, payment.location_id, payment.cashier_id, payment.customer_id),
    )


def _bought(db: Transaction, payment: PaymentView | None, total: Money) -> dict[str, Any]:
    """Items, taxes, tip and fields, as far as they tell of this amount."""
    if payment is None:
        return {}
    told: dict[str, Any] = {
        "fields": _fields(db, payment),
        "is_moto": payment.attempt is not None and payment.attempt.moto,
    }
    if payment.amount != total:
        # A partial capture, or a tip that the customer chose on the reader: the lines no longer add up to it.
        return told
    currency = payment.currency
    items = tuple(
        Item(
            name=str(one.get("name", "")),
            quantity=int(one.get("quantity", 1)),
            unit=Money(int(one.get("unit_minor", 0)), currency),
            total=Money(int(one.get("total_minor", 0)), currency),
        )
        for one in payment.items
    )
    return told | {
        "items": items,
        "taxes": _taxes(payment),
        "tip": Money(payment.tip_minor, currency) if payment.tip_minor else None,
    }


def _taxes(payment: PaymentView) -> tuple[Tax, ...]:
    """Of the items, by rate; of the payment in one when there are none."""
    sums: dict[tuple[str, Decimal], int] = {}
    for item in payment.items:
        if item.get("tax_rate") is not None and item.get("tax_minor") is not None:
            rate = (str(item.get("tax_name") or ""), Decimal(str(item["tax_rate"])))
            sums[rate] = sums.get(rate, 0) + int(item["tax_minor"])
    return tuple(
        Tax(name, percent, Money(minor, payment.currency))
        for (name, percent), minor in sums.items()
    )


def _fields(db: Transaction, payment: PaymentView) -> tuple[tuple[str, str, str], ...]:
    if not payment.fields:
        return ()
    known = {field.key: field for field in till.all_fields(db, payment.merchant_id)}
    return tuple(
        (known[key].label_en, known[key].label_fr, redact_card_numbers(value))
        for key, value in payment.fields.items()
        if key in known and value
    )


def _around(
    db: Transaction,
    scope: Scope,
    location_id: str | None,
    cashier_id: str | None,
    customer_id: str | None,
) -> dict[str, Any]:
    """Where it was, who took it, and who paid."""
    merchant = accounts.merchant(db, scope.merchant_id)
    place = accounts.location_of(db, scope, location_id) if location_id else None
    zone: tzinfo = ZoneInfo(place.time_zone) if place is not None else UTC
    customer = customers.customer(db, scope, customer_id) if customer_id else None
    names: Mapping[str, str] = (
        accounts.user_names(db, scope, {cashier_id}) if cashier_id is not None else {}
    )
    return {
        "merchant": merchant.name,
        "place": place.name if place is not None else "",
        "zone": zone,
        "cashier": names.get(cashier_id or "", ""),
        "customer": (customer.name or customer.company) if customer is not None else "",
        "customer_language": customer.language if customer is not None else None,
    }


def _given_back(db: Transaction, scope: Scope, row: Found) -> Money | None:
    """What went back of a sale so far; None for nothing."""
    minor = 0
    for other in transactions.belonging_to(db, scope, row):
        if other.status is not Status.APPROVED or other.currency != row.currency:
            continue
        if other.kind in (Kind.REFUND, Kind.REVERSAL):
            minor += other.amount_minor
        elif other.kind is Kind.ADJUSTMENT and other.external_id.startswith("re_"):
            # A refund that came back after it had looked done.
            minor -= other.amount_minor
    return Money(minor, row.currency) if minor > 0 else None


def _original(db: Transaction, scope: Scope, row: Found) -> Original | None:
    if row.original_id is None:
        return None
    sale = transactions.transaction(db, scope, row.original_id)
    if sale is None:
        return None
    return Original(id=sale.id, at=sale.occurred_at, amount=Money(sale.amount_minor, sale.currency))


def _settled(db: Transaction, row: Found) -> tuple[Money | None, Decimal | None]:
    """What reached the shop's account, as the processor told it then or later."""
    if row.settlement_amount_minor is not None:
        amount = Money(row.settlement_amount_minor, row.settlement_currency)
        return amount, row.settlement_rate
    later = db.execute(
        select(SETTLEMENTS).where(SETTLEMENTS.c.transaction_id == row.id)
    ).one_or_none()
    if later is None:
        return None, None
    return Money(later.settlement_amount_minor, later.settlement_currency), later.settlement_rate
