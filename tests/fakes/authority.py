"""A certificate authority of a test: certificates for brokers, devices and services, with any dates and names."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def pem_of(key: EllipticCurvePrivateKey) -> bytes:
    """A key as it is stored."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Authority:
    """Signs whatever it is asked to."""

    def __init__(self) -> None:
        self._key = generate_private_key(SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=3650))
            .not_valid_after(now + timedelta(days=36500))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, SHA256())
        )

    @property
    def pem(self) -> str:
        """Its own certificate."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def sign(
        self,
        public_key: EllipticCurvePublicKey,
        name: str,
        *,
        valid_from: datetime | None = None,
        days: float = 90,
        is_server: bool = False,
    ) -> str:
        """A certificate in PEM. A server's is for this machine."""
        begin = valid_from or datetime.now(UTC) - timedelta(minutes=5)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if is_server:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()

    def sign_request(self, csr_pem: str, name: str, *, days: float = 90) -> str:
        """A certificate for whoever made this request."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, EllipticCurvePublicKey):
            raise ValueError("no request over a P-256 key")
        return self.sign(key, name, days=days)

    def issue(self, folder: Path, name: str, *, is_server: bool = False) -> tuple[Path, Path]:
        """A key and its certificate as files: (key, certificate)."""
        key = generate_private_key(SECP256R1())
        key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.crt"
        key_file.write_bytes(pem_of(key))
        certificate_file.write_text(self.sign(key.public_key(), name, is_server=is_server))
        return key_file, certificate_file
