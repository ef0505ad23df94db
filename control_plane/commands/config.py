"""``omnitill config``: layers of settings, their history, and what each device should have, from a terminal."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.commands.firmware import WhichMerchant
from control_plane.config import Settings
from control_plane.configuration import push, revisions
from control_plane.configuration.layers import EVERY_MODEL, LayerKind, difference
from control_plane.configuration.models import REVISIONS
from control_plane.configuration.push import Radius
from control_plane.db.scope import Scope
from control_plane.devices import queries as devices
from control_plane.devices.models import DEVICES
from control_plane.errors import DomainError, NotFound, RequestRefused
from control_plane.parts import Parts

_EXAMPLE: Final = """\
Example:
  omnitill config show                                                  every layer as it stands
  omnitill config set organisation result_timeout_s=90 --dry-run        whom that would touch
  omnitill config set organisation result_timeout_s=90 --note "slow line"
  omnitill config set location Lyon lrc_mode=stx --profile generic-ecr17-tcp
  omnitill config set location Lyon lrc_mode= --profile generic-ecr17-tcp   take it out again
  omnitill config history                                               who changed what, and when
  omnitill config diff 3 7                                              what is different
  omnitill config restore 3                                             every layer as it was; nothing is sent yet
  omnitill config push --device dev-06f3k8a1b2c3d4e5f6g7h8j9k0          send the newest revision
  omnitill config device dev-06f3k8a1b2c3d4e5f6g7h8j9k0                 what it should have, and from where

A change is kept as a revision and sent to nobody until it is pushed or rolled out. An installation of several
merchants needs --merchant with its id or name.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "config",
        help="show, change, compare, restore and push settings of readers",
        description="Settings of readers in layers: organisation, location, box; the nearer one counts.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--merchant", default="", help="id or name; needed when there are several")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="every layer as it stands, or stood")
    show.add_argument("--revision", type=int)
    show.set_defaults(act=_show)
    change = actions.add_parser("set", help="change settings of a layer")
    change.add_argument("kind", choices=["organisation", "location", "group", "device"])
    change.add_argument(
        "words", nargs="+", metavar="[OBJECT] NAME=VALUE", help="a value; empty takes it out"
    )
    change.add_argument(
        "--profile", default=EVERY_MODEL, help="a reader model; without it, every one"
    )
    change.add_argument("--note", default="", help="why")
    change.add_argument("--dry-run", action="store_true", help="only tell whom it would touch")
    change.set_defaults(act=_set)
    history = actions.add_parser("history", help="the newest changes")
    history.add_argument("--limit", type=int, default=20)
    history.set_defaults(act=_history)
    diff = actions.add_parser("diff", help="what is different between two revisions")
    diff.add_argument("before", type=int)
    diff.add_argument("after", type=int)
    diff.set_defaults(act=_diff)
    restore = actions.add_parser("restore", help="make every layer what it was at a revision")
    restore.add_argument("revision", type=int)
    restore.add_argument("--note", default="")
    restore.set_defaults(act=_restore)
    send = actions.add_parser("push", help="send a revision to boxes now")
    send.add_argument("--revision", type=int, help="without it, the newest")
    where = send.add_mutually_exclusive_group(required=True)
    where.add_argument("--device", action="append", default=[], help="may be given several times")
    where.add_argument("--location", default="", help="name or id of a shop")
    where.add_argument("--all", action="store_true", help="every box, without waves")
    send.set_defaults(act=_push)
    device = actions.add_parser(
        "device", help="what a box should have, from where, and whether it has"
    )
    device.add_argument("device")
    device.set_defaults(act=_device)
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


