"""Held money: take it, raise it, let it go. And giving up what waits for a payer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction
from control_plane.till.queries import settings_of
from control_plane.till.values import CheckPolicy, TillSettings
from control_plane.virtual_terminal import queries, resolving, settle, timeline
from control_plane.virtual_terminal.beginning import payment_of
from control_plane.virtual_terminal.errors import (
    AnswerLost,
    AttemptRunning,
    CaptureTooLarge,
    MicrodepositsRefused,
    NoChecksToAccept,
    NoMicrodeposits,
    NotCancelable,
    NotCapturable,
    NotIncrementable,
    PaymentUnknown,
    ProcessorNotReached,
    ProcessorRefused,
)
from control_plane.virtual_terminal.lifecycle import (
    AttemptMethod,
    AttemptState,
    PaymentState,
)
from control_plane.virtual_terminal.moves import CHECK_CODES, GIVEN_UP, RELEASED
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Declined,
    NotReached,
    ProcessorPayment,
    Refused,
    UnexpectedState,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import PaymentView
from protocols.money import Money

log = structlog.get_logger()

_CHECKS: Final = {
    "address_check_failed": ("address_check", "the address"),
    "postal_code_check_failed": ("postal_code_check", "the postal code"),
    "cvc_check_failed": ("cvc_check", "the security code"),
}


def capture(
    office: Office, caller: Caller, payment_id: str, *, amount_minor: int | None
) -> PaymentView:
    """See ``Desk.capture``."""
    caller.must(Permission.PAYMENT_CHARGE_MANAGE)
    with office.writing() as db:
        payment = payment_of(db, caller, payment_id)
        _refuse_unless_held(payment)
        held = Money(payment.authorized_minor, payment.currency)
        if amount_minor is not None and not 0 < amount_minor <= held.minor:
            raise CaptureTooLarge(held=held)
        amount = Money(amount_minor or held.minor, payment.currency)
        _record(db, caller, payment, AuditTag.PAYMENT_CAPTURE, amount)
    _capture(office, payment, amount)
    return _view(office, caller, payment_id)


def accept_checks(office: Office, caller: Caller, payment_id: str) -> PaymentView:
    """See ``Desk.accept_checks``."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    with office.writing() as db:
        payment = payment_of(db, caller, payment_id)
        held = _held_attempt(queries.attempt_rows(db, payment_id))
        if payment.capture_later or held is None or held.code in CHECK_CODES:
            raise NoChecksToAccept(payment_id=payment.id, state=_word(payment))
        amount = Money(payment.authorized_minor, payment.currency)
        _record(db, caller, payment, AuditTag.PAYMENT_CHECKS_ACCEPT, amount)
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            MomentKind.CHECKS_ACCEPTED,
            actor_name=caller.name,
        )
    _capture(office, payment, amount)
    return _view(office, caller, payment_id)


def judge(office: Office, merchant_id: str, payment_id: str) -> None:
    """Decide over money that is held only until its checks are looked at: take it, ask somebody, or let it go."""
    with office.writing() as db:
        payment = queries.lock_payment(db, merchant_id, payment_id)
        if payment is None or payment.state is not PaymentState.AUTHORIZED:
            return
        attempt = _held_attempt(queries.attempt_rows(db, payment_id))
        if payment.capture_later or attempt is None or attempt.method is AttemptMethod.READER:
            # A reader's sale is captured by who drives the reader.
            return
        settings = settings_of(db, merchant_id)
        verdict = settings.verdict(
            address=attempt.address_check, postal_code=attempt.postal_code_check,
            cvc=attempt.cvc_check,
        )  # fmt: skip
        failed = _failed(settings, attempt, verdict)
        if verdict is CheckPolicy.ASK:
            _ask(db, payment, attempt, failed)
            return
        if verdict is CheckPolicy.BLOCK:
            _note_blocked(db, payment, attempt, failed)
    try:
        if verdict is CheckPolicy.BLOCK:
            release(office, merchant_id, payment_id)
        else:
            _capture_by_itself(office, payment)
    except (ProcessorNotReached, ProcessorRefused, AnswerLost) as failure:
        # It stays held, and the sweep comes back to it.
        log.warning("held_money_not_decided", payment_id=payment_id, reason=failure.code)


