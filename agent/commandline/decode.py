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
omnitill-agent decode zvt - < recording.txt""",
        notes="Exit code: 0 all messages were read, 1 one of them is malformed (its JSON says why), 2 no hex digits.",
    )
    parser.add_argument("protocol", help="name of the protocol, such as zvt")
    parser.add_argument(
        "hex",
        nargs="+",
        help="one message in hexadecimal, blanks allowed; - reads one a line from standard input",
    )
    parser.add_argument(
        "--serial",
        action="store_true",
        help="frames as on the serial line; without it bare messages as on TCP",
    )


def run(arguments: argparse.Namespace) -> int:
    from protocols.errors import MalformedMessage
    from protocols.readers import registry

    if arguments.protocol not in registry.names():
        complain(
            f"there is no protocol {arguments.protocol!r}; known are {', '.join(registry.names())}"
        )
        return USAGE
    framing = "serial" if arguments.serial else "apdu"
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
