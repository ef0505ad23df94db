"""What happens at a simulated terminal: which card comes, what its holder does, and what goes wrong.

A ``PaymentScript`` tells the story of one payment; ``Playbook`` picks one for each; ``FaultRule`` says which faults
strike and how often. All can be written as short texts, for command lines and tests.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from protocols.errors import CommandNotPossible
from protocols.readers.zvt import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class ZvtFault(StrEnum):
    """What a terminal or its line can do wrong. Those of the line strike any frame, the others a payment."""

    NAK = "nak"
    """Refuses a good frame (serial only)."""
    BAD_CRC = "bad_crc"
    """Sends a frame with a wrong check code (serial only)."""
    TRUNCATED = "truncated"
    """Stops in the middle of a message; on TCP the connection ends there."""
    DUPLICATE_FRAME = "duplicate_frame"
    """Sends a message twice."""
    GARBAGE = "garbage"
    """Sends noise before a message."""
    LOST_ACK = "lost_ack"
    """Answers a frame without acknowledging it (serial only)."""
    BUSY = "busy"
    """Refuses the command with 84 9C; nothing begins."""
    NEVER_ANSWERS = "never_answers"
    """Ignores the command; nothing begins."""
    REBOOT = "reboot"
    """Accepts the command and restarts; nothing is paid."""
    DROP_AFTER_START = "drop_after_start"
    """Accepts the command and drops the line; the payment goes on."""
    DROP_AFTER_RESULT = "drop_after_result"
    """Sends the result and drops the line before it can be answered."""
    DROP_BEFORE_COMPLETION = "drop_before_completion"
    """Drops the line when all was answered and only 06 0F is missing: the payment stands."""
    LONG_BLOCKS = "long_blocks"
    """Prints very long receipts, as blocks of many kilobytes."""
    CLEAR_PAN = "clear_pan"
    """Sends the card number unmasked, and in texts."""
    UNKNOWN_BITMAP = "unknown_bitmap"
    """Ends the result with a bitmap that no specification has."""
    BARE_LENGTHS = "bare_lengths"
    """Writes variable lengths without their F nibbles."""
    SLOW = "slow"
    """Takes five times as long for everything."""
    UPDATE_WRONG_BLOCK = "update_wrong_block"
    """Asks for pieces of software that were not offered, and gives up."""
    UPDATE_SAME_BLOCK = "update_same_block"
    """Asks for the same piece of software without end."""
    UPDATE_REPEATS = "update_repeats"
    """Asks for a piece of software twice more, then goes on."""
    UPDATE_ABORTS = "update_aborts"
    """Gives up in the middle of an update."""
    UPDATE_DROPS = "update_drops"
    """Drops the line in the middle of an update; nothing is installed."""
    UPDATE_FAILS = "update_fails"
    """Takes all of the software and then refuses it."""
    UPDATE_CHANGES_NOTHING = "update_changes_nothing"
    """Says that the update went well, and runs the version that it ran before."""


#: Faults that strike updates only.
UPDATE_FAULTS: Final = frozenset(fault for fault in ZvtFault if fault.value.startswith("update_"))
#: Every fault with what it does, in English.
FAULTS: Final[Mapping[str, str]] = {
    ZvtFault.NAK: "refuses a good frame (serial only)",
    ZvtFault.BAD_CRC: "sends a frame with a wrong check code (serial only)",
    ZvtFault.TRUNCATED: "stops in the middle of a message; on TCP the connection ends there",
    ZvtFault.DUPLICATE_FRAME: "sends a message twice",
    ZvtFault.GARBAGE: "sends noise before a message",
    ZvtFault.LOST_ACK: "answers a frame without acknowledging it (serial only)",
    ZvtFault.BUSY: "refuses a payment because it is busy",
    ZvtFault.NEVER_ANSWERS: "ignores a payment",
    ZvtFault.REBOOT: "accepts a payment and restarts; nothing is paid",
    ZvtFault.DROP_AFTER_START: "accepts a payment and drops the line; the payment goes on",
    ZvtFault.DROP_AFTER_RESULT: "sends the result and drops the line before it can be answered",
    ZvtFault.DROP_BEFORE_COMPLETION: "drops the line before the last word; the payment stands",
    ZvtFault.LONG_BLOCKS: "prints very long receipts",
    ZvtFault.CLEAR_PAN: "sends the card number unmasked, and in texts",
    ZvtFault.UNKNOWN_BITMAP: "ends the result with a field that no specification has",
    ZvtFault.BARE_LENGTHS: "writes variable lengths without their F nibbles",
    ZvtFault.SLOW: "takes five times as long for everything",
    ZvtFault.UPDATE_WRONG_BLOCK: "asks for software that was not offered, and gives up",
    ZvtFault.UPDATE_SAME_BLOCK: "asks for the same piece of software without end",
    ZvtFault.UPDATE_REPEATS: "asks for a piece of software twice more, then goes on",
    ZvtFault.UPDATE_ABORTS: "gives up in the middle of an update",
    ZvtFault.UPDATE_DROPS: "drops the line in the middle of an update; nothing is installed",
    ZvtFault.UPDATE_FAILS: "takes all of the software and then refuses it",
    ZvtFault.UPDATE_CHANGES_NOTHING: "says that an update went well, and runs what it ran before",
}


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How often a fault strikes: ``times`` (None: without end), each chance taken with probability ``chance``."""

    fault: ZvtFault
    times: int | None = 1
    chance: float = 1.0

    @classmethod
    def parse(cls, text: str) -> FaultRule:
        """``nak`` once, ``nak:always``, ``nak:3`` three times, ``nak:0.1`` one time in ten.

        Raises CommandNotPossible for a name or a number that means nothing.
        """
        name, _, often = text.partition(":")
        try:
            fault = ZvtFault(name)
            if not often:
                return cls(fault)
            if often == "always":
                return cls(fault, None)
            if "." in often:
                return cls(fault, None, float(often))
            return cls(fault, int(often))
        except ValueError as error:
            raise CommandNotPossible(
                "no such fault; write NAME, NAME:always, NAME:3 or NAME:0.1",
                given=text,
                known=", ".join(ZvtFault),
            ) from error


