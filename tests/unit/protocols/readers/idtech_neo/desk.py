"""A host and a NEO reader joined by a wire in memory, in virtual time: nothing waits, everything is repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocols.readers.idtech_neo.machine import NeoHost, make_host
from protocols.readers.idtech_neo.peer import NeoTerminal, make_terminal
from protocols.readers.protocol import (
    Connect,
    Finished,
    IssuerAnswer,
    Noticed,
    OnlineWanted,
    Outcome,
    Progress,
    Purchase,
    QuirkSeen,
    Resume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from protocols.money import Money
    from protocols.readers.protocol import ReaderCommand, ReaderEvent

APPROVAL = IssuerAnswer(approved=True, response_code="00", authorization_code="831000")
_MOST_STEPS = 5_000


class Desk:
    """``do`` a command and get its ``Finished``; every event is kept in ``events``.

    ``issuer`` answers each card; None: nobody does.
    """

    def __init__(
        self,
        framing: str = "serial",
        *,
        script: str = "tap",
        faults: Sequence[str] = (),
        issuer: IssuerAnswer | None = APPROVAL,
        piece: int | None = None,
        host: dict[str, Any] | None = None,
        **terminal: Any,  # as in make_terminal
    ) -> None:
        self.now = 1000.0
        self.framing = framing
        self.host: NeoHost = make_host(framing, host or {})
        self.terminal: NeoTerminal = make_terminal(
            framing, {"script": script, "faults": tuple(faults), **terminal}
        )
        self.issuer = issuer
        self.events: list[ReaderEvent] = []
        self.sent_by_host: list[bytes] = []
        self.sent_by_terminal: list[bytes] = []
        self.is_connected = False
        self._piece = piece

    # --- the wire ---

    def connect(self) -> None:
        while self.terminal.unreachable_until() is not None:
            self._wait()
        self.terminal.connected(self.now)
        self.is_connected = True
        self._take(self.host.connected(self.now))

    def disconnect(self) -> None:
        self.is_connected = False
        self.terminal.disconnected(self.now)
        self._take(self.host.disconnected(self.now))

    def step(self) -> bool:
        if not self.is_connected:
            return False
        moved = False
        while packet := self.terminal.outgoing():
            moved = True
            self.sent_by_terminal.append(packet)
            for piece in self._cut(packet):
                self._take(self.host.feed(piece, self.now))
        if self.terminal.wants_disconnect() or self.host.wants_reconnect():
            self.disconnect()
            return True
        while packet := self.host.outgoing():
            moved = True
            self.sent_by_host.append(packet)
            for piece in self._cut(packet):
                self.terminal.feed(piece, self.now)
        return moved

    def run(self, until: Callable[[], bool]) -> None:
        for _ in range(_MOST_STEPS):
            if until():
                return
            if not self.step():
                self._wait()
        raise AssertionError("the conversation goes in circles")

    def quiet(self) -> None:
        while self.step():
            pass

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self.quiet()
            at = self._next_deadline()
            if at is None or at > end:
                break
            self._wait()
        self.now = max(self.now, end)

    # --- the host ---

    def do(self, command: ReaderCommand) -> Finished:
        seen = len(self.finished)
        self.host.start(command, self.now)
        self.run(lambda: len(self.finished) > seen)
        self.quiet()
        return self.finished[seen]

    def open(self) -> Finished:
        for _ in range(100):
            if not self.is_connected:
                self.connect()
            finished = self.do(Connect())
            if finished.outcome is not Outcome.LOST:
                return finished
        raise AssertionError("the reader never answered")

    def sell(self, amount: Money) -> Finished:
        if not self.is_connected:
            self.open()
        return self.do(Purchase(amount))

    # --- what happened ---

    @property
    def finished(self) -> list[Finished]:
        return [event for event in self.events if isinstance(event, Finished)]

    @property
    def wanted(self) -> list[OnlineWanted]:
        return [event for event in self.events if isinstance(event, OnlineWanted)]

    @property
    def noticed(self) -> list[str]:
        return [event.kind for event in self.events if isinstance(event, Noticed)]

    @property
    def steps(self) -> list[str]:
        return [event.step.value for event in self.events if isinstance(event, Progress)]

    @property
    def quirks(self) -> set[str]:
        return {event.name for event in self.events if isinstance(event, QuirkSeen)}

    def _take(self, events: Sequence[ReaderEvent]) -> None:
        self.events += events
        for event in events:
            if isinstance(event, OnlineWanted) and self.issuer is not None and self.is_connected:
                self.host.start(Resume(self.issuer), self.now)

    def _cut(self, sent: bytes) -> list[bytes]:
        size = self._piece or len(sent)
        if self.framing == "usb_hid":
            return [sent]
        return [sent[at : at + size] for at in range(0, len(sent), size)]

    def _next_deadline(self) -> float | None:
        deadlines = (self.host.deadline(), self.terminal.deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def _wait(self) -> None:
        at = self._next_deadline()
        if at is None:
            raise AssertionError("nobody waits for anything")
        self.now = max(self.now, at)
        self.terminal.expired(self.now)
        self._take(self.host.expired(self.now))
