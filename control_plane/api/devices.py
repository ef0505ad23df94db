"""Devices, and the codes with which they come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import enrollment, queries, service
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import CODES, DEVICES, EVENTS, EventSource, Severity
from control_plane.devices.queries import DeviceFilter, Found
from control_plane.errors import NotFound
from control_plane.http.dependencies import App, Db, ReadDb, WriterSlot
from control_plane.http.encoding import json_response
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires

router = APIRouter(prefix="/v1", tags=["devices"])

Id = Annotated[str, Path(max_length=64)]
Viewer = Annotated[Caller, requires(Permission.DEVICE_VIEW)]
Manager = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]
Enroller = Annotated[Caller, requires(Permission.DEVICE_ENROLL)]

_DAY_S: Final = 86_400
_CODE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "enc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "hint": "7K",
    "note": "counter 2",
    "replaces_id": None,
    "max_uses": 1,
    "used": 0,
    "expires_at": "2026-11-24T09:15:03Z",
    "revoked_at": None,
    "created_at": "2026-11-23T09:15:03Z",
}
_DEVICE_EXAMPLE: Final[dict[str, Any]] = {
    "id": "dev-06f3k8a1b2c3d4e5f6g7h8j9k0",
    "location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "name": "counter",
    "state": "active",
    "state_since": "2026-11-01T08:00:00Z",
    "is_online": True,
    "online_since": "2026-11-23T07:58:11Z",
    "last_seen_at": "2026-11-23T09:15:03Z",
    "serial_number": "",
    "hostname": "till-1",
    "platform": "Linux aarch64",
    "agent_version": "0.1.0",
    "epoch": 1,
    "replaces_id": None,
    "replaced_by_id": None,
    "certificate_expires_at": "2027-02-21T09:15:03Z",
    "enrolled_at": "2026-11-01T08:00:00Z",
    "created_at": "2026-11-01T08:00:00Z",
}


class CodeIn(BaseModel):
    """For whom a code is, and how long and how often it works."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"location_id": "loc_06f3k8a1b2c3d4e5f6g7h8j9k0"}]},
    )

    location_id: str = Field(max_length=40)
    note: str = Field(default="", max_length=200)
    expires_in_s: int = Field(default=_DAY_S, ge=60, le=90 * _DAY_S)
    max_uses: int = Field(default=1, ge=1, le=enrollment.MOST_CODE_USES)
    replaces_id: str | None = Field(
        default=None, max_length=64, description="The device whose place the new one takes."
    )


class CodeOut(BaseModel):
    """An enrolment code, without the code itself."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_CODE_EXAMPLE]})

    id: str
    location_id: str
    hint: str = Field(description="Its last two characters.")
    note: str
    replaces_id: str | None
    max_uses: int
    used: int
    expires_at: datetime
    revoked_at: datetime | None
    created_at: datetime


class NewCodeOut(CodeOut):
    """A code that was just made; the code is shown only now."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_CODE_EXAMPLE, "code": "Q4MT-8R7K"}]}
    )

    code: str


class DeviceOut(BaseModel):
    """A device."""

    model_config = ConfigDict(
        from_attributes=True, json_schema_extra={"examples": [_DEVICE_EXAMPLE]}
    )

    id: str
    location_id: str
    name: str
    state: DeviceState
    state_since: datetime
    is_online: bool
    online_since: datetime | None = Field(description="Since when it is as is_online says.")
    last_seen_at: datetime | None
    serial_number: str
    hostname: str
    platform: str
    agent_version: str
    epoch: int
    replaces_id: str | None
    replaced_by_id: str | None
    certificate_expires_at: datetime | None
    enrolled_at: datetime | None
    created_at: datetime


class DeviceDetails(DeviceOut):
    """A device with what it last reported of itself."""

    reported: dict[str, Any]
    reported_at: datetime | None
    telemetry: dict[str, Any]
    telemetry_at: datetime | None


class DeviceChange(BaseModel):
    """What to change; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "counter 2"}]}
    )

    name: str | None = Field(default=None, min_length=1, max_length=100)
    location_id: str | None = Field(default=None, max_length=40)


class Replacement(BaseModel):
    """The device that takes the place."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"by": "dev-06f3k8a1b2c3d4e5f6g7h8j9k0"}]}
    )

    by: str = Field(max_length=64)


