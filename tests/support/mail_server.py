"""A real mail server on loopback (aiosmtpd), which can also misbehave."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import LOOPBACK, free_port

USER, PASSWORD = "till", "correct horse"


@dataclass
class Received:
    """What the server took, and what it answers meanwhile."""

    mails: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    senders: list[str] = field(default_factory=list)
    was_secured: list[bool] = field(default_factory=list)
    #: Answers to give instead of yes, by command; one entry is used up for each.
    refuse: dict[str, list[str]] = field(default_factory=dict)
    #: Take the next mail, and hang up instead of saying so.
    hang_up_after_data: bool = False

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self._refusal("MAIL"):
            return answer
        envelope.mail_from = address
        return "250 fine"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self._refusal("RCPT"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if answer := self._refusal("DATA"):
            return answer
        assert isinstance(envelope.content, bytes)
        self.mails.append(envelope.content)
        self.recipients.append(list(envelope.rcpt_tos))
        self.senders.append(envelope.mail_from or "")
        self.was_secured.append(session.ssl is not None)
        if self.hang_up_after_data:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return "250 taken"

    def _refusal(self, command: str) -> str:
        answers = self.refuse.get(command, [])
        return answers.pop(0) if answers else ""


@contextmanager
def mail_server(
    port: int | None = None, *, tls: ssl.SSLContext | None = None, implicit_tls: bool = False
) -> Iterator[tuple[int, Received]]:
    """A server until the block ends: (port, what it got). With ``tls`` it wants STARTTLS and a password first."""
    received = Received()
    options: dict[str, Any] = {}  # aiosmtpd's own
    if implicit_tls:
        options = {"ssl_context": tls}
    elif tls is not None:
        options = {
            "tls_context": tls,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": _check,
        }
    chosen = port or free_port()
    controller = Controller(received, hostname=LOOPBACK, port=chosen, **options)
    controller.start()
    try:
        yield chosen, received
    finally:
        controller.stop()


def throwaway_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """(the server's context, the file that a client trusts): a certificate of its own making for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(LOOPBACK))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "mail.pem", folder / "mail.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, private)
    return context, public


def _check(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
) -> AuthResult:
    fits = (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=fits, handled=False)
