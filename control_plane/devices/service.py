"""How devices change and go; how they come is in ``enrollment``. Each function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from control_plane import events, live
from control_plane.accounts import queries as accounts
from control_plane.audit.actor import Actor
from control_plane.audit.service import record as record_audit
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert as upsert
from control_plane.devices import queries, timeline
from control_plane.devices.errors import LocationUnknown, ReplacementNotPossible
from control_plane.devices.lifecycle import DeviceStep, advance
from control_plane.devices.models import CERTIFICATES, CONFIGS, DEVICES, READERS
from control_plane.devices.presence import DOWNLINK_TOPIC, DevicesPlaced
from control_plane.devices.queries import Found
from control_plane.errors import NotFound
from protocols.cloud.configuration import document_hash

#: Live topic: who may connect to the broker has changed. Brokers look at the database whenever they hear it.
ACCESS_TOPIC: Final = "broker:access"
_ENDINGS: Final = (DeviceStep.REPLACE, DeviceStep.REVOKE, DeviceStep.RETIRE)


@dataclass(frozen=True, slots=True)
class DeviceEnded:
    """Domain event: nothing more will come from this device. ``step`` is replace, revoke or retire."""

    device_id: str
    merchant_id: str
    step: DeviceStep


def suspend(db: Transaction, scope: Scope, device_id: str, *, by: Actor) -> None:
    """Take nothing in from a device until it is resumed. Raises NotFound, DeviceNotInState."""
    _step(db, scope, device_id, DeviceStep.SUSPEND, AuditTag.DEVICE_SUSPEND, by)


def resume(db: Transaction, scope: Scope, device_id: str, *, by: Actor) -> None:
    """Let a suspended device work again. Raises NotFound, DeviceNotInState."""
    _step(db, scope, device_id, DeviceStep.RESUME, AuditTag.DEVICE_RESUME, by)


def revoke(db: Transaction, scope: Scope, device_id: str, *, by: Actor) -> None:
    """Its certificates count no more and its connection is cut within seconds. Raises NotFound, DeviceNotInState."""
    _step(db, scope, device_id, DeviceStep.REVOKE, AuditTag.DEVICE_REVOKE, by)


def retire(db: Transaction, scope: Scope, device_id: str, *, by: Actor) -> None:
    """The device is out of service for good. Raises NotFound, DeviceNotInState."""
    _step(db, scope, device_id, DeviceStep.RETIRE, AuditTag.DEVICE_RETIRE, by)


def replace(db: Transaction, scope: Scope, old_id: str, new_id: str, *, by: Actor) -> None:
    """``new`` takes the name, place and configuration of ``old``, which ends. Raises NotFound, DeviceNotInState,
    ReplacementNotPossible.
    """
    old = device_of(db, scope, old_id)
    new = device_of(db, scope, new_id)
    if old_id == new_id or not new.state.may_connect:
        raise ReplacementNotPossible(
            old_id=old_id, new_id=new_id, reason=f"it is {new.state.value}"
        )
    take_place(db, old_id, new_id, scope.merchant_id)
    record_audit(
        db, scope.merchant_id, by, AuditTag.DEVICE_REPLACE,
        object_id=old_id, object_name=old.name, after={"replaced_by": new_id},
    )  # fmt: skip


def change(
    db: Transaction,
    scope: Scope,
    device_id: str,
    *,
    by: Actor,
    name: str | None = None,
    location_id: str | None = None,
) -> None:
    """Rename or move a device; its readers move with it. Raises NotFound, LocationUnknown."""
    device = device_of(db, scope, device_id)
    wanted = {"name": name, "location_id": location_id}
    new = {key: value for key, value in wanted.items() if value and value != getattr(device, key)}
    if not new:
        return
    if "location_id" in new:
        location_of(db, scope, new["location_id"])
        db.execute(
            update(READERS)
            .where(READERS.c.device_id == device_id)
            .values(location_id=new["location_id"])
        )
    before = {key: getattr(device, key) for key in new}
    db.execute(update(DEVICES).where(DEVICES.c.id == device_id).values(**new))
    timeline.record(db, scope.merchant_id, device_id, "device.changed", facts=new)
    if "location_id" in new:
        events.publish(db, DevicesPlaced(scope.merchant_id, frozenset({device_id})))
    record_audit(
        db, scope.merchant_id, by, AuditTag.DEVICE_UPDATE,
        object_id=device_id, object_name=new.get("name") or device.name, before=before, after=new,
    )  # fmt: skip


def desire_config(
    db: Transaction, scope: Scope, device_id: str, document: dict[str, object], *, by: Actor
) -> int:
    """What should be in force on a device from now on; its version. The device is told after the commit."""
    device = device_of(db, scope, device_id)
    (version,) = desire_configs(db, scope.merchant_id, {device_id: Wanted(document)}).values()
    record_audit(
        db, scope.merchant_id, by, AuditTag.DEVICE_CONFIG_PUSH,
        object_id=device_id, object_name=device.name, after={"version": version},
    )  # fmt: skip
    return version


@dataclass(frozen=True, slots=True)
class Wanted:
    """A configuration that a device is to have, and the revision of the layers that it was made from."""

    document: dict[str, object]
    revision: int = 0


def desire_configs(
    db: Transaction, merchant_id: str, wanted: Mapping[str, Wanted]
) -> dict[str, int]:
    """What should be in force on devices from now on; the version of each. They are told after the commit."""
    now = context_of(db).clock.now()
    rows = [
        {
            "device_id": device_id,
            "merchant_id": merchant_id,
            "version": 1,
            "hash": document_hash(one.document),
            "document": one.document,
            "revision": one.revision,
            "changed_at": now,
            "must_send": True,
        }
        for device_id, one in sorted(wanted.items())
    ]
    if not rows:
        return {}
    statement = upsert(db, CONFIGS)
    new = {
        name: statement.excluded[name]
        for name in ("hash", "document", "revision", "changed_at", "must_send")
    }
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["device_id"], set_=new | {"version": CONFIGS.c.version + 1}
        ),
        rows,
    )
    versions = dict(
        db.execute(
            select(CONFIGS.c.device_id, CONFIGS.c.version).where(
                CONFIGS.c.device_id.in_(sorted(wanted))
            )
        ).all()
    )
    live.publish(db, DOWNLINK_TOPIC, key=DOWNLINK_TOPIC)
    return versions


def take_place(db: Transaction, old_id: str, new_id: str, merchant_id: str) -> None:
    """Give a device the name, place and configuration of another, and end that. Raises NotFound, DeviceNotInState."""
    old = _move(db, old_id, merchant_id, DeviceStep.REPLACE, replaced_by_id=new_id)
    now = context_of(db).clock.now()
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == new_id)
        .values(name=old.name, location_id=old.location_id, replaces_id=old_id)
    )
    config = queries.desired_config(db, old_id)
    if config is not None:
        values = {
            "device_id": new_id,
            "merchant_id": merchant_id,
            "version": 1,
            "hash": config.hash,
            "document": config.document,
            "revision": config.revision,
            "changed_at": now,
            "must_send": True,
        }
        # A spare box may have had a configuration of its own: a greater version tells it apart.
        taken = {
            name: values[name]
            for name in ("hash", "document", "revision", "changed_at", "must_send")
        }
        db.execute(
            upsert(db, CONFIGS)
            .values(values)
            .on_conflict_do_update(
                index_elements=["device_id"], set_=taken | {"version": CONFIGS.c.version + 1}
            )
        )
        live.publish(db, DOWNLINK_TOPIC, key=DOWNLINK_TOPIC)
    timeline.record(db, merchant_id, new_id, "device.replaces", facts={"device_id": old_id})


def _step(
    db: Transaction, scope: Scope, device_id: str, step: DeviceStep, tag: AuditTag, by: Actor
) -> None:
    device_of(db, scope, device_id)
    device = _move(db, device_id, scope.merchant_id, step)
    record_audit(
        db, scope.merchant_id, by, tag, object_id=device_id, object_name=device.name,
        before={"state": device.state.value},
    )  # fmt: skip


def _move(
    db: Transaction, device_id: str, merchant_id: str, step: DeviceStep, **values: object
) -> Found:
    """Take a step with the device's row locked; the device as it was before."""
    device = queries.device_by_id(db, device_id, lock=True)
    if device is None or device.merchant_id != merchant_id:
        raise NotFound("device", device_id)
    state = advance(device.state, step, device_id=device_id)
    now = context_of(db).clock.now()
    if step in _ENDINGS:
        values |= {"is_online": False, "online_since": now}
        _end(db, device_id, now)
        events.publish(db, DeviceEnded(device_id, merchant_id, step))
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device_id)
        .values(state=state, state_since=now, **values)
    )
    timeline.record(
        db, merchant_id, device_id, f"device.{state.value}", facts={"before": device.state.value}
    )
    live.publish(db, ACCESS_TOPIC, key=ACCESS_TOPIC)
    return device


def _end(db: Transaction, device_id: str, now: datetime) -> None:
    db.execute(
        update(CERTIFICATES)
        .where(CERTIFICATES.c.device_id == device_id, CERTIFICATES.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    db.execute(
        update(READERS)
        .where(READERS.c.device_id == device_id, READERS.c.gone_at.is_(None))
        .values(gone_at=now)
    )


def device_of(db: Transaction, scope: Scope, device_id: str) -> Found:
    """A device that this scope may see. Raises NotFound."""
    device = queries.device(db, scope, device_id)
    if device is None:
        raise NotFound("device", device_id)
    return device


def location_of(db: Transaction, scope: Scope, location_id: str) -> Found:
    """A location that this scope may see. Raises LocationUnknown."""
    found = db.execute(
        accounts.LOCATIONS.select().where(
            accounts.LOCATIONS.c.id == location_id,
            accounts.LOCATIONS.c.merchant_id == scope.merchant_id,
        )
    ).one_or_none()
    if found is None or not scope.covers(location_id):
        raise LocationUnknown(field="location_id", location_id=location_id)
    return found
