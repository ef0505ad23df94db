"""What devices say of themselves: presence, state, telemetry, and that they were heard of at all.

Online is what a person is shown: the device said so, no last will of that connection has stood for ``PAUSE_S``, and
something was heard within ``ONLINE_S``. Never what a broker retained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import and_, func, or_, select, update

from control_plane import live
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.db.upsert import insert as upsert
from control_plane.devices import timeline
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import CONFIGS, DEVICES, READERS, EventSource, Severity
from control_plane.devices.queries import Found
from protocols.cloud.events import Presence, ReportedReader, ReportedState, Telemetry
from protocols.readers.emv import redact_card_numbers

#: A device is silent for at most its telemetry interval of a minute; two and a half of them is gone.
ONLINE_S: Final = 150.0
#: A box that changes networks is back within this time; nobody needs to see it go.
PAUSE_S: Final = 15.0
#: Live topic: a configuration waits to be sent.
DOWNLINK_TOPIC: Final = "downlink"
_ONLINE, _OFFLINE = "online", "offline"


def apply_presence(db: Transaction, device_id: str, presence: Presence, at: datetime) -> None:
    """Note what a device, or its last will, says. One of an older connection says nothing.

    Of one connection the last will is always its end, whatever arrives after it.
    """
    counters = (presence.boot, presence.conn)
    if not all(0 <= counter < 2**63 for counter in counters):
        return
    is_newer = or_(
        DEVICES.c.boot < presence.boot,
        and_(DEVICES.c.boot == presence.boot, DEVICES.c.conn < presence.conn),
    )
    is_same = and_(DEVICES.c.boot == presence.boot, DEVICES.c.conn == presence.conn)
    if presence.state == _ONLINE:
        counts = or_(is_newer, and_(is_same, DEVICES.c.presence != _OFFLINE))
        values: dict[str, Any] = {"last_seen_at": at}
        if presence.agent_version:
            values["agent_version"] = _clean(presence.agent_version)[:100]
    else:
        counts = or_(is_newer, is_same)
        values = {}
    row = db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device_id, counts)
        .values(
            presence=presence.state,
            presence_at=at,
            boot=presence.boot,
            conn=presence.conn,
            **values,
        )
        .returning(DEVICES.c.state)
    ).one_or_none()
    if row is None or presence.state != _ONLINE:
        return
    if row.state is DeviceState.ENROLLED:
        _activate(db, device_id, at)
    show_online(db, [device_id], at)


def show_online(db: Transaction, device_ids: Collection[str], at: datetime) -> None:
    """These were heard of: note it, and show those as online that say so."""
    ids = sorted(device_ids)
    db.execute(
        update(DEVICES)
        .where(
            DEVICES.c.id.in_(ids),
            or_(DEVICES.c.last_seen_at.is_(None), DEVICES.c.last_seen_at < at),
        )
        .values(last_seen_at=at)
    )
    back = db.execute(
        update(DEVICES)
        .where(DEVICES.c.id.in_(ids), DEVICES.c.is_online.is_(False), DEVICES.c.presence == _ONLINE)
        .values(is_online=True, online_since=at)
        .returning(DEVICES.c.id, DEVICES.c.merchant_id)
    ).all()
    for device in back:
        timeline.record(db, device.merchant_id, device.id, "device.online", happened_at=at)


def show_offline(db: Transaction) -> list[str]:
    """Show those as offline whose last will has stood, or who were silent, for too long; their ids."""
    now = context_of(db).clock.now()
    gone = db.execute(
        update(DEVICES)
        .where(
            DEVICES.c.is_online.is_(True),
            or_(
                and_(
                    DEVICES.c.presence == _OFFLINE,
                    DEVICES.c.presence_at < now - timedelta(seconds=PAUSE_S),
                ),
                DEVICES.c.last_seen_at < now - timedelta(seconds=ONLINE_S),
            ),
        )
        .values(is_online=False, online_since=now)
        .returning(DEVICES.c.id, DEVICES.c.merchant_id, DEVICES.c.presence, DEVICES.c.last_seen_at)
    ).all()
    for device in gone:
        timeline.record(
            db, device.merchant_id, device.id, "device.offline",
            severity=Severity.WARNING,
            facts={"because": "last_will" if device.presence == _OFFLINE else "silence"},
        )  # fmt: skip
    return [device.id for device in gone]


def anyone_to_show_offline(db: Transaction, now: datetime) -> bool:
    """Whether ``show_offline`` would find somebody; cheap, and only reads."""
    return (
        db.execute(
            select(func.count())
            .select_from(DEVICES)
            .where(
                DEVICES.c.is_online.is_(True),
                or_(
                    and_(
                        DEVICES.c.presence == _OFFLINE,
                        DEVICES.c.presence_at < now - timedelta(seconds=PAUSE_S),
                    ),
                    DEVICES.c.last_seen_at < now - timedelta(seconds=ONLINE_S),
                ),
            )
        ).scalar_one()
        > 0
    )


def apply_telemetry(db: Transaction, device_id: str, telemetry: Telemetry, at: datetime) -> None:
    """Keep the newest measurements. Floats become text: our JSON has none."""
    measured = {name: _exact(value) for name, value in msgspec.to_builtins(telemetry).items()}
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device_id)
        .values(telemetry=_clean(measured), telemetry_at=at)
    )


def apply_state(db: Transaction, device_id: str, state: ReportedState, at: datetime) -> None:
    """Take over what a device reports of itself and its readers. An older report than the newest counts for nothing."""
    device = db.execute(
        select(DEVICES.c.merchant_id, DEVICES.c.location_id, DEVICES.c.reported, DEVICES.c.boot)
        .where(DEVICES.c.id == device_id)
        .with_for_update()
    ).one_or_none()
    if device is None or _is_older(state, device.reported):
        return
    report = _clean(msgspec.to_builtins(state))
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device_id)
        .values(
            reported=report,
            reported_at=at,
            agent_version=report["agent_version"][:100],
            **{name: report[name][:255] for name in ("hostname", "platform") if report[name]},
        )
    )
    _apply_readers(db, device_id, device, state.readers, at)
    _send_config_again(db, device_id, state)
    timeline.tell(db, device.merchant_id, device_id=device_id)


def _send_config_again(db: Transaction, device_id: str, state: ReportedState) -> None:
    """A device that has another configuration in force, and did not reject ours, may not have heard of it."""
    if state.config.status in ("rejected", "rolled_back", "applying"):
        return
    drifted = changed(
        db,
        update(CONFIGS)
        .where(CONFIGS.c.device_id == device_id, CONFIGS.c.hash != state.config.hash)
        .values(must_send=True),
    )
    if drifted:
        live.publish(db, DOWNLINK_TOPIC, key=DOWNLINK_TOPIC)


def _apply_readers(
    db: Transaction,
    device_id: str,
    device: Found,
    reported: Collection[ReportedReader],
    at: datetime,
) -> None:
    ids = [one.reader_id for one in reported]
    known = {row.id: row for row in db.execute(select(READERS).where(READERS.c.id.in_(ids))).all()}
    for one in reported:
        before = known.get(one.reader_id)
        if before is not None and before.device_id != device_id:
            timeline.record(
                db, device.merchant_id, device_id, "reader.id_taken",
                "A reader was reported under an id that belongs to another device.",
                severity=Severity.ERROR, facts={"reader_id": one.reader_id},
            )  # fmt: skip
            continue
        values = _reader_values(one, at)
        statement = upsert(db, READERS).values(
            id=one.reader_id,
            merchant_id=device.merchant_id,
            location_id=device.location_id,
            device_id=device_id,
            first_seen_at=at,
            **values,
        )
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["id"], set_=values, where=READERS.c.device_id == device_id
            )
        )
        if before is None:
            _tell_reader(db, device, device_id, one, "reader.seen", at)
        elif (before.state, before.gone_at) != (one.state, None):
            _tell_reader(db, device, device_id, one, f"reader.{one.state}", at)
    gone = db.execute(
        update(READERS)
        .where(
            READERS.c.device_id == device_id, READERS.c.id.not_in(ids), READERS.c.gone_at.is_(None)
        )
        .values(gone_at=at)
        .returning(READERS.c.id)
    ).scalars()
    for reader_id in list(gone):
        timeline.record(
            db, device.merchant_id, device_id, "reader.gone", reader_id=reader_id, happened_at=at
        )


def _tell_reader(
    db: Transaction,
    device: Found,
    device_id: str,
    reader: ReportedReader,
    kind: str,
    at: datetime,
) -> None:
    timeline.record(
        db, device.merchant_id, device_id, kind, reader.reason,
        source=EventSource.DEVICE, reader_id=reader.reader_id, happened_at=at,
        severity=Severity.WARNING if reader.state in ("failing", "locked") else Severity.INFO,
    )  # fmt: skip


def _reader_values(reader: ReportedReader, at: datetime) -> dict[str, Any]:
    values = {
        "name": reader.name[:200],
        "profile": reader.profile[:100],
        "address": reader.address[:300],
        "vendor": _short(reader.vendor),
        "model": _short(reader.model),
        "serial_number": _short(reader.serial_number),
        "terminal_id": _short(reader.terminal_id, 100),
        "software_version": _short(reader.software_version),
        "state": reader.state,
        "reason": reader.reason[:200],
        "health": reader.health,
    }
    cleaned: dict[str, Any] = _clean(values)
    return cleaned | {"since": moment(reader.since_ts), "reported_at": at, "gone_at": None}


def _activate(db: Transaction, device_id: str, at: datetime) -> None:
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device_id, DEVICES.c.state == DeviceState.ENROLLED)
        .values(state=DeviceState.ACTIVE, state_since=at)
    )


def _is_older(state: ReportedState, before: Mapping[str, Any]) -> bool:
    """Of two reports of one boot, the older one by the device's own time; a lower boot counter is older."""
    boot = before.get("boot")
    if not isinstance(boot, int):
        return False
    return state.boot < boot or (state.boot == boot and state.ts < str(before.get("ts", "")))


def moment(text: str) -> datetime | None:
    """A device's RFC 3339 time; None for what is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _short(text: str | None, length: int = 200) -> str | None:
    return None if text is None else text[:length]


def _exact(value: object) -> object:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    return value


def _clean(value: Any) -> Any:
    """Without card numbers, and without what databases do not store."""
    match value:
        case str():
            return redact_card_numbers(value.replace("\x00", ""))
        case dict():
            return {_clean(key): _clean(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_clean(inner) for inner in value]
        case _:
            return value
