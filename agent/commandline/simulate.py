"""`omnitill-agent simulate`: a card reader that is not there, on TCP, a pty, USB or Bluetooth."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.commandline import USAGE, add_command, complain, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from agent.commandline import Subparsers
    from agent.simulator.places import Place
    from agent.simulator.reader import StateFile
    from protocols.readers.protocol import TerminalMachine

UNREACHABLE = 1
_NOTES = """Prints one JSON line when hosts can connect: address and profile to give to the agent, control port, process
id, and for USB and Bluetooth the environment in which the agent finds the reader.
--control: GET / is a page with buttons, GET /state its own books, POST /actions/NAME does what the page's button does:
  curl -X POST http://127.0.0.1:PORT/actions/unplug
  curl -X POST http://127.0.0.1:PORT/actions/fault -d '{"name": "nak"}'
Exit code: 0 when told to stop (Ctrl-C, SIGTERM), 1 when the place is taken or something is not installed,
2 for a line not understood."""
_EXAMPLE = """
omnitill-agent simulate zvt --tcp 127.0.0.1:20007
omnitill-agent simulate zvt --pty /tmp/ttyPOS --state /tmp/pos.json --control 127.0.0.1:0
omnitill-agent simulate zvt --tcp 127.0.0.1:20007 --fault nak:3 bad_crc:0.05 --decline 33
omnitill-agent simulate ecr17 --tcp 127.0.0.1:10000 --script manual --control 127.0.0.1:8800
omnitill-agent simulate idtech_neo --pty /tmp/ttyVP3300
omnitill-agent simulate magtek_mms --ble --control 127.0.0.1:0
omnitill-agent simulate magtek_mms --usb"""


@dataclass(frozen=True, slots=True)
class _Plan:
    machine: TerminalMachine
    state: StateFile | None
    place: AbstractAsyncContextManager[Place]
    profile_id: str
    control_at: tuple[str, int] | None


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "simulate",
        run,
        summary="play a card reader on TCP, a pty, USB or Bluetooth, with every fault a real one has",
        example=_EXAMPLE,
        notes=_NOTES,
        add_help=False,
    )
    parser.add_argument(
        "-h",
        "--help",
        action=_Help,
        help="show this; after a protocol's name also its stories, faults and actions",
    )
    parser.add_argument(
        "protocol", help="name of the protocol: zvt, ecr17, concert, magtek_mms or idtech_neo"
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", metavar="HOST:PORT", help="listen here; port 0 takes a free one")
    where.add_argument(
        "--pty", metavar="PATH", help="make a pty and a link PATH to it, gone at the end"
    )
    where.add_argument(
        "--usb", action="store_true", help="on a USB bus of its own (package umockdev)"
    )
    where.add_argument(
        "--ble",
        nargs="?",
        const="",
        metavar="MAC",
        help="on a Bluetooth radio of its own (package dbus)",
    )
    parser.add_argument(
        "--serial",
        action="store_true",
        help="serial framing also on TCP; on a pty that is always so",
    )
    parser.add_argument(
        "--profile", metavar="ID", help="be this model; otherwise the most general one that fits"
    )
    parser.add_argument(
        "--fault", nargs="+", action="extend", default=[], metavar="NAME", help="what goes wrong"
    )
    story = parser.add_mutually_exclusive_group()
    story.add_argument("--script", metavar="STORY", help="the story of every payment")
    story.add_argument(
        "--decline",
        metavar="CODE",
        help="decline every payment with this result code as on the line; zvt in hex: 05, or 33 for the bank's 51",
    )
    parser.add_argument(
        "--state", metavar="FILE", help="remember receipts and totals here, through kill -9 too"
    )
    parser.add_argument(
        "--control", metavar="HOST:PORT", help="HTTP port to look at it and to play tricks on it"
    )
    parser.add_argument("--name", default="", help="what its page calls it")
    parser.add_argument(
        "--pace", type=float, default=1.0, help="1 as in a shop, 0 at once (default 1)"
    )
    parser.add_argument("--seed", type=int, help="makes the chances of faults repeatable")
    parser.add_argument(
        "--password", help="six digits that the reader wants (default: the profile's)"
    )
    parser.add_argument("--currency", help="its only currency, where it has one (zvt: EUR)")
    parser.add_argument("--terminal-id", help="what it calls itself")
    parser.add_argument("--serial-number", help="of the device")
    parser.add_argument(
        "--bdk", metavar="HEX", help="base key of a reader that encrypts; test keys only"
    )
    parser.add_argument(
        "--encryption",
        choices=["dukpt-tdes", "dukpt-aes"],
        help="how a reader that encrypts does it",
    )


class _Help(argparse.Action):
    """The usual help; after the name of a protocol with everything that its terminal can play."""

    def __init__(self, option_strings: list[str], dest: str, **more: Any) -> None:  # argparse's own
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **more)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,  # noqa: ARG002 (argparse's own signature)
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        protocol = getattr(namespace, "protocol", None)
        if protocol is not None:
            parser.epilog = f"{_repertoire(protocol)}\n\n{parser.epilog}"
        parser.print_help()
        parser.exit()


def _repertoire(protocol: str) -> str:
    from protocols.errors import ProtocolError
    from protocols.readers import registry

    try:
        plays = registry.repertoire(protocol)
    except ProtocolError as unknown:
        return str(unknown)

    def listed(lines: Mapping[str, str]) -> str:
        width = max(map(len, lines), default=0)
        return "\n".join(f"  {name:<{width}}  {says}" for name, says in lines.items())

    digits = {f"…{number:02d}": says for number, (_, says) in plays.digits.items()}
    return f"""Without --script or --decline the last two digits of the amount choose what happens:
{listed(digits)}
  others are approved

