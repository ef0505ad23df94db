"""Customers: found while one types, with what they let the shop keep, and all that they bought on any channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers import methods, queries, service
from control_plane.customers.expiry import Expiry, expiry_of
from control_plane.customers.models import CUSTOMERS, MethodStatus
from control_plane.customers.queries import CustomerFilter, Found
from control_plane.customers.service import Details
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError, NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.transactions import queries as transactions
from control_plane.transactions.queries import TransactionFilter
from control_plane.virtual_terminal import declines, saved_methods
from control_plane.virtual_terminal import queries as payments
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.errors import SavingDeclined
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.saved_methods import SaveWish
from control_plane.virtual_terminal.views import PaymentView
from control_plane.web import pay_words, present, words
from control_plane.web.forms import BANK_KINDS, fields_account, policy_of
from control_plane.web.i18n import N_, translations
from control_plane.web.views import Page, SaleRow
from control_plane.web.visits import Site, Visit, language_of, names_of, site_of
from protocols.errors import MoneyMismatch
from protocols.ids import new_id
from protocols.money import Money

router = APIRouter(prefix="/customers")

Seeing = Annotated[Caller, requires(Permission.CUSTOMER_VIEW)]
Charging = Annotated[Caller, requires(Permission.PAYMENT_CHARGE_CREATE)]
Managing = Annotated[Caller, requires(Permission.CUSTOMER_MANAGE)]

#: What is read to the customer; the shop may write it otherwise.
CONSENT: Final = N_(
    "I allow %(shop)s to keep this card or account with its payment provider and to charge it for what I order, "
    "until I say otherwise."
)
_ON_A_PAGE: Final = 50
_OPTIONS: Final = 8
_HISTORY: Final = 50
_KINDS: Final[dict[str, Literal["us_bank_account", "sepa_debit"]]] = {
    "us_bank_account": "us_bank_account",
    "sepa_debit": "sepa_debit",
}
_ON_THEIR_WAY: Final = (
    PaymentState.IN_PROGRESS, PaymentState.REQUIRES_ACTION, PaymentState.PROCESSING,
    PaymentState.AUTHORIZED, PaymentState.UNKNOWN,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Method:
    """A saved method. ``state`` is active, expires_soon, expired, pending, failed or removed."""

    id: str
    kind: str
    title: str
    state: str
    expires: str
    """``12/27``; empty for what does not expire."""
    detail: str
    is_default: bool
    can_charge: bool
    consent_how: str
    consent_text: str
    consent_at: datetime
    consent_by: str
    mandate_id: str = ""
    mandate_status: str = ""
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer in a list."""

    id: str
    name: str
    company: str
    email: str
    phone: str
    language: str
    used_at: datetime
    is_archived: bool
    methods: Sequence[Method] = ()

    @property
    def href(self) -> str:
        """Where their page is."""
        return f"/customers/{self.id}"


@dataclass(frozen=True, slots=True)
class Written:
    """The form of a customer, as filled in."""

    name: str = ""
    company: str = ""
    email: str = ""
    phone: str = ""
    language: str = ""
    note: str = ""
    line1: str = ""
    line2: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: str = ""

    @property
    def address(self) -> dict[str, str]:
        """The parts of the address."""
        return {name: getattr(self, name) for name in service.ADDRESS_PARTS}

    def details(self) -> Details:
        """As the service takes them."""
        return Details(
            name=self.name,
            company=self.company,
            email=self.email,
            phone=self.phone,
            address=self.address,
            language=self.language or None,
            note=self.note,
        )


