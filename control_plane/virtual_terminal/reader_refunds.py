"""Refunds for which the customer presents the card again, on a reader of the processor.

The row is written before the reader is asked, and it is asked once: no look ever asks again. So there never are two,
whatever was lost. What decides is the processor's list of the payment's refunds; the reader only says how far it is,
and why not. While neither tells, the refund is ``unknown``, its money counts as gone, and it is looked at again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import bindparam, or_, select, update

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.columns import UtcDateTime
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import changed
from control_plane.errors import NotFound
from control_plane.virtual_terminal import cloud_readers, queries, settle, timeline
from control_plane.virtual_terminal.cloud_readers import CloudReaderView
from control_plane.virtual_terminal.errors import (
    CloudReaderDrivenElsewhere,
    CloudReaderHeld,
    NotConnected,
    RefundAuthorizing,
    RefundDecided,
)
from control_plane.virtual_terminal.lifecycle import RefundState
from control_plane.virtual_terminal.looks import CALL_OVER, SURELY_GONE
from control_plane.virtual_terminal.models import CLOUD_READERS, REFUNDS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Declined,
    NotReached,
    Processor,
    ProcessorError,
    ProcessorReader,
    ReaderAction,
    ReaderRefused,
    Refused,
)
from control_plane.virtual_terminal.queries import Found
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.virtual_terminal.views import RefundView
from protocols.readers.emv import redact_card_numbers

log = structlog.get_logger()

#: How long one look, or the one call, keeps others away: longer than its calls can take.
_LEASE: Final = 2 * CALL_OVER
#: Nobody holds a card for so long.
_CARD_WAIT: Final = timedelta(minutes=5)
_SOON: Final = timedelta(seconds=1)
_SLOW: Final = timedelta(seconds=5)
_RARE: Final = timedelta(minutes=1)
_KIND: Final = "refund_payment"
_BUSY: Final = "terminal_reader_busy"

#: Why a refund ended, besides the processor's own codes; ``declines.explain_refund`` has the words.
CUSTOMER_CANCELED: Final = "customer_canceled"
STOPPED: Final = "reader_stopped"
NO_CARD: Final = "reader_no_card"
GONE: Final = "reader_gone"
LOST: Final = "connection_error"

_HOLDING: Final = sorted(state for state in RefundState if state.holds_reader)
_LOCK_READER: Final = (
    select(CLOUD_READERS.c.id).where(CLOUD_READERS.c.id == bindparam("reader")).with_for_update()
)
_CLAIM: Final = update(REFUNDS).where(
    REFUNDS.c.id == bindparam("refund"),
    REFUNDS.c.state.in_(_HOLDING),
    or_(
        REFUNDS.c.leased_until.is_(None),
        REFUNDS.c.leased_until <= bindparam("now", type_=UtcDateTime),
    ),
)
_DUE: Final = (
    select(REFUNDS.c.id, REFUNDS.c.merchant_id)
    .where(
        REFUNDS.c.cloud_reader_id.is_not(None),
        REFUNDS.c.state.in_(_HOLDING),
        REFUNDS.c.look_again_at <= bindparam("now", type_=UtcDateTime),
        or_(
            REFUNDS.c.leased_until.is_(None),
            REFUNDS.c.leased_until <= bindparam("now", type_=UtcDateTime),
        ),
    )
    .order_by(REFUNDS.c.look_again_at)
    .limit(bindparam("most"))
)
_ON_READER: Final = (
    select(REFUNDS.c.id)
    .join(CLOUD_READERS, CLOUD_READERS.c.id == REFUNDS.c.cloud_reader_id)
    .where(
        REFUNDS.c.merchant_id == bindparam("merchant"),
        REFUNDS.c.state.in_(_HOLDING),
        or_(
            CLOUD_READERS.c.id == bindparam("reader"),
            CLOUD_READERS.c.processor_id == bindparam("reader"),
        ),
    )
    .limit(1)
)


def reader_for(
    db: Transaction, scope: Scope, reader_id: str, *, must_be_free: bool = True
) -> CloudReaderView:
    """The reader, held until the transaction ends, so that two who want it meet here.

    Raises NotFound, CloudReaderDrivenElsewhere, CloudReaderHeld.
    """
    db.execute(_LOCK_READER, {"reader": reader_id})
    found = cloud_readers.reader(db, scope, reader_id)
    if found.removed_at is not None:
        raise NotFound("reader", reader_id)
    if found.is_driven_by_app:
        raise CloudReaderDrivenElsewhere(reader=found.name, model=found.model)
    if must_be_free and found.held_by is not None:
        raise CloudReaderHeld(reader=found.name, reader_id=found.id, payment_id=found.held_by)
    return found


def on_reader(
    db: Transaction, merchant_id: str, reader_id: str, *, lock: bool = False
) -> str | None:
    """The refund that a reader (``rd_…`` or ``tmr_…``) has now; ``lock``: none begins before the transaction ends."""
    if lock:
        db.execute(_LOCK_READER, {"reader": reader_id})
    found = db.execute(_ON_READER, {"merchant": merchant_id, "reader": reader_id}).scalar()
    return None if found is None else str(found)


def lease(now: datetime) -> datetime:
    """Until when nobody else looks at a refund that is being handed to its reader."""
    return now + _LEASE


def ask(office: Office, merchant_id: str, refund_id: str) -> None:
    """The one call to the reader, of a refund whose lease is the caller's, and what came of it."""
    pause = _SLOW
    try:
        found = _read(office, merchant_id, refund_id)
        if found is not None:
            pause = _Turn(office, *found).ask()
    finally:
        _release(office, refund_id, pause)


