"""``omnitill audit``: shows whether the activity log was altered."""

from __future__ import annotations

import argparse

from control_plane.app import build
from control_plane.audit.verification import Verdict, merchants_with_events, verify
from control_plane.config import Settings

_EXAMPLE = """\
Example:
  omnitill audit verify                              every merchant
  omnitill audit verify mer_01k9m3v6x2e8t4q7w5y1z0a2b3
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "audit",
        help="show whether the activity log was altered",
        description=(
            "Walk the chain of the activity log and tell every event that was changed, removed, moved "
            "or added. Exits with 1 when something was."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("verify", help="walk the chains")
    check.add_argument("merchant", nargs="*", help="only these merchants")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print one verdict a merchant; 1 when one is not intact."""
    parts = build(Settings())
    try:
        with parts.database.reading() as db:
            merchants = chosen.merchant or merchants_with_events(db)
            verdicts = [verify(db, merchant_id) for merchant_id in merchants]
    finally:
        parts.close()
    for verdict in verdicts:
        _print(verdict)
    if not verdicts:
        print("There is no activity yet.")
    return 0 if all(verdict.is_intact for verdict in verdicts) else 1


def _print(verdict: Verdict) -> None:
    if verdict.is_intact:
        print(f"{verdict.merchant_id}: intact, {verdict.events} events.")
        return
    print(f"{verdict.merchant_id}: altered. {verdict.events} events are there.")
    for finding in verdict.findings:
        print(f"  {finding.kind}: {finding.sentence}")
