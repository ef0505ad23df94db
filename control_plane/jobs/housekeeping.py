"""What is tidied up by itself."""

from __future__ import annotations

from datetime import timedelta

import structlog

from control_plane.accounts.sign_in import forget_old
from control_plane.devices.clones import forget_old as forget_old_lives
from control_plane.http.idempotency import forget_old_keys
from control_plane.jobs import job_queue
from control_plane.jobs.catalog import JobRun, job
from control_plane.support.service import forget_old as forget_old_logs

log = structlog.get_logger()


@job("housekeeping.forget", every=timedelta(hours=1))
def forget(run: JobRun) -> None:
    """Delete sign-ins, counters, stored answers, finished jobs and logs of boxes that no longer matter."""
    with run.transaction() as db:
        sign_ins = forget_old(db)
        answers = forget_old_keys(db)
        jobs = job_queue.forget_done(db)
        logs = forget_old_logs(db)
        forget_old_lives(db)
    log.info("old_rows_forgotten", sign_ins=sign_ins, answers=answers, jobs=jobs, logs=logs)
