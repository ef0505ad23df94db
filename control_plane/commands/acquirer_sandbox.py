"""``omnitill acquirer-sandbox``: an acquirer for encrypting readers, for demos and tests."""

from __future__ import annotations

import argparse

from control_plane.acquirer_sandbox.program import DESCRIPTION, EXAMPLE, add_arguments, serve


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "acquirer-sandbox",
        help="serve a sandbox acquirer for encrypting readers on this machine",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.set_defaults(run=serve)
