"""What the simulated terminals of several protocols share: faults that strike so often, and cards no bank issued."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.errors import CommandNotPossible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: Test numbers of the schemes; masked as a terminal sends them.
CARDS: Final[Mapping[str, str]] = {
    "visa": "4111111111111111",
    "mastercard": "5555555555554444",
    "amex": "378282246310005",
    "maestro": "6759649826438453",
}


@dataclass(slots=True)
class _Armed:
    name: str
    left: int | None
    chance: float


class Faults:
    """Faults by name, each written ``NAME`` (once), ``NAME:3``, ``NAME:0.1`` (one time in ten) or ``NAME:always``."""

    def __init__(
        self,
        known: Mapping[str, str],
        texts: Iterable[str] = (),
        roll: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """``roll`` gives a number in [0, 1) for each chance taken. Raises CommandNotPossible as ``arm`` does."""
        self._known = known
        self._roll = roll
        self._armed: list[_Armed] = []
        for text in texts:
            self.arm(text)

    def arm(self, text: str) -> None:
        """One more fault may strike. Raises CommandNotPossible for a name or a number that means nothing."""
        name, _, often = text.partition(":")
        try:
            if name not in self._known:
                raise ValueError(name)  # noqa: TRY301 - refused in the same words
            is_chance = "." in often
            left = None if is_chance or often == "always" else int(often or 1)
            self._armed.append(_Armed(name, left, float(often) if is_chance else 1.0))
        except ValueError as error:
            raise CommandNotPossible(
                "no such fault; write NAME, NAME:always, NAME:3 or NAME:0.1",
                given=text,
                known=", ".join(self._known),
            ) from error

    def strikes(self, name: str) -> bool:
        """True when the fault is to happen now; one that strikes only so often has one strike less then."""
        for armed in self._armed:
            if armed.name != name or armed.left == 0:
                continue
            if armed.chance < 1 and self._roll() >= armed.chance:
                continue
            if armed.left is not None:
                armed.left -= 1
            return True
        return False


@dataclass(slots=True)
class Playbook:
    """Picks the story of each payment: the queue first, then the exact amount, then its last two digits.

    A story is a text: the name of a script, ``:`` and an argument where it takes one, ``+`` and faults.
    """

    default: str = "approve"
    queue: deque[str] = field(default_factory=deque)
    by_amount: Mapping[int, str] = field(default_factory=dict)
    by_last_digits: Mapping[int, str] = field(default_factory=dict)

    def next_story(self, amount_minor: int) -> str:
        """The story of the payment that begins now."""
        if self.queue:
            return self.queue.popleft()
        return self.by_amount.get(
            amount_minor, self.by_last_digits.get(amount_minor % 100, self.default)
        )
