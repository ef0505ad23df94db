"""An agent's insides without a cloud: real journal, real readers on simulated terminals, a server that a test plays.

Also the terminal's own view: what it was asked and what it booked, which no agent can talk away.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from agent import support
from agent.clock import SystemClock
from agent.cloud import Granted
from agent.commands import AgentActions, Commands
from agent.config import ReaderConfig
from agent.errors import AgentError
from agent.firmware.updates import Pauses, Updates
from agent.journal import Journal, JournalUnwritable
from agent.journal import Transaction as JournalTransaction
from agent.log_tail import LogTail
from agent.mqtt_link import Received
from agent.outbox_pump import OutboxPump
from agent.reader_settings import ReaderSettings
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import MemorySocket
from agent.spool import START, Spool
from agent.supervisor import Supervisor
from agent.tap import Taps
from agent.timekeeping import DeviceTime
from protocols.cloud.commands import (
    AuthorizationAnswer,
    Command,
    CommandBody,
    Grant,
    StartPayment,
    encode,
)
from protocols.cloud.envelope import open_envelope
from protocols.cloud.events import (
    AuthorizationAsk,
    CommandResult,
    DeviceEvent,
    PaymentResult,
    ReaderTotals,
    SessionStep,
    StreamData,
)
from protocols.cloud.topics import Channel, Stream
from protocols.readers.zvt.store import Kind, State
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from agent.doctor import Finding
    from protocols.readers.zvt.peer import ZvtTerminal
    from protocols.readers.zvt.store import Transaction

T = TypeVar("T")

_names = itertools.count(1)


class LateClock(SystemClock):
    """The machine's clocks; a test may let time that nobody noticed pass, as a machine that stalled."""

    def __init__(self) -> None:
        self.stalled_s = 0.0

    def elapsed(self) -> float:
        return super().elapsed() + self.stalled_s


class Fate(Enum):
    """What becomes of a change that is handed to the journal."""

    STORED = auto()
    DISK_FULL = auto()
    """Refused; nothing is stored."""
    DIED_BEFORE = auto()
    """The machine dies before it is stored."""
    DIED_AFTER = auto()
    """It is stored, and the machine dies before anybody hears of it."""


class FatefulJournal(Journal):
    """The real journal, on a machine whose disk fills and whose power fails when a test says so.

    `fate` gets the number of the change, from 1. After a death nothing is stored any more and nobody gets an answer.
    """

    def __init__(self, folder: Path, clock: LateClock) -> None:
        super().__init__(folder, now=clock.now())
        self.fate: Callable[[int], Fate] = lambda _: Fate.STORED
        self.changes = 0
        self.is_dead = asyncio.Event()

    def limit_to(self, room_bytes: int) -> None:
        """Pretend that no more than this is free."""
        self.room_bytes = lambda: room_bytes  # type: ignore[method-assign]  # the disk is the test's

    def submit(self, change: Callable[[JournalTransaction], T]) -> asyncio.Future[T]:
        never: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self.is_dead.is_set():
            return never
        self.changes += 1
        match self.fate(self.changes):
            case Fate.STORED:
                return super().submit(change)
            case Fate.DISK_FULL:
                never.set_exception(JournalUnwritable("the disk is full"))
            case Fate.DIED_BEFORE:
                self.is_dead.set()
            case Fate.DIED_AFTER:
                super().submit(change).add_done_callback(lambda _: self.is_dead.set())
        return never


@dataclass
class Server:
    """What the control plane does with claims. `answer` may be replaced by a test."""

    lease_ms: int = 2000
    claims: list[str] = field(default_factory=list)
    answer: Callable[[str], Awaitable[Grant | None]] | None = None
    refusal: str = ""
    cards: list[AuthorizationAsk] = field(default_factory=list)
    issuer: Callable[[AuthorizationAsk], Awaitable[AuthorizationAnswer | None]] | None = None
    """What is said to cards of encrypting readers; without it nobody is reached."""

    files: dict[str, bytes] = field(default_factory=dict)
    """What can be downloaded, by its path."""
    authority_pem: Callable[[], bytes] = bytes
    fetched: list[str] = field(default_factory=list)
    fetch_error: Exception | None = None

    async def fetch(self, path: str) -> bytes:
        """A piece of a file, as the control plane gives it."""
        self.fetched.append(path)
        if self.fetch_error is not None:
            raise self.fetch_error
        name, _, query = path.partition("?")
        wanted = dict(part.split("=") for part in query.split("&"))
        offset, length = int(wanted["offset"]), int(wanted["length"])
        return self.files[name][offset : offset + length]

    async def authorize(self, ask: AuthorizationAsk) -> AuthorizationAnswer | None:
        self.cards.append(ask)
        return None if self.issuer is None else await self.issuer(ask)

    async def grant(self, command_id: str) -> Grant | None:
        self.claims.append(command_id)
        if self.answer is not None:
            return await self.answer(command_id)
        return msgspec.convert(
            {
                "command_id": command_id,
                "nonce": "nonce-1",
                "granted": not self.refusal,
                "lease_ms": self.lease_ms,
                "reason": self.refusal,
            },
            Grant,
        )


