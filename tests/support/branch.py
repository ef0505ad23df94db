"""A broker with TLS and rights, a control plane behind it, and devices that are enrolled there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from agent import identity as identities
from agent.identity import Identity, Membership
from protocols.cloud.http import Broker
from protocols.cloud.topics import device_may_publish, device_may_receive
from tests.fakes.authority import Authority, pem_of
from tests.fakes.control_plane import CELL, FakeControlPlane
from tests.fixtures.mosquitto import Mosquitto

DEVICE = "dev-0000"
SERVICE = "svc-ingest"


class Site:
    """Made by the fixture `site`. The control plane is behind the broker from the start."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        start_mosquitto: Callable[..., Mosquitto],
        *,
        server_valid_from: datetime | None = None,
    ) -> None:
        self.folder = folder
        self.authority = authority
        self.plane = FakeControlPlane(authority)
        (folder / "ca.crt").write_text(authority.pem)
        key, certificate = self._server_files(server_valid_from)
        self.broker = start_mosquitto(_configuration(folder, key, certificate))
        service_key, service_certificate = authority.issue(folder, SERVICE)
        self.plane.broker = self.where()
        self._tls = (str(folder / "ca.crt"), str(service_certificate), str(service_key))
        self.server_files = (str(certificate), str(key))

    def join(self) -> None:
        """Let the control plane take in what comes over the broker."""
        self.plane.join(self.broker.port, self._tls)

    def where(self, *, mqtt_level: int = 4, port: int | None = None) -> Broker:
        """The broker's address, as enrolment tells it."""
        return Broker(
            host="127.0.0.1",
            port=port or self.broker.port,
            mqtt_level=mqtt_level,
            server_name="localhost",
        )

    def enrolled(
        self,
        state_dir: Path,
        *,
        device_id: str = DEVICE,
        broker: Broker | None = None,
        control_url: str = "https://localhost:1",
        days: float = 90,
        age_days: float = 0,
        is_ours: bool = True,
    ) -> Identity:
        """An enrolled device; `is_ours` false: by an authority that the broker does not know."""
        key = generate_private_key(SECP256R1())
        begin = datetime.now(UTC) - timedelta(days=age_days, minutes=5)
        signer = self.authority if is_ours else Authority()
        certificate = signer.sign(key.public_key(), device_id, valid_from=begin, days=days)
        self.plane.certificates[device_id] = certificate
        return identities.save(
            state_dir,
            Membership(
                device_id=device_id,
                cell=CELL,
                epoch=1,
                control_url=control_url,
                broker=broker or self.where(),
                location_name="Old Town",
                merchant_name="Café Test",
                valid_from=begin,
                valid_until=begin + timedelta(days=days),
                control_ca=self.authority.pem,
            ),
            key_pem=pem_of(key),
            certificate_pem=certificate,
            ca_pem=self.authority.pem,
        )

    def _server_files(self, valid_from: datetime | None) -> tuple[Path, Path]:
        key = generate_private_key(SECP256R1())
        key_file, certificate_file = self.folder / "server.key", self.folder / "server.crt"
        key_file.write_bytes(pem_of(key))
        certificate_file.write_text(
            self.authority.sign(
                key.public_key(), "localhost", is_server=True, valid_from=valid_from
            )
        )
        return key_file, certificate_file


def _configuration(folder: Path, key: Path, certificate: Path) -> str:
    rights = [
        f"user {SERVICE}",
        "topic readwrite fl/1/#",
        f"pattern write {device_may_publish('%u')}",
        *(f"pattern read {one}" for one in device_may_receive("%u")),
    ]
    (folder / "acl").write_text("\n".join(rights) + "\n")
    return "\n".join(
        [
            f"cafile {folder / 'ca.crt'}",
            f"certfile {certificate}",
            f"keyfile {key}",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {folder / 'acl'}",
        ]
    )
