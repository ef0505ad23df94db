"""How the till is set up, for programs: settings, fields, items, presets, taxes, limits.

Whoever may see payments may read it; ``settings:manage`` changes it, ``user:manage`` changes members' limits.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import SIGNED_IN, requires
from control_plane.till import item_files, queries, service
from control_plane.till.limits import MemberLimits
from control_plane.till.models import FIELDS, ITEMS, PRESETS, TAXES
from control_plane.till.values import (
    PRESET_KEYS,
    QUICK_KEYS,
    Channel,
    CheckPolicy,
    Colour,
    FieldKind,
    TaxMode,
    TaxRate,
    TillField,
    TillItem,
    TillPreset,
    TillSettings,
)
from protocols.money import CURRENCIES, LARGEST_MINOR, Money

router = APIRouter(prefix="/v1/till", tags=["till"])

Reading = Annotated[Caller, requires(Permission.PAYMENT_VIEW)]
Setting = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]
Id = Annotated[str, Path(max_length=64)]

_ORDERED: Final = {"fields": FIELDS, "presets": PRESETS, "taxes": TAXES}


def _known(currency: str) -> str:
    if currency not in CURRENCIES:
        raise ValueError("a currency that is known here, such as EUR")
    return currency


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text without control characters")
    return text


Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"]), AfterValidator(_known)]
Minor = Annotated[int, Field(ge=1, le=LARGEST_MINOR, examples=[15000])]
Amounts = Annotated[
    dict[Currency, Minor],
    Field(
        description="Minor units by currency. Empty: no limit. When some are set, other currencies are not allowed.",
        examples=[{"EUR": 50000}],
        max_length=len(CURRENCIES),
    ),
]
Short = Annotated[str, Field(max_length=80), AfterValidator(_printable)]
Long = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4, max_digits=7, examples=["5.5"])]


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, from_attributes=True)


class SettingsIn(_Values):
    """What holds for every payment."""

    currencies: list[Currency] = Field(
        max_length=len(CURRENCIES), description="Offered; the merchant's own always is, and first."
    )
    tip_percents: list[Annotated[Decimal, Field(ge=1, le=100, decimal_places=4)]] = Field(
        max_length=service.MOST_TIPS, examples=[["10", "15"]]
    )
    tips_when_keyed: bool
    default_tax_id: str | None = Field(max_length=64)
    refund_limits: Amounts = Field(description="A refund above it waits for approval.")
    charge_limits: Amounts = Field(description="Nobody charges more at once.")
    address_check: CheckPolicy
    postal_code_check: CheckPolicy
    cvc_check: CheckPolicy
    moto: bool = Field(description="Whether keyed cards are mail or telephone orders by default.")
    duplicate_minutes: int = Field(ge=0, le=service.MOST_DUPLICATE_MINUTES, examples=[10])
    capture_later: bool
    link_hours: int = Field(ge=1, le=service.MOST_LINK_HOURS, examples=[72])


class TaxIn(_Values):
    """A rate of tax."""

    name: Annotated[str, Field(min_length=1, max_length=80, examples=["VAT 20"])]
    percent: Percent
    mode: TaxMode = Field(description="Whether prices contain it.")


class TaxOut(TaxIn):
    """A rate of tax."""

    id: str = Field(examples=["tax_01k9m3v6x2e8t4q7w5y1z0a2b3"])


class SettingsOut(SettingsIn):
    """What holds for every payment, and the merchant's own currency."""

    currency: str
    taxes: list[TaxOut]


class FieldIn(_Values):
    """A field of the merchant's own."""

    key: str = Field(pattern="^[a-z][a-z0-9_]{0,39}$", examples=["order_number"])
    label_en: Annotated[Short, Field(min_length=1, examples=["Order number"])]
    label_fr: Short = ""
    kind: FieldKind = FieldKind.TEXT
    required_for: list[Channel] = Field(default=[], max_length=len(Channel))
    choices: list[Annotated[Short, Field(min_length=1)]] = Field(default=[], max_length=100)
    pattern: Annotated[str, AfterValidator(_printable)] = Field(
        default="",
        max_length=60,
        description="9 is a digit, A a letter, * either; the rest stands for itself.",
        examples=["AA-9999"],
    )
    searchable: bool = True


class FieldOut(FieldIn):
    """A field of the merchant's own."""

    id: str = Field(examples=["fld_01k9m3v6x2e8t4q7w5y1z0a2b3"])


