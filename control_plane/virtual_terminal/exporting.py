"""The ledger as CSV, of any size: read in batches, each in a transaction of its own, newest first.

Amounts are in whole units with a point, times in UTC, and each of the merchant's own fields has a column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any, Final

from sqlalchemy import or_, select

from control_plane.accounts.queries import LOCATIONS, user_names
from control_plane.customers.queries import names as customer_names
from control_plane.db.engine import Database
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.till.queries import all_fields
from control_plane.transactions import queries as ledger
from control_plane.transactions.queries import Found, TransactionFilter
from control_plane.virtual_terminal.models import PAYMENTS
from control_plane.virtual_terminal.search import widened
from protocols.money import Money

_BATCH: Final = 500
#: A spreadsheet runs a cell that begins with one of these.
_RUNS: Final = ("=", "+", "-", "@", "\t", "\r")
_COLUMNS: Final = (
    "id", "occurred_at", "kind", "status", "channel", "method", "amount", "currency", "fee",
    "settled_amount", "settled_currency", "exchange_rate", "shop", "cashier", "customer", "reader_id",
    "card_brand", "card_last4", "approval_code", "reference", "note", "original_id", "payment_id",
    "source", "external_id",
)  # fmt: skip


def csv_of(database: Database, scope: Scope, wanted: TransactionFilter) -> Iterator[str]:
    """The rows that a filter finds, as pieces of a CSV file."""
    with database.reading() as db:
        wanted = widened(db, scope, wanted)
        keys = [one.key for one in all_fields(db, scope.merchant_id)]
    yield "\ufeff" + _lines([[*_COLUMNS, *(f"field:{key}" for key in keys)]])
    before = None
    while True:
        with database.reading() as db:
            rows = ledger.transactions(db, scope, wanted, before=before, limit=_BATCH)
            text = _lines(_shown(db, scope, rows, keys))
        if rows:
            yield text
        if len(rows) < _BATCH:
            return
        before = rows[-1].occurred_at, rows[-1].id


def _shown(
    db: Transaction, scope: Scope, rows: Sequence[Found], keys: Sequence[str]
) -> list[list[str]]:
    customers = customer_names(db, scope, {row.customer_id for row in rows if row.customer_id})
    people = user_names(db, scope, {row.cashier_id for row in rows if row.cashier_id})
    shops = {
        row.id: row.name
        for row in db.execute(
            select(LOCATIONS.c.id, LOCATIONS.c.name).where(
                LOCATIONS.c.merchant_id == scope.merchant_id
            )
        )
    }
    fields = _fields_of(db, scope, rows)
    return [
        [
            row.id, row.occurred_at.astimezone(UTC).isoformat(timespec="seconds"), row.kind.value,
            row.status.value, row.channel.value, row.method.value, _amount(row.amount_minor, row.currency),
            row.currency, _amount(row.fee_minor, row.settlement_currency or row.currency),
            _amount(row.settlement_amount_minor, row.settlement_currency or row.currency),
            row.settlement_currency or "",
            "" if row.settlement_rate is None else f"{row.settlement_rate.normalize():f}",
            _text(shops.get(row.location_id)), _text(people.get(row.cashier_id)),
            _text(customers.get(row.customer_id)), row.reader_id or "", row.card_brand or "",
            row.card_last4 or "", row.authorization_code or "", _text(row.reference), _text(row.note),
            row.original_id or "", row.payment_id or "", row.source, row.external_id,
            *(_text(fields.get(row.payment_id or row.id, {}).get(key)) for key in keys),
        ]
        for row in rows
    ]  # fmt: skip


def _fields_of(db: Transaction, scope: Scope, rows: Sequence[Found]) -> dict[str, dict[str, Any]]:
    """Own fields by payment, and by the row of a sale on a reader of ours, which has no payment in it."""
    of_payments = sorted({row.payment_id for row in rows if row.payment_id})
    of_rows = sorted(row.id for row in rows if not row.payment_id)
    found = db.execute(
        select(PAYMENTS.c.id, PAYMENTS.c.transaction_id, PAYMENTS.c.fields).where(
            *scope.conditions(PAYMENTS),
            or_(PAYMENTS.c.id.in_(of_payments), PAYMENTS.c.transaction_id.in_(of_rows)),
        )
    )
    fields: dict[str, dict[str, Any]] = {}
    for row in found:
        fields[row.id] = row.fields
        if row.transaction_id:
            fields[row.transaction_id] = row.fields
    return fields


def _amount(minor: int | None, currency: str) -> str:
    return "" if minor is None else f"{Money(minor, currency).decimal():f}"


def _text(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_RUNS) else text


def _lines(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
