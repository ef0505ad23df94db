"""New software for a simulated terminal, by a real agent's insides: done once, told truly, whatever dies in between."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from agent.cli import main as agent_program
from agent.config import ReaderConfig
from agent.firmware import jobs
from agent.https_client import ControlPlaneRefused, ControlPlaneUnreachable
from agent.tap import ReaderSlot
from control_plane.clock import SystemClock
from control_plane.db.keyring import Keyring
from control_plane.devices.authority import Authority
from protocols.cloud.commands import RebootReader, UpdateReader
from protocols.cloud.events import DeviceEvent, JobProgress
from protocols.cloud.topics import Stream
from tests.support.firmware import NEW, OLD, PROFILE, authority, image, release_of
from tests.support.till import Fate, LateClock, Server, Terminal, Till, opened, plugged_in
from tests.support.waiting import eventually_async

CONTENT = image()
RELEASE = release_of(CONTENT)
JOB = "job_0001"


class Shop:
    """A terminal that outlives the agents, and the server with its files."""

    def __init__(self, folder: Path, *, pace: float = 0.02) -> None:
        self.folder = folder
        self.clock = LateClock()
        self.server = Server(
            files={"/v1/device/firmware/frl_0001/16": CONTENT},
            authority_pem=authority().ca_pem.encode,
        )
        self.terminal = Terminal(self.clock, pace=pace)
        self.terminal.machine.store.software_version = OLD

    def till(self) -> Till:
        return Till(
            self.folder,
            [self.terminal],
            self.clock,
            self.server,
            configs=[
                ReaderConfig(
                    name="counter-1", profile=PROFILE, address=f"memory://{self.terminal.name}"
                )
            ],
        )

    @property
    def version(self) -> str:
        return self.terminal.machine.store.software_version


@asynccontextmanager
async def living(shop: Shop) -> AsyncIterator[Till]:
    async with opened(shop.till()) as till:
        await till.until_ready()
        yield till


def update(till: Till, **changes: object) -> UpdateReader:
    asked = UpdateReader(job_id=JOB, reader_id=till.reader_id, release=RELEASE)
    return msgspec.structs.replace(asked, **changes)


async def progress(till: Till, job_id: str = JOB) -> list[JobProgress]:
    told = await till.told(Stream.JOBS)
    return [one for one in told if isinstance(one, JobProgress) and one.job_id == job_id]


async def states(till: Till, job_id: str = JOB) -> list[str]:
    """The states that were told, each once in a row."""
    told = [one.state for one in await progress(till, job_id)]
    return [state for at, state in enumerate(told) if at == 0 or told[at - 1] != state]


async def until(till: Till, *wanted: str, job_id: str = JOB) -> JobProgress:
    async def is_there() -> bool:
        return any(one.state in wanted for one in await progress(till, job_id))

    await eventually_async(is_there, deadline_s=20)
    return next(one for one in await progress(till, job_id) if one.state in wanted)


async def until_said(till: Till, words: str) -> None:
    async def is_there() -> bool:
        return any(words in one.text for one in await progress(till))

    await eventually_async(is_there, deadline_s=10)


async def ended(till: Till, job_id: str = JOB) -> JobProgress:
    return await until(till, "done", "failed", "unknown", job_id=job_id)


def be_quick(till: Till, *, reboot_s: int = 1) -> None:
    """Let the profile wait for no more than a moment."""
    slot = slot_of(till)
    assert slot.profile is not None
    assert slot.profile.firmware is not None
    timing = msgspec.structs.replace(slot.profile.firmware.timing, reboot_max_s=reboot_s)
    firmware = msgspec.structs.replace(slot.profile.firmware, timing=timing)
    slot.profile = msgspec.structs.replace(slot.profile, firmware=firmware)


def slot_of(till: Till) -> ReaderSlot:
    slot = till.taps.slot(till.reader_id)
    assert slot is not None
    return slot


async def failures(till: Till) -> list[str]:
    told = await till.told(Stream.EVENTS)
    return [
        one.kind
        for one in told
        if isinstance(one, DeviceEvent) and one.kind.startswith("reader.update")
    ]


async def test_a_release_goes_from_the_server_into_the_reader(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        result = await till.result_of()
        last = await ended(till)

        assert result.status == "succeeded"
        assert (last.state, last.percent, last.text) == ("done", 100, f"It runs {NEW} now.")
        assert await states(till) == [
            "planned",
            "downloaded",
            "waiting",
            "claiming",
            "transferring",
            "rebooting",
            "verifying",
            "done",
        ]
        percents = [one.percent for one in await progress(till) if one.state == "transferring"]
        assert percents[-1] == 100
        assert shop.terminal.machine.store.installed == {"16": hashlib.sha256(CONTENT).hexdigest()}
        assert list((tmp_path / "firmware").iterdir()) == []
        assert await failures(till) == []
        till.receive(till.payment(), "cmd_0002")
        assert (await till.payment_of()).outcome == "approved"


async def test_a_payment_is_refused_while_the_reader_takes_software(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        await until(till, "claiming")
        till.receive(till.payment(), "cmd_0002")
        result = await till.result_of("cmd_0002")
        await ended(till)

        assert (result.status, result.code) == ("refused", "reader_busy")
        assert "its software is being updated" in result.text
        assert shop.terminal.purchases == []


async def test_the_reader_is_left_alone_until_its_payment_has_ended_and_its_day_is_closed(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(till.payment(), "cmd_0002")
        await till.payment_of()
        till.receive(update(till))
        await until_said(till, "took a payment less than 120 s ago")
        assert "claiming" not in await states(till)

        await till.journal.write(
            lambda tx: tx.db.execute("UPDATE session SET recorded_at = recorded_at - 600")
        )
        await until_said(till, "the day of counter-1 is not closed")
        assert "transferring" not in await states(till)
        assert shop.version == OLD


async def test_the_day_is_closed_first_when_the_command_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(till.payment(), "cmd_0002")
        await till.payment_of()
        await till.journal.write(
            lambda tx: tx.db.execute("UPDATE session SET recorded_at = recorded_at - 600")
        )
        till.receive(update(till, end_of_day=True))

        assert (await ended(till)).state == "done"
        assert [(one.closed, one.per_scheme) for one in await till.totals()] == [
            (True, [("Visa", 1, 1234)])
        ]


async def test_a_window_is_kept_and_its_end_ends_the_job(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        now_ms = int(till.time.now().timestamp() * 1000)
        till.receive(update(till, not_before_ms=now_ms + 3_600_000))
        await until_said(till, "it begins at")
        other = update(till, job_id="job_0002")
        till.receive(other, "cmd_0002")
        refusal = await till.result_of("cmd_0002")

        assert (refusal.status, refusal.code) == ("refused", "update_running")
        assert "claiming" not in await states(till)

    (tmp_path / "other").mkdir()
    late = Shop(tmp_path / "other")
    async with plugged_in(late.terminal), living(late) as till:
        till.receive(update(till, not_after_ms=1000))
        last = await ended(till)

    assert (last.state, last.text.split(":")[0]) == (
        "failed",
        "Its time was over before the reader was free",
    )
    assert late.version == OLD


# --- what is not accepted ---


@pytest.mark.parametrize(
    ("release", "code"),
    [
        (msgspec.structs.replace(RELEASE, version="GER-APP-v9.9.9"), "bad_signature"),
        (msgspec.structs.replace(RELEASE, certificate="nothing"), "bad_signature"),
        (release_of(CONTENT, profile="generic-zvt-tcp"), "other_profile"),
        (None, "update_not_offered"),
    ],
    ids=["changed after signing", "no certificate", "for another model", "a pull for a push"],
)
async def test_what_cannot_be_trusted_or_done_is_refused_and_nothing_is_fetched(
    tmp_path: Path, release: object, code: str
) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till, release=release))
        result = await till.result_of()

        assert result.status in {"refused", "rejected"}
        assert result.code == code
        assert shop.server.fetched == []
        assert await progress(till) == []


async def test_a_release_of_another_installation_is_rejected(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    stranger = Authority.open(tmp_path / "ca", Keyring([b"another" * 8]), SystemClock())
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till, release=release_of(CONTENT, signer=stranger)))
        result = await till.result_of()

    assert (result.status, result.code) == ("rejected", "bad_signature")
    assert "another installation" in result.text


async def test_a_devices_own_certificate_signs_no_release(tmp_path: Path) -> None:
    pair = authority().make_client("dev-0123456789")
    forged = msgspec.structs.replace(RELEASE, certificate=pair.certificate_pem)
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till, release=forged))
        result = await till.result_of()

    assert (result.code, "not for releases" in result.text) == ("bad_signature", True)


async def test_a_file_that_is_not_the_signed_one_is_thrown_away(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.server.files = {name: content[:-1] + b"!" for name, content in shop.server.files.items()}
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        last = await ended(till)

        assert (last.state, "not the one that was signed" in last.text) == ("failed", True)
        assert list((tmp_path / "firmware").iterdir()) == []
        assert shop.version == OLD
        assert "waiting" not in await states(till)


async def test_a_file_that_the_server_does_not_give_ends_the_job(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.server.fetch_error = ControlPlaneRefused(404, "not_found", "It was withdrawn.")
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))

        assert "It was withdrawn." in (await ended(till)).text


async def test_a_full_disk_is_said_and_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.firmware.downloads.MARGIN_BYTES", 1 << 60)
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        last = await ended(till)

    assert (last.state, "Make room on it" in last.text) == ("failed", True)
    assert shop.server.fetched == []


async def test_a_download_goes_on_where_it_stopped_in_another_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.firmware.downloads.PIECE_BYTES", 50_000)
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal):
        async with living(shop) as till:
            asked = update(till)
            whole, shop.server.files = shop.server.files, {}
            shop.server.fetch_error = ControlPlaneUnreachable("https://x", "timeout", "no answer")
            till.receive(asked)

            async def has_asked() -> bool:
                return bool(shop.server.fetched)

            await eventually_async(has_asked)
            part = tmp_path / "firmware" / f"{RELEASE.files[0].sha256}.part"
        part.write_bytes(CONTENT[:100_000])
        shop.server.fetched.clear()
        shop.server.files, shop.server.fetch_error = whole, None
        async with living(shop) as till:
            assert (await ended(till)).state == "done"

    assert [path.partition("?")[2] for path in shop.server.fetched] == [
        "offset=100000&length=50000",
        "offset=150000&length=50000",
    ]


# --- what goes wrong at the reader ---


async def test_a_reader_that_takes_nothing_is_asked_once_more_and_then_left(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.arm("update_fails:always")
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        last = await ended(till)
        till.receive(update(till, job_id="job_0002"), "cmd_0002")
        again = await till.result_of("cmd_0002")

        assert last.state == "failed"
        assert "did not take the software" in last.text
        assert (await states(till)).count("transferring") == 2
        assert await failures(till) == ["reader.update_failed"]
        assert (again.status, again.code) == ("refused", "quarantined")
        till.receive(till.payment(), "cmd_0003")
        assert (await till.payment_of()).outcome == "approved"


async def test_somebody_may_want_it_once_more_on_purpose(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.arm("update_fails:2")
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        await ended(till)
        till.receive(update(till, job_id="job_0002", despite_failure=True), "cmd_0002")

        assert (await ended(till, "job_0002")).state == "done"
        assert shop.version == NEW


async def test_a_cable_pulled_in_the_middle_is_no_reason_to_send_it_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.arm("update_drops")
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        last = await ended(till)

        assert (last.state, last.text) == (
            "failed",
            f"The reader runs {OLD} as before; nothing was installed.",
        )
        assert (await states(till)).count("transferring") == 1
        assert await failures(till) == ["reader.update_failed"]


async def test_a_reader_that_says_done_and_changes_nothing_is_found_out(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.arm("update_changes_nothing")
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))

        assert (
            await ended(till)
        ).text == f"The reader runs {OLD} as before; nothing was installed."


async def test_a_reader_that_does_not_come_back_is_unknown_and_takes_no_payments(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine._reboot_s = 3600.0  # noqa: SLF001 - it takes an hour to come back
    async with plugged_in(shop.terminal), living(shop) as till:
        be_quick(till)
        till.receive(update(till))
        last = await ended(till)
        till.receive(till.payment(), "cmd_0002")
        refused = await till.result_of("cmd_0002")

    assert last.state == "unknown"
    assert "Look at the reader." in last.text
    assert (refused.status, refused.code) == ("refused", "reader_offline")


async def test_a_version_that_nobody_ordered_is_unknown(tmp_path: Path) -> None:
    content = image("GER-APP-v3.1.4")
    shop = Shop(tmp_path)
    shop.server.files = dict.fromkeys(shop.server.files, content)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till, release=release_of(content)))
        last = await ended(till)

        assert last.state == "unknown"
        assert "GER-APP-v3.1.4" in last.text
        assert await failures(till) == ["reader.update_unknown"]


async def test_what_runs_already_is_not_sent(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.store.software_version = NEW
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        last = await ended(till)

        assert (last.state, last.text) == ("done", f"It runs {NEW} already.")
        assert "transferring" not in await states(till)


async def test_the_same_job_twice_is_one_job(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        await till.result_of()
        till.receive(update(till), "cmd_0002")
        result = await till.result_of("cmd_0002")
        await ended(till)
        till.receive(update(till), "cmd_0003")
        await till.result_of("cmd_0003")

        assert result.status == "succeeded"
        assert (await states(till)).count("planned") == 1
        assert shop.terminal.machine.store.restarts == 1


# --- the power fails ---


@pytest.mark.parametrize("fate", [Fate.DIED_BEFORE, Fate.DIED_AFTER], ids=["before", "after"])
@pytest.mark.parametrize(
    "state", [one for one in jobs.JobState if one is not jobs.JobState.UNKNOWN]
)
async def test_the_power_fails_at_any_state_and_no_transfer_begins_by_itself(
    tmp_path: Path, state: jobs.JobState, fate: Fate
) -> None:
    shop = Shop(tmp_path)
    if state is jobs.JobState.FAILED:
        shop.terminal.machine.arm("update_changes_nothing")
    async with plugged_in(shop.terminal):
        async with living(shop) as first:
            asked = update(first)
            strike(first, state, fate)
            first.receive(asked)
            await first.journal.is_dead.wait()
        async with living(shop) as second:
            second.receive(asked, "cmd_0002")
            last = await ended(second)
            began = (await states(second)).count("transferring")

    # As often as the journal says that it was begun, and never more.
    assert shop.terminal.machine.store.restarts <= max(began, 1)
    assert began <= 1
    if shop.version == NEW:
        assert last.state == "done"
        assert shop.terminal.machine.store.installed == {"16": RELEASE.files[0].sha256}
    else:
        assert last.state == "failed"


def strike(till: Till, state: jobs.JobState, fate: Fate) -> None:
    """Let the machine die when the job comes to this state."""
    store = jobs.store if state is not jobs.JobState.PLANNED else None
    original = till.updates._move  # noqa: SLF001 - the moment is the test's
    if store is None:
        before = till.journal.changes
        # The command is accepted first, then the job is recorded.
        till.journal.fate = lambda change: fate if change == before + 2 else Fate.STORED
        return

    async def move(job: jobs.Job, after: jobs.JobState, *args: object, **more: object) -> None:
        if after is state:
            till.journal.fate = lambda _: fate
        await original(job, after, *args, **more)  # type: ignore[arg-type]  # passed on as they came

    till.updates._move = move  # type: ignore[method-assign,assignment]  # noqa: SLF001 - as above


async def test_a_technician_sees_the_updates_at_the_box(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        till.receive(update(till))
        await ended(till)
        capsys.readouterr()
        code = agent_program(["firmware", "status", "--state-dir", str(tmp_path)])

    (line,) = capsys.readouterr().out.splitlines()[:1]
    assert code == 0
    assert json.loads(line) == {
        "job_id": JOB,
        "reader_id": till.reader_id,
        "state": "done",
        "attempts": 1,
        "version_before": OLD,
        "version": NEW,
        "text": f"It runs {NEW} now.",
    }


# --- the cable is pulled ---


@pytest.mark.parametrize(
    "state",
    [
        jobs.JobState.WAITING,
        jobs.JobState.CLAIMING,
        jobs.JobState.TRANSFERRING,
        jobs.JobState.REBOOTING,
        jobs.JobState.VERIFYING,
    ],
)
async def test_the_reader_loses_its_power_in_each_state_and_the_end_is_what_it_runs(
    tmp_path: Path, state: jobs.JobState
) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal), living(shop) as till:
        original = till.updates._move  # noqa: SLF001 - the moment is the test's

        async def move(job: jobs.Job, after: jobs.JobState, *args: object, **more: object) -> None:
            await original(job, after, *args, **more)  # type: ignore[arg-type]  # as they came
            if after is state:
                till.updates._move = original  # type: ignore[method-assign]  # noqa: SLF001
                shop.terminal.machine.restart(shop.clock.elapsed())

        till.updates._move = move  # type: ignore[method-assign,assignment]  # noqa: SLF001
        till.receive(update(till))
        last = await ended(till)

        assert last.state == ("done" if shop.version == NEW else "failed")
        assert (await states(till)).count("transferring") <= 1
        await till.until_ready()
        till.receive(till.payment(), "cmd_0002")
        assert (await till.payment_of()).outcome == "approved"


# --- the reader fetches it by itself ---


def let_it_fetch(till: Till) -> None:
    """A model of the same protocol that is updated by its own host."""
    be_quick(till, reboot_s=10)
    slot = slot_of(till)
    assert slot.profile is not None
    assert slot.profile.firmware is not None
    firmware = msgspec.structs.replace(
        slot.profile.firmware, method="zvt_0810_pull", compare="opaque"
    )
    slot.profile = msgspec.structs.replace(slot.profile, firmware=firmware)


async def test_a_reader_fetches_its_software_and_is_asked_what_it_runs_then(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.store.next_software_version = NEW
    async with plugged_in(shop.terminal), living(shop) as till:
        let_it_fetch(till)
        till.receive(update(till, release=None))
        last = await ended(till)

        assert (last.state, last.text) == ("done", f"It runs {NEW} now.")
        assert "transferring" in await states(till)
        assert shop.server.fetched == []


async def test_a_locked_reader_that_asks_for_its_software_gets_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.store.next_software_version = NEW
    async with plugged_in(shop.terminal), living(shop) as till:
        let_it_fetch(till)
        shop.terminal.machine.store.lock = 0xC4
        till.receive(update(till, release=None, end_of_day=True))
        last = await ended(till)

        assert (last.state, shop.version) == ("done", NEW)
        assert shop.terminal.purchases == []


async def test_a_reader_whose_host_has_nothing_newer_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.terminal.machine.arm("update_changes_nothing")
    async with plugged_in(shop.terminal), living(shop) as till:
        let_it_fetch(till)
        be_quick(till)
        till.receive(update(till, release=None))
        last = await ended(till)

        assert (last.state, "as before" in last.text) == ("failed", True)
        till.receive(update(till, release=None, job_id="job_0002"), "cmd_0002")
        assert (await till.result_of("cmd_0002")).status == "succeeded"


async def test_a_damaged_journal_does_not_forget_whose_software_was_under_way(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path)
    async with plugged_in(shop.terminal):
        async with living(shop) as first:
            strike(first, jobs.JobState.REBOOTING, Fate.DIED_BEFORE)
            first.receive(update(first))
            await first.journal.is_dead.wait()
        (tmp_path / "journal.suspect").touch()
        damage(tmp_path / "journal.db")
        async with living(shop) as second:
            last = await ended(second)
            began = (await states(second)).count("transferring")

    assert second.journal.opening.kept_as
    assert (last.state, shop.version) == ("done", NEW)
    # Only the verifying is told in the new journal; nothing was sent to the reader again.
    assert began <= 1
    assert shop.terminal.machine.store.restarts == 1


def damage(file: Path) -> None:
    """Scribble over the index of what is pending, which the job does not need."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'outbox_pending'"
        ).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\xa5" * size)


