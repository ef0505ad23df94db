"""Take a payment: the form, the running session, its end, and the list of recent sales."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.timeline import readers_topic
from control_plane.errors import DomainError, NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.idempotency import KeyReused, Once
from control_plane.http.security import requires
from control_plane.parts import Parts
from control_plane.payments import queries, sessions
from control_plane.payments.by_hand import settle_by_hand
from control_plane.payments.errors import AmountRefused, AnswerLost, ReaderBusy, SessionDecided
from control_plane.payments.timeline import session_topic, sessions_topic
from control_plane.transactions import queries as ledger
from control_plane.virtual_terminal import queries as terminal
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.web import forms, paying, present
from control_plane.web.forms import Asked, Filled, filled, policy_of
from control_plane.web.i18n import N_
from control_plane.web.paper import paper_of
from control_plane.web.streams import follow
from control_plane.web.views import SaleRow, SessionPanel, TillForm
from control_plane.web.visits import Site, Visit, names_of, site_of
from protocols.errors import MoneyMismatch
from protocols.ids import new_id
from protocols.money import Money
from protocols.session import OPEN_STATES, SessionState

router = APIRouter()

READER_COOKIE: Final = "omnitill-reader"
_RECENT: Final = 8
_ONE_YEAR_S: Final = 365 * 24 * 3600
#: A cashier who comes back to the till is led to these; what takes days is no business of the next customer.
_UNDER_WAY: Final = (PaymentState.IN_PROGRESS, PaymentState.REQUIRES_ACTION, PaymentState.UNKNOWN)

Taking = Annotated[Caller, requires(Permission.PAYMENT_SESSION_CREATE)]
Watching = Annotated[Caller, requires(Permission.PAYMENT_SESSION_VIEW)]
Settling = Annotated[Caller, requires(Permission.PAYMENT_REFUND_APPROVE)]
Stopping = Annotated[Caller, requires(Permission.PAYMENT_SESSION_CANCEL)]


@router.get("/pos")
def till(
    request: Request,
    caller: Taking,
    db: ReadDb,
    asked: Annotated[Asked, Query()],
    new: bool = False,
) -> Response:
    """The form, filled in as asked; or the payment that this cashier has running, unless a new one is asked for."""
    if not new and not asked.model_fields_set:
        running = _running(db, caller)
        if running:
            return RedirectResponse(running, 303)
    site = site_of(request)
    visit = site.visit(db, request, caller)
    form = forms.empty(db, visit, _cookie(request), asked)
    return _page(db, site, visit, form)


@router.post("/pos")
def charge(
    request: Request, caller: Taking, db: Db, wish: Annotated[Filled, Depends(filled)]
) -> Response:
    """Start a sale on a reader of ours, once for each form however often it is sent; or say what hinders it.

    A sale that brings more than a session can carry is a payment: it is sent on to where these begin.
    """
    site = site_of(request)
    visit = site.visit(db, request, caller)
    if wish.needs_payment or forms.is_cloud_reader(db, visit, wish.reader):
        return RedirectResponse("/pos/payments", 307)
    try:
        with db.begin_nested():
            session_id = _start(db, caller, wish)
    except (DomainError, MoneyMismatch) as refused:
        problems = _problems(visit, wish, refused)
        form = forms.again(db, visit, wish, problems)
        if isinstance(refused, KeyReused):
            form = replace(form, key=new_id("form"))
        status = refused.status if isinstance(refused, DomainError) else 422
        if _is_swap(request):
            return site.page(visit, "pos/_form.html", status=status, form=form)
        return _page(db, site, visit, form, status=status)
    if _is_swap(request):
        panel = _panel(db, visit, session_id)
        response: Response = site.page(
            visit, "pos/_session.html", session=panel, headers={"HX-Push-Url": f"/pos/{session_id}"}
        )
    else:
        response = RedirectResponse(f"/pos/{session_id}", 303)
    remember_reader(request, response, wish.reader)
    return response


@router.get("/pos/method")
def method(
    request: Request, caller: Taking, db: ReadDb, asked: Annotated[Asked, Query()]
) -> Response:
    """What one way to pay needs beside the amount."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(visit, "pay/_method.html", form=forms.method_panel(db, visit, asked))


@router.post("/pos/bill")
def bill(
    request: Request, caller: Taking, db: ReadDb, wish: Annotated[Filled, Depends(filled)]
) -> Response:
    """What the sale comes to, with one more or one less of something."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(visit, "pos/_bill.html", form=forms.bill_form(db, visit, wish))


@router.get("/pos/items")
def items(request: Request, caller: Taking, db: ReadDb) -> Response:
    """Everything that is sold, to be found by its name or number."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(visit, "pos/_items.html", items=forms.everything(db, visit))


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
        visit, "pos/page.html", session=panel, form=None, pay=None, sales=recent_sales(db, visit)
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


