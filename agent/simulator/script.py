"""How a simulated reader is set up, whatever protocol it speaks."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from protocols.readers import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.clock import Clock
    from protocols.readers.protocol import TerminalMachine


def terminal(
    protocol: str,
    framing: str,
    clock: Clock,
    *,
    snapshot: Mapping[str, Any] | None = None,  # as the protocol's own terminal wrote it
    script: str | None = None,
    faults: Sequence[str] = (),
    pace: float = 1.0,
    seed: int | None = None,
    **identity: object,
) -> TerminalMachine:
    """A terminal machine whose clock shows local time.

    Without `script` the amounts choose (`registry.repertoire`). Raises CommandNotPossible for a protocol, script, fault
    or fact of its identity that there is not.
    """
    shown = clock.now().astimezone().replace(tzinfo=None)
    settings: dict[str, Any] = {
        "faults": tuple(faults),
        "pace": pace,
        "reboot_s": max(1.0, 20 * pace),
        "starts_at": _at_zero(shown, clock),
        "roll": random.Random(seed).random,  # noqa: S311 (chance of a simulated fault)
        **{name: value for name, value in identity.items() if value is not None},
    }
    if snapshot is not None:
        settings["snapshot"] = snapshot
    if script is None:
        digits = registry.repertoire(protocol).digits
        settings["by_last_digits"] = {number: story for number, (story, _) in digits.items()}
    else:
        settings["script"] = script
    return registry.terminal_machine(protocol, framing, settings)


def _at_zero(shown: datetime, clock: Clock) -> datetime:
    """What the terminal's clock showed when `Clock.elapsed` was zero."""
    return shown - timedelta(seconds=clock.elapsed())
