"""What ends payments that nobody ends."""

from __future__ import annotations

from control_plane.jobs.session_deadlines import SessionDeadlines
from control_plane.parts import Parts, ProcessRole


def wire(parts: Parts) -> None:
    """Add the deadlines to the worker."""
    parts.add_service(ProcessRole.WORKER, "session deadlines", lambda: SessionDeadlines(parts))
