"""The command `omnitill-agent`: finds its sub-commands in `agent/commandline/` and runs one."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import agent
import agent.commandline
import protocols

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns its exit code. Raises SystemExit(2) on a command line that cannot be understood."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _root(agent) != _root(protocols):
        # Both names are common: a folder or package of that name elsewhere would shadow ours silently.
        agent.commandline.complain(
            f"'agent' comes from {_root(agent)} but 'protocols' from {_root(protocols)}; "
            "start omnitill-agent from its own environment"
        )
        return 1
    parsed = build_parser(words[:1]).parse_args(words)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left (`| head`); nothing is wrong.
        sys.stderr.close()
        return 141


def build_parser(wanted: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser with all sub-commands, or with the one `wanted` when there is a module of that name."""
    parser = argparse.ArgumentParser(
        prog="omnitill-agent",
        description="Drives the card readers of a shop and keeps what happened until the cloud has it.",
        epilog="Example:\n  omnitill-agent sale --profile generic-zvt-tcp --address tcp://192.168.1.50:20007 "
        "--amount 12.34 --currency EUR",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    names = [module.name for module in pkgutil.iter_modules(agent.commandline.__path__)]
    for name in [name for name in names if name in wanted] or names:
        importlib.import_module(f"agent.commandline.{name}").register(subparsers)
    return parser


def _root(package: object) -> Path:
    return Path(str(getattr(package, "__file__", ""))).resolve().parent.parent


if __name__ == "__main__":
    sys.exit(main())
