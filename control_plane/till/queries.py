"""Reads of a till's settings. ``settings_of`` is on the path of every charge: three statements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

from sqlalchemy import Row, Select, bindparam, select

from control_plane.accounts.queries import MERCHANTS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.till.limits import NO_LIMITS, MemberLimits
from control_plane.till.models import FIELDS, ITEMS, LIMITS, PRESETS, SETTINGS, TAXES
from control_plane.till.values import (
    Amounts,
    Catalogue,
    Channel,
    TaxRate,
    TillField,
    TillItem,
    TillPreset,
    TillSettings,
)
from protocols.money import Money

Found: TypeAlias = Row[*tuple[Any, ...]]

#: More items than these are found by search, not shown at once.
MOST_ITEMS: Final = 2_000

# Built once: these run on every charge.
_SETTINGS: Final = (
    select(MERCHANTS.c.currency, SETTINGS)
    .outerjoin(SETTINGS, SETTINGS.c.merchant_id == MERCHANTS.c.id)
    .where(MERCHANTS.c.id == bindparam("whose"))
)
_TAXES: Final = (
    select(TAXES)
    .where(TAXES.c.merchant_id == bindparam("whose"), TAXES.c.active)
    .order_by(TAXES.c.position, TAXES.c.id)
)
_FIELDS: Final = (
    select(FIELDS)
    .where(FIELDS.c.merchant_id == bindparam("whose"))
    .order_by(FIELDS.c.position, FIELDS.c.id)
)
_LIMITS: Final = select(LIMITS).where(
    LIMITS.c.merchant_id == bindparam("whose"), LIMITS.c.user_id == bindparam("who")
)

_HELD_LIMITS: Final = _LIMITS.with_for_update()
_BOUNDS: Final = (
    select(SETTINGS.c.charge_limits, SETTINGS.c.refund_limits, LIMITS)
    .select_from(MERCHANTS)
    .outerjoin(SETTINGS, SETTINGS.c.merchant_id == MERCHANTS.c.id)
    .outerjoin(
        LIMITS,
        (LIMITS.c.merchant_id == MERCHANTS.c.id) & (LIMITS.c.user_id == bindparam("who")),
    )
    .where(MERCHANTS.c.id == bindparam("whose"))
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for one member, and for everybody."""

    limits: MemberLimits
    charge: Amounts
    """Nobody charges more at once."""
    refund: Amounts
    """A refund above it needs somebody who approves it."""


def bounds_of(db: Transaction, merchant_id: str, user_id: str) -> Bounds:
    """The limits alone, in one statement: for sales on readers, which need nothing else of the settings."""
    row = db.execute(_BOUNDS, {"whose": merchant_id, "who": user_id}).one()
    limits = NO_LIMITS if row.user_id is None else _limits(row)
    return Bounds(limits, row.charge_limits or {}, row.refund_limits or {})


def settings_of(db: Transaction, merchant_id: str) -> TillSettings:
    """How the merchant's till is set up; the defaults when nobody changed any."""
    whose = {"whose": merchant_id}
    row = db.execute(_SETTINGS, whose).one()
    taxes = tuple(_tax(one) for one in db.execute(_TAXES, whose))
    fields = tuple(one for one in map(_field, db.execute(_FIELDS, whose)) if one.active)
    if row.merchant_id is None:
        return TillSettings(
            merchant_id=merchant_id, currency=row.currency, currencies=(row.currency,), taxes=taxes, fields=fields
        )  # fmt: skip
    others = [one for one in row.currencies if one != row.currency]
    return TillSettings(
        merchant_id=merchant_id,
        currency=row.currency,
        currencies=(row.currency, *others),
        tip_percents=tuple(Decimal(one) for one in row.tip_percents),
        tips_when_keyed=row.tips_when_keyed,
        taxes=taxes,
        default_tax=next((tax for tax in taxes if tax.id == row.default_tax_id), None),
        fields=fields,
        refund_limits=row.refund_limits,
        charge_limits=row.charge_limits,
        address_check=row.address_check,
        postal_code_check=row.postal_code_check,
        cvc_check=row.cvc_check,
        moto=row.moto,
        duplicate_window=timedelta(minutes=row.duplicate_minutes),
        capture_later=row.capture_later,
        link_life=timedelta(hours=row.link_hours),
    )


