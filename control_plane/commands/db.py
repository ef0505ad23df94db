"""``omnitill db``: the schema of the database."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from sqlalchemy import Engine

from control_plane.config import Settings
from control_plane.db import migrate
from control_plane.db.engine import make_engine
from control_plane.db.keyring import load_keyring

_EXAMPLE = """\
Example:
  OMNITILL_DATABASE_URL=postgresql://omnitill@db/omnitill omnitill db upgrade
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "db",
        help="bring the schema of the database up or down, or check it",
        description="Bring the schema of the database up or down, or check it.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    upgrade = actions.add_parser("upgrade", help="bring the schema up; `serve` does it by itself")
    upgrade.add_argument("revision", nargs="?", default="head")
    downgrade = actions.add_parser("downgrade", help="bring the schema down one version")
    downgrade.add_argument("revision", nargs="?", default="-1")
    actions.add_parser("check", help="compare the schema with what this program needs")
    revision = actions.add_parser("revision", help="for developers: write a migration")
    revision.add_argument("message", nargs="?", default="First release")
    revision.add_argument(
        "--rewrite", action="store_true", help="write the first migration anew from all tables"
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Do it; 1 when a check finds a difference."""
    if chosen.action == "revision":
        return _write(chosen.message, rewrite=chosen.rewrite)
    settings = Settings()
    keyring = load_keyring(settings.secret_key.get_secret_value(), [], settings.data_dir)
    engine = make_engine(settings.effective_database_url, keyring=keyring)
    match chosen.action:
        case "upgrade":
            migrate.upgrade(engine, chosen.revision)
        case "downgrade":
            migrate.downgrade(engine, chosen.revision)
        case _:
            return _check(engine)
    print(f"The schema is at {migrate.current(engine) or 'nothing'}.")
    return 0


def _check(engine: Engine) -> int:
    current, newest = migrate.current(engine), migrate.newest()
    if current != newest:
        print(f"The schema is at {current}, and {newest} is needed. Run: omnitill db upgrade")
        return 1
    differences = migrate.differences(engine)
    for line in differences:
        print(line)
    if not differences:
        print(f"The schema is at {current} and is as it should be.")
    return 1 if differences else 0


def _write(message: str, *, rewrite: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(
            f"sqlite:///{folder}/draft.sqlite3", keyring=load_keyring("", [], Path(folder))
        )
        if not rewrite:
            migrate.upgrade(engine)
        written = migrate.draft(engine, message, replace_first=rewrite)
    print(f"Wrote {written}. Read it before you commit it.", file=sys.stderr)
    return 0
