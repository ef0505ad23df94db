"""The one place where the processor's view becomes our state.

``apply_snapshot``, ``apply_refund`` and ``apply_dispute`` take what an API answer, a read after a webhook, a poll or an
import told. Told again, late or in another order, they end in the same state and the same rows of the ledger: see
``moves``. They lock the payment's row; they talk to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, update

from control_plane import events
from control_plane.customers import methods as saved_methods
from control_plane.customers import queries as customer_queries
from control_plane.customers import service as customers
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from control_plane.transactions.models import Kind
from control_plane.virtual_terminal import booking, guard, queries, timeline
from control_plane.virtual_terminal.events import (
    DisputeOpened,
    PaymentDeclined,
    PaymentPaid,
    RefundFailed,
    RefundSucceeded,
)
from control_plane.virtual_terminal.events import PaymentUnknown as PaymentUnknownEvent
from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
    RefundReason,
    RefundState,
)
from control_plane.virtual_terminal.looks import WARN_BEFORE, next_look
from control_plane.virtual_terminal.models import ATTEMPTS, DISPUTES, PAYMENTS, REFUNDS
from control_plane.virtual_terminal.moves import (
    ENDED_ATTEMPTS,
    Evidence,
    attempt_state_after,
    charge_of,
    evidence_of,
    payment_state_after,
    refusal_in,
    target_of,
)
from control_plane.virtual_terminal.processor import (
    Decline,
    ProcessorDispute,
    ProcessorPayment,
    ProcessorRefund,
    Settlement,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from protocols.ids import new_id
from protocols.money import Money

#: Who did what we only hear of.
STRIPE: Final = booking.SOURCE
_STRIPE_NAME: Final = "Stripe"

_SET_PAYMENT: Final = update(PAYMENTS).where(
    PAYMENTS.c.id == bindparam("payment"), PAYMENTS.c.version == bindparam("seen")
)
_SET_ATTEMPT: Final = update(ATTEMPTS).where(ATTEMPTS.c.id == bindparam("attempt"))
_SET_REFUND: Final = update(REFUNDS).where(REFUNDS.c.id == bindparam("refund"))
_GONE_BACK: Final = select(func.coalesce(func.sum(REFUNDS.c.amount_minor), 0)).where(
    REFUNDS.c.payment_id == bindparam("payment"),
    REFUNDS.c.processor_id.is_not(None),
    REFUNDS.c.state.in_([RefundState.PENDING, RefundState.SUCCEEDED]),
)


class LostRace(Exception):
    """Somebody changed the payment although its row was locked; the transaction is undone."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a snapshot did."""

    payment_id: str
    state: PaymentState
    evidence: Evidence
    refunds_differ: bool = False
    """The processor counts other refunds than we know: read them, and apply each."""


def apply_snapshot(db: Transaction, merchant_id: str, snapshot: ProcessorPayment) -> Settled | None:
    """Take in how a PaymentIntent stands. None: it is one that a payment of ours has left behind.

    An intent that no payment of ours began becomes one: from then on it is in the ledger as any other.
    """
    payment = _payment_of(db, merchant_id, snapshot)
    if payment is None:
        payment = _adopt(db, merchant_id, snapshot)
        if payment is None:
            return None
    attempts = queries.attempt_rows(db, payment.id)
    target = target_of(snapshot, attempts)
    if target is None:
        return None
    evidence = evidence_of(snapshot, attempts, target)
    if payment.processor_id != snapshot.id and not _takes_over(
        payment, snapshot, evidence, attempts
    ):
        if evidence is Evidence.PAID:
            _book_second_charge(db, payment, target, snapshot)
        return None
    if (
        payment.state is PaymentState.CANCELED
        and payment.processor_id == snapshot.id
        and evidence is not Evidence.PAID
    ):
        # A canceled intent stays so: this is an older view, or the same again.
        evidence = Evidence.NOTHING
    return _move(db, payment, attempts, target, snapshot, evidence)


def mark_unknown(db: Transaction, merchant_id: str, attempt_id: str, why: str) -> None:
    """The answer to an attempt's call was lost; unless its outcome came another way meanwhile."""
    payment, attempt = _open_of(db, merchant_id, attempt_id)
    if payment is None or attempt is None:
        return
    now = context_of(db).clock.now()
    set_attempt(db, attempt.id, state=AttemptState.UNKNOWN)
    set_payment(
        db,
        payment,
        state=PaymentState.UNKNOWN,
        explanation=why,
        looks=0,
        look_again_at=next_look(PaymentState.UNKNOWN, 0, now),
    )
    timeline.add(db, merchant_id, payment.id, MomentKind.UNKNOWN, attempt_id=attempt.id, text=why)
    events.publish(db, PaymentUnknownEvent(payment.id, merchant_id, attempt.id))


