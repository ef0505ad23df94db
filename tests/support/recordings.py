"""Recorded conversations with readers: how they are written, replayed and, from the simulator, made.

A recording is a JSON Lines file. The first line says where it comes from. Then, in the order of time: `start` (a
command that the till began), `till` and `reader` (bytes in hex, secrets zeroed; one packet each on a line of packets),
`resume` (what the issuer said), `finished` (how a command ended).

`python -m tests.support.recordings` records the generic profiles anew from the simulator.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from agent.readers.connecting import machine_for
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import MemorySocket
from agent.transports import transport_for
from firmware_profiles import ReaderProfile, load_profile
from protocols.money import Money
from protocols.readers import registry
from protocols.readers.protocol import (
    AskStatus,
    Connect,
    EndOfDay,
    Finished,
    IssuerAnswer,
    OnlineWanted,
    Purchase,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Refund,
    Resume,
    Reverse,
)
from tests.fakes.virtual_time import run_virtually, virtual_clock

RECORDINGS: Final = Path(__file__).parent.parent / "readers" / "recordings"
COMMANDS: Final[dict[str, ReaderCommand]] = {
    "connect": Connect(),
    "ask_status": AskStatus(),
    "purchase 12.34": Purchase(Money(12_34, "EUR")),
    "purchase 0.51": Purchase(Money(51, "EUR")),
    "refund 1.00": Refund(Money(1_00, "EUR")),
    "reverse 1": Reverse(1),
    "recall_last": RecallLast(),
    "read_totals": ReadTotals(),
    "end_of_day": EndOfDay(),
}
TWO_PAYMENTS: Final = ("connect", "ask_status", "purchase 12.34", "purchase 0.51", "recall_last")
ISSUER: Final = {
    "approved": IssuerAnswer(approved=True, response_code="00", authorization_code="831000"),
    "declined": IssuerAnswer(approved=False, response_code="51"),
}
Line = dict[str, Any]  # one line of the file


@dataclass(frozen=True)
class Replayed:
    """What a machine made of a recording."""

    sent: list[bytes]
    expected: list[bytes]
    finished: list[tuple[str, str]]
    expected_finished: list[tuple[str, str]]


def read(path: Path) -> tuple[Line, list[Line]]:
    """The first line, and the others."""
    head, *lines = (json.loads(line) for line in path.read_text().splitlines())
    return head, lines


def replay(profile: ReaderProfile, lines: list[Line], framing: str | None = None) -> Replayed:
    """Play the reader's part of a recording to the machine that the profile asks for."""
    machine = machine_for(profile, currency="EUR", framing=framing)
    replayed = Replayed([], [], [], [])
    events = list(machine.connected(0))
    running = ""
    for at, line in enumerate(lines):
        now = at / 1000
        match line:
            case {"start": str(name)}:
                running = name
                machine.start(COMMANDS[name], now)
            case {"reader": str(received)}:
                events += machine.feed(bytes.fromhex(received), now)
            case {"till": str(sent)}:
                replayed.expected.append(bytes.fromhex(sent))
                replayed.sent.append(machine.outgoing())
            case {"resume": str(said)}:
                machine.start(Resume(ISSUER[said]), now)
            case {"finished": str(outcome)}:
                replayed.expected_finished.append((running, outcome))
        due = machine.deadline()
        if due is not None and due <= now:
            events += machine.expired(now)
        replayed.finished.extend(
            (running, event.outcome.value) for event in events if isinstance(event, Finished)
        )
        events = []
    return replayed


async def record(profile: ReaderProfile) -> list[Line]:
    """A whole morning with a simulated terminal, byte by byte."""
    clock = virtual_clock()
    framing = profile.protocol.framing or ""
    machine = terminal("zvt", framing, clock, password="000000")
    lines: list[Line] = []
    simulated = SimulatedReader(machine, MemorySocket("recorded"), clock=clock)
    serving = asyncio.ensure_future(simulated.run())
    await simulated.is_up.wait()
    line = transport_for("memory://recorded")
    await line.open()
    host = machine_for(profile, currency="EUR")
    host.connected(clock.elapsed())
    for name, command in COMMANDS.items():
        lines.append({"start": name})
        host.start(command, clock.elapsed())
        outcome = ""
        while not outcome or not cast("Any", machine).is_idle():
            if outgoing := host.outgoing():
                lines.append({"till": outgoing.hex()})
                await line.write(outgoing)
            if outcome and cast("Any", machine).is_idle():
                break
            try:
                async with asyncio.timeout(1 if outcome else 30):
                    received = await line.read()
            except TimeoutError:
                continue
            lines.append({"reader": received.hex()})
            ended = [
                one for one in host.feed(received, clock.elapsed()) if isinstance(one, Finished)
            ]
            outcome = ended[0].outcome.value if ended else outcome
        lines.append({"finished": outcome})
        await asyncio.sleep(1)
    await line.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return lines


