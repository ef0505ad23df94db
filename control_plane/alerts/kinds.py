"""What is watched: for each kind, who is not well, in one statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, literal, select

from control_plane.alerts.stepping import Patience
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, READERS

_MINUTE: Final = timedelta(minutes=1)
_WORKING: Final = [state for state in DeviceState if state.may_speak]


@dataclass(frozen=True, slots=True)
class Kind:
    """``unwell(now)`` selects merchant_id, location_id, device_id, object_id, is_wrong; who is missing is well."""

    name: str
    patience: Patience
    unwell: Callable[[datetime], Select[Any]]


def _devices(is_unwell: ColumnElement[bool], is_wrong: ColumnElement[bool]) -> Select[Any]:
    return select(
        DEVICES.c.merchant_id,
        DEVICES.c.location_id,
        DEVICES.c.id.label("device_id"),
        DEVICES.c.id.label("object_id"),
        is_wrong.label("is_wrong"),
    ).where(DEVICES.c.state.in_(_WORKING), is_unwell)


def _readers(state: str) -> Callable[[datetime], Select[Any]]:
    def unwell(_: datetime) -> Select[Any]:
        # A reader behind a silent box is the box's trouble: nothing is known of it, so nothing changes.
        return (
            select(
                READERS.c.merchant_id,
                READERS.c.location_id,
                READERS.c.device_id,
                READERS.c.id.label("object_id"),
                DEVICES.c.is_online.label("is_wrong"),
            )
            .join_from(READERS, DEVICES, DEVICES.c.id == READERS.c.device_id)
            .where(
                READERS.c.state == state,
                READERS.c.gone_at.is_(None),
                DEVICES.c.state.in_(_WORKING),
            )
        )

    return unwell


def _offline(_: datetime) -> Select[Any]:
    gone = and_(DEVICES.c.is_online.is_(False), DEVICES.c.last_seen_at.is_not(None))
    return _devices(gone, literal(value=True))


def _certificate(now: datetime) -> Select[Any]:
    ends = DEVICES.c.certificate_expires_at
    return _devices(ends < now + timedelta(days=20), ends < now + timedelta(days=14))


def _disk(_: datetime) -> Select[Any]:
    free = DEVICES.c.telemetry["disk_free_mib"].as_integer()
    return _devices(free < 300, free < 200)


def _config(_: datetime) -> Select[Any]:
    status = DEVICES.c.reported["config"]["status"].as_string()
    return _devices(status.in_(["rejected", "rolled_back"]), literal(value=True))


_SOON: Final = Patience(timedelta(0), _MINUTE)
_SLOW: Final = Patience(3 * _MINUTE, 2 * _MINUTE)
KINDS: Final = (
    Kind("device.offline", Patience(5 * _MINUTE, 2 * _MINUTE), _offline),
    Kind("device.certificate", _SOON, _certificate),
    Kind("device.disk_full", _SLOW, _disk),
    Kind("device.config_rejected", _SOON, _config),
    Kind("reader.disconnected", _SLOW, _readers("disconnected")),
    Kind("reader.failing", _SLOW, _readers("failing")),
    Kind("reader.locked", _SOON, _readers("locked")),
    Kind("reader.unidentified", _SLOW, _readers("unidentified")),
)
