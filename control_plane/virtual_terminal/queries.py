"""Every SELECT on payments, attempts, moments, refunds and disputes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, bindparam, func, or_, select

from control_plane.customers.models import CUSTOMERS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotFound
from control_plane.virtual_terminal.ladder import Offer, offers_of
from control_plane.virtual_terminal.lifecycle import OPEN_ATTEMPTS, PaymentState, RefundState
from control_plane.virtual_terminal.models import (
    ACCOUNTS,
    ATTEMPTS,
    DISPUTES,
    MOMENTS,
    PAYMENTS,
    REFUNDS,
)
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import (
    ActionView,
    AttemptView,
    DisputeView,
    MomentView,
    PaymentView,
    RefundView,
)

#: A row whose columns the query names.
Found: TypeAlias = Row[*tuple[Any, ...]]

#: Money is held, on its way, or waits for somebody.
UNDECIDED: Final = sorted(
    set(PaymentState) - {PaymentState.OPEN, PaymentState.PAID, PaymentState.CANCELED}
)
_NOT_COLUMNS: Final = frozenset({"attempt", "offers", "action", "customer_name"})
_PAYMENT_NAMES: Final = [one.name for one in fields(PaymentView) if one.name not in _NOT_COLUMNS]
_ATTEMPT_NAMES: Final = [one.name for one in fields(AttemptView)]
_CUSTOMER_NAME: Final = func.coalesce(
    func.nullif(CUSTOMERS.c.name, ""), CUSTOMERS.c.company, ""
).label("customer_name")
_PAYMENT_VIEWS: Final = select(
    *(PAYMENTS.c[name] for name in _PAYMENT_NAMES), _CUSTOMER_NAME
).select_from(PAYMENTS.outerjoin(CUSTOMERS, CUSTOMERS.c.id == PAYMENTS.c.customer_id))
_ATTEMPT_VIEWS: Final = select(*(ATTEMPTS.c[name] for name in _ATTEMPT_NAMES))
_MOMENT_VIEWS: Final = select(*(MOMENTS.c[one.name] for one in fields(MomentView)))
_REFUND_VIEWS: Final = select(*(REFUNDS.c[one.name] for one in fields(RefundView)))
_DISPUTE_VIEWS: Final = select(*(DISPUTES.c[one.name] for one in fields(DisputeView)))
# Prepared, because putting a statement together costs as much as running it.
_PAYMENT: Final = _PAYMENT_VIEWS.where(
    PAYMENTS.c.id == bindparam("payment"), PAYMENTS.c.merchant_id == bindparam("merchant")
)
_ATTEMPTS: Final = _ATTEMPT_VIEWS.where(
    ATTEMPTS.c.payment_id == bindparam("payment"), ATTEMPTS.c.merchant_id == bindparam("merchant")
)
_LAST_ATTEMPT: Final = _ATTEMPTS.order_by(ATTEMPTS.c.number.desc()).limit(1)
_MOTO: Final = select(ACCOUNTS.c.moto_enabled).where(
    ACCOUNTS.c.merchant_id == bindparam("merchant")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFilter:
    """Which payments; None and empty leave a side alone."""

    text: str = ""
    """An id of ours or the processor's or the last four digits exactly; reference and note anywhere."""
    states: Collection[PaymentState] = ()
    customer_id: str | None = None
    cashier_id: str | None = None
    location_id: str | None = None
    currency: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def payment(
    db: Transaction, scope: Scope, payment_id: str, *, action: ActionView | None = None
) -> PaymentView:
    """One payment with its last attempt and what may follow. Raises NotFound outside of the scope."""
    found = db.execute(
        _PAYMENT, {"payment": payment_id, "merchant": scope.merchant_id}
    ).one_or_none()
    if found is None or not scope.covers(found.location_id):
        raise NotFound("payment", payment_id)
    last = db.execute(
        _LAST_ATTEMPT, {"payment": payment_id, "merchant": scope.merchant_id}
    ).one_or_none()
    attempt = None if last is None else attempt_view(last)
    offers: tuple[Offer, ...] = ()
    if found.state is PaymentState.OPEN:
        moto = db.execute(_MOTO, {"merchant": scope.merchant_id}).scalar()
        offers = offers_of(found.state, attempt, moto_enabled=moto)
    return PaymentView(**found._mapping, attempt=attempt, offers=offers, action=action)  # noqa: SLF001 - its public name


def payments_of(scope: Scope, wanted: PaymentFilter | None = None) -> Select[*tuple[Any, ...]]:
    """Rows for ``payment_view``; the id puts them in the order of their beginning."""
    return _PAYMENT_VIEWS.where(*_conditions(scope, wanted or PaymentFilter()))