class ItemIn(_Values):
    """Something that is sold."""

    name: Annotated[str, AfterValidator(_printable)] = Field(
        min_length=1, max_length=120, examples=["Coffee"]
    )
    price_minor: Minor
    currency: Currency
    tax_id: str | None = Field(default=None, max_length=64, description="null: the usual tax.")
    code: Annotated[str, AfterValidator(_printable)] = Field(default="", max_length=60)
    quick_key: Annotated[int, Field(ge=1, le=QUICK_KEYS)] | None = None
    colour: Colour = Colour.PLAIN
    active: bool = True


class ItemOut(ItemIn):
    """Something that is sold."""

    id: str = Field(examples=["itm_01k9m3v6x2e8t4q7w5y1z0a2b3"])


class RowProblemOut(_Values):
    """What is wrong in a line of a file."""

    line: int = Field(description="1 is the line of the column names.")
    column: str
    text: str


class ImportOut(_Values):
    """What came of a file. With problems, nothing was changed."""

    new: int
    changed: int
    same: int
    problems: list[RowProblemOut]


class PresetIn(_Values):
    """A charge that is made again and again."""

    name: Annotated[Short, Field(min_length=1, examples=["Monthly retainer"])]
    amount_minor: Minor
    currency: Currency
    reference: Long = ""
    note: Long = ""
    method: Channel | None = None
    customer_id: str | None = Field(default=None, max_length=40)
    quick_key: Annotated[int, Field(ge=1, le=PRESET_KEYS)] | None = Field(
        default=None, description="1 to 8, for F1 to F8."
    )


class PresetOut(PresetIn):
    """A charge that is made again and again."""

    id: str = Field(examples=["pre_01k9m3v6x2e8t4q7w5y1z0a2b3"])


class LimitsIn(_Values):
    """What a member may do."""

    charge: Amounts = Field(default={}, description="At most at once.")
    refund: Amounts = Field(default={}, description="Above it, a refund waits for approval.")
    day: Amounts = Field(default={}, description="At most in a day.")
    methods: list[Channel] | None = Field(
        default=None, min_length=1, max_length=len(Channel), description="null: every one."
    )


class LimitsOut(LimitsIn):
    """What a member may do."""

    user_id: str


class OrderIn(_Values):
    """The ids of a list, in the order that is wanted; those that are not named come behind."""

    ids: list[Annotated[str, Field(max_length=64)]] = Field(max_length=1000)


@router.get("/settings")
def settings(db: ReadDb, caller: Reading) -> SettingsOut:
    """What holds for every payment."""
    return _settings_out(queries.settings_of(db, caller.merchant_id))


@router.put("/settings")
def update_settings(db: Db, body: SettingsIn, caller: Setting) -> SettingsOut:
    """Let these settings hold, all of them."""
    present = queries.settings_of(db, caller.merchant_id)
    tax = None
    if body.default_tax_id is not None:
        tax = present.tax(body.default_tax_id)
        if tax is None:
            raise NotFound("tax rate", body.default_tax_id)
    wanted = replace(
        present,
        currencies=tuple(body.currencies),
        tip_percents=tuple(body.tip_percents),
        tips_when_keyed=body.tips_when_keyed,
        default_tax=tax,
        refund_limits=body.refund_limits,
        charge_limits=body.charge_limits,
        address_check=body.address_check,
        postal_code_check=body.postal_code_check,
        cvc_check=body.cvc_check,
        moto=body.moto,
        duplicate_window=timedelta(minutes=body.duplicate_minutes),
        capture_later=body.capture_later,
        link_life=timedelta(hours=body.link_hours),
    )
    service.update_settings(db, caller, wanted)
    return _settings_out(queries.settings_of(db, caller.merchant_id))


@router.get("/taxes")
def taxes(db: ReadDb, caller: Reading) -> list[TaxOut]:
    """The rates of tax, in their order."""
    return [_tax_out(one) for one in queries.settings_of(db, caller.merchant_id).taxes]


@router.post("/taxes", status_code=201, response_model=TaxOut)
def create_tax(db: Db, once: OnceOnly, body: TaxIn, caller: Setting) -> Response:
    """Add a rate."""
    return once.answer(db, caller, lambda: _saved_tax(db, caller, "", body))


@router.put("/taxes/{tax_id}")
def update_tax(db: Db, tax_id: Id, body: TaxIn, caller: Setting) -> TaxOut:
    """Change a rate. Payments that were taken keep the rate of then."""
    return _saved_tax(db, caller, tax_id, body)


@router.delete("/taxes/{tax_id}", status_code=204)
def remove_tax(db: Db, tax_id: Id, caller: Setting) -> None:
    """Offer a rate no longer; items with it get the usual one."""
    service.remove_tax(db, caller, tax_id)


@router.get("/fields")
def fields(db: ReadDb, caller: Reading) -> list[FieldOut]:
    """The merchant's own fields, in their order."""
    return [_field_out(one) for one in queries.settings_of(db, caller.merchant_id).fields]


