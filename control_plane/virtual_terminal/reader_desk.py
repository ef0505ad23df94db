"""Sales on readers that the processor drives, and on phones that drive themselves.

Each sale has a row that says how far it is (``reader_task``); whoever finds it due takes one step and writes down the
next. So a sale goes on after a crash at any place, from the table alone, in whichever process looks next.

What decides is the PaymentIntent. A reader that fell silent, or says ``connection_error``, proves nothing: the intent
is read, and when it is undecided it is canceled, after which no reader can charge it any more. There is never a second
intent while the first could still take money.

The steps: create the intent (held money, not taken), hand it to the reader, watch both, take the money, clear the
screen. A payment is paid once the money was taken.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeGuard

import structlog
from sqlalchemy import Update, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.actor import Actor, ActorKind
from control_plane.customers import methods
from control_plane.customers import queries as customer_queries
from control_plane.customers import service as customers
from control_plane.customers.methods import Consent, Kept
from control_plane.customers.models import ConsentHow, MethodKind
from control_plane.db.columns import UtcDateTime
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.errors import Conflict, NotFound
from control_plane.till.queries import settings_of
from control_plane.virtual_terminal import cloud_readers, queries, reader_refunds, settle, timeline
from control_plane.virtual_terminal.beginning import Begun, Try, at_reader, begin
from control_plane.virtual_terminal.charging import make_way
from control_plane.virtual_terminal.cloud_readers import CloudReaderView, words_of_refusal
from control_plane.virtual_terminal.errors import (
    AttemptRunning,
    CloudReaderDrivenElsewhere,
    CloudReaderHeld,
    NotConnected,
)
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.virtual_terminal.models import (
    ACCOUNTS,
    ATTEMPTS,
    CLOUD_READERS,
    PAYMENTS,
    READER_TASKS,
)
from control_plane.virtual_terminal.moves import RELEASED, charge_of, refusal_in
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Declined,
    NewIntent,
    NotReached,
    Processor,
    ProcessorError,
    ProcessorPayment,
    ProcessorReader,
    ReaderAction,
    ReaderPayment,
    Refused,
    UnexpectedState,
)
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, Order
from protocols.money import Money
from protocols.readers.emv import redact_card_numbers

log = structlog.get_logger()

#: How long a step may take before another process takes it over: longer than any one call.
LEASE: Final = timedelta(seconds=30)
#: Between two looks at a sale: at first, growing, at most.
_FIRST_LOOK_S: Final = 1.0
_GROWTH_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0
#: Tries to hand an intent to a reader that does not answer.
_MOST_TRIES: Final = 4
#: Looks at a reader that lost its connection, or the sale, before the intent is canceled.
_PATIENCE: Final = 3
#: Nobody holds a card for so long.
_CARD_WAIT: Final = timedelta(minutes=5)
_PHONE_WAIT: Final = timedelta(minutes=10)
#: Looks at a reader that says it is with the bank although we must know.
_MOST_LOOKS: Final = 12
#: Steps that one look takes at most.
_MOST_STEPS: Final = 8

LOST_WORDS: Final = (
    "{reader} lost its connection before it told the outcome. Stripe was asked: nothing was charged, "
    "and this attempt can no longer go through."
)
SILENT_WORDS: Final = (
    "{reader} did not answer. Stripe was asked: nothing was charged, and this attempt can no longer go "
    "through."
)
GONE_WORDS: Final = (
    "{reader} no longer had the payment. Stripe was asked: nothing was charged, and this attempt can "
    "no longer go through."
)
NO_CARD_WORDS: Final = "No card was presented on {reader}. Nothing was charged."
CUSTOMER_WORDS: Final = "The customer canceled on {reader}. Nothing was charged."
STOPPED_WORDS: Final = "Stopped before a card was read. Nothing was charged."
NOT_BEGUN_WORDS: Final = "Stripe could not be reached. Nothing was charged; try again."
CONSENT_WORDS: Final = (
    "The customer agreed at the reader that this card is kept for later payments."
)
CAPTURE_WORDS: Final = (
    "The money is held but could not be taken yet: {told} "
    "It is not paid. Capture it before it lapses."
)


class Step(StrEnum):
    """How far a sale is."""

    CREATE = "create"
    PROCESS = "process"
    WATCH = "watch"
    RESCUE = "rescue"
    """The reader cannot be relied on: make sure that nothing can be charged any more."""
    CAPTURE = "capture"
    CLEAR = "clear"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudReaderWish:
    """A sale on a reader of the processor: of a new ``Order``, or ``Again``."""

    order: Order | Again
    reader_id: str
    customer_may_cancel: bool = True
    ask_tip: bool = False
    """Let the reader ask for a tip, on top of the amount."""
    tip_eligible_minor: int | None = None
    """What of the amount tips are counted on."""
    save_card: bool = False
    """Keep the card with the customer, who agreed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after a while: at ``then``, else at the same step. ``again`` counts as a try without an answer."""

    seconds: float
    again: bool = False
    then: Step | None = None


#: What a step leads to: another one at once, or a pause.
Next: TypeAlias = Step | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A sale, its payment and its reader, as one statement reads them."""

    attempt_id: str
    merchant_id: str
    payment_id: str
    step: Step
    customer_may_cancel: bool
    skip_tipping: bool
    tip_eligible_minor: int | None
    save_card: bool
    tries: int
    looks: int
    seen_at: datetime | None
    cancel_asked_at: datetime | None
    look_at: datetime | None
    leased_until: datetime | None
    created_at: datetime
    attempt_state: AttemptState
    started_by: str
    payment_state: PaymentState
    intent_id: str | None
    amount_minor: int
    currency: str
    reference: str
    capture_later: bool
    customer_id: str | None
    reader_id: str | None
    """Ours, ``rd_…``; None for a phone."""
    processor_reader_id: str | None
    """``tmr_…``"""
    reader_name: str | None
    shows_cart: bool | None
    country: str | None
    """Of the account."""

    @property
    def is_open(self) -> bool:
        """Whether the outcome is still to come."""
        return self.attempt_state.is_open

    @property
    def is_held(self) -> bool:
        """Whether the money is held and is still to be taken."""
        return self.attempt_state is AttemptState.AUTHORIZED and not self.capture_later

    @property
    def amount(self) -> Money:
        """What is asked."""
        return Money(self.amount_minor, self.currency)

    def age(self, now: datetime) -> timedelta:
        """How long the reader has had it, or we."""
        return now - (self.seen_at or self.created_at)


