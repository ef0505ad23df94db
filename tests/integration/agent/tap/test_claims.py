"""A payment that may not run never does: late, repeated, cancelled, unclaimed, stalled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.spool import Row
from protocols.cloud.commands import CancelPayment, Grant
from protocols.cloud.events import CommandResult
from protocols.cloud.topics import Stream
from protocols.readers.protocol import ReaderEvent
from tests.support.till import (
    Fate,
    LateClock,
    Server,
    Terminal,
    Till,
    opened,
    plugged_in,
    till_with_terminal,
)
from tests.support.waiting import eventually_async


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    async with till_with_terminal(tmp_path) as ready:
        yield ready


async def test_a_granted_payment_is_taken_and_told_once(till: Till) -> None:
    till.receive(till.payment(minor=1234, reference="A-17", note="two coffees", cashier_id="usr_1"))

    result = await till.payment_of()

    assert (result.outcome, result.amount_minor, result.currency) == ("approved", 1234, "EUR")
    assert (result.kind, result.decided_by, result.command_id) == ("sale", "answer", "cmd_0001")
    assert (result.reference, result.note, result.cashier_id) == ("A-17", "two coffees", "usr_1")
    assert (result.masked_pan, result.card_brand) == ("411111******1111", "Visa")
    assert result.receipt_number == 1
    assert 0 < result.started_mono_ms <= result.decided_mono_ms
    assert await till.steps() == [
        "accepted",
        "sent",
        "waiting_for_card",
        "authorizing",
        "authorizing",
    ]
    assert await till.results() == [
        CommandResult(command_id="cmd_0001", status="succeeded", code="approved")
    ]
    assert till.terminals[0].charged_minor == [1234]


async def test_a_declined_payment_is_told_with_its_reason(till: Till) -> None:
    till.terminals[0].next_goes("decline")
    till.receive(till.payment())

    result = await till.payment_of()

    assert (result.outcome, result.amount_minor, result.result_code) == ("declined", 1234, 5)
    assert till.terminals[0].charged_minor == []


# --- the six cases ---------------------------------------------------------------------------------------------


async def test_1_a_command_that_reaches_a_device_after_its_time_is_refused_by_the_server(
    till: Till,
) -> None:
    # The device was away; the broker kept the command, and its lifetime counts from when it came in.
    till.server.refusal = "expired"
    till.receive(till.payment())

    result = await till.result_of()

    assert (result.status, result.code) == ("expired", "expired")
    assert till.terminals[0].purchases == []
    assert await till.payments() == []


async def test_2_a_busy_agent_with_a_slow_clock_does_not_run_a_command_too_late(till: Till) -> None:
    till.receive(till.payment(), ttl_ms=1000, waited_s=2.5)

    result = await till.result_of()

    assert (result.status, result.code) == ("expired", "expired_locally")
    assert till.server.claims == []
    assert till.terminals[0].purchases == []


async def test_3_a_command_that_is_delivered_twice_charges_once(till: Till) -> None:
    for _ in range(3):
        till.receive(till.payment())
    await till.payment_of()
    till.receive(till.payment())
    await till.result_of()

    assert till.terminals[0].charged_minor == [1234]
    assert till.server.claims == ["cmd_0001"]
    assert len(await till.payments()) == 1


async def test_4_a_payment_that_the_cashier_cancelled_first_is_not_run(till: Till) -> None:
    till.server.refusal = "cancelled"
    till.receive(till.payment())

    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "cancelled")
    assert till.terminals[0].purchases == []
    assert await till.payments() == []


async def test_5_without_an_answer_to_the_claim_nothing_is_run(till: Till) -> None:
    async def silence(command_id: str) -> Grant | None:
        await asyncio.Event().wait()
        return None

    till.server.answer = silence
    till.receive(till.payment(), ttl_ms=200)

    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "no_grant")
    assert till.server.claims == ["cmd_0001"]
    assert till.terminals[0].purchases == []
    assert await till.payments() == []


async def test_6_an_agent_that_stalls_between_grant_and_reader_does_not_begin(till: Till) -> None:
    async def grant_and_stall(command_id: str) -> Grant | None:
        till.clock.stalled_s += 3
        return Grant(command_id=command_id, nonce="n" * 8, granted=True, lease_ms=2000)

    till.server.answer = grant_and_stall
    till.receive(till.payment())

    result = await till.result_of()

    assert (result.status, result.code) == ("too_late", "lease_over")
    assert till.terminals[0].purchases == []
    assert await till.payments() == []


async def test_6b_a_disk_that_stalls_past_the_lease_stops_the_payment_on_the_last_line(
    till: Till,
) -> None:
    def stalls_when_it_begins(_: int) -> Fate:
        # What is written first after the claim is that it begins.
        if till.server.claims and till.clock.stalled_s == 0:
            till.clock.stalled_s = 3
        return Fate.STORED

    till.journal.fate = stalls_when_it_begins
    till.receive(till.payment())

    result = await till.result_of()
    told = await till.payment_of()

    assert (result.status, result.code) == ("too_late", "lease_over")
    assert (told.outcome, told.decided_by) == ("failed", "not_begun")
    assert till.terminals[0].purchases == []


async def test_6c_a_payment_that_waits_behind_the_reader_s_own_question_is_taken_back(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = till.terminals[0]
    till.receive(till.payment("ts_0000"), "cmd_0000")
    await till.payment_of("ts_0000")
    asked = asyncio.Event()

    def hang(received: bytes, now: float) -> list[ReaderEvent]:
        asked.set()
        return []

    monkeypatch.setattr(terminal.machine, "feed", hang)
    # The agent asks now and then how its reader is; this time no answer comes for five seconds.
    till.clock.stalled_s += 61
    async with asyncio.timeout(10):
        await asked.wait()

    till.server.lease_ms = 300
    till.receive(till.payment("ts_0001"), "cmd_0001")
    result = await till.result_of("cmd_0001")
    told = await till.payment_of("ts_0001")

    assert (result.status, result.code) == ("too_late", "lease_over")
    assert (told.outcome, told.decided_by) == ("failed", "not_begun")
    assert len(terminal.purchases) == 1


# --- who may not begin -----------------------------------------------------------------------------------------


async def test_a_payment_on_a_reader_that_is_not_ours_is_refused(till: Till) -> None:
    till.receive(till.payment(reader_id="rd_other"))

    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "unknown_reader")
    assert till.server.claims == []


async def test_a_payment_on_a_reader_that_is_unplugged_is_refused_before_it_is_claimed(
    till: Till,
) -> None:
    reader_id = till.reader_id
    till.terminals[0].simulated.unplug()

    async def is_gone() -> bool:
        return till.readers.reported()[0].state == "disconnected"

    await eventually_async(is_gone)
    till.receive(till.payment(reader_id=reader_id))
    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "reader_offline")
    assert till.server.claims == []
    assert await till.payments() == []


async def test_a_second_payment_on_a_busy_reader_is_refused_and_the_first_goes_on(
    till: Till,
) -> None:
    till.terminals[0].next_goes("slow")
    till.receive(till.payment("ts_0001", 1000), "cmd_0001")
    await eventually_async(till.steps)

    till.receive(till.payment("ts_0002", 2000), "cmd_0002")
    refused = await till.result_of("cmd_0002")
    first = await till.payment_of("ts_0001")

    assert (refused.status, refused.code) == ("refused", "reader_busy")
    assert first.outcome == "approved"
    assert till.terminals[0].charged_minor == [1000]
    assert till.server.claims == ["cmd_0001"]


async def test_whoever_hears_of_the_end_may_begin_the_next_payment_at_once(till: Till) -> None:
    def begins_the_next(row: Row) -> None:
        sends(row)
        if row.stream is Stream.RESULTS and len(begun) < 5:
            begun.append(f"ts_{len(begun) + 2:04}")
            till.receive(till.payment(begun[-1], 100), f"cmd_{len(begun) + 1:04}")

    begun: list[str] = []
    sends, till.spool.on_appended = till.spool.on_appended, begins_the_next
    till.receive(till.payment("ts_0001", 100), "cmd_0001")
    await till.payment_of("ts_0006")

    assert [one.outcome for one in await till.payments()] == ["approved"] * 6


async def test_a_command_that_comes_again_does_not_keep_the_reader_from_the_next(
    till: Till,
) -> None:
    till.receive(till.payment("ts_0001", 100), "cmd_0001")
    await till.payment_of("ts_0001")

    for _ in range(10):
        till.receive(till.payment("ts_0001", 100), "cmd_0001")
    till.receive(till.payment("ts_0002", 200), "cmd_0002")
    await till.payment_of("ts_0002")

    assert till.terminals[0].charged_minor == [100, 200]


async def test_two_readers_take_payments_at_the_same_time(tmp_path: Path) -> None:
    clock = LateClock()
    terminals = [Terminal(clock, script="slow"), Terminal(clock, script="slow")]
    async with plugged_in(*terminals), opened(Till(tmp_path, terminals, clock, Server())) as till:
        await till.until_ready()
        first, second = [one.reader_id for one in till.readers.reported()]
        till.receive(till.payment("ts_0001", 1000, reader_id=first), "cmd_0001")
        till.receive(till.payment("ts_0002", 2000, reader_id=second), "cmd_0002")

        async def both_run() -> bool:
            return len(till.taps.running()) == 2

        await eventually_async(both_run)
        await till.payment_of("ts_0001")
        await till.payment_of("ts_0002")

    assert [one.charged_minor for one in terminals] == [[1000], [2000]]


async def test_the_same_session_under_another_command_is_refused(till: Till) -> None:
    till.receive(till.payment("ts_0001"), "cmd_0001")
    await till.payment_of()

    till.receive(till.payment("ts_0001"), "cmd_0002")
    result = await till.result_of("cmd_0002")

    assert (result.status, result.code) == ("refused", "session_known")
    assert till.terminals[0].charged_minor == [1234]
    assert till.server.claims == ["cmd_0001"]


async def test_a_device_without_room_on_its_disk_takes_no_payment(till: Till) -> None:
    till.journal.limit_to(0)
    till.receive(till.payment())

    result = await till.result_of()

    assert (result.status, result.code) == ("refused", "disk_full")
    assert till.server.claims == []
    assert till.terminals[0].purchases == []


async def test_an_outcome_that_finds_no_place_on_the_disk_is_stored_when_there_is_some(
    till: Till,
) -> None:
    till.terminals[0].next_goes("slow")
    till.receive(till.payment())
    await eventually_async(till.steps)
    left = 3

    def is_full_for_a_while(number: int) -> Fate:
        nonlocal left
        left -= 1
        return Fate.STORED if left < 0 else Fate.DISK_FULL

    till.journal.fate = is_full_for_a_while
    result = await till.payment_of()

    assert result.outcome == "approved"
    assert left < 0
    assert till.terminals[0].charged_minor == [1234]


# --- cancelling ------------------------------------------------------------------------------------------------


async def test_a_cancel_that_comes_in_time_wins_and_knows_it(till: Till) -> None:
    till.terminals[0].next_goes("no_card")
    till.receive(till.payment())

    async def waits_for_card() -> bool:
        return "waiting_for_card" in await till.steps()

    await eventually_async(waits_for_card)
    till.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")
    told = await till.payment_of()
    cancel = await till.result_of("cmd_cancel")

    assert (told.outcome, told.cancel_asked) == ("cancelled", True)
    assert (cancel.status, cancel.code) == ("succeeded", "cancelled")
    assert "cancelling" in await till.steps()
    assert till.terminals[0].charged_minor == []


async def test_a_cancel_that_comes_after_the_end_knows_that_it_lost(till: Till) -> None:
    till.receive(till.payment())
    await till.payment_of()

    till.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")
    cancel = await till.result_of("cmd_cancel")

    assert (cancel.status, cancel.code) == ("too_late", "approved")
    assert till.terminals[0].charged_minor == [1234]


async def test_a_cancel_that_the_bank_overtakes_knows_that_it_lost(till: Till) -> None:
    till.terminals[0].next_goes("slow")
    till.receive(till.payment())

    async def authorizes() -> bool:
        return (await till.steps()).count("authorizing") > 1

    await eventually_async(authorizes)
    till.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")
    told = await till.payment_of()
    cancel = await till.result_of("cmd_cancel")

    # Whatever the terminal made of it: what is told is what it booked.
    assert till.terminals[0].charged_minor == ([1234] if told.outcome == "approved" else [])
    assert cancel.code == told.outcome
    assert cancel.status == ("too_late" if told.outcome == "approved" else "succeeded")
    assert told.cancel_asked


async def test_a_cancel_during_the_claim_keeps_the_payment_from_beginning(till: Till) -> None:
    claimed, may_answer = asyncio.Event(), asyncio.Event()

    async def slow_grant(command_id: str) -> Grant | None:
        claimed.set()
        await may_answer.wait()
        return Grant(command_id=command_id, nonce="n" * 8, granted=True, lease_ms=2000)

    till.server.answer = slow_grant
    till.receive(till.payment())
    await claimed.wait()
    till.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")

    async def is_asked() -> bool:
        return any(payment.cancel.is_set() for payment in till.taps.running())

    await eventually_async(is_asked)
    may_answer.set()
    start = await till.result_of("cmd_0001")
    cancel = await till.result_of("cmd_cancel")

    assert (start.status, start.code) == ("refused", "cancelled")
    assert (cancel.status, cancel.code) == ("succeeded", "not_begun")
    assert till.terminals[0].purchases == []


async def test_a_cancel_that_overtakes_its_payment_keeps_it_from_beginning(till: Till) -> None:
    till.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")
    cancel = await till.result_of("cmd_cancel")

    till.receive(till.payment("ts_0001"), "cmd_0001")
    start = await till.result_of("cmd_0001")

    assert (cancel.status, cancel.code) == ("succeeded", "stopped_before")
    assert (start.status, start.code) == ("refused", "cancelled")
    assert till.server.claims == []
    assert till.terminals[0].purchases == []


async def test_several_cancels_are_each_answered_once(till: Till) -> None:
    till.terminals[0].next_goes("no_card")
    till.receive(till.payment())
    await eventually_async(till.steps)
    for number in (1, 2, 2, 1):
        till.receive(CancelPayment(session_id="ts_0001"), f"cmd_cancel{number}")

    first = await till.result_of("cmd_cancel1")
    second = await till.result_of("cmd_cancel2")

    assert (first.code, second.code) == ("cancelled", "cancelled")
    assert len(await till.results()) == 3
