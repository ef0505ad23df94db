"""Numbers of the NEO 2 protocol and what they mean: commands, statuses, errors of a card, entry modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocols.readers.protocol import Outcome

# Command and sub-command in one number.
PING: Final = 0x1801
VERSION: Final = 0x2900
SERIAL_NUMBER: Final = 0x1201
PRODUCT_TYPE: Final = 0x0901
POLL_MODE: Final = 0x0101
ACTIVATE: Final = 0x0240
ACTIVATE_WITH_CONTACT: Final = 0x0205
CANCEL: Final = 0x0501
CONTACT_START: Final = 0x6010
CONTACT_AUTHENTICATE: Final = 0x6011
CONTACT_APPLY: Final = 0x6012
BOOT_NOTIFICATION: Final = 0x1401
BOOT_LOADER: Final = 0xC741
ENCRYPTION_STATE: Final = 0xC737
"""*Unverified* beyond its number: one byte, bit 0 stripe and bit 1 chip data are encrypted."""
SET_TIME: Final = 0x2501
SET_DATE: Final = 0x2503
"""*Unverified*, both: hours and minutes, and year, month, day, packed two digits a byte."""

COMMANDS: Final[Mapping[int, str]] = {
    PING: "ping",
    VERSION: "get firmware version",
    0x2901: "get module information",
    0x2904: "get boot loader version",
    PRODUCT_TYPE: "get product type",
    0x0914: "get hardware version",
    0x0920: "get module versions",
    SERIAL_NUMBER: "get serial number",
    POLL_MODE: "set poll mode",
    ACTIVATE: "activate",
    0x0201: "activate (clear)",
    ACTIVATE_WITH_CONTACT: "activate with contact",
    0x0340: "get result",
    0x0300: "get result (clear)",
    0x0302: "get configuration",
    0x0400: "set configuration",
    CANCEL: "cancel",
    CONTACT_START: "contact: start",
    CONTACT_AUTHENTICATE: "contact: authenticate",
    CONTACT_APPLY: "contact: apply host response",
    0x6200: "contact: cancel",
    SET_TIME: "set time",
    0x2502: "get time",
    SET_DATE: "set date",
    0x2504: "get date",
    0x0A02: "set lights",
    BOOT_NOTIFICATION: "boot notification",
    0x3001: "set baud rate",
    0x3002: "set baud rate",
    0x6117: "show system screen",
    0x7782: "get bluetooth name",
    0x7783: "get bluetooth module",
    0xC7A3: "get key attributes",
    ENCRYPTION_STATE: "get encryption state",
    BOOT_LOADER: "enter boot loader",
    0x2C01: "pass-through",
    0x2C02: "poll for token",
    0xF0FC: "show text",
}

OK: Final = 0x00
WRONG_CHECK_CODE: Final = 0x04
NO_CARD: Final = 0x08
FAILED: Final = 0x0A
NOT_ALLOWED: Final = 0x0B
INTERFACE_EVENT: Final = 0x0E
TAMPERED: Final = 0x1D
ONLINE_WANTED: Final = 0x23
CONTACT: Final = 0x30
FIRST_RESPONSE: Final = 0x63

STATUSES: Final[Mapping[int, str]] = (
    {
        OK: "done",
        0x01: "wrong header",
        0x02: "the reader does not know this command",
        0x03: "the reader does not know this sub-command",
        WRONG_CHECK_CODE: "wrong check code",
        0x05: "wrong parameter",
        0x06: "the reader does not support this",
        0x07: "malformed command",
        NO_CARD: "no card was presented in time",
        FAILED: "it did not work",
        NOT_ALLOWED: "the reader does not allow this now",
        0x0C: "the reader does not allow this sub-command now",
        0x0D: "the command is too long",
        INTERFACE_EVENT: "user interface event",
        0x10: "the reader waits for clear firmware in its boot loader",
        0x11: "the reader waits for encrypted firmware in its boot loader",
        0x19: "the frame is too large",
        TAMPERED: "the reader was tampered with and is out of service",
        ONLINE_WANTED: "the card wants its issuer's answer",
        CONTACT: "a chip card is in the reader",
        0x60: "chip card data are missing",
        0x61: "the list is full",
        FIRST_RESPONSE: "begun",
    }
    | dict.fromkeys(range(18, 25), "the key or its module does not work")
    | dict.fromkeys((26, 27, 28), "the key or its module does not work")
)

NOT_RECEIVED: Final = frozenset({0x01, WRONG_CHECK_CODE, 0x07})
"""The reader did not understand the frame, so nothing began and it may be sent again."""
UNKNOWN: Final = frozenset({0x02, 0x03, 0x06})
BOOT_LOADER_STATUSES: Final = frozenset({0x10, 0x11})

#: First byte of FFEE1F -> (meaning, how a payment ends by it).
ERRORS: Final[Mapping[int, tuple[str, Outcome]]] = {
    0x20: ("the card answered with an error: try again", Outcome.FAILED),
    0x21: ("more than one card was presented: try again with one", Outcome.FAILED),
    0x22: ("the amount is over the limit for contactless: insert the card", Outcome.DECLINED),
    0x23: ("the card wants its issuer's answer", Outcome.FAILED),
    0x24: ("the card was moved away too soon: try again", Outcome.FAILED),
    0x25: ("the card is blocked", Outcome.DECLINED),
    0x26: ("the card has expired", Outcome.DECLINED),
    0x27: ("this card is not supported", Outcome.DECLINED),
    0x30: ("the card did not answer: try again", Outcome.FAILED),
    0x62: ("the card could not be read: try again", Outcome.FAILED),
    0x73: ("the card was torn away in a transaction: try again", Outcome.FAILED),
    0x80: ("the reader has no merchant for this card", Outcome.FAILED),
    0x81: ("the card's data could not be read", Outcome.FAILED),
    0x82: ("the card's version is not supported", Outcome.DECLINED),
    0x83: ("the reader's memory is full", Outcome.FAILED),
    0x84: ("the card's data could not be read", Outcome.FAILED),
    0x85: ("the reader failed", Outcome.FAILED),
    0x88: ("the reader has no key", Outcome.FAILED),
}

ENTRY_MODES: Final[Mapping[int, str]] = {
    0x05: "chip",
    0x07: "contactless",
    0x80: "magstripe",
    0x90: "magstripe",
    0x91: "contactless",
}
PRODUCTS: Final[Mapping[str, str]] = {
    "433600": "Vendi",
    "433900": "Kiosk III",
    "553100": "UniPay 1.5",
}


def status_text(status: int) -> str:
    """What a status means."""
    return STATUSES.get(status, f"status {status:02X}")


def command_name(number: int) -> str | None:
    """What a command with its sub-command is called."""
    return COMMANDS.get(number)