def end_attempt(
    db: Transaction,
    merchant_id: str,
    attempt_id: str,
    state: AttemptState,
    *,
    code: str | None,
    message: str = "",
    network_code: str | None = None,
    actor_name: str = "",
) -> None:
    """Close an open attempt for a reason that no snapshot tells; the payment is open again.

    Nothing happens when its outcome came another way meanwhile.
    """
    payment, attempt = _open_of(db, merchant_id, attempt_id)
    if payment is None or attempt is None:
        return
    now = context_of(db).clock.now()
    set_attempt(
        db,
        attempt.id,
        state=state,
        code=code,
        message=message[:1000],
        network_code=network_code,
        ended_at=now,
    )
    set_payment(db, payment, state=PaymentState.OPEN, explanation="", looks=0, look_again_at=None)
    kind = {
        AttemptState.DECLINED: MomentKind.DECLINED,
        AttemptState.CANCELED: MomentKind.ATTEMPT_CANCELED,
    }.get(state, MomentKind.FAILED)
    timeline.add(
        db,
        merchant_id,
        payment.id,
        kind,
        attempt_id=attempt.id,
        text=message,
        facts={} if code is None else {"code": code},
        actor_name=actor_name,
    )
    if state is AttemptState.DECLINED:
        events.publish(db, PaymentDeclined(payment.id, merchant_id, attempt.id, code or ""))
        _tell_saved_method(db, merchant_id, attempt, Decline(code=code or "", message=message))


def apply_refund(db: Transaction, merchant_id: str, told: ProcessorRefund) -> str | None:
    """Take in how a refund stands; our id of it, None when its payment is not known here."""
    refund, payment = _refund_of(db, merchant_id, told)
    if refund is None or payment is None:
        return None
    now = context_of(db).clock.now()
    before: RefundState = refund.state
    # An end that nobody there told of does not stand against what they tell.
    rank = _REFUND_RANKS[before] if refund.processor_id is not None else 0
    after = _REFUND_STATES[told.status]
    facts = {"amount": str(told.amount)}
    row_id = None
    if after is RefundState.SUCCEEDED:
        row_id = booking.book_refund(db, payment, told)
    if _REFUND_RANKS[after] > rank:
        set_refund(
            db,
            refund.id,
            state=after,
            state_since=now,
            processor_id=told.id,
            failure_reason=(told.failure_reason or "")[:200] or None,
            look_again_at=now + _REFUND_LOOK if after is RefundState.PENDING else None,
            **({} if row_id is None else {"transaction_id": row_id}),
        )
        timeline.add(
            db,
            merchant_id,
            payment.id,
            _REFUND_MOMENTS[after],
            text=f"{refund.id}",
            facts={**facts, "reason": told.failure_reason or ""},
        )
        if after is RefundState.SUCCEEDED:
            events.publish(db, RefundSucceeded(refund.id, payment.id, merchant_id, told.amount))
        elif after is RefundState.FAILED:
            events.publish(
                db,
                RefundFailed(
                    refund.id, payment.id, merchant_id, told.amount, told.failure_reason or ""
                ),
            )
    else:
        after = before
        changes: dict[str, Any] = {}
        if refund.processor_id is None:
            changes["processor_id"] = told.id
        if row_id is not None:
            changes["transaction_id"] = row_id
        if changes:
            set_refund(db, refund.id, **changes)
    if after in {RefundState.FAILED, RefundState.CANCELED} and booking.row_of(
        db, merchant_id, told.id
    ):
        booking.book_return(db, payment, told, now)
    elif told.settlement is not None and row_id is None:
        _book_late_settlement(db, merchant_id, told.id, told.settlement)
    recount_refunds(db, payment)
    return str(refund.id)


