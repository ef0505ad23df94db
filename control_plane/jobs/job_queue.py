"""Takes jobs from the table and puts them back: claim, finish, retry, park."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from control_plane.db.columns import UtcDateTime
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.outbox import JOBS, JobState

#: How long a claim lasts without a heartbeat.
LEASE: Final = timedelta(seconds=60)
_LONGEST_WAIT_S: Final = 3600
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
    values = {"at": now, "lease": now + LEASE, "worker": worker, "kinds": list(kinds)}
    while True:
        row = db.execute(_CLAIM, values).one_or_none()
        if row is None:
            return None
        job = ClaimedJob(
            row.seq, row.id, row.kind, row.payload, row.merchant_id, row.attempts,
            row.max_attempts, row.created_at,
        )  # fmt: skip
        if job.attempt <= job.max_attempts:
            return job
        # Nobody gave it back after its last try: it ends the process that runs it.
        give_back(db, job, worker, "The worker ended while it ran this, each time.")


def finish(db: Transaction, job: ClaimedJob, worker: str) -> bool:
    """The job is done: delete it, or keep its dedupe key. False when the lease went to someone else meanwhile."""
    mine = {"its": job.seq, "worker": worker, "attempt": job.attempt}
    return bool(changed(db, _FORGET, mine) or changed(db, _REMEMBER, mine))


def give_back(db: Transaction, job: ClaimedJob, worker: str, error: str) -> JobState | None:
    """The try failed: wait and try again, or park after the last one. None when it is no longer ours."""
    now = context_of(db).clock.now()
    state = JobState.PARKED if job.attempt >= job.max_attempts else JobState.READY
    values = {
        "its": job.seq,
        "worker": worker,
        "attempt": job.attempt,
        "then": state,
        "again_at": now + backoff(job.attempt),
        "error": error[-_ERROR_LENGTH:],
    }
    return state if changed(db, _GIVE_BACK, values) else None


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


def _is_open(jobs: FromClause) -> ColumnElement[bool]:
    """In the very words of the partial indexes: with parameters, neither database would use them."""
    return jobs.c.state.in_([literal_column("'ready'"), literal_column("'running'")])


def _claim() -> ReturningUpdate[*tuple[Any, ...]]:
    earlier = JOBS.alias("earlier")
    due = JOBS.alias("due")
    before_it = exists().where(
        earlier.c.ordering_key == due.c.ordering_key, earlier.c.seq < due.c.seq, _is_open(earlier)
    )
    at = bindparam("at", type_=UtcDateTime)
    found = (
        select(due.c.seq)
        .where(
            _is_open(due),
            or_(
                and_(due.c.state == JobState.READY, due.c.run_at <= at),
                and_(due.c.state == JobState.RUNNING, due.c.locked_until < at),
            ),
            due.c.kind.in_(bindparam("kinds", expanding=True)),
            or_(due.c.ordering_key.is_(None), ~before_it),
        )
        .order_by(due.c.run_at, due.c.seq)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (
        update(JOBS)
        .where(JOBS.c.seq == found.scalar_subquery())
        .values(
            state=JobState.RUNNING,
            attempts=JOBS.c.attempts + 1,
            locked_by=bindparam("worker"),
            locked_until=bindparam("lease", type_=UtcDateTime),
        )
        .returning(JOBS)
    )


# Built once: to build one takes longer than to run it.
_CLAIM: Final = _claim()
_MINE: Final = and_(
    JOBS.c.seq == bindparam("its"),
    JOBS.c.locked_by == bindparam("worker"),
    JOBS.c.attempts == bindparam("attempt"),
)
_FORGET: Final = delete(JOBS).where(_MINE, JOBS.c.dedupe_key.is_(None))
_REMEMBER: Final = (
    update(JOBS).where(_MINE).values(state=JobState.DONE, locked_by=None, locked_until=None)
)
_GIVE_BACK: Final = (
    update(JOBS)
    .where(_MINE)
    .values(
        state=bindparam("then", type_=JOBS.c.state.type),
        run_at=bindparam("again_at", type_=UtcDateTime),
        locked_by=None,
        locked_until=None,
        last_error=bindparam("error"),
    )
)
