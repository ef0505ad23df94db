"""What all brokers have in common: an address, a profile, and for those we run, a child process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from control_plane.clock import Clock
from control_plane.devices.authority import Authority, KeyPair, write_private
from control_plane.devices.queries import Access
from control_plane.mqtt.wire import Will, WireClient
from control_plane.programs import ending_with_us

log = structlog.get_logger()

_STOP_S: Final = 5.0
_READY_S: Final = 15.0


class BrokerDown(Exception):
    """The broker did not start, or is not reached. The text says what to look at."""


@dataclass(frozen=True, slots=True)
class BrokerProfile:
    """What a kind of broker can do. Nothing that concerns money depends on it; ``self_test`` verifies it."""

    name: str
    mqtt_level: int
    """What devices are told to speak: 4 is MQTT 3.1.1, 5 is MQTT 5."""
    has_expiry: bool
    has_reason_codes: bool
    denies_subscribe: bool
    """A forbidden subscription is answered with a refusal; else it is granted and stays silent."""
    durable_puback: bool
    """What was acknowledged survives kill -9."""
    ties_client_id: bool
    """The client id comes from the certificate, so that nobody can take over another's session."""


NATS: Final = BrokerProfile("nats", 4, False, False, True, True, False)
MOSQUITTO: Final = BrokerProfile("mosquitto", 5, True, True, False, False, True)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is for this process, and the name in its certificate."""

    host: str
    port: int
    server_name: str = "localhost"


class Broker(Protocol):
    """A broker that is kept in line with the database."""

    profile: BrokerProfile
    address: BrokerAddress

    def start(self, access: Access) -> None:
        """Write its files and run it. Raises BrokerDown."""

    def apply(self, access: Access) -> None:
        """Let in and keep out whom the database says, now."""

    def is_running(self) -> bool:
        """False when it has to be started again."""

    def stop(self) -> None:
        """End it in good order. Can be called twice."""


class Clients:
    """Connects services of ours, and stand-ins for devices, to a broker."""

    client: type[WireClient] = WireClient

    def __init__(self, authority: Authority, address: BrokerAddress) -> None:
        self._authority = authority
        self.address = address

    def pair(self, name: str) -> KeyPair:
        """A certificate for one of our services."""
        return self._authority.make_client(name)

    def connect(
        self,
        name: str,
        pair: KeyPair | None = None,
        *,
        clean: bool = True,
        will: Will | None = None,
        level: int = 4,
        keepalive_s: int = 30,
    ) -> WireClient:
        """A connection under this name; with a new certificate unless one is given. Raises WireError."""
        return self.client(
            self.address.host,
            self.address.port,
            client_id=name,
            tls=self._authority.client_context(pair or self._authority.make_client(name)),
            server_name=self.address.server_name,
            level=level,
            clean=clean,
            will=will,
            keepalive_s=keepalive_s,
        )


class Child:
    """A server process of ours: started, told to read its files again, stopped; found again after a crash of ours."""

    def __init__(self, command: list[str], folder: Path, name: str) -> None:
        self._command = command
        self._folder = folder
        self._pid_file = folder / f"{name}.pid"
        self._output = folder / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None
        self.name = name

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self.is_alive() and self._process else None

    def is_alive(self) -> bool:
        """Whether the process that we started still runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, host: str, port: int) -> None:
        """Run it until it accepts connections. Raises BrokerDown with what it said last."""
        self._end_left_over()
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ending_with_us(self._command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal ends us first, and we end it.
                start_new_session=True,
            )
        write_private(self._pid_file, f"{self._process.pid}\n")
        deadline = time.monotonic() + _READY_S
        while not _accepts(host, port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._output.read_text(errors="replace")[-800:]
                self.stop()
                raise BrokerDown(f"{self.name} did not start on {host}:{port}: {said.strip()}")
            time.sleep(0.01)

    def reload(self) -> None:
        """Let it read its files again."""
        if self.is_alive() and self._process:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not go."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_S)
        self._pid_file.unlink(missing_ok=True)
        self._process = None

    def _end_left_over(self) -> None:
        """A crash of ours may leave the server running on our port: end it, if it is certainly ours."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if os.fsencode(self._command[-1]) not in command.split(b"\0"):
            return
        log.warning("broker_left_over_ended", pid=pid)
        try:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _STOP_S
            while Path(f"/proc/{pid}").exists():
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    break
                time.sleep(0.02)
        except ProcessLookupError:
            pass


class ServerFiles:
    """Certificate, key and CA of a broker in its folder, renewed in time."""

    def __init__(self, folder: Path, authority: Authority, clock: Clock, names: list[str]) -> None:
        self.certificate = folder / "server.crt"
        self.key = folder / "server.key"
        self.ca = folder / "ca.crt"
        self._folder = folder
        self._authority = authority
        self._clock = clock
        self._names = names
        self._pair: KeyPair | None = None

    def write(self) -> bool:
        """Write what is missing or too old; True when something changed."""
        now = self._clock.now()
        if self._pair is not None and (self._pair.not_after - now).days > 30:
            return False
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pair = self._authority.make_server(self._names)
        write_private(self.key, self._pair.key_pem)
        write_private(self.certificate, self._pair.certificate_pem, mode=0o644)
        write_private(self.ca, self._authority.ca_pem, mode=0o644)
        return True


def address_here(host: str, port: int) -> BrokerAddress:
    """How this machine reaches a broker that listens on ``host``; with port 0 on a port that nothing listens on."""
    host = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
    return BrokerAddress(host, port or _free_port(host))


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True
