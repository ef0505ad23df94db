"""What devices say of themselves: presence, state, telemetry, and that they were heard of at all.

Online is what a person is shown: the device said so, no last will of that connection has stood for ``PAUSE_S``, and
something was heard within ``ONLINE_S``. Never what a broker retained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import and_, bindparam, func, or_, select, update

from control_plane import events, live
from control_plane.db.unit_of_work import Transaction, context_of
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


@dataclass(frozen=True, slots=True)
class DevicesPlaced:
    """Domain event: these devices have other readers, or another place, than before."""

    merchant_id: str
    device_ids: frozenset[str]


def apply_presences(db: Transaction, said: Mapping[str, Sequence[Presence]], at: datetime) -> None:
    """Note what devices, or their last wills, say. A word of an older connection than the newest says nothing.

    Of one connection the last will is always its end, whatever arrives after it.
    """
    newest = {
        device_id: max(usable, key=_standing)
        for device_id, words in said.items()
        if (usable := [one for one in words if all(0 <= n < 2**63 for n in (one.boot, one.conn))])
    }
    rows = db.execute(
        select(DEVICES.c.id, DEVICES.c.boot, DEVICES.c.conn, DEVICES.c.presence, DEVICES.c.state)
        .where(DEVICES.c.id.in_(sorted(newest)))
        .order_by(DEVICES.c.id)
        .with_for_update()
    ).all()
    counting = [
        row
        for row in rows
        if _standing(newest[row.id]) >= (row.boot, row.conn, row.presence == _OFFLINE)
    ]
    if not counting:
        return
    db.execute(
        update(DEVICES).where(DEVICES.c.id == bindparam("device")).values(presence_at=at),
        [
            {
                "device": row.id,
                "presence": newest[row.id].state,
                "boot": newest[row.id].boot,
                "conn": newest[row.id].conn,
            }
            for row in counting
        ],
    )
    online = [row for row in counting if newest[row.id].state == _ONLINE]
    versions = [
        {"device": row.id, "agent_version": _clean(newest[row.id].agent_version)[:100]}
        for row in online
        if newest[row.id].agent_version
    ]
    if versions:
        db.execute(update(DEVICES).where(DEVICES.c.id == bindparam("device")), versions)
    if fresh := [row.id for row in online if row.state is DeviceState.ENROLLED]:
        _activate(db, fresh, at)
    if online:
        show_online(db, [row.id for row in online], at)


def _standing(presence: Presence) -> tuple[int, int, bool]:
    """Greater counts for more."""
    return presence.boot, presence.conn, presence.state == _OFFLINE


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
    timeline.record_many(
        db,
        [
            timeline.columns(device.merchant_id, device.id, "device.online", happened_at=at)
            for device in back
        ],
    )


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
    timeline.record_many(
        db,
        [
            timeline.columns(
                device.merchant_id, device.id, "device.offline",
                severity=Severity.WARNING, happened_at=now,
                facts={"because": "last_will" if device.presence == _OFFLINE else "silence"},
            )
            for device in gone
        ],
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


def apply_telemetry(db: Transaction, said: Mapping[str, Telemetry], at: datetime) -> None:
    """Keep the newest measurements of devices. Floats become text: our JSON has none."""
    db.execute(
        update(DEVICES).where(DEVICES.c.id == bindparam("device")).values(telemetry_at=at),
        [
            {"device": device_id, "telemetry": _clean(_exact(msgspec.to_builtins(one)))}
            for device_id, one in sorted(said.items())
        ],
    )


def apply_state(db: Transaction, device_id: str, state: ReportedState, at: datetime) -> None:
    """Take over what one device reports; see ``apply_states``."""
    apply_states(db, {device_id: state}, at)


def apply_states(db: Transaction, said: Mapping[str, ReportedState], at: datetime) -> None:
    """Take over what devices report of themselves and their readers.

    An older report than the newest counts for nothing.
    """
    rows = db.execute(
        select(
            DEVICES.c.id, DEVICES.c.merchant_id, DEVICES.c.location_id,
            DEVICES.c.reported, DEVICES.c.boot,
        )
        .where(DEVICES.c.id.in_(sorted(said)))
        .order_by(DEVICES.c.id)
        .with_for_update()
    ).all()  # fmt: skip
    devices = {row.id: row for row in rows if not _is_older(said[row.id], row.reported)}
    if not devices:
        return
    for device_id in devices:
        report = _clean(msgspec.to_builtins(said[device_id]))
        named = {name: report[name][:255] for name in ("hostname", "platform") if report[name]}
        db.execute(
            update(DEVICES)
            .where(DEVICES.c.id == device_id)
            .values(
                reported=report,
                reported_at=at,
                agent_version=report["agent_version"][:100],
                **named,
            )
        )
    fresh = {device_id: said[device_id] for device_id in devices}
    _apply_readers(db, devices, fresh, at)
    _send_configs_again(db, fresh)
    for device in devices.values():
        timeline.tell(db, device.merchant_id, device_id=device.id)


def _send_configs_again(db: Transaction, said: Mapping[str, ReportedState]) -> None:
    """A device that has another configuration in force, and did not reject ours, may not have heard of it."""
    hashes = {
        device_id: state.config.hash
        for device_id, state in said.items()
        if state.config.status not in ("rejected", "rolled_back", "applying")
    }
    rows = db.execute(
        select(CONFIGS.c.device_id, CONFIGS.c.hash).where(CONFIGS.c.device_id.in_(sorted(hashes)))
    )
    drifted = [row.device_id for row in rows if row.hash != hashes[row.device_id]]
    if drifted:
        db.execute(update(CONFIGS).where(CONFIGS.c.device_id.in_(drifted)).values(must_send=True))
        live.publish(db, DOWNLINK_TOPIC, key=DOWNLINK_TOPIC)


def _apply_readers(
    db: Transaction,
    devices: Mapping[str, Found],
    said: Mapping[str, ReportedState],
    at: datetime,
) -> None:
    reported = [(device_id, one) for device_id, state in said.items() for one in state.readers]
    ids = {one.reader_id for _, one in reported}
    rows = db.execute(
        select(READERS).where(
            or_(READERS.c.id.in_(sorted(ids)), READERS.c.device_id.in_(sorted(said)))
        )
    ).all()
    known = {row.id: row for row in rows}
    owners = {row.id: row.device_id for row in rows}
    told: list[dict[str, Any]] = []
    placed: dict[str, set[str]] = {}
    written: dict[str, dict[str, Any]] = {}
    for device_id, one in reported:
        device = devices[device_id]
        if owners.setdefault(one.reader_id, device_id) != device_id:
            timeline.record(
                db, device.merchant_id, device_id, "reader.id_taken",
                "A reader was reported under an id that belongs to another device.",
                severity=Severity.ERROR, facts={"reader_id": one.reader_id},
            )  # fmt: skip
            continue
        before = known.get(one.reader_id)
        values = _reader_values(one, at)
        written[one.reader_id] = {
            "id": one.reader_id,
            "merchant_id": device.merchant_id,
            "location_id": device.location_id,
            "device_id": device_id,
            "first_seen_at": at,
            **values,
        }
        if before is None or before.profile != one.profile[:100]:
            placed.setdefault(device.merchant_id, set()).add(device_id)
        if before is None:
            told.append(_about_reader(device, one, "reader.seen", at))
        elif (before.state, before.gone_at) != (one.state, None):
            told.append(_about_reader(device, one, f"reader.{one.state}", at))
    if written:
        statement = upsert(db, READERS)
        fixed = {"id", "merchant_id", "location_id", "device_id", "first_seen_at"}
        columns = next(iter(written.values())).keys() - fixed
        db.execute(
            statement.on_conflict_do_update(
                index_elements=["id"],
                set_={name: statement.excluded[name] for name in sorted(columns)},
                where=READERS.c.device_id == statement.excluded.device_id,
            ),
            list(written.values()),
        )
    gone = [
        row
        for row in rows
        if row.gone_at is None
        and row.device_id in said
        and row.id not in {one.reader_id for one in said[row.device_id].readers}
    ]
    if gone:
        db.execute(
            update(READERS).where(READERS.c.id.in_([row.id for row in gone])).values(gone_at=at)
        )
        told += [
            timeline.columns(
                row.merchant_id, row.device_id, "reader.gone", reader_id=row.id, happened_at=at
            )
            for row in gone
        ]
    timeline.record_many(db, told)
    for merchant_id, device_ids in placed.items():
        events.publish(db, DevicesPlaced(merchant_id, frozenset(device_ids)))


def _about_reader(device: Found, reader: ReportedReader, kind: str, at: datetime) -> dict[str, Any]:
    return timeline.columns(
        device.merchant_id, device.id, kind, redact_card_numbers(reader.reason),
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


def _activate(db: Transaction, device_ids: Collection[str], at: datetime) -> None:
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id.in_(device_ids), DEVICES.c.state == DeviceState.ENROLLED)
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
