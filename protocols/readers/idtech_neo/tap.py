"""Card data sealed and opened with a base key: for simulated readers and the sandbox's acquirer, never on a till.

The layout is that of ``sealed``, without the attribution byte. A sensitive object is sealed whole, with its tag and
length, and filled up with zeros; each track of a swipe is sealed by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage
from protocols.readers import dukpt, emv
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import sealed
from protocols.readers.idtech_neo.sealed import Form, Item, Stripe

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACK_1: Final = 0x5F21
TRACK_2: Final = 0x5F22
_SEALED_TAGS: Final = frozenset({0x56, 0x57, 0x5A, 0x5F20, 0x9F1F, 0x9F20, 0x9F6B})


def build(
    clear: Sequence[Tlv], *, bdk: bytes, ksn: bytes, scheme: str, serial: bytes = b""
) -> bytes:
    """What a reader sends behind the attribution byte: sensitive objects masked and sealed, the others as they are.

    With ``TRACK_1`` or ``TRACK_2`` (text, with sentinels) it is a swipe. Raises MalformedMessage as ``dukpt``.
    """
    tracks = {item.tag: item.value for item in clear if item.tag in {TRACK_1, TRACK_2}}
    items = [Item(sealed.KSN, ksn)]
    if tracks:
        read = (tracks.get(TRACK_1, b""), tracks.get(TRACK_2, b""), b"")
        stripe = Stripe(
            scheme,
            (len(read[0]), len(read[1]), 0),
            (_masked_track(read[0]), _masked_track(read[1]), b""),
            tuple(dukpt.encrypt(scheme, bdk, ksn, one) if one else b"" for one in read),  # type: ignore[arg-type]  # three
            serial=serial[:10].ljust(10, b"\0") if serial else b"",
            ksn=ksn if scheme == dukpt.TDES_SCHEME else b"",
        )
        items += [Item(sealed.COMPLETION, b"\x00\x11"), Item(sealed.STRIPE, stripe.encode())]
    for item in clear:
        if item.tag in tracks:
            continue
        if item.tag in _SEALED_TAGS:
            whole = emv.encode_tlv((item,))
            items += [
                Item(item.tag, _masked_value(item), Form.MASKED),
                Item(item.tag, dukpt.encrypt(scheme, bdk, ksn, whole), Form.SEALED),
            ]
        else:
            items.append(_plain(item))
    return sealed.encode(items)


def open_clear(data: bytes, *, bdk: bytes, ksn: bytes, scheme: str) -> tuple[Tlv, ...]:
    """The objects that were sealed, and then those that stood beside them in the clear.

    A swipe gives its tracks as ``TRACK_1`` and ``TRACK_2``, and the second one as 57, too. Raises MalformedMessage when
    nothing is sealed in it, or another key sealed it.
    """
    items = sealed.parse(data)
    opened = [
        _opened(item, dukpt.decrypt(scheme, bdk, ksn, item.value))
        for item in sealed.walk(items)
        if item.form is Form.SEALED
    ]
    block = sealed.find(items, sealed.STRIPE)
    if block is not None:
        opened += _opened_tracks(Stripe.read(block, scheme), bdk, ksn, scheme)
    if not opened:
        raise MalformedMessage("nothing is sealed in the card data", length=len(data))
    beside = (_as_tlv(item) for item in items if item.tag != sealed.STRIPE)
    return (*opened, *(item for item in beside if item is not None))


def _opened(item: Item, plain: bytes) -> Tlv:
    objects, _ = emv.parse_tlv(plain)
    if not objects or objects[0].tag != item.tag:
        raise MalformedMessage("another key sealed the card data", tag=f"{item.tag:X}")
    return objects[0]


def _opened_tracks(stripe: Stripe, bdk: bytes, ksn: bytes, scheme: str) -> list[Tlv]:
    opened: list[Tlv] = []
    for tag, begin, track, length in zip(
        (TRACK_1, TRACK_2), (b"%", b";"), stripe.sealed, stripe.lengths, strict=False
    ):
        if not track:
            continue
        text = dukpt.decrypt(scheme, bdk, ksn, track)[:length]
        if text[:1] != begin:
            raise MalformedMessage("another key sealed the card data", tag=f"{tag:X}")
        opened.append(Tlv(tag, text))
        if tag == TRACK_2:
            packed = text[1:].partition(b"?")[0].replace(b"=", b"D").decode("latin-1")
            opened.append(Tlv(0x57, _packed(packed)))
    return opened


def _packed(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits + "F" * (len(digits) % 2))
    except ValueError as error:
        raise MalformedMessage("a track holds what no track holds") from error


def _plain(item: Tlv) -> Item:
    return Item(item.tag, item.value, children=tuple(map(_plain, item.children)))


def _as_tlv(item: Item) -> Tlv | None:
    if item.form is not Form.CLEAR:
        return None
    children = tuple(one for one in map(_as_tlv, item.children) if one is not None)
    return Tlv(item.tag, item.value, children)


def _masked_value(item: Tlv) -> bytes:
    """Digits but the first four and the last four of the number as nibble C, discretionary data, too."""
    if item.tag in {0x56, 0x5F20, 0x9F1F, 0x9F20}:
        return b"*" * len(item.value)
    text = item.value.hex()
    number, separator, rest = text.partition("d")
    filled = number.rstrip("f")
    shown = filled[:4] + "c" * (len(filled) - 8) + filled[-4:] + number[len(filled) :]
    discretionary = rest[4:].rstrip("f")
    padding = "f" * (len(rest[4:]) - len(discretionary))
    return bytes.fromhex(shown + separator + rest[:4] + "c" * len(discretionary) + padding)


def _masked_track(track: bytes) -> bytes:
    if not track:
        return b""
    text = track.decode("ascii")
    begin, end = ("%", "^") if text[0] == "%" else (";", "=")
    head = 2 if begin == "%" else 1
    at = text.index(end)
    number = text[head:at]
    shown = number[:4] + "*" * (len(number) - 8) + number[-4:]
    if begin == ";":
        return f";{shown}={'*' * (len(text) - at - 2)}?".encode()
    name = text[at:].split("^")[1]
    rest = len(text) - at - len(name) - 3
    return f"%*{shown}^{name}^{'*' * rest}?".encode()
