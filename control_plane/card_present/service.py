"""Answers devices: one shown card, one question to the processor, one answer for ever.

The row is committed before the processor is asked, and no transaction is open meanwhile. Whatever goes wrong after
that commit leaves a row that the clock finds and takes back; see ``clearing.py``.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from control_plane.card_present import queries, response_codes
from control_plane.card_present.lifecycle import NEXT, AuthorizationState
from control_plane.card_present.models import AUTHORIZATIONS, CARD_ACCOUNTS
from control_plane.card_present.processor import (
    ANSWER_WITHIN_S,
    AnswerUnknown,
    Approved,
    AuthorizationRequest,
    CardPresentProcessors,
    Declined,
    NotReached,
    ProcessorRefused,
    SealedTap,
)
from control_plane.card_present.queries import Found
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import changed, insert_new
from control_plane.errors import DomainError
from control_plane.payments.lifecycle import SessionKind
from protocols.cloud.commands import AuthorizationAnswer
from protocols.cloud.events import AuthorizationAsk
from protocols.money import Money
from protocols.session import SessionState

log = structlog.get_logger()

#: After so long whoever asked the processor is gone, and what it may have approved is taken back.
ABANDONED: Final = timedelta(seconds=2 * ANSWER_WITHIN_S)
#: How long a reserved amount waits for its reader's word. A device that lost its line still sells: the goods are gone,
#: so this is long; a device that is there tells the end of a sale within seconds.
SILENT: Final = timedelta(hours=12)
_LOOK_S: Final = 0.1
_RUNNING: Final = frozenset(
    {
        SessionState.CLAIMED,
        SessionState.SENT,
        SessionState.WAITING_FOR_CARD,
        SessionState.CARD_SEEN,
        SessionState.AUTHORIZING,
    }
)
_S = AuthorizationState


class _Refusal(Exception):
    """Carries an answer out of a transaction."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class CardPresent:
    """What devices ask. Used by any number of threads."""

    def __init__(self, database: Database, processors: CardPresentProcessors, clock: Clock) -> None:
        self._database = database
        self._processors = processors
        self._clock = clock

    def answer(
        self, device_id: str, ask: AuthorizationAsk, *, wait_s: float = 0.0
    ) -> AuthorizationAnswer | None:
        """What the device is told. Blocks while the processor thinks.

        None when somebody else is asking about this very card, and has no answer within ``wait_s``: say nothing then.
        """
        found = self._begin(device_id, ask)
        if isinstance(found, AuthorizationAnswer):
            return found
        if found is None:
            self._ask_processor(ask)
            found = self._row(ask.tap_id)
        elif found.state is _S.ASKED:
            found = self._wait(ask.tap_id, wait_s)
        return None if found is None or found.answer is None else _answer_of(found)

    def _begin(self, device_id: str, ask: AuthorizationAsk) -> AuthorizationAnswer | Found | None:
        """The row of before; an answer without a row; or None when the row is new and the processor to be asked."""
        now = self._clock.now()
        try:
            with self._database.connection() as db:
                row = queries.authorization(db, ask.tap_id)
                if row is not None:
                    return _same(row, device_id, ask)
                session = _checked(db, device_id, ask)
                refusal = self._refusal(db, session)
                is_new = _insert(db, session, ask, now, refusal)
                if not is_new:
                    return _same(_there(db, ask.tap_id), device_id, ask)
                return None if refusal is None else _there(db, ask.tap_id)
        except _Refusal as refused:
            log.warning(
                "authorization_refused",
                device_id=device_id,
                session_id=ask.session_id,
                reason=refused.text,
            )
            return _refused(ask, refused.text)
        except IntegrityError:
            # The index that lets a session have one card at a time.
            return _refused(ask, response_codes.ANOTHER_CARD)

    def _refusal(self, db: Transaction, session: Found) -> str | None:
        if session.state not in _RUNNING:
            return response_codes.SESSION_OVER
        if queries.account_row(db, session.merchant_id) is None:
            return response_codes.NO_ACCOUNT
        return None

    def _ask_processor(self, ask: AuthorizationAsk) -> None:
        row = self._row(ask.tap_id)
        if row is None:
            return
        amount = Money(ask.amount_minor, ask.currency)
        request = AuthorizationRequest(
            key=ask.tap_id,
            amount=amount,
            tap=SealedTap(
                format=ask.card.format,
                scheme=ask.card.scheme,
                ksn=ask.card.ksn,
                data=ask.card.data,
                serial_number=ask.card.serial_number,
                entry_mode=ask.card.entry_mode,
            ),
            terminal_id=ask.reader_id,
            reference=ask.session_id,
        )
        try:
            outcome = self._processors.of(row.merchant_id).authorize(request)
        except NotReached as error:
            self._note(
                ask.tap_id,
                _S.REFUSED,
                "unavailable",
                response_codes.NOT_REACHED,
                problem=str(error),
            )
        except AnswerUnknown as error:
            self._note(
                ask.tap_id,
                _S.REVERSING,
                "unavailable",
                response_codes.NO_ANSWER,
                problem=str(error),
            )
        except ProcessorRefused as error:
            self._note(
                ask.tap_id, _S.REFUSED, "refused", error.text[:200], problem=str(error),
                account_problem=str(error) if error.is_access else None, merchant_id=row.merchant_id,
            )  # fmt: skip
        except DomainError as error:
            self._note(ask.tap_id, _S.REFUSED, "refused", str(error)[:200], problem=error.code)
        else:
            self._take(ask, amount, outcome)

    def _take(self, ask: AuthorizationAsk, amount: Money, outcome: Approved | Declined) -> None:
        facts: dict[str, Any] = {
            "processor_reference": outcome.reference,
            "response_code": outcome.response_code[:2],
            "issuer_data": outcome.issuer_data.hex(),
        }
        if isinstance(outcome, Declined):
            words = response_codes.words_of(outcome.response_code)
            self._note(ask.tap_id, _S.DECLINED, "declined", words, problem=outcome.text, **facts)
        elif outcome.amount != amount:
            # The card must not hear of an approval that nobody keeps.
            facts |= {"issuer_data": "", "response_code": "13"}
            self._note(ask.tap_id, _S.REVERSING, "declined", response_codes.PARTIAL, **facts)
        else:
            facts["authorization_code"] = outcome.authorization_code[:40]
            self._note(ask.tap_id, _S.APPROVED, "approved", "", **facts)

    def _note(
        self,
        tap_id: str,
        state: AuthorizationState,
        answer: str,
        words: str,
        *,
        problem: str = "",
        account_problem: str | None = None,
        merchant_id: str = "",
        **facts: Any,
    ) -> None:
        now = self._clock.now()
        with self._database.connection() as db:
            if account_problem is not None:
                db.execute(
                    update(CARD_ACCOUNTS)
                    .where(CARD_ACCOUNTS.c.merchant_id == merchant_id)
                    .values(problem=account_problem[:300])
                )
            done = move(
                db, tap_id, _S.ASKED, state, now,
                answer=answer, text=words[:200], problem=problem[:300], **facts,
            )  # fmt: skip
            if not done:
                # The clock, or the end of the session, was quicker: it only learns what is to be taken back.
                known = {"processor_reference": facts.get("processor_reference", "")}
                changed(
                    db,
                    update(AUTHORIZATIONS)
                    .where(
                        AUTHORIZATIONS.c.tap_id == tap_id, AUTHORIZATIONS.c.state == _S.REVERSING
                    )
                    .values(**known, look_again_at=now),
                )

    def _row(self, tap_id: str) -> Found | None:
        with self._database.reading_connection() as db:
            return queries.authorization(db, tap_id)

    def _wait(self, tap_id: str, wait_s: float) -> Found | None:
        ends_at = time.monotonic() + wait_s
        while (row := self._row(tap_id)) is not None and row.state is _S.ASKED:
            if time.monotonic() >= ends_at:
                is_abandoned = self._clock.now() - row.asked_at >= ABANDONED
                return self._give_up(tap_id) if wait_s or is_abandoned else row
            time.sleep(_LOOK_S)
        return row

    def _give_up(self, tap_id: str) -> Found | None:
        """Whoever asks the processor takes too long: from now on the answer is that there was none."""
        with self._database.connection() as db:
            move(
                db, tap_id, _S.ASKED, _S.REVERSING, self._clock.now(),
                answer="unavailable", text=response_codes.NO_ANSWER,
            )  # fmt: skip
            return queries.authorization(db, tap_id)


