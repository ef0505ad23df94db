"""Keys for what is stored secretly, derived from one secret that is not in the database.

Every purpose has its own key (HKDF). After a change of the secret, values written under a retired one are
still read, and lookups find both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_FILE = "secret.key"
_SHORTEST = 32
_NONCE = 12


class SecretKeyUnusable(Exception):
    """The secret key is missing, too short, or not the one that a value was sealed with."""


class Keyring:
    """Seals, opens, hashes and signs. The first secret writes; the others only read."""

    def __init__(self, secrets_in_order: Sequence[bytes]) -> None:
        if not secrets_in_order or any(len(secret) < _SHORTEST for secret in secrets_in_order):
            raise SecretKeyUnusable("a secret key has at least 32 bytes")
        self._secrets = tuple(secrets_in_order)
        self._ids = tuple(_derive(secret, "key id")[:4].hex() for secret in self._secrets)
        self._derived: dict[tuple[int, str], bytes] = {}

    def seal(self, value: bytes, purpose: str) -> str:
        """AES-256-GCM, bound to ``purpose``: ``key id.base64(nonce + ciphertext)``."""
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self._key(0, "seal")).encrypt(nonce, value, purpose.encode())
        return f"{self._ids[0]}.{base64.b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, purpose: str) -> bytes:
        """The value again. Raises SecretKeyUnusable when its key is not here or it was altered."""
        key_id, _, text = sealed.partition(".")
        if key_id not in self._ids:
            raise SecretKeyUnusable(f"the secret key {key_id} is not among ours")
        raw = base64.b64decode(text)
        cipher = AESGCM(self._key(self._ids.index(key_id), "seal"))
        try:
            return cipher.decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode())
        except InvalidTag:
            raise SecretKeyUnusable(f"a sealed value for {purpose} was altered") from None

    def hash(self, value: str, purpose: str) -> str:
        """A keyed hash to store and look up by (HMAC-SHA-256, hex)."""
        return self.hashes(value, purpose)[0]

    def hashes(self, value: str, purpose: str) -> list[str]:
        """What to look for: the hash under our key and under each retired one."""
        return [
            hmac.digest(self._key(index, f"hash {purpose}"), value.encode(), "sha256").hex()
            for index in range(len(self._secrets))
        ]

    def sign(self, message: bytes, purpose: str) -> str:
        """A short signature (HMAC-SHA-256, 128 bits, base64url)."""
        return _short(self._key(0, f"sign {purpose}"), message)

    def is_signed(self, message: bytes, signature: str, purpose: str) -> bool:
        """Whether ``sign`` made this, now or under a retired secret; in constant time."""
        given = signature.encode()
        return any(
            hmac.compare_digest(
                _short(self._key(index, f"sign {purpose}"), message).encode(), given
            )
            for index in range(len(self._secrets))
        )

    def _key(self, index: int, purpose: str) -> bytes:
        key = self._derived.get((index, purpose))
        if key is None:
            key = self._derived[index, purpose] = _derive(self._secrets[index], purpose)
        return key


def load_keyring(secret: str, retired: Sequence[str], data_dir: Path) -> Keyring:
    """From settings, or from a file in ``data_dir`` that is made on first use, readable by us only."""
    return Keyring([_decode(secret) if secret else _of_file(data_dir), *map(_decode, retired)])


def _of_file(data_dir: Path) -> bytes:
    path = data_dir / KEY_FILE
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = data_dir / f".{KEY_FILE}.{secrets.token_hex(8)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(_SHORTEST)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link never replaces the file of a process that was quicker.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return _decode(path.read_text())


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise SecretKeyUnusable("a secret key is written in base64") from None


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=f"omnitill {purpose}".encode()).derive(secret)


def _short(key: bytes, message: bytes) -> str:
    digest = hmac.digest(key, message, hashlib.sha256)[:16]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