def end_refund(
    db: Transaction,
    merchant_id: str,
    refund_id: str,
    why: str,
    *,
    state: RefundState = RefundState.FAILED,
) -> None:
    """A refund that the processor surely did not take; nothing happens when its outcome came another way."""
    row, payment = _own_refund(db, merchant_id, refund_id)
    if row is None or payment is None:
        return
    amount = Money(row.amount_minor, row.currency)
    set_refund(
        db,
        refund_id,
        state=state,
        state_since=context_of(db).clock.now(),
        failure_reason=why[:200],
        look_again_at=None,
    )
    timeline.add(
        db,
        merchant_id,
        payment.id,
        _REFUND_MOMENTS[state],
        text=refund_id,
        facts={"amount": str(amount), "reason": why[:200]},
    )
    if state is RefundState.FAILED:
        events.publish(db, RefundFailed(refund_id, payment.id, merchant_id, amount, why))


def hand_refund(db: Transaction, merchant_id: str, refund_id: str, reader: str) -> None:
    """A reader works on a refund, and waits for the card."""
    row, payment = _own_refund(db, merchant_id, refund_id)
    if row is None or payment is None or row.state is RefundState.AT_READER:
        return
    now = context_of(db).clock.now()
    set_refund(db, refund_id, state=RefundState.AT_READER, state_since=now)
    timeline.add(
        db, merchant_id, payment.id, MomentKind.REFUND_AT_READER,
        text=refund_id,
        facts={"amount": str(Money(row.amount_minor, row.currency)), "reader": reader},
    )  # fmt: skip


def lose_refund(db: Transaction, merchant_id: str, refund_id: str) -> None:
    """The answer to a refund's call was lost; its money counts as gone until it is known."""
    row, payment = _own_refund(db, merchant_id, refund_id)
    if row is None or payment is None or row.state is RefundState.UNKNOWN:
        return
    now = context_of(db).clock.now()
    set_refund(db, refund_id, state=RefundState.UNKNOWN, state_since=now, look_again_at=now + _SOON)
    timeline.add(
        db,
        merchant_id,
        payment.id,
        MomentKind.REFUND_UNKNOWN,
        text=refund_id,
        facts={"amount": str(Money(row.amount_minor, row.currency))},
    )


def apply_dispute(db: Transaction, merchant_id: str, told: ProcessorDispute) -> str:
    """Take in how a dispute stands, and what it took and gave back; our id of it."""
    now = context_of(db).clock.now()
    payment = _payment_of_charge(db, merchant_id, told.payment_id, told.charge_id)
    values = {
        "status": told.status,
        "due_by": told.due_by,
        "has_evidence": told.has_evidence,
        "amount_minor": told.amount.minor,
        "reason": told.reason[:80],
        "updated_at": now,
    }
    facts = {"amount": str(told.amount), "reason": told.reason, "status": told.status}
    known = db.execute(
        select(DISPUTES)
        .where(DISPUTES.c.merchant_id == merchant_id, DISPUTES.c.processor_id == told.id)
        .with_for_update()
    ).one_or_none()
    dispute_id = new_id("dsp") if known is None else str(known.id)
    is_new = known is None and insert_new(
        db,
        DISPUTES,
        {
            "id": dispute_id,
            "merchant_id": merchant_id,
            "location_id": None if payment is None else payment.location_id,
            "payment_id": None if payment is None else payment.id,
            "processor_id": told.id,
            "charge_id": told.charge_id,
            "currency": told.amount.currency,
            "created_at": told.created_at,
            **values,
        },
        unique=["merchant_id", "processor_id"],
    )
    moment = None
    if is_new:
        moment = MomentKind.DISPUTE_OPENED
        events.publish(
            db,
            DisputeOpened(
                dispute_id, None if payment is None else payment.id, merchant_id, told.amount
            ),
        )
    elif known is not None and _supersedes(told.status, known.status):
        db.execute(update(DISPUTES).where(DISPUTES.c.id == dispute_id).values(**values))
        moment = MomentKind.DISPUTE_CHANGED if told.status != known.status else None
    if payment is not None:
        if moment is not None:
            timeline.add(db, merchant_id, payment.id, moment, text=dispute_id, facts=facts)
        _book_movements(db, payment, told)
    return dispute_id


def recount_refunds(db: Transaction, payment: Found) -> int:
    """Bring the total of what went back up to date, as the processor counts it."""
    total = int(db.execute(_GONE_BACK, {"payment": payment.id}).scalar_one())
    if total != payment.refunded_minor:
        # Not by ``set_payment``: its caller's view of the version is its own.
        db.execute(update(PAYMENTS).where(PAYMENTS.c.id == payment.id).values(refunded_minor=total))
    return total


