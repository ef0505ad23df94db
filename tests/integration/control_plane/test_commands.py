"""The command ``omnitill`` as a person types it; in a process of its own where signals matter."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

import control_plane.commands
from control_plane.cli import main
from control_plane.discovery import names_in
from tests.support.ports import free_port
from tests.support.waiting import eventually

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Told:
    """What a command said."""

    returncode: int
    stdout: str
    stderr: str


class Omnitill:
    """Runs the command with a data folder of its own: here, or started as a process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("OMNITILL_")]:
            if not name.startswith("OMNITILL_TEST_"):
                monkeypatch.delenv(name)
        self.set("DATA_DIR", str(folder / "data"))
        self.set("SIGN_IN__MEMORY_KIB", "64")
        self.set("BROKER__KIND", "none")
        self.set("MODE", "test")

    def set(self, name: str, value: str) -> None:
        self._monkeypatch.setenv(f"OMNITILL_{name}", value)

    def __call__(self, *arguments: str, given: str = "") -> Told:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(given))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(arguments)
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Told(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "control_plane.cli", *arguments],
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    def add_ada(self) -> Told:
        return self(
            "user", "add", "ada@example.com", "--merchant", "Café", "--password-stdin",
            given=PASSWORD + "\n",
        )  # fmt: skip


@pytest.fixture
def omnitill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Omnitill:
    (tmp_path / "data").mkdir(mode=0o700)
    return Omnitill(tmp_path, monkeypatch)


NAMES = [name.replace("_", "-") for name in names_in(control_plane.commands)]


def test_help_lists_every_command(omnitill: Omnitill) -> None:
    shown = omnitill("--help")

    assert shown.returncode == 0
    assert "Example:" in shown.stdout
    for name in NAMES:
        # A long name has its help on a line of its own.
        assert f"\n    {name}\n" in shown.stdout or f"\n    {name} " in shown.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_each_command_shows_an_example(omnitill: Omnitill, name: str) -> None:
    shown = omnitill(name, "--help")

    assert shown.returncode == 0
    assert f"omnitill {name}" in shown.stdout.partition("Example:")[2]


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_from_an_empty_folder_to_a_signed_in_owner(omnitill: Omnitill) -> None:
    port = free_port()
    added = omnitill.add_ada()
    server = omnitill.start("serve", "--port", str(port))
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(url), deadline_s=100)
        with httpx2.Client(base_url=url) as browser:
            credentials = {"email": "ada@example.com", "password": PASSWORD}
            browser.post("/v1/sign-in", json=credentials).raise_for_status()
            me = browser.get("/v1/me").json()
    finally:
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=15)

    assert (added.returncode, me["role"], me["merchant_name"]) == (0, "owner", "Café")
    assert server.returncode == 0, log


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def test_a_worker_ends_on_a_signal(omnitill: Omnitill) -> None:
    omnitill("db", "upgrade")
    worker = omnitill.start("worker", "--threads", "1")
    assert worker.stderr is not None
    for line in worker.stderr:
        if "leadership_taken" in line:
            break

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=15) == 0
    worker.stderr.close()


def test_an_altered_activity_log_is_told(omnitill: Omnitill) -> None:
    omnitill.add_ada()
    before = omnitill("audit", "verify")
    with sqlite3.connect(omnitill.folder / "data" / "omnitill.sqlite3") as database:
        database.execute("UPDATE audit_event SET actor_name = 'Eve' WHERE seq = 2")
    after = omnitill("audit", "verify")

    assert (before.returncode, after.returncode) == (0, 1)
    assert "intact, 2 events" in before.stdout
    assert "Event 2 is not as it was written." in after.stdout


def test_a_user_is_not_added_twice_nor_with_a_weak_password(omnitill: Omnitill) -> None:
    omnitill.add_ada()
    again = omnitill.add_ada()
    weak = omnitill("user", "add", "noe@example.com", "--password-stdin", given="short\n")

    assert (again.returncode, weak.returncode) == (1, 1)
    assert "already signs in here" in again.stderr
    assert "Choose a password of 10 to 256 characters." in weak.stderr


def test_a_cashier_is_confined_to_a_shop_that_is_made_on_the_way(omnitill: Omnitill) -> None:
    omnitill.add_ada()
    added = omnitill(
        "user", "add", "noe@example.com", "--role", "cashier", "--location", "Lyon",
        "--password-stdin", given=PASSWORD + "\n",
    )  # fmt: skip

    with sqlite3.connect(omnitill.folder / "data" / "omnitill.sqlite3") as database:
        (lyon,) = database.execute("SELECT id FROM location WHERE name = 'Lyon'").fetchone()
        (places,) = database.execute(
            "SELECT location_ids FROM membership WHERE role = 'cashier'"
        ).fetchone()
    assert added.returncode == 0
    assert json.loads(places) == [lyon]


def test_the_schema_is_brought_up_and_down_and_compared(omnitill: Omnitill) -> None:
    before = omnitill("db", "check")
    up = omnitill("db", "upgrade")
    same = omnitill("db", "check")
    down = omnitill("db", "downgrade")
    after = omnitill("db", "check")

    assert [one.returncode for one in (before, up, same, down, after)] == [1, 0, 0, 0, 1]
    assert "Run: omnitill db upgrade" in before.stdout


def test_the_doctor_names_each_ill_and_its_cure(omnitill: Omnitill) -> None:
    omnitill.set("DATABASE_URL", f"postgresql://nobody:hunter2@127.0.0.1:{free_port()}/x")
    (omnitill.folder / "data").chmod(0o755)

    told = omnitill("doctor")

    assert told.returncode == 1
    assert "does not answer" in told.stdout
    assert "correct OMNITILL_DATABASE_URL" in told.stdout
    assert "chmod 700" in told.stdout
    assert "hunter2" not in told.stdout + told.stderr


def test_the_doctor_finds_a_shop_in_order(omnitill: Omnitill) -> None:
    omnitill.add_ada()

    told = omnitill("doctor")

    assert told.returncode == 0, told.stdout
    assert "✗" not in told.stdout


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
def test_the_contracts_are_printed_as_json_without_any_database(
    omnitill: Omnitill, name: str
) -> None:
    shown = omnitill(name)

    document = json.loads(shown.stdout)
    assert document[name].startswith("3.")
    assert list((omnitill.folder / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/x"),
        ("SECRET_KEY", "c2hvcnQ="),
    ],
)
def test_what_keeps_a_command_from_starting_is_said_without_a_traceback(
    omnitill: Omnitill, variable: str, value: str
) -> None:
    omnitill.set(variable, value)

    told = omnitill("db", "upgrade")

    assert told.returncode == 2
    assert "Traceback" not in told.stderr
    assert "omnitill doctor" in told.stderr
