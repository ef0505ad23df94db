"""Links: a page of ours on which the payer pays the same PaymentIntent, with the provider's own fields.

The address is ``/pay/{attempt}.{signature}``: it cannot be guessed, names one attempt, and dies with it. Giving a link
up, or letting it expire, cancels its intent: whoever still has the page open can pay nothing.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select, update

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.accounts.queries import MERCHANTS
from control_plane.db.keyring import Keyring
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.till.queries import settings_of
from control_plane.virtual_terminal import (
    capturing,
    charging,
    queries,
    resolving,
    settle,
    timeline,
)
from control_plane.virtual_terminal.beginning import Begun, Try, begin
from control_plane.virtual_terminal.errors import (
    AttemptRunning,
    LinkGone,
    ProcessorNotReached,
    ProcessorRefused,
)
from control_plane.virtual_terminal.lifecycle import (
    OPEN_ATTEMPTS,
    AttemptMethod,
    AttemptState,
    PaymentState,
)
from control_plane.virtual_terminal.models import ACCOUNTS, ATTEMPTS, MOMENTS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Confirmation,
    NotReached,
    Processor,
    ProcessorError,
    ProcessorPayment,
    Refused,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import LinkView, OpenedLink
from control_plane.virtual_terminal.wishes import Again, LinkWish

_PURPOSE: Final = "payment link"
_ATTEMPT: Final = select(ATTEMPTS).where(ATTEMPTS.c.id == bindparam("attempt"))
_ACCOUNT: Final = select(ACCOUNTS.c.publishable_key, ACCOUNTS.c.script_url).where(
    ACCOUNTS.c.merchant_id == bindparam("merchant")
)
_MERCHANT: Final = select(MERCHANTS.c.name).where(MERCHANTS.c.id == bindparam("merchant"))


def offer(office: Office, caller: Caller, wish: LinkWish) -> LinkView:
    """See ``Desk.offer_link``. Also raises ProcessorRefused and ProcessorNotReached; then there is no link."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    processor = office.processors.of(caller.merchant_id)
    if isinstance(wish.order, Again):
        charging.make_way(office, caller, wish.order)
    with office.writing() as db:
        settings = settings_of(db, caller.merchant_id)
        expires_at = context_of(db).clock.now() + wish.valid_for
        how = Try(
            method=AttemptMethod.LINK,
            link_expires_at=expires_at,
            link_sent_to=wish.send_to,
        )
        begun = begin(db, caller, wish.order, how, settings)
        if begun.is_new:
            timeline.add(
                db,
                caller.merchant_id,
                begun.payment.id,
                MomentKind.LINK_OFFERED,
                attempt_id=begun.attempt_id,
                facts={"until": expires_at.isoformat(timespec="minutes")},
                actor_name=caller.name,
            )
    if begun.is_new and begun.payment.processor_id is None:
        _make_intent(office, processor, begun)
    with office.reading() as db:
        return _view(db, office.keyring, caller.scope, begun.payment.id, begun.attempt_id)


def link_of(office: Office, caller: Caller, payment_id: str) -> LinkView | None:
    """See ``Desk.link_of``."""
    caller.must(Permission.PAYMENT_CHARGE_CREATE)
    with office.reading() as db:
        attempt = queries.payment(db, caller.scope, payment_id).attempt
        if attempt is None or attempt.method is not AttemptMethod.LINK or not attempt.state.is_open:
            return None
        return _view(db, office.keyring, caller.scope, payment_id, attempt.id)


def note_sent(db: Transaction, scope: Scope, payment_id: str, address: str) -> None:
    """Keep to whom the open link of a payment was sent last; nothing when there is none."""
    attempt = queries.payment(db, scope, payment_id).attempt
    if attempt is not None and attempt.method is AttemptMethod.LINK and attempt.state.is_open:
        db.execute(update(ATTEMPTS).where(ATTEMPTS.c.id == attempt.id).values(link_sent_to=address))


def open_link(office: Office, token: str) -> OpenedLink:
    """See ``Desk.open_link``."""
    attempt = _attempt_of(office, token)
    if attempt.state not in OPEN_ATTEMPTS:
        return _opened(office, attempt, None)
    snapshot = resolving.look(office, attempt.merchant_id, attempt.payment_id)
    attempt = _attempt_of(office, token)
    if attempt.state in OPEN_ATTEMPTS:
        _note_opened(office, attempt)
    return _opened(office, attempt, snapshot)


def after_link(office: Office, token: str) -> OpenedLink:
    """See ``Desk.after_link``."""
    attempt = _attempt_of(office, token)
    snapshot = resolving.look(office, attempt.merchant_id, attempt.payment_id)
    return _opened(office, _attempt_of(office, token), snapshot)


