"""The MQTT topic tree: every channel once, with its direction, quality of service and retain flag.

``fl/1/{cell}/{device}/{up|dn}/{channel}``; the device id is the certificate's common name, the MQTT client id and the
topic segment. The tenant is not in the topic, so a device cannot lie about it. Access rules of both brokers are made
from this file, and so is the AsyncAPI document.

Device subscriptions are QoS 0: the guarantee for what goes down is carried by claims, acknowledgements and re-sends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocols.errors import MalformedMessage
from protocols.ids import is_device_id

VERSION: Final = 1
ROOT: Final = f"fl/{VERSION}"
#: The largest payload that may be published on any channel.
MAX_PAYLOAD_BYTES: Final = 32 * 1024
KEEPALIVE_S: Final = 30

_CELL = re.compile(r"[0-9a-f]{2}")


class Direction(StrEnum):
    """``up`` is device to cloud, ``dn`` is cloud to device."""

    UP = "up"
    DOWN = "dn"


class Channel(StrEnum):
    """What stands behind the device in a topic, e.g. ``up/tx``."""

    PRESENCE = "up/presence"
    STATE = "up/state"
    TRANSACTIONS = "up/tx"
    EVENTS = "up/ev"
    JOBS = "up/job"
    TELEMETRY = "up/tm"
    CLAIM = "up/cmd/claim"
    AUTHORIZE = "up/auth"
    RESULT = "up/cmd/res"
    LOG = "up/log"
    TIME_ASK = "up/time"
    TIME_ANSWER = "dn/time"
    CONFIG = "dn/cfg"
    RELEASE = "dn/job"
    COMMAND = "dn/cmd"
    GRANT = "dn/grant"
    AUTHORIZATION = "dn/auth"
    ACK = "dn/ack"

    @property
    def direction(self) -> Direction:
        """Which way messages of this channel travel."""
        return Direction(self.value[:2])


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a channel is published. ``expiry_s`` cleans queues where the broker can; nothing relies on it."""

    qos: int
    retain: bool = False
    expiry_s: int | None = None


DELIVERY: Final[dict[Channel, Delivery]] = {
    Channel.PRESENCE: Delivery(qos=1, retain=True),
    Channel.STATE: Delivery(qos=1, retain=True),
    Channel.TRANSACTIONS: Delivery(qos=1),
    Channel.EVENTS: Delivery(qos=1),
    Channel.JOBS: Delivery(qos=1),
    Channel.TELEMETRY: Delivery(qos=0, expiry_s=300),
    Channel.CLAIM: Delivery(qos=1, expiry_s=10),
    Channel.RESULT: Delivery(qos=1),
    Channel.LOG: Delivery(qos=0, expiry_s=60),
    Channel.TIME_ASK: Delivery(qos=0, expiry_s=5),
    Channel.TIME_ANSWER: Delivery(qos=0, expiry_s=5),
    Channel.CONFIG: Delivery(qos=1, retain=True),
    Channel.RELEASE: Delivery(qos=1, retain=True),
    Channel.COMMAND: Delivery(qos=1),
    Channel.GRANT: Delivery(qos=1, expiry_s=10),
    Channel.AUTHORIZE: Delivery(qos=1, expiry_s=60),
    Channel.AUTHORIZATION: Delivery(qos=1, expiry_s=60),
    Channel.ACK: Delivery(qos=1, expiry_s=60),
}


class Stream(StrEnum):
    """A numbered sequence of durable messages within one epoch of one device."""

    TRANSACTIONS = "tx"
    EVENTS = "ev"
    JOBS = "job"
    RESULTS = "res"


STREAM_CHANNEL: Final[dict[Stream, Channel]] = {
    Stream.TRANSACTIONS: Channel.TRANSACTIONS,
    Stream.EVENTS: Channel.EVENTS,
    Stream.JOBS: Channel.JOBS,
    Stream.RESULTS: Channel.RESULT,
}
CHANNEL_STREAM: Final[dict[Channel, Stream]] = {
    channel: stream for stream, channel in STREAM_CHANNEL.items()
}


@dataclass(frozen=True, slots=True)
class Address:
    """A topic taken apart."""

    cell: str
    device_id: str
    channel: Channel

    def __str__(self) -> str:
        return topic(self.cell, self.device_id, self.channel)


def topic(cell: str, device_id: str, channel: Channel) -> str:
    """The topic of one device's channel."""
    return f"{ROOT}/{cell}/{device_id}/{channel.value}"


def service_topic(cell: str) -> str:
    """Where the ingest of a cell says that it is up."""
    return f"{ROOT}/{cell}/_svc/state"


def parse(text: str) -> Address:
    """Take a device topic apart. Raises MalformedMessage for any other topic."""
    parts = text.split("/", 4)
    is_ours = len(parts) == 5 and f"{parts[0]}/{parts[1]}" == ROOT
    if not is_ours or not _CELL.fullmatch(parts[2]) or not is_device_id(parts[3]):
        raise MalformedMessage("not a device topic", topic=text[:120])
    try:
        return Address(parts[2], parts[3], Channel(parts[4]))
    except ValueError:
        raise MalformedMessage("unknown channel", topic=text[:120]) from None


def device_subscriptions(cell: str, device_id: str) -> list[str]:
    """The exact filters a device subscribes to: for wildcards some brokers send no retained messages."""
    filters = [
        topic(cell, device_id, channel)
        for channel in Channel
        if channel.direction is Direction.DOWN
    ]
    return [*filters, service_topic(cell)]


def ingest_subscription(cell: str) -> str:
    """The one filter of a cell's ingest."""
    return f"{ROOT}/{cell}/+/up/#"


def device_may_publish(device: str) -> str:
    """Filter of what a device may publish; ``device`` is an id or a broker's own placeholder such as ``%u``."""
    return f"{ROOT}/+/{device}/up/#"


def device_may_receive(device: str) -> tuple[str, str]:
    """Filters of what a device may receive: its own downlink and the service states."""
    return f"{ROOT}/+/{device}/dn/#", f"{ROOT}/+/_svc/state"
