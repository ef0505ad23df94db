"""Closings: what readers told is compared, differences are looked at again, shops close by their own clock."""

from __future__ import annotations

from datetime import timedelta

import structlog

from control_plane.end_of_day import closings
from control_plane.jobs.catalog import JobRun, job

log = structlog.get_logger()


@job("end_of_day.compare", every=timedelta(seconds=20))
def compare(run: JobRun) -> None:
    """Hold new totals against the ledger."""
    with run.transaction() as db:
        compared = closings.take_in(db)
    if compared:
        log.info("closings_compared", count=compared)


@job("end_of_day.look_again", every=timedelta(minutes=5))
def look_again(run: JobRun) -> None:
    """A late result may explain a difference."""
    with run.transaction() as db:
        closings.look_again(db)


@job("end_of_day.ask", every=timedelta(minutes=1))
def ask(run: JobRun) -> None:
    """Ask the readers of shops whose closing time has come."""
    with run.transaction() as db:
        asked = closings.ask_due(db)
    if asked:
        log.info("readers_asked_to_close", count=asked)