def expire(office: Office, merchant_id: str, payment_id: str) -> None:
    """Give the open link of a payment up when its time is over; a payer who was quicker has paid."""
    with office.writing() as db:
        attempt = queries.open_attempt(queries.attempt_rows(db, payment_id))
        if attempt is None or attempt.method is not AttemptMethod.LINK:
            return
        ends_at = attempt.link_expires_at
        if ends_at is None or ends_at > context_of(db).clock.now():
            return
    try:
        capturing.release(office, merchant_id, payment_id)
    except (ProcessorNotReached, ProcessorRefused, AttemptRunning):
        # The sweep comes back to it.
        return
    with office.writing() as db:
        payment = queries.lock_payment(db, merchant_id, payment_id)
        if payment is not None and payment.state is PaymentState.OPEN:
            timeline.add(
                db, merchant_id, payment_id, MomentKind.LINK_EXPIRED, attempt_id=attempt.id
            )


def _make_intent(office: Office, processor: Processor, begun: Begun) -> None:
    plan = charging.Plan(
        method=AttemptMethod.LINK,
        methods=("card",),
        capture="manual" if begun.payment.capture_later else "automatic",
        confirm=Confirmation(),
    )
    merchant_id = begun.payment.merchant_id
    new = charging.new_intent(begun.payment, begun.attempt_id, plan)
    try:
        snapshot = processor.create_payment(new, key=f"{begun.attempt_id}:create")
    except ProcessorError as failure:
        code = failure.code if isinstance(failure, Refused) else "not_reached"
        with office.writing() as db:
            # Nobody had its secret: an intent that was made all the same can never be paid.
            settle.end_attempt(
                db, merchant_id, begun.attempt_id, AttemptState.FAILED,
                code=code[:80] or "refused", message=str(failure),
            )  # fmt: skip
        if isinstance(failure, NotReached | AnswerUnknown):
            raise ProcessorNotReached from failure
        raise ProcessorRefused(reason=str(failure)) from failure
    with office.writing() as db:
        settle.apply_snapshot(db, merchant_id, snapshot)


def _attempt_of(office: Office, token: str) -> Found:
    attempt_id, _, signature = token.partition(".")
    if not office.keyring.is_signed(attempt_id.encode(), signature, _PURPOSE):
        raise LinkGone
    with office.reading() as db:
        found = db.execute(_ATTEMPT, {"attempt": attempt_id}).one_or_none()
    if found is None or found.method is not AttemptMethod.LINK:
        raise LinkGone
    return found


def _note_opened(office: Office, attempt: Found) -> None:
    seen = select(MOMENTS.c.id).where(
        MOMENTS.c.payment_id == attempt.payment_id,
        MOMENTS.c.attempt_id == attempt.id,
        MOMENTS.c.kind == MomentKind.LINK_OPENED.value,
    )
    with office.writing() as db:
        if db.execute(seen.limit(1)).first() is None:
            timeline.add(
                db,
                attempt.merchant_id,
                attempt.payment_id,
                MomentKind.LINK_OPENED,
                attempt_id=attempt.id,
            )


def _opened(office: Office, attempt: Found, snapshot: ProcessorPayment | None) -> OpenedLink:
    whose = {"merchant": attempt.merchant_id}
    with office.reading() as db:
        account = db.execute(_ACCOUNT, whose).one_or_none()
        name = db.execute(_MERCHANT, whose).scalar_one()
        payment = queries.payment(db, Scope(merchant_id=attempt.merchant_id), attempt.payment_id)
    is_payable = attempt.state in OPEN_ATTEMPTS and snapshot is not None and account is not None
    return OpenedLink(
        payment=payment,
        merchant_name=str(name),
        is_payable=is_payable,
        expires_at=attempt.link_expires_at,
        publishable_key="" if account is None else account.publishable_key,
        script_url="" if account is None else account.script_url,
        client_secret=snapshot.client_secret if is_payable and snapshot is not None else None,
    )


def _view(
    db: Transaction, keyring: Keyring, scope: Scope, payment_id: str, attempt_id: str
) -> LinkView:
    payment = queries.payment(db, scope, payment_id)
    found = db.execute(_ATTEMPT, {"attempt": attempt_id}).one()
    return LinkView(
        payment=payment,
        attempt_id=attempt_id,
        token=f"{attempt_id}.{keyring.sign(attempt_id.encode(), _PURPOSE)}",
        expires_at=found.link_expires_at,
    )