@router.post("/pos/{session_id}/settle")
def settle(
    caller: Settling,
    db: Db,
    session_id: str,
    charged: Annotated[Literal["yes", "no"], Form()],
    note: Annotated[str, Form(max_length=300)] = "",
) -> Response:
    """Somebody looked at the reader's receipts and says how a payment ended that nobody knows."""
    try:
        with db.begin_nested():
            settle_by_hand(db, caller, session_id, charged=charged == "yes", note=note)
    except SessionDecided:
        # The reader was quicker; its page says how it ended.
        pass
    return RedirectResponse(f"/pos/{session_id}", 303)


@router.get("/pos/{session_id}/again")
def again(request: Request, caller: Taking, db: ReadDb, session_id: str) -> Response:
    """The form of a new sale, filled in like one that moved no money."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    earlier = queries.session(db, caller.scope, session_id)
    asked = Asked()
    if earlier.is_final:
        asked = Asked(
            amount=str(earlier.amount.decimal()),
            currency=earlier.currency,
            reference=earlier.reference,
            note=earlier.note,
        )
    return _page(db, site, visit, forms.empty(db, visit, earlier.reader_id, asked))


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
            form = replace(forms.with_readers(db, visit, reader_id), reader_id=reader_id)
            fragments["#readers"] = site.fragment(visit, "pos/_readers.html", form=form)
        else:
            panel = _panel(db, visit, session_id)
            fragments["#till"] = site.fragment(visit, "pos/_session.html", session=panel)
    return fragments


def _panel(db: Transaction, visit: Visit, session_id: str) -> SessionPanel:
    session = queries.session(db, visit.caller.scope, session_id)
    steps = queries.steps(db, visit.caller.scope, session_id)
    receipt = None
    if session.state is SessionState.APPROVED and session.transaction_id is not None:
        receipt = paper_of(db, visit, session.transaction_id)
    return present.session_panel(session, steps, visit.now, places=visit.places, receipt=receipt)


def recent_sales(db: Transaction, visit: Visit) -> list[SaleRow]:
    """The newest sessions and payments; filled up from the book, for those who may read it."""
    scope = visit.caller.scope
    sessions = queries.recent_sessions(db, scope, limit=_RECENT)
    payments = []
    if visit.caller.can(Permission.PAYMENT_VIEW):
        payments = terminal.recent(db, scope, limit=_RECENT)
    rows = [present.sale_of_session(one, visit.places) for one in sessions if not one.payment_id]
    rows += [paying.sale_of_payment(one, visit.places) for one in payments]
    rows = sorted(rows, key=lambda row: row.at, reverse=True)[:_RECENT]
    if len(rows) < _RECENT and visit.caller.can(Permission.TRANSACTION_VIEW):
        known = {session.id for session in sessions}
        paid = {payment.id for payment in payments}
        book = ledger.transactions(db, scope, ledger.TransactionFilter(), limit=_RECENT)
        older = [row for row in book if row.session_id not in known and row.payment_id not in paid]
        older = older[: _RECENT - len(rows)]
        names = names_of(db, visit, older)
        rows += [present.sale_of_transaction(row, names) for row in older]
    return rows


def remember_reader(request: Request, response: Response, reader_id: str) -> None:
    """The till offers the same reader next time."""
    response.set_cookie(
        READER_COOKIE,
        reader_id,
        max_age=_ONE_YEAR_S,
        path="/pos",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def _cookie(request: Request) -> str:
    return request.cookies.get(READER_COOKIE, "")


def _page(
    db: Transaction, site: Site, visit: Visit, form: TillForm, *, status: int = 200
) -> Response:
    headers = policy_of(form.account)
    return site.page(
        visit, "pos/page.html", status=status, headers=headers,
        form=form, session=None, pay=None, sales=recent_sales(db, visit),
    )  # fmt: skip


def _running(db: Transaction, caller: Caller) -> str:
    """Where the payment is that this cashier has under way."""
    sessions = queries.recent_sessions(
        db, caller.scope, cashier_id=caller.id, states=OPEN_STATES, limit=1
    )
    if sessions:
        return f"/pos/{sessions[0].payment_id or sessions[0].id}"
    if not caller.can(Permission.PAYMENT_VIEW):
        return ""
    payments = terminal.recent(db, caller.scope, cashier_id=caller.id, states=_UNDER_WAY, limit=1)
    return f"/pos/{payments[0].id}" if payments else ""


def _is_swap(request: Request) -> bool:
    return "hx-request" in request.headers
