"""Commands from the cloud: understood strictly, run at most once by their id, always answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from agent import inbox, sessions
from agent.errors import AgentError, ReaderBusy
from agent.journal import JournalDamaged, JournalUnwritable
from agent.support import output_of
from agent.tap import Refusal, Status
from agent.totals import reports_of
from protocols.cloud.commands import (
    CancelPayment,
    CloseReaderDay,
    Command,
    CommandBody,
    DiagnoseReader,
    FetchLogs,
    RebootReader,
    RenewCertificate,
    ReportNow,
    RestartAgent,
    ReversePayment,
    SelfTest,
    ShowReaderText,
    StartPayment,
    TailLog,
    UpdateReader,
    open_command,
)
from protocols.cloud.envelope import body_hash
from protocols.cloud.events import CommandResult, DeviceEvent
from protocols.cloud.topics import Stream
from protocols.errors import MalformedMessage
from protocols.readers.protocol import (
    Diagnose,
    EndOfDay,
    Finished,
    Outcome,
    Restart,
    ShowText,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent.clock import Clock
    from agent.doctor import Finding
    from agent.inbox import Known
    from agent.journal import Journal, Transaction
    from agent.mqtt_link import Received
    from agent.outbox_pump import OutboxPump
    from agent.spool import Position, Spool
    from agent.tap import ReaderSlot, Taps
    from agent.timekeeping import DeviceTime
    from protocols.cloud.events import ReaderTotals, StreamData
    from protocols.readers.protocol import ReaderCommand

log = structlog.get_logger()

#: The version of `dn/cmd` that is understood here.
VERSION: Final = 1
#: Unreadable messages without an id that are remembered, so that each is told once.
_MOST_UNREADABLE: Final = 100

ReaderBody = RebootReader | DiagnoseReader | CloseReaderDay | ShowReaderText

#: What a person reads while the reader does it, and the command that it takes.
_ON_READER: Final[dict[type, str]] = {
    RebootReader: "it is being restarted",
    DiagnoseReader: "it is testing its line",
    CloseReaderDay: "it is closing its day",
    ShowReaderText: "it is showing a text",
}
#: Outcomes of a reader's command that are not success, as codes.
_FAILURES: Final = {
    Outcome.BUSY: "reader_busy",
    Outcome.UNSUPPORTED: "unsupported",
    Outcome.LOST: "answer_lost",
}


@dataclass(frozen=True, slots=True)
class AgentActions:
    """What commands may ask of the agent itself."""

    report: Callable[[], None]
    restart: Callable[[], None]
    """Begin to end this process; returns at once."""
    update: Callable[[UpdateReader], Awaitable[Refusal | None]]
    """Take on new software for a reader, or say why not."""
    transferring: Callable[[], list[str]]
    """Readers whose software is on its way at this moment."""
    renew: Callable[[], Awaitable[None]]
    """Raises AgentError when there is no new certificate."""
    self_test: Callable[[], Awaitable[list[Finding]]]
    tail: Callable[[str, TailLog, asyncio.TaskGroup], int]
    """Begin to send the log; how many lines there were."""
    send_bundle: Callable[[str], Awaitable[int]]
    """Send the bundle for this command; its bytes. Raises AgentError."""


@dataclass(frozen=True, slots=True)
class _Done:
    """How a command ended here, and what else is to be told with it."""

    result: CommandResult
    also: tuple[StreamData, ...] = ()


class Commands:
    """Takes what comes on `dn/cmd`. `run` holds the work; `received` may be called once it runs."""

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        pump: OutboxPump,
        taps: Taps,
        time: DeviceTime,
        clock: Clock,
        actions: AgentActions,
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._pump = pump
        self._taps = taps
        self._time = time
        self._clock = clock
        self._actions = actions
        self._group: asyncio.TaskGroup | None = None
        self._unreadable: OrderedDict[str, None] = OrderedDict()

    async def run(self) -> None:
        """Hold the commands that run, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await asyncio.Event().wait()

    async def recover(self) -> None:
        """After a start: answer commands that the last life of the agent left without a result."""

        def change(tx: Transaction) -> None:
            waiting = {
                command_id
                for stored in sessions.undecided(tx.db)
                for command_id in (stored.command_id, *stored.cancels)
            }
            for command_id in inbox.unfinished(tx.db):
                if command_id not in waiting:
                    self._finish(tx, _Done(_INTERRUPTED.result(command_id)))

        await self._journal.write(change)

    def received(self, received: Received) -> None:
        """A command arrived, on whatever line; it is answered in its own time."""
        self._running.create_task(self._guard(received))

    @property
    def _running(self) -> asyncio.TaskGroup:
        if self._group is None:
            raise RuntimeError("commands do not run")
        return self._group

    async def _guard(self, received: Received) -> None:
        try:
            await self._handle(received)
        except (JournalUnwritable, JournalDamaged) as error:
            # Nothing was remembered, so nothing was run; the server sends it again.
            log.warning("command_not_taken", reason=error.message)
        except Exception:
            log.exception("command_fault")

    async def _handle(self, received: Received) -> None:
        try:
            command = open_command(received.payload)
        except MalformedMessage as malformed:
            await self._reject_unreadable(received.payload, malformed)
            return
        deadline = received.at + command.ttl_ms / 1000
        body = command.body
        known: Known | None
        if command.v != VERSION or received.is_retained:
            refusal = _RETAINED if received.is_retained else _TOO_NEW
            known = await self._refuse(command.id, body, refusal)
        elif isinstance(body, StartPayment | ReversePayment):
            known = await self._taps.take(command, body, deadline)
        elif isinstance(body, CancelPayment):
            known = await self._taps.cancel(command, body)
        else:
            known = await self._run_once(command, deadline)
        if known is not None and known.result is not None:
            await self._tell_again(command.id, known.result)

    # --- exactly once ------------------------------------------------------------------------------------------

    async def _run_once(self, command: Command, deadline: float) -> Known | None:
        known = await self._journal.write(lambda tx: self._accept(tx, command.id, command.body))
        if known is not None:
            return known
        log.info("command_begun", command_id=command.id, kind=_kind(command.body))
        if self._clock.elapsed() >= deadline:
            done = _Done(_EXPIRED.result(command.id))
        else:
            try:
                done = await self._do(command, deadline)
            except AgentError as error:
                done = _Done(_failed(command.id, error.code, error.message))
        await self._journal.write(lambda tx: self._finish(tx, done))
        log.info(
            "command_done", command_id=command.id, status=done.result.status, code=done.result.code
        )
        if isinstance(command.body, RestartAgent) and done.result.status == "succeeded":
            self._actions.restart()
        return None

    def _accept(self, tx: Transaction, command_id: str, body: CommandBody | None) -> Known | None:
        return inbox.accept(tx, command_id, _kind(body), int(self._time.now().timestamp()))

    def _finish(self, tx: Transaction, done: _Done) -> None:
        for message in done.also:
            self._spool.append(tx, message)
        inbox.finish(tx, done.result.command_id, self._spool.append(tx, done.result))

    async def _refuse(
        self, command_id: str, body: CommandBody | None, refusal: Refusal
    ) -> Known | None:
        def change(tx: Transaction) -> Known | None:
            if known := self._accept(tx, command_id, body):
                return known
            self._finish(tx, _Done(refusal.result(command_id)))
            return None

        return await self._journal.write(change)

    async def _tell_again(self, command_id: str, result: Position) -> None:
        """It was delivered twice: the server may not have the result yet."""
        log.info("command_repeated", command_id=command_id)
        await self._pump.send_row(Stream.RESULTS, result)

    async def _reject_unreadable(self, payload: bytes, malformed: MalformedMessage) -> None:
        command_id = str(malformed.facts.get("command_id") or "")
        reason = malformed.reason
        log.warning("command_unreadable", command_id=command_id, reason=reason)
        if command_id:
            refusal = Refusal("rejected", "unknown_field", f"It is not understood here: {reason}.")
            known = await self._refuse(command_id, None, refusal)
            if known is not None and known.result is not None:
                await self._tell_again(command_id, known.result)
            return
        digest = body_hash(payload)
        if digest in self._unreadable:
            return
        self._unreadable[digest] = None
        if len(self._unreadable) > _MOST_UNREADABLE:
            self._unreadable.popitem(last=False)
        await self._spool.record(
            DeviceEvent(
                kind="command.unreadable",
                severity="warning",
                text=f"A command came without an id that can be read: {reason}."[:2000],
                facts={"hash": digest},
            )
        )

    # --- the commands ------------------------------------------------------------------------------------------

    async def _do(self, command: Command, deadline: float) -> _Done:
        """Raises AgentError."""
        match command.body:
            case RebootReader() | DiagnoseReader() | CloseReaderDay() | ShowReaderText() as body:
                return await self._on_reader(command.id, body, deadline)
            case UpdateReader() as body:
                if refusal := await self._actions.update(body):
                    return _Done(refusal.result(command.id))
            case RestartAgent():
                return await self._before_restart(command.id, deadline)
            case ReportNow():
                self._actions.report()
            case RenewCertificate():
                await self._actions.renew()
            case SelfTest():
                return _examined(command.id, await self._actions.self_test())
            case TailLog() as body:
                count = self._actions.tail(command.id, body, self._running)
                return _Done(_succeeded(command.id, lines=count))
            case FetchLogs():
                return _Done(
                    _succeeded(command.id, bytes=await self._actions.send_bundle(command.id))
                )
            case _:
                raise AssertionError(f"{_kind(command.body)} is not run here")
        return _Done(_succeeded(command.id))

    async def _on_reader(self, command_id: str, body: ReaderBody, deadline: float) -> _Done:
        slot = self._taps.slot(body.reader_id)
        if slot is None:
            text = f"There is no reader {body.reader_id} here."
            return _Done(Refusal("refused", "unknown_reader", text).result(command_id))
        if refusal := slot.objection():
            return _Done(refusal.result(command_id))
        if isinstance(body, RebootReader) and (
            other := self._taps.out_of_service(besides=body.reader_id)
        ):
            text = f"{other} is out of service; restart {slot.name} when it is back."
            return _Done(Refusal("refused", "other_reader_away", text).result(command_id))
        slot.occupied_by = _ON_READER[type(body)]
        try:
            async with asyncio.timeout(deadline - self._clock.elapsed()):
                await slot.turn.acquire()
            closed: tuple[ReaderTotals, ...] = ()
            try:
                if isinstance(body, RebootReader) and _closes_first(slot):
                    day = await slot.desk.reader.execute(EndOfDay())
                    if day.outcome is not Outcome.DONE:
                        return _Done(_day_open(command_id, slot, day))
                    if day.totals is not None:
                        closed = reports_of(slot.reader_id, day.totals, closed=True)
                finished = await slot.desk.reader.execute(_reader_command(body))
            finally:
                slot.turn.release()
        except ReaderBusy as busy:
            return _Done(Refusal("refused", busy.code, busy.message).result(command_id))
        except TimeoutError:
            return _Done(_EXPIRED.result(command_id))
        finally:
            slot.occupied_by = ""
        done = _reported(command_id, body, slot, finished)
        return _Done(done.result, (*closed, *done.also))

    async def _before_restart(self, command_id: str, deadline: float) -> _Done:
        """Wait until no payment runs and no reader takes software; payments that come meanwhile are refused."""
        while self._taps.running() or self._actions.transferring():
            if self._clock.elapsed() >= deadline:
                is_update = not self._taps.running()
                code = "update_running" if is_update else "payment_running"
                what = "A reader took new software" if is_update else "A payment ran"
                text = f"{what} all the time until the command expired."
                return _Done(Refusal("expired", code, text).result(command_id))
            await asyncio.sleep(RESTART_POLL_S)
        self._taps.close_for_new()
        return _Done(_succeeded(command_id))