def set_payment(db: Transaction, payment: Found, **changes: Any) -> None:
    """Change a locked payment. Raises LostRace when the row is another than the one that was looked at."""
    if changes.get("state", payment.state) is not payment.state:
        changes["state_since"] = context_of(db).clock.now()
    values = {"payment": payment.id, "seen": payment.version, "version": payment.version + 1}
    if db.execute(_SET_PAYMENT, {**values, **changes}).rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE has one
        raise LostRace(payment.id)


def set_attempt(db: Transaction, attempt_id: str, **changes: Any) -> None:
    """Change an attempt of a locked payment."""
    db.execute(_SET_ATTEMPT, {"attempt": attempt_id, **changes})


def set_refund(db: Transaction, refund_id: str, **changes: Any) -> None:
    """Change a refund of a locked payment."""
    db.execute(_SET_REFUND, {"refund": refund_id, **changes})


# --- payments ---------------------------------------------------------------------------------------------------


def _payment_of(db: Transaction, merchant_id: str, snapshot: ProcessorPayment) -> Found | None:
    # What we wrote on it names its payment before the payment names it.
    if payment_id := snapshot.metadata.get("payment"):
        found = queries.lock_payment(db, merchant_id, payment_id)
        if found is not None:
            return found
    return queries.lock_by_intent(db, merchant_id, snapshot.id)


def _open_of(
    db: Transaction, merchant_id: str, attempt_id: str
) -> tuple[Found | None, Found | None]:
    payment_id = db.execute(
        select(ATTEMPTS.c.payment_id).where(
            ATTEMPTS.c.id == attempt_id, ATTEMPTS.c.merchant_id == merchant_id
        )
    ).scalar()
    if payment_id is None:
        return None, None
    payment = queries.lock_payment(db, merchant_id, str(payment_id))
    attempts = queries.attempt_rows(db, str(payment_id))
    attempt = next((one for one in attempts if one.id == attempt_id), None)
    if attempt is None or attempt.state not in OPEN_ATTEMPTS:
        return None, None
    return payment, attempt


def _takes_over(
    payment: Found, snapshot: ProcessorPayment, evidence: Evidence, attempts: Sequence[Found]
) -> bool:
    """Whether an intent that is not the payment's becomes it: its creation's answer is not written yet, or was lost."""
    if payment.state is PaymentState.PAID:
        return False
    if payment.processor_id is None:
        begun_by = snapshot.metadata.get("attempt")
        if any(one.id == begun_by and one.state in OPEN_ATTEMPTS for one in attempts):
            return True
    # Left behind, but money moved there after all.
    return evidence in {Evidence.PAID, Evidence.HELD, Evidence.PROCESSING}


def _move(
    db: Transaction,
    payment: Found,
    attempts: Sequence[Found],
    attempt: Found,
    snapshot: ProcessorPayment,
    evidence: Evidence,
) -> Settled:
    now = context_of(db).clock.now()
    before: PaymentState = payment.state
    if before is PaymentState.CANCELED and payment.processor_id is None:
        # It was given up while there seemed to be no intent.
        before = PaymentState.OPEN
    after = payment_state_after(evidence, before, attempt)
    attempt_after = attempt_state_after(evidence, attempt)
    refusal = refusal_in(snapshot) if evidence is Evidence.REFUSED else None
    changes = _payment_changes(payment, snapshot, after, attempt_after)
    moved = after is not payment.state
    if evidence is not Evidence.NOTHING or moved:
        _note_attempt(db, attempt, snapshot, attempt_after, refusal, now)
    for other in attempts:
        if other.id != attempt.id and other.state in OPEN_ATTEMPTS and after in _NO_MORE:
            set_attempt(db, other.id, state=AttemptState.CANCELED, ended_at=now)
    charge = snapshot.charge
    if after is PaymentState.PAID and charge is not None and charge.status == "succeeded":
        row_id = booking.book_sale(db, payment, attempt, charge)
        if payment.transaction_id is None:
            changes["transaction_id"] = row_id or booking.row_of(db, payment.merchant_id, charge.id)
        elif charge.settlement is not None and payment.fee_minor is None:
            _book_late_settlement(db, payment.merchant_id, charge.id, charge.settlement)
    is_new_decline = refusal is not None and _book_refusal(
        db, payment, attempt, snapshot, refusal, now
    )
    if moved:
        changes |= {"state": after, "explanation": "", "looks": 0}
        changes["look_again_at"] = _next_look(after, 0, now, snapshot, attempt)
    if changes:
        set_payment(db, payment, **changes)
    _tell(db, payment, attempt, snapshot, before, after, refusal if is_new_decline else None)
    if moved and after is PaymentState.PAID:
        _tell_paid(db, payment, attempt, snapshot, changes.get("transaction_id"))
    return Settled(
        payment.id,
        after,
        evidence,
        refunds_differ=charge is not None
        and after is PaymentState.PAID
        and charge.refunded_minor != payment.refunded_minor,
    )


