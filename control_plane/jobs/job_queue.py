"""Takes jobs from the table and puts them back: claim, finish, retry, park."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, exists, func, or_, select, update

from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.outbox import JOBS, JobState

#: How long a claim lasts without a heartbeat.
LEASE: Final = timedelta(seconds=60)
_LONGEST_WAIT_S: Final = 3600
_OPEN: Final = (JobState.READY, JobState.RUNNING)
_ERROR_LENGTH: Final = 2_000
#: How long the dedupe key of a finished job is remembered.
REMEMBERED: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that is this worker's until its lease ends."""

    seq: int
    id: str
    kind: str
    payload: dict[str, Any]
    merchant_id: str | None
    attempt: int
    max_attempts: int
    created_at: datetime


def claim(db: Transaction, worker: str, kinds: Sequence[str]) -> ClaimedJob | None:
    """The job that has waited longest, of those that are due and whose turn it is; None when there is none.

    Needs a writing transaction: on PostgreSQL several workers skip each other's rows, on SQLite they queue up.
    """
    now = context_of(db).clock.now()
    earlier = JOBS.alias("earlier")
    before_it = exists().where(
        earlier.c.ordering_key == JOBS.c.ordering_key,
        earlier.c.seq < JOBS.c.seq,
        earlier.c.state.in_(_OPEN),
    )
    due = or_(
        and_(JOBS.c.state == JobState.READY, JOBS.c.run_at <= now),
        and_(JOBS.c.state == JobState.RUNNING, JOBS.c.locked_until < now),
    )
    found = db.execute(
        select(JOBS.c.seq)
        .where(
            # Said again in the words of the partial index, so that it is used.
            JOBS.c.state.in_(_OPEN),
            due,
            JOBS.c.kind.in_(kinds),
            or_(JOBS.c.ordering_key.is_(None), ~before_it),
        )
        .order_by(JOBS.c.run_at, JOBS.c.seq)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).scalar_one_or_none()
    if found is None:
        return None
    row = db.execute(
        update(JOBS)
        .where(JOBS.c.seq == found)
        .values(
            state=JobState.RUNNING,
            attempts=JOBS.c.attempts + 1,
            locked_by=worker,
            locked_until=now + LEASE,
        )
        .returning(JOBS)
    ).one()
    return ClaimedJob(
        row.seq, row.id, row.kind, row.payload, row.merchant_id, row.attempts,
        row.max_attempts, row.created_at,
    )  # fmt: skip


def finish(db: Transaction, job: ClaimedJob, worker: str) -> bool:
    """The job is done: delete it, or keep its dedupe key. False when the lease went to someone else meanwhile."""
    mine = and_(JOBS.c.seq == job.seq, JOBS.c.locked_by == worker, JOBS.c.attempts == job.attempt)
    done = delete(JOBS).where(mine, JOBS.c.dedupe_key.is_(None))
    if changed(db, done):
        return True
    kept = update(JOBS).where(mine)
    return changed(db, kept.values(state=JobState.DONE, locked_by=None, locked_until=None)) == 1


def give_back(db: Transaction, job: ClaimedJob, worker: str, error: str) -> JobState | None:
    """The try failed: wait and try again, or park after the last one. None when it is no longer ours."""
    now = context_of(db).clock.now()
    parked = job.attempt >= job.max_attempts
    values: dict[str, Any] = {
        "state": JobState.PARKED if parked else JobState.READY,
        "locked_by": None,
        "locked_until": None,
        "last_error": error[-_ERROR_LENGTH:],
    }
    if not parked:
        values["run_at"] = now + backoff(job.attempt)
    mine = and_(JOBS.c.seq == job.seq, JOBS.c.locked_by == worker, JOBS.c.attempts == job.attempt)
    if not changed(db, update(JOBS).where(mine).values(values)):
        return None
    return JobState.PARKED if parked else JobState.READY


def backoff(attempt: int) -> timedelta:
    """How long to wait after a failed try: 2, 4, 8 seconds … one hour, give or take a fifth."""
    seconds = min(2.0 ** min(attempt, 12), _LONGEST_WAIT_S)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret


def beat(db: Transaction, worker: str) -> int:
    """Extend the leases of everything this worker runs; returns how many."""
    now = context_of(db).clock.now()
    mine = update(JOBS).where(JOBS.c.locked_by == worker, JOBS.c.state == JobState.RUNNING)
    return changed(db, mine.values(locked_until=now + LEASE))


def next_due(db: Transaction) -> datetime | None:
    """When the next waiting job is due."""
    due: datetime | None = db.execute(
        select(func.min(JOBS.c.run_at)).where(JOBS.c.state == JobState.READY)
    ).scalar_one()
    return due


def forget_done(db: Transaction) -> int:
    """Delete finished jobs whose dedupe keys no longer matter."""
    before = context_of(db).clock.now() - REMEMBERED
    return changed(db, delete(JOBS).where(JOBS.c.state == JobState.DONE, JOBS.c.run_at < before))
