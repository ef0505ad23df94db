"""The form of a sale: what it was sent with, what it shows again, and the order that it asks for."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlencode

from fastapi import Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from control_plane.accounts.permissions import Permission
from control_plane.card_present.encrypting import lacks_processor
from control_plane.customers import queries as customers
from control_plane.customers.expiry import Expiry, expiry_of
from control_plane.customers.models import MethodStatus
from control_plane.devices import queries as devices
from control_plane.errors import NotFound, RequestRefused
from control_plane.payments import queries as session_queries
from control_plane.till import queries as tills
from control_plane.till.fields import check_fields, example_of, reference_of
from control_plane.till.totals import AskedLine, Totals, lines_of, tip_of, total
from control_plane.till.values import (
    Catalogue,
    Channel,
    FieldKind,
    TaxMode,
    TillField,
    TillItem,
    TillSettings,
)
from control_plane.virtual_terminal import cloud_readers
from control_plane.virtual_terminal.accounts import account_of
from control_plane.virtual_terminal.wishes import Order
from control_plane.web import card_words, pay_words, present
from control_plane.web.i18n import N_
from control_plane.web.pay_views import (
    Bill,
    BillLine,
    ChosenCustomer,
    FieldsAccount,
    ItemKey,
    MethodPanel,
    OwnField,
    PresetKey,
    SavedChoice,
    TaxPart,
    TipChoice,
)
from control_plane.web.views import ReaderChoice, TillForm
from protocols.errors import MoneyMismatch
from protocols.ids import new_id
from protocols.money import CURRENCIES, Money
from protocols.readers.emv import redact_card_numbers

if TYPE_CHECKING:
    from datetime import date

    from control_plane.db.unit_of_work import Transaction
    from control_plane.web.visits import Visit

_MOST_READERS: Final = 50
_MOST_LINES: Final = 100
#: Offered at the till when nobody chose which currencies are.
_COMMON: Final = ("EUR", "USD", "GBP", "CHF", "JPY")
_OWN: Final = "field-"
_INPUTS: Final = {
    FieldKind.DATE: "date",
    FieldKind.EMAIL: "email",
}
BANK_KINDS: Final = {"EUR": ("sepa_debit",), "USD": ("us_bank_account",)}
_LENGTHS: Final = {
    "key": 64, "amount": 40, "currency": 3, "reader": 64, "reference": 200, "note": 200,
    "method": 20, "customer": 40, "email": 254, "tip": 12, "saved": 40, "token": 200,
    "brand": 40, "last4": 4, "kind": 40, "send_to": 254, "holder": 200,
    "add": 40, "less": 40, "find": 120, "replaces": 40,
}  # fmt: skip
#: Texts of people, in which somebody may have typed a card's number.
_WRITTEN: Final = ("reference", "note", "email", "send_to", "holder")
LOOKS_LIKE_A_CARD: Final = N_(
    "This looks like a card number. Type it only into the fields for cards."
)

_Short = Annotated[str, StringConstraints(max_length=64, strip_whitespace=True)]
_Long = Annotated[str, StringConstraints(max_length=254, strip_whitespace=True)]


class Asked(BaseModel):
    """What an address may fill the form with."""

    model_config = ConfigDict(frozen=True)

    method: _Short = ""
    amount: _Short = ""
    currency: _Short = ""
    customer: _Short = ""
    saved: _Short = ""
    preset: _Short = ""
    reference: _Long = ""
    note: _Long = ""
    email: _Long = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """The form as it came."""

    values: Mapping[str, str]
    lines: Sequence[tuple[str, int]] = ()
    """Item and quantity."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Values of the merchant's own fields."""

    def __getattr__(self, name: str) -> str:
        if name not in _LENGTHS:
            raise AttributeError(name)
        return self.values.get(name, "")

    def has(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.values.get(name))

    @property
    def digest(self) -> str:
        """What makes two sendings of one form the same wish."""
        wish = [self.amount, self.currency, self.reader, self.reference, self.note]
        return hashlib.sha256(json.dumps(wish).encode()).hexdigest()

    @property
    def channel(self) -> Channel:
        """How it is to be paid."""
        try:
            return Channel(self.method or "reader")
        except ValueError:
            return Channel.READER

    @property
    def needs_payment(self) -> bool:
        """Whether it brings more than a session on a reader of ours can carry."""
        return (
            self.channel is not Channel.READER
            or bool(self.lines or self.customer or self.tip or self.email or self.has("later"))
            or any(self.own.values())
        )

    def card_numbers(self) -> list[str]:
        """The names of the texts that hold what could be a card's number."""
        texts = {name: self.values.get(name, "") for name in _WRITTEN}
        texts |= {f"{_OWN}{key}": value for key, value in self.own.items()}
        return [name for name, text in texts.items() if redact_card_numbers(text) != text]


