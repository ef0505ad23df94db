"""`omnitill-agent firmware`: which software readers were to get here, and how that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commandline import add_command, complain, write_json

if TYPE_CHECKING:
    import argparse

    from agent.commandline import Subparsers

EXAMPLE = """
omnitill-agent firmware status
"""
NOTES = """
May be run while the agent works. One line for each update, the newest last: its state, how often a transfer was begun,
which version ran before and which is wanted, and what there is to say of it.
"""


def register(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "firmware",
        run,
        summary="show updates of readers",
        example=EXAMPLE,
        notes=NOTES,
    )
    parser.add_argument("what", choices=["status"])
    parser.add_argument("--config", metavar="FILE", help="settings; only state_dir is used here")
    parser.add_argument("--state-dir", metavar="DIR", help="where the journal is kept")


def run(arguments: argparse.Namespace) -> int:
    from agent.logs import configure_logs

    configure_logs("console", "error")

    import contextlib
    import sqlite3
    from pathlib import Path

    from agent.config import load
    from agent.errors import AgentError
    from agent.firmware import jobs
    from agent.journal import open_read_only

    try:
        config = load(Path(arguments.config) if arguments.config else None)
        folder = Path(arguments.state_dir or config.state_dir)
        with contextlib.closing(open_read_only(folder)) as db:
            try:
                known = jobs.everything(db)
            except sqlite3.OperationalError:
                # An agent that never ran with this version has no such table.
                known = []
    except AgentError as error:
        complain(error.message)
        return 1
    for job in known:
        write_json(
            {
                "job_id": job.id,
                "reader_id": job.reader_id,
                "state": job.state.value,
                "attempts": job.attempts,
                "version_before": job.version_before,
                "version": job.version,
                "text": job.text,
            }
        )
    return 0
