"""Keeps one sale from being charged twice: asks before, and finds pairs after. Across all channels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, String, bindparam, func, or_, select, update

from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import is_postgres
from control_plane.transactions.ledger import READER
from control_plane.transactions.models import TRANSACTIONS, Kind, Status
from control_plane.virtual_terminal import timeline
from control_plane.virtual_terminal.errors import PossibleDuplicate
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.models import ATTEMPTS, MOMENTS, PAYMENTS
from control_plane.virtual_terminal.processor import Instrument
from control_plane.virtual_terminal.timeline import MomentKind
from protocols.money import Money

#: How far apart two charges of one card may be to be taken for one sale.
WINDOW: Final = timedelta(minutes=10)
#: Money moved, or may have.
_COUNTS: Final = sorted(set(PaymentState) - {PaymentState.OPEN, PaymentState.CANCELED})
_LOCK: Final = select(func.pg_advisory_xact_lock(bindparam("number", type_=BigInteger)))
# Prepared, because putting a statement together costs as much as running it.
_SAME_AMOUNT: Final = (
    PAYMENTS.c.merchant_id == bindparam("merchant"),
    PAYMENTS.c.amount_minor == bindparam("minor"),
    PAYMENTS.c.currency == bindparam("currency"),
    PAYMENTS.c.created_at >= bindparam("since"),
)
_EARLIER: Final = (
    select(PAYMENTS.c.id, PAYMENTS.c.created_at, PAYMENTS.c.reference)
    .join_from(PAYMENTS, ATTEMPTS, ATTEMPTS.c.payment_id == PAYMENTS.c.id)
    .where(
        *_SAME_AMOUNT,
        PAYMENTS.c.state.in_(_COUNTS),
        PAYMENTS.c.id != bindparam("but"),
        or_(
            PAYMENTS.c.card_last4 == bindparam("last4", type_=String),
            ATTEMPTS.c.hint_last4 == bindparam("last4", type_=String),
            ATTEMPTS.c.saved_method_id == bindparam("saved", type_=String),
            PAYMENTS.c.reference == bindparam("reference", type_=String),
        ),
    )
    .order_by(PAYMENTS.c.created_at.desc())
    .limit(1)
)
_PAIR: Final = (
    select(PAYMENTS.c.id)
    .where(
        *_SAME_AMOUNT,
        PAYMENTS.c.created_at <= bindparam("until"),
        PAYMENTS.c.card_fingerprint == bindparam("fingerprint"),
        PAYMENTS.c.state.in_([PaymentState.PAID, PaymentState.AUTHORIZED]),
        PAYMENTS.c.id != bindparam("but"),
    )
    .order_by(PAYMENTS.c.id.desc())
    .limit(1)
)
_READER_ROWS: Final = (
    select(TRANSACTIONS.c.id, TRANSACTIONS.c.occurred_at)
    .where(
        TRANSACTIONS.c.merchant_id == bindparam("merchant"),
        TRANSACTIONS.c.source == READER,
        TRANSACTIONS.c.kind == Kind.SALE,
        TRANSACTIONS.c.status == Status.APPROVED,
        TRANSACTIONS.c.amount_minor == bindparam("minor"),
        TRANSACTIONS.c.currency == bindparam("currency"),
        TRANSACTIONS.c.card_last4 == bindparam("last4"),
        TRANSACTIONS.c.occurred_at >= bindparam("since"),
        TRANSACTIONS.c.occurred_at <= bindparam("until"),
    )
    .order_by(TRANSACTIONS.c.occurred_at.desc())
    .limit(1)
)
_RECENT: Final = (
    select(PAYMENTS.c.id)
    .where(
        PAYMENTS.c.merchant_id == bindparam("merchant"),
        PAYMENTS.c.amount_minor == bindparam("minor"),
        PAYMENTS.c.currency == bindparam("currency"),
        PAYMENTS.c.created_at >= bindparam("since"),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What makes another charge look like the same sale; None and empty: not known."""

    last4: str | None = None
    saved_method_id: str | None = None
    reference: str = ""

    def __bool__(self) -> bool:
        return bool(self.last4 or self.saved_method_id or self.reference)


def ask_before(
    db: Transaction,
    merchant_id: str,
    amount: Money,
    like: Likeness,
    *,
    window: timedelta = WINDOW,
    but: str = "",
) -> None:
    """Raises PossibleDuplicate when the same amount was, or may have been, taken a moment ago; ``but`` is left out.

    Two that come at the same moment wait for each other here, until the first has committed.
    """
    if not like:
        return
    if is_postgres(db):
        # SQLite has one writer anyway.
        name = f"{merchant_id} {amount.minor} {amount.currency}".encode()
        number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
        db.execute(_LOCK, {"number": number})
    now = context_of(db).clock.now()
    found = _earlier_payment(db, merchant_id, amount, like, now - window, but)
    if found is None:
        found = _earlier_on_reader(db, merchant_id, amount, like, now - window)
    if found is not None:
        other, at, why = found
        minutes = max(0, round((now - at).total_seconds() / 60))
        raise PossibleDuplicate(amount=amount, other=other, minutes=minutes, why=why)


