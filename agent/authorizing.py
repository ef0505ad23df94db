"""A card on an encrypting reader and its issuer: the question goes up, the answer comes down to the card.

Nothing here decides money. What the issuer approves counts only with the session's own result; the control plane takes
back everything else. So an answer that is lost costs a sale, never money.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import structlog

from agent.card_data import KsnWatch
from protocols.cloud.commands import StartPayment
from protocols.cloud.events import AuthorizationAsk, SealedCard
from protocols.ids import new_id
from protocols.readers.protocol import NOBODY_REACHED, IssuerAnswer

if TYPE_CHECKING:
    from agent.clock import Clock
    from agent.journal import Journal, Transaction
    from agent.payment import Authorize
    from agent.sessions import Request
    from agent.spool import Spool
    from protocols.cloud.commands import AuthorizationAnswer
    from protocols.readers.protocol import TapData

log = structlog.get_logger()

#: Kept of the reader's patience for telling it that nobody was reached.
_TO_SPARE_S: Final = 2.0
#: ISO 8583 field 39 where the control plane gave none.
_DO_NOT_HONOR: Final = "05"

#: Asks the control plane, until the given `elapsed()`.
Ask = Callable[[AuthorizationAsk, float], Awaitable["AuthorizationAnswer | None"]]


class Authorizing:
    """Brings the cards of this device before their issuers."""

    def __init__(self, journal: Journal, spool: Spool, clock: Clock, *, ask: Ask) -> None:
        self._journal = journal
        self._spool = spool
        self._clock = clock
        self._ask = ask

    def of(self, request: Request, ksn_remaining_warn: int = 0) -> Authorize:
        """The way to the issuer for one session."""
        watch = KsnWatch(ksn_remaining_warn)

        async def authorize(tap: TapData, within_s: float) -> IssuerAnswer:
            if not isinstance(request, StartPayment) or request.transaction != "sale":
                return NOBODY_REACHED
            give_up_at = self._clock.elapsed() + max(1.0, within_s - _TO_SPARE_S)
            await self._journal.write(lambda tx: self._note_key(tx, watch, request, tap))
            answer = await self._ask(_question(request, tap), give_up_at)
            if answer is None:
                log.warning("authorization_unanswered", session_id=request.session_id)
                return NOBODY_REACHED
            log.info("authorization", session_id=request.session_id, status=answer.status)
            return _as_issuer_answer(answer)

        return authorize

    def _note_key(
        self, tx: Transaction, watch: KsnWatch, request: StartPayment, tap: TapData
    ) -> None:
        event = watch.seen(tx, tap.serial_number, tap.ksn, reader_id=request.reader_id)
        if event is not None:
            self._spool.append(tx, event)


def _question(request: StartPayment, tap: TapData) -> AuthorizationAsk:
    return AuthorizationAsk(
        session_id=request.session_id,
        tap_id=new_id("tap"),
        reader_id=request.reader_id,
        amount_minor=request.amount_minor,
        currency=request.currency,
        card=SealedCard(
            format=tap.format,
            scheme=tap.scheme,
            ksn=tap.ksn,
            data=tap.data,
            serial_number=tap.serial_number or "",
            masked_pan=tap.card.masked_pan or "",
            card_brand=tap.card.brand or "",
            entry_mode=tap.card.entry_mode or "",
        ),
    )


def _as_issuer_answer(answer: AuthorizationAnswer) -> IssuerAnswer:
    if answer.status == "unavailable":
        return IssuerAnswer(False, NOBODY_REACHED.response_code, text=answer.text)
    return IssuerAnswer(
        approved=answer.status == "approved",
        response_code=answer.response_code
        or ("00" if answer.status == "approved" else _DO_NOT_HONOR),
        authorization_code=answer.authorization_code,
        issuer_data=answer.issuer_data,
        text=answer.text,
    )
