"""Logs of devices, as far as somebody asked for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.devices.service import device_of
from control_plane.errors import NotFound
from control_plane.http.dependencies import ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires
from control_plane.support import queries
from control_plane.support.models import LOG_BUNDLES, LOG_LINES

router = APIRouter(prefix="/v1/devices/{device_id}", tags=["devices"])

DeviceId = Annotated[str, Path(max_length=64)]
Manager = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]

_LINE: Final[dict[str, Any]] = {
    "id": 812,
    "command_id": "cmd_06f3k8m2r4s6t8v0w2x4y6z8a0",
    "level": "info",
    "text": '{"event": "reader_ready", "reader": "counter-1", "level": "info"}',
    "written_at": "2026-11-23T09:15:03.101Z",
    "received_at": "2026-11-23T09:15:04.020Z",
}


class LogLineOut(BaseModel):
    """One line as the agent wrote it: JSON, without secrets and card numbers."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_LINE]})

    id: int
    command_id: str
    level: str
    text: str
    written_at: datetime | None
    received_at: datetime


class LogBundleOut(BaseModel):
    """A bundle that a device sent."""

    model_config = ConfigDict(from_attributes=True)

    command_id: str
    size: int = Field(description="Bytes of the zip file.")
    sha256: str
    received_at: datetime


@router.get("/log")
def read_device_log(
    device_id: DeviceId,
    caller: Manager,
    db: ReadDb,
    page: PageOf,
    after: Annotated[int, Query(ge=0, description="Only lines with a greater id.")] = 0,
) -> Page[LogLineOut]:
    """Lines that ``log_tail`` commands brought, the newest first. They are kept for seven days."""
    device_of(db, caller.scope, device_id)
    return page.read(
        db,
        queries.lines_of(caller.scope, device_id, after=after),
        [LOG_LINES.c.id],
        make=LogLineOut.model_validate,
    )


@router.get("/log-bundles")
def list_log_bundles(
    device_id: DeviceId, caller: Manager, db: ReadDb, page: PageOf
) -> Page[LogBundleOut]:
    """Bundles that ``log_bundle`` commands brought, the newest first. They are kept for seven days."""
    device_of(db, caller.scope, device_id)
    return page.read(
        db,
        queries.bundles_of(caller.scope, device_id),
        [LOG_BUNDLES.c.received_at, LOG_BUNDLES.c.command_id],
        make=LogBundleOut.model_validate,
    )


@router.get(
    "/log-bundles/{command_id}",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}},
)
def read_log_bundle(
    device_id: DeviceId,
    command_id: Annotated[str, Path(max_length=40)],
    caller: Manager,
    db: ReadDb,
) -> Response:
    """The zip file."""
    device_of(db, caller.scope, device_id)
    found = queries.bundle(db, caller.scope, device_id, command_id)
    if found is None:
        raise NotFound("log bundle", command_id)
    return Response(
        found.content,
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{device_id}-{command_id}.zip"'},
    )
