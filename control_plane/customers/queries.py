"""Reads of customers and of what they let us keep."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, or_, select, union

from control_plane.customers.expiry import month_of
from control_plane.customers.models import CUSTOMERS, METHODS, WORDS, MethodKind, MethodStatus
from control_plane.customers.words import wanted_words
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction

Found: TypeAlias = Row[*tuple[Any, ...]]

#: Greater than anything that stands in a word.
_LAST: Final = "\U0010ffff"
_USABLE: Final = (MethodStatus.ACTIVE, MethodStatus.EXPIRED)
#: A card's date as months since year 0, as in ``expiry``.
_MONTH: Final = METHODS.c.exp_year * 12 + METHODS.c.exp_month - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerFilter:
    """Which customers; empty leaves a side alone."""

    text: str = ""
    email: str = ""
    """Exactly, folded."""
    with_archived: bool = False


def customers_of(scope: Scope, wanted: CustomerFilter) -> Select[*tuple[Any, ...]]:
    """Customers that a filter finds; order by (used_at, id), newest first."""
    conditions: list[ColumnElement[bool]] = list(scope.conditions(CUSTOMERS))
    if not wanted.with_archived:
        conditions.append(CUSTOMERS.c.archived_at.is_(None))
    if wanted.email:
        conditions.append(CUSTOMERS.c.email == wanted.email)
    first, *others = wanted_words(wanted.text) or [()]
    if first:
        # The longest word leads, through the index of words: one range of it for each spelling.
        ranges = [
            select(WORDS.c.customer_id).where(
                WORDS.c.merchant_id == scope.merchant_id, _begins_with(one)
            )
            for one in first
        ]
        conditions.append(CUSTOMERS.c.id.in_(union(*ranges) if len(ranges) > 1 else ranges[0]))
    for spellings in others:
        # Looked up for each customer found so far; with the merchant, SQLite would take the long way by its index.
        mine = select(WORDS.c.customer_id).where(
            WORDS.c.customer_id == CUSTOMERS.c.id, or_(*map(_begins_with, spellings))
        )
        conditions.append(exists(mine))
    return select(CUSTOMERS).where(*conditions)


def _begins_with(word: str) -> ColumnElement[bool]:
    return and_(WORDS.c.word >= word, WORDS.c.word < word + _LAST)


def customers(
    db: Transaction, scope: Scope, wanted: CustomerFilter, *, limit: int = 20
) -> Sequence[Found]:
    """The first of them, the most lately seen first."""
    newest_first = (CUSTOMERS.c.used_at.desc(), CUSTOMERS.c.id.desc())
    return db.execute(customers_of(scope, wanted).order_by(*newest_first).limit(limit)).all()


def customer(
    db: Transaction, scope: Scope, customer_id: str, *, lock: bool = False
) -> Found | None:
    """One customer of this merchant, archived or not; ``lock`` keeps others from changing it meanwhile."""
    statement = select(CUSTOMERS).where(*scope.conditions(CUSTOMERS), CUSTOMERS.c.id == customer_id)
    return db.execute(statement.with_for_update() if lock else statement).one_or_none()


def by_processor_id(db: Transaction, merchant_id: str, processor_id: str) -> Found | None:
    """The customer that the processor calls so."""
    return db.execute(
        select(CUSTOMERS).where(
            CUSTOMERS.c.merchant_id == merchant_id, CUSTOMERS.c.processor_id == processor_id
        )
    ).one_or_none()


def names(db: Transaction, scope: Scope, customer_ids: Collection[str]) -> dict[str, str]:
    """What lists show for these customers."""
    if not customer_ids:
        return {}
    rows = db.execute(
        select(CUSTOMERS.c.id, CUSTOMERS.c.name, CUSTOMERS.c.company).where(
            *scope.conditions(CUSTOMERS), CUSTOMERS.c.id.in_(sorted(customer_ids))
        )
    )
    return {row.id: row.name or row.company for row in rows}


def count(db: Transaction, scope: Scope) -> int:
    """How many customers there are, without the archived ones."""
    here = select(func.count()).select_from(CUSTOMERS)
    return db.execute(
        here.where(*scope.conditions(CUSTOMERS), CUSTOMERS.c.archived_at.is_(None))
    ).scalar_one()


def methods(
    db: Transaction, scope: Scope, customer_id: str, *, with_removed: bool = False
) -> Sequence[Found]:
    """What a customer lets us keep: the usual one first, then the newest."""
    statement = select(METHODS).where(
        *scope.conditions(METHODS), METHODS.c.customer_id == customer_id
    )
    if not with_removed:
        statement = statement.where(METHODS.c.status != MethodStatus.REMOVED)
    return db.execute(statement.order_by(METHODS.c.is_default.desc(), METHODS.c.id.desc())).all()


def methods_of_many(
    db: Transaction, scope: Scope, customer_ids: Collection[str]
) -> dict[str, list[Found]]:
    """The same for the customers of a list, by customer."""
    found: dict[str, list[Found]] = {one: [] for one in customer_ids}
    rows = db.execute(
        select(METHODS)
        .where(
            *scope.conditions(METHODS),
            METHODS.c.customer_id.in_(sorted(customer_ids)),
            METHODS.c.status != MethodStatus.REMOVED,
        )
        .order_by(METHODS.c.is_default.desc(), METHODS.c.id.desc())
    )
    for row in rows:
        found[row.customer_id].append(row)
    return found


def method(db: Transaction, scope: Scope, method_id: str, *, lock: bool = False) -> Found | None:
    """One saved method, removed or not."""
    statement = select(METHODS).where(*scope.conditions(METHODS), METHODS.c.id == method_id)
    return db.execute(statement.with_for_update() if lock else statement).one_or_none()


def method_by_processor_id(
    db: Transaction, merchant_id: str, processor_id: str, *, lock: bool = False
) -> Found | None:
    """The saved method that the processor calls so."""
    statement = select(METHODS).where(
        METHODS.c.merchant_id == merchant_id, METHODS.c.processor_id == processor_id
    )
    return db.execute(statement.with_for_update() if lock else statement).one_or_none()


def methods_by_mandate(db: Transaction, merchant_id: str, mandate_id: str) -> Sequence[Found]:
    """What is charged under a mandate."""
    return db.execute(
        select(METHODS).where(
            METHODS.c.merchant_id == merchant_id,
            METHODS.c.mandate_id == mandate_id,
            METHODS.c.status != MethodStatus.REMOVED,
        )
    ).all()


def same_card(db: Transaction, customer_id: str, fingerprint: str) -> Sequence[Found]:
    """Methods of a customer that are the same number."""
    return db.execute(
        select(METHODS)
        .where(
            METHODS.c.customer_id == customer_id,
            METHODS.c.fingerprint == fingerprint,
            METHODS.c.status != MethodStatus.REMOVED,
        )
        .with_for_update()
    ).all()


def expiring_cards(
    db: Transaction, scope: Scope, today: date, *, months: int = 1, limit: int = 200
) -> Sequence[Found]:
    """Cards whose date has passed or passes within so many months, the soonest first, with their customer's name."""
    return db.execute(
        select(METHODS, CUSTOMERS.c.name.label("customer_name"), CUSTOMERS.c.company)
        .join(CUSTOMERS, CUSTOMERS.c.id == METHODS.c.customer_id)
        .where(
            *scope.conditions(METHODS),
            METHODS.c.kind == MethodKind.CARD,
            METHODS.c.status.in_(_USABLE),
            METHODS.c.exp_year <= (today.year + 1),
            month_of(today) + months >= _MONTH,
            CUSTOMERS.c.archived_at.is_(None),
        )
        .order_by(METHODS.c.exp_year, METHODS.c.exp_month, METHODS.c.id)
        .limit(limit)
    ).all()


def last_numbers(db: Transaction, customer_id: str) -> list[str]:
    """Last digits of what a customer has saved."""
    return list(
        db.execute(
            select(METHODS.c.last4).where(
                METHODS.c.customer_id == customer_id, METHODS.c.status != MethodStatus.REMOVED
            )
        ).scalars()
    )
