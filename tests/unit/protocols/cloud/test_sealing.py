"""A secret is opened by one device's key, for one purpose."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocols.cloud.sealing import RANDOM_BYTES, open_sealed, seal
from protocols.errors import MalformedMessage


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_pem(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


KEY = ec.generate_private_key(ec.SECP256R1())
SEALED = seal(b"123456", public_pem(KEY.public_key()), "dev/rd/password", os.urandom(RANDOM_BYTES))


def test_the_device_reads_what_was_sealed_for_it() -> None:
    assert open_sealed(SEALED, private_pem(KEY), "dev/rd/password") == b"123456"
    assert "123456" not in SEALED


def test_the_same_value_never_looks_the_same() -> None:
    again = seal(b"123456", public_pem(KEY.public_key()), "dev/rd/password", os.urandom(48))

    assert again != SEALED


@pytest.mark.parametrize(
    ("sealed", "purpose"),
    [
        (SEALED, "dev/other/password"),
        (SEALED[:-8] + "AAAAAAA=", "dev/rd/password"),
        (SEALED[8:], "dev/rd/password"),
        ("no base64!", "dev/rd/password"),
        ("", "dev/rd/password"),
    ],
)
def test_what_was_moved_or_altered_is_refused(sealed: str, purpose: str) -> None:
    with pytest.raises(MalformedMessage):
        open_sealed(sealed, private_pem(KEY), purpose)


def test_another_device_reads_nothing() -> None:
    other = ec.generate_private_key(ec.SECP256R1())

    with pytest.raises(MalformedMessage):
        open_sealed(SEALED, private_pem(other), "dev/rd/password")


def test_only_keys_that_can_open_are_sealed_for() -> None:
    signing_only = public_pem(ed25519.Ed25519PrivateKey.generate().public_key())
    other_curve = public_pem(ec.generate_private_key(ec.SECP384R1()).public_key())

    for pem in (signing_only, other_curve):
        with pytest.raises(ValueError, match="P-256"):
            seal(b"1", pem, "p", os.urandom(RANDOM_BYTES))
    with pytest.raises(ValueError, match="randomness"):
        seal(b"1", public_pem(KEY.public_key()), "p", b"short")
