"""Finds out how a payment stands: on demand, and by itself for all that wait for their truth.

The processor's word decides, never ours: an attempt counts as not made only after it was surely over, and the
processor was asked twice and knew nothing of it.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.errors import DomainError
from control_plane.virtual_terminal import capturing, links, queries, settle, timeline
from control_plane.virtual_terminal.errors import NotConnected
from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
)
from control_plane.virtual_terminal.looks import (
    CALL_OVER,
    SURELY_GONE,
    WARN_BEFORE,
    next_look,
)
from control_plane.virtual_terminal.models import MOMENTS, PAYMENTS
from control_plane.virtual_terminal.moves import NEVER_HAPPENED
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    Processor,
    ProcessorError,
    ProcessorPayment,
    ProcessorRefund,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import ActionView, PaymentView

log = structlog.get_logger()

_LOST: Final = (
    "The answer of Stripe was lost, so it is not known whether the card was charged. "
    "Omnitill asks again until it knows."
)
_SETTLING: Final = sorted(
    {
        PaymentState.IN_PROGRESS,
        PaymentState.REQUIRES_ACTION,
        PaymentState.PROCESSING,
        PaymentState.AUTHORIZED,
        PaymentState.UNKNOWN,
    }
)


def resolve(office: Office, caller: Caller, payment_id: str) -> PaymentView:
    """Ask the processor now. When it cannot be asked, the answer is how the payment stood."""
    caller.must(Permission.PAYMENT_VIEW)
    with office.reading() as db:
        queries.payment(db, caller.scope, payment_id)
    snapshot = look(office, caller.merchant_id, payment_id)
    with office.reading() as db:
        return queries.payment(db, caller.scope, payment_id, action=action_in(snapshot))


def settle_due(office: Office, *, limit: int = 50) -> int:
    """Look at the payments whose time has come; how many there were."""
    with office.reading() as db:
        due = db.execute(
            select(PAYMENTS.c.id, PAYMENTS.c.merchant_id)
            .where(
                PAYMENTS.c.state.in_(_SETTLING),
                PAYMENTS.c.look_again_at.is_not(None),
                PAYMENTS.c.look_again_at <= office.clock.now(),
            )
            .order_by(PAYMENTS.c.look_again_at)
            .limit(limit)
        ).all()
    for row in due:
        try:
            look(office, row.merchant_id, row.id)
        except DomainError as failure:
            # The others are looked at all the same.
            log.warning("payment_not_settled", payment_id=row.id, reason=failure.code)
            with office.writing() as db:
                _look_later(db, row.merchant_id, row.id)
    return len(due)


def look(office: Office, merchant_id: str, payment_id: str) -> ProcessorPayment | None:
    """Read a payment from the processor and settle it by that; what was read, None when nothing could be."""
    with office.reading() as db:
        payment = queries.read_row(db, merchant_id, payment_id)
        if payment is None:
            return None
        attempts = queries.attempt_rows(db, payment_id)
    attempt = queries.open_attempt(attempts)
    snapshot: ProcessorPayment | None = None
    try:
        processor = office.processors.of(merchant_id)
        if payment.processor_id is not None:
            snapshot = processor.read_payment(payment.processor_id)
        elif attempt is not None and attempt.session_id is None:
            found = processor.find_payment("attempt", attempt.id)
            # The listing may be older than the object.
            snapshot = None if found is None else processor.read_payment(found.id)
    except (ProcessorError, NotConnected) as silent:
        log.info("payment_not_read", payment_id=payment_id, reason=type(silent).__name__)
        with office.writing() as db:
            _look_later(db, merchant_id, payment_id)
        return None
    with office.writing() as db:
        settled = None if snapshot is None else settle.apply_snapshot(db, merchant_id, snapshot)
        _after_look(db, merchant_id, payment_id)
    if settled is not None and settled.refunds_differ:
        read_refunds(office, processor, merchant_id, snapshot)
    if payment.state is PaymentState.AUTHORIZED or (
        settled is not None and settled.state is PaymentState.AUTHORIZED
    ):
        capturing.judge(office, merchant_id, payment_id)
    links.expire(office, merchant_id, payment_id)
    return snapshot


def action_in(snapshot: ProcessorPayment | None) -> ActionView | None:
    """What the payer has to do, if an intent waits for that."""
    if snapshot is None or snapshot.status != "requires_action":
        return None
    action = snapshot.next_action
    return ActionView(
        kind="use_stripe_sdk" if action is None else action.kind,
        url=None if action is None else action.url,
        client_secret=snapshot.client_secret,
    )


def lost(db: Transaction, merchant_id: str, attempt_id: str) -> None:
    """The answer to an attempt's call did not come."""
    settle.mark_unknown(db, merchant_id, attempt_id, _LOST)


