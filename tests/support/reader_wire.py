"""A till and a simulated reader joined by a wire in memory, in virtual time: nothing waits, everything is repeatable.

It drives the two machines as their contracts say, on a stream or on a packet line, and keeps what was sent.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from protocols.readers.protocol import (
    Connect,
    Finished,
    LateResult,
    Noticed,
    OnlineWanted,
    Outcome,
    Printed,
    Progress,
    QuirkSeen,
    Resume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from protocols.readers.protocol import (
        IssuerAnswer,
        ReaderCommand,
        ReaderEvent,
        ReaderMachine,
        TerminalMachine,
    )

PACKET_LINES = frozenset({"usb_hid", "ble_gatt"})
_MOST_STEPS = 20_000


class Wire:
    """``do`` a command and get its ``Finished``; every event is kept in ``events``.

    ``issuer`` answers what wants to go online; None lets it run out of time. ``piece``: a stream is cut in so many
    bytes.
    """

    def __init__(
        self,
        host: ReaderMachine,
        terminal: TerminalMachine,
        framing: str,
        *,
        issuer: IssuerAnswer | None = None,
        piece: int | None = None,
    ) -> None:
        self.now = 1000.0
        self.host = host
        self.terminal = terminal
        self.issuer = issuer
        self.events: list[ReaderEvent] = []
        self.sent_by_host: list[bytes] = []
        self.sent_by_terminal: list[bytes] = []
        self.is_connected = False
        self.resumed = 0
        self._piece = None if framing in PACKET_LINES else piece

    # --- the wire ---

    def connect(self) -> None:
        """Open the connection, as soon as the terminal can be reached."""
        while (until := self.terminal.unreachable_until()) is not None:
            self.now = max(self.now, until)
            self.terminal.expired(self.now)
        self.terminal.connected(self.now)
        self.is_connected = True
        self.keep(self.host.connected(self.now))

    def disconnect(self) -> None:
        """The cable is pulled."""
        self.is_connected = False
        self.terminal.disconnected(self.now)
        self.keep(self.host.disconnected(self.now))

    def step(self) -> bool:
        """Carry what there is to carry; False when the wire is quiet."""
        if not self.is_connected:
            return False
        moved = False
        while sent := self.terminal.outgoing():
            moved = True
            self.sent_by_terminal.append(sent)
            for piece in self._cut(sent):
                self.keep(self.host.feed(piece, self.now))
        if self.terminal.wants_disconnect() or self.host.wants_reconnect():
            self.disconnect()
            return True
        while sent := self.host.outgoing():
            moved = True
            self.sent_by_host.append(sent)
            for piece in self._cut(sent):
                self.terminal.feed(piece, self.now)
        return moved

    def run(self, until: Callable[[], bool]) -> None:
        """Carry and wait until something is so."""
        for _ in range(_MOST_STEPS):
            if until():
                return
            if not self.step():
                self.wait()
        raise AssertionError("the conversation goes in circles")

    def quiet(self) -> None:
        """Carry until nothing more comes without waiting."""
        for _ in range(_MOST_STEPS):
            if not self.step():
                return
        raise AssertionError("the wire is never quiet")

    def wait(self) -> None:
        """Let time go by until somebody wants to be woken."""
        at = self._next_deadline()
        if at is None:
            raise AssertionError("nobody waits for anything")
        self.now = max(self.now, at)
        self.terminal.expired(self.now)
        self.keep(self.host.expired(self.now))

    def pass_time(self, seconds: float) -> None:
        """Let time go by while both sides do what they do."""
        end = self.now + seconds
        while True:
            self.quiet()
            at = self._next_deadline()
            if at is None or at > end:
                break
            self.wait()
        self.now = max(self.now, end)

    def keep(self, events: Sequence[ReaderEvent]) -> None:
        """Take events as the driver would."""
        self.events += events
        if self.issuer is not None and any(isinstance(event, OnlineWanted) for event in events):
            self.resumed += 1
            self.host.start(Resume(self.issuer), self.now)

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
        for _ in range(20):
            if not self.is_connected:
                self.connect()
            finished = self.do(Connect())
            if finished.outcome is Outcome.DONE:
                return finished
            self.pass_time(5.0)
        raise AssertionError("the terminal never became free")

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
    def noticed(self) -> Sequence[Noticed]:
        return [event for event in self.events if isinstance(event, Noticed)]

    @property
    def quirks(self) -> Counter[str]:
        return Counter(event.name for event in self.events if isinstance(event, QuirkSeen))

    def _cut(self, sent: bytes) -> Iterable[bytes]:
        size = self._piece or len(sent)
        return (sent[at : at + size] for at in range(0, len(sent), size))

    def _next_deadline(self) -> float | None:
        deadlines = (self.host.deadline(), self.terminal.deadline())
        return min((at for at in deadlines if at is not None), default=None)
