"""Who is under maintenance now."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, or_, select

from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.devices.models import DEVICES, READERS
from control_plane.maintenance.models import PERIODS, Subject


def silenced(db: Transaction, merchant_id: str, device_ids: Collection[str]) -> set[str]:
    """Those of the devices that are under maintenance now, by themselves or with their location."""
    wanted = silent_devices(context_of(db).clock.now()).where(
        DEVICES.c.merchant_id == merchant_id, DEVICES.c.id.in_(sorted(device_ids))
    )
    return set(db.execute(wanted).scalars())


def silent_devices(now: datetime) -> Select[str]:
    """Ids of every device that is under maintenance."""
    own = and_(PERIODS.c.subject == Subject.DEVICE, PERIODS.c.object_id == DEVICES.c.id)
    shop = and_(PERIODS.c.subject == Subject.LOCATION, PERIODS.c.object_id == DEVICES.c.location_id)
    return select(DEVICES.c.id).join(
        PERIODS,
        and_(PERIODS.c.merchant_id == DEVICES.c.merchant_id, or_(own, shop), *_running(now)),
    )


def silent_readers(now: datetime) -> Select[str]:
    """Ids of the readers with a period of their own."""
    return select(READERS.c.id).join(
        PERIODS,
        and_(
            PERIODS.c.merchant_id == READERS.c.merchant_id,
            PERIODS.c.subject == Subject.READER,
            PERIODS.c.object_id == READERS.c.id,
            *_running(now),
        ),
    )


def _running(now: datetime) -> list[ColumnElement[bool]]:
    return [PERIODS.c.begins_at <= now, PERIODS.c.ends_at > now]
