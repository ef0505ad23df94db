"""What happens at a simulated reader: which card comes, what its holder does, and what goes wrong.

All can be written as short texts: ``chip+amex+drop_after_data`` is a story with a card and a fault; ``busy:always`` a
fault with how often it strikes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from protocols.errors import CommandNotPossible
from protocols.readers.magtek_mms import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class MmsFault(StrEnum):
    """What a reader or its line can do wrong; ``FAULTS`` says how."""

    BUSY = "busy"
    NEVER_ANSWERS = "never_answers"
    CLOCK_NOT_SET = "clock_not_set"
    TAMPER = "tamper"
    BATTERY_LOW = "battery_low"
    BATTERY_EMPTY = "battery_empty"
    CLEAR_PAN = "clear_pan"
    REBOOT = "reboot"
    DROP_AFTER_START = "drop_after_start"
    DROP_BEFORE_DATA = "drop_before_data"
    DROP_AFTER_DATA = "drop_after_data"
    DROP_BEFORE_RESULT = "drop_before_result"
    REFUSES_ANSWER = "refuses_answer"
    SILENT_AFTER_ANSWER = "silent_after_answer"
    SLOW = "slow"
    GARBAGE = "garbage"
    CANCELLED_PACKET = "cancelled_packet"
    LOST_PACKET = "lost_packet"
    DUPLICATE = "duplicate"
    GLUED = "glued"
    COUNTER_JUMP = "counter_jump"
    FIRMWARE_FAILS = "firmware_fails"
    FIRMWARE_CURRENT = "firmware_current"
    FIRMWARE_SILENT = "firmware_silent"
    DROP_IN_UPDATE = "drop_in_update"


FAULTS: Final[Mapping[str, str]] = {
    MmsFault.BUSY: "refuses the payment because another one runs",
    MmsFault.NEVER_ANSWERS: "ignores the payment; nothing begins",
    MmsFault.CLOCK_NOT_SET: "refuses the payment because its clock is not set",
    MmsFault.TAMPER: "says that it was tampered with, from now on",
    MmsFault.BATTERY_LOW: "says that its battery is low, and goes on",
    MmsFault.BATTERY_EMPTY: "refuses the payment because its battery is too low",
    MmsFault.CLEAR_PAN: "gives card data in the clear",
    MmsFault.REBOOT: "accepts the payment and restarts",
    MmsFault.DROP_AFTER_START: "accepts the payment and drops the line; it goes on",
    MmsFault.DROP_BEFORE_DATA: "drops the line before it gives the card data",
    MmsFault.DROP_AFTER_DATA: "gives the card data and drops the line",
    MmsFault.DROP_BEFORE_RESULT: "takes the issuer's answer and drops the line",
    MmsFault.REFUSES_ANSWER: "no longer wants the issuer's answer when it comes",
    MmsFault.SILENT_AFTER_ANSWER: "takes the issuer's answer and says nothing more",
    MmsFault.SLOW: "takes five times as long for everything",
    MmsFault.GARBAGE: "noise comes before a message",
    MmsFault.CANCELLED_PACKET: "begins a message, gives it up and sends it anew",
    MmsFault.LOST_PACKET: "a packet of a long message is lost, and with it the message",
    MmsFault.DUPLICATE: "a message comes twice",
    MmsFault.GLUED: "packets come joined (BLE and serial)",
    MmsFault.COUNTER_JUMP: "the message counter jumps (BLE)",
    MmsFault.FIRMWARE_FAILS: "takes new firmware and does not install it",
    MmsFault.FIRMWARE_CURRENT: "says that it has this firmware already",
    MmsFault.FIRMWARE_SILENT: "installs new firmware and does not say so",
    MmsFault.DROP_IN_UPDATE: "drops the line when it has half of the firmware's packets",
}


@dataclass(frozen=True, slots=True)
class FaultRule:
    """How often a fault strikes: ``times`` (None: without end), each chance taken with probability ``chance``."""

    fault: MmsFault
    times: int | None = 1
    chance: float = 1.0

    @classmethod
    def parse(cls, text: str) -> FaultRule:
        """``busy`` once, ``busy:always``, ``busy:3`` three times, ``busy:0.1`` one time in ten.

        Raises CommandNotPossible for a name or a number that means nothing.
        """
        name, _, often = text.partition(":")
        try:
            fault = MmsFault(name)
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
                known=", ".join(MmsFault),
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

    def strikes(self, fault: MmsFault) -> bool:
        """True when the fault is to happen now; a rule that only strikes so often has one strike less then."""
        for armed in self._armed:
            if armed.rule.fault is not fault or armed.left == 0:
                continue
            if armed.rule.chance < 1 and self._roll() >= armed.rule.chance:
                continue
            if armed.left is not None:
                armed.left -= 1
            return True
        return False


@dataclass(frozen=True, slots=True)
class SampleCard:
    """A card that no bank issued."""

    number: str = field(repr=False)
    aid: str
    label: str
    expiry_yymm: str = "3012"
    service_code: str = "201"

    @property
    def track2(self) -> bytes:
        """Track 2 equivalent data as a chip gives them."""
        text = f"{self.number}d{self.expiry_yymm}{self.service_code}12345"
        return bytes.fromhex(text + "f" * (len(text) % 2))

    @property
    def masked_track2(self) -> bytes:
        """What a reader shows of it."""
        hidden = "*" * (len(self.number) - 10)
        return f";{self.number[:6]}{hidden}{self.number[-4:]}=****?".encode()


CARDS: Final[Mapping[str, SampleCard]] = {
    "visa": SampleCard("4111111111111111", "A0000000031010", "VISA CREDIT"),
    "mastercard": SampleCard("5555555555554444", "A0000000041010", "MASTERCARD"),
    "amex": SampleCard("378282246310005", "A00000002501", "AMERICAN EXPRESS"),
    "maestro": SampleCard("6759649826438453", "A0000000043060", "MAESTRO"),
}


@dataclass(frozen=True, slots=True)
class PaymentScript:
    """The story of one payment."""

    technology: int = codes.CONTACTLESS
    card: SampleCard = CARDS["visa"]
    card_after_s: float | None = 1.0
    """When the card comes; None: never."""
    reading_s: float = 0.6
    card_says: int = 0x80
    """Tag 9F27 of the first cryptogram: 80 wants its issuer, 40 approves offline, 00 declines offline."""
    card_accepts: bool = True
    """Whether the card goes along with an issuer that approves."""
    ends: tuple[int, int] | None = None
    """Technology and detail of a 0105 instead of a payment."""
    has_pin: bool = False
    wrong_pins: int = 0
    stays_s: float = 0.0
    """How long the card is left in afterwards."""
    is_manual: bool = False
    """Wait for ``control``."""
    faults: tuple[MmsFault, ...] = ()


APPROVE: Final = PaymentScript()
_SCRIPTS: Final[Mapping[str, tuple[PaymentScript, str]]] = {
    "approve": (APPROVE, "a contactless card; the issuer decides"),
    "chip": (PaymentScript(codes.CHIP), "a chip card; the issuer decides"),
    "swipe": (PaymentScript(codes.SWIPE), "a magnetic stripe; the issuer decides"),
    "pin": (PaymentScript(codes.CHIP, has_pin=True), "a chip card with PIN"),
    "wrong_pin": (
        PaymentScript(codes.CHIP, has_pin=True, wrong_pins=1),
        "a chip card; the first PIN is wrong",
    ),
    "card_left_in": (PaymentScript(codes.CHIP, stays_s=5.0), "a chip card that is left in"),
    "offline_approve": (
        PaymentScript(codes.CHIP, card_says=0x40),
        "a chip card that approves without its issuer",
    ),
    "offline_decline": (PaymentScript(card_says=0x00), "a card that declines without its issuer"),
    "card_declines": (
        PaymentScript(codes.CHIP, card_accepts=False),
        "a chip card that refuses what its issuer approved",
    ),
    "read_error": (
        PaymentScript(codes.SWIPE, ends=(codes.SWIPE, 0x030500)),
        "a card that cannot be read",
    ),
    "cancel": (
        PaymentScript(ends=(0x00, 0x030200), card_after_s=1.0),
        "the customer presses the red key",
    ),
    "no_card": (PaymentScript(card_after_s=None), "no card comes"),
    "slow": (PaymentScript(card_after_s=8.0, reading_s=4.0), "everything takes long"),
    "manual": (PaymentScript(is_manual=True), "waits for the control to bring a card"),
}
SCRIPTS: Final[Mapping[str, str]] = {name: line for name, (_, line) in _SCRIPTS.items()}

DIGITS: Final[Mapping[int, tuple[str, str]]] = {
    6: ("slow", "takes a long while"),
    7: ("card_left_in", "the card is not taken out at once"),
    8: ("cancel", "the customer presses the red key"),
    9: ("wrong_pin", "a wrong PIN first"),
    10: ("pin", "chip with PIN"),
    11: ("swipe", "magnetic stripe"),
    12: ("offline_decline", "declined by the card itself"),
    13: ("card_declines", "the issuer approves, the card does not; taken back"),
    15: ("read_error", "the card cannot be read"),
    90: ("approve+battery_low", "the reader says that its battery is low"),
    92: ("approve+clear_pan", "card data in the clear: refused"),
    94: ("approve+busy", "the reader is busy and does not begin"),
    95: ("approve+never_answers", "the reader does not answer; nothing is charged"),
    96: ("approve+reboot", "the reader restarts; nothing is charged"),
    97: ("approve+drop_after_start", "the line drops at once; nothing is charged"),
    98: ("approve+drop_after_data", "the line drops with the card data; taken back"),
    99: ("chip+drop_before_result", "the line drops before the reader's last word"),
}
"""The last two digits of an amount choose what happens at the reader; the others leave it to the issuer."""


def script_named(text: str) -> PaymentScript:
    """A story by name, with ``+`` for a card or faults. Raises CommandNotPossible for a word that means nothing."""
    name, *more = text.split("+")
    if name not in _SCRIPTS:
        raise CommandNotPossible("no such story", given=name, known=", ".join(_SCRIPTS))
    script = _SCRIPTS[name][0]
    for word in more:
        if word in CARDS:
            script = replace(script, card=CARDS[word])
        else:
            script = replace(script, faults=(*script.faults, FaultRule.parse(word).fault))
    return script


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