def move(
    db: Transaction,
    tap_id: str,
    before: AuthorizationState,
    after: AuthorizationState,
    now: datetime,
    **facts: Any,
) -> bool:
    """Change the row if it is still in ``before``; False when somebody else was quicker."""
    if after not in NEXT[before]:
        raise ValueError(f"no authorisation goes from {before} to {after}")
    look: dict[str, Any] = {"look_again_at": None, "looks": 0}
    if after is _S.APPROVED:
        look["look_again_at"] = now + SILENT
    elif after in {_S.REVERSING, _S.CAPTURING}:
        look["look_again_at"] = now
    statement = (
        update(AUTHORIZATIONS)
        .where(AUTHORIZATIONS.c.tap_id == tap_id, AUTHORIZATIONS.c.state == before)
        .values(state=after, state_since=now, **{**look, **facts})
    )
    return changed(db, statement) == 1


def _checked(db: Transaction, device_id: str, ask: AuthorizationAsk) -> Found:
    """The session that the card is for. Raises _Refusal when the ask is not of its device, or not of its sale."""
    session = queries.session_asked_about(db, ask.session_id)
    is_its_own = (
        session is not None
        and session.device_id == device_id
        and session.reader_id == ask.reader_id
        and session.kind is SessionKind.SALE
        and (session.amount_minor, session.currency) == (ask.amount_minor, ask.currency)
    )
    if session is None or not is_its_own:
        raise _Refusal(response_codes.NOT_THIS)
    return session


