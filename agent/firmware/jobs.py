"""Firmware jobs as the journal knows them: each state is written down before anything is done in it.

A job that is found in `TRANSFERRING` or `REBOOTING` after a start goes on at `VERIFYING`: half an image may be in the
reader, and only its version tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from agent.journal import FIRMWARE_JOBS
from protocols.cloud.commands import UpdateReader

if TYPE_CHECKING:
    import sqlite3

    from agent.journal import Transaction

#: How many jobs that have ended are remembered.
KEPT: Final = 50


class JobState(StrEnum):
    """Where a job stands."""

    PLANNED = "planned"
    DOWNLOADED = "downloaded"
    """The files are here, and they are what was signed."""
    WAITING = "waiting"
    """For the reader to be free, and whatever else its profile wants first."""
    CLAIMING = "claiming"
    """Payments are refused from here on."""
    TRANSFERRING = "transferring"
    REBOOTING = "rebooting"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Nobody can say what runs in the reader; somebody must look."""

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self]

    @property
    def occupies_reader(self) -> bool:
        """Payments are refused."""
        return self in _OCCUPYING

    @property
    def after_restart(self) -> JobState:
        """Where a job that was found in this state goes on when the agent starts."""
        match self:
            case JobState.TRANSFERRING | JobState.REBOOTING:
                return JobState.VERIFYING
            case JobState.CLAIMING:
                # Nothing had been sent.
                return JobState.WAITING
            case _:
                return self


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.PLANNED: frozenset({JobState.DOWNLOADED, JobState.FAILED}),
    JobState.DOWNLOADED: frozenset({JobState.WAITING}),
    JobState.WAITING: frozenset({JobState.CLAIMING, JobState.FAILED}),
    JobState.CLAIMING: frozenset(
        {JobState.TRANSFERRING, JobState.WAITING, JobState.DONE, JobState.FAILED}
    ),
    JobState.TRANSFERRING: frozenset(
        {JobState.REBOOTING, JobState.VERIFYING, JobState.WAITING, JobState.FAILED}
    ),
    JobState.REBOOTING: frozenset({JobState.VERIFYING}),
    JobState.VERIFYING: frozenset({JobState.DONE, JobState.FAILED, JobState.UNKNOWN}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.UNKNOWN: frozenset(),
}
_OCCUPYING: Final = frozenset(
    {JobState.CLAIMING, JobState.TRANSFERRING, JobState.REBOOTING, JobState.VERIFYING}
)


def advance(before: JobState, after: JobState) -> JobState:
    """The only way from one state to another. Raises ValueError for a way that there is not."""
    if after not in TRANSITIONS[before]:
        raise ValueError(f"a firmware job cannot go from {before} to {after}")
    return after


@dataclass(slots=True)
class Job:
    """One update of one reader."""

    id: str
    request: UpdateReader
    state: JobState
    attempts: int = 0
    """Transfers that were begun."""
    version_before: str = ""
    text: str = ""

    @property
    def reader_id(self) -> str:
        return self.request.reader_id

    @property
    def version(self) -> str:
        """What is to run in the reader; empty when only its maker knows."""
        return self.request.release.version if self.request.release else ""


def prepare(tx: Transaction) -> None:
    """Make the table where a journal does not have it yet."""
    tx.db.execute(FIRMWARE_JOBS)


def record(tx: Transaction, request: UpdateReader, now: int) -> bool:
    """Remember a job before anything is done for it; False when it was known."""
    return bool(
        tx.db.execute(
            "INSERT OR IGNORE INTO firmware_job (id, reader_id, request, state, recorded_at, changed_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                request.job_id,
                request.reader_id,
                msgspec.json.encode(request),
                JobState.PLANNED.value,
                now,
                now,
            ),
        ).rowcount
    )


def store(tx: Transaction, job: Job, now: int) -> None:
    """Bring a job to the disk as it is."""
    tx.db.execute(
        "UPDATE firmware_job SET state = ?, attempts = ?, version_before = ?, text = ?, changed_at = ? WHERE id = ?",
        (job.state.value, job.attempts, job.version_before, job.text, now, job.id),
    )


def unfinished(db: sqlite3.Connection) -> list[Job]:
    """Jobs that have not ended, oldest first."""
    return [job for job in everything(db) if not job.state.is_final]


def everything(db: sqlite3.Connection) -> list[Job]:
    """All jobs that are remembered, oldest first."""
    rows = db.execute(
        "SELECT id, request, state, attempts, version_before, text FROM firmware_job ORDER BY recorded_at, id"
    )
    return [
        Job(
            row[0],
            msgspec.json.decode(row[1], type=UpdateReader),
            JobState(row[2]),
            row[3],
            row[4],
            row[5],
        )
        for row in rows
    ]


def failed_before(db: sqlite3.Connection, request: UpdateReader) -> Job | None:
    """The last update of this reader, when it was to this version and did not end well."""
    mine = [
        job
        for job in everything(db)
        if job.reader_id == request.reader_id and job.id != request.job_id and job.state.is_final
    ]
    if not mine or mine[-1].state is JobState.DONE:
        return None
    wanted = request.release.version if request.release else ""
    return mine[-1] if mine[-1].attempts and mine[-1].version == wanted else None


def forget_old(tx: Transaction) -> None:
    """Drop all but the last jobs that have ended."""
    final = [state.value for state in JobState if state.is_final]
    marks = ", ".join("?" * len(final))
    tx.db.execute(
        f"DELETE FROM firmware_job WHERE state IN ({marks}) AND id NOT IN ("  # noqa: S608 (marks only)
        f"SELECT id FROM firmware_job WHERE state IN ({marks}) ORDER BY changed_at DESC LIMIT ?)",
        (*final, *final, KEPT),
    )