def increment(office: Office, caller: Caller, payment_id: str, amount_minor: int) -> PaymentView:
    """See ``Desk.increment``."""
    caller.must(Permission.PAYMENT_CHARGE_MANAGE)
    with office.writing() as db:
        payment = payment_of(db, caller, payment_id)
        _refuse_unless_held(payment)
        if amount_minor <= payment.authorized_minor:
            held = Money(payment.authorized_minor, payment.currency)
            raise NotIncrementable(payment_id=payment.id, reason=f"{held} is held already")
        amount = Money(amount_minor, payment.currency)
        _record(db, caller, payment, AuditTag.PAYMENT_INCREMENT, amount)
    processor = office.processors.of(payment.merchant_id)
    try:
        snapshot = processor.increment(
            payment.processor_id,
            amount_minor,
            key=f"{payment.id}:increment:{amount_minor}:{payment.version}",
        )
    except Declined as declined:
        raise NotIncrementable(payment_id=payment.id, reason=declined.decline.message) from declined
    except UnexpectedState:
        resolving.look(office, payment.merchant_id, payment.id)
        return _view(office, caller, payment_id)
    except Refused as refused:
        raise NotIncrementable(payment_id=payment.id, reason=str(refused)) from refused
    except NotReached as unreached:
        raise ProcessorNotReached from unreached
    except AnswerUnknown as silent:
        found = resolving.look(office, payment.merchant_id, payment.id)
        if found is None or found.capturable_minor < amount_minor:
            raise AnswerLost from silent
        return _view(office, caller, payment_id)
    with office.writing() as db:
        settle.apply_snapshot(db, payment.merchant_id, snapshot)
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            MomentKind.INCREMENTED,
            facts={"amount": str(amount)},
            actor_name=caller.name,
        )
        return queries.payment(db, caller.scope, payment_id)


def cancel(office: Office, caller: Caller, payment_id: str, *, reason: str) -> PaymentView:
    """See ``Desk.cancel``. Who may charge may cancel what is not held yet; held money needs who manages it."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    with office.writing() as db:
        payment = payment_of(db, caller, payment_id)
        if payment.state is PaymentState.CANCELED:
            return queries.payment(db, caller.scope, payment_id)
        if payment.state in {PaymentState.PAID, PaymentState.PROCESSING}:
            raise NotCancelable(payment_id=payment.id, state=_word(payment))
        amount = Money(payment.amount_minor, payment.currency)
        if payment.state is PaymentState.UNKNOWN:
            raise PaymentUnknown(payment_id=payment.id, amount=amount)
        attempt = queries.open_attempt(queries.attempt_rows(db, payment_id))
        if attempt is not None and not resolving.is_waiting(attempt):
            raise AttemptRunning(payment_id=payment.id)
        if payment.state is PaymentState.AUTHORIZED and payment.capture_later:
            caller.must(Permission.PAYMENT_CHARGE_MANAGE)
        _record(db, caller, payment, AuditTag.PAYMENT_CANCEL, amount)
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            MomentKind.CANCEL_ASKED,
            text=reason,
            actor_name=caller.name,
        )
        if payment.processor_id is None:
            _cancel_here(db, payment, attempt)
            return queries.payment(db, caller.scope, payment_id)
    _cancel_there(office, payment, GIVEN_UP)
    return _view(office, caller, payment_id)


def give_up_attempt(office: Office, caller: Caller, payment_id: str) -> PaymentView:
    """See ``Desk.give_up_attempt``."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    with office.writing() as db:
        payment_of(db, caller, payment_id)
    release(office, caller.merchant_id, payment_id, actor_name=caller.name)
    return _view(office, caller, payment_id)


