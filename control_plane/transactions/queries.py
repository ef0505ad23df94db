"""Reads of the ledger: search, pages, totals, one row with what belongs to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, case, func, or_, select

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.transactions.found_by import folded, payments_with
from control_plane.transactions.ledger import READER
from control_plane.transactions.models import (
    SETTLEMENTS,
    TRANSACTIONS,
    Kind,
    Method,
    SaleChannel,
    Status,
)

Found: TypeAlias = Row[*tuple[Any, ...]]

_T: Final = TRANSACTIONS.c
#: Figures that may have come after the row.
_LATER: Final = frozenset(
    {"fee_minor", "settlement_amount_minor", "settlement_currency", "settlement_rate"}
)
_ROWS: Final = select(
    *(
        func.coalesce(column, SETTLEMENTS.c[column.name]).label(column.name)
        if column.name in _LATER
        else column
        for column in _T
    )
).select_from(
    TRANSACTIONS.outerjoin(SETTLEMENTS, SETTLEMENTS.c.transaction_id == _T.id),
)
#: What money goes back by.
_BACK: Final = (Kind.REFUND, Kind.REVERSAL, Kind.DISPUTE, Kind.FEE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFilter:
    """Which rows; None and empty leave a column alone. ``since`` is included, ``until`` is not."""

    text: str = ""
    """An id, code or number exactly; a part of reference or note; the beginning of a merchant's own field."""
    or_rows: Collection[str] = ()
    or_payments: Collection[str] = ()
    or_customers: Collection[str] = ()
    """What the text finds elsewhere, see ``virtual_terminal.search``; nothing without a text."""
    since: datetime | None = None
    until: datetime | None = None
    statuses: Collection[Status] = ()
    kinds: Collection[Kind] = ()
    channels: Collection[SaleChannel] = ()
    methods: Collection[Method] = ()
    reader_id: str | None = None
    location_id: str | None = None
    cashier_id: str | None = None
    device_id: str | None = None
    customer_id: str | None = None
    session_id: str | None = None
    payment_id: str | None = None
    currency: str | None = None
    amount_from: int | None = None
    """Minor units, included."""
    amount_to: int | None = None
    last4: str | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """Approved money of one currency: ``net_minor`` is what came in less what went back."""

    currency: str
    count: int
    net_minor: int


def transactions_of(scope: Scope, wanted: TransactionFilter) -> Select[*tuple[Any, ...]]:
    """Rows that a filter finds, with fees and settled amounts whenever they came; order by (occurred_at, id)."""
    return _ROWS.where(*_conditions(scope, wanted))


def transactions(
    db: Transaction,
    scope: Scope,
    wanted: TransactionFilter,
    *,
    before: tuple[datetime, str] | None = None,
    limit: int = 50,
) -> Sequence[Found]:
    """A page, newest first; ``before`` is the (occurred_at, id) of the last row seen."""
    statement = transactions_of(scope, wanted)
    if before is not None:
        at, row_id = before
        # The first condition alone lets the index start at the right place.
        statement = statement.where(_T.occurred_at <= at, or_(_T.occurred_at < at, _T.id < row_id))
    return db.execute(statement.order_by(_T.occurred_at.desc(), _T.id.desc()).limit(limit)).all()


def transaction(db: Transaction, scope: Scope, row_id: str) -> Found | None:
    """One row, if this scope may see it."""
    return db.execute(_ROWS.where(_T.id == row_id, *scope.conditions(TRANSACTIONS))).one_or_none()


def belonging_to(db: Transaction, scope: Scope, row: Found) -> Sequence[Found]:
    """The sale of a refund or reversal, or all that came after a sale: oldest first, without ``row`` itself."""
    sale_id = row.original_id or row.id
    return db.execute(
        _ROWS.where(
            or_(_T.id == sale_id, _T.original_id == sale_id),
            _T.id != row.id,
            *scope.conditions(TRANSACTIONS),
        )
        .order_by(_T.occurred_at, _T.id)
        .limit(100)
    ).all()


def of_session(db: Transaction, scope: Scope, session_id: str) -> Found | None:
    """The ledger row of a tap session."""
    return db.execute(
        _ROWS.where(
            _T.source == "reader", _T.external_id == session_id, *scope.conditions(TRANSACTIONS)
        )
    ).one_or_none()


