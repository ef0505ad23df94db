"""Every message of ZVT, of both sides: how it is called, what stands before its bitmaps, how it is built and read.

A ``Message`` is a control field, a *head* (the fixed leading part, by name) and ``Fields`` (bitmaps). ``MESSAGES`` is
the table of heads; a message that is not in it has bitmaps only, or, for unknown ones, content that stays hidden. The
functions build the messages that a till or a terminal sends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from protocols.errors import MalformedMessage
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.zvt import bitmaps, codes, tlv
from protocols.readers.zvt.apdu import Apdu
from protocols.readers.zvt.bitmaps import Fields, bcd, decode_fields
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from protocols.readers.zvt.bitmaps import TurnoverSums

# Till to terminal
STATUS_ENQUIRY: Final = 0x0501
REGISTRATION: Final = 0x0600
AUTHORIZATION: Final = 0x0601
LOG_OFF: Final = 0x0602
READ_TOTALS: Final = 0x0610
REPRINT: Final = 0x0612
RESET: Final = 0x0618
PRINT_CONFIGURATION: Final = 0x061A
SET_TERMINAL_ID: Final = 0x061B
REPEAT_RECEIPT: Final = 0x0620
PREAUTHORIZATION: Final = 0x0622
BOOK_PARTIAL: Final = 0x0623
BOOK_TOTAL: Final = 0x0624
CANCEL_PREAUTHORIZATION: Final = 0x0625
REVERSAL: Final = 0x0630
REFUND: Final = 0x0631
END_OF_DAY: Final = 0x0650
DIAGNOSIS: Final = 0x0670
SET_CLOCK: Final = 0x0691
INITIALIZATION: Final = 0x0693
ABORT: Final = 0x06B0
READ_CARD: Final = 0x06C0
DISPLAY_TEXT: Final = 0x06E0
SERVICE_MODE: Final = 0x0801
SOFTWARE_UPDATE: Final = 0x0810
READ_FILE: Final = 0x0811
DELETE_FILE: Final = 0x0812
CHANGE_CONFIGURATION: Final = 0x0813
WRITE_FILE: Final = 0x0814
SELECT_LANGUAGE: Final = 0x0830
SET_BAUD_RATE: Final = 0x0840
ACTIVATE_READER: Final = 0x0850
VENDOR_FUNCTION: Final = 0x0FA1
# Terminal to till
SET_TILL_CLOCK: Final = 0x0401
FILE_BLOCK_WANTED: Final = 0x040C
INPUT_REQUEST: Final = 0x040D
MENU_REQUEST: Final = 0x040E
STATUS_INFORMATION: Final = 0x040F
INTERMEDIATE_STATUS: Final = 0x04FF
COMPLETION: Final = 0x060F
ABORTED: Final = 0x061E
PRINT_LINE: Final = 0x06D1
PRINT_BLOCK: Final = 0x06D3
DIAL_UP: Final = 0x06D8
SEND_BY_MODEM: Final = 0x06D9
RECEIVE_BY_MODEM: Final = 0x06DA
HANG_UP: Final = 0x06DB
TRANSPARENT_MODE: Final = 0x06DD
BLOCKED_LIST_QUERY: Final = 0x06E4
# Answers of both
POSITIVE: Final = 0x8000

MODEM_REQUESTS: Final = frozenset({DIAL_UP, SEND_BY_MODEM, RECEIVE_BY_MODEM, HANG_UP})
#: After these the terminal may send its own messages, until it ends with 06 0F or 06 1E.
COMPLETED_LATER: Final = frozenset(
    {
        STATUS_ENQUIRY,
        REGISTRATION,
        AUTHORIZATION,
        READ_TOTALS,
        REPRINT,
        RESET,
        PRINT_CONFIGURATION,
        SET_TERMINAL_ID,
    }
    | {
        REPEAT_RECEIPT,
        PREAUTHORIZATION,
        BOOK_PARTIAL,
        BOOK_TOTAL,
        CANCEL_PREAUTHORIZATION,
        REVERSAL,
        REFUND,
    }
    | {
        END_OF_DAY,
        DIAGNOSIS,
        SET_CLOCK,
        INITIALIZATION,
        READ_CARD,
        SERVICE_MODE,
        SOFTWARE_UPDATE,
        READ_FILE,
    }
    | {DELETE_FILE, CHANGE_CONFIGURATION, WRITE_FILE, SELECT_LANGUAGE, VENDOR_FUNCTION}
)

#: Service byte of 05 01: no version text, and device data as TLV.
WITHOUT_VERSION: Final = 0x02
WITH_DEVICE: Final = 0x04
#: Service byte of 06 20: send the status information, and print nothing.
WITH_STATUS: Final = 0x01
WITHOUT_PRINT: Final = 0x02

LANGUAGES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "German",
        1: "English",
        2: "French",
        3: "Italian",
        4: "Spanish",
        5: "Portuguese",
        6: "Dutch",
    }
)
BAUD_RATES: Final[Mapping[int, int]] = MappingProxyType(
    {0x00: 9600, 0x01: 19200, 0x06: 57600, 0x07: 115200}
)

#: A password as it travels: three bytes of BCD.
_PASSWORD_BYTES: Final = 3
#: Fixed widths of the answer to 0F A1: device id, software version, terminal id.
_DEVICE_WIDTHS: Final = (8, 17, 8)
_VOLTAGE_WIDTH: Final = 4
#: File sizes and offsets.
_OFFSET_BYTES: Final = 4
_SHORTEST_DEVICE_ANSWER: Final = sum(_DEVICE_WIDTHS) + 3

HeadValue = int | str | Secret[str]


class Kind(NamedTuple):
    """A row of the table: the name in English, and the parts of the head in order.

    A part is ``password``, ``byte NAME``, ``bcd2 NAME`` or ``word NAME``; a leading ``?`` makes it optional.
    ``text`` as the last part takes everything.
    """

    name: str
    head: tuple[str, ...] = ()
    has_fields: bool = True


MESSAGES: Final[Mapping[int, Kind]] = MappingProxyType(
    {
        SET_TILL_CLOCK: Kind("set the clock of the till"),
        FILE_BLOCK_WANTED: Kind("file block wanted"),
        INPUT_REQUEST: Kind("input wanted"),
        MENU_REQUEST: Kind("menu wanted"),
        STATUS_INFORMATION: Kind("status information"),
        INTERMEDIATE_STATUS: Kind(
            "intermediate status", ("byte intermediate_status", "?byte timeout_minutes")
        ),
        STATUS_ENQUIRY: Kind("status enquiry", ("?password",)),
        REGISTRATION: Kind("registration", ("password", "byte config_byte", "?bcd2 currency")),
        AUTHORIZATION: Kind("authorisation"),
        LOG_OFF: Kind("log-off"),
        0x0603: Kind("account balance"),
        0x0604: Kind("activate prepaid card"),
        0x0609: Kind("top up prepaid card", has_fields=False),
        0x060A: Kind("tax free"),
        0x060C: Kind("book tip", ("password",)),
        COMPLETION: Kind("completion"),
        READ_TOTALS: Kind("send turnover totals", ("password",)),
        REPRINT: Kind("reprint receipts", ("password", "bcd2 receipt_from", "?bcd2 receipt_to")),
        RESET: Kind("reset terminal"),
        PRINT_CONFIGURATION: Kind("print system configuration"),
        SET_TERMINAL_ID: Kind("set terminal id", ("password",)),
        ABORTED: Kind("abort", ("byte result_code", "?bcd2 currency")),
        REPEAT_RECEIPT: Kind("repeat receipt", ("password",)),
        0x0621: Kind("authorisation by telephone", ("password",)),
        PREAUTHORIZATION: Kind("pre-authorisation"),
        BOOK_PARTIAL: Kind("partial reversal and booking of a pre-authorisation"),
        BOOK_TOTAL: Kind("booking of a pre-authorisation"),
        CANCEL_PREAUTHORIZATION: Kind("reversal of a pre-authorisation"),
        0x0626: Kind("reversal of an external transaction"),
        REVERSAL: Kind("reversal", ("password",)),
        REFUND: Kind("refund", ("password",)),
        END_OF_DAY: Kind("end of day", ("password",)),
        0x0651: Kind("send offline transactions", ("password",)),
        DIAGNOSIS: Kind("diagnosis"),
        0x0679: Kind("self test"),
        0x0682: Kind("reserved", has_fields=False),
        SET_CLOCK: Kind("set clock", ("password",)),
        INITIALIZATION: Kind("initialisation", ("password",)),
        0x0695: Kind("change password", ("password", "password new_password")),
        ABORT: Kind("abort wanted"),
        READ_CARD: Kind("read card", ("byte timeout_s",)),
        0x06C5: Kind("close card session"),
        0x06C6: Kind("send card commands"),
        PRINT_LINE: Kind("print line", ("byte attribute", "text")),
        PRINT_BLOCK: Kind("print text block"),
        DIAL_UP: Kind("dial up", has_fields=False),
        SEND_BY_MODEM: Kind("send by dial-up", has_fields=False),
        RECEIVE_BY_MODEM: Kind("receive by dial-up", has_fields=False),
        HANG_UP: Kind("hang up", has_fields=False),
        TRANSPARENT_MODE: Kind("transparent mode", has_fields=False),
        DISPLAY_TEXT: Kind("display text"),
        0x06E1: Kind("display text with function keys"),
        0x06E2: Kind("display text with numeric input"),
        0x06E3: Kind("PIN check of a customer card"),
        BLOCKED_LIST_QUERY: Kind("blocked list query"),
        0x06E5: Kind("MAC calculation"),
        0x06E6: Kind("card poll with authorisation"),
        0x06F0: Kind("display image"),
        SERVICE_MODE: Kind("service mode", ("?password",)),
        0x0802: Kind("switch protocol", ("byte protocol",)),
        SOFTWARE_UPDATE: Kind("software update"),
        READ_FILE: Kind("read file", ("?password",)),
        DELETE_FILE: Kind("delete file", ("?password",)),
        CHANGE_CONFIGURATION: Kind("change configuration", ("?password",)),
        WRITE_FILE: Kind("write file", ("?password",)),
        0x0820: Kind("start OPT action"),
        0x0821: Kind("set OPT time"),
        0x0822: Kind("start OPT pre-initialisation"),
        0x0823: Kind("send OPT data"),
        0x0824: Kind("OPT out of order"),
        SELECT_LANGUAGE: Kind("select language", ("byte language",)),
        SET_BAUD_RATE: Kind("set baud rate", ("byte baud_rate",)),
        ACTIVATE_READER: Kind("activate card reader"),
        0x0F10: Kind("till report", ("?password",)),
        VENDOR_FUNCTION: Kind("vendor function", ("?password", "word function")),
        POSITIVE: Kind("positive acknowledgement"),
    }
)


def name_of(control: int) -> str:
    """What a message is called in English."""
    if control in MESSAGES:
        return MESSAGES[control].name
    if control >> 8 == 0x84:
        return "positive acknowledgement" if control == 0x8400 else "negative acknowledgement"
    return f"unknown message {control:04X}"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read or is to be sent. It holds no clear card data, and passwords only as ``Secret``."""

    control: int
    head: Mapping[str, HeadValue] = field(default_factory=dict)
    fields: Fields = field(default_factory=Fields)
    opaque: Secret[bytes] | None = None
    """Content of a message that is not known, or a head that could not be read."""
    quirks: tuple[str, ...] = ()

    @property
    def error(self) -> int | None:
        """The code of a negative answer; None for everything else."""
        return self.control & 0xFF if self.control >> 8 == 0x84 and self.control & 0xFF else None

    @property
    def is_positive(self) -> bool:
        """True for 80 00, and for 84 00, which counts as the same."""
        return self.control in {POSITIVE, 0x8400}

    def number(self, name: str) -> int | None:
        """A number of the head."""
        value = self.head.get(name)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str | None:
        """A text of the head."""
        value = self.head.get(name)
        return value if isinstance(value, str) else None

    @property
    def password(self) -> Secret[str] | None:
        """The password of the head, six digits."""
        value = self.head.get("password")
        return value if isinstance(value, Secret) else None

    def apdu(self) -> Apdu:
        """Raises MalformedMessage for a head value that does not fit, or a message that is too long."""
        return Apdu(self.control, self._head_bytes() + self.fields.encode())

    def encode(self) -> bytes:
        """The message as bytes, without framing. Raises MalformedMessage as ``apdu`` does."""
        return self.apdu().encode()

    def _head_bytes(self) -> bytes:
        if self.opaque is not None:
            return self.opaque.reveal()
        if self.control == COMPLETION:
            return _completion_head_bytes(self)
        return b"".join(_head_part(part.lstrip("?"), self) for part in _head_of(self.control))