def cancel(office: Office, caller: Caller, refund_id: str) -> RefundView:
    """See ``Desk.cancel_refund``."""
    caller.must(Permission.PAYMENT_REFUND_CREATE)
    with office.writing() as db:
        view = queries.refund(db, caller.scope, refund_id)
        if view.reader_id is None or not view.state.holds_reader:
            raise RefundDecided(refund_id=refund_id, state=view.state.value.replace("_", " "))
        asked = update(REFUNDS).where(
            REFUNDS.c.id == refund_id, REFUNDS.c.cancel_asked_at.is_(None)
        )
        if changed(db, asked.values(cancel_asked_at=office.clock.now())):
            timeline.add(
                db, caller.merchant_id, view.payment_id, MomentKind.CANCEL_ASKED,
                actor_name=caller.name,
            )  # fmt: skip
    look(office, caller.merchant_id, refund_id)
    with office.reading() as db:
        row = queries.refund_row(db, caller.merchant_id, refund_id)
        view = queries.refund(db, caller.scope, refund_id)
    if row is not None and row.state.holds_reader and row.cancel_asked_at is None:
        raise RefundAuthorizing(refund_id=refund_id)
    return view


def due(office: Office, *, limit: int) -> list[tuple[str, str]]:
    """Merchant and id of the refunds that somebody should look at now."""
    with office.reading() as db:
        rows = db.execute(_DUE, {"now": office.clock.now(), "most": limit})
        return [(row.merchant_id, row.id) for row in rows]


def hear(office: Office, merchant_id: str, reader_id: str) -> None:
    """The processor says that a reader (``tmr_…``) did something: look at the refund that it has."""
    with office.reading() as db:
        refund_id = on_reader(db, merchant_id, reader_id)
    if refund_id is not None:
        look(office, merchant_id, refund_id)


def look(office: Office, merchant_id: str, refund_id: str) -> None:
    """See how far the refund is. Nothing happens when it is over, or while somebody else is at it."""
    now = office.clock.now()
    with office.writing() as db:
        if not changed(
            db, _CLAIM.values(leased_until=lease(now)), {"refund": refund_id, "now": now}
        ):
            return
    pause = _SLOW
    try:
        found = _read(office, merchant_id, refund_id)
        if found is not None:
            pause = _Turn(office, *found).look()
    except (ProcessorError, NotConnected) as silent:
        log.info("refund_not_read", refund_id=refund_id, reason=type(silent).__name__)
    finally:
        _release(office, refund_id, pause)


def _read(
    office: Office, merchant_id: str, refund_id: str
) -> tuple[Found, Found, CloudReaderView] | None:
    with office.reading() as db:
        row = queries.refund_row(db, merchant_id, refund_id)
        payment = None if row is None else queries.read_row(db, merchant_id, row.payment_id)
        if row is None or payment is None or not row.state.holds_reader:
            return None
        everywhere = Scope(merchant_id=merchant_id)
        return row, payment, cloud_readers.reader(db, everywhere, row.cloud_reader_id)


def _release(office: Office, refund_id: str, pause: timedelta) -> None:
    with office.writing() as db:
        mine = update(REFUNDS).where(REFUNDS.c.id == refund_id)
        db.execute(mine.values(leased_until=None))
        db.execute(
            mine.where(REFUNDS.c.state.in_(_HOLDING)).values(
                look_again_at=office.clock.now() + pause
            )
        )


