"""How a simulated reader is set up: which amounts tell which story, and what it is made of."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from protocols.readers import registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.clock import Clock
    from protocols.readers.protocol import TerminalMachine

#: The last two digits of an amount choose what happens to it; every other amount is approved.
STORIES: Final[Mapping[int, tuple[str, str]]] = {
    5: ("decline:05", "declined by the bank"),
    6: ("slow", "approved after a long while"),
    7: ("card_left_in", "approved; the card is not taken out at once"),
    8: ("cancel", "the customer presses the red key"),
    9: ("wrong_pin", "approved after a wrong PIN"),
    10: ("pin", "approved with PIN"),
    11: ("signature", "approved by magnetic stripe, to be signed"),
    # The bank's answers 14, 51 and 54, in hexadecimal: 01 to 63 on the line are 1 to 99.
    14: ("decline:0E", "declined: no such card"),
    51: ("decline:33", "declined: not enough money"),
    54: ("decline:36", "declined: card expired"),
    91: ("host_gone", "the bank cannot be reached"),
    94: ("approve+busy", "the reader is busy and does not begin"),
    95: ("approve+never_answers", "the reader does not answer; nothing is charged"),
    96: ("approve+reboot", "the reader restarts; nothing is charged"),
    97: ("approve+drop_after_start+stands", "the line drops at once; charged all the same"),
    98: (
        "approve+drop_after_result",
        "the line drops with the answer; taken back, unless the till returns in time",
    ),
    99: ("approve+drop_before_completion", "the answer is lost; charged"),
}


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

    Without `script` the amounts choose (`STORIES`). Raises CommandNotPossible for a protocol, script or fault that
    there is not.
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
        settings["by_last_digits"] = {digits: story for digits, (story, _) in STORIES.items()}
    else:
        settings["script"] = script
    return registry.terminal_machine(protocol, framing, settings)


def _at_zero(shown: datetime, clock: Clock) -> datetime:
    """What the terminal's clock showed when `Clock.elapsed` was zero."""
    return shown - timedelta(seconds=clock.elapsed())
