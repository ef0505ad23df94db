"""A reader on a real tty and on TCP: it is there within moments, survives its cable, and is never driven by two."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import pytest

from agent.clock import SystemClock
from agent.errors import ReaderBusy
from agent.readers.connecting import machine_for
from agent.readers.reader import Reader, ReaderState, ReaderStatus, Timing
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import PtySocket, TcpSocket
from agent.transports import transport_for
from firmware_profiles import load_profile
from protocols.money import Money
from protocols.readers.protocol import (
    AskStatus,
    EndOfDay,
    Finished,
    Outcome,
    Progress,
    Purchase,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Step,
)
from tests.support.ports import LOOPBACK
from tests.support.waiting import eventually_async

if TYPE_CHECKING:
    from pathlib import Path

    from agent.simulator.sockets import Socket
    from protocols.readers.zvt.peer import ZvtTerminal

ONE_EURO = Money(1_00, "EUR")


class Counter:
    """A simulated terminal and the reader that drives it, both running."""

    def __init__(self, kind: str, folder: Path) -> None:
        framing = "serial" if kind == "pty" else "tcp"
        self.machine = cast(
            "ZvtTerminal",
            terminal("zvt", framing, SystemClock(), script="approve", pace=0, password="000000"),
        )
        sockets: dict[str, Socket] = {
            "pty": PtySocket(folder / "ttyPOS"),
            "tcp": TcpSocket(LOOPBACK, 0),
        }
        self.simulated = SimulatedReader(self.machine, sockets[kind])
        self.heard: list[bytes] = []
        self.framing = framing
        self.tasks: list[asyncio.Future[None]] = []

    async def start_terminal(self) -> None:
        self.tasks.append(asyncio.ensure_future(self.simulated.run()))
        await asyncio.wait_for(self.simulated.is_up.wait(), 5)

    def start_reader(
        self, timing: Timing | None = None, *, expects: str | None = None, can_restart: bool = False
    ) -> Reader:
        profile = load_profile(f"generic-zvt-{self.framing}")
        reader = Reader(
            transport_for(self.simulated.socket.address, {"baud": 115200}),
            machine_for(profile, currency="EUR"),
            timing=timing or Timing(retry_first_s=0.1, busy_poll_s=0.1),
            expects=expects,
            can_restart=can_restart,
        )
        self.tasks.append(asyncio.ensure_future(reader.run()))
        return reader

    async def close(self) -> None:
        for task in reversed(self.tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=["pty", "tcp"])
async def counter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Counter]:
    threads = threading.active_count()
    counter = Counter(request.param, tmp_path)
    await counter.start_terminal()
    yield counter
    await counter.close()
    assert threading.active_count() == threads


@pytest.fixture
async def reader(counter: Counter) -> Reader:
    reader = counter.start_reader()
    await asyncio.wait_for(reader.until(ReaderState.READY), 5)
    return reader


async def test_a_reader_says_who_it_is_when_it_is_ready(reader: Reader) -> None:
    identity = reader.status.identity

    assert identity.terminal_id == "52500001"
    assert identity.software_version == "SIM 1.02.3"
    assert identity.serial_number == "00018632"
    assert reader.clock_seen is not None
    assert reader.counts["opened"] == 1


async def test_a_command_tells_its_steps_and_ends_once(counter: Counter, reader: Reader) -> None:
    seen: list[ReaderEvent] = []

    finished = await asyncio.wait_for(reader.execute(Purchase(ONE_EURO), seen.append), 5)

    assert finished.outcome is Outcome.APPROVED
    steps = [event.step for event in seen if isinstance(event, Progress)]
    assert steps == [Step.SENT, Step.WAITING_FOR_CARD, Step.AUTHORIZING, Step.AUTHORIZING]
    assert [one.amount_minor for one in counter.machine.store.transactions] == [1_00]
    assert reader.status.state is ReaderState.READY


async def test_a_second_command_is_refused_while_one_runs_and_nothing_is_sent(
    counter: Counter, reader: Reader
) -> None:
    first = asyncio.ensure_future(reader.execute(Purchase(ONE_EURO)))
    await asyncio.wait_for(reader.until(ReaderState.BUSY), 5)

    with pytest.raises(ReaderBusy):
        await reader.execute(Purchase(Money(2_00, "EUR")))

    assert (await asyncio.wait_for(first, 5)).outcome is Outcome.APPROVED
    assert [one.amount_minor for one in counter.machine.store.transactions] == [1_00]


async def test_a_command_waits_for_the_readers_own_question_to_end(reader: Reader) -> None:
    reader._heartbeat_at = 0  # noqa: SLF001 (the heartbeat is due now)

    finished = await asyncio.wait_for(reader.execute(ReadTotals()), 5)

    assert finished.outcome is Outcome.DONE


async def test_a_pulled_cable_is_noticed_and_a_replugged_one_is_used_within_a_second(
    counter: Counter, reader: Reader
) -> None:
    seen: list[ReaderState] = []
    reader.watch(lambda status: seen.append(status.state))
    loop = asyncio.get_running_loop()

    async def is_done() -> bool:
        return counter.machine.is_idle()

    await eventually_async(is_done)
    counter.simulated.unplug()
    await asyncio.wait_for(reader.until(ReaderState.DISCONNECTED), 2)
    refused = await reader.execute(RecallLast())
    counter.simulated.plug_in()
    plugged_at = loop.time()
    await asyncio.wait_for(reader.until(ReaderState.READY), 3)

    assert refused.outcome is Outcome.BUSY
    assert loop.time() - plugged_at < 1.2
    assert seen[0] is ReaderState.DISCONNECTED
    assert seen[-1] is ReaderState.READY
    assert reader.counts["opened"] == 2
    assert (await reader.execute(AskStatus())).outcome is Outcome.DONE


async def test_a_cable_pulled_during_a_payment_ends_it_as_lost(
    counter: Counter, reader: Reader
) -> None:
    counter.machine.queue_script("slow")
    counter.machine._pace = 1  # noqa: SLF001 (the customer takes his time)
    waiting = asyncio.Event()
    paying = asyncio.ensure_future(reader.execute(Purchase(ONE_EURO), lambda _: waiting.set()))
    await asyncio.wait_for(waiting.wait(), 5)

    counter.simulated.unplug()

    finished = await asyncio.wait_for(paying, 2)
    assert finished.outcome is Outcome.LOST


async def test_a_terminal_that_was_restarted_is_registered_again_by_itself(
    counter: Counter, reader: Reader
) -> None:
    counter.machine.store.is_registered = False

    refused = await asyncio.wait_for(reader.execute(Purchase(ONE_EURO)), 5)

    assert refused.outcome is Outcome.FAILED
    assert counter.machine.store.transactions == []
    paid = await asyncio.wait_for(reader.execute(Purchase(ONE_EURO)), 5)
    assert paid.outcome is Outcome.APPROVED


async def test_a_locked_terminal_takes_no_payment_until_it_is_unlocked(
    counter: Counter, reader: Reader
) -> None:
    counter.machine.store.lock = 0xF0
    first = await asyncio.wait_for(reader.execute(Purchase(ONE_EURO)), 5)
    status = await asyncio.wait_for(reader.until(ReaderState.LOCKED), 5)

    second = await reader.execute(Purchase(ONE_EURO))
    closed = await asyncio.wait_for(reader.execute(EndOfDay()), 5)

    assert first.outcome is Outcome.FAILED
    assert status.reason == "end of day necessary"
    assert second.outcome is Outcome.BUSY
    assert closed.outcome is Outcome.DONE
    assert counter.machine.store.transactions == []
    await asyncio.wait_for(reader.until(ReaderState.READY), 5)


async def test_a_terminal_of_another_model_is_never_asked_for_money(counter: Counter) -> None:
    reader = counter.start_reader(expects="^[A-Z]{3}-APP-v")
    status = await asyncio.wait_for(reader.until(ReaderState.UNIDENTIFIED), 5)

    finished = await reader.execute(Purchase(ONE_EURO))

    assert "SIM 1.02.3" in status.reason
    assert finished.outcome is Outcome.BUSY
    assert counter.machine.store.transactions == []


async def test_an_idle_line_is_closed_for_others_and_opened_when_it_is_wanted(
    counter: Counter,
) -> None:
    reader = counter.start_reader(Timing(idle_close_s=0.1, retry_first_s=0.1))
    await asyncio.wait_for(reader.until(ReaderState.READY), 5)
    seen: list[ReaderStatus] = []
    reader.watch(seen.append)

    async def is_closed() -> bool:
        return reader._transport.lost is not None  # noqa: SLF001 (nothing of this is shown outside)

    await eventually_async(is_closed)
    finished = await asyncio.wait_for(reader.execute(Purchase(ONE_EURO)), 5)

    assert finished.outcome is Outcome.APPROVED
    assert reader.counts["opened"] == 2
    assert reader.counts["lost"] == 0
    assert [status.state for status in seen] == [ReaderState.BUSY, ReaderState.READY]


async def test_a_result_that_nobody_waits_for_any_more_is_told_as_late(
    counter: Counter, reader: Reader
) -> None:
    late: list[object] = []
    reader.watch_late(late.append)
    paying = asyncio.ensure_future(reader.execute(Purchase(ONE_EURO)))
    await asyncio.wait_for(reader.until(ReaderState.BUSY), 5)

    paying.cancel()
    await asyncio.wait_for(reader.until(ReaderState.READY), 5)

    assert [one.outcome for one in late if isinstance(one, Finished)] == [Outcome.APPROVED]
    assert reader.counts["late_results"] == 1


async def test_a_listener_that_fails_stops_neither_the_payment_nor_the_reader(
    counter: Counter, reader: Reader
) -> None:
    def fail(_: object) -> None:
        raise OSError("disk full")

    reader.watch(fail)
    finished = await asyncio.wait_for(reader.execute(Purchase(ONE_EURO), fail), 5)

    assert finished.outcome is Outcome.APPROVED
    assert reader.status.state is ReaderState.READY


async def test_stopping_lets_go_of_the_line_and_ends_what_waits(
    counter: Counter, reader: Reader
) -> None:
    counter.machine.queue_script("slow")
    counter.machine._pace = 1  # noqa: SLF001 (the customer takes his time)
    waiting = asyncio.Event()
    paying = asyncio.ensure_future(reader.execute(Purchase(ONE_EURO), lambda _: waiting.set()))
    await asyncio.wait_for(waiting.wait(), 5)

    counter.tasks[-1].cancel()

    assert (await asyncio.wait_for(paying, 2)).outcome is Outcome.LOST
    assert reader.status == ReaderStatus(
        ReaderState.DISCONNECTED, "stopped", reader.status.identity
    )
    with contextlib.suppress(asyncio.CancelledError):
        await counter.tasks[-1]
    other = transport_for(counter.simulated.socket.address)
    await other.open()
    await other.close()
