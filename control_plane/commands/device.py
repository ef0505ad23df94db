"""``omnitill device``: codes with which devices come, and who is there, from the server's own terminal."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.accounts import queries as accounts
from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.config import Settings
from control_plane.db.scope import Scope
from control_plane.devices import enrollment, queries, service
from control_plane.devices.queries import DeviceFilter
from control_plane.errors import DomainError, NotFound, RequestRefused
from control_plane.parts import Parts

_EXAMPLE = """\
Example:
  omnitill device code --location Lyon --uses 5 --expires 2d
  omnitill device list
  omnitill device revoke dev-06f3k8a1b2c3d4e5f6g7h8j9k0
"""
_UNITS = {"m": 60, "h": 3_600, "d": 86_400}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "device",
        help="make enrolment codes; list and revoke devices",
        description="Make codes with which boxes become devices; list and revoke devices.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    code = actions.add_parser("code", help="make an enrolment code; it is shown once")
    code.add_argument("--location", required=True, help="name or id of a shop")
    code.add_argument("--uses", type=int, default=1, help="how many boxes it lets in")
    code.add_argument(
        "--expires", type=_duration, default=enrollment.CODE_LIFETIME, metavar="24h",
        help="how long it works: minutes, hours or days, such as 30m, 24h, 7d",
    )  # fmt: skip
    code.add_argument("--note", default="", help="what it is for")
    code.add_argument("--replaces", metavar="DEVICE", help="the device whose place the box takes")
    code.set_defaults(act=_code)
    listing = actions.add_parser("list", help="show all devices")
    listing.add_argument("--all", action="store_true", help="retired and replaced ones, too")
    listing.set_defaults(act=_list)
    revoke = actions.add_parser("revoke", help="cut a device off; it comes back only with a code")
    revoke.add_argument("device", help="its id")
    revoke.set_defaults(act=_revoke)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Do what was chosen; 1 when that is refused."""
    parts = build(Settings())
    try:
        chosen.act(parts, chosen)
    except DomainError as refused:
        print(refused, file=sys.stderr)
        return 1
    finally:
        parts.close()
    return 0


def _code(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.transaction() as db:
        merchant_id, location_id = _location(db, chosen.location)
        _, code = enrollment.issue_code(
            db,
            Scope(merchant_id),
            location_id,
            by=SYSTEM,
            note=chosen.note,
            lifetime=chosen.expires,
            max_uses=chosen.uses,
            replaces_id=chosen.replaces,
        )
    print(code.reveal())


def _list(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.reading() as db:
        merchants = db.execute(accounts.MERCHANTS.select()).all()
        for merchant in merchants:
            wanted = DeviceFilter(with_ended=chosen.all)
            after = None
            while page := queries.devices(db, Scope(merchant.id), wanted, after=after):
                for row in page:
                    reach = "online" if row.is_online else "offline"
                    seen = (
                        row.last_seen_at.isoformat(timespec="seconds")
                        if row.last_seen_at
                        else "never"
                    )
                    print(f"{row.id}  {row.state.value:<10} {reach:<8} {seen:<25} {row.name}")
                after = (page[-1].name, page[-1].id)


def _revoke(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.transaction() as db:
        device = queries.device_by_id(db, chosen.device)
        if device is None:
            raise NotFound("device", chosen.device)
        service.revoke(db, Scope(device.merchant_id), device.id, by=SYSTEM)
    print(f"Revoked {chosen.device}. Its connection ends within seconds.")


def _location(db: Session, wanted: str) -> tuple[str, str]:
    table = accounts.LOCATIONS
    found = db.execute(
        table.select().where((table.c.id == wanted) | (table.c.name == wanted))
    ).all()
    if len(found) != 1:
        raise NotFound("location", wanted) if not found else _SeveralLocations(name=wanted)
    return found[0].merchant_id, found[0].id


class _SeveralLocations(RequestRefused):
    """A name that several merchants use."""

    code = "several_locations"
    message = "Several locations are called {name}. Give the id of the one that you mean."


def _duration(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        raise argparse.ArgumentTypeError("write it like 30m, 24h or 7d")
    return timedelta(seconds=int(number) * _UNITS[unit])
