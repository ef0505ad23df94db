"""An answer was lost: the agent asks until the reader's books tell, also in its next life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocols.cloud.commands import CancelPayment, CloseReaderDay, ReversePayment
from tests.support.till import (
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


async def until_unknown(till: Till) -> None:
    async def is_unknown() -> bool:
        return "unknown" in await till.steps()

    await eventually_async(is_unknown, deadline_s=10)


@pytest.mark.parametrize(
    ("script", "outcome", "charged"),
    [
        ("approve+drop_before_completion", "approved", [1234]),
        ("approve+drop_after_start+stands", "approved", [1234]),
        ("approve+drop_after_result", "failed", []),
        ("approve+reboot", "failed", []),
    ],
)
async def test_the_truth_is_found_by_evidence(
    till: Till, script: str, outcome: str, charged: list[int]
) -> None:
    till.terminals[0].next_goes(script)
    till.receive(till.payment())

    told = await till.payment_of()

    assert told.outcome == outcome
    assert till.terminals[0].charged_minor == charged
    assert len(till.terminals[0].purchases) <= 1
    assert len(await till.payments()) == 1


async def test_while_it_is_unknown_the_reader_takes_nothing_that_would_change_its_books(
    till: Till,
) -> None:
    terminal = till.terminals[0]
    terminal.next_goes("approve+drop_after_start+stands")
    till.receive(till.payment("ts_0001"), "cmd_0001")

    async def has_begun() -> bool:
        return "sent" in await till.steps("ts_0001")

    await eventually_async(has_begun)
    terminal.simulated.unplug()
    await until_unknown(till)

    till.receive(till.payment("ts_0002"), "cmd_0002")
    till.receive(CloseReaderDay(reader_id=till.reader_id), "cmd_0003")
    payment = await till.result_of("cmd_0002")
    closing = await till.result_of("cmd_0003")
    terminal.simulated.plug_in()
    told = await till.payment_of("ts_0001")

    assert (payment.status, payment.code) == ("refused", "reader_unsettled")
    assert (closing.status, closing.code) == ("refused", "reader_unsettled")
    assert told.outcome == "approved"
    assert terminal.charged_minor == [1234]


async def test_when_it_is_settled_the_next_payment_is_taken(till: Till) -> None:
    till.terminals[0].next_goes("approve+drop_before_completion")
    till.receive(till.payment("ts_0001", 1000), "cmd_0001")
    await till.payment_of("ts_0001")
    await till.until_ready()

    async def is_free() -> bool:
        slot = till.taps.slot(till.reader_id)
        return slot is not None and slot.objection() is None

    await eventually_async(is_free)
    till.receive(till.payment("ts_0002", 2000), "cmd_0002")
    told = await till.payment_of("ts_0002")

    assert told.outcome == "approved"
    assert till.terminals[0].charged_minor == [1000, 2000]


async def test_a_cancel_of_an_unknown_payment_is_answered_when_it_is_decided(till: Till) -> None:
    terminal = till.terminals[0]
    terminal.next_goes("approve+drop_after_start+stands")
    till.receive(till.payment())

    async def has_begun() -> bool:
        return "sent" in await till.steps()

    await eventually_async(has_begun)
    terminal.simulated.unplug()
    await until_unknown(till)

    till.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")

    async def is_remembered() -> bool:
        return "cmd_cancel" in str(
            await till.journal.read(lambda db: db.execute("SELECT cancels FROM session").fetchall())
        )

    await eventually_async(is_remembered)
    early = [one.command_id for one in await till.results()]
    terminal.simulated.plug_in()
    cancel = await till.result_of("cmd_cancel")

    assert early == []
    assert (cancel.status, cancel.code) == ("too_late", "approved")


async def test_an_unknown_payment_is_asked_about_in_the_next_life(tmp_path: Path) -> None:
    clock, server = LateClock(), Server()
    terminal = Terminal(clock)
    async with plugged_in(terminal):
        async with opened(Till(tmp_path, [terminal], clock, server)) as first:
            await first.until_ready()
            terminal.next_goes("approve+drop_after_start+stands")
            first.receive(first.payment())

            async def has_begun() -> bool:
                return "sent" in await first.steps()

            await eventually_async(has_begun)
            terminal.simulated.unplug()
            await until_unknown(first)
            first.receive(CancelPayment(session_id="ts_0001"), "cmd_cancel")

            async def is_remembered() -> bool:
                cancels = await first.journal.read(
                    lambda db: db.execute("SELECT cancels FROM session").fetchone()[0]
                )
                return "cmd_cancel" in cancels

            await eventually_async(is_remembered)

        async with opened(Till(tmp_path, [terminal], clock, server)) as second:
            early = await second.payments()
            terminal.simulated.plug_in()
            told = await second.payment_of()
            cancel = await second.result_of("cmd_cancel")
            start = await second.result_of("cmd_0001")

    assert early == []
    assert (told.outcome, told.cancel_asked) == ("approved", True)
    assert (cancel.status, cancel.code) == ("too_late", "approved")
    assert (start.status, start.code) == ("succeeded", "approved")
    assert terminal.charged_minor == [1234]


async def test_an_approved_payment_is_taken_back_by_its_receipt(till: Till) -> None:
    till.receive(till.payment("ts_0001"), "cmd_0001")
    paid = await till.payment_of("ts_0001")
    assert paid.receipt_number is not None

    till.receive(
        ReversePayment(
            session_id="ts_0002",
            original_session_id="ts_0001",
            reader_id=till.reader_id,
            receipt_number=paid.receipt_number,
            amount_minor=1234,
            currency="EUR",
        ),
        "cmd_0002",
    )
    told = await till.payment_of("ts_0002")

    assert (told.kind, told.outcome, told.amount_minor) == ("reversal", "approved", 1234)
    assert till.server.claims == ["cmd_0001", "cmd_0002"]
    assert till.terminals[0].charged_minor == []


async def test_money_is_given_back_to_a_card(till: Till) -> None:
    till.receive(till.payment("ts_0001", 500, transaction="refund"))

    told = await till.payment_of()

    assert (told.kind, told.outcome, told.amount_minor) == ("refund", "approved", 500)
