"""What every transport promises, tried on memory, on a real tty through pyserial, and on TCP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import socket
import threading
import tty
from typing import TYPE_CHECKING, Protocol

import pytest

from agent.errors import Lost, TransportLost, TransportUnavailable, Unavailable
from agent.transports import memory, transport_for
from tests.support.ports import LOOPBACK, free_port
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.transports import Transport

BYTES = bytes(range(256))


class Bench(Protocol):
    """The reader's end of a line, as a test holds it in its hands."""

    address: str
    absent: str
    """An address of the same kind where nothing is."""
    absent_reason: Unavailable
    unplugged: Lost
    """What the program should see when `unplug` is called."""

    async def plug_in(self) -> None: ...
    async def unplug(self) -> None: ...
    async def say(self, outgoing: bytes) -> None: ...
    async def hear(self, count: int) -> bytes: ...
    async def stop(self) -> None: ...


class MemoryBench:
    address = "memory://bench"
    absent = "memory://nobody"
    absent_reason = Unavailable.NOT_FOUND
    unplugged = Lost.UNPLUGGED

    def __init__(self) -> None:
        self._ends: list[memory.MemoryEnd] = []
        self._heard = bytearray()

    async def plug_in(self) -> None:
        self._server = memory.Server("bench", self._ends.append)

    async def unplug(self) -> None:
        self._server.close()

    async def say(self, outgoing: bytes) -> None:
        await self._ends[-1].write(outgoing)

    async def hear(self, count: int) -> bytes:
        while len(self._heard) < count:
            self._heard += await self._ends[-1].read()
        heard = bytes(self._heard[:count])
        del self._heard[:count]
        return heard

    async def stop(self) -> None:
        self._server.close()


