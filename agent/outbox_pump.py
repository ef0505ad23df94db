"""Sends what waits in the outbox: in order, a bounded number at a time, again and again until it is acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent.clock import LONGEST_NAP_S
from agent.spool import START, Position, Row
from protocols.cloud.topics import STREAM_CHANNEL, Channel, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Clock
    from agent.spool import Spool
    from protocols.cloud.commands import Ack

#: Messages of one stream that may be on their way: enough to fill a slow line, little enough to hold in memory.
WINDOW: Final = 50
FIRST_RESEND_S: Final = 1.5
LONGEST_RESEND_S: Final = 60.0


@dataclass(slots=True)
class _Flight:
    """A message that was sent and not acknowledged."""

    row: Row
    due: float
    """When it is sent again."""
    pause_s: float


@dataclass(slots=True)
class _Lane:
    """One stream on its way up; streams never wait for each other."""

    stream: Stream
    flights: dict[Position, _Flight] = field(default_factory=dict)
    reached: Position = START
    """Up to here everything that was waiting has been sent at least once on this line."""
    has_more: bool = True
    """There may be rows behind `reached` that were not read yet."""
    is_reading: bool = False


class OutboxPump:
    """Keeps sending while there is a line. `send` hands one message to the line; False when there is none.

    Messages that are lost on the way are sent again after 1.5 s, then after longer and longer pauses.
    """

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        send: Callable[[Channel, bytes], bool],
        *,
        window: int = WINDOW,
        first_resend_s: float = FIRST_RESEND_S,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._send = send
        self._window = window
        self._first_resend_s = first_resend_s
        self._jitter = jitter
        self._lanes = {stream: _Lane(stream) for stream in Stream}
        self._is_open = False
        self._news = asyncio.Event()
        spool.on_appended = self._appended

    def open(self) -> None:
        """There is a line, or a new one: everything that waits is sent, from the oldest on."""
        for lane in self._lanes.values():
            lane.flights.clear()
            lane.reached, lane.has_more = START, True
        self._is_open = True
        self._news.set()

    def close(self) -> None:
        """There is no line, or nobody at its end: nothing is sent."""
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether anything is sent."""
        return self._is_open

    @property
    def on_the_way(self) -> int:
        """Messages that were sent and not acknowledged."""
        return sum(len(lane.flights) for lane in self._lanes.values())

    def released(self, ack: Ack) -> None:
        """The server has these; called after the spool released them."""
        with contextlib.suppress(ValueError):
            lane = self._lanes[Stream(ack.stream)]
            beyond = {*ack.also, *(refusal.seq for refusal in ack.reject)}
            for position in list(lane.flights):
                if position.epoch == ack.epoch and (
                    position.seq <= ack.upto or position.seq in beyond
                ):
                    del lane.flights[position]
            self._news.set()

    async def send_again(self, ack: Ack) -> None:
        """Send the ranges that the server misses, whether it acknowledged them before or not."""
        with contextlib.suppress(ValueError):
            stream = Stream(ack.stream)
            room = self._window
            for first, last in ack.resend:
                rows = await self._spool.again(stream, ack.epoch, first, last, limit=room)
                self._send_all(rows)
                room -= len(rows)
                if room <= 0:
                    # The server asks for the rest when it has these.
                    return

    async def send_row(self, stream: Stream, position: Position) -> None:
        """Send one message again, such as the result of a command that was delivered twice."""
        self._send_all(
            await self._spool.again(stream, position.epoch, position.seq, position.seq, limit=1)
        )

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._news.clear()
            if self._is_open:
                self._send_due()
                for lane in self._lanes.values():
                    await self._fill(lane)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._nap_s()):
                    await self._news.wait()

    # --- one lane --------------------------------------------------------------------------------------------

    def _appended(self, row: Row) -> None:
        """A message is durable: it goes out at once, unless older ones must go first."""
        lane = self._lanes[row.stream]
        must_wait = lane.has_more or lane.is_reading or len(lane.flights) >= self._window
        if self._is_open and not must_wait:
            self._launch(lane, row)
        else:
            lane.has_more = True
        self._news.set()

    async def _fill(self, lane: _Lane) -> None:
        while self._is_open and lane.has_more and (room := self._window - len(lane.flights)) > 0:
            # What is appended while this is read sets it again.
            lane.has_more = False
            after = lane.reached
            lane.is_reading = True
            rows = await self._spool.waiting(lane.stream, after, room)
            lane.is_reading = False
            if lane.reached != after or not self._is_open:
                # A new line began meanwhile: from the start.
                lane.has_more = True
                continue
            if len(rows) == room:
                lane.has_more = True
            for row in rows:
                self._launch(lane, row)

    def _launch(self, lane: _Lane, row: Row) -> None:
        if row.position in lane.flights:
            return
        pause_s = self._first_resend_s
        lane.flights[row.position] = _Flight(row, self._clock.elapsed() + pause_s, pause_s)
        lane.reached = row.position
        if not self._send(STREAM_CHANNEL[row.stream], row.payload):
            self._is_open = False

    def _send_due(self) -> None:
        now = self._clock.elapsed()
        for lane in self._lanes.values():
            for flight in lane.flights.values():
                if flight.due > now:
                    continue
                flight.pause_s = min(flight.pause_s * 2, LONGEST_RESEND_S)
                flight.due = now + flight.pause_s * (0.8 + 0.4 * self._jitter())
                self._send_all([flight.row])

    def _send_all(self, rows: list[Row]) -> None:
        for row in rows:
            if not self._is_open or not self._send(STREAM_CHANNEL[row.stream], row.payload):
                self._is_open = False
                return

    def _nap_s(self) -> float | None:
        """Until the next message is due; no end when nothing is on its way."""
        dues = [flight.due for lane in self._lanes.values() for flight in lane.flights.values()]
        if not self._is_open or not dues:
            return None
        return min(max(0.0, min(dues) - self._clock.elapsed()), LONGEST_NAP_S)