_NO_MORE: Final = frozenset({PaymentState.PAID, PaymentState.CANCELED})
_OF_CHARGE: Final = (
    "charge_id", "method_kind", "card_brand", "card_last4", "card_fingerprint", "risk_level",
    "capture_before",
)  # fmt: skip
_MONEY: Final = frozenset({PaymentState.PAID, PaymentState.AUTHORIZED, PaymentState.PROCESSING})


def _payment_changes(
    payment: Found, snapshot: ProcessorPayment, after: PaymentState, attempt_after: AttemptState
) -> dict[str, Any]:
    """What the snapshot says of the payment itself, as far as it is another than we knew."""
    wanted: dict[str, Any] = {"processor_id": snapshot.id, "livemode": snapshot.livemode}
    if after is PaymentState.OPEN and snapshot.status == "canceled":
        # The next attempt gets an intent of its own.
        wanted["processor_id"] = None
    charge = snapshot.charge
    if after is PaymentState.AUTHORIZED and snapshot.status == "requires_capture":
        wanted["amount_minor"] = max(payment.amount_minor, snapshot.amount.minor)
        wanted["authorized_minor"] = max(payment.authorized_minor, snapshot.capturable_minor)
    if after is PaymentState.PAID and snapshot.status == "succeeded":
        wanted["amount_minor"] = snapshot.amount.minor
        wanted["captured_minor"] = snapshot.received_minor
        if charge is not None:
            wanted["authorized_minor"] = charge.amount.minor
    if after in {PaymentState.OPEN, PaymentState.CANCELED}:
        # Nothing is held any more; the attempts keep what they were.
        wanted |= {"authorized_minor": 0, **dict.fromkeys(_OF_CHARGE)}
    if after in _MONEY and attempt_after is not AttemptState.DECLINED:
        if snapshot.tip_minor is not None:
            wanted["tip_minor"] = snapshot.tip_minor
        if charge is not None and charge.status != "failed":
            instrument = charge.instrument
            wanted |= {
                "charge_id": charge.id,
                "method_kind": instrument.kind,
                "card_brand": instrument.brand,
                "card_last4": instrument.last4,
                "card_fingerprint": instrument.fingerprint,
                "risk_level": charge.risk_level,
                "capture_before": charge.capture_before or payment.capture_before,
            }
            if charge.settlement is not None and payment.fee_minor is None:
                wanted |= {
                    "fee_minor": charge.settlement.fee_minor,
                    "settlement_minor": charge.settlement.amount.minor,
                    "settlement_currency": charge.settlement.amount.currency,
                    "settlement_rate": charge.settlement.rate,
                }
    return {name: value for name, value in wanted.items() if getattr(payment, name) != value}


def _note_attempt(
    db: Transaction,
    attempt: Found,
    snapshot: ProcessorPayment,
    after: AttemptState,
    refusal: Decline | None,
    now: datetime,
) -> None:
    changes: dict[str, Any] = {"state": after}
    if after not in OPEN_ATTEMPTS and attempt.ended_at is None:
        changes["ended_at"] = now
    if refusal is not None:
        changes |= {
            "code": refusal.code[:80],
            "message": refusal.message[:1000],
            "network_code": refusal.network_code,
            "charge_id": charge_of(snapshot) or attempt.charge_id,
        }
    elif after in {AttemptState.SUCCEEDED, AttemptState.AUTHORIZED, AttemptState.PROCESSING}:
        changes |= {"code": None, "message": "", "network_code": None}
    charge = snapshot.charge
    if charge is not None and (refusal is None or charge.status == "failed"):
        instrument = charge.instrument
        changes |= {
            "charge_id": charge.id,
            "card_brand": instrument.brand,
            "card_last4": instrument.last4,
            "card_fingerprint": instrument.fingerprint,
            "address_check": charge.checks.address,
            "postal_code_check": charge.checks.postal_code,
            "cvc_check": charge.checks.cvc,
            "three_d_secure": charge.three_d_secure,
            "risk_level": charge.risk_level,
            "authorization_code": charge.authorization_code,
        }
    changed = {name: value for name, value in changes.items() if getattr(attempt, name) != value}
    if changed:
        set_attempt(db, attempt.id, **changed)


