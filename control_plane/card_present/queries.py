"""Every SELECT on authorisations and refunds of encrypting readers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import Row, bindparam, func, select

from control_plane.card_present.lifecycle import TO_SETTLE, AuthorizationState, RefundState
from control_plane.card_present.models import AUTHORIZATIONS, CARD_ACCOUNTS, CARD_REFUNDS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import READERS
from control_plane.payments.lifecycle import SessionKind
from control_plane.payments.models import SESSIONS
from control_plane.transactions.models import TRANSACTIONS

#: A row whose columns the query names.
Found: TypeAlias = Row[*tuple[Any, ...]]

_BY_TAP: Final = select(AUTHORIZATIONS).where(AUTHORIZATIONS.c.tap_id == bindparam("tap"))
_ACCOUNT: Final = select(CARD_ACCOUNTS).where(CARD_ACCOUNTS.c.merchant_id == bindparam("merchant"))
_SESSION: Final = select(
    SESSIONS.c.id,
    SESSIONS.c.merchant_id,
    SESSIONS.c.location_id,
    SESSIONS.c.device_id,
    SESSIONS.c.reader_id,
    SESSIONS.c.kind,
    SESSIONS.c.amount_minor,
    SESSIONS.c.currency,
    SESSIONS.c.state,
).where(SESSIONS.c.id == bindparam("session"))


def account_row(db: Transaction, merchant_id: str) -> Found | None:
    """The merchant's account with its secret, if one is connected."""
    return db.execute(_ACCOUNT, {"merchant": merchant_id}).one_or_none()


def session_asked_about(db: Transaction, session_id: str) -> Found | None:
    """A session as far as it matters for a card, locked until the transaction ends."""
    return db.execute(_SESSION.with_for_update(), {"session": session_id}).one_or_none()


def authorization(db: Transaction, tap_id: str, *, lock: bool = False) -> Found | None:
    """What became of one shown card."""
    statement = _BY_TAP.with_for_update() if lock else _BY_TAP
    return db.execute(statement, {"tap": tap_id}).one_or_none()


def of_session(db: Transaction, session_id: str) -> list[Found]:
    """All cards that were shown for a session, locked; the last one first."""
    rows = db.execute(
        select(AUTHORIZATIONS)
        .where(AUTHORIZATIONS.c.session_id == session_id)
        .order_by(AUTHORIZATIONS.c.asked_at.desc(), AUTHORIZATIONS.c.tap_id.desc())
        .with_for_update()
    )
    return [*rows]


def due(db: Transaction, now: datetime, *, limit: int) -> list[str]:
    """Taps that the clock has to look at now."""
    rows = db.execute(
        select(AUTHORIZATIONS.c.tap_id)
        .where(
            AUTHORIZATIONS.c.state.in_(TO_SETTLE),
            AUTHORIZATIONS.c.look_again_at <= now,
        )
        .order_by(AUTHORIZATIONS.c.look_again_at)
        .limit(limit)
    )
    return [str(row.tap_id) for row in rows]


def due_refunds(db: Transaction, now: datetime, *, limit: int) -> list[str]:
    """Refunds that the processor must be asked for now."""
    rows = db.execute(
        select(CARD_REFUNDS.c.id)
        .where(CARD_REFUNDS.c.state == RefundState.ASKED, CARD_REFUNDS.c.look_again_at <= now)
        .order_by(CARD_REFUNDS.c.look_again_at)
        .limit(limit)
    )
    return [str(row.id) for row in rows]


def reader_of_sale(db: Transaction, session_id: str) -> Found | None:
    """The reader of a session, with its profile; None when it is no sale."""
    return db.execute(
        select(
            SESSIONS.c.merchant_id, SESSIONS.c.device_id, SESSIONS.c.reader_id, READERS.c.profile
        )
        .join_from(SESSIONS, READERS, READERS.c.id == SESSIONS.c.reader_id)
        .where(SESSIONS.c.id == session_id, SESSIONS.c.kind == SessionKind.SALE)
    ).one_or_none()


def captured_sale(db: Transaction, scope: Scope, transaction_id: str) -> Found | None:
    """The authorisation behind a ledger row within the scope, locked."""
    return db.execute(
        select(AUTHORIZATIONS)
        .where(AUTHORIZATIONS.c.transaction_id == transaction_id, *scope.conditions(AUTHORIZATIONS))
        .with_for_update()
    ).one_or_none()


def sale_of(db: Transaction, scope: Scope, transaction_id: str) -> Found | None:
    """The same, only looked at."""
    return db.execute(
        select(AUTHORIZATIONS).where(
            AUTHORIZATIONS.c.transaction_id == transaction_id, *scope.conditions(AUTHORIZATIONS)
        )
    ).one_or_none()


def refund_of_form(db: Transaction, merchant_id: str, form_key: str) -> Found | None:
    """The refund that this form began, if it did."""
    return db.execute(
        select(CARD_REFUNDS).where(
            CARD_REFUNDS.c.merchant_id == merchant_id, CARD_REFUNDS.c.form_key == form_key
        )
    ).one_or_none()


def refund(db: Transaction, refund_id: str, *, lock: bool = False) -> Found | None:
    """One refund."""
    statement = select(CARD_REFUNDS).where(CARD_REFUNDS.c.id == refund_id)
    return db.execute(statement.with_for_update() if lock else statement).one_or_none()


def refunds_of(db: Transaction, scope: Scope, transaction_id: str) -> list[Found]:
    """What was given back of a sale, the first one first."""
    rows = db.execute(
        select(CARD_REFUNDS)
        .where(CARD_REFUNDS.c.original_id == transaction_id, *scope.conditions(CARD_REFUNDS))
        .order_by(CARD_REFUNDS.c.id)
    )
    return [*rows]


def sale_row(db: Transaction, transaction_id: str) -> Found | None:
    """The ledger row of a sale, as far as what follows from it repeats it."""
    return db.execute(
        select(
            TRANSACTIONS.c.id,
            TRANSACTIONS.c.merchant_id,
            TRANSACTIONS.c.location_id,
            TRANSACTIONS.c.device_id,
            TRANSACTIONS.c.reader_id,
            TRANSACTIONS.c.payment_id,
            TRANSACTIONS.c.customer_id,
            TRANSACTIONS.c.method,
            TRANSACTIONS.c.channel,
            TRANSACTIONS.c.card_brand,
            TRANSACTIONS.c.card_last4,
            TRANSACTIONS.c.card_masked,
            TRANSACTIONS.c.reference,
        ).where(TRANSACTIONS.c.id == transaction_id)
    ).one_or_none()


def unsettled(db: Transaction, merchant_id: str) -> int:
    """How many authorisations and refunds still wait for their processor."""
    open_states = (
        AuthorizationState.ASKED,
        AuthorizationState.APPROVED,
        AuthorizationState.REVERSING,
        AuthorizationState.CAPTURING,
    )
    taps = select(func.count()).where(
        AUTHORIZATIONS.c.merchant_id == merchant_id, AUTHORIZATIONS.c.state.in_(open_states)
    )
    refunds = select(func.count()).where(
        CARD_REFUNDS.c.merchant_id == merchant_id, CARD_REFUNDS.c.state == RefundState.ASKED
    )
    return int(db.execute(taps).scalar_one()) + int(db.execute(refunds).scalar_one())
