"""``omnitill webhooks``: shows the events that the processor sent, and works on them again."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Final

from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.commands.stripe import merchant_named
from control_plane.config import Settings
from control_plane.errors import DomainError
from control_plane.parts import Parts
from control_plane.virtual_terminal import inbox
from control_plane.virtual_terminal.inbox import EventState, Inbox
from control_plane.virtual_terminal.models import PROCESSOR_EVENTS
from control_plane.virtual_terminal.processor import ProcessorError

_EXAMPLE: Final = """\
Example:
  omnitill webhooks list --state parked
  omnitill webhooks replay --failed                 those that were tried often enough
  omnitill webhooks replay --event evt_1Q2w3E4r5T
  omnitill webhooks replay --since 2026-11-20
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "webhooks",
        help="show the events that Stripe sent, and work on them again",
        description="Look at events of Stripe. Working on one again is harmless: it is only a reason to read.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("list", help="the newest first")
    show.add_argument("--state", type=EventState, choices=list(EventState))
    show.add_argument("--limit", type=int, default=20)
    show.add_argument("--merchant", help="name or id; all when left out")
    again = actions.add_parser("replay", help="work on events once more")
    which = again.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--since", type=_moment, metavar="DATE", help="what came since this day or moment"
    )
    which.add_argument("--event", metavar="evt_…", help="one event")
    which.add_argument("--failed", action="store_true", help="what was parked")
    again.add_argument("--merchant", help="name or id; all when left out")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """List or replay; 1 when something could not be worked on."""
    parts = build(Settings())
    try:
        merchant_id = None if chosen.merchant is None else merchant_named(parts, chosen.merchant)
        if chosen.action == "list":
            _list(parts, merchant_id, chosen)
            return 0
        return _replay(parts, merchant_id, chosen)
    except DomainError as refused:
        print(refused, file=sys.stderr)
        return 1
    finally:
        parts.close()


def _list(parts: Parts, merchant_id: str | None, chosen: argparse.Namespace) -> None:
    wanted = inbox.events_of(merchant_id, state=chosen.state)
    with parts.database.reading() as db:
        rows = db.execute(
            wanted.order_by(PROCESSOR_EVENTS.c.received_at.desc()).limit(chosen.limit)
        ).all()
    for event in map(inbox.view, rows):
        told = f"  {event.last_error.splitlines()[0]}" if event.last_error else ""
        print(
            f"{event.received_at:%Y-%m-%d %H:%M:%S}  {event.state.value:8}{event.event_id}  "
            f"{event.kind}  {event.object_id}{told}"
        )
    if not rows:
        print("There is no such event.")


def _replay(parts: Parts, merchant_id: str | None, chosen: argparse.Namespace) -> int:
    """Here and now: whoever replays wants to see what comes of it. What fails stays owed to the worker."""
    with parts.database.transaction() as db:
        wanted = inbox.events_of(
            merchant_id,
            since=chosen.since,
            event_id=chosen.event,
            state=EventState.PARKED if chosen.failed else None,
        )
        keys = [row.id for row in db.execute(wanted.order_by(PROCESSOR_EVENTS.c.created_at))]
        inbox.replay(
            db,
            SYSTEM,
            merchant_id=merchant_id,
            since=chosen.since,
            event_id=chosen.event,
            failed=chosen.failed,
        )
    worker = parts.get(Inbox)
    failed = 0
    for key in keys:
        try:
            worker.work(key)
        except (ProcessorError, DomainError) as failure:
            failed += 1
            print(f"{key}: {failure}", file=sys.stderr)
    print(f"Worked on {len(keys) - failed} of {len(keys)} events.")
    return 1 if failed else 0


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it like 2026-11-20") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
