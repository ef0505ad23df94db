"""Sales on our own agent-driven readers, as attempts of a payment.

The reader's money does not run through the processor: its session decides, and its row in the ledger is the session's.
An intent that the payment has is cancelled before the reader is asked, so that nobody can pay twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, select

from control_plane import events
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers import service as customers
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.payments import queries as session_queries
from control_plane.payments import sessions
from control_plane.payments.events import AnswerLost, SessionDecided
from control_plane.payments.lifecycle import SessionKind
from control_plane.payments.views import SessionView
from control_plane.till.queries import settings_of
from control_plane.virtual_terminal import capturing, guard, queries, settle, timeline
from control_plane.virtual_terminal.beginning import Try, at_reader, begin
from control_plane.virtual_terminal.events import PaymentPaid
from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
)
from control_plane.virtual_terminal.models import ATTEMPTS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, ReaderWish
from protocols.session import SessionState

_OF_SESSION: Final = select(ATTEMPTS).where(
    ATTEMPTS.c.session_id == bindparam("session"), ATTEMPTS.c.merchant_id == bindparam("merchant")
)
_LOST: Final = "The answer of the reader was lost. Its device is asking it what happened."


@dataclass(frozen=True, slots=True)
class _End:
    """What the end of a session is for its attempt."""

    state: AttemptState
    code: str


_ENDS: Final = {
    SessionState.DECLINED: _End(AttemptState.DECLINED, "card_declined"),
    SessionState.CANCELLED: _End(AttemptState.CANCELED, "canceled"),
    SessionState.EXPIRED: _End(AttemptState.FAILED, "terminal_reader_offline"),
    SessionState.FAILED: _End(AttemptState.FAILED, "terminal_reader_hardware_fault"),
}


def start(office: Office, caller: Caller, wish: ReaderWish) -> PaymentView:
    """See ``Desk.start_on_reader``."""
    caller.must(Permission.PAYMENT_SESSION_CREATE)
    order = wish.order
    if isinstance(order, Again):
        with office.reading() as db:
            view = queries.payment(db, caller.scope, order.payment_id)
        last = view.attempt
        is_replaced = last is not None and last.state.is_open and last.id == order.replaces
        if is_replaced or (view.state is PaymentState.OPEN and view.processor_id is not None):
            capturing.release(office, caller.merchant_id, view.id, actor_name=caller.name)
    with office.writing() as db:
        settings = settings_of(db, caller.merchant_id)
        reader = session_queries.reader_for_payment(db, caller.scope, wish.reader_id)
        order = at_reader(order, reader.location_id)
        begun = begin(db, caller, order, Try(method=AttemptMethod.READER), settings)
        if begun.is_new:
            payment = begun.payment
            session = sessions.start_session(
                db,
                caller,
                sessions.StartSession(
                    reader_id=wish.reader_id,
                    amount=begun.amount,
                    reference=payment.reference,
                    note=payment.note,
                    card_timeout_s=wish.card_timeout_s,
                    payment_id=payment.id,
                ),
            )
            settle.set_attempt(db, begun.attempt_id, session_id=session.id)
            timeline.add(
                db,
                caller.merchant_id,
                payment.id,
                MomentKind.READER_ASKED,
                attempt_id=begun.attempt_id,
                facts={"reader": reader.name, "session": session.id},
                actor_name=caller.name,
            )
        return queries.payment(db, caller.scope, begun.payment.id)


def session_decided(db: Transaction, event: SessionDecided) -> None:
    """A session reached its end: so did the attempt that it is."""
    attempt = _attempt_of(db, event.merchant_id, event.session_id)
    if attempt is None:
        _look_for_pair(db, event)
        return
    if event.state is SessionState.APPROVED:
        _paid(db, attempt, event)
        return
    end = _ENDS.get(event.state)
    if end is not None:
        session = session_queries.session(
            db, Scope(merchant_id=event.merchant_id), event.session_id
        )
        settle.end_attempt(
            db,
            event.merchant_id,
            attempt.id,
            end.state,
            code=None if end.state is AttemptState.CANCELED else end.code,
            message=session.result_text or session.explanation,
        )


def answer_lost(db: Transaction, event: AnswerLost) -> None:
    """Nobody knows whether the reader charged the card; no other way may be tried until its device does."""
    attempt = _attempt_of(db, event.merchant_id, event.session_id)
    if attempt is not None:
        settle.mark_unknown(db, event.merchant_id, attempt.id, _LOST)


def _attempt_of(db: Transaction, merchant_id: str, session_id: str) -> Found | None:
    return db.execute(_OF_SESSION, {"session": session_id, "merchant": merchant_id}).one_or_none()


def _look_for_pair(db: Transaction, event: SessionDecided) -> None:
    """A card that was typed a moment ago may have been tapped as well."""
    merchant_id, row_id = event.merchant_id, event.transaction_id
    if event.state is not SessionState.APPROVED or row_id is None:
        return
    if not guard.has_recent(db, merchant_id, event.amount):
        return
    session = session_queries.session(db, Scope(merchant_id=merchant_id), event.session_id)
    last4 = _last4(session)
    if session.kind is SessionKind.SALE and last4 is not None:
        guard.find_pair_of_reader(db, merchant_id, event.amount, last4, row_id)


def _last4(session: SessionView) -> str | None:
    last4 = (session.card_masked or "")[-4:]
    return last4 if len(last4) == 4 and last4.isdecimal() else None


def _paid(db: Transaction, attempt: Found, event: SessionDecided) -> None:
    merchant_id, now = event.merchant_id, context_of(db).clock.now()
    payment = queries.lock_payment(db, merchant_id, attempt.payment_id)
    if payment is None or attempt.state is AttemptState.SUCCEEDED:
        return
    if payment.state is PaymentState.PAID:
        timeline.add(
            db,
            merchant_id,
            payment.id,
            MomentKind.SECOND_CHARGE,
            attempt_id=attempt.id,
            facts={"charge": event.session_id, "amount": str(event.amount)},
        )
        return
    session = session_queries.session(db, Scope(merchant_id=merchant_id), event.session_id)
    card: dict[str, Any] = {"card_brand": session.card_brand, "card_last4": _last4(session)}
    for other in queries.attempt_rows(db, payment.id):
        if other.id != attempt.id and other.state in OPEN_ATTEMPTS:
            settle.set_attempt(db, other.id, state=AttemptState.CANCELED, ended_at=now)
    settle.set_attempt(
        db,
        attempt.id,
        state=AttemptState.SUCCEEDED,
        code=None,
        ended_at=now,
        authorization_code=session.authorization_code,
        **card,
    )
    settle.set_payment(
        db,
        payment,
        state=PaymentState.PAID,
        captured_minor=event.amount.minor,
        authorized_minor=event.amount.minor,
        method_kind="card_present",
        transaction_id=event.transaction_id,
        explanation="",
        looks=0,
        look_again_at=None,
        **card,
    )
    timeline.add(
        db,
        merchant_id,
        payment.id,
        MomentKind.PAID,
        attempt_id=attempt.id,
        facts={"amount": str(event.amount)},
    )
    if payment.customer_id is not None:
        customers.note_used(db, merchant_id, payment.customer_id)
    events.publish(db, PaymentPaid(payment.id, merchant_id, event.amount, event.transaction_id))
