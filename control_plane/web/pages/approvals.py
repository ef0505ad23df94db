"""Refunds that wait for a second person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers import queries as customers
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError
from control_plane.http.dependencies import App, ReadDb
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.till import queries as till
from control_plane.till.limits import limit_in
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.views import PaymentView, RefundView
from control_plane.web import refund_words
from control_plane.web.filled import Form
from control_plane.web.paying import card_of
from control_plane.web.visits import Visit, site_of
from control_plane.web.words import Word
from protocols.money import Money

router = APIRouter(prefix="/approvals")

Approving = Annotated[Caller, requires(Permission.PAYMENT_REFUND_APPROVE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A refund that somebody has to decide."""

    id: str
    amount: Money
    of: Money
    at: datetime
    by: str
    reason: str
    note: str
    customer: str
    card: str
    href: str
    is_own: bool
    above: Money | None
    """The visitor's own limit, when the refund is above it."""


@router.get("")
def approvals(
    request: Request, caller: Approving, db: ReadDb, done: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """What waits, the oldest first; ``done`` is what was just decided."""
    return _page(request, caller, db, done=done)


@router.post("/{refund_id}/approve")
async def approve(request: Request, caller: Approving, parts: App, refund_id: str) -> Response:
    """Let a refund go."""
    desk = parts.get(Desk)
    return await apart(
        _decide, request, caller, parts, lambda: desk.approve_refund(caller, refund_id)
    )


@router.post("/{refund_id}/reject")
async def reject(
    request: Request, caller: Approving, parts: App, refund_id: str, form: Form
) -> Response:
    """Say no, and why."""
    desk = parts.get(Desk)
    note = form.text("note")
    return await apart(
        _decide, request, caller, parts, lambda: desk.reject_refund(caller, refund_id, note=note)
    )


def _decide(
    request: Request, caller: Caller, parts: Parts, step: Callable[[], RefundView]
) -> Response:
    try:
        decided = step()
    except DomainError as refused:
        if refused.status == 404:
            raise
        with parts.database.reading() as db:
            return _page(request, caller, db, refused=refused)
    return RedirectResponse(f"/approvals?done={decided.id}", 303)


def _page(
    request: Request,
    caller: Caller,
    db: Transaction,
    *,
    done: str = "",
    refused: DomainError | None = None,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    waiting = queries.waiting_for_approval(db, caller.scope)
    limits = till.limits_of(db, caller.merchant_id, caller.id).refund
    rows = [_waiting(db, visit, one, limit_in(limits, one.currency)) for one in waiting]
    return site.page(
        visit,
        "approvals.html",
        status=refused.status if refused else 200,
        waiting=rows,
        notice=visit.explain(refused) if refused else "",
        decided=_decided(db, visit, done),
    )


def _waiting(db: Transaction, visit: Visit, one: RefundView, most: Money | None) -> Waiting:
    payment: PaymentView = queries.payment(db, visit.caller.scope, one.payment_id)
    customer = ""
    if payment.customer_id and visit.caller.can(Permission.CUSTOMER_VIEW):
        found = customers.names(db, visit.caller.scope, [payment.customer_id])
        customer = found.get(payment.customer_id, "")
    return Waiting(
        id=one.id,
        amount=one.amount,
        of=payment.amount,
        at=one.created_at,
        by=one.requested_by_name,
        reason=refund_words.REASONS[one.reason],
        note=one.note,
        customer=customer,
        card=card_of(payment),
        href=f"/transactions/{payment.id}",
        is_own=one.requested_by == visit.caller.id,
        above=most if most is not None and one.amount > most else None,
    )


def _decided(db: Transaction, visit: Visit, refund_id: str) -> tuple[Word, str, str] | None:
    """(state, amount and sentence, where to look) of what was just decided."""
    if not refund_id:
        return None
    try:
        refund = queries.refund(db, visit.caller.scope, refund_id)
    except DomainError:
        return None
    sentence = visit.say(refund_words.ASKED[refund.state])
    text = f"{visit.formats.money(refund.amount)}: {sentence}"
    return refund_words.REFUND[refund.state], text, f"/transactions/{refund.payment_id}"
