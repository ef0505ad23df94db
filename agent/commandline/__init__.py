"""One module per sub-command of `omnitill-agent`, named like it; adding one needs no list anywhere.

Each has `register(subparsers)`, which adds its parser and sets `run=`: a function from the parsed arguments to an exit
code. A module imports what it needs inside `run`, so that `--help` and the other commands stay quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 (argparse has no public name)

USAGE = 2
"""Exit code for a command line that cannot be understood, as argparse has it."""


def add_command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    example: str,
    notes: str = "",
    add_help: bool = True,
) -> argparse.ArgumentParser:
    """A parser whose help ends with an Example; `example` is one or more lines as they would be typed.

    `add_help`: False for a command that brings a `--help` of its own.
    """
    indented = "\n".join(f"  {line}" for line in example.strip().splitlines())
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=(f"{notes.strip()}\n\n" if notes else "") + f"Example:\n{indented}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=add_help,
    )
    parser.set_defaults(run=run)
    return parser


def write_json(value: Mapping[str, object]) -> None:
    """One JSON object on one line of standard output, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def complain(message: str) -> None:
    """A sentence for the person at the terminal, on standard error."""
    sys.stderr.write(f"omnitill-agent: {message}\n")
    sys.stderr.flush()
