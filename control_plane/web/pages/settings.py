"""Settings of the till, its taxes and its limits. Fields, items and presets have modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError, NotFound
from control_plane.formats import known_currencies
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.security import requires
from control_plane.till import queries, service
from control_plane.till.limits import MemberLimits
from control_plane.till.models import TAXES
from control_plane.till.values import Amounts, CheckPolicy, TaxMode, TaxRate, TillSettings
from control_plane.web import till_words, words
from control_plane.web.filled import Filled, Form
from control_plane.web.i18n import N_
from control_plane.web.views import Choice
from control_plane.web.visits import Visit, site_of
from protocols.errors import MoneyMismatch
from protocols.money import Money

router = APIRouter(prefix="/settings")

Setting = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]

_MOVES: Final = {"up": -1, "down": 1}
_TEXTS: Final = ("tip_percents", "default_tax", "duplicate_minutes", "link_hours")
_CHECKS: Final = ("address_check", "postal_code_check", "cvc_check")
_SWITCHES: Final = ("tips_when_keyed", "moto", "capture_later")


@router.get("")
def settings(caller: Setting) -> Response:
    """The first tab."""
    del caller
    return RedirectResponse("/settings/till", 303)


@router.get("/till")
def till(
    request: Request, caller: Setting, db: ReadDb, saved: Annotated[bool, Query()] = False
) -> Response:
    """How payments are taken."""
    present = queries.settings_of(db, caller.merchant_id)
    return _till_page(request, caller, db, _written_of(present), {}, saved=saved)


@router.post("/till")
def save_till(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """Change how payments are taken."""
    present = queries.settings_of(db, caller.merchant_id)
    visit = site_of(request).visit(db, request, caller)
    problems: dict[str, str] = {}
    tax_id = form.text("default_tax")
    tax = present.tax(tax_id) if tax_id else None
    if tax_id and tax is None:
        problems["default_tax"] = visit.say(N_("Choose a tax rate from the list."))
    minutes, hours = form.number("duplicate_minutes"), form.number("link_hours")
    if minutes is None:
        problems["duplicate_minutes"] = visit.say(N_("Write a whole number of minutes."))
    if hours is None:
        problems["link_hours"] = visit.say(N_("Write a whole number of hours."))
    wanted = replace(
        present,
        currencies=(present.currency, *form.texts("currencies")),
        tip_percents=_tips(form, visit, problems),
        default_tax=tax,
        duplicate_window=timedelta(minutes=minutes or 0),
        link_life=timedelta(hours=hours or 1),
        address_check=_policy(form.text("address_check")),
        postal_code_check=_policy(form.text("postal_code_check")),
        cvc_check=_policy(form.text("cvc_check")),
        tips_when_keyed=form.is_on("tips_when_keyed"),
        moto=form.is_on("moto"),
        capture_later=form.is_on("capture_later"),
    )
    if not problems:
        attempt(db, visit, problems, lambda: service.update_settings(db, caller, wanted))
    if problems:
        return _till_page(request, caller, db, _written_in(form, present), problems)
    return RedirectResponse("/settings/till?saved=1", 303)


@router.get("/limits")
def limits(
    request: Request, caller: Setting, db: ReadDb, saved: Annotated[bool, Query()] = False
) -> Response:
    """What needs a second person, and what nobody may do."""
    present = queries.settings_of(db, caller.merchant_id)
    written = {
        "refund_limits": as_written(present.refund_limits),
        "charge_limits": as_written(present.charge_limits),
    }
    return _limits_page(request, caller, db, present, written, {}, saved=saved)


@router.post("/limits")
def save_limits(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """Change what holds for everybody."""
    present = queries.settings_of(db, caller.merchant_id)
    visit = site_of(request).visit(db, request, caller)
    problems: dict[str, str] = {}
    refunds = amounts_of(form, "refund_limits", present, visit, problems)
    charges = amounts_of(form, "charge_limits", present, visit, problems)
    if not problems:
        wanted = replace(present, refund_limits=refunds, charge_limits=charges)
        attempt(db, visit, problems, lambda: service.update_settings(db, caller, wanted))
    if problems:
        written = {
            name: written_amounts(form, name, present)
            for name in ("refund_limits", "charge_limits")
        }
        return _limits_page(request, caller, db, present, written, problems)
    return RedirectResponse("/settings/limits?saved=1", 303)


@router.get("/taxes")
def taxes(request: Request, caller: Setting, db: ReadDb) -> Response:
    """The rates of tax."""
    return _taxes_page(request, caller, db, "", {}, {})


@router.get("/taxes/{tax_id}")
def edit_tax(request: Request, caller: Setting, db: ReadDb, tax_id: str) -> Response:
    """The list, with the form for one rate."""
    tax = _tax(queries.settings_of(db, caller.merchant_id), tax_id)
    written = {"name": tax.name, "percent": f"{tax.percent:f}", "mode": tax.mode.value}
    return _taxes_page(request, caller, db, tax_id, written, {})


@router.post("/taxes")
def add_tax(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """A new rate."""
    return _save_tax(request, caller, db, form, "")


@router.post("/taxes/{tax_id}")
def change_tax(request: Request, caller: Setting, db: Db, form: Form, tax_id: str) -> Response:
    """Change a rate."""
    return _save_tax(request, caller, db, form, tax_id)


@router.post("/taxes/{tax_id}/{step}")
def arrange_tax(caller: Setting, db: Db, tax_id: str, step: str) -> Response:
    """Remove a rate, or move it."""
    if step == "remove":
        service.remove_tax(db, caller, tax_id)
    else:
        service.move(db, caller, TAXES, tax_id, move_of(step))
    return RedirectResponse("/settings/taxes", 303)


def move_of(step: str) -> int:
    """Places that a step moves something. Raises NotFound for what is no step."""
    if step not in _MOVES:
        raise NotFound("page", step)
    return _MOVES[step]


def amounts_of(
    form: Filled, name: str, settings: TillSettings, visit: Visit, problems: dict[str, str]
) -> Amounts:
    """Amounts of a form by currency; a problem is added when one is none."""
    try:
        return form.amounts(name, settings.currencies)
    except MoneyMismatch:
        problems[name] = visit.say(N_("Write amounts above zero, like 12.34, or nothing."))
        return {}


def written_amounts(form: Filled, name: str, settings: TillSettings) -> dict[str, str]:
    """Amounts of a form as they were written."""
    return {currency: form.text(f"{name}:{currency}", 20) for currency in settings.currencies}


def as_written(amounts: Amounts) -> dict[str, str]:
    """Amounts by currency as they are written into a form."""
    return {
        currency: f"{Money(minor, currency).decimal():f}" for currency, minor in amounts.items()
    }


def problem_of(visit: Visit, refused: DomainError) -> dict[str, str]:
    """What was refused, by the field that it is about; ``form`` when it is about none."""
    return {str(refused.facts.get("field") or "form"): visit.explain(refused)}


def attempt(
    db: Transaction, visit: Visit, problems: dict[str, str], change: Callable[[], object]
) -> None:
    """Make a change; when it is refused, nothing of it stays and a problem is added."""
    try:
        with db.begin_nested():
            change()
    except DomainError as refused:
        problems |= problem_of(visit, refused)


def _policy(text: str) -> CheckPolicy:
    return CheckPolicy(text) if text in set(CheckPolicy) else CheckPolicy.BLOCK


def _tips(form: Filled, visit: Visit, problems: dict[str, str]) -> tuple[Decimal, ...]:
    found = []
    for text in form.text("tip_percents").replace(";", " ").replace("%", " ").split():
        try:
            percent = Decimal(text.rstrip(",").replace(",", "."))
        except InvalidOperation:
            percent = Decimal("NaN")
        if not percent.is_finite():
            problems["tip_percents"] = visit.say(N_("Write percentages like 5 10 15."))
            return ()
        found.append(percent)
    return tuple(found)


def _written_of(present: TillSettings) -> dict[str, Any]:
    return {
        "currencies": list(present.currencies),
        "tip_percents": "  ".join(f"{percent:f}" for percent in present.tip_percents),
        "default_tax": present.default_tax.id if present.default_tax else "",
        "duplicate_minutes": str(present.duplicate_window // timedelta(minutes=1)),
        "link_hours": str(present.link_life // timedelta(hours=1)),
        **{name: getattr(present, name).value for name in _CHECKS},
        **{name: getattr(present, name) for name in _SWITCHES},
    }


def _written_in(form: Filled, present: TillSettings) -> dict[str, Any]:
    return {
        "currencies": [present.currency, *form.texts("currencies")],
        **{name: form.text(name) for name in (*_TEXTS, *_CHECKS)},
        **{name: form.is_on(name) for name in _SWITCHES},
    }  # fmt: skip


def _till_page(
    request: Request,
    caller: Caller,
    db: Transaction,
    written: Mapping[str, Any],
    problems: Mapping[str, str],
    *,
    saved: bool = False,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    present = queries.settings_of(db, caller.merchant_id)
    return site.page(
        visit,
        "settings/till.html",
        status=422 if problems else 200,
        saved=saved,
        written=written,
        problems=problems,
        own_currency=present.currency,
        currencies=[
            Choice(code, f"{code} · {visit.formats.currency_name(code)}")
            for code in known_currencies()
            if code != present.currency
        ],
        taxes=[Choice(tax.id, _tax_text(visit, tax)) for tax in present.taxes],
        policies=[
            Choice(policy.value, visit.say(text)) for policy, text in till_words.POLICIES.items()
        ],
        most_tips=service.MOST_TIPS,
    )


def _limits_page(
    request: Request,
    caller: Caller,
    db: Transaction,
    present: TillSettings,
    written: Mapping[str, Mapping[str, str]],
    problems: Mapping[str, str],
    *,
    saved: bool = False,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    members = []
    if caller.can(Permission.USER_VIEW):
        own = queries.all_limits(db, caller.scope)
        members = [
            (row.id, row.name, visit.say(words.ROLES[row.role]), limits_text(visit, own[row.id]))
            for row in db.execute(accounts.users_of(caller.scope))
            if row.id in own and own[row.id].are_set
        ]
    return site.page(
        visit,
        "settings/limits.html",
        status=422 if problems else 200,
        saved=saved,
        written=written,
        problems=problems,
        currencies=present.currencies,
        members=sorted(members, key=lambda one: one[1]),
    )


def limits_text(visit: Visit, limits: MemberLimits) -> list[str]:
    """A member's limits, one sentence each."""
    money = visit.formats.money
    told = []
    for text, amounts in (
        (N_("%(amount)s at once"), limits.charge),
        (N_("%(amount)s a day"), limits.day),
        (N_("refunds above %(amount)s are approved"), limits.refund),
    ):
        told += [
            visit.say(text, amount=money(Money(minor, currency)))
            for currency, minor in amounts.items()
        ]
    if limits.methods is not None:
        told.append(
            ", ".join(visit.say(till_words.CHANNELS[one]) for one in sorted(limits.methods))
        )
    return told


