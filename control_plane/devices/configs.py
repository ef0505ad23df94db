"""Desired configurations on their way to devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, select, update

from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import CONFIGS, DEVICES
from control_plane.devices.queries import Found
from protocols.cloud.commands import DesiredConfig

#: Configurations that are sent at a time.
MOST: Final = 500


class OutgoingConfig(NamedTuple):
    """What to publish, retained, for a device."""

    device_id: str
    config: DesiredConfig


def due(db: Transaction, cell: str, *, limit: int = MOST) -> list[OutgoingConfig]:
    """Configurations that a device must be told of."""
    rows = db.execute(
        select(CONFIGS)
        .join(DEVICES, DEVICES.c.id == CONFIGS.c.device_id)
        .where(CONFIGS.c.must_send.is_(True), DEVICES.c.cell == cell)
        .limit(limit)
    )
    return [OutgoingConfig(row.device_id, desired(row)) for row in rows]


def note_sent(db: Transaction, sent: Sequence[OutgoingConfig]) -> None:
    """These were published; one that changed meanwhile is sent again."""
    db.execute(
        update(CONFIGS)
        .where(CONFIGS.c.device_id == bindparam("device"), CONFIGS.c.version == bindparam("sent"))
        .values(must_send=False),
        [{"device": one.device_id, "sent": one.config.version} for one in sent],
    )


def desired(row: Found) -> DesiredConfig:
    """The message for a stored configuration."""
    return DesiredConfig(version=row.version, hash=row.hash, document=row.document)
