"""The book: search it; and the payments that are on their way into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers import queries as customers
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries as devices
from control_plane.http.dependencies import App, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.transactions import queries
from control_plane.transactions.models import (
    TRANSACTIONS,
    Kind,
    Method,
    SaleChannel,
    Status,
)
from control_plane.transactions.queries import Found, TransactionFilter
from control_plane.virtual_terminal import queries as payments
from control_plane.virtual_terminal.exporting import csv_of
from control_plane.virtual_terminal.models import PAYMENTS
from control_plane.virtual_terminal.search import widened
from control_plane.virtual_terminal.views import PaymentView
from control_plane.web import present, words
from control_plane.web.i18n import N_
from control_plane.web.paying import sale_of_payment
from control_plane.web.views import Choice, Page, SaleRow
from control_plane.web.visits import Visit, names_of, site_of
from protocols.errors import MoneyMismatch
from protocols.money import Money

router = APIRouter(prefix="/transactions")

Seeing = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
Exporting = Annotated[Caller, requires(Permission.TRANSACTION_EXPORT)]
Watching = Annotated[Caller, requires(Permission.PAYMENT_VIEW)]
E = TypeVar("E", bound=Enum)

_ON_A_PAGE: Final = 50
_MOST_CHOICES: Final = 200
#: What money goes back by.
_BACK: Final = (Kind.REFUND, Kind.REVERSAL, Kind.DISPUTE, Kind.FEE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, as it was written."""

    q: str
    since: str
    until: str
    status: str
    channel: str
    method: str
    location: str
    reader: str
    cashier: str
    amount: str

    @property
    def fields(self) -> dict[str, str]:
        """As the form and the address name them."""
        return {
            "q": self.q, "from": self.since, "to": self.until, "status": self.status,
            "channel": self.channel, "method": self.method, "location": self.location,
            "reader": self.reader, "cashier": self.cashier, "amount": self.amount,
        }  # fmt: skip

    @property
    def query(self) -> str:
        """The address again."""
        return urlencode({name: value for name, value in self.fields.items() if value})

    @property
    def uses_more(self) -> bool:
        """Whether a filter is set that is folded away."""
        return any(
            (self.channel, self.method, self.location, self.reader, self.cashier, self.amount)
        )


def asked(
    q: Annotated[str, Query(max_length=100)] = "",
    since: Annotated[str, Query(alias="from", max_length=10)] = "",
    until: Annotated[str, Query(alias="to", max_length=10)] = "",
    status: Annotated[str, Query(max_length=20)] = "",
    channel: Annotated[str, Query(max_length=20)] = "",
    method: Annotated[str, Query(max_length=20)] = "",
    location: Annotated[str, Query(max_length=64)] = "",
    reader: Annotated[str, Query(max_length=64)] = "",
    cashier: Annotated[str, Query(max_length=64)] = "",
    amount: Annotated[str, Query(max_length=20)] = "",
) -> Asked:
    """The filters of the address."""
    return Asked(
        q.strip(), since, until, status, channel, method, location, reader, cashier, amount.strip()
    )


@router.get("")
def book(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    chosen: Annotated[Asked, Depends(asked)],
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Fifty rows, newest first, and the totals of all that match."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    wanted, problems = _filter(visit, chosen)
    wanted = widened(db, caller.scope, wanted)
    page = PageRequest(_ON_A_PAGE, cursor, "/transactions").read(
        db,
        queries.transactions_of(caller.scope, wanted),
        [TRANSACTIONS.c.occurred_at, TRANSACTIONS.c.id],
        lambda row: row,
    )
    names = names_of(db, visit, page.items)
    buyers = _buyers(db, visit, page.items)
    address = f"/transactions?{chosen.query}"
    following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
    return site.page(
        visit,
        "transactions/list.html",
        rows=[
            replace(
                present.sale_of_transaction(row, names), customer=buyers.get(row.customer_id, "")
            )
            for row in page.items
        ],
        view="book",
        open_count=_open_count(db, visit),
        totals=_totals(db, visit, wanted),
        filters=chosen.fields,
        filters_open=chosen.uses_more,
        is_filtered=bool(chosen.query),
        export_href=f"/transactions/file?{chosen.query}",
        problems=problems,
        choices=_choices(db, visit),
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&{following}" if following else "",
        ),
    )


