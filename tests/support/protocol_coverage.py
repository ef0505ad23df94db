"""What each reader protocol can do on each line, found out by trying it with the simulated readers.

`python -m tests.support.protocol_coverage` writes the table that people read, `docs/protocol-coverage.md`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

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
_HEAD: Final = """# What each reader protocol can do

Written by `python -m tests.support.protocol_coverage`, which tries every command with the simulated readers; a test
compares. **No real reader was at hand**: *simulated* means that host machine and simulated reader agree on the wire,
whose codecs are checked against bytes of other implementations where there are such.

| mark | meaning |
|---|---|
| simulated | ends well with the simulated reader, on every line that is named or, without a name, on all |
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
    names = registry.names()
    lines = [_HEAD + "## Lines", "", "| protocol | framings |", "|---|---|"]
    lines += [f"| {name} | {', '.join(_framings(name))} |" for name in names]
    lines += ["", "## Commands", "", f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    reasons: list[str] = []
    for title, command in COMMANDS.items():
        cells = []
        for name in names:
            cell, reason = _cell(name, command)
            cells.append(cell)
            if reason:
                reasons.append(f"- **{name}**, {title}: {reason}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    lines += ["", "## Why not", "", *sorted(reasons)]
    return "\n".join(lines) + "\n" + _PROOF


def _framings(name: str) -> list[str]:
    return [case.framing for case in cases() if case.protocol == name]


def _cell(name: str, command: ReaderCommand) -> tuple[str, str]:
    tried = {case.framing: _tried(case, command) for case in cases() if case.protocol == name}
    good = [framing for framing, said in tried.items() if not said]
    if len(good) == len(tried):
        return "simulated", ""
    if good:
        return f"simulated: {', '.join(good)}", ""
    return "–", next(said for said in tried.values() if said)


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
    if finished.outcome in {Outcome.DONE, Outcome.APPROVED}:
        return ""
    if finished.outcome is Outcome.LOST and isinstance(command, Restart):
        # It went away without a word, as a reader that restarts may.
        return ""
    if finished.outcome is Outcome.UNSUPPORTED:
        return finished.text
    return f"it ended as {finished.outcome}: {finished.text}"


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
