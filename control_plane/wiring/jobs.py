"""The worker and the scheduler."""

from __future__ import annotations

from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.scheduler import AdvisoryLock, Leadership, LockFile, Scheduler
from control_plane.jobs.worker import Worker
from control_plane.parts import Parts, ProcessRole


def wire(parts: Parts) -> None:
    """Add both to their roles."""
    kinds = all_jobs()
    parts.add_service(
        ProcessRole.WORKER,
        "worker",
        lambda: Worker(parts, kinds, threads=parts.settings.worker_threads),
    )
    parts.add_service(
        ProcessRole.SCHEDULER, "scheduler", lambda: Scheduler(parts, kinds, _leadership(parts))
    )


def _leadership(parts: Parts) -> Leadership:
    if parts.database.is_sqlite:
        return LockFile(parts.settings.data_dir / "scheduler.lock")
    return AdvisoryLock(parts.database.conninfo)
