"""Gives money back: in full, in part, by line; above a limit only once somebody has approved.

What is held by refunds that may still arrive counts as gone: the payment's row is locked while that is looked at, so
two refunds cannot both take the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import bindparam, func, select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from control_plane.errors import NotFound
from control_plane.till.limits import limit_in, needs_approval
from control_plane.till.queries import limits_of, settings_of
from control_plane.virtual_terminal import queries, reader_refunds, settle, timeline
from control_plane.virtual_terminal.beginning import payment_of
from control_plane.virtual_terminal.booking import IN_PERSON
from control_plane.virtual_terminal.errors import (
    FormReused,
    LinesRefused,
    NotConnected,
    NotRefundable,
    OwnRefund,
    RefundAboveYours,
    RefundDecided,
    RefundOnReader,
    RefundTooLarge,
    RefundWithoutReader,
)
from control_plane.virtual_terminal.lifecycle import PaymentState, RefundReason, RefundState
from control_plane.virtual_terminal.looks import CALL_OVER, SURELY_GONE
from control_plane.virtual_terminal.models import REFUNDS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Declined,
    NotReached,
    Processor,
    ProcessorError,
    ProcessorRefund,
    Refused,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import RefundView
from control_plane.virtual_terminal.wishes import RefundWish
from protocols.ids import new_id
from protocols.money import Money
from protocols.readers.emv import redact_card_numbers

log = structlog.get_logger()

_HOLDING: Final = sorted(state for state in RefundState if state.holds_money)
_HELD: Final = select(func.coalesce(func.sum(REFUNDS.c.amount_minor), 0)).where(
    REFUNDS.c.payment_id == bindparam("payment"),
    REFUNDS.c.state.in_(_HOLDING),
    REFUNDS.c.id != bindparam("but"),
)
_UNSEEN: Final = select(func.coalesce(func.sum(REFUNDS.c.amount_minor), 0)).where(
    REFUNDS.c.payment_id == bindparam("payment"),
    REFUNDS.c.state.in_(sorted(set(_HOLDING) - {RefundState.AWAITING_APPROVAL})),
    REFUNDS.c.decided_by.is_(None),
)
_LINES: Final = select(REFUNDS.c.lines).where(
    REFUNDS.c.payment_id == bindparam("payment"), REFUNDS.c.state.in_(_HOLDING)
)
_LOCK: Final = (
    select(REFUNDS)
    .where(REFUNDS.c.id == bindparam("refund"), REFUNDS.c.merchant_id == bindparam("merchant"))
    .with_for_update()
)
_OPEN: Final = [
    RefundState.CREATED, RefundState.AT_READER, RefundState.UNKNOWN, RefundState.PENDING,
]  # fmt: skip
#: Canada's debit cards take money back only with the card at a reader.
NEEDS_CARD: Final = "interac_present"
_LOOK_UNKNOWN: Final = timedelta(seconds=10)
_LOOK_PENDING: Final = timedelta(hours=6)


def refund(office: Office, caller: Caller, wish: RefundWish) -> RefundView:
    """See ``Desk.refund``."""
    caller.must(Permission.PAYMENT_REFUND_CREATE)
    with office.writing() as db:
        payment = payment_of(db, caller, wish.payment_id)
        amount = Money(_amount_of(db, payment, wish), payment.currency)
        settings = settings_of(db, caller.merchant_id)
        limits = limits_of(db, caller.merchant_id, caller.id)
        # Together with what nobody else has looked at: else a large refund would go in small pieces.
        unseen = int(db.execute(_UNSEEN, {"payment": payment.id}).scalar_one())
        whole = Money(amount.minor + unseen, amount.currency)
        waits = needs_approval(settings, limits, whole)
        now = context_of(db).clock.now()
        refund_id = new_id("rfd")
        is_new = insert_new(
            db,
            REFUNDS,
            {
                "id": refund_id,
                "merchant_id": caller.merchant_id,
                "location_id": payment.location_id,
                "payment_id": payment.id,
                "form_key": wish.form_key,
                "amount_minor": amount.minor,
                "currency": amount.currency,
                "reason": wish.reason,
                "note": redact_card_numbers(wish.note)[:200],
                "lines": [dict(line) for line in wish.lines],
                "state": RefundState.AWAITING_APPROVAL if waits else RefundState.CREATED,
                "state_since": now,
                "requested_by": caller.id,
                "requested_by_name": caller.name,
                "look_again_at": None if waits else now + CALL_OVER,
                "created_at": now,
            },
            unique=["merchant_id", "form_key"],
        )
        if not is_new:
            return _of_the_same_form(db, caller, wish)
        # Looked at with the new one among them.
        _refuse_too_much(db, payment, amount, but=refund_id)
        if wish.reader_id is not None:
            reader = reader_refunds.reader_for(
                db, caller.scope, wish.reader_id, must_be_free=not waits
            )
            settle.set_refund(
                db,
                refund_id,
                cloud_reader_id=reader.id,
                leased_until=None if waits else reader_refunds.lease(now),
            )
        timeline.add(
            db,
            caller.merchant_id,
            payment.id,
            MomentKind.REFUND_ASKED if waits else MomentKind.REFUND_BEGUN,
            text=refund_id,
            facts={"amount": str(amount), "reason": wish.reason.value},
            actor_name=caller.name,
        )
        tag = AuditTag.REFUND_ASK if waits else AuditTag.REFUND_CREATE
        _record(db, caller, tag, payment.id, refund_id, amount, wish.reason)
    if not waits:
        _send(office, caller.merchant_id, refund_id)
    return _view(office, caller, refund_id)


def approve(office: Office, caller: Caller, refund_id: str) -> RefundView:
    """See ``Desk.approve_refund``."""
    caller.must(Permission.PAYMENT_REFUND_APPROVE)
    with office.writing() as db:
        waiting = _waiting(db, caller, refund_id)
        amount = Money(waiting.amount_minor, waiting.currency)
        if waiting.requested_by == caller.id:
            raise OwnRefund(refund_id=refund_id)
        most = limit_in(limits_of(db, caller.merchant_id, caller.id).refund, amount.currency)
        if most is not None and amount > most:
            raise RefundAboveYours(limit=most)
        payment = payment_of(db, caller, waiting.payment_id)
        _refuse_too_much(db, payment, amount, but=refund_id)
        if waiting.cloud_reader_id is not None:
            reader_refunds.reader_for(db, caller.scope, waiting.cloud_reader_id)
            settle.set_refund(
                db, refund_id, leased_until=reader_refunds.lease(context_of(db).clock.now())
            )
        _decide(db, caller, waiting, RefundState.CREATED, MomentKind.REFUND_APPROVED)
        _record(db, caller, AuditTag.REFUND_APPROVE, payment.id, refund_id, amount, waiting.reason)
    _send(office, caller.merchant_id, refund_id)
    return _view(office, caller, refund_id)


def reject(office: Office, caller: Caller, refund_id: str, *, note: str) -> RefundView:
    """See ``Desk.reject_refund``."""
    caller.must(Permission.PAYMENT_REFUND_APPROVE)
    with office.writing() as db:
        waiting = _waiting(db, caller, refund_id)
        amount = Money(waiting.amount_minor, waiting.currency)
        _decide(
            db,
            caller,
            waiting,
            RefundState.REJECTED,
            MomentKind.REFUND_REJECTED,
            note=redact_card_numbers(note)[:200],
        )
        _record(
            db, caller, AuditTag.REFUND_REJECT, waiting.payment_id, refund_id, amount,
            waiting.reason,
        )  # fmt: skip
        return queries.refund(db, caller.scope, refund_id)


def resolve(office: Office, caller: Caller, refund_id: str) -> RefundView:
    """See ``Desk.resolve_refund``."""
    caller.must(Permission.PAYMENT_VIEW)
    _view(office, caller, refund_id)
    look(office, caller.merchant_id, refund_id)
    return _view(office, caller, refund_id)


def settle_due(office: Office, *, limit: int = 50) -> int:
    """Look at the refunds whose time has come; how many there were."""
    with office.reading() as db:
        due = db.execute(
            select(REFUNDS.c.id, REFUNDS.c.merchant_id)
            .where(
                REFUNDS.c.state.in_(_OPEN),
                REFUNDS.c.look_again_at.is_not(None),
                REFUNDS.c.look_again_at <= office.clock.now(),
            )
            .order_by(REFUNDS.c.look_again_at)
            .limit(limit)
        ).all()
    for row in due:
        look(office, row.merchant_id, row.id)
    return len(due)


def look(office: Office, merchant_id: str, refund_id: str) -> None:
    """Read a refund from the processor, or find it among those of its payment, and settle it by that."""
    with office.reading() as db:
        row = queries.refund_row(db, merchant_id, refund_id)
        if row is None or row.state not in _OPEN:
            return
        payment = queries.read_row(db, merchant_id, row.payment_id)
    if payment is None or payment.processor_id is None:
        return
    if row.cloud_reader_id is not None and row.state.holds_reader:
        reader_refunds.look(office, merchant_id, refund_id)
        return
    try:
        processor = office.processors.of(merchant_id)
        told = _read(processor, row, payment)
    except (ProcessorError, NotConnected) as silent:
        log.info("refund_not_read", refund_id=refund_id, reason=type(silent).__name__)
        with office.writing() as db:
            _look_later(db, merchant_id, refund_id)
        return
    with office.writing() as db:
        if told is not None:
            settle.apply_refund(db, merchant_id, told)
            _look_later(db, merchant_id, refund_id)
            return
        age = context_of(db).clock.now() - row.state_since
        if age >= SURELY_GONE:
            settle.end_refund(db, merchant_id, refund_id, "Stripe never received this refund.")
        else:
            _look_later(db, merchant_id, refund_id)


def _read(processor: Processor, row: Found, payment: Found) -> ProcessorRefund | None:
    if row.processor_id is not None:
        return processor.read_refund(row.processor_id)
    for told in processor.refunds_of(payment.processor_id):
        if told.metadata.get("refund") == row.id:
            return told
    return None


def _send(office: Office, merchant_id: str, refund_id: str) -> None:
    """The one call of a refund, and what came of it."""
    with office.reading() as db:
        row = queries.refund_row(db, merchant_id, refund_id)
        if row is None:
            raise NotFound("refund", refund_id)
        payment = queries.read_row(db, merchant_id, row.payment_id)
    if payment is None or payment.processor_id is None:
        raise NotRefundable(payment_id=row.payment_id, state="not of Stripe")
    if row.cloud_reader_id is not None:
        reader_refunds.ask(office, merchant_id, refund_id)
        return
    reason = None if row.reason is RefundReason.OTHER else row.reason.value
    try:
        told = office.processors.of(merchant_id).refund(
            payment.processor_id,
            amount_minor=row.amount_minor,
            reason=reason,
            metadata={"refund": row.id, "payment": payment.id},
            key=f"{row.id}:refund",
        )
    except (Declined, Refused, NotReached, NotConnected) as failure:
        with office.writing() as db:
            settle.end_refund(db, merchant_id, refund_id, str(failure))
        return
    except AnswerUnknown:
        with office.writing() as db:
            settle.lose_refund(db, merchant_id, refund_id)
        look(office, merchant_id, refund_id)
        return
    with office.writing() as db:
        settle.apply_refund(db, merchant_id, told)


def _amount_of(db: Transaction, payment: Found, wish: RefundWish) -> int:
    """What is to go back. Raises NotRefundable, RefundOnReader, LinesRefused, RefundTooLarge."""
    if payment.state is not PaymentState.PAID or payment.captured_minor <= 0:
        raise NotRefundable(payment_id=payment.id, state=payment.state.value.replace("_", " "))
    if payment.method_kind in IN_PERSON and payment.processor_id is None:
        raise NotRefundable(
            payment_id=payment.id, state="taken on one of your own readers; refund it there"
        )
    if payment.method_kind == NEEDS_CARD and wish.reader_id is None:
        raise RefundOnReader(payment_id=payment.id)
    if payment.method_kind != NEEDS_CARD and wish.reader_id is not None:
        raise RefundWithoutReader(payment_id=payment.id)
    remaining = Money(_remaining(db, payment), payment.currency)
    if remaining.minor == 0:
        raise RefundTooLarge(remaining=remaining)
    amount = wish.amount_minor
    if wish.lines:
        by_line = _lines_total(db, payment, wish.lines)
        amount = by_line if amount is None else amount
    wanted: int = remaining.minor if amount is None else amount
    if not 0 < wanted <= remaining.minor:
        raise RefundTooLarge(remaining=remaining)
    return wanted


def _lines_total(db: Transaction, payment: Found, lines: Sequence[Mapping[str, int]]) -> int:
    gone: dict[int, int] = {}
    for earlier in db.execute(_LINES, {"payment": payment.id}).scalars():
        for line in earlier:
            gone[line["index"]] = gone.get(line["index"], 0) + line["quantity"]
    total = 0
    for line in lines:
        index, quantity = line["index"], line["quantity"]
        if not 0 <= index < len(payment.items):
            raise LinesRefused(line=index + 1, left=0)
        item: dict[str, Any] = payment.items[index]
        before = gone.get(index, 0)
        left = int(item["quantity"]) - before
        if not 0 < quantity <= left:
            raise LinesRefused(line=index + 1, left=left)
        # Shares that add up: what all of it comes to, less what came before.
        whole, of = int(item["total_minor"]), int(item["quantity"])
        total += whole * (before + quantity) // of - whole * before // of
        gone[index] = before + quantity
    return total


def _remaining(db: Transaction, payment: Found, but: str = "") -> int:
    held = int(db.execute(_HELD, {"payment": payment.id, "but": but}).scalar_one())
    captured: int = payment.captured_minor
    return max(0, captured - held)


def _refuse_too_much(db: Transaction, payment: Found, amount: Money, *, but: str) -> None:
    remaining = Money(_remaining(db, payment, but), payment.currency)
    if amount > remaining:
        raise RefundTooLarge(remaining=remaining)


def _of_the_same_form(db: Transaction, caller: Caller, wish: RefundWish) -> RefundView:
    found = db.execute(
        queries.refunds(caller.scope).where(REFUNDS.c.form_key == wish.form_key)
    ).one_or_none()
    if found is None or found.payment_id != wish.payment_id:
        raise FormReused(
            amount="another payment", payment_id="–" if found is None else found.payment_id
        )
    return queries.refund_view(found)


def _waiting(db: Transaction, caller: Caller, refund_id: str) -> Found:
    row = db.execute(_LOCK, {"refund": refund_id, "merchant": caller.merchant_id}).one_or_none()
    if row is None or not caller.scope.covers(row.location_id):
        raise NotFound("refund", refund_id)
    if row.state is not RefundState.AWAITING_APPROVAL:
        raise RefundDecided(refund_id=refund_id, state=row.state.value.replace("_", " "))
    return row


def _decide(
    db: Transaction,
    caller: Caller,
    waiting: Found,
    state: RefundState,
    moment: MomentKind,
    *,
    note: str = "",
) -> None:
    now = context_of(db).clock.now()
    settle.set_refund(
        db,
        waiting.id,
        state=state,
        state_since=now,
        decided_by=caller.id,
        decided_by_name=caller.name,
        look_again_at=now + CALL_OVER if state is RefundState.CREATED else None,
    )
    timeline.add(
        db,
        caller.merchant_id,
        waiting.payment_id,
        moment,
        text=note,
        facts={"amount": str(Money(waiting.amount_minor, waiting.currency)), "refund": waiting.id},
        actor_name=caller.name,
    )


def _look_later(db: Transaction, merchant_id: str, refund_id: str) -> None:
    row = queries.refund_row(db, merchant_id, refund_id)
    if row is None or row.state not in _OPEN:
        return
    pause = _LOOK_PENDING if row.state is RefundState.PENDING else _LOOK_UNKNOWN
    settle.set_refund(db, refund_id, look_again_at=context_of(db).clock.now() + pause)


def _record(
    db: Transaction,
    caller: Caller,
    tag: AuditTag,
    payment_id: str,
    refund_id: str,
    amount: Money,
    reason: RefundReason,
) -> None:
    record(
        db,
        caller.merchant_id,
        caller.actor,
        tag,
        object_id=refund_id,
        object_name=str(amount),
        after={"payment_id": payment_id, "amount_minor": amount.minor, "reason": reason.value},
    )


def _view(office: Office, caller: Caller, refund_id: str) -> RefundView:
    with office.reading() as db:
        return queries.refund(db, caller.scope, refund_id)