class _RefundThere(Exception):
    """The reader has a refund; what was begun is undone."""


class ReaderAuthorizing(Conflict):
    """The card is with the bank."""

    code = "reader_authorizing"
    retryable = True
    message = (
        "The card is being authorised on {reader} right now, which cannot be stopped. "
        "Wait for the outcome; it comes within seconds."
    )


_TASK_NAMES: Final = (
    "attempt_id", "merchant_id", "payment_id", "step", "customer_may_cancel", "skip_tipping",
    "tip_eligible_minor", "save_card", "tries", "looks", "seen_at", "cancel_asked_at", "look_at",
    "leased_until", "created_at",
)  # fmt: skip
_TASK: Final = (
    select(
        *(READER_TASKS.c[name] for name in _TASK_NAMES),
        ATTEMPTS.c.state.label("attempt_state"),
        ATTEMPTS.c.started_by,
        PAYMENTS.c.state.label("payment_state"),
        PAYMENTS.c.processor_id.label("intent_id"),
        PAYMENTS.c.amount_minor,
        PAYMENTS.c.currency,
        PAYMENTS.c.reference,
        PAYMENTS.c.capture_later,
        PAYMENTS.c.customer_id,
        READER_TASKS.c.cloud_reader_id.label("reader_id"),
        CLOUD_READERS.c.processor_id.label("processor_reader_id"),
        CLOUD_READERS.c.name.label("reader_name"),
        CLOUD_READERS.c.shows_cart,
        ACCOUNTS.c.country,
    )
    .select_from(READER_TASKS)
    .join(ATTEMPTS, ATTEMPTS.c.id == READER_TASKS.c.attempt_id)
    .join(PAYMENTS, PAYMENTS.c.id == READER_TASKS.c.payment_id)
    .outerjoin(CLOUD_READERS, CLOUD_READERS.c.id == READER_TASKS.c.cloud_reader_id)
    .outerjoin(ACCOUNTS, ACCOUNTS.c.merchant_id == READER_TASKS.c.merchant_id)
    .where(READER_TASKS.c.attempt_id == bindparam("attempt"))
)
_DUE: Final = (
    select(READER_TASKS.c.attempt_id)
    .where(
        READER_TASKS.c.look_at.is_not(None),
        READER_TASKS.c.look_at <= bindparam("now", type_=UtcDateTime),
        or_(
            READER_TASKS.c.leased_until.is_(None),
            READER_TASKS.c.leased_until <= bindparam("now", type_=UtcDateTime),
        ),
    )
    .order_by(READER_TASKS.c.look_at)
    .limit(bindparam("most"))
)
_ON_READER: Final = (
    select(READER_TASKS.c.attempt_id)
    .join(CLOUD_READERS, CLOUD_READERS.c.id == READER_TASKS.c.cloud_reader_id)
    .where(
        CLOUD_READERS.c.merchant_id == bindparam("merchant"),
        CLOUD_READERS.c.processor_id == bindparam("reader"),
        READER_TASKS.c.look_at.is_not(None),
    )
    .order_by(READER_TASKS.c.created_at.desc())
    .limit(1)
)
_UNDECIDED: Final = frozenset({"requires_payment_method", "requires_confirmation"})
_AFTERWARDS: Final = frozenset({Step.CAPTURE, Step.CLEAR, Step.OVER})
_BUSY: Final = "terminal_reader_busy"


