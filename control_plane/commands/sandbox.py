"""``omnitill sandbox``: the Stripe-compatible server for demos and tests."""

from __future__ import annotations

import argparse

from control_plane.sandbox.program import DESCRIPTION, EXAMPLE, add_arguments, serve


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "sandbox",
        help="serve a Stripe-compatible sandbox on this machine",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.set_defaults(run=serve)
