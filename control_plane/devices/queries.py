"""Reads of devices and readers. What takes a Scope is for people; the rest is for the device link and the broker."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import (
    CERTIFICATES,
    CODES,
    CONFIGS,
    DEVICES,
    EVENTS,
    READERS,
)

Found: TypeAlias = Row[*tuple[Any, ...]]

#: Most rows on one page.
PAGE_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices; None and empty leave a column alone."""

    text: str = ""
    location_id: str | None = None
    state: DeviceState | None = None
    is_online: bool | None = None
    with_ended: bool = False


@dataclass(frozen=True, slots=True)
class ReaderFilter:
    """Which readers; None and empty leave a column alone."""

    text: str = ""
    location_id: str | None = None
    device_id: str | None = None
    profile: str | None = None
    state: str | None = None
    is_online: bool | None = None
    with_gone: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect to the broker, and which certificates count no more."""

    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    revoked: tuple[tuple[str, datetime], ...]


#: Columns of a reader with what its device says about reach.
_READER_COLUMNS: Final[tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]] = (
    *READERS.c,
    DEVICES.c.name.label("device_name"),
    DEVICES.c.state.label("device_state"),
    DEVICES.c.is_online.label("device_is_online"),
    DEVICES.c.online_since.label("device_online_since"),
    DEVICES.c.last_seen_at.label("device_last_seen_at"),
    DEVICES.c.reported.label("device_reported"),
    CONFIGS.c.version.label("desired_version"),
    CONFIGS.c.hash.label("desired_hash"),
)


def device(db: Transaction, scope: Scope, device_id: str) -> Found | None:
    """One device, if this scope may see it."""
    return db.execute(
        select(DEVICES).where(DEVICES.c.id == device_id, *scope.conditions(DEVICES))
    ).one_or_none()


def device_by_id(db: Transaction, device_id: str, *, lock: bool = False) -> Found | None:
    """One device, whoever it belongs to."""
    statement = select(DEVICES).where(DEVICES.c.id == device_id)
    return db.execute(statement.with_for_update() if lock else statement).one_or_none()


def senders(db: Transaction, device_ids: Collection[str]) -> Sequence[Found]:
    """Whose messages they are and whether they may speak, of devices that exist."""
    return db.execute(
        select(
            DEVICES.c.id, DEVICES.c.merchant_id, DEVICES.c.location_id, DEVICES.c.cell,
            DEVICES.c.state,
        ).where(DEVICES.c.id.in_(sorted(device_ids)))
    ).all()  # fmt: skip


def raise_epoch(db: Transaction, device_id: str, epoch: int) -> None:
    """Note the newest outbox that a device writes."""
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device_id, DEVICES.c.epoch < epoch)
        .values(epoch=epoch)
    )


def devices_of(scope: Scope, wanted: DeviceFilter) -> Select[*tuple[Any, ...]]:
    """Devices that a filter finds."""
    return select(DEVICES).where(*scope.conditions(DEVICES), *_device_conditions(wanted))


def devices(
    db: Transaction,
    scope: Scope,
    wanted: DeviceFilter,
    *,
    after: tuple[str, str] | None = None,
    limit: int = 50,
) -> Sequence[Found]:
    """A page of devices by name; ``after`` is the (name, id) of the row before."""
    statement = devices_of(scope, wanted).where(*_after(DEVICES, after))
    return db.execute(
        statement.order_by(DEVICES.c.name, DEVICES.c.id).limit(min(limit, PAGE_LIMIT))
    ).all()


def reader(db: Transaction, scope: Scope, reader_id: str) -> Found | None:
    """One reader with the reach of its device (``device_…``) and the desired configuration (``desired_…``)."""
    return db.execute(_readers(scope).where(READERS.c.id == reader_id)).one_or_none()


def readers_of(scope: Scope, wanted: ReaderFilter) -> Select[*tuple[Any, ...]]:
    """Readers that a filter finds, with the columns of ``reader``."""
    return _readers(scope).where(*_reader_conditions(wanted))


def readers(
    db: Transaction,
    scope: Scope,
    wanted: ReaderFilter,
    *,
    after: tuple[str, str] | None = None,
    limit: int = 50,
) -> Sequence[Found]:
    """A page of readers by name, with the columns of ``reader``; ``after`` is the (name, id) of the row before."""
    statement = readers_of(scope, wanted).where(*_after(READERS, after))
    return db.execute(
        statement.order_by(READERS.c.name, READERS.c.id).limit(min(limit, PAGE_LIMIT))
    ).all()


def count_readers(db: Transaction, scope: Scope, wanted: ReaderFilter) -> int:
    """How many readers a filter finds."""
    statement = (
        select(func.count())
        .select_from(READERS.join(DEVICES, DEVICES.c.id == READERS.c.device_id))
        .where(*scope.conditions(READERS), *_reader_conditions(wanted))
    )
    return db.execute(statement).scalar_one()


def timeline_of(
    scope: Scope, *, device_id: str | None = None, reader_id: str | None = None
) -> Select[*tuple[Any, ...]]:
    """What happened to a device or a reader. That the scope may see it must be known already."""
    statement = select(EVENTS).where(EVENTS.c.merchant_id == scope.merchant_id)
    if device_id is not None:
        statement = statement.where(EVENTS.c.device_id == device_id)
    if reader_id is not None:
        statement = statement.where(EVENTS.c.reader_id == reader_id)
    return statement


def timeline(
    db: Transaction,
    scope: Scope,
    *,
    device_id: str | None = None,
    reader_id: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[Found]:
    """The same, newest first; ``before`` is the id of the last row seen."""
    statement = timeline_of(scope, device_id=device_id, reader_id=reader_id)
    if before is not None:
        statement = statement.where(EVENTS.c.id < before)
    return db.execute(statement.order_by(EVENTS.c.id.desc()).limit(min(limit, PAGE_LIMIT))).all()


def codes_of(scope: Scope) -> Select[*tuple[Any, ...]]:
    """Enrolment codes."""
    return select(CODES).where(*scope.conditions(CODES))


def codes(db: Transaction, scope: Scope, *, limit: int = 100) -> Sequence[Found]:
    """Enrolment codes, newest first."""
    return db.execute(
        codes_of(scope).order_by(CODES.c.created_at.desc(), CODES.c.id).limit(limit)
    ).all()


def code(db: Transaction, scope: Scope, code_id: str) -> Found | None:
    """One enrolment code."""
    return db.execute(
        select(CODES).where(CODES.c.id == code_id, *scope.conditions(CODES))
    ).one_or_none()


def code_by_hash(db: Transaction, hashes: Sequence[str]) -> Found | None:
    """The enrolment code with this keyed hash."""
    return db.execute(select(CODES).where(CODES.c.code_hash.in_(hashes))).one_or_none()


def certificates(db: Transaction, device_id: str) -> Sequence[Found]:
    """All certificates of a device, newest first."""
    return db.execute(
        select(CERTIFICATES)
        .where(CERTIFICATES.c.device_id == device_id)
        .order_by(CERTIFICATES.c.issued_at.desc())
    ).all()


def public_keys(db: Transaction, device_id: str, now: datetime) -> list[str]:
    """Keys (PEM) of the certificates of a device that still count."""
    return list(
        db.execute(
            select(CERTIFICATES.c.public_key)
            .where(
                CERTIFICATES.c.device_id == device_id,
                CERTIFICATES.c.revoked_at.is_(None),
                CERTIFICATES.c.not_after > now,
            )
            .distinct()
        ).scalars()
    )


def desired_config(db: Transaction, device_id: str) -> Found | None:
    """What should be in force on a device."""
    return db.execute(select(CONFIGS).where(CONFIGS.c.device_id == device_id)).one_or_none()


def desired_hashes(db: Transaction, device_ids: Collection[str]) -> dict[str, str]:
    """Hashes of what should be in force, by device; none where nothing is wanted."""
    rows = db.execute(
        select(CONFIGS.c.device_id, CONFIGS.c.hash).where(
            CONFIGS.c.device_id.in_(sorted(device_ids))
        )
    )
    return {row.device_id: row.hash for row in rows}


def access(db: Transaction, now: datetime) -> Access:
    """What the broker must let in and keep out now. Ended devices count as long as they have a certificate."""
    ends = select(CERTIFICATES.c.device_id).where(CERTIFICATES.c.not_after > now).distinct()
    rows = db.execute(
        select(DEVICES.c.id, DEVICES.c.state).where(DEVICES.c.id.in_(ends)).order_by(DEVICES.c.id)
    ).all()
    revoked = db.execute(
        select(CERTIFICATES.c.serial, CERTIFICATES.c.revoked_at)
        .where(CERTIFICATES.c.revoked_at.is_not(None), CERTIFICATES.c.not_after > now)
        .order_by(CERTIFICATES.c.serial)
    ).all()
    return Access(
        allowed=tuple(row.id for row in rows if row.state.may_connect),
        denied=tuple(row.id for row in rows if not row.state.may_connect),
        revoked=tuple((row.serial, row.revoked_at) for row in revoked),
    )


def _readers(scope: Scope) -> Select[*tuple[Any, ...]]:
    return (
        select(*_READER_COLUMNS)
        .select_from(
            READERS.join(DEVICES, DEVICES.c.id == READERS.c.device_id).outerjoin(
                CONFIGS, CONFIGS.c.device_id == DEVICES.c.id
            )
        )
        .where(*scope.conditions(READERS))
    )


def _device_conditions(wanted: DeviceFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.text:
        columns = (DEVICES.c.name, DEVICES.c.id, DEVICES.c.serial_number, DEVICES.c.hostname)
        conditions.append(_contains(columns, wanted.text))
    if wanted.location_id is not None:
        conditions.append(DEVICES.c.location_id == wanted.location_id)
    if wanted.state is not None:
        conditions.append(DEVICES.c.state == wanted.state)
    elif not wanted.with_ended:
        conditions.append(DEVICES.c.state.not_in((DeviceState.RETIRED, DeviceState.REPLACED)))
    if wanted.is_online is not None:
        conditions.append(DEVICES.c.is_online.is_(wanted.is_online))
    return conditions


def _reader_conditions(wanted: ReaderFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.text:
        columns = (
            READERS.c.name, READERS.c.id, READERS.c.serial_number, READERS.c.terminal_id,
            READERS.c.model, DEVICES.c.name,
        )  # fmt: skip
        conditions.append(_contains(columns, wanted.text))
    for column, value in (
        (READERS.c.location_id, wanted.location_id),
        (READERS.c.device_id, wanted.device_id),
        (READERS.c.profile, wanted.profile),
        (READERS.c.state, wanted.state),
    ):
        if value is not None:
            conditions.append(column == value)
    if not wanted.with_gone:
        conditions.append(READERS.c.gone_at.is_(None))
    if wanted.is_online is not None:
        conditions.append(DEVICES.c.is_online.is_(wanted.is_online))
    return conditions


def _contains(columns: Sequence[Any], text: str) -> ColumnElement[bool]:
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _after(table: Any, after: tuple[str, str] | None) -> list[ColumnElement[bool]]:
    if after is None:
        return []
    name, row_id = after
    return [or_(table.c.name > name, and_(table.c.name == name, table.c.id > row_id))]


def reader_names(db: Transaction, scope: Scope, reader_ids: Collection[str]) -> dict[str, str]:
    """Names of readers, also of those that are gone."""
    rows = db.execute(
        select(READERS.c.id, READERS.c.name).where(
            READERS.c.id.in_(sorted(reader_ids)), READERS.c.merchant_id == scope.merchant_id
        )
    )
    return {row.id: row.name for row in rows}