def recent(
    db: Transaction,
    scope: Scope,
    *,
    limit: int = 20,
    cashier_id: str | None = None,
    customer_id: str | None = None,
    states: Collection[PaymentState] = (),
) -> list[PaymentView]:
    """The newest, without their attempts."""
    wanted = PaymentFilter(cashier_id=cashier_id, customer_id=customer_id, states=states)
    rows = db.execute(payments_of(scope, wanted).order_by(PAYMENTS.c.id.desc()).limit(limit))
    return [payment_view(row) for row in rows]


def attempts(db: Transaction, scope: Scope, payment_id: str) -> list[AttemptView]:
    """All of a payment, the first first. The payment itself must have been looked up before."""
    rows = db.execute(
        _ATTEMPTS.order_by(ATTEMPTS.c.number),
        {"payment": payment_id, "merchant": scope.merchant_id},
    )
    return [attempt_view(row) for row in rows]


def moments(db: Transaction, scope: Scope, payment_id: str, *, after: int = 0) -> list[MomentView]:
    """The timeline from the first line after ``after``. The payment itself must have been looked up before."""
    rows = db.execute(
        _MOMENT_VIEWS.where(
            MOMENTS.c.payment_id == payment_id,
            MOMENTS.c.merchant_id == scope.merchant_id,
            MOMENTS.c.id > after,
        ).order_by(MOMENTS.c.id)
    )
    return [
        MomentView(**{**row._mapping, "kind": MomentKind.of(row.kind)})  # noqa: SLF001
        for row in rows
    ]


def refund(db: Transaction, scope: Scope, refund_id: str) -> RefundView:
    """Raises NotFound outside of the scope."""
    found = db.execute(refunds(scope).where(REFUNDS.c.id == refund_id)).one_or_none()
    if found is None:
        raise NotFound("refund", refund_id)
    return refund_view(found)


def refunds(
    scope: Scope, *, payment_id: str | None = None, states: Collection[RefundState] = ()
) -> Select[*tuple[Any, ...]]:
    """Rows for ``refund_view``; the id puts them in the order of their beginning."""
    wanted: list[ColumnElement[bool]] = scope.conditions(REFUNDS)
    if payment_id:
        wanted.append(REFUNDS.c.payment_id == payment_id)
    if states:
        wanted.append(REFUNDS.c.state.in_(sorted(states)))
    return _REFUND_VIEWS.where(*wanted)


def refunds_of(db: Transaction, scope: Scope, payment_id: str) -> list[RefundView]:
    """Of one payment, the first first."""
    rows = db.execute(refunds(scope, payment_id=payment_id).order_by(REFUNDS.c.id))
    return [refund_view(row) for row in rows]


def waiting_for_approval(db: Transaction, scope: Scope, *, limit: int = 100) -> list[RefundView]:
    """Refunds that somebody has to decide, the oldest first."""
    wanted = refunds(scope, states=[RefundState.AWAITING_APPROVAL])
    return [refund_view(row) for row in db.execute(wanted.order_by(REFUNDS.c.id).limit(limit))]


def count_waiting(db: Transaction, scope: Scope) -> int:
    """How many refunds somebody has to decide."""
    waiting = (*scope.conditions(REFUNDS), REFUNDS.c.state == RefundState.AWAITING_APPROVAL)
    return db.execute(select(func.count()).select_from(REFUNDS).where(*waiting)).scalar_one()


def count_by_state(db: Transaction, scope: Scope) -> dict[PaymentState, int]:
    """How many payments are in each state in which their money is not decided."""
    rows = db.execute(
        select(PAYMENTS.c.state, func.count())
        .where(*scope.conditions(PAYMENTS), PAYMENTS.c.state.in_(UNDECIDED))
        .group_by(PAYMENTS.c.state)
    )
    return {state: count for state, count in rows}  # noqa: C416 - rows are no pairs to mypy


def disputes_of(
    scope: Scope, *, payment_id: str | None = None, statuses: Collection[str] = ()
) -> Select[*tuple[Any, ...]]:
    """Rows for ``dispute_view``; the id puts them in the order in which we heard of them."""
    wanted: list[ColumnElement[bool]] = scope.conditions(DISPUTES)
    if payment_id:
        wanted.append(DISPUTES.c.payment_id == payment_id)
    if statuses:
        wanted.append(DISPUTES.c.status.in_(sorted(statuses)))
    return _DISPUTE_VIEWS.where(*wanted)


def disputes(
    db: Transaction, scope: Scope, *, payment_id: str | None = None, limit: int = 100
) -> list[DisputeView]:
    """The newest first."""
    wanted = disputes_of(scope, payment_id=payment_id)
    rows = db.execute(wanted.order_by(DISPUTES.c.id.desc()).limit(limit))
    return [dispute_view(row) for row in rows]