def _show(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.reading() as db:
        caller = _caller(db, chosen.merchant)
        at = revisions.known(db, caller.merchant_id, chosen.revision)
        print(f"Revision {at} of {revisions.newest(db, caller.merchant_id)}")
        for (kind, object_id), layer in sorted(
            revisions.layers_at(db, caller.merchant_id, at).items()
        ):
            print(f"{kind.value} {object_id}")
            for profile, values in sorted(layer.document.items()):
                for name, value in sorted(values.items()):
                    print(f"  {profile:<30} {name} = {json.dumps(value)}")


def _set(parts: Parts, chosen: argparse.Namespace) -> None:
    kind = LayerKind(chosen.kind)
    wanted = "" if "=" in chosen.words[0] else chosen.words.pop(0)
    with parts.database.transaction() as db:
        caller = _caller(db, chosen.merchant)
        object_id = _object(db, caller, kind, wanted)
        before = revisions.newest(db, caller.merchant_id)
        row = revisions.layer_row(
            db, caller.merchant_id, kind, object_id or caller.merchant_id, before
        )
        document = {
            profile: dict(values) for profile, values in (row.document if row else {}).items()
        }
        values = document.setdefault(chosen.profile, {})
        for word in chosen.words:
            name, found, text = word.partition("=")
            if not found:
                raise RequestRefused(field=word, reason="Write it as NAME=VALUE.")
            values.pop(name, None)
            if text:
                values[name] = _value(text)
        if chosen.dry_run:
            layer = revisions.drafted(db, caller, kind, object_id, document)
            _tell(push.radius(db, caller.scope, before, since=before, draft=layer))
            return
        revision = revisions.set_layer(db, caller, kind, object_id, document, note=chosen.note)
        print(f"Revision {revision}. Nothing is sent yet.")
        _tell(push.radius(db, caller.scope, revision, since=before))


def _history(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.reading() as db:
        caller = _caller(db, chosen.merchant)
        newest = revisions.history_of(caller.merchant_id).order_by(REVISIONS.c.number.desc())
        for row in db.execute(newest.limit(chosen.limit)):
            when = row.created_at.isoformat(timespec="seconds")
            print(
                f"{row.number:>5}  {when}  {row.created_by:<20} {row.kind.value} {row.object_id}  {row.note}"
            )


def _diff(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.reading() as db:
        caller = _caller(db, chosen.merchant)
        told = [
            {
                layer.origin: layer.document
                for layer in revisions.layers_at(
                    db, caller.merchant_id, revisions.known(db, caller.merchant_id, revision)
                ).values()
            }
            for revision in (chosen.before, chosen.after)
        ]
        changes = difference(*told)
    for one in changes:
        print(f"{one.path}: {json.dumps(one.before)} -> {json.dumps(one.after)}")
    if not changes:
        print("They are the same.")


def _restore(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.transaction() as db:
        caller = _caller(db, chosen.merchant)
        revision = revisions.restore(db, caller, chosen.revision, note=chosen.note)
    print(f"Revision {revision} is as revision {chosen.revision} was. Nothing is sent yet.")


def _push(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.transaction() as db:
        caller = _caller(db, chosen.merchant)
        revision = revisions.known(db, caller.merchant_id, chosen.revision)
        wanted = [*caller.scope.conditions(DEVICES), DEVICES.c.state.in_(push.WORKING)]
        for device_id in chosen.device:
            if devices.device(db, caller.scope, device_id) is None:
                raise NotFound("device", device_id)
        if chosen.device:
            wanted.append(DEVICES.c.id.in_(chosen.device))
        if chosen.location:
            location_id = _object(db, caller, LayerKind.LOCATION, chosen.location)
            wanted.append(DEVICES.c.location_id == location_id)
        ids = list(db.execute(select(DEVICES.c.id).where(*wanted)).scalars())
        push.push(db, caller.merchant_id, ids, revision, by=SYSTEM)
    print(f"{len(ids)} boxes should have revision {revision}; each is told when it is reached.")


def _device(parts: Parts, chosen: argparse.Namespace) -> None:
    with parts.database.reading() as db:
        device = devices.device_by_id(db, chosen.device)
        if device is None:
            raise NotFound("device", chosen.device)
        row = devices.desired_config(db, device.id)
        newest = revisions.newest(db, device.merchant_id)
        revision = row.revision if row is not None else newest
        answer = push.answers(db, device.merchant_id, [device.id]).get(device.id)
        print(
            f"{device.name}: revision {revision} of {newest}, {answer.state.value if answer else 'nothing sent yet'}"
        )
        for name, why in sorted((answer.errors if answer else {}).items()):
            print(f"  {name}: {why}")
        for reader_id, one in push.provenance(db, device, revision).items():
            print(reader_id)
            for name, value in sorted(one.values.items()):
                print(f"  {name} = {json.dumps(value)}  ({one.origins[name]})")
            for name, refused in one.cannot:
                print(f"  {name} is not taken: {refused}")


def _tell(found: Radius) -> None:
    print(f"It touches {len(found.reader_ids)} readers on {len(found.device_ids)} boxes.")
    for one in found.cannot:
        print(f"  {one.reader_id} cannot take it: {one.refused or 'nobody knows its model'}")


def _caller(db: Session, wanted: str) -> Caller:
    """The system, acting for a merchant."""
    table = accounts.MERCHANTS
    rows = [row for row in db.execute(table.select()).all() if wanted in ("", row.id, row.name)]
    if len(rows) != 1:
        raise WhichMerchant(ids=", ".join(row.id for row in db.execute(table.select())))
    return Caller(kind=CallerKind.USER, id=SYSTEM.id, name=SYSTEM.name, scope=Scope(rows[0].id))


def _object(db: Session, caller: Caller, kind: LayerKind, wanted: str) -> str:
    if kind is not LayerKind.LOCATION:
        return wanted
    table = accounts.LOCATIONS
    found = (
        db.execute(
            select(table.c.id).where(
                table.c.merchant_id == caller.merchant_id,
                (table.c.id == wanted) | (table.c.name == wanted),
            )
        )
        .scalars()
        .all()
    )
    return found[0] if len(found) == 1 else wanted


def _value(text: str) -> Any:
    """``true``, ``90`` and ``stx`` as what they are; quotes make a text of a number."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, bool | int | str) else text
