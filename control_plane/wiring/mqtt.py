"""The authority, the broker, ingest and the gateway."""

from __future__ import annotations

from functools import cached_property, partial
from urllib.parse import urlsplit

from control_plane.card_present.service import CardPresent
from control_plane.configuration import push
from control_plane.devices.authority import Authority
from control_plane.devices.enrollment import FIRST_CELL
from control_plane.devices.link import BrokerDirectory
from control_plane.devices.presence import DevicesPlaced
from control_plane.devices.service import DeviceEnded
from control_plane.ingest.closings import close_streams
from control_plane.jobs.scheduler import AdvisoryLock, LockFile
from control_plane.mqtt.broker import (
    MOSQUITTO,
    NATS,
    Broker,
    BrokerAddress,
    BrokerProfile,
    Clients,
)
from control_plane.mqtt.embedded import EmbeddedNats
from control_plane.mqtt.gateway import Gateway
from control_plane.mqtt.ingest import IngestService, Leadership
from control_plane.mqtt.keeper import BrokerKeeper
from control_plane.mqtt.mosquitto import Mosquitto, find_program
from control_plane.parts import Parts, ProcessRole
from protocols.cloud import http

CELLS = [FIRST_CELL]
#: Advisory locks of ingest; the number of the cell is added.
_INGEST_LOCK = 7_046_030_000


class MqttEdge:
    """What the parts of the broker edge share. Made when first needed: most processes and tests need only some."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @cached_property
    def authority(self) -> Authority:
        """Who signs for devices."""
        return self._open_authority("ca")

    @cached_property
    def broker(self) -> Broker:
        """The broker that this installation runs. Raises LookupError when somebody else runs it."""
        parts, settings = self._parts, self._parts.settings.broker
        if settings.kind == "none":
            raise LookupError("OMNITILL_BROKER__KIND is none: this installation runs no broker")
        make = (
            partial(Mosquitto, program=settings.program or find_program())
            if settings.kind == "mosquitto"
            else partial(EmbeddedNats, program=settings.program)
        )
        return make(
            parts.settings.broker_folder,
            self.authority,
            parts.clock,
            host=settings.host,
            port=settings.port,
            names=[self._public_host, settings.host],
            cells=CELLS,
        )

    @cached_property
    def keeper(self) -> BrokerKeeper:
        """Keeps the broker."""
        return BrokerKeeper(
            self.broker,
            self._parts.database,
            self._parts.live,
            self.authority,
            self._open_authority("ca-of-nobody"),
            self._parts.clock,
            cells=CELLS,
        )

    def clients(self) -> Clients:
        """Connects our services."""
        return Clients(self.authority, self._address)

    def directory(self) -> http.Broker:
        """What devices are told."""
        settings = self._parts.settings.broker
        return http.Broker(
            host=self._public_host,
            port=settings.public_port or self._address.port,
            mqtt_level=self._profile.mqtt_level,
            server_name=self._public_host,
        )

    def look_now(self) -> None:
        """Let a device in that was just enrolled, when this process keeps the broker."""
        if "keeper" in self.__dict__ and self.keeper.is_ready():
            self.keeper.look_now()

    @property
    def _address(self) -> BrokerAddress:
        settings = self._parts.settings.broker
        if settings.kind == "none" or settings.port:
            host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - compared, not bound
            return BrokerAddress(host, settings.port, host)
        return self.broker.address

    @property
    def _profile(self) -> BrokerProfile:
        return NATS if self._parts.settings.broker.kind == "embedded_nats" else MOSQUITTO

    @property
    def _public_host(self) -> str:
        settings = self._parts.settings
        return settings.broker.public_host or urlsplit(settings.base_url).hostname or "localhost"

    def _open_authority(self, name: str) -> Authority:
        folder = self._parts.settings.data_dir / name
        return Authority.open(folder, self._parts.keyring, self._parts.clock)


def wire(parts: Parts) -> None:
    """Add them to their roles."""
    edge = MqttEdge(parts)
    parts.provide(MqttEdge, edge)
    parts.provide(
        BrokerDirectory,
        BrokerDirectory(lambda: edge.authority, edge.directory, edge.look_now),
    )
    parts.handlers.on(DeviceEnded, close_streams)
    parts.handlers.on(DevicesPlaced, push.on_placed)
    if parts.settings.broker.kind == "none":
        return

    def keeper() -> BrokerKeeper:
        parts.readiness["The broker"] = edge.keeper.is_ready
        return edge.keeper

    parts.add_service(ProcessRole.BROKER, "broker", keeper)
    for cell in CELLS:
        parts.add_service(ProcessRole.INGEST, f"ingest {cell}", partial(_ingest, parts, edge, cell))
        parts.add_service(
            ProcessRole.INGEST, f"gateway {cell}", partial(_gateway, parts, edge, cell)
        )


def _ingest(parts: Parts, edge: MqttEdge, cell: str) -> IngestService:
    return IngestService(cell, edge.clients, parts.database, parts.clock, _leadership(parts, cell))


def _gateway(parts: Parts, edge: MqttEdge, cell: str) -> Gateway:
    card_present = parts.get(CardPresent)
    return Gateway(cell, edge.clients, parts.database, parts.live, parts.clock, card_present.answer)


def _leadership(parts: Parts, cell: str) -> Leadership:
    if parts.database.is_sqlite:
        return LockFile(parts.settings.data_dir / f"ingest-{cell}.lock")
    return AdvisoryLock(parts.database.conninfo, _INGEST_LOCK + int(cell, 16))
