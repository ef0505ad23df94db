"""Starting, cancelling and taking back payments on readers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from control_plane import events
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.accounts.queries import location_of
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import is_postgres
from control_plane.errors import NotFound
from control_plane.payments import capabilities, queries, timeline
from control_plane.payments.commands import issue_command, withdraw_command
from control_plane.payments.errors import (
    AmountRefused,
    AnswerLost,
    NotReversible,
    ReaderBusy,
    ReaderCannot,
    ReaderNotReady,
    ReaderOffline,
    ReaderSuspended,
    SessionDecided,
)
from control_plane.payments.events import SaleStarting
from control_plane.payments.events import SessionDecided as SessionDecidedEvent
from control_plane.payments.lifecycle import SessionKind, StepKind
from control_plane.payments.models import HOLDS_READER, SESSIONS
from control_plane.payments.queries import ReaderForPayment
from control_plane.payments.views import SessionView
from control_plane.till.limits import excess_on_reader
from control_plane.till.queries import bounds_of, hold_limits
from control_plane.transactions.queries import charged_by
from protocols.cloud.commands import CancelPayment, CommandBody, ReversePayment, StartPayment
from protocols.ids import new_id
from protocols.money import Money, exponent
from protocols.readers.emv import redact_card_numbers
from protocols.session import SessionEvent, SessionState, advance

#: A payment that no device claims within this time never runs.
START_TTL: Final = timedelta(seconds=10)
#: A million units: more than that, in one tap, is a slip of the finger.
_MOST_UNITS: Final = 1_000_000
#: What a session does not know when it begins.
_UNDECIDED: Final[dict[str, Any]] = {
    **dict.fromkeys(one.name for one in fields(SessionView) if one.name != "reader_name"),
    "state": SessionState.CREATED,
    "explanation": "",
    "result_text": "",
    "late_result": False,
}
# Prepared, because putting a statement together costs as much as running it.
_TAKE_ON_POSTGRES, _TAKE_ON_SQLITE = (
    insert(SESSIONS)
    .on_conflict_do_nothing(index_elements=["reader_id"], index_where=text(HOLDS_READER))
    .returning(SESSIONS.c.id)
    for insert in (postgresql.insert, sqlite.insert)
)
_READY: Final = frozenset({"ready", "busy"})
_OFFLINE: Final = frozenset({"disconnected"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSession:
    """What is asked for. A refund here gives money to a card without naming the sale."""

    reader_id: str
    amount: Money
    kind: Literal["sale", "refund"] = "sale"
    reference: str = ""
    note: str = ""
    card_timeout_s: int = 60
    payment_id: str | None = None
    """The payment of which it is one attempt."""


def start_session(db: Transaction, caller: Caller, wish: StartSession) -> SessionView:
    """Begin a payment on a reader.

    Raises NotFound, AmountRefused, ReaderSuspended, ReaderOffline, ReaderNotReady, ReaderCannot, and ReaderBusy when
    another session has the reader, and LimitReached; then nothing was sent to anybody.
    """
    is_refund = wish.kind == "refund"
    caller.must(
        Permission.PAYMENT_REFUND_CREATE if is_refund else Permission.PAYMENT_SESSION_CREATE
    )
    _check_amount(wish.amount)
    reader = queries.reader_for_payment(db, caller.scope, wish.reader_id)
    _check_reader(reader)
    if is_refund:
        capabilities.require(reader, "refund")
        check_refund(db, caller, wish.amount)
    elif wish.payment_id is None:
        # As a try of a payment, it was looked at when that began.
        _check_limits(db, caller, wish.amount, reader)
    if not is_refund:
        events.publish(db, SaleStarting(reader.merchant_id, reader.id, reader.name, reader.profile))
    session_id = new_id("ts")
    reference, note = redact_card_numbers(wish.reference), redact_card_numbers(wish.note)
    body = StartPayment(
        session_id=session_id,
        reader_id=reader.id,
        amount_minor=wish.amount.minor,
        currency=wish.amount.currency,
        transaction=wish.kind,
        card_timeout_s=wish.card_timeout_s,
        reference=reference,
        note=note,
        cashier_id=caller.id,
    )
    return _start(
        db,
        caller,
        reader,
        body,
        kind=SessionKind(wish.kind),
        reference=reference,
        note=note,
        card_timeout_s=wish.card_timeout_s,
        payment_id=wish.payment_id,
    )


def start_reversal(db: Transaction, caller: Caller, session_id: str) -> SessionView:
    """Take an approved sale back on the reader that took it, by its receipt number, in full.

    Raises NotFound, NotReversible, and what ``start_session`` raises about the reader.
    """
    caller.must(Permission.PAYMENT_REFUND_CREATE)
    sale = queries.session(db, caller.scope, session_id)
    # Two reversals of one sale wait for each other here.
    queries.lock_session(db, sale.id)
    reason = _why_not_reversible(db, sale)
    if reason is not None or sale.receipt_number is None:
        raise NotReversible(session_id=sale.id, reason=reason)
    reader = queries.reader_for_payment(db, caller.scope, sale.reader_id)
    _check_reader(reader)
    capabilities.require(reader, "reversal")
    check_refund(db, caller, Money(sale.approved_minor or sale.amount_minor, sale.currency))
    body = ReversePayment(
        session_id=new_id("ts"),
        original_session_id=sale.id,
        reader_id=reader.id,
        receipt_number=sale.receipt_number,
        amount_minor=sale.approved_minor or sale.amount_minor,
        currency=sale.currency,
    )
    return _start(
        db,
        caller,
        reader,
        body,
        kind=SessionKind.REVERSAL,
        reference=sale.reference,
        card_timeout_s=sale.card_timeout_s,
        original_session_id=sale.id,
        original_transaction_id=sale.transaction_id,
    )


def can_be_reversed(db: Transaction, caller: Caller, session_id: str) -> bool:
    """Whether to offer a reversal: an approved sale that no reversal takes back yet, on a reader that can."""
    sale = queries.session(db, caller.scope, session_id)
    if _why_not_reversible(db, sale) is not None:
        return False
    try:
        capabilities.require(
            queries.reader_for_payment(db, caller.scope, sale.reader_id), "reversal"
        )
    except (NotFound, ReaderCannot):
        return False
    return True


def cancel_session(db: Transaction, caller: Caller, session_id: str) -> SessionView:
    """Stop a payment, if that is still possible.

    The answer is ``cancelled`` when no device had claimed it: it can never run. Else it is ``cancelling``: the device
    is asked, and what the reader says decides. Asking twice is harmless. Raises NotFound, SessionDecided, AnswerLost.
    """
    caller.must(Permission.PAYMENT_SESSION_CANCEL)
    session = queries.session(db, caller.scope, session_id)
    now = context_of(db).clock.now()
    if withdraw_command(db, session.command_id, now):
        _end_unclaimed(db, caller, session)
    else:
        row = queries.lock_session(db, session.id)
        if row.state is SessionState.CANCELLING:
            return queries.session(db, caller.scope, session_id)
        if row.state.is_final:
            raise SessionDecided(session_id=session.id, state=row.state.value)
        if row.state is SessionState.UNKNOWN:
            raise AnswerLost(session_id=session.id)
        _ask_device(db, caller, session, row.state)
    record(
        db,
        session.merchant_id,
        caller.actor,
        AuditTag.SESSION_CANCEL,
        object_id=session.id,
        object_name=f"{session.amount} · {session.reader_name}",
    )
    return queries.session(db, caller.scope, session_id)


def _start(
    db: Transaction,
    caller: Caller,
    reader: ReaderForPayment,
    body: StartPayment | ReversePayment,
    *,
    kind: SessionKind,
    card_timeout_s: int,
    reference: str = "",
    note: str = "",
    original_session_id: str | None = None,
    original_transaction_id: str | None = None,
    payment_id: str | None = None,
) -> SessionView:
    now = context_of(db).clock.now()
    command_id = new_id("cmd")
    begun: dict[str, Any] = {
        **_UNDECIDED,
        "id": body.session_id,
        "merchant_id": reader.merchant_id,
        "location_id": reader.location_id,
        "device_id": reader.device_id,
        "reader_id": reader.id,
        "cashier_id": caller.id,
        "cashier_name": caller.name,
        "kind": kind,
        "amount_minor": body.amount_minor,
        "currency": body.currency,
        "reference": reference,
        "note": note,
        "card_timeout_s": card_timeout_s,
        "state_since": now,
        "command_id": command_id,
        "expires_at": now + START_TTL,
        "last_heard_at": now,
        "original_session_id": original_session_id,
        "original_transaction_id": original_transaction_id,
        "payment_id": payment_id,
        "created_at": now,
    }
    _take_reader(db, reader, {**begun, "holds_reader": True})
    issue_command(
        db,
        merchant_id=reader.merchant_id,
        device_id=reader.device_id,
        reader_id=reader.id,
        session_id=body.session_id,
        body=body,
        issued_by=caller.id,
        ttl=START_TTL,
        command_id=command_id,
    )
    timeline.write(
        db,
        body.session_id,
        reader.merchant_id,
        timeline.Line(
            kind=StepKind.CREATED, state=SessionState.CREATED, at=now, actor_name=caller.name
        ),
    )
    view = SessionView(**begun, reader_name=reader.name)
    record(
        db,
        reader.merchant_id,
        caller.actor,
        AuditTag.SESSION_CREATE,
        object_id=view.id,
        object_name=f"{view.amount} · {reader.name}",
        after={
            "kind": kind.value,
            "amount_minor": view.amount_minor,
            "currency": view.currency,
            "reader_id": reader.id,
        },
    )
    return view


def _take_reader(db: Transaction, reader: ReaderForPayment, values: dict[str, Any]) -> None:
    statement = _TAKE_ON_POSTGRES if is_postgres(db) else _TAKE_ON_SQLITE
    # The holder may let go between the two statements; then the reader is free after all.
    while db.execute(statement, values).first() is None:
        holder = queries.session_on_reader(db, reader.id)
        if holder is not None:
            raise ReaderBusy(reader=reader.name, reader_id=reader.id, session_id=holder)


def _end_unclaimed(db: Transaction, caller: Caller, session: SessionView) -> None:
    now = context_of(db).clock.now()
    cancelled = advance(SessionState.CREATED, SessionEvent.CANCEL)
    timeline.move(
        db,
        session.id,
        before=SessionState.CREATED,
        after=cancelled,
        at=now,
        cancel_asked_at=now,
        decided_by="server",
    )
    timeline.write(
        db,
        session.id,
        session.merchant_id,
        timeline.Line(kind=StepKind.CANCELLED, state=cancelled, at=now, actor_name=caller.name),
    )
    events.publish(
        db,
        SessionDecidedEvent(session.id, session.merchant_id, cancelled, session.amount, None),
    )


def _ask_device(db: Transaction, caller: Caller, session: SessionView, state: SessionState) -> None:
    now = context_of(db).clock.now()
    cancelling = advance(state, SessionEvent.ASK_CANCEL)
    timeline.move(db, session.id, before=state, after=cancelling, at=now, cancel_asked_at=now)
    timeline.write(
        db,
        session.id,
        session.merchant_id,
        timeline.Line(kind=StepKind.CANCEL_ASKED, state=cancelling, at=now, actor_name=caller.name),
    )
    body: CommandBody = CancelPayment(session_id=session.id)
    issue_command(
        db,
        merchant_id=session.merchant_id,
        device_id=session.device_id,
        reader_id=session.reader_id,
        session_id=session.id,
        body=body,
        issued_by=caller.id,
    )


def _check_limits(db: Transaction, caller: Caller, amount: Money, reader: ReaderForPayment) -> None:
    """Raises LimitReached for more than this member, or anybody here, may charge."""
    bounds = bounds_of(db, caller.merchant_id, caller.id)
    today = None
    if bounds.limits.counts_the_day:
        hold_limits(db, caller.merchant_id, caller.id)
        location = location_of(db, caller.scope, reader.location_id)
        zone = ZoneInfo(location.time_zone) if location is not None else UTC
        now = context_of(db).clock.now().astimezone(zone)
        since = now.replace(hour=0, minute=0, second=0, microsecond=0)
        whose = (caller.merchant_id, caller.id, amount.currency, since)
        on_readers = queries.taken_by(db, *whose, with_tries=True)
        today = Money(on_readers + charged_by(db, *whose), amount.currency)
    excess = bounds.limits.excess(bounds.charge, amount, method="reader", charged_today=today)
    if excess is not None:
        raise excess


def check_refund(db: Transaction, caller: Caller, amount: Money) -> None:
    """Raises LimitReached: what readers took is given back at once, and nobody can approve in between."""
    bounds = bounds_of(db, caller.merchant_id, caller.id)
    may_approve = caller.can(Permission.PAYMENT_REFUND_APPROVE)
    excess = excess_on_reader(bounds.limits, bounds.refund, amount, may_approve=may_approve)
    if excess is not None:
        raise excess


def _check_amount(amount: Money) -> None:
    most = Money(_MOST_UNITS * 10 ** exponent(amount.currency), amount.currency)
    if not 0 < amount.minor <= most.minor:
        raise AmountRefused(
            amount=str(amount), least=str(Money(1, amount.currency)), most=str(most)
        )


def _check_reader(reader: ReaderForPayment) -> None:
    facts = {"reader": reader.name, "reader_id": reader.id}
    if not reader.device_state.may_speak:
        raise ReaderSuspended(**facts, state=reader.device_state.value)
    if reader.is_gone or not reader.device_is_online or reader.state in _OFFLINE:
        raise ReaderOffline(**facts)
    if reader.state not in _READY:
        raise ReaderNotReady(**facts, state=reader.state)


def _why_not_reversible(db: Transaction, sale: SessionView) -> str | None:
    if sale.kind is not SessionKind.SALE:
        return "it is no sale"
    if sale.state is not SessionState.APPROVED:
        return f"it is {sale.state.value.replace('_', ' ')}"
    if sale.receipt_number is None:
        return "the reader gave it no receipt number"
    earlier = queries.reversal_of(db, sale.id)
    if earlier is not None:
        return f"{earlier.id} takes it back already"
    return None