# --- reading ---------------------------------------------------------------------------------------------------


def decode_message(apdu: Apdu, *, answering: int | None = None, charset: str = "cp437") -> Message:
    """Read any message. Never raises: what cannot be read stays opaque, with a quirk.

    ``answering`` is the command that a completion (06 0F) belongs to, because its content depends on that; without it
    the content decides, which is right except for contrived cases.
    """
    control, content = apdu.control, apdu.content
    if control == COMPLETION:
        return _decode_completion(content, answering, charset)
    if control == PRINT_LINE:
        return _decode_print_line(content, charset)
    kind = MESSAGES.get(control)
    if (kind is None and control >> 8 != 0x84) or (kind is not None and not kind.has_fields):
        quirks = () if kind else ("unknown_message",)
        return Message(control, opaque=Secret(content) if content else None, quirks=quirks)
    head: dict[str, HeadValue] = {}
    at = 0
    for part in _head_of(control):
        taken = _take_part(part, content, at, head)
        if taken is None:
            return Message(control, opaque=Secret(content), quirks=("truncated_head",))
        at = taken
    fields = decode_fields(content[at:], charset=charset)
    return Message(control, head, fields, quirks=fields.quirks)


def _head_of(control: int) -> tuple[str, ...]:
    if control >> 8 == 0x84:
        # A wrong currency may come with the one expected, and once with its own code before it.
        return ("?byte result_code", "?bcd2 currency") if control == 0x841E else ()
    return MESSAGES[control].head if control in MESSAGES else ()


