"""Card data as the reader seals it: what may be known of it, and what passes on unopened.

The payload of an online or final notification is ``F9 { DFDF25 serial, FA { 70 { clear objects, F8 { DFDF59 sealed,
DFDF56 key serial number, DFDF57 kind of key, DFDF58 padding }}}}``, after a few bytes that no source explains and
before padding and an authentication code. F8 is not always there. No real capture was seen: *unverified* as a whole, so
objects are looked for wherever they are.

Everything here sees the message before anything is stored. A number that is neither sealed nor masked makes the card
data ``Refused``: nothing of it goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import codes
from protocols.readers.protocol import CardFacts, TapData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT: Final = "magtek_mms"

CONTAINER: Final = 0xF9
GENERIC: Final = 0xFA
RECORD: Final = 0x70
SEALED_CONTAINER: Final = 0xF8
SEALED: Final = 0xDFDF59
KSN: Final = 0xDFDF56
KEY_TYPE: Final = 0xDFDF57
PADDING: Final = 0xDFDF58
SERIAL: Final = 0xDFDF25
CARD_TYPE: Final = 0xDFDF52
MASKED_TRACK: Final = 0xDFDF33
MASKED_CHIP_TRACK: Final = 0xDFDF4D
CRYPTOGRAM_INFORMATION: Final = 0x9F27
ENTRY_MODE: Final = 0x9F39
_SEALED_CHOICE: Final = 0xDFDFDF37
_OPAQUE: Final = frozenset({SEALED, _SEALED_CHOICE})

#: How many bytes may stand before the container.
_MOST_BEFORE: Final = 16
_DUKPT: Final = 0x80
_SCHEMES: Final = {0x00: "dukpt-tdes", 0x10: "dukpt-aes", 0x20: "dukpt-aes"}
_KSN_LENGTHS: Final = {"dukpt-tdes": 10, "dukpt-aes": 12}

#: Clear objects of one transaction that may travel with the sealed ones although they name a person or a card.
_DROPPED: Final = frozenset(
    {0x56, 0x58, 0x5F20, 0x5F21, 0x5F22, 0x5F23, 0x5F24, 0x99, 0x9F1F, 0x9F20, 0x9F6B}
)

_ENTRY_MODES: Final = {
    0x05: "chip",
    0x07: "contactless",
    0x80: "magstripe",
    0x90: "magstripe",
    0x91: "contactless",
}
_TECHNOLOGY_MODES: Final = {
    codes.SWIPE: "magstripe",
    codes.CHIP: "chip",
    codes.CONTACTLESS: "contactless",
    codes.MANUAL: "manual",
}
_BRANDS: Final = {
    "A000000003": "Visa",
    "A000000004": "Mastercard",
    "A000000025": "American Express",
    "A000000065": "JCB",
    "A000000152": "Discover",
    "A000000333": "UnionPay",
}


@dataclass(frozen=True, slots=True)
class CardData:
    """What one notification tells of a card. ``cryptogram`` is tag 9F27; ``tap`` is None when nothing is sealed."""

    cryptogram: int | None = None
    card: CardFacts = field(default_factory=CardFacts)
    tap: TapData | None = None
    serial: bytes = b""
    """The reader's serial number as it wrote it, which the issuer's answer repeats."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Card data that must not go on. ``is_clear``: a number was readable; otherwise the data make no sense."""

    why: str
    is_clear: bool


def read(payload: bytes, technology: int) -> CardData | Refused:
    """Read the payload of an online or final notification. Never raises; what is refused is forgotten here."""
    at = _container_at(payload)
    if at is None:
        if _has_clear_text(payload):
            return Refused("it gives card data in the clear", is_clear=True)
        return Refused("its card data are not laid out as expected", is_clear=False)
    start, stop = at
    objects, _ = emv.parse_tlv(payload[start:stop])
    if any(map(_gives_clear_number, emv.walk(objects))):
        return Refused("it gives card data in the clear", is_clear=True)
    cryptogram = emv.find(objects, CRYPTOGRAM_INFORMATION)
    card = _card(objects, technology)
    serial = emv.find(objects, SERIAL)
    return CardData(
        cryptogram=cryptogram.value[0] if cryptogram and cryptogram.value else None,
        card=card,
        tap=_tap(payload[start:], objects, stop - start, card),
        serial=serial.value if serial else b"",
    )


def serial_text(value: bytes) -> str | None:
    """A reader's serial number: seven hexadecimal digits in four bytes, on some readers text."""
    if len(value) == 4:
        return value.hex().upper()[:7]
    text = value.partition(b"\x00")[0].decode("ascii", "replace").strip()
    if len(text) >= 4 and text.isascii() and text.isprintable():
        return emv.redact_card_numbers(text)
    return value.hex().upper() or None


def objects_of(payload: bytes) -> tuple[Tlv, ...]:
    """The objects of such a payload, masked; empty when it has another layout."""
    at = _container_at(payload)
    return masked(emv.parse_tlv(payload[at[0] : at[1]])[0]) if at else ()


def _container_at(payload: bytes) -> tuple[int, int] | None:
    """Where the container begins and ends, if it holds nothing but objects."""
    for start in range(min(_MOST_BEFORE, len(payload)) + 1):
        if payload[start : start + 1] != b"\xf9":
            continue
        length = emv.decode_length(payload, start + 1, len(payload))
        if length is None or length[1] + length[0] > len(payload):
            continue
        stop = length[1] + length[0]
        _, consumed = emv.parse_tlv(payload[start:stop])
        if consumed == stop - start:
            return start, stop
    return None


