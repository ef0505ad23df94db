"""What the shop sets on a reader is in force as soon as nothing runs there, and not before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocols.cloud.commands import DesiredConfig
from protocols.cloud.configuration import document_hash
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


def take(till: Till, version: int = 1, **settings: Any) -> None:
    document = {"readers": {till.reader_id: {"settings": settings, "secrets": {}}}}
    till.settings.take(
        DesiredConfig(version=version, hash=document_hash(document), document=document)
    )


async def until_connected_anew(till: Till, before: object) -> None:
    async def done() -> bool:
        slot = till.taps.slot(till.reader_id)
        return slot is not None and slot.desk is not before

    await eventually_async(done, deadline_s=10)
    await till.until_ready()


def desk(till: Till) -> object:
    slot = till.taps.slot(till.reader_id)
    assert slot is not None
    return slot.desk


async def test_a_sale_above_the_limit_is_refused_before_the_reader_is_asked(tmp_path: Path) -> None:
    async with till_with_terminal(tmp_path) as till:
        before = desk(till)
        take(till, max_amount_minor=1000)
        await until_connected_anew(till, before)

        till.receive(till.payment(minor=1001))
        refused = await till.result_of()

        assert (refused.status, refused.code) == ("refused", "amount_above_limit")
        assert "10.00" in refused.text
        assert till.terminals[0].purchases == []
        till.receive(till.payment("ts_0002", 1000), "cmd_0002")
        assert (await till.payment_of("ts_0002")).outcome == "approved"


async def test_a_payment_that_runs_is_finished_first(tmp_path: Path) -> None:
    async with till_with_terminal(tmp_path, pace=0.2) as till:
        before = desk(till)
        till.receive(till.payment(minor=1250))

        async def begun() -> bool:
            slot = till.taps.slot(till.reader_id)
            return slot is not None and slot.payment is not None

        await eventually_async(begun, deadline_s=10)
        take(till, max_amount_minor=1000)

        assert (await till.payment_of()).outcome == "approved"
        assert till.terminals[0].charged_minor == [1250]
        await until_connected_anew(till, before)


async def test_after_a_restart_the_settings_are_there_from_the_first_word(tmp_path: Path) -> None:
    clock = LateClock()
    one = Terminal(clock, script="approve", pace=0.02)
    async with plugged_in(one):
        async with opened(Till(tmp_path, [one], clock, Server())) as till:
            await till.until_ready()
            before = desk(till)
            take(till, answer_timeout_s=90)
            await until_connected_anew(till, before)
            reader_id = till.reader_id

        async with opened(Till(tmp_path, [one], clock, Server())) as again:
            await again.until_ready()
            slot = again.taps.slot(reader_id)
            assert slot is not None
            assert slot.profile is not None
            assert slot.profile.timeout_s("t4", 180) == 90
