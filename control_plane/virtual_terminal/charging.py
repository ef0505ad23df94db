"""Charges typed cards, saved methods and bank accounts.

The attempt is written down first. Then one call: an intent that is made and confirmed at once, or, for a later
attempt, the confirmation of the same intent. What comes back is settled by ``settle``; a lost answer leaves the payment
``unknown`` until ``resolving`` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import bindparam, select, update

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers import methods as saved_methods
from control_plane.customers import queries as customer_queries
from control_plane.customers.methods import Consent
from control_plane.customers.models import ConsentHow, MethodKind
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.till.queries import settings_of
from control_plane.till.values import CheckPolicy, TillSettings
from control_plane.virtual_terminal import capturing, queries, resolving, settle
from control_plane.virtual_terminal import saved_methods as keeping
from control_plane.virtual_terminal.beginning import Begun, Try, begin
from control_plane.virtual_terminal.errors import MethodIncomplete
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.virtual_terminal.models import ACCOUNTS, ATTEMPTS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    CaptureMethod,
    Confirmation,
    Decline,
    Declined,
    MotoNotEnabled,
    NewIntent,
    NotReached,
    Processor,
    ProcessorPayment,
    Refused,
    UnexpectedState,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.views import ActionView, PaymentView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, Order
from protocols.money import Money
from protocols.readers.emv import redact_card_numbers

_CONSENT: Final = "I agree that this method is kept and charged for what I order later."
_MOTO: Final = select(ACCOUNTS.c.moto_enabled).where(
    ACCOUNTS.c.merchant_id == bindparam("merchant")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the processor will be asked."""

    method: AttemptMethod
    methods: tuple[str, ...]
    capture: CaptureMethod
    confirm: Confirmation
    customer_id: str | None = None
    """``cus_…``"""
    save: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back: a snapshot, or why there is none."""

    snapshot: ProcessorPayment | None = None
    decline: Decline | None = None
    failed: AttemptState | None = None
    code: str = ""
    message: str = ""
    is_lost: bool = False


def charge(office: Office, caller: Caller, wish: ChargeWish) -> PaymentView:
    """See ``Desk.charge``."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    _refuse_incomplete(wish)
    processor = office.processors.of(caller.merchant_id)
    order = wish.order
    if isinstance(order, Again):
        make_way(office, caller, order, wish)
    if wish.save_for_later:
        # Only a customer whom the processor knows can keep a method there.
        keeping.make_known(office, processor, caller, _customer_of(office, caller, order))
    with office.writing() as db:
        settings = settings_of(db, caller.merchant_id)
        saved = None
        if wish.saved_method_id is not None:
            saved = saved_methods.chargeable(db, caller, wish.saved_method_id)
        is_moto = wish.moto and wish.method == "keyed" and _account_may(db, caller.merchant_id)
        how = Try(
            method=AttemptMethod(wish.method),
            moto=is_moto,
            hint_brand=wish.hint_brand if saved is None else saved.brand or None,
            hint_last4=wish.hint_last4 if saved is None else saved.last4,
            saved_method_id=wish.saved_method_id,
        )
        if isinstance(order, Order) and order.customer_id is None and saved is not None:
            order = replace(order, customer_id=saved.customer_id)
        begun = begin(db, caller, order, how, settings)
        if not begun.is_new:
            return queries.payment(db, caller.scope, begun.payment.id)
        plan = _plan(db, wish, begun.payment, settings, saved, is_moto=is_moto)
    outcome = ask(processor, begun, plan)
    if outcome.code == _MOTO_REFUSED:
        with office.writing() as db:
            _remember_no_moto(db, caller.merchant_id, begun.attempt_id)
        plain = replace(plan, confirm=replace(plan.confirm, moto=False))
        outcome = ask(processor, begun, plain, again="-plain")
    if wish.save_for_later and outcome.snapshot is not None:
        _keep(office, caller, begun, wish, outcome.snapshot)
    return finish(office, caller, begun, outcome)


def ask(processor: Processor, begun: Begun, plan: Plan, *, again: str = "") -> Outcome:
    """The one call of an attempt; never raises what a processor can fail with."""
    try:
        return Outcome(_call(processor, begun, plan, again))
    except Declined as declined:
        return Outcome(declined.payment, declined.decline)
    except MotoNotEnabled as refused:
        return Outcome(failed=AttemptState.FAILED, code=_MOTO_REFUSED, message=str(refused))
    except UnexpectedState as refused:
        return Outcome(failed=AttemptState.FAILED, code=_UNEXPECTED, message=str(refused))
    except Refused as refused:
        return Outcome(
            failed=AttemptState.FAILED, code=refused.code or "refused", message=str(refused)
        )
    except NotReached as unreached:
        return Outcome(failed=AttemptState.FAILED, code="not_reached", message=str(unreached))
    except AnswerUnknown:
        return Outcome(is_lost=True)


