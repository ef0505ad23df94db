"""The command ``omnitill``. Sub-commands are modules of ``control_plane.commands``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

import control_plane.commands
from control_plane.discovery import names_in

_EXAMPLE = """\
Example:
  omnitill demo                 a whole shop on this machine, with simulated readers
  omnitill serve --all          one shop, one process
  omnitill doctor               what is not right, and how to mend it
"""
_CANNOT_START = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="omnitill",
        description="The cloud side of Omnitill: payments, readers, the ledger and the web pages.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"omnitill {version('omnitill')}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = names_in(control_plane.commands)
    # Importing one command is quick, importing all is not.
    wanted = [name for name in names if given[:1] == [name.replace("_", "-")]] or names
    for name in wanted:
        import_module(f"control_plane.commands.{name}").register(subparsers)
    return _run(parser.parse_args(given))


def _run(chosen: argparse.Namespace) -> int:
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError

    from control_plane.db.keyring import SecretKeyUnusable

    try:
        code: int = chosen.run(chosen)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        return _explain(f"The settings cannot be used. {wrong}.")
    except SecretKeyUnusable as error:
        return _explain(f"The secret key cannot be used: {error}.")
    except DBAPIError as error:
        return _explain(f"The database does not answer: {str(error.orig).strip().splitlines()[0]}")
    return code


def _explain(sentence: str) -> int:
    print(f"{sentence}\nRun `omnitill doctor` to see what to mend.", file=sys.stderr)  # noqa: T201
    return _CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
