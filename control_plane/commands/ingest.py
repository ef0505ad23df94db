"""``omnitill ingest``: takes in what devices send, and sends them what they are asked."""

from __future__ import annotations

import argparse
import gc
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
  OMNITILL_DATABASE_URL=postgresql://omnitill@db/omnitill \\
  OMNITILL_BROKER__KIND=mosquitto OMNITILL_BROKER__PORT=8883 omnitill ingest --broker
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "ingest",
        help="take in what devices send",
        description=(
            "Take in what devices send over MQTT, and publish commands to them. Start a second one as a standby: "
            "it takes over when the first ends. With --broker this process runs the broker, too."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--broker", action="store_true", help="run the broker in this process")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Take in until a signal comes."""
    settings = Settings()
    configure_logs(settings.log)
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    parts = build(settings)
    # Batches make many small objects and no cycles: collecting after every 700 of them costs a fifth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    roles = {ProcessRole.INGEST, *([ProcessRole.BROKER] if chosen.broker else [])}
    try:
        with running(parts, frozenset(roles)):
            stopping.wait()
    finally:
        parts.close()
    return 0
