"""The numbers of ZVT and what they mean in English. A number that is not listed stays a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.readers.protocol import Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

APPROVED: Final = 0x00
NOT_REGISTERED: Final = 0x6B
ABORTED: Final = 0x6C
WRONG_CURRENCY: Final = 0x6F
NOT_POSSIBLE: Final = 0x83
PROTOCOL_ERROR: Final = 0x9A
WAIT: Final = 0x9C
PARTIAL_ISSUE: Final = 0x9D
NO_ANSWER: Final = 0xA1
ALREADY_REVERSED: Final = 0xB4
REVERSAL_NOT_POSSIBLE: Final = 0xB5
PREAUTHORIZATION_WRONG: Final = 0xB8
PRINTER_NOT_READY: Final = 0xCC
SYSTEM_ERROR: Final = 0xFF

#: What the authorisation system answered, as one byte below 64.
_HOST_RESULTS: Final = range(0x01, 0x64)

RESULTS: Final[Mapping[int, str]] = {
    0x00: "approved",
    0x64: "card not readable",
    0x65: "card data not present",
    0x66: "processing failed",
    0x67: "function not permitted for debit cards",
    0x68: "function not permitted for credit and fuel cards",
    0x6A: "turnover storage full",
    0x6B: "function switched off, the till is not registered",
    0x6C: "stopped by key or time-out",
    0x6E: "card is on the blocked list",
    0x6F: "wrong currency",
    0x71: "credit on the card not sufficient",
    0x72: "chip failed",
    0x73: "card data wrong",
    0x74: "DUKPT keys exhausted",
    0x75: "text not authentic",
    0x76: "card number not on the allowed list",
    0x77: "end of day not possible",
    0x78: "card expired",
    0x79: "card not yet valid",
    0x7A: "card unknown",
    0x7B: "fallback to magnetic stripe not possible",
    0x7C: "fallback to magnetic stripe not possible",
    0x7D: "communication failed",
    0x7E: "fallback to magnetic stripe not possible",
    0x83: "function not possible",
    0x85: "key missing",
    0x89: "PIN pad defective",
    0x9A: "protocol rule broken",
    0x9B: "dialling or communication failed",
    0x9C: "busy, ask again later",
    0x9D: "part of the goods delivered",
    0xA0: "receiver not ready",
    0xA1: "remote station does not answer",
    0xA3: "no connection",
    0xA5: "forbidden by card security rules",
    0xB1: "memory full",
    0xB2: "merchant journal full",
    0xB4: "already reversed",
    0xB5: "reversal not possible",
    0xB7: "pre-authorisation amount wrong",
    0xB8: "pre-authorisation not found or wrong",
    0xBF: "voltage supply too low",
    0xC0: "card locking mechanism defective",
    0xC1: "merchant card locked",
    0xC2: "diagnosis required",
    0xC3: "amount above the limit",
    0xC4: "card profile missing, load it first",
    0xC5: "payment method not supported",
    0xC6: "currency not applicable",
    0xC8: "amount below the minimum",
    0xC9: "transaction amount above the limit",
    0xCB: "function only allowed with cash in euro",
    0xCC: "printer not ready",
    0xCD: "cashback not possible",
    0xD2: "function not permitted for this card",
    0xDC: "card is inserted",
    0xDD: "card could not be ejected",
    0xDE: "card could not be inserted",
    0xE0: "remote maintenance started",
    0xE1: "card not removed",
    0xE2: "card reader does not answer",
    0xE3: "shutter closed",
    0xE4: "terminal must be activated",
    0xF0: "end of day must be done first",
    0xF1: "offline transaction failed",
    0xF5: "OPT failed",
    0xF6: "OPT personalisation required",
    0xFA: "sending of offline transactions failed",
    0xFB: "turnover record defective",
    0xFC: "a necessary device is missing or defective",
    0xFD: "baud rate not supported",
    0xFE: "register unknown",
    0xFF: "system failure",
}

INTERMEDIATE: Final[Mapping[int, str]] = {
    0x00: "waiting for the amount to be confirmed",
    0x01: "follow the instructions on the PIN pad",
    0x02: "follow the instructions on the PIN pad",
    0x03: "operation not possible",
    0x04: "waiting for the host",
    0x05: "reversing automatically",
    0x06: "booking what was left open",
    0x07: "card not admitted",
    0x08: "card unknown",
    0x09: "card expired",
    0x0A: "insert or present the card",
    0x0B: "remove the card",
    0x0C: "card not readable",
    0x0D: "processing stopped",
    0x0E: "wait",
    0x0F: "end of day running automatically",
    0x10: "card not valid",
    0x11: "credit is being shown",
    0x12: "system failure",
    0x13: "payment not possible",
    0x14: "credit not sufficient",
    0x15: "wrong PIN",
    0x16: "limit not sufficient",
    0x17: "wait",
    0x18: "too many wrong PINs",
    0x19: "card data wrong",
    0x1A: "service mode",
    0x1B: "approved, fill up",
    0x1C: "approved, take the goods",
    0x1D: "declined",
    0x26: "input of the mobile number",
    0x27: "repeat the input of the mobile number",
    0x28: "choose the currency",
    0x29: "choose the language",
    0x2C: "choose the application",
    0x68: "customer card inserted",
    0x69: "choose whether to pay in the card's currency",
    0xC7: "customer is entering the tip",
    0xC8: "waiting for the cashier",
    0xC9: "diagnosis running automatically",
    0xCA: "initialisation running automatically",
    0xCB: "merchant journal full",
    0xCC: "PIN required",
    0xD2: "dialling",
    0xD3: "connected",
    0xE0: "choose the application",
    0xE1: "choose the language",
    0xE2: "clean the card reader",
    0xF1: "offline",
    0xF2: "online",
    0xF3: "offline transaction",
    0xFF: "see the terminal's text",
}
#: Numbers from here on say the same as the one 40 lower, and that the card must be removed.
_REMOVE_CARD_TOO: Final = range(0x41, 0x5E)

TERMINAL_STATUS: Final[Mapping[int, str]] = {
    0x00: "ready",
    0x51: "initialisation necessary",
    0x62: "date or time wrong",
    0x9C: "busy",
    0x9D: "part of the goods delivered",
    0xB1: "memory full, end of day necessary",
    0xB2: "merchant journal full",
    0xBF: "voltage supply too low",
    0xC0: "card locking mechanism defective",
    0xC1: "merchant card locked",
    0xC2: "diagnosis required",
    0xC4: "card profile missing, software update necessary",
    0xCC: "printer not ready",
    0xDC: "card is inserted",
    0xDF: "out of order",
    0xE0: "remote maintenance started",
    0xE1: "card not removed",
    0xE2: "card reader does not answer",
    0xE3: "shutter closed",
    0xE4: "terminal must be activated",
    0xF0: "end of day necessary",
    0xF6: "OPT personalisation required",
}

#: A card left in, a printer without paper or a delivery half done does not stop the next payment.
_FIT_STATUS: Final = frozenset({0x00, PARTIAL_ISSUE, 0xBF, PRINTER_NOT_READY, 0xDC, 0xE1})

CARD_TYPES: Final[Mapping[int, str]] = {
    0x01: "DouglasCard",
    0x02: "ec",
    0x03: "Miles & More",
    0x05: "girocard",
    0x06: "Mastercard",
    0x08: "American Express",
    0x0A: "Visa",
    0x0B: "Visa Electron",
    0x0C: "Diners",
    0x0D: "V PAY",
    0x0E: "JCB",
    0x0F: "REKA",
    0x1E: "GeldKarte",
    0x2E: "Maestro",
    0x57: "Bancontact",
}

#: Bits of the byte 19 with which a registration ends, and what they ask for.
REGISTRATION_NEEDS: Final[Mapping[int, str]] = {
    0x01: "initialisation",
    0x02: "diagnosis",
    0x04: "OPT",
}

VERIFICATIONS: Final[Mapping[int, str]] = {
    0x00: "none",
    0x01: "signature",
    0x02: "pin_online",
    0x03: "pin_offline",
    0x04: "pin_offline",
    0x05: "pin_and_signature",
    0x06: "pin_and_signature",
    0x07: "pin_and_signature",
}
ENTRY_MODES: Final[Mapping[int, str]] = {0: "magstripe", 1: "chip", 2: "contactless"}
RECEIPT_KINDS: Final[Mapping[int, str]] = {1: "merchant", 2: "customer", 3: "administration"}
#: Order of the seven sums in BMP 60.
SCHEMES: Final = ("girocard", "JCB", "Mastercard", "American Express", "Visa", "Diners", "others")

#: Names of the bits of each byte of tag 1F55, highest first.
_LOCK_BITS: Final = (
    (
        "closure",
        "initialisation",
        "diagnosis",
        "service",
        "out of order",
        "printer",
        "start-up",
        "security module",
    ),
    (
        "log",
        "no reader",
        "card inside",
        "link",
        "activation",
        "battery low",
        "contactless",
        "vending bus",
    ),
)

_STEPS: Final[Mapping[int, Step]] = {
    **dict.fromkeys((0x00, 0x01, 0x02, 0x0A), Step.WAITING_FOR_CARD),
    **dict.fromkeys(
        (0x03, 0x07, 0x08, 0x09, 0x0C, 0x10, 0x11, 0x13, 0x14, 0x16, 0x19, 0x28, 0x29, 0x2C),
        Step.CARD_SEEN,
    ),
    **dict.fromkeys((0x68, 0x69, 0xC7, 0xE0, 0xE1), Step.CARD_SEEN),
    **dict.fromkeys((0x15, 0x18, 0xCC), Step.ENTER_PIN),
    **dict.fromkeys(
        (0x04, 0x06, 0x0E, 0x17, 0x1B, 0x1C, 0x1D, 0xD2, 0xD3, 0xF1, 0xF2, 0xF3), Step.AUTHORIZING
    ),
    0x05: Step.REVERSING,
    0x0B: Step.REMOVE_CARD,
}


def result_text(code: int) -> str:
    """Meaning of a result code (BMP 27, 06 1E, 84 xx)."""
    if code in _HOST_RESULTS:
        # On the line a binary number; the bank's answer (ISO 8583, field 39) is its two decimal digits.
        return f"declined by the authorisation system with {code:02d}"
    return RESULTS.get(code, f"unknown result {code:02X}")


def intermediate_text(code: int) -> str:
    """Meaning of an intermediate status (04 FF)."""
    if code in INTERMEDIATE:
        return INTERMEDIATE[code]
    if code in _REMOVE_CARD_TOO and code - 0x40 in INTERMEDIATE:
        return f"{INTERMEDIATE[code - 0x40]}; remove the card"
    return f"unknown status {code:02X}"


def terminal_status_text(code: int) -> str:
    """Meaning of a terminal status (answer to 05 01)."""
    return TERMINAL_STATUS.get(code, f"unknown status {code:02X}")


def card_type_text(code: int) -> str:
    """Name of a card type (BMP 8A, tag 41)."""
    return CARD_TYPES.get(code, f"card type {code}")


def step_of(code: int) -> Step:
    """Where a payment stands after this intermediate status; an unknown one only says that the terminal is busy."""
    return Step.REMOVE_CARD if code in _REMOVE_CARD_TOO else _STEPS.get(code, Step.BUSY)


def outcome_of(code: int) -> Outcome:
    """What a result code means for a payment; one that is not listed is a failure of the terminal."""
    if code == APPROVED:
        return Outcome.APPROVED
    if code == ABORTED:
        return Outcome.CANCELLED
    if code in _HOST_RESULTS or code in {0x67, 0x68, 0x6E, 0x71, 0x78, 0x79, 0x7A, 0xC5}:
        return Outcome.DECLINED
    if code in {WAIT, 0xA0}:
        return Outcome.BUSY
    return Outcome.FAILED


def fitness_of(status: int) -> Outcome:
    """Whether a terminal with this status takes payments: DONE, BUSY for now, or FAILED until somebody acts."""
    if status == WAIT:
        return Outcome.BUSY
    return Outcome.DONE if status in _FIT_STATUS else Outcome.FAILED


def locks(value: bytes) -> tuple[str, ...]:
    """What locks a terminal, from tag 1F55."""
    return tuple(
        name
        for byte, names in zip(value, _LOCK_BITS, strict=False)
        for place, name in enumerate(names)
        if byte & 0x80 >> place
    )