def finish(office: Office, caller: Caller, begun: Begun, outcome: Outcome) -> PaymentView:
    """Write down what came of an attempt, and do what follows from it at once."""
    merchant_id, payment_id = caller.merchant_id, begun.payment.id
    with office.writing() as db:
        view, action = _written(db, caller, begun, outcome)
    if view.state is PaymentState.UNKNOWN or outcome.code == _UNEXPECTED:
        # Most lost answers are found at once.
        snapshot = resolving.look(office, merchant_id, payment_id)
        action = resolving.action_in(snapshot)
        with office.writing() as db:
            if outcome.code == _UNEXPECTED:
                _end_failed(db, merchant_id, begun.attempt_id, outcome)
            return queries.payment(db, caller.scope, payment_id, action=action)
    if view.state is PaymentState.AUTHORIZED and not view.capture_later:
        capturing.judge(office, merchant_id, payment_id)
        with office.reading() as db:
            return queries.payment(db, caller.scope, payment_id, action=action)
    return view


_MOTO_REFUSED: Final = "moto_not_enabled"
_UNEXPECTED: Final = "payment_intent_unexpected_state"


def make_way(office: Office, caller: Caller, order: Again, wish: ChargeWish | None = None) -> None:
    """Give up what another attempt replaces, and an intent that the new one cannot use."""
    with office.reading() as db:
        view = queries.payment(db, caller.scope, order.payment_id)
    last = view.attempt
    if last is not None and last.id == order.replaces and last.state.is_open:
        capturing.release(office, caller.merchant_id, view.id, actor_name=caller.name)
    elif (
        wish is not None
        and wish.saved_method_id is not None
        and view.state is PaymentState.OPEN
        and view.processor_id is not None
    ):
        # A saved method belongs to a customer, whom only a new intent can name.
        capturing.release(office, caller.merchant_id, view.id, actor_name=caller.name)


def _call(processor: Processor, begun: Begun, plan: Plan, again: str) -> ProcessorPayment:
    payment, attempt_id = begun.payment, begun.attempt_id
    if payment.processor_id is not None:
        if begun.method_before is not plan.method:
            _prepare(processor, begun, plan, again)
        return processor.confirm_payment(
            payment.processor_id, plan.confirm, key=f"{attempt_id}:confirm{again}"
        )
    return processor.create_payment(
        new_intent(payment, attempt_id, plan), plan.confirm, key=f"{attempt_id}:create{again}"
    )


def _prepare(processor: Processor, begun: Begun, plan: Plan, again: str) -> None:
    """Let the intent take another kind of method. Charges nothing, so a lost answer is no mystery."""
    try:
        processor.update_payment(
            begun.payment.processor_id,
            methods=plan.methods,
            capture=plan.capture,
            key=f"{begun.attempt_id}:update{again}",
        )
    except AnswerUnknown as silent:
        raise NotReached(str(silent)) from silent


def new_intent(payment: Found, attempt_id: str, plan: Plan) -> NewIntent:
    """The intent of a payment; what we write on it is how a lost answer is found."""
    metadata = {"payment": payment.id, "attempt": attempt_id}
    if payment.reference:
        metadata["order"] = payment.reference
    return NewIntent(
        amount=Money(payment.amount_minor, payment.currency),
        methods=plan.methods,
        metadata=metadata,
        capture=plan.capture,
        customer_id=plan.customer_id,
        description=payment.reference,
        save_for="off_session" if plan.save else None,
        ask_incremental=payment.capture_later,
    )


def _plan(
    db: Transaction,
    wish: ChargeWish,
    payment: Found,
    settings: TillSettings,
    saved: Found | None,
    *,
    is_moto: bool,
) -> Plan:
    customer_id = None
    if payment.customer_id is not None:
        everyone = Scope(merchant_id=payment.merchant_id)
        customer = customer_queries.customer(db, everyone, payment.customer_id)
        customer_id = None if customer is None else customer.processor_id
    is_bank = wish.method == "bank_debit" or (
        saved is not None and saved.kind is not MethodKind.CARD
    )
    if is_bank:
        kind = wish.bank_kind if saved is None else saved.kind.value
        methods: tuple[str, ...] = (str(kind),)
    else:
        methods = ("card",)
    looks_first = wish.method == "keyed" and any(
        policy is not CheckPolicy.ACCEPT
        for policy in (settings.address_check, settings.postal_code_check, settings.cvc_check)
    )
    is_manual = not is_bank and (payment.capture_later or looks_first)
    if saved is not None:
        confirm = Confirmation(
            instrument_id=saved.processor_id,
            off_session=True,
            fail_on_action=not is_bank,
            stored_usage=None if is_bank else "unscheduled",
        )
    else:
        confirm = Confirmation(
            token=wish.token,
            moto=is_moto,
            return_url=wish.return_url,
            mandate_offline=wish.mandate_offline,
        )
    return Plan(
        method=AttemptMethod(wish.method),
        methods=methods,
        capture="manual" if is_manual else "automatic",
        confirm=confirm,
        customer_id=customer_id,
        save=wish.save_for_later and customer_id is not None,
    )


