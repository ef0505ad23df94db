"""The acquirer as a program of its own, on a loopback address."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path

import uvicorn

from control_plane.acquirer_sandbox.app import PLAY_SECRET, AcquirerSettings, create_acquirer
from control_plane.acquirer_sandbox.outcomes import OUTCOMES

DESCRIPTION = (
    "Serve a sandbox acquirer for encrypting readers: CyberSource's REST dialect, cards sealed with published "
    "test keys, answers by amount, books, and faults on request. No money moves, nothing leaves this machine."
)
EXAMPLE = f"""\
The last two digits of the amount decide; every other amount is approved:
{chr(10).join(f"  .{digits:02d}  {one.line}" for digits, one in OUTCOMES.items())}

Connect it with: organization omnitill-demo, key sandbox-key-1, shared secret
  {PLAY_SECRET}

Example:
  omnitill acquirer-sandbox --port 12112 --database acquirer.db
  curl http://127.0.0.1:12112/control/balances
"""
_PORT = 12112


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the program."""
    parser.add_argument(
        "--host", type=_loopback, default="127.0.0.1", help="a loopback address (default 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=_PORT, help=f"default {_PORT}")
    parser.add_argument(
        "--database",
        type=Path,
        metavar="FILE",
        help="keep the books here (default: they are not kept)",
    )


def serve(chosen: argparse.Namespace) -> int:
    """Serve until a signal comes; returns the exit code."""
    app = create_acquirer(AcquirerSettings(database=chosen.database))
    print(f"Acquirer at http://{chosen.host}:{chosen.port}", file=sys.stderr, flush=True)  # noqa: T201 - a program
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=chosen.host, port=chosen.port, log_level="critical", access_log=False
        )
    )
    try:
        server.run()
    finally:
        app.state.acquirer.close()
    return 0 if server.started else 1


def _loopback(text: str) -> str:
    try:
        is_loopback = text == "localhost" or ipaddress.ip_address(text).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise argparse.ArgumentTypeError("it listens on this machine only, such as 127.0.0.1")
    return text