def record_calmly(
    profile: ReaderProfile,
    framing: str,
    stories: tuple[str, str] = ("insert", "swipe"),
    names: tuple[str, ...] = TWO_PAYMENTS,
    **says: str,
) -> list[Line]:
    """Commands to a simulated reader, piece by piece, in virtual time. `stories` of 12.34 and of 0.51.

    `says`: what the reader tells of itself.
    """
    host = machine_for(profile, currency="EUR", framing=framing)
    reader = registry.terminal_machine(
        profile.protocol.name,
        framing,
        {"by_last_digits": dict(zip((34, 51), stories, strict=True)), **says},
    )
    lines: list[Line] = []
    now = 1000.0
    reader.connected(now)
    host.connected(now)
    for name in names:
        lines.append({"start": name})
        host.start(COMMANDS[name], now)
        outcome = ""
        while not outcome:
            moved = False
            while packet := host.outgoing():
                moved = True
                lines.append({"till": packet.hex()})
                reader.feed(packet, now)
            events: list[ReaderEvent] = []
            while packet := reader.outgoing():
                moved = True
                lines.append({"reader": packet.hex()})
                events += host.feed(packet, now)
            if not events and not moved:
                due = [at for at in (host.deadline(), reader.deadline()) if at is not None]
                now = max(now, min(due))
                reader.expired(now)
                events += host.expired(now)
            for event in events:
                if isinstance(event, OnlineWanted):
                    said = "declined" if "0.51" in name else "approved"
                    lines.append({"resume": said})
                    host.start(Resume(ISSUER[said]), now)
                elif isinstance(event, Finished):
                    outcome = event.outcome.value
        lines.append({"finished": outcome})
    return lines


def _write(profile_id: str, file: str, head: Line, lines: list[Line]) -> None:
    folder = RECORDINGS / profile_id
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(json.dumps(line) for line in [head, *lines])
    (folder / f"{file}.jsonl").write_text(text + "\n")


def main() -> None:
    """Record the profiles that no real terminal was recorded for."""
    for profile_id, framing, stories in (
        ("idtech-vp3300", "usb_hid", ("insert", "swipe")),
        ("idtech-vp3300", "serial", ("insert", "swipe")),
        ("idtech-kiosk-iii", "usb_hid", ("insert", "swipe")),
        ("magtek-dynaflex", "usb_hid", ("chip", "swipe")),
        ("magtek-dynaflex-ii-go", "usb_hid", ("pin", "swipe")),
        ("magtek-dynaflex-ii-go", "ble_gatt", ("pin", "swipe")),
        ("magtek-dynaprox", "serial", ("approve", "approve")),
    ):
        profile = load_profile(profile_id)
        head = {
            "source": f"simulated: Omnitill's own {profile.profile.vendor} reader"
            " with a published test key, no real one",
            "profile": profile_id,
            "framing": framing,
        }
        _write(profile_id, framing, head, record_calmly(profile, framing, stories))
    for profile_id, framing, refused, more in (
        (
            "generic-ecr17-tcp",
            "tcp",
            "no_money",
            ("recall_last", "reverse 1", "read_totals", "end_of_day"),
        ),
        ("generic-concert-cdc", "serial", "decline", ("refund 1.00",)),
    ):
        profile = load_profile(profile_id)
        head = {
            "source": f"simulated: Omnitill's own {profile.protocol.name} terminal, no real one; card numbers masked",
            "profile": profile_id,
            "framing": framing,
        }
        names = (*TWO_PAYMENTS[:4], *more)
        lines = record_calmly(profile, framing, ("approve", refused), names)
        _write(profile_id, "morning", head, lines)
    feig = load_profile("feig-cvend-plug")
    head = {
        "source": "simulated: Omnitill's own ZVT terminal as a cVEND plug, no real one; card numbers masked",
        "profile": feig.id,
        "framing": "tcp",
    }
    lines = record_calmly(
        feig,
        "tcp",
        ("approve", "decline"),
        (*TWO_PAYMENTS, "reverse 1", "end_of_day"),
        software_version="GER-APP-v2.0.9",
        password="000000",
    )
    _write(feig.id, "morning", head, lines)
    for profile_id in ("generic-zvt-tcp", "generic-zvt-serial"):
        profile = load_profile(profile_id)
        head = {
            "source": "simulated: Omnitill's own ZVT terminal, no real one; password zeroed, card numbers masked",
            "profile": profile_id,
        }
        _write(profile_id, "morning", head, run_virtually(record(profile)))


if __name__ == "__main__":
    main()
