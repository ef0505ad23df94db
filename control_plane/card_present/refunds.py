"""Money given back of a sale that an encrypting reader took: such a reader cannot do it itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, update

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.card_present import queries
from control_plane.card_present.errors import (
    CardRefundTooLarge,
    NotCapturedYet,
    NotOnAnEncryptingReader,
)
from control_plane.card_present.lifecycle import AuthorizationState, RefundState
from control_plane.card_present.models import AUTHORIZATIONS, CARD_REFUNDS
from control_plane.card_present.queries import Found
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.payments.sessions import check_refund
from protocols.ids import new_id
from protocols.money import Money
from protocols.readers.emv import redact_card_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRefundView:
    """A refund, as it stands."""

    id: str
    original_id: str
    amount_minor: int
    currency: str
    note: str
    state: RefundState
    requested_by_name: str
    requested_at: datetime
    transaction_id: str | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSaleView:
    """What is known of the money of a sale on an encrypting reader."""

    tap_id: str
    session_id: str
    state: AuthorizationState
    amount: Money
    left: Money
    """What can still be given back."""
    authorization_code: str
    response_code: str
    processor_reference: str
    problem: str


def begin(
    db: Transaction,
    caller: Caller,
    transaction_id: str,
    form_key: str,
    *,
    amount_minor: int | None = None,
    note: str = "",
) -> CardRefundView:
    """Promise to give back an amount, or all that is left; the same form is the same refund.

    The processor is asked afterwards (``Clearing.give_back``). Raises NotOnAnEncryptingReader, NotCapturedYet,
    CardRefundTooLarge, LimitReached, Forbidden; nothing is promised then.
    """
    caller.must(Permission.PAYMENT_REFUND_CREATE)
    sale = queries.captured_sale(db, caller.scope, transaction_id)
    before = queries.refund_of_form(db, caller.merchant_id, form_key)
    if before is not None:
        return _view(before)
    if sale is None:
        raise NotOnAnEncryptingReader("sale", transaction_id)
    if sale.state is AuthorizationState.CAPTURING:
        raise NotCapturedYet
    if sale.state is not AuthorizationState.CAPTURED:
        raise NotOnAnEncryptingReader("sale", transaction_id)
    left = sale.amount_minor - sale.refunded_minor
    amount = left if amount_minor is None else amount_minor
    if not 0 < amount <= left:
        raise CardRefundTooLarge(remaining=Money(left, sale.currency))
    check_refund(db, caller, Money(amount, sale.currency))
    refund_id = new_id("cpr")
    now = context_of(db).clock.now()
    db.execute(
        update(AUTHORIZATIONS)
        .where(AUTHORIZATIONS.c.tap_id == sale.tap_id)
        .values(refunded_minor=sale.refunded_minor + amount)
    )
    db.execute(
        insert(CARD_REFUNDS).values(
            id=refund_id,
            merchant_id=sale.merchant_id,
            location_id=sale.location_id,
            tap_id=sale.tap_id,
            original_id=transaction_id,
            form_key=form_key,
            amount_minor=amount,
            currency=sale.currency,
            note=redact_card_numbers(note)[:200],
            state=RefundState.ASKED,
            processor_reference="",
            problem="",
            requested_by=caller.id,
            requested_by_name=caller.name,
            requested_at=now,
            look_again_at=now,
            looks=0,
        )
    )
    record(
        db, caller.merchant_id, caller.actor, AuditTag.CARD_PRESENT_REFUND,
        object_id=transaction_id, object_name=transaction_id,
        after={"amount_minor": amount, "currency": sale.currency, "refund_id": refund_id},
    )  # fmt: skip
    return refund(db, refund_id)


def refund(db: Transaction, refund_id: str) -> CardRefundView:
    """One refund that is known to be there."""
    found = queries.refund(db, refund_id)
    if found is None:
        raise LookupError(f"the refund {refund_id} is gone")
    return _view(found)


def refunds_of(db: Transaction, scope: Scope, transaction_id: str) -> list[CardRefundView]:
    """What was given back of a sale, the first one first."""
    return [_view(row) for row in queries.refunds_of(db, scope, transaction_id)]


def sale_of(db: Transaction, scope: Scope, transaction_id: str) -> CardSaleView | None:
    """The money behind a ledger row; None when it was not taken on an encrypting reader."""
    row = queries.sale_of(db, scope, transaction_id)
    if row is None:
        return None
    is_there = row.state is AuthorizationState.CAPTURED
    return CardSaleView(
        tap_id=row.tap_id,
        session_id=row.session_id,
        state=row.state,
        amount=Money(row.amount_minor, row.currency),
        left=Money(row.amount_minor - row.refunded_minor if is_there else 0, row.currency),
        authorization_code=row.authorization_code,
        response_code=row.response_code,
        processor_reference=row.processor_reference,
        problem=row.problem,
    )


def _view(row: Found) -> CardRefundView:
    return CardRefundView(
        id=row.id,
        original_id=row.original_id,
        amount_minor=row.amount_minor,
        currency=row.currency,
        note=row.note,
        state=row.state,
        requested_by_name=row.requested_by_name,
        requested_at=row.requested_at,
        transaction_id=row.transaction_id,
        problem=row.problem,
    )