async def test_a_box_gives_up_one_reader_at_a_time(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    second = Terminal(shop.clock, pace=0.02)
    second.machine.store.software_version = OLD
    both = Till(
        tmp_path,
        [shop.terminal, second],
        shop.clock,
        shop.server,
        configs=[
            ReaderConfig(name=name, profile=PROFILE, address=f"memory://{one.name}")
            for name, one in (("counter-1", shop.terminal), ("counter-2", second))
        ],
    )
    async with plugged_in(shop.terminal, second), opened(both) as till:

        async def are_ready() -> bool:
            told = till.readers.reported()
            return [one.state for one in told] == ["ready", "ready"] and all(
                one.reader_id for one in told
            )

        await eventually_async(are_ready, deadline_s=10)
        first, other = (one.reader_id for one in till.readers.reported())
        till.receive(update(till, reader_id=first), "cmd_0001")
        till.receive(update(till, reader_id=other, job_id="job_0002"), "cmd_0002")
        await ended(till)
        await ended(till, "job_0002")

        told = [one for one in await till.told(Stream.JOBS) if isinstance(one, JobProgress)]
        away = [
            (one.job_id, one.state)
            for one in told
            if one.state in {"claiming", "done"} and one.percent in {None, 100}
        ]
        assert away[0][0] == away[1][0] != away[2][0] == away[3][0]
        assert [state for _, state in away] == ["claiming", "done", "claiming", "done"]
        assert any("one reader at a time" in one.text for one in told)
        till.taps.hold(other, "its software is being updated")
        till.receive(RebootReader(reader_id=first), "cmd_0003")
        refused = await till.result_of("cmd_0003")
        assert (refused.status, refused.code) == ("refused", "other_reader_away")
