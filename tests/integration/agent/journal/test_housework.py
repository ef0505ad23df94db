"""What is looked after now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import inbox, sessions
from agent.housework import CHECK_S, FORGET_S, Housework
from agent.journal import RESERVE_BYTES
from agent.spool import KEPT_S, START, Spool
from agent.timekeeping import DeviceTime
from protocols.cloud.commands import Ack, StartPayment
from protocols.cloud.envelope import open_envelope
from protocols.cloud.events import DeviceEvent
from protocols.cloud.topics import Stream
from tests.support.till import Fate, FatefulJournal, LateClock


class House:
    """A journal on a disk that a test fills, and whoever looks after it."""

    def __init__(self, folder: Path) -> None:
        self.clock = LateClock()
        self.time = DeviceTime(self.clock)
        self.journal = FatefulJournal(folder, self.clock)
        self.journal.start()
        self.spool = Spool(self.journal, self.time)
        self.damages = 0
        self.work = Housework(
            self.journal, self.spool, self.time, self.clock, on_damage=self._damaged
        )

    def _damaged(self) -> None:
        self.damages += 1

    async def events(self) -> list[str]:
        rows = await self.spool.waiting(Stream.EVENTS, START, 100)
        told = [open_envelope(row.payload).data for row in rows]
        return [one.kind for one in told if isinstance(one, DeviceEvent)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    await made.journal.close()


async def test_a_full_disk_is_told_once_and_its_end_too(house: House) -> None:
    await house.work.look()
    before = await house.events()
    house.journal.limit_to(RESERVE_BYTES)
    await house.work.look()
    await house.work.look()
    full = await house.events()
    house.journal.limit_to(2 * RESERVE_BYTES)
    await house.work.look()
    await house.work.look()

    assert before == []
    assert full == ["disk.full"]
    assert await house.events() == ["disk.full", "disk.room"]


async def test_a_journal_that_could_not_write_is_tried_until_it_can(house: House) -> None:
    house.journal.fate = lambda _: Fate.DISK_FULL
    await house.work.look()
    house.journal.fate = lambda _: Fate.STORED

    await house.work.look()

    assert house.journal.trouble is None
    assert house.damages == 0


async def test_a_damaged_journal_is_reported_instead_of_worked_on(house: House) -> None:
    await house.spool.record(*[DeviceEvent(kind="test.event", severity="info")] * 200)
    await house.journal.read(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    with (house.journal.folder / "journal.db").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 16384)
    house.clock.stalled_s += CHECK_S

    await house.work.look()

    assert house.damages == 1


async def test_how_much_waits_is_told(house: House) -> None:
    await house.spool.record(DeviceEvent(kind="test.event", severity="info"))
    await house.work.look()
    some = house.work.level()
    await house.spool.acknowledge(Ack(stream="ev", epoch=1, upto=1))

    assert (some.pending, some.oldest_s >= 0) == (1, True)
    assert (house.work.level().pending, house.work.level().oldest_s) == (0, 0)


async def test_what_is_old_and_done_is_forgotten_and_nothing_else(house: House) -> None:
    now = int(house.time.now().timestamp())
    request = StartPayment(
        session_id="ts_done", reader_id="rd_0001", amount_minor=1, currency="EUR"
    )
    old = now - sessions.KEPT_S - 10

    await house.journal.write(lambda tx: inbox.accept(tx, "cmd_done", "x", old))
    await house.journal.write(lambda tx: inbox.accept(tx, "cmd_open", "x", old))
    await house.journal.write(lambda tx: inbox.accept(tx, "cmd_young", "x", now))
    for command_id in ("cmd_done", "cmd_young"):
        position = await house.journal.write(
            lambda tx: house.spool.append(tx, DeviceEvent(kind="test.event", severity="info"))
        )
        await house.journal.write(lambda tx: inbox.finish(tx, command_id, position))  # noqa: B023 (run at once)
    await house.journal.write(lambda tx: sessions.record(tx, "cmd_done", request, old))
    await house.journal.write(lambda tx: sessions.close(tx, "ts_done", "approved"))
    await house.spool.acknowledge(Ack(stream="ev", epoch=1, upto=1))
    await house.journal.write(
        lambda tx: tx.db.execute(
            "UPDATE outbox SET acked_at = ? WHERE seq = 1", (now - KEPT_S - 10,)
        )
    )
    house.clock.stalled_s += FORGET_S

    await house.work.look()

    left = await house.journal.read(
        lambda db: [row[0] for row in db.execute("SELECT id FROM command ORDER BY id")]
    )
    rows = await house.journal.read(
        lambda db: [row[0] for row in db.execute("SELECT seq FROM outbox")]
    )
    known = await house.journal.read(lambda db: sessions.outcome_of(db, "ts_done"))
    assert left == ["cmd_open", "cmd_young"]
    assert rows == [2]
    assert known is None