class ReaderDesk:
    """Starts sales on readers and phones, and brings each to its end. ``parts.get(ReaderDesk)``."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @property
    def office(self) -> Office:
        """What it works with."""
        return self._office

    # --- what people do

    def start(self, caller: Caller, wish: CloudReaderWish) -> PaymentView:
        """Begin a sale; the answer is how it stands once the reader has it, or has refused it.

        That a reader refuses is no exception: the attempt is then ``failed`` with a sentence. Another reader takes the
        same payment over with ``Again``. Raises what the desk's ``charge`` raises, NotFound, CloudReaderHeld,
        CloudReaderDrivenElsewhere.
        """
        with self._office.reading() as db:
            reader = cloud_readers.reader(db, caller.scope, wish.reader_id)
        if reader.removed_at is not None:
            raise NotFound("reader", wish.reader_id)
        if reader.is_driven_by_app:
            raise CloudReaderDrivenElsewhere(reader=reader.name, model=reader.model)
        self._leave_other_reader(caller, wish, reader)
        begun = self._begin(caller, wish, reader)
        if begun.is_new:
            self.look(begun.attempt_id, mine=True)
        return self._view(caller, begun.payment.id)

    def cancel(self, caller: Caller, payment_id: str) -> PaymentView:
        """Stop the sale that a reader or phone has; the answer says who was quicker, the card or the cashier.

        Raises NotFound, and ``reader_authorizing`` while the card is with the bank.
        """
        caller.must(Permission.PAYMENT_CHARGE_CREATE)
        view = self._view(caller, payment_id)
        if view.attempt is None or not view.attempt.state.is_open:
            return view
        task = self._task(view.attempt.id)
        if task is None:
            return view
        with self._office.writing() as db:
            asked = update(READER_TASKS).where(
                READER_TASKS.c.attempt_id == task.attempt_id,
                READER_TASKS.c.cancel_asked_at.is_(None),
            )
            if changed(db, asked.values(cancel_asked_at=self._office.clock.now())):
                timeline.add(
                    db, task.merchant_id, payment_id, MomentKind.CANCEL_ASKED,
                    attempt_id=task.attempt_id, actor_name=caller.name,
                )  # fmt: skip
        self.look(task.attempt_id)
        view = self._view(caller, payment_id)
        if view.attempt is not None and view.attempt.state.is_open:
            left = self._task(task.attempt_id)
            if left is not None and left.cancel_asked_at is None:
                raise ReaderAuthorizing(reader=task.reader_name or "–", payment_id=payment_id)
        return view

    # --- by itself

    def due(self, *, limit: int = 20) -> list[str]:
        """Attempts that somebody should look at now."""
        with self._office.reading() as db:
            rows = db.execute(_DUE, {"now": self._office.clock.now(), "most": limit})
            return list(rows.scalars())

    def look(self, attempt_id: str, *, mine: bool = False) -> None:
        """Take steps until there is nothing to do at once. Returns at once when another process is at it.

        ``mine``: the lease on it is ours already.
        """
        for _ in range(_MOST_STEPS):
            task = self._claim(attempt_id, mine=mine)
            if task is None:
                return
            mine = True
            following = self._take_step(task)
            if not self._write_down(task, following) or following is Step.OVER:
                return
            if isinstance(following, Wait):
                return

    def hear(self, merchant_id: str, reader_id: str) -> None:
        """The processor says that a reader (``tmr_…``) did something: look at the sale that it has."""
        with self._office.reading() as db:
            attempt_id = db.execute(
                _ON_READER, {"reader": reader_id, "merchant": merchant_id}
            ).scalar()
        if attempt_id is not None:
            self.look(str(attempt_id))

    # --- one step

    def _take_step(self, task: Task) -> Next:
        if not task.is_open and task.step not in _AFTERWARDS:
            # The outcome came another way: a webhook, a sweep, somebody who asked.
            return Step.CAPTURE if task.is_held else Step.CLEAR
        try:
            processor = self._office.processors.of(task.merchant_id)
            match task.step:
                case Step.CREATE:
                    return self._create(processor, task)
                case Step.PROCESS:
                    return self._process(processor, task)
                case Step.WATCH:
                    return self._watch(processor, task)
                case Step.RESCUE:
                    return self._rescue(processor, task)
                case Step.CAPTURE:
                    return self._capture(processor, task)
                case Step.CLEAR:
                    return self._clear(processor, task)
                case Step.OVER:
                    return Step.OVER
        except (NotReached, AnswerUnknown, NotConnected) as failure:
            log.warning(
                "reader_step_late",
                attempt_id=task.attempt_id,
                step=task.step.value,
                reason=str(failure),
            )
            return _pause(task)

    def _create(self, processor: Processor, task: Task) -> Next:
        """The intent: nothing can be charged with it before a reader or phone has it."""
        if task.cancel_asked_at is not None:
            return self._end(task, AttemptState.CANCELED, "customer_canceled", STOPPED_WORDS)
        try:
            if task.intent_id is None:
                intent = processor.create_payment(
                    self._new_intent(processor, task), key=f"{task.attempt_id}:create"
                )
            else:
                intent = processor.update_payment(
                    task.intent_id,
                    amount=task.amount,
                    methods=_methods(task),
                    capture="manual",
                    metadata=_metadata(task),
                    key=f"{task.attempt_id}:update",
                )
        except UnexpectedState:
            return Step.WATCH
        except Declined as declined:
            return self._end(task, AttemptState.FAILED, declined.decline.code, str(declined))
        except Refused as refused:
            return self._end(
                task, AttemptState.FAILED, refused.code or "not_processed", str(refused)
            )
        except (NotReached, AnswerUnknown):
            if task.tries + 1 >= _MOST_TRIES:
                return self._end(task, AttemptState.FAILED, "not_reached", NOT_BEGUN_WORDS)
            return Wait(_FIRST_LOOK_S, again=True)
        with self._office.writing() as db:
            db.execute(
                update(PAYMENTS)
                .where(
                    PAYMENTS.c.id == task.payment_id,
                    PAYMENTS.c.processor_id.is_(None)
                    if task.intent_id is None
                    else PAYMENTS.c.processor_id == task.intent_id,
                )
                .values(processor_id=intent.id, livemode=intent.livemode)
            )
            if task.reader_id is None:
                settle.set_attempt(db, task.attempt_id, state=AttemptState.SENT)
        return Step.WATCH if task.reader_id is None else Step.PROCESS

    def _process(self, processor: Processor, task: Task) -> Next:
        """Hand the intent to the reader. It is the same intent at each try, so two of them charge once at most."""
        intent_id, reader_id = _given(task)
        if task.tries > 0:
            # The last try was not answered; perhaps the reader got it all the same.
            if processor.read_payment(intent_id).status not in _UNDECIDED:
                return Step.WATCH
            if _has_it(self._look_at(processor, task), intent_id):
                return self._handed_over(task)
        if task.cancel_asked_at is not None:
            return (
                Step.RESCUE
                if task.tries
                else self._end(task, AttemptState.CANCELED, "customer_canceled", STOPPED_WORDS)
            )
        how = ReaderPayment(
            customer_may_cancel=task.customer_may_cancel,
            skip_tipping=task.skip_tipping,
            tip_eligible_minor=task.tip_eligible_minor,
        )
        try:
            told = processor.process_on_reader(reader_id, intent_id, how, key=_process_key(task))
        except UnexpectedState:
            return Step.WATCH
        except (NotReached, AnswerUnknown):
            if task.tries + 1 >= _MOST_TRIES:
                return Step.RESCUE
            return Wait(_FIRST_LOOK_S * (task.tries + 1), again=True)
        except Declined as declined:
            return self._end(task, AttemptState.FAILED, declined.decline.code, str(declined))
        except Refused as refused:
            if task.tries > 0 and _has_it(self._look_at(processor, task), intent_id):
                return self._handed_over(task)
            words = f"{task.reader_name}: {words_of_refusal(refused)}"
            return self._end(task, AttemptState.FAILED, refused.code or "not_processed", words)
        with self._office.writing() as db:
            self._note_reader(db, task, told)
        return self._handed_over(task)

    def _handed_over(self, task: Task) -> Next:
        with self._office.writing() as db:
            if task.attempt_state is not AttemptState.SENT:
                settle.set_attempt(db, task.attempt_id, state=AttemptState.SENT)
                timeline.add(
                    db, task.merchant_id, task.payment_id, MomentKind.READER_ASKED,
                    attempt_id=task.attempt_id, facts={"reader": task.reader_name or ""},
                )  # fmt: skip
            db.execute(_set_task(task.attempt_id, seen_at=self._office.clock.now()))
        return Wait(_FIRST_LOOK_S, then=Step.WATCH)

    def _watch(self, processor: Processor, task: Task) -> Next:
        """The intent decides; the reader only says how far it is, and why not."""
        if task.intent_id is None:
            return Step.CREATE
        snapshot = processor.read_payment(task.intent_id)
        if snapshot.status not in _UNDECIDED or self._was_refused(task, snapshot):
            return self._decided(task, snapshot)
        if task.reader_id is None:
            return self._watch_phone(task)
        told = self._look_at(processor, task)
        action = told.action if _is_of(told.action, task.intent_id) else None
        if action is not None and action.status == "failed":
            return self._reader_failed(processor, task, action)
        if action is not None and action.status == "in_progress":
            if task.cancel_asked_at is not None:
                return self._stop(processor, task, told)
            if self._is_silent(told) or task.age(self._office.clock.now()) > _CARD_WAIT:
                return Step.RESCUE if task.tries >= _PATIENCE else Wait(_FIRST_LOOK_S, again=True)
            return _pause(task)
        if task.cancel_asked_at is not None and action is None:
            return Step.RESCUE
        # It succeeded and the intent is a moment behind; or somebody took the sale off the reader.
        return Step.RESCUE if task.tries >= _PATIENCE else Wait(_FIRST_LOOK_S, again=True)

    def _watch_phone(self, task: Task) -> Next:
        if task.cancel_asked_at is not None or task.age(self._office.clock.now()) > _PHONE_WAIT:
            return Step.RESCUE
        return _pause(task)

    def _was_refused(self, task: Task, snapshot: ProcessorPayment) -> bool:
        """Whether the intent tells of a card that was refused in this attempt, not in an earlier one."""
        charge_id = charge_of(snapshot)
        if refusal_in(snapshot) is None or charge_id is None:
            return False
        with self._office.reading() as db:
            others = queries.attempt_rows(db, task.payment_id)
        return all(one.id == task.attempt_id or one.charge_id != charge_id for one in others)

    def _decided(self, task: Task, snapshot: ProcessorPayment) -> Next:
        if snapshot.status == "requires_capture" and not task.capture_later:
            # Taken at once; what is held in between is told only if taking it fails.
            return Step.CAPTURE
        with self._office.writing() as db:
            settled = settle.apply_snapshot(db, task.merchant_id, snapshot)
        if settled is not None and snapshot.status in {"processing", "requires_action"}:
            return _pause(task)
        return Step.CLEAR

    def _reader_failed(self, processor: Processor, task: Task, action: ReaderAction) -> Next:
        code = action.failure_code or "not_processed"
        if code == "connection_error":
            # It may have charged. The intent was read before the reader, so it is read again, for a while.
            return Step.RESCUE if task.tries >= _PATIENCE else Wait(_FIRST_LOOK_S, again=True)
        if code == "customer_canceled":
            words = CUSTOMER_WORDS.format(reader=task.reader_name)
            return self._end(task, AttemptState.CANCELED, code, words)
        snapshot = processor.read_payment(str(task.intent_id))
        if snapshot.status not in _UNDECIDED or self._was_refused(task, snapshot):
            return self._decided(task, snapshot)
        decline = action.decline
        return self._end(
            task,
            AttemptState.DECLINED
            if decline is not None or code == "card_declined"
            else AttemptState.FAILED,
            decline.code if decline is not None else code,
            decline.message if decline is not None else action.failure_message or "",
            network_code=None if decline is None else decline.network_code,
        )

    def _stop(self, processor: Processor, task: Task, told: ProcessorReader) -> Next:
        try:
            processor.cancel_on_reader(told.id)
        except Refused as refused:
            if refused.code == _BUSY and not self._is_silent(told):
                # With the bank: nobody can stop it now, so nobody waits for that.
                with self._office.writing() as db:
                    db.execute(_set_task(task.attempt_id, cancel_asked_at=None))
                return _pause(task)
            return Step.RESCUE
        snapshot = processor.read_payment(str(task.intent_id))
        if snapshot.status not in _UNDECIDED or self._was_refused(task, snapshot):
            return self._decided(task, snapshot)
        return self._end(task, AttemptState.CANCELED, "customer_canceled", STOPPED_WORDS)

    def _rescue(self, processor: Processor, task: Task) -> Next:
        """Make sure that the attempt cannot take money any more, unless it did."""
        if task.intent_id is None:
            return self._end(task, AttemptState.FAILED, "not_reached", NOT_BEGUN_WORDS)
        told = None
        if task.reader_id is not None:
            told = self._look_at(processor, task)
            if _has_it(told, task.intent_id):
                try:
                    processor.cancel_on_reader(told.id)
                except Refused as refused:
                    if (
                        refused.code == _BUSY
                        and not self._is_silent(told)
                        and task.tries < _MOST_LOOKS
                    ):
                        return Wait(_LONGEST_PAUSE_S, again=True)
        try:
            snapshot = processor.cancel_payment(
                task.intent_id, reason=RELEASED, key=f"{task.attempt_id}:cancel:{task.looks}"
            )
        except UnexpectedState:
            snapshot = processor.read_payment(task.intent_id)
            if snapshot.status in _UNDECIDED:
                return _pause(task)
            return self._decided(task, snapshot)
        except Refused as refused:
            log.warning(
                "reader_intent_not_canceled", attempt_id=task.attempt_id, reason=str(refused)
            )
            return _pause(task)
        state, code, words = self._why_rescued(task, told)
        with self._office.writing() as db:
            settle.end_attempt(
                db, task.merchant_id, task.attempt_id, state, code=code, message=words
            )
            settle.apply_snapshot(db, task.merchant_id, snapshot)
        return Step.CLEAR

    def _why_rescued(
        self, task: Task, told: ProcessorReader | None
    ) -> tuple[AttemptState, str, str]:
        name = task.reader_name or ""
        if task.cancel_asked_at is not None:
            return AttemptState.CANCELED, "customer_canceled", STOPPED_WORDS
        if told is None:
            return (
                AttemptState.CANCELED,
                "customer_canceled",
                NO_CARD_WORDS.format(reader="the phone"),
            )
        action = told.action if _is_of(told.action, task.intent_id) else None
        if task.seen_at is None:
            return AttemptState.FAILED, "terminal_reader_timeout", SILENT_WORDS.format(reader=name)
        if self._is_silent(told) or (
            action is not None and action.failure_code == "connection_error"
        ):
            return AttemptState.FAILED, "connection_error", LOST_WORDS.format(reader=name)
        if action is not None and action.status == "in_progress":
            return AttemptState.CANCELED, "customer_canceled", NO_CARD_WORDS.format(reader=name)
        return AttemptState.FAILED, "connection_error", GONE_WORDS.format(reader=name)

    def _capture(self, processor: Processor, task: Task) -> Next:
        """Take the held money. Only then it is paid."""
        if task.intent_id is None or task.capture_later:
            return Step.CLEAR
        try:
            # A 500 stays the answer to its key, and a capture is never done twice: each try has a key of its own.
            key = f"{task.attempt_id}:capture:{task.tries}"
            snapshot = processor.capture(task.intent_id, key=key)
        except UnexpectedState:
            snapshot = processor.read_payment(task.intent_id)
        except (NotReached, AnswerUnknown) as late:
            self._hold(processor, task, str(late))
            return Wait(min(2.0**task.tries, 300.0), again=True)
        except (Declined, Refused) as refused:
            self._hold(processor, task, str(refused))
            return Step.CLEAR
        with self._office.writing() as db:
            settle.apply_snapshot(db, task.merchant_id, snapshot)
        return Step.CLEAR

    def _hold(self, processor: Processor, task: Task, why: str) -> None:
        """Tell that the money is held and not taken yet."""
        snapshot = processor.read_payment(str(task.intent_id))
        words = CAPTURE_WORDS.format(told=redact_card_numbers(why).rstrip(".") + ".")
        with self._office.writing() as db:
            settle.apply_snapshot(db, task.merchant_id, snapshot)
            db.execute(
                update(PAYMENTS)
                .where(
                    PAYMENTS.c.id == task.payment_id, PAYMENTS.c.state == PaymentState.AUTHORIZED
                )
                .values(explanation=words[:2000])
            )

    def _clear(self, processor: Processor, task: Task) -> Next:
        """Take a cart off the screen, and keep the card if that was wished. Neither may fail the sale."""
        if task.shows_cart and task.processor_reader_id is not None:
            try:
                processor.cancel_on_reader(task.processor_reader_id)
            except ProcessorError as refused:
                log.warning("reader_not_cleared", reader_id=task.reader_id, reason=str(refused))
            else:
                with self._office.writing() as db:
                    db.execute(
                        update(CLOUD_READERS)
                        .where(CLOUD_READERS.c.id == task.reader_id)
                        .values(shows_cart=False)
                    )
        if task.save_card and task.customer_id is not None:
            self._keep_card(processor, task)
        return Step.OVER

    # --- rows

    def _begin(self, caller: Caller, wish: CloudReaderWish, reader: CloudReaderView) -> Begun:
        """Write down payment, attempt and task; what the same form began before is found again."""
        caller.must(Permission.PAYMENT_CHARGE_CREATE)
        self._office.processors.of(caller.merchant_id)
        if isinstance(wish.order, Again):
            make_way(self._office, caller, wish.order)
        how = Try(
            method=AttemptMethod.READER, state=AttemptState.CREATED, cloud_reader_id=reader.id
        )
        try:
            with self._office.writing() as db:
                order = at_reader(wish.order, reader.location_id)
                begun = begin(db, caller, order, how, settings_of(db, caller.merchant_id))
                if begun.is_new:
                    _refuse_refunding(db, caller.merchant_id, reader.id)
                    add_task(
                        db,
                        begun,
                        reader_id=reader.id,
                        customer_may_cancel=wish.customer_may_cancel,
                        skip_tipping=not wish.ask_tip,
                        tip_eligible_minor=wish.tip_eligible_minor,
                        save_card=wish.save_card,
                    )
        except (AttemptRunning, IntegrityError, _RefundThere):
            # Two who want one reader at the same moment: the second finds its open attempt in the way.
            with self._office.reading() as db:
                holder = cloud_readers.reader(db, caller.scope, reader.id).held_by
            if holder is None or (
                isinstance(wish.order, Again) and holder == wish.order.payment_id
            ):
                raise
            raise CloudReaderHeld(
                reader=reader.name, reader_id=reader.id, payment_id=holder
            ) from None
        return begun

    def _leave_other_reader(
        self, caller: Caller, wish: CloudReaderWish, reader: CloudReaderView
    ) -> None:
        """A payment that another reader or phone has is taken from there first, so that it never is on two."""
        if not isinstance(wish.order, Again) or reader.held_by is not None:
            return
        with self._office.reading() as db:
            running = queries.open_attempt(queries.attempt_rows(db, wish.order.payment_id))
        if running is not None and self._task(running.id) is not None:
            self.cancel(caller, wish.order.payment_id)

    def _end(
        self,
        task: Task,
        state: AttemptState,
        code: str,
        words: str,
        *,
        network_code: str | None = None,
    ) -> Next:
        with self._office.writing() as db:
            settle.end_attempt(
                db,
                task.merchant_id,
                task.attempt_id,
                state,
                code=code[:80],
                message=redact_card_numbers(words),
                network_code=network_code,
            )
        return Step.CLEAR

    def _new_intent(self, processor: Processor, task: Task) -> NewIntent:
        customer_id = self._customer_of(processor, task) if task.save_card else None
        return NewIntent(
            amount=task.amount,
            methods=_methods(task),
            metadata=_metadata(task),
            capture="manual",
            customer_id=customer_id,
            description=task.reference,
            save_for="off_session" if customer_id is not None else None,
            ask_incremental=task.capture_later,
        )

    def _customer_of(self, processor: Processor, task: Task) -> str | None:
        """The processor's id of the customer, who is made known there first when need be."""
        if task.customer_id is None:
            return None
        everyone = Scope(merchant_id=task.merchant_id)
        with self._office.reading() as db:
            customer = customer_queries.customer(db, everyone, task.customer_id)
        if customer is None or customer.processor_id is not None:
            return None if customer is None else str(customer.processor_id)
        made = processor.save_customer(
            None,
            name=customer.name or customer.company,
            email=customer.email,
            phone=customer.phone,
            metadata={"customer": task.customer_id},
            key=f"{task.customer_id}:create",
        )
        with self._office.writing() as db:
            return customers.link_processor(db, task.merchant_id, task.customer_id, made.id)

    def _keep_card(self, processor: Processor, task: Task) -> None:
        """Save the card that the reader read, when the sale went through and the card can be kept."""
        if task.intent_id is None or task.customer_id is None:
            return
        try:
            charge = processor.read_payment(task.intent_id).charge
            if (
                charge is None
                or charge.status != "succeeded"
                or not charge.instrument.generated_card
            ):
                return
            card = processor.read_instrument(charge.instrument.generated_card)
        except ProcessorError as failure:
            log.warning("card_not_kept", attempt_id=task.attempt_id, reason=str(failure))
            return
        actor = Actor(kind=ActorKind.USER, id=task.started_by, name=task.started_by)
        with self._office.writing() as db:
            methods.save_method(
                db,
                task.merchant_id,
                actor,
                task.customer_id,
                Kept(
                    kind=MethodKind.CARD,
                    processor_id=charge.instrument.generated_card,
                    last4=card.last4 or charge.instrument.last4 or "",
                    brand=card.brand or charge.instrument.brand or "",
                    exp_month=card.exp_month,
                    exp_year=card.exp_year,
                    fingerprint=card.fingerprint or "",
                    funding=card.funding or "",
                ),
                Consent(text=CONSENT_WORDS, how=ConsentHow.IN_PERSON),
            )

    def _look_at(self, processor: Processor, task: Task) -> ProcessorReader:
        told = processor.read_reader(str(task.processor_reader_id))
        with self._office.writing() as db:
            self._note_reader(db, task, told)
        return told

    def _note_reader(self, db: Transaction, task: Task, told: ProcessorReader) -> None:
        known = cloud_readers.reader_by_processor_id(db, task.merchant_id, told.id)
        if known is not None:
            cloud_readers.note(db, known, told)

    def _is_silent(self, told: ProcessorReader) -> bool:
        return cloud_readers.is_silent(told, self._office.clock.now())

    def _view(self, caller: Caller, payment_id: str) -> PaymentView:
        with self._office.reading() as db:
            return queries.payment(db, caller.scope, payment_id)

    def _task(self, attempt_id: str) -> Task | None:
        with self._office.reading() as db:
            row = db.execute(_TASK, {"attempt": attempt_id}).one_or_none()
        if row is None:
            return None
        return Task(**{**row._mapping, "step": Step(row.step)})  # noqa: SLF001 - Row's public name for a mapping

    def _claim(self, attempt_id: str, *, mine: bool) -> Task | None:
        """The task with a fresh lease on it; None when it is over, or somebody else is at it."""
        task = self._task(attempt_id)
        if task is None or task.look_at is None:
            return None
        now = self._office.clock.now()
        if not mine and task.leased_until is not None and task.leased_until > now:
            return None
        with self._office.writing() as db:
            claimed = update(READER_TASKS).where(
                READER_TASKS.c.attempt_id == attempt_id,
                READER_TASKS.c.looks == task.looks,
                READER_TASKS.c.look_at.is_not(None),
            )
            if not changed(db, claimed.values(looks=task.looks + 1, leased_until=now + LEASE)):
                return None
        return replace(task, looks=task.looks + 1)

    def _write_down(self, task: Task, following: Next) -> bool:
        """False when another process has taken the task over meanwhile."""
        now = self._office.clock.now()
        match following:
            case Wait(seconds=seconds, again=again, then=then):
                values: dict[str, Any] = {
                    "step": (then or task.step).value,
                    "tries": task.tries + 1 if again else 0,
                    "look_at": now + timedelta(seconds=seconds),
                    "leased_until": None,
                }
            case Step.OVER:
                values = {"step": Step.OVER.value, "look_at": None, "leased_until": None}
            case _:
                values = {"step": following.value, "tries": 0, "look_at": now}
        with self._office.writing() as db:
            mine = update(READER_TASKS).where(
                READER_TASKS.c.attempt_id == task.attempt_id, READER_TASKS.c.looks == task.looks
            )
            return changed(db, mine.values(**values)) == 1


