"""The internal certificate authority."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane.db.keyring import Keyring
from control_plane.devices.authority import (
    DEVICE_LIFETIME,
    Authority,
    CsrRefused,
    is_signature_of,
)
from tests.fakes.clock import FakeClock
from tests.support.certificates import csr_for, csr_text

KEYRING = Keyring([b"tests only" * 4])


@pytest.fixture
def authority(tmp_path: Path, clock: FakeClock) -> Authority:
    return Authority.open(tmp_path / "ca", KEYRING, clock)


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_a_device_gets_the_name_that_the_server_chose(
    authority: Authority, clock: FakeClock
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    issued = authority.sign_device(csr_for(key, name="dev-of-another"), "dev-1234")

    certificate = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    assert common_name(certificate) == "dev-1234"
    assert len(certificate.subject) == 1
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_after_utc == clock.now() + DEVICE_LIFETIME
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_extensions_of_a_request_do_not_reach_the_certificate(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=3), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("dev-of-another")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )

    issued = authority.sign_device(csr_text(request), "dev-1234")

    certificate = x509.load_pem_x509_certificate(issued.certificate_pem.encode())
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_an_ed25519_key_is_taken(authority: Authority) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)

    issued = authority.sign_device(csr_text(request), "dev-1234")

    assert is_signature_of(issued.public_key_pem, key.sign(b"text"), b"text")
    assert not is_signature_of(issued.public_key_pem, key.sign(b"text"), b"texts")


def test_keys_of_other_kinds_are_refused(authority: Authority) -> None:
    with pytest.raises(CsrRefused, match="curve P-256"):
        authority.sign_device(csr_for(ec.generate_private_key(ec.SECP384R1())), "dev-1234")
    with pytest.raises(CsrRefused, match="neither P-256 nor Ed25519"):
        authority.sign_device(
            csr_for(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "dev-1234"
        )


def test_a_request_that_does_not_prove_its_key_is_refused(authority: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    encoded = bytearray(
        x509.load_pem_x509_csr(csr_for(key).encode()).public_bytes(serialization.Encoding.DER)
    )
    encoded[-1] ^= 1
    altered = csr_text(x509.load_der_x509_csr(bytes(encoded)))

    with pytest.raises(CsrRefused, match="not signed with its own key"):
        authority.sign_device(altered, "dev-1234")


@pytest.mark.parametrize("text", ["", "-----BEGIN", "x" * 10_000, "\x00\xff"])
def test_what_is_no_request_is_refused(authority: Authority, text: str) -> None:
    with pytest.raises(CsrRefused):
        authority.sign_device(text, "dev-1234")


@pytest.mark.parametrize(
    "name", ["+", "#", "dev-a/up", "fl/1", "dev-+", "de", "Dev-1234", "*", ">"]
)
def test_a_name_that_a_broker_reads_as_a_pattern_cannot_be_issued(
    authority: Authority, name: str
) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        authority.make_client(name)


def test_the_key_lies_locked_and_readable_by_us_only(tmp_path: Path, authority: Authority) -> None:
    del authority
    path = tmp_path / "ca" / "ca.key"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(path.read_bytes(), None)


def test_the_same_authority_is_opened_again(tmp_path: Path, clock: FakeClock) -> None:
    first = Authority.open(tmp_path, KEYRING, clock)

    again = Authority.open(tmp_path, Keyring([b"a new secret" * 4, b"tests only" * 4]), clock)

    assert again.ca_pem == first.ca_pem


def test_another_secret_key_does_not_open_it(tmp_path: Path, clock: FakeClock) -> None:
    Authority.open(tmp_path, KEYRING, clock)

    with pytest.raises(RuntimeError, match="OMNITILL_SECRET_KEY"):
        Authority.open(tmp_path, Keyring([b"another one" * 4]), clock)


def test_two_installations_do_not_look_alike(tmp_path: Path, clock: FakeClock) -> None:
    first = Authority.open(tmp_path / "a", KEYRING, clock)
    second = Authority.open(tmp_path / "b", KEYRING, clock)

    names = {
        common_name(x509.load_pem_x509_certificate(one.ca_pem.encode())) for one in (first, second)
    }

    assert len(names) == 2


def test_revoked_serials_are_listed_and_signed(authority: Authority, clock: FakeClock) -> None:
    issued = authority.sign_device(csr_for(ec.generate_private_key(ec.SECP256R1())), "dev-1234")

    listed = x509.load_pem_x509_crl(
        authority.revocation_list([(issued.serial, clock.now())]).encode()
    )

    ca = x509.load_pem_x509_certificate(authority.ca_pem.encode())
    assert listed.is_signature_valid(ca.public_key())  # type: ignore[arg-type]  # it is an EC key
    assert listed.get_revoked_certificate_by_serial_number(int(issued.serial, 16)) is not None
    assert listed.next_update_utc is not None
    assert listed.next_update_utc - clock.now() > timedelta(days=20)
