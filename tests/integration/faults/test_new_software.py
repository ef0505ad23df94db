"""New software for a reader with every program real: control plane, broker, agent, terminal; the agent killed midway.

Uploaded and ordered over the API, downloaded and checked by the agent, handed over, verified. A kill -9 in the middle
of the transfer or while it verifies leads to no second transfer.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agent.firmware import jobs
from agent.firmware.jobs import JobState
from agent.journal import JournalUnwritable, open_read_only
from control_plane.accounts import service
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import Permission, Role
from control_plane.accounts.sign_in import scope_of
from control_plane.app import build
from control_plane.config import Settings
from control_plane.db import migrate
from control_plane.demo import seed
from control_plane.demo.children import Children, program
from tests.support.firmware import NEW, OLD, PROFILE, image
from tests.support.ports import LOOPBACK, free_port
from tests.support.waiting import eventually

CONTENT = image(size=8_000_000)
PIECE = 2 * 1024 * 1024
FINAL = {"done", "failed", "unknown"}


@dataclass
class Shop:
    """One terminal, its agent, and the control plane, each its own process."""

    api: httpx2.Client
    children: Children
    folder: Path

    def reader(self) -> Any:
        return next(iter(self.api.get("/v1/readers").json()["items"]), None)

    def upload(self) -> str:
        wanted = {
            "profile": PROFILE, "component": "app", "version": NEW, "number": 16, "size": len(CONTENT),
            "sha256": hashlib.sha256(CONTENT).hexdigest(), "is_vendor_signed": True,
        }  # fmt: skip
        release_id = str(self._ok("POST", "/v1/firmware-releases", json=wanted)["id"])
        told: Any = None
        for offset in range(0, len(CONTENT), PIECE):
            address = f"/v1/firmware-releases/{release_id}/file?offset={offset}"
            told = self._ok("PUT", address, content=CONTENT[offset : offset + PIECE])
        assert told == {"received": len(CONTENT), "size": len(CONTENT), "state": "ready"}
        return release_id

    def closings(self) -> Any:
        return self._ok("GET", "/v1/end-of-day")["items"]

    def order(self, release_id: str, **more: Any) -> str:
        address = f"/v1/readers/{self.reader()['id']}/firmware-updates"
        return str(self._ok("POST", address, json={"release_id": release_id, **more})["id"])

    def update(self, job_id: str) -> Any:
        address = f"/v1/readers/{self.reader()['id']}/firmware-updates"
        return next(one for one in self.api.get(address).json()["items"] if one["id"] == job_id)

    def ended(self, job_id: str) -> Any:
        eventually(lambda: self.update(job_id)["state"] in FINAL, deadline_s=90, poll_s=0.2)
        return self.update(job_id)

    def kill_agent_when(self, job_id: str, state: str) -> None:
        """As soon as the agent has written this state down."""
        eventually(lambda: self.journal(job_id)[:1] == (state,), deadline_s=60, poll_s=0.01)
        pid = self.children.pid("agent")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def journal(self, job_id: str) -> tuple[Any, ...]:
        """State and transfers begun, as the agent's journal has them."""
        with (
            suppress(JournalUnwritable, sqlite3.OperationalError),
            closing(open_read_only(self.folder / "agent")) as db,
        ):
            return next(((j.state, j.attempts) for j in jobs.everything(db) if j.id == job_id), ())
        return ()

    def downloaded(self) -> list[str]:
        return [path.name for path in (self.folder / "agent" / "firmware").glob("*")]

    def _ok(self, method: str, address: str, **more: Any) -> Any:
        answer = self.api.request(method, address, **more)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as things:
        yield open_shop(things, tmp_path)


