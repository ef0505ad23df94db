"""DUKPT for whoever has the base key: simulated readers, and the sandbox's acquirer. The agent never imports this.

TDES: ANSI X9.24-1 (annex A). AES: ANSI X9.24-3, AES-128 keys throughout. Data are sealed with the key for data in the
direction reader to host, CBC, first block chained to zeros, filled up with zeros.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB

from protocols.errors import MalformedMessage
from protocols.readers.ksn import counter, key_name, next_ksn, remaining

__all__ = [
    "AES_SCHEME", "BLOCK_BYTES", "TDES_SCHEME", "counter", "data_key_aes", "data_key_tdes", "decrypt", "derive_aes",
    "derive_tdes", "encrypt", "initial_key_aes", "initial_key_tdes", "key_name", "next_ksn", "remaining",
]  # fmt: skip

TDES_SCHEME: Final = "dukpt-tdes"
AES_SCHEME: Final = "dukpt-aes"
BLOCK_BYTES: Final = {TDES_SCHEME: 8, AES_SCHEME: 16}
KSN_BYTES: Final = {TDES_SCHEME: 10, AES_SCHEME: 12}


def encrypt(scheme: str, bdk: bytes, ksn: bytes, data: bytes) -> bytes:
    """Data as a reader with this key seals them, a multiple of BLOCK_BYTES long. Raises as ``decrypt``."""
    cipher = _cipher(scheme, bdk, ksn).encryptor()
    filled = data + bytes(-len(data) % BLOCK_BYTES[scheme])
    return cipher.update(filled) + cipher.finalize()


def decrypt(scheme: str, bdk: bytes, ksn: bytes, data: bytes) -> bytes:
    """What a reader sealed, with the zeros that fill its last block.

    Raises MalformedMessage for a scheme there is not, a KSN of the other scheme, a base key that has not 16 bytes, or
    data that are no whole blocks.
    """
    cipher = _cipher(scheme, bdk, ksn).decryptor()
    if len(data) % BLOCK_BYTES[scheme]:
        raise MalformedMessage("sealed data are whole blocks", length=len(data))
    return cipher.update(data) + cipher.finalize()


# --- TDES ------------------------------------------------------------------------------------------------------

_LEFT_MASK: Final = bytes.fromhex("C0C0C0C000000000C0C0C0C000000000")
_DATA_VARIANT: Final = bytes.fromhex("0000000000FF00000000000000FF0000")


def initial_key_tdes(bdk: bytes, ksn: bytes) -> bytes:
    """The key that was loaded into the reader, 16 bytes."""
    name = key_name(ksn)[:8]
    return _tdes(bdk, name) + _tdes(_xor(bdk, _LEFT_MASK), name)


def derive_tdes(bdk: bytes, ksn: bytes) -> bytes:
    """The key of this use ("current key"), from which its variants are made; 16 bytes."""
    key = initial_key_tdes(bdk, ksn)
    register, count = int.from_bytes(key_name(ksn)[2:], "big"), counter(ksn)
    for bit in range(20, -1, -1):
        if count >> bit & 1:
            register |= 1 << bit
            key = _one_way(key, register.to_bytes(8, "big"))
    return key


def data_key_tdes(bdk: bytes, ksn: bytes) -> bytes:
    """The key that seals data from reader to host; 16 bytes."""
    variant = _xor(derive_tdes(bdk, ksn), _DATA_VARIANT)
    return _tdes(variant, variant)


def _one_way(key: bytes, register: bytes) -> bytes:
    masked = _xor(key, _LEFT_MASK)
    return _one_way_half(masked, register) + _one_way_half(key, register)


def _one_way_half(key: bytes, register: bytes) -> bytes:
    left, right = key[:8], key[8:]
    return _xor(_tdes(left + left, _xor(register, right)), right)


def _tdes(key: bytes, blocks: bytes) -> bytes:
    cipher = Cipher(TripleDES(key + key[:8]), ECB()).encryptor()  # noqa: S305 - single blocks, as the standard says
    return cipher.update(blocks) + cipher.finalize()


# --- AES -------------------------------------------------------------------------------------------------------

_FOR_DERIVATION: Final = 0x8000
_FOR_INITIAL: Final = 0x8001
_FOR_DATA: Final = 0x3000


def initial_key_aes(bdk: bytes, ksn: bytes) -> bytes:
    """The key that was loaded into the reader, 16 bytes."""
    return _aes(bdk, _derivation(_FOR_INITIAL) + ksn[:8])


def derive_aes(bdk: bytes, ksn: bytes) -> bytes:
    """The key of this use ("transaction key"), from which working keys are made; 16 bytes."""
    key, count, reached = initial_key_aes(bdk, ksn), counter(ksn), 0
    for bit in range(31, -1, -1):
        if count >> bit & 1:
            reached |= 1 << bit
            key = _aes(key, _derivation(_FOR_DERIVATION) + ksn[4:8] + reached.to_bytes(4, "big"))
    return key


def data_key_aes(bdk: bytes, ksn: bytes) -> bytes:
    """The key that seals data from reader to host; 16 bytes."""
    return _aes(derive_aes(bdk, ksn), _derivation(_FOR_DATA) + ksn[4:12])


def _derivation(usage: int) -> bytes:
    # Version 1, first block, AES-128, 128 bits.
    return bytes((1, 1)) + usage.to_bytes(2, "big") + bytes((0, 2, 0, 128))


def _aes(key: bytes, block: bytes) -> bytes:
    cipher = Cipher(AES(key), ECB()).encryptor()  # noqa: S305 - single blocks, as the standard says
    return cipher.update(block) + cipher.finalize()


# --- both ------------------------------------------------------------------------------------------------------


def _cipher(scheme: str, bdk: bytes, ksn: bytes) -> Cipher[CBC]:
    if scheme not in KSN_BYTES:
        raise MalformedMessage("there is no such scheme", scheme=scheme, known=", ".join(KSN_BYTES))
    if len(ksn) != KSN_BYTES[scheme]:
        raise MalformedMessage("this number is not of this scheme", scheme=scheme, length=len(ksn))
    if len(bdk) != 16:
        raise MalformedMessage("a base key has 16 bytes", length=len(bdk))
    if scheme == AES_SCHEME:
        return Cipher(AES(data_key_aes(bdk, ksn)), CBC(bytes(16)))
    key = data_key_tdes(bdk, ksn)
    return Cipher(TripleDES(key + key[:8]), CBC(bytes(8)))


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
