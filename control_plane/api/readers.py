"""Readers: what they are, how they are, and what happened to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.api.devices import EventOut
from control_plane.configuration import service as configuration
from control_plane.configuration.service import SettingsView
from control_plane.devices import queries
from control_plane.devices.models import EVENTS, READERS
from control_plane.devices.queries import Found, ReaderFilter
from control_plane.devices.status import Reach, Sync, reach_of, sync_of
from control_plane.errors import NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from firmware_profiles import settings as schema

router = APIRouter(prefix="/v1", tags=["readers"])

Viewer = Annotated[Caller, requires(Permission.READER_VIEW)]
Manager = Annotated[Caller, requires(Permission.READER_MANAGE)]
Id = Annotated[str, Path(max_length=64)]
State = Literal["starting", "ready", "busy", "disconnected", "locked", "failing", "unidentified"]

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "device_id": "dev-06f3k8a1b2c3d4e5f6g7h8j9k0",
    "device_name": "counter",
    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "name": "counter-1",
    "profile": "generic-zvt-tcp",
    "address": "tcp://192.168.1.20:20007",
    "vendor": None,
    "model": None,
    "serial_number": "12345678",
    "terminal_id": "52500001",
    "software_version": None,
    "state": "ready",
    "reason": "",
    "since": "2026-11-23T07:58:13Z",
    "reach": "online",
    "sync": "in_sync",
    "health": {},
    "last_seen_at": "2026-11-23T09:15:03Z",
    "first_seen_at": "2026-11-01T08:01:00Z",
    "reported_at": "2026-11-23T09:15:03Z",
    "gone_at": None,
}


class ReaderOut(BaseModel):
    """A reader. ``reach`` is whether it can be talked to, ``sync`` whether its configuration is the desired one."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    device_id: str
    device_name: str
    location_id: str
    name: str
    profile: str
    address: str
    vendor: str | None
    model: str | None
    serial_number: str | None
    terminal_id: str | None
    software_version: str | None
    state: str
    reason: str
    since: datetime | None
    reach: Reach
    sync: Sync
    health: dict[str, Any]
    last_seen_at: datetime | None = Field(description="When its device was last heard of.")
    first_seen_at: datetime
    reported_at: datetime
    gone_at: datetime | None = Field(description="When its device no longer listed it.")


class SettingsChange(BaseModel):
    """Values by name; ``null`` sets one back to its default. What is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"values": {"max_amount_minor": 500000, "password": None}}]
        },
    )

    values: dict[str, StrictBool | StrictInt | StrictStr | None] = Field(max_length=100)


class ManySettingsChange(BaseModel):
    """The same values for many readers, as for one of them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "reader_ids": ["rd_06f3k8a1b2c3d4e5f6g7h8j9k0"],
                    "values": {"max_amount_minor": 500000},
                    "dry_run": True,
                }
            ]
        },
    )

    reader_ids: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=500)
    values: dict[str, StrictBool | StrictInt | StrictStr | None] = Field(
        min_length=1, max_length=100
    )
    dry_run: StrictBool = Field(
        default=False, description="Only tell what it would touch and who cannot take it."
    )


class CannotOut(BaseModel):
    """A reader that is left as it is."""

    reader_id: str
    code: str
    detail: str


class RadiusOut(BaseModel):
    """What a change touches, or has touched."""

    dry_run: bool
    changed: list[str] = Field(description="Readers that are set anew.")
    same: list[str] = Field(description="Readers that were so already.")
    cannot: list[CannotOut]
    device_ids: list[str] = Field(description="Boxes that get a new configuration.")


