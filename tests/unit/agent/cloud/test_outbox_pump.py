"""What is sent when, without a journal or a line."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.clock import SystemClock
from agent.outbox_pump import OutboxPump
from agent.spool import Position, Row
from protocols.cloud.commands import Ack
from protocols.cloud.topics import Channel, Stream
from tests.support.waiting import eventually_async

EV = Stream.EVENTS


class MemorySpool:
    """The part of `agent.spool.Spool` that sends: rows in order, those that wait and those that do not."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.acked: set[tuple[Stream, Position]] = set()
        self.on_appended: Callable[[Row], None] = lambda row: None
        self.reads = 0
        self.largest_read = 0

    def append(self, text: str, stream: Stream = EV, epoch: int = 1) -> None:
        seq = 1 + sum(row.stream is stream and row.position.epoch == epoch for row in self.rows)
        row = Row(stream, Position(epoch, seq), text.encode())
        self.rows.append(row)
        self.on_appended(row)

    def release(self, ack: Ack) -> None:
        stream = Stream(ack.stream)
        self.acked |= {
            (stream, row.position)
            for row in self.rows
            if row.position.epoch == ack.epoch
            and (row.position.seq <= ack.upto or row.position.seq in ack.also)
        }

    async def waiting(self, stream: Stream, after: Position, limit: int) -> list[Row]:
        self.reads += 1
        await asyncio.sleep(0)
        found = [
            row
            for row in self.rows
            if row.stream is stream
            and row.position > after
            and (stream, row.position) not in self.acked
        ][:limit]
        await asyncio.sleep(0)
        self.largest_read = max(self.largest_read, len(found))
        return found

    async def again(
        self, stream: Stream, epoch: int, first: int, last: int, limit: int
    ) -> list[Row]:
        return [
            row
            for row in self.rows
            if row.stream is stream
            and row.position.epoch == epoch
            and first <= row.position.seq <= last
        ][:limit]


class Line:
    """Notes what was sent while it is up."""

    def __init__(self) -> None:
        self.sent: list[tuple[Channel, str]] = []
        self.is_up = True

    def send(self, channel: Channel, payload: bytes) -> bool:
        if self.is_up:
            self.sent.append((channel, payload.decode()))
        return self.is_up

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.sent]


@asynccontextmanager
async def pumping(
    spool: MemorySpool, line: Line, *, window: int = 50, first_resend_s: float = 60
) -> AsyncIterator[OutboxPump]:
    pump = OutboxPump(
        spool,  # type: ignore[arg-type]  # a fake of the three methods that are used
        SystemClock(),
        line.send,
        window=window,
        first_resend_s=first_resend_s,
        jitter=lambda: 0.5,
    )
    task = asyncio.create_task(pump.run())
    try:
        yield pump
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async def probe() -> bool:
        return condition()

    await eventually_async(probe)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_everything_that_waited_goes_out_in_order_when_a_line_opens() -> None:
    spool, line = MemorySpool(), Line()
    for number in range(5):
        spool.append(str(number))

    async with pumping(spool, line) as pump:
        await settled()
        before = list(line.texts)
        pump.open()
        await until(lambda: len(line.sent) == 5)

    assert before == []
    assert line.texts == ["0", "1", "2", "3", "4"]
    assert {channel for channel, _ in line.sent} == {Channel.EVENTS}


async def test_a_new_message_goes_out_at_once_without_reading_the_journal() -> None:
    spool, line = MemorySpool(), Line()
    async with pumping(spool, line) as pump:
        pump.open()
        await settled()
        reads = spool.reads

        spool.append("now")

        assert line.texts == ["now"]
        assert spool.reads == reads


async def test_order_holds_when_messages_arrive_while_older_ones_are_read() -> None:
    spool, line = MemorySpool(), Line()
    spool.append("0")
    async with pumping(spool, line, window=200) as pump:
        pump.open()
        for number in range(1, 100):
            spool.append(str(number))
            if number % 3 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(line.sent) >= 100)

    assert line.texts == [str(number) for number in range(100)]


async def test_only_a_window_is_on_its_way_until_the_server_answers() -> None:
    spool, line = MemorySpool(), Line()
    for number in range(25):
        spool.append(str(number))

    async with pumping(spool, line, window=10) as pump:
        pump.open()
        await settled()
        first = len(line.sent)
        ack = Ack(stream="ev", epoch=1, upto=4)
        spool.release(ack)
        pump.released(ack)
        await settled()

        assert first == 10
        assert line.texts == [str(number) for number in range(14)]
        assert pump.on_the_way == 10
        assert spool.largest_read == 10


