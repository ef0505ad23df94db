"""Brings new software into readers: one job at a time for each, every state on the disk before it is acted on.

What may be begun again is begun again: downloads, waiting, asking. A transfer is not, except once in the same life of
the agent when the reader itself said that it took nothing. Payments are refused from `claiming` to the end of
`verifying`, also across starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import AgentError, ReaderBusy
from agent.firmware import jobs
from agent.firmware.jobs import Job, JobState, advance
from agent.journal import JournalDamaged, JournalUnwritable
from agent.readers.reader import ReaderState
from agent.tap import Refusal
from agent.totals import reports_of
from firmware_profiles import versions
from firmware_profiles.versions import Order
from protocols.cloud.events import DeviceEvent, JobProgress
from protocols.readers.protocol import (
    AskStatus,
    Diagnose,
    EndOfDay,
    Finished,
    InstallSoftware,
    Outcome,
    ReadTotals,
    SoftwareFile,
    TransferProgress,
    UpdateSoftware,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from agent.clock import Clock
    from agent.firmware.downloads import Downloads
    from agent.journal import Journal, Transaction
    from agent.spool import Spool
    from agent.tap import ReaderSlot, Taps
    from agent.timekeeping import DeviceTime
    from firmware_profiles import ReaderProfile
    from firmware_profiles.profile import Firmware
    from protocols.cloud.commands import FirmwareRelease, UpdateReader
    from protocols.cloud.events import StreamData
    from protocols.readers.protocol import ReaderCommand, ReaderEvent

log = structlog.get_logger()

#: Methods in which the agent hands files over, and in which the reader fetches them.
PUSHES: Final = frozenset({"zvt_0814_push", "mms_d801"})
PULLS: Final = frozenset({"zvt_0810_pull"})
#: A reader that says that it took nothing is asked once more.
MOST_ATTEMPTS: Final = 2
_HELD: Final = "its software is being updated"
_TOLD_PERCENT: Final = 5
#: Schemes of addresses as profiles call what they carry.
_TRANSPORTS: Final = {"usb": "usb_hid", "ble": "ble_gatt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """In seconds: how often it is looked whether something changed."""

    look_s: float = 1.0
    again_s: float = 30.0
    """Before a reader that is not fit for it is asked again."""
    settle_s: float = 30.0
    """How long a reader that took its software may go on as before until it restarts."""


class _Ended(Exception):
    """The job is over, for a reason that people read."""

    def __init__(self, state: JobState, text: str, code: str) -> None:
        super().__init__(text)
        self.state = state
        self.text = text
        self.code = code


class Updates:
    """Runs firmware jobs. `run` holds the work; `recover` comes before it, and before readers run."""

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        taps: Taps,
        time: DeviceTime,
        clock: Clock,
        *,
        folder: Path,
        fetch: Callable[[str], Awaitable[bytes]],
        authorities: Callable[[], bytes],
        pauses: Pauses | None = None,
    ) -> None:
        """`folder` for files of releases; `fetch` is one signed GET; `authorities`: PEM of who may certify releases."""
        self._journal = journal
        self._spool = spool
        self._taps = taps
        self._time = time
        self._clock = clock
        self._folder = folder
        self._fetch = fetch
        self._authorities = authorities
        self._pauses = pauses or Pauses()
        self._open: dict[str, Job] = {}
        self._downloading = asyncio.Lock()
        """Two readers may get the same files; they come here once."""
        self._group: asyncio.TaskGroup | None = None

    def transferring(self) -> list[str]:
        """Readers whose software is on its way at this moment: the agent should not end now."""
        return [job.reader_id for job in self._open.values() if job.state is JobState.TRANSFERRING]

    async def recover(self) -> None:
        """After a start: remember what was under way, and refuse payments where it is not clear what runs."""

        def change(tx: Transaction) -> list[Job]:
            jobs.prepare(tx)
            known = jobs.everything(tx.db)
            jobs.forget_old(tx)
            return known

        known = await self._journal.write(change)
        self._tidy(known)
        for job in known:
            if job.state.is_final:
                continue
            self._open[job.id] = job
            if job.state.after_restart.occupies_reader:
                self._taps.hold(job.reader_id, _HELD)

    def _tidy(self, known: list[Job]) -> None:
        """Remove files of jobs that ended just before the agent did."""
        wanted, ended = (
            {
                file.sha256
                for job in known
                if job.state.is_final is is_final and job.request.release
                for file in job.request.release.files
            }
            for is_final in (False, True)
        )
        for path in self._folder.glob("*"):
            if path.name.removesuffix(".part") in ended - wanted:
                with contextlib.suppress(OSError):
                    path.unlink()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for job in list(self._open.values()):
                group.create_task(self._keep(job, is_resumed=True))
            await asyncio.Event().wait()

    async def take(self, asked: UpdateReader) -> Refusal | None:
        """Take on a job, or say why not. The same job again is taken on once."""
        if asked.job_id in self._open:
            return None
        if refusal := self._refusal(asked):
            return refusal
        known = await self._journal.write(lambda tx: self._record(tx, asked))
        if isinstance(known, Refusal):
            return known
        if known:
            job = Job(asked.job_id, asked, JobState.PLANNED)
            self._open[job.id] = job
            if self._group is not None:
                self._group.create_task(self._keep(job, is_resumed=False))
        return None

    def _record(self, tx: Transaction, asked: UpdateReader) -> Refusal | bool:
        if not asked.despite_failure and asked.release:
            failed = jobs.failed_before(tx.db, asked)
            if failed is not None:
                return Refusal(
                    "refused",
                    "quarantined",
                    f"The update to {failed.version} did not end well before: {failed.text} "
                    "Look at the reader, then order it once more on purpose.",
                )
        if not jobs.record(tx, asked, self._unix()):
            return False
        self._spool.append(tx, _progress(asked, JobState.PLANNED, "", None))
        return True

    def _refusal(self, asked: UpdateReader) -> Refusal | None:
        slot = self._taps.slot(asked.reader_id)
        if slot is None or slot.profile is None:
            text = f"There is no reader {asked.reader_id} here."
            return Refusal("refused", "unknown_reader", text)
        if any(job.reader_id == asked.reader_id for job in self._open.values()):
            text = f"{slot.name} is being updated already."
            return Refusal("refused", "update_running", text)
        firmware, release = slot.profile.firmware, asked.release
        methods = PUSHES if release else PULLS
        if firmware is None or firmware.method not in methods:
            text = f"{slot.name} does not take software this way; its profile is {slot.profile.id}."
            return Refusal("refused", "update_not_offered", text)
        if release is None:
            return None
        if release.profile != slot.profile.id:
            text = f"The release is for {release.profile}, and {slot.name} is {slot.profile.id}."
            return Refusal("refused", "other_profile", text)
        from agent.firmware.downloads import (  # noqa: PLC0415 (it brings the cryptography library)
            ReleaseRefused,
            check_signature,
        )

        try:
            check_signature(release, self._authorities())
        except ReleaseRefused as refused:
            return Refusal("rejected", refused.reason, refused.message)
        return None

    # --- one job -----------------------------------------------------------------------------------------------

    async def _keep(self, job: Job, *, is_resumed: bool) -> None:
        """Do a job to its end; what the disk hinders is tried again."""
        if is_resumed:
            log.info("firmware_job_resumed", job_id=job.id, state=job.state.value)
        while True:
            try:
                if is_resumed and job.state.after_restart is not job.state:
                    await self._move(job, job.state.after_restart, "the agent was restarted")
                await self._work(job)
            except (JournalUnwritable, JournalDamaged) as error:
                log.warning("firmware_job_waits", job_id=job.id, reason=error.message)
                is_resumed = True
                await asyncio.sleep(self._pauses.again_s)
                continue
            except Exception:
                # What was begun stays held until the next start looks at the reader.
                log.exception("firmware_job_fault", job_id=job.id)
            return

    async def _work(self, job: Job) -> None:
        try:
            while not job.state.is_final:
                await self._step(job)
        except _Ended as ended:
            await self._end(job, ended)
        self._taps.let_go(job.reader_id)
        self._open.pop(job.id, None)
        if job.request.release is not None:
            needed = {
                file.sha256
                for other in self._open.values()
                for file in (other.request.release.files if other.request.release else ())
            }
            (await self._downloads()).remove(job.request.release, needed)

    async def _step(self, job: Job) -> None:
        match job.state:
            case JobState.PLANNED:
                await self._download(job)
            case JobState.DOWNLOADED:
                await self._move(job, JobState.WAITING)
            case JobState.WAITING:
                await self._claim(job)
            case JobState.REBOOTING:
                await self._await_restart(job)
            case JobState.VERIFYING:
                await self._verify(job)
            case _:
                raise AssertionError(f"a job does not stay {job.state}")

    async def _move(
        self, job: Job, state: JobState, text: str = "", *, also: tuple[StreamData, ...] = ()
    ) -> None:
        """Raises JournalUnwritable, JournalDamaged; then the job is where it was."""
        after = Job(
            job.id,
            job.request,
            advance(job.state, state),
            job.attempts,
            job.version_before,
            text,
        )
        progress = _progress(job.request, state, text, 100 if state is JobState.DONE else None)

        def change(tx: Transaction) -> None:
            jobs.store(tx, after, self._unix())
            for message in (progress, *also):
                self._spool.append(tx, message)

        await self._journal.write(change)
        job.state, job.text = state, text
        log.info("firmware_job", job_id=job.id, state=state.value, text=text)

    async def _end(self, job: Job, ended: _Ended) -> None:
        also: tuple[StreamData, ...] = ()
        if ended.state is not JobState.DONE and job.attempts:
            # From here on this reader gets this version only when somebody wants it despite this.
            also = (
                DeviceEvent(
                    kind=f"reader.update_{ended.state.value}",
                    severity="error",
                    reader_id=job.reader_id,
                    text=ended.text[:2000],
                    facts={"job_id": job.id, "version": job.version, "code": ended.code},
                ),
            )
        await self._move(job, ended.state, ended.text, also=also)

    def _tell(self, job: Job, text: str, percent: int | None = None) -> None:
        """A message on the way; nobody waits for it."""
        message = _progress(job.request, job.state, text, percent)
        stored = self._journal.submit(lambda tx: self._spool.append(tx, message))
        stored.add_done_callback(lambda done: done.cancelled() or done.exception())

    # --- planned: the files come here ----------------------------------------------------------------------------

    async def _downloads(self) -> Downloads:
        from agent.firmware.downloads import Downloads  # noqa: PLC0415 (as above)

        return Downloads(self._folder, self._fetch)

    async def _download(self, job: Job) -> None:
        release = job.request.release
        if release is not None:
            from agent.firmware.downloads import (  # noqa: PLC0415 (as above)
                LARGEST_BYTES,
                ReleaseRefused,
                check_signature,
            )

            told = 0

            def tell(here: int, total: int) -> None:
                nonlocal told
                percent = here * 100 // total
                if percent >= min(told + _TOLD_PERCENT, 100) and percent > told:
                    told = percent
                    self._tell(job, "", percent)

            slot = self._taps.slot(job.reader_id)
            firmware = slot.profile.firmware if slot and slot.profile else None
            largest = firmware.file.max_bytes if firmware and firmware.file else LARGEST_BYTES
            try:
                # Once more: what stands in the journal may be from another life.
                check_signature(release, self._authorities())
                async with self._downloading:
                    await (await self._downloads()).bring(release, tell, largest)
            except ReleaseRefused as refused:
                raise _Ended(JobState.FAILED, refused.message, refused.reason) from refused
        await self._move(job, JobState.DOWNLOADED)

    # --- waiting and claiming ------------------------------------------------------------------------------------

    async def _claim(self, job: Job) -> None:
        slot = await self._until_free(job)
        # Nothing may come between the last look and this.
        self._taps.hold(job.reader_id, _HELD)
        try:
            await self._move(job, JobState.CLAIMING)
            if hindrance := await self._prepare(job, slot):
                self._taps.let_go(job.reader_id)
                await self._move(job, JobState.WAITING, hindrance)
                await asyncio.sleep(self._pauses.again_s)
                return
        except (JournalUnwritable, JournalDamaged):
            self._taps.let_go(job.reader_id)
            raise
        await self._transfer(job, slot)

    async def _until_free(self, job: Job) -> ReaderSlot:
        """Wait until nothing speaks against taking the reader out of service. Raises _Ended when its time is over."""
        told = ""
        while True:
            idle_since = await self._journal.read(lambda db: _last_payment(db, job.reader_id))
            now = self._time.now()
            asked = job.request
            if asked.not_after_ms and now.timestamp() * 1000 > asked.not_after_ms:
                text = f"Its time was over before the reader was free: {told or job.text}."
                raise _Ended(JobState.FAILED, text, "window_over")
            slot = self._taps.slot(job.reader_id)
            hindrance = self._hindrance(slot, asked, now, idle_since)
            if slot is not None and not hindrance:
                return slot
            if hindrance != told:
                told = hindrance
                self._tell(job, hindrance)
            await asyncio.sleep(self._pauses.look_s)

    def _hindrance(
        self, slot: ReaderSlot | None, asked: UpdateReader, now: datetime, idle_since: int
    ) -> str:
        """What speaks against it now, in English; empty when nothing does."""
        if now.timestamp() * 1000 < asked.not_before_ms:
            begins = datetime.fromtimestamp(asked.not_before_ms / 1000, UTC)
            return f"it begins at {begins:%Y-%m-%d %H:%M} UTC"
        if slot is None or slot.profile is None or slot.profile.firmware is None:
            return "the reader is not connected"
        # New software of its own may be just what a locked reader asks for.
        is_cure = asked.release is None
        objection = slot.objection()
        if objection and not (is_cure and objection.code == "reader_locked"):
            return objection.text
        if other := self._taps.out_of_service(besides=asked.reader_id):
            return f"{other} is out of service, and a box gives up one reader at a time"
        wants = slot.profile.firmware.preconditions
        scheme = slot.desk.reader.address.partition(":")[0]
        if wants.transports and _TRANSPORTS.get(scheme, scheme) not in wants.transports:
            return f"{slot.name} is connected by {scheme}, and takes software by {' or '.join(wants.transports)} only"
        if now.timestamp() - idle_since < wants.idle_s:
            return f"{slot.name} took a payment less than {wants.idle_s} s ago"
        return ""

    async def _prepare(self, job: Job, slot: ReaderSlot) -> str:
        """Ask the reader itself, close its day; what hinders it, or empty. Raises _Ended when it is current."""
        firmware = _firmware_of(slot)
        status = await self._ask(slot, AskStatus())
        is_locked = status.outcome is Outcome.FAILED and job.request.release is None
        if status.outcome is not Outcome.DONE and not is_locked:
            return f"{slot.name} is not fit for it: {status.text}"
        job.version_before = slot.desk.reader.status.identity.software_version or ""
        if job.version and _order(firmware, job.version_before, job.version) is Order.SAME:
            raise _Ended(JobState.DONE, f"It runs {job.version_before} already.", "current")
        if hindrance := power_objection(firmware, status.details):
            return f"{slot.name} {hindrance}"
        if is_locked:
            # It does nothing else before it has its software.
            return ""
        if job.request.end_of_day:
            closed = await self._ask(slot, EndOfDay())
            if closed.outcome is not Outcome.DONE:
                return f"{slot.name} did not close its day: {closed.text}"
            if closed.totals is not None:
                reports = reports_of(job.reader_id, closed.totals, closed=True)
                await self._journal.write(
                    lambda tx: [self._spool.append(tx, report) for report in reports]
                )
        elif firmware.preconditions.end_of_day:
            read = await self._ask(slot, ReadTotals())
            if read.outcome is not Outcome.UNSUPPORTED and (
                read.totals is None
                or read.totals.per_scheme
                or (read.totals.total and read.totals.total.minor)
            ):
                return f"the day of {slot.name} is not closed; close it, or let the update do that"
        return ""

    async def _ask(self, slot: ReaderSlot, command: ReaderCommand) -> Finished:
        async with slot.turn:
            try:
                return await slot.desk.reader.execute(command)
            except ReaderBusy as busy:
                return Finished(command, Outcome.BUSY, text=busy.message)

    # --- transferring --------------------------------------------------------------------------------------------

    async def _transfer(self, job: Job, slot: ReaderSlot) -> None:
        firmware = _firmware_of(slot)
        release = job.request.release
        if release is not None:
            downloads = await self._downloads()
            for file in release.files:
                if not await downloads.is_here(file):
                    text = "A file of the release was damaged on this device's disk; nothing was sent to the reader."
                    raise _Ended(JobState.FAILED, text, "bad_hash")
        job.attempts += 1
        await self._move(job, JobState.TRANSFERRING)
        opened = slot.desk.reader.counts["opened"]
        finished = await self._hand_over(job, slot, firmware)
        match finished.outcome:
            case Outcome.DONE | Outcome.LOST:
                await self._move(job, JobState.REBOOTING, finished.text)
                await self._await_restart(job, opened)
            case Outcome.BUSY:
                job.attempts -= 1
                self._taps.let_go(job.reader_id)
                await self._move(job, JobState.WAITING, f"nothing was sent: {finished.text}")
                await asyncio.sleep(self._pauses.again_s)
            case Outcome.FAILED | Outcome.CANCELLED if job.attempts < MOST_ATTEMPTS:
                self._taps.let_go(job.reader_id)
                text = f"the reader did not take it: {finished.text}; it is asked once more"
                await self._move(job, JobState.WAITING, text)
                await asyncio.sleep(self._pauses.again_s)
            case _:
                text = f"The reader did not take the software: {finished.text or finished.outcome}."
                raise _Ended(JobState.FAILED, text, "reader_refused")

    async def _hand_over(self, job: Job, slot: ReaderSlot, firmware: Firmware) -> Finished:
        told = 0

        def listen(event: ReaderEvent) -> None:
            nonlocal told
            if isinstance(event, TransferProgress) and event.total:
                percent = event.sent * 100 // event.total
                if percent >= min(told + _TOLD_PERCENT, 100) and percent > told:
                    told = percent
                    self._tell(job, "", percent)

        reader = slot.desk.reader
        with contextlib.ExitStack() as files:
            command: InstallSoftware | UpdateSoftware = UpdateSoftware()
            if job.request.release is not None:
                downloads = await self._downloads()
                command = InstallSoftware(_opened(job.request.release, downloads, files))
            try:
                async with asyncio.timeout(firmware.timing.transfer_max_s), slot.turn:
                    return await reader.execute(command, listen)
            except ReaderBusy as busy:
                return Finished(command, Outcome.BUSY, text=busy.message)
            except TimeoutError:
                reader.reset("the transfer of software took too long")
                return Finished(command, Outcome.LOST, text="the transfer took too long")

    # --- rebooting and verifying ---------------------------------------------------------------------------------

    async def _await_restart(self, job: Job, opened: int | None = None) -> None:
        """Until the reader has restarted, or has gone on for so long that it will not. `opened`: lines before."""
        reboot_s = 600.0
        ends_at = settled_at = self._clock.elapsed()
        while True:
            slot = self._taps.slot(job.reader_id)
            if slot is not None and slot.profile is not None:
                timing = _firmware_of(slot).timing
                reboot_s = timing.reboot_max_s
                now = self._clock.elapsed()
                is_ready = slot.desk.reader.status.state is ReaderState.READY
                has_restarted = opened is not None and slot.desk.reader.counts["opened"] > opened
                is_settled = now - settled_at >= max(self._pauses.settle_s, timing.quiet_after_s)
                if is_ready and (has_restarted or is_settled) and job.request.release is not None:
                    break
                if is_ready and self._version(slot) != job.version_before:
                    break
            if self._clock.elapsed() - ends_at >= reboot_s:
                break
            await asyncio.sleep(self._pauses.look_s)
        await self._move(job, JobState.VERIFYING)

    async def _verify(self, job: Job) -> None:
        """Raises _Ended, always."""
        began_at = self._clock.elapsed()
        reboot_s, seen = 600.0, "it has not come back"
        while True:
            slot = self._taps.slot(job.reader_id)
            if slot is not None and slot.profile is not None and slot.profile.firmware is not None:
                reboot_s = slot.profile.firmware.timing.reboot_max_s
                reader = slot.desk.reader
                seen = reader.status.reason or f"it is {reader.status.state.value}"
                if reader.status.state is ReaderState.READY:
                    status = await self._ask(slot, AskStatus())
                    if status.outcome in {Outcome.DONE, Outcome.UNSUPPORTED}:
                        raise await self._verdict(job, slot)
                    seen = status.text
            if self._clock.elapsed() - began_at >= reboot_s:
                text = (
                    f"Nobody can say which software runs in the reader: {seen}. Look at the reader."
                )
                raise _Ended(JobState.UNKNOWN, text, "not_back")
            await asyncio.sleep(self._pauses.look_s)

    async def _verdict(self, job: Job, slot: ReaderSlot) -> _Ended:
        firmware, runs = _firmware_of(slot), self._version(slot)
        is_unchanged = runs == job.version_before
        if job.request.release is None:
            if not is_unchanged:
                return _Ended(JobState.DONE, f"It runs {runs} now.", "")
            text = f"It runs {runs} as before: its host had nothing newer, or it could not load it."
            return _Ended(JobState.FAILED, text, "unchanged")
        order = _order(firmware, runs, job.version)
        has_it = order is Order.SAME or (firmware.compare == "opaque" and not is_unchanged)
        if not runs or (not has_it and not is_unchanged):
            text = f"The reader tells {runs or 'no version'} after the update to {job.version}. Look at the reader."
            return _Ended(JobState.UNKNOWN, text, "other_version")
        if not has_it:
            return _Ended(
                JobState.FAILED,
                f"The reader runs {runs} as before; nothing was installed.",
                "unchanged",
            )
        if "diagnosis" in firmware.verify.steps:
            tested = await self._ask(slot, Diagnose())
            if tested.outcome not in {Outcome.DONE, Outcome.UNSUPPORTED}:
                text = f"It runs {runs}, and its test of the line to its host fails: {tested.text}."
                return _Ended(JobState.FAILED, text, "diagnosis")
        return _Ended(JobState.DONE, f"It runs {runs} now.", "")

    def _version(self, slot: ReaderSlot) -> str:
        return slot.desk.reader.status.identity.software_version or ""

    def _unix(self) -> int:
        return int(self._time.now().timestamp())


def _progress(asked: UpdateReader, state: JobState, text: str, percent: int | None) -> JobProgress:
    return JobProgress(
        job_id=asked.job_id,
        state=state.value,
        percent=percent,
        reader_id=asked.reader_id,
        text=text[:2000],
    )


def _last_payment(db: sqlite3.Connection, reader_id: str) -> int:
    """Unix time at which the last payment of a reader was asked for; 0 when there was none."""
    row = db.execute(
        "SELECT max(recorded_at) FROM session WHERE reader_id = ?", (reader_id,)
    ).fetchone()
    return int(row[0] or 0)


def _firmware_of(slot: ReaderSlot) -> Firmware:
    profile: ReaderProfile | None = slot.profile
    if profile is None or profile.firmware is None:
        raise AgentError(f"the profile of {slot.name} knows no software")
    return profile.firmware


def _order(firmware: Firmware, installed: str, wanted: str) -> Order:
    if firmware.compare == "opaque":
        return Order.SAME if versions.tidy(installed) == versions.tidy(wanted) else Order.DIFFERENT
    return versions.compare(firmware, installed, wanted)


def power_objection(firmware: Firmware, details: Mapping[str, str]) -> str:
    """Why there is not enough power; empty when there is, or the reader has no battery."""
    wants, percent = firmware.preconditions, details.get("battery_percent", "")
    least = wants.battery_min_pct
    if least is not None and percent.isdecimal() and int(percent) < least:
        return f"has {percent} % battery left and needs {least} %"
    if wants.external_power == "required" and details.get("external_power") == "no":
        return "must be on its charger"
    return ""


def _opened(
    release: FirmwareRelease, downloads: Downloads, files: contextlib.ExitStack
) -> tuple[SoftwareFile, ...]:
    """The files of a release, read where they lie, piece by piece. Raises OSError."""
    opened = []
    for file in release.files:
        descriptor = os.open(downloads.path_of(file), os.O_RDONLY)
        files.callback(os.close, descriptor)

        def read(offset: int, length: int, descriptor: int = descriptor) -> bytes:
            try:
                return os.pread(descriptor, length, offset)
            except OSError:
                return b""

        opened.append(SoftwareFile(file.number, file.size, bytes.fromhex(file.sha256), read))
    return tuple(opened)
