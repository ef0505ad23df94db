"""One payment on one reader, and the truth about it.

A money command leaves at most once. When its answer is lost, the reader is asked what became of it, and what its books
say is compared with what they said before (`agent.evidence`). Only such evidence decides; until there is some, the
payment is `StillUnknown` and may be asked for again, also after a restart of the agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import structlog

from agent.clock import Clock, SystemClock
from agent.evidence import (
    Baseline,
    Books,
    Decision,
    IssuerAsked,
    PaymentRequest,
    StillUnknown,
    judge_answer,
    judge_sealed,
    settle_sealed,
    weigh,
)
from agent.readers.reader import ReaderState
from agent.receipts import Receipts
from protocols.money import Money
from protocols.readers.protocol import (
    NOBODY_REACHED,
    Finished,
    LateResult,
    OnlineWanted,
    Outcome,
    Printed,
    Progress,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Step,
)

if TYPE_CHECKING:
    from agent.readers.reader import Reader
    from protocols.readers.protocol import IssuerAnswer, TapData

log = structlog.get_logger()

__all__ = ["Baseline", "Decision", "PaymentDesk", "PaymentRequest", "PaymentStep", "StillUnknown"]

#: How long `settle` waits for a reader that is being connected before it says that it cannot be asked.
_CONNECT_WAIT_S: Final = 3.0
#: Books that were read so shortly before the money command need no look at the reader's clock.
_FRESH_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class PaymentStep:
    """A step as in `protocols.cloud.events.SessionStep`."""

    step: str
    code: int | None = None
    text: str = ""


OnStep = Callable[[PaymentStep], None]
#: Asks the issuer of a card that was read; gets the card and how many seconds the reader waits.
Authorize = Callable[["TapData", float], Awaitable["IssuerAnswer"]]


async def _nobody(_: TapData, __: float) -> IssuerAnswer:
    return NOBODY_REACHED


class PaymentDesk:
    """Takes payments on one reader, one after the other, and remembers its books in between.

    `authorises`: the reader is a terminal that settles payments by itself. One that does not only reads cards: it has
    no books, and nothing is ever unknown there, because what the issuer approves counts only with our own decision.
    `most_minor`: the largest sale, in minor units; see `too_much`.
    """

    def __init__(
        self,
        reader: Reader,
        *,
        clock: Clock | None = None,
        authorises: bool = True,
        most_minor: int | None = None,
    ) -> None:
        self.reader = reader
        self._most_minor = most_minor
        self._authorises = authorises
        self._clock = clock or SystemClock()
        self._books: Books | None = None
        self._books_of = (0, 0)
        self._late: LateResult | None = None
        self._stop_watching = reader.watch_late(self._keep_late)

    def close(self) -> None:
        """Stop listening to the reader."""
        self._stop_watching()

    async def prepare(self) -> str:
        """Look into the reader's books unless they are known, so that the next payment begins without asking.

        Returns why the reader cannot be asked, or nothing. Raises ReaderBusy.
        """
        books = self._remembered() or await self._read_books()
        return books if isinstance(books, str) else ""

    def too_much(self, request: PaymentRequest) -> str:
        """Why a sale is larger than the shop wants on this reader; empty when it is not."""
        most = self._most_minor
        if most is None or request.kind != "sale" or request.amount.minor <= most:
            return ""
        limit = Money(most, request.amount.currency)
        return f"This reader takes {limit} at most, as its settings say."

    async def take(
        self,
        request: PaymentRequest,
        *,
        on_begin: Callable[[Baseline], Awaitable[None]],
        on_step: OnStep = lambda _: None,
        cancel: asyncio.Event | None = None,
        authorize: Authorize = _nobody,
    ) -> Decision | StillUnknown:
        """Run one payment to its end.

        `on_begin` gets the baseline and makes it durable; the money command leaves only when it returned. When `cancel`
        is set the reader is asked to stop; what it then says counts, an approval too. `StillUnknown` must be followed
        by `settle` with the same baseline until that decides. `authorize` is asked by a reader that only reads cards.
        Raises ReaderBusy while another command runs there.
        """
        cancel = cancel or asyncio.Event()
        books = self._remembered() or await self._read_books()
        if isinstance(books, str):
            return _not_begun("failed", request, f"The reader cannot take a payment now: {books}.")
        now = self._clock.elapsed()
        await on_begin(books.baseline(request, now, is_fresh=now - books.read_at < _FRESH_S))
        if cancel.is_set():
            stopped = _not_begun(
                "cancelled", request, "It was cancelled before the reader was asked."
            )
            return replace(stopped, cancel_asked=True)
        self._late = None
        run = _Run(self.reader, request, on_step, cancel, authorize)
        finished = await run.finish()
        self._remember(books.after(request, finished, self._clock.elapsed()))
        for_customer, for_shop = run.receipts.copies()
        return replace(
            judge_answer(request, finished)
            if self._authorises
            else judge_sealed(request, finished, run.asked),
            receipt_lines=for_customer,
            merchant_receipt_lines=for_shop,
            cancel_asked=cancel.is_set(),
        )

    async def settle(
        self, request: PaymentRequest, baseline: Baseline, *, on_step: OnStep = lambda _: None
    ) -> Decision | StillUnknown:
        """Find out what became of a payment whose answer was lost, or whose agent died. Sends no money command.

        May be called again as often as wanted; the caller leaves pauses. Must come before the next payment on the
        reader, because a reader remembers only its last one.
        """
        if not self._authorises:
            return settle_sealed(request)
        try:
            async with asyncio.timeout(_CONNECT_WAIT_S):
                await self.reader.until(ReaderState.READY)
        except TimeoutError:
            status = self.reader.status
            return StillUnknown(
                f"the reader cannot be asked: {status.reason or status.state.value}"
            )
        on_step(PaymentStep("recalling", text="asking the reader what became of the payment"))
        books = await self._read_books()
        if isinstance(books, str):
            return StillUnknown(f"the reader cannot be asked: {books}")
        return weigh(request, baseline, books, self._late)

    # --- the reader's books --------------------------------------------------------------------------------

    async def _read_books(self) -> Books | str:
        """The books, or why the reader cannot be asked for them."""
        self._books = None
        if not self._authorises:
            return self._no_books()
        recalled = await self.reader.execute(RecallLast())
        if recalled.outcome in {Outcome.BUSY, Outcome.LOST} and recalled.payment is None:
            return recalled.text
        totals = await self.reader.execute(ReadTotals())
        if totals.outcome in {Outcome.BUSY, Outcome.LOST}:
            return totals.text
        books = Books.of(recalled, totals, self._clock.elapsed(), self.reader.clock_seen)
        self._remember(books)
        return books

    def _no_books(self) -> Books | str:
        status = self.reader.status
        if status.state is not ReaderState.READY:
            return status.reason or status.state.value
        return Books(self._clock.elapsed(), None)

    def _remember(self, books: Books | None) -> None:
        self._books = books
        self._books_of = self._life_of_reader()

    def _remembered(self) -> Books | None:
        """The books as they stood after our own last look or payment, if nothing else was asked of the reader since."""
        books = self._books
        if books is None or self._books_of != self._life_of_reader():
            return None
        is_fresh = self._clock.elapsed() - books.read_at < _FRESH_S
        return books if is_fresh or books.clock else None

    def _life_of_reader(self) -> tuple[int, int]:
        return self.reader.counts["opened"], self.reader.counts["commands"]

    def _keep_late(self, result: LateResult | Finished) -> None:
        if isinstance(result, LateResult):
            self._late = result


class _Run:
    """The one money command while it runs: passes steps on, keeps the receipt, asks to stop."""

    def __init__(
        self,
        reader: Reader,
        request: PaymentRequest,
        on_step: OnStep,
        cancel: asyncio.Event,
        authorize: Authorize,
    ) -> None:
        self._reader = reader
        self._command = request.command()
        self._on_step = on_step
        self._cancel = cancel
        self._authorize = authorize
        self._asking: asyncio.Task[None] | None = None
        self.asked: IssuerAsked | None = None
        self.is_stopping = False
        self.receipts = Receipts()

    async def finish(self) -> Finished:
        running = asyncio.ensure_future(self._reader.execute(self._command, self._on_event))
        wanting = asyncio.ensure_future(self._cancel.wait())
        try:
            await asyncio.wait((running, wanting), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                self.is_stopping = True
                self._on_step(PaymentStep("cancelling", text="asking the reader to stop"))
                self._reader.abort()
            return await running
        finally:
            for task in (running, wanting, self._asking):
                if task is not None:
                    task.cancel()

    def _on_event(self, event: ReaderEvent) -> None:
        if isinstance(event, Progress):
            self._on_step(PaymentStep(event.step.value, event.code, event.text))
            if self.is_stopping:
                # A reader that could not stop a moment ago may now wait for another card.
                self._reader.abort()
        elif isinstance(event, Printed):
            self.receipts.add(event)
        elif isinstance(event, OnlineWanted):
            # A card that is read twice is asked about twice; only the last answer is for this card.
            if self._asking is not None:
                self._asking.cancel()
            self._asking = asyncio.create_task(self._ask_issuer(event))

    async def _ask_issuer(self, wanted: OnlineWanted) -> None:
        self.asked = IssuerAsked(wanted.tap)
        self._on_step(PaymentStep(Step.AUTHORIZING.value, text="asking the card's issuer"))
        try:
            async with asyncio.timeout(wanted.answer_within_s):
                answer = await self._authorize(wanted.tap, wanted.answer_within_s)
        except TimeoutError:
            answer = NOBODY_REACHED
        except Exception:
            log.exception("authorization_fault")
            answer = NOBODY_REACHED
        # First remembered, then said: the reader may be gone with the next byte.
        self.asked = IssuerAsked(wanted.tap, answer)
        self._reader.resume(answer)


def _not_begun(
    outcome: Literal["cancelled", "failed"], request: PaymentRequest, explanation: str
) -> Decision:
    return Decision(outcome, request.amount, "not_begun", explanation)