@dataclass(slots=True)
class _Armed:
    rule: FaultRule
    left: int | None


class Faults:
    """Counts down the rules that are armed."""

    def __init__(self, rules: Iterable[FaultRule], roll: Callable[[], float] = lambda: 0.0) -> None:
        """``roll`` gives a number in [0, 1) for each chance taken."""
        self._armed = [_Armed(rule, rule.times) for rule in rules]
        self._roll = roll

    def add(self, rule: FaultRule) -> None:
        """Arm one more rule."""
        self._armed.append(_Armed(rule, rule.times))

    def strikes(self, fault: ZvtFault) -> bool:
        """True when the fault is to happen now; a rule that only strikes so often has one strike less then."""
        for armed in self._armed:
            rule = armed.rule
            if rule.fault is not fault or armed.left == 0:
                continue
            if rule.chance < 1 and self._roll() >= rule.chance:
                continue
            if armed.left is not None:
                armed.left -= 1
            return True
        return False


@dataclass(frozen=True, slots=True)
class SampleCard:
    """A card that no bank issued. ``scheme`` is its place in ``codes.SCHEMES``."""

    number: str = field(repr=False)
    card_type: int
    scheme: int
    aid: str
    expiry_yymm: str = "3012"

    @property
    def packed(self) -> bytes:
        """The clear number as BMP 22 would carry it."""
        return bytes.fromhex(self.number + "f" * (len(self.number) % 2))

    @property
    def name(self) -> str:
        """What the terminal prints."""
        return codes.card_type_text(self.card_type)


VISA: Final = SampleCard("4111111111111111", 0x0A, 4, "A0000000031010")
MASTERCARD: Final = SampleCard("5555555555554444", 0x06, 2, "A0000000041010")
AMEX: Final = SampleCard("378282246310005", 0x08, 3, "A00000002501")
GIROCARD: Final = SampleCard("6725904411001000019", 0x05, 0, "A0000003591010028001")
MAESTRO: Final = SampleCard("6759649826438453", 0x2E, 6, "A0000000043060")
CARDS: Final[Mapping[str, SampleCard]] = {
    "visa": VISA,
    "mastercard": MASTERCARD,
    "amex": AMEX,
    "girocard": GIROCARD,
    "maestro": MAESTRO,
}


@dataclass(frozen=True, slots=True)
class PaymentScript:
    """The story of one payment."""

    result: int = codes.APPROVED
    steps: tuple[tuple[int, float], ...] = ((0x0A, 1.0), (0x17, 0.4), (0x04, 0.8))
    """Intermediate status and seconds until the next."""
    afterwards: tuple[tuple[int, float], ...] = ()
    """The same between result and end, such as a card that is not removed."""
    card: SampleCard = VISA
    technology: int = 2
    """0 magnetic stripe, 1 chip, 2 contactless."""
    verification: int = 0
    """As in tag 1F10: 0 none, 1 signature, 2 online PIN."""
    stands_without_answer: bool = False
    """Keep an approved payment although the till never answered the result, where the rule is to reverse it."""
    faults: tuple[ZvtFault, ...] = ()
    waits_for_hand: bool = False
    """The card comes when somebody holds it there, not by itself."""

    @property
    def authorizes(self) -> bool:
        """True when the host was asked, so that the card is known."""
        return self.result != codes.ABORTED


