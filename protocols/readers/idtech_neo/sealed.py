"""The answer that holds a card: what may be known of it, and what passes on unopened.

``attribution (1), objects``. Objects are BER-TLV, and sensitive ones come twice: with a length of A0 + n (or A1 and n)
masked, with C0 + n (or C1 and n) sealed. A swipe comes as one block (DFEE23). The attribution byte says whether the
reader sealed anything at all; when it did not, or a number is readable all the same, the data are ``Refused``.

Everything here sees the message before anything is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import codes
from protocols.readers.protocol import CardFacts, TapData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FORMAT: Final = "idtech_neo"
TDES: Final = "dukpt-tdes"
AES: Final = "dukpt-aes"
KSN_BYTES: Final = {TDES: 10, AES: 12}
BLOCK_BYTES: Final = {TDES: 8, AES: 16}

KSN: Final = 0xDFEE12
STRIPE: Final = 0xDFEE23
COMPLETION: Final = 0xDFEE25
ENCRYPTION: Final = 0xDFEE26
ERROR: Final = 0xFFEE1F
SOURCE: Final = 0xFFEE01
SOURCE_KIND: Final = 0xDF30

#: Their first byte says that they hold objects, and they do not.
_PLAIN: Final = frozenset({ERROR})
#: Objects with a card number: never in the clear.
_NUMBERS: Final = frozenset({0x56, 0x57, 0x58, 0x5A, 0x5F21, 0x5F22, 0x5F23, 0x9F6B})
#: Objects that readers send in the clear beside sealed ones, and that go no further.
_LEFT_OUT: Final = frozenset(
    {0x5F20, 0x99, 0x9F1F, 0x9F20, 0x9F0B, 0xDF812A, 0xDF812B, 0xDF35, 0xDF36, 0xDF37}
)


#: First six and last four.
_MOST_SHOWN: Final = 10


class Source(Enum):
    """How the card came. The value: bits 4, 3 and 0 of the attribution byte."""

    CONTACT = 0b00000
    CONTACTLESS = 0b00001
    CONTACTLESS_STRIPE = 0b10001
    SWIPE = 0b01000

    @property
    def is_stripe(self) -> bool:
        """Whether bit 7 tells of its encryption; bit 6 does otherwise."""
        return self in {Source.SWIPE, Source.CONTACTLESS_STRIPE}


_ENTRY_MODES: Final = {
    Source.CONTACT: "chip",
    Source.CONTACTLESS: "contactless",
    Source.CONTACTLESS_STRIPE: "contactless",
    Source.SWIPE: "magstripe",
}
_BRANDS: Final[Mapping[str, str]] = {
    "A000000003": "Visa",
    "A000000004": "Mastercard",
    "A000000025": "American Express",
    "A000000065": "JCB",
    "A000000152": "Discover",
    "A000000333": "UnionPay",
}
#: For a stripe, which names no application: how the numbers of a scheme begin.
_BEGINNINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "Visa": ("4",),
    "Mastercard": ("51", "52", "53", "54", "55"),
    "American Express": ("34", "37"),
    "Discover": ("6011", "65"),
    "JCB": ("35",),
    "UnionPay": ("62",),
}


@dataclass(frozen=True, slots=True)
class Attribution:
    """The first byte of a card's data."""

    source: Source
    scheme: str
    is_sealed: bool

    @classmethod
    def read(cls, byte: int) -> Attribution | None:
        """None for a source or a cipher that the sheet does not have."""
        cipher = {0: TDES, 1: AES}.get(byte >> 1 & 3)
        place = byte & 0b11001
        # A swipe is 01x: its last bit says nothing.
        source = Source.SWIPE if place & 0b11000 == 0b01000 else _SOURCES.get(place)
        if source is None or cipher is None:
            return None
        return cls(source, cipher, bool(byte & (0x80 if source.is_stripe else 0x40)))

    def byte(self) -> int:
        """The inverse; a reader that seals seals all kinds."""
        sealing = 0xC0 if self.is_sealed else 0
        return sealing | self.source.value | (0b010 if self.scheme == AES else 0)