def open_shop(things: ExitStack, folder: Path) -> Shop:
    port, broker_port, tcp = free_port(), free_port(), f"{LOOPBACK}:{free_port()}"
    environment = {
        "OMNITILL_DATA_DIR": str(folder / "data"),
        "OMNITILL_PORT": str(port),
        "OMNITILL_BROKER__KIND": "mosquitto",
        "OMNITILL_BROKER__PORT": str(broker_port),
        "OMNITILL_BROKER__PUBLIC_HOST": LOOPBACK,
        "OMNITILL_BROKER__PUBLIC_PORT": str(broker_port),
        "OMNITILL_AGENT_CONFIG": str(folder / "agent.toml"),
    }
    patch = things.enter_context(pytest.MonkeyPatch.context())
    for name, value in environment.items():
        patch.setenv(name, value)
    parts = build(Settings())
    things.callback(parts.close)
    migrate.upgrade(parts.database.engine)
    with parts.database.transaction() as db:
        furnished = seed.furnish(db, parts.passwords)
    with parts.database.transaction() as db:
        owner = Caller(
            kind=CallerKind.USER,
            id="system",
            name="Omnitill",
            scope=scope_of(furnished.merchant_id, Role.OWNER, None),
        )
        allowed = [
            Permission.READER_VIEW,
            Permission.READER_MANAGE,
            Permission.DEVICE_MANAGE,
            Permission.REPORT_VIEW,
        ]
        _, key = service.create_api_key(db, owner, name="new software", permissions=allowed)
        code = seed.enrolment_code(db, furnished.merchant_id, furnished.location_id).reveal()
    books = folder / "terminal.json"
    books.write_text(json.dumps({"software_version": OLD}))
    (folder / "agent.toml").write_text(
        f'state_dir = "{folder}/agent"\n[[readers]]\nname = "counter-1"\n'
        f'profile = "{PROFILE}"\naddress = "tcp://{tcp}"\n'
    )
    children = Children(folder / "logs", lambda _: None, environment, restart_s=[0.3])
    omnitill, agent = program("omnitill"), program("omnitill-agent")
    things.callback(children.stop)
    children.start(
        "terminal",
        [
            agent, "simulate", "zvt", "--tcp", tcp, "--state", str(books), "--pace", "0.1",
            "--profile", PROFILE,
        ],
    )  # fmt: skip
    children.start("serve", [omnitill, "serve"])
    children.start("ingest", [omnitill, "ingest", "--broker"])
    children.start("worker", [omnitill, "worker"])
    api = things.enter_context(
        httpx2.Client(
            base_url=f"http://{LOOPBACK}:{port}",
            headers={"Authorization": f"Bearer {key.reveal()}"},
            timeout=20,
        )
    )
    shop = Shop(api, children, folder)
    children.run(
        "sale",
        [
            agent,
            "sale",
            "--address",
            f"tcp://{tcp}",
            "--profile",
            PROFILE,
            "--amount",
            "12.00",
            "--currency",
            "EUR",
        ],
    )
    eventually(lambda: answers(api), deadline_s=60, poll_s=0.2)
    children.run("enrolment", [agent, "enroll", "--url", str(api.base_url), "--code", code])
    children.start("agent", [agent, "run"])
    eventually(
        lambda: shop.reader() and shop.reader()["state"] == "ready", deadline_s=60, poll_s=0.2
    )
    return shop


def answers(api: httpx2.Client) -> bool:
    try:
        return bool(api.get("/v1/readers").is_success)
    except httpx2.TransportError:
        return False


@pytest.mark.timeout(240)
def test_a_reader_gets_new_software_once_though_its_agent_is_killed_twice(shop: Shop) -> None:
    assert shop.reader()["software_version"] == OLD
    release_id = shop.upload()

    halved = shop.order(release_id, end_of_day=True)
    shop.kill_agent_when(halved, JobState.TRANSFERRING)
    first = shop.ended(halved)

    assert first["state"] == "failed", first
    assert "runs GER-APP-v2.0.9 as before" in first["text"]
    assert shop.journal(halved) == (JobState.FAILED, 1)
    (closed,) = eventually(shop.closings, deadline_s=90, poll_s=0.5)
    assert (closed["reader_minor"], closed["ledger_minor"]) == (1200, 0), closed

    again = shop.ended(shop.order(release_id))
    assert (again["state"], shop.journal(again["id"])) == ("failed", ())
    assert "did not end well before" in again["text"]

    meant = shop.order(release_id, end_of_day=True, despite_failure=True)
    shop.kill_agent_when(meant, JobState.VERIFYING)
    last = shop.ended(meant)

    assert (last["state"], last["version_before"]) == ("done", OLD), last
    assert shop.journal(meant) == (JobState.DONE, 1)
    eventually(lambda: shop.reader()["software_version"] == NEW, deadline_s=20)
    assert shop.reader()["state"] == "ready"
    eventually(lambda: shop.downloaded() == [], deadline_s=10)