@router.post("/fields", status_code=201, response_model=FieldOut)
def create_field(db: Db, once: OnceOnly, body: FieldIn, caller: Setting) -> Response:
    """Add a field. The key of one that was removed brings it back."""
    return once.answer(db, caller, lambda: _saved_field(db, caller, "", body))


@router.put("/fields/{field_id}")
def update_field(db: Db, field_id: Id, body: FieldIn, caller: Setting) -> FieldOut:
    """Change a field; its key stays."""
    return _saved_field(db, caller, field_id, body)


@router.delete("/fields/{field_id}", status_code=204)
def remove_field(db: Db, field_id: Id, caller: Setting) -> None:
    """Ask for it no longer. Payments keep its values."""
    service.remove_field(db, caller, field_id)


@router.get("/items")
def items(
    db: ReadDb,
    caller: Reading,
    page: PageOf,
    q: Annotated[str, Query(max_length=100, description="Part of a name, or a code.")] = "",
) -> Page[ItemOut]:
    """What is sold, by name."""
    return page.read(
        db,
        queries.items_of(caller.merchant_id, q),
        [ITEMS.c.name, ITEMS.c.id],
        lambda row: _item_out(queries.item_of_row(row)),
        descending=False,
    )


@router.post("/items", status_code=201, response_model=ItemOut)
def create_item(db: Db, once: OnceOnly, body: ItemIn, caller: Setting) -> Response:
    """Add an item. A quick key that is given is taken from what had it."""
    return once.answer(db, caller, lambda: _saved_item(db, caller, "", body))


