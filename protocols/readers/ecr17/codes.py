"""Numbers and letters of ECR17 and what they mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from protocols.readers.protocol import Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

OK: Final = "00"
RESULTS: Final[Mapping[str, tuple[Outcome, str]]] = {
    OK: (Outcome.APPROVED, "approved"),
    "01": (Outcome.DECLINED, "not carried out"),
    "05": (Outcome.CANCELLED, "no card was presented"),
    "09": (Outcome.FAILED, "the terminal does not know the tag it was given"),
}

OPERATIVE: Final = 2
UPDATE_PENDING: Final = 6
#: Fitness for payments, and in words. Source of the digits: the portal's page of the status message. Whether a terminal
#: takes payments in 5 and 6 is not told there; in 5 it is about to call its host, in 6 it goes on until it restarts.
STATUSES: Final[Mapping[int, tuple[Outcome, str]]] = {
    0: (Outcome.FAILED, "the terminal is not configured"),
    1: (Outcome.FAILED, "the terminal is configured, but has not loaded its data from its host"),
    2: (Outcome.DONE, "ready"),
    3: (Outcome.FAILED, "the terminal is not aligned with its host"),
    4: (Outcome.FAILED, "the terminal's keys are damaged"),
    5: (Outcome.BUSY, "the terminal is to load data from its host"),
    6: (Outcome.DONE, "ready; a software update waits on the terminal"),
}

ENTRY_MODES: Final[Mapping[str, str]] = {
    "ICC": "chip",
    "MAG": "magstripe",
    "MAN": "keyed",
    "CLM": "contactless",
    "CLI": "contactless",
}
CARD_TYPES: Final[Mapping[str, str]] = {"1": "PagoBancomat", "2": "credit", "3": "other"}

REQUESTS: Final[Mapping[str, str]] = {
    "s": "ask the status",
    "P": "payment",
    "X": "payment with extended result",
    "p": "pre-authorisation",
    "i": "increase of a pre-authorisation",
    "c": "closure of a pre-authorisation",
    "S": "reversal of the last transaction",
    "H": "card verification",
    "T": "totals",
    "C": "close the session",
    "G": "send the last result",
    "E": "receipts to the till",
    "R": "reprint the last receipt",
    "U": "additional tags for the host",
    "K": "wallet",
}
RESPONSES: Final[Mapping[str, str]] = {
    "E": "result",
    "V": "result with currency exchange",
    "e": "result of a pre-authorisation",
    "i": "result of an increase",
    "c": "result of a closure",
    "v": "result of a closure with currency exchange",
    "s": "status",
    "T": "totals",
    "C": "session closed",
    "S": "receipt",
    "K": "wallet result",
    "U": "tags from the host",
}

#: Progress texts are for the customer, in Italian, and not documented: the first word found tells the step.
_STEPS: Final = tuple(
    (re.compile(words), step)
    for words, step in (
        ("PIN", Step.ENTER_PIN),
        ("RIMUOV|ESTRA|TOGLI|RITIR", Step.REMOVE_CARD),
        ("STORN", Step.REVERSING),
        ("INSERI|AVVICIN|PASSA|STRISCI|PRESENT", Step.WAITING_FOR_CARD),
        ("LETTURA|LETTA", Step.CARD_SEEN),
        ("ATTEND|COLLEG|ELABOR|CORSO|AUTORIZ|CONNESS", Step.AUTHORIZING),
    )
)


def step_of(text: str) -> Step:
    """Which step a progress text stands for; BUSY when it is not known."""
    shouted = text.upper()
    return next((step for words, step in _STEPS if words.search(shouted)), Step.BUSY)
