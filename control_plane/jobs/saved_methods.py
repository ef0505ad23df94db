"""Lets the processor forget what was removed here."""

from __future__ import annotations

from control_plane.customers.methods import DETACH
from control_plane.jobs.catalog import JobRun, job
from control_plane.virtual_terminal import saved_methods
from control_plane.virtual_terminal.desk import Desk


@job(DETACH)
def detach(run: JobRun) -> None:
    """Detach one method. Raises ProcessorNotReached, to be tried again."""
    payload = run.payload
    office = run.parts.get(Desk).office
    saved_methods.forget(office, payload["merchant_id"], payload["processor_id"])
