"""What the agent weighs, how soon it is there, and what it costs while nothing happens.

One agent with one serial reader (a pty) and an MQTT connection with TLS to mosquitto, as a shop has it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes.authority import Authority
from tests.fixtures.mosquitto import Mosquitto
from tests.support.agent_program import PROGRAM, simulation
from tests.support.branch import DEVICE, Site
from tests.support.ports import LOOPBACK
from tests.support.waiting import eventually

STARTS = 7
SETTLE_S = 5.0
IDLE_S = 30.0
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Print one JSON object."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with branch_site(folder) as site:
            figures = {**_start(site, folder), **_weight(site, folder)}
    figures["targets"] = {
        "rss_mib": [figures["rss_mib"], "<=", 45, 50],
        "start_to_connect_s": [figures["start_to_connect_s"], "<=", 0.5, 0.8],
        "idle_cpu_percent": [figures["idle_cpu_percent"], "<=", 0.5, 1.0],
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


@contextlib.contextmanager
def branch_site(folder: Path) -> Iterator[Site]:
    executable = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if executable is None:
        raise SystemExit("mosquitto is not on this machine: make system")
    brokers: list[Mosquitto] = []

    def start(configuration: str) -> Mosquitto:
        place = folder / "broker"
        place.mkdir()
        brokers.append(Mosquitto(executable, place, configuration))
        brokers[0].start()
        return brokers[0]

    site = Site(folder, Authority(), start)
    site.join()
    try:
        yield site
    finally:
        site.plane.close()
        brokers[0].kill()


def _start(site: Site, folder: Path) -> dict[str, Any]:
    """From the start of the process to its first byte on the broker's port, and to its CONNECT being accepted."""
    to_dial, cpu = [], []
    for number in range(STARTS):
        with socket.create_server((LOOPBACK, 0)) as listener:
            state_dir = folder / f"start-{number}"
            port = listener.getsockname()[1]
            site.enrolled(state_dir, broker=site.where(port=port))
            began = time.monotonic()
            process = run(state_dir, folder, [])
            listener.settimeout(20)
            connection, _ = listener.accept()
            to_dial.append(time.monotonic() - began)
            cpu.append(cpu_s(process.pid))
            connection.close()
            process.kill()
            process.wait()
    to_connect = []
    for number in range(STARTS):
        state_dir = folder / f"connect-{number}"
        site.enrolled(state_dir)
        seen = len(site.plane.taken(DEVICE).presence)
        began = time.monotonic()
        process = run(state_dir, folder, [])
        eventually(lambda: len(site.plane.taken(DEVICE).presence) > seen, deadline_s=20)  # noqa: B023 (used at once)
        to_connect.append(time.monotonic() - began)
        process.kill()
        process.wait()
        eventually(lambda: len(site.plane.taken(DEVICE).presence) > seen + 1, deadline_s=20)  # noqa: B023
    interpreter = []
    for _ in range(STARTS):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", ""], check=True)
        interpreter.append(time.monotonic() - began)
    return {
        "start_to_connect_s": round(statistics.median(to_dial), 3),
        "start_cpu_s": round(statistics.median(cpu), 2),
        "start_to_online_s": round(statistics.median(to_connect), 3),
        "bare_interpreter_s": round(statistics.median(interpreter), 3),
    }


def _weight(site: Site, folder: Path) -> dict[str, Any]:
    line = folder / "counter.tty"
    state_dir = folder / "weight"
    site.enrolled(state_dir)
    with simulation("--pty", str(line), "--pace", "0") as terminal:
        process = run(state_dir, folder, [("generic-zvt-serial", terminal.address)])
        states = site.plane.taken(DEVICE).states
        eventually(
            lambda: bool(states) and [one.state for one in states[-1].readers] == ["ready"],
            deadline_s=30,
        )
        let_pass(SETTLE_S)
        before = cpu_s(process.pid)
        let_pass(IDLE_S)
        idle_s = cpu_s(process.pid) - before
        memory = memory_mib(process.pid)
        process.terminate()
        process.wait(20)
    return {**memory, "idle_cpu_percent": round(100 * idle_s / IDLE_S, 2)}


def run(state_dir: Path, folder: Path, readers: list[tuple[str, str]]) -> subprocess.Popen[bytes]:
    config = folder / f"{state_dir.name}.toml"
    lines = [f'state_dir = "{state_dir}"', 'cloud = "mqtt"']
    for number, (profile, address) in enumerate(readers, 1):
        lines += [
            "[[readers]]",
            f'name = "counter-{number}"',
            f'profile = "{profile}"',
            f'address = "{address}"',
        ]
    config.write_text("\n".join(lines))
    with (folder / "agent.log").open("ab") as log:
        return subprocess.Popen(
            [str(PROGRAM), "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def let_pass(seconds: float) -> None:
    """Nothing is waited for: what is measured is that nothing happens."""
    threading.Event().wait(seconds)


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def memory_mib(pid: int) -> dict[str, float]:
    """Resident, and what of it nobody else shares."""
    sizes = {}
    for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = row.partition(":")
        sizes[name] = int(size.split()[0]) / 1024
    return {
        "rss_mib": round(sizes["Rss"], 1),
        "own_mib": round(sizes["Private_Clean"] + sizes["Private_Dirty"], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