def dispute(db: Transaction, scope: Scope, dispute_id: str) -> DisputeView:
    """Raises NotFound outside of the scope."""
    found = db.execute(disputes_of(scope).where(DISPUTES.c.id == dispute_id)).one_or_none()
    if found is None:
        raise NotFound("dispute", dispute_id)
    return dispute_view(found)


def payment_view(row: Found) -> PaymentView:
    """A row of ``payments_of``, without attempt and offers."""
    return PaymentView(**row._mapping)  # noqa: SLF001 - Row's public name for a mapping


def attempt_view(row: Found) -> AttemptView:
    """A row of attempts."""
    return AttemptView(**{name: getattr(row, name) for name in _ATTEMPT_NAMES})


def refund_view(row: Found) -> RefundView:
    """A row of ``refunds``."""
    return RefundView(**row._mapping)  # noqa: SLF001


def dispute_view(row: Found) -> DisputeView:
    """A row of ``disputes_of``."""
    return DisputeView(**row._mapping)  # noqa: SLF001


def _conditions(scope: Scope, wanted: PaymentFilter) -> Sequence[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = scope.conditions(PAYMENTS)
    if wanted.text:
        conditions.append(_found_in_text(wanted.text.strip()))
    if wanted.states:
        conditions.append(PAYMENTS.c.state.in_(sorted(wanted.states)))
    for column, value in (
        (PAYMENTS.c.customer_id, wanted.customer_id),
        (PAYMENTS.c.cashier_id, wanted.cashier_id),
        (PAYMENTS.c.location_id, wanted.location_id),
        (PAYMENTS.c.currency, wanted.currency),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.since is not None:
        conditions.append(PAYMENTS.c.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(PAYMENTS.c.created_at < wanted.until)
    return conditions


def _found_in_text(text: str) -> ColumnElement[bool]:
    exact = (PAYMENTS.c.id, PAYMENTS.c.processor_id, PAYMENTS.c.charge_id, PAYMENTS.c.card_last4)
    alternatives = [column == text for column in exact]
    alternatives += [
        column.icontains(text, autoescape=True)
        for column in (PAYMENTS.c.reference, PAYMENTS.c.note)
    ]
    return or_(*alternatives)


# --- rows that services work on; their caller has looked whether they may ----------------------------------------

_READ_PAYMENT: Final = select(PAYMENTS).where(
    PAYMENTS.c.id == bindparam("payment"), PAYMENTS.c.merchant_id == bindparam("merchant")
)
_LOCK_PAYMENT: Final = _READ_PAYMENT.with_for_update()
_LOCK_BY_INTENT: Final = (
    select(PAYMENTS)
    .where(
        PAYMENTS.c.processor_id == bindparam("intent"),
        PAYMENTS.c.merchant_id == bindparam("merchant"),
    )
    .with_for_update()
)
_ALL_ATTEMPTS: Final = (
    select(ATTEMPTS)
    .where(ATTEMPTS.c.payment_id == bindparam("payment"))
    .order_by(ATTEMPTS.c.number)
)


def lock_payment(db: Transaction, merchant_id: str, payment_id: str) -> Found | None:
    """The row, ours until the transaction ends."""
    return db.execute(_LOCK_PAYMENT, {"payment": payment_id, "merchant": merchant_id}).one_or_none()


def read_row(db: Transaction, merchant_id: str, payment_id: str) -> Found | None:
    """The row as it is, from a transaction that cannot lock."""
    return db.execute(_READ_PAYMENT, {"payment": payment_id, "merchant": merchant_id}).one_or_none()


def lock_by_intent(db: Transaction, merchant_id: str, processor_id: str) -> Found | None:
    """The payment that an intent belongs to at present."""
    return db.execute(
        _LOCK_BY_INTENT, {"intent": processor_id, "merchant": merchant_id}
    ).one_or_none()


def lock_by_charge(db: Transaction, merchant_id: str, charge_id: str) -> Found | None:
    """The payment that a charge belongs to."""
    return db.execute(
        select(PAYMENTS)
        .where(PAYMENTS.c.merchant_id == merchant_id, PAYMENTS.c.charge_id == charge_id)
        .with_for_update()
    ).one_or_none()


def refund_row(db: Transaction, merchant_id: str, refund_id: str) -> Found | None:
    """The row as it is."""
    return db.execute(
        select(REFUNDS).where(REFUNDS.c.id == refund_id, REFUNDS.c.merchant_id == merchant_id)
    ).one_or_none()


def attempt_rows(db: Transaction, payment_id: str) -> Sequence[Found]:
    """All of a payment, the first first."""
    return db.execute(_ALL_ATTEMPTS, {"payment": payment_id}).all()


def open_attempt(rows: Sequence[Found]) -> Found | None:
    """The one whose outcome is still to come."""
    return next((row for row in rows if row.state in OPEN_ATTEMPTS), None)