APPROVE: Final = PaymentScript()
_CARD: Final = (0x0A, 1.0)
_SCRIPTS: Final[Mapping[str, PaymentScript]] = {
    "approve": APPROVE,
    "decline": PaymentScript(result=0x05),
    "cancel": PaymentScript(result=codes.ABORTED, steps=(_CARD,)),
    "no_card": PaymentScript(result=codes.ABORTED, steps=((0x0A, 30.0),)),
    "card_left_in": PaymentScript(
        technology=1, verification=2, afterwards=((0x0B, 2.0), (0x0B, 2.0), (0x0B, 1.0))
    ),
    "slow": PaymentScript(steps=((0x0A, 8.0), (0x17, 4.0), (0x04, 9.0))),
    "pin": PaymentScript(
        card=GIROCARD, technology=1, verification=2, steps=(_CARD, (0xCC, 2.0), (0x04, 0.8))
    ),
    "wrong_pin": PaymentScript(
        card=GIROCARD,
        technology=1,
        verification=2,
        steps=(_CARD, (0xCC, 2.0), (0x15, 1.0), (0xCC, 2.0), (0x04, 0.8)),
    ),
    "signature": PaymentScript(technology=0, verification=1),
    "host_gone": PaymentScript(result=0x9B, steps=(_CARD, (0x04, 2.0))),
    "manual": PaymentScript(waits_for_hand=True),
}
#: Every story with what happens, in English.
SCRIPTS: Final[Mapping[str, str]] = {
    "approve": "approved, contactless",
    "decline": "declined by the bank; decline:33 with its answer 51",
    "cancel": "the customer presses the red key",
    "no_card": "nobody comes with a card",
    "card_left_in": "approved; the card is not taken out at once",
    "slow": "approved after a long while",
    "pin": "approved with PIN",
    "wrong_pin": "approved after a wrong PIN",
    "signature": "approved by magnetic stripe, to be signed",
    "host_gone": "the bank cannot be reached",
    "manual": "waits until somebody taps, inserts or swipes a card",
}
#: The last two digits of an amount choose what happens to it; every other amount is approved.
DIGITS: Final[Mapping[int, tuple[str, str]]] = {
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


def script_named(text: str) -> PaymentScript:
    """A story by name: ``approve``, ``decline:05``, ``cancel``, ``pin``…, with ``+`` for a card or faults.

    ``decline:51+amex`` or ``approve+drop_after_result``; ``stands`` keeps a payment that nobody confirmed. Raises
    CommandNotPossible for a word that means nothing.
    """
    first, *more = text.split("+")
    name, _, code = first.partition(":")
    if name not in _SCRIPTS:
        raise CommandNotPossible("no such story", given=name, known=", ".join(_SCRIPTS))
    script = _SCRIPTS[name]
    if code:
        script = replace(script, result=_hex_byte(code))
    for word in more:
        if word in CARDS:
            script = replace(script, card=CARDS[word])
        elif word == "stands":
            script = replace(script, stands_without_answer=True)
        else:
            script = replace(script, faults=(*script.faults, FaultRule.parse(word).fault))
    return script


def script_names() -> Sequence[str]:
    """The stories there are that tell themselves."""
    return tuple(name for name, script in _SCRIPTS.items() if not script.waits_for_hand)


def _hex_byte(text: str) -> int:
    try:
        return bytes.fromhex(text.zfill(2))[0]
    except ValueError as error:
        raise CommandNotPossible("a result code is two hexadecimal digits", given=text) from error


@dataclass(slots=True)
class Playbook:
    """Picks the story of each payment: the queue first, then the exact amount, then its last two digits."""

    default: PaymentScript = APPROVE
    queue: deque[PaymentScript] = field(default_factory=deque)
    by_amount: Mapping[int, PaymentScript] = field(default_factory=dict)
    by_last_digits: Mapping[int, PaymentScript] = field(default_factory=dict)

    def next_script(self, amount_minor: int) -> PaymentScript:
        """The story of the payment that begins now."""
        if self.queue:
            return self.queue.popleft()
        if amount_minor in self.by_amount:
            return self.by_amount[amount_minor]
        return self.by_last_digits.get(amount_minor % 100, self.default)
