"""Releases of reader software, updates of readers, and the way on which devices fetch files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.api.device_link import Signed
from control_plane.devices.link import BrokerDirectory
from control_plane.errors import NotFound
from control_plane.firmware import queries, releases, updates
from control_plane.firmware.errors import PieceRefused
from control_plane.firmware.models import RELEASES, UPDATES, ReleaseState
from control_plane.firmware.releases import LARGEST_PIECE, Announcement, Shelf
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.idempotency import OnceOnly
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import PUBLIC_FILE, requires
from firmware_profiles.planner import Approval

router = APIRouter(prefix="/v1", tags=["firmware"])

Viewer = Annotated[Caller, requires(Permission.READER_VIEW)]
Manager = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]
Id = Annotated[str, Path(max_length=64)]

_RELEASE: Final[dict[str, Any]] = {
    "id": "frl_06f3k8m2q7v1x4b9c5d0e6g8h2",
    "profile": "feig-cvend-plug",
    "component": "app",
    "version": "GER-APP-v2.0.12",
    "channel": "stable",
    "min_current": "",
    "number": 32,
    "size": 1_048_576,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "is_vendor_signed": True,
    "notes": "",
    "state": "ready",
    "created_at": "2026-11-23T09:15:03Z",
}
_UPDATE: Final[dict[str, Any]] = {
    "id": "job_06f3k8m2q7v1x4b9c5d0e6g8h2",
    "reader_id": "rd_06f3k8a1b2c3d4e5f6g7h8j9k0",
    "release_id": "frl_06f3k8m2q7v1x4b9c5d0e6g8h2",
    "version": "GER-APP-v2.0.12",
    "version_before": "GER-APP-v2.0.9",
    "state": "transferring",
    "percent": 40,
    "text": "",
    "created_at": "2026-11-23T09:15:03Z",
    "changed_at": "2026-11-23T09:16:10Z",
    "finished_at": None,
}


class ReleaseOut(BaseModel):
    """A release. Only a ``ready`` one can be installed."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_RELEASE]})

    id: str
    profile: str
    component: str
    version: str
    channel: str
    min_current: str
    number: int
    size: int
    sha256: str
    is_vendor_signed: bool
    notes: str
    state: ReleaseState
    created_at: datetime


class PieceOut(BaseModel):
    """How much of the file is here; the next piece begins there."""

    received: int
    size: int
    state: ReleaseState


class UpdateIn(BaseModel):
    """What to install and when. Without a release the reader fetches what its own host has."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"release_id": "frl_06f3k8m2q7v1x4b9c5d0e6g8h2", "end_of_day": True}]
        },
    )

    release_id: Annotated[str, Field(max_length=64)] | None = None
    not_before: AwareDatetime | None = Field(
        default=None, description="Payments go on until then; without it, until the reader is idle."
    )
    not_after: AwareDatetime | None = Field(
        default=None, description="Do not begin later; without it, whenever it becomes possible."
    )
    end_of_day: bool = Field(default=False, description="Close the reader's day first.")
    despite_failure: bool = Field(
        default=False, description="Also when the same update of this reader failed before."
    )
    approvals: list[Approval] = Field(default_factory=list)


class UpdateOut(BaseModel):
    """An update as the device last told. ``done``, ``failed`` and ``unknown`` are its ends."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_UPDATE]})

    id: str
    reader_id: str
    release_id: str | None
    version: str
    version_before: str
    state: str
    percent: int | None
    text: str
    created_at: datetime
    changed_at: datetime
    finished_at: datetime | None


def shelf_of(parts: App) -> Shelf:
    """Where the files lie."""
    return Shelf(parts.settings.firmware_folder)


Files = Annotated[Shelf, Depends(shelf_of)]


@router.post("/firmware-releases", status_code=201, response_model=ReleaseOut)
def announce_release(wanted: Announcement, caller: Manager, db: Db, once: OnceOnly) -> Response:
    """Announce a release; its file follows in pieces."""
    return once.answer(
        db,
        caller,
        lambda: ReleaseOut.model_validate(
            releases.announce(db, caller.scope, wanted, by=caller.actor)
        ),
        status=201,
    )