def find_pair(db: Transaction, payment: Any, instrument: Instrument, amount: Money) -> str | None:
    """After a charge: the earlier payment or ledger row that the same card paid the same amount in, marked as such."""
    since, until = payment.created_at - WINDOW, payment.created_at + WINDOW
    other = db.execute(
        _PAIR,
        {
            "merchant": payment.merchant_id,
            "minor": amount.minor,
            "currency": amount.currency,
            "since": since,
            "until": until,
            "fingerprint": instrument.fingerprint,
            "but": payment.id,
        },
    ).scalar()
    is_payment = other is not None
    if other is None and instrument.last4 is not None:
        row = _on_reader(db, payment.merchant_id, amount, instrument.last4, since, until)
        other = None if row is None else row.id
    if other is None or _was_confirmed(db, payment.id):
        return None
    if is_payment:
        timeline.add(
            db,
            payment.merchant_id,
            str(other),
            MomentKind.DUPLICATE_FOUND,
            facts={"other": payment.id},
        )
    db.execute(update(PAYMENTS).where(PAYMENTS.c.id == payment.id).values(duplicate_of=str(other)))
    timeline.add(
        db,
        payment.merchant_id,
        payment.id,
        MomentKind.DUPLICATE_FOUND,
        facts={"other": str(other)},
    )
    return str(other)


def find_pair_of_reader(
    db: Transaction, merchant_id: str, amount: Money, last4: str, row_id: str
) -> str | None:
    """After a sale on a reader: the payment in which the same card seems to have paid the same amount, marked so."""
    now = context_of(db).clock.now()
    other = db.execute(
        select(PAYMENTS.c.id)
        .where(
            PAYMENTS.c.merchant_id == merchant_id,
            PAYMENTS.c.amount_minor == amount.minor,
            PAYMENTS.c.currency == amount.currency,
            PAYMENTS.c.created_at >= now - WINDOW,
            PAYMENTS.c.card_last4 == last4,
            PAYMENTS.c.state.in_([PaymentState.PAID, PaymentState.AUTHORIZED]),
            PAYMENTS.c.duplicate_of.is_(None),
        )
        .order_by(PAYMENTS.c.id.desc())
        .limit(1)
    ).scalar()
    if other is None:
        return None
    db.execute(update(PAYMENTS).where(PAYMENTS.c.id == other).values(duplicate_of=row_id))
    timeline.add(db, merchant_id, str(other), MomentKind.DUPLICATE_FOUND, facts={"other": row_id})
    return str(other)


def has_recent(db: Transaction, merchant_id: str, amount: Money) -> bool:
    """Whether any payment of this amount is recent enough to make a pair; cheap."""
    since = context_of(db).clock.now() - WINDOW
    return (
        db.execute(
            _RECENT,
            {
                "merchant": merchant_id,
                "minor": amount.minor,
                "currency": amount.currency,
                "since": since,
            },
        ).first()
        is not None
    )


def _earlier_payment(
    db: Transaction, merchant_id: str, amount: Money, like: Likeness, since: datetime, but: str
) -> tuple[str, datetime, str] | None:
    row = db.execute(
        _EARLIER,
        {
            "merchant": merchant_id,
            "minor": amount.minor,
            "currency": amount.currency,
            "since": since,
            "but": but,
            # NULL is like nothing.
            "last4": like.last4,
            "saved": like.saved_method_id,
            "reference": like.reference or None,
        },
    ).first()
    if row is None:
        return None
    is_same_order = bool(like.reference) and row.reference == like.reference
    return row.id, row.created_at, "for the same order" if is_same_order else "from the same card"


def _earlier_on_reader(
    db: Transaction, merchant_id: str, amount: Money, like: Likeness, since: datetime
) -> tuple[str, datetime, str] | None:
    if not like.last4:
        return None
    # Clocks of readers are not quite ours.
    until = context_of(db).clock.now() + WINDOW
    row = _on_reader(db, merchant_id, amount, like.last4, since, until)
    return None if row is None else (row.id, row.occurred_at, "from the same card on a reader")


def _on_reader(
    db: Transaction,
    merchant_id: str,
    amount: Money,
    last4: str,
    since: datetime,
    until: datetime,
) -> Any | None:
    return db.execute(
        _READER_ROWS,
        {
            "merchant": merchant_id,
            "minor": amount.minor,
            "currency": amount.currency,
            "last4": last4,
            "since": since,
            "until": until,
        },
    ).first()


def _was_confirmed(db: Transaction, payment_id: str) -> bool:
    asked = select(MOMENTS.c.id).where(
        MOMENTS.c.payment_id == payment_id,
        MOMENTS.c.kind == MomentKind.DUPLICATE_CONFIRMED.value,
    )
    return db.execute(asked.limit(1)).first() is not None
