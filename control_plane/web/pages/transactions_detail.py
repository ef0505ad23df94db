"""One transaction or payment with all that belongs to it; giving money back, also on the reader that took it."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.card_present import refunds as card_refunds
from control_plane.card_present.clearing import Clearing
from control_plane.card_present.refunds import CardRefundView
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError, NotFound, RequestRefused
from control_plane.http.dependencies import App, Db, ReadDb, WriterSlot
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.mail.errors import MailNotSetUp
from control_plane.mail.mailer import Mailer
from control_plane.parts import Parts
from control_plane.payments.sessions import start_reversal
from control_plane.receipts.service import prepare_mail, send_receipt
from control_plane.virtual_terminal import cloud_readers, queries
from control_plane.virtual_terminal.declines import explain_refund
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.lifecycle import RefundReason
from control_plane.virtual_terminal.timeline import payment_topic
from control_plane.virtual_terminal.views import RefundView
from control_plane.virtual_terminal.wishes import RefundWish
from control_plane.web import card_words, refund_words
from control_plane.web.filled import Filled, Form
from control_plane.web.i18n import N_
from control_plane.web.sale import Sale, card_sale_of, page_values, refund_form, sale_of
from control_plane.web.sale_views import RefundForm
from control_plane.web.streams import follow
from control_plane.web.visits import Visit, site_of
from protocols.errors import MoneyMismatch
from protocols.ids import new_id
from protocols.money import Money

router = APIRouter(prefix="/transactions")

Seeing = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
Refunding = Annotated[Caller, requires(Permission.PAYMENT_REFUND_CREATE)]

_MOST_LINES: Final = 100


@router.get("/{thing_id}")
def show(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    thing_id: str,
    refund: Annotated[str, Query(max_length=64)] = "",
    sent: Annotated[bool, Query()] = False,
) -> Response:
    """A row of the ledger (``tx_…``) or a payment (``pay_…``); ``refund`` is one that was just asked for."""
    return _page(request, caller, db, thing_id, asked=refund, sent=sent)


@router.post("/{payment_id}/refunds")
async def give_back(
    request: Request, caller: Refunding, parts: App, payment_id: str, form: Form
) -> Response:
    """Give money back, or ask for it: above the limit, somebody else decides."""
    return await apart(_give_back, request, caller, parts, payment_id, form)


@router.post("/{transaction_id}/card-refunds")
async def give_back_card(
    request: Request, caller: Refunding, parts: App, transaction_id: str, form: Form
) -> Response:
    """Give money back of a sale on an encrypting reader."""
    return await apart(_give_back_card, request, caller, parts, transaction_id, form)


@router.post("/{payment_id}/refunds/{refund_id}/look")
async def look_at_refund(
    caller: Refunding, parts: App, payment_id: str, refund_id: str
) -> Response:
    """Ask the processor what became of a refund."""
    await apart(parts.get(Desk).resolve_refund, caller, refund_id)
    return RedirectResponse(f"/transactions/{payment_id}?refund={refund_id}", 303)


@router.post("/{payment_id}/refunds/{refund_id}/cancel")
async def cancel_refund(
    request: Request, caller: Refunding, parts: App, payment_id: str, refund_id: str
) -> Response:
    """Take a refund off the reader that asks for its card."""
    return await apart(_cancel_refund, request, caller, parts, payment_id, refund_id)


@router.get("/{thing_id}/live", response_class=EventSourceResponse)
async def live(
    request: Request,
    caller: Seeing,
    parts: App,
    thing_id: str,
    refund: Annotated[str, Query(max_length=64)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """How far a refund is, and what happened."""
    site = site_of(request)

    def payment_of() -> str:
        with parts.database.reading() as db:
            sale = sale_of(db, site.visit(db, request, caller), thing_id)
        return sale.payment.id if sale.payment is not None else thing_id

    def render() -> Mapping[str, str]:
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            sale = sale_of(db, visit, thing_id)
            values = page_values(db, visit, sale)
            asked = _asked_of(db, visit, sale, thing_id, refund)
            names = {"#asked": "_asked", "#refunds": "_refunds", "#moments": "_moments"}
            return {
                place: site.fragment(visit, f"transactions/{name}.html", asked=asked, **values)
                for place, name in names.items()
            }

    topic = payment_topic(await to_thread(payment_of))
    async for event in follow(parts.live, [topic], render, urgent=[topic]):
        yield event


@router.post("/{transaction_id}/reversal")
def reverse(request: Request, caller: Refunding, db: Db, transaction_id: str) -> Response:
    """Take a sale back on the reader that took it, with the customer's card."""
    visit = site_of(request).visit(db, request, caller)
    sale = sale_of(db, visit, transaction_id)
    if sale.row is None or sale.row.session_id is None:
        raise NotFound("transaction", transaction_id)
    try:
        with db.begin_nested():
            session = start_reversal(db, caller, sale.row.session_id)
    except DomainError as refused:
        notice = visit.explain(refused)
        return _page(request, caller, db, transaction_id, notice=notice, status=refused.status)
    return RedirectResponse(f"/pos/{session.id}", 303)


