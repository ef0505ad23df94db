"""Reader protocols by name. Nothing lists them: a protocol is a package beside this module.

It has ``machine.make_host`` (drives a reader), ``peer.make_terminal`` (plays one, for simulators) and
``decode.describe`` (shows a recorded message). Only the part that is asked for is imported.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from protocols import readers
from protocols.errors import CommandNotPossible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from protocols.readers.protocol import ReaderMachine, TerminalMachine


def names() -> list[str]:
    """Every protocol there is; none is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(readers.__path__) if found.ispkg)


def host_machine(name: str, framing: str, settings: Mapping[str, Any]) -> ReaderMachine:
    """The side that drives a reader.

    ``framing`` is what the transport needs (``tcp``, ``serial``); ``settings`` is the ``[protocol]`` table of a reader
    profile, with secrets as ``Secret``. Raises CommandNotPossible for a protocol, framing or setting that there is not.
    """
    machine: ReaderMachine = _part(name, "machine").make_host(framing, settings)
    return machine


def terminal_machine(name: str, framing: str, settings: Mapping[str, Any]) -> TerminalMachine:
    """The side that plays a reader. ``settings``: see the protocol's ``peer.make_terminal``. Raises as above."""
    machine: TerminalMachine = _part(name, "peer").make_terminal(framing, settings)
    return machine


@dataclass(frozen=True, slots=True)
class Repertoire:
    """What a protocol's simulated terminal can play. Each name stands with one line of English."""

    scripts: Mapping[str, str]
    faults: Mapping[str, str]
    digits: Mapping[int, tuple[str, str]]
    """The last two digits of an amount, the script they choose, and what that is."""
    controls: Mapping[str, str]
    """What somebody at the terminal can do, for its ``control``."""


def repertoire(name: str) -> Repertoire:
    """For simulators. Raises CommandNotPossible as above."""
    peer = _part(name, "peer")
    return Repertoire(peer.SCRIPTS, peer.FAULTS, peer.DIGITS, peer.CONTROLS)


def recorded_framings(name: str) -> tuple[str, ...]:
    """How a recorded message may be cut, for ``describe``; the usual one first. Raises as above."""
    framings: tuple[str, ...] = _part(name, "decode").FRAMINGS
    return framings


def describe(name: str, recorded: bytes, *, framing: str) -> dict[str, Any]:
    """A recorded message, JSON-able and masked. Raises MalformedMessage, or CommandNotPossible as above."""
    described: dict[str, Any] = _part(name, "decode").describe(recorded, framing=framing)
    return described


def _part(name: str, part: str) -> ModuleType:
    if name not in names():
        raise CommandNotPossible(
            "there is no reader protocol of this name", name=name, known=", ".join(names())
        )
    return import_module(f"protocols.readers.{name}.{part}")
