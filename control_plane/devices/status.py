"""A reader on two axes: whether it can be talked to, and whether it has the configuration that it should have."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from control_plane.devices.queries import Found


class Reach(StrEnum):
    """Whether a reader can be talked to."""

    ONLINE = "online"
    DEGRADED = "degraded"
    """Its device answers, the reader does not."""
    OFFLINE = "offline"
    NEVER_SEEN = "never_seen"


class Sync(StrEnum):
    """Whether the desired configuration is in force."""

    IN_SYNC = "in_sync"
    PENDING = "pending"
    APPLYING = "applying"
    FAILED = "failed"


_UNREACHABLE: Final = ("disconnected", "failing", "unidentified")


def reach_of(reader: Found) -> Reach:
    """The reach of a row of ``queries.reader``."""
    if reader.device_last_seen_at is None:
        return Reach.NEVER_SEEN
    if not reader.device_is_online or reader.gone_at is not None:
        return Reach.OFFLINE
    return Reach.DEGRADED if reader.state in _UNREACHABLE else Reach.ONLINE


def sync_of(reader: Found) -> Sync:
    """The sync of a row of ``queries.reader``; without a desired configuration nothing is out of sync."""
    if reader.desired_hash is None:
        return Sync.IN_SYNC
    reported = (reader.device_reported or {}).get("config", {})
    match reported.get("status", "none"):
        case "applying":
            return Sync.APPLYING
        case "rejected" | "rolled_back":
            return Sync.FAILED
        case _:
            return Sync.IN_SYNC if reported.get("hash") == reader.desired_hash else Sync.PENDING
