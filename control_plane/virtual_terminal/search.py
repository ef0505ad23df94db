"""One search over the ledger and what belongs to it: payments and customers that a text finds widen a filter."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sqlalchemy import select

from control_plane.customers.queries import CustomerFilter, customers_of
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.transactions.found_by import payments_with
from control_plane.transactions.queries import TransactionFilter
from control_plane.virtual_terminal.models import PAYMENTS

#: More than these are no search any more.
_MOST: Final = 200
#: Shorter texts find half of all customers.
_SHORTEST: Final = 2


def widened(db: Transaction, scope: Scope, wanted: TransactionFilter) -> TransactionFilter:
    """A filter that also finds rows by the processor's number of their payment, and by their customer.

    A text of four digits is a card's end, an amount or an order; it names no customer.
    """
    text = wanted.text.strip()
    if len(text) < _SHORTEST:
        return wanted
    payments: tuple[str, ...] = ()
    if text.startswith("pi_"):
        of_intent = select(PAYMENTS.c.id).where(
            PAYMENTS.c.processor_id == text, *scope.conditions(PAYMENTS)
        )
        payments = tuple(db.execute(of_intent).scalars())
    # A sale on a reader of ours has no payment in its row, only the other way round.
    on_readers = select(PAYMENTS.c.transaction_id).where(
        PAYMENTS.c.id.in_(payments_with(scope.merchant_id, text)),
        PAYMENTS.c.processor_id.is_(None),
        PAYMENTS.c.transaction_id.is_not(None),
        *scope.conditions(PAYMENTS),
    )
    rows = tuple(db.execute(on_readers.limit(_MOST)).scalars())
    customers: tuple[str, ...] = ()
    if not text.isdecimal():
        found = customers_of(scope, CustomerFilter(text=text, with_archived=True)).limit(_MOST)
        customers = tuple(row.id for row in db.execute(found))
    return replace(wanted, or_rows=rows, or_payments=payments, or_customers=customers)