def add_task(
    db: Transaction,
    begun: Begun,
    *,
    reader_id: str | None,
    customer_may_cancel: bool = True,
    skip_tipping: bool = True,
    tip_eligible_minor: int | None = None,
    save_card: bool = False,
) -> None:
    """Let an attempt that was just written down be driven; the lease on it is the writer's."""
    now = context_of(db).clock.now()
    db.execute(
        insert(READER_TASKS).values(
            attempt_id=begun.attempt_id,
            merchant_id=begun.payment.merchant_id,
            payment_id=begun.payment.id,
            cloud_reader_id=reader_id,
            step=Step.CREATE.value,
            customer_may_cancel=customer_may_cancel,
            skip_tipping=skip_tipping,
            tip_eligible_minor=tip_eligible_minor,
            save_card=save_card,
            tries=0,
            looks=0,
            look_at=now,
            leased_until=now + LEASE,
            created_at=now,
        )
    )


def _refuse_refunding(db: Transaction, merchant_id: str, reader_id: str) -> None:
    if reader_refunds.on_reader(db, merchant_id, reader_id, lock=True) is not None:
        raise _RefundThere


def _pause(task: Task) -> Wait:
    """A second at first, growing to five; spread, so that many sales do not ask at once."""
    seconds = min(_FIRST_LOOK_S + _GROWTH_S * max(0, task.looks - 3), _LONGEST_PAUSE_S)
    return Wait(seconds * random.uniform(0.9, 1.0))  # noqa: S311 - spreads load, hides nothing


