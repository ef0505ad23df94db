"""A ZVT message as JSON, for people who look at a recording. Card data is masked and passwords are starred."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage, MoneyMismatch
from protocols.money import Money, currency_of_number
from protocols.readers import emv
from protocols.readers.zvt import bitmaps, codes, messages, serial_link, tlv
from protocols.readers.zvt.apdu import Apdu
from protocols.readers.zvt.bitmaps import BITMAPS, TurnoverSums, read_value
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from protocols.readers.emv import Tlv
    from protocols.readers.zvt.bitmaps import Fields
    from protocols.readers.zvt.messages import HeadValue, Message

Json = str | int | bool | list["Json"] | dict[str, "Json"]

FRAMINGS: Final = ("apdu", "serial", "tcp")
STARS: Final = "******"
_SIGNALS: Final = {serial_link.ACK: "ack", serial_link.NAK: "nack"}
#: Parts of a head that are bit fields and read best in hexadecimal.
_HEX_PARTS: Final = frozenset({"config_byte", "attribute"})


def describe(
    recorded: bytes, *, framing: str = "apdu", answering: int | None = None
) -> dict[str, Json]:
    """One message, field by field.

    ``framing`` is ``apdu`` or ``tcp`` (a bare message) or ``serial`` (one frame, or a single ACK or NAK byte).
    ``answering`` is the command that a completion belongs to, if it is known. ``bmps`` are pairs of id and masked
    content in hexadecimal, in which nibble ``e`` hides a digit; ``fields`` the same as values; ``meaning`` in words.

    Raises MalformedMessage when the bytes are not exactly one message.
    """
    if framing != "serial":
        return _describe_apdu(recorded, answering)
    if len(recorded) == 1 and recorded[0] in _SIGNALS:
        return {"kind": _SIGNALS[recorded[0]], "name": "acknowledgement of a frame"}
    apdu = serial_link.decode_frame(recorded)
    return {
        "apdu": _masked_apdu(apdu, answering).hex(),
        "crc_lo_hi": recorded[-2:].hex(),
        "decoded": _describe_apdu(apdu, answering),
    }


def _describe_apdu(recorded: bytes, answering: int | None) -> dict[str, Json]:
    apdu = Apdu.decode(recorded)
    message = messages.decode_message(apdu, answering=answering)
    described: dict[str, Json] = {
        "cc": f"{apdu.control:04x}",
        "length": len(apdu.content),
        "name": messages.name_of(apdu.control),
    }
    meaning: dict[str, Json] = {}
    if apdu.is_answer:
        described["kind"] = "ack" if message.is_positive else "nack"
    if message.error is not None:
        described["error"] = message.error
        meaning["error"] = codes.result_text(message.error)
    for name, value in message.head.items():
        described[name] = _head_value(name, value)
        if name in _MEANINGS and isinstance(value, int):
            meaning[name] = _MEANINGS[name](value)
    if message.opaque is not None:
        described["opaque_length"] = len(message.opaque.reveal())
    else:
        _describe_fields(message, described, meaning)
    if message.control in {messages.PRINT_LINE, messages.PRINT_BLOCK}:
        _describe_print(message, described)
    if meaning:
        described["meaning"] = meaning
    if message.quirks:
        described["quirks"] = list(message.quirks)
    return described


def _describe_fields(
    message: Message, described: dict[str, Json], meaning: dict[str, Json]
) -> None:
    fields = message.fields
    described["bmps"] = [[f"{bitmap:02x}", content.hex()] for bitmap, content in fields.items]
    values: dict[str, Json] = {}
    for bitmap, content in fields.items:
        name = BITMAPS[bitmap].name
        value = read_value(bitmap, content, fields.charset)
        if isinstance(value, TurnoverSums):
            values[name] = _totals(value)
        elif isinstance(value, int | str) and name not in values:
            values[name] = value
            if name in _MEANINGS and isinstance(value, int):
                meaning[name] = _MEANINGS[name](value)
    if values:
        described["fields"] = values
    if amount := _amount(fields):
        meaning["amount"] = amount
    if bitmaps.CONTAINER in fields:
        objects = fields.objects
        described["tlv"] = _tree(objects, tlv.charset_of(objects, fields.charset))
    if fields.remainder is not None:
        described["remainder_length"] = len(fields.remainder.reveal())


def _describe_print(message: Message, described: dict[str, Json]) -> None:
    printed = messages.printed_text(message)
    described["lines"] = list(printed.lines)
    described["last"] = printed.is_last
    if printed.receipt_kind is not None:
        described["receipt"] = codes.RECEIPT_KINDS.get(
            printed.receipt_kind, str(printed.receipt_kind)
        )


def _head_value(name: str, value: HeadValue) -> Json:
    match value:
        case Secret():
            return STARS
        case int() if name == "currency":
            return f"{value:04d}"
        case int() if name in _HEX_PARTS:
            return f"{value:02x}"
        case _:
            return value


def _amount(fields: Fields) -> str | None:
    minor = fields.number(bitmaps.AMOUNT)
    number = fields.number(bitmaps.CURRENCY)
    if minor is None or number is None:
        return None
    try:
        return str(Money(minor, currency_of_number(number)))
    except MoneyMismatch:
        return f"{minor} minor units of currency {number}"


def _totals(sums: TurnoverSums) -> dict[str, Json]:
    schemes: dict[str, Json] = {
        scheme: {"count": one.payments, "sum_minor": one.sum_minor}
        for scheme, one in zip(codes.SCHEMES, sums.sums, strict=True)
    }
    return {"receipt_from": sums.receipt_from, "receipt_to": sums.receipt_to, "schemes": schemes}


def _tree(objects: Iterable[Tlv], charset: str) -> list[Json]:
    return [_branch(item, charset) for item in objects]


def _branch(item: Tlv, charset: str) -> dict[str, Json]:
    branch: dict[str, Json] = {"tag": f"{item.tag:02x}"}
    name = tlv.NAMES.get(item.tag) or emv.TAG_NAMES.get(item.tag)
    if name:
        branch["name"] = name
    if emv.is_constructed(item.tag) and not item.value:
        branch["children"] = _tree(item.children, charset)
        return branch
    branch["value"] = item.value.hex()
    if item.tag in tlv.TEXT_TAGS:
        branch["text"] = tlv.text(item, charset)
    if item.tag == tlv.LOCKS:
        branch["locks"] = list(codes.locks(item.value))
    return branch


def _masked_apdu(encoded: bytes, answering: int | None) -> bytes:
    """The message without card data, otherwise byte for byte."""
    apdu = Apdu.decode(encoded)
    message = messages.decode_message(apdu, answering=answering)
    header = encoded[: len(encoded) - len(apdu.content)]
    if message.opaque is not None:
        return header + emv.hidden(len(apdu.content))
    try:
        clear = message.apdu().content
    except MalformedMessage:
        return header + emv.hidden(len(apdu.content))
    if clear == apdu.content and message.fields.remainder is None:
        return encoded
    rest = message.fields.remainder
    if rest is not None:
        fields = replace(message.fields, remainder=Secret(emv.hidden(len(rest.reveal()))))
        clear = replace(message, fields=fields).apdu().content
    return header + clear


def _rate(code: int) -> str:
    return (
        f"{messages.BAUD_RATES[code]} baud"
        if code in messages.BAUD_RATES
        else f"unknown rate {code:02X}"
    )


def _language(code: int) -> str:
    return messages.LANGUAGES.get(code, f"language {code:02X}")


_MEANINGS: Final[Mapping[str, Callable[[int], str]]] = {
    "result_code": codes.result_text,
    "intermediate_status": codes.intermediate_text,
    "terminal_status": codes.terminal_status_text,
    "card_type": codes.card_type_text,
    "baud_rate": _rate,
    "language": _language,
}
