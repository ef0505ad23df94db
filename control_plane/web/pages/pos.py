"""Take a payment: the form, the running session, its end, and the list of recent sales."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries as devices
from control_plane.devices.timeline import readers_topic
from control_plane.errors import DomainError, NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.idempotency import KeyReused, Once
from control_plane.http.security import requires
from control_plane.parts import Parts
from control_plane.payments import queries, sessions
from control_plane.payments.errors import AmountRefused, AnswerLost, ReaderBusy, SessionDecided
from control_plane.payments.timeline import session_topic, sessions_topic
from control_plane.transactions import queries as ledger
from control_plane.web import present
from control_plane.web.i18n import N_
from control_plane.web.streams import follow
from control_plane.web.views import ReaderChoice, SaleRow, SessionPanel, TillForm
from control_plane.web.visits import Site, Visit, names_of, site_of
from protocols.errors import MoneyMismatch
from protocols.ids import new_id
from protocols.money import CURRENCIES, Money
from protocols.session import OPEN_STATES, SessionState

router = APIRouter()

READER_COOKIE: Final = "omnitill-reader"
_RECENT: Final = 8
_MOST_READERS: Final = 50
_ONE_YEAR_S: Final = 365 * 24 * 3600
#: Offered at the till besides the currency of the merchant.
_COMMON: Final = ("EUR", "USD", "GBP", "CHF", "JPY")

Taking = Annotated[Caller, requires(Permission.PAYMENT_SESSION_CREATE)]
Watching = Annotated[Caller, requires(Permission.PAYMENT_SESSION_VIEW)]
Stopping = Annotated[Caller, requires(Permission.PAYMENT_SESSION_CANCEL)]


@dataclass(frozen=True, slots=True)
class Filled:
    """The form as it came."""

    key: str
    amount: str
    currency: str
    reader: str
    reference: str
    note: str

    @property
    def digest(self) -> str:
        """What makes two sendings of one form the same wish."""
        wish = (self.amount, self.currency, self.reader, self.reference, self.note)
        return hashlib.sha256(json.dumps(wish).encode()).hexdigest()


def filled(
    key: Annotated[str, Form(max_length=64)] = "",
    amount: Annotated[str, Form(max_length=40)] = "",
    currency: Annotated[str, Form(max_length=3)] = "",
    reader: Annotated[str, Form(max_length=64)] = "",
    reference: Annotated[str, Form(max_length=200)] = "",
    note: Annotated[str, Form(max_length=200)] = "",
) -> Filled:
    """The fields of the form."""
    return Filled(key, amount.strip(), currency, reader, reference.strip(), note.strip())


@router.get("/pos")
def till(request: Request, caller: Taking, db: ReadDb, new: bool = False) -> Response:
    """The form; or the payment that this cashier has running, unless a new one is asked for."""
    if not new:
        running = queries.recent_sessions(
            db, caller.scope, cashier_id=caller.id, states=OPEN_STATES, limit=1
        )
        if running:
            return RedirectResponse(f"/pos/{running[0].id}", 303)
    site = site_of(request)
    visit = site.visit(db, request, caller)
    form = _empty_form(db, visit, request.cookies.get(READER_COOKIE, ""))
    return site.page(visit, "pos/page.html", form=form, session=None, sales=recent_sales(db, visit))


@router.post("/pos")
def charge(
    request: Request, caller: Taking, db: Db, wish: Annotated[Filled, Depends(filled)]
) -> Response:
    """Start a payment, once for each form however often it is sent; or say in words what keeps it from starting."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    try:
        with db.begin_nested():
            session_id = _start(db, caller, wish)
    except (DomainError, MoneyMismatch) as refused:
        problems = _problems(visit, wish, refused)
        form = _empty_form(db, visit, wish.reader)
        form = replace(
            form,
            key=new_id("form") if isinstance(refused, KeyReused) else wish.key or form.key,
            amount=wish.amount,
            currency=wish.currency if wish.currency in form.currencies else form.currency,
            reference=wish.reference,
            note=wish.note,
            problems=problems,
        )
        status = refused.status if isinstance(refused, DomainError) else 422
        if _is_swap(request):
            return site.page(visit, "pos/_form.html", status=status, form=form)
        return site.page(
            visit,
            "pos/page.html",
            status=status,
            form=form,
            session=None,
            sales=recent_sales(db, visit),
        )
    if _is_swap(request):
        panel = _panel(db, visit, session_id)
        response: Response = site.page(
            visit, "pos/_session.html", session=panel, headers={"HX-Push-Url": f"/pos/{session_id}"}
        )
    else:
        response = RedirectResponse(f"/pos/{session_id}", 303)
    response.set_cookie(
        READER_COOKIE,
        wish.reader,
        max_age=_ONE_YEAR_S,
        path="/pos",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


@router.get("/pos/live", response_class=EventSourceResponse)
async def live(
    request: Request,
    caller: Watching,
    parts: App,
    session: Annotated[str | None, Query(max_length=64)] = None,
    reader: Annotated[str, Query(max_length=64)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """What changes on the page: the session, or the readers of the form; and the recent sales.

    ``reader`` is the one that the form came with: an update never moves the choice under somebody's hand.
    """
    topics = [sessions_topic(caller.merchant_id), readers_topic(caller.merchant_id)]
    urgent = [session_topic(session)] if session else []
    render = partial(_fragments, parts, request, caller, session, reader)
    async for event in follow(parts.live, [*topics, *urgent], render, urgent=urgent):
        yield event


@router.get("/pos/{session_id}")
def show(request: Request, caller: Watching, db: ReadDb, session_id: str) -> Response:
    """A session, running or decided: a closed tab comes back to it."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    panel = _panel(db, visit, session_id)
    return site.page(
        visit, "pos/page.html", session=panel, form=None, sales=recent_sales(db, visit)
    )


@router.post("/pos/{session_id}/cancel")
def cancel(request: Request, caller: Stopping, db: Db, session_id: str) -> Response:
    """Ask to stop; what the session then says is the truth, whoever was quicker."""
    try:
        with db.begin_nested():
            sessions.cancel_session(db, caller, session_id)
    except (SessionDecided, AnswerLost):
        # The page below says how it ended, or that the answer was lost; that is all there is to say.
        pass
    if not _is_swap(request):
        return RedirectResponse(f"/pos/{session_id}", 303)
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(visit, "pos/_session.html", session=_panel(db, visit, session_id))


@router.get("/pos/{session_id}/again")
def again(request: Request, caller: Taking, db: ReadDb, session_id: str) -> Response:
    """The form of a new sale, filled in like one that moved no money."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    earlier = queries.session(db, caller.scope, session_id)
    form = _empty_form(db, visit, earlier.reader_id)
    if earlier.is_final:
        amount = str(earlier.amount.decimal())
        form = replace(
            form,
            amount=amount.replace(".", ",") if visit.language == "fr" else amount,
            currency=earlier.currency,
            reference=earlier.reference,
            note=earlier.note,
        )
    return site.page(visit, "pos/page.html", form=form, session=None, sales=recent_sales(db, visit))


def _start(db: Transaction, caller: Caller, wish: Filled) -> str:
    """The id of the session that this form started, now or when it was sent before."""
    money = Money.parse(wish.amount.replace(" ", "").replace("\u202f", ""), wish.currency)
    start = sessions.StartSession(
        reader_id=wish.reader, amount=money, reference=wish.reference, note=wish.note
    )
    once = Once(wish.key or None, "/pos", wish.digest)
    answer = once.answer(
        db, caller, lambda: {"session_id": sessions.start_session(db, caller, start).id}
    )
    session_id: str = json.loads(bytes(answer.body))["session_id"]
    return session_id


def _problems(visit: Visit, wish: Filled, refused: DomainError | MoneyMismatch) -> dict[str, str]:
    no_reader = {} if wish.reader else {"reader": visit.say(N_("Choose a reader."))}
    match refused:
        case MoneyMismatch():
            return {"amount": visit.say(N_("Write the amount like 12.34.")), **no_reader}
        case AmountRefused():
            return {"amount": visit.explain(refused), **no_reader}
        case ReaderBusy():
            text = N_(
                "Another payment is running on %(reader)s. Wait for it, or pick another reader."
            )
            return {"reader": visit.say(text, reader=refused.facts["reader"])}
        case KeyReused():
            text = N_(
                "This form was already sent. Look at Recent sales, then charge again if it is another sale."
            )
            return {"form": visit.say(text)}
        case NotFound() if no_reader:
            return no_reader
        case _:
            place = "reader" if "reader_id" in refused.facts else "form"
            return {place: visit.explain(refused)}


def _fragments(
    parts: Parts, request: Request, caller: Caller, session_id: str | None, reader_id: str
) -> Mapping[str, str]:
    site: Site = site_of(request)
    with parts.database.reading() as db:
        visit = site.visit(db, request, caller)
        fragments = {
            "#recent": site.fragment(visit, "pos/_recent.html", sales=recent_sales(db, visit))
        }
        if session_id is None:
            form = replace(_empty_form(db, visit, reader_id), reader_id=reader_id)
            fragments["#readers"] = site.fragment(visit, "pos/_readers.html", form=form)
        else:
            panel = _panel(db, visit, session_id)
            fragments["#till"] = site.fragment(visit, "pos/_session.html", session=panel)
    return fragments


def _empty_form(db: Transaction, visit: Visit, reader_id: str) -> TillForm:
    rows = devices.readers(db, visit.caller.scope, devices.ReaderFilter(), limit=_MOST_READERS)
    readers = _in_order([present.reader_choice(row, visit.places) for row in rows], reader_id)
    if reader_id not in {reader.id for reader in readers}:
        reader_id = next((reader.id for reader in readers if reader.is_ready), "")
    currencies = [visit.currency, *(code for code in _COMMON if code != visit.currency)]
    return TillForm(
        key=new_id("form"),
        currencies=[code for code in currencies if code in CURRENCIES],
        currency=visit.currency,
        readers=readers,
        reader_id=reader_id,
    )


def _in_order(readers: list[ReaderChoice], chosen: str) -> list[ReaderChoice]:
    """Those of the till's own shop first, then shops where one is online. Within a shop by name: keys stay the same."""
    own = {reader.place for reader in readers if reader.id == chosen}
    live = {reader.place for reader in readers if reader.reach == "online"}
    return sorted(
        readers,
        key=lambda reader: (reader.place not in own, reader.place not in live, reader.place),
    )


def _panel(db: Transaction, visit: Visit, session_id: str) -> SessionPanel:
    session = queries.session(db, visit.caller.scope, session_id)
    steps = queries.steps(db, visit.caller.scope, session_id)
    receipt = None
    if session.state is SessionState.APPROVED and session.transaction_id is not None:
        row = ledger.transaction(db, visit.caller.scope, session.transaction_id)
        place = visit.places.get(session.location_id, "")
        receipt = present.receipt_of_transaction(row, visit.merchant_name, place) if row else None
    return present.session_panel(session, steps, visit.now, places=visit.places, receipt=receipt)


def recent_sales(db: Transaction, visit: Visit) -> list[SaleRow]:
    """The newest sessions; filled up from the book, for those who may read it."""
    scope = visit.caller.scope
    sessions = queries.recent_sessions(db, scope, limit=_RECENT)
    rows = [present.sale_of_session(session, visit.places) for session in sessions]
    if len(rows) < _RECENT and visit.caller.can(Permission.TRANSACTION_VIEW):
        known = {session.id for session in sessions}
        book = ledger.transactions(db, scope, ledger.TransactionFilter(), limit=_RECENT)
        older = [row for row in book if row.session_id not in known][: _RECENT - len(rows)]
        names = names_of(db, visit, older)
        rows += [present.sale_of_transaction(row, names) for row in older]
    return rows


def _is_swap(request: Request) -> bool:
    return "hx-request" in request.headers
