"""`omnitill-agent decode`: recorded messages of a reader, field by field."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agent.commandline import USAGE, add_command, complain, write_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from agent.commandline import Subparsers

MALFORMED = 1


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "decode",
        run,
        summary="show recorded messages of a reader as JSON, card data masked",
        example="""
omnitill-agent decode zvt 04 0F 07 27 6C 29 28 00 48 69
omnitill-agent decode zvt --serial 1002067000 1003D9F9
omnitill-agent decode ecr17 02313233343536373830730334
omnitill-agent decode concert 02303130303030313235303031303937382020202020202020202041303130423031300300
omnitill-agent decode magtek_mms AA0081040113100884021008
omnitill-agent decode magtek_mms --framing serial C000000000 0CAA008104011310088402 1008C0
omnitill-agent decode idtech_neo 5669564F74656368320018010000B3CD
omnitill-agent decode zvt - < recording.txt""",
        notes="""Framings, the usual one first:
  zvt          apdu (a bare message, as on TCP), serial, tcp
  ecr17        tcp, serial (framed alike; the check byte tells lrc_mode), apdu (the payload alone)
  concert      serial, apdu (the body alone)
  magtek_mms   message (bare), usb_hid, ble_gatt, serial
  idtech_neo   serial, tcp, usb_hid, ble_gatt, frame
Exit code: 0 all messages were read, 1 one of them is malformed (its JSON says why), 2 no hex digits.""",
    )
    parser.add_argument("protocol", help="zvt, ecr17, concert, magtek_mms or idtech_neo")
    parser.add_argument(
        "hex",
        nargs="+",
        help="one message in hexadecimal, blanks allowed; - reads one a line from standard input",
    )
    framing = parser.add_mutually_exclusive_group()
    framing.add_argument(
        "--framing", metavar="NAME", help="how the message is cut on its line; see below"
    )
    framing.add_argument(
        "--serial",
        action="store_const",
        dest="framing",
        const="serial",
        help="the same as --framing serial",
    )


def run(arguments: argparse.Namespace) -> int:
    from protocols.errors import MalformedMessage
    from protocols.readers import registry

    if arguments.protocol not in registry.names():
        complain(
            f"there is no protocol {arguments.protocol!r}; known are {', '.join(registry.names())}"
        )
        return USAGE
    framings = registry.recorded_framings(arguments.protocol)
    framing = arguments.framing or framings[0]
    if framing not in framings:
        complain(
            f"{arguments.protocol} has no framing {framing!r}; known are {', '.join(framings)}"
        )
        return USAGE
    code = 0
    for text in _messages(arguments.hex):
        try:
            recorded = bytes.fromhex(text)
        except ValueError:
            complain(
                f"{_shortened(text)!r} is not hexadecimal; write pairs of 0-9 and A-F, such as 04 0F 00"
            )
            return USAGE
        try:
            write_json(registry.describe(arguments.protocol, recorded, framing=framing))
        except MalformedMessage as malformed:
            write_json(
                {
                    "malformed": malformed.reason,
                    **{
                        name: str(fact)
                        for name, fact in malformed.facts.items()
                        if fact is not None
                    },
                }
            )
            code = MALFORMED
    return code


def _messages(words: list[str]) -> Iterator[str]:
    if words == ["-"]:
        yield from (stripped for line in sys.stdin if (stripped := line.strip()))
    else:
        yield " ".join(words)


def _shortened(text: str) -> str:
    # What was pasted may be card data: show where the reading stopped, not what it was.
    return text if len(text) <= 4 else f"{text[:4]}…"