def _book_refusal(
    db: Transaction,
    payment: Found,
    attempt: Found,
    snapshot: ProcessorPayment,
    refusal: Decline,
    now: datetime,
) -> bool:
    """Whether it was told the first time."""
    charge_id = refusal.charge_id or charge_of(snapshot)
    if charge_id is None:
        return attempt.state is not AttemptState.SENT or attempt.code != refusal.code
    return booking.book_decline(db, payment, attempt, refusal, snapshot.charge, charge_id, now)


_TOLD: Final = {
    PaymentState.REQUIRES_ACTION: MomentKind.REQUIRES_ACTION,
    PaymentState.PROCESSING: MomentKind.PROCESSING,
    PaymentState.AUTHORIZED: MomentKind.AUTHORIZED,
    PaymentState.PAID: MomentKind.PAID,
    PaymentState.CANCELED: MomentKind.CANCELED,
}


def _tell(
    db: Transaction,
    payment: Found,
    attempt: Found,
    snapshot: ProcessorPayment,
    before: PaymentState,
    after: PaymentState,
    refusal: Decline | None,
) -> None:
    def add(kind: MomentKind, text: str = "", **facts: str) -> None:
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            kind,
            attempt_id=attempt.id,
            text=text,
            facts=facts,
        )

    if refusal is not None:
        add(MomentKind.DECLINED, refusal.message, code=refusal.code)
        events.publish(
            db, PaymentDeclined(payment.id, payment.merchant_id, attempt.id, refusal.code)
        )
        _tell_saved_method(db, payment.merchant_id, attempt, refusal)
    if before is PaymentState.UNKNOWN and after is not before:
        add(MomentKind.FOUND_OUT)
    if after in _MONEY and attempt.state in ENDED_ATTEMPTS and after is not before:
        add(MomentKind.LATE_ANSWER)
    if after is not before:
        if kind := _TOLD.get(after):
            minor = {
                PaymentState.PAID: snapshot.received_minor,
                PaymentState.AUTHORIZED: snapshot.capturable_minor,
            }.get(after, snapshot.amount.minor)
            add(kind, amount=str(Money(minor, snapshot.amount.currency)))
        elif after is PaymentState.OPEN and refusal is None and snapshot.status == "canceled":
            add(MomentKind.ATTEMPT_CANCELED)
    charge = snapshot.charge
    if (
        after is PaymentState.PAID
        and payment.fee_minor is None
        and charge is not None
        and charge.settlement is not None
    ):
        settlement = charge.settlement
        currency = settlement.amount.currency
        add(
            MomentKind.SETTLED,
            fee=str(Money(settlement.fee_minor, currency)),
            amount=str(Money(settlement.net_minor, currency)),
        )


def _tell_paid(
    db: Transaction,
    payment: Found,
    attempt: Found,
    snapshot: ProcessorPayment,
    transaction_id: str | None,
) -> None:
    amount = Money(snapshot.received_minor, snapshot.amount.currency)
    if payment.customer_id is not None:
        customers.note_used(db, payment.merchant_id, payment.customer_id)
    if attempt.saved_method_id is not None:
        saved_methods.note_charged(db, payment.merchant_id, attempt.saved_method_id)
    charge = snapshot.charge
    if charge is not None and charge.instrument.fingerprint:
        guard.find_pair(db, payment, charge.instrument, amount)
    events.publish(db, PaymentPaid(payment.id, payment.merchant_id, amount, transaction_id))


def _tell_saved_method(db: Transaction, merchant_id: str, attempt: Found, refusal: Decline) -> None:
    if attempt.saved_method_id is None:
        return
    if refusal.code == "expired_card":
        saved_methods.note_refused(
            db, merchant_id, attempt.saved_method_id, refusal.code, expired=True
        )
    elif refusal.advice == "do_not_try_again":
        saved_methods.note_refused(db, merchant_id, attempt.saved_method_id, refusal.code)


