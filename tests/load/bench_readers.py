"""What each reader protocol costs: whole sales a second on every line, and the agent's weight with many readers.

Sales are driven between the two machines in memory and in virtual time, so that only codec and state machines count.
The agent is the real program, with simulated terminals on the network; its CPU is that of an idle shop.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from protocols.readers.framing import crc16_kermit
from tests.load.bench_agent import branch_site, cpu_s, let_pass, memory_mib, run
from tests.support.agent_program import simulation
from tests.support.branch import DEVICE
from tests.support.reader_cases import PURCHASE, cases
from tests.support.waiting import eventually

FOR_S = 1.0
IDLE_S = 15.0
READERS = (1, 4, 16)


def main() -> int:
    """Print one JSON object."""
    figures: dict[str, Any] = {"sales": {}}
    figures["reference_crc_mb_per_s"] = _reference()
    for case in cases():
        figures["sales"][str(case)] = _sales(case)
    figures["agent"] = _agents()
    per_reader = figures["agent"]["per_reader_mib"]
    figures["targets"] = {"agent_mib_per_reader": [per_reader, "<=", 1.0, 2.0]}
    figures["agent_mib_per_reader"] = per_reader
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def _reference() -> float:
    """The check code of the busiest line alone, in MB/s: what no codec can pass."""
    block = bytes(range(256)) * 256
    began = time.perf_counter()
    count = 0
    while time.perf_counter() - began < FOR_S / 2:
        crc16_kermit(block)
        count += 1
    return round(count * len(block) / (time.perf_counter() - began) / 1e6, 1)


def _sales(case: Any) -> dict[str, float]:
    wire = case.opened()
    said = len(wire.sent_by_host) + len(wire.sent_by_terminal)
    began = time.perf_counter()
    sales = 0
    while time.perf_counter() - began < FOR_S:
        wire.do(PURCHASE)
        wire.events.clear()
        sales += 1
    took = time.perf_counter() - began
    pieces = len(wire.sent_by_host) + len(wire.sent_by_terminal) - said
    size = sum(map(len, wire.sent_by_host)) + sum(map(len, wire.sent_by_terminal))
    return {
        "sales_per_s": round(sales / took),
        "frames_per_s": round(pieces / took),
        "mb_per_s": round(size / took / 1e6, 2),
    }


def _agents() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, branch_site(Path(name)) as site:
        for count in READERS:
            found[str(count)] = _agent(site, Path(name), count)
    found["per_reader_mib"] = round(
        (found["16"]["rss_mib"] - found["1"]["rss_mib"]) / (READERS[-1] - READERS[0]), 2
    )
    return found


def _agent(site: Any, folder: Path, count: int) -> dict[str, float]:
    state_dir = folder / f"readers-{count}"
    site.enrolled(state_dir)
    with ExitStack() as stack:
        terminals = [
            stack.enter_context(
                simulation("--pty", str(folder / f"{count}-{at}.tty"), "--pace", "0")
            )
            for at in range(count)
        ]
        lines = [("generic-zvt-serial", one.address) for one in terminals]
        process = run(state_dir, folder, lines)
        states = site.plane.taken(DEVICE).states
        eventually(
            lambda: bool(states) and [one.state for one in states[-1].readers] == ["ready"] * count,
            deadline_s=60,
        )
        let_pass(5)
        before = cpu_s(process.pid)
        let_pass(IDLE_S)
        idle_s = cpu_s(process.pid) - before
        memory = memory_mib(process.pid)
        process.terminate()
        process.wait(20)
    return {**memory, "idle_cpu_percent": round(100 * idle_s / IDLE_S, 2)}


if __name__ == "__main__":
    sys.exit(main())
