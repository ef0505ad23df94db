"""Keys and certificate requests, as a device makes them."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from control_plane.devices.authority import Issued, KeyPair


def csr_for(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str = "") -> str:
    """A request for a key, PEM; its subject is whatever the device likes."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return csr_text(request.sign(key, hashes.SHA256()))


def csr_text(request: x509.CertificateSigningRequest) -> str:
    """A request as it is sent."""
    return request.public_bytes(serialization.Encoding.PEM).decode()


def pair_of(key: ec.EllipticCurvePrivateKey, issued: Issued) -> KeyPair:
    """What a device holds after it was enrolled."""
    return KeyPair(
        certificate_pem=issued.certificate_pem,
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        serial=issued.serial,
        not_after=issued.not_after,
    )