async def filled(request: Request) -> Filled:
    """The fields of the form. Raises RequestRefused for what no page of ours sends."""
    form = await request.form()
    values, own, lines = dict[str, str](), dict[str, str](), list[tuple[str, int]]()
    for name, value in form.multi_items():
        if not isinstance(value, str):
            continue
        if name == "line":
            item, _, quantity = value.rpartition(":")
            lines.append(
                (item[:40], int(quantity) if quantity.isdecimal() and len(quantity) < 5 else 1)
            )
        elif name.startswith(_OWN):
            own[name.removeprefix(_OWN)[:40]] = value.strip()[:400]
        else:
            text = value.strip()
            if len(text) > _LENGTHS.get(name, 400):
                raise RequestRefused(field=name, reason=f"{name} is too long.")
            values[name] = text
    if len(lines) > _MOST_LINES:
        raise RequestRefused(field="line", reason=f"A sale has at most {_MOST_LINES} lines.")
    return Filled(values, tuple(lines), own)


def policy_of(account: FieldsAccount | None) -> dict[str, str]:
    """The headers of a page on which somebody may type a card."""
    return {"Content-Security-Policy": account.policy()} if account else {}


# --- what the form shows -------------------------------------------------------------------------------------------


def empty(db: Transaction, visit: Visit, reader_id: str, asked: Asked) -> TillForm:
    """A new sale, filled in as an address asks."""
    settings = tills.settings_of(db, visit.caller.merchant_id)
    catalogue = tills.catalogue_of(db, visit.caller.merchant_id)
    preset = catalogue.preset(asked.preset) if asked.preset else None
    values = {name: value for name, value in asked.model_dump().items() if value}
    if preset is not None:
        values = {
            "amount": str(preset.amount.decimal()),
            "currency": preset.amount.currency,
            "reference": preset.reference,
            "note": preset.note,
            "method": preset.method.value if preset.method else "",
            "customer": preset.customer_id or "",
            **values,
        }
    if "customer" in values and "method" not in values and "saved" in values:
        values["method"] = Channel.SAVED.value
    return _form(db, visit, settings, catalogue, Filled({**values, "reader": reader_id}))


def again(
    db: Transaction, visit: Visit, wish: Filled, problems: Mapping[str, str] | None = None
) -> TillForm:
    """The form as it came, with what keeps it from being charged."""
    settings = tills.settings_of(db, visit.caller.merchant_id)
    catalogue = tills.catalogue_of(db, visit.caller.merchant_id)
    form = _form(db, visit, settings, catalogue, wish)
    return replace(form, key=wish.key or form.key, problems=problems or {})


def with_readers(db: Transaction, visit: Visit, reader_id: str) -> TillForm:
    """Only what the list of readers shows."""
    readers = readers_of(db, visit, reader_id)
    return TillForm(key="", currencies=(), currency="", readers=readers, reader_id=reader_id)


def method_panel(db: Transaction, visit: Visit, asked: Asked) -> MethodPanel:
    """What one way to pay needs beside the amount."""
    settings = tills.settings_of(db, visit.caller.merchant_id)
    chosen = _customer(db, visit, asked.customer)
    account = fields_account(db, visit.caller.merchant_id)
    currency = asked.currency or settings.currency
    saved = saved_choices(db, visit, chosen) if asked.method == Channel.SAVED else []
    return MethodPanel(
        method=asked.method if asked.method in set(Channel) else Channel.KEYED.value,
        currency=currency,
        account=account,
        moto=bool(account and account.moto and settings.moto),
        customer=chosen,
        saved=saved,
        saved_id=asked.saved or next((one.id for one in saved if one.usable), ""),
        bank_kinds=BANK_KINDS.get(currency, ()),
        link_life=settings.link_life,
    )


def fields_account(db: Transaction, merchant_id: str) -> FieldsAccount | None:
    """Whose card fields this merchant's pages show; None while no account is connected."""
    account = account_of(db, merchant_id)
    if account is None:
        return None
    return FieldsAccount(account.script_url, account.publishable_key, account.moto_enabled)


