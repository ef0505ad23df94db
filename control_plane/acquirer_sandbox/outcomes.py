"""What the issuer says, chosen by the last two digits of the amount."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Manner(StrEnum):
    """How the answer comes, or does not."""

    PLAIN = "plain"
    #: Reserves half.
    PARTIAL = "partial"
    #: Held for a person to look at.
    REVIEW = "review"
    #: After some seconds.
    SLOW = "slow"
    #: It happened; then the connection breaks.
    LOST_ANSWER = "lost_answer"
    #: Nothing happened; 500.
    SERVER_ERROR = "server_error"
    #: It happened; 502.
    SERVER_ERROR_AFTER = "server_error_after"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``code`` is ISO 8583 field 39."""

    code: str = "00"
    manner: Manner = Manner.PLAIN
    line: str = "approved"


OUTCOMES: Final[dict[int, Outcome]] = {
    1: Outcome("01", line="refer to the issuer"),
    4: Outcome("04", line="keep the card"),
    5: Outcome("05", line="declined"),
    10: Outcome("00", Manner.PARTIAL, "only half of it"),
    14: Outcome("14", line="no such card"),
    20: Outcome("00", Manner.SLOW, "approved, slowly"),
    21: Outcome("00", Manner.LOST_ANSWER, "approved, and the answer gets lost"),
    22: Outcome("00", Manner.SERVER_ERROR, "a server error, nothing happened"),
    23: Outcome("00", Manner.SERVER_ERROR_AFTER, "approved, and then a server error"),
    24: Outcome("00", Manner.REVIEW, "approved, to be reviewed"),
    41: Outcome("41", line="card reported lost"),
    43: Outcome("43", line="card reported stolen"),
    51: Outcome("51", line="not enough money"),
    54: Outcome("54", line="card expired"),
    55: Outcome("55", line="wrong PIN"),
    57: Outcome("57", line="not allowed for this card"),
    61: Outcome("61", line="above the limit of the card"),
    65: Outcome("65", line="used too often"),
    75: Outcome("75", line="PIN wrong too often"),
    91: Outcome("91", line="the issuer does not answer"),
    96: Outcome("96", line="the issuer has a fault"),
}


def outcome_of(amount_minor: int) -> Outcome:
    """Every other amount is approved."""
    return OUTCOMES.get(amount_minor % 100, Outcome())