class _Turn:
    """One turn of whoever has the lease. Each method answers when to look again; unused once the refund is over."""

    def __init__(self, office: Office, row: Found, payment: Found, reader: CloudReaderView) -> None:
        self._office = office
        self._row = row
        self._payment = payment
        self._reader = reader
        self._merchant_id: str = row.merchant_id

    def ask(self) -> timedelta:
        """Give it to the reader."""
        row, payment, reader = self._row, self._payment, self._reader
        try:
            processor = self._office.processors.of(self._merchant_id)
            told = processor.refund_on_reader(
                reader.processor_id,
                payment_id=payment.processor_id,
                amount_minor=row.amount_minor,
                metadata={"refund": row.id, "payment": payment.id},
                key=f"{row.id}:refund",
            )
        except ReaderRefused as refused:
            return self._end(refused.code)
        except (Declined, Refused, NotReached, NotConnected) as failure:
            return self._end(str(failure))
        except AnswerUnknown:
            # Perhaps the reader got it all the same.
            return self._lose(_SOON)
        return self._at_reader(told)

    def look(self) -> timedelta:
        """Ask the processor, and settle it by what it says."""
        processor = self._office.processors.of(self._merchant_id)
        # The reader first: what it has ended is then among the refunds.
        told, action = None, None
        try:
            told = processor.read_reader(self._reader.processor_id)
        except Refused as refused:
            log.info("reader_not_read", reader_id=self._reader.id, reason=refused.code)
        if told is not None:
            self._note(told)
            action = _of(told.action, self._row.id)
        if self._is_told(processor, action):
            return _SLOW
        if told is None or action is None:
            return self._not_there()
        if action.status == "succeeded":
            return self._lose(_SLOW)
        if action.status == "failed":
            return self._failed(action)
        return self._running(processor, told)

    def _is_told(self, processor: Processor, action: ReaderAction | None) -> bool:
        """Whether the processor has the refund; then it is settled by that."""
        found = [
            one
            for one in processor.refunds_of(self._payment.processor_id)
            if one.metadata.get("refund") == self._row.id
        ]
        if not found and action is not None and action.refund_id is not None:
            named = processor.read_refund(action.refund_id)
            found = [replace(named, metadata={**named.metadata, "refund": self._row.id})]
        with self._office.writing() as db:
            for one in found:
                settle.apply_refund(db, self._merchant_id, one)
        return bool(found)

    def _running(self, processor: Processor, told: ProcessorReader) -> timedelta:
        now, row = self._office.clock.now(), self._row
        since = row.state_since if row.state is RefundState.AT_READER else row.created_at
        asked = row.cancel_asked_at is not None
        if not asked and now - since <= _CARD_WAIT:
            if cloud_readers.is_silent(told, now):
                return self._lose(_SLOW)
            return self._at_reader(told)
        try:
            processor.cancel_on_reader(told.id)
        except Refused as refused:
            if refused.code != _BUSY:
                return self._lose(_RARE if not asked else _SLOW)
            if asked:
                # With the bank: nobody can stop it now, so nobody waits for that.
                with self._office.writing() as db:
                    settle.set_refund(db, row.id, cancel_asked_at=None)
            return _SOON
        if self._is_told(processor, None):
            return _SLOW
        return self._end(STOPPED if asked else NO_CARD, RefundState.CANCELED)

    def _failed(self, action: ReaderAction) -> timedelta:
        code = action.failure_code or ""
        if code == LOST:
            # It may have gone through: the list of refunds is read again for a while.
            return self._end_if_surely_gone(LOST)
        if code == CUSTOMER_CANCELED:
            return self._end(CUSTOMER_CANCELED, RefundState.CANCELED)
        return self._end(code or action.failure_message or "declined")

    def _not_there(self) -> timedelta:
        """The reader has something else, or nothing: the call was lost, or somebody took the refund off it."""
        if self._row.cancel_asked_at is not None:
            return self._end_if_surely_gone(STOPPED, RefundState.CANCELED)
        return self._end_if_surely_gone(GONE)

    def _end_if_surely_gone(self, why: str, state: RefundState = RefundState.FAILED) -> timedelta:
        is_known = self._row.state is RefundState.UNKNOWN
        if is_known and self._office.clock.now() - self._row.state_since >= SURELY_GONE:
            return self._end(why, state)
        return self._lose(_SLOW)

    def _at_reader(self, told: ProcessorReader) -> timedelta:
        now = self._office.clock.now()
        with self._office.writing() as db:
            self._note(told, db)
            settle.hand_refund(db, self._merchant_id, self._row.id, self._reader.name)
        is_new = now - self._row.created_at < 10 * _SLOW
        return _SOON if is_new else _SLOW

    def _lose(self, pause: timedelta) -> timedelta:
        with self._office.writing() as db:
            settle.lose_refund(db, self._merchant_id, self._row.id)
        return pause

    def _end(self, why: str, state: RefundState = RefundState.FAILED) -> timedelta:
        said = redact_card_numbers(why)
        with self._office.writing() as db:
            settle.end_refund(db, self._merchant_id, self._row.id, said, state=state)
        return _SLOW

    def _note(self, told: ProcessorReader, db: Transaction | None = None) -> None:
        if db is None:
            with self._office.writing() as own:
                self._note(told, own)
            return
        known = cloud_readers.reader_by_processor_id(db, self._merchant_id, told.id)
        if known is not None:
            cloud_readers.note(db, known, told)


def _of(action: ReaderAction | None, refund_id: str) -> ReaderAction | None:
    """The action, if it is that of the refund."""
    if action is None or action.kind != _KIND or action.metadata.get("refund") != refund_id:
        return None
    return action
