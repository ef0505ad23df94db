"""The job table, and ``owe``: side effects promised inside a transaction, kept by a worker after it.

One table is queue, outbox and retry list. Delivery is at least once: a handler is idempotent by the id of its
job, or by something in its payload.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, Index, Row, Select, Table, delete, func, insert, select, text, update
from sqlmodel import Field, SQLModel

from control_plane.db.columns import AutoIncrement, Json, UtcDateTime, table_of, text_enum
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Announcement, Transaction, context_of
from control_plane.db.upsert import changed, insert_new
from protocols.ids import new_id

#: The live topic on which workers wait.
WAKE_TOPIC: Final = "jobs"
DEFAULT_ATTEMPTS: Final = 12


class JobState(StrEnum):
    """Where a job is. ``parked`` ones wait for a person."""

    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"


_OPEN = "state IN ('ready', 'running')"


class JobRow(SQLModel, table=True):
    """One promised side effect."""

    __tablename__ = "job"
    __table_args__ = (
        Index(
            "ix_job_due", "run_at", "seq", postgresql_where=text(_OPEN), sqlite_where=text(_OPEN)
        ),
        Index(
            "ix_job_ordering",
            "ordering_key",
            "seq",
            postgresql_where=text(f"ordering_key IS NOT NULL AND {_OPEN}"),
            sqlite_where=text(f"ordering_key IS NOT NULL AND {_OPEN}"),
        ),
        Index("ix_job_merchant_state", "merchant_id", "state"),
    )

    seq: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    id: str = Field(max_length=40, unique=True)
    kind: str = Field(max_length=100)
    payload: dict[str, Any] = Field(sa_type=Json)
    #: Whose job it is, for the Jobs page; None for our own housekeeping.
    merchant_id: str | None = Field(default=None, max_length=40)
    run_at: datetime = Field(sa_type=UtcDateTime)
    state: JobState = Field(default=JobState.READY, sa_type=text_enum(JobState))
    attempts: int = 0
    max_attempts: int = DEFAULT_ATTEMPTS
    ordering_key: str | None = Field(default=None, max_length=200)
    dedupe_key: str | None = Field(default=None, max_length=200, unique=True)
    locked_by: str | None = Field(default=None, max_length=100)
    locked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)


JOBS: Final[Table] = table_of(JobRow)


_INSERT: Final = insert(JOBS).inline()


def owe(
    db: Transaction,
    kind: str,
    payload: dict[str, Any] | None = None,
    *,
    merchant_id: str | None = None,
    run_at: datetime | None = None,
    after: timedelta | None = None,
    ordering_key: str | None = None,
    dedupe_key: str | None = None,
    max_attempts: int = DEFAULT_ATTEMPTS,
) -> str | None:
    """Promise that the job ``kind`` will run with this payload, if the transaction commits.

    Jobs with one ``ordering_key`` run one after the other, in the order in which they were owed; a parked one
    does not hold up the next. A ``dedupe_key`` that was used before makes this a no-op, and the answer None;
    else the answer is the id of the job.
    """
    context = context_of(db)
    now = context.clock.now()
    job_id = new_id("job")
    values = {
        "id": job_id,
        "kind": kind,
        "payload": payload or {},
        "merchant_id": merchant_id,
        "run_at": (run_at or now) + (after or timedelta()),
        "state": JobState.READY,
        "attempts": 0,
        "max_attempts": max_attempts,
        "ordering_key": ordering_key,
        "dedupe_key": dedupe_key,
        "created_at": now,
    }
    if dedupe_key is None:
        db.execute(_INSERT, values)
    elif not insert_new(db, JOBS, values, unique=["dedupe_key"]):
        return None
    context.announce(Announcement(WAKE_TOPIC, {}, key=WAKE_TOPIC))
    return job_id


def jobs_of(scope: Scope, *, state: JobState | None = None) -> Select[*tuple[Any, ...]]:
    """The merchant's jobs, finished ones left out unless asked for."""
    wanted = JOBS.c.state == state if state else JOBS.c.state != JobState.DONE
    return select(JOBS).where(*scope.conditions(JOBS), wanted)


def job_of(db: Transaction, scope: Scope, job_id: str) -> Row[*tuple[Any, ...]] | None:
    """One of the merchant's jobs; locked until the transaction ends."""
    mine = select(JOBS).where(*scope.conditions(JOBS), JOBS.c.id == job_id)
    return db.execute(mine.with_for_update()).one_or_none()


def counts(db: Transaction) -> dict[str, int]:
    """How many jobs are in each state."""
    rows = db.execute(select(JOBS.c.state, func.count().label("jobs")).group_by(JOBS.c.state))
    return {row.state.value: row.jobs for row in rows}


def retry_parked(db: Transaction, seq: int) -> bool:
    """Let a parked job run again, with all its tries."""
    again = update(JOBS).where(JOBS.c.seq == seq, JOBS.c.state == JobState.PARKED)
    now = context_of(db).clock.now()
    return changed(db, again.values(state=JobState.READY, attempts=0, run_at=now)) == 1


def discard_parked(db: Transaction, seq: int) -> bool:
    """Give a parked job up."""
    gone = delete(JOBS).where(JOBS.c.seq == seq, JOBS.c.state == JobState.PARKED)
    return changed(db, gone) == 1
