"""``omnitill sandbox``: a card processor that is not there."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

import uvicorn

from control_plane.sandbox.app import create_sandbox
from control_plane.sandbox.settings import SandboxSettings
from control_plane.server import end_on_signals

_EXAMPLE = """\
Any key that begins with sk_test_ opens it. Keys of real money are refused; an installation in mode live refuses it.

Example:
  omnitill sandbox --port 12111 --database sandbox.sqlite3
  omnitill stripe connect --merchant "My shop" --api-base http://127.0.0.1:12111
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "sandbox",
        help="run a Stripe-compatible server with play money",
        description=(
            "Run a Stripe-compatible server with play money: payments, refunds, disputes, webhooks, card readers and "
            "card fields. Its control calls under /_sandbox/ tap cards, break connections and turn the clock."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--host", type=_loopback, default="127.0.0.1", help="a loopback address (default 127.0.0.1)"
    )
    parser.add_argument("--port", type=int, default=12111, help="default 12111")
    parser.add_argument(
        "--database", type=Path, help="a SQLite file of its own (default: nothing is kept)"
    )
    parser.add_argument("--name", default="Sandbox Shop", help="of the account's business")
    parser.add_argument("--country", default="US", help="of the account, such as FR (default US)")
    parser.add_argument(
        "--currency", default="usd", help="what the account settles in (default usd)"
    )
    parser.add_argument(
        "--without-moto",
        action="store_true",
        help="an account that may take no mail and telephone orders, as most may not",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    end_on_signals()
    app = create_sandbox(
        SandboxSettings(
            database=chosen.database,
            public_url=f"http://{chosen.host}:{chosen.port}",
            business_name=chosen.name,
            country=chosen.country.upper(),
            default_currency=chosen.currency.lower(),
            moto_enabled=not chosen.without_moto,
        )
    )
    print(f"Play money on http://{chosen.host}:{chosen.port}. Ctrl-C ends it.", flush=True)
    try:
        uvicorn.run(app, host=chosen.host, port=chosen.port, log_level="warning", access_log=False)
    finally:
        app.state.sandbox.close()
    return 0


def _loopback(text: str) -> str:
    """Anybody who reaches it can change what happened there."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if text == "localhost" else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no address of this machine") from None
    if not address.is_loopback:
        raise argparse.ArgumentTypeError(
            "the sandbox is for this machine only, such as 127.0.0.1: it has no passwords"
        )
    return str(address)
