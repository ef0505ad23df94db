"""What each reader protocol can do on each line, found out by trying it with the simulated readers.

`python -m tests.support.protocol_coverage` writes the table that people read, `docs/protocol-coverage.md`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

from agent.simulator.places import Line, profile_for
from protocols.errors import CommandNotPossible
from protocols.readers import registry
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Book,
    CancelPreauthorization,
    Connect,
    Diagnose,
    Disconnect,
    EndOfDay,
    Finished,
    Initialize,
    InstallSoftware,
    Outcome,
    Preauthorize,
    ReaderCommand,
    ReadTotals,
    RecallLast,
    Refund,
    Restart,
    Reverse,
    SetClock,
    ShowText,
    SoftwareFile,
    UpdateSoftware,
)
from tests.support.reader_cases import AMOUNT, PURCHASE, Case, cases
from tests.support.reader_wire import Wire

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "protocol-coverage.md"
_IMAGE: Final = b"SIM" * 1000
_FILE: Final = SoftwareFile(
    1, len(_IMAGE), hashlib.sha256(_IMAGE).digest(), lambda at, length: _IMAGE[at : at + length]
)
COMMANDS: Final[dict[str, ReaderCommand]] = {
    "connect": Connect(),
    "disconnect": Disconnect(),
    "ask how it is": AskStatus(),
    "payment": PURCHASE,
    "stop a payment": Abort(),
    "refund": Refund(AMOUNT),
    "take a payment back": Reverse(0),
    "reserve": Preauthorize(AMOUNT),
    "book what is reserved": Book(0, AMOUNT),
    "release what is reserved": CancelPreauthorization(0),
    "tell the last payment": RecallLast(),
    "tell the totals": ReadTotals(),
    "close the day": EndOfDay(),
    "diagnosis": Diagnose(),
    "initialisation": Initialize(),
    "restart": Restart(),
    "show a text": ShowText(("Omnitill",)),
    "set the clock": SetClock(datetime(2026, 1, 2, 9, 0)),  # noqa: DTZ001 - a reader shows local wall time
    "fetch new software": UpdateSoftware(),
    "take in new software": InstallSoftware((_FILE,)),
}
#: What a till has no need to send: the driver does it when it opens and closes a line.
BY_ITSELF: Final = frozenset({"connect", "disconnect"})
#: Framing -> the line in words, and as the simulator calls it.
LINES: Final[dict[str, tuple[str, Line]]] = {
    "serial": ("serial", "serial"),
    "tcp": ("TCP", "tcp"),
    "usb_hid": ("USB", "usb"),
    "ble_gatt": ("Bluetooth LE", "ble"),
}
_HEAD: Final = """# What each reader protocol can do, on each line

Written by `python -m tests.support.protocol_coverage`, which tries every command on every line with the simulated
readers; a test compares. **No real reader was at hand.** What stands opposite is always our simulated reader, whose
codecs are checked against bytes of other implementations where there are such.

| mark | meaning |
|---|---|
| tested | ends well over the real stack of this line (pyserial, sockets, libusb, BlueZ on D-Bus), from the \
agent's own reader driver to a simulated reader in another process: \
`tests/integration/agent/readers/test_every_command.py` |
| simulated | ends well with host machine and simulated reader joined in memory: what the driver sends by itself, and \
lines that no model in the catalogue has |
| – | not possible in this protocol, or refused by the host; why is told below |

"""
_PROOF: Final = """
## How each line is tested

| line | framing | with the real stack | in virtual time |
|---|---|---|---|
| serial | `serial` | pyserial on pty pairs | contract suite, faults, noise |
| TCP | `tcp` | asyncio on loopback | contract suite, faults, noise |
| USB | `usb_hid`, `serial` on bulk endpoints | pyusb and libusb under umockdev | contract suite, faults, noise |
| Bluetooth LE | `ble_gatt` | bleak on a private D-Bus with a BlueZ look-alike | contract suite, faults, noise |

The contract suite is `tests/contracts/test_reader_protocols.py`, noise and random faults are
`tests/unit/protocols/readers/test_any_bytes.py`; both find the protocols by themselves.
`make test-kernel` sells on MagTek and ID TECH readers on a real kernel's USB, and on a MagTek reader on its Bluetooth.

## Known bytes

| protocol | frames known from other implementations |
|---|---|
| zvt | 12 |
| magtek_mms | 9 |
| idtech_neo | 7 |
| ecr17 | 7, in all four check modes |
| concert | 3 |

