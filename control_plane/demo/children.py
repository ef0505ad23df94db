"""Programs that the demo starts: kept running, shown when they die, ended by their own process ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from control_plane.programs import ending_with_us

_RESTART_S: Final = (0.5, 1.0, 2.0, 5.0)
_LOOK_S: Final = 0.1
_STOP_S: Final = 5.0
_LAST_LINES: Final = 8
#: A child that ran this long had a good start; the next death counts anew.
_GOOD_RUN_S: Final = 30.0


class ProgramMissing(Exception):
    """A program of ours is not beside this one. The text says how to get it."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended."""

    name: str
    exit_code: int
    """Negative: ended by that signal."""
    last_lines: list[str]
    restarts_in_s: float


@dataclass(slots=True)
class _Child:
    name: str
    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes]
    started_at: float
    environment: Mapping[str, str]
    deaths: int = 0
    restart_at: float | None = None


@dataclass(slots=True)
class Children:
    """Starts programs and keeps them running until ``stop``. Each writes to a log file in ``folder``.

    They end with the thread that starts them, so that is to be one that stays.
    """

    folder: Path
    on_death: Callable[[Death], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Pauses before a dead child is started again, the last one repeated.
    restart_s: Sequence[float] = _RESTART_S
    _children: dict[str, _Child] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        """Run it, from now on. ``environment``: what it gets besides what all get."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        with self._lock:
            own = environment or {}
            process = self._spawn(command, log, own)
            self._children[name] = _Child(name, command, log, process, time.monotonic(), own)
            if self._thread is None:
                self._thread = threading.Thread(target=self._mind, name="children", daemon=True)
                self._thread.start()

    def run(self, name: str, command: Sequence[str], *, timeout_s: float = 30.0) -> None:
        """Run a program to its end. Raises RuntimeError with what it said when it did not succeed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        process = self._spawn(command, log, {})
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        if code != 0:
            said = "\n  ".join(last_lines(log))
            ended = f"ended with {code}" if code is not None else f"took more than {timeout_s} s"
            raise RuntimeError(f"{name} {ended}:\n  {said}")

    def pid(self, name: str) -> int | None:
        """Of a running child."""
        child = self._children.get(name)
        return child.process.pid if child and child.process.poll() is None else None

    def stop(self) -> None:
        """End all, the youngest first. Can be called twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            children = list(reversed(self._children.values()))
            self._children.clear()
        for child in children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + _STOP_S
        for child in children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def _spawn(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                ending_with_us(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **environment},
                # Ctrl-C in a terminal reaches us alone, and we end them in order.
                start_new_session=True,
            )

    def _mind(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            with self._lock:
                for child in self._children.values():
                    self._look_after(child)

    def _look_after(self, child: _Child) -> None:
        now = time.monotonic()
        if child.restart_at is not None:
            if now >= child.restart_at:
                child.process = self._spawn(child.command, child.log, child.environment)
                child.started_at, child.restart_at = now, None
            return
        code = child.process.poll()
        if code is None:
            return
        child.deaths = 0 if now - child.started_at > _GOOD_RUN_S else child.deaths
        pause_s = self.restart_s[min(child.deaths, len(self.restart_s) - 1)]
        child.deaths += 1
        child.restart_at = now + pause_s
        self.on_death(Death(child.name, code, last_lines(child.log), pause_s))


def last_lines(log: Path, count: int = _LAST_LINES) -> list[str]:
    """The end of a log file."""
    with contextlib.suppress(FileNotFoundError):
        return log.read_text(errors="replace").splitlines()[-count:]
    return []


def program(name: str) -> str:
    """The path of a program that was installed together with this one. Raises ProgramMissing."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ProgramMissing(
            f"The program {name} is not installed here. Install omnitill with its extras agent and control-plane."
        )
    return found
