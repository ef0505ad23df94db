"""What follows from messages of devices, later."""

from __future__ import annotations

from control_plane.ingest.closings import compare
from control_plane.ingest.intake import COMPARE_CLOSING
from control_plane.jobs.catalog import JobRun, job


class ClosingIncomplete(Exception):
    """Rows of the day are still on their way: tried again later."""


@job(COMPARE_CLOSING)
def compare_closing(run: JobRun) -> None:
    """Compare a device's count of a day with the ledger."""
    with run.transaction() as db:
        done = compare(db, run.payload["device_id"], run.payload["epoch"], run.payload["first_seq"])
    if not done:
        raise ClosingIncomplete(run.payload["device_id"])