def saved_choices(
    db: Transaction, visit: Visit, customer: ChosenCustomer | None
) -> list[SavedChoice]:
    """What the customer let the shop keep, as it can be charged today."""
    if customer is None:
        return []
    rows = customers.methods(db, visit.caller.scope, customer.id)
    return [_saved(visit, row, visit.today()) for row in rows]


def everything(db: Transaction, visit: Visit) -> Sequence[TillItem]:
    """All that is sold."""
    return tills.catalogue_of(db, visit.caller.merchant_id).items


def bill_form(db: Transaction, visit: Visit, wish: Filled) -> TillForm:
    """What the sale comes to after a quick key was pressed."""
    settings = tills.settings_of(db, visit.caller.merchant_id)
    counts = dict[str, int]()
    for item, quantity in wish.lines:
        counts[item] = counts.get(item, 0) + quantity
    added, problem = wish.add, ""
    if wish.find and not added:
        found = _find(everything(db, visit), wish.find)
        added = found.id if found else ""
        if not found:
            problem = visit.say(N_("Nothing is called “%(name)s”."), name=wish.find)
    if added:
        counts[added] = counts.get(added, 0) + 1
    if wish.less:
        counts[wish.less] = counts.get(wish.less, 0) - 1
    lines = tuple((item, quantity) for item, quantity in counts.items() if quantity > 0)
    changed = replace(wish, lines=lines)
    form = TillForm(key=wish.key, currencies=(), currency=wish.currency, readers=())
    shown = bill_of(db, visit, settings, changed)
    return replace(form, bill=replace(shown, problem=problem or shown.problem))


def bill_of(db: Transaction, visit: Visit, settings: TillSettings, wish: Filled) -> Bill:
    """The lines, taxes and tips of a sale, and what it comes to."""
    tips = []
    if settings.tip_percents and (wish.channel is Channel.READER or settings.tips_when_keyed):
        tips = [TipChoice("", visit.say(N_("None")))]
        tips += [
            TipChoice(f"{one:f}", visit.formats.percent(one / 100)) for one in settings.tip_percents
        ]
    added = settings.default_tax is not None and settings.default_tax.mode is TaxMode.ADDED
    bill = Bill(
        tips=tips, tip=wish.tip, asks=bool(added or wish.lines or wish.tip or settings.default_tax)
    )
    try:
        totals = totals_of(db, settings, wish)
    except (RequestRefused, MoneyMismatch) as refused:
        return replace(
            bill, problem=visit.explain(refused) if isinstance(refused, RequestRefused) else ""
        )
    if totals is None:
        return bill
    lines = [
        BillLine(one.line.name, one.line.quantity, one.total, one.line.item_id or "")
        for one in totals.lines
    ]
    return replace(
        bill,
        lines=lines if any(line.item_id for line in lines) else (),
        taxes=[
            TaxPart(_tax_name(visit, tax.rate.name, tax.rate.percent), tax.tax)
            for tax in totals.taxes
        ],
        tip_amount=totals.tip if totals.tip.minor else None,
        total=totals.total,
    )


# --- what the form asks for ----------------------------------------------------------------------------------------


def totals_of(db: Transaction, settings: TillSettings, wish: Filled) -> Totals | None:
    """What lines, the typed amount and the tip come to; None for nothing. Raises RequestRefused, MoneyMismatch."""
    ids = {item for item, _ in wish.lines}
    items = tills.items_by_id(db, settings.merchant_id, ids)
    asked = [AskedLine(item_id=item, quantity=quantity) for item, quantity in wish.lines]
    typed = money_of(wish) if wish.amount else None
    if typed is not None and typed.minor:
        asked.append(AskedLine(unit=typed))
    if not asked:
        return None
    lines = lines_of(settings, items, asked)
    before = total(lines)
    try:
        percent = Decimal(wish.tip) if wish.tip else Decimal(0)
    except InvalidOperation:
        percent = Decimal(0)
    if percent not in settings.tip_percents:
        return before
    return total(lines, tip_of(before.before_tip, percent))


def money_of(wish: Filled) -> Money:
    """The amount that was typed. Raises MoneyMismatch."""
    return Money.parse(wish.amount.replace(" ", "").replace("\u202f", ""), wish.currency)