def _tap(encoded: bytes, objects: tuple[Tlv, ...], size: int, card: CardFacts) -> TapData | None:
    sealed, ksn, kind = (emv.find(objects, tag) for tag in (SEALED, KSN, KEY_TYPE))
    if not sealed or not sealed.value or not ksn:
        return None
    scheme = _scheme(kind, ksn.value)
    if scheme is None or len(ksn.value) != _KSN_LENGTHS[scheme]:
        return None
    kept = _without(objects)
    serial = emv.find(objects, SERIAL)
    return TapData(
        format=FORMAT,
        scheme=scheme,
        ksn=ksn.value,
        # Byte for byte when it may be, because what follows is an authentication code over it.
        data=encoded if kept == objects else emv.encode_tlv(kept) + encoded[size:],
        serial_number=serial_text(serial.value) if serial else None,
        card=card,
    )


def _scheme(kind: Tlv | None, ksn: bytes) -> str | None:
    if kind is None or not kind.value:
        return "dukpt-aes" if len(ksn) == 12 else "dukpt-tdes"
    if not kind.value[0] & _DUKPT:
        return None
    return _SCHEMES.get(kind.value[0] & 0x70)


def _without(objects: Iterable[Tlv]) -> tuple[Tlv, ...]:
    return tuple(
        Tlv(item.tag, children=_without(item.children)) if item.children else item
        for item in objects
        if item.tag not in _DROPPED
    )


# --- what may be shown -----------------------------------------------------------------------------------------


def _card(objects: tuple[Tlv, ...], technology: int) -> CardFacts:
    number = next(_masked_numbers(objects), None)
    aid = emv.find(objects, 0x4F) or emv.find(objects, 0x84) or emv.find(objects, 0x9F06)
    label = emv.find(objects, 0x50)
    mode = emv.find(objects, ENTRY_MODE)
    aid_text = aid.value.hex().upper() if aid and aid.value else None
    return CardFacts(
        masked_pan=number,
        last4=number[-4:] if number and number[-4:].isdecimal() else None,
        brand=_BRANDS.get(aid_text[:10]) if aid_text else None,
        entry_mode=(_ENTRY_MODES.get(mode.value[0]) if mode and mode.value else None)
        or _TECHNOLOGY_MODES.get(technology),
        verification=_verification(emv.find(objects, 0x9F34)),
        aid=aid_text,
        application_label=_text(label.value) if label else None,
    )


def _verification(results: Tlv | None) -> str | None:
    if results is None or not results.value:
        return None
    match results.value[0] & 0x3F:
        case 0x01 | 0x03 | 0x04 | 0x05:
            return "pin_offline"
        case 0x02:
            return "pin_online"
        case 0x1E:
            return "signature"
        case 0x1F:
            return "none"
        case _:
            return None


def _masked_numbers(objects: tuple[Tlv, ...]) -> Iterator[str]:
    """Numbers that the reader masked itself, with our own mask over them."""
    for tag in (MASKED_TRACK, MASKED_CHIP_TRACK):
        if (item := emv.find(objects, tag)) is not None:
            digits = _text(item.value).lstrip(";%B").partition("=")[0].partition("^")[0]
            if 13 <= len(digits) <= 19:
                yield emv.mask_pan(digits)
    for tag in (0x5A, 0x57):
        if (item := emv.find(objects, tag)) is not None:
            digits = item.value.hex().partition("d")[0].rstrip("f")
            if 13 <= len(digits) <= 19:
                yield emv.mask_pan(digits)


def _text(value: bytes) -> str:
    text = "".join(chr(byte) for byte in value if 0x20 <= byte < 0x7F)
    return emv.redact_card_numbers(text)


def masked(objects: Iterable[Tlv]) -> tuple[Tlv, ...]:
    """The same objects for people to look at; sealed values stay, card numbers and names do not."""
    return tuple(
        Tlv(item.tag, children=masked(item.children)) if item.children else _masked_value(item)
        for item in objects
    )


def _masked_value(item: Tlv) -> Tlv:
    if item.tag in _OPAQUE:
        return item
    if item.tag in _DROPPED:
        return Tlv(item.tag, emv.hidden(len(item.value)))
    return emv.masked((item,))[0]


# --- clear numbers ---------------------------------------------------------------------------------------------

_DIGITS: Final = re.compile(rb"[0-9]{13,}")
_NUMBER_TAGS: Final = frozenset({0x57, 0x5A, 0x5F22, 0x9F6B})
#: Objects that are no card data, and whose bytes may look like digits: serial numbers, keys' names.
_HARMLESS: Final = frozenset(
    {SERIAL, KSN, KEY_TYPE, PADDING, CARD_TYPE, 0xDFDF53, 0xDFDF54, 0xDFDF55}
)


def _gives_clear_number(item: Tlv) -> bool:
    if item.children or item.tag in _OPAQUE or item.tag in _HARMLESS:
        return False
    if item.tag in _NUMBER_TAGS or item.tag not in emv.TAG_NAMES:
        packed = item.value.hex().partition("d")[0].rstrip("f")
        if packed.isdecimal() and _is_clear(packed):
            return True
    return _has_clear_text(item.value)


def _has_clear_text(value: bytes) -> bool:
    return any(_is_clear(run.decode()) for run in _DIGITS.findall(value))


def _is_clear(digits: str) -> bool:
    """A card number, and not one whose middle the reader has filled with zeros, as MagTek's mask does."""
    return 13 <= len(digits) <= 19 and emv.passes_luhn(digits) and set(digits[6:-4]) != {"0"}
