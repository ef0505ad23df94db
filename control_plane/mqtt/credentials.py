"""Who may do what at a broker, made from the topics that both ends import; written for mosquitto and for NATS."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from protocols.cloud import topics
from protocols.cloud.topics import Channel, Direction

INGEST: Final = "svc-ingest"
GATEWAY: Final = "svc-gateway"
PROBE: Final = "svc-probe"


@dataclass(frozen=True, slots=True)
class Rights:
    """MQTT filters that a client may publish to, and receive from."""

    publish: tuple[str, ...]
    receive: tuple[str, ...]


def device_rights(device: str) -> Rights:
    """Of a device; ``device`` is an id or a broker's placeholder."""
    return Rights(
        publish=(topics.device_may_publish(device),), receive=topics.device_may_receive(device)
    )


def service_rights(cell: str) -> dict[str, Rights]:
    """Of our own clients of one cell, by name. Ingest tells no device what to do, the gateway takes no money in."""
    down = tuple(
        topics.topic(cell, "+", channel)
        for channel in Channel
        if channel.direction is Direction.DOWN
    )
    return {
        f"{INGEST}-{cell}": Rights(
            publish=(topics.topic(cell, "+", Channel.ACK), topics.service_topic(cell)),
            receive=(topics.ingest_subscription(cell),),
        ),
        f"{GATEWAY}-{cell}": Rights(
            publish=down,
            receive=(
                topics.topic(cell, "+", Channel.CLAIM),
                topics.topic(cell, "+", Channel.TIME_ASK),
                topics.topic(cell, "+", Channel.AUTHORIZE),
            ),
        ),
        # Stands for both in the self-test, so that this never takes a connection from either.
        f"{PROBE}-{cell}": Rights(publish=down, receive=(topics.ingest_subscription(cell),)),
    }


def ingest_filters(cell: str) -> list[str]:
    """What ingest subscribes to: everything that goes up and is not answered on the spot by the gateway."""
    return [
        topics.topic(cell, "+", channel)
        for channel in Channel
        if channel.direction is Direction.UP
        and channel not in (Channel.CLAIM, Channel.TIME_ASK, Channel.AUTHORIZE)
    ]


def mosquitto_acl(cells: Iterable[str], denied: Iterable[str]) -> str:
    """An acl_file. Deny is the default; ``%u`` is the common name of the certificate."""
    devices = device_rights("%u")
    lines = [
        "# Written by omnitill; changes here are lost.",
        *(f"pattern write {name}" for name in devices.publish),
        *(f"pattern read {name}" for name in devices.receive),
    ]
    for cell in cells:
        for service, rights in service_rights(cell).items():
            lines += [
                f"user {service}",
                *(f"topic write {name}" for name in rights.publish),
                *(f"topic read {name}" for name in rights.receive),
            ]
    for device in denied:
        lines += [f"user {device}", "topic deny #"]
    return "\n".join(lines) + "\n"


def nats_users(cells: Iterable[str], allowed: Sequence[str]) -> str:
    """The ``users`` of a NATS configuration: one for each certificate name that may connect."""
    everyone = {
        service: rights for cell in cells for service, rights in service_rights(cell).items()
    } | {device: device_rights(device) for device in allowed}
    users = (
        f'    {{user: "CN={name}", permissions: {{'
        f"publish: {{allow: {_subjects(rights.publish)}}}, "
        # Subscriptions of QoS 1 arrive through inboxes of this name.
        f"subscribe: {{allow: {_subjects(rights.receive, '$MQTT.sub.>')}}}}}}}"
        for name, rights in everyone.items()
    )
    return "[\n" + ",\n".join(users) + "\n  ]"


def nats_subject(name: str) -> tuple[str, ...]:
    """The NATS subjects of an MQTT filter: ``#`` also stands for the level above it."""
    subject = name.replace("/", ".").replace("+", "*")
    if subject.endswith(".#"):
        return subject[:-2], subject[:-1] + ">"
    return (subject,)


def _subjects(filters: Iterable[str], *more: str) -> str:
    names = [subject for name in filters for subject in nats_subject(name)]
    return "[" + ", ".join(f'"{name}"' for name in (*names, *more)) + "]"