class Terminal:
    """A simulated terminal that outlives the agents that drive it."""

    def __init__(
        self, clock: SystemClock, *, pace: float = 0.02, script: str | None = "approve"
    ) -> None:
        self.name = f"till-{next(_names)}"
        self.machine = cast(
            "ZvtTerminal",
            terminal("zvt", "tcp", clock, script=script, pace=pace, password="000000"),
        )
        self.simulated = SimulatedReader(self.machine, MemorySocket(self.name), clock=clock)

    @property
    def purchases(self) -> list[Transaction]:
        """Every purchase that the terminal was asked for, whatever became of it."""
        return [one for one in self.machine.store.transactions if one.kind is Kind.PURCHASE]

    @property
    def charged_minor(self) -> list[int]:
        """What customers paid."""
        return [one.amount_minor for one in self.purchases if one.state is State.DONE]

    def next_goes(self, script: str) -> None:
        """The next payment goes as this story tells."""
        self.machine.queue_script(script)


class Till:
    """One life of an agent: stop it and make another on the same folder to restart it."""

    def __init__(
        self,
        folder: Path,
        terminals: list[Terminal],
        clock: LateClock,
        server: Server,
        *,
        configs: Sequence[ReaderConfig] = (),
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.server = server
        self.terminals = terminals
        self.time = DeviceTime(clock)
        self.journal = FatefulJournal(folder, clock)
        self.spool = Spool(self.journal, self.time)
        self.sent: list[tuple[Channel, bytes]] = []
        self.pump = OutboxPump(self.spool, clock, self._send, first_resend_s=60)
        self.taps = Taps(
            self.journal,
            self.spool,
            self.time,
            clock,
            claim=self._claim,
            authorize=self._authorize,
            first_ask_s=0.05,
        )
        self.settings = ReaderSettings(folder, "dev-test", key=bytes)
        self.bundles: dict[str, bytes] = {}
        self.restarts = 0
        self.reports = 0
        self.renewal: AgentError | None = None
        self.updates = Updates(
            self.journal,
            self.spool,
            self.taps,
            self.time,
            clock,
            folder=folder / "firmware",
            fetch=server.fetch,
            authorities=server.authority_pem,
            pauses=Pauses(look_s=0.02, again_s=0.05, settle_s=0.5),
        )
        self.commands = Commands(
            self.journal,
            self.spool,
            self.pump,
            self.taps,
            self.time,
            clock,
            AgentActions(
                report=self._report,
                restart=self._restart,
                update=self.updates.take,
                transferring=self.updates.transferring,
                renew=self._renew,
                self_test=self._self_test,
                tail=LogTail(self._send, clock).begin,
                send_bundle=self._send_bundle,
            ),
        )
        self.readers = Supervisor(
            configs
            or [
                ReaderConfig(
                    name=one.name, profile="generic-zvt-tcp", address=f"memory://{one.name}"
                )
                for one in terminals
            ],
            self.journal,
            self.spool,
            self.taps,
            self.time,
            clock,
            changed=lambda: None,
            settings=self.settings.of,
            jitter=lambda: 0.0,
        )
        self.settings.profile_of = self.readers.profile_of
        self.settings.on_change = self.readers.settings_changed

    def _send(self, channel: Channel, payload: bytes) -> bool:
        self.sent.append((channel, payload))
        return True

    async def _claim(self, command_id: str, give_up_at: float) -> Granted | None:
        claimed_at = self.clock.elapsed()
        try:
            async with asyncio.timeout(max(0.0, give_up_at - self.clock.elapsed())):
                grant = await self.server.grant(command_id)
        except TimeoutError:
            return None
        return None if grant is None else Granted(grant, claimed_at)

    async def _authorize(
        self, ask: AuthorizationAsk, give_up_at: float
    ) -> AuthorizationAnswer | None:
        try:
            async with asyncio.timeout(max(0.0, give_up_at - self.clock.elapsed())):
                return await self.server.authorize(ask)
        except TimeoutError:
            return None

    def _report(self) -> None:
        self.reports += 1

    def _restart(self) -> None:
        self.restarts += 1

    async def _renew(self) -> None:
        if self.renewal is not None:
            raise self.renewal

    async def _self_test(self) -> list[Finding]:
        return await support.self_test(self.folder, self.clock, self.taps, self.readers.reported())

    async def _send_bundle(self, command_id: str) -> int:
        packed = await support.bundle({"state": {"boot": 1}}, await self._self_test())
        self.bundles[command_id] = packed
        return len(packed)

    # --- what a test asks --------------------------------------------------------------------------------------

    @property
    def reader_id(self) -> str:
        """Of the first terminal."""
        return self.readers.reported()[0].reader_id

    def payment(
        self, session_id: str = "ts_0001", minor: int = 1234, **changes: object
    ) -> StartPayment:
        """A request to pay on the first terminal."""
        request = StartPayment(
            session_id=session_id, reader_id=self.reader_id, amount_minor=minor, currency="EUR"
        )
        return msgspec.structs.replace(request, **changes)

    def receive(
        self,
        body: CommandBody,
        command_id: str = "cmd_0001",
        *,
        ttl_ms: int = 10_000,
        waited_s: float = 0.0,
        is_retained: bool = False,
    ) -> None:
        """Let a command arrive that then waited in the agent for `waited_s`."""
        command = Command(
            id=command_id, ttl_ms=ttl_ms, issued_at="then", expires_at="later", body=body
        )
        self.receive_bytes(encode(command), waited_s=waited_s, is_retained=is_retained)

    def receive_bytes(
        self, payload: bytes, *, waited_s: float = 0.0, is_retained: bool = False
    ) -> None:
        at = self.clock.elapsed() - waited_s
        self.commands.received(Received(Channel.COMMAND, payload, at, is_retained))

    async def told(self, stream: Stream) -> list[StreamData]:
        """Everything in the outbox, oldest first."""
        rows = await self.spool.waiting(stream, START, 10_000)
        return [open_envelope(row.payload).data for row in rows]

    async def results(self) -> list[CommandResult]:
        """Results of commands."""
        return [one for one in await self.told(Stream.RESULTS) if isinstance(one, CommandResult)]

    async def payments(self) -> list[PaymentResult]:
        """Results of sessions."""
        told = await self.told(Stream.TRANSACTIONS)
        return [one for one in told if isinstance(one, PaymentResult)]

    async def steps(self, session_id: str = "ts_0001") -> list[str]:
        """Steps of a session."""
        told = await self.told(Stream.EVENTS)
        return [
            one.step
            for one in told
            if isinstance(one, SessionStep) and one.session_id == session_id
        ]

    async def events(self) -> list[DeviceEvent]:
        """Other events, without the comings and goings of readers."""
        told = await self.told(Stream.EVENTS)
        return [
            one
            for one in told
            if isinstance(one, DeviceEvent) and not one.kind.startswith("reader.")
        ]

    async def totals(self) -> list[ReaderTotals]:
        """What readers told at their end of day."""
        return [one for one in await self.told(Stream.EVENTS) if isinstance(one, ReaderTotals)]

    async def result_of(self, command_id: str = "cmd_0001") -> CommandResult:
        """Wait for the one result of a command."""

        async def found() -> list[CommandResult]:
            return [one for one in await self.results() if one.command_id == command_id]

        await eventually_async(found, deadline_s=10)
        (result,) = await found()
        return result

    async def payment_of(self, session_id: str = "ts_0001") -> PaymentResult:
        """Wait for the one result of a session."""

        async def found() -> list[PaymentResult]:
            return [one for one in await self.payments() if one.session_id == session_id]

        await eventually_async(found, deadline_s=10)
        (result,) = await found()
        return result

    async def until_ready(self) -> None:
        """All terminals are connected and known."""

        async def ready() -> bool:
            reported = self.readers.reported()
            return len(reported) == len(self.terminals) and all(
                one.state == "ready" and self.taps.slot(one.reader_id) is not None
                for one in reported
            )

        await eventually_async(ready, deadline_s=10)


@asynccontextmanager
async def opened(till: Till) -> AsyncIterator[Till]:
    """Let an agent live; when this ends it is gone as by a power cut: nothing is said, nothing finished."""
    till.journal.start()
    await till.spool.load()
    await till.taps.recover()
    await till.updates.recover()
    await till.commands.recover()
    tasks = [
        asyncio.create_task(part)
        for part in (
            till.taps.run(),
            till.updates.run(),
            till.commands.run(),
            till.readers.run(),
            till.pump.run(),
        )
    ]
    till.pump.open()
    await asyncio.sleep(0)
    try:
        yield till
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await till.journal.close()


@asynccontextmanager
async def plugged_in(*terminals: Terminal) -> AsyncIterator[None]:
    """Let terminals run."""
    async with AsyncExitStack() as stack:
        for one in terminals:
            task = asyncio.create_task(one.simulated.run())

            async def stop(task: asyncio.Task[None] = task) -> None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            stack.push_async_callback(stop)
        yield


@asynccontextmanager
async def till_with_terminal(
    folder: Path, *, script: str | None = "approve", pace: float = 0.02
) -> AsyncIterator[Till]:
    """A till with one connected terminal, ready to pay."""
    clock = LateClock()
    one = Terminal(clock, script=script, pace=pace)
    async with plugged_in(one), opened(Till(folder, [one], clock, Server())) as till:
        await till.until_ready()
        yield till