def order_of(db: Transaction, visit: Visit, wish: Filled) -> tuple[Order | None, dict[str, str]]:
    """The order that a form asks for, or what keeps it from being one: sentences by the names of fields."""
    settings = tills.settings_of(db, visit.caller.merchant_id)
    problems = {name: visit.say(LOOKS_LIKE_A_CARD) for name in wish.card_numbers()}
    totals = None
    try:
        totals = totals_of(db, settings, wish)
    except MoneyMismatch:
        problems["amount"] = visit.say(N_("Write the amount like 12.34."))
    except RequestRefused as refused:
        problems["items"] = visit.explain(refused)
    else:
        if totals is None:
            problems["amount"] = visit.say(N_("Write the amount like 12.34."))
    checked = check_fields(settings, wish.channel, wish.own)
    for key, problem in checked.problems.items():
        said = problem.said(visit.say(problem.text), visit.language)
        problems.setdefault(f"{_OWN}{key}", said)
    if problems or totals is None:
        return None, problems
    has_lines = bool(wish.lines or totals.taxes)
    order = Order(
        amount=totals.total,
        location_id=_shop_of(db, visit, wish.reader),
        customer_id=wish.customer or None,
        tax_minor=totals.tax.minor,
        tip_minor=totals.tip.minor,
        items=tuple(one.stored() for one in totals.lines) if has_lines else (),
        fields=checked.clean,
        reference=reference_of(settings, checked.clean) or wish.reference,
        note=wish.note,
        receipt_email=wish.email,
        capture_later=wish.has("later"),
        form_key=wish.key or None,
        confirm_duplicate=wish.has("confirm_duplicate"),
    )
    return order, {}


def _shop_of(db: Transaction, visit: Visit, reader_id: str) -> str | None:
    """Where the till stands, as its reader tells; None when it has none."""
    for look in (cloud_readers.reader, session_queries.reader_for_payment):
        with contextlib.suppress(NotFound):
            return look(db, visit.caller.scope, reader_id).location_id
    return None


# --- readers -------------------------------------------------------------------------------------------------------


def readers_of(db: Transaction, visit: Visit, chosen: str) -> list[ReaderChoice]:
    """Readers that a sale can be started on: our boxes' and the processor's."""
    rows = devices.readers(db, visit.caller.scope, devices.ReaderFilter(), limit=_MOST_READERS)
    merchant_id = visit.caller.merchant_id
    lacking = {
        profile: card_words.NO_PROCESSOR
        for profile in {row.profile for row in rows}
        if lacks_processor(db, merchant_id, profile)
    }
    ours = [
        present.reader_choice(row, visit.places, lacks=lacking.get(row.profile, "")) for row in rows
    ]
    theirs = [
        ReaderChoice(
            one.id,
            one.name,
            visit.places.get(one.location_id, ""),
            "online" if one.is_online else "offline",
            "busy" if one.held_by else "ready",
            one.last_seen_at,
            is_cloud=True,
        )
        for one in cloud_readers.readers_for_payment(db, visit.caller.scope)
    ]
    return _in_order([*ours, *theirs], chosen)


def is_cloud_reader(db: Transaction, visit: Visit, reader_id: str) -> bool:
    """Whether the processor drives this reader."""
    theirs = cloud_readers.readers_for_payment(db, visit.caller.scope)
    return reader_id in {one.id for one in theirs}


def _in_order(readers: list[ReaderChoice], chosen: str) -> list[ReaderChoice]:
    """Those of the till's own shop first, then shops where one is online. Within a shop by name: keys stay the same."""
    own = {reader.place for reader in readers if reader.id == chosen}
    live = {reader.place for reader in readers if reader.reach == "online"}
    return sorted(
        readers,
        key=lambda reader: (reader.place not in own, reader.place not in live, reader.place),
    )


# --- parts ---------------------------------------------------------------------------------------------------------


