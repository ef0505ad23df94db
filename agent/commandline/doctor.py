"""`omnitill-agent doctor`: what is wrong with this box, in plain words, and what helps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agent.commandline import add_command, complain, write_json

if TYPE_CHECKING:
    import argparse

    from agent.commandline import Subparsers
    from agent.doctor import Finding

EXAMPLE = """
omnitill-agent doctor
omnitill-agent doctor --json
omnitill-agent doctor --udev-rules > /etc/udev/rules.d/70-omnitill.rules
"""
NOTES = """
Examines folder, journal, identity, network, clock and every reader, and changes nothing. May be run beside the agent;
what that one holds is left alone. A line that begins with = is for whoever you call about a reader.
Exit code: 0 nothing is bad (there may be something to look at), 1 something is bad or the settings cannot be read,
2 line not understood.
"""


def register(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "doctor",
        run,
        summary="find out what is wrong with this box, and what helps",
        example=EXAMPLE,
        notes=NOTES,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="settings (default: /etc/omnitill/agent.toml)"
    )
    parser.add_argument("--state-dir", metavar="DIR", help="where identity and journal are kept")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--udev-rules",
        action="store_true",
        help="only print the udev rules that let the agent's user open USB readers",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.udev_rules:
        return _print_rules()
    from agent.logs import configure_logs

    configure_logs("console", "error")

    import asyncio
    from pathlib import Path

    import msgspec

    from agent.clock import SystemClock
    from agent.config import load
    from agent.doctor import Health, examine
    from agent.errors import AgentError

    try:
        config = load(Path(arguments.config) if arguments.config else None)
    except AgentError as error:
        complain(error.message)
        return 1
    if arguments.state_dir:
        config = msgspec.structs.replace(config, state_dir=arguments.state_dir)

    async def look() -> int:
        bad = 0
        async for finding in examine(config, SystemClock()):
            bad += finding.health is Health.BAD
            if arguments.json:
                write_json(msgspec.to_builtins(finding))
            else:
                sys.stdout.write(_in_lines(finding))
                sys.stdout.flush()
        return 1 if bad else 0

    return asyncio.run(look())


def _print_rules() -> int:
    from agent.udev_rules import rules
    from firmware_profiles import load_all

    profiles, faults = load_all()
    for fault in faults:
        complain(str(fault))
    sys.stdout.write(rules(profiles.values()))
    return 1 if faults else 0


_SIGNS = {"good": "  ok", "warning": "look", "bad": " BAD", "skipped": "   –"}


def _in_lines(finding: Finding) -> str:
    first = f"{_SIGNS[finding.health.value]}  {finding.name}: {finding.words}\n"
    return (
        first
        + (f"      = {finding.about}\n" if finding.about else "")
        + (f"      → {finding.fix}\n" if finding.fix else "")
    )
