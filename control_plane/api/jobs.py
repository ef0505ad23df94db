"""Jobs that wait, and parked ones, which a person lets run again or discards."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from control_plane import outbox
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.errors import Conflict, NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.outbox import JOBS, JobState

router = APIRouter(prefix="/v1", tags=["jobs"])

Id = Annotated[str, Path(max_length=64)]


class JobNotParked(Conflict):
    """Only a parked job waits for a person."""

    code = "job_not_parked"
    message = "The job {id} is not parked: it runs by itself, or was dealt with. Reload the list."


class JobOut(BaseModel):
    """A promised side effect."""

    id: str = Field(examples=["job_01k9m3v6x2e8t4q7w5y1z0a2b3"])
    kind: str = Field(examples=["devices.send_command"])
    state: JobState
    attempts: int
    max_attempts: int
    run_at: datetime
    created_at: datetime
    last_error: str | None


@router.get("/jobs")
def jobs(
    db: ReadDb,
    page: PageOf,
    caller: Annotated[Caller, requires(Permission.JOB_VIEW)],
    state: JobState | None = None,
) -> Page[JobOut]:
    """The merchant's jobs, newest first."""
    return page.read(db, outbox.jobs_of(caller.scope, state=state), [JOBS.c.seq], _job_out)


@router.post("/jobs/{job_id}/retry")
def retry(db: Db, job_id: Id, caller: Annotated[Caller, requires(Permission.JOB_MANAGE)]) -> JobOut:
    """Let a parked job run again, with all its tries."""
    job = _parked(db, caller, job_id)
    outbox.retry_parked(db, job.seq)
    _audit(db, caller, AuditTag.JOB_RETRY, job)
    return _job_out(outbox.job_of(db, caller.scope, job_id))


@router.post("/jobs/{job_id}/discard", status_code=204)
def discard(db: Db, job_id: Id, caller: Annotated[Caller, requires(Permission.JOB_MANAGE)]) -> None:
    """Give a parked job up; what it was to do is not done."""
    job = _parked(db, caller, job_id)
    outbox.discard_parked(db, job.seq)
    _audit(db, caller, AuditTag.JOB_DISCARD, job)


def _parked(db: Db, caller: Caller, job_id: str) -> Any:
    job = outbox.job_of(db, caller.scope, job_id)
    if job is None:
        raise NotFound("job", job_id)
    if job.state is not JobState.PARKED:
        raise JobNotParked(id=job_id)
    return job


def _audit(db: Db, caller: Caller, tag: AuditTag, job: Any) -> None:
    record(
        db, caller.merchant_id, caller.actor, tag,
        object_id=job.id, object_name=job.kind, before={"last_error": job.last_error},
    )  # fmt: skip


def _job_out(row: Any) -> JobOut:
    return JobOut(
        id=row.id,
        kind=row.kind,
        state=row.state,
        attempts=row.attempts,
        max_attempts=row.max_attempts,
        run_at=row.run_at,
        created_at=row.created_at,
        last_error=row.last_error,
    )
