"""``omnitill card-present``: connects the processor of encrypting readers, and tells how it is."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from typing import Final

from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.card_present import accounts, queries
from control_plane.card_present.accounts import CardAccounts
from control_plane.card_present.errors import CardPresentNotConnected
from control_plane.card_present.processor import Access
from control_plane.commands.stripe import merchant_named
from control_plane.config import Settings
from control_plane.errors import DomainError
from control_plane.parts import Parts

_VARIABLE: Final = "OMNITILL_CARD_PRESENT_SECRET"
_EXAMPLE: Final = """\
Example:
  omnitill card-present connect --organization my_shop --key-id 08c94330-…      asks for the shared secret
  omnitill card-present connect --organization omnitill-demo --key-id sandbox-key-1 --api-base http://127.0.0.1:12112
  omnitill card-present status
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "card-present",
        help="connect the processor that takes cards of encrypting readers",
        description="Look after the account that takes cards of MagTek and ID TECH readers: CyberSource. "
        "Stripe does not accept readers of other makers.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    connect = _action(
        actions, "connect", "check a key with CyberSource, and keep it sealed", _connect
    )
    connect.add_argument("--organization", required=True, help="the merchant id at CyberSource")
    connect.add_argument("--key-id", required=True, help="serial number of the shared secret")
    connect.add_argument(
        "--secret-stdin",
        action="store_true",
        help=f"read the shared secret from standard input; else from {_VARIABLE}, or it is asked for",
    )
    connect.add_argument(
        "--live", action="store_true", help="the key is of the live environment: real money"
    )
    connect.add_argument(
        "--api-base", default="", help="address of a sandbox; empty is CyberSource"
    )
    _action(actions, "status", "tell what is connected, and whether it works", _status)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Do what was asked; 1 when that is refused, or CyberSource does not answer."""
    parts = build(Settings())
    try:
        act: Callable[[Parts, str, argparse.Namespace], None] = chosen.act
        act(parts, merchant_named(parts, chosen.merchant), chosen)
    except DomainError as refused:
        print(refused, file=sys.stderr)
        return 1
    finally:
        parts.close()
    return 0


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    act: Callable[[Parts, str, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--merchant", help="name or id; may be left out when there is only one")
    parser.set_defaults(act=act)
    return parser


def _connect(parts: Parts, merchant_id: str, chosen: argparse.Namespace) -> None:
    if chosen.secret_stdin:
        secret = sys.stdin.readline().strip()
    else:
        secret = os.environ.get(_VARIABLE) or getpass.getpass("Shared secret: ")
    access = Access(
        organization=chosen.organization,
        key_id=chosen.key_id,
        secret=secret,
        livemode=chosen.live,
        base=chosen.api_base,
    )
    parts.get(CardAccounts).connect(merchant_id, SYSTEM, access)
    _tell(parts, merchant_id)


def _status(parts: Parts, merchant_id: str, chosen: argparse.Namespace) -> None:
    del chosen
    parts.get(CardAccounts).check(merchant_id)
    _tell(parts, merchant_id)


def _tell(parts: Parts, merchant_id: str) -> None:
    with parts.database.reading() as db:
        account = accounts.account_of(db, merchant_id)
        unsettled = queries.unsettled(db, merchant_id)
    if account is None:
        raise CardPresentNotConnected
    facts = {
        "Processor": "CyberSource",
        "Organization": account.organization,
        "Key": f"…{account.key_hint}",
        "Money": "real" if account.livemode else "play money",
        "Address": account.address,
        "Works": account.problem or "yes",
        "Unsettled": str(unsettled),
    }
    for name, value in facts.items():
        print(f"{name + ':':14}{value}")