def _written(
    db: Transaction, caller: Caller, begun: Begun, outcome: Outcome
) -> tuple[PaymentView, ActionView | None]:
    merchant_id, attempt_id = caller.merchant_id, begun.attempt_id
    action = None
    if outcome.snapshot is not None:
        settle.apply_snapshot(db, merchant_id, outcome.snapshot)
        action = resolving.action_in(outcome.snapshot)
    if outcome.is_lost:
        resolving.lost(db, merchant_id, attempt_id)
    elif outcome.decline is not None:
        # Nothing, if the snapshot told it.
        settle.end_attempt(
            db,
            merchant_id,
            attempt_id,
            AttemptState.DECLINED,
            code=outcome.decline.code,
            message=outcome.decline.message,
            network_code=outcome.decline.network_code,
        )
    elif outcome.failed is not None and outcome.code != _UNEXPECTED:
        _end_failed(db, merchant_id, attempt_id, outcome)
    return queries.payment(db, caller.scope, begun.payment.id, action=action), action


def _end_failed(db: Transaction, merchant_id: str, attempt_id: str, outcome: Outcome) -> None:
    settle.end_attempt(
        db,
        merchant_id,
        attempt_id,
        AttemptState.FAILED,
        code=outcome.code[:80],
        message=outcome.message,
    )


def _customer_of(office: Office, caller: Caller, order: Order | Again) -> str:
    if isinstance(order, Order):
        customer_id = order.customer_id
    else:
        with office.reading() as db:
            customer_id = queries.payment(db, caller.scope, order.payment_id).customer_id
    if customer_id is None:
        raise MethodIncomplete(
            field="customer_id", method="Keeping a method for later", needed="a customer"
        )
    return customer_id


def _keep(
    office: Office, caller: Caller, begun: Begun, wish: ChargeWish, told: ProcessorPayment
) -> None:
    """Keep what paid, with the customer's consent. A method whose charge was refused is not kept."""
    charge, customer_id = told.charge, begun.payment.customer_id
    if charge is None or charge.status == "failed" or customer_id is None:
        return
    kept = charge.instrument
    if kept.processor_id is None or kept.kind not in set(MethodKind):
        return
    how = wish.consent_how or (ConsentHow.PHONE if wish.moto else ConsentHow.IN_PERSON)
    consent = Consent(text=redact_card_numbers(wish.consent_text) or _CONSENT, how=how)
    with office.writing() as db:
        saved_methods.save_method(
            db,
            caller.merchant_id,
            caller.actor,
            customer_id,
            keeping.kept_of(kept, is_confirmed=charge.status == "succeeded"),
            consent,
        )


def _refuse_incomplete(wish: ChargeWish) -> None:
    if wish.method == "keyed" and not wish.token:
        raise MethodIncomplete(field="token", method="A typed card", needed="its token")
    if wish.method == "saved" and not wish.saved_method_id:
        raise MethodIncomplete(
            field="saved_method_id", method="A saved method", needed="the method’s id"
        )
    by_token = bool(wish.token and wish.bank_kind)
    if wish.method == "bank_debit" and wish.saved_method_id is None and not by_token:
        raise MethodIncomplete(
            field="token",
            method="A bank debit",
            needed="a saved account, or a token and its kind",
        )


def _account_may(db: Transaction, merchant_id: str) -> bool:
    """Unless the account was asked and may not; when it was not asked, the charge itself tells."""
    return db.execute(_MOTO, {"merchant": merchant_id}).scalar() is not False


def _remember_no_moto(db: Transaction, merchant_id: str, attempt_id: str) -> None:
    db.execute(
        update(ACCOUNTS).where(ACCOUNTS.c.merchant_id == merchant_id).values(moto_enabled=False)
    )
    db.execute(update(ATTEMPTS).where(ATTEMPTS.c.id == attempt_id).values(moto=False))
