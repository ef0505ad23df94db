"""Opens what readers sealed with the published test keys, and forgets the card number at once."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Final

from protocols.errors import MalformedMessage
from protocols.readers import dukpt
from protocols.readers.emv import Tlv, mask_pan, passes_luhn, walk
from protocols.readers.idtech_neo import tap as idtech_neo
from protocols.readers.magtek_mms import tap as magtek_mms

#: ANSI X9.24's own examples: nobody's secret.
TEST_KEYS: Final = {
    dukpt.TDES_SCHEME: bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    dukpt.AES_SCHEME: bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"),
}
_TRACK_2_TAG, _NUMBER_TAG, _CRYPTOGRAM_TAG = 0x57, 0x5A, 0x9F26
_TRACK: Final = re.compile(rb"(?<![0-9])([0-9]{12,19})(?:=|\^|D)")


class NotOpened(Exception):
    """Another key sealed it, or it holds no card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCard:
    """A card without its number."""

    masked: str
    fingerprint: str
    is_number_good: bool
    has_chip: bool


def open_card(data: bytes, ksn: bytes, secret: bytes) -> OpenedCard:
    """Raises NotOpened. The length of the KSN tells the scheme, the first byte of the data the layout."""
    scheme = dukpt.AES_SCHEME if len(ksn) == 12 else dukpt.TDES_SCHEME
    layout = magtek_mms if data[:1] == b"\xf9" else idtech_neo
    try:
        objects = layout.open_clear(data, bdk=TEST_KEYS[scheme], ksn=ksn, scheme=scheme)
    except MalformedMessage as error:
        raise NotOpened("another key sealed the card data") from error
    number = _number_in(objects)
    if number is None:
        raise NotOpened("there is no card number in the card data")
    return OpenedCard(
        masked=mask_pan(number),
        fingerprint=hmac.digest(secret, number.encode(), "sha256").hex()[:16],
        is_number_good=passes_luhn(number),
        has_chip=any(one.tag == _CRYPTOGRAM_TAG for one in walk(objects)),
    )


def _number_in(objects: tuple[Tlv, ...]) -> str | None:
    for one in walk(objects):
        if one.tag == _NUMBER_TAG:
            return one.value.hex().rstrip("f")
        if one.tag == _TRACK_2_TAG and b"d" in one.value.hex().encode():
            return one.value.hex().split("d", 1)[0]
    for one in walk(objects):
        if found := _TRACK.search(one.value):
            return found[1].decode()
    return None
