"""Bitmaps (BMPs): the tagged fields of which a ZVT message is made, and the values they hold.

``Fields`` keeps the bytes of each field as they came, masked, and reads a value only when it is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from protocols.errors import MalformedMessage
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.zvt import tlv
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

LL: Final = -2
LLL: Final = -3
BER: Final = -1

AMOUNT: Final = 0x04
TIMEOUT: Final = 0x01
SERVICE_BYTE: Final = 0x03
CONTAINER: Final = 0x06
TRACE: Final = 0x0B
TIME: Final = 0x0C
DATE: Final = 0x0D
EXPIRY: Final = 0x0E
CARD_SEQUENCE: Final = 0x17
STATUS_BYTE: Final = 0x19
PAN: Final = 0x22
RESULT: Final = 0x27
TERMINAL_ID: Final = 0x29
MERCHANT_NUMBER: Final = 0x2A
ORIGINAL_TRACE: Final = 0x37
AUTHORIZATION: Final = 0x3B
ADDITIONAL_TEXT: Final = 0x3C
CURRENCY: Final = 0x49
TOTALS: Final = 0x60
RECEIPT: Final = 0x87
TURNOVER: Final = 0x88
CARD_TYPE: Final = 0x8A
CARD_NAME: Final = 0x8B
YEAR_DATE: Final = 0xAA
DIRECTION: Final = 0xD2
DISPLAY_SECONDS: Final = 0xF0
FIRST_LINE: Final = 0xF1
BEEPS: Final = 0xF9
READER_ACTIVATION: Final = 0xFA
DIALOG_CONTROL: Final = 0xFC


class Bitmap(NamedTuple):
    """How a field is called, how long it is (bytes, or LL, LLL, BER) and what it holds.

    ``holds`` is one of: ``number`` (BCD), ``digits`` (BCD whose zeros matter), ``byte``, ``text``, ``ascii``, ``pan``,
    ``totals``, ``tlv``, ``binary``, and ``hidden`` for what must not be kept.
    """

    name: str
    length: int
    holds: str


BITMAPS: Final[Mapping[int, Bitmap]] = {
    0x01: Bitmap("timeout_s", 1, "byte"),
    0x02: Bitmap("max_status_count", 1, "byte"),
    0x03: Bitmap("service_byte", 1, "byte"),
    0x04: Bitmap("amount_minor", 6, "number"),
    0x05: Bitmap("pump", 1, "byte"),
    0x06: Bitmap("tlv", BER, "tlv"),
    0x0B: Bitmap("trace_number", 3, "number"),
    0x0C: Bitmap("time", 3, "digits"),
    0x0D: Bitmap("date", 2, "digits"),
    0x0E: Bitmap("expiry_yymm", 2, "digits"),
    0x17: Bitmap("card_sequence_number", 2, "number"),
    0x19: Bitmap("status_byte", 1, "byte"),
    0x22: Bitmap("masked_pan", LL, "pan"),
    0x23: Bitmap("track_2", LL, "track"),
    0x24: Bitmap("track_3", LLL, "hidden"),
    0x27: Bitmap("result_code", 1, "byte"),
    0x29: Bitmap("terminal_id", 4, "digits"),
    0x2A: Bitmap("merchant_number", 15, "ascii"),
    0x2D: Bitmap("track_1", LL, "hidden"),
    0x2E: Bitmap("synchronous_chip", LLL, "hidden"),
    0x37: Bitmap("original_trace_number", 3, "number"),
    0x3A: Bitmap("card_verification_value", 2, "hidden"),
    0x3B: Bitmap("authorization_code", 8, "ascii"),
    0x3C: Bitmap("additional_text", LLL, "text"),
    0x3D: Bitmap("password", 3, "hidden"),
    0x49: Bitmap("currency", 2, "number"),
    0x4C: Bitmap("blocked_goods_groups", LL, "binary"),
    0x60: Bitmap("totals", LLL, "totals"),
    0x70: Bitmap("image_request", 4, "binary"),
    0x71: Bitmap("image_size", 4, "binary"),
    0x72: Bitmap("image_type", 1, "byte"),
    0x73: Bitmap("image_encoding", 1, "byte"),
    0x74: Bitmap("image_chunks", 1, "byte"),
    0x75: Bitmap("image_chunk", 1, "byte"),
    0x87: Bitmap("receipt_number", 2, "number"),
    0x88: Bitmap("turnover_number", 3, "number"),
    0x8A: Bitmap("card_type", 1, "byte"),
    0x8B: Bitmap("card_name", LL, "text"),
    0x8C: Bitmap("operator_card_type", 1, "byte"),
    0x92: Bitmap("chip_offline_record", LLL, "hidden"),
    0x9A: Bitmap("geldkarte_record", LLL, "hidden"),
    0xA0: Bitmap("authorization_result", 1, "byte"),
    0xA7: Bitmap("chip_ef_id", LL, "hidden"),
    0xAA: Bitmap("date_yymmdd", 3, "digits"),
    0xAF: Bitmap("chip_ef_info", LLL, "hidden"),
    0xBA: Bitmap("aid_parameter", 5, "binary"),
    0xD0: Bitmap("key_algorithm", 1, "byte"),
    0xD1: Bitmap("pin_offset", LL, "hidden"),
    0xD2: Bitmap("card_direction", 1, "byte"),
    0xD3: Bitmap("key_position", 1, "byte"),
    0xE0: Bitmap("input_min", 1, "byte"),
    **{0xE0 + line: Bitmap(f"input_line_{line}", LL, "text") for line in range(1, 9)},
    0xE9: Bitmap("input_max", 1, "byte"),
    0xEA: Bitmap("input_echo", 1, "byte"),
    0xEB: Bitmap("text_mac", 8, "hidden"),
    0xF0: Bitmap("display_s", 1, "byte"),
    **{0xF0 + line: Bitmap(f"line_{line}", LL, "text") for line in range(1, 9)},
    0xF9: Bitmap("beeps", 1, "byte"),
    0xFA: Bitmap("reader_activation", 1, "byte"),
    0xFB: Bitmap("confirmation", 1, "byte"),
    0xFC: Bitmap("dialog_control", 1, "byte"),
    0xFD: Bitmap("display_device", 1, "byte"),
}

#: Length by id, 0 for an unknown one: the decoder's inner loop.
_LENGTHS: Final = tuple(BITMAPS[bitmap].length if bitmap in BITMAPS else 0 for bitmap in range(256))
_MASKED: Final = frozenset(
    bitmap
    for bitmap, known in BITMAPS.items()
    if known.holds in {"pan", "track", "hidden", "text", "tlv"}
)
_PAN: Final = re.compile(r"[0-9e]+")
_SCHEMES: Final = 7
_SUM_BYTES: Final = 7


class SchemeSum(NamedTuple):
    """Turnover of one card scheme in BMP 60."""

    payments: int
    sum_minor: int


@dataclass(frozen=True, slots=True)
class TurnoverSums:
    """BMP 60: the range of receipts and the sums in the order of ``codes.SCHEMES``."""

    receipt_from: int
    receipt_to: int
    sums: tuple[SchemeSum, ...]

    def encode(self) -> bytes:
        """Raises MalformedMessage for a number that does not fit: count 255, sum 10^12 - 1, receipt 9999."""
        encoded = bcd(self.receipt_from, 2) + bcd(self.receipt_to, 2)
        for payments, total in self.sums:
            if not 0 <= payments <= 0xFF:
                raise MalformedMessage("count does not fit into one byte", count=payments)
            encoded += bytes((payments,)) + bcd(total, 6)
        return encoded

    @classmethod
    def decode(cls, content: bytes) -> TurnoverSums | None:
        """None for anything that is not 4 + 7 x 7 bytes of BCD and counts."""
        if len(content) < 4 + _SCHEMES * _SUM_BYTES:
            return None
        numbers = [_number(content[:2]), _number(content[2:4])]
        sums = []
        for at in range(4, 4 + _SCHEMES * _SUM_BYTES, _SUM_BYTES):
            total = _number(content[at + 1 : at + _SUM_BYTES])
            numbers.append(total)
            sums.append(SchemeSum(content[at], total or 0))
        if None in numbers:
            return None
        return cls(numbers[0] or 0, numbers[1] or 0, tuple(sums))


Value = int | str | tuple[Tlv, ...] | TurnoverSums


@dataclass(frozen=True, slots=True)
class Fields:
    """The bitmaps of one message in their order, masked, with what could not be read.

    ``items`` are (id, content without length bytes). ``remainder`` is what follows a bitmap that is unknown or cut
    off; it stays hidden because it may be card data. ``quirks`` name what the sender did wrong.
    """

    items: tuple[tuple[int, bytes], ...] = ()
    remainder: Secret[bytes] | None = None
    quirks: tuple[str, ...] = ()
    charset: str = field(default="cp437", compare=False)

    @classmethod
    def of(cls, values: Mapping[int, Value | bytes | None], *, charset: str = "cp437") -> Fields:
        """Fields with these values, in this order; None is left out, ``bytes`` are taken as they are.

        Raises MalformedMessage for a value that does not fit its bitmap.
        """
        return cls(
            tuple(
                (
                    bitmap,
                    value if isinstance(value, bytes) else _encode_value(bitmap, value, charset),
                )
                for bitmap, value in values.items()
                if value is not None
            ),
            charset=charset,
        )

    def encode(self) -> bytes:
        """The block as it travels, remainder included."""
        encoded = bytearray()
        for bitmap, content in self.items:
            encoded.append(bitmap)
            encoded += _length_prefix(bitmap, len(content)) + content
        if self.remainder is not None:
            encoded += self.remainder.reveal()
        return bytes(encoded)

    def raw(self, bitmap: int) -> bytes | None:
        """Content of the first bitmap with this id."""
        for known, content in self.items:
            if known == bitmap:
                return content
        return None

    def value(self, bitmap: int) -> Value | None:
        """Value of the first bitmap with this id; None when absent or not of the kind that it should be."""
        content = self.raw(bitmap)
        return None if content is None else read_value(bitmap, content, self.charset)

    def number(self, bitmap: int) -> int | None:
        """A number or byte."""
        value = self.value(bitmap)
        return value if isinstance(value, int) else None

    def text(self, bitmap: int) -> str | None:
        """Digits or text."""
        value = self.value(bitmap)
        return value if isinstance(value, str) else None

    @property
    def objects(self) -> tuple[Tlv, ...]:
        """The readable objects of the TLV container."""
        content = self.raw(CONTAINER)
        return tlv.decode(content)[0] if content else ()

    @property
    def totals(self) -> TurnoverSums | None:
        """The sums of BMP 60."""
        content = self.raw(TOTALS)
        return TurnoverSums.decode(content) if content is not None else None

    def __contains__(self, bitmap: int) -> bool:
        return any(known == bitmap for known, _ in self.items)

    def __bool__(self) -> bool:
        return bool(self.items) or self.remainder is not None


def decode_fields(block: bytes, *, charset: str = "cp437") -> Fields:
    """Read and mask a block of bitmaps. Never raises: what cannot be read becomes the remainder, with a quirk."""
    items: list[tuple[int, bytes]] = []
    quirks: list[str] = []
    at = 0
    end = len(block)
    while at < end:
        bitmap = block[at]
        length = _LENGTHS[bitmap]
        start = at + 1
        if length == 0:
            quirks.append("unknown_bitmap")
            break
        if length < 0:
            measured = _measure(block, start, end, length)
            if measured is None:
                quirks.append("truncated_bitmap")
                break
            length, start = measured
            if BITMAPS[bitmap].length < BER and block[start - 1] < 0xF0:
                quirks.append("length_without_f")
        if start + length > end:
            quirks.append("truncated_bitmap")
            break
        content = block[start : start + length]
        if bitmap in _MASKED:
            content, quirk = _mask(bitmap, content)
            if quirk:
                quirks.append(quirk)
        items.append((bitmap, content))
        at = start + length
    rest = Secret(block[at:]) if at < end else None
    return Fields(tuple(items), rest, tuple(quirks), charset)


def read_value(bitmap: int, content: bytes, charset: str) -> Value | None:
    """What a bitmap's content says; None when it breaks its own format or is hidden."""
    holds = BITMAPS[bitmap].holds
    match holds:
        case "number":
            return _number(content)
        case "digits":
            digits = content.hex()
            return digits if digits.isdecimal() else None
        case "byte":
            return content[0]
        case "text":
            return content.rstrip(b"\0").decode(charset, "replace")
        case "ascii":
            return content.rstrip(b"\0 ").decode("ascii", "replace")
        case "pan" | "track":
            number = _PAN.match(content.hex())
            return number.group().replace("e", "*") if number else None
        case "totals":
            return TurnoverSums.decode(content)
        case "tlv":
            return tlv.decode(content)[0]
        case "binary":
            return content.hex()
    return None


