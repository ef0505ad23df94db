"""`omnitill-agent readers`: what is plugged in or heard, which profiles fit, and who answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from agent.commandline import add_command, complain, write_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from agent.commandline import Subparsers
    from agent.config import AgentConfig
    from agent.discovery.sighting import Sighting
    from firmware_profiles import ReaderProfile

EXAMPLE = """
omnitill-agent readers
omnitill-agent readers --probe
omnitill-agent readers --all --json
omnitill-agent readers --ble 10
"""
NOTES = """
Lists USB devices that may be readers (--all: every one of them) with the profiles that fit and their points. With
--probe each is asked who it is, one at a time, with questions that move no money; what the running agent holds is busy
then. A reader that the configuration names is not asked.
Exit code: 0 something was found, 1 nothing was.
"""


def register(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "readers",
        run,
        summary="list the readers that are plugged in or heard, and ask who they are",
        example=EXAMPLE,
        notes=NOTES,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="settings (default: /etc/omnitill/agent.toml)"
    )
    parser.add_argument("--all", action="store_true", help="also what no reader maker made")
    parser.add_argument("--probe", action="store_true", help="ask each who it is")
    parser.add_argument("--ble", type=float, metavar="SECONDS", help="listen for radio readers too")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    import asyncio
    from pathlib import Path

    import structlog

    from agent.config import load
    from agent.errors import AgentError

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        config = load(Path(arguments.config) if arguments.config else None)
        return asyncio.run(_look(arguments, config))
    except AgentError as error:
        complain(error.message)
        return 1


async def _look(arguments: argparse.Namespace, config: AgentConfig) -> int:
    from agent.discovery import usb_watch
    from agent.discovery.finder import bridges
    from agent.discovery.sighting import loader_of, may_be_reader, ranked
    from agent.profiles import choose
    from firmware_profiles import load_all

    refused = choose(config)
    profiles, faults = load_all()
    for fault in [*refused, *faults]:
        complain(str(fault))
    seen = usb_watch.present(bridges(profiles.values()))
    if arguments.ble:
        seen += await _heard(arguments.ble, profiles)
    count = 0
    for one in seen:
        known = profiles.values()
        if not (arguments.all or ranked(known, one) or loader_of(known, one)) and not (
            may_be_reader(known, one)
        ):
            continue
        count += 1
        facts = await _examine(one, profiles, config, may_probe=arguments.probe)
        if arguments.json:
            write_json(facts)
        else:
            sys.stdout.write(_in_lines(facts))
    if not count and not arguments.json:
        sys.stdout.write("Nothing that may be a reader is plugged in. --all lists everything.\n")
    return 0 if count else 1


async def _heard(seconds: float, profiles: Mapping[str, ReaderProfile]) -> list[Sighting]:
    """Raises TransportUnavailable."""
    from agent.discovery.ble_watch import sighting
    from agent.transports.ble_scan import heard

    rules = [rule for profile in profiles.values() for rule in profile.match.ble if rule.enabled]
    services = sorted({rule.service for rule in rules if rule.service})
    found = [sighting(one) async for one in heard(seconds, services=services)]
    return list({one.place: one for one in found}.values())


async def _examine(
    one: Sighting, profiles: Mapping[str, ReaderProfile], config: AgentConfig, *, may_probe: bool
) -> dict[str, Any]:  # JSON
    from agent.clock import SystemClock
    from agent.discovery.finder import is_meant
    from agent.discovery.probing import ask_in_turn, probe
    from agent.discovery.sighting import loader_of, ranked

    loader = loader_of(profiles.values(), one)
    configured = next((r.name for r in config.readers if is_meant(r.address, one)), None)
    points = ranked(profiles.values(), one)
    facts: dict[str, Any] = {
        "place": one.place,
        "seen": one.words(),
        "address": one.address,
        "configured": configured,
        "boot_loader_of": loader.id if loader else None,
        "candidates": [{"profile": profile.id, "points": score} for score, profile in points],
    }
    if not may_probe or configured or loader or not one.address:
        return facts
    is_bridge = bool(getattr(one.seen, "is_serial_bridge", False))
    wanted = [profile for _, profile in points]
    if is_bridge:
        wanted = [profiles[name] for name in config.discovery.serial if name in profiles]
    answers = await ask_in_turn(
        wanted,
        lambda profile: probe(
            profile, one.address, currency=config.discovery.currency, clock=SystemClock()
        ),
    )
    facts["tried"] = [
        {"profile": answer.profile_id, "says": answer.words}
        for answer in answers
        if not answer.is_confirmed
    ]
    if answers and (identity := answers[-1].identity) is not None:
        facts["confirmed"] = {
            "profile": answers[-1].profile_id,
            "model": identity.model,
            "serial_number": identity.serial_number,
            "software_version": identity.software_version,
            "says": answers[-1].words,
        }
    return facts


def _in_lines(facts: Mapping[str, Any]) -> str:
    lines = [facts["seen"], f"  address: {facts['address'] or 'none that can be opened'}"]
    if facts["configured"]:
        lines.append(f"  configured as {facts['configured']}")
    if facts["boot_loader_of"]:
        lines.append(f"  in its boot loader (profile {facts['boot_loader_of']})")
    points = [f"{one['profile']} ({one['points']:g})" for one in facts["candidates"]]
    lines.append(f"  profiles that fit: {', '.join(points) or 'none'}")
    lines += [f"  {one['profile']}: {one['says']}" for one in facts.get("tried", ())]
    if confirmed := facts.get("confirmed"):
        named = [confirmed["model"], confirmed["serial_number"], confirmed["software_version"]]
        lines.append(
            f"  it is a {confirmed['profile']}: {', '.join(filter(None, named)) or 'it answers'}"
            + (f" ({confirmed['says']})" if confirmed["says"] else "")
        )
    return "\n".join(lines) + "\n"