def _save_tax(request: Request, caller: Caller, db: Transaction, form: Filled, tax_id: str) -> Response:  # fmt: skip
    visit = site_of(request).visit(db, request, caller)
    written = {name: form.text(name, 80) for name in ("name", "percent", "mode")}
    problems: dict[str, str] = {}
    try:
        percent = Decimal(written["percent"].rstrip("% ").replace(",", "."))
    except InvalidOperation:
        percent = Decimal("NaN")
    if not percent.is_finite():
        problems["percent"] = visit.say(N_("Write a percentage like 20 or 5.5."))
    if written["mode"] not in set(TaxMode):
        problems["mode"] = visit.say(N_("Choose how prices are written."))
    if not problems:
        tax = TaxRate(tax_id, written["name"], percent, TaxMode(written["mode"]))
        attempt(db, visit, problems, lambda: service.save_tax(db, caller, tax))
    if problems:
        return _taxes_page(request, caller, db, tax_id, written, problems)
    return RedirectResponse("/settings/taxes", 303)


def _taxes_page(
    request: Request,
    caller: Caller,
    db: Transaction,
    editing: str,
    written: Mapping[str, str],
    problems: Mapping[str, str],
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    present = queries.settings_of(db, caller.merchant_id)
    usual = present.default_tax.id if present.default_tax else ""
    return site.page(
        visit,
        "settings/taxes.html",
        status=422 if problems else 200,
        taxes=present.taxes,
        modes={mode.value: text for mode, text in till_words.TAX_MODES.items()},
        usual=usual,
        editing=editing,
        written={"name": "", "percent": "", "mode": "inclusive", **written},
        problems=problems,
    )


def _tax(present: TillSettings, tax_id: str) -> TaxRate:
    tax = present.tax(tax_id)
    if tax is None:
        raise NotFound("tax rate", tax_id)
    return tax


def _tax_text(visit: Visit, tax: TaxRate) -> str:
    mode = visit.say(till_words.TAX_MODES[tax.mode])
    return f"{tax.name} · {visit.formats.number(tax.percent)} % · {mode}"