def _take_part(part: str, content: bytes, at: int, head: dict[str, HeadValue]) -> int | None:
    """Read one part of a head into ``head``; where the next begins, or None when a needed part is cut off."""
    optional = part.startswith("?")
    shape, _, name = part.lstrip("?").partition(" ")
    size = _SIZES[shape]
    if optional and (len(content) - at < size or _is_absent(name or shape, content, at, head)):
        return at
    if len(content) - at < size:
        return None
    value = content[at : at + size]
    match shape:
        case "password":
            head[name or "password"] = Secret(value.hex())
        case "bcd2":
            # An ordinary number, or a special one such as FFFF, which keeps its nibbles.
            digits = value.hex()
            head[name] = int(digits) if digits.isdecimal() else digits
        case _:
            head[name] = int.from_bytes(value, "big")
    return at + size


_SIZES: Final = {"password": _PASSWORD_BYTES, "byte": 1, "bcd2": 2, "word": 2}


def _is_absent(name: str, content: bytes, at: int, head: Mapping[str, HeadValue]) -> bool:
    """Whether an optional part of a head is left out and bitmaps begin here."""
    if name == "currency" and head.get("result_code", codes.WRONG_CURRENCY) != codes.WRONG_CURRENCY:
        return True
    return _is_whole_container(content, at)


