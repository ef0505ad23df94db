"""Tap sessions: each payment is written down before it can happen, and told exactly once how it ended.

The order is: recorded, claimed, begun (with the reader's books as they were), asked of the reader, decided. Whatever
dies in between, the journal says what may have happened: a session that had not begun never will, one that had is
settled by the reader's evidence. `agent.payment` knows how to ask a reader; here is what is remembered and told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import msgspec
import structlog

from agent import inbox, sessions
from agent.authorizing import Authorizing
from agent.errors import ReaderBusy
from agent.journal import JournalUnwritable
from agent.payment import Baseline, Decision, PaymentRequest, PaymentStep, StillUnknown
from agent.readers.reader import ReaderState
from protocols.cloud.commands import CancelPayment, Command, ReversePayment, StartPayment
from protocols.cloud.events import CommandResult, DeviceEvent, PaymentResult, SessionStep
from protocols.money import Money

if TYPE_CHECKING:
    from agent.authorizing import Ask
    from agent.clock import Clock
    from agent.cloud import Granted
    from agent.inbox import Known
    from agent.journal import Journal, Transaction
    from agent.payment import PaymentDesk
    from agent.sessions import Request, StoredSession
    from agent.spool import Position, Spool
    from agent.timekeeping import DeviceTime
    from firmware_profiles import ReaderProfile
    from protocols.readers.protocol import PaymentFacts

log = structlog.get_logger()

FIRST_ASK_S: Final = 1.0
LONGEST_ASK_S: Final = 60.0
STORE_AGAIN_S: Final = 1.0

Status = Literal["succeeded", "failed", "rejected", "expired", "refused", "too_late"]

#: Asks the server for a lease on a command, until the given `elapsed()`.
Claim = Callable[[str, float], Awaitable["Granted | None"]]

_CANNOT_BE_ASKED: Final = {
    ReaderState.DISCONNECTED: "reader_offline",
    ReaderState.STARTING: "reader_offline",
    ReaderState.FAILING: "reader_offline",
    ReaderState.LOCKED: "reader_locked",
    ReaderState.UNIDENTIFIED: "reader_unidentified",
}
#: Outcomes after which a cancel has got what it wanted.
_STOPPED: Final = frozenset({"cancelled", sessions.NOT_BEGUN, sessions.STOPPED_BEFORE})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command is not run, as the server is told."""

    status: Status
    code: str
    text: str

    def result(self, command_id: str) -> CommandResult:
        """As a message."""
        return CommandResult(
            command_id=command_id, status=self.status, code=self.code, text=self.text[:2000]
        )


@dataclass(slots=True)
class Payment:
    """A payment that this life of the agent is taking."""

    command_id: str
    request: Request
    is_begun: bool = False
    lease_is_over: bool = False
    cancel: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def session_id(self) -> str:
        return self.request.session_id


class ReaderSlot:
    """A place for a reader, as configured, with whoever stands there now. One thing at a time happens on it."""

    def __init__(self, name: str, desk: PaymentDesk) -> None:
        self.name = name
        self.desk = desk
        self.reader_id = ""
        """Empty until it is known who stands there."""
        self.turn = asyncio.Lock()
        """Held while something of ours runs on the reader."""
        self.occupied_by = ""
        """What runs, when it takes so long that a payment does not wait for it."""
        self.payment: Payment | None = None
        self.profile: ReaderProfile | None = None
        self.ksn_remaining_warn = 0
        """Warn when a key of the reader has fewer uses left; from its profile."""
        self.unsettled: str | None = None
        """The session whose truth must be found before anything changes the reader's books."""

    def release(self) -> None:
        """The payment has ended and that is on the disk: the next may begin."""
        self.payment = None

    def objection(self) -> Refusal | None:
        """Why nothing that changes the reader's books can begin now."""
        if self.payment is not None:
            return Refusal("refused", "reader_busy", f"{self.name} is taking a payment.")
        if self.unsettled is not None:
            return Refusal(
                "refused",
                "reader_unsettled",
                f"{self.name} has not told yet how the payment {self.unsettled} ended.",
            )
        status = self.desk.reader.status
        if code := _CANNOT_BE_ASKED.get(status.state):
            reason = status.reason or status.state.value
            return Refusal("refused", code, f"{self.name} cannot be asked: {reason}.")
        if self.occupied_by:
            return Refusal("refused", "reader_busy", f"{self.name} is busy: {self.occupied_by}.")
        if status.state is ReaderState.BUSY and not self.turn.locked():
            return Refusal("refused", "reader_busy", f"{self.name} is busy: {status.reason}.")
        return None


