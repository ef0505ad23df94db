"""What one node carries: thousands of devices, a configuration for all, a broker that dies, a console meanwhile.

The installation is one ``omnitill serve --all`` on PostgreSQL with the broker as its child; the devices are an
``omnitill swarm`` in a process of its own. Generator, broker, control plane and database share the machine.

``connect``: until all are connected; the swarm spreads them, so this is no limit of the broker. ``known``: until the
console shows all of them online. ``config``: from the commit of a new document for every device until the last device
has taken it, and until the last one's report is in the database. ``storm``: the broker is killed with -9; from then
until all are connected again, by the agents' own pauses. ``console``: answer times of pages and API calls while sales
and heartbeats come in, and during the storm.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
from sqlalchemy import func, select

from control_plane.accounts import queries as accounts
from control_plane.accounts import service as account_service
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import ROLES, Role
from control_plane.accounts.sign_in import scope_of
from control_plane.app import build
from control_plane.audit.actor import SYSTEM
from control_plane.config import BrokerSettings, LogSettings, Settings
from control_plane.db.scope import Scope
from control_plane.devices.models import DEVICES
from control_plane.devices.service import desire_config
from control_plane.parts import Parts
from control_plane.swarm.seed import MERCHANT
from tests.load.cluster import postgres
from tests.support.ports import LOOPBACK, free_port

SECRET: Final = "dGVzdHMgb25seSwgdGVzdHMgb25seSwgdGVzdHMgb25seSE="
PATHS: Final = (
    "/v1/readers?limit=50",
    "/v1/devices?q=till-77",
    "/v1/devices?is_online=false",
    "/v1/transactions?limit=50",
)
_PIECE: Final = 1_000


def main() -> int:
    """Measure; one JSON object on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--broker", default="embedded_nats", choices=["embedded_nats", "mosquitto"])
    parser.add_argument("--sqlite", action="store_true", help="instead of PostgreSQL")
    parser.add_argument("--sale-every", type=float, default=120.0)
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="omnitill-fleet-")))
        folder.chmod(0o755)
        url = "" if chosen.sqlite else stack.enter_context(postgres(folder / "cluster"))
        figures = measure(folder, url, chosen)
    targets = {
        "config_devices_per_s": [figures["config"]["devices_per_s"], ">=", 500, 100],
        "console_p50_ms": [figures["console"]["p50_ms"], "<=", 100, 500],
    }
    sys.stdout.write(json.dumps({**figures, "targets": targets}, indent=2) + "\n")
    return 0


