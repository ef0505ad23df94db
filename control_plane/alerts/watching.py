"""Looks at every device and reader, and takes each alert one step further."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from control_plane.accounts.caller import Caller
from control_plane.alerts.kinds import KINDS, Kind
from control_plane.alerts.models import ALERTS
from control_plane.alerts.stepping import AlertState, Reading, Standing, step
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.maintenance.queries import silent_devices, silent_readers
from protocols.ids import new_id

_CHANGE: Final = (
    update(ALERTS)
    .where(ALERTS.c.id == bindparam("alert_id"), ALERTS.c.state == bindparam("was"))
    .values(
        {name: bindparam(f"new_{name}") for name in ("state", "changed_at", "well_since", "raised")}
    )
)


def look(db: Connection) -> int:
    """Take every alert one step further; how many were opened. A few statements a kind, however many devices."""
    now = context_of(db).clock.now()
    silent = set(db.execute(silent_devices(now)).scalars())
    silent |= set(db.execute(silent_readers(now)).scalars())
    return sum(_look_at(db, kind, silent) for kind in KINDS)


def _look_at(db: Connection, kind: Kind, silent: set[str]) -> int:
    now = context_of(db).clock.now()
    unwell = {row.object_id: row for row in db.execute(kind.unwell(now))}
    known = {
        row.object_id: row for row in db.execute(select(ALERTS).where(ALERTS.c.kind == kind.name))
    }
    new: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    opened: int = 0
    for object_id in unwell.keys() | known.keys():
        found, row = unwell.get(object_id), known.get(object_id)
        if found is not None and {object_id, found.device_id} & silent:
            continue
        before = None
        if row is not None:
            before = Standing(row.state, row.changed_at, row.well_since, row.raised)
        after = step(before, _reading(found), now, kind.patience)
        if after is None or after == before:
            continue
        opened += after.raised - (before.raised if before is not None else 0)
        values = {
            "state": after.state,
            "changed_at": after.changed_at,
            "well_since": after.well_since,
            "raised": after.raised,
        }
        if row is not None:
            change = {f"new_{name}": value for name, value in values.items()}
            changes.append({"alert_id": row.id, "was": row.state, **change})
        elif found is not None:
            place = {
                name: getattr(found, name)
                for name in ("merchant_id", "location_id", "device_id", "object_id")
            }
            new.append({"id": new_id("alr"), "kind": kind.name, **place, **values})
    if new:
        db.execute(insert(ALERTS), new)
    if changes:
        db.execute(_CHANGE, changes)
    return opened


def acknowledge(db: Transaction, caller: Caller, alert_ids: Collection[str]) -> list[str]:
    """The caller looks after these; the ids of those within reach that were open."""
    taken = list(
        db.execute(
            update(ALERTS)
            .where(
                *caller.scope.conditions(ALERTS),
                ALERTS.c.id.in_(sorted(alert_ids)),
                ALERTS.c.state == AlertState.OPEN,
            )
            .values(state=AlertState.ACKNOWLEDGED, changed_at=context_of(db).clock.now())
            .returning(ALERTS.c.id, ALERTS.c.kind)
        ).all()
    )
    for row in taken:
        record(
            db,
            caller.scope.merchant_id,
            caller.actor,
            AuditTag.ALERT_ACKNOWLEDGE,
            object_id=row.id,
            object_name=row.kind,
        )
    return [row.id for row in taken]


def _reading(found: Any) -> Reading:  # a row of Kind.unwell
    if found is None:
        return Reading.WELL
    return Reading.WRONG if found.is_wrong else Reading.BETWEEN