class _NotBegun(Exception):
    """The payment was stopped before the reader was asked."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class Taps:
    """Runs the payments of all readers of this device."""

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        time: DeviceTime,
        clock: Clock,
        *,
        claim: Claim,
        authorize: Ask,
        first_ask_s: float = FIRST_ASK_S,
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._time = time
        self._clock = clock
        self._claim = claim
        self._authorizing = Authorizing(journal, spool, clock, ask=authorize)
        self._first_ask_s = first_ask_s
        self._slots: dict[str, ReaderSlot] = {}
        self._held: dict[str, str] = {}
        self._orphans: defaultdict[str, list[StoredSession]] = defaultdict(list)
        self._group: asyncio.TaskGroup | None = None
        self._is_closing = False

    # --- what others see ---------------------------------------------------------------------------------------

    def slot(self, reader_id: str) -> ReaderSlot | None:
        """Where this reader stands, if it is one of ours and known by now."""
        return self._slots.get(reader_id)

    def running(self) -> list[Payment]:
        """Payments that are being taken now; those that wait for evidence are not among them."""
        return [slot.payment for slot in self._slots.values() if slot.payment is not None]

    def hold(self, reader_id: str, reason: str) -> None:
        """Take no payment on this reader until it is let go, wherever it stands. `reason`: what people read."""
        self._held[reader_id] = reason
        if slot := self._slots.get(reader_id):
            slot.occupied_by = reason

    def let_go(self, reader_id: str) -> None:
        """End what `hold` began."""
        self._held.pop(reader_id, None)
        if slot := self._slots.get(reader_id):
            slot.occupied_by = ""

    def out_of_service(self, *, besides: str) -> str:
        """The name of a reader of this box, `besides` that one, that is held; empty when there is none."""
        held = next((one for one in self._held if one != besides), "")
        slot = self._slots.get(held)
        return slot.name if slot else held

    def close_for_new(self) -> None:
        """Take no new payment from now on; what runs goes on."""
        self._is_closing = True

    async def run(self) -> None:
        """Hold the tasks that look for evidence, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await asyncio.Event().wait()

    async def recover(self) -> None:
        """After a start: end what had not begun, and prepare to ask about what had."""
        for stored in await self._journal.read(sessions.undecided):
            if stored.baseline is None:
                await self._end_not_begun(
                    stored.id,
                    stored.command_id,
                    Refusal(
                        "refused",
                        "agent_restarted",
                        "The agent was restarted before the reader was asked.",
                    ),
                )
            else:
                self._orphans[stored.request.reader_id].append(stored)
                await self._tell_unknown(
                    stored.request, "the agent was restarted while the payment ran"
                )

    def assign(self, slot: ReaderSlot, reader_id: str) -> None:
        """It is known who stands at a place; what is not settled with this reader is settled now."""
        if slot.reader_id == reader_id:
            return
        if self._slots.get(slot.reader_id) is slot:
            del self._slots[slot.reader_id]
        slot.reader_id = reader_id
        slot.occupied_by = self._held.get(reader_id, slot.occupied_by)
        self._slots[reader_id] = slot
        self._settle_orphans(slot)

    def forget(self, slot: ReaderSlot) -> None:
        """Nobody stands at this place any more; what is not settled waits for whoever comes back."""
        if self._slots.get(slot.reader_id) is slot:
            del self._slots[slot.reader_id]

    def prepare(self, slot: ReaderSlot) -> None:
        """Learn the reader's books soon, so that its next payment starts without asking."""
        self._spawn(lambda: self._prepare(slot))

    # --- commands ----------------------------------------------------------------------------------------------

    async def take(self, command: Command, request: Request, deadline: float) -> Known | None:
        """Run a command that moves money, to its end or to where only evidence can tell.

        Returns what is known of a command that came before, and does nothing then. `deadline` on `elapsed()`.
        """
        # First of all: a command that comes twice must not even keep the reader from others.
        known, is_new = await self._record(command, request)
        if not is_new:
            return known
        slot = self._slots.get(request.reader_id)
        refusal = self._objection(slot, deadline)
        if slot is None or refusal is not None:
            await self._end_not_begun(request.session_id, command.id, refusal or _NO_READER)
            return None
        payment = Payment(command.id, request)
        # From here on nobody else gets the reader.
        slot.payment = payment
        try:
            await self._run(slot, payment, deadline)
        finally:
            if slot.payment is payment:
                slot.payment = None
        return None

    async def cancel(self, command: Command, request: CancelPayment) -> Known | None:
        """Stop a payment, or learn that it is too late; the answer comes when the session is decided.

        Returns what is known of a command that came before, and does nothing then.
        """

        def change(tx: Transaction) -> Known | None:
            if known := inbox.accept(tx, command.id, "payment.cancel", self._unix()):
                return known
            outcome = sessions.ask_cancel(tx, request.session_id, command.id, self._unix())
            if outcome is not None:
                self._answer_cancels(tx, (command.id,), outcome)
            return None

        known = await self._journal.write(change)
        for payment in self.running():
            if known is None and payment.session_id == request.session_id:
                payment.cancel.set()
        return known

    # --- one payment -------------------------------------------------------------------------------------------

    def _objection(self, slot: ReaderSlot | None, deadline: float) -> Refusal | None:
        if self._clock.elapsed() >= deadline:
            return _EXPIRED
        if self._is_closing:
            return Refusal("refused", "agent_stopping", "The agent is being stopped or restarted.")
        if slot is None:
            return _NO_READER
        if not self._journal.has_room():
            return Refusal(
                "refused",
                "disk_full",
                "The device's disk is full or broken, so the outcome of a payment could be lost. "
                "Make room on it, then try again.",
            )
        return slot.objection()

    async def _record(self, command: Command, request: Request) -> tuple[Known | None, bool]:
        """(what is known of the command, whether it is new and may go on)"""

        def change(tx: Transaction) -> tuple[Known | None, bool]:
            kind = "payment.reverse" if isinstance(request, ReversePayment) else "payment.start"
            if known := inbox.accept(tx, command.id, kind, self._unix()):
                return known, False
            if sessions.record(tx, command.id, request, self._unix()):
                return None, True
            self._finish(tx, self._seen(tx, request).result(command.id))
            return None, False

        return await self._journal.write(change)

    def _seen(self, tx: Transaction, request: Request) -> Refusal:
        if sessions.outcome_of(tx.db, request.session_id) == sessions.STOPPED_BEFORE:
            return Refusal("refused", "cancelled", "The payment was cancelled before it began.")
        return Refusal(
            "refused", "session_known", "This payment was asked for before, by another command."
        )

    async def _run(self, slot: ReaderSlot, payment: Payment, deadline: float) -> None:
        try:
            outcome = await self._outcome(slot, payment, deadline)
        except _NotBegun as stopped:
            await self._end_not_begun(
                payment.session_id, payment.command_id, stopped.refusal, slot.release
            )
            return
        if isinstance(outcome, Decision):
            await self._decide(
                payment.session_id, payment.command_id, payment.request, outcome, slot.release
            )
            # The books of the next payment, while nobody waits for them.
            self.prepare(slot)
            return
        await self._tell_unknown(payment.request, outcome.reason)
        stored = await self._stored(payment.session_id)
        if stored is not None:
            self._orphans[slot.reader_id].append(stored)
            self._settle_orphans(slot)

    async def _outcome(
        self, slot: ReaderSlot, payment: Payment, deadline: float
    ) -> Decision | StillUnknown:
        """Raises _NotBegun; whatever else goes wrong once it began is a lost answer."""
        try:
            async with _in_turn(slot, deadline - self._clock.elapsed()):
                return await self._ask_reader(slot, payment, deadline)
        except ReaderBusy as busy:
            if payment.is_begun:
                return StillUnknown(busy.message)
            raise _NotBegun(Refusal("refused", "reader_busy", busy.message)) from busy
        except _NotBegun:
            raise
        except Exception as fault:
            # Nothing that fails here may leave a payment that nobody asks about.
            log.exception("payment_fault", session_id=payment.session_id)
            if payment.is_begun:
                return StillUnknown("the agent failed while the payment ran")
            text = f"The agent failed before the reader was asked ({type(fault).__name__})."
            raise _NotBegun(Refusal("refused", "agent_fault", text)) from fault

    async def _ask_reader(
        self, slot: ReaderSlot, payment: Payment, deadline: float
    ) -> Decision | StillUnknown:
        """Claim, then let the reader take the payment. Raises _NotBegun, ReaderBusy."""
        # Before the claim: a slow reader would use up the lease with it.
        if objection := await slot.desk.prepare():
            text = f"{slot.name} cannot be asked: {objection}."
            raise _NotBegun(Refusal("refused", "reader_busy", text))
        granted = await self._granted(payment, deadline)
        lease_until = granted.claimed_at + granted.grant.lease_ms / 1000
        steps = _Steps(self._spool, self._journal, payment.request)

        async def begin(baseline: Baseline) -> None:
            if payment.cancel.is_set():
                raise _NotBegun(_CANCELLED)
            if self._clock.elapsed() >= lease_until:
                raise _NotBegun(_LEASE_OVER)
            await self._begin(payment, baseline)
            payment.is_begun = True
            # The last line before the reader is asked: the disk may have been slow.
            if self._clock.elapsed() >= lease_until:
                raise _NotBegun(_LEASE_OVER)
            withdrawal = asyncio.get_running_loop().call_later(
                lease_until - self._clock.elapsed(), self._withdraw, slot, payment
            )
            steps.on_first = withdrawal.cancel

        request = _as_payment_request(payment.request)
        if too_much := slot.desk.too_much(request):
            raise _NotBegun(Refusal("refused", "amount_above_limit", too_much))
        outcome = await slot.desk.take(
            request,
            on_begin=begin,
            on_step=steps.take,
            cancel=payment.cancel,
            authorize=self._authorizing.of(payment.request, slot.ksn_remaining_warn),
        )
        if payment.lease_is_over:
            raise _NotBegun(_LEASE_OVER)
        if isinstance(outcome, Decision) and not payment.is_begun:
            raise _NotBegun(Refusal("refused", "reader_busy", outcome.explanation or outcome.text))
        return outcome

    async def _granted(self, payment: Payment, deadline: float) -> Granted:
        """Raises _NotBegun when the server does not say yes in time."""
        granted = await self._claim(payment.command_id, deadline)
        if payment.cancel.is_set():
            raise _NotBegun(_CANCELLED)
        if granted is None:
            raise _NotBegun(
                Refusal("refused", "no_grant", "The server did not answer in time whether it may.")
            )
        if not granted.grant.granted:
            reason = granted.grant.reason or "not_granted"
            raise _NotBegun(
                Refusal(
                    "expired" if reason == "expired" else "refused",
                    reason,
                    f"The server did not allow it: {reason.replace('_', ' ')}.",
                )
            )
        return granted

    async def _begin(self, payment: Payment, baseline: Baseline) -> None:
        def change(tx: Transaction) -> None:
            sessions.begin(
                tx, payment.session_id, msgspec.json.encode(baseline), self._time.elapsed_ms()
            )
            self._spool.append(
                tx,
                SessionStep(
                    session_id=payment.session_id,
                    step="accepted",
                    reader_id=payment.request.reader_id,
                ),
            )

        await self._journal.write(change)

    def _withdraw(self, slot: ReaderSlot, payment: Payment) -> None:
        """The lease ends and the reader has not begun: what still waits in front of it is taken back."""
        if slot.desk.reader.withdraw():
            payment.lease_is_over = True

    async def _prepare(self, slot: ReaderSlot) -> None:
        if slot.objection() is None:
            async with slot.turn:
                await slot.desk.prepare()

    # --- evidence ----------------------------------------------------------------------------------------------

    def _settle_orphans(self, slot: ReaderSlot) -> None:
        orphans = self._orphans[slot.reader_id]
        if orphans and slot.unsettled is None:
            slot.unsettled = orphans[0].id
            self._spawn(lambda: self._settle(slot, orphans))

    async def _settle(self, slot: ReaderSlot, orphans: list[StoredSession]) -> None:
        def release() -> None:
            orphans.pop(0)
            slot.unsettled = orphans[0].id if orphans else None

        while orphans:
            await self._settle_one(slot, orphans[0], release)
        await self._prepare(slot)

    async def _settle_one(
        self, slot: ReaderSlot, stored: StoredSession, release: Callable[[], None]
    ) -> None:
        """Ask until the reader's books tell, or until they surely cannot."""
        steps = _Steps(self._spool, self._journal, stored.request)
        baseline = msgspec.json.decode(stored.baseline or b"{}", type=Baseline)
        pause_s = self._first_ask_s
        while True:
            outcome = await self._evidence(slot, stored, baseline, steps)
            if isinstance(outcome, Decision):
                await self._decide(stored.id, stored.command_id, stored.request, outcome, release)
                return
            if outcome.needs_person:
                await self._call_person(stored, outcome.reason)
                release()
                return
            log.info("payment_unknown", session_id=stored.id, reason=outcome.reason)
            await self._until_worth_asking(slot, pause_s)
            pause_s = min(pause_s * 2, LONGEST_ASK_S)

    async def _evidence(
        self, slot: ReaderSlot, stored: StoredSession, baseline: Baseline, steps: _Steps
    ) -> Decision | StillUnknown:
        try:
            async with slot.turn:
                return await slot.desk.settle(
                    _as_payment_request(stored.request), baseline, on_step=steps.take
                )
        except Exception:
            # Asked again later, like any answer that tells nothing.
            log.exception("evidence_fault", session_id=stored.id)
            return StillUnknown("the agent failed while it asked the reader")

    async def _until_worth_asking(self, slot: ReaderSlot, pause_s: float) -> None:
        reader = slot.desk.reader
        if reader.status.state in _CANNOT_BE_ASKED:
            await reader.until(ReaderState.READY, ReaderState.LOCKED, ReaderState.UNIDENTIFIED)
        else:
            await asyncio.sleep(pause_s)

    async def _call_person(self, stored: StoredSession, reason: str) -> None:
        """The session stays open here and unknown there; the reader may work on."""
        await self._store(
            lambda tx: self._spool.append(
                tx,
                DeviceEvent(
                    kind="payment.needs_person",
                    severity="error",
                    reader_id=stored.request.reader_id,
                    text=f"The reader's books cannot tell how the payment {stored.id} ended ({reason}). "
                    "Compare the reader's receipts with the customer's.",
                    facts={"session_id": stored.id},
                ),
            )
        )

    # --- endings -----------------------------------------------------------------------------------------------

    async def _decide(
        self,
        session_id: str,
        command_id: str,
        request: Request,
        decision: Decision,
        release: Callable[[], None],
    ) -> None:
        """Write the end of a session, once, and everything that must be told of it.

        `release` is called when it is on the disk, before anybody is told: who hears of it may begin the next at once.
        """

        def change(tx: Transaction) -> None:
            tx.afterwards(release)
            began_ms = sessions.began_ms(tx.db, session_id)
            cancels = sessions.close(tx, session_id, decision.outcome)
            if cancels is None:
                self._spool.append(tx, _late(request, decision))
                return
            self._spool.append(
                tx,
                _payment_result(
                    command_id,
                    request,
                    decision,
                    began_ms=began_ms,
                    decided_ms=self._time.elapsed_ms(),
                    cancel_asked=decision.cancel_asked or bool(cancels),
                ),
            )
            self._finish(
                tx,
                CommandResult(command_id=command_id, status="succeeded", code=decision.outcome),
            )
            self._answer_cancels(tx, cancels, decision.outcome)

        await self._store(change)
        log.info(
            "session_decided",
            session_id=session_id,
            outcome=decision.outcome,
            decided_by=decision.decided_by,
        )

    async def _end_not_begun(
        self,
        session_id: str,
        command_id: str,
        refusal: Refusal,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """The reader was never asked: the command's result tells it, and the session's own result if it had begun."""

        def change(tx: Transaction) -> None:
            tx.afterwards(release)
            stored = sessions.undecided_one(tx.db, session_id)
            cancels = sessions.close(tx, session_id, sessions.NOT_BEGUN)
            if cancels is None or stored is None:
                return
            if stored.baseline is not None:
                self._spool.append(
                    tx,
                    _payment_result(
                        command_id,
                        stored.request,
                        Decision(
                            "cancelled" if refusal.code == "cancelled" else "failed",
                            _money(stored.request),
                            "not_begun",
                            refusal.text,
                        ),
                        began_ms=stored.began_ms,
                        decided_ms=self._time.elapsed_ms(),
                        cancel_asked=bool(cancels),
                    ),
                )
            self._finish(tx, refusal.result(command_id))
            self._answer_cancels(tx, cancels, sessions.NOT_BEGUN)

        await self._store(change)
        log.info("session_not_begun", session_id=session_id, code=refusal.code)

    async def _tell_unknown(self, request: Request, reason: str) -> None:
        log.warning("payment_answer_lost", session_id=request.session_id, reason=reason)
        await self._store(
            lambda tx: self._spool.append(
                tx,
                SessionStep(
                    session_id=request.session_id,
                    step="unknown",
                    reader_id=request.reader_id,
                    text=reason[:200],
                ),
            )
        )

    def _answer_cancels(self, tx: Transaction, cancels: tuple[str, ...], outcome: str) -> None:
        for command_id in cancels:
            won = outcome in _STOPPED
            self._finish(
                tx,
                CommandResult(
                    command_id=command_id,
                    status="succeeded" if won else "too_late",
                    code=outcome,
                    text="" if won else f"The payment was {outcome} before it could be stopped.",
                ),
            )

    def _finish(self, tx: Transaction, result: CommandResult) -> None:
        inbox.finish(tx, result.command_id, self._spool.append(tx, result))

    async def _store(self, change: Callable[[Transaction], object]) -> None:
        """Store what has happened, as often as it takes: the world does not undo it when the disk is full."""
        while True:
            try:
                await self._journal.write(change)
            except JournalUnwritable:
                await asyncio.sleep(STORE_AGAIN_S)
            else:
                return

    async def _stored(self, session_id: str) -> StoredSession | None:
        return await self._journal.read(lambda db: sessions.undecided_one(db, session_id))

    def _unix(self) -> int:
        return int(self._time.now().timestamp())

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            try:
                await work()
            except Exception:
                # One payment's trouble is not another's; what is open stays in the journal.
                log.exception("tap_task_failed")

        if self._group is None:
            raise RuntimeError("taps do not run")
        self._group.create_task(guarded())


@contextlib.asynccontextmanager
async def _in_turn(slot: ReaderSlot, patience_s: float) -> AsyncIterator[None]:
    """Have the reader for oneself. Raises _NotBegun when others need it for longer than the command lives."""
    try:
        async with asyncio.timeout(patience_s):
            await slot.turn.acquire()
    except TimeoutError:
        raise _NotBegun(_EXPIRED) from None
    try:
        yield
    finally:
        slot.turn.release()


_EXPIRED: Final = Refusal(
    "expired", "expired_locally", "It had waited longer on the device than it may."
)
_NO_READER: Final = Refusal("refused", "unknown_reader", "There is no such reader here.")
_CANCELLED: Final = Refusal("refused", "cancelled", "It was cancelled before the reader was asked.")
_LEASE_OVER: Final = Refusal(
    "too_late", "lease_over", "The lease ended before the reader could be asked."
)


class _Steps:
    """Writes the steps of one session into the outbox, without repeating one."""

    def __init__(self, spool: Spool, journal: Journal, request: Request) -> None:
        self._spool = spool
        self._journal = journal
        self._request = request
        self._last: PaymentStep | None = None
        self.on_first: Callable[[], None] = lambda: None
        """Called at the first step: the reader has begun."""

    def take(self, step: PaymentStep) -> None:
        self.on_first()
        if step == self._last:
            return
        self._last = step
        message = msgspec.convert(
            {
                "session_id": self._request.session_id,
                "reader_id": self._request.reader_id,
                "step": step.step,
                "code": step.code,
                "text": step.text[:200],
            },
            SessionStep,
        )
        stored = self._journal.submit(lambda tx: self._spool.append(tx, message))
        stored.add_done_callback(_note_lost_step)


def _note_lost_step(stored: asyncio.Future[Position]) -> None:
    # Steps only show the way; the end of the session is stored as often as it takes.
    if not stored.cancelled() and (error := stored.exception()) is not None:
        log.warning("session_step_lost", reason=str(error))


def _money(request: Request) -> Money:
    return Money(request.amount_minor, request.currency)


def _as_payment_request(request: Request) -> PaymentRequest:
    if isinstance(request, StartPayment):
        return PaymentRequest(
            _money(request), kind=request.transaction, card_timeout_s=request.card_timeout_s
        )
    return PaymentRequest(_money(request), kind="reversal", receipt_number=request.receipt_number)


def _payment_result(
    command_id: str,
    request: Request,
    decision: Decision,
    *,
    began_ms: int,
    decided_ms: int,
    cancel_asked: bool,
) -> PaymentResult:
    facts = decision.facts
    return PaymentResult(
        session_id=request.session_id,
        reader_id=request.reader_id,
        kind=request.transaction if isinstance(request, StartPayment) else "reversal",
        outcome=decision.outcome,
        amount_minor=decision.amount.minor,
        currency=decision.amount.currency,
        decided_by=decision.decided_by,
        explanation=decision.explanation[:2000],
        command_id=command_id,
        result_code=decision.code,
        result_text=decision.text[:200],
        terminal_id=facts.terminal_id,
        merchant_number=facts.merchant_number,
        receipt_number=facts.receipt_number,
        trace_number=facts.trace_number,
        authorization_code=facts.authorization_code,
        masked_pan=facts.card.masked_pan,
        card_brand=facts.card.brand,
        entry_mode=facts.card.entry_mode,
        verification=facts.card.verification,
        aid=facts.card.aid,
        application_label=facts.card.application_label,
        reader_clock=_reader_clock(facts),
        receipt_lines=_fitting(decision.receipt_lines),
        merchant_receipt_lines=_fitting(decision.merchant_receipt_lines),
        started_mono_ms=began_ms,
        decided_mono_ms=decided_ms,
        cancel_asked=cancel_asked,
        **_shop_words(request),
    )


def _reader_clock(facts: PaymentFacts) -> str | None:
    if facts.reader_date and facts.reader_time:
        return f"{facts.reader_date} {facts.reader_time}"
    return None


def _shop_words(request: Request) -> _ShopWords:
    if isinstance(request, StartPayment):
        return {
            "note": request.note,
            "reference": request.reference,
            "cashier_id": request.cashier_id,
        }
    return {"note": "", "reference": "", "cashier_id": None}


class _ShopWords(TypedDict):
    note: str
    reference: str
    cashier_id: str | None


#: Leaves room for the rest of the message below the largest payload, whatever has to be escaped.
_MOST_RECEIPT_BYTES: Final = 10_000


def _fitting(lines: tuple[str, ...]) -> list[str]:
    """As many receipt lines as a message can carry."""
    kept, size = [], 0
    for line in lines:
        size += len(msgspec.json.encode(line)) + 1
        if size > _MOST_RECEIPT_BYTES:
            break
        kept.append(line)
    return kept


def _late(request: Request, decision: Decision) -> DeviceEvent:
    return DeviceEvent(
        kind="payment.late_result",
        severity="warning",
        reader_id=request.reader_id,
        text=f"A result came for the payment {request.session_id} after it had ended.",
        facts={
            "session_id": request.session_id,
            "outcome": decision.outcome,
            "amount_minor": str(decision.amount.minor),
            "receipt_number": str(decision.facts.receipt_number or ""),
        },
    )