class PtyBench:
    absent_reason = Unavailable.NOT_FOUND
    unplugged = Lost.UNPLUGGED

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ttyBENCH"
        self.address = f"serial://{self._path}?baud=115200&stopbits=1&write_timeout_s=0.4"
        self.absent = f"serial://{folder}/ttyNOBODY"
        self._master = -1

    async def plug_in(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self._path.symlink_to(os.ttyname(slave))
        # Held open, so that the line survives a program that closes and opens it again.
        self._slave = slave

    async def unplug(self) -> None:
        self._path.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._master = -1

    async def say(self, outgoing: bytes) -> None:
        while outgoing:
            with contextlib.suppress(BlockingIOError):
                outgoing = outgoing[os.write(self._master, outgoing[:1024]) :]
            await asyncio.sleep(0)

    async def hear(self, count: int) -> bytes:
        heard = bytearray()

        async def more() -> bool:
            with contextlib.suppress(BlockingIOError):
                heard.extend(os.read(self._master, count - len(heard)))
            return len(heard) == count

        await eventually_async(more)
        return bytes(heard)

    async def stop(self) -> None:
        if self._master >= 0:
            await self.unplug()


class TcpBench:
    absent_reason = Unavailable.REFUSED
    unplugged = Lost.CLOSED_BY_PEER

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"tcp://{LOOPBACK}:{self.port}?write_timeout_s=0.4"
        self.absent = f"tcp://{LOOPBACK}:{free_port()}"
        self._lines: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def plug_in(self) -> None:
        self._server = await asyncio.start_server(
            lambda reader, writer: self._lines.append((reader, writer)), LOOPBACK, self.port
        )

    async def unplug(self) -> None:
        self._server.close()
        for _, writer in self._lines:
            writer.transport.abort()
        self._lines.clear()
        await asyncio.sleep(0)

    async def _newest(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async def found() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
            return next((line for line in self._lines if not line[0].at_eof()), None)

        line = await eventually_async(found)
        assert line is not None
        return line

    async def say(self, outgoing: bytes) -> None:
        (await self._newest())[1].write(outgoing)

    async def hear(self, count: int) -> bytes:
        return await asyncio.wait_for((await self._newest())[0].readexactly(count), 5)

    async def stop(self) -> None:
        await self.unplug()


@pytest.fixture(params=["memory", "pty", "tcp"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    threads_before = threading.active_count()
    made: dict[str, Bench] = {
        "memory": MemoryBench(),
        "pty": PtyBench(tmp_path),
        "tcp": TcpBench(),
    }
    bench = made[request.param]
    await bench.plug_in()
    yield bench
    await bench.stop()
    assert threading.active_count() == threads_before


@pytest.fixture
async def line(bench: Bench) -> AsyncIterator[Transport]:
    """An open line to the bench."""
    line = transport_for(bench.address)
    await line.open()
    yield line
    await line.close()


async def read_all(line: Transport, count: int) -> bytes:
    received = b""
    async with asyncio.timeout(5):
        while len(received) < count:
            received += await line.read()
    return received


async def test_bytes_of_every_value_arrive_unchanged_in_both_directions(
    bench: Bench, line: Transport
) -> None:
    await line.write(BYTES)
    assert await bench.hear(256) == BYTES

    await bench.say(BYTES)
    assert await read_all(line, 256) == BYTES


async def test_bytes_that_trickle_in_one_by_one_all_arrive_in_order(
    bench: Bench, line: Transport
) -> None:
    received = b""

    for value in range(20):
        await bench.say(bytes([value]))
        received += await read_all(line, 1)

    assert received == bytes(range(20))


async def test_a_flood_of_garbage_arrives_whole(bench: Bench, line: Transport) -> None:
    garbage = BYTES * 1024

    saying = asyncio.create_task(bench.say(garbage))
    received = await read_all(line, len(garbage))
    await saying

    assert received == garbage


async def test_a_flood_that_nobody_reads_does_not_stop_the_program_from_writing(
    bench: Bench, line: Transport
) -> None:
    saying = asyncio.create_task(bench.say(BYTES * 1024))
    await asyncio.wait([saying], timeout=0.3)

    await line.write(b"enough")

    assert await bench.hear(6) == b"enough"
    await read_all(line, 256 * 1024)
    await saying


async def test_a_cancelled_read_loses_no_bytes(bench: Bench, line: Transport) -> None:
    reading = asyncio.create_task(line.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])

    await bench.say(b"after")

    assert await read_all(line, 5) == b"after"


async def test_a_cable_pulled_during_a_blocked_read_ends_the_read_with_the_reason(
    bench: Bench, line: Transport
) -> None:
    await line.write(b"x")
    await bench.hear(1)
    reading = asyncio.create_task(line.read())
    await asyncio.sleep(0)

    await bench.unplug()

    with pytest.raises(TransportLost) as lost:
        await asyncio.wait_for(reading, 2)
    assert lost.value.reason is bench.unplugged
    assert line.lost is bench.unplugged


async def test_what_came_before_the_line_was_lost_is_read_first(
    bench: Bench, line: Transport
) -> None:
    await line.write(b"x")
    await bench.hear(1)
    await bench.say(b"last words")
    first = await read_all(line, 10)
    await bench.unplug()

    assert first == b"last words"
    with pytest.raises(TransportLost):
        await asyncio.wait_for(line.read(), 2)


async def test_a_write_to_a_dead_line_is_refused_for_ever(bench: Bench, line: Transport) -> None:
    await line.write(b"x")
    await bench.hear(1)
    await bench.unplug()
    with pytest.raises(TransportLost):
        await asyncio.wait_for(line.read(), 2)

    with pytest.raises(TransportLost):
        await asyncio.wait_for(line.write(b"hello?"), 2)
    with pytest.raises(TransportLost):
        await asyncio.wait_for(line.write(b"hello?"), 2)


async def test_a_line_opens_again_after_it_was_closed(bench: Bench, line: Transport) -> None:
    await line.close()
    lost_while_closed = line.lost

    await line.open()
    await line.write(b"again")

    assert (lost_while_closed, line.lost) == (Lost.CLOSED, None)
    assert await bench.hear(5) == b"again"


async def test_a_line_opens_again_after_the_cable_was_put_back(
    bench: Bench, line: Transport
) -> None:
    await line.write(b"x")
    await bench.hear(1)
    await bench.unplug()
    with pytest.raises(TransportLost):
        await asyncio.wait_for(line.read(), 2)
    with pytest.raises(TransportUnavailable):
        await line.open()

    await bench.plug_in()
    await line.open()
    await line.write(b"back")

    assert await bench.hear(4) == b"back"


async def test_closing_wakes_a_blocked_read_and_can_be_repeated(
    bench: Bench, line: Transport
) -> None:
    reading = asyncio.create_task(line.read())
    await asyncio.sleep(0)

    async with asyncio.timeout(2):
        await line.close()
        await line.close()

    with pytest.raises(TransportLost) as lost:
        await reading
    assert lost.value.reason is Lost.CLOSED


async def test_where_nothing_is_opening_says_so(bench: Bench) -> None:
    line = transport_for(bench.absent)

    with pytest.raises(TransportUnavailable) as refused:
        await line.open()

    assert refused.value.reason is bench.absent_reason
    assert refused.value.retryable
    await line.close()


async def test_a_line_that_was_never_opened_refuses_to_be_used(bench: Bench) -> None:
    line = transport_for(bench.address)

    with pytest.raises(TransportUnavailable):
        await line.read()
    with pytest.raises(TransportUnavailable):
        await line.write(b"x")
    await line.close()

    assert line.lost is None


@pytest.mark.parametrize("bench", ["memory", "pty"], indirect=True)
async def test_a_port_that_another_holds_is_busy_until_it_is_let_go(
    bench: Bench, line: Transport
) -> None:
    second = transport_for(bench.address)

    with pytest.raises(TransportUnavailable) as refused:
        await second.open()
    assert refused.value.reason is Unavailable.BUSY

    await line.close()
    await second.open()
    await second.close()


@pytest.mark.parametrize("bench", ["pty", "tcp"], indirect=True)
async def test_a_peer_that_takes_no_bytes_costs_a_bounded_wait(
    bench: Bench, line: Transport
) -> None:
    lump = bytes(16 * 1024 * 1024)

    with pytest.raises(TransportLost) as lost:
        async with asyncio.timeout(5):
            await line.write(lump)

    assert lost.value.reason is Lost.WRITE_TIMEOUT
    async with asyncio.timeout(2):
        await line.close()


@pytest.mark.parametrize("bench", ["tcp"], indirect=True)
async def test_tcp_sends_small_frames_at_once_and_watches_a_silent_peer(
    bench: TcpBench, line: Transport
) -> None:
    with _socket_to(bench.port) as connection:
        seen = [
            connection.getsockopt(level, option)
            for level, option in (
                (socket.IPPROTO_TCP, socket.TCP_NODELAY),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            )
        ]

    assert seen == [1, 1, 5, 5, 3, 20_000]


def _socket_to(port: int) -> socket.socket:
    """A second handle on the connection of this process to that port."""
    for fd in range(3, 1024):
        try:
            handle = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        with contextlib.suppress(OSError, IndexError):
            if handle.getpeername()[1] == port:
                return handle
        handle.close()
    raise AssertionError(f"no connection to port {port}")
