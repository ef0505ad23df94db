"""A whole installation in a process of its own: `omnitill serve --all`, and a look into its database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2

from control_plane.app import build
from control_plane.config import BrokerSettings, LogSettings, Settings
from control_plane.parts import Parts
from tests.support.ports import LOOPBACK, free_port
from tests.support.programs import program
from tests.support.waiting import eventually

OMNITILL = str(Path(sys.executable).with_name("omnitill"))
Kind = Literal["embedded_nats", "mosquitto"]
BROKERS: tuple[Kind, ...] = ("embedded_nats", "mosquitto")


class Installation:
    """`omnitill serve --all` in a process of its own, and a look into its database."""

    def __init__(self, folder: Path, broker: Kind) -> None:
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
        """Whether it says so itself."""
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
def running(folder: Path, broker: Kind) -> Iterator[tuple[Installation, Parts]]:
    """One that is ready, and the parts of a process beside it."""
    if broker == "mosquitto":
        program("mosquitto")
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
