"""Reads of what was set."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from control_plane.configuration.models import READER_SETTINGS
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import READERS
from control_plane.devices.queries import Found


def settings_of_reader(db: Transaction, reader_id: str) -> Found | None:
    """What is set on a reader that the caller may see."""
    return db.execute(
        select(READER_SETTINGS).where(READER_SETTINGS.c.reader_id == reader_id)
    ).one_or_none()


def settings_on_device(db: Transaction, merchant_id: str, device_id: str) -> Sequence[Found]:
    """What is set on the readers of a device, wherever the caller may look: its document holds all of them."""
    return db.execute(
        select(READER_SETTINGS)
        .join(READERS, READERS.c.id == READER_SETTINGS.c.reader_id)
        .where(READERS.c.device_id == device_id, READER_SETTINGS.c.merchant_id == merchant_id)
        .order_by(READER_SETTINGS.c.reader_id)
    ).all()
