"""Numbers of the protocol and what they mean. Sources as in the package; texts are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.readers.protocol import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

# --- messages --------------------------------------------------------------------------------------------------

REQUEST: Final = 0x01
RESPONSE: Final = 0x82
NOTIFICATION: Final = 0x83
TYPES: Final[Mapping[int, str]] = {
    0x01: "request from the host",
    0x02: "response from the host",
    0x03: "notification from the host",
    0x04: "file from the host",
    0x81: "request from the reader",
    0x82: "response from the reader",
    0x83: "notification from the reader",
    0x84: "file from the reader",
}

START: Final = 0x1001
RESUME: Final = 0x1004
CANCEL: Final = 0x1008
TRANSACTION_STATUS: Final = 0x1014
SHOW: Final = 0x1803
RESET: Final = 0x1F01
GET_PROPERTY: Final = 0xD101
LOAD_FIRMWARE: Final = 0xD801
COMMIT_FIRMWARE: Final = 0xD901
ECHO: Final = 0xDF01
REQUESTS: Final[Mapping[int, str]] = {
    START: "start transaction",
    RESUME: "resume transaction",
    CANCEL: "cancel transaction",
    0x1009: "close transaction",
    TRANSACTION_STATUS: "get transaction status",
    SHOW: "show message",
    0x1805: "buzzer",
    RESET: "reset device",
    0x1F02: "set notification subscriptions",
    0x2001: "request PIN",
    GET_PROPERTY: "get property",
    0xD111: "set property",
    LOAD_FIRMWARE: "load firmware",
    COMMIT_FIRMWARE: "commit firmware",
    0xD811: "send file, secured",
    0xD812: "send file",
    0xD821: "get file",
    0xD825: "get file information",
    ECHO: "echo",
}

PROGRESS: Final = 0x0101
HOST_ACTION: Final = 0x0103
COMPLETE: Final = 0x0105
PIN_PROGRESS: Final = 0x0201
PIN_DONE: Final = 0x0205
FIRMWARE_OK: Final = 0x0905
FIRMWARE_FAILED: Final = 0x0906
FIRMWARE_CURRENT: Final = 0x0907
DEVICE: Final = 0x1001
UI_TEXT: Final = 0x1803
NOTIFICATIONS: Final[Mapping[int, str]] = {
    PROGRESS: "transaction progress",
    HOST_ACTION: "transaction wants the host to act",
    COMPLETE: "transaction complete",
    PIN_PROGRESS: "PIN entry progress",
    PIN_DONE: "PIN entry complete",
    FIRMWARE_OK: "firmware installed",
    FIRMWARE_FAILED: "firmware not installed",
    FIRMWARE_CURRENT: "firmware is current",
    DEVICE: "device information",
    0x1801: "user interface information",
    UI_TEXT: "user interface wants the host to act",
    0x1805: "user interface complete",
}

# --- status of a response --------------------------------------------------------------------------------------

STATUSES: Final[Mapping[int, str]] = {
    0x00: "done",
    0x01: "started",
    0x40: "done with warnings",
    0x41: "started with warnings",
    0x80: "failed to start",
    0x81: "failed",
}
SUCCESSES: Final = frozenset({0x00, 0x01, 0x40, 0x41})

CLOCK_NOT_SET: Final = 0x000010
TAMPERED: Final = 0x000016
TAMPER_DETAILS: Final = frozenset({0x000015, TAMPERED, 0x000017})
FEATURE_ABSENT: Final = 0x010113
LOCKED: Final = 0x02011C
NO_TRANSACTION: Final = 0x020304
CANNOT_CANCEL: Final = 0x020305
IN_PROGRESS: Final = 0x020308
LOW_BATTERY: Final = 0x020316
DETAILS: Final[Mapping[int, str]] = {
    0x000000: "successful",
    0x000002: "the operation failed",
    CLOCK_NOT_SET: "the clock's date and time are not set",
    0x000011: "the clock's alarm failed",
    0x000012: "a key could not be generated",
    0x000013: "the tamper setting is locked",
    0x000014: "the tamper setting needs a reset of the system",
    0x000015: "the tamper state cannot be cleared",
    TAMPERED: "the device was tampered with",
    0x000017: "the tamper module failed",
    0x000018: "the access point's password could not be set",
    0x010101: "the message handler failed",
    0x010102: "the message is not constructed properly",
    0x010109: "the device is offline and takes no messages",
    0x010110: "the PIN key is not mapped",
    FEATURE_ABSENT: "the device does not have this feature",
    0x020000: "reserved",
    0x020100: "reserved",
    0x020101: "the request failed",
    0x020102: "a parameter of the request is not right",
    0x020103: "the response would be too large",
    0x020107: "the firmware failed internally",
    0x02010A: "the image is not right",
    0x020119: "the key does not exist",
    0x02011A: "the request is not secured",
    0x02011B: "the passcode is not right",
    LOCKED: "the device is locked",
    0x020200: "reserved",
    NO_TRANSACTION: "no transaction runs",
    CANNOT_CANCEL: "the transaction can no longer be cancelled",
    IN_PROGRESS: "a transaction runs",
    0x02030C: "a signature is not allowed now",
    0x02030D: "the transaction is not in the right state",
    0x02030E: "PIN entry is not in the right state",
    0x02030F: "a PIN entry runs",
    0x020311: "a barcode is being read",
    0x020312: "pass-through is not activated",
    0x020314: "the user interface is being set up",
    0x020315: "the buzzer is busy",
    LOW_BATTERY: "the battery is too low (5 % or less)",
    0x020413: "there is no barcode reader",
    0x020501: "TR-31: parameter",
    0x020502: "TR-31: AES length",
    0x020503: "TR-31: not on a 16-byte boundary",
    0x020504: "TR-31: length in the message",
    0x020505: "TR-31: number of optional header blocks",
    0x020506: "TR-31: data type conversion",
    0x020507: "TR-31: algorithm of the check value",
    0x020508: "TR-31: length of the check value",
    0x020509: "TR-31: id of an optional header block",
    0x02050A: "TR-31: id of the header block",
    0x02050B: "TR-31: algorithm in the header block",
    0x02050C: "TR-31: usage in the header block",
    0x02050D: "TR-31: length of the header block",
    0x02050E: "TR-31: version id for the key derivation",
    0x02050F: "TR-31: mode of use in the header block",
    0x020510: "TR-31: engine not installed",
    0x020511: "TR-31: cryptographic operation",
    0x020512: "TR-31: message authentication code does not match",
    0x020513: "TR-31: key data cannot be decrypted",
    0x020514: "TR-31: message authentication code cannot be computed",
    0x020515: "TR-31: length of the message authentication code",
    0x020516: "TR-31: key derivation",
    0x020517: "TR-31: buffer too small",
    0x020518: "TR-31: key storage",
    0x020519: "TR-31: secure memory storage",
    0x02051A: "TR-31: key id in the option block",
    0x02051B: "TR-31: key id in the option block is not supported",
    0x02051C: "TR-31: relationship of key ids",
    0x02051D: "TR-31: the protecting key is not loaded",
    0x02051E: "TR-31: tag in MagTek's option block",
    0x02051F: "TR-31: check value",
    0x020520: "TR-31: data",
    0x020521: "TR-31: DUKPT key derivation",
    0x020522: "TR-31: exportability",
    0x020523: "TR-31: key class",
    0x020524: "TR-31: device serial number",
    0x020525: "TR-31: challenge",
    0x020526: "the key cannot be deleted",
    0x020527: "the key is not present",
    0x020528: "the key set id is not supported",
    0x020529: "the key module failed",
    0x02052A: "the secure memory failed",
    0x02052B: "the key is there twice",
    0x02052C: "the key usage rule is not right",
    0x02052D: "self-test: key corrupted",
    0x02052E: "self-test: key map corrupted",
    0x02052F: "self-test: system key missing",
    0x020530: "self-test: system key not loaded",
    0x020531: "the key storage limit is not right",
    0x020532: "the key set is there twice",
    0x020533: "the key is restricted",
    0x020534: "the key came under a weaker key",
    0x020535: "the key agreement was repeated",
    0x020536: "the security is not activated",
    0x020537: "self-test: key relocated",
    0x020538: "self-test: key maps differ",
}


def detail_text(detail: int) -> str:
    """What the three detail bytes of a status mean; an unknown one keeps its number."""
    return DETAILS.get(detail) or f"detail {detail:06X}"


def status_text(status: int, detail: int) -> str:
    """A whole status in words."""
    said = STATUSES.get(status) or f"status {status:02X}"
    return said if detail == 0 else f"{said}: {detail_text(detail)}"


# --- payment technologies, progress, ends ----------------------------------------------------------------------

MANUAL: Final = 0x07
SWIPE: Final = 0x08
CHIP: Final = 0x10
CONTACTLESS: Final = 0x20
BARCODE: Final = 0x30
TECHNOLOGIES: Final[Mapping[int, str]] = {
    0x00: "none",
    MANUAL: "manual entry",
    SWIPE: "magnetic stripe",
    CHIP: "chip",
    CONTACTLESS: "contactless",
    BARCODE: "barcode",
}

ONLINE_DATA: Final = 0x080202
BATCH_DATA: Final = 0x080302
_PROGRESS_DETAILS: Final[Mapping[int, str]] = {
    0x010100: "card swiped",
    0x010200: "card inserted",
    0x010300: "card removed",
    0x010400: "card detected",
    0x010401: "MIFARE Ultralight detected",
    0x010402: "MIFARE Classic 1K detected",
    0x010403: "MIFARE Classic 4K detected",
    0x010500: "more than one card",
    0x011002: "Apple VAS failed",
    0x012002: "Google Smart Tap failed",
    0x020601: "the PIN pad failed",
    0x020602: "the PIN block could not be encrypted",
    ONLINE_DATA: "online data",
    BATCH_DATA: "final data",
    0x080402: "identity of an NFC tag",
    0x080702: "processing options of the card",
    0x100100: "started on the device",
    0x100101: "started on the device, quick chip",
    0x100200: "cancelled on the device",
}

#: Second and third byte of 0105 (kernel outcome and others) -> how the transaction ended, and in words.
_ENDS: Final[Mapping[int, tuple[Outcome | None, str]]] = {
    0x0100: (Outcome.CANCELLED, "no card was presented in time"),
    0x0301: (Outcome.CANCELLED, "cancelled by the till"),
    0x0302: (Outcome.CANCELLED, "cancelled by the customer"),
    0x0305: (Outcome.FAILED, "the card could not be read"),
    0x0202: (Outcome.APPROVED, "approved offline"),
    0x0203: (Outcome.DECLINED, "declined offline by the card"),
    0x0204: (Outcome.FAILED, "failed offline"),
    0x0205: (Outcome.DECLINED, "not accepted offline"),
    0x0206: (Outcome.APPROVED, "approved"),
    0x0207: (None, "left to the issuer's answer"),
    0x0280: (Outcome.DECLINED, "declined"),
    0x0201: (Outcome.FAILED, "another interface must be used"),
    0x0208: (Outcome.FAILED, "the card failed"),
    0x0209: (Outcome.DECLINED, "the card is not accepted"),
    0x020A: (Outcome.CANCELLED, "cancelled"),
    0x020B: (Outcome.FAILED, "the next application is not accepted"),
    0x020C: (Outcome.FAILED, "the next application must be tried"),
    0x020D: (Outcome.FAILED, "the card must be presented again"),
    0x020E: (None, "online request"),
    0x020F: (Outcome.FAILED, "the application ended"),
    0x0210: (Outcome.FAILED, "the card is no payment card"),
    0x0400: (None, "completed"),
    0x0407: (Outcome.DECLINED, "declined"),
    0x0000: (None, "completed"),
    0x0200: (None, "completed"),
    0x0500: (Outcome.FAILED, "an NFC tag was removed"),
}


def progress_text(technology: int, detail: int) -> str:
    """A 0101 notification in words."""
    said = _PROGRESS_DETAILS.get(detail) or f"detail {detail:06X}"
    name = TECHNOLOGIES.get(technology) or f"technology {technology:02X}"
    return f"{name}: {said}"


def end_of(detail: int) -> tuple[Outcome | None, str]:
    """How a 0105 notification says that the transaction ended; None leaves it to the issuer's answer and the card's.

    The last byte of ``detail`` only tells about signatures and fallback.
    """
    if (known := _ENDS.get(detail >> 8)) is not None:
        return known
    return Outcome.FAILED, f"ended with detail {detail:06X}"


# --- cryptograms and answers -----------------------------------------------------------------------------------


def cryptogram_outcome(information: int) -> Outcome | None:
    """What EMV tag 9F27 says the card decided; None while it asks its issuer."""
    match information & 0xC0:
        case 0x40:
            return Outcome.APPROVED
        case 0x00:
            return Outcome.DECLINED
        case _:
            return None


# --- display ---------------------------------------------------------------------------------------------------

DISPLAY_STRINGS: Final[Mapping[int, str]] = {
    0x01: "AMOUNT",
    0x02: "AMOUNT OK?",
    0x03: "APPROVED",
    0x04: "CALL YOUR BANK",
    0x05: "CANCEL OR ENTER",
    0x06: "CARD ERROR",
    0x07: "DECLINED",
    0x08: "ENTER AMOUNT",
    0x0B: "INSERT CARD",
    0x0C: "NOT ACCEPTED",
    0x0E: "PLEASE WAIT",
    0x0F: "PROCESSING ERROR",
    0x10: "REMOVE CARD",
    0x11: "USE CHIP READER",
    0x12: "USE MAGSTRIPE",
    0x13: "TRY AGAIN",
    0x14: "WELCOME",
    0x15: "PRESENT CARD",
    0x16: "PROCESSING",
    0x17: "CARD READ OK - REMOVE CARD",
    0x18: "INSERT OR SWIPE CARD",
    0x19: "PRESENT ONE CARD ONLY",
    0x1A: "APPROVED PLEASE SIGN",
    0x1B: "AUTHORIZING PLEASE WAIT",
    0x1C: "INSERT, SWIPE, OR TRY ANOTHER CARD",
    0x1D: "PLEASE INSERT CARD",
    0x1E: "",
    0x20: "SEE PHONE",
    0x21: "PRESENT CARD AGAIN",
    0x22: "INSERT/SWIPE/TRY OTHER CARD",
    0x23: "TAP OR SWIPE CARD",
    0x24: "TAP OR INSERT CARD",
    0x25: "TAP, INSERT OR SWIPE CARD",
    0x26: "TAP CARD",
    0x27: "TIMEOUT",
    0x28: "TRANSACTION TERMINATED",
    0x2C: "CANCELED",
}
"""What a reader with a display can show: no other text."""


def display_string(lines: tuple[str, ...]) -> int | None:
    """The number of the string that reads like these lines; None when the reader has none."""
    wanted = " ".join(" ".join(lines).upper().split())
    return next((number for number, text in DISPLAY_STRINGS.items() if text == wanted), None)


# --- firmware --------------------------------------------------------------------------------------------------

IMAGE_TYPES: Final[Mapping[int, str]] = {
    0: "boot loader 1",
    1: "main",
    2: "WLAN module",
    3: "BLE module",
}
