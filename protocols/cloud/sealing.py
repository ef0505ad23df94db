"""Secrets on their way to one device: only its key opens them, not the broker's nor the control plane's.

ECDH on P-256 with a key made for this one value, HKDF with SHA-256, AES-256-GCM. Text: base64 of the point (65 bytes)
and the sealed value. ``purpose`` is bound to it, so that a value cannot be moved to another place.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import MalformedMessage

_POINT: Final = 65
#: One key seals one value, so the nonce may stand still.
_NONCE: Final = bytes(12)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: So many random bytes make every key of the curve equally likely, as far as anybody can tell.
RANDOM_BYTES: Final = 48


def seal(value: bytes, public_key_pem: str, purpose: str, randomness: bytes) -> str:
    """``randomness``: 48 fresh bytes. Raises ValueError for a key that is not on P-256, or too little randomness."""
    key = serialization.load_pem_public_key(public_key_pem.encode())
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("only a key on P-256 can be sealed for")  # noqa: TRY004 - a value, not a type of ours
    if len(randomness) < RANDOM_BYTES:
        raise ValueError("too little randomness")
    ours = ec.derive_private_key(int.from_bytes(randomness) % (_ORDER - 1) + 1, ec.SECP256R1())
    point = ours.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    cipher = AESGCM(_derive(ours.exchange(ec.ECDH(), key), point))
    return base64.b64encode(point + cipher.encrypt(_NONCE, value, purpose.encode())).decode()


def open_sealed(sealed: str, private_key_pem: bytes, purpose: str) -> bytes:
    """The value again. Raises MalformedMessage when it was sealed for another key or purpose, or altered."""
    key = serialization.load_pem_private_key(private_key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MalformedMessage("this device's key opens nothing")
    try:
        raw = base64.b64decode(sealed, validate=True)
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw[:_POINT])
        cipher = AESGCM(_derive(key.exchange(ec.ECDH(), theirs), raw[:_POINT]))
        return cipher.decrypt(_NONCE, raw[_POINT:], purpose.encode())
    except (binascii.Error, ValueError, InvalidTag):
        raise MalformedMessage("it was sealed for another device, or altered") from None


def _derive(shared: bytes, point: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=point, info=b"omnitill device secret 1").derive(shared)