@router.get("/items/file", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def export_items(db: ReadDb, caller: Reading) -> Response:
    """Every item as CSV, which can be imported again."""
    present = queries.settings_of(db, caller.merchant_id)
    catalogue = queries.catalogue_of(db, caller.merchant_id)
    return Response(
        item_files.export(present, catalogue.items),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="items.csv"'},
    )


@router.put("/items/file")
def import_items(
    db: Db, caller: Setting, file: Annotated[bytes, Body(media_type="text/csv")]
) -> ImportOut:
    """Take a CSV file, whole or not at all; each problem is told with its line."""
    done = item_files.import_items(db, caller, file, name="API")
    return ImportOut(
        new=done.new,
        changed=done.changed,
        same=done.same,
        problems=[
            RowProblemOut(line=one.line, column=one.column, text=str(one)) for one in done.problems
        ],
    )


@router.put("/items/{item_id}")
def update_item(db: Db, item_id: Id, body: ItemIn, caller: Setting) -> ItemOut:
    """Change an item. What was sold stays as it was."""
    return _saved_item(db, caller, item_id, body)


@router.delete("/items/{item_id}", status_code=204)
def remove_item(db: Db, item_id: Id, caller: Setting) -> None:
    """Sell it no longer."""
    service.remove_item(db, caller, item_id)


@router.get("/presets")
def presets(db: ReadDb, caller: Reading) -> list[PresetOut]:
    """Charges that are made again and again, in their order."""
    return [_preset_out(one) for one in queries.presets_of(db, caller.merchant_id)]


@router.post("/presets", status_code=201, response_model=PresetOut)
def create_preset(db: Db, once: OnceOnly, body: PresetIn, caller: Setting) -> Response:
    """Add a preset."""
    return once.answer(db, caller, lambda: _saved_preset(db, caller, "", body))


@router.put("/presets/{preset_id}")
def update_preset(db: Db, preset_id: Id, body: PresetIn, caller: Setting) -> PresetOut:
    """Change a preset."""
    return _saved_preset(db, caller, preset_id, body)


@router.delete("/presets/{preset_id}", status_code=204)
def remove_preset(db: Db, preset_id: Id, caller: Setting) -> None:
    """Delete a preset."""
    service.remove_preset(db, caller, preset_id)


@router.put("/order/{listed}", status_code=204)
def arrange(
    db: Db, listed: Literal["fields", "presets", "taxes"], body: OrderIn, caller: Setting
) -> None:
    """Put fields, presets or taxes in another order."""
    service.arrange(db, caller, _ORDERED[listed], body.ids)


@router.get("/limits")
def limits(
    db: ReadDb, caller: Annotated[Caller, requires(Permission.USER_VIEW)]
) -> list[LimitsOut]:
    """The members who have limits of their own."""
    found = queries.all_limits(db, caller.scope)
    return [_limits_out(user_id, one) for user_id, one in sorted(found.items())]


@router.get("/limits/mine")
def my_limits(db: ReadDb, caller: Annotated[Caller, SIGNED_IN]) -> LimitsOut:
    """What the caller may do."""
    return _limits_out(caller.id, queries.limits_of(db, caller.merchant_id, caller.id))


@router.put("/limits/{user_id}")
def set_limits(
    db: Db,
    user_id: Id,
    body: LimitsIn,
    caller: Annotated[Caller, requires(Permission.USER_MANAGE)],
) -> LimitsOut:
    """Limit a member; an empty body takes every limit away. Nobody sets their own."""
    wanted = MemberLimits(
        charge=body.charge,
        refund=body.refund,
        day=body.day,
        methods=None if body.methods is None else frozenset(body.methods),
    )
    service.set_limits(db, caller, user_id, wanted)
    return _limits_out(user_id, wanted)


def _saved_tax(db: Transaction, caller: Caller, tax_id: str, body: TaxIn) -> TaxOut:
    saved = service.save_tax(db, caller, TaxRate(tax_id, **body.model_dump()))
    return TaxOut(id=saved, **body.model_dump())


def _saved_field(db: Transaction, caller: Caller, field_id: str, body: FieldIn) -> FieldOut:
    wanted = TillField(
        id=field_id,
        key=body.key,
        label_en=body.label_en,
        label_fr=body.label_fr,
        kind=body.kind,
        required_for=frozenset(body.required_for),
        choices=tuple(body.choices),
        pattern=body.pattern,
        searchable=body.searchable,
    )
    saved = service.save_field(db, caller, wanted)
    kept = queries.settings_of(db, caller.merchant_id).fields
    return next(_field_out(one) for one in kept if one.id == saved)


def _saved_item(db: Transaction, caller: Caller, item_id: str, body: ItemIn) -> ItemOut:
    wanted = TillItem(
        id=item_id,
        price=Money(body.price_minor, body.currency),
        **body.model_dump(exclude={"price_minor", "currency"}),
    )
    saved = service.save_item(db, caller, wanted)
    (kept,) = queries.items_by_id(db, caller.merchant_id, [saved])
    return _item_out(kept)


def _saved_preset(db: Transaction, caller: Caller, preset_id: str, body: PresetIn) -> PresetOut:
    wanted = TillPreset(
        id=preset_id,
        amount=Money(body.amount_minor, body.currency),
        **body.model_dump(exclude={"amount_minor", "currency"}),
    )
    return _preset_out(replace(wanted, id=service.save_preset(db, caller, wanted)))


def _settings_out(found: TillSettings) -> SettingsOut:
    tax = found.default_tax
    return SettingsOut(
        currency=found.currency,
        currencies=list(found.currencies),
        tip_percents=list(found.tip_percents),
        tips_when_keyed=found.tips_when_keyed,
        taxes=[_tax_out(one) for one in found.taxes],
        default_tax_id=None if tax is None else tax.id,
        refund_limits=dict(found.refund_limits),
        charge_limits=dict(found.charge_limits),
        address_check=found.address_check,
        postal_code_check=found.postal_code_check,
        cvc_check=found.cvc_check,
        moto=found.moto,
        duplicate_minutes=found.duplicate_window // timedelta(minutes=1),
        capture_later=found.capture_later,
        link_hours=found.link_life // timedelta(hours=1),
    )


def _tax_out(tax: TaxRate) -> TaxOut:
    # Plain digits: 20, not 2E+1.
    percent = Decimal(f"{tax.percent:f}")
    return TaxOut(id=tax.id, name=tax.name, percent=percent, mode=tax.mode)


def _field_out(one: TillField) -> FieldOut:
    values: dict[str, Any] = {  # Any: values of several kinds
        name: getattr(one, name) for name in FieldOut.model_fields
    }
    values["required_for"] = sorted(one.required_for)
    values["choices"] = list(one.choices)
    return FieldOut(**values)


def _item_out(item: TillItem) -> ItemOut:
    return ItemOut(
        id=item.id,
        name=item.name,
        price_minor=item.price.minor,
        currency=item.price.currency,
        tax_id=item.tax_id,
        code=item.code,
        quick_key=item.quick_key,
        colour=item.colour,
        active=item.active,
    )


def _preset_out(preset: TillPreset) -> PresetOut:
    return PresetOut(
        id=preset.id,
        name=preset.name,
        amount_minor=preset.amount.minor,
        currency=preset.amount.currency,
        reference=preset.reference,
        note=preset.note,
        method=preset.method,
        customer_id=preset.customer_id,
        quick_key=preset.quick_key,
    )


def _limits_out(user_id: str, found: MemberLimits) -> LimitsOut:
    return LimitsOut(
        user_id=user_id,
        charge=dict(found.charge),
        refund=dict(found.refund),
        day=dict(found.day),
        methods=None if found.methods is None else sorted(found.methods),
    )