#: How often a deferred restart looks whether the payment has ended.
RESTART_POLL_S: Final = 0.25

_EXPIRED: Final = Refusal(
    "expired", "expired_locally", "It had waited longer on the device than it may."
)
_INTERRUPTED: Final = Refusal(
    "failed", "interrupted", "The agent was restarted while it ran; it may have been done."
)
_TOO_NEW: Final = Refusal("rejected", "unknown_version", "This agent is too old for it.")
_RETAINED: Final = Refusal(
    "rejected", "retained", "A broker had kept it, so nobody can say how old it is."
)


def _kind(body: CommandBody | None) -> str:
    return "unreadable" if body is None else str(type(body).__struct_config__.tag)


def _reader_command(body: ReaderBody) -> ReaderCommand:
    match body:
        case RebootReader():
            return Restart()
        case DiagnoseReader():
            return Diagnose()
        case CloseReaderDay():
            return EndOfDay()
        case ShowReaderText():
            return ShowText(tuple(body.lines), body.seconds)


def _closes_first(slot: ReaderSlot) -> bool:
    """What a reader has not handed in could be lost when it restarts; its profile says whether."""
    profile = slot.profile
    firmware = profile.firmware if profile else None
    return firmware is not None and firmware.preconditions.end_of_day


def _day_open(command_id: str, slot: ReaderSlot, day: Finished) -> CommandResult:
    text = f"{slot.name} did not close its day, so it was not restarted: {day.text or day.outcome}"
    return _failed(command_id, "day_not_closed", text)


