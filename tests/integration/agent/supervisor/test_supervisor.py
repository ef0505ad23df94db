"""Readers that come and go, change places, crash, or were never configured right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.config import ReaderConfig
from agent.supervisor import Stranger
from protocols.cloud.commands import StartPayment
from protocols.cloud.events import DeviceEvent, ReportedReader
from protocols.cloud.topics import Stream
from protocols.readers.protocol import ReaderEvent
from tests.support.till import LateClock, Server, Terminal, Till, opened, plugged_in
from tests.support.waiting import eventually_async


@pytest.fixture
def clock() -> LateClock:
    return LateClock()


def terminal(clock: LateClock, terminal_id: str, serial_number: str | None = None) -> Terminal:
    made = Terminal(clock)
    made.machine.store.terminal_id = terminal_id
    made.machine.store.serial_number = serial_number or terminal_id
    return made


def config(name: str, at: Terminal, **changes: str) -> ReaderConfig:
    return ReaderConfig(
        name=name,
        profile=changes.get("profile", "generic-zvt-tcp"),
        address=changes.get("address", f"memory://{at.name}"),
    )


def till(folder: Path, clock: LateClock, *configs: ReaderConfig) -> Till:
    return Till(folder, [], clock, Server(), configs=configs)


async def settled(box: Till, *states: str) -> list[ReportedReader]:
    """The readers, when they are in these states and their ids are known."""

    async def reported() -> list[ReportedReader]:
        found = box.readers.reported()
        return found if [one.state for one in found] == list(states) else []

    found = await eventually_async(reported, deadline_s=10)
    # Whoever is ready was asked who it is.
    await eventually_async(lambda: _is_known(box), deadline_s=10)
    return box.readers.reported() or found


async def _is_known(box: Till) -> bool:
    """Whether everyone who is ready is remembered by what it said of itself."""
    remembered = dict(
        await box.journal.read(lambda db: db.execute("SELECT * FROM reader").fetchall())
    )
    ready = [one for one in box.readers.reported() if one.state == "ready"]
    return all(
        box.taps.slot(one.reader_id) is not None
        and remembered.get(f"both:any:{one.serial_number}:{one.terminal_id}") is not None
        and remembered.get(f"name:{one.name}") == one.reader_id
        for one in ready
    )


def ids_of(box: Till) -> list[str]:
    return [one.reader_id for one in box.readers.reported()]


async def events(box: Till) -> list[str]:
    told = await box.told(Stream.EVENTS)
    return [one.kind for one in told if isinstance(one, DeviceEvent)]


async def test_a_reader_keeps_its_id_over_a_restart(tmp_path: Path, clock: LateClock) -> None:
    one = terminal(clock, "52500001")
    ids = []
    async with plugged_in(one):
        for _ in range(2):
            async with opened(till(tmp_path, clock, config("counter-1", one))) as box:
                ids.append([reader.reader_id for reader in await settled(box, "ready")])

    assert ids[0] == ids[1]
    assert ids[0][0].startswith("rd_")


async def test_readers_that_change_places_keep_their_ids(tmp_path: Path, clock: LateClock) -> None:
    left, right = terminal(clock, "52500001"), terminal(clock, "52500002")
    async with plugged_in(left, right):
        before = till(tmp_path, clock, config("left", left), config("right", right))
        async with opened(before):
            first, second = [one.reader_id for one in await settled(before, "ready", "ready")]
        after = till(tmp_path, clock, config("left", right), config("right", left))
        async with opened(after):

            async def are_swapped() -> bool:
                return ids_of(after) == [second, first]

            await eventually_async(are_swapped, deadline_s=10)

    assert first != second


async def test_another_reader_at_the_same_place_gets_another_id(
    tmp_path: Path, clock: LateClock
) -> None:
    old, new = terminal(clock, "52500001"), terminal(clock, "52500002")
    async with plugged_in(old, new):
        async with opened(till(tmp_path, clock, config("counter-1", old))) as box:
            (before,) = await settled(box, "ready")
        async with opened(till(tmp_path, clock, config("counter-1", new))) as box:

            async def has_changed() -> bool:
                return ids_of(box) not in ([], [before.reader_id])

            await eventually_async(has_changed, deadline_s=10)
            (after,) = await settled(box, "ready")
        async with opened(till(tmp_path, clock, config("counter-1", old))) as box:

            async def is_back() -> bool:
                return ids_of(box) == [before.reader_id]

            await eventually_async(is_back, deadline_s=10)

    assert after.terminal_id == "52500002"


async def test_a_reader_that_is_set_up_anew_keeps_its_id(tmp_path: Path, clock: LateClock) -> None:
    one = terminal(clock, "52500001", "00011111")
    async with plugged_in(one):
        async with opened(till(tmp_path, clock, config("counter-1", one))) as box:
            (before,) = await settled(box, "ready")
        one.machine.store.terminal_id = "52500009"
        async with opened(till(tmp_path, clock, config("counter-2", one))) as box:
            (after,) = await settled(box, "ready")

    assert (after.terminal_id, after.reader_id) == ("52500009", before.reader_id)


@pytest.mark.parametrize("terminal_id", ["52500001", "52500002"], ids=["all alike", "same serial"])
async def test_two_readers_with_the_same_number_are_two(
    tmp_path: Path, clock: LateClock, terminal_id: str
) -> None:
    one = terminal(clock, "52500001", "00011111")
    other = terminal(clock, terminal_id, "00011111")
    async with (
        plugged_in(one, other),
        opened(till(tmp_path, clock, config("left", one), config("right", other))) as box,
    ):
        readers = await settled(box, "ready", "ready")

        assert len({reader.reader_id for reader in readers}) == 2


async def test_a_reader_that_is_away_is_reported_under_its_id(
    tmp_path: Path, clock: LateClock
) -> None:
    one = terminal(clock, "52500001")
    async with plugged_in(one), opened(till(tmp_path, clock, config("counter-1", one))) as box:
        (ready,) = await settled(box, "ready")

        one.simulated.unplug()
        (gone,) = await settled(box, "disconnected")
        one.simulated.plug_in()
        (back,) = await settled(box, "ready")

        assert ready.reader_id == gone.reader_id == back.reader_id
        assert gone.reason
        assert (await events(box))[:2] == ["reader.connected", "reader.disconnected"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"profile": "no-such-model"}, "no-such-model"),
        ({"address": "pigeon://roof"}, "pigeon"),
        ({"address": "serial:///dev/null"}, "generic-zvt-tcp"),
    ],
    ids=["profile", "scheme", "misfit"],
)
async def test_a_reader_that_is_configured_wrong_says_why_and_hinders_nobody(
    tmp_path: Path, clock: LateClock, changes: dict[str, str], reason: str
) -> None:
    one = terminal(clock, "52500001")
    wrong = config("wrong", one, **changes)
    async with (
        plugged_in(one),
        opened(till(tmp_path, clock, wrong, config("right", one))) as box,
    ):
        misfit, _ = await settled(box, "failing", "ready")
        box.receive(box.payment(reader_id=box.readers.reported()[1].reader_id))
        paid = await box.payment_of()

        assert reason in misfit.reason
        assert misfit.reader_id.startswith("rd_")
        assert paid.outcome == "approved"


async def test_a_reader_whose_driver_crashes_is_started_again_and_hinders_nobody(
    tmp_path: Path, clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = terminal(clock, "52500001"), terminal(clock, "52500002")
    async with (
        plugged_in(one, other),
        opened(till(tmp_path, clock, config("left", one), config("right", other))) as box,
    ):
        left, right = await settled(box, "ready", "ready")
        slot = box.taps.slot(left.reader_id)
        assert slot is not None

        def crash(received: bytes, now: float) -> list[ReaderEvent]:
            raise ZeroDivisionError

        monkeypatch.setattr(slot.desk.reader._machine, "feed", crash)  # noqa: SLF001 (a fault from inside)
        box.receive(box.payment("ts_0001", reader_id=left.reader_id), "cmd_0001")
        box.receive(box.payment("ts_0002", reader_id=right.reader_id), "cmd_0002")
        beside = await box.payment_of("ts_0002")
        again = await settled(box, "ready", "ready")
        await box.result_of("cmd_0001")

        assert beside.outcome == "approved"
        assert [reader.reader_id for reader in again] == [left.reader_id, right.reader_id]
        assert "reader.crashed" in await events(box)
        # Whatever the crash left open was settled with the reader.
        told = [one for one in await box.payments() if one.session_id == "ts_0001"]
        approved = [result for result in told if result.outcome == "approved"]
        assert one.charged_minor == [1234] * len(approved)


async def test_a_loose_plug_is_not_told_at_every_wobble(tmp_path: Path, clock: LateClock) -> None:
    one = terminal(clock, "52500001")
    async with plugged_in(one), opened(till(tmp_path, clock, config("counter-1", one))) as box:
        await settled(box, "ready")
        for _ in range(4):
            one.simulated.unplug()
            await settled(box, "disconnected")
            one.simulated.plug_in()
            await settled(box, "ready")
        await asyncio.sleep(0)

        told = [kind for kind in await events(box) if kind != "reader.errors"]
        assert told == ["reader.connected", "reader.disconnected"]


async def test_a_reader_that_is_found_while_the_agent_runs_gets_a_place_and_loses_it(
    tmp_path: Path, clock: LateClock
) -> None:
    configured, found = terminal(clock, "52500001"), terminal(clock, "52500002")
    async with (
        plugged_in(configured, found),
        opened(till(tmp_path, clock, config("counter-1", configured))) as box,
    ):
        await settled(box, "ready")
        box.readers.add(config("found", found))
        (first, second) = await settled(box, "ready", "ready")
        assert (first.name, second.name) == ("counter-1", "found")
        assert second.terminal_id == "52500002"

        box.readers.remove("found")
        assert [one.name for one in box.readers.reported()] == ["counter-1"]
        assert box.taps.slot(second.reader_id) is None

        box.readers.add(config("found", found))
        assert (await settled(box, "ready", "ready"))[1].reader_id == second.reader_id


async def test_something_unknown_is_shown_with_what_was_seen_and_gets_no_payment(
    tmp_path: Path, clock: LateClock
) -> None:
    async with opened(till(tmp_path, clock)) as box:
        stranger = Stranger("0801:0001 MagTek, at usb 1-2. No profile fits.", "MagTek", "Dynamag")
        box.readers.show("Unknown usb 1-2", "usb://0801:0001", stranger)
        (shown,) = await settled(box, "unidentified")

        assert (shown.vendor, shown.model) == ("MagTek", "Dynamag")
        assert shown.reason == stranger.reason
        assert shown.address == "usb://0801:0001"
        assert box.taps.slot(shown.reader_id) is None
        assert box.readers.may_forget("Unknown usb 1-2")

        box.readers.tell("Unknown usb 1-2", "reader.stuck_in_bootloader", "error", "It stays.")
        assert "reader.stuck_in_bootloader" in await events(box)
        box.readers.remove("Unknown usb 1-2")
        assert box.readers.reported() == []


async def test_why_a_reader_is_away_is_said_as_long_as_it_is_away(
    tmp_path: Path, clock: LateClock
) -> None:
    one = terminal(clock, "52500001")
    async with plugged_in(one) as _, opened(till(tmp_path, clock, config("counter-1", one))) as box:
        await settled(box, "ready")
        box.readers.remark("counter-1", "It is in its boot loader.")
        assert box.readers.reported()[0].reason == ""
        one.simulated.unplug()

        (away,) = await settled(box, "disconnected")
        assert away.reason == "It is in its boot loader."


async def test_a_payment_that_is_not_settled_keeps_its_place_and_is_settled_where_the_reader_moved(
    tmp_path: Path, clock: LateClock
) -> None:
    one = terminal(clock, "52500001")
    one.next_goes("slow+drop_after_start")
    async with opened(till(tmp_path, clock)) as box:
        box.readers.add(config("found", one))
        async with plugged_in(one):
            (reader,) = await settled(box, "ready")
            assert not box.readers.may_forget("found")
            slot = box.taps.slot(reader.reader_id)
            assert slot is not None
            request = StartPayment(
                session_id="ts_0001", reader_id=reader.reader_id, amount_minor=1234, currency="EUR"
            )
            box.receive(request)

            async def has_begun() -> bool:
                return "sent" in await box.steps()

            await eventually_async(has_begun)
            one.simulated.unplug()

            async def is_unsettled() -> bool:
                return slot.unsettled == "ts_0001"

            await eventually_async(is_unsettled, deadline_s=10)
            assert not box.readers.may_forget("found")
            assert await box.payments() == []

            one.simulated.plug_in()
            box.readers.add(config("found", one, address=f"memory://{one.name}?moved=1"))
            told = await box.payment_of()

        # On a network line a terminal takes back what it could not tell.
        assert (told.outcome, told.decided_by, one.charged_minor) == ("failed", "recall", [])
        assert box.taps.slot(reader.reader_id) is slot
        assert box.readers.reported()[0].address.endswith("?moved=1")
        await eventually_async(lambda: _may_forget(box))


async def _may_forget(box: Till) -> bool:
    return box.readers.may_forget("found")