def written(
    name: Annotated[str, Form(max_length=200)] = "",
    company: Annotated[str, Form(max_length=200)] = "",
    email: Annotated[str, Form(max_length=254)] = "",
    phone: Annotated[str, Form(max_length=40)] = "",
    language: Annotated[str, Form(max_length=10)] = "",
    note: Annotated[str, Form(max_length=2000)] = "",
    line1: Annotated[str, Form(max_length=200)] = "",
    line2: Annotated[str, Form(max_length=200)] = "",
    city: Annotated[str, Form(max_length=200)] = "",
    state: Annotated[str, Form(max_length=200)] = "",
    postal_code: Annotated[str, Form(max_length=40)] = "",
    country: Annotated[str, Form(max_length=2)] = "",
) -> Written:
    """The form that was sent."""
    return Written(
        name, company, email, phone, language, note, line1, line2, city, state, postal_code, country
    )


Filled = Annotated[Written, Depends(written)]


@router.get("")
def customers(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    q: Annotated[str, Query(max_length=100)] = "",
    archived: bool = False,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Fifty customers that a search finds, those that came last first."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    wanted = CustomerFilter(text=q, with_archived=archived)
    page = PageRequest(_ON_A_PAGE, cursor, "/customers").read(
        db,
        queries.customers_of(caller.scope, wanted),
        [CUSTOMERS.c.used_at, CUSTOMERS.c.id],
        lambda row: row,
    )
    asked = {"q": q, "archived": "true" if archived else ""}
    query = urlencode({name: value for name, value in asked.items() if value})
    following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
    expiring = queries.expiring_cards(db, caller.scope, visit.today())
    return site.page(
        visit,
        "customers/list.html",
        customers=_rows(db, visit, page.items),
        q=q,
        with_archived=archived,
        is_filtered=bool(q),
        expiring=len(expiring),
        page=Page(
            previous=f"/customers?{query}" if cursor else "",
            next=f"/customers?{query}&{following}" if following else "",
        ),
    )


@router.get("/pick")
def pick(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    q: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Options of a list box in which a customer is chosen; those that came last when nothing is typed."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    found = queries.customers(db, caller.scope, CustomerFilter(text=q), limit=_OPTIONS)
    return site.page(visit, "customers/_pick.html", customers=_rows(db, visit, found), q=q.strip())


@router.get("/expiring")
def expiring(request: Request, caller: Seeing, db: ReadDb) -> Response:
    """Cards that expired, or do so this month or the next."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    cards = [
        (f"/customers/{row.customer_id}", row.customer_name or row.company, _method(visit, row))
        for row in queries.expiring_cards(db, caller.scope, visit.today())
    ]
    return site.page(visit, "customers/expiring.html", cards=cards)


@router.get("/new")
def ask_for_customer(
    request: Request,
    caller: Managing,
    db: ReadDb,
    name: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The form of a new customer."""
    site = site_of(request)
    return _form(site, site.visit(db, request, caller), Written(name=name), {})


@router.post("/new")
def add_customer(request: Request, caller: Managing, db: Db, filled: Filled) -> Response:
    """Add a customer, and show their page."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    try:
        with db.begin_nested():
            customer_id = service.create_customer(db, caller, filled.details())
    except DomainError as refused:
        return _form(site, visit, filled, _problems(visit, refused), status=refused.status)
    return RedirectResponse(f"/customers/{customer_id}", 303)


@router.get("/{customer_id}")
def show(request: Request, caller: Seeing, db: ReadDb, customer_id: str) -> Response:
    """One customer, with what they let us keep and what they bought."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return _page(site, visit, db, customer_id)


@router.get("/{customer_id}/edit")
def ask_for_changes(request: Request, caller: Managing, db: ReadDb, customer_id: str) -> Response:
    """The form of a customer, filled in."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    row = service.customer_of(db, caller, customer_id)
    values = {name: getattr(row, name) for name in ("name", "company", "email", "phone", "note")}
    filled = Written(**values, language=row.language or "", **row.address)
    return _form(site, visit, filled, {}, customer_id=row.id)


@router.post("/{customer_id}/edit")
def change_customer(
    request: Request, caller: Managing, db: Db, customer_id: str, filled: Filled
) -> Response:
    """Change a customer, and show their page."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    try:
        with db.begin_nested():
            service.update_customer(db, caller, customer_id, asdict_of(filled.details()))
    except NotFound:
        raise
    except DomainError as refused:
        return _form(
            site, visit, filled, _problems(visit, refused),
            customer_id=customer_id, status=refused.status,
        )  # fmt: skip
    return RedirectResponse(f"/customers/{customer_id}", 303)


@router.post("/{customer_id}/archive")
def archive(caller: Managing, db: Db, customer_id: str) -> Response:
    """Put a customer away."""
    service.archive_customer(db, caller, customer_id)
    return RedirectResponse(f"/customers/{customer_id}", 303)


@router.post("/{customer_id}/restore")
def restore(caller: Managing, db: Db, customer_id: str) -> Response:
    """Bring a customer back."""
    service.restore_customer(db, caller, customer_id)
    return RedirectResponse(f"/customers/{customer_id}", 303)


@router.get("/{customer_id}/charge")
def ask_for_charge(
    request: Request,
    caller: Charging,
    db: ReadDb,
    customer_id: str,
    method: Annotated[str, Query(max_length=64)] = "",
    amount: Annotated[str, Query(max_length=40)] = "",
    currency: Annotated[str, Query(max_length=3)] = "",
    reference: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The second step of charging again: one sentence that says it all, and a button that does it."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    money = _amount(amount, currency or visit.currency)
    if money is None:
        notice = visit.say(N_("Write the amount like 12.34."))
        return _page(site, visit, db, customer_id, notice=notice, status=422)
    try:
        saved = methods.chargeable(db, caller, method)
    except DomainError as refused:
        notice = visit.explain(refused)
        return _page(site, visit, db, customer_id, notice=notice, status=refused.status)
    if saved.customer_id != customer_id:
        raise NotFound("saved method", method)
    row = service.customer_of(db, caller, customer_id)
    return site.page(
        visit,
        "customers/charge.html",
        customer=_row(row, ()),
        method=_method(visit, saved),
        money=money,
        amount=str(money.decimal()),
        reference=reference.strip(),
        key=new_id("form"),
    )


@router.get("/{customer_id}/methods/add")
def ask_for_method(request: Request, caller: Managing, db: ReadDb, customer_id: str) -> Response:
    """The provider's fields, and the consent to keep what is typed into them."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    row = service.customer_of(db, caller, customer_id)
    account = fields_account(db, caller.merchant_id)
    return site.page(
        visit,
        "customers/save_method.html",
        headers=policy_of(account),
        customer=_row(row, ()),
        account=account,
        kinds=" ".join(("card", *BANK_KINDS.get(visit.currency, ()))),
        currency=visit.currency,
        consent=visit.say(CONSENT, shop=visit.merchant_name),
    )


@router.post("/{customer_id}/methods/add")
async def save_method(
    request: Request,
    caller: Managing,
    parts: App,
    customer_id: str,
    consent_text: Annotated[str, Form(max_length=2000)] = "",
    consent_how: Annotated[str, Form(max_length=20)] = "",
    token: Annotated[str, Form(max_length=200)] = "",
    kind: Annotated[str, Form(max_length=20)] = "",
    handle: Annotated[str, Form(max_length=300)] = "",
    agreed: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Keep what was typed; for a script, which may first have to let the payer answer their bank."""
    return await apart(
        _save_method, request, parts, caller, customer_id,
        consent_text if agreed else "", consent_how, token, kind, handle,
    )  # fmt: skip


@router.post("/{customer_id}/methods/{method_id}/{step}")
def change_method(
    request: Request, caller: Managing, db: Db, customer_id: str, method_id: str, step: str
) -> Response:
    """Make a method the usual one, or remove it."""
    steps = {"prefer": methods.prefer_method, "remove": methods.remove_method}
    if step not in steps:
        raise NotFound("page", step)
    methods.method_of(db, caller, method_id, customer_id=customer_id)
    try:
        with db.begin_nested():
            steps[step](db, caller, method_id)
    except DomainError as refused:
        site = site_of(request)
        visit = site.visit(db, request, caller)
        return _page(
            site, visit, db, customer_id, notice=visit.explain(refused), status=refused.status
        )
    return RedirectResponse(f"/customers/{customer_id}", 303)


def _amount(text: str, currency: str) -> Money | None:
    """What was typed; None for what is no amount above zero."""
    try:
        money = Money.parse(text.strip(), currency)
    except MoneyMismatch:
        return None
    return money if money.minor > 0 else None


def _save_method(
    request: Request,
    parts: Parts,
    caller: Caller,
    customer_id: str,
    consent_text: str,
    consent_how: str,
    token: str,
    kind: str,
    handle: str,
) -> Response:
    office = parts.get(Desk).office
    try:
        if handle:
            outcome = saved_methods.finish_saving(
                office, caller, customer_id, handle,
                consent_text=consent_text, consent_how=consent_how,
            )  # fmt: skip
        else:
            wish = SaveWish(
                customer_id=customer_id,
                token=token,
                kind=_KINDS.get(kind, "card"),
                consent_text=consent_text,
                consent_how=consent_how,
                return_url=f"{parts.settings.base_url}/customers/{customer_id}",
            )
            outcome = saved_methods.save(office, caller, wish)
    except DomainError as refused:
        if refused.status in {403, 404}:
            raise
        language = language_of(request, caller)
        text = translations(language).gettext(refused.message)
        if isinstance(refused, SavingDeclined):
            code = str(refused.facts["decline_code"])
            text = " ".join(declines.explain(code).in_language(language))
        return JSONResponse({"problem": refused.detail(text)}, refused.status)
    if outcome.method_id is not None:
        return JSONResponse({"go": f"/customers/{customer_id}"})
    return JSONResponse({"secret": outcome.client_secret, "handle": outcome.handle})


def asdict_of(details: Details) -> dict[str, object]:
    """The details by name, for a change of all of them."""
    return {**asdict(details), "address": dict(details.address)}


def _page(
    site: Site,
    visit: Visit,
    db: Transaction,
    customer_id: str,
    *,
    notice: str = "",
    status: int = 200,
) -> Response:
    caller = visit.caller
    row = service.customer_of(db, caller, customer_id)
    kept = [_method(visit, one) for one in queries.methods(db, caller.scope, row.id)]
    return site.page(
        visit,
        "customers/detail.html",
        status=status,
        customer=_row(row, kept),
        methods=kept,
        chargeable=[one for one in kept if one.can_charge and row.archived_at is None],
        facts=_facts(visit, row),
        states=words.SESSION | pay_words.PAYMENT,
        note=row.note,
        history=_history(db, visit, row.id) if caller.can(Permission.TRANSACTION_VIEW) else None,
        currency=visit.currency,
        can_save=fields_account(db, caller.merchant_id) is not None,
        notice=notice,
    )


def _history(db: Transaction, visit: Visit, customer_id: str) -> list[SaleRow]:
    scope = visit.caller.scope
    rows = transactions.transactions(
        db, scope, TransactionFilter(customer_id=customer_id), limit=_HISTORY
    )
    names = names_of(db, visit, rows)
    sales = [present.sale_of_transaction(row, names) for row in rows]
    if visit.caller.can(Permission.PAYMENT_VIEW):
        # What is on its way is no row of the ledger yet.
        open_ones = payments.recent(db, scope, customer_id=customer_id, states=_ON_THEIR_WAY)
        sales += [_open_sale(visit, one) for one in open_ones]
    return sorted(sales, key=lambda sale: sale.at, reverse=True)


def _open_sale(visit: Visit, payment: PaymentView) -> SaleRow:
    card = f"{methods.brand_name(payment.card_brand or '')} •••• {payment.card_last4}"
    return SaleRow(
        href=f"/pos/{payment.id}",
        at=payment.created_at,
        amount=payment.amount,
        kind="sale",
        state=payment.state.value,
        place=visit.places.get(payment.location_id or "", ""),
        cashier=payment.cashier_name,
        card=card if payment.card_brand and payment.card_last4 else "",
        channel="keyed",
        method="card",
        reference=payment.reference,
    )


def _facts(visit: Visit, row: Found) -> list[tuple[str, str, str]]:
    """(label, value, kind): kind is id, email, phone, lines or empty."""
    languages = {"en": "English", "fr": "Français"}
    facts = [
        (N_("E-mail"), row.email, "email"),
        (N_("Phone"), row.phone, "phone"),
        (N_("Company"), row.company if row.name else "", ""),
        (N_("Address"), "\n".join(_address_lines(row.address)), "lines"),
        (N_("Language"), languages.get(row.language or "", ""), ""),
        (N_("Customer since"), visit.formats.day(row.created_at.astimezone(visit.zone)), ""),
        (N_("Customer id"), row.id, "id"),
        (N_("At the processor"), row.processor_id or "", "id"),
    ]
    return [(label, value, kind) for label, value, kind in facts if value]


def _address_lines(address: Mapping[str, str]) -> list[str]:
    town = " ".join(part for part in (address.get("postal_code"), address.get("city")) if part)
    lines = (
        address.get("line1"),
        address.get("line2"),
        town,
        address.get("state"),
        address.get("country"),
    )
    return [line for line in lines if line]


def _rows(db: Transaction, visit: Visit, found: Sequence[Found]) -> list[CustomerRow]:
    kept = queries.methods_of_many(db, visit.caller.scope, [row.id for row in found])
    return [_row(row, [_method(visit, one) for one in kept[row.id]]) for row in found]


def _row(row: Found, kept: Sequence[Method]) -> CustomerRow:
    return CustomerRow(
        id=row.id,
        name=row.name or row.company,
        company=row.company if row.name else "",
        email=row.email,
        phone=row.phone,
        language=row.language or "",
        used_at=row.used_at,
        is_archived=row.archived_at is not None,
        methods=kept,
    )


def _method(visit: Visit, row: Found) -> Method:
    expiry = expiry_of(row.exp_month, row.exp_year, visit.today())
    state = str(row.status.value)
    if row.status is MethodStatus.ACTIVE and expiry is Expiry.EXPIRED:
        state = "expired"
    elif row.status is MethodStatus.ACTIVE and expiry.is_soon:
        state = "expires_soon"
    return Method(
        id=row.id,
        kind=row.kind.value,
        title=methods.title_of(row._mapping),  # noqa: SLF001 - its public name in SQLAlchemy
        state=state,
        expires=f"{row.exp_month:02d}/{row.exp_year % 100:02d}" if row.exp_month else "",
        detail=row.funding,
        is_default=row.is_default,
        can_charge=row.status in (MethodStatus.ACTIVE, MethodStatus.EXPIRED),
        consent_how=row.consent_how.value,
        consent_text=row.consent_text,
        consent_at=row.consent_at,
        consent_by=row.consent_by_name,
        mandate_id=row.mandate_id or "",
        mandate_status=row.mandate_status.value if row.mandate_status else "",
        used_at=row.used_at,
    )


def _problems(visit: Visit, refused: DomainError) -> dict[str, str]:
    return {str(refused.facts.get("field", "form")): visit.explain(refused)}


def _form(
    site: Site,
    visit: Visit,
    filled: Written,
    problems: dict[str, str],
    *,
    customer_id: str = "",
    status: int = 200,
) -> Response:
    return site.page(
        visit,
        "customers/form.html",
        status=status,
        filled=filled,
        problems=problems,
        customer_id=customer_id,
        has_address=any(filled.address.values()) or "country" in problems,
    )