def _mask(bitmap: int, content: bytes) -> tuple[bytes, str | None]:
    match BITMAPS[bitmap].holds:
        case "pan" | "track":
            safe = emv.mask_nibbles(content)
            return safe, None if safe == content else "pan_in_clear"
        case "text":
            safe = emv.mask_text_bytes(content)
            return safe, None if safe is content else "pan_in_clear"
        case "tlv":
            safe, quirk = tlv.mask(content)
            return safe, quirk or (None if safe == content else "pan_in_clear")
        case _:
            return emv.hidden(len(content)), None


def _measure(block: bytes, at: int, end: int, length: int) -> tuple[int, int] | None:
    """Length of a variable bitmap and where its content begins."""
    if length == BER:
        return emv.decode_length(block, at, end)
    start = at - length
    if start > end:
        return None
    total = 0
    for place in block[at:start]:
        # Some senders drop the F nibble that marks each digit of the length.
        digit = place & 0x0F
        if digit > 9:
            return None
        total = total * 10 + digit
    return total, start


def _length_prefix(bitmap: int, length: int) -> bytes:
    kind = _LENGTHS[bitmap]
    if kind == BER:
        return emv.encode_length(length)
    if kind > 0:
        return b""
    return encode_ll(length, -kind)


def encode_ll(length: int, digits: int) -> bytes:
    """LLVAR or LLLVAR length: one byte a decimal digit, high nibble F. Raises MalformedMessage if it does not fit."""
    if length >= 10**digits:
        raise MalformedMessage("text does not fit into its field", length=length, digits=digits)
    return bytes(0xF0 | int(digit) for digit in f"{length:0{digits}d}")