Stories of {protocol} (--script; +FAULT behind one adds a fault):
{listed(plays.scripts)}

Faults (--fault; NAME strikes once, NAME:3 three times, NAME:0.1 one time in ten, NAME:always):
{listed(plays.faults)}

Actions (POST /actions/NAME of the control port; besides these unplug and plug):
{listed(plays.controls)}"""


def run(arguments: argparse.Namespace) -> int:
    import asyncio
    import contextlib

    from agent.errors import AgentError
    from firmware_profiles import ProfileError
    from protocols.errors import ProtocolError

    try:
        plan = _plan(arguments)
    except (AgentError, ProfileError, ProtocolError) as error:
        complain(str(error))
        return USAGE
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_serve(arguments, plan))
    except (AgentError, OSError) as error:
        complain(str(error))
        return UNREACHABLE
    return 0


def _plan(arguments: argparse.Namespace) -> _Plan:
    """Raises AgentError or ProtocolError for an option that means nothing."""
    from pathlib import Path

    from agent.clock import SystemClock
    from agent.simulator import places
    from agent.simulator.reader import StateFile
    from agent.simulator.script import terminal
    from protocols.money import currency_number

    line: places.Line = (
        "tcp" if arguments.tcp else "serial" if arguments.pty else "usb" if arguments.usb else "ble"
    )
    profile = places.profile_for(arguments.protocol, line, arguments.profile)
    tcp = _host_and_port(arguments.tcp) if arguments.tcp else ("", 0)
    control_at = _host_and_port(arguments.control) if arguments.control else None
    state = StateFile(Path(arguments.state)) if arguments.state else None
    password = arguments.password
    if password is None and profile is not None and "password" in profile.settings:
        password = profile.settings["password"].default
    machine = terminal(
        arguments.protocol,
        "serial" if arguments.serial else places.framing_of(profile, line),
        SystemClock(),
        snapshot=state.load() if state else None,
        script=f"decline:{arguments.decline}" if arguments.decline else arguments.script,
        faults=arguments.fault,
        pace=arguments.pace,
        seed=arguments.seed,
        password=password,
        currency=currency_number(arguments.currency.upper()) if arguments.currency else None,
        terminal_id=arguments.terminal_id,
        serial_number=arguments.serial_number,
        bdk=_key(arguments.bdk),
        encryption=arguments.encryption,
    )
    place: AbstractAsyncContextManager[Place]
    if line == "tcp":
        place = places.on_tcp(*tcp)
    elif line == "serial":
        place = places.on_pty(Path(arguments.pty))
    else:
        assert profile is not None  # noqa: S101 (profile_for has one for packets, or raises)
        place = (
            places.on_usb(profile, arguments.serial_number or "SIM00001")
            if line == "usb"
            else places.on_ble(profile, (arguments.ble or places.SAMPLE_MAC).upper())
        )
    return _Plan(machine, state, place, profile.id if profile else "", control_at)


async def _serve(arguments: argparse.Namespace, plan: _Plan) -> None:
    import asyncio
    import signal

    from agent.clock import SystemClock
    from agent.simulator.control import Control
    from agent.simulator.reader import SimulatedReader

    async with plan.place as place:
        reader = SimulatedReader(plan.machine, place.socket, state=plan.state, clock=SystemClock())
        control = Control(
            reader,
            SystemClock(),
            protocol=arguments.protocol,
            name=arguments.name,
            tricks=place.tricks,
        )
        ready: dict[str, Any] = {"ready": True, "protocol": arguments.protocol, "pid": os.getpid()}
        serving = asyncio.ensure_future(reader.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, serving.cancel)
        up = asyncio.ensure_future(reader.is_up.wait())
        try:
            if plan.control_at is not None:
                ready["control"] = await control.open(*plan.control_at)
            await asyncio.wait((serving, up), return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                ready |= {"address": reader.socket.address, "profile": plan.profile_id}
                if place.environment:
                    ready["environment"] = dict(place.environment)
                write_json(ready)
            await serving
        finally:
            up.cancel()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            control.close()


def _key(text: str | None) -> bytes | None:
    from agent.errors import AddressUnreadable

    try:
        return bytes.fromhex(text) if text else None
    except ValueError:
        raise AddressUnreadable(f"--bdk {text!r} is no hexadecimal number") from None


def _host_and_port(text: str) -> tuple[str, int]:
    from agent.errors import AddressUnreadable

    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise AddressUnreadable(
            f"{text!r} is not understood; write HOST:PORT, such as 127.0.0.1:20007"
        )
    return host.strip("[]"), int(port)
