"""``omnitill stripe``: connects an account, tells how it is, imports its history, lists its readers."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from control_plane.accounts import queries
from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.config import Settings
from control_plane.db.scope import Scope
from control_plane.errors import DomainError, RequestRefused
from control_plane.parts import Parts
from control_plane.virtual_terminal import accounts, cloud_readers, importing, inbox
from control_plane.virtual_terminal.accounts import Accounts, AccountView, Keys
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.errors import NotConnected
from control_plane.virtual_terminal.importing import Importer, ImportView
from control_plane.virtual_terminal.inbox import EventState
from control_plane.virtual_terminal.processor import ProcessorError
from protocols.secret import Secret

_KEY_VARIABLE: Final = "OMNITILL_STRIPE_SECRET_KEY"
_WEBHOOK_VARIABLE: Final = "OMNITILL_STRIPE_WEBHOOK_SECRET"
_EXAMPLE: Final = """\
Example:
  omnitill stripe connect --publishable-key pk_test_…      asks for the secret key
  omnitill stripe status
  omnitill stripe import --since 2026-01-01
  omnitill stripe readers
"""
_BAR: Final = 40


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "stripe",
        help="connect a Stripe account, import its history, list its readers",
        description="Look after a merchant's Stripe account.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    connect = _action(actions, "connect", "check keys with Stripe, and keep them sealed", _connect)
    connect.add_argument("--publishable-key", required=True, metavar="pk_…")
    connect.add_argument(
        "--secret-key-stdin",
        action="store_true",
        help=f"read the secret key from standard input; else from {_KEY_VARIABLE}, or it is asked for",
    )
    connect.add_argument("--api-base", default="", help="address of a sandbox; empty is Stripe")
    _action(actions, "status", "tell what is connected, and whether its events come", _status)
    _action(actions, "probe", "ask whether cards may be typed for who is not there", _probe)
    take = _action(actions, "import", "take over payments, refunds and disputes", _import)
    take.add_argument(
        "--since",
        required=True,
        type=_day,
        metavar="DATE",
        help="the first day, such as 2026-01-01",
    )
    _action(actions, "readers", "list the readers, as Stripe knows them now", _readers)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Do what was asked; 1 when that is refused, or Stripe does not answer."""
    parts = build(Settings())
    try:
        act: Callable[[Parts, str, argparse.Namespace], None] = chosen.act
        act(parts, merchant_named(parts, chosen.merchant), chosen)
    except DomainError as refused:
        print(refused, file=sys.stderr)
        return 1
    except ProcessorError as failure:
        print(f"Stripe did not do it: {failure}. Try again.", file=sys.stderr)
        return 1
    finally:
        parts.close()
    return 0


def merchant_named(parts: Parts, wanted: str | None) -> str:
    """The id of a merchant by name or id; the only one when none is named. Raises RequestRefused."""
    with parts.database.reading() as db:
        merchants = queries.merchants(db)
    found = [one.id for one in merchants if wanted is None or wanted in {one.id, one.name}]
    if len(found) == 1:
        return str(found[0])
    if not found:
        raise RequestRefused(reason="There is no such merchant. See: omnitill user add --help")
    raise RequestRefused(reason="There are several merchants. Name one with --merchant.")


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
    if chosen.secret_key_stdin:
        secret = sys.stdin.readline().strip()
    else:
        secret = os.environ.get(_KEY_VARIABLE) or getpass.getpass("Secret key: ")
    webhook = os.environ.get(_WEBHOOK_VARIABLE)
    account = parts.get(Accounts).connect(
        merchant_id,
        SYSTEM,
        Keys(
            secret_key=Secret(secret),
            publishable_key=chosen.publishable_key,
            webhook_secret=None if webhook is None else Secret(webhook),
            api_base=chosen.api_base,
        ),
        webhook_url=accounts.webhook_address(parts.settings.base_url),
    )
    print(f"Connected {account.account_id}.")
    _tell(parts, account)


def _status(parts: Parts, merchant_id: str, chosen: argparse.Namespace) -> None:
    del chosen
    _tell(parts, _account(parts, merchant_id))


def _probe(parts: Parts, merchant_id: str, chosen: argparse.Namespace) -> None:
    del chosen
    _tell(parts, parts.get(Accounts).probe(merchant_id, SYSTEM))


def _import(parts: Parts, merchant_id: str, chosen: argparse.Namespace) -> None:
    with parts.database.connection() as db:
        begun = importing.begin(db, merchant_id, SYSTEM, chosen.since, by_job=False)
    state = begun
    for state in parts.get(Importer).run(begun.id):
        _draw(state)
    print(file=sys.stderr)
    print(
        f"Imported {state.payments} payments, {state.refunds} refunds, {state.disputes} disputes."
    )


def _readers(parts: Parts, merchant_id: str, chosen: argparse.Namespace) -> None:
    del chosen
    _account(parts, merchant_id)
    parts.get(ReaderFleet).sync(merchant_id)
    with parts.database.reading() as db:
        found = cloud_readers.readers(db, Scope(merchant_id=merchant_id))
    if not found:
        print("There is no Stripe reader yet. Register one under Readers.")
    for one in found:
        print(f"{one.name}: {one.status}, {one.model}, {one.serial_number} ({one.id})")


def _account(parts: Parts, merchant_id: str) -> AccountView:
    with parts.database.reading() as db:
        account = accounts.account_of(db, merchant_id)
    if account is None:
        raise NotConnected
    return account


def _tell(parts: Parts, account: AccountView) -> None:
    with parts.database.reading() as db:
        last = inbox.newest(db, account.merchant_id)
        parked = inbox.count(db, account.merchant_id, EventState.PARKED)
    moto = {True: "allowed", False: "not allowed", None: "not found out"}[account.moto_enabled]
    facts = {
        "Account": account.account_id,
        "Money": "real" if account.livemode else "play money",
        "Address": account.api_base or accounts.API_BASE,
        "Country": f"{account.country}, {account.default_currency}",
        "Telephone orders": moto,
        "Webhook": accounts.webhook_address(parts.settings.base_url, account.id),
        "Webhook secrets": str(account.webhook_secrets),
        "Last event": f"{last[0].kind} at {last[0].received_at:%Y-%m-%d %H:%M} UTC"
        if last
        else "none",
        "Parked events": str(parked),
    }
    for name, value in facts.items():
        print(f"{name + ':':18}{value}")


def _draw(state: ImportView) -> None:
    """On standard error, so that the output can be kept."""
    done = round(state.progress() * _BAR)
    bar = "█" * done + "·" * (_BAR - done)
    reached = f" back to {state.reached_at:%Y-%m-%d}" if state.reached_at is not None else ""
    print(f"\r{bar} {state.taken} objects{reached}", end="", file=sys.stderr, flush=True)


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it like 2026-01-01") from None