def release(office: Office, merchant_id: str, payment_id: str, *, actor_name: str = "") -> None:
    """Cancel the intent, so that the payment can go on another way; should it have succeeded, the payment is paid.

    Raises AttemptRunning when something is under way that cannot be given up.
    """
    with office.writing() as db:
        payment = queries.lock_payment(db, merchant_id, payment_id)
        if payment is None or payment.state.is_final:
            return
        attempt = queries.open_attempt(queries.attempt_rows(db, payment_id))
        if attempt is not None and not resolving.is_waiting(attempt):
            raise AttemptRunning(payment_id=payment_id)
        if payment.processor_id is None:
            if attempt is not None:
                settle.end_attempt(
                    db, merchant_id, attempt.id, AttemptState.CANCELED, code=None,
                    actor_name=actor_name,
                )  # fmt: skip
            return
    _cancel_there(office, payment, RELEASED)


def verify_microdeposits(
    office: Office,
    caller: Caller,
    payment_id: str,
    *,
    amounts: tuple[int, int] | None,
    code: str | None,
) -> PaymentView:
    """See ``Desk.verify_microdeposits``."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    with office.writing() as db:
        payment = payment_of(db, caller, payment_id)
        if payment.state is not PaymentState.REQUIRES_ACTION or payment.processor_id is None:
            raise NoMicrodeposits(payment_id=payment.id)
        amount = Money(payment.amount_minor, payment.currency)
        _record(db, caller, payment, AuditTag.PAYMENT_MICRODEPOSITS, amount)
    processor = office.processors.of(payment.merchant_id)
    try:
        snapshot = processor.verify_microdeposits(payment.processor_id, amounts=amounts, code=code)
    except UnexpectedState:
        resolving.look(office, payment.merchant_id, payment.id)
        return _view(office, caller, payment_id)
    except (Declined, Refused) as refused:
        resolving.look(office, payment.merchant_id, payment.id)
        raise MicrodepositsRefused(reason=str(refused)) from refused
    except NotReached as unreached:
        raise ProcessorNotReached from unreached
    except AnswerUnknown as silent:
        if resolving.look(office, payment.merchant_id, payment.id) is None:
            raise AnswerLost from silent
        return _view(office, caller, payment_id)
    with office.writing() as db:
        timeline.add(
            db,
            payment.merchant_id,
            payment.id,
            MomentKind.MICRODEPOSITS,
            actor_name=caller.name,
        )
        settle.apply_snapshot(db, payment.merchant_id, snapshot)
        return queries.payment(db, caller.scope, payment_id)


def _capture(office: Office, payment: Found, amount: Money) -> None:
    """Ask to capture and settle what comes back. Raises ProcessorRefused, ProcessorNotReached, AnswerLost."""
    processor = office.processors.of(payment.merchant_id)
    try:
        snapshot = processor.capture(
            payment.processor_id,
            amount_minor=amount.minor,
            key=f"{payment.id}:capture:{amount.minor}:{payment.version}",
        )
    except UnexpectedState:
        resolving.look(office, payment.merchant_id, payment.id)
        return
    except (Declined, Refused) as refused:
        resolving.look(office, payment.merchant_id, payment.id)
        raise ProcessorRefused(reason=str(refused)) from refused
    except NotReached as unreached:
        raise ProcessorNotReached from unreached
    except AnswerUnknown as silent:
        found = resolving.look(office, payment.merchant_id, payment.id)
        if found is None or found.status == "requires_capture":
            raise AnswerLost from silent
        return
    with office.writing() as db:
        settle.apply_snapshot(db, payment.merchant_id, snapshot)


def _capture_by_itself(office: Office, payment: Found) -> None:
    """After good checks. Nobody is there to hear of a failure: the money stays held, and the sweep tries again."""
    try:
        processor = office.processors.of(payment.merchant_id)
        snapshot = processor.capture(
            payment.processor_id, key=f"{payment.id}:capture:all:{payment.version}"
        )
    except (Declined, Refused, NotReached, AnswerUnknown):
        _settle_by_reading(office, payment)
        return
    with office.writing() as db:
        settle.apply_snapshot(db, payment.merchant_id, snapshot)


def _settle_by_reading(office: Office, payment: Found) -> ProcessorPayment | None:
    processor = office.processors.of(payment.merchant_id)
    try:
        snapshot = processor.read_payment(payment.processor_id)
    except (Refused, NotReached, AnswerUnknown):
        return None
    with office.writing() as db:
        settle.apply_snapshot(db, payment.merchant_id, snapshot)
    return snapshot


def _cancel_there(office: Office, payment: Found, reason: str) -> None:
    """Cancel the intent and settle what comes back. Raises ProcessorRefused, ProcessorNotReached, AnswerLost."""
    processor = office.processors.of(payment.merchant_id)
    key = f"{payment.processor_id}:cancel:{payment.version}"
    try:
        snapshot = processor.cancel_payment(payment.processor_id, reason=reason, key=key)
    except UnexpectedState:
        # It succeeded, or was canceled before.
        if _settle_by_reading(office, payment) is None:
            raise AnswerLost from None
        return
    except (Declined, Refused) as refused:
        raise ProcessorRefused(reason=str(refused)) from refused
    except NotReached as unreached:
        raise ProcessorNotReached from unreached
    except AnswerUnknown as silent:
        found = _settle_by_reading(office, payment)
        if found is None or found.status not in {"canceled", "succeeded"}:
            raise AnswerLost from silent
        return
    with office.writing() as db:
        settle.apply_snapshot(db, payment.merchant_id, snapshot)


def _cancel_here(db: Transaction, payment: Found, attempt: Found | None) -> None:
    if attempt is not None:
        settle.end_attempt(db, payment.merchant_id, attempt.id, AttemptState.CANCELED, code=None)
    now_open = queries.lock_payment(db, payment.merchant_id, payment.id)
    if now_open is not None:
        settle.set_payment(db, now_open, state=PaymentState.CANCELED, look_again_at=None)
        timeline.add(db, payment.merchant_id, payment.id, MomentKind.CANCELED)


def _refuse_unless_held(payment: Found) -> None:
    if payment.state is not PaymentState.AUTHORIZED or payment.processor_id is None:
        raise NotCapturable(payment_id=payment.id, state=_word(payment))


def _failed(settings: TillSettings, attempt: Found, verdict: CheckPolicy) -> list[str]:
    """Codes of the checks that failed and have this policy."""
    policies = {
        "address_check_failed": settings.address_check,
        "postal_code_check_failed": settings.postal_code_check,
        "cvc_check_failed": settings.cvc_check,
    }
    return [
        code
        for code, (column, _) in _CHECKS.items()
        if getattr(attempt, column) == "fail" and policies[code] is verdict
    ]


def _checks_in(codes: list[str]) -> dict[str, str]:
    return {"checks": ", ".join(_CHECKS[code][1] for code in codes), "codes": " ".join(codes)}


def _held_attempt(attempts: Sequence[Found]) -> Found | None:
    return next((one for one in attempts if one.state is AttemptState.AUTHORIZED), None)


def _note_blocked(db: Transaction, payment: Found, attempt: Found, failed: list[str]) -> None:
    code = failed[0]
    if attempt.code == code:
        return
    message = f"{_CHECKS[code][1].capitalize()} did not match."
    settle.set_attempt(db, attempt.id, code=code, message=message)
    timeline.add(
        db,
        payment.merchant_id,
        payment.id,
        MomentKind.CHECKS_BLOCKED,
        attempt_id=attempt.id,
        facts=_checks_in(failed),
    )


def _ask(db: Transaction, payment: Found, attempt: Found, failed: list[str]) -> None:
    facts = _checks_in(failed)
    explanation = f"Held, not taken: {facts['checks']} did not match."
    if payment.explanation == explanation:
        return
    settle.set_payment(db, payment, explanation=explanation)
    timeline.add(
        db,
        payment.merchant_id,
        payment.id,
        MomentKind.CHECKS_ASKED,
        attempt_id=attempt.id,
        facts=facts,
    )


def _record(db: Transaction, caller: Caller, payment: Found, tag: AuditTag, amount: Money) -> None:
    record(
        db,
        caller.merchant_id,
        caller.actor,
        tag,
        object_id=payment.id,
        object_name=str(amount),
        after={"amount_minor": amount.minor, "currency": amount.currency},
    )


def _view(office: Office, caller: Caller, payment_id: str) -> PaymentView:
    with office.reading() as db:
        return queries.payment(db, caller.scope, payment_id)


def _word(payment: Found) -> str:
    return str(payment.state.value).replace("_", " ")