async def test_streams_do_not_wait_for_each_other() -> None:
    spool, line = MemorySpool(), Line()
    for number in range(5):
        spool.append(f"e{number}")
    spool.append("money", Stream.TRANSACTIONS)

    async with pumping(spool, line, window=2) as pump:
        pump.open()
        await until(lambda: len(line.sent) == 3)

    assert (Channel.TRANSACTIONS, "money") in line.sent


async def test_what_is_not_acknowledged_is_sent_again_with_growing_pauses() -> None:
    spool, line = MemorySpool(), Line()
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def send(channel: Channel, payload: bytes) -> bool:
        times.append(loop.time())
        return line.send(channel, payload)

    pump = OutboxPump(
        spool,  # type: ignore[arg-type]
        SystemClock(),
        send,
        first_resend_s=0.02,
        jitter=lambda: 0.5,
    )
    task = asyncio.create_task(pump.run())
    pump.open()
    await settled()
    spool.append("lost")
    await until(lambda: len(times) == 4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert line.texts == ["lost"] * 4
    assert pauses[0] >= 0.02
    assert pauses[1] >= 0.04
    assert pauses[2] >= 0.08


async def test_an_acknowledged_message_is_not_sent_again() -> None:
    spool, line = MemorySpool(), Line()
    async with pumping(spool, line, first_resend_s=0.02) as pump:
        pump.open()
        await settled()
        spool.append("a")
        spool.append("b")
        ack = Ack(stream="ev", epoch=1, upto=1)
        spool.release(ack)
        pump.released(ack)
        await until(lambda: line.texts.count("b") == 3)

    assert line.texts.count("a") == 1


async def test_a_new_line_gets_everything_that_is_not_acknowledged() -> None:
    spool, line = MemorySpool(), Line()
    async with pumping(spool, line) as pump:
        pump.open()
        for text in "abc":
            spool.append(text)
        await settled()
        ack = Ack(stream="ev", epoch=1, upto=0, also=[2])
        spool.release(ack)
        pump.released(ack)
        line.sent.clear()

        pump.open()
        await until(lambda: len(line.sent) == 2)

    assert line.texts == ["a", "c"]


async def test_nothing_is_sent_while_nobody_is_at_the_other_end() -> None:
    spool, line = MemorySpool(), Line()
    async with pumping(spool, line, first_resend_s=0.01) as pump:
        pump.open()
        await settled()
        pump.close()
        spool.append("a")
        await settled()
        closed = list(line.texts)
        pump.open()
        await until(lambda: bool(line.sent))

    assert closed == []


async def test_a_line_that_breaks_stops_the_sending_until_it_is_opened_anew() -> None:
    spool, line = MemorySpool(), Line()
    async with pumping(spool, line) as pump:
        pump.open()
        await settled()
        line.is_up = False
        spool.append("a")
        line.is_up = True
        spool.append("b")
        await settled()
        while_broken = list(line.texts)
        pump.open()
        await until(lambda: len(line.sent) == 2)

    assert while_broken == []
    assert line.texts == ["a", "b"]


async def test_ranges_that_the_server_misses_are_sent_even_when_acknowledged_before() -> None:
    spool, line = MemorySpool(), Line()
    for number in range(1, 10):
        spool.append(str(number))
    async with pumping(spool, line, window=5) as pump:
        ack = Ack(stream="ev", epoch=1, upto=9)
        spool.release(ack)
        pump.open()
        await settled()

        await pump.send_again(Ack(stream="ev", epoch=1, upto=1, resend=[(2, 3), (5, 9)]))

    assert line.texts == ["2", "3", "5", "6", "7"]


async def test_rows_of_an_earlier_epoch_go_first() -> None:
    spool, line = MemorySpool(), Line()
    spool.append("old 1", epoch=1)
    spool.append("old 2", epoch=1)
    spool.append("new 1", epoch=2)
    async with pumping(spool, line) as pump:
        pump.open()
        await until(lambda: len(line.sent) == 3)
        ack = Ack(stream="ev", epoch=2, upto=1)
        pump.released(ack)

        assert pump.on_the_way == 2

    assert line.texts == ["old 1", "old 2", "new 1"]


async def test_an_acknowledgement_of_an_unknown_stream_is_ignored() -> None:
    spool, line = MemorySpool(), Line()
    async with pumping(spool, line) as pump:
        pump.open()
        await settled()
        spool.append("a")

        pump.released(Ack(stream="??", epoch=1, upto=9))
        await pump.send_again(Ack(stream="??", epoch=1, upto=9, resend=[(1, 2)]))

        assert pump.on_the_way == 1
    assert line.texts == ["a"]