def read_refunds(
    office: Office,
    processor: Processor,
    merchant_id: str,
    snapshot: ProcessorPayment | None,
) -> list[ProcessorRefund]:
    """Take over every refund that the processor has of a payment."""
    if snapshot is None:
        return []
    try:
        told = processor.refunds_of(snapshot.id)
    except ProcessorError:
        return []
    with office.writing() as db:
        for one in told:
            settle.apply_refund(db, merchant_id, one)
    return told


def _after_look(db: Transaction, merchant_id: str, payment_id: str) -> None:
    """What follows from the look when nothing moved: an attempt that never was, or a later look."""
    payment = queries.lock_payment(db, merchant_id, payment_id)
    if payment is None or payment.state not in _SETTLING:
        return
    attempt = queries.open_attempt(queries.attempt_rows(db, payment_id))
    if attempt is not None and _was_never_made(payment, attempt, db):
        settle.end_attempt(
            db,
            merchant_id,
            attempt.id,
            AttemptState.FAILED,
            code=NEVER_HAPPENED,
            message="Stripe never received this attempt, so nothing was charged.",
        )
        return
    _warn_of_lapse(db, payment)
    _look_later(db, merchant_id, payment_id)


def _was_never_made(payment: Found, attempt: Found, db: Transaction) -> bool:
    if attempt.method in {AttemptMethod.READER, AttemptMethod.LINK}:
        return False
    if attempt.state not in {AttemptState.CREATED, AttemptState.SENT, AttemptState.UNKNOWN}:
        return False
    is_over = context_of(db).clock.now() - attempt.started_at >= SURELY_GONE
    return is_over and int(payment.looks) >= 1


def _look_later(db: Transaction, merchant_id: str, payment_id: str) -> None:
    payment = queries.lock_payment(db, merchant_id, payment_id)
    if payment is None or payment.state not in _SETTLING:
        return
    now = context_of(db).clock.now()
    attempt = queries.open_attempt(queries.attempt_rows(db, payment_id))
    if (
        attempt is not None
        and attempt.state in {AttemptState.CREATED, AttemptState.SENT}
        and attempt.method not in {AttemptMethod.READER, AttemptMethod.LINK}
        and now - attempt.started_at >= CALL_OVER
    ):
        # Whoever asked has ended without writing down what came of it.
        lost(db, merchant_id, attempt.id)
        return
    not_after = None
    if payment.state is PaymentState.AUTHORIZED and payment.capture_before is not None:
        not_after = payment.capture_before - WARN_BEFORE
    elif attempt is not None and attempt.method is AttemptMethod.LINK:
        not_after = attempt.link_expires_at
    settle.set_payment(
        db,
        payment,
        looks=payment.looks + 1,
        look_again_at=next_look(payment.state, payment.looks, now, not_after=not_after),
    )


def _warn_of_lapse(db: Transaction, payment: Found) -> None:
    """Once, a day before held money is lost."""
    lapses = payment.capture_before
    if payment.state is not PaymentState.AUTHORIZED or lapses is None:
        return
    if context_of(db).clock.now() < lapses - WARN_BEFORE:
        return
    warned = select(MOMENTS.c.id).where(
        MOMENTS.c.payment_id == payment.id, MOMENTS.c.kind == MomentKind.CAPTURE_LAPSING.value
    )
    if db.execute(warned.limit(1)).first() is None:
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            MomentKind.CAPTURE_LAPSING,
            facts={"until": lapses.isoformat(timespec="minutes")},
        )


def is_waiting(attempt: Found) -> bool:
    """Whether an attempt waits for its payer, so that it can be given up for another."""
    return attempt.state in OPEN_ATTEMPTS and (
        attempt.method is AttemptMethod.LINK or attempt.state is AttemptState.REQUIRES_ACTION
    )