@router.put("/firmware-releases/{release_id}/file", response_model=PieceOut)
async def upload_piece(
    request: Request, release_id: Id, caller: Manager, parts: App, files: Files,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> PieceOut:  # fmt: skip
    """Send the next piece of a file as it is, 2 MiB for example. With the last one the release is ready."""
    piece = await request.body()
    async with parts.database.writer_slot():
        return await run_in_threadpool(_take_piece, parts, files, caller, release_id, offset, piece)


@router.get("/firmware-releases")
def list_releases(
    caller: Viewer,
    db: ReadDb,
    page: PageOf,
    profile: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[ReleaseOut]:
    """Releases, the newest first."""
    return page.read(
        db,
        queries.releases_of(caller.scope, profile=profile),
        [RELEASES.c.created_at, RELEASES.c.id],
        make=ReleaseOut.model_validate,
    )


@router.post("/firmware-releases/{release_id}/withdraw")
def withdraw_release(release_id: Id, caller: Manager, db: Db) -> ReleaseOut:
    """Let nobody order it any more; updates that were ordered go on."""
    return ReleaseOut.model_validate(
        releases.withdraw(db, caller.scope, release_id, by=caller.actor)
    )


@router.post("/readers/{reader_id}/firmware-updates", status_code=201, response_model=UpdateOut)
def order_update(
    reader_id: Id, wanted: UpdateIn, caller: Manager, db: Db, once: OnceOnly
) -> Response:
    """Put a release into one reader. Refused with every reason that there is."""
    order = updates.Order(**dict(wanted))
    return once.answer(
        db,
        caller,
        lambda: _update_out(updates.order_update(db, caller, reader_id, order)),
        status=201,
    )


@router.get("/readers/{reader_id}/firmware-updates")
def list_updates(reader_id: Id, caller: Viewer, db: ReadDb, page: PageOf) -> Page[UpdateOut]:
    """Updates of a reader, the newest first."""
    return page.read(
        db,
        queries.updates_of(caller.scope, reader_id),
        [UPDATES.c.created_at, UPDATES.c.id],
        make=_update_out,
    )


@router.get(
    "/device/firmware/{release_id}/{number}", dependencies=[PUBLIC_FILE], include_in_schema=False
)
def device_file(
    release_id: Id,
    number: int,
    device: Signed,
    parts: App,
    files: Files,
    offset: Annotated[int, Query(ge=0)] = 0,
    length: Annotated[int, Query(gt=0, le=LARGEST_PIECE)] = LARGEST_PIECE,
) -> Response:
    """A piece of a file, for a device of the merchant that keeps it."""
    with parts.database.reading_connection() as db:
        found = queries.file_for_device(db, device.id, release_id, number)
    if found is None:
        raise NotFound("firmware file", release_id)
    try:
        piece = files.read(release_id, offset, length)
    except FileNotFoundError:
        raise NotFound("firmware file", release_id) from None
    return Response(piece, media_type="application/octet-stream")


def _take_piece(
    parts: App, files: Shelf, caller: Caller, release_id: str, offset: int, piece: bytes
) -> PieceOut:
    with parts.database.connection() as db:
        release = queries.release(db, caller.scope, release_id, lock=True)
        if release.state is not ReleaseState.UPLOADING:
            raise PieceRefused(release.size)
        received = files.add(release_id, offset, piece, release.size)
        if received == release.size:
            authority = parts.get(BrokerDirectory).authority()
            release = releases.complete(db, caller.scope, release, files, authority)
        return PieceOut(received=received, size=release.size, state=release.state)


def _update_out(row: queries.Found) -> UpdateOut:
    state, text = updates.state_of(row)
    values = {name: getattr(row, name) for name in UpdateOut.model_fields}
    return UpdateOut(**{**values, "state": state, "text": text})
