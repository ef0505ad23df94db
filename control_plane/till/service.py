"""Changes a till's settings. Each change is in the activity log.

A value without an id is new; with one, it takes the place of what is there. A quick key that is given to something is
taken from what had it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from sqlalchemy import Table, delete, func, select, update
from sqlalchemy import insert as plain_insert
from sqlalchemy.exc import IntegrityError

from control_plane.accounts.caller import Caller
from control_plane.accounts.service import user_to_change
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed, insert
from control_plane.errors import NotFound
from control_plane.till import queries
from control_plane.till.errors import (
    AmountMissing,
    ChoicesMissing,
    CurrencyUnknown,
    KeyForm,
    KeyTaken,
    MethodsMissing,
    MinutesRange,
    NameMissing,
    OwnLimits,
    PercentRange,
    QuickKeyRange,
    TaxGone,
    TooManyTips,
)
from control_plane.till.limits import MemberLimits
from control_plane.till.models import FIELDS, ITEMS, LIMITS, PRESETS, SETTINGS, TAXES
from control_plane.till.values import (
    PRESET_KEYS,
    QUICK_KEYS,
    Amounts,
    FieldKind,
    TaxRate,
    TillField,
    TillItem,
    TillPreset,
    TillSettings,
)
from protocols.ids import new_id
from protocols.money import CURRENCIES, LARGEST_MINOR, Money

MOST_TIPS: Final = 4
MOST_DUPLICATE_MINUTES: Final = 24 * 60
MOST_LINK_HOURS: Final = 90 * 24
_HUNDRED: Final = Decimal(100)
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class _Tags:
    create: AuditTag
    update: AuditTag
    remove: AuditTag


_TAX_TAGS: Final = _Tags(AuditTag.TAX_CREATE, AuditTag.TAX_UPDATE, AuditTag.TAX_REMOVE)
_FIELD_TAGS: Final = _Tags(
    AuditTag.TILL_FIELD_CREATE, AuditTag.TILL_FIELD_UPDATE, AuditTag.TILL_FIELD_REMOVE
)
_ITEM_TAGS: Final = _Tags(
    AuditTag.TILL_ITEM_CREATE, AuditTag.TILL_ITEM_UPDATE, AuditTag.TILL_ITEM_REMOVE
)
_PRESET_TAGS: Final = _Tags(
    AuditTag.TILL_PRESET_CREATE, AuditTag.TILL_PRESET_UPDATE, AuditTag.TILL_PRESET_REMOVE
)


def update_settings(db: Transaction, caller: Caller, wanted: TillSettings) -> None:
    """Let these settings hold. Taxes and fields of ``wanted`` are not looked at: they have their own functions."""
    before = queries.settings_of(db, caller.merchant_id)
    _check_amounts("refund_limits", wanted.refund_limits)
    _check_amounts("charge_limits", wanted.charge_limits)
    if len(wanted.tip_percents) > MOST_TIPS:
        raise TooManyTips(field="tip_percents", most=MOST_TIPS)
    for percent in wanted.tip_percents:
        _check_percent("tip_percents", percent, least=Decimal(1), example="10")
    unknown = set(wanted.currencies) - set(CURRENCIES)
    if unknown:
        raise CurrencyUnknown(field="currencies")
    tax = wanted.default_tax
    if tax is not None and tax not in before.taxes:
        raise TaxGone(field="default_tax")
    minutes = _whole(wanted.duplicate_window, timedelta(minutes=1))
    hours = _whole(wanted.link_life, timedelta(hours=1))
    _check_range("duplicate_minutes", minutes, 0, MOST_DUPLICATE_MINUTES)
    _check_range("link_hours", hours, 1, MOST_LINK_HOURS)
    values = {
        "merchant_id": caller.merchant_id,
        "currencies": [one for one in dict.fromkeys(wanted.currencies) if one != before.currency],
        "tip_percents": [f"{percent:f}" for percent in sorted(set(wanted.tip_percents))],
        "tips_when_keyed": wanted.tips_when_keyed,
        "default_tax_id": None if tax is None else tax.id,
        "refund_limits": dict(wanted.refund_limits),
        "charge_limits": dict(wanted.charge_limits),
        "address_check": wanted.address_check,
        "postal_code_check": wanted.postal_code_check,
        "cvc_check": wanted.cvc_check,
        "moto": wanted.moto,
        "duplicate_minutes": minutes,
        "capture_later": wanted.capture_later,
        "link_hours": hours,
        "updated_at": context_of(db).clock.now(),
    }
    statement = insert(db, SETTINGS).values(values)
    db.execute(
        statement.on_conflict_do_update(index_elements=["merchant_id"], set_=_but(values, "merchant_id"))
    )  # fmt: skip
    after = queries.settings_of(db, caller.merchant_id)
    _record_change(
        db, caller, AuditTag.TILL_SETTINGS_UPDATE, caller.merchant_id, "",
        _settings_facts(before), _settings_facts(after),
    )  # fmt: skip


def save_tax(db: Transaction, caller: Caller, tax: TaxRate) -> str:
    """A rate of tax; its id. Payments that were taken keep the rate of then."""
    _check_name(tax.name)
    _check_percent("percent", tax.percent, least=Decimal(0), example="5.5")
    name = tax.name.strip()
    values = {"name": name, "percent": tax.percent, "mode": tax.mode}
    return _save(db, caller, TAXES, _TAX_TAGS, "tax", tax.id, values, name=name)


def remove_tax(db: Transaction, caller: Caller, tax_id: str) -> None:
    """Offer a rate no longer; items with it get the usual one. Raises NotFound."""
    row = _row(db, caller, TAXES, tax_id, "tax rate")
    for table, column in ((ITEMS, ITEMS.c.tax_id), (SETTINGS, SETTINGS.c.default_tax_id)):
        mine = table.c.merchant_id == caller.merchant_id
        db.execute(update(table).where(mine, column == tax_id).values({column: None}))
    db.execute(update(TAXES).where(TAXES.c.id == tax_id).values(active=False))
    _record(db, caller, _TAX_TAGS.remove, tax_id, row.name)


def save_field(db: Transaction, caller: Caller, field: TillField) -> str:
    """A field of the merchant's own; its id. Its key is for good. Raises NotTaken, KeyTaken, NotFound."""
    _check_name(field.label_en, "label_en")
    if _KEY.fullmatch(field.key) is None:
        raise KeyForm(field="key")
    choices = list(dict.fromkeys(one.strip() for one in field.choices if one.strip()))
    if field.kind is FieldKind.CHOICE and len(choices) < 2:
        raise ChoicesMissing(field="choices")
    values: dict[str, Any] = {
        "key": field.key,
        "label_en": field.label_en.strip(),
        "label_fr": field.label_fr.strip(),
        "kind": field.kind,
        "required_for": sorted(field.required_for),
        "choices": choices if field.kind is FieldKind.CHOICE else [],
        "pattern": field.pattern.strip() if field.kind in _PATTERNED else "",
        "searchable": field.searchable,
        "active": True,
    }
    field_id = field.id
    known = db.execute(
        select(FIELDS.c.id, FIELDS.c.active).where(
            FIELDS.c.merchant_id == caller.merchant_id, FIELDS.c.key == field.key
        )
    ).one_or_none()
    if known is not None and known.id != field_id:
        if field_id or known.active:
            raise KeyTaken(name=field.key, field="key")
        # Of a field that was removed: it comes back, as old payments have values under this key.
        field_id = known.id
    if field.id and known is None:
        values["key"] = _row(db, caller, FIELDS, field.id, "field").key
    return _save(
        db, caller, FIELDS, _FIELD_TAGS, "fld", field_id, values,
        name=values["label_en"], also_inactive=True,
    )  # fmt: skip


