"""Card data as readers send it: BER-TLV objects, names of EMV tags, and what must be masked before anybody looks.

Nothing here keeps a secret by itself: ``parse_tlv`` gives the clear objects, ``masked`` what may be shown, stored or
sent on. Protocols that never need clear card data mask inside their own decoder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_DEPTH: Final = 8
MAX_TAG_BYTES: Final = 4

# --- card numbers ----------------------------------------------------------------------------------------------

#: Lengths a card number can have (ISO/IEC 7812).
_SHORTEST: Final = 13
_LONGEST: Final = 19
#: Digits of a card number may be grouped by one blank or dash each, as receipts print them.
_DIGIT_RUN: Final = re.compile(r"[0-9](?:[ \u00a0-]?[0-9]){12,}")
_DIGIT_GROUP: Final = re.compile(r"[0-9]+")
_PAN_NIBBLES: Final = re.compile(r"[0-9e]*")
#: What doubling does to a digit in Luhn's sum.
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def passes_luhn(digits: str) -> bool:
    """True when the last digit is the Luhn check digit of the others."""
    odd = sum(map(int, digits[-1::-2]))
    even = sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return (odd + even) % 10 == 0


def mask_pan(number: str) -> str:
    """A card number with at most its first six and last four digits, ``*`` elsewhere.

    A number too short to be a card number keeps only its last four, and none at all below nine digits. Characters that
    are no digit (masks of the sender's own) become ``*``.
    """
    first, last = _visible(len(number))
    return "".join(
        character if character.isdecimal() and (at < first or at >= len(number) - last) else "*"
        for at, character in enumerate(number)
    )


def mask_nibbles(value: bytes) -> bytes:
    """A number or track 2 packed two digits a byte, masked with nibble ``E``; the length stays.

    The number ends at the first nibble that is no digit and no ``E``. Padding ``F`` stays, a separator ``D`` stays, and
    everything after the separator (expiry, service code, discretionary data) becomes ``E``.
    """
    text = value.hex()
    number = _PAN_NIBBLES.match(text)
    end = number.end() if number else 0
    rest = text[end:]
    if rest.strip("f"):
        rest = ("d" if rest[0] == "d" else "e") + "e" * (len(rest) - 1)
    return bytes.fromhex(mask_pan(text[:end]).replace("*", "e") + rest)


def contains_card_number(text: str) -> bool:
    """True when the text holds 13 to 19 digits that pass Luhn, in one piece or grouped by single blanks or dashes."""
    return next(_card_numbers(text), None) is not None


def redact_card_numbers(text: str) -> str:
    """The text with every card number masked, its blanks and dashes kept. Takes time linear in the text."""
    characters: list[str] | None = None
    for start, end in _card_numbers(text):
        if characters is None:
            characters = list(text)
        places = [at for at in range(start, end) if text[at].isdecimal()]
        for at in places[6:-4]:
            characters[at] = "*"
    return text if characters is None else "".join(characters)


def _visible(length: int) -> tuple[int, int]:
    if length >= _SHORTEST:
        return 6, 4
    return 0, 4 if length > 8 else 0


def _card_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Spans of card numbers. Groups are never cut, so that other numbers side by side are not taken for one."""
    for run in _DIGIT_RUN.finditer(text):
        groups = [group.span() for group in _DIGIT_GROUP.finditer(text, run.start(), run.end())]
        after = 0
        for at, (start, _) in enumerate(groups):
            if start < after:
                continue
            end = _card_number_end(text, groups, at)
            if end is not None:
                yield start, end
                after = end


def _card_number_end(text: str, groups: list[tuple[int, int]], at: int) -> int | None:
    digits = ""
    for start, end in groups[at : at + _LONGEST]:
        digits += text[start:end]
        if len(digits) > _LONGEST:
            return None
        if len(digits) >= _SHORTEST and _is_card_number(digits):
            return end
    return None


def _is_card_number(digits: str) -> bool:
    # A field of zeros passes Luhn, too, and is no card number.
    return passes_luhn(digits) and bool(digits.strip("0"))


# --- BER-TLV ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Tlv:
    """One data object. A constructed one (bit 6 of its first tag byte) has ``children``, a primitive one a ``value``.

    Its ``repr`` tells tag and size only, because a value may be card data.
    """

    tag: int
    value: bytes = b""
    children: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        inside = (
            ", ".join(map(repr, self.children)) if self.children else f"{len(self.value)} bytes"
        )
        return f"Tlv({self.tag:02X}: {inside})"


def is_constructed(tag: int) -> bool:
    """True when objects of this tag hold objects."""
    return bool(_tag_bytes(tag)[0] & 0x20)


def decode_tlv(encoded: bytes) -> tuple[Tlv, ...]:
    """Objects one after another, padding 00 and FF between them skipped.

    Raises MalformedMessage for anything cut off, nested deeper than MAX_DEPTH, or with an unending tag.
    """
    objects, consumed = parse_tlv(encoded, padding=True)
    if consumed != len(encoded):
        raise MalformedMessage("data object is cut off or nested too deep", offset=consumed)
    return objects


def parse_tlv(
    encoded: bytes, *, padding: bool = False, short_tags: frozenset[int] = frozenset()
) -> tuple[tuple[Tlv, ...], int]:
    """As many objects as can be read, and how many bytes they took. Never raises.

    ``short_tags`` are two-byte tags that a protocol uses although their high bit says that a third byte follows.
    """
    return _parse(encoded, 0, len(encoded), 1, padding, short_tags)


def encode_tlv(objects: Iterable[Tlv]) -> bytes:
    """The inverse of ``decode_tlv``, with the shortest lengths. Raises MalformedMessage above 16 MiB."""
    encoded = bytearray()
    for item in objects:
        content = encode_tlv(item.children) if item.children else item.value
        encoded += _tag_bytes(item.tag) + encode_length(len(content)) + content
    return bytes(encoded)


def encode_length(length: int) -> bytes:
    """A BER length in as few bytes as possible. Raises MalformedMessage above 16 MiB."""
    if length < 0x80:
        return bytes((length,))
    if length > 0xFFFFFF:
        raise MalformedMessage("data object is too long", length=length)
    size = (length.bit_length() + 7) // 8
    return bytes((0x80 | size,)) + length.to_bytes(size, "big")


def decode_length(encoded: bytes, at: int, end: int) -> tuple[int, int] | None:
    """A BER length of up to three bytes at ``at``, and where the content begins; None when it is cut off or longer."""
    if at >= end:
        return None
    first = encoded[at]
    if first < 0x80:
        return first, at + 1
    size = first & 0x7F
    if size == 0 or size > 3 or at + 1 + size > end:
        return None
    return int.from_bytes(encoded[at + 1 : at + 1 + size], "big"), at + 1 + size


def walk(objects: Iterable[Tlv]) -> Iterator[Tlv]:
    """Every object, each before its children."""
    for item in objects:
        yield item
        yield from walk(item.children)


def find(objects: Iterable[Tlv], tag: int) -> Tlv | None:
    """The first object with this tag, at any depth."""
    return next((item for item in walk(objects) if item.tag == tag), None)


def _parse(
    encoded: bytes, at: int, end: int, depth: int, padding: bool, short_tags: frozenset[int]
) -> tuple[tuple[Tlv, ...], int]:
    objects: list[Tlv] = []
    while at < end:
        if padding and _is_padding(encoded, at, end):
            at += 1
            continue
        read_tag = _read_tag(encoded, at, end, short_tags)
        length = decode_length(encoded, read_tag[1], end) if read_tag else None
        if read_tag is None or length is None or length[1] + length[0] > end:
            break
        tag, start = read_tag[0], length[1]
        stop = start + length[0]
        if encoded[at] & 0x20:
            if depth == MAX_DEPTH:
                break
            children, reached = _parse(encoded, start, stop, depth + 1, padding, short_tags)
            if reached != stop:
                break
            objects.append(Tlv(tag, children=children))
        else:
            objects.append(Tlv(tag, encoded[start:stop]))
        at = stop
    return tuple(objects), at


def _is_padding(encoded: bytes, at: int, end: int) -> bool:
    # FF also begins tags of several makers (FF8105, FFEE01), so a single one before a tag is not padding.
    return encoded[at] == 0 or (
        encoded[at] == 0xFF and (at + 1 == end or encoded[at + 1] in {0, 0xFF})
    )


def _read_tag(
    encoded: bytes, at: int, end: int, short_tags: frozenset[int]
) -> tuple[int, int] | None:
    tag = encoded[at]
    at += 1
    if tag & 0x1F != 0x1F:
        return tag, at
    for _ in range(MAX_TAG_BYTES - 1):
        if at == end:
            return None
        tag = tag << 8 | encoded[at]
        at += 1
        if tag & 0x80 == 0 or tag in short_tags:
            return tag, at
    return None


def _tag_bytes(tag: int) -> bytes:
    return tag.to_bytes(max(1, (tag.bit_length() + 7) // 8), "big")


# --- EMV tags --------------------------------------------------------------------------------------------------

TAG_NAMES: Final[Mapping[int, str]] = {
    0x4F: "application id of the card",
    0x50: "application label",
    0x56: "track 1 data",
    0x57: "track 2 equivalent data",
    0x58: "track 3 data",
    0x5A: "application PAN",
    0x5F20: "cardholder name",
    0x5F21: "track 1, as read",
    0x5F22: "track 2, as read",
    0x5F23: "track 3, as read",
    0x5F24: "expiry date",
    0x5F2A: "transaction currency",
    0x5F34: "PAN sequence number",
    0x6F: "file control information",
    0x70: "record template",
    0x77: "response template 2",
    0x80: "response template 1",
    0x82: "application interchange profile",
    0x84: "dedicated file name",
    0x8A: "authorisation response code",
    0x95: "terminal verification results",
    0x99: "PIN data",
    0x9A: "transaction date",
    0x9B: "transaction status information",
    0x9C: "transaction type",
    0x9F02: "amount",
    0x9F03: "other amount",
    0x9F06: "application id of the terminal",
    0x9F10: "issuer application data",
    0x9F12: "preferred application name",
    0x9F1A: "terminal country",
    0x9F1E: "serial number of the interface device",
    0x9F1F: "track 1 discretionary data",
    0x9F20: "track 2 discretionary data",
    0x9F21: "transaction time",
    0x9F26: "application cryptogram",
    0x9F27: "cryptogram information",
    0x9F33: "terminal capabilities",
    0x9F34: "cardholder verification results",
    0x9F35: "terminal type",
    0x9F36: "application transaction counter",
    0x9F37: "unpredictable number",
    0x9F39: "entry mode",
    0x9F53: "transaction category",
    0x9F66: "terminal transaction qualifiers",
    0x9F6B: "track 2 data of the magnetic stripe mode",
    0x9F6C: "card transaction qualifiers",
    0xDF8115: "contactless failure",
    0xDF8116: "contactless user interface request",
    0xDF8129: "contactless outcome",
}

#: Objects that hold a card number first: it is masked, the rest is dropped.
_NUMBER_TAGS: Final = frozenset({0x57, 0x5A, 0x5F22, 0x9F6B})
#: Objects that must not be seen at all.
_HIDDEN_TAGS: Final = frozenset(
    {
        0x56,
        0x58,
        0x5F20,
        0x5F21,
        0x5F23,
        0x99,
        0x9F1F,
        0x9F20,
        0xDF812A,
        0xDF812B,
        0xDF35,
        0xDF36,
        0xDF37,
    }
)


def masked(objects: Iterable[Tlv]) -> tuple[Tlv, ...]:
    """The same objects with every sensitive value masked; lengths stay.

    Card numbers keep their first six and last four digits, names, tracks and PIN data become ``EE…``. As a last net,
    text that holds a card number is masked whatever its tag, and so is a packed number under a tag not named here.
    """
    return tuple(masked_object(item, _NUMBER_TAGS, _HIDDEN_TAGS, TAG_NAMES) for item in objects)


def masked_object(
    item: Tlv, number_tags: frozenset[int], hidden_tags: frozenset[int], known: Mapping[int, str]
) -> Tlv:
    """One object masked by these rules, for protocols with tags of their own; ``item`` itself if nothing changed."""
    if item.tag in hidden_tags:
        return Tlv(
            item.tag, hidden(len(encode_tlv(item.children)) if item.children else len(item.value))
        )
    if item.children:
        children = tuple(
            masked_object(child, number_tags, hidden_tags, known) for child in item.children
        )
        return item if children == item.children else Tlv(item.tag, children=children)
    value = item.value
    if item.tag in number_tags:
        value = mask_nibbles(value)
    elif len(value) >= 7:
        value = mask_text_bytes(value)
        if item.tag not in known and _is_packed_card_number(value):
            value = mask_nibbles(value)
    return item if value == item.value else Tlv(item.tag, value)


def hidden(length: int) -> bytes:
    """What stands for bytes that nobody may see."""
    return b"\xee" * length


def mask_text_bytes(text: bytes) -> bytes:
    """Text in any ASCII-based character set with card numbers masked; the length stays."""
    if len(text) < _SHORTEST:
        return text
    # Latin-1 maps each byte to one character and back, and every set used here agrees with it on digits.
    before = text.decode("latin-1")
    after = redact_card_numbers(before)
    return text if after is before else after.encode("latin-1")


def _is_packed_card_number(value: bytes) -> bool:
    digits = value.hex().rstrip("f")
    return digits.isdecimal() and _SHORTEST <= len(digits) <= _LONGEST and _is_card_number(digits)
