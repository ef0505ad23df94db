"""Goes on with imports of an account's history."""

from __future__ import annotations

from control_plane.jobs.catalog import JobRun, job
from control_plane.virtual_terminal.importing import WORK, Importer


@job(WORK)
def import_history(run: JobRun) -> None:
    """The next part; it promises the one after it."""
    run.parts.get(Importer).work(run.payload["import"])