def remove_field(db: Transaction, caller: Caller, field_id: str) -> None:
    """Ask for it no longer. Payments keep its values. Raises NotFound."""
    row = _row(db, caller, FIELDS, field_id, "field")
    db.execute(update(FIELDS).where(FIELDS.c.id == field_id).values(active=False))
    _record(db, caller, _FIELD_TAGS.remove, field_id, row.label_en)


def save_item(db: Transaction, caller: Caller, item: TillItem) -> str:
    """Something that is sold; its id. Raises NotTaken, KeyTaken, NotFound."""
    _check_name(item.name)
    _check_amount("price", item.price)
    _check_quick_key(item.quick_key, QUICK_KEYS)
    if item.tax_id is not None:
        row = _find(db, caller, TAXES, item.tax_id)
        if row is None or not row.active:
            raise TaxGone(field="tax_id")
    quick_key = item.quick_key if item.active else None
    values = {
        "name": item.name.strip(),
        "price_minor": item.price.minor,
        "currency": item.price.currency,
        "tax_id": item.tax_id,
        "code": item.code.strip() or None,
        "quick_key": quick_key,
        "colour": item.colour,
        "active": item.active,
        "updated_at": context_of(db).clock.now(),
    }
    _free_quick_key(db, caller, ITEMS, quick_key, but=item.id)
    try:
        with db.begin_nested():
            return _save(
                db, caller, ITEMS, _ITEM_TAGS, "itm", item.id, values,
                name=item.name.strip(), is_ordered=False, also_inactive=True,
            )  # fmt: skip
    except IntegrityError:
        raise KeyTaken(name=item.code, field="code") from None


