"""How long a reader is waited for, when it is reset, and how it is looked after while nobody pays. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from agent.clock import LONGEST_NAP_S
from agent.readers.connecting import machine_for, reader_for
from agent.readers.reader import Reader, ReaderState, Timing
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import MemorySocket
from agent.transports import memory, transport_for
from firmware_profiles import load_profile
from protocols.money import Money
from protocols.readers.protocol import Outcome, Purchase
from protocols.readers.zvt import messages
from protocols.readers.zvt.apdu import ApduStream
from protocols.readers.zvt.peer import ZvtTerminal
from tests.fakes.virtual_time import run_virtually, virtual_clock

ADDRESS = "memory://patience"


class Deaf:
    """A machine that takes connections and bytes, and says nothing."""

    def __init__(self) -> None:
        self.connected_at: list[float] = []
        self.heard: list[int] = []
        self._server = memory.Server("patience", self._accept)
        self._tasks: list[asyncio.Future[None]] = []

    def _accept(self, end: memory.MemoryEnd) -> None:
        self.connected_at.append(asyncio.get_running_loop().time())
        self._tasks.append(asyncio.ensure_future(self._listen(end)))

    async def _listen(self, end: memory.MemoryEnd) -> None:
        stream = ApduStream()
        while end.lost is None:
            self.heard += [apdu.control for apdu in stream.feed(await end.read())]

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def reader_at(address: str = ADDRESS, **timing: float) -> Reader:
    profile = load_profile("generic-zvt-tcp")
    return Reader(
        transport_for(address),
        machine_for(profile, currency="EUR"),
        timing=Timing(**timing),
        clock=virtual_clock(),
        can_restart=True,
        jitter=lambda: 1.0,
    )


@asynccontextmanager
async def running(*loops: Reader | SimulatedReader) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def virtually(test: Callable[[], Awaitable[None]]) -> None:
    async def body() -> None:
        await test()

    run_virtually(body())


def test_a_reader_that_answers_nothing_is_reset_with_growing_pauses() -> None:
    async def test() -> None:
        deaf, reader = Deaf(), reader_at(retry_first_s=1, retry_longest_s=8, restart_after_s=1e6)
        async with running(reader):
            await asyncio.sleep(100)
            status = reader.status
        await deaf.close()

        # 5 s for an answer each time; then at once, then 1, 2, 4, 8, 8… s later.
        gaps = [b - a for a, b in zip(deaf.connected_at, deaf.connected_at[1:], strict=False)]
        assert gaps[:6] == pytest.approx([5, 6, 7, 9, 13, 13])
        assert reader.counts["resets"] == len(deaf.connected_at)
        assert reader.counts["restarts"] == 0
        assert status.state in {ReaderState.FAILING, ReaderState.STARTING}

    virtually(test)


def test_a_reader_that_stays_deaf_is_asked_to_restart_once_in_a_long_while() -> None:
    async def test() -> None:
        deaf, reader = Deaf(), reader_at(retry_longest_s=5, restart_after_s=240)
        async with running(reader):
            await asyncio.sleep(239)
            before = list(deaf.heard)
            await asyncio.sleep(260)
        await deaf.close()

        assert set(before) == {messages.REGISTRATION}
        assert 1 <= deaf.heard.count(messages.RESET) <= 2
        assert reader.counts["restarts"] == deaf.heard.count(messages.RESET)

    virtually(test)


def test_a_place_where_nothing_is_is_tried_less_and_less_often() -> None:
    async def test() -> None:
        reader = reader_at("memory://nobody", retry_first_s=1, retry_longest_s=30)
        async with running(reader):
            await asyncio.sleep(10)
            refused = await reader.execute(Purchase(Money(1, "EUR")))
            status = reader.status

        assert refused.outcome is Outcome.BUSY
        assert status.state is ReaderState.DISCONNECTED
        assert "not there" in status.reason
        assert reader.counts["opened"] == 0

    virtually(test)


def a_terminal() -> tuple[ZvtTerminal, SimulatedReader, list[tuple[float, int]]]:
    """A simulated terminal, and what it was asked when."""
    clock = virtual_clock()
    machine = cast(
        "ZvtTerminal",
        terminal("zvt", "tcp", clock, script="approve", password="000000"),
    )
    asked: list[tuple[float, int]] = []

    def listen(direction: str, chunk: bytes) -> None:
        if direction == "in":
            apdus = [apdu for apdu in ApduStream().feed(chunk) if not apdu.is_answer]
            asked.extend((round(clock.elapsed(), 3), apdu.control) for apdu in apdus)

    simulated = SimulatedReader(machine, MemorySocket("patience"), clock=clock, on_traffic=listen)
    return machine, simulated, asked


def test_an_idle_reader_is_asked_how_it_is_once_a_heartbeat() -> None:
    async def test() -> None:
        _, simulated, asked = a_terminal()
        reader = reader_at(heartbeat_s=60)
        async with running(simulated):
            await simulated.is_up.wait()
            async with running(reader):
                await asyncio.sleep(301)

        assert asked[0][1] == messages.REGISTRATION
        assert [at for at, control in asked if control == messages.STATUS_ENQUIRY] == [
            0, 60, 120, 180, 240, 300,
        ]  # fmt: skip

    virtually(test)


def test_no_heartbeat_disturbs_a_payment() -> None:
    async def test() -> None:
        machine, simulated, asked = a_terminal()
        reader = reader_at(heartbeat_s=10)
        async with running(simulated):
            await simulated.is_up.wait()
            async with running(reader):
                await reader.until(ReaderState.READY)
                machine.queue_script("slow")
                paid = await reader.execute(Purchase(Money(1, "EUR")))
                during = [control for _, control in asked[2:]]

        assert paid.outcome is Outcome.APPROVED
        assert during == [messages.AUTHORIZATION]

    virtually(test)


def test_a_reader_that_is_busy_by_itself_is_asked_again_soon_and_gets_no_payment() -> None:
    async def test() -> None:
        machine, simulated, asked = a_terminal()
        reader = reader_at(heartbeat_s=60, busy_poll_s=2)
        machine.store.update_polls_left = 3
        async with running(simulated):
            await simulated.is_up.wait()
            async with running(reader):
                busy = await reader.until(ReaderState.BUSY)
                refused = await reader.execute(Purchase(Money(1, "EUR")))
                await reader.until(ReaderState.READY)
                ready_at = virtual_clock().elapsed()

        assert busy.reason == "busy"
        assert refused.outcome is Outcome.BUSY
        assert ready_at == pytest.approx(6, abs=0.1)
        assert messages.AUTHORIZATION not in [control for _, control in asked]

    virtually(test)


def test_a_reader_that_restarts_is_back_when_it_is_back() -> None:
    async def test() -> None:
        machine, simulated, _ = a_terminal()
        reader = reader_at(retry_first_s=0.5, retry_longest_s=5)
        async with running(simulated):
            await simulated.is_up.wait()
            async with running(reader):
                await reader.until(ReaderState.READY)
                machine.restart(virtual_clock().elapsed())
                simulated.poke()
                await reader.until(ReaderState.DISCONNECTED)
                await reader.until(ReaderState.READY)
                back_after_s = virtual_clock().elapsed()

        assert 20 <= back_after_s < 26

    virtually(test)


def test_an_idle_reader_wakes_nobody_but_for_naps_and_heartbeats() -> None:
    async def test() -> None:
        _, simulated, _ = a_terminal()
        reader = reader_at(heartbeat_s=60)
        waits = 0
        plain = reader._wait_s  # noqa: SLF001 (counts the turns of the loop)

        def counted() -> float:
            nonlocal waits
            waits += 1
            return plain()

        reader._wait_s = counted  # type: ignore[method-assign]  # noqa: SLF001
        async with running(simulated):
            await simulated.is_up.wait()
            async with running(reader):
                await asyncio.sleep(600)

        assert waits < 600 / LONGEST_NAP_S + 10 * 10

    virtually(test)


def test_limits_come_from_the_profile() -> None:
    async def test() -> None:
        profile = load_profile("generic-zvt-tcp")
        reader = reader_for(profile, "tcp://127.0.0.1", currency="EUR", clock=virtual_clock())

        assert reader.address == "tcp://127.0.0.1:20007"
        assert reader._timing == Timing(heartbeat_s=60, idle_close_s=0, restart_after_s=240)  # noqa: SLF001

    virtually(test)
