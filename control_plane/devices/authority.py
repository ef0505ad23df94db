"""The internal certificate authority: who devices, services and the broker are.

Its key lies in a folder that only we can read, locked with a password derived from the installation's secret key. The
replicas of one installation share that folder. Names are chosen here, never taken from a request.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import ipaddress
import os
import secrets
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane.clock import Clock
from control_plane.db.keyring import Keyring
from control_plane.errors import RequestRefused
from protocols.ids import is_device_id

DEVICE_LIFETIME: Final = timedelta(days=90)
SERVICE_LIFETIME: Final = timedelta(days=90)
SERVER_LIFETIME: Final = timedelta(days=397)
_CA_LIFETIME: Final = timedelta(days=3650)
#: A broker refuses everyone once its list has run out, so it is written anew long before.
CRL_LIFETIME: Final = timedelta(days=30)
#: Clocks of boxes run behind: a certificate is good from a day before it was made.
_BACKDATED: Final = timedelta(days=1)
_PASSWORD_PURPOSE: Final = "authority key"  # noqa: S105 - names a purpose
_LARGEST_CSR: Final = 8192
_SIGNER_NAME: Final = "release-signer"

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class CsrRefused(RequestRefused):
    """A certificate request that we do not sign. ``reason`` says what must be different."""

    code = "csr_refused"
    message = "The certificate request was not signed: {reason}. Make a new key and a new request."

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just made."""

    certificate_pem: str
    serial: str
    fingerprint: str
    public_key_pem: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, both PEM, for a server or a service of ours."""

    certificate_pem: str
    key_pem: str
    serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class CodeSignature:
    """A signature (DER, base64) and the certificate of the key that made it."""

    signature: str
    certificate_pem: str


class Authority:
    """Signs. Safe to use from several threads; ``open`` is safe from several processes."""

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock
        self.ca_pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    @classmethod
    def open(cls, folder: Path, keyring: Keyring, clock: Clock) -> Authority:
        """The authority in ``folder``; made there the first time."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "ca.key").exists():
                _make(folder, _passwords(keyring)[0], clock)
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        return cls(certificate, _unlock(folder / "ca.key", _passwords(keyring)), clock)

    def sign_device(self, csr_pem: str, device_id: str) -> Issued:
        """A certificate named ``device_id`` for the key of a request. Raises CsrRefused; the request's subject counts
        for nothing, the proof that it holds the key counts.
        """
        key = _checked_key(csr_pem)
        certificate = self._sign(device_id, key, DEVICE_LIFETIME, ExtendedKeyUsageOID.CLIENT_AUTH)
        return Issued(
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            serial=serial_text(certificate.serial_number),
            fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
            public_key_pem=key.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ).decode(),
            not_after=certificate.not_valid_after_utc,
        )

    def make_client(self, name: str, lifetime: timedelta = SERVICE_LIFETIME) -> KeyPair:
        """A key and certificate of our own, for a service (``svc-…``) or to stand in for a device for a moment."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pair(
            key, self._sign(name, key.public_key(), lifetime, ExtendedKeyUsageOID.CLIENT_AUTH)
        )

    def make_server(self, names: Iterable[str]) -> KeyPair:
        """A key and certificate for a broker that is reached under these host names or addresses."""
        hosts = list(dict.fromkeys([*names, "localhost", "127.0.0.1"]))
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        certificate = self._sign(
            hosts[0],
            key.public_key(),
            SERVER_LIFETIME,
            ExtendedKeyUsageOID.SERVER_AUTH,
            alternatives,
        )
        return _pair(key, certificate)

    def sign_once(self, content: bytes) -> CodeSignature:
        """Sign something that devices are to install, with a key that is made for it and forgotten.

        Devices know this authority, and the certificate says what its key was for; so there is no key to keep.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            _SIGNER_NAME, key.public_key(), SERVICE_LIFETIME, ExtendedKeyUsageOID.CODE_SIGNING
        )
        return CodeSignature(
            signature=base64.b64encode(key.sign(content, ec.ECDSA(hashes.SHA256()))).decode(),
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        )

    def revocation_list(self, revoked: Iterable[tuple[str, datetime]]) -> str:
        """A signed list of serials that count no more, PEM."""
        now = self._clock.now()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - timedelta(minutes=5))
            .next_update(now + CRL_LIFETIME)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        )
        for serial, at in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(int(serial, 16))
                .revocation_date(at)
                .build()
            )
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def sign_text(self, text: bytes) -> str:
        """A signature that says that we wrote this (ECDSA with SHA-256, base64). The text names its own purpose."""
        return base64.b64encode(self._key.sign(text, ec.ECDSA(hashes.SHA256()))).decode()

    def client_context(self, pair: KeyPair) -> ssl.SSLContext:
        """TLS for a connection to a broker of this authority."""
        context = ssl.create_default_context(cadata=self.ca_pem)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            # The ssl module reads keys from files only; this one is readable by us and gone at once.
            file.write(pair.key_pem + pair.certificate_pem)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _sign(
        self,
        name: str,
        key: PublicKey,
        lifetime: timedelta,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> x509.Certificate:
        if alternatives is None and not is_device_id(name):
            raise ValueError(f"{name!r} cannot be the name of a client")
        now = self._clock.now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(now + lifetime, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def serial_text(serial: int) -> str:
    """A serial number as we store it."""
    return f"{serial:x}"


def is_signature_of(public_key_pem: str, signature: bytes, text: bytes) -> bool:
    """Whether the holder of the key signed this text: ECDSA with SHA-256 in DER form, or Ed25519."""
    key = serialization.load_pem_public_key(public_key_pem.encode())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, text)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _checked_key(csr_pem: str) -> PublicKey:
    if len(csr_pem) > _LARGEST_CSR:
        raise CsrRefused("it is longer than a request can be")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        is_proved = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise CsrRefused("it is not a PKCS #10 request in PEM form") from None
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise CsrRefused("its key is not on the curve P-256")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise CsrRefused("its key is neither P-256 nor Ed25519")
    if not is_proved:
        raise CsrRefused("it is not signed with its own key")
    return key


def _make(folder: Path, password: bytes, clock: Clock) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    # Two installations must not look alike to a device that moves from one to the other.
    fingerprint = hashlib.sha256(
        public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).hexdigest()[:8]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Omnitill devices {fingerprint}")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(
        folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM), mode=0o644
    )
    # Last: its presence says that the authority is complete.
    write_private(
        folder / "ca.key",
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        ),
    )


def write_private(path: Path, content: bytes | str, *, mode: int = 0o600) -> None:
    """Put a file in place in one step, readable by nobody else unless ``mode`` says so, and on the disk."""
    raw = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _unlock(path: Path, passwords: list[bytes]) -> ec.EllipticCurvePrivateKey:
    for password in passwords:
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password)
        except ValueError:
            continue
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    raise RuntimeError(
        f"{path} does not open with the secret key in use. Set OMNITILL_SECRET_KEY as it was when the file was made."
    )


def _passwords(keyring: Keyring) -> list[bytes]:
    return [text.encode() for text in keyring.hashes("ca.key", _PASSWORD_PURPOSE)]


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> KeyPair:
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        serial=serial_text(certificate.serial_number),
        not_after=certificate.not_valid_after_utc,
    )
