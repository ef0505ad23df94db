"""One reader: keeps the line open, feeds its protocol machine, runs one command at a time, and says how it is.

Nothing that a reader or a cable does raises out of here: it becomes a `Finished`, a state, or a count.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, TypeVar

import structlog

from agent.clock import LONGEST_NAP_S, Clock, SystemClock
from agent.errors import ReaderBusy, TransportLost, TransportUnavailable, Unavailable
from protocols.errors import CommandNotPossible
from protocols.readers.protocol import (
    MONEY_COMMANDS,
    Abort,
    AskStatus,
    Connect,
    Finished,
    Identity,
    LateResult,
    Outcome,
    QuirkSeen,
    ReaderCommand,
    ReaderEvent,
    ReaderMachine,
    Restart,
    Resume,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.transports import Transport
    from protocols.readers.protocol import IssuerAnswer

log = structlog.get_logger()

_Told = TypeVar("_Told")
#: `details["reader_clock"]`: YYYYMMDD HHMMSS.
_CLOCK = re.compile(r"\d{4}(\d{4}) (\d{6})")


class ReaderState(StrEnum):
    """How a reader is."""

    STARTING = "starting"
    """The line is open, the reader has not said yet who it is."""
    READY = "ready"
    BUSY = "busy"
    """A command runs, or the reader is occupied with something of its own."""
    DISCONNECTED = "disconnected"
    LOCKED = "locked"
    """It answers, but takes no payments until somebody acts; the reason says what is wanted."""
    FAILING = "failing"
    """The line is open but it does not answer as it should; it is being reset."""
    UNIDENTIFIED = "unidentified"
    """It answers, but is not what its profile describes; nothing but harmless questions is sent."""


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """What is known of a reader at one moment."""

    state: ReaderState
    reason: str = ""
    """In English, for people; empty when all is well."""
    identity: Identity = field(default_factory=Identity)


@dataclass(frozen=True, slots=True)
class Timing:
    """Limits and pauses, in seconds; they come from the profile, except the pauses between attempts, which are ours."""

    heartbeat_s: float = 60
    busy_poll_s: float = 2
    """How soon to ask again a reader that says that it is busy."""
    idle_close_s: float = 0
    replug_s: float = 0.5
    """Pause before a port that vanished is tried again: opening a path that is not there costs nothing."""
    retry_first_s: float = 0.5
    retry_longest_s: float = 15
    restart_after_s: float = 240
    """How long resets must have been in vain before the reader is asked to restart: longer than any payment takes."""


@dataclass(slots=True)
class _Running:
    command: ReaderCommand
    on_event: Callable[[ReaderEvent], None]
    finished: asyncio.Future[Finished]
    is_ours: bool
    """Asked by the reader loop itself, not by a caller."""


class Reader:
    """Drives one reader. `run` does the work and is cancelled to stop; everything else may be called meanwhile.

    `expects`: a regular expression that the reader's software version must match before anything but questions is sent.
    `can_restart`: whether the model has a restart command.
    """

    def __init__(
        self,
        transport: Transport,
        machine: ReaderMachine,
        *,
        timing: Timing | None = None,
        clock: Clock | None = None,
        expects: str | None = None,
        can_restart: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._machine = machine
        self._timing = timing or Timing()
        self._clock = clock or SystemClock()
        self._expects = expects
        self._can_restart = can_restart
        self._jitter = jitter
        self._status = ReaderStatus(ReaderState.DISCONNECTED, "not opened yet")
        self._watchers: list[Callable[[ReaderStatus], None]] = []
        self._late_watchers: list[Callable[[LateResult | Finished], None]] = []
        self._event_watchers: list[Callable[[ReaderEvent], None]] = []
        self._news = asyncio.Event()
        self._running: _Running | None = None
        self._queued: _Running | None = None
        self._heartbeat_at = 0.0
        self._idle_since = 0.0
        self._was_ready = False
        self._is_conversing = False
        self._failing_since: float | None = None
        self._wants_reset = ""
        self._is_registered = False
        self.clock_seen: tuple[str, float] | None = None
        """`MMDDHHMMSS` on the reader's own clock when it was told last, and when that was on ours; None: never."""
        self.counts: Counter[str] = Counter()
        """Since the start: `opened`, `lost`, `commands`, `resets`, `restarts`, `late_results`, and `quirk:NAME`."""

    # --- what others see -----------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """The address of the line."""
        return self._transport.address

    @property
    def status(self) -> ReaderStatus:
        """How the reader is now."""
        return self._status

    def watch(self, watcher: Callable[[ReaderStatus], None]) -> Callable[[], None]:
        """Call `watcher` at every change of status, until the returned function is called."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def watch_late(self, watcher: Callable[[LateResult | Finished], None]) -> Callable[[], None]:
        """Call `watcher` with results that nobody waits for any more, until the returned function is called."""
        self._late_watchers.append(watcher)
        return lambda: self._late_watchers.remove(watcher)

    def watch_events(self, watcher: Callable[[ReaderEvent], None]) -> Callable[[], None]:
        """Call `watcher` with everything that the reader says, until the returned function is called."""
        self._event_watchers.append(watcher)
        return lambda: self._event_watchers.remove(watcher)

    async def until(self, *states: ReaderState) -> ReaderStatus:
        """Wait for one of these states."""
        if self._status.state in states:
            return self._status
        seen: asyncio.Future[ReaderStatus] = asyncio.get_running_loop().create_future()

        def look(status: ReaderStatus) -> None:
            if status.state in states and not seen.done():
                seen.set_result(status)

        stop = self.watch(look)
        try:
            return await seen
        finally:
            stop()

    # --- what others ask -----------------------------------------------------------------------------------

    async def execute(
        self, command: ReaderCommand, on_event: Callable[[ReaderEvent], None] | None = None
    ) -> Finished:
        """Run one command to its end; `on_event` gets everything that happens on the way.

        A reader that cannot take it now answers `Outcome.BUSY`: nothing was sent. When the caller is cancelled, the
        command goes on in the reader, and its end goes to those who `watch_late`. Raises ReaderBusy while another
        caller's command runs.
        """
        if self._queued is not None or (self._running is not None and not self._running.is_ours):
            raise ReaderBusy("another command runs on this reader", address=self.address)
        if objection := self._objection(command):
            return Finished(command, Outcome.BUSY, text=objection)
        loop = asyncio.get_running_loop()
        asked = _Running(command, on_event or (lambda _: None), loop.create_future(), is_ours=False)
        self._queued = asked
        self._news.set()
        try:
            return await asked.finished
        except asyncio.CancelledError:
            if self._queued is asked:
                self._queued = None
            raise

    def abort(self) -> bool:
        """Ask the reader to stop what a caller's command is waiting for; that command ends with its own result.

        False when there was nothing to abort, or a command was taken back before it was sent.
        """
        if self.withdraw() or self._running is None or self._running.is_ours:
            return False
        try:
            self._machine.start(Abort(), self._clock.elapsed())
        except CommandNotPossible:
            return False
        self._news.set()
        return True

    def resume(self, answer: IssuerAnswer) -> bool:
        """Give the card that wants to go online its answer; False when nothing waits for one any more."""
        if self._running is None or self._running.is_ours:
            return False
        try:
            self._machine.start(Resume(answer), self._clock.elapsed())
        except CommandNotPossible:
            return False
        self._news.set()
        return True

    def withdraw(self) -> bool:
        """Take back a command that still waits to be sent; it ends as cancelled. False when it was sent already."""
        queued, self._queued = self._queued, None
        if queued is None:
            return False
        queued.finished.set_result(
            Finished(queued.command, Outcome.CANCELLED, text="stopped before it was sent")
        )
        return True

    def reset(self, reason: str) -> None:
        """Close the line and open it anew, because the reader no longer behaves."""
        self._wants_reset = reason
        self._news.set()

    def retry(self) -> None:
        """Whatever was in the way may be gone: do not wait before the line is opened again."""
        self._news.set()

    # --- the loop ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the conversation going until cancelled."""
        pause_s = 0.0
        try:
            while True:
                await self._nap(pause_s)
                try:
                    await self._transport.open()
                except TransportUnavailable as unavailable:
                    self._become(ReaderState.DISCONNECTED, unavailable.message)
                    self._end_orphans(unavailable.message)
                    pause_s = self._pause_after(unavailable.reason, pause_s)
                    continue
                self.counts["opened"] += 1
                opened_at = self._clock.elapsed()
                end = await self._converse_and_close()
                if end is _End.DORMANT:
                    await self._doze()
                # A line that worked for a while is opened at once; one that never holds waits longer each time.
                held = self._clock.elapsed() - opened_at > self._timing.retry_first_s
                if end is _End.BROKEN or (end is _End.LOST and not (self._was_ready and held)):
                    pause_s = self._longer(pause_s)
                else:
                    pause_s = 0.0
        finally:
            self._become(ReaderState.DISCONNECTED, "stopped")
            self._end_orphans("the agent stopped")

    async def _converse_and_close(self) -> _End:
        """One connection from its opening to its closing."""
        self._was_ready = False
        lost = ""
        try:
            return await self._converse()
        except TransportLost as error:
            lost = error.message
            self.counts["lost"] += 1
        finally:
            self._is_conversing = False
            await self._transport.close()
            if lost:
                self._become(ReaderState.DISCONNECTED, lost)
            self._take(self._machine.disconnected(self._clock.elapsed()))
            self._end_orphans(lost or "the line was closed before the reader answered")
        return _End.LOST

    async def _converse(self) -> _End:
        """Raises TransportLost."""
        machine, clock = self._machine, self._clock
        if self._status.state is not ReaderState.READY:
            self._become(ReaderState.STARTING)
        self._wants_reset, self._is_registered = "", False
        self._is_conversing = True
        self._take(machine.connected(clock.elapsed()))
        self._begin(self._own(self._first_words()))
        reading = asyncio.ensure_future(self._transport.read())
        waking = asyncio.ensure_future(self._news.wait())
        try:
            while True:
                self._start_what_waits()
                await self._send()
                if machine.wants_reconnect() and not self._wants_reset:
                    self._wants_reset = "it did not answer"
                if self._wants_reset:
                    return self._give_up_line()
                if self._may_doze():
                    return _End.DORMANT
                await asyncio.wait(
                    (reading, waking), timeout=self._wait_s(), return_when=asyncio.FIRST_COMPLETED
                )
                if waking.done():
                    self._news.clear()
                    waking = asyncio.ensure_future(self._news.wait())
                if reading.done():
                    received = reading.result()
                    reading = asyncio.ensure_future(self._transport.read())
                    await self._answer_then_take(machine.feed(received, clock.elapsed()))
                deadline = machine.deadline()
                if deadline is not None and deadline <= clock.elapsed():
                    await self._answer_then_take(machine.expired(clock.elapsed()))
        finally:
            for task in (reading, waking):
                task.cancel()
            await asyncio.gather(reading, waking, return_exceptions=True)

    async def _send(self) -> None:
        while outgoing := self._machine.outgoing():
            await self._transport.write(outgoing)

    async def _answer_then_take(self, events: Sequence[ReaderEvent]) -> None:
        """The reader gets its answer before anybody acts on what it said; if it cannot, that was said all the same."""
        try:
            await self._send()
        finally:
            self._take(events)

    def _first_words(self) -> ReaderCommand:
        """Registration; or a restart, when opening the line anew has been in vain for too long."""
        now = self._clock.elapsed()
        since = self._failing_since
        if self._can_restart and since is not None and now - since >= self._timing.restart_after_s:
            self._failing_since = now
            self.counts["restarts"] += 1
            log.warning("reader_asked_to_restart", address=self.address)
            return Restart()
        return Connect()

    def _give_up_line(self) -> _End:
        self.counts["resets"] += 1
        is_first = self._failing_since is None
        if is_first:
            self._failing_since = self._clock.elapsed()
        log.warning("reader_reset", address=self.address, reason=self._wants_reset)
        self._become(ReaderState.FAILING, f"{self._wants_reset}; the line is opened anew")
        # The first time at once, so that a payment whose answer was lost is looked into without delay.
        return _End.AT_ONCE if is_first else _End.BROKEN

    def _may_doze(self) -> bool:
        timing = self._timing
        return (
            timing.idle_close_s > 0
            and self._is_free()
            and self._status.state is ReaderState.READY
            and self._clock.elapsed() - self._idle_since >= timing.idle_close_s
        )

    async def _doze(self) -> None:
        """Closed on purpose: until somebody wants something, or it is time to see whether the reader is still there."""
        while self._queued is None and self._clock.elapsed() < self._heartbeat_at:
            await self._nap(min(self._heartbeat_at - self._clock.elapsed(), LONGEST_NAP_S))

    # --- commands ------------------------------------------------------------------------------------------

    def _is_free(self) -> bool:
        return self._running is None and self._queued is None and self._machine.is_idle()

    def _own(self, command: ReaderCommand) -> _Running:
        return _Running(
            command, lambda _: None, asyncio.get_running_loop().create_future(), is_ours=True
        )

    def _start_what_waits(self) -> None:
        if self._running is not None or not self._machine.is_idle():
            return
        is_due = self._clock.elapsed() >= self._heartbeat_at
        if not self._is_registered:
            if is_due:
                self._begin(self._own(Connect()))
        elif self._queued is not None:
            queued, self._queued = self._queued, None
            if objection := self._objection(queued.command):
                queued.finished.set_result(Finished(queued.command, Outcome.BUSY, text=objection))
            else:
                self._begin(queued)
        elif is_due:
            self._begin(self._own(AskStatus()))

    def _begin(self, asked: _Running) -> None:
        self._running = asked
        try:
            self._machine.start(asked.command, self._clock.elapsed())
        except CommandNotPossible as refused:
            self._finish(Finished(asked.command, Outcome.UNSUPPORTED, text=str(refused)))
            return
        if not asked.is_ours:
            self.counts["commands"] += 1
            self._become(ReaderState.BUSY)

    def _objection(self, command: ReaderCommand) -> str:
        """Why a command cannot be given now; empty when it can."""
        state, reason = self._status.state, self._status.reason
        if state is ReaderState.READY:
            return ""
        is_harmless = not isinstance(command, MONEY_COMMANDS)
        if state is ReaderState.LOCKED and self._is_registered and is_harmless:
            return ""
        return f"the reader is {state.value}" + (f": {reason}" if reason else "")

    # --- events --------------------------------------------------------------------------------------------

    def _take(self, events: Sequence[ReaderEvent]) -> None:
        for event in events:
            if isinstance(event, QuirkSeen):
                self.counts[f"quirk:{event.name}"] += 1
            for watcher in list(self._event_watchers):
                _tell(watcher, event)
            if isinstance(event, Finished):
                self._finish(event)
            elif isinstance(event, LateResult):
                self._tell_late(event)
            elif self._running is not None:
                _tell(self._running.on_event, event)

    def _finish(self, finished: Finished) -> None:
        running = self._running
        if running is None or finished.command is not running.command:
            if not isinstance(finished.command, Abort):
                self._tell_late(finished)
            return
        self._running = None
        self._idle_since = self._clock.elapsed()
        self._heartbeat_at = self._idle_since + self._timing.heartbeat_s
        self._judge(finished)
        if running.finished.cancelled():
            self._tell_late(finished)
        else:
            running.finished.set_result(finished)

    def _tell_late(self, result: LateResult | Finished) -> None:
        self.counts["late_results"] += 1
        for watcher in list(self._late_watchers):
            _tell(watcher, result)

    def _end_orphans(self, why: str) -> None:
        """A command that could not begin any more, or that its machine forgot to end, ends here."""
        queued, self._queued = self._queued, None
        if queued is not None and not queued.finished.done():
            queued.finished.set_result(
                Finished(queued.command, Outcome.BUSY, text=f"nothing was sent: {why}")
            )
        if self._running is not None:
            self._finish(Finished(self._running.command, Outcome.LOST, text=why))

    def _judge(self, finished: Finished) -> None:
        """What the end of a command says about the reader."""
        if finished.identity is not None:
            self._learn(finished.identity)
        if shown := _CLOCK.fullmatch(finished.details.get("reader_clock", "")):
            self.clock_seen = ("".join(shown.groups()), self._clock.elapsed())
        if not self._is_conversing:
            return
        if finished.outcome is Outcome.LOST:
            if not self._wants_reset:
                self._wants_reset = f"no answer ({finished.text})"
            return
        self._failing_since = None
        match finished.command, finished.outcome:
            case Restart(), _:
                self._wants_reset = "it restarts"
            case Connect(), Outcome.DONE:
                self._was_ready = self._is_registered = True
                # Who it is and whether it works; only then is it ready.
                self._heartbeat_at = self._clock.elapsed()
            case Connect(), _:
                # Refused: a wrong password or currency, which somebody must set right.
                is_busy = finished.outcome is Outcome.BUSY
                state = ReaderState.BUSY if is_busy else ReaderState.LOCKED
                self._become(state, f"it does not register: {finished.text}")
                self._heartbeat_at = self._clock.elapsed() + self._timing.busy_poll_s
            case AskStatus(), Outcome.DONE | Outcome.UNSUPPORTED:
                self._become_fit()
            case AskStatus(), Outcome.BUSY:
                self._become(ReaderState.BUSY, finished.text)
                self._heartbeat_at = self._clock.elapsed() + self._timing.busy_poll_s
            case AskStatus(), _:
                self._become(ReaderState.LOCKED, finished.text)
            case _, Outcome.FAILED:
                # It may have restarted and forgotten us, or be locked now: register and ask before anything else.
                self._is_registered = False
                self._heartbeat_at = self._clock.elapsed()
                self._become_fit()
            case _:
                self._become_fit()

    def _become_fit(self) -> None:
        version = self._status.identity.software_version or ""
        if self._expects is not None and not re.search(self._expects, version):
            self._become(
                ReaderState.UNIDENTIFIED, f"its software {version!r} is not of the profile's model"
            )
        else:
            self._become(ReaderState.READY)

    def _learn(self, told: Identity) -> None:
        known = self._status.identity
        self._status = replace(
            self._status,
            identity=Identity(
                terminal_id=told.terminal_id or known.terminal_id,
                serial_number=told.serial_number or known.serial_number,
                model=told.model or known.model,
                software_version=told.software_version or known.software_version,
            ),
        )

    def _become(self, state: ReaderState, reason: str = "") -> None:
        before, self._status = self._status, replace(self._status, state=state, reason=reason)
        if (before.state, before.reason) == (state, reason):
            return
        log.info("reader_changed", address=self.address, state=state.value, reason=reason)
        for watcher in list(self._watchers):
            _tell(watcher, self._status)

    # --- waiting -------------------------------------------------------------------------------------------

    def _wait_s(self) -> float:
        now = self._clock.elapsed()
        wants = [LONGEST_NAP_S]
        if (deadline := self._machine.deadline()) is not None:
            wants.append(deadline - now)
        if self._is_free():
            wants.append(self._heartbeat_at - now)
            if self._timing.idle_close_s > 0:
                wants.append(self._idle_since + self._timing.idle_close_s - now)
        return max(0.0, min(wants))

    async def _nap(self, seconds: float) -> None:
        """Sleep, but not longer than until somebody has news."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

    def _longer(self, pause_s: float) -> float:
        timing = self._timing
        longest = min(max(pause_s * 2, timing.retry_first_s), timing.retry_longest_s)
        return longest * (0.5 + self._jitter() / 2)

    def _pause_after(self, reason: Unavailable, pause_s: float) -> float:
        if reason is Unavailable.NOT_FOUND and self.address.startswith("serial:"):
            return self._timing.replug_s
        return self._longer(pause_s)


def _tell(listener: Callable[[_Told], None], told: _Told) -> None:
    """A listener's trouble is not the reader's: the conversation goes on."""
    try:
        listener(told)
    except Exception:
        log.exception("reader_listener_failed", told=type(told).__name__)


class _End(Enum):
    """How a connection ended."""

    LOST = auto()
    DORMANT = auto()
    """Closed by us because nobody needs it."""
    AT_ONCE = auto()
    """Given up, to be opened again without a pause."""
    BROKEN = auto()
    """Given up, not for the first time."""
