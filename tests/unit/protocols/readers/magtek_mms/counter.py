"""A till and a MagTek reader joined by a wire in memory, in virtual time, with an issuer that answers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protocols.money import Money
from protocols.readers.magtek_mms.machine import make_host
from protocols.readers.magtek_mms.peer import make_terminal
from protocols.readers.protocol import (
    Connect,
    Finished,
    IssuerAnswer,
    Noticed,
    OnlineWanted,
    Progress,
    Purchase,
    QuirkSeen,
    Resume,
    TransferProgress,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from protocols.readers.protocol import ReaderCommand, ReaderEvent, TapData

FRAMINGS = ("usb_hid", "ble_gatt", "serial")
AMOUNT = Money(12_34, "EUR")
YES = IssuerAnswer(approved=True, response_code="00", authorization_code="A1B2C3")
NO = IssuerAnswer(approved=False, response_code="05", text="do not honour")
_MOST_STEPS = 50_000


class Counter:
    """``do`` a command and get its ``Finished``; every event is kept in ``events``."""

    def __init__(
        self,
        framing: str = "usb_hid",
        *,
        answer: IssuerAnswer | None = YES,
        piece: int | None = None,
        settings: dict[str, Any] | None = None,
        **terminal: Any,
    ) -> None:
        """``answer`` None: the issuer is silent. ``piece``: cut a stream into pieces of this size."""
        self.now = 1000.0
        self.host = make_host(framing, {"currency": "EUR", **(settings or {})})
        self.terminal = make_terminal(framing, terminal)
        self.answer = answer
        self.events: list[ReaderEvent] = []
        self.from_host: list[bytes] = []
        self.from_terminal: list[bytes] = []
        self.is_connected = False
        self._piece = piece if framing == "serial" else None

    # --- the wire ---

    def connect(self) -> None:
        """Open the connection, as soon as the reader can be reached as itself."""
        while (
            self.terminal.unreachable_until() is not None
            or self.terminal.identity_now()["pid"] != 0x2020
        ):
            self._wait()
            self.terminal.wants_disconnect()
        self.terminal.connected(self.now)
        self.is_connected = True
        self._take(self.host.connected(self.now))

    def disconnect(self) -> None:
        """The cable is pulled."""
        self.is_connected = False
        self.terminal.disconnected(self.now)
        self._take(self.host.disconnected(self.now))

    def step(self) -> bool:
        """Carry what there is to carry; False when the wire is quiet."""
        if not self.is_connected:
            return False
        has_moved = False
        while sent := self.terminal.outgoing():
            has_moved = True
            self.from_terminal.append(sent)
            for piece in self._cut(sent):
                self._take(self.host.feed(piece, self.now))
        if self.terminal.wants_disconnect() or self.host.wants_reconnect():
            self.disconnect()
            return True
        while sent := self.host.outgoing():
            has_moved = True
            self.from_host.append(sent)
            for piece in self._cut(sent):
                self.terminal.feed(piece, self.now)
        return has_moved

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

    # --- the till ---

    def begin(self, command: ReaderCommand) -> None:
        """Start a command and carry what goes out at once."""
        self.host.start(command, self.now)
        self.quiet()

    def finish(self) -> Finished:
        """The end of the command that runs."""
        self.run(lambda: (bool(self.finished) and self.host.is_idle()) or not self.is_connected)
        return self.finished[-1]

    def do(self, command: ReaderCommand) -> Finished:
        """Run one command to its end."""
        if not self.is_connected:
            self.connect()
        seen = len(self.finished)
        self.host.start(command, self.now)
        self.run(lambda: len(self.finished) > seen)
        self.quiet()
        return self.finished[seen]

    def open(self) -> Finished:
        """Connect and learn who it is."""
        if not self.is_connected:
            self.connect()
        return self.do(Connect())

    def sell(self, amount: Money = AMOUNT) -> Finished:
        """A payment."""
        if not self.is_connected:
            self.open()
        return self.do(Purchase(amount))

    # --- what happened ---

    @property
    def finished(self) -> Sequence[Finished]:
        return [event for event in self.events if isinstance(event, Finished)]

    @property
    def has_sold(self) -> bool:
        """True when a payment has ended."""
        return any(isinstance(one.command, Purchase) for one in self.finished)

    @property
    def progress(self) -> Sequence[Progress]:
        return [event for event in self.events if isinstance(event, Progress)]

    @property
    def taps(self) -> Sequence[TapData]:
        return [event.tap for event in self.events if isinstance(event, OnlineWanted)]

    @property
    def transfers(self) -> Sequence[TransferProgress]:
        return [event for event in self.events if isinstance(event, TransferProgress)]

    @property
    def notices(self) -> Sequence[str]:
        return [event.kind for event in self.events if isinstance(event, Noticed)]

    @property
    def quirks(self) -> Sequence[str]:
        return [event.name for event in self.events if isinstance(event, QuirkSeen)]

    # --- inside ---

    def _take(self, events: Iterable[ReaderEvent]) -> None:
        for event in events:
            self.events.append(event)
            if isinstance(event, OnlineWanted) and self.answer is not None:
                self.host.start(Resume(self.answer), self.now)

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
        self._take(self.host.expired(self.now))