def catalogue_of(db: Transaction, merchant_id: str) -> Catalogue:
    """The items that are sold (those with a quick key first) and the presets."""
    items = db.execute(
        select(ITEMS)
        .where(ITEMS.c.merchant_id == merchant_id, ITEMS.c.active)
        .order_by(ITEMS.c.quick_key.is_(None), ITEMS.c.quick_key, ITEMS.c.name, ITEMS.c.id)
        .limit(MOST_ITEMS)
    )
    return Catalogue(tuple(map(item_of_row, items)), tuple(presets_of(db, merchant_id)))


def items_of(merchant_id: str, text: str = "") -> Select[*tuple[Any, ...]]:
    """What is sold: all, or those with a part of a name, or a code. Order by (name, id)."""
    statement = select(ITEMS).where(ITEMS.c.merchant_id == merchant_id, ITEMS.c.active)
    if text:
        found = ITEMS.c.name.icontains(text, autoescape=True) | (ITEMS.c.code == text)
        statement = statement.where(found)
    return statement


def presets_of(db: Transaction, merchant_id: str) -> list[TillPreset]:
    """The presets, in their order."""
    return [
        _preset(row)
        for row in db.execute(
            select(PRESETS)
            .where(PRESETS.c.merchant_id == merchant_id)
            .order_by(PRESETS.c.position, PRESETS.c.id)
        )
    ]


def board_of(db: Transaction, merchant_id: str) -> list[TillItem]:
    """The items that have a quick key, in its order."""
    return [
        item_of_row(row)
        for row in db.execute(
            select(ITEMS)
            .where(
                ITEMS.c.merchant_id == merchant_id, ITEMS.c.active, ITEMS.c.quick_key.is_not(None)
            )
            .order_by(ITEMS.c.quick_key)
        )
    ]


def items_by_id(db: Transaction, merchant_id: str, ids: Collection[str]) -> list[TillItem]:
    """Items of the merchant, also those that are no longer sold."""
    if not ids:
        return []
    return [
        item_of_row(row)
        for row in db.execute(
            select(ITEMS).where(ITEMS.c.merchant_id == merchant_id, ITEMS.c.id.in_(sorted(ids)))
        )
    ]


def limits_of(db: Transaction, merchant_id: str, user_id: str) -> MemberLimits:
    """What a member may do; no limit for an API key, and for who has none set."""
    row = db.execute(_LIMITS, {"whose": merchant_id, "who": user_id}).one_or_none()
    return NO_LIMITS if row is None else _limits(row)


def hold_limits(db: Transaction, merchant_id: str, user_id: str) -> None:
    """Let nobody else count this member's day until the transaction ends: else two payments at once may pass it."""
    db.execute(_HELD_LIMITS, {"whose": merchant_id, "who": user_id})


def all_limits(db: Transaction, scope: Scope) -> dict[str, MemberLimits]:
    """The limits of every member who has any."""
    return {
        row.user_id: _limits(row)
        for row in db.execute(select(LIMITS).where(*scope.conditions(LIMITS)))
    }


def all_fields(db: Transaction, merchant_id: str) -> Sequence[TillField]:
    """The merchant's fields, removed ones too: old payments have values of them."""
    return [_field(row) for row in db.execute(_FIELDS, {"whose": merchant_id})]


def _tax(row: Found) -> TaxRate:
    return TaxRate(row.id, row.name, Decimal(row.percent).normalize(), row.mode)


def _field(row: Found) -> TillField:
    return TillField(
        id=row.id,
        key=row.key,
        label_en=row.label_en,
        label_fr=row.label_fr,
        kind=row.kind,
        required_for=frozenset(Channel(one) for one in row.required_for),
        choices=tuple(row.choices),
        pattern=row.pattern,
        searchable=row.searchable,
        active=row.active,
    )


def item_of_row(row: Found) -> TillItem:
    """The value of a row of ``till_item``."""
    return TillItem(
        id=row.id,
        name=row.name,
        price=Money(row.price_minor, row.currency),
        tax_id=row.tax_id,
        code=row.code or "",
        quick_key=row.quick_key,
        colour=row.colour,
        active=row.active,
    )


def _preset(row: Found) -> TillPreset:
    return TillPreset(
        id=row.id,
        name=row.name,
        amount=Money(row.amount_minor, row.currency),
        reference=row.reference,
        note=row.note,
        method=None if row.method is None else Channel(row.method),
        customer_id=row.customer_id,
        quick_key=row.quick_key,
    )


def _limits(row: Found) -> MemberLimits:
    return MemberLimits(
        charge=row.charge,
        refund=row.refund,
        day=row.day,
        methods=None if row.methods is None else frozenset(Channel(one) for one in row.methods),
    )