@router.get("/file")
def export(
    request: Request,
    caller: Exporting,
    parts: App,
    chosen: Annotated[Asked, Depends(asked)],
) -> Response:
    """All rows that the filters find, as a CSV file."""
    site = site_of(request)
    with parts.database.reading() as db:
        wanted, _ = _filter(site.visit(db, request, caller), chosen)
    return StreamingResponse(
        csv_of(parts.database, caller.scope, wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="transactions.csv"'},
    )


@router.get("/open")
def on_their_way(
    request: Request,
    caller: Watching,
    db: ReadDb,
    q: Annotated[str, Query(max_length=100)] = "",
    state: Annotated[str, Query(max_length=20)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Payments whose money is held, on its way or not known yet: they are in no book before that is decided."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    states = [one for one in payments.UNDECIDED if one.value == state] or payments.UNDECIDED
    wanted = payments.PaymentFilter(text=q.strip(), states=states)
    page = PageRequest(_ON_A_PAGE, cursor, f"/transactions/open {state}").read(
        db,
        payments.payments_of(caller.scope, wanted),
        [PAYMENTS.c.id],
        payments.payment_view,
    )
    counts = payments.count_by_state(db, caller.scope)
    address = f"/transactions/open?{urlencode({'q': q, 'state': state})}"
    following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
    return site.page(
        visit,
        "transactions/open.html",
        rows=[_on_its_way(one, visit) for one in page.items],
        counts=[(one.value, counts[one]) for one in payments.UNDECIDED if one in counts],
        chosen=state,
        q=q,
        view="open",
        open_count=sum(counts.values()),
        page=Page(
            previous=address if cursor else "", next=f"{address}&{following}" if following else ""
        ),
    )


def _on_its_way(payment: PaymentView, visit: Visit) -> SaleRow:
    row = sale_of_payment(payment, visit.places)
    return replace(
        row,
        href=f"/transactions/{payment.id}",
        customer=payment.customer_name,
        payment_state=payment.state.value,
    )


def _open_count(db: Transaction, visit: Visit) -> int | None:
    """How many payments are on their way; None for who may not see them."""
    if not visit.caller.can(Permission.PAYMENT_VIEW):
        return None
    return sum(payments.count_by_state(db, visit.caller.scope).values())


def _buyers(db: Transaction, visit: Visit, rows: Sequence[Found]) -> dict[str, str]:
    if not visit.caller.can(Permission.CUSTOMER_VIEW):
        return {}
    return customers.names(
        db, visit.caller.scope, {row.customer_id for row in rows if row.customer_id}
    )


def _filter(visit: Visit, chosen: Asked) -> tuple[TransactionFilter, list[str]]:
    problems = []
    amount = None
    if chosen.amount:
        try:
            amount = Money.parse(chosen.amount, visit.currency)
        except MoneyMismatch:
            problems.append(visit.say(N_("Write the amount like 12.34.")))
    wanted = TransactionFilter(
        text=chosen.q,
        since=visit.start_of(chosen.since),
        until=visit.start_of(chosen.until, days=1),
        statuses=_members(Status, chosen.status),
        channels=_members(SaleChannel, chosen.channel),
        methods=_members(Method, chosen.method),
        location_id=chosen.location or None,
        reader_id=chosen.reader or None,
        cashier_id=chosen.cashier or None,
        amount_from=amount.minor if amount else None,
        amount_to=amount.minor if amount else None,
        currency=amount.currency if amount else None,
    )
    return wanted, problems


def _members(kind: type[E], value: str) -> tuple[E, ...]:
    try:
        return (kind(value),)
    except ValueError:
        return ()


def _totals(db: Transaction, visit: Visit, wanted: TransactionFilter) -> list[tuple[str, str]]:
    scope = visit.caller.scope
    money, say = visit.formats.money, visit.say
    figures = []
    taken = queries.totals(db, scope, replace(wanted, kinds=(Kind.SALE,)))
    returned = queries.totals(db, scope, replace(wanted, kinds=_BACK))
    given_back = {one.currency: -one.net_minor for one in returned}
    for one in taken:
        amount = Money(one.net_minor, one.currency)
        figures.append((say(N_("Taken")), money(amount)))
        if back := given_back.get(one.currency):
            figures.append((say(N_("Given back")), money(Money(back, one.currency))))
            figures.append((say(N_("Net")), money(amount - Money(back, one.currency))))
    counts = queries.count_by_status(db, scope, wanted)
    if counts:
        approved = visit.formats.number(counts.get(Status.APPROVED, 0))
        attempts = visit.formats.number(sum(counts.values()))
        share = say(N_("%(used)s of %(uses)s"), used=approved, uses=attempts)
        figures.append((say(N_("Approved of all attempts")), share))
    return figures


def _choices(db: Transaction, visit: Visit) -> dict[str, list[Choice]]:
    scope = visit.caller.scope
    readers = devices.readers(db, scope, devices.ReaderFilter(with_gone=True), limit=_MOST_CHOICES)
    cashiers = []
    if visit.caller.can(Permission.USER_VIEW):
        found = db.execute(accounts.users_of(scope)).all()
        cashiers = [Choice(row.id, row.name) for row in found]
    elif visit.caller.can(Permission.PAYMENT_SESSION_CREATE):
        cashiers = [Choice(visit.caller.id, visit.caller.name)]
    return {
        "status": [
            Choice(status.value, visit.say(words.SESSION[status.value].text)) for status in Status
        ],
        "channel": [Choice(key, visit.say(text)) for key, text in words.CHANNELS.items()],
        "method": [Choice(key, visit.say(text)) for key, text in words.METHODS.items()],
        "location": [Choice(id_, name) for id_, name in visit.places.items()],
        "reader": [Choice(row.id, row.name) for row in readers],
        "cashier": cashiers,
    }