def remove_item(db: Transaction, caller: Caller, item_id: str) -> None:
    """Sell it no longer. Payments keep what was sold. Raises NotFound."""
    row = _row(db, caller, ITEMS, item_id, "item")
    values = {"active": False, "quick_key": None, "code": None}
    db.execute(update(ITEMS).where(ITEMS.c.id == item_id).values(values))
    _record(db, caller, _ITEM_TAGS.remove, item_id, row.name)


def save_preset(db: Transaction, caller: Caller, preset: TillPreset) -> str:
    """A charge that is made again and again; its id. Raises NotTaken, NotFound."""
    _check_name(preset.name)
    _check_amount("amount", preset.amount)
    _check_quick_key(preset.quick_key, PRESET_KEYS)
    values = {
        "name": preset.name.strip(),
        "amount_minor": preset.amount.minor,
        "currency": preset.amount.currency,
        "reference": preset.reference.strip(),
        "note": preset.note.strip(),
        "method": preset.method,
        "customer_id": preset.customer_id,
        "quick_key": preset.quick_key,
    }
    _free_quick_key(db, caller, PRESETS, preset.quick_key, but=preset.id)
    return _save(
        db, caller, PRESETS, _PRESET_TAGS, "pre", preset.id, values, name=preset.name.strip()
    )


def remove_preset(db: Transaction, caller: Caller, preset_id: str) -> None:
    """Delete it. Raises NotFound."""
    row = _row(db, caller, PRESETS, preset_id, "preset")
    db.execute(delete(PRESETS).where(PRESETS.c.id == preset_id))
    _record(db, caller, _PRESET_TAGS.remove, preset_id, row.name)


def move(db: Transaction, caller: Caller, table: Table, row_id: str, by: int) -> None:
    """Put a field, preset or tax so many places up (negative) or down. Raises NotFound."""
    ids = _ids(db, caller, table)
    if row_id not in ids:
        raise NotFound("entry", row_id)
    there = ids.index(row_id)
    ids.insert(min(max(there + by, 0), len(ids) - 1), ids.pop(there))
    arrange(db, caller, table, ids)


def arrange(db: Transaction, caller: Caller, table: Table, ids: Sequence[str]) -> None:
    """Put fields, presets or taxes in this order; those that are not named come behind. Raises NotFound."""
    known = _ids(db, caller, table)
    if unknown := [one for one in ids if one not in known]:
        raise NotFound("entry", unknown[0])
    wanted = [*dict.fromkeys(ids), *(one for one in known if one not in ids)]
    if wanted == known:
        return
    for position, row_id in enumerate(wanted):
        db.execute(update(table).where(table.c.id == row_id).values(position=position))
    record(
        db, caller.merchant_id, caller.actor, AuditTag.TILL_ORDER_UPDATE,
        object_id=caller.merchant_id, object_name=table.name,
        before={"order": known}, after={"order": wanted},
    )  # fmt: skip


def set_limits(db: Transaction, caller: Caller, user_id: str, limits: MemberLimits) -> None:
    """What a member may do. Raises NotFound, RightsNotYours, OwnLimits."""
    user = user_to_change(db, caller, user_id)
    if user_id == caller.id:
        raise OwnLimits(permission="")
    _check_amounts("charge", limits.charge)
    _check_amounts("refund", limits.refund)
    _check_amounts("day", limits.day)
    if limits.methods is not None and not limits.methods:
        raise MethodsMissing(field="methods")
    before = queries.limits_of(db, caller.merchant_id, user_id)
    key = {"merchant_id": caller.merchant_id, "user_id": user_id}
    values = {**_limit_facts(limits), "updated_at": context_of(db).clock.now()}
    statement = insert(db, LIMITS).values(key | values)
    db.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))
    _record_change(
        db, caller, AuditTag.MEMBER_LIMITS_UPDATE, user_id, user.name,
        _limit_facts(before), _limit_facts(limits),
    )  # fmt: skip


def _save(
    db: Transaction,
    caller: Caller,
    table: Table,
    tags: _Tags,
    prefix: str,
    row_id: str,
    values: dict[str, Any],
    *,
    name: str,
    is_ordered: bool = True,
    also_inactive: bool = False,
) -> str:
    if row_id:
        before = _row(db, caller, table, row_id, "entry", also_inactive=also_inactive)
        db.execute(update(table).where(table.c.id == row_id).values(values))
        had = {key: getattr(before, key) for key in values}
        _record_change(db, caller, tags.update, row_id, name, had, values)
        return row_id
    new = {"id": new_id(prefix), "merchant_id": caller.merchant_id, **values}
    if is_ordered:
        last = select(func.max(table.c.position)).where(table.c.merchant_id == caller.merchant_id)
        new["position"] = (db.execute(last).scalar_one() or 0) + 1
    db.execute(plain_insert(table).values(new))
    _record(db, caller, tags.create, new["id"], name, after=_plain(values))
    return str(new["id"])