@router.post("/{thing_id}/receipt")
def mail_receipt(
    request: Request, caller: Seeing, parts: App, thing_id: str, form: Form, _: WriterSlot
) -> Response:
    """Send the receipt again."""
    try:
        if not parts.get(Mailer).is_set_up:
            raise MailNotSetUp
        with parts.database.reading_connection() as db:
            prepared = prepare_mail(db, caller.scope, thing_id, form.text("email", 254))
    except DomainError as refused:
        if refused.status == 404:
            raise
        with parts.database.reading() as db:
            notice = site_of(request).visit(db, request, caller).explain(refused)
            return _page(request, caller, db, thing_id, notice=notice, status=refused.status)
    with parts.database.connection() as db:
        key = form.text("key", 64) or new_id("frm")
        send_receipt(db, caller.merchant_id, caller.actor, prepared, key=key)
    return RedirectResponse(f"/transactions/{thing_id}?sent=1", 303)


def _give_back(
    request: Request, caller: Caller, parts: Parts, payment_id: str, form: Filled
) -> Response:
    with parts.database.reading() as db:
        # Also keeps whoever may not see the payment from learning anything by what is refused.
        payment = queries.payment(db, caller.scope, payment_id)
    try:
        wish = _wish_of(form, payment_id, payment.currency)
        refund = parts.get(Desk).refund(caller, wish)
    except (DomainError, MoneyMismatch) as refused:
        with parts.database.reading() as db:
            visit = site_of(request).visit(db, request, caller)
            return _page(
                request, caller, db, payment_id,
                status=422 if isinstance(refused, MoneyMismatch) else refused.status,
                written=(form, _problem(visit, refused)),
            )  # fmt: skip
    return RedirectResponse(f"/transactions/{payment_id}?refund={refund.id}", 303)


def _cancel_refund(
    request: Request, caller: Caller, parts: Parts, payment_id: str, refund_id: str
) -> Response:
    try:
        parts.get(Desk).cancel_refund(caller, refund_id)
    except DomainError as refused:
        if refused.status == 404:
            raise
        with parts.database.reading() as db:
            notice = site_of(request).visit(db, request, caller).explain(refused)
            return _page(
                request, caller, db, payment_id,
                asked=refund_id, notice=notice, status=refused.status,
            )  # fmt: skip
    return RedirectResponse(f"/transactions/{payment_id}?refund={refund_id}", 303)


def _give_back_card(
    request: Request, caller: Caller, parts: Parts, transaction_id: str, form: Filled
) -> Response:
    with parts.database.reading() as db:
        visit = site_of(request).visit(db, request, caller)
        taken = card_sale_of(db, visit, sale_of(db, visit, transaction_id))
    if taken is None:
        raise NotFound("transaction", transaction_id)
    try:
        amount = None
        if form.text("by") == "amount":
            amount = Money.parse(form.text("amount", 20), taken.amount.currency).minor
        with parts.database.connection() as writing:
            refund = card_refunds.begin(
                writing, caller, transaction_id, form.text("key", 64) or new_id("frm"),
                amount_minor=amount, note=form.text("note"),
            )  # fmt: skip
    except (DomainError, MoneyMismatch) as refused:
        with parts.database.reading() as db:
            visit = site_of(request).visit(db, request, caller)
            return _page(
                request, caller, db, transaction_id,
                status=422 if isinstance(refused, MoneyMismatch) else refused.status,
                written=(form, _problem(visit, refused)),
            )  # fmt: skip
    parts.get(Clearing).give_back(refund.id)
    return RedirectResponse(f"/transactions/{transaction_id}?refund={refund.id}", 303)


