"""Presets: charges that are made again and again, each with a link and perhaps a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.customers import queries as customers
from control_plane.customers.queries import CustomerFilter
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.till import queries, service
from control_plane.till.models import PRESETS
from control_plane.till.values import PRESET_KEYS, Channel, TillPreset
from control_plane.web import till_words
from control_plane.web.filled import Filled, Form
from control_plane.web.i18n import N_
from control_plane.web.pages.settings import Setting, attempt, move_of
from control_plane.web.views import Choice
from control_plane.web.visits import site_of
from protocols.errors import MoneyMismatch
from protocols.money import Money

router = APIRouter(prefix="/settings/presets")

_MOST_CUSTOMERS: Final = 100
_TEXTS: Final = {
    "name": 80, "amount": 20, "currency": 3, "reference": 200, "note": 200, "method": 20,
    "customer": 40, "quick_key": 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PresetRow:
    """A preset in the list."""

    id: str
    name: str
    amount: Money
    method: str
    reference: str
    customer: str
    key: str
    link: str


@router.get("")
def presets(request: Request, caller: Setting, db: ReadDb) -> Response:
    """The presets, in the order in which a till shows them."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    rows = [
        PresetRow(
            id=one.id,
            name=one.name,
            amount=one.amount,
            method=till_words.CHANNELS[one.method] if one.method else "",
            reference=one.reference,
            customer=_customer_name(db, caller, one.customer_id),
            key=f"F{one.quick_key}" if one.quick_key else "",
            link=f"{site.parts.settings.base_url}/pos?preset={one.id}",
        )
        for one in queries.presets_of(db, caller.merchant_id)
    ]
    return site.page(visit, "settings/presets.html", presets=rows)


@router.get("/add")
def ask_for_preset(request: Request, caller: Setting, db: ReadDb) -> Response:
    """The form for a new preset."""
    currency = queries.settings_of(db, caller.merchant_id).currency
    written = {**dict.fromkeys(_TEXTS, ""), "currency": currency}
    return _form(request, caller, db, "", written, {})


@router.get("/{preset_id}")
def edit_preset(request: Request, caller: Setting, db: ReadDb, preset_id: str) -> Response:
    """The form of a preset."""
    one = _preset(db, caller, preset_id)
    written = {
        "name": one.name, "amount": f"{one.amount.decimal():f}", "currency": one.amount.currency,
        "reference": one.reference, "note": one.note, "method": one.method or "",
        "customer": one.customer_id or "", "quick_key": str(one.quick_key or ""),
    }  # fmt: skip
    return _form(request, caller, db, preset_id, written, {})


@router.post("/add")
def add_preset(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """A new preset."""
    return _save(request, caller, db, form, "")


@router.post("/{preset_id}")
def change_preset(request: Request, caller: Setting, db: Db, form: Form, preset_id: str) -> Response:  # fmt: skip
    """Change a preset."""
    _preset(db, caller, preset_id)
    return _save(request, caller, db, form, preset_id)


@router.post("/{preset_id}/{step}")
def arrange_preset(caller: Setting, db: Db, preset_id: str, step: str) -> Response:
    """Remove a preset, or move it."""
    if step == "remove":
        service.remove_preset(db, caller, preset_id)
    else:
        service.move(db, caller, PRESETS, preset_id, move_of(step))
    return RedirectResponse("/settings/presets", 303)


def _save(request: Request, caller: Caller, db: Transaction, form: Filled, preset_id: str) -> Response:  # fmt: skip
    visit = site_of(request).visit(db, request, caller)
    written = {name: form.text(name, most) for name, most in _TEXTS.items()}
    problems: dict[str, str] = {}
    settings = queries.settings_of(db, caller.merchant_id)
    amount = Money(0, settings.currency)
    if written["currency"] not in settings.currencies:
        problems["currency"] = visit.say(N_("Choose a currency from the list."))
    else:
        try:
            amount = Money.parse(written["amount"], written["currency"])
        except MoneyMismatch:
            problems["amount"] = visit.say(N_("Write the amount like 12.34."))
    if written["customer"] and not _customer_name(db, caller, written["customer"]):
        problems["customer"] = visit.say(N_("Choose a customer from the list, or nobody."))
    if not problems:
        wanted = TillPreset(
            id=preset_id,
            name=written["name"],
            amount=amount,
            reference=written["reference"],
            note=written["note"],
            method=Channel(written["method"]) if written["method"] in set(Channel) else None,
            customer_id=written["customer"] or None,
            quick_key=form.number("quick_key"),
        )
        attempt(db, visit, problems, lambda: service.save_preset(db, caller, wanted))
    if problems:
        return _form(request, caller, db, preset_id, written, problems)
    return RedirectResponse("/settings/presets", 303)


def _form(
    request: Request,
    caller: Caller,
    db: Transaction,
    preset_id: str,
    written: Mapping[str, Any],
    problems: Mapping[str, str],
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    settings = queries.settings_of(db, caller.merchant_id)
    presets_ = queries.presets_of(db, caller.merchant_id)
    taken = {one.quick_key: one.name for one in presets_ if one.id != preset_id}
    return site.page(
        visit,
        "settings/preset.html",
        status=422 if problems else 200,
        preset_id=preset_id,
        written=written,
        problems=problems,
        currencies=[Choice(one, one) for one in settings.currencies],
        methods=[
            Choice(channel.value, visit.say(text)) for channel, text in till_words.CHANNELS.items()
        ],
        customers=_customers(db, caller, written["customer"]),
        keys=[
            Choice(str(key), f"F{key} · {taken[key]}" if key in taken else f"F{key}")
            for key in range(1, PRESET_KEYS + 1)
        ],
    )


def _preset(db: Transaction, caller: Caller, preset_id: str) -> TillPreset:
    found = next((one for one in queries.presets_of(db, caller.merchant_id) if one.id == preset_id), None)  # fmt: skip
    if found is None:
        raise NotFound("preset", preset_id)
    return found


def _customers(db: Transaction, caller: Caller, chosen: str) -> list[Choice]:
    """Those who paid last, and the one that is chosen."""
    found = customers.customers(db, caller.scope, CustomerFilter(), limit=_MOST_CUSTOMERS)
    choices = [Choice(row.id, row.name or row.company) for row in found]
    name = _customer_name(db, caller, chosen)
    if name and all(choice.value != chosen for choice in choices):
        choices.insert(0, Choice(chosen, name))
    return choices


def _customer_name(db: Transaction, caller: Caller, customer_id: str | None) -> str:
    if not customer_id:
        return ""
    found = customers.customer(db, caller.scope, customer_id)
    return "" if found is None else found.name or found.company
