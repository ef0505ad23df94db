"""What happens at a simulated NEO reader: how the card comes, what it says, and what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from protocols.errors import CommandNotPossible
from protocols.readers.staging import CARDS

TAP, INSERT, SWIPE, NOBODY = "tap", "insert", "swipe", "nobody"

FAULTS: Final[Mapping[str, str]] = {
    "bad_crc": "answers with a wrong check code",
    "crc_refused": "says that the command came with a wrong check code; nothing begins",
    "garbage": "sends noise before an answer",
    "duplicate_frame": "sends an answer twice",
    "truncated": "stops in the middle of an answer",
    "never_answers": "ignores the activation; nothing begins",
    "busy": "does not allow the activation now",
    "reboot": "restarts while it waits for the card",
    "drop_after_start": "drops the line as soon as it waits for the card",
    "drop_after_card": "reads the card and drops the line instead of telling",
    "boot_notification": "sends a boot notification before an answer",
    "tamper": "finds that it was tampered with, and stays out of service",
    "clear_mode": "sends the card unencrypted, until it is restarted",
    "ksn_repeat": "seals with the key it used before",
    "slow": "takes five times as long for everything",
}


@dataclass(frozen=True, slots=True)
class Story:
    """What happens in one payment."""

    line: str
    card_by: str = TAP
    """How the card comes: ``tap``, ``insert``, ``swipe``, or ``nobody``."""
    after_s: float | None = 1.5
    """None: nobody presents a card until ``control`` says so."""
    error: int | None = None
    """FFEE1F of a card that could not be read."""
    cryptogram: int = 0x80
    """9F27 of the first cryptogram; 00: the card declines."""
    agrees: bool = True
    """Whether a chip card takes its issuer's approval."""
    card: str = "visa"
    faults: tuple[str, ...] = ()


_STORIES: Final[Mapping[str, Story]] = {
    "tap": Story("a card is held to the reader"),
    "insert": Story("a chip card is inserted", card_by=INSERT),
    "swipe": Story("a card is swiped", card_by=SWIPE),
    "slow": Story("the customer takes a long while", after_s=12.0),
    "no_card": Story("nobody presents a card", card_by=NOBODY),
    "collision": Story("two cards at once", error=0x21),
    "moved_away": Story("the card is moved away too soon", error=0x24),
    "blocked": Story("the card is blocked", error=0x25),
    "expired": Story("the card has expired", error=0x26),
    "offline_decline": Story("the card declines by itself", cryptogram=0x00),
    "chip_refuses": Story(
        "the chip refuses what its issuer approved", card_by=INSERT, agrees=False
    ),
    "manual": Story("waits until somebody taps, inserts or swipes a card", after_s=None),
}
SCRIPTS: Final[Mapping[str, str]] = {name: story.line for name, story in _STORIES.items()}
#: The last two digits of an amount choose what happens at the reader; the issuer answers by others (05, 14, 51…).
DIGITS: Final[Mapping[int, tuple[str, str]]] = {
    6: ("slow", "approved after a long while"),
    7: ("insert", "approved by chip"),
    8: ("no_card", "nobody presents a card"),
    11: ("swipe", "approved by magnetic stripe"),
    12: ("offline_decline", "the card declines by itself"),
    13: ("collision", "two cards at once; nothing is charged"),
    15: ("chip_refuses", "the chip refuses what its issuer approved; it is taken back"),
    94: ("tap+busy", "the reader is busy and does not begin"),
    95: ("tap+never_answers", "the reader does not answer; nothing is charged"),
    96: ("tap+reboot", "the reader restarts; nothing is charged"),
    97: ("tap+drop_after_start", "the line drops at once; nothing is charged"),
    98: ("tap+drop_after_card", "the line drops with the card; nothing is charged"),
}


def story_named(text: str) -> Story:
    """A story by name, with ``+`` and the names of cards or faults: ``tap+mastercard+bad_crc``.

    Raises CommandNotPossible for a word that means nothing.
    """
    name, *more = text.split("+")
    if name not in _STORIES:
        raise CommandNotPossible("no such story", given=name, known=", ".join(_STORIES))
    story = _STORIES[name]
    for word in more:
        if word in CARDS:
            story = replace(story, card=word)
        elif word in FAULTS:
            story = replace(story, faults=(*story.faults, word))
        else:
            raise CommandNotPossible(
                "no such card or fault", given=word, known=", ".join((*CARDS, *FAULTS))
            )
    return story


AIDS: Final[Mapping[str, str]] = {
    "visa": "A0000000031010",
    "mastercard": "A0000000041010",
    "amex": "A00000002501",
    "maestro": "A0000000043060",
}
LABELS: Final[Mapping[str, str]] = {
    "visa": "VISA CREDIT",
    "mastercard": "MASTERCARD",
    "amex": "AMERICAN EXPRESS",
    "maestro": "MAESTRO",
}
ENTRY: Final[Mapping[str, int]] = {TAP: 0x07, INSERT: 0x05, SWIPE: 0x90}
KINDS: Final[Mapping[str, int]] = {TAP: 0x00, INSERT: 0x01, SWIPE: 0x0C}
