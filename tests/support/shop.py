"""A till and a simulated terminal on one desk, in virtual time, with somebody who pulls the cable at any moment.

A *moment* is one chunk of bytes that the terminal sends or receives while the payment in question runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

from agent.payment import Baseline, Decision, PaymentDesk, PaymentRequest, StillUnknown
from agent.readers.connecting import machine_for
from agent.readers.reader import Reader, ReaderState, Timing
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import MemorySocket
from agent.transports import transport_for
from firmware_profiles import load_profile
from protocols.money import Money
from protocols.readers.zvt import messages
from protocols.readers.zvt.apdu import Apdu, ApduStream
from protocols.readers.zvt.serial_link import FrameReader
from protocols.readers.zvt.store import Kind, State
from tests.fakes.virtual_time import VirtualClock, virtual_clock

if TYPE_CHECKING:
    from agent.errors import Lost
    from agent.evidence import PaymentOutcome
    from agent.payment import PaymentStep
    from agent.simulator.sockets import Line
    from agent.transports.memory import MemoryEnd
    from protocols.readers.zvt.peer import ZvtTerminal
    from protocols.readers.zvt.store import Transaction

AMOUNT = Money(12_34, "EUR")
_KINDS: Final = {"sale": Kind.PURCHASE, "refund": Kind.REFUND, "reversal": Kind.REVERSAL}
_MOST_QUESTIONS = 100
_BETWEEN_QUESTIONS_S = 5.0
#: Longer than a terminal goes on by itself after anything that happens here.
_AFTERWARDS_S = 600.0


@dataclass(frozen=True)
class Scenario:
    """What happens around one payment. Moments count from 0; None: never."""

    framing: str = "tcp"
    script: str = "approve"
    kind: Literal["sale", "refund", "reversal"] = "sale"
    fault: str | None = None
    cut_at: int | None = None
    cut_loses: bool = False
    """The bytes of that moment never arrive."""
    away_s: float = 1.0
    """How long the cable stays out."""
    cancel_at: int | None = None
    crash_at: int | None = None
    """The agent dies; another one settles with what was durable."""


@dataclass
class Played:
    """How it ended."""

    decision: Decision | None
    """None: the payment had not begun when the agent died."""
    charged: list[Transaction]
    """What the terminal's own memory says was paid, long afterwards."""
    recorded: list[Transaction]
    commands: list[bytes]
    """Every message with a money command that left the till for this payment."""
    moments: int
    steps: list[str]
    next_sale: Decision | StillUnknown
    next_charged: list[Transaction]
    totals_minor: int


@dataclass
class _Wire:
    """Counts moments and does what is due at each."""

    on_moment: Callable[[int], bool]
    """Gets the number of the moment; True when its bytes are lost."""
    is_counting: bool = False
    moments: int = 0
    from_till: bytearray = field(default_factory=bytearray)

    def pass_on(self, chunk: bytes, *, is_from_till: bool) -> bool:
        if not self.is_counting:
            return True
        if is_from_till:
            self.from_till += chunk
        moment, self.moments = self.moments, self.moments + 1
        return not self.on_moment(moment)


class _WatchedLine:
    def __init__(self, line: Line, wire: _Wire) -> None:
        self._line = line
        self._wire = wire

    @property
    def lost(self) -> Lost | None:
        return self._line.lost

    async def read(self) -> bytes:
        received = await self._line.read()
        if self._wire.pass_on(received, is_from_till=True):
            return received
        cast("MemoryEnd", self._line).unplug()
        return await self._line.read()

    async def write(self, outgoing: bytes) -> None:
        if self._wire.pass_on(outgoing, is_from_till=False):
            await self._line.write(outgoing)

    async def close(self) -> None:
        await self._line.close()


class _WatchedSocket(MemorySocket):
    def __init__(self, name: str, wire: _Wire) -> None:
        super().__init__(name)
        self._wire = wire

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        await super().plug_in(lambda line: on_line(_WatchedLine(line, self._wire)))


