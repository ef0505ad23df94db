"""From a one-time code to an identity, and from an old certificate to a fresh one. The key never leaves the device.

`cryptography` is imported where it is used: it costs 12 MiB, and a running agent needs it once in two months.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from agent import identity as identities
from agent.errors import AgentError
from agent.health import host_name, platform_name
from agent.https_client import ControlPlaneRefused, HttpsClient
from agent.identity import Identity, Membership, NotEnrolled
from agent.version import VERSION
from protocols.cloud.http import ENROLL, RENEW, Enrolled, EnrollRequest, Renewed, RenewRequest
from protocols.ids import is_device_id

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

    from agent.clock import Clock
    from agent.timekeeping import DeviceTime

T = TypeVar("T", bound=msgspec.Struct)


class AlreadyEnrolled(AgentError):
    """There is an identity already."""

    code = "already_enrolled"


class EnrollmentFailed(AgentError):
    """The control plane did not make this device one of its own; the message says why and what to do."""

    code = "enrollment_failed"


class AnswerNotUsable(AgentError):
    """What the control plane sent does not fit this device; nothing was changed."""

    code = "answer_not_usable"


async def enroll(
    url: str,
    code: str,
    state_dir: Path,
    time: DeviceTime,
    clock: Clock,
    *,
    ca_pem: str = "",
    force: bool = False,
) -> Identity:
    """Become a device of the control plane at `url` and store what proves it.

    `ca_pem`: certificates to trust for the control plane. Raises AlreadyEnrolled without `force`, EnrollmentFailed,
    ControlPlaneUnreachable, AnswerNotUsable, and OSError when the state folder cannot be written.
    """
    before = _present(state_dir)
    if before is not None and not force:
        raise AlreadyEnrolled(
            f"this device is enrolled as {before.membership.device_id} at {before.membership.control_url}; "
            "to enrol it anew give --force"
        )
    key = _new_key()
    request = EnrollRequest(
        code=code,
        csr_pem=_signing_request(key),
        agent_version=VERSION,
        hostname=host_name(),
        platform=platform_name(),
        previous_device_id=before.membership.device_id if before else None,
    )
    client = HttpsClient(url, time, clock, ca_pem=ca_pem)
    try:
        answer = await client.request("POST", ENROLL, msgspec.json.encode(request))
    except ControlPlaneRefused as refused:
        raise EnrollmentFailed(_in_words(refused), problem=refused.problem) from refused
    finally:
        client.close()
    enrolled = _read(answer, Enrolled)
    certificate = _checked(enrolled.certificate_pem, key, enrolled.device_id)
    return identities.save(
        state_dir,
        Membership(
            device_id=enrolled.device_id,
            cell=enrolled.cell,
            epoch=enrolled.epoch,
            control_url=url.rstrip("/"),
            broker=enrolled.broker,
            location_name=enrolled.location_name,
            merchant_name=enrolled.merchant_name,
            valid_from=certificate.not_valid_before_utc,
            valid_until=certificate.not_valid_after_utc,
            control_ca=ca_pem,
        ),
        key_pem=_pem_of(key),
        certificate_pem=enrolled.certificate_pem,
        ca_pem=enrolled.ca_pem,
    )


async def renew(identity: Identity, state_dir: Path, time: DeviceTime, clock: Clock) -> Identity:
    """A fresh key and certificate for the same device, asked with the present ones and stored.

    Raises ControlPlaneUnreachable, ControlPlaneRefused, AnswerNotUsable, OSError.
    """
    member = identity.membership
    key = _new_key()
    client = HttpsClient(
        member.control_url, time, clock, ca_pem=member.control_ca, identity=identity
    )
    try:
        request = RenewRequest(csr_pem=_signing_request(key))
        renewed = _read(await client.request("POST", RENEW, msgspec.json.encode(request)), Renewed)
    finally:
        client.close()
    certificate = _checked(renewed.certificate_pem, key, member.device_id)
    return identities.save(
        state_dir,
        msgspec.structs.replace(
            member,
            broker=renewed.broker,
            valid_from=certificate.not_valid_before_utc,
            valid_until=certificate.not_valid_after_utc,
        ),
        key_pem=_pem_of(key),
        certificate_pem=renewed.certificate_pem,
        ca_pem=renewed.ca_pem,
    )


def _present(state_dir: Path) -> Identity | None:
    try:
        return identities.load(state_dir)
    except NotEnrolled:
        return None


def _read(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnswerNotUsable(
            f"what answers is no Omnitill control plane, or a much later one ({error}); check --url"
        ) from error


def _new_key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415 (see above)
        SECP256R1,
        generate_private_key,
    )

    return generate_private_key(SECP256R1())


def _pem_of(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 (see above)
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _signing_request(key: EllipticCurvePrivateKey) -> str:
    from cryptography import x509  # noqa: PLC0415 (see above)
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    # The server chooses the name; this one is only for people who look at the request.
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "new device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def _checked(certificate_pem: str, key: EllipticCurvePrivateKey, device_id: str) -> Certificate:
    """The certificate, when it is over our key and our name. Raises AnswerNotUsable."""
    from cryptography import x509  # noqa: PLC0415 (see above)

    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError as error:
        raise AnswerNotUsable(f"the certificate that came cannot be read ({error})") from error
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if certificate.public_key() != key.public_key():
        raise AnswerNotUsable("the certificate that came is over another key")
    if not is_device_id(device_id) or [name.value for name in names] != [device_id]:
        raise AnswerNotUsable("the certificate that came is for another device")
    return certificate


def _in_words(refused: ControlPlaneRefused) -> str:
    if refused.status == 404 and not refused.problem:
        return "there is no Omnitill control plane at this address; check --url"
    if refused.status == 429:
        return "too many attempts; wait a few minutes, then try again with a new code"
    return refused.message
