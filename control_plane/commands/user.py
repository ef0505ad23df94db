"""``omnitill user``: makes the first user of a merchant, and helps who lost every way in."""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from sqlalchemy.orm import Session

from control_plane.accounts import queries, service
from control_plane.accounts.permissions import Role
from control_plane.app import build
from control_plane.config import Settings
from control_plane.db import migrate
from control_plane.errors import DomainError, RequestRefused

_PASSWORD_VARIABLE = "OMNITILL_USER_PASSWORD"  # noqa: S105 - a name, no password
_EXAMPLE = """\
Example:
  omnitill user add ada@example.com --role owner --merchant "Café Lumière"
  echo "$PASSWORD" | omnitill user add noe@example.com --role cashier --location Lyon --password-stdin
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "user",
        help="add a user",
        description="Add a user who can sign in at once.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a user, and the merchant if it is new")
    add.add_argument("email")
    add.add_argument("--role", type=Role, choices=list(Role), default=Role.OWNER)
    add.add_argument("--name", help="the person's name; the address when left out")
    add.add_argument("--merchant", help="name or id; may be left out when there is only one")
    add.add_argument(
        "--location",
        action="append",
        help="name or id of a shop to confine the user to; made if it is new; may be repeated",
    )
    add.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Add the user; 1 when that is refused."""
    parts = build(Settings())
    try:
        password_hash = parts.passwords.hash(_password(from_stdin=chosen.password_stdin))
        migrate.upgrade(parts.database.engine)
        with parts.database.transaction() as db:
            merchant_id = _merchant(db, chosen.merchant)
            locations = [_location(db, merchant_id, name) for name in chosen.location or ()]
            user_id = service.create_user(
                db,
                merchant_id,
                email=chosen.email,
                name=chosen.name or chosen.email,
                role=chosen.role,
                password_hash=password_hash,
                location_ids=locations or None,
            )
    except DomainError as refused:
        print(refused, file=sys.stderr)
        return 1
    finally:
        parts.close()
    print(f"Added {chosen.email} as {chosen.role} ({user_id}, {merchant_id}).")
    return 0


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if _PASSWORD_VARIABLE in os.environ:
        return os.environ[_PASSWORD_VARIABLE]
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        raise RequestRefused(reason="The two passwords are not the same. Start again.")
    return first


def _merchant(db: Session, wanted: str | None) -> str:
    merchants = queries.merchants(db)
    if wanted is None:
        if len(merchants) > 1:
            raise RequestRefused(reason="There are several merchants. Name one with --merchant.")
        return merchants[0].id if merchants else service.create_merchant(db, "My shop")
    found = [one.id for one in merchants if wanted in {one.id, one.name}]
    if len(found) > 1:
        raise RequestRefused(reason=f"Several merchants are called {wanted}. Give the id instead.")
    return found[0] if found else service.create_merchant(db, wanted)


def _location(db: Session, merchant_id: str, wanted: str) -> str:
    table = queries.LOCATIONS
    found = db.execute(
        table.select().where(
            table.c.merchant_id == merchant_id, (table.c.id == wanted) | (table.c.name == wanted)
        )
    ).first()
    return found.id if found else service.create_location(db, merchant_id, wanted)
