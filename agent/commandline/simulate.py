"""`omnitill-agent simulate`: a card reader that is not there, on a TCP port or a pty."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from agent.commandline import USAGE, add_command, complain, write_json

if TYPE_CHECKING:
    import argparse

    from agent.commandline import Subparsers
    from agent.simulator.reader import SimulatedReader
    from agent.simulator.sockets import Socket

UNREACHABLE = 1


def register(subparsers: Subparsers) -> None:
    from agent.simulator.script import STORIES
    from protocols.readers.zvt.scripts import ZvtFault, script_names

    amounts = "\n".join(f"  …{digits:02d}  {says}" for digits, (_, says) in STORIES.items())
    parser = add_command(
        subparsers,
        "simulate",
        run,
        summary="play a card reader on a TCP port or a pty, with every fault a real one has",
        example="""
omnitill-agent simulate zvt --tcp 127.0.0.1:20007
omnitill-agent simulate zvt --pty /tmp/ttyPOS --state /tmp/pos.json --control 127.0.0.1:0
omnitill-agent simulate zvt --tcp 127.0.0.1:20007 --fault nak:3 bad_crc:0.05 --decline 33""",
        notes=f"""Without --script or --decline the last two digits of the amount choose what happens:
{amounts}
  others are approved, contactless

Stories: {", ".join(script_names())}
  with +FAULT, +visa, +mastercard, +amex, +girocard, +maestro, or +stands (an answer nobody confirmed stands)
Faults of zvt: {", ".join(ZvtFault)}
  NAME strikes once, NAME:3 three times, NAME:0.1 one time in ten, NAME:always

Prints one JSON line when hosts can connect: its address, its control port, its process id.
--control: GET / tells the reader's own books; POST /unplug, /plug, /stop-key, /restart,
  /script {{"script": "decline:05"}} for the next payment, /fault {{"fault": "nak:2"}}.
Exit code: 0 when told to stop (Ctrl-C, SIGTERM), 1 when the port or path is taken, 2 for a line not understood.""",
    )
    parser.add_argument("protocol", help="name of the protocol, such as zvt")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", metavar="HOST:PORT", help="listen here; port 0 takes a free one")
    where.add_argument(
        "--pty", metavar="PATH", help="make a pty and a link PATH to it, gone at the end"
    )
    parser.add_argument(
        "--serial",
        action="store_true",
        help="serial framing also on TCP; on a pty that is always so",
    )
    parser.add_argument(
        "--fault", nargs="+", action="extend", default=[], metavar="NAME", help="what goes wrong"
    )
    story = parser.add_mutually_exclusive_group()
    story.add_argument("--script", metavar="STORY", help="the story of every payment")
    story.add_argument(
        "--decline",
        metavar="CODE",
        help="decline every payment with this result code, in hex as on the line: 05, or 33 for the bank's 51",
    )
    parser.add_argument(
        "--state", metavar="FILE", help="remember receipts and totals here, through kill -9 too"
    )
    parser.add_argument(
        "--control", metavar="HOST:PORT", help="HTTP port to look at it and to play tricks on it"
    )
    parser.add_argument(
        "--pace", type=float, default=1.0, help="1 as in a shop, 0 at once (default 1)"
    )
    parser.add_argument("--seed", type=int, help="makes the chances of faults repeatable")
    parser.add_argument(
        "--password", help="six digits that the reader wants (default 000000)", default="000000"
    )
    parser.add_argument("--currency", default="EUR", help="its only currency (default EUR)")
    parser.add_argument("--terminal-id", help="eight digits that it calls itself")


def run(arguments: argparse.Namespace) -> int:
    import asyncio
    import contextlib

    from agent.errors import AgentError
    from protocols.errors import ProtocolError

    try:
        reader, control_at = _build(arguments)
    except (AgentError, ProtocolError) as error:
        complain(str(error))
        return USAGE
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(_serve(arguments, reader, control_at))
    except (AgentError, OSError) as error:
        complain(str(error))
        return UNREACHABLE
    return 0


def _build(arguments: argparse.Namespace) -> tuple[SimulatedReader, tuple[str, int] | None]:
    """Raises AgentError or ProtocolError for an option that means nothing."""
    from pathlib import Path

    from agent.clock import SystemClock
    from agent.simulator.reader import SimulatedReader, StateFile
    from agent.simulator.script import terminal
    from agent.simulator.sockets import PtySocket, TcpSocket
    from protocols.money import currency_number

    tcp = _host_and_port(arguments.tcp) if arguments.tcp else None
    socket: Socket = TcpSocket(*tcp) if tcp else PtySocket(Path(arguments.pty))
    state = StateFile(Path(arguments.state)) if arguments.state else None
    clock = SystemClock()
    machine = terminal(
        arguments.protocol,
        "serial" if arguments.serial or arguments.pty else "tcp",
        clock,
        snapshot=state.load() if state else None,
        script=f"decline:{arguments.decline}" if arguments.decline else arguments.script,
        faults=arguments.fault,
        pace=arguments.pace,
        seed=arguments.seed,
        password=arguments.password,
        currency=currency_number(arguments.currency.upper()),
        terminal_id=arguments.terminal_id,
    )
    control_at = _host_and_port(arguments.control) if arguments.control else None
    return SimulatedReader(machine, socket, state=state, clock=clock), control_at


async def _serve(
    arguments: argparse.Namespace, reader: SimulatedReader, control_at: tuple[str, int] | None
) -> None:
    import asyncio
    import signal

    from agent.clock import SystemClock
    from agent.simulator.control import Control

    control = Control(reader, SystemClock())
    ready: dict[str, Any] = {"ready": True, "protocol": arguments.protocol, "pid": os.getpid()}
    serving = asyncio.ensure_future(reader.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    up = asyncio.ensure_future(reader.is_up.wait())
    try:
        if control_at is not None:
            ready["control"] = await control.open(*control_at)
        await asyncio.wait((serving, up), return_when=asyncio.FIRST_COMPLETED)
        if up.done():
            write_json({**ready, "address": reader.socket.address})
        await serving
    finally:
        up.cancel()
        serving.cancel()
        control.close()


def _host_and_port(text: str) -> tuple[str, int]:
    from agent.errors import AddressUnreadable

    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise AddressUnreadable(
            f"{text!r} is not understood; write HOST:PORT, such as 127.0.0.1:20007"
        )
    return host.strip("[]"), int(port)
