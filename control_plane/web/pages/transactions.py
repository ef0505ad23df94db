"""The book: search it, and look at one row of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries as devices
from control_plane.errors import NotFound
from control_plane.http.dependencies import ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.payments import queries as payments
from control_plane.transactions import queries
from control_plane.transactions.models import (
    TRANSACTIONS,
    Kind,
    Method,
    SaleChannel,
    Status,
)
from control_plane.transactions.queries import Found, TransactionFilter
from control_plane.web import present, words
from control_plane.web.i18n import N_
from control_plane.web.views import Choice, Moment, Page, SaleRow
from control_plane.web.visits import Visit, names_of, site_of
from protocols.errors import MoneyMismatch
from protocols.money import Money

router = APIRouter(prefix="/transactions")

Seeing = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
E = TypeVar("E", bound=Enum)

_ON_A_PAGE: Final = 50
_MOST_CHOICES: Final = 200
#: Columns that say nothing to anybody but us.
_HIDDEN: Final = frozenset({"message_hash"})
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
    page = PageRequest(_ON_A_PAGE, cursor, "/transactions").read(
        db,
        queries.transactions_of(caller.scope, wanted),
        [TRANSACTIONS.c.occurred_at, TRANSACTIONS.c.id],
        lambda row: row,
    )
    names = names_of(db, visit, page.items)
    address = f"/transactions?{chosen.query}"
    following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
    return site.page(
        visit,
        "transactions/list.html",
        rows=[present.sale_of_transaction(row, names) for row in page.items],
        totals=_totals(db, visit, wanted),
        filters=chosen.fields,
        filters_open=chosen.uses_more,
        is_filtered=bool(chosen.query),
        problems=problems,
        choices=_choices(db, visit),
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&{following}" if following else "",
        ),
    )


@router.get("/{transaction_id}")
def show(request: Request, caller: Seeing, db: ReadDb, transaction_id: str) -> Response:
    """One row with all that is known of it."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    row = queries.transaction(db, caller.scope, transaction_id)
    if row is None:
        raise NotFound("transaction", transaction_id)
    sale = present.sale_of_transaction(row, names_of(db, visit, [row]))
    moved_money = row.status is Status.APPROVED
    decided_by = row.decided_by or ""
    return site.page(
        visit,
        "transactions/detail.html",
        sale=sale,
        receipt=present.receipt_of_transaction(row, visit.merchant_name, sale.place)
        if moved_money
        else None,
        shop_copy=row.merchant_receipt or "",
        reason=None if moved_money else words.reason_for(row.status.value, row.result_code),
        evidence=words.EVIDENCE.get(decided_by, "") if decided_by != "answer" else "",
        explanation=row.explanation or "",
        facts=_facts(visit, row, sale),
        raw=json.dumps(_plain(row), indent=2, ensure_ascii=False),
        moments=_moments(db, visit, row),
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


def _facts(visit: Visit, row: Found, sale: SaleRow) -> list[tuple[str, str, str, str]]:
    can = visit.caller.can
    may_read = can(Permission.READER_VIEW)
    original = f"/transactions/{row.original_id}" if row.original_id else ""
    facts = [
        (N_("Transaction"), row.id, "id", ""),
        (N_("Session"), row.session_id, "id", ""),
        (N_("Belongs to"), row.original_id, "", original),
        (N_("Card"), present.card(row.card_brand, row.card_masked or row.card_last4), "", ""),
        (N_("Read as"), visit.say(words.ENTRY_MODES.get(row.entry_mode, row.entry_mode or "")), "", ""),
        (N_("Checked by"), row.verification, "", ""),
        (N_("Application"), row.application_label, "", ""),
        (N_("AID"), row.aid, "", ""),
        (N_("Approval code"), row.authorization_code, "id", ""),
        (N_("The reader said"), _said(row), "", ""),
        (N_("Reader"), sale.reader, "", f"/readers/{row.reader_id}" if may_read else ""),
        (N_("Shop"), sale.place, "", ""),
        (N_("Cashier"), sale.cashier, "", ""),
        (N_("Order number"), row.reference, "", ""),
        (N_("Note"), row.note, "", ""),
        (N_("Channel"), visit.say(words.CHANNELS[row.channel.value]), "", ""),
        (N_("Method"), visit.say(words.METHODS[row.method.value]), "", ""),
        (N_("Terminal"), row.terminal_id, "", ""),
        (N_("Receipt number"), _number(row.receipt_number), "", ""),
        (N_("Trace number"), _number(row.trace_number), "", ""),
        (N_("In the book since"), visit.formats.moment(row.received_at, visit.zone), "", ""),
    ]  # fmt: skip
    return [(label, value, kind, href) for label, value, kind, href in facts if value]


def _said(row: Found) -> str:
    if row.result_code is None:
        return row.result_text or ""
    return f"{row.result_text or ''} ({row.result_code})".strip()


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _moments(db: Transaction, visit: Visit, row: Found) -> list[Moment]:
    moments: list[Moment] = []
    if row.session_id is not None and visit.caller.can(Permission.PAYMENT_SESSION_VIEW):
        moments = present.session_moments(payments.steps(db, visit.caller.scope, row.session_id))
    if not moments:
        word = words.word(words.SESSION, row.status.value)
        moments = [Moment(row.occurred_at, word.text, word.icon, word.tone)]
    for later in queries.belonging_to(db, visit.caller.scope, row):
        word = words.word(words.SESSION, later.status.value)
        text = words.KINDS[later.kind.value]
        moments.append(
            Moment(
                later.occurred_at,
                text,
                "undo",
                word.tone,
                detail=visit.formats.money(Money(later.amount_minor, later.currency)),
            )
        )
    return moments


def _plain(row: Found) -> dict[str, Any]:
    """The row as JSON has it, without what is empty."""
    plain: dict[str, Any] = {}
    for name, value in row._mapping.items():  # noqa: SLF001 - its public name in SQLAlchemy
        if value is None or name in _HIDDEN:
            continue
        match value:
            case datetime():
                plain[name] = value.isoformat()
            case Decimal() | Enum():
                plain[name] = str(value.value if isinstance(value, Enum) else value)
            case _:
                plain[name] = value
    return plain