def _is_whole_container(content: bytes, at: int) -> bool:
    if content[at] != bitmaps.CONTAINER:
        return False
    measured = emv.decode_length(content, at + 1, len(content))
    return measured is not None and measured[1] + measured[0] == len(content)


def _decode_print_line(content: bytes, charset: str) -> Message:
    if not content:
        return Message(PRINT_LINE, quirks=("truncated_head",))
    line = content[1:]
    head: dict[str, HeadValue] = {"attribute": content[0]}
    quirks: tuple[str, ...] = ()
    if content[0] == 0xFF:
        # Feed: the next byte is a number of lines, not text.
        head["feed"] = line[0] if line else 1
        return Message(PRINT_LINE, head)
    if line[-6:-1] == b"\x06\x04\x1f\x07\x01":
        # Some terminals append a container with the kind of receipt as if it were text.
        head["receipt_kind"] = line[-1]
        line = line[:-6]
        quirks = ("container_after_print_line",)
    safe = emv.mask_text_bytes(line)
    if safe is not line:
        quirks += ("pan_in_clear",)
    head["text"] = safe.decode(charset, "replace")
    return Message(PRINT_LINE, head, quirks=quirks, fields=Fields(charset=charset))


def _decode_completion(content: bytes, answering: int | None, charset: str) -> Message:
    if answering == VENDOR_FUNCTION or (answering is None and _looks_like_device_answer(content)):
        head = _device_answer(content)
        if head is not None:
            return Message(COMPLETION, head)
    if answering == STATUS_ENQUIRY or (answering is None and _looks_like_status(content)):
        return _decode_status(content, charset)
    fields = decode_fields(content, charset=charset)
    return Message(COMPLETION, {}, fields, quirks=fields.quirks)


def _decode_status(content: bytes, charset: str) -> Message:
    head: dict[str, HeadValue] = {}
    version = bitmaps.decode_lll(content)
    at = 0
    # The version is optional, and a status alone is no length.
    if version is not None and content[0] >> 4 in {0, 0xF}:
        head["software_version"] = emv.redact_card_numbers(
            version[0].rstrip(b"\0").decode(charset, "replace")
        )
        at = version[1]
    if at < len(content):
        head["terminal_status"] = content[at]
        at += 1
    fields = decode_fields(content[at:], charset=charset)
    return Message(COMPLETION, head, fields, quirks=fields.quirks)


def _looks_like_status(content: bytes) -> bool:
    if len(content) == 1:
        return True
    if content[:1] >= b"\xf0" and bitmaps.decode_lll(content) is not None:
        return True
    return (
        len(content) > 2 and content[0] not in bitmaps.BITMAPS and _is_whole_container(content, 1)
    )


def _looks_like_device_answer(content: bytes) -> bool:
    return len(content) >= _SHORTEST_DEVICE_ANSWER and all(0x20 <= byte < 0x7F for byte in content)


def _device_answer(content: bytes) -> dict[str, HeadValue] | None:
    """The answer of 0F A1: bare ASCII columns; the voltage only from newer firmware, the temperature 3 or 4 wide."""
    if len(content) < sum(_DEVICE_WIDTHS):
        return None
    text = emv.redact_card_numbers(content.decode("ascii", "replace"))
    head: dict[str, HeadValue] = {}
    at = 0
    for name, width in zip(
        ("device_id", "software_version", "terminal_id"), _DEVICE_WIDTHS, strict=True
    ):
        head[name] = text[at : at + width].rstrip()
        at += width
    if len(text) - at > _VOLTAGE_WIDTH:
        head["voltage"] = text[at : at + _VOLTAGE_WIDTH]
        at += _VOLTAGE_WIDTH
    head["temperature"] = text[at:]
    return head


# --- writing ---------------------------------------------------------------------------------------------------


def _head_part(part: str, message: Message) -> bytes:
    shape, _, name = part.partition(" ")
    if shape == "text":
        return _print_line_rest(message)
    value = message.head.get(name or shape)
    match value:
        case None:
            return b""
        case Secret():
            return _password_bytes(value)
        case int() if shape == "bcd2":
            return bcd(value, 2)
        case int():
            return _unsigned(value, _SIZES[shape], name)
        case str():
            return _digit_pairs(value, name)


