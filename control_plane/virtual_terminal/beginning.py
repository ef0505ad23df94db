"""Writes down what is about to be asked: a payment and its attempt, before the processor or a reader hears of it.

Two who press at the same time meet here, in the database: one form is one payment, one payment has one open attempt,
and two forms for the same card and amount see each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from control_plane.accounts.caller import Caller
from control_plane.accounts.queries import LOCATIONS
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.customers import queries as customer_queries
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import is_postgres
from control_plane.errors import NotFound
from control_plane.payments.errors import AmountRefused
from control_plane.payments.queries import taken_by
from control_plane.till.fields import check_fields, reference_of, searchable
from control_plane.till.queries import hold_limits, limits_of
from control_plane.till.values import TillSettings
from control_plane.transactions import found_by
from control_plane.virtual_terminal import guard, queries, settle, timeline
from control_plane.virtual_terminal.errors import (
    AttemptRunning,
    FieldsRefused,
    FormReused,
    LocationNeeded,
    PaymentNotOpen,
    PaymentPaid,
    PaymentUnknown,
    PossibleDuplicate,
)
from control_plane.virtual_terminal.guard import Likeness
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.virtual_terminal.looks import next_look
from control_plane.virtual_terminal.models import ATTEMPTS, PAYMENTS
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.wishes import Again, Order
from protocols.ids import new_id
from protocols.money import Money, exponent
from protocols.readers.emv import redact_card_numbers

#: A million units: more than that at once is a slip of the finger.
_MOST_UNITS: Final = 1_000_000
_BY_FORM: Final = select(PAYMENTS.c.id, PAYMENTS.c.amount_minor, PAYMENTS.c.currency).where(
    PAYMENTS.c.merchant_id == bindparam("merchant"), PAYMENTS.c.form_key == bindparam("form")
)
# Prepared, because putting a statement together costs as much as running it.
_NEW_PAYMENT_POSTGRES, _NEW_PAYMENT_SQLITE = (
    insert(PAYMENTS)
    .on_conflict_do_nothing(index_elements=["merchant_id", "form_key"])
    .returning(*PAYMENTS.c)
    for insert in (postgresql.insert, sqlite.insert)
)
_NEW_ATTEMPT_POSTGRES, _NEW_ATTEMPT_SQLITE = (
    insert(ATTEMPTS).on_conflict_do_nothing().returning(ATTEMPTS.c.id)
    for insert in (postgresql.insert, sqlite.insert)
)
_NOT_CHARGED: Final = [PaymentState.OPEN, PaymentState.CANCELED]
_TODAY: Final = select(func.coalesce(func.sum(PAYMENTS.c.amount_minor), 0)).where(
    PAYMENTS.c.merchant_id == bindparam("merchant"),
    PAYMENTS.c.cashier_id == bindparam("cashier"),
    PAYMENTS.c.currency == bindparam("currency"),
    PAYMENTS.c.created_at >= bindparam("since"),
    PAYMENTS.c.state.not_in(_NOT_CHARGED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """How an attempt asks for the money."""

    method: AttemptMethod
    state: AttemptState = AttemptState.SENT
    moto: bool = False
    hint_brand: str | None = None
    hint_last4: str | None = None
    saved_method_id: str | None = None
    cloud_reader_id: str | None = None
    link_expires_at: datetime | None = None
    link_sent_to: str | None = None

    @property
    def channel(self) -> str:
        """The till's word for it."""
        return self.method.value


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that stands in the database. Not ``is_new``: the same form came again, and there is nothing to do."""

    payment: Found
    attempt_id: str
    is_new: bool = True
    method_before: AttemptMethod | None = None
    """How the last attempt asked."""

    @property
    def amount(self) -> Money:
        """What is asked."""
        return Money(self.payment.amount_minor, self.payment.currency)


def at_reader(order: Order | Again, location_id: str) -> Order | Again:
    """A new order that names no shop is of the shop of its reader."""
    if isinstance(order, Again) or order.location_id is not None:
        return order
    return replace(order, location_id=location_id)


def begin(
    db: Transaction, caller: Caller, order: Order | Again, how: Try, settings: TillSettings
) -> Begun:
    """Write down a new payment with its first attempt, or another attempt at one.

    Raises NotFound, AmountRefused, LocationNeeded, FieldsRefused, LimitReached, FormReused, PossibleDuplicate;
    of ``Again`` AttemptRunning, PaymentUnknown, PaymentPaid, PaymentNotOpen. Then nothing is written.
    """
    if isinstance(order, Again):
        return _begin_again(db, caller, order, how, settings)
    return _begin_new(db, caller, order, how, settings)


def _begin_new(
    db: Transaction, caller: Caller, order: Order, how: Try, settings: TillSettings
) -> Begun:
    _check_amount(order.amount)
    location_id = _location_of(caller, order.location_id)
    checked = check_fields(settings, how.channel, order.fields)
    if checked.problems:
        reasons = {key: str(problem) for key, problem in checked.problems.items()}
        raise FieldsRefused(
            reason=" ".join(reasons.values()), field=next(iter(reasons)), problems=reasons
        )
    if order.customer_id is not None:
        _check_customer(db, caller, order.customer_id)
    _check_limits(db, caller, settings, order.amount, how, location_id)
    now = context_of(db).clock.now()
    reference = redact_card_numbers(order.reference or reference_of(settings, checked.clean))[:200]
    kept = {key: redact_card_numbers(text) for key, text in checked.clean.items()}
    payment_id = new_id("pay")
    values = {
        "id": payment_id,
        "merchant_id": caller.merchant_id,
        "location_id": location_id,
        "cashier_id": caller.id,
        "cashier_name": caller.name,
        "customer_id": order.customer_id,
        "form_key": order.form_key,
        "amount_minor": order.amount.minor,
        "currency": order.amount.currency,
        "tax_minor": order.tax_minor,
        "tip_minor": order.tip_minor,
        "items": [_plain_item(item) for item in order.items],
        "fields": kept,
        "reference": reference,
        "note": redact_card_numbers(order.note)[:200],
        "receipt_email": order.receipt_email[:254],
        "capture_later": order.capture_later,
        "state": PaymentState.IN_PROGRESS,
        "state_since": now,
        "livemode": False,
        "authorized_minor": 0,
        "captured_minor": 0,
        "refunded_minor": 0,
        "explanation": "",
        "looks": 0,
        "look_again_at": _first_look(how, now),
        "created_at": now,
        "version": 0,
    }
    statement = _NEW_PAYMENT_POSTGRES if is_postgres(db) else _NEW_PAYMENT_SQLITE
    payment = db.execute(statement, values).one_or_none()
    if payment is None:
        return _of_the_same_form(db, caller, order)
    like = Likeness(last4=how.hint_last4, saved_method_id=how.saved_method_id, reference=reference)
    try:
        guard.ask_before(
            db,
            caller.merchant_id,
            order.amount,
            like,
            window=settings.duplicate_window,
            but=payment_id,
        )
        other = None
    except PossibleDuplicate as duplicate:
        if not order.confirm_duplicate:
            raise
        other = str(duplicate.facts["other"])
    found_by.remember(db, caller.merchant_id, payment_id, searchable(settings, kept))
    attempt_id = new_id("att")
    _insert_attempt(db, caller, payment_id, attempt_id, 1, how, now)
    timeline.add(
        db,
        caller.merchant_id,
        payment_id,
        MomentKind.CREATED,
        attempt_id=attempt_id,
        facts={"amount": str(order.amount), "method": how.channel},
        actor_name=caller.name,
    )
    if other is not None:
        timeline.add(
            db,
            caller.merchant_id,
            payment_id,
            MomentKind.DUPLICATE_CONFIRMED,
            facts={"other": other},
            actor_name=caller.name,
        )
    _record(db, caller, payment, attempt_id, how)
    return Begun(payment, attempt_id)


def _begin_again(
    db: Transaction, caller: Caller, order: Again, how: Try, settings: TillSettings
) -> Begun:
    payment = payment_of(db, caller, order.payment_id)
    attempts = queries.attempt_rows(db, payment.id)
    attempt_id = new_id("att") if order.form_key is None else _id_of_form(payment.id, order)
    if any(one.id == attempt_id for one in attempts):
        return Begun(payment, attempt_id, is_new=False)
    amount = Money(payment.amount_minor, payment.currency)
    refuse_unless_open(payment, attempts)
    _check_limits(db, caller, settings, amount, how, payment.location_id)
    now = context_of(db).clock.now()
    number = max((one.number for one in attempts), default=0) + 1
    if not _insert_attempt(db, caller, payment.id, attempt_id, number, how, now):
        raise AttemptRunning(payment_id=payment.id)
    settle.set_payment(
        db,
        payment,
        state=PaymentState.IN_PROGRESS,
        explanation="",
        looks=0,
        look_again_at=_first_look(how, now),
    )
    timeline.add(
        db,
        caller.merchant_id,
        payment.id,
        MomentKind.ATTEMPT_STARTED,
        attempt_id=attempt_id,
        facts={"number": str(number), "method": how.channel},
        actor_name=caller.name,
    )
    _record(db, caller, payment, attempt_id, how)
    return Begun(payment, attempt_id, method_before=attempts[-1].method if attempts else None)


def payment_of(db: Transaction, caller: Caller, payment_id: str) -> Found:
    """The payment, locked, if the caller may see it. Raises NotFound."""
    payment = queries.lock_payment(db, caller.merchant_id, payment_id)
    if payment is None or not caller.scope.covers(payment.location_id):
        raise NotFound("payment", payment_id)
    return payment


def refuse_unless_open(payment: Found, attempts: Any) -> None:
    """Raises what keeps a payment from being tried now."""
    amount = Money(payment.amount_minor, payment.currency)
    if queries.open_attempt(attempts) is not None and payment.state is not PaymentState.UNKNOWN:
        raise AttemptRunning(payment_id=payment.id)
    match payment.state:
        case PaymentState.OPEN:
            return
        case PaymentState.PAID:
            raise PaymentPaid(payment_id=payment.id, amount=amount)
        case PaymentState.UNKNOWN:
            raise PaymentUnknown(payment_id=payment.id, amount=amount)
        case PaymentState.IN_PROGRESS:
            raise AttemptRunning(payment_id=payment.id)
        case PaymentState.AUTHORIZED if not payment.capture_later and not payment.explanation:
            # About to be captured.
            raise AttemptRunning(payment_id=payment.id)
        case _:
            raise PaymentNotOpen(payment_id=payment.id, state=payment.state.value.replace("_", " "))


def _insert_attempt(
    db: Transaction,
    caller: Caller,
    payment_id: str,
    attempt_id: str,
    number: int,
    how: Try,
    now: datetime,
) -> bool:
    statement = _NEW_ATTEMPT_POSTGRES if is_postgres(db) else _NEW_ATTEMPT_SQLITE
    values = {
        "id": attempt_id,
        "merchant_id": caller.merchant_id,
        "payment_id": payment_id,
        "number": number,
        "method": how.method,
        "state": how.state,
        "moto": how.moto,
        "hint_brand": how.hint_brand,
        "hint_last4": how.hint_last4,
        "saved_method_id": how.saved_method_id,
        "cloud_reader_id": how.cloud_reader_id,
        "link_expires_at": how.link_expires_at,
        "link_sent_to": how.link_sent_to,
        "message": "",
        "started_by": caller.id,
        "started_at": now,
    }
    return db.execute(statement, values).first() is not None


def _of_the_same_form(db: Transaction, caller: Caller, order: Order) -> Begun:
    found = db.execute(_BY_FORM, {"merchant": caller.merchant_id, "form": order.form_key}).one()
    amount = Money(found.amount_minor, found.currency)
    payment = payment_of(db, caller, found.id)
    if amount != order.amount:
        raise FormReused(amount=amount, payment_id=found.id)
    attempts = queries.attempt_rows(db, found.id)
    return Begun(payment, attempts[0].id if attempts else "", is_new=False)


def _id_of_form(payment_id: str, order: Again) -> str:
    """The same form names the same attempt."""
    digest = hashlib.sha256(f"{payment_id} {order.form_key}".encode()).hexdigest()
    return f"att_{digest[:26]}"


def _check_amount(amount: Money) -> None:
    most = Money(_MOST_UNITS * 10 ** exponent(amount.currency), amount.currency)
    if not 0 < amount.minor <= most.minor:
        raise AmountRefused(
            amount=str(amount), least=str(Money(1, amount.currency)), most=str(most)
        )


def _check_customer(db: Transaction, caller: Caller, customer_id: str) -> None:
    if customer_queries.customer(db, caller.scope, customer_id) is None:
        raise NotFound("customer", customer_id)


def _location_of(caller: Caller, location_id: str | None) -> str | None:
    if location_id is not None:
        if not caller.scope.covers(location_id):
            raise NotFound("location", location_id)
        return location_id
    mine = caller.scope.location_ids
    if mine is None:
        return None
    if len(mine) != 1:
        raise LocationNeeded
    return next(iter(mine))


def _check_limits(
    db: Transaction,
    caller: Caller,
    settings: TillSettings,
    amount: Money,
    how: Try,
    location_id: str | None,
) -> None:
    limits = limits_of(db, caller.merchant_id, caller.id)
    today = None
    if limits.counts_the_day:
        hold_limits(db, caller.merchant_id, caller.id)
        since = _midnight(db, caller, location_id)
        charged = db.execute(
            _TODAY,
            {
                "merchant": caller.merchant_id,
                "cashier": caller.id,
                "currency": amount.currency,
                "since": since,
            },
        ).scalar_one()
        on_readers = taken_by(
            db, caller.merchant_id, caller.id, amount.currency, since, with_tries=False
        )
        today = Money(int(charged) + on_readers, amount.currency)
    objection = limits.objection(settings, amount, method=how.channel, charged_today=today)
    if objection is not None:
        raise objection


def _midnight(db: Transaction, caller: Caller, location_id: str | None) -> datetime:
    zone = None
    if location_id is not None:
        zone = db.execute(
            select(LOCATIONS.c.time_zone).where(
                LOCATIONS.c.id == location_id, LOCATIONS.c.merchant_id == caller.merchant_id
            )
        ).scalar()
    now = context_of(db).clock.now().astimezone(ZoneInfo(zone or "UTC"))
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def _first_look(how: Try, now: datetime) -> datetime | None:
    if how.method is AttemptMethod.READER:
        # Who drives the reader looks.
        return now + timedelta(minutes=15)
    return next_look(PaymentState.IN_PROGRESS, 0, now, not_after=how.link_expires_at)


def _plain_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: redact_card_numbers(value)[:200] if isinstance(value, str) else value
        for key, value in item.items()
    }


def _record(db: Transaction, caller: Caller, payment: Found, attempt_id: str, how: Try) -> None:
    record(
        db,
        caller.merchant_id,
        caller.actor,
        AuditTag.PAYMENT_CHARGE,
        object_id=payment.id,
        object_name=str(Money(payment.amount_minor, payment.currency)),
        after={"method": how.channel, "attempt": attempt_id, "moto": how.moto},
    )