def decode_lll(block: bytes) -> tuple[bytes, int] | None:
    """An LLLVAR at the start of a block: its content and where the rest begins; None if there is none that fits."""
    measured = _measure(block, 0, len(block), LLL)
    if measured is None or measured[0] + measured[1] > len(block):
        return None
    length, start = measured
    return block[start : start + length], start + length


def bcd(number: int, size: int) -> bytes:
    """A number right aligned in ``size`` bytes. Raises MalformedMessage if it is negative or too long."""
    if not 0 <= number < 10 ** (2 * size):
        raise MalformedMessage("number does not fit into its field", size=size)
    return bytes.fromhex(f"{number:0{2 * size}d}")


def _number(content: bytes) -> int | None:
    digits = content.hex()
    return int(digits) if digits.isdecimal() else None


def _encode_value(bitmap: int, value: Value, charset: str) -> bytes:
    known = BITMAPS[bitmap]
    match value:
        case int() if known.holds == "byte":
            if not 0 <= value <= 0xFF:
                raise MalformedMessage("number does not fit into one byte", field=known.name)
            return bytes((value,))
        case int() if known.holds == "number":
            return bcd(value, known.length)
        case TurnoverSums():
            return value.encode()
        case tuple():
            return emv.encode_tlv(value)
        case str():
            return _encode_text(known, value, charset)
    raise MalformedMessage("value is of the wrong kind", field=known.name)


def _encode_text(known: Bitmap, value: str, charset: str) -> bytes:
    match known.holds:
        case "digits":
            return _fitting(known, _hex(known, value))
        case "pan":
            nibbles = value.replace("*", "e")
            return _hex(known, nibbles + "f" * (len(nibbles) % 2))
        case "text":
            return value.encode(charset, "replace")
        case "ascii":
            filler = b" " if known.length == 15 else b"\0"
            return _fitting(known, value.encode("ascii", "replace").ljust(known.length, filler))
        case "binary":
            return _fitting(known, _hex(known, value))
    raise MalformedMessage("value is of the wrong kind", field=known.name)


def _hex(known: Bitmap, value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise MalformedMessage("text is not made of digit pairs", field=known.name) from error


def _fitting(known: Bitmap, content: bytes) -> bytes:
    if known.length > 0 and len(content) != known.length:
        raise MalformedMessage(
            "value does not fit into its field", field=known.name, length=len(content)
        )
    return content
