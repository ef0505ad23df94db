"""A till and a terminal joined by a wire in memory, in virtual time: nothing waits, everything is repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.readers.protocol import (
    Connect,
    Finished,
    LateResult,
    Outcome,
    Printed,
    Progress,
    Purchase,
    QuirkSeen,
    RecallLast,
)
from protocols.readers.zvt.machine import ZvtConfig, ZvtHost
from protocols.readers.zvt.peer import ZvtTerminal
from protocols.readers.zvt.scripts import APPROVE, FaultRule, PaymentScript, Playbook, script_named
from protocols.readers.zvt.store import State, TerminalStore
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from protocols.money import Money
    from protocols.readers.protocol import PaymentFacts, ReaderCommand, ReaderEvent

PASSWORD = Secret("123456")
CONFIG = ZvtConfig(PASSWORD)
_MOST_STEPS = 20_000


class Shop:
    """``do`` a command and get its ``Finished``; every event is kept in ``events``."""

    def __init__(
        self,
        framing: str,
        *,
        script: PaymentScript | str = APPROVE,
        faults: Iterable[str] = (),
        config: ZvtConfig = CONFIG,
        store: TerminalStore | None = None,
        piece: int | None = None,
        pace: float = 1.0,
        roll: Callable[[], float] = lambda: 0.0,
    ) -> None:
        story = script_named(script) if isinstance(script, str) else script
        self.now = 1000.0
        self.host = ZvtHost(framing, config)
        self.terminal = ZvtTerminal(
            framing,
            store=store,
            playbook=Playbook(default=story),
            faults=[FaultRule.parse(fault) for fault in faults],
            pace=pace,
            roll=roll,
        )
        self.events: list[ReaderEvent] = []
        self.sent_by_host: list[bytes] = []
        self.sent_by_terminal: list[bytes] = []
        self.is_connected = False
        self._piece = piece

    # --- the wire ---

    def connect(self) -> None:
        """Open the connection, as soon as the terminal can be reached."""
        while self.terminal.unreachable_until() is not None:
            self._wait()
        self.terminal.connected(self.now)
        self.is_connected = True
        self.events += self.host.connected(self.now)

    def disconnect(self) -> None:
        """The cable is pulled."""
        self.is_connected = False
        self.terminal.disconnected(self.now)
        self.events += self.host.disconnected(self.now)

    def step(self) -> bool:
        """Carry what there is to carry; False when the wire is quiet."""
        if not self.is_connected:
            return False
        from_terminal = self.terminal.outgoing()
        if from_terminal:
            self.sent_by_terminal.append(from_terminal)
            for piece in self._cut(from_terminal):
                self.events += self.host.feed(piece, self.now)
        if self.terminal.wants_disconnect() or self.host.wants_reconnect():
            self.disconnect()
            return True
        from_host = self.host.outgoing()
        if from_host:
            self.sent_by_host.append(from_host)
            for piece in self._cut(from_host):
                self.terminal.feed(piece, self.now)
        return bool(from_terminal or from_host)

    def run(self, until: Callable[[], bool]) -> None:
        """Carry and wait until something is so."""
        for _ in range(_MOST_STEPS):
            if until():
                return
            if not self.step():
                self._wait()
        raise AssertionError("the conversation goes in circles")

    def quiet(self) -> None:
        """Carry until nothing more comes without waiting."""
        while self.step():
            pass

    # --- the till ---

    def do(self, command: ReaderCommand) -> Finished:
        """Run one command to its end."""
        seen = len(self.finished)
        self.host.start(command, self.now)
        self.run(lambda: len(self.finished) > seen)
        self.quiet()
        return self.finished[seen]

    def open(self) -> Finished:
        """Connect and register, trying again while the terminal is busy."""
        for _ in range(100):
            if not self.is_connected:
                self.connect()
            finished = self.do(Connect())
            if finished.outcome is Outcome.DONE:
                return finished
            self.pass_time(5.0)
        raise AssertionError("the terminal never became free")

    def sell(self, amount: Money) -> tuple[Finished, bool]:
        """A payment, and whether a careful till says that it was taken: by the answer, else by evidence."""
        if not self.is_connected:
            self.open()
        known = self._last_receipt()
        finished = self.do(Purchase(amount))
        if finished.outcome is not Outcome.LOST:
            return finished, finished.outcome is Outcome.APPROVED
        payment = self._recall()
        same = (
            payment is not None
            and (payment.receipt_number or 0) > known
            and payment.amount == amount
            and payment.result_code == 0
        )
        return finished, same

    def pass_time(self, seconds: float) -> None:
        """Let time go by while both sides do what they do."""
        end = self.now + seconds
        while True:
            self.quiet()
            at = self._next_deadline()
            if at is None or at > end:
                break
            self._wait()
        self.now = max(self.now, end)

    # --- what happened ---

    @property
    def finished(self) -> Sequence[Finished]:
        return [event for event in self.events if isinstance(event, Finished)]

    @property
    def progress(self) -> Sequence[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]

    @property
    def printed(self) -> Sequence[Printed]:
        return [event for event in self.events if isinstance(event, Printed)]

    @property
    def late(self) -> Sequence[LateResult]:
        return [event for event in self.events if isinstance(event, LateResult)]

    @property
    def quirks(self) -> set[str]:
        return {event.name for event in self.events if isinstance(event, QuirkSeen)}

    def was_taken(self, amount: Money) -> bool:
        """Whether the terminal's books have a payment of this amount that stands."""
        return any(
            one.state is State.DONE and one.amount_minor == amount.minor
            for one in self.terminal.store.transactions
        )

    def _recall(self) -> PaymentFacts | None:
        for _ in range(100):
            self.open()
            recalled = self.do(RecallLast())
            if recalled.code is not None and recalled.outcome not in {Outcome.LOST, Outcome.BUSY}:
                return recalled.payment
        raise AssertionError("the terminal never told")

    def _last_receipt(self) -> int:
        transactions = self.terminal.store.transactions
        return transactions[-1].receipt if transactions else 0

    def _cut(self, sent: bytes) -> Iterable[bytes]:
        size = self._piece or len(sent)
        return (sent[at : at + size] for at in range(0, len(sent), size))

    def _next_deadline(self) -> float | None:
        deadlines = (self.host.deadline(), self.terminal.deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def _wait(self) -> None:
        at = self._next_deadline()
        if at is None:
            raise AssertionError("nobody waits for anything")
        self.now = max(self.now, at)
        self.terminal.expired(self.now)
        self.events += self.host.expired(self.now)