## What a tester with a real reader can do in ten minutes

1. `omnitill-agent sale --profile ID --address ADDRESS --amount 0.01 --currency EUR`: approved, with the
   right masked card.
2. The same, and the red key: the last line says cancelled or declined, and nothing is on the reader's list.
3. The same, and pull the cable while the customer pays: the last line says what the reader's own journal says.
4. `omnitill-agent doctor` names the reader's serial number and software version where its protocol tells them.
5. ECR17: if the first sale says that the terminal refused the message, try the four values of `lrc_mode`, and the
   terminal id. Concert: note what comes back in the private field, and whether `05` is answered at once.
"""


def document() -> str:
    """The whole text."""
    parts = [_HEAD.rstrip() + "\n"]
    reasons: list[str] = []
    for name in registry.names():
        framings = _framings(name)
        titles = [LINES[framing][0] for framing in framings]
        rows = [f"| {' | '.join(('', *titles))} |", "|---" * (len(titles) + 1) + "|"]
        for title in COMMANDS:
            said = {framing: why_not(name, framing, title) for framing in framings}
            cells = ["–" if said[framing] else mark(name, framing, title) for framing in framings]
            rows.append(f"| {' | '.join((title, *cells))} |")
            reasons += [
                f"- **{name}**, {title}{_where(said, why)}: {why}"
                for why in sorted(set(said.values()) - {""})
            ]
        parts.append(f"## {name}\n\n" + "\n".join(rows) + "\n")
    parts.append("## Why not\n\n" + "\n".join(sorted(reasons)) + "\n")
    return "\n".join(parts) + _PROOF


@cache
def why_not(protocol: str, framing: str, title: str) -> str:
    """Why a command cannot be done on a line; empty when it can."""
    return _tried(Case(protocol, framing), COMMANDS[title])


def mark(protocol: str, framing: str, title: str) -> str:
    """How it is known that a command works on a line."""
    return "tested" if has_model(protocol, framing) and title not in BY_ITSELF else "simulated"


@cache
def has_model(protocol: str, framing: str) -> bool:
    """Whether a model in the catalogue speaks this protocol on such a line."""
    return profile_for(protocol, LINES[framing][1]) is not None


def words_of(command: ReaderCommand, finished: Finished) -> str:
    """What went wrong with a command; empty when it was done."""
    if finished.outcome in {Outcome.DONE, Outcome.APPROVED}:
        return ""
    if finished.outcome is Outcome.LOST and isinstance(command, Restart):
        # It went away without a word, as a reader that restarts may.
        return ""
    if finished.outcome is Outcome.UNSUPPORTED:
        return finished.text
    return f"it ended as {finished.outcome}: {finished.text}"


def _framings(name: str) -> list[str]:
    return [case.framing for case in cases() if case.protocol == name]


def _where(said: dict[str, str], why: str) -> str:
    concerned = [LINES[framing][0] for framing, one in said.items() if one == why]
    return "" if len(concerned) == len(said) else f" ({', '.join(concerned)})"


def _tried(case: Case, command: ReaderCommand) -> str:
    """Why it cannot be done; empty when it was done."""
    if isinstance(command, Abort):
        return _tried_abort(case)
    wire = case.opened()
    command = _after_what_it_needs(wire, command)
    try:
        finished = wire.do(command)
    except CommandNotPossible as refused:
        return refused.reason
    return words_of(command, finished)


def _after_what_it_needs(wire: Wire, command: ReaderCommand) -> ReaderCommand:
    """The command with the number of a payment or reservation that was just made."""
    if isinstance(command, Reverse | RecallLast | ReadTotals | EndOfDay):
        payment = wire.do(PURCHASE).payment
        if isinstance(command, Reverse):
            return replace(command, receipt_number=(payment and payment.receipt_number) or 1)
    if isinstance(command, Book | CancelPreauthorization):
        try:
            reserved = wire.do(Preauthorize(AMOUNT)).payment
        except CommandNotPossible:
            reserved = None
        return replace(command, receipt_number=(reserved and reserved.receipt_number) or 1)
    return command


def _tried_abort(case: Case) -> str:
    wire = case.opened(script="manual")
    wire.host.start(PURCHASE, wire.now)
    wire.pass_time(0.5)
    try:
        wire.host.start(Abort(), wire.now)
    except CommandNotPossible as refused:
        return refused.reason
    wire.run(wire.host.is_idle)
    ended = wire.finished[-1].outcome
    return "" if ended is Outcome.CANCELLED else f"ended as {ended}"


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document())