def _insert(
    db: Transaction, session: Found, ask: AuthorizationAsk, now: datetime, refusal: str | None
) -> bool:
    card = ask.card
    account = queries.account_row(db, session.merchant_id)
    values: dict[str, Any] = {
        "tap_id": ask.tap_id,
        "merchant_id": session.merchant_id,
        "location_id": session.location_id,
        "device_id": session.device_id,
        "reader_id": session.reader_id,
        "session_id": session.id,
        "amount_minor": session.amount_minor,
        "currency": session.currency,
        "state": _S.ASKED if refusal is None else _S.REFUSED,
        "state_since": now,
        "answer": None if refusal is None else "refused",
        "text": refusal or "",
        "account_id": "" if account is None else account.id,
        "ksn": card.ksn.hex().upper(),
        "reader_serial": card.serial_number,
        "card_masked": card.masked_pan[:40],
        "card_brand": card.card_brand[:40],
        "entry_mode": card.entry_mode[:40],
        "response_code": "",
        "authorization_code": "",
        "issuer_data": "",
        "processor_reference": "",
        "capture_reference": "",
        "refunded_minor": 0,
        "asked_at": now,
        "look_again_at": now + ABANDONED if refusal is None else None,
        "looks": 0,
        "problem": "",
    }
    return insert_new(db, AUTHORIZATIONS, values, unique=["tap_id"])


def _there(db: Transaction, tap_id: str) -> Found:
    row = queries.authorization(db, tap_id)
    if row is None:
        raise LookupError(f"the authorisation {tap_id} is gone")
    return row


def _same(row: Found, device_id: str, ask: AuthorizationAsk) -> Found | AuthorizationAnswer:
    asked = (device_id, ask.session_id, ask.reader_id, ask.amount_minor, ask.currency)
    known = (row.device_id, row.session_id, row.reader_id, row.amount_minor, row.currency)
    if asked != known or row.ksn != ask.card.ksn.hex().upper():
        return _refused(ask, response_codes.NOT_THIS)
    return row


def _answer_of(row: Found) -> AuthorizationAnswer:
    return AuthorizationAnswer(
        session_id=row.session_id,
        tap_id=row.tap_id,
        status=row.answer,
        response_code=row.response_code,
        authorization_code=row.authorization_code,
        issuer_data=bytes.fromhex(row.issuer_data),
        text=row.text,
    )


def _refused(ask: AuthorizationAsk, text: str) -> AuthorizationAnswer:
    return AuthorizationAnswer(
        session_id=ask.session_id, tap_id=ask.tap_id, status="refused", text=text
    )


def unavailable(ask: AuthorizationAsk, text: str) -> AuthorizationAnswer:
    """For an edge that cannot even ask."""
    return AuthorizationAnswer(
        session_id=ask.session_id, tap_id=ask.tap_id, status="unavailable", text=text
    )