def _wish_of(form: Filled, payment_id: str, currency: str) -> RefundWish:
    """What a form asks for. Raises MoneyMismatch, RequestRefused."""
    amount = None
    lines: tuple[dict[str, int], ...] = ()
    match form.text("by"):
        case "amount":
            money = Money.parse(form.text("amount", 20), currency)
            if money.minor <= 0:
                raise MoneyMismatch("write an amount above zero", text=form.text("amount", 20))
            amount = money.minor
        case "lines":
            lines = tuple(
                {"index": index, "quantity": quantity}
                for index in range(_MOST_LINES)
                if (quantity := form.number(f"line-{index}"))
            )
            if not lines:
                raise RequestRefused(field="lines", reason=_NO_LINE)
    reason = form.text("reason")
    return RefundWish(
        payment_id=payment_id,
        amount_minor=amount,
        lines=lines,
        reason=RefundReason(reason) if reason in set(RefundReason) else RefundReason.OTHER,
        reader_id=form.text("reader", 64) or None,
        note=form.text("note"),
        form_key=form.text("key", 64) or None,
    )


_NO_LINE: Final = N_("Choose how many of which line go back.")


def _problem(visit: Visit, refused: DomainError | MoneyMismatch) -> str:
    if isinstance(refused, MoneyMismatch):
        return visit.say(N_("Write the amount like 12.34."))
    if refused.facts.get("reason") == _NO_LINE:
        return visit.say(_NO_LINE)
    return visit.explain(refused)


def _page(
    request: Request,
    caller: Caller,
    db: Transaction,
    thing_id: str,
    *,
    status: int = 200,
    asked: str = "",
    sent: bool = False,
    notice: str = "",
    written: tuple[Filled, str] | None = None,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    sale = sale_of(db, visit, thing_id)
    form = refund_form(db, visit, sale)
    if written is not None:
        filled, problem = written
        notice = problem
        form = _as_written(form, filled, problem) if form else None
    return site.page(
        visit,
        "transactions/detail.html",
        status=status,
        refund_form=form,
        asked=_asked_of(db, visit, sale, thing_id, asked),
        sent=sent,
        mail_key=new_id("frm"),
        notice="" if form and form.problem else notice,
        **page_values(db, visit, sale),
    )


def _as_written(form: RefundForm, filled: Filled, problem: str) -> RefundForm:
    """The dialog as it was sent: with the same key, so that it cannot be done twice."""
    by, reason = filled.text("by"), filled.text("reason")
    return replace(
        form,
        key=filled.text("key", 64) or form.key,
        amount=filled.text("amount", 20) or form.amount,
        by=by if by in {"all", "amount", "lines"} else "all",
        reason=reason or form.reason,
        note=filled.text("note"),
        reader=filled.text("reader", 64) or form.reader,
        quantities={line.index: filled.text(f"line-{line.index}", 5) for line in form.lines},
        problem=problem,
        is_open=True,
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is said of a refund that was just asked for, or that a reader has."""

    tone: str
    icon: str
    text: str
    more: str = ""
    stop: str = ""
    """Where it is taken off its reader; ``""`` when it is on none."""
    live: str = ""
    """Its id, while the page follows it."""


def _asked_of(
    db: Transaction, visit: Visit, sale: Sale, thing_id: str, asked: str
) -> _Asked | None:
    just = next((one for one in sale.refunds if one.id == asked), None)
    if just is None:
        just = next((one for one in sale.refunds if one.is_stoppable), None)
    if just is not None:
        return _asked(db, visit, just)
    given = card_refunds.refunds_of(db, visit.caller.scope, thing_id)
    by_card = next((one for one in given if one.id == asked), None)
    return None if by_card is None else _asked_by_card(visit, by_card)


def _asked_by_card(visit: Visit, refund: CardRefundView) -> _Asked:
    word = card_words.REFUND[refund.state]
    amount = visit.formats.money(Money(refund.amount_minor, refund.currency))
    return _Asked(word.tone, word.icon, f"{amount}: {visit.say(card_words.ASKED[refund.state])}")


def _asked(db: Transaction, visit: Visit, refund: RefundView) -> _Asked:
    word = refund_words.REFUND[refund.state]
    amount = visit.formats.money(refund.amount)
    told, more = refund_words.ASKED[refund.state], ""
    if refund.failure_reason and not refund.state.holds_money:
        words = explain_refund(refund.failure_reason).in_language(visit.language)
        text, more = f"{amount}: {words[0]}", words[1]
    else:
        text = f"{amount}: {visit.say(told)}"
    if refund.is_stoppable and refund.reader_id is not None:
        more = cloud_readers.reader(
            db, Scope(merchant_id=refund.merchant_id), refund.reader_id
        ).name
    stop = f"/transactions/{refund.payment_id}/refunds/{refund.id}/cancel"
    may = visit.caller.can(Permission.PAYMENT_REFUND_CREATE)
    return _Asked(
        word.tone, word.icon, text, more,
        stop=stop if refund.is_stoppable and may else "",
        live=refund.id if refund.is_stoppable else "",
    )  # fmt: skip
