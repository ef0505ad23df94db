"""``omnitill firmware``: releases of reader software, from the server's own terminal."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from pydantic import ValidationError

from control_plane.accounts import queries as accounts
from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.config import Settings
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.authority import Authority
from control_plane.errors import DomainError, RequestRefused
from control_plane.firmware import queries, releases
from control_plane.firmware.models import RELEASES
from control_plane.firmware.releases import Announcement, Shelf
from control_plane.parts import Parts

_EXAMPLE = """\
Example:
  omnitill firmware add cvend.bin --profile feig-cvend-plug --component app --version GER-APP-v2.0.12 \\
      --number 0x20 --vendor-signed
  omnitill firmware list
"""
_PIECE = 4 * 1024 * 1024


class WhichMerchant(RequestRefused):
    """Several merchants, and none was named."""

    code = "which_merchant"
    message = "There are several merchants. Name one with --merchant: {ids}."


class _FileUnreadable(RequestRefused):
    """The file cannot be read, or is nothing for a reader."""

    code = "file_unreadable"
    message = "{path}: {reason}"


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "firmware",
        help="reader software: add releases and list them",
        description="Keep releases of reader software; they are signed when they are added.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a file as a release")
    add.add_argument("file", type=Path)
    add.add_argument(
        "--profile", required=True, help="the reader model, as in omnitill profiles list"
    )
    add.add_argument("--version", required=True, help="as a reader tells it once it runs")
    add.add_argument("--component", default="")
    add.add_argument(
        "--number",
        type=lambda text: int(text, 0),
        default=0,
        help="the reader's own name for the file",
    )
    add.add_argument("--channel", default="stable")
    add.add_argument("--min-current", default="", help="the oldest version that it may follow")
    add.add_argument(
        "--vendor-signed", action="store_true", help="its maker signed the file itself"
    )
    add.add_argument("--notes", default="")
    add.add_argument("--merchant", default="", help="its id, where there are several")
    add.set_defaults(act=_add)
    listing = actions.add_parser("list", help="show all releases")
    listing.add_argument("--merchant", default="", help="its id, where there are several")
    listing.set_defaults(act=_list)
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


def _add(parts: Parts, chosen: argparse.Namespace) -> None:
    settings = parts.settings
    try:
        with chosen.file.open("rb") as file:
            wanted = Announcement(
                profile=chosen.profile,
                component=chosen.component,
                version=chosen.version,
                channel=chosen.channel,
                min_current=chosen.min_current,
                number=chosen.number,
                size=chosen.file.stat().st_size,
                sha256=hashlib.file_digest(file, "sha256").hexdigest(),
                is_vendor_signed=chosen.vendor_signed,
                notes=chosen.notes,
            )
    except OSError as error:
        raise _FileUnreadable(path=str(chosen.file), reason=error.strerror or "") from error
    except ValidationError as error:
        raise _FileUnreadable(path=str(chosen.file), reason=error.errors()[0]["msg"]) from error
    shelf = Shelf(settings.firmware_folder)
    authority = Authority.open(settings.data_dir / "ca", parts.keyring, parts.clock)
    with parts.database.transaction() as db:
        scope = _scope(db, chosen.merchant)
        release = releases.announce(db, scope, wanted, by=SYSTEM)
        offset = 0
        with chosen.file.open("rb") as file:
            while piece := file.read(_PIECE):
                offset = shelf.add(release.id, offset, piece, wanted.size)
        releases.complete(db, scope, release, shelf, authority)
    print(f"{release.id}  {wanted.profile} {wanted.version}, {wanted.size} bytes, signed")


def _list(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.reading() as db:
        statement = queries.releases_of(_scope(db, chosen.merchant)).order_by(
            RELEASES.c.profile, RELEASES.c.created_at
        )
        for one in db.execute(statement):
            print(
                f"{one.id}  {one.state.value:<9} {one.profile:<24} {one.version:<24} {one.component:<8} "
                f"{one.channel:<8} {one.size:>11}  {one.sha256[:16]}"
            )


def _scope(db: Transaction, merchant_id: str) -> Scope:
    ids = [row.id for row in db.execute(accounts.MERCHANTS.select()).all()]
    if merchant_id in ids:
        return Scope(merchant_id)
    if merchant_id or len(ids) != 1:
        raise WhichMerchant(ids=", ".join(ids))
    return Scope(ids[0])