def _form(
    db: Transaction, visit: Visit, settings: TillSettings, catalogue: Catalogue, wish: Filled
) -> TillForm:
    readers = readers_of(db, visit, wish.reader)
    reader_id = wish.reader
    if reader_id not in {reader.id for reader in readers}:
        reader_id = next((reader.id for reader in readers if reader.is_ready), "")
    may_charge = visit.caller.can(Permission.PAYMENT_CHARGE_CREATE)
    account = fields_account(db, visit.caller.merchant_id) if may_charge else None
    currencies = settings.currencies
    if account is None and len(currencies) < 2:
        # Readers of ours take what they are told; what else is taken, the settings say.
        currencies = (settings.currency, *(one for one in _COMMON if one != settings.currency))
    currency = wish.currency if wish.currency in currencies else settings.currency
    methods = pay_words.METHODS if may_charge else pay_words.METHODS[:1]
    limits = tills.limits_of(db, visit.caller.merchant_id, visit.caller.id)
    if limits.methods is not None:
        methods = [one for one in methods if one.value in limits.methods]
    method = (
        wish.method
        if wish.method in {one.value for one in methods}
        else methods[0].value
        if methods
        else "reader"
    )
    chosen = _customer(db, visit, wish.customer)
    saved = saved_choices(db, visit, chosen) if method == Channel.SAVED else []
    own_fields = [_own_field(one, visit.language, method, wish) for one in settings.fields]
    amount = wish.amount
    shown = replace(wish, values={**wish.values, "currency": currency, "method": method})
    return TillForm(
        key=new_id("form"),
        currencies=[code for code in currencies if code in CURRENCIES],
        currency=currency,
        readers=readers,
        reader_id=reader_id,
        amount=amount.replace(".", ",") if visit.language == "fr" else amount,
        reference=wish.reference,
        note=wish.note,
        method=method,
        methods=methods,
        account=account,
        moto=bool(account and account.moto and settings.moto),
        customer=chosen,
        saved=saved,
        saved_id=wish.saved or next((one.id for one in saved if one.usable), ""),
        bank_kinds=BANK_KINDS.get(currency, ()),
        link_life=settings.link_life,
        own_fields=own_fields,
        has_order_field=any(one.kind is FieldKind.ORDER_NUMBER for one in settings.fields),
        presets=[
            PresetKey(f"/pos?{urlencode({'preset': one.id})}", one.name, one.amount, one.quick_key)
            for one in catalogue.presets
        ],
        board=[ItemKey(one.id, one.name, one.price, one.colour.value) for one in catalogue.board],
        sells=bool(catalogue.items),
        bill=bill_of(db, visit, settings, shown),
        email=wish.email or (chosen.email if chosen else ""),
        later=wish.has("later") or settings.capture_later,
        more_open=bool(wish.reference or wish.note or wish.has("later")),
    )


def _customer(db: Transaction, visit: Visit, customer_id: str) -> ChosenCustomer | None:
    if not customer_id or not visit.caller.can(Permission.CUSTOMER_VIEW):
        return None
    row = customers.customer(db, visit.caller.scope, customer_id)
    if row is None or row.archived_at is not None:
        return None
    return ChosenCustomer(row.id, row.name or row.company, row.email)


def _saved(visit: Visit, row: customers.Found, today: date) -> SavedChoice:
    name = present.card(row.brand or row.bank_name, row.last4)
    expired = expiry_of(row.exp_month, row.exp_year, today) is Expiry.EXPIRED
    if row.exp_month:
        text = N_("Expired %(month)s") if expired else N_("Expires %(month)s")
        detail = visit.say(text, month=f"{row.exp_month:02d}/{row.exp_year % 100:02d}")
    else:
        detail = visit.say(N_("Bank account"))
    usable = row.status is MethodStatus.ACTIVE or (
        row.status is MethodStatus.EXPIRED and bool(row.exp_month)
    )
    return SavedChoice(row.id, name, detail, usable=usable)


def _own_field(one: TillField, language: str, method: str, wish: Filled) -> OwnField:
    return OwnField(
        key=one.key,
        label=one.label(language),
        input=_INPUTS.get(one.kind, "text"),
        required=method in one.required_for,
        choices=one.choices if one.kind is FieldKind.CHOICE else (),
        example=example_of(one.pattern),
        value=wish.own.get(one.key, wish.reference if one.kind is FieldKind.ORDER_NUMBER else ""),
    )


def _find(items: Sequence[TillItem], text: str) -> TillItem | None:
    wanted = text.casefold()
    exact = [item for item in items if wanted in {item.name.casefold(), item.code.casefold()}]
    begins = [item for item in items if item.name.casefold().startswith(wanted)]
    return next(iter([*exact, *begins]), None)


def _tax_name(visit: Visit, name: str, percent: Decimal) -> str:
    return f"{name} {visit.formats.percent(percent / 100)}"