def totals(db: Transaction, scope: Scope, wanted: TransactionFilter) -> list[Total]:
    """Approved money that a filter finds, for each currency."""
    net = case((_T.kind.in_(_BACK), -_T.amount_minor), else_=_T.amount_minor)
    rows = db.execute(
        select(_T.currency, func.count(), func.sum(net))
        .where(*_conditions(scope, wanted), _T.status == Status.APPROVED)
        .group_by(_T.currency)
        .order_by(_T.currency)
    )
    return [Total(currency, count, int(net_minor)) for currency, count, net_minor in rows]


def count_by_status(db: Transaction, scope: Scope, wanted: TransactionFilter) -> dict[Status, int]:
    """How many rows of each status a filter finds."""
    rows = db.execute(
        select(_T.status, func.count()).where(*_conditions(scope, wanted)).group_by(_T.status)
    )
    return {status: count for status, count in rows}  # noqa: C416 - rows are no pairs to mypy


def charged_by(
    db: Transaction, merchant_id: str, cashier_id: str, currency: str, since: datetime
) -> int:
    """Minor units of approved sales that a cashier brought in since then, other than on readers of ours."""
    statement = select(func.coalesce(func.sum(_T.amount_minor), 0)).where(
        _T.merchant_id == merchant_id,
        _T.cashier_id == cashier_id,
        _T.currency == currency,
        _T.occurred_at >= since,
        _T.kind == Kind.SALE,
        _T.status == Status.APPROVED,
        _T.source != READER,
    )
    return int(db.execute(statement).scalar_one())


def moments_of(db: Transaction, scope: Scope, wanted: TransactionFilter) -> list[datetime]:
    """When what a filter finds happened, for a picture of a day."""
    return list(db.execute(select(_T.occurred_at).where(*_conditions(scope, wanted))).scalars())


def _conditions(scope: Scope, wanted: TransactionFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = list(scope.conditions(TRANSACTIONS))
    if wanted.text:
        conditions.append(_found_in_text(scope, wanted))
    if wanted.since is not None:
        conditions.append(_T.occurred_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_T.occurred_at < wanted.until)
    if wanted.amount_from is not None:
        conditions.append(_T.amount_minor >= wanted.amount_from)
    if wanted.amount_to is not None:
        conditions.append(_T.amount_minor <= wanted.amount_to)
    for column, values in (
        (_T.status, wanted.statuses),
        (_T.kind, wanted.kinds),
        (_T.channel, wanted.channels),
        (_T.method, wanted.methods),
    ):
        if values:
            conditions.append(column.in_(sorted(values)))
    for column, value in (
        (_T.reader_id, wanted.reader_id),
        (_T.location_id, wanted.location_id),
        (_T.cashier_id, wanted.cashier_id),
        (_T.device_id, wanted.device_id),
        (_T.customer_id, wanted.customer_id),
        (_T.session_id, wanted.session_id),
        (_T.payment_id, wanted.payment_id),
        (_T.currency, wanted.currency),
        (_T.card_last4, wanted.last4),
    ):
        if value is not None:
            conditions.append(column == value)
    return conditions


def _found_in_text(scope: Scope, wanted: TransactionFilter) -> ColumnElement[bool]:
    """Ids, codes and numbers exactly, words of the shop anywhere, own fields by their beginning."""
    text = wanted.text.strip()
    exact = (
        _T.id, _T.session_id, _T.payment_id, _T.external_id, _T.reader_id, _T.authorization_code,
        _T.terminal_id, _T.card_last4,
    )  # fmt: skip
    alternatives = [column == text for column in exact]
    alternatives += [column.icontains(text, autoescape=True) for column in (_T.reference, _T.note)]
    if text.isdecimal() and len(text) < 16:
        alternatives += [_T.receipt_number == int(text), _T.trace_number == int(text)]
    if folded(text):
        alternatives.append(_T.payment_id.in_(payments_with(scope.merchant_id, text)))
    for column, ids in (
        (_T.id, wanted.or_rows),
        (_T.payment_id, wanted.or_payments),
        (_T.customer_id, wanted.or_customers),
    ):
        if ids:
            alternatives.append(column.in_(sorted(ids)))
    return or_(*alternatives)
