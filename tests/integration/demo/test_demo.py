"""The demo as a person runs it: the command, its words, its end; and its own check on each broker and database."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from control_plane.demo import seed
from control_plane.demo.children import program
from tests.fixtures.postgres import PostgresServer
from tests.support.ports import LOOPBACK, free_port
from tests.support.programs import program as system_program
from tests.support.programs import programs_that_name
from tests.support.waiting import eventually

CHECK_S = 90


@contextmanager
def demo(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running demo, and the file of what it says."""
    said = folder / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [program("omnitill"), "demo", "--data-dir", str(folder / "shop"), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, said
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(CHECK_S + 30)
@pytest.mark.parametrize("broker", ["nats", "mosquitto"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_demo_checks_itself_to_the_cent(
    broker: str, database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    words = ["--check", "--broker", broker, "--port", str(free_port())]
    lines = {"Counter": "serial", "Terrace": "tcp", "Bar": "tcp", "Kiosk": "serial"}
    lines |= {"Window": "serial", "Corner": "serial"}
    if (broker, database) == ("nats", "sqlite"):
        system_program("umockdev-wrapper")
        system_program("dbus-daemon")
        words.append("--full")
        lines |= {"Stand": "usb", "Garden": "ble"}
    if broker == "mosquitto":
        system_program("mosquitto")
    if database == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create_database()
        request.addfinalizer(lambda: server.drop_database(url))
        words += ["--database", url]

    done = subprocess.run(
        [program("omnitill"), "demo", *words],
        cwd=tmp_path,
        capture_output=True,
        timeout=CHECK_S,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["ok"], found["failures"]) == (True, [])
    assert (found["broker"], found["database"].startswith(database)) == (broker, True)
    assert found["ready"] == lines
    terminals = {one["name"]: one for one in found["terminals"]}
    sealed = {"Window", "Corner", "Stand", "Garden"} & lines.keys()
    assert terminals.keys() == {"Counter", "Terrace", "Bar", "Kiosk"} | sealed
    stories = [
        ("approved", "approved"),
        ("declined", "declined"),
        ("cancelled", "cancelled"),
        ("lost_answer", "approved"),
    ]
    whole = {"count": 2, "sum_minor": 12_34 + 40_97}
    for terminal in (one for name, one in terminals.items() if name not in sealed):
        # Concert knows neither a cancel nor a question after the last payment.
        is_concert = terminal["name"] == "Kiosk"
        assert [(sale["story"], sale["state"]) for sale in terminal["sales"]] == (
            stories[:2] if is_concert else stories
        )
        sums = {"count": 1, "sum_minor": 12_34} if is_concert else whole
        assert terminal["ledger"] == terminal["books"] == sums
    for name in sealed:
        # The acquirer's books are one for all of them; the check has compared their sum.
        assert terminals[name]["ledger"] == {"count": 2, "sum_minor": 21_00 + 18_11}


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_person_sees_the_address_signs_in_and_stops_everything_with_ctrl_c(
    tmp_path: Path,
) -> None:
    with socket.socket() as taken, demo(tmp_path, "--port", _occupied(taken)) as (process, said):
        eventually(lambda: "Ctrl-C" in said.read_text(), deadline_s=30)
        words = said.read_text()
        url = re.search(r"http://127\.0\.0\.1:\d+", words)
        assert url is not None
        assert httpx2.get(f"{url[0]}/sign-in", timeout=5).status_code == 200
        process.send_signal(signal.SIGINT)
        code = process.wait(30)

    assert code == 0
    assert "is taken)" in words
    assert {person.email for person in seed.PEOPLE} <= set(re.findall(r"\S+@\S+", words))
    assert "Counter  on a serial line, ready" in words
    assert "Terrace  on the network, ready" in words
    assert programs_that_name(str(tmp_path / "shop")) == []


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_agent_that_is_killed_is_shown_and_comes_back(tmp_path: Path) -> None:
    with demo(tmp_path, "--port", str(free_port())) as (_, said):
        eventually(lambda: "Ctrl-C" in said.read_text(), deadline_s=30)
        (pid,) = agents(tmp_path)
        os.kill(pid, signal.SIGKILL)

        eventually(lambda: "agent ended with -9" in said.read_text(), deadline_s=10)
        eventually(lambda: agents(tmp_path) not in ([], [pid]), deadline_s=10)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    with demo(tmp_path, "--port", str(free_port())) as (process, said):
        eventually(lambda: "Ctrl-C" in said.read_text(), deadline_s=30)
        were_there = programs_that_name(str(tmp_path / "shop"))
        (_,) = agents(tmp_path)
        process.kill()
        process.wait()

        eventually(lambda: programs_that_name(str(tmp_path / "shop")) == [], deadline_s=10)
        eventually(lambda: agents(tmp_path) == [], deadline_s=10)

    assert any("nats-server" in one for one in were_there)
    assert any("simulate" in one for one in were_there)


def agents(folder: Path) -> list[int]:
    """Process ids of the agent that keeps its state in this demo."""
    mark = f"OMNITILL_AGENT_CONFIG={folder}/shop/agent.toml".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in environment and command[-2:-1] == [b"run"]:
            found.append(int(process.name))
    return found


def _occupied(taken: socket.socket) -> str:
    taken.bind((LOOPBACK, 0))
    taken.listen()
    return str(taken.getsockname()[1])