_SOURCES: Final = {source.value: source for source in Source}


class Form(Enum):
    """How the content of an object is written."""

    CLEAR = 0x00
    MASKED = 0xA0
    SEALED = 0xC0


@dataclass(frozen=True, slots=True)
class Item:
    """One object. A constructed one has ``children``."""

    tag: int
    value: bytes = field(default=b"", repr=False)
    form: Form = Form.CLEAR
    children: tuple[Item, ...] = ()


def parse(encoded: bytes) -> tuple[Item, ...]:
    """Objects one after another. Raises MalformedMessage."""
    return _parse(encoded, 1)


def encode(items: Iterable[Item]) -> bytes:
    """The inverse of ``parse``, with flags as A1 and C1."""
    encoded = bytearray()
    for item in items:
        content = encode(item.children) if item.children else item.value
        encoded += item.tag.to_bytes((item.tag.bit_length() + 7) // 8 or 1, "big")
        if item.form is Form.CLEAR:
            encoded += emv.encode_length(len(content))
        elif len(content) < 0x100:
            encoded += bytes((item.form.value | 1, len(content)))
        else:
            encoded += bytes((item.form.value | 2,)) + len(content).to_bytes(2, "big")
        encoded += content
    return bytes(encoded)


def walk(items: Iterable[Item]) -> Iterator[Item]:
    """Every object, each before its children."""
    for item in items:
        yield item
        yield from walk(item.children)


def find(items: Iterable[Item], tag: int, form: Form = Form.CLEAR) -> bytes | None:
    """The content of the first object with this tag in this form."""
    return next((one.value for one in walk(items) if one.tag == tag and one.form is form), None)


def _parse(encoded: bytes, depth: int) -> tuple[Item, ...]:
    items: list[Item] = []
    at, end = 0, len(encoded)
    while at < end:
        if encoded[at] == 0:
            at += 1
            continue
        tag, at = _tag(encoded, at)
        form, length, at = _length(encoded, at)
        if at + length > end:
            raise MalformedMessage("an object is cut off", tag=f"{tag:X}")
        content = encoded[at : at + length]
        at += length
        is_constructed = form is Form.CLEAR and emv.is_constructed(tag) and tag not in _PLAIN
        if is_constructed and depth < emv.MAX_DEPTH:
            items.append(Item(tag, children=_parse(content, depth + 1)))
        elif is_constructed:
            raise MalformedMessage("objects are nested too deep")
        else:
            items.append(Item(tag, content, form))
    return tuple(items)


def _tag(encoded: bytes, at: int) -> tuple[int, int]:
    tag = encoded[at]
    at += 1
    if tag & 0x1F == 0x1F:
        for _ in range(emv.MAX_TAG_BYTES - 1):
            if at == len(encoded):
                break
            tag = tag << 8 | encoded[at]
            at += 1
            if tag & 0x80 == 0:
                return tag, at
        raise MalformedMessage("a tag does not end")
    return tag, at


def _length(encoded: bytes, at: int) -> tuple[Form, int, int]:
    if at == len(encoded):
        raise MalformedMessage("a length is missing")
    first = encoded[at]
    form = Form.MASKED if first & 0xE0 == 0xA0 else Form.CLEAR
    form = Form.SEALED if first & 0xE0 == 0xC0 else form
    if form is Form.CLEAR:
        length = emv.decode_length(encoded, at, len(encoded))
        if length is None:
            raise MalformedMessage("a length is cut off")
        return form, *length
    size = first & 0x1F
    if size not in {1, 2}:
        return form, size, at + 1
    if at + size >= len(encoded):
        raise MalformedMessage("a length is cut off")
    return form, int.from_bytes(encoded[at + 1 : at + 1 + size], "big"), at + 1 + size


# --- what a card's data tell -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CardData:
    """A card that was read. ``cryptogram`` is tag 9F27."""

    source: Source
    tap: TapData
    cryptogram: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Card data that must not go on. ``is_clear``: a number was readable; otherwise they make no sense."""

    why: str
    is_clear: bool = False


def read(data: bytes, serial_number: str | None = None) -> CardData | Refused:
    """Read the data of an answer that holds a card. Never raises; what is refused is forgotten here."""
    attribution = Attribution.read(data[0]) if data else None
    if attribution is None:
        return Refused("its card data are not laid out as expected", _has_clear_number(data))
    if not attribution.is_sealed:
        return Refused("it gives card data in the clear", is_clear=True)
    try:
        items = parse(data[1:])
        stripe = Stripe.read(block, attribution.scheme) if (block := find(items, STRIPE)) else None
    except MalformedMessage as error:
        return Refused(f"its card data are malformed: {error.reason}", _has_clear_number(data))
    if any(map(_is_clear_number, walk(items))) or (stripe is not None and stripe.is_clear()):
        return Refused("it gives card data in the clear", is_clear=True)
    ksn = find(items, KSN) or (stripe.ksn if stripe else b"")
    if len(ksn) != KSN_BYTES[attribution.scheme]:
        return Refused("its card data name no key")
    if stripe is None and not any(item.form is Form.SEALED for item in walk(items)):
        return Refused("nothing is sealed in its card data")
    cryptogram = find(items, 0x9F27)
    return CardData(
        attribution.source,
        TapData(
            format=FORMAT,
            scheme=attribution.scheme,
            ksn=ksn,
            data=encode(_fit_to_travel(items, stripe)),
            serial_number=serial_number or find_text(items, 0x9F1E) or None,
            card=_card(items, stripe, attribution.source),
        ),
        cryptogram[0] if cryptogram else None,
    )


def masked(items: Iterable[Item]) -> tuple[Item, ...]:
    """The same objects for people to look at: whatever could be a card number in the clear becomes ``EE``."""
    return tuple(_masked(item) for item in items)


def error_of(data: bytes) -> int | None:
    """The error code in the data of a failed activation."""
    try:
        # Some answers have an attribution byte before the objects, some do not.
        found = find(parse(data), ERROR)
    except MalformedMessage:
        found = None
    if found is None and data:
        try:
            found = find(parse(data[1:]), ERROR)
        except MalformedMessage:
            found = None
    return found[0] if found else None


def find_text(items: Iterable[Item], tag: int) -> str:
    """An object as text, without what fills it up; empty when there is none."""
    return (find(items, tag) or b"").decode("latin-1").strip("\0 ")


def _masked(item: Item) -> Item:
    if item.children:
        return Item(item.tag, children=masked(item.children))
    if item.tag == STRIPE:
        return Item(item.tag, emv.hidden(len(item.value)))
    if item.form is Form.SEALED:
        return item
    if item.form is Form.MASKED:
        return (
            item
            if _is_masked(item.value)
            else Item(item.tag, emv.hidden(len(item.value)), item.form)
        )
    (seen,) = emv.masked((Tlv(item.tag, item.value),))
    return item if seen.value == item.value else Item(item.tag, seen.value)


def _is_clear_number(item: Item) -> bool:
    if item.children or item.form is Form.SEALED or not item.value:
        return False
    if item.form is Form.MASKED:
        return not _is_masked(item.value)
    if item.tag in _NUMBERS:
        return not _is_masked(item.value)
    return False


def _is_masked(value: bytes) -> bool:
    """Whether at most ten digits of a number can be read: packed ones are masked with nibble C, text with ``*``."""
    if all(0x20 <= byte < 0x7F for byte in value):
        return b"*" in value and not emv.contains_card_number(value.decode("ascii"))
    number = value.hex().split("d")[0]
    return sum(map(str.isdecimal, number)) <= _MOST_SHOWN


def _has_clear_number(data: bytes) -> bool:
    return emv.contains_card_number(data.decode("latin-1")) or emv.contains_card_number(data.hex())


def _fit_to_travel(items: Iterable[Item], stripe: Stripe | None) -> list[Item]:
    """The objects without those that name a person, or hold what looks like a number."""
    kept: list[Item] = []
    for item in items:
        if item.children:
            kept.append(Item(item.tag, children=tuple(_fit_to_travel(item.children, stripe))))
        elif item.tag == STRIPE and stripe is not None:
            kept.append(Item(STRIPE, stripe.without_masked_tracks().encode()))
        elif item.form is not Form.CLEAR or item.tag == KSN:
            kept.append(item)
        elif item.tag not in _LEFT_OUT and item.tag not in _NUMBERS:
            (seen,) = emv.masked((Tlv(item.tag, item.value),))
            if seen.value == item.value:
                kept.append(item)
    return kept


def _card(items: Sequence[Item], stripe: Stripe | None, source: Source) -> CardFacts:
    masked_pan = _masked_pan(items) or (stripe.masked_pan() if stripe else None)
    aid = find(items, 0x9F06) or find(items, 0x84) or find(items, 0x4F)
    entry = find(items, 0x9F39)
    label = find_text(items, 0x50)
    return CardFacts(
        masked_pan=masked_pan,
        last4=masked_pan[-4:] if masked_pan and masked_pan[-4:].isdecimal() else None,
        brand=_BRANDS.get(aid[:5].hex().upper()) if aid else _brand_by_number(masked_pan or ""),
        entry_mode=codes.ENTRY_MODES.get(entry[0] if entry else -1, _ENTRY_MODES[source]),
        verification=_verification(find(items, 0x9F34)),
        aid=aid.hex().upper() if aid else None,
        application_label=emv.redact_card_numbers(label) if label.isprintable() and label else None,
    )


def _brand_by_number(masked_pan: str) -> str | None:
    return next((name for name, first in _BEGINNINGS.items() if masked_pan.startswith(first)), None)


def _masked_pan(items: Sequence[Item]) -> str | None:
    for tag in (0x5A, 0x57, 0x9F6B):
        value = find(items, tag, Form.MASKED)
        if value is not None:
            # Masked digits are nibble C (older firmware A), padding is F, D separates.
            digits = value.hex().split("d")[0].rstrip("f")
            return emv.mask_pan(digits)
    return None


def _verification(results: bytes | None) -> str | None:
    if not results:
        return None
    return {
        0x01: "pin_offline",
        0x02: "pin_online",
        0x03: "pin_offline",
        0x04: "pin_offline",
        0x05: "pin_offline",
        0x1E: "signature",
        0x1F: "none",
    }.get(results[0] & 0x3F)


# --- swipes ----------------------------------------------------------------------------------------------------

_BEGIN, _END = 0x02, 0x03
_ENHANCED: Final = 0x80
_HASH_BYTES: Final = 20
_BLOCK_SERIAL_BYTES: Final = 10


@dataclass(frozen=True, slots=True)
class Stripe:
    """The block of a swipe (DFEE23): three tracks masked, three sealed.

    ``lengths`` are those of the tracks as read, 0 for one that was not; a sealed track is filled up to whole blocks.
    """

    scheme: str
    lengths: tuple[int, int, int]
    masked: tuple[bytes, bytes, bytes] = field(repr=False)
    sealed: tuple[bytes, bytes, bytes] = field(repr=False)
    track_status: int = 0
    hashes: bytes = field(default=b"", repr=False)
    serial: bytes = b""
    ksn: bytes = b""

    @classmethod
    def read(cls, block: bytes, scheme: str) -> Stripe:
        """Raises MalformedMessage."""
        if len(block) < 13 or block[0] != _BEGIN or block[-1] != _END:
            raise MalformedMessage("the block of a swipe is not framed")
        inside = block[3:-3]
        if int.from_bytes(block[1:3], "little") != len(inside) or inside[0] != _ENHANCED:
            raise MalformedMessage("the block of a swipe has another layout")
        if block[-3] != _xor(inside) or block[-2] != sum(inside) & 0xFF:
            raise MalformedMessage("the block of a swipe has wrong check codes")
        status, *read_lengths, mask_sent, sealed_sent = inside[1:7]
        lengths = (read_lengths[0], read_lengths[1], read_lengths[2])
        at = 7

        def take(size: int) -> bytes:
            nonlocal at
            at += size
            if at > len(inside):
                raise MalformedMessage("the block of a swipe is cut off")
            return inside[at - size : at]

        masked_tracks = [take(lengths[one] if mask_sent >> one & 1 else 0) for one in range(3)]
        size = BLOCK_BYTES[scheme]
        sealed_tracks = [
            take(-(-lengths[one] // size) * size if sealed_sent >> one & 1 else 0)
            for one in range(3)
        ]
        hashes = take(_HASH_BYTES * (sealed_sent >> 3 & 7).bit_count())
        serial = take(_BLOCK_SERIAL_BYTES if mask_sent & 0x80 else 0)
        ksn = take(10 if sealed_sent & 0x80 else 0)
        if at != len(inside):
            raise MalformedMessage("the block of a swipe has more than it tells")
        return cls(
            scheme,
            lengths,
            (masked_tracks[0], masked_tracks[1], masked_tracks[2]),
            (sealed_tracks[0], sealed_tracks[1], sealed_tracks[2]),
            status,
            hashes,
            serial,
            ksn,
        )

    def encode(self) -> bytes:
        """The block as a reader sends it."""
        mask_sent = _bits(self.masked) | (0x10 if self.scheme == AES else 0)
        mask_sent |= 0x80 if self.serial else 0
        hashed = len(self.hashes) // _HASH_BYTES
        sealed_sent = _bits(self.sealed) | ((1 << hashed) - 1) << 3 | (0x80 if self.ksn else 0)
        inside = bytes((_ENHANCED, self.track_status, *self.lengths, mask_sent, sealed_sent))
        inside += b"".join(self.masked) + b"".join(self.sealed)
        inside += self.hashes + self.serial + self.ksn
        checks = bytes((_xor(inside), sum(inside) & 0xFF, _END))
        return bytes((_BEGIN,)) + len(inside).to_bytes(2, "little") + inside + checks

    def is_clear(self) -> bool:
        """Whether a track was not sealed, or what should be masked is readable."""
        unsealed = any(
            length and not track for length, track in zip(self.lengths, self.sealed, strict=True)
        )
        return unsealed or any(
            emv.contains_card_number(track.decode("latin-1")) for track in self.masked
        )

    def masked_pan(self) -> str | None:
        """The number as the masked second, else first, track shows it."""
        for track, begin, end in ((self.masked[1], b";", b"="), (self.masked[0], b"%", b"^")):
            _, _, rest = track.partition(begin)
            number, found, _ = rest.partition(end)
            # The format letter of track 1 is masked, too, by some firmware.
            number = number[1:] if begin == b"%" else number
            if found and len(number) >= 12:
                return emv.mask_pan(number.decode("latin-1"))
        return None

    def without_masked_tracks(self) -> Stripe:
        """Masked tracks tell the holder's name."""
        return Stripe(
            self.scheme,
            self.lengths,
            (b"", b"", b""),
            self.sealed,
            self.track_status,
            self.hashes,
            self.serial,
            self.ksn,
        )


def _bits(tracks: Sequence[bytes]) -> int:
    return sum(1 << one for one, track in enumerate(tracks) if track)


def _xor(inside: bytes) -> int:
    result = 0
    for byte in inside:
        result ^= byte
    return result