def _print_line_rest(message: Message) -> bytes:
    feed = message.number("feed")
    if feed is not None:
        return _unsigned(feed, 1, "feed")
    encoded = (message.text("text") or "").encode(message.fields.charset, "replace")
    kind = message.number("receipt_kind")
    return (
        encoded
        if kind is None
        else encoded + b"\x06\x04\x1f\x07\x01" + _unsigned(kind, 1, "receipt_kind")
    )


def _completion_head_bytes(message: Message) -> bytes:
    if "device_id" in message.head:
        widths = {"device_id": 8, "software_version": 17, "terminal_id": 8}
        columns = (
            (message.text(name) or "").ljust(width)[:width] for name, width in widths.items()
        )
        rest = (message.text("voltage") or "") + (message.text("temperature") or "")
        return ("".join(columns) + rest).encode("ascii", "replace")
    encoded = b""
    version = message.text("software_version")
    if version is not None:
        text = version.encode(message.fields.charset, "replace")
        encoded = bitmaps.encode_ll(len(text), 3) + text
    status = message.number("terminal_status")
    return encoded if status is None else encoded + _unsigned(status, 1, "terminal_status")


def _password_bytes(password: Secret[str]) -> bytes:
    digits = password.reveal()
    if len(digits) != 2 * _PASSWORD_BYTES or not digits.isalnum():
        raise MalformedMessage("password is not six digits")
    return _digit_pairs(digits, "password")


