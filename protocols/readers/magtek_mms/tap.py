"""Card data sealed and opened with a base key: for simulated readers and the sandbox's acquirer, never on a till.

The layout is that of ``sealed``. The authentication code at the end is zeros: simulated readers have no key for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.errors import MalformedMessage
from protocols.readers import dukpt, emv
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import sealed

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLEAR_CONTAINER: Final = 0xFC
_MAC_KSN: Final = 0xDFDF54
_MAC_KEY_TYPE: Final = 0xDFDF55
_KEY_TYPES: Final = {dukpt.TDES_SCHEME: 0x80, dukpt.AES_SCHEME: 0x90}
_MAC_KEY_TYPES: Final = {dukpt.TDES_SCHEME: 0x82, dukpt.AES_SCHEME: 0x98}
_MAC: Final = bytes(4)


def build(
    clear: Sequence[Tlv],
    *,
    bdk: bytes,
    ksn: bytes,
    scheme: str,
    serial: bytes = b"",
    shown: Sequence[Tlv] = (),
) -> bytes:
    """What a reader sends from F9 on: ``clear`` sealed, ``shown`` beside it. Raises MalformedMessage as ``dukpt``."""
    plain = emv.encode_tlv((Tlv(_CLEAR_CONTAINER, children=tuple(clear)),))
    padding = -len(plain) % dukpt.BLOCK_BYTES[scheme] if scheme in dukpt.BLOCK_BYTES else 0
    data = dukpt.encrypt(scheme, bdk, ksn, plain + bytes(padding))
    inside = Tlv(
        sealed.SEALED_CONTAINER,
        children=(
            Tlv(sealed.SEALED, data),
            Tlv(sealed.KSN, ksn),
            Tlv(sealed.KEY_TYPE, bytes((_KEY_TYPES[scheme],))),
            Tlv(sealed.PADDING, bytes((padding,))),
        ),
    )
    return around((*shown, inside), serial=serial, ksn=ksn, scheme=scheme)


def around(record: Sequence[Tlv], *, serial: bytes, ksn: bytes, scheme: str) -> bytes:
    """The containers around a record, with padding and authentication code."""
    encoded = emv.encode_tlv(
        (
            Tlv(
                sealed.CONTAINER,
                children=(
                    Tlv(_MAC_KSN, ksn),
                    Tlv(_MAC_KEY_TYPE, bytes((_MAC_KEY_TYPES[scheme],))),
                    Tlv(sealed.SERIAL, serial),
                    Tlv(sealed.GENERIC, children=(Tlv(sealed.RECORD, children=tuple(record)),)),
                ),
            ),
        )
    )
    return encoded + bytes(-len(encoded) % dukpt.BLOCK_BYTES[scheme]) + _MAC


def open_clear(data: bytes, *, bdk: bytes, ksn: bytes, scheme: str) -> tuple[Tlv, ...]:
    """The objects that were sealed, and then those that stood beside them in the clear.

    Raises MalformedMessage when there is nothing sealed in it, or another key sealed it.
    """
    length = emv.decode_length(data, 1, len(data)) if data[:1] == b"\xf9" else None
    if length is None:
        raise MalformedMessage("no card data of this reader", length=len(data))
    objects, consumed = emv.parse_tlv(data[: length[1] + length[0]])
    found = emv.find(objects, sealed.SEALED)
    if not consumed or found is None:
        raise MalformedMessage("nothing is sealed in the card data", length=len(data))
    plain = dukpt.decrypt(scheme, bdk, ksn, found.value)
    padding = emv.find(objects, sealed.PADDING)
    if padding is not None and padding.value:
        plain = plain[: len(plain) - padding.value[0]]
    opened, consumed = emv.parse_tlv(plain)
    if consumed != len(plain) or len(opened) != 1 or opened[0].tag != _CLEAR_CONTAINER:
        raise MalformedMessage("another key sealed the card data", ksn=ksn.hex())
    record = emv.find(objects, sealed.RECORD)
    beside = record.children if record else ()
    return opened[0].children + tuple(
        item for item in beside if item.tag != sealed.SEALED_CONTAINER
    )