@asynccontextmanager
async def _running(reader: Reader | SimulatedReader) -> AsyncIterator[None]:
    task = asyncio.ensure_future(reader.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Shop:
    """Built anew for each scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.clock: VirtualClock = virtual_clock()
        self.wire = _Wire(self._moment)
        self.machine = cast(
            "ZvtTerminal",
            terminal("zvt", scenario.framing, self.clock, script="approve", password="000000"),
        )
        self.simulated = SimulatedReader(
            self.machine, _WatchedSocket("shop", self.wire), clock=self.clock
        )
        self.cancel = asyncio.Event()
        self.died = asyncio.Event()
        self.steps: list[str] = []
        self.baseline: Baseline | None = None

    def till(self) -> tuple[Reader, PaymentDesk]:
        """A reader and a desk as an agent makes them."""
        profile = load_profile(f"generic-zvt-{self.scenario.framing}")
        reader = Reader(
            transport_for("memory://shop"),
            machine_for(profile, currency="EUR"),
            timing=Timing(heartbeat_s=60, restart_after_s=240),
            clock=self.clock,
            can_restart=True,
            jitter=lambda: 0.5,
        )
        return reader, PaymentDesk(reader, clock=self.clock)

    def _moment(self, number: int) -> bool:
        scenario = self.scenario
        if number == scenario.cancel_at:
            self.cancel.set()
        if number == scenario.crash_at:
            self.died.set()
        if number != scenario.cut_at:
            return False
        self.simulated.unplug()
        asyncio.get_running_loop().call_later(scenario.away_s, self.simulated.plug_in)
        return scenario.cut_loses

    async def play(self) -> Played:
        """A sale like ours before, the one in question, and one of another amount after."""
        kind = self.scenario.kind
        request = PaymentRequest(
            AMOUNT, kind, card_timeout_s=60, receipt_number=1 if kind == "reversal" else None
        )
        async with _running(self.simulated):
            decision = await self._live_through(request)
            self.wire.is_counting = False
            await asyncio.sleep(_AFTERWARDS_S)
            recorded = self.machine.store.transactions[1:]
            next_sale = await self._sale_of(Money(1_00, "EUR"))
        return Played(
            decision,
            [one for one in recorded if one.state is State.DONE and one.kind is _KINDS[kind]],
            list(recorded),
            money_commands(bytes(self.wire.from_till), self.scenario.framing),
            self.wire.moments,
            self.steps,
            next_sale,
            self.machine.store.transactions[1 + len(recorded) :],
            self.machine.store.turnover(),
        )

    async def _live_through(self, request: PaymentRequest) -> Decision | None:
        reader, desk = self.till()
        async with _running(reader):
            await reader.until(ReaderState.READY)
            first = await desk.take(PaymentRequest(AMOUNT), on_begin=_forget)
            assert isinstance(first, Decision)
            assert first.outcome == "approved"
            fault = self.scenario.fault
            self.machine.queue_script(self.scenario.script + (f"+{fault}" if fault else ""))
            self.wire.is_counting = True
            taking = asyncio.ensure_future(self._take(desk, request))
            dying = asyncio.ensure_future(self.died.wait())
            await asyncio.wait((taking, dying), return_when=asyncio.FIRST_COMPLETED)
            dying.cancel()
            if taking.done():
                return taking.result()
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        if self.baseline is None:
            return None
        await asyncio.sleep(2)
        reader, desk = self.till()
        async with _running(reader):
            return await self._settle(desk, request)

    async def _take(self, desk: PaymentDesk, request: PaymentRequest) -> Decision:
        ended = await desk.take(
            request, on_begin=self._keep, on_step=self._note, cancel=self.cancel
        )
        return ended if isinstance(ended, Decision) else await self._settle(desk, request)

    async def _settle(self, desk: PaymentDesk, request: PaymentRequest) -> Decision:
        assert self.baseline is not None
        reason = ""
        for _ in range(_MOST_QUESTIONS):
            await asyncio.sleep(_BETWEEN_QUESTIONS_S)
            ended = await desk.settle(request, self.baseline, on_step=self._note)
            if isinstance(ended, Decision):
                return ended
            reason = ended.reason
            assert not ended.needs_person, reason
        raise AssertionError(f"no evidence after {_MOST_QUESTIONS} questions: {reason}")

    async def _sale_of(self, amount: Money) -> Decision | StillUnknown:
        self.machine.playbook.queue.clear()
        reader, desk = self.till()
        async with _running(reader):
            await reader.until(ReaderState.READY)
            return await desk.take(PaymentRequest(amount), on_begin=_forget)

    async def _keep(self, baseline: Baseline) -> None:
        self.baseline = baseline

    def _note(self, step: PaymentStep) -> None:
        self.steps.append(step.step)


async def _forget(_: Baseline) -> None:
    """The sale before and the sale after need no baseline: nothing happens to them."""


def money_commands(sent: bytes, framing: str) -> list[bytes]:
    """Every money command in what a till sent."""
    if framing == "tcp":
        apdus = list(ApduStream().feed(sent))
    else:
        frames = FrameReader()
        found = [frames.take(byte) for byte in sent]
        apdus = [Apdu.decode(frame) for frame in found if isinstance(frame, bytes)]
    money = {messages.AUTHORIZATION, messages.REFUND, messages.REVERSAL}
    return [apdu.encode() for apdu in apdus if apdu.control in money]


def paid(outcome: PaymentOutcome) -> int:
    """How many payments the terminal must have for an outcome."""
    return 1 if outcome == "approved" else 0
