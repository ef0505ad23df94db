"""``omnitill worker``: runs owed jobs, and stands by as the scheduler."""

from __future__ import annotations

import argparse
import signal
import threading
from types import FrameType

import structlog

from control_plane.app import build, running
from control_plane.config import Settings
from control_plane.logs import configure_logs
from control_plane.parts import ProcessRole

log = structlog.get_logger()

_EXAMPLE = """\
Example:
  OMNITILL_DATABASE_URL=postgresql://omnitill@db/omnitill omnitill worker --threads 8
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "worker",
        help="run owed jobs",
        description=(
            "Run owed jobs: deliver commands, webhooks and mail, tidy up. Start as many as you like; "
            "one of them is the scheduler, and another takes over when it ends."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, help="jobs at a time (OMNITILL_WORKER_THREADS)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Work until a signal comes."""
    settings = Settings(**({"worker_threads": chosen.threads} if chosen.threads else {}))
    configure_logs(settings.log)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    parts = build(settings)
    try:
        with running(parts, frozenset({ProcessRole.WORKER, ProcessRole.SCHEDULER})):
            stopping.wait()
    finally:
        parts.close()
    return 0
