"""Alerts: every device and reader is looked at."""

from __future__ import annotations

from datetime import timedelta

import structlog

from control_plane.alerts import watching
from control_plane.jobs.catalog import JobRun, job

log = structlog.get_logger()


@job("alerts.look", every=timedelta(seconds=30))
def look(run: JobRun) -> None:
    """Open and resolve alerts."""
    with run.parts.database.connection() as db:
        opened = watching.look(db)
    if opened:
        log.info("alerts_opened", count=opened)
