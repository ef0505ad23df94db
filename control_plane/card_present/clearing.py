"""What becomes of an authorisation: captured when its reader approved the sale, taken back when not.

The end of a session says which, in the transaction of that end; the clock does it afterwards, as often as it takes.
Money that the issuer reserved moves at most once, because each call has one key for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import update

from control_plane.card_present import queries, response_codes
from control_plane.card_present.encrypting import is_encrypting_reader
from control_plane.card_present.lifecycle import HOLDING, AuthorizationState, RefundState
from control_plane.card_present.models import AUTHORIZATIONS, CARD_REFUNDS
from control_plane.card_present.processor import (
    CardPresentError,
    CardPresentProcessors,
    ProcessorRefused,
)
from control_plane.card_present.queries import Found
from control_plane.card_present.service import move
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.devices import timeline as alarms
from control_plane.devices.models import Severity
from control_plane.errors import DomainError
from control_plane.payments.events import LateResult, SessionDecided
from control_plane.transactions import ledger
from control_plane.transactions.models import Kind, Status
from protocols.ids import new_id
from protocols.money import Money
from protocols.session import SessionState

log = structlog.get_logger()

#: ``source`` of ledger rows that we write for these readers.
SOURCE: Final = "card_present"
#: A question that was sent may arrive this late: only then "there is nothing" is the truth.
_SURELY_ARRIVED: Final = timedelta(minutes=2)
_PAUSES_S: Final = (2, 5, 15, 30, 60, 300, 900, 3600)
#: After so many looks somebody is told.
_ALARM_AFTER: Final = 5
_S = AuthorizationState


def session_decided(db: Transaction, event: SessionDecided) -> None:
    """A session reached its end: take what was reserved for it, or take it back."""
    rows = queries.of_session(db, event.session_id)
    now = context_of(db).clock.now()
    is_approved = event.state is SessionState.APPROVED
    is_covered = False
    for row in rows:
        matches = (row.amount_minor, row.currency) == (event.amount.minor, event.amount.currency)
        if is_approved and row.state is _S.APPROVED and matches:
            is_covered = move(
                db, row.tap_id, _S.APPROVED, _S.CAPTURING, now, transaction_id=event.transaction_id
            )
        elif row.state in {_S.ASKED, _S.APPROVED}:
            _take_back(db, row, now)
    if is_approved and not is_covered:
        _contradiction(db, event.session_id, event.transaction_id)


def late_result(db: Transaction, event: LateResult) -> None:
    """A reader says approved after its session had ended otherwise: what it names was, or is being, taken back."""
    if event.outcome == "approved":
        _contradiction(db, event.session_id, event.transaction_id)


def _take_back(db: Transaction, row: Found, now: datetime) -> None:
    facts: dict[str, Any] = {}
    if row.answer is None:
        facts = {"answer": "unavailable", "text": response_codes.NO_ANSWER}
    move(db, row.tap_id, row.state, _S.REVERSING, now, **facts)


def _contradiction(db: Transaction, session_id: str, transaction_id: str | None) -> None:
    """The reader approved what no processor gave. Readers that ask their own bank are not meant."""
    rows = queries.of_session(db, session_id)
    reader = queries.reader_of_sale(db, session_id)
    if reader is None or not (rows or is_encrypting_reader(reader.profile)):
        return
    if any(row.state in HOLDING for row in rows):
        # There is money, and the session's own alarm says what does not fit.
        return
    last = rows[0] if rows else None
    state = "never asked for" if last is None else f"{last.state.value}"
    alarms.record(
        db,
        reader.merchant_id,
        reader.device_id,
        "payment.not_authorized",
        f"The reader reported the payment {session_id} approved, but its authorisation is {state}: "
        "no money is taken for it. Ask the customer to pay again, or look the payment up at the processor.",
        severity=Severity.ERROR,
        reader_id=reader.reader_id,
        facts={"session_id": session_id, "transaction_id": transaction_id or ""},
    )
    if last is not None and last.state in {_S.REVERSING, _S.REVERSED} and transaction_id:
        db.execute(
            update(AUTHORIZATIONS)
            .where(AUTHORIZATIONS.c.tap_id == last.tap_id)
            .values(transaction_id=transaction_id)
        )
        if last.state is _S.REVERSED:
            _book_reversal(db, last, transaction_id)


class Clearing:
    """Does by the clock what is owed to processors. Two processes that do the same are harmless."""

    def __init__(self, database: Database, processors: CardPresentProcessors, clock: Clock) -> None:
        self._database = database
        self._processors = processors
        self._clock = clock

    def settle_due(self, *, limit: int = 50) -> int:
        """Look at everything that is due now; how many."""
        now = self._clock.now()
        with self._database.reading_connection() as db:
            taps = queries.due(db, now, limit=limit)
            refunds = queries.due_refunds(db, now, limit=limit)
        for tap_id in taps:
            self.settle(tap_id)
        for refund_id in refunds:
            self.give_back(refund_id)
        return len(taps) + len(refunds)

    def settle(self, tap_id: str) -> None:
        """Do the next thing for one authorisation, if there is one."""
        now = self._clock.now()
        with self._database.connection() as db:
            row = queries.authorization(db, tap_id, lock=True)
            if row is None or row.state.is_final:
                return
            if row.state in {_S.ASKED, _S.APPROVED}:
                row = self._overdue(db, row, now)
            if row is None or not _lease(db, row, now):
                return
        if row.state is _S.REVERSING:
            self._try(row, self._reverse)
        elif row.state is _S.CAPTURING:
            self._try(row, self._capture)

    def _overdue(self, db: Transaction, row: Found, now: datetime) -> Found | None:
        """Whoever asked is gone, or the reader never told the end: what may be reserved is taken back."""
        if row.look_again_at is None or row.look_again_at > now:
            return None
        _take_back(db, row, now)
        return queries.authorization(db, row.tap_id)

    def _try(self, row: Found, act: Callable[[Found], None]) -> None:
        try:
            act(row)
        except (CardPresentError, DomainError) as error:
            log.warning("clearing_postponed", tap_id=row.tap_id, reason=str(error))
            self._note_problem(row, str(error))

    def _reverse(self, row: Found) -> None:
        processor = self._processors.of(row.merchant_id)
        amount = Money(row.amount_minor, row.currency)
        done = processor.reverse(row.processor_reference, f"{row.tap_id}-r", row.tap_id, amount)
        now = self._clock.now()
        if not done.was_there and now - row.asked_at < _SURELY_ARRIVED:
            self._note_problem(row, "The processor knows nothing of it yet.", after_s=30)
            return
        with self._database.connection() as db:
            if not move(db, row.tap_id, _S.REVERSING, _S.REVERSED, now, problem=""):
                return
            fresh = queries.authorization(db, row.tap_id)
            if fresh is not None and fresh.transaction_id:
                _book_reversal(db, fresh, fresh.transaction_id)

    def _capture(self, row: Found) -> None:
        processor = self._processors.of(row.merchant_id)
        amount = Money(row.amount_minor, row.currency)
        now = self._clock.now()
        try:
            taken = processor.capture(row.processor_reference, f"{row.tap_id}-c", amount)
        except ProcessorRefused as error:
            if error.is_access:
                raise
            with self._database.connection() as db:
                if move(
                    db, row.tap_id, _S.CAPTURING, _S.CAPTURE_REFUSED, now, problem=str(error)[:300]
                ):
                    _alarm(db, row, f"The processor refused to take it ({error.code}).")
            return
        with self._database.connection() as db:
            move(
                db, row.tap_id, _S.CAPTURING, _S.CAPTURED, now,
                capture_reference=taken.reference, problem="",
            )  # fmt: skip

    def give_back(self, refund_id: str) -> None:
        """Ask for one refund, again and again with the same key until the processor answers."""
        now = self._clock.now()
        with self._database.connection() as db:
            refund = queries.refund(db, refund_id, lock=True)
            if refund is None or refund.state is not RefundState.ASKED:
                return
            tap = queries.authorization(db, refund.tap_id)
            db.execute(
                update(CARD_REFUNDS)
                .where(CARD_REFUNDS.c.id == refund_id)
                .values(look_again_at=now + _pause(refund.looks), looks=refund.looks + 1)
            )
        if tap is None:
            return
        amount = Money(refund.amount_minor, refund.currency)
        try:
            given = self._processors.of(refund.merchant_id).refund(
                tap.capture_reference, refund.id, amount
            )
        except ProcessorRefused as error:
            if error.is_access:
                self._note_refund(refund, problem=str(error))
            else:
                self._refuse_refund(refund, error)
        except (CardPresentError, DomainError) as error:
            self._note_refund(refund, problem=str(error))
        else:
            self._book_refund(refund, given.reference)

    def _book_refund(self, refund: Found, reference: str) -> None:
        with self._database.connection() as db:
            row_id = new_id("tx")
            done = changed(
                db,
                update(CARD_REFUNDS)
                .where(CARD_REFUNDS.c.id == refund.id, CARD_REFUNDS.c.state == RefundState.ASKED)
                .values(
                    state=RefundState.DONE, processor_reference=reference, problem="",
                    transaction_id=row_id, look_again_at=None,
                ),
            )  # fmt: skip
            if done:
                _append(
                    db, row_id, refund.original_id, Kind.REFUND, refund.id,
                    Money(refund.amount_minor, refund.currency), note=refund.note,
                    cashier_id=refund.requested_by,
                )  # fmt: skip

    def _refuse_refund(self, refund: Found, error: ProcessorRefused) -> None:
        with self._database.connection() as db:
            done = changed(
                db,
                update(CARD_REFUNDS)
                .where(CARD_REFUNDS.c.id == refund.id, CARD_REFUNDS.c.state == RefundState.ASKED)
                .values(state=RefundState.REFUSED, problem=str(error)[:300], look_again_at=None),
            )
            if done:
                db.execute(
                    update(AUTHORIZATIONS)
                    .where(AUTHORIZATIONS.c.tap_id == refund.tap_id)
                    .values(refunded_minor=AUTHORIZATIONS.c.refunded_minor - refund.amount_minor)
                )

    def _note_refund(self, refund: Found, *, problem: str) -> None:
        log.warning("refund_postponed", refund_id=refund.id, reason=problem)
        with self._database.connection() as db:
            db.execute(
                update(CARD_REFUNDS)
                .where(CARD_REFUNDS.c.id == refund.id)
                .values(problem=problem[:300])
            )

    def _note_problem(self, row: Found, problem: str, *, after_s: int | None = None) -> None:
        values: dict[str, Any] = {"problem": problem[:300]}
        if after_s is not None:
            values["look_again_at"] = self._clock.now() + timedelta(seconds=after_s)
        with self._database.connection() as db:
            db.execute(
                update(AUTHORIZATIONS)
                .where(AUTHORIZATIONS.c.tap_id == row.tap_id, AUTHORIZATIONS.c.state == row.state)
                .values(**values)
            )
            if row.looks + 1 == _ALARM_AFTER:
                _alarm(db, row, f"The processor did not confirm it after {_ALARM_AFTER} tries.")


def _lease(db: Transaction, row: Found, now: datetime) -> bool:
    """Keep others from doing the same for a while; the same call twice would be harmless, only a waste."""
    return (
        changed(
            db,
            update(AUTHORIZATIONS)
            .where(AUTHORIZATIONS.c.tap_id == row.tap_id, AUTHORIZATIONS.c.state == row.state)
            .values(look_again_at=now + _pause(row.looks), looks=row.looks + 1),
        )
        == 1
    )


def _pause(looks: int) -> timedelta:
    return timedelta(seconds=_PAUSES_S[min(looks, len(_PAUSES_S) - 1)])


def _alarm(db: Transaction, row: Found, reason: str) -> None:
    deed = "taken" if row.state is _S.CAPTURING else "taken back"
    alarms.record(
        db,
        row.merchant_id,
        row.device_id,
        "payment.not_cleared",
        f"The card payment {row.session_id} of {Money(row.amount_minor, row.currency)} is to be {deed}. {reason} "
        "Look the payment up at the processor.",
        severity=Severity.ERROR,
        reader_id=row.reader_id,
        facts={"session_id": row.session_id, "reference": row.processor_reference},
    )


def _book_reversal(db: Transaction, row: Found, sale_id: str) -> None:
    """The ledger says that the sale was approved; this row says that its money went back."""
    _append(
        db, new_id("tx"), sale_id, Kind.REVERSAL, f"{row.tap_id}:reversal",
        Money(row.amount_minor, row.currency), note="", cashier_id=None,
    )  # fmt: skip


def _append(
    db: Transaction,
    row_id: str,
    sale_id: str,
    kind: Kind,
    number: str,
    amount: Money,
    *,
    note: str,
    cashier_id: str | None,
) -> None:
    sale = queries.sale_row(db, sale_id)
    if sale is None:
        raise LookupError(f"the sale {sale_id} is not in the ledger")
    now = context_of(db).clock.now()
    ledger.append(
        db,
        {
            **{name: value for name, value in sale._mapping.items() if name != "id"},  # noqa: SLF001 - Row's public name
            "id": row_id,
            "kind": kind,
            "status": Status.APPROVED,
            "amount_minor": amount.minor,
            "currency": amount.currency,
            "original_id": sale_id,
            "source": SOURCE,
            "external_id": number,
            "note": note or None,
            "cashier_id": cashier_id,
            "occurred_at": now,
        },
    )