def _next_look(
    state: PaymentState,
    looks: int,
    now: datetime,
    snapshot: ProcessorPayment,
    attempt: Found,
) -> datetime | None:
    not_after = attempt.link_expires_at if attempt.method is AttemptMethod.LINK else None
    if state is PaymentState.AUTHORIZED and snapshot.charge is not None:
        before = snapshot.charge.capture_before
        not_after = None if before is None else before - WARN_BEFORE
    return next_look(state, looks, now, not_after=not_after)


def _book_late_settlement(
    db: Transaction, merchant_id: str, number: str, settlement: Settlement
) -> None:
    row_id = booking.row_of(db, merchant_id, number)
    if row_id is not None:
        booking.book_settlement(db, merchant_id, row_id, settlement)


def _book_second_charge(
    db: Transaction, payment: Found, attempt: Found, snapshot: ProcessorPayment
) -> None:
    """Money moved on an intent that the payment had left, although it was paid another way. Nobody may overlook it."""
    charge = snapshot.charge
    if charge is None or charge.status != "succeeded":
        return
    if booking.book_sale(db, payment, attempt, charge) is not None:
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            MomentKind.SECOND_CHARGE,
            attempt_id=attempt.id,
            facts={"charge": charge.id, "amount": str(charge.amount)},
        )


def _adopt(db: Transaction, merchant_id: str, snapshot: ProcessorPayment) -> Found | None:
    """A payment for an intent that began elsewhere: in the processor's dashboard, in other software, or long ago."""
    if snapshot.charge is None and snapshot.status != "succeeded":
        # Nobody tried to pay yet.
        return None
    customer = (
        customer_queries.by_processor_id(db, merchant_id, snapshot.customer_id)
        if snapshot.customer_id
        else None
    )
    charge = snapshot.charge
    in_person = charge is not None and charge.instrument.kind in booking.IN_PERSON
    payment_id = new_id("pay")
    is_new = insert_new(
        db,
        PAYMENTS,
        {
            "id": payment_id,
            "merchant_id": merchant_id,
            "cashier_id": STRIPE,
            "cashier_name": _STRIPE_NAME,
            "customer_id": None if customer is None else customer.id,
            "amount_minor": snapshot.amount.minor,
            "currency": snapshot.amount.currency,
            "tax_minor": 0,
            "tip_minor": 0,
            "items": [],
            "fields": {},
            "reference": snapshot.metadata.get("order", "")[:200],
            "note": snapshot.description[:200],
            "receipt_email": (snapshot.receipt_email or "")[:254],
            "capture_later": snapshot.status == "requires_capture",
            "state": PaymentState.IN_PROGRESS,
            "state_since": snapshot.created_at,
            "processor_id": snapshot.id,
            "livemode": snapshot.livemode,
            "authorized_minor": 0,
            "captured_minor": 0,
            "refunded_minor": 0,
            "explanation": "",
            "looks": 0,
            "created_at": snapshot.created_at,
            "version": 0,
        },
        unique=["merchant_id", "processor_id"],
    )
    if is_new:
        db.execute(
            insert(ATTEMPTS).values(
                id=new_id("att"),
                merchant_id=merchant_id,
                payment_id=payment_id,
                number=1,
                method=AttemptMethod.READER if in_person else AttemptMethod.KEYED,
                state=AttemptState.SENT,
                moto=bool(charge and charge.moto),
                message="",
                started_by=STRIPE,
                started_at=snapshot.created_at,
            )
        )
        timeline.add(db, merchant_id, payment_id, MomentKind.IMPORTED)
    return queries.lock_by_intent(db, merchant_id, snapshot.id)


# --- refunds and disputes ---------------------------------------------------------------------------------------

#: How long a refund on its way is left alone.
_REFUND_LOOK: Final = timedelta(hours=6)
_SOON: Final = timedelta(seconds=5)
_REFUND_STATES: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.PENDING,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.CANCELED,
}
#: What was told later has the higher rank: a refund may fail after it had succeeded, never the other way round.
_REFUND_RANKS: Final = {
    RefundState.AWAITING_APPROVAL: 0,
    RefundState.REJECTED: 0,
    RefundState.CREATED: 0,
    RefundState.AT_READER: 0,
    RefundState.UNKNOWN: 0,
    RefundState.PENDING: 1,
    RefundState.SUCCEEDED: 2,
    RefundState.FAILED: 3,
    RefundState.CANCELED: 3,
}
_REFUND_MOMENTS: Final = {
    RefundState.PENDING: MomentKind.REFUND_PENDING,
    RefundState.SUCCEEDED: MomentKind.REFUND_SUCCEEDED,
    RefundState.FAILED: MomentKind.REFUND_FAILED,
    RefundState.CANCELED: MomentKind.REFUND_CANCELED,
}