def _reported(command_id: str, body: ReaderBody, slot: ReaderSlot, finished: Finished) -> _Done:
    output = {name: str(value)[:200] for name, value in finished.details.items()}
    if finished.code is not None:
        output["code"] = str(finished.code)
    is_restarting = isinstance(body, RebootReader) and finished.outcome is Outcome.LOST
    if finished.outcome is not Outcome.DONE and not is_restarting:
        code = _FAILURES.get(finished.outcome, f"reader_{finished.outcome.value}")
        status: Status = "refused" if finished.outcome is Outcome.BUSY else "failed"
        text = finished.text or finished.outcome.value
        return _Done(
            CommandResult(
                command_id=command_id,
                status=status,
                code=code,
                text=f"{slot.name}: {text}"[:2000],
                output=output,
            )
        )
    done = CommandResult(
        command_id=command_id, status="succeeded", text=finished.text[:2000], output=output
    )
    totals = finished.totals
    if totals is None or not isinstance(body, CloseReaderDay):
        return _Done(done)
    return _Done(done, reports_of(slot.reader_id, totals, closed=True))


def _succeeded(command_id: str, **output: int) -> CommandResult:
    return CommandResult(
        command_id=command_id,
        status="succeeded",
        output={name: str(value) for name, value in output.items()},
    )


def _examined(command_id: str, checks: Sequence[Finding]) -> _Done:
    bad = [one for one in checks if one.health.value == "bad"]
    done = _succeeded(command_id)
    if bad:
        done = _failed(command_id, "self_test_failed", f"{bad[0].name}: {bad[0].words}")
    return _Done(msgspec.structs.replace(done, output=output_of(checks)))


def _failed(command_id: str, code: str, text: str) -> CommandResult:
    return CommandResult(command_id=command_id, status="failed", code=code, text=text[:2000])
