"""A swarm against a whole installation: what well-behaved devices say is all there, whatever the others do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from control_plane.app import build
from control_plane.config import BrokerSettings, LogSettings, Settings
from control_plane.devices.models import DEVICES, EVENTS
from control_plane.ingest.models import QUARANTINE
from control_plane.parts import Parts
from control_plane.swarm.member import VICES, Vice
from control_plane.transactions.models import TRANSACTIONS
from tests.support.ports import LOOPBACK, free_port
from tests.support.programs import program
from tests.support.waiting import eventually

OMNITILL = str(Path(sys.executable).with_name("omnitill"))


class Installation:
    """`omnitill serve --all` in a process of its own, and a look into its database."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder = folder
        self.settings = Settings(
            mode="test", data_dir=folder / "data", port=free_port(), database_pool=4,
            broker=BrokerSettings(kind=broker, port=free_port()),
            log=LogSettings(level="warning"),
        )  # fmt: skip
        self.environment = {
            **os.environ,
            "OMNITILL_MODE": "test",
            "OMNITILL_DATA_DIR": str(folder / "data"),
            "OMNITILL_PORT": str(self.settings.port),
            "OMNITILL_BROKER__KIND": broker,
            "OMNITILL_BROKER__PORT": str(self.settings.broker.port),
            "OMNITILL_LOG__LEVEL": "warning",
        }

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"http://{LOOPBACK}:{self.settings.port}/readyz").is_success
        except httpx2.HTTPError:
            return False

    def swarm(self, *options: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, figures, complaints."""
        file = self.folder / "figures.json"
        file.unlink(missing_ok=True)
        done = subprocess.run(
            [OMNITILL, "swarm", *options, "--json", str(file)],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=90, check=False,
        )  # fmt: skip
        figures = json.loads(file.read_text()) if file.exists() else {}
        return done.returncode, figures, done.stderr


@contextmanager
def running(folder: Path, broker: str) -> Iterator[tuple[Installation, Parts]]:
    shop = Installation(folder, broker)
    with (folder / "serve.log").open("wb") as output:
        process = subprocess.Popen(
            [OMNITILL, "serve", "--all"],
            env=shop.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually(shop.is_ready, 60)
        parts = build(shop.settings)
        try:
            yield shop, parts
        finally:
            parts.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def rows(parts: Parts, statement: Any) -> list[Any]:
    with parts.database.reading() as db:
        return list(db.execute(statement).all())


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("broker", ["embedded_nats", "mosquitto"])
def test_what_good_devices_say_is_kept_once_whatever_bad_ones_do(
    broker: str, tmp_path: Path
) -> None:
    if broker == "mosquitto":
        program("mosquitto")
    with running(tmp_path, broker) as (shop, parts):
        code, said, complaint = shop.swarm(
            "--devices", "40", "--readers", "2", "--sale-every", "8", "--heartbeat", "2",
            "--connect-within", "3", "--misbehave", "0.4", "--seconds", "35",
        )  # fmt: skip
        assert (code, complaint.count("Traceback")) == (0, 0), complaint[-2000:]
        ledger = rows(
            parts,
            select(TRANSACTIONS.c.session_id),
        )
        devices = {row.id: row for row in rows(parts, select(DEVICES))}
        kept = rows(parts, select(QUARANTINE.c.device_id))
        told = rows(parts, select(EVENTS.c.device_id, EVENTS.c.kind))

    assert len(ledger) == len({row.session_id for row in ledger})
    assert said["acknowledged"] <= len(ledger) <= said["sales"]
    # The one that is forged by the spy: nobody ever said a word for it but itself.
    assert said["sales"] - said["acknowledged"] == said["waiting"]
    victim = devices["dev-swarm0000039"]
    gone = [row.kind for row in told if row.device_id == victim.id and row.kind == "device.offline"]
    assert (victim.conn, gone) == (1, [])
    assert f"dev-swarm{VICES.index(Vice.GARBLING):07d}" in {row.device_id for row in kept}
    assert all(devices[f"dev-swarm{number:07d}"].is_online for number in range(16, 39))


@pytest.mark.timeout(120)
def test_a_swarm_that_comes_again_goes_on_with_its_numbers(tmp_path: Path) -> None:
    options = ("--devices", "3", "--sale-every", "1", "--connect-within", "1", "--seconds", "6")
    with running(tmp_path, "embedded_nats") as (shop, parts):
        first, second = shop.swarm(*options)[1], shop.swarm(*options)[1]
        ledger = rows(parts, select(func.count()).select_from(TRANSACTIONS))[0][0]
        epochs = {row.epoch for row in rows(parts, select(TRANSACTIONS.c.epoch))}
        count = rows(parts, select(func.count()).select_from(DEVICES))[0][0]

    assert (count, epochs) == (3, {1})
    assert first["acknowledged"] + second["acknowledged"] <= ledger
    assert ledger <= first["sales"] + second["sales"]


def test_a_swarm_is_refused_where_money_is_real(tmp_path: Path) -> None:
    shop = Installation(tmp_path, "embedded_nats")
    shop.environment["OMNITILL_MODE"] = "live"

    code, figures, complaint = shop.swarm("--devices", "3")

    assert (code, figures) == (1, {})
    assert "A swarm is for demo and test" in complaint
    assert not (tmp_path / "data" / "swarm").exists()


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        (["--devices", "0"], "1 to 100000"),
        (["--misbehave", "2"], "0 to 1"),
        (["--vices", "rude"], "there is no rude"),
    ],
)
def test_a_wish_that_cannot_be_is_explained(tmp_path: Path, option: list[str], fix: str) -> None:
    code, _, complaint = Installation(tmp_path, "embedded_nats").swarm(*option)

    assert code == 2
    assert fix in complaint