def measure(folder: Path, url: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """Open an installation, let the swarm in, and look."""
    count = chosen.devices
    environment = {
        **os.environ,
        "OMNITILL_MODE": "test",
        "OMNITILL_DATA_DIR": str(folder / "data"),
        "OMNITILL_DATABASE_URL": url,
        "OMNITILL_SECRET_KEY": SECRET,
        "OMNITILL_PORT": str(free_port()),
        "OMNITILL_BROKER__KIND": chosen.broker,
        "OMNITILL_BROKER__PORT": str(free_port()),
        "OMNITILL_LOG__LEVEL": "warning",
    }
    settings = Settings(
        mode="test",
        data_dir=folder / "data",
        database_url=url,
        secret_key=SECRET,
        port=int(environment["OMNITILL_PORT"]),
        broker=BrokerSettings(kind=chosen.broker, port=int(environment["OMNITILL_BROKER__PORT"])),
        log=LogSettings(level="warning"),
        database_pool=4,
    )
    with running(["serve", "--all"], environment, folder / "serve.log") as node:
        until(lambda: answers(settings.port), 60, "the installation")
        parts = build(settings)
        swarm_file = folder / "swarm.json"
        options = [
            "swarm", "--devices", str(count), "--sale-every", str(chosen.sale_every),
            "--connect-within", "40", "--json", str(swarm_file),
        ]  # fmt: skip
        try:
            with running(options, environment, folder / "swarm.log") as swarm:
                now_file = swarm_file.with_suffix(".now")
                until(now_file.exists, 300, "the swarm's devices")
                began = time.monotonic()
                until(lambda: figure(now_file, "connected") == count, 300, "all connections")
                connect_s = time.monotonic() - began
                until(lambda: online(parts) == count, 300, "all devices in the console")
                known_s = time.monotonic() - began
                broker_pid = child_of(node.pid, "nats-server", "mosquitto")
                memory = {
                    "control_plane_mib": rss_mib(node.pid),
                    "broker_mib": rss_mib(broker_pid),
                    "swarm_mib": rss_mib(swarm.pid),
                }
                client = console(parts, settings.port)
                quiet = answer_times(client, 20.0)
                cpu_before, at = cpu_s(node.pid) + cpu_s(broker_pid), time.monotonic()
                config = push(parts, now_file, count)
                cpu = (cpu_s(node.pid) + cpu_s(broker_pid) - cpu_before) / (time.monotonic() - at)
                storm = kill_broker(broker_pid, now_file, count, client)
                steady_before, at = cpu_s(node.pid), time.monotonic()
                time.sleep(10)
                steady = (cpu_s(node.pid) - steady_before) / (time.monotonic() - at)
                swarm.send_signal(signal.SIGINT)
                swarm.wait(60)
        finally:
            parts.close()
    seen = json.loads(swarm_file.read_text())
    return {
        "devices": count,
        "broker": chosen.broker,
        "database": "sqlite" if chosen.sqlite else "postgresql",
        "connect_s": round(connect_s, 1),
        "known_s": round(known_s, 1),
        "memory": memory,
        "devices_per_mib": round(count / (memory["control_plane_mib"] + memory["broker_mib"]), 1),
        "control_plane_cores": round(steady, 3),
        "devices_per_core": round(count / max(steady, 0.001)),
        "config": {**config, "cores": round(cpu, 2)},
        "console": quiet,
        "storm": storm,
        "sales": {
            name: seen[name] for name in ("sales", "acknowledged", "waiting", "ack_ms", "resent")
        },
    }


# --- what is measured ------------------------------------------------------------------------------------------


def push(parts: Parts, now_file: Path, count: int) -> dict[str, Any]:
    """A document for every device."""
    with parts.database.reading() as db:
        rows = db.execute(select(DEVICES.c.id, DEVICES.c.merchant_id)).all()
    began = time.monotonic()
    for start in range(0, len(rows), _PIECE):
        with parts.database.transaction() as db:
            for row in rows[start : start + _PIECE]:
                desire_config(db, Scope(row.merchant_id), row.id, {"readers": {}}, by=SYSTEM)
    written = time.monotonic()
    until(lambda: taken(now_file) >= count, 600, "the configuration on all devices")
    last = time.monotonic()
    until(lambda: applied(parts) >= count, 600, "the reports of all devices")
    reported = time.monotonic()
    return {
        "written_s": round(written - began, 2),
        "last_device_s": round(last - began, 2),
        "last_report_s": round(reported - began, 2),
        "devices_per_s": round(count / (reported - began)),
    }


def kill_broker(pid: int, now_file: Path, count: int, client: httpx2.Client) -> dict[str, Any]:
    """Kill it; its keeper starts it anew, and everybody comes back."""
    times: list[dict[str, float]] = []
    watcher = threading.Thread(target=lambda: times.append(answer_times(client, 30.0)))
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    watcher.start()
    until(lambda: figure(now_file, "connected") < count / 2, 60, "the loss")
    half = 0.0
    while (up := figure(now_file, "connected")) < count:
        if not half and up >= count / 2:
            half = time.monotonic() - began
        if time.monotonic() - began > 400:
            break
        time.sleep(0.2)
    back = time.monotonic() - began
    watcher.join()
    return {
        "half_back_s": round(half, 1),
        "all_back_s": round(back, 1),
        "came_back": int(figure(now_file, "connected")),
        "console": times[0],
    }


def answer_times(client: httpx2.Client, seconds: float) -> dict[str, float]:
    """Of the console's calls, one after the other."""
    took: list[float] = []
    ends = time.monotonic() + seconds
    failed = 0
    while time.monotonic() < ends:
        for path in PATHS:
            began = time.monotonic()
            try:
                failed += client.get(path).status_code != 200
            except httpx2.HTTPError:
                failed += 1
            took.append((time.monotonic() - began) * 1000)
        time.sleep(0.1)
    cuts = statistics.quantiles(took, n=100)
    return {
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "calls": len(took),
        "failed": failed,
    }


def console(parts: Parts, port: int) -> httpx2.Client:
    """A program that may look at everything of the swarm's merchant."""
    with parts.database.transaction() as db:
        table = accounts.MERCHANTS
        merchant = db.execute(table.select().where(table.c.name == MERCHANT)).one()
        caller = Caller(
            kind=CallerKind.USER, id="usr_bench", name="bench", role=Role.OWNER.value,
            scope=scope_of(merchant.id, Role.OWNER, None),
        )  # fmt: skip
        _, key = account_service.create_api_key(
            db, caller, name="bench", permissions=sorted(ROLES[Role.OWNER])
        )
    return httpx2.Client(
        base_url=f"http://{LOOPBACK}:{port}",
        headers={"Authorization": f"Bearer {key.reveal()}"},
        timeout=30,
    )


def online(parts: Parts) -> int:
    """Devices that the console shows as online."""
    with parts.database.reading() as db:
        return int(
            db.execute(select(func.count()).where(DEVICES.c.is_online.is_(True))).scalar_one()
        )


def applied(parts: Parts) -> int:
    """Devices whose last report says that a configuration is in force."""
    with parts.database.reading() as db:
        rows = db.execute(select(DEVICES.c.reported)).scalars()
        return sum(1 for one in rows if one.get("config", {}).get("status") == "applied")


# --- the machine -----------------------------------------------------------------------------------------------


def figure(file: Path, name: str) -> float:
    """Of the swarm, of the last second."""
    try:
        return float(json.loads(file.read_text())[name])
    except (FileNotFoundError, ValueError):
        return 0.0


def taken(file: Path) -> int:
    """How many members took a configuration."""
    try:
        return int(sum(json.loads(file.read_text())["configs"].values()))
    except (FileNotFoundError, ValueError):
        return 0


def answers(port: int) -> bool:
    """Whether the installation is ready."""
    try:
        return httpx2.get(f"http://{LOOPBACK}:{port}/readyz", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


def until(is_so: Callable[[], bool], patience_s: float, what: str) -> None:
    """Look again and again. Raises TimeoutError."""
    ends = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > ends:
            raise TimeoutError(f"{what}: not within {patience_s} s")
        time.sleep(0.2)


@contextmanager
def running(
    arguments: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """An ``omnitill`` process; stopped by its own number."""
    command = [str(Path(sys.executable).with_name("omnitill")), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(60)


def child_of(pid: int, *names: str) -> int:
    """The child of a process that is one of these programs. Raises LookupError."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and Path(command).name in names:
            return int(entry.name)
    raise LookupError(f"process {pid} has no child called {' or '.join(names)}")


def rss_mib(pid: int) -> int:
    """Memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)


def cpu_s(pid: int) -> float:
    """Time of the processor that a process has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
