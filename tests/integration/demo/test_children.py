"""Programs that the demo starts stay up, are reported when they die, and go with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.demo import ports
from control_plane.demo.children import Children, Death, ProgramMissing, program
from tests.support.waiting import eventually

SLEEPER = [sys.executable, "-c", "import time\nprint('up', flush=True)\ntime.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)",
]


@pytest.fixture
def deaths() -> list[Death]:
    return []


@pytest.fixture
def children(tmp_path: Path, deaths: list[Death]) -> Iterator[Children]:
    started = Children(tmp_path, deaths.append)
    yield started
    started.stop()


def pid_of(children: Children, name: str) -> int:
    return eventually(lambda: children.pid(name))  # type: ignore[return-value]  # truthy


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_is_killed_is_reported_and_started_again(
    children: Children, deaths: list[Death], tmp_path: Path
) -> None:
    children.start("sleeper", SLEEPER)
    first = pid_of(children, "sleeper")
    eventually(lambda: "up" in (tmp_path / "sleeper.log").read_text())
    os.kill(first, signal.SIGKILL)

    second = eventually(lambda: (pid := children.pid("sleeper")) != first and pid)

    assert second
    assert [(one.name, one.exit_code, one.last_lines) for one in deaths] == [
        ("sleeper", -9, ["up"])
    ]


def test_a_child_that_dies_at_once_is_started_with_growing_pauses(
    children: Children, deaths: list[Death]
) -> None:
    children.start("fool", [sys.executable, "-c", "raise SystemExit('no such file')"])

    eventually(lambda: len(deaths) >= 2, deadline_s=10)

    assert [one.restarts_in_s for one in deaths[:2]] == [0.5, 1.0]
    assert deaths[0].last_lines == ["no such file"]
    assert deaths[0].exit_code == 1


def test_stopping_ends_every_child_also_a_stubborn_one(
    tmp_path: Path, deaths: list[Death], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.demo.children._STOP_S", 0.2)
    children = Children(tmp_path, deaths.append)
    children.start("polite", SLEEPER)
    children.start("stubborn", STUBBORN)
    pids = [pid_of(children, "polite"), pid_of(children, "stubborn")]
    eventually(lambda: "up" in (tmp_path / "stubborn.log").read_text())

    children.stop()
    children.stop()

    assert not any(is_running(pid) for pid in pids)
    assert deaths == []


def test_a_program_that_fails_says_what_it_said(children: Children) -> None:
    with pytest.raises(RuntimeError, match=r"enrol ended with 3:\n  the code is used up"):
        children.run(
            "enrol", [sys.executable, "-c", "print('the code is used up'); raise SystemExit(3)"]
        )


def test_a_program_that_hangs_is_ended(children: Children) -> None:
    with pytest.raises(RuntimeError, match="took more than"):
        children.run("hangs", SLEEPER, timeout_s=0.3)


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(ProgramMissing, match="omnitill-nonsense"):
        program("omnitill-nonsense")


def test_a_taken_port_gives_way_to_the_next() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert not ports.is_free("127.0.0.1", port)
        assert ports.next_free("127.0.0.1", port) > port