def _methods(task: Task) -> tuple[str, ...]:
    """Canada's debit cards are a method of their own."""
    if task.country == "CA" and task.currency == "CAD":
        return ("card_present", "interac_present")
    return ("card_present",)


def _metadata(task: Task) -> Mapping[str, str]:
    facts = {"payment": task.payment_id, "attempt": task.attempt_id}
    return {**facts, "order": task.reference} if task.reference else facts


def _process_key(task: Task) -> str:
    """After a try without an answer the first key would only repeat that there was none."""
    return f"{task.attempt_id}:process" + (f":{task.tries}" if task.tries else "")


def _given(task: Task) -> tuple[str, str]:
    if task.intent_id is None or task.processor_reader_id is None:
        raise LookupError(f"{task.attempt_id} has no intent or no reader")
    return task.intent_id, task.processor_reader_id


def _is_of(action: ReaderAction | None, intent_id: str | None) -> TypeGuard[ReaderAction]:
    return action is not None and action.payment_id == intent_id


def _has_it(told: ProcessorReader, intent_id: str) -> bool:
    """Whether the reader works on the intent right now."""
    return _is_of(told.action, intent_id) and told.action.status == "in_progress"


def _set_task(attempt_id: str, **values: Any) -> Update:
    return update(READER_TASKS).where(READER_TASKS.c.attempt_id == attempt_id).values(**values)
