"""Every SELECT that shows alerts to people."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Select, func, select

from control_plane.alerts.models import ALERTS
from control_plane.alerts.stepping import AlertState
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import DEVICES, READERS


def alerts_of(scope: Scope, states: Collection[AlertState] = ()) -> Select[*tuple[Any, ...]]:
    """Alerts in these states, or in all, with the names of box and reader."""
    wanted = select(
        ALERTS, DEVICES.c.name.label("device_name"), READERS.c.name.label("reader_name")
    ).select_from(
        ALERTS.outerjoin(DEVICES, DEVICES.c.id == ALERTS.c.device_id).outerjoin(
            READERS, READERS.c.id == ALERTS.c.object_id
        )
    )
    wanted = wanted.where(*scope.conditions(ALERTS))
    return wanted.where(ALERTS.c.state.in_(sorted(states))) if states else wanted


def count_open(db: Transaction, scope: Scope) -> int:
    """Alerts that nobody looks after yet."""
    statement = (
        select(func.count())
        .select_from(ALERTS)
        .where(*scope.conditions(ALERTS), ALERTS.c.state == AlertState.OPEN)
    )
    return int(db.execute(statement).scalar_one())