class SettingsOut(BaseModel):
    """What may be set on a reader, and what is. Secrets are never told, only that there is one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
                    "profile": "generic-ecr17-tcp",
                    "values": {"lrc_mode": "stx"},
                    "secrets": [],
                    "effective": {"lrc_mode": "stx", "result_timeout_s": 90},
                    "origins": {"result_timeout_s": "location:loc_06f3k8a1b2c3d4e5"},
                    "json_schema": {"type": "object", "properties": {}},
                    "sync": "in_sync",
                    "changed_at": "2026-11-23T09:15:03Z",
                    "changed_by": "Ada",
                }
            ]
        }
    )

    reader_id: str
    profile: str
    values: dict[str, bool | int | str]
    secrets: list[str] = Field(description="Names of secrets that are set.")
    effective: dict[str, bool | int | str] = Field(
        description="With what is inherited, and the model's defaults."
    )
    origins: dict[str, str] = Field(description="The layer that each inherited value is from.")
    json_schema: dict[str, Any] = Field(description="JSON Schema of the values of this model.")
    sync: Sync = Field(description="Whether its device works with them.")
    changed_at: datetime | None
    changed_by: str


@router.get("/readers")
def list_readers(
    caller: Viewer,
    db: ReadDb,
    page: PageOf,
    q: Annotated[
        str,
        Query(
            max_length=100, description="Part of a name, id, serial number, terminal id or model."
        ),
    ] = "",
    location_id: Annotated[str | None, Query(max_length=40)] = None,
    device_id: Annotated[str | None, Query(max_length=64)] = None,
    profile: Annotated[str | None, Query(max_length=100)] = None,
    state: State | None = None,
    is_online: bool | None = None,
    with_gone: Annotated[bool, Query(description="Those that their device no longer has.")] = False,
) -> Page[ReaderOut]:
    """Readers by name."""
    wanted = ReaderFilter(q, location_id, device_id, profile, state, is_online, with_gone)
    return page.read(
        db,
        queries.readers_of(caller.scope, wanted),
        [READERS.c.name, READERS.c.id],
        make=_reader_out,
        descending=False,
    )


@router.get("/readers/{reader_id}")
def read_reader(reader_id: Id, caller: Viewer, db: ReadDb) -> ReaderOut:
    """One reader."""
    return _reader_out(_reader(db, caller, reader_id))


@router.get("/readers/{reader_id}/timeline")
def reader_timeline(reader_id: Id, caller: Viewer, db: ReadDb, page: PageOf) -> Page[EventOut]:
    """What happened to a reader, the newest first."""
    _reader(db, caller, reader_id)
    return page.read(
        db,
        queries.timeline_of(caller.scope, reader_id=reader_id),
        [EVENTS.c.id],
        make=EventOut.model_validate,
    )


@router.get("/readers/{reader_id}/settings")
def reader_settings(reader_id: Id, caller: Viewer, db: ReadDb) -> SettingsOut:
    """What may be set on a reader, and what is."""
    return _settings_out(configuration.settings_of(db, caller.scope, reader_id))


@router.put("/readers/{reader_id}/settings")
def change_reader_settings(
    reader_id: Id, wish: SettingsChange, caller: Manager, db: Db
) -> SettingsOut:
    """Set values on a reader. Its device takes them over while no payment runs there."""
    return _settings_out(configuration.change(db, caller, reader_id, wish.values))


@router.post("/readers/settings")
def change_settings_of_many(wish: ManySettingsChange, caller: Manager, db: Db) -> RadiusOut:
    """Set the same values on many readers, or look first what that would touch.

    A reader that cannot take them is left as it is and named; the others are set all the same.
    """
    radius = configuration.change_many(
        db, caller, wish.reader_ids, wish.values, is_trial=wish.dry_run
    )
    return RadiusOut(
        dry_run=wish.dry_run,
        changed=list(radius.changed),
        same=list(radius.same),
        cannot=[
            CannotOut(reader_id=reader_id, code=why.code, detail=why.detail())
            for reader_id, why in radius.cannot.items()
        ],
        device_ids=list(radius.device_ids),
    )


def _settings_out(view: SettingsView) -> SettingsOut:
    return SettingsOut(
        reader_id=view.reader.id,
        profile=view.profile.id,
        values=dict(view.values),
        secrets=sorted(view.secrets),
        effective=schema.defaults(view.profile) | dict(view.inherited.values) | dict(view.values),
        origins=dict(view.inherited.origins),
        json_schema=schema.json_schema(view.profile),
        sync=sync_of(view.reader),
        changed_at=view.changed_at,
        changed_by=view.changed_by,
    )


def _reader(db: ReadDb, caller: Caller, reader_id: str) -> Found:
    reader = queries.reader(db, caller.scope, reader_id)
    if reader is None:
        raise NotFound("reader", reader_id)
    return reader


def _reader_out(row: Found) -> ReaderOut:
    values = {
        name: getattr(row, name)
        for name in ReaderOut.model_fields
        if name not in ("reach", "sync", "last_seen_at")
    }
    return ReaderOut(
        **values,
        reach=reach_of(row),
        sync=sync_of(row),
        last_seen_at=row.device_last_seen_at,
    )
