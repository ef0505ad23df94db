"""``omnitill serve``: the API and the pages, or everything in one process."""

from __future__ import annotations

import argparse

import structlog

from control_plane.app import build, create_app, running
from control_plane.config import Settings
from control_plane.db import migrate
from control_plane.logs import configure_logs
from control_plane.parts import ProcessRole
from control_plane.server import end_on_signals, make_server

log = structlog.get_logger()

_EXAMPLE = """\
Example:
  OMNITILL_PUBLIC_URL=https://till.example.com omnitill serve --all --port 8000
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "serve",
        help="answer the API and the pages; with --all, do everything else too",
        description=(
            "Answer the API and the pages. With --all this process is also broker, ingest, worker "
            "and scheduler: one shop needs no other. The schema of the database is brought up first."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--all", action="store_true", help="run every role in this process")
    parser.add_argument("--host", help="address to listen on (OMNITILL_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (OMNITILL_PORT)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    given = {name: getattr(chosen, name) for name in ("host", "port")}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    configure_logs(settings.log)
    end_on_signals()
    parts = build(settings)
    roles = frozenset(ProcessRole) if chosen.all else frozenset({ProcessRole.WEB})
    try:
        migrate.upgrade(parts.database.engine)
        server = make_server(create_app(parts), parts)
        with running(parts, roles):
            log.info("serving", address=settings.base_url, roles=sorted(roles))
            server.run()
    finally:
        parts.close()
    return 0 if server.started else 1
