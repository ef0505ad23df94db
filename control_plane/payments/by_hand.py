"""A person says how a payment ended that no reader can tell any more: the last evidence there is."""

from __future__ import annotations

from typing import Final

from control_plane import events
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.payments import queries, timeline
from control_plane.payments.errors import NoteMissing, NotUnknown, SessionDecided
from control_plane.payments.events import SessionDecided as Decided
from control_plane.payments.lifecycle import SessionKind, StepKind
from control_plane.payments.timeline import Line
from control_plane.payments.views import SessionView
from control_plane.transactions import ledger
from control_plane.transactions.ledger import READER
from control_plane.transactions.models import Kind, Method, SaleChannel, Status
from protocols.ids import new_id
from protocols.money import Money
from protocols.session import Facts, SessionEvent, SessionState, advance

PERSON: Final = "person"
_SHORTEST_NOTE: Final = 5
_KINDS: Final = {
    SessionKind.SALE: Kind.SALE,
    SessionKind.REFUND: Kind.REFUND,
    SessionKind.REVERSAL: Kind.REVERSAL,
}


def settle_by_hand(
    db: Transaction, caller: Caller, session_id: str, *, charged: bool, note: str
) -> SessionView:
    """End a session whose outcome is unknown, as somebody read it from the reader's own receipts.

    ``note`` says what was looked at. Charged: the ledger gets the row that the reader never sent; should its result
    come after all, it is kept aside and an alarm is raised, so that nothing counts twice. Not charged: the ledger stays
    free for such a result. Raises NotFound, NotUnknown, SessionDecided, NoteMissing.
    """
    caller.must(Permission.PAYMENT_REFUND_APPROVE)
    queries.session(db, caller.scope, session_id)
    note = note.strip()
    if len(note) < _SHORTEST_NOTE:
        raise NoteMissing()
    row = queries.lock_session(db, session_id)
    if row.state.is_final:
        raise SessionDecided(session_id=session_id, state=row.state.value)
    if row.state is not SessionState.UNKNOWN:
        raise NotUnknown(session_id=session_id, state=row.state.value)
    now = context_of(db).clock.now()
    amount = Money(row.amount_minor, row.currency)
    event = SessionEvent.APPROVE if charged else SessionEvent.FAIL
    state = advance(row.state, event, Facts(asked=amount, reported=amount, has_evidence=True))
    outcome = "was charged" if charged else "was not charged"
    explanation = f"{caller.name} looked at the reader's receipts: the card {outcome}. {note}"
    transaction_id = None
    if charged:
        transaction_id = new_id("tx")
        ledger.append(
            db,
            {
                "id": transaction_id,
                "merchant_id": row.merchant_id,
                "location_id": row.location_id,
                "device_id": row.device_id,
                "reader_id": row.reader_id,
                "session_id": row.id,
                "payment_id": row.payment_id,
                "cashier_id": row.cashier_id,
                "kind": _KINDS[row.kind],
                "status": Status.APPROVED,
                "channel": SaleChannel.IN_PERSON,
                "method": Method.CARD,
                "amount_minor": row.amount_minor,
                "currency": row.currency,
                "original_id": row.original_transaction_id,
                "source": READER,
                "external_id": row.id,
                "reference": row.reference or None,
                "note": row.note or None,
                "occurred_at": row.created_at,
                "decided_by": PERSON,
                "explanation": explanation,
            },
        )
    timeline.move(
        db,
        session_id,
        before=row.state,
        after=state,
        at=now,
        decided_by=PERSON,
        explanation=explanation,
        transaction_id=transaction_id,
    )
    timeline.write(
        db,
        session_id,
        row.merchant_id,
        Line(kind=StepKind(state.value), state=state, at=now, text=explanation[:200]),
    )
    events.publish(db, Decided(row.id, row.merchant_id, state, amount, transaction_id))
    record(
        db,
        row.merchant_id,
        caller.actor,
        AuditTag.SESSION_SETTLE,
        object_id=row.id,
        object_name=str(amount),
        after={"charged": charged, "note": note},
    )
    return queries.session(db, caller.scope, session_id)
