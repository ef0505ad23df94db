"""The journal's file: what is durable, what is undone, and what happens when disk or file fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from agent.card_data import KsnWatch
from agent.journal import (
    RESERVE_BYTES,
    Condition,
    FolderInUse,
    Journal,
    JournalDamaged,
    JournalTooNew,
    JournalUnwritable,
    Transaction,
    fact,
    flaws,
    open_read_only,
    set_fact,
)
from agent.spool import Position, Spool
from agent.timekeeping import DeviceTime
from protocols.cloud.events import DeviceEvent
from protocols.cloud.topics import Stream
from tests.fakes.device_clock import START, FakeDeviceClock

EVENT = DeviceEvent(kind="test.event", severity="info", text="x" * 500)


@asynccontextmanager
async def opened(folder: Path, **options: int) -> AsyncIterator[Journal]:
    journal = Journal(folder, now=START, **options)
    journal.start()
    try:
        yield journal
    finally:
        await journal.close()


async def stored(journal: Journal, name: str) -> str | None:
    return await journal.read(lambda db: fact(db, name))


def writing(name: str, value: str = "yes") -> Callable[[Transaction], None]:
    return lambda tx: set_fact(tx, name, value)


def remove(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        path.unlink()


async def fill(journal: Journal) -> int:
    """Store events until nothing more is taken; returns how many were."""
    spool = Spool(journal, DeviceTime(FakeDeviceClock()))
    count = 0
    try:
        while True:
            await spool.record(*[EVENT] * 50)
            count += 50
    except JournalUnwritable:
        return count


async def test_changes_are_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as journal:
        await journal.write(writing("a"))

    async with opened(tmp_path) as journal:
        assert await stored(journal, "a") == "yes"
        assert journal.opening.condition is Condition.INTACT


async def test_a_change_that_fails_is_undone_alone(tmp_path: Path) -> None:
    def fails(tx: Transaction) -> None:
        set_fact(tx, "half", "done")
        raise LookupError("half way")

    async with opened(tmp_path) as journal:
        outcomes = await asyncio.gather(
            journal.write(writing("before")),
            journal.write(fails),
            journal.write(writing("after")),
            return_exceptions=True,
        )

        assert isinstance(outcomes[1], LookupError)
        assert await stored(journal, "before") == "yes"
        assert await stored(journal, "half") is None
        assert await stored(journal, "after") == "yes"


async def test_changes_that_arrive_together_share_one_commit(tmp_path: Path) -> None:
    commits = 0

    def count(tx: Transaction) -> None:
        def counted(statement: str) -> None:
            nonlocal commits
            commits += statement == "COMMIT"

        tx.db.set_trace_callback(counted)

    async with opened(tmp_path) as journal:
        await journal.write(count)
        await asyncio.gather(*(journal.write(writing(f"n{number}")) for number in range(200)))

        assert await stored(journal, "n199") == "yes"
        assert commits < 20


async def test_nobody_hears_of_a_change_before_it_is_on_the_disk(tmp_path: Path) -> None:
    seen: list[str | None] = []

    def looks_from_outside() -> None:
        with sqlite3.connect(f"file:{tmp_path / 'journal.db'}?mode=ro", uri=True) as other:
            seen.append(fact(other, "a"))
        other.close()

    def change(tx: Transaction) -> None:
        set_fact(tx, "a", "yes")
        tx.afterwards(looks_from_outside)

    async with opened(tmp_path) as journal:
        await journal.write(change)

    assert seen == ["yes"]


async def test_a_failed_change_tells_nobody(tmp_path: Path) -> None:
    told: list[str] = []

    def fails(tx: Transaction) -> None:
        tx.afterwards(lambda: told.append("done"))
        raise LookupError

    async with opened(tmp_path) as journal:
        with pytest.raises(LookupError):
            await journal.write(fails)
        await journal.write(writing("a"))

    assert told == []


async def test_every_start_counts_and_the_epoch_stays(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        async with opened(tmp_path, first_epoch=7) as journal:
            seen.append((journal.epoch, journal.boot))

    assert seen == [(7, 1), (7, 2), (7, 3)]


async def test_counters_survive_the_loss_of_their_own_file(tmp_path: Path) -> None:
    async with opened(tmp_path, first_epoch=7):
        pass
    (tmp_path / "counters.json").unlink()

    async with opened(tmp_path) as journal:
        assert (journal.epoch, journal.boot) == (7, 2)


async def test_a_lost_journal_begins_a_new_epoch_and_goes_on_counting_starts(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path):
        pass
    remove(tmp_path, "journal.db*")

    async with opened(tmp_path) as journal:
        assert journal.opening.condition is Condition.MISSING
        assert (journal.epoch, journal.boot) == (2, 2)


async def test_one_folder_takes_one_agent(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(FolderInUse, match=f"process {os.getpid()}"):
            Journal(tmp_path, now=START)

    async with opened(tmp_path) as journal:
        assert journal.boot == 2


async def test_a_journal_of_a_later_agent_is_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(JournalTooNew, match="install that version"):
        Journal(tmp_path, now=START)

    assert open_read_only(tmp_path).execute("PRAGMA user_version").fetchone()[0] == 99


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalUnwritable, match="file"):
        Journal(tmp_path / "file" / "state", now=START)


# --- damage ----------------------------------------------------------------------------------------------------


def scribble(path: Path, *, at: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * length)


async def filled_journal(folder: Path, count: int) -> None:
    async with opened(folder) as journal:
        spool = Spool(journal, DeviceTime(FakeDeviceClock()))
        await spool.record(*[EVENT] * count)


async def test_a_scribbled_file_is_kept_aside_and_what_can_be_read_is_saved(tmp_path: Path) -> None:
    await filled_journal(tmp_path, 400)
    size = (tmp_path / "journal.db").stat().st_size
    scribble(tmp_path / "journal.db", at=size - 8192, length=4096)

    async with opened(tmp_path) as journal:
        opening = journal.opening
        spool = Spool(journal, DeviceTime(FakeDeviceClock()))
        await spool.load()

        assert opening.condition is Condition.DAMAGED
        assert (opening.epoch, opening.boot) == (2, 2)
        assert opening.kept_as == "journal-damaged-20270301T080000.db"
        assert (tmp_path / opening.kept_as).stat().st_size == size
        assert 300 < opening.saved <= 400
        assert spool.pending == opening.saved
        assert await journal.read(flaws) == []


async def test_saved_messages_keep_their_number_and_new_ones_begin_a_new_epoch(
    tmp_path: Path,
) -> None:
    await filled_journal(tmp_path, 400)
    size = (tmp_path / "journal.db").stat().st_size
    scribble(tmp_path / "journal.db", at=size - 8192, length=4096)

    async with opened(tmp_path) as journal:
        spool = Spool(journal, DeviceTime(FakeDeviceClock()))
        await spool.record(EVENT)
        rows = await journal.read(
            lambda db: db.execute(
                "SELECT epoch, min(seq), count(*) FROM outbox GROUP BY epoch"
            ).fetchall()
        )

    assert rows[0][:2] == (1, 1)
    assert rows[1] == (2, 1, 1)


async def test_damage_does_not_make_a_readers_key_look_unused(tmp_path: Path) -> None:
    await filled_journal(tmp_path, 400)
    number = bytes.fromhex("ffff9876543210e00005")
    async with opened(tmp_path) as journal:
        await journal.write(lambda tx: KsnWatch().seen(tx, "S1", number))
        await journal.write(writing("colour"))
    size = (tmp_path / "journal.db").stat().st_size
    scribble(tmp_path / "journal.db", at=size - 8192, length=4096)

    async with opened(tmp_path) as journal:
        event = await journal.write(lambda tx: KsnWatch().seen(tx, "S1", number))
        other = await journal.read(lambda db: fact(db, "colour"))

        assert journal.opening.condition is Condition.DAMAGED
        assert event is not None
        assert event.kind == "reader.ksn_repeated"
        assert other is None


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database at all, but long enough to be looked at" * 20],
    ids=["empty", "text"],
)
async def test_a_file_that_is_no_journal_does_not_stop_the_agent(
    tmp_path: Path, content: bytes
) -> None:
    await filled_journal(tmp_path, 3)
    remove(tmp_path, "journal.db-*")
    (tmp_path / "journal.db").write_bytes(content)

    async with opened(tmp_path) as journal:
        await journal.write(writing("a"))

        assert journal.epoch == 2
        assert await stored(journal, "a") == "yes"


async def test_damage_found_at_work_stops_everything_and_the_next_start_repairs(
    tmp_path: Path,
) -> None:
    await filled_journal(tmp_path, 400)
    async with opened(tmp_path) as journal:
        size = (tmp_path / "journal.db").stat().st_size
        scribble(tmp_path / "journal.db", at=4096, length=size - 4096)
        with pytest.raises(JournalDamaged):
            await journal.read(
                lambda db: db.execute("SELECT sum(length(payload)) FROM outbox").fetchall()
            )

        with pytest.raises(JournalDamaged):
            await journal.write(writing("a"))
        assert isinstance(journal.trouble, JournalDamaged)
        assert not journal.has_room()

    async with opened(tmp_path) as journal:
        assert journal.opening.condition is Condition.DAMAGED
        await journal.write(writing("a"))


async def test_the_daily_look_finds_damage_that_nothing_has_read_yet(tmp_path: Path) -> None:
    await filled_journal(tmp_path, 400)
    async with opened(tmp_path) as journal:
        await journal.check()
        before = journal.trouble
        scribble(
            tmp_path / "journal.db", at=(tmp_path / "journal.db").stat().st_size // 2, length=8192
        )

        await journal.check()

        assert before is None
        assert isinstance(journal.trouble, JournalDamaged)
        with pytest.raises(JournalDamaged):
            await journal.write(writing("a"))


# --- full disk -------------------------------------------------------------------------------------------------


async def test_a_full_journal_says_so_before_it_fails_and_takes_what_has_begun(
    tmp_path: Path,
) -> None:
    limit = RESERVE_BYTES + 512 * 1024
    async with opened(tmp_path, largest_bytes=limit) as journal:
        spool = Spool(journal, DeviceTime(FakeDeviceClock()))
        assert journal.has_room()

        while journal.has_room():
            await spool.record(*[EVENT] * 20)
        await spool.record(EVENT)

        assert journal.trouble is None
        assert 0 < journal.room_bytes() <= RESERVE_BYTES


async def test_when_nothing_fits_any_more_nothing_is_half_stored_and_room_heals_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, largest_bytes=512 * 1024) as journal:
        spool = Spool(journal, DeviceTime(FakeDeviceClock()))
        count = await fill(journal)
        rows = await journal.read(
            lambda db: db.execute("SELECT count(*), max(seq) FROM outbox").fetchone()
        )
        full = journal.trouble

        await journal.write(lambda tx: tx.db.execute("DELETE FROM outbox WHERE seq <= 100"))
        await spool.record(EVENT)

        assert rows == (count, count)
        assert isinstance(full, JournalUnwritable)
        assert journal.trouble is None
        assert (await spool.waiting(Stream.EVENTS, (await last(journal)), 10)) == []


async def last(journal: Journal) -> Position:
    epoch, seq = await journal.read(
        lambda db: db.execute("SELECT epoch, max(seq) FROM outbox").fetchone()
    )
    return Position(epoch, seq)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own; needs the right to mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def take_all_space(hog: Path) -> None:
    with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))


async def test_a_full_disk_is_survived_by_the_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "24m") as disk:
        async with opened(disk / "state") as journal:
            assert journal.has_room()
            hog = disk / "hog"
            take_all_space(hog)

            refuses = not journal.has_room()
            await Spool(journal, DeviceTime(FakeDeviceClock())).record(*[EVENT] * 200)
            gave_up = not (disk / "state" / "journal.reserve").exists()
            hog.unlink()
            await journal.probe()

            assert refuses
            assert gave_up
            assert journal.has_room()
            assert (disk / "state" / "journal.reserve").stat().st_size == RESERVE_BYTES


# --- kill -9 ---------------------------------------------------------------------------------------------------

_WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from agent.clock import SystemClock
from agent.journal import Journal
from agent.spool import Position, Spool
from agent.timekeeping import DeviceTime
from protocols.cloud.events import DeviceEvent

async def main():
    journal = Journal(Path(sys.argv[1]), now=datetime.now(UTC))
    journal.start()
    spool = Spool(journal, DeviceTime(SystemClock()))
    while True:
        await spool.record(DeviceEvent(kind="test.event", severity="info", text="x" * 300))
        print(spool.pending, flush=True)

asyncio.run(main())
"""


def write_until_killed(folder: Path) -> int:
    """Let another process store events and kill it; returns how many it said were stored."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(30)]
        writer.send_signal(signal.SIGKILL)
    return int(lines[-1])


async def test_what_was_reported_as_stored_survives_kill_9(tmp_path: Path) -> None:
    told = sum(write_until_killed(tmp_path) for _ in range(3))

    async with opened(tmp_path) as journal:
        seqs = await journal.read(
            lambda db: [row[0] for row in db.execute("SELECT seq FROM outbox ORDER BY seq")]
        )

        assert journal.opening.condition is Condition.INTACT
        assert len(seqs) >= told
        assert seqs == list(range(1, len(seqs) + 1))
        assert json.loads((tmp_path / "counters.json").read_text()) == {"epoch": 1, "boot": 4}