_RANKS: Final = {
    "warning_needs_response": 0,
    "warning_under_review": 1,
    "warning_closed": 2,
    "needs_response": 3,
    "under_review": 4,
    "lost": 5,
    "appeal_needs_response": 6,
    "appeal_under_review": 7,
    "won": 8,
    "prevented": 8,
}


def _supersedes(status: str, known: str) -> bool:
    """Whether a dispute's status is at least as late as the one that we know. An appeal may be lost, too."""
    if status == "lost" and known.startswith("appeal_"):
        return True
    return _RANKS.get(status, 4) >= _RANKS.get(known, 4)


def _refund_of(
    db: Transaction, merchant_id: str, told: ProcessorRefund
) -> tuple[Found | None, Found | None]:
    """Our row of a refund, made when it began elsewhere, and its payment, both locked."""
    mine = select(REFUNDS).where(REFUNDS.c.merchant_id == merchant_id)
    known = db.execute(mine.where(REFUNDS.c.processor_id == told.id)).one_or_none()
    if known is None and (refund_id := told.metadata.get("refund")):
        known = db.execute(mine.where(REFUNDS.c.id == refund_id)).one_or_none()
        if known is not None and known.processor_id not in {None, told.id}:
            known = None
    if known is not None:
        payment = queries.lock_payment(db, merchant_id, known.payment_id)
        # Again, now that nobody else changes it.
        return db.execute(mine.where(REFUNDS.c.id == known.id)).one(), payment
    payment = _payment_of_charge(db, merchant_id, told.payment_id, told.charge_id)
    if payment is None:
        return None, None
    reason = told.reason if told.reason in set(RefundReason) else RefundReason.OTHER
    insert_new(
        db,
        REFUNDS,
        {
            "id": new_id("rfd"),
            "merchant_id": merchant_id,
            "location_id": payment.location_id,
            "payment_id": payment.id,
            "amount_minor": told.amount.minor,
            "currency": told.amount.currency,
            "reason": RefundReason(reason),
            "note": "",
            "lines": [],
            "state": RefundState.CREATED,
            "state_since": told.created_at,
            "processor_id": told.id,
            "requested_by": STRIPE,
            "requested_by_name": _STRIPE_NAME,
            "created_at": told.created_at,
        },
        unique=["merchant_id", "processor_id"],
    )
    return db.execute(mine.where(REFUNDS.c.processor_id == told.id)).one(), payment


def _own_refund(
    db: Transaction, merchant_id: str, refund_id: str
) -> tuple[Found | None, Found | None]:
    """A refund that was asked for here and of which nothing was told yet, with its payment, locked."""
    row = queries.refund_row(db, merchant_id, refund_id)
    if row is None:
        return None, None
    payment = queries.lock_payment(db, merchant_id, row.payment_id)
    row = queries.refund_row(db, merchant_id, refund_id)
    if row is None or not row.state.holds_reader:
        return None, None
    return row, payment


def _payment_of_charge(
    db: Transaction, merchant_id: str, processor_id: str | None, charge_id: str | None
) -> Found | None:
    if processor_id is not None:
        found = queries.lock_by_intent(db, merchant_id, processor_id)
        if found is not None:
            return found
    if charge_id is None:
        return None
    return queries.lock_by_charge(db, merchant_id, charge_id)


def _book_movements(db: Transaction, payment: Found, told: ProcessorDispute) -> None:
    now = context_of(db).clock.now()
    counts = {Kind.DISPUTE: 0, Kind.ADJUSTMENT: 0}
    for movement in told.movements:
        is_taken = movement.amount.minor < 0
        kind = Kind.DISPUTE if is_taken else Kind.ADJUSTMENT
        counts[kind] += 1
        number = told.id if is_taken else f"{told.id}:reinstated"
        if counts[kind] > 1:
            number = f"{number}:{counts[kind]}"
        booking.book_movement(db, payment, number, kind, told.amount, now, movement)
        if movement.fee_minor > 0:
            fee = Money(movement.fee_minor, movement.amount.currency)
            suffix = "" if counts[kind] == 1 else f":{counts[kind]}"
            booking.book_movement(db, payment, f"{told.id}:fee{suffix}", Kind.FEE, fee, now)
