"""mosquitto: generated configuration, rights, and revocation list; run as a child.

Rights are patterns over the certificate's name, so a new device needs no change. A revoked device gets a line that
denies it everything and its certificates go on the list; its live connection, which mosquitto would keep, is taken over
for a moment under its own name and closed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from control_plane.clock import Clock
from control_plane.devices.authority import CRL_LIFETIME, Authority, write_private
from control_plane.devices.queries import Access
from control_plane.mqtt.broker import (
    MOSQUITTO,
    BrokerDown,
    BrokerProfile,
    Child,
    Clients,
    ServerFiles,
    address_here,
)
from control_plane.mqtt.credentials import mosquitto_acl
from control_plane.mqtt.wire import WireError

log = structlog.get_logger()

#: Messages that ingest may hold before it acknowledges, for each client; mosquitto knows only one figure for all.
MAX_INFLIGHT: Final = 2000
_QUEUED: Final = 100_000
_STAND_IN: Final = timedelta(minutes=5)


class Mosquitto:
    """mosquitto as a child of this process."""

    profile: BrokerProfile = MOSQUITTO

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        clock: Clock,
        *,
        host: str,
        port: int,
        names: list[str],
        cells: list[str],
        program: Path,
    ) -> None:
        self.address = address_here(host, port)
        self._listen = host
        self._folder = folder.absolute()
        self._cells = cells
        self._authority = authority
        self._clock = clock
        self._files = ServerFiles(self._folder, authority, clock, names)
        self._config = self._folder / "mosquitto.conf"
        self._acl = self._folder / "acl"
        self._crl = self._folder / "crl.pem"
        self._clients = Clients(authority, self.address)
        self._child = Child([str(program), "-c", str(self._config)], self._folder, "mosquitto")
        self._denied: frozenset[str] = frozenset()
        self._written: tuple[str, tuple[tuple[str, datetime], ...]] | None = None
        self._crl_made_at: datetime | None = None

    @property
    def pid(self) -> int | None:
        """Of the server."""
        return self._child.pid

    def start(self, access: Access) -> None:
        """Write its files and run it. Raises BrokerDown."""
        self._write(access)
        self._child.start(self.address.host, self.address.port)
        self._denied = frozenset(access.denied)

    def apply(self, access: Access) -> None:
        """Let in and keep out whom the database says, and cut the connections of those who are newly out."""
        if self._write(access):
            self._child.reload()
        self._cut(sorted(set(access.denied) - self._denied))
        self._denied = frozenset(access.denied)

    def is_running(self) -> bool:
        """False when it has to be started again."""
        return self._child.is_alive()

    def stop(self) -> None:
        """End it; it stores its messages first."""
        self._child.stop()

    def _cut(self, devices: Iterable[str]) -> None:
        for device in devices:
            pair = self._authority.make_client(device, _STAND_IN)
            try:
                # The same client id takes the session over; a clean one forgets what was queued.
                self._clients.connect(device, pair).close()
            except WireError as error:
                log.warning("device_connection_not_cut", device_id=device, reason=str(error))

    def _write(self, access: Access) -> bool:
        renewed = self._files.write()
        now = self._clock.now()
        acl = mosquitto_acl(self._cells, access.denied)
        is_crl_old = self._crl_made_at is None or now - self._crl_made_at > CRL_LIFETIME / 3
        if self._written == (acl, access.revoked) and not renewed and not is_crl_old:
            return False
        write_private(self._config, self._text())
        write_private(self._acl, acl)
        write_private(self._crl, self._authority.revocation_list(access.revoked))
        (self._folder / "store").mkdir(exist_ok=True, mode=0o700)
        self._written = (acl, access.revoked)
        self._crl_made_at = now
        return True

    def _text(self) -> str:
        # As root it would become the user mosquitto, who cannot read our files.
        user = "user root\n" if os.geteuid() == 0 else ""
        return f"""# Written by omnitill; changes here are lost.
{user}per_listener_settings false
allow_anonymous false
acl_file {self._acl}
pid_file {self._folder / "mosquitto.pid"}
log_dest file {self._folder / "mosquitto.log"}
log_type error
log_type warning
log_type notice
log_timestamp_format %Y-%m-%dT%H:%M:%S
# A snapshot: after kill -9 messages are lost, which the devices' outboxes make good.
persistence true
persistence_location {self._folder / "store"}/
autosave_interval 60
persistent_client_expiration 14d
max_packet_size 65536
max_inflight_messages {MAX_INFLIGHT}
max_queued_messages {_QUEUED}
max_queued_bytes 0
max_keepalive 120
queue_qos0_messages false
set_tcp_nodelay true
listener {self.address.port} {self._listen}
protocol mqtt
cafile {self._files.ca}
certfile {self._files.certificate}
keyfile {self._files.key}
crlfile {self._crl}
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
"""


def find_program() -> Path:
    """Where mosquitto is on this machine. Raises BrokerDown."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerDown(
            "The program mosquitto is not here. Install it: apt-get install mosquitto."
        )
    return Path(found)
