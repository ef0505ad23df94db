"""The readers of the demo's shop: which there are, on which line, and how each is played."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from control_plane.demo import ports
from control_plane.demo.children import last_lines, program

_READY_S: Final = 20.0
_LOOK_S: Final = 0.05


class TerminalSilent(RuntimeError):
    """A simulated reader did not start. The text holds what it said."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that is not there."""

    name: str
    protocol: str
    profile: str
    address: str
    command: list[str]
    #: Where it tells its own books, and takes tricks.
    control: str
    #: It decides by itself. The others seal what they read, and want a processor that opens it.
    authorises: bool = True

    @property
    def line(self) -> str:
        """``serial``, ``tcp``, ``usb`` or ``ble``."""
        return self.address.partition(":")[0]


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    protocol: str
    profile: str
    line: str
    more: tuple[str, ...] = ()
    authorises: bool = True


#: Those that need nothing but this machine.
_PARTS: Final = (
    _Part("Counter", "zvt", "generic-zvt-serial", "serial", ("--terminal-id", "52500041")),
    _Part("Terrace", "zvt", "generic-zvt-tcp", "tcp", ("--terminal-id", "52500042")),
    _Part("Bar", "ecr17", "generic-ecr17-tcp", "tcp", ("--terminal-id", "00000043")),
    _Part("Kiosk", "concert", "generic-concert-cdc", "serial"),
    _Part("Window", "magtek_mms", "magtek-dynaprox", "serial", authorises=False),
    _Part("Corner", "idtech_neo", "idtech-vp3300", "serial", authorises=False),
)
#: Those that need umockdev, and a D-Bus of their own.
_MORE_PARTS: Final = (
    _Part("Stand", "magtek_mms", "magtek-dynaflex", "usb", authorises=False),
    _Part("Garden", "magtek_mms", "magtek-dynaflex-ii-go", "ble", authorises=False),
)
#: Radio and USB addresses that the simulators take when nobody chooses another one.
_MAC: Final = "C2:00:5E:00:53:01"
_USB: Final = "usb://0801:2020/SIM00001"


def cast_of(host: str, folder: Path, pace: float, *, is_full: bool) -> list[Terminal]:
    """One on each line that this machine can offer; ``is_full``: on all that there are."""
    parts = (*_PARTS, *(_MORE_PARTS if is_full else ()))
    return [_terminal(part, host, folder, pace) for part in parts]


def heard_from(terminals: Sequence[Terminal], logs: Path) -> dict[str, str]:
    """What the agent's environment must name to find those on USB and Bluetooth, once they are there.

    Raises TerminalSilent with what a simulator said instead.
    """
    environment: dict[str, str] = {}
    deadline = time.monotonic() + _READY_S
    for terminal in terminals:
        if terminal.line not in {"usb", "ble"}:
            continue
        while (ready := _ready(logs / f"{terminal.name}.log")) is None:
            if time.monotonic() > deadline:
                said = "\n  ".join(last_lines(logs / f"{terminal.name}.log"))
                raise TerminalSilent(
                    f"The simulated reader {terminal.name} is not there:\n  {said}"
                )
            time.sleep(_LOOK_S)
        environment |= ready["environment"]
    return environment


def _ready(log: Path) -> Any:
    """The last line in which a simulator says that it is there."""
    for line in reversed(last_lines(log, 50)):
        if line.startswith('{"ready"'):
            return json.loads(line)
    return None


def _terminal(part: _Part, host: str, folder: Path, pace: float) -> Terminal:
    control = f"{host}:{ports.any_free(host)}"
    slug = part.name.lower().replace(" ", "-")
    match part.line:
        case "tcp":
            place = f"{host}:{ports.any_free(host)}"
            address, where = f"tcp://{place}", ["--tcp", place]
        case "serial":
            pty = folder / f"{slug}.tty"
            address, where = f"serial://{pty}", ["--pty", str(pty)]
        case "usb":
            address, where = _USB, ["--usb"]
        case _:
            address, where = f"ble://{_MAC}", ["--ble", _MAC]
    command = [
        program("omnitill-agent"), "simulate", part.protocol, *where, *part.more,
        "--profile", part.profile,
        "--name", part.name,
        "--state", str(folder / f"{slug}.json"),
        "--control", control,
        "--pace", str(pace),
    ]  # fmt: skip
    return Terminal(
        part.name,
        part.protocol,
        part.profile,
        address,
        command,
        f"http://{control}",
        part.authorises,
    )
