"""The power fails between any two entries of the journal: charged at most once, told exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocols.cloud.events import CommandResult, PaymentResult
from protocols.cloud.topics import Stream
from tests.support.till import Fate, LateClock, Server, Terminal, Till, opened, plugged_in
from tests.support.waiting import eventually_async

#: What a payment writes: remembered, begun, its steps, decided.
MOST_CHANGES = 9


@dataclass(frozen=True)
class Aftermath:
    """What two lives of an agent and the terminal say of one payment."""

    did_crash: bool
    results: list[PaymentResult]
    command_results: list[CommandResult]
    asked: int
    charged: list[int]
    undecided: int
    claims: int


async def live_through_crash(folder: Path, script: str, number: int, fate: Fate) -> Aftermath:
    """Take one payment; at the change with this number the machine dies, and a new life begins."""
    clock, server = LateClock(), Server()
    terminal = Terminal(clock)
    async with plugged_in(terminal):
        async with opened(Till(folder, [terminal], clock, server)) as first:
            await first.until_ready()
            terminal.next_goes(script)
            start = first.journal.changes
            first.journal.fate = lambda change: fate if change - start == number else Fate.STORED
            first.receive(first.payment())

            async def is_over() -> bool:
                return first.journal.is_dead.is_set() or bool(await first.payments())

            await eventually_async(is_over, deadline_s=10)
            did_crash = first.journal.is_dead.is_set()
        async with opened(Till(folder, [terminal], clock, server)) as second:
            await second.until_ready()
            # The server did not hear of a result, so it sends the command again.
            second.receive(second.payment())

            async def is_answered() -> bool:
                return bool(await second.results())

            await eventually_async(is_answered, deadline_s=20)
            undecided = await second.journal.read(
                lambda db: db.execute(
                    "SELECT count(*) FROM session WHERE outcome IS NULL"
                ).fetchone()[0]
            )
            return Aftermath(
                did_crash,
                await second.payments(),
                await second.results(),
                len(terminal.purchases),
                terminal.charged_minor,
                undecided,
                len(server.claims),
            )


@pytest.mark.parametrize("number", range(1, MOST_CHANGES + 1))
@pytest.mark.parametrize(
    ("script", "fate"),
    [
        ("approve", Fate.DIED_BEFORE),
        ("approve", Fate.DIED_AFTER),
        ("approve+drop_before_completion", Fate.DIED_AFTER),
    ],
    ids=["before it is stored", "after it is stored", "after it is stored, answer lost"],
)
async def test_a_crash_at_any_entry_charges_at_most_once_and_tells_it_once(
    tmp_path: Path, script: str, fate: Fate, number: int
) -> None:
    after = await live_through_crash(tmp_path, script, number, fate)

    outcomes = [result.outcome for result in after.results]
    assert after.asked <= 1
    assert after.undecided == 0
    assert len(after.results) <= 1
    # What is told is what the terminal booked, to the cent.
    assert after.charged == [1234] * outcomes.count("approved")
    assert Counter(result.session_id for result in after.results) in ({}, {"ts_0001": 1})
    # Each command has one result; one that ran has a session's result too.
    assert len(after.command_results) == 1
    assert (after.command_results[0].status == "succeeded") == bool(after.results)
    # A reader that was asked is never left untold.
    assert len(after.results) >= after.asked


async def test_every_entry_of_a_payment_is_covered(tmp_path: Path) -> None:
    clock, server = LateClock(), Server()
    terminal = Terminal(clock)
    async with plugged_in(terminal), opened(Till(tmp_path, [terminal], clock, server)) as till:
        await till.until_ready()
        before = till.journal.changes
        till.receive(till.payment())
        await till.payment_of()

        assert 4 < till.journal.changes - before <= MOST_CHANGES


async def test_results_come_after_the_steps_that_led_to_them(tmp_path: Path) -> None:
    clock, server = LateClock(), Server()
    terminal = Terminal(clock)
    async with plugged_in(terminal), opened(Till(tmp_path, [terminal], clock, server)) as till:
        await till.until_ready()
        till.receive(till.payment())
        await till.payment_of()

        rows = await till.journal.read(
            lambda db: [row[0] for row in db.execute("SELECT stream FROM outbox ORDER BY rowid")]
        )
    last = rows[-2:]

    assert last == [Stream.TRANSACTIONS, Stream.RESULTS]