def _digit_pairs(text: str, name: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        # Without the cause: it would show the text, which may be a password.
        raise MalformedMessage("value is not made of digit pairs", field=name) from None


def _unsigned(value: int, size: int, name: str) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError as error:
        raise MalformedMessage("number does not fit into its field", field=name) from error


# --- what a till sends -----------------------------------------------------------------------------------------


def registration(
    password: Secret[str],
    *,
    config_byte: int,
    currency: int | None,
    service_byte: int | None = None,
    objects: tuple[Tlv, ...] | None = None,
) -> Message:
    """06 00. ``objects``, even empty, allow the terminal to send TLV containers."""
    head: dict[str, HeadValue] = {"password": password, "config_byte": config_byte}
    if currency is not None:
        head["currency"] = currency
    fields = Fields.of({bitmaps.SERVICE_BYTE: service_byte, bitmaps.CONTAINER: objects})
    return Message(REGISTRATION, head, fields)


def log_off() -> Message:
    """06 02."""
    return Message(LOG_OFF)


def status_enquiry(
    password: Secret[str] | None = None, *, service_byte: int | None = None
) -> Message:
    """05 01. A service byte needs the password before it."""
    return Message(
        STATUS_ENQUIRY,
        {"password": password} if password else {},
        Fields.of({bitmaps.SERVICE_BYTE: service_byte}),
    )


def authorization(
    amount_minor: int,
    currency: int,
    *,
    timeout_s: int | None = None,
    payment_type: int | None = None,
    objects: tuple[Tlv, ...] | None = None,
) -> Message:
    """06 01: take a payment."""
    fields = Fields.of(
        {
            bitmaps.AMOUNT: amount_minor,
            bitmaps.CURRENCY: currency,
            bitmaps.STATUS_BYTE: payment_type,
            bitmaps.TIMEOUT: timeout_s,
            bitmaps.CONTAINER: objects,
        }
    )
    return Message(AUTHORIZATION, fields=fields)


def preauthorization(amount_minor: int, currency: int) -> Message:
    """06 22: reserve an amount."""
    return Message(PREAUTHORIZATION, fields=_amount(amount_minor, currency))


def book_partial(receipt: int, amount_minor: int, currency: int) -> Message:
    """06 23: book less than was reserved; the rest is released."""
    return Message(BOOK_PARTIAL, fields=_amount(amount_minor, currency, receipt))


def book_total(receipt: int, amount_minor: int, currency: int) -> Message:
    """06 24: book what was reserved."""
    return Message(BOOK_TOTAL, fields=_amount(amount_minor, currency, receipt))


def cancel_preauthorization(
    receipt: int, amount_minor: int | None, currency: int | None
) -> Message:
    """06 25: release what was reserved."""
    return Message(CANCEL_PREAUTHORIZATION, fields=_amount(amount_minor, currency, receipt))


def open_preauthorizations() -> Message:
    """06 23 with receipt FFFF: which reservations are open? Answered with 06 1E B8 87 <receipt or FFFF>."""
    return Message(BOOK_PARTIAL, fields=Fields.of({bitmaps.RECEIPT: b"\xff\xff"}))


def reversal(
    password: Secret[str],
    receipt: int,
    amount_minor: int | None = None,
    currency: int | None = None,
) -> Message:
    """06 30: take a payment back."""
    return Message(REVERSAL, {"password": password}, _amount(amount_minor, currency, receipt))


def refund(password: Secret[str], amount_minor: int, currency: int) -> Message:
    """06 31: give money to a card."""
    return Message(REFUND, {"password": password}, _amount(amount_minor, currency))


def end_of_day(password: Secret[str]) -> Message:
    """06 50."""
    return Message(END_OF_DAY, {"password": password})


def read_totals(password: Secret[str]) -> Message:
    """06 10."""
    return Message(READ_TOTALS, {"password": password})


def diagnosis(kind: int | None = None) -> Message:
    """06 70. ``kind``: 1 line, 2 extended, 3 configuration, 4 EMV, 5 ep2; None lets the terminal choose."""
    objects = None if kind is None else (Tlv(tlv.DIAGNOSIS_KIND, bytes((kind,))),)
    return Message(DIAGNOSIS, fields=Fields.of({bitmaps.CONTAINER: objects}))


def initialization(password: Secret[str]) -> Message:
    """06 93."""
    return Message(INITIALIZATION, {"password": password})


def repeat_receipt(password: Secret[str], *, service_byte: int | None = None) -> Message:
    """06 20: the last receipt again; ``WITH_STATUS | WITHOUT_PRINT`` makes it the question for a lost result."""
    return Message(
        REPEAT_RECEIPT, {"password": password}, Fields.of({bitmaps.SERVICE_BYTE: service_byte})
    )


def reprint_receipts(
    password: Secret[str], receipt_from: int, receipt_to: int | None = None
) -> Message:
    """06 12."""
    head: dict[str, HeadValue] = {"password": password, "receipt_from": receipt_from}
    if receipt_to is not None:
        head["receipt_to"] = receipt_to
    return Message(REPRINT, head)


def reset() -> Message:
    """06 18: restart the terminal."""
    return Message(RESET)


def print_configuration() -> Message:
    """06 1A."""
    return Message(PRINT_CONFIGURATION)


def set_terminal_id(password: Secret[str], terminal_id: str | None) -> Message:
    """06 1B: set the eight digits of the terminal id, or take it away with None."""
    return Message(
        SET_TERMINAL_ID, {"password": password}, Fields.of({bitmaps.TERMINAL_ID: terminal_id})
    )


def set_clock(password: Secret[str], at: datetime) -> Message:
    """06 91 with local wall time."""
    return Message(SET_CLOCK, {"password": password}, clock_fields(at))


def abort() -> Message:
    """06 B0: stop waiting for the customer."""
    return Message(ABORT)


def read_card(
    timeout_s: int, *, card_type: int | None = None, dialog_control: int | None = None
) -> Message:
    """06 C0."""
    fields = Fields.of({bitmaps.STATUS_BYTE: card_type, bitmaps.DIALOG_CONTROL: dialog_control})
    return Message(READ_CARD, {"timeout_s": timeout_s}, fields)


def display_text(
    lines: Sequence[str], *, seconds: int, beeps: int | None = None, charset: str = "cp437"
) -> Message:
    """06 E0: up to eight lines. Raises MalformedMessage for more, or for one longer than 99 characters."""
    if len(lines) > 8:
        raise MalformedMessage("a terminal shows eight lines", lines=len(lines))
    texts = {bitmaps.FIRST_LINE + at: line for at, line in enumerate(lines)}
    fields = Fields.of(
        {bitmaps.DISPLAY_SECONDS: seconds, **texts, bitmaps.BEEPS: beeps}, charset=charset
    )
    # Length bytes are only written here, so this is where a long line is found.
    fields.encode()
    return Message(DISPLAY_TEXT, fields=fields)


def service_mode(password: Secret[str] | None = None) -> Message:
    """08 01."""
    return Message(SERVICE_MODE, {"password": password} if password else {})


def software_update() -> Message:
    """08 10: fetch new software from the terminal's own server."""
    return Message(SOFTWARE_UPDATE)


def file_command(control: int, password: Secret[str], objects: tuple[Tlv, ...]) -> Message:
    """08 11 to 08 14: read or delete a file, change configuration, write a file."""
    return Message(control, {"password": password}, Fields.of({bitmaps.CONTAINER: objects}))


def write_files(password: Secret[str], sizes: Sequence[tuple[int, int]]) -> Message:
    """08 14: files that the terminal may fetch block by block, each as its id and its size in bytes.

    Raises MalformedMessage for an id above 255 or a size of four gigabytes or more.
    """
    files = tuple(
        Tlv(
            tlv.FILE,
            children=(
                Tlv(tlv.FILE_ID, _unsigned(number, 1, "file id")),
                Tlv(tlv.FILE_SIZE, _unsigned(size, _OFFSET_BYTES, "file size")),
            ),
        )
        for number, size in sizes
    )
    return file_command(WRITE_FILE, password, files)


def file_block(number: int, offset: int, block: bytes) -> Message:
    """80 00 in answer to 04 0C: a piece of a file."""
    content = (
        Tlv(tlv.FILE_ID, bytes((number,))),
        Tlv(tlv.FILE_OFFSET, offset.to_bytes(_OFFSET_BYTES, "big")),
        Tlv(tlv.FILE_BLOCK, block),
    )
    return positive(Fields.of({bitmaps.CONTAINER: (Tlv(tlv.FILE, children=content),)}))


def file_block_wanted(number: int, offset: int, longest: int | None = None) -> Message:
    """04 0C: the terminal wants a file from ``offset`` on. ``longest`` is the longest message that it takes."""
    content = (
        Tlv(tlv.FILE_ID, bytes((number,))),
        Tlv(tlv.FILE_OFFSET, offset.to_bytes(_OFFSET_BYTES, "big")),
    )
    limit = () if longest is None else (Tlv(tlv.LONGEST_MESSAGE, longest.to_bytes(2, "big")),)
    objects = (Tlv(tlv.FILE, children=content), *limit)
    return Message(FILE_BLOCK_WANTED, fields=Fields.of({bitmaps.CONTAINER: objects}))


class BlockWanted(NamedTuple):
    """What 04 0C asks for."""

    number: int
    offset: int
    longest: int | None


def block_wanted(message: Message) -> BlockWanted | None:
    """Which piece of which file a terminal asks for; None when it does not say."""
    objects = message.fields.objects
    number, offset = emv.find(objects, tlv.FILE_ID), emv.find(objects, tlv.FILE_OFFSET)
    if number is None or offset is None:
        return None
    longest = emv.find(objects, tlv.LONGEST_MESSAGE)
    return BlockWanted(
        int.from_bytes(number.value, "big"),
        int.from_bytes(offset.value, "big"),
        int.from_bytes(longest.value, "big") if longest else None,
    )


def block_of(apdu: Apdu) -> tuple[int, int, bytes] | None:
    """Id, offset and content of the block in an answer to 04 0C, as it came; None when it holds none.

    Only for the terminal's side: decoding a message masks what looks like a card number, and a file must stay as it is.
    """
    if apdu.content[:1] != bytes((bitmaps.CONTAINER,)):
        return None
    measured = emv.decode_length(apdu.content, 1, len(apdu.content))
    if measured is None:
        return None
    length, at = measured
    objects, _ = tlv.decode(apdu.content[at : at + length])
    found = [emv.find(objects, tag) for tag in (tlv.FILE_ID, tlv.FILE_OFFSET, tlv.FILE_BLOCK)]
    number, offset, block = found
    if number is None or offset is None or block is None:
        return None
    return int.from_bytes(number.value, "big"), int.from_bytes(offset.value, "big"), block.value


def files_offered(message: Message) -> dict[int, int]:
    """File id to size of a write-file command."""
    offered: dict[int, int] = {}
    for item in message.fields.objects:
        number, size = emv.find((item,), tlv.FILE_ID), emv.find((item,), tlv.FILE_SIZE)
        if item.tag == tlv.FILE and number is not None and size is not None:
            offered[int.from_bytes(number.value, "big")] = int.from_bytes(size.value, "big")
    return offered


def select_language(language: int) -> Message:
    """08 30 with a number of ``LANGUAGES``."""
    return Message(SELECT_LANGUAGE, {"language": language})


def set_baud_rate(code: int) -> Message:
    """08 40 with a number of ``BAUD_RATES``; the rate is valid two seconds after the answer."""
    return Message(SET_BAUD_RATE, {"baud_rate": code})


def activate_reader(activation: int) -> Message:
    """08 50."""
    return Message(ACTIVATE_READER, fields=Fields.of({bitmaps.READER_ACTIVATION: activation}))


def device_details() -> Message:
    """0F A1 00 01: device id, version, terminal id, voltage and temperature (Feig)."""
    return Message(VENDOR_FUNCTION, {"function": 1})


# --- what both sides answer, and what a terminal sends ---------------------------------------------------------


def positive(fields: Fields | None = None) -> Message:
    """80 00."""
    return Message(POSITIVE, fields=fields or Fields())


def negative(code: int) -> Message:
    """84 xx."""
    return Message(0x8400 | code)


def partial_goods(amount_minor: int) -> Message:
    """84 9D: only goods for this amount were delivered."""
    return Message(0x8400 | codes.PARTIAL_ISSUE, fields=Fields.of({bitmaps.AMOUNT: amount_minor}))


def intermediate_status(
    code: int,
    *,
    timeout_minutes: int | None = None,
    text: str | None = None,
    charset: str = "cp437",
) -> Message:
    """04 FF. A text needs a till that allowed TLV."""
    head: dict[str, HeadValue] = {"intermediate_status": code}
    if timeout_minutes is not None:
        head["timeout_minutes"] = int(f"{timeout_minutes % 100:02d}", 16)
    if text is None:
        return Message(INTERMEDIATE_STATUS, head)
    lines = tuple(Tlv(tlv.TEXT_LINE, line.encode(charset, "replace")) for line in text.splitlines())
    objects = (Tlv(tlv.DISPLAY_TEXTS, children=lines),)
    return Message(
        INTERMEDIATE_STATUS, head, Fields.of({bitmaps.CONTAINER: objects}, charset=charset)
    )


def status_information(fields: Fields) -> Message:
    """04 0F."""
    return Message(STATUS_INFORMATION, fields=fields)


def completion(fields: Fields | None = None) -> Message:
    """06 0F."""
    return Message(COMPLETION, fields=fields or Fields())


def status_completion(
    status: int, *, version: str | None, objects: tuple[Tlv, ...] | None = None
) -> Message:
    """06 0F in answer to 05 01."""
    head: dict[str, HeadValue] = {"terminal_status": status}
    if version is not None:
        head = {"software_version": version, **head}
    return Message(COMPLETION, head, Fields.of({bitmaps.CONTAINER: objects}))


def aborted(code: int, *, currency: int | None = None, fields: Fields | None = None) -> Message:
    """06 1E. The currency only with 6F: the one that the terminal wants."""
    head: dict[str, HeadValue] = {"result_code": code}
    if currency is not None:
        head["currency"] = currency
    return Message(ABORTED, head, fields or Fields())


def print_line(
    text: str, *, attribute: int = 0, receipt_kind: int | None = None, charset: str = "cp437"
) -> Message:
    """06 D1. ``receipt_kind`` adds the container that some terminals append."""
    head: dict[str, HeadValue] = {"attribute": attribute, "text": text}
    if receipt_kind is not None:
        head["receipt_kind"] = receipt_kind
    return Message(PRINT_LINE, head, Fields(charset=charset))


def print_block(
    receipt_kind: int, lines: Sequence[str], *, last: bool, charset: str = "cp437"
) -> Message:
    """06 D3: lines of one receipt."""
    texts = [Tlv(tlv.TEXT_LINE, line.encode(charset, "replace")) for line in lines]
    if last:
        texts.append(Tlv(tlv.LINE_ATTRIBUTE, b"\xff"))
    objects = (
        Tlv(tlv.RECEIPT_KIND, bytes((receipt_kind,))),
        Tlv(tlv.PRINT_TEXTS, children=tuple(texts)),
    )
    return Message(PRINT_BLOCK, fields=Fields.of({bitmaps.CONTAINER: objects}, charset=charset))


def set_till_clock(at: datetime) -> Message:
    """04 01: what the terminal believes the time is."""
    return Message(SET_TILL_CLOCK, fields=clock_fields(at))


def totals_fields(total_minor: int, sums: TurnoverSums) -> dict[int, int | TurnoverSums]:
    """The fields of a status information that reports turnover."""
    return {bitmaps.RESULT: 0, bitmaps.AMOUNT: total_minor, bitmaps.TOTALS: sums}


def clock_fields(at: datetime) -> Fields:
    """Date and time of a clock message."""
    return Fields.of({bitmaps.YEAR_DATE: f"{at:%y%m%d}", bitmaps.TIME: f"{at:%H%M%S}"})


@dataclass(frozen=True, slots=True)
class PrintedText:
    """What a print message says: its lines, the receipt it belongs to, and whether that ends with it."""

    lines: tuple[str, ...]
    receipt_kind: int | None
    is_last: bool
    is_block: bool


def printed_text(message: Message) -> PrintedText:
    """The text of 06 D1 or 06 D3, in the character set that the message itself may choose."""
    if message.control == PRINT_LINE:
        attribute = message.number("attribute") or 0
        feed = message.number("feed")
        if feed is not None:
            return PrintedText(("",) * feed, None, is_last=False, is_block=False)
        last = _ends_receipt(attribute)
        text = message.text("text") or ""
        lines = () if last and not text else (text,)
        return PrintedText(lines, message.number("receipt_kind"), last, is_block=False)
    objects = message.fields.objects
    charset = tlv.charset_of(objects, message.fields.charset)
    kind = emv.find(objects, tlv.RECEIPT_KIND)
    found: list[str] = []
    last = False
    for item in emv.walk(objects):
        if item.tag == tlv.TEXT_LINE:
            found.append(tlv.text(item, charset))
        elif item.tag == tlv.LINE_ATTRIBUTE and item.value:
            last = last or _ends_receipt(item.value[0])
    return PrintedText(
        tuple(found), kind.value[0] if kind and kind.value else None, last, is_block=True
    )


def _ends_receipt(attribute: int) -> bool:
    return attribute & 0x80 != 0 and attribute != 0x80


def display_texts(message: Message) -> str:
    """The text that a message carries in tag 24, on one line; empty when it has none."""
    objects = message.fields.objects
    container = emv.find(objects, tlv.DISPLAY_TEXTS)
    if container is None:
        return ""
    charset = tlv.charset_of(objects, message.fields.charset)
    lines = (
        tlv.text(item, charset).strip() for item in container.children if item.tag == tlv.TEXT_LINE
    )
    return " ".join(line for line in lines if line)


def minutes_of(message: Message) -> int | None:
    """The new T4 that an intermediate status carries, in minutes; None when it carries none."""
    raw = message.number("timeout_minutes")
    if raw is None or raw >> 4 > 9 or raw & 0x0F > 9:
        return None
    return (raw >> 4) * 10 + (raw & 0x0F) or None


def _amount(amount_minor: int | None, currency: int | None, receipt: int | None = None) -> Fields:
    return Fields.of(
        {bitmaps.RECEIPT: receipt, bitmaps.AMOUNT: amount_minor, bitmaps.CURRENCY: currency}
    )
