"""The program `omnitill-agent`, started as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "omnitill-agent"


@dataclass(frozen=True)
class Ended:
    """What a finished run said."""

    code: int
    lines: list[dict[str, Any]]  # as the program wrote them
    complaint: str


def start_agent(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start `omnitill-agent` with pipes; the caller ends it. `environment` is added to this process's own."""
    return subprocess.Popen(
        [str(PROGRAM), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def run_agent(
    *arguments: str,
    said: str | None = None,
    timeout_s: float = 30,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run `omnitill-agent` to its end; `said` is its standard input."""
    process = start_agent(*arguments, environment=environment)
    try:
        out, err = process.communicate(said, timeout=timeout_s)
    finally:
        process.kill()
        process.wait()
    return Ended(process.returncode, [json.loads(line) for line in out.splitlines()], err)


def run_help(command: str) -> str:
    """What a command says of itself."""
    return subprocess.run(
        [str(PROGRAM), command, "--help"], capture_output=True, text=True, check=True, timeout=30
    ).stdout


def examples_of(command: str) -> list[str]:
    """The lines of its example, as a shell would join them."""
    _, _, example = run_help(command).partition("Example:\n")
    return [line.strip() for line in example.replace("\\\n", " ").splitlines() if line.strip()]


class Simulation:
    """A running `omnitill-agent simulate`."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready
        self.address: str = ready["address"]
        self._control: str = ready["control"]

    def books(self) -> dict[str, Any]:
        """What the simulated reader itself believes."""
        return self._ask("state", None)

    def play(self, trick: str, **asked: object) -> dict[str, Any]:
        """A trick of its control port."""
        return self._ask(f"actions/{trick}", asked)

    def refuse(self, trick: str, **asked: object) -> str:
        """What it says to a trick that it refuses."""
        try:
            self._ask(f"actions/{trick}", asked)
        except urllib.error.HTTPError as refused:
            with refused:
                return str(json.load(refused)["refused"])
        raise AssertionError(f"{trick} was not refused")

    def page(self, language: str) -> str:
        """Its page, for a browser of that language."""
        request = urllib.request.Request(self._control, headers={"Accept-Language": language})  # noqa: S310 (loopback)
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return str(answer.read().decode())

    def press(self, button: str, **fields: str) -> None:
        """A button of its page, as a browser sends the form."""
        body = urllib.parse.urlencode(fields).encode()
        url = f"{self._control}/actions/{button}"
        with urllib.request.urlopen(url, body, timeout=5) as answer:  # noqa: S310
            answer.read()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def _ask(self, path: str, body: dict[str, object] | None) -> dict[str, Any]:
        payload = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._control}/{path}", payload)  # noqa: S310 (loopback)
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            answered: dict[str, Any] = json.load(answer)
            return answered


@contextlib.contextmanager
def simulation(*arguments: str, protocol: str = "zvt") -> Iterator[Simulation]:
    """A simulated reader with a control port, gone at the end."""
    process = start_agent("simulate", protocol, "--control", "127.0.0.1:0", *arguments)
    assert process.stdout is not None
    first = process.stdout.readline()
    if not first:
        _, complaint = process.communicate(timeout=10)
        raise AssertionError(f"no simulator: {complaint}")
    running = Simulation(process, json.loads(first))
    try:
        yield running
    finally:
        if process.poll() is None:
            running.stop(signal.SIGKILL)


def is_gone(path: Path) -> bool:
    """Whether there is not even a dangling link."""
    return not os.path.lexists(path)
