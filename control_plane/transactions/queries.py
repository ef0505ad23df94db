"""Every SELECT on the ledger for people: search, one row, totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, case, func, or_, select

from control_plane.accounts.queries import LOCATIONS, USERS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import READERS
from control_plane.transactions.models import TRANSACTIONS, Kind, Method, SaleChannel, Status
from protocols.money import Money

#: A row whose columns the query names.
Found: TypeAlias = Row[*tuple[Any, ...]]

#: Kinds that give money back.
OUTGOING: Final = frozenset({Kind.REFUND, Kind.REVERSAL, Kind.DISPUTE, Kind.FEE})
#: All columns of the ledger, and the names that its ids stand for.
_NAMED: Final[Select[*tuple[Any, ...]]] = (
    select(
        *TRANSACTIONS.c,
        READERS.c.name.label("reader_name"),
        LOCATIONS.c.name.label("location_name"),
        USERS.c.name.label("cashier_name"),
    )
    .join_from(TRANSACTIONS, READERS, READERS.c.id == TRANSACTIONS.c.reader_id, isouter=True)
    .outerjoin(LOCATIONS, LOCATIONS.c.id == TRANSACTIONS.c.location_id)
    .outerjoin(USERS, USERS.c.id == TRANSACTIONS.c.cashier_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFilter:
    """Which rows; None and empty leave a column alone. ``until`` is not included."""

    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    status: Status | None = None
    kind: Kind | None = None
    channel: SaleChannel | None = None
    method: Method | None = None
    location_id: str | None = None
    reader_id: str | None = None
    cashier_id: str | None = None
    device_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    last4: str | None = None
    currency: str | None = None
    amount: Money | None = None
    amount_from: int | None = None
    """Minor units, included; so is ``amount_to``."""
    amount_to: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one currency: how many attempts and approved sales, and what came in and went out, in minor units."""

    currency: str
    attempts: int
    approved: int
    incoming_minor: int
    outgoing_minor: int

    @property
    def incoming(self) -> Money:
        """Approved sales."""
        return Money(self.incoming_minor, self.currency)

    @property
    def outgoing(self) -> Money:
        """Approved refunds, reversals, disputes and fees."""
        return Money(self.outgoing_minor, self.currency)

    @property
    def net(self) -> Money:
        """What is left."""
        return self.incoming - self.outgoing


def transactions_of(scope: Scope, wanted: TransactionFilter) -> Select[*tuple[Any, ...]]:
    """Rows with the names of their reader, location and cashier. Page them by (occurred_at, id)."""
    return _NAMED.where(*_conditions(scope, wanted))


def transaction(db: Transaction, scope: Scope, transaction_id: str) -> Found | None:
    """One row, if this scope may see it."""
    return db.execute(
        _NAMED.where(TRANSACTIONS.c.id == transaction_id, *scope.conditions(TRANSACTIONS))
    ).one_or_none()


def linked(db: Transaction, scope: Scope, transaction_id: str) -> Sequence[Found]:
    """Refunds, reversals, disputes and fees of a sale, oldest first."""
    return db.execute(
        _NAMED.where(
            TRANSACTIONS.c.original_id == transaction_id, *scope.conditions(TRANSACTIONS)
        ).order_by(TRANSACTIONS.c.occurred_at, TRANSACTIONS.c.id)
    ).all()


def totals(db: Transaction, scope: Scope, wanted: TransactionFilter) -> list[Totals]:
    """What a filter finds, by currency; the one with most attempts first."""
    amount = TRANSACTIONS.c.amount_minor
    is_approved = TRANSACTIONS.c.status == Status.APPROVED
    is_outgoing = TRANSACTIONS.c.kind.in_(sorted(OUTGOING))
    rows = db.execute(
        select(
            TRANSACTIONS.c.currency,
            func.count().label("attempts"),
            func.sum(case((is_approved & ~is_outgoing, 1), else_=0)).label("approved"),
            func.sum(case((is_approved & ~is_outgoing, amount), else_=0)).label("incoming"),
            func.sum(case((is_approved & is_outgoing, amount), else_=0)).label("outgoing"),
        )
        .where(*_conditions(scope, wanted))
        .group_by(TRANSACTIONS.c.currency)
        .order_by(func.count().desc(), TRANSACTIONS.c.currency)
    ).all()
    return [
        Totals(row.currency, row.attempts, int(row.approved), int(row.incoming), int(row.outgoing))
        for row in rows
    ]


def moments_of_sales(
    db: Transaction, scope: Scope, since: datetime, until: datetime
) -> list[datetime]:
    """When the approved sales of a span were made, for a picture of the day."""
    return list(
        db.execute(
            select(TRANSACTIONS.c.occurred_at).where(
                *scope.conditions(TRANSACTIONS),
                TRANSACTIONS.c.occurred_at >= since,
                TRANSACTIONS.c.occurred_at < until,
                TRANSACTIONS.c.status == Status.APPROVED,
                TRANSACTIONS.c.kind == Kind.SALE,
            )
        ).scalars()
    )


def _conditions(scope: Scope, wanted: TransactionFilter) -> list[ColumnElement[bool]]:
    table = TRANSACTIONS.c
    conditions = scope.conditions(TRANSACTIONS)
    if wanted.text:
        conditions.append(_matches(wanted.text))
    if wanted.since is not None:
        conditions.append(table.occurred_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.occurred_at < wanted.until)
    if wanted.amount is not None:
        conditions += [
            table.amount_minor == wanted.amount.minor,
            table.currency == wanted.amount.currency,
        ]
    if wanted.amount_from is not None:
        conditions.append(table.amount_minor >= wanted.amount_from)
    if wanted.amount_to is not None:
        conditions.append(table.amount_minor <= wanted.amount_to)
    for column, value in (
        (table.status, wanted.status),
        (table.kind, wanted.kind),
        (table.channel, wanted.channel),
        (table.method, wanted.method),
        (table.location_id, wanted.location_id),
        (table.reader_id, wanted.reader_id),
        (table.cashier_id, wanted.cashier_id),
        (table.device_id, wanted.device_id),
        (table.customer_id, wanted.customer_id),
        (table.session_id, wanted.session_id),
        (table.card_last4, wanted.last4),
        (table.currency, wanted.currency),
    ):
        if value is not None:
            conditions.append(column == value)
    return conditions


def _matches(text: str) -> ColumnElement[bool]:
    """An id, the last four digits, an approval, terminal, receipt or trace number, or a part of the order number or note."""
    table = TRANSACTIONS.c
    exact = (
        table.id, table.session_id, table.reader_id, table.card_last4, table.authorization_code,
        table.terminal_id, table.external_id,
    )  # fmt: skip
    within = (table.reference, table.note)
    numbers = (table.receipt_number, table.trace_number)
    return or_(
        *(column == text for column in exact),
        *(column.icontains(text, autoescape=True) for column in within),
        *(column == int(text) for column in numbers if text.isdecimal() and len(text) < 16),
    )
