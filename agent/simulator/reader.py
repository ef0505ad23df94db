"""A simulated reader: a protocol's terminal machine behind a socket, with a memory that survives a power cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, cast

import structlog

from agent.clock import LONGEST_NAP_S, Clock, SystemClock
from agent.errors import AgentError, TransportLost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.simulator.sockets import Line, Socket
    from agent.simulator.usb_bus import UsbDevice, UsbSocket
    from protocols.readers.protocol import TerminalMachine

log = structlog.get_logger()


class StateUnreadable(AgentError):
    """A file that should hold the memory of a simulated reader holds something else; it was left alone."""

    code = "state_unreadable"


class StateFile:
    """What a reader keeps in its own flash. Written whole and synced, so a kill at any moment leaves old or new."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None when nothing was. Raises StateUnreadable for a file that is not ours."""
        try:
            saved = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StateUnreadable(
                f"{self._path} is no memory of a simulated reader: {error}"
            ) from error
        if not isinstance(saved, dict):
            raise StateUnreadable(f"{self._path} is no memory of a simulated reader")
        return saved

    def save(self, snapshot: dict[str, Any]) -> None:
        """Durable when this returns."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(snapshot, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class SimulatedReader:
    """Runs one terminal machine. `run` does the work and is cancelled to stop; everything else may be called meanwhile.

    A host that connects while another is connected takes its place, as on a terminal whose old host vanished.
    `replug_after_s`: how long a line that the machine drops stays away where it cannot be closed otherwise (a pty).
    """

    def __init__(
        self,
        machine: TerminalMachine,
        socket: Socket,
        *,
        state: StateFile | None = None,
        clock: Clock | None = None,
        replug_after_s: float = 0.5,
        on_traffic: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.machine = machine
        self.socket = socket
        self._state = state
        self._clock = clock or SystemClock()
        self._replug_after_s = replug_after_s
        self._on_traffic = on_traffic or (lambda _direction, _bytes: None)
        self._saved: dict[str, Any] | None = None
        self._line: Line | None = None
        self._next_line: Line | None = None
        self._reading: asyncio.Future[bytes] | None = None
        self._news = asyncio.Event()
        self._is_plugged = False
        self._usual_device: UsbDevice | None = None
        self._stay_unplugged = False
        self._plug_in_at = 0.0
        self.is_up = asyncio.Event()
        """Set while hosts can connect."""

    def unplug(self) -> None:
        """Pull the cable, until `plug_in`."""
        self._stay_unplugged = True
        self._news.set()

    def plug_in(self) -> None:
        """Put the cable back."""
        self._stay_unplugged = False
        self._plug_in_at = 0.0
        self._news.set()

    def poke(self) -> None:
        """The machine was told something from outside: look at what it wants to say and when."""
        self._news.set()

    async def run(self) -> None:
        """Serve hosts until cancelled. Raises SocketUnavailable when the socket cannot be opened."""
        try:
            while True:
                await self._mind_the_plug()
                await self._mind_the_line()
                self._save()
                await self._say()
                await self._wait()
                self._hear()
                if self._is_due():
                    self.machine.expired(self._clock.elapsed())
        finally:
            self.is_up.clear()
            await self._let_go()
            await self.socket.unplug()
            self._save()

    # --- the line ------------------------------------------------------------------------------------------

    async def _mind_the_plug(self) -> None:
        now = self._clock.elapsed()
        restarting_until = self.machine.unreachable_until() or 0.0
        is_wanted = not self._stay_unplugged and max(self._plug_in_at, restarting_until) <= now
        if is_wanted and not self._is_plugged:
            self._look_the_part()
            await self.socket.plug_in(self._connect)
            self._is_plugged = True
            self.is_up.set()
        elif self._is_plugged and not is_wanted:
            self._is_plugged = False
            self.is_up.clear()
            await self.socket.unplug()

    def _look_the_part(self) -> None:
        """On USB a reader in its boot loader has other numbers and no name, and afterwards its own again."""
        identity_now = getattr(self.machine, "identity_now", None)
        device = getattr(self.socket, "device", None)
        if identity_now is None or device is None:
            return
        self._usual_device = self._usual_device or device
        told = identity_now()
        become = cast("UsbSocket", self.socket).become
        if told.get("boot_loader"):
            become(vid=told["vid"], pid=told["pid"], product=told["product"], serial="")
        else:
            usual = self._usual_device
            become(vid=usual.vid, pid=usual.pid, product=usual.product, serial=usual.serial)

    def _connect(self, line: Line) -> None:
        self._next_line = line
        self._news.set()

    async def _mind_the_line(self) -> None:
        """Let the machine know who is on the line now."""
        if self._line is not None and (self._line.lost is not None or self._next_line is not None):
            await self._let_go()
            self.machine.disconnected(self._clock.elapsed())
        if self._next_line is not None:
            self._line, self._next_line = self._next_line, None
            self.machine.connected(self._clock.elapsed())

    async def _let_go(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        if self._line is not None:
            await self._line.close()
            self._line = None

    async def _say(self) -> None:
        while outgoing := self.machine.outgoing():
            if self._line is not None:
                self._on_traffic("out", outgoing)
                with contextlib.suppress(TransportLost):
                    await self._line.write(outgoing)
        if self.machine.wants_disconnect() and self._line is not None:
            await self._line.close()
            if self.socket.address.startswith("serial:"):
                # A pty cannot be closed towards the host but by taking it away for a moment.
                self._plug_in_at = self._clock.elapsed() + self._replug_after_s
            self._news.set()

    def _hear(self) -> None:
        if self._reading is None or not self._reading.done():
            return
        try:
            received = self._reading.result()
        except TransportLost:
            # The next look at the line sees the same.
            received = b""
        self._reading = None
        if received:
            self._on_traffic("in", received)
            self.machine.feed(received, self._clock.elapsed())

    # --- waiting -------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        if self._reading is None and self._line is not None:
            self._reading = asyncio.ensure_future(self._line.read())
        waking = asyncio.ensure_future(self._news.wait())
        waited: list[asyncio.Future[Any]] = [waking]  # of bytes, and of nothing
        if self._reading is not None:
            waited.append(self._reading)
        await asyncio.wait(waited, timeout=self._wait_s(), return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        self._news.clear()

    def _wait_s(self) -> float:
        now = self._clock.elapsed()
        if self._is_due():
            return 0.0
        times = (self.machine.deadline(), self.machine.unreachable_until(), self._plug_in_at)
        return min([LONGEST_NAP_S, *(at - now for at in times if at is not None and at > now)])

    def _is_due(self) -> bool:
        deadline = self.machine.deadline()
        return deadline is not None and deadline <= self._clock.elapsed()

    # --- the memory ----------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Before anything is said that depends on it."""
        if self._state is None:
            return
        snapshot = self.machine.snapshot()
        if snapshot != self._saved:
            self._state.save(snapshot)
            self._saved = snapshot
