"""The TLV container of ZVT (BMP 06): its tags, and the masking of what must not be seen.

The encoding is BER-TLV as in ``protocols.readers.emv``, with one exception: the tags printed as 1F80 to 1F83 have two
bytes although the high bit of the second announces a third.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.readers import emv
from protocols.readers.emv import Tlv

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORT_TAGS: Final = frozenset({0x1F80, 0x1F81, 0x1F82, 0x1F83})

TEXT_LINE: Final = 0x07
RECEIPT: Final = 0x08
LINE_ATTRIBUTE: Final = 0x09
COMMAND: Final = 0x0A
CHARACTER_SET: Final = 0x14
LONGEST_MESSAGE: Final = 0x1A
DIAGNOSIS_KIND: Final = 0x1B
FILE_BLOCK: Final = 0x1C
FILE_ID: Final = 0x1D
FILE_OFFSET: Final = 0x1E
OPEN_PREAUTHORIZATIONS: Final = 0x23
DISPLAY_TEXTS: Final = 0x24
PRINT_TEXTS: Final = 0x25
PERMITTED_COMMANDS: Final = 0x26
FILE: Final = 0x2D
PAYMENT_TYPE: Final = 0x2F
TERMINAL_TIME: Final = 0x34
CARD_TYPE: Final = 0x41
APPLICATION_LABEL: Final = 0x42
APPLICATION_ID: Final = 0x43
PREFERRED_NAME: Final = 0x44
APPLICATION: Final = 0x60
DEVICE: Final = 0xE4
FILE_SIZE: Final = 0x1F00
RECEIPT_KIND: Final = 0x1F07
DATE: Final = 0x1F0E
TIME: Final = 0x1F0F
VERIFICATION: Final = 0x1F10
TECHNOLOGY: Final = 0x1F12
VENDOR_CODE: Final = 0x1F16
VENDOR_TEXT: Final = 0x1F17
LONG_TRACE: Final = 0x1F2B
DEVICE_NAME: Final = 0x1F40
SOFTWARE_VERSION: Final = 0x1F41
SERIAL_NUMBER: Final = 0x1F42
DEVICE_STATE: Final = 0x1F43
TERMINAL_ID: Final = 0x1F44
LOCKS: Final = 0x1F55

NAMES: Final[Mapping[int, str]] = {
    0x01: "reversal id",
    0x02: "driver number",
    0x03: "car number",
    0x04: "mileage",
    0x05: "goods group",
    0x06: "restriction code",
    0x07: "text line",
    0x08: "receipt number",
    0x09: "line attribute",
    0x0A: "command",
    0x0B: "information field",
    0x0C: "information field 2",
    0x0D: "restriction code 2",
    0x0E: "service code",
    0x0F: "assignment number",
    0x10: "merchant display size",
    0x11: "customer display size",
    0x12: "printer width",
    0x13: "extra result code",
    0x14: "character set",
    0x15: "language",
    0x16: "menu type",
    0x17: "context",
    0x18: "destination",
    0x19: "return code",
    0x1A: "longest message",
    0x1B: "diagnosis kind",
    0x1C: "file block",
    0x1D: "file id",
    0x1E: "file offset",
    0x20: "fleet card",
    0x21: "permitted goods groups",
    0x22: "prohibited goods groups",
    0x23: "open pre-authorisations",
    0x24: "display texts",
    0x25: "print texts",
    0x26: "permitted commands",
    0x27: "character sets",
    0x28: "languages",
    0x29: "menus",
    0x2A: "menus",
    0x2B: "menu",
    0x2C: "menu point",
    0x2D: "file",
    0x2E: "time stamp",
    0x2F: "payment type",
    0x30: "card acceptance matching",
    0x31: "amounts",
    0x32: "input",
    0x33: "DUKPT key",
    0x34: "terminal time",
    0x35: "time of the daily restart",
    0x40: "EMV configuration",
    0x41: "card type",
    0x42: "application label",
    0x43: "application id",
    0x44: "preferred application name",
    0x45: "receipt parameter",
    0x46: "EMV print data, customer",
    0x47: "EMV print data, merchant",
    0x48: "priority",
    0x49: "card type of the network operator",
    0x4B: "issuer country",
    0x4C: "card UID",
    0x4D: "EF_ID",
    0x4E: "payment account reference",
    0x50: "background colour",
    0x60: "application",
    0x61: "applications on the magnetic stripe",
    0x62: "applications on the chip",
    0x63: "prepaid",
    0x64: "receipt header",
    0x65: "receipt advertising text",
    0x66: "receipt customer copy",
    0x67: "receipt merchant copy",
    0x68: "receipt outcome",
    0x69: "reference transaction",
    0x6A: "application not valid",
    0x80: "prepaid PIN",
    0x81: "telephone number",
    0x82: "top-up text",
    0x83: "prepaid type",
    0x84: "smallest charge amount",
    0x85: "largest charge amount",
    0xC1: "transaction type",
    0xC2: "bonus points",
    0xC3: "remaining bonus points",
    0xC4: "transaction number of the till",
    0xC5: "amount equal to the bonus points",
    0xE1: "bonus points container",
    0xE2: "currency conversion",
    0xE3: "barcode",
    0xE4: "device",
    0xE5: "key",
    0xE6: "card types",
    0xE7: "merchant SAM",
    0xE8: "value added services",
    0xE9: "reference number container",
    0xEB: "power management",
    0xEC: "end of day details",
    0xED: "end of day details of one host",
    0xEE: "end of day details of all hosts",
    0x1F00: "file size",
    0x1F01: "receipt id",
    0x1F02: "first transaction",
    0x1F03: "last transaction",
    0x1F04: "receipt parameter bits",
    0x1F05: "transaction parameter",
    0x1F06: "reservation parameter",
    0x1F07: "receipt kind",
    0x1F08: "track 1",
    0x1F09: "track 2",
    0x1F0A: "track 3",
    0x1F0B: "largest pre-authorisation",
    0x1F0C: "licence plate",
    0x1F0D: "transparent data for the host",
    0x1F0E: "date",
    0x1F0F: "time",
    0x1F10: "cardholder verification",
    0x1F11: "online flag",
    0x1F12: "card technology",
    0x1F13: "function request",
    0x1F14: "card identification",
    0x1F15: "card reading control",
    0x1F16: "vendor error code",
    0x1F17: "vendor error text",
    0x1F18: "card notification control",
    0x1F19: "card acceptance",
    0x1F1A: "card number to match",
    0x1F1B: "markup",
    0x1F1C: "card name",
    0x1F1D: "currency information",
    0x1F1E: "decimals",
    0x1F1F: "mirrored receipt number",
    0x1F20: "total amount",
    0x1F21: "currency",
    0x1F22: "inverted rate unit",
    0x1F23: "retrieval id",
    0x1F24: "reference number",
    0x1F25: "cashback amount",
    0x1F26: "end of day mode",
    0x1F27: "product name",
    0x1F28: "emergency mode",
    0x1F29: "limit overridden",
    0x1F2A: "cardholder details",
    0x1F2B: "long trace number",
    0x1F2C: "profile name",
    0x1F2D: "card input",
    0x1F2E: "barcode kind",
    0x1F2F: "product code",
    0x1F30: "purse top-up amount",
    0x1F31: "encrypted PIN",
    0x1F32: "SMID",
    0x1F33: "message",
    0x1F34: "MAC",
    0x1F35: "till identification",
    0x1F36: "tip",
    0x1F37: "receipt information",
    0x1F38: "input mode",
    0x1F39: "timeout",
    0x1F3A: "input result",
    0x1F3B: "transaction information",
    0x1F3C: "entered data",
    0x1F3D: "entered text",
    0x1F3E: "encrypted cardholder details",
    0x1F3F: "remaining balance",
    0x1F40: "device name",
    0x1F41: "software version",
    0x1F42: "serial number",
    0x1F43: "device state",
    0x1F44: "terminal id",
    0x1F45: "ATS",
    0x1F46: "card commands",
    0x1F47: "card read failure",
    0x1F4C: "card kind",
    0x1F4D: "card sub-kind",
    0x1F4F: "ATQA",
    0x1F50: "SAK",
    0x1F51: "debit mandate",
    0x1F52: "debit creditor",
    0x1F53: "debit notice",
    0x1F54: "key generation",
    0x1F55: "terminal locks",
    0x1F59: "payment application",
    0x1F5B: "card poll timeout",
    0x1F5C: "encrypted key",
    0x1F5D: "clear key",
    0x1F5E: "IBAN",
    0x1F5F: "BIC",
    0x1F60: "allowed card technologies",
    0x1F61: "customer index",
    0x1F62: "reference number prefix",
    0x1F63: "reference number of the host",
    0x1F64: "number of payments",
    0x1F65: "processing selection",
    0x1F66: "wallet data",
    0x1F67: "retailer",
    0x1F68: "loyalty id",
    0x1F69: "voucher",
    0x1F6A: "remaining amount",
    0x1F6B: "age check control",
    0x1F6C: "age check result",
    0x1F6F: "payment type bits",
    0x1F70: "partial approval",
    0x1F71: "understood tags",
    0x1F72: "contactless card in status",
    0x1F73: "message sequence id",
    0x1F74: "password",
    0x1F75: "encrypted input",
    0x1F78: "daily restart wanted",
    0x1F79: "action wanted",
    0x1F80: "file name",
    0x1F81: "MIME type",
    0x1F82: "wake sources",
    0x1F83: "idle time",
}

#: Tags whose value is text in the character set of the conversation.
TEXT_TAGS: Final = frozenset(
    {
        0x07,
        0x15,
        0x42,
        0x44,
        0x46,
        0x47,
        0x82,
        0x1F17,
        0x1F1C,
        0x1F27,
        0x1F40,
        0x1F41,
        0x1F62,
        0x1F63,
        0x1F80,
        0x1F81,
    }
)

_NUMBER_TAGS: Final = frozenset({0x4D, 0x57, 0x5A, 0x1F09, 0x1F1A, 0x5F22, 0x9F6B})
_HIDDEN_TAGS: Final = frozenset(
    {
        0x56,
        0x58,
        0x80,
        0x99,
        0x1F08,
        0x1F0A,
        0x1F2A,
        0x1F31,
        0x1F3C,
        0x1F3D,
        0x1F3E,
        0x1F5C,
        0x1F5D,
        0x1F5E,
        0x1F74,
    }
    | {0x1F75, 0x5F20, 0x5F21, 0x5F23, 0x9F1F, 0x9F20}
)

#: What a till sends to say that it understands print blocks (06 D3), within a registration.
PRINT_BLOCKS_WANTED: Final = (Tlv(PERMITTED_COMMANDS, children=(Tlv(COMMAND, b"\x06\xd3"),)),)


def decode(content: bytes) -> tuple[tuple[Tlv, ...], int]:
    """Objects of a container as far as they can be read, and how many bytes they took. Nothing is masked."""
    return emv.parse_tlv(content, short_tags=SHORT_TAGS)


def mask(content: bytes) -> tuple[bytes, str | None]:
    """The container with sensitive values masked, and the name of a quirk if there was one.

    What cannot be read as objects is hidden, because nobody can tell what it holds.
    """
    objects, consumed = decode(content)
    safe = tuple(emv.masked_object(item, _NUMBER_TAGS, _HIDDEN_TAGS, NAMES) for item in objects)
    if consumed == len(content):
        return (content if safe == objects else emv.encode_tlv(safe)), None
    read = content[:consumed] if safe == objects else emv.encode_tlv(safe)
    return read + emv.hidden(len(content) - consumed), "tlv_unreadable"


def text(item: Tlv, charset: str) -> str:
    """The text of an object, without filling zeros at its end."""
    return item.value.rstrip(b"\0").decode(charset, "replace")


def number(objects: Iterable[Tlv], tag: int) -> int | None:
    """The BCD number under a tag, at any depth; None when it is not there or holds something else."""
    item = emv.find(objects, tag)
    digits = item.value.hex() if item else ""
    return int(digits) if digits.isdecimal() else None


def charset_of(objects: Iterable[Tlv], default: str) -> str:
    """The character set that a container asks for with its tag 14: ISO 8859-n, FE for UTF-8, else the default."""
    for item in objects:
        if item.tag == CHARACTER_SET and len(item.value) == 1:
            return charset_named(item.value[0], default)
    return default


def charset_named(code: int, default: str) -> str:
    """Python's name of a ZVT character set."""
    if code == 0xFE:
        return "utf-8"
    # There is no ISO 8859-12.
    if 1 <= code <= 16 and code != 12:
        return f"iso8859-{code}"
    return default