class EventOut(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    device_id: str
    reader_id: str | None
    source: EventSource
    kind: str = Field(examples=["device.online"])
    severity: Severity
    text: str
    facts: dict[str, Any]
    happened_at: datetime
    recorded_at: datetime


@router.post("/enrollment-codes", status_code=201, response_model=NewCodeOut)
def create_enrollment_code(
    wish: CodeIn, caller: Enroller, once: OnceOnly, parts: App, _: WriterSlot
) -> Response:
    """Make a code with which a box becomes a device of a location."""

    def make(db: Transaction) -> NewCodeOut:
        code_id, code = enrollment.issue_code(
            db,
            caller.scope,
            wish.location_id,
            by=caller.actor,
            note=wish.note,
            lifetime=timedelta(seconds=wish.expires_in_s),
            max_uses=wish.max_uses,
            replaces_id=wish.replaces_id,
        )
        row = queries.code(db, caller.scope, code_id)
        return NewCodeOut(**CodeOut.model_validate(row).model_dump(), code=code.reveal())

    with parts.database.connection() as db:
        return once.answer(db, caller, lambda: make(db))


@router.get("/enrollment-codes")
def list_enrollment_codes(caller: Enroller, db: ReadDb, page: PageOf) -> Page[CodeOut]:
    """Codes, the newest first."""
    return page.read(
        db,
        queries.codes_of(caller.scope),
        [CODES.c.created_at, CODES.c.id],
        make=CodeOut.model_validate,
    )


@router.delete("/enrollment-codes/{code_id}", status_code=204)
def revoke_enrollment_code(code_id: Id, caller: Enroller, db: Db) -> None:
    """Withdraw a code: it lets nobody in any more."""
    enrollment.revoke_code(db, caller.scope, code_id, by=caller.actor)


@router.get("/devices")
def list_devices(
    caller: Viewer,
    db: ReadDb,
    page: PageOf,
    q: Annotated[
        str, Query(max_length=100, description="Part of a name, id, serial number or host name.")
    ] = "",
    location_id: Annotated[str | None, Query(max_length=40)] = None,
    state: DeviceState | None = None,
    is_online: bool | None = None,
    with_ended: Annotated[bool, Query(description="Retired and replaced ones, too.")] = False,
) -> Page[DeviceOut]:
    """Devices by name."""
    wanted = DeviceFilter(q, location_id, state, is_online, with_ended)
    return page.read(
        db,
        queries.devices_of(caller.scope, wanted),
        [DEVICES.c.name, DEVICES.c.id],
        make=DeviceOut.model_validate,
        descending=False,
    )


@router.get("/devices/{device_id}")
def read_device(device_id: Id, caller: Viewer, db: ReadDb) -> DeviceDetails:
    """One device, with what it reported last."""
    return DeviceDetails.model_validate(_device(db, caller, device_id))


@router.get("/devices/{device_id}/timeline")
def device_timeline(device_id: Id, caller: Viewer, db: ReadDb, page: PageOf) -> Page[EventOut]:
    """What happened to a device, the newest first."""
    _device(db, caller, device_id)
    return page.read(
        db,
        queries.timeline_of(caller.scope, device_id=device_id),
        [EVENTS.c.id],
        make=EventOut.model_validate,
    )


@router.patch("/devices/{device_id}")
def change_device(device_id: Id, wish: DeviceChange, caller: Manager, db: Db) -> DeviceDetails:
    """Rename or move a device; its readers move with it."""
    service.change(
        db,
        caller.scope,
        device_id,
        by=caller.actor,
        name=wish.name,
        location_id=wish.location_id,
    )
    return DeviceDetails.model_validate(_device(db, caller, device_id))


@router.post("/devices/{device_id}/suspend")
def suspend_device(device_id: Id, caller: Manager, db: Db) -> DeviceDetails:
    """Take nothing in from a device until it is resumed; nothing of it is lost."""
    service.suspend(db, caller.scope, device_id, by=caller.actor)
    return DeviceDetails.model_validate(_device(db, caller, device_id))


@router.post("/devices/{device_id}/resume")
def resume_device(device_id: Id, caller: Manager, db: Db) -> DeviceDetails:
    """Let a suspended device work again."""
    service.resume(db, caller.scope, device_id, by=caller.actor)
    return DeviceDetails.model_validate(_device(db, caller, device_id))


@router.post("/devices/{device_id}/revoke")
def revoke_device(device_id: Id, caller: Manager, db: Db) -> DeviceDetails:
    """Revoke its certificates and cut its connection; it comes back only with a new code, as a new device."""
    service.revoke(db, caller.scope, device_id, by=caller.actor)
    return DeviceDetails.model_validate(_device(db, caller, device_id))


@router.post("/devices/{device_id}/retire")
def retire_device(device_id: Id, caller: Manager, db: Db) -> DeviceDetails:
    """Take a device out of service for good."""
    service.retire(db, caller.scope, device_id, by=caller.actor)
    return DeviceDetails.model_validate(_device(db, caller, device_id))


@router.post("/devices/{device_id}/replace")
def replace_device(device_id: Id, wish: Replacement, caller: Manager, db: Db) -> Response:
    """Let another device take its name, place and configuration; it ends."""
    service.replace(db, caller.scope, device_id, wish.by, by=caller.actor)
    return json_response(DeviceDetails.model_validate(_device(db, caller, wish.by)))


def _device(db: Transaction, caller: Caller, device_id: str) -> Found:
    device = queries.device(db, caller.scope, device_id)
    if device is None:
        raise NotFound("device", device_id)
    return device