def _find(db: Transaction, caller: Caller, table: Table, row_id: str) -> queries.Found | None:
    return db.execute(
        select(table).where(table.c.merchant_id == caller.merchant_id, table.c.id == row_id)
    ).one_or_none()


def _row(
    db: Transaction,
    caller: Caller,
    table: Table,
    row_id: str,
    kind: str,
    *,
    also_inactive: bool = False,
) -> queries.Found:
    row = _find(db, caller, table, row_id)
    if row is None or not (also_inactive or getattr(row, "active", True)):
        raise NotFound(kind, row_id)
    return row


def _ids(db: Transaction, caller: Caller, table: Table) -> list[str]:
    """In their order; locked, so that two who move at once do not mix."""
    statement = (
        select(table.c.id)
        .where(table.c.merchant_id == caller.merchant_id)
        .order_by(table.c.position, table.c.id)
        .with_for_update()
    )
    if "active" in table.c:
        statement = statement.where(table.c.active)
    return list(db.execute(statement).scalars())


def _free_quick_key(
    db: Transaction, caller: Caller, table: Table, quick_key: int | None, *, but: str
) -> None:
    if quick_key is not None:
        changed(
            db,
            update(table)
            .where(
                table.c.merchant_id == caller.merchant_id,
                table.c.quick_key == quick_key,
                table.c.id != but,
            )
            .values(quick_key=None),
        )


def _check_name(name: str, field: str = "name") -> None:
    if not name.strip():
        raise NameMissing(field=field)


def _check_amount(field: str, amount: Money) -> None:
    if amount.minor <= 0:
        raise AmountMissing(field=field)


def _check_amounts(field: str, amounts: Amounts) -> None:
    if set(amounts) - set(CURRENCIES):
        raise CurrencyUnknown(field=field)
    if not all(0 < minor <= LARGEST_MINOR for minor in amounts.values()):
        raise AmountMissing(field=field)


def _check_percent(field: str, percent: Decimal, *, least: Decimal, example: str) -> None:
    # Four decimals are what the column holds.
    if not least <= percent <= _HUNDRED or percent != round(percent, 4):
        raise PercentRange(field=field, least=least, most=_HUNDRED, example=example)


def _check_quick_key(quick_key: int | None, most: int) -> None:
    if quick_key is not None and not 1 <= quick_key <= most:
        raise QuickKeyRange(field="quick_key", most=most)


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise MinutesRange(field=field, least=least, most=most)


def _whole(length: timedelta, unit: timedelta) -> int:
    return length // unit


def _record(
    db: Transaction, caller: Caller, tag: AuditTag, row_id: str, name: str, **changes: Any
) -> None:  # Any: before and after, as JSON
    record(db, caller.merchant_id, caller.actor, tag, object_id=row_id, object_name=name, **changes)


def _record_change(
    db: Transaction,
    caller: Caller,
    tag: AuditTag,
    row_id: str,
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    """Write what differs; nothing when nothing does."""
    old, new = _plain(before), _plain(after)
    differing = [key for key in new if old.get(key) != new[key]]
    if differing:
        _record(
            db, caller, tag, row_id, name,
            before={key: old.get(key) for key in differing},
            after={key: new[key] for key in differing},
        )  # fmt: skip


def _settings_facts(settings: TillSettings) -> dict[str, Any]:
    return {
        "currencies": list(settings.currencies),
        "tip_percents": [f"{percent:f}" for percent in settings.tip_percents],
        "tips_when_keyed": settings.tips_when_keyed,
        "default_tax": settings.default_tax.name if settings.default_tax else None,
        "refund_limits": dict(settings.refund_limits),
        "charge_limits": dict(settings.charge_limits),
        "address_check": settings.address_check,
        "postal_code_check": settings.postal_code_check,
        "cvc_check": settings.cvc_check,
        "moto": settings.moto,
        "duplicate_minutes": _whole(settings.duplicate_window, timedelta(minutes=1)),
        "capture_later": settings.capture_later,
        "link_hours": _whole(settings.link_life, timedelta(hours=1)),
    }


def _limit_facts(limits: MemberLimits) -> dict[str, Any]:
    return {
        "charge": dict(limits.charge),
        "refund": dict(limits.refund),
        "day": dict(limits.day),
        "methods": None if limits.methods is None else sorted(limits.methods),
    }


def _but(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it, without times."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        match value:
            case datetime():
                continue
            case Enum():
                plain[name] = value.value
            case Decimal():
                plain[name] = f"{value.normalize():f}"
            case _:
                plain[name] = value
    return plain


_PATTERNED: Final = frozenset(
    {FieldKind.TEXT, FieldKind.NUMBER, FieldKind.POSTAL_CODE, FieldKind.ORDER_NUMBER}
)
