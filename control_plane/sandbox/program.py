"""The sandbox as a program of its own, on a loopback address."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from pathlib import Path

import uvicorn

from control_plane.sandbox.app import SandboxApi, create_sandbox
from control_plane.sandbox.settings import SandboxSettings

DESCRIPTION = (
    "Serve a Stripe-compatible sandbox: the API, the card fields for browsers, card readers, webhooks, and faults on "
    "request. No money moves, nothing leaves this machine, and a live key is refused."
)
EXAMPLE = """\
Use it with any key that starts with sk_test_ (server) or pk_test_ (browser), and with Stripe's test cards:
  4242 4242 4242 4242 works, 4000 0000 0000 0002 is declined, 4000 0027 6000 3184 asks for 3-D Secure.

Example:
  omnitill sandbox
  omnitill sandbox --port 12111 --database sandbox.db --country FR --currency eur
  omnitill sandbox --webhook http://127.0.0.1:8000/webhooks/stripe
  curl -u sk_test_any: http://127.0.0.1:12111/v1/payment_intents -d amount=1250 -d currency=usd
"""
_PORT = 12111


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
        help="keep everything here (default: nothing is kept)",
    )
    parser.add_argument(
        "--public-url", metavar="URL", help="where browsers reach it (default: the address itself)"
    )
    parser.add_argument("--country", default="US", help="of the account (default US)")
    parser.add_argument(
        "--currency", default="usd", help="that the account is paid in (default usd)"
    )
    parser.add_argument("--business-name", default="Sandbox Shop", metavar="NAME")
    parser.add_argument(
        "--no-moto",
        action="store_true",
        help="an account that may not take keyed orders by phone or mail",
    )
    parser.add_argument(
        "--webhook", metavar="URL", help="send every event there; the secret is printed at start"
    )


def serve(chosen: argparse.Namespace) -> int:
    """Serve until a signal comes; returns the exit code."""
    address = f"http://{chosen.host}:{chosen.port}"
    settings = SandboxSettings(
        database=chosen.database,
        public_url=chosen.public_url or address,
        business_name=chosen.business_name,
        country=chosen.country.upper(),
        default_currency=chosen.currency.lower(),
        moto_enabled=not chosen.no_moto,
    )
    app = create_sandbox(settings)
    api: SandboxApi = app.state.sandbox
    _say(f"Sandbox at {address}")
    if chosen.webhook:
        _say(f"Webhooks to {chosen.webhook}, signed with {webhook_secret(api, chosen.webhook)}")
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=chosen.host, port=chosen.port, log_level="warning", access_log=False
        )
    )
    try:
        server.run()
    finally:
        api.close()
    return 0 if server.started else 1


def webhook_secret(api: SandboxApi, url: str) -> str:
    """Send every event to this address from now on; returns the secret, the same as before if it is there already."""
    sandbox = api.sandbox
    with sandbox.transaction():
        for known in sandbox.store.find("webhook_endpoint"):
            if known["url"] == url:
                return str(known["_secret"])
        secret = sandbox.new_id("whsec_", 32)
        sandbox.create(
            "webhook_endpoint",
            "we_",
            enabled_events=["*"],
            metadata={},
            status="enabled",
            url=url,
            _secret=secret,
        )
    return secret


def main() -> int:
    """``python -m control_plane.sandbox``."""
    parser = argparse.ArgumentParser(
        prog="python -m control_plane.sandbox",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return serve(parser.parse_args())


def _loopback(text: str) -> str:
    try:
        if ipaddress.ip_address(text).is_loopback:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(
        f"{text} is not an address of this machine alone; use 127.0.0.1 or ::1"
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stdout, flush=True)  # noqa: T201 - a program talks to people
