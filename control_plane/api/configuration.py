"""Configuration: layers and their history, what a change touches, and what each device should have and has."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.configuration import push, revisions
from control_plane.configuration.errors import TooWideForOnePush, told
from control_plane.configuration.layers import Change, LayerKind, difference
from control_plane.configuration.models import REVISIONS, VERSIONS
from control_plane.configuration.push import AnswerState, Cannot, Radius
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries as devices
from control_plane.devices.models import DEVICES
from control_plane.devices.queries import Found
from control_plane.errors import NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import Page, PageOf
from control_plane.http.security import requires

router = APIRouter(prefix="/v1", tags=["configuration"])

Viewer = Annotated[Caller, requires(Permission.DEVICE_VIEW)]
Manager = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]
Value = StrictBool | StrictInt | StrictStr
Profiles = dict[
    Annotated[str, Field(max_length=100)],
    Annotated[dict[Annotated[str, Field(max_length=100)], Value], Field(max_length=100)],
]

#: Boxes that are told at once; more go in waves.
MOST_AT_ONCE: Final = 50
_PROFILES: Final[dict[str, Any]] = {
    "*": {"language": "fr"},
    "generic-ecr17-tcp": {"lrc_mode": "stx"},
}


class LayerIn(BaseModel):
    """What a layer is to be, whole. Settings by profile; ``*`` is every model that has them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "organisation",
                    "profiles": _PROFILES,
                    "note": "French everywhere",
                    "dry_run": True,
                }
            ]
        },
    )

    kind: LayerKind
    object_id: Annotated[str, Field(max_length=64, description="Empty for the organisation.")] = ""
    profiles: Annotated[Profiles, Field(max_length=200)]
    note: Annotated[str, Field(max_length=500)] = ""
    expected_revision: Annotated[
        int | None,
        Field(ge=0, description="The newest that you know; refused when there is a newer one."),
    ] = None
    dry_run: Annotated[StrictBool, Field(description="Only tell what it would touch.")] = False


class LayerOut(BaseModel):
    """A layer as it stands at a revision."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "location", "object_id": "loc_06f3k8a1b2c3d4e5", "profiles": _PROFILES}
            ]
        }
    )

    kind: LayerKind
    object_id: str
    profiles: dict[str, dict[str, Any]]


class LayersOut(BaseModel):
    """Every layer at a revision."""

    revision: int
    newest: int
    layers: list[LayerOut]


class CannotTakeOut(BaseModel):
    """A reader that does not take a value of a layer; the next more general one holds there."""

    reader_id: str
    setting: str
    code: str
    detail: str


class TouchedOut(BaseModel):
    """What a change touches."""

    revision: int
    dry_run: bool = False
    devices: int
    readers: int
    device_ids: list[str]
    reader_ids: list[str]
    cannot: list[CannotTakeOut]


class ChangeOut(BaseModel):
    """A leaf that differs; null where it is not there."""

    path: str
    before: Any
    after: Any


class RevisionOut(BaseModel):
    """One change of one layer."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    kind: LayerKind
    object_id: str
    note: str
    created_by: str
    created_at: datetime


class RevisionDetailOut(RevisionOut):
    """With what it changed in its layer."""

    document: dict[str, Any]
    changes: list[ChangeOut]


class RestoreIn(BaseModel):
    """Why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"note": "As on Friday"}]}
    )

    note: Annotated[str, Field(max_length=500)] = ""


class PushIn(BaseModel):
    """Which boxes get which revision now. Without any, all of a location, or every one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"device_ids": ["dev-06f3k8a1b2c3d4e5"], "revision": 7}]},
    )

    revision: Annotated[int | None, Field(ge=0, description="Without it, the newest.")] = None
    device_ids: Annotated[
        list[Annotated[str, Field(max_length=64)]], Field(max_length=MOST_AT_ONCE)
    ] = []
    location_id: Annotated[str, Field(max_length=40)] = ""


class PushedOut(BaseModel):
    """Boxes that should have this revision from now on."""

    revision: int
    device_ids: list[str]


class DeviceConfigurationOut(BaseModel):
    """What a box should have, where each value is from, and how the box stands to it. Secrets are not shown."""

    device_id: str
    version: int
    revision: int
    newest_revision: int
    hash: str
    document: dict[str, Any]
    origins: dict[str, dict[str, str]]
    cannot: list[CannotTakeOut]
    state: AnswerState
    errors: dict[str, str]
    changed_at: datetime | None


class VersionOut(BaseModel):
    """A configuration that a box was to have."""

    version: int
    revision: int
    hash: str
    document: dict[str, Any]
    origins: dict[str, Any]
    created_by: str
    created_at: datetime


class DifferenceOut(BaseModel):
    """Leaves in which two versions differ."""

    before: int
    after: int
    changes: list[ChangeOut]


@router.get("/configuration/layers")
def list_layers(
    caller: Viewer, db: ReadDb, revision: Annotated[int | None, Query(ge=0)] = None
) -> LayersOut:
    """Every layer as it stands, or as it stood at a revision."""
    at = revisions.known(db, caller.merchant_id, revision)
    found = revisions.layers_at(db, caller.merchant_id, at)
    return LayersOut(
        revision=at,
        newest=revisions.newest(db, caller.merchant_id),
        layers=[
            LayerOut(kind=one.kind, object_id=one.object_id, profiles=_plain(one.document))
            for _, one in sorted(found.items())
        ],
    )


@router.put("/configuration/layers")
def put_layer(wish: LayerIn, caller: Manager, db: Db) -> TouchedOut:
    """Make a layer this, as a new revision; or tell first what that would touch.

    Nothing is sent yet: push the revision to some boxes, or roll it out.
    """
    before = revisions.newest(db, caller.merchant_id)
    if wish.dry_run:
        layer = revisions.drafted(db, caller, wish.kind, wish.object_id, wish.profiles)
        found = push.radius(db, caller.scope, before, since=before, draft=layer)
        return _touched(before, found, is_trial=True)
    revision = revisions.set_layer(
        db, caller, wish.kind, wish.object_id, wish.profiles,
        note=wish.note, expected=wish.expected_revision,
    )  # fmt: skip
    return _touched(revision, push.radius(db, caller.scope, revision, since=before))


@router.get("/configuration/revisions")
def list_revisions(caller: Viewer, db: ReadDb, page: PageOf) -> Page[RevisionOut]:
    """Changes of layers, the newest first."""
    return page.read(
        db,
        revisions.history_of(caller.merchant_id),
        [REVISIONS.c.number],
        make=RevisionOut.model_validate,
    )


@router.get("/configuration/revisions/{number}")
def read_revision(
    number: Annotated[int, Path(ge=1)], caller: Viewer, db: ReadDb
) -> RevisionDetailOut:
    """One change, and what it changed."""
    row = db.execute(
        revisions.history_of(caller.merchant_id).where(REVISIONS.c.number == number)
    ).one_or_none()
    if row is None:
        raise NotFound("revision", str(number))
    before = revisions.layer_row(db, caller.merchant_id, row.kind, row.object_id, number - 1)
    changes = difference(before.document if before else {}, row.document)
    return RevisionDetailOut(
        **RevisionOut.model_validate(row).model_dump(),
        document=row.document,
        changes=_told(changes),
    )


@router.post("/configuration/revisions/{number}/restore")
def restore_revision(
    number: Annotated[int, Path(ge=0)], wish: RestoreIn, caller: Manager, db: Db
) -> TouchedOut:
    """Make every layer again what it was at this revision, as new revisions. Nothing is sent yet."""
    before = revisions.newest(db, caller.merchant_id)
    revision = revisions.restore(db, caller, number, note=wish.note)
    return _touched(revision, push.radius(db, caller.scope, revision, since=before))


@router.get("/configuration/radius")
def read_radius(
    caller: Viewer,
    db: ReadDb,
    revision: Annotated[int | None, Query(ge=0)] = None,
    since: Annotated[
        int | None, Query(ge=0, description="Without it, what each box was sent last.")
    ] = None,
) -> TouchedOut:
    """What sending a revision to every box would change, and who cannot take it."""
    at = revisions.known(db, caller.merchant_id, revision)
    before = None if since is None else revisions.known(db, caller.merchant_id, since)
    return _touched(at, push.radius(db, caller.scope, at, since=before), is_trial=True)


@router.post("/configuration/push")
def push_configuration(wish: PushIn, caller: Manager, db: Db) -> PushedOut:
    """Send a revision to some boxes now. For many, use a rollout: it goes in waves and stops by itself."""
    revision = revisions.known(db, caller.merchant_id, wish.revision)
    wanted = [*caller.scope.conditions(DEVICES), DEVICES.c.state.in_(push.WORKING)]
    if wish.device_ids:
        for device_id in wish.device_ids:
            if devices.device(db, caller.scope, device_id) is None:
                raise NotFound("device", device_id)
        wanted.append(DEVICES.c.id.in_(sorted(wish.device_ids)))
    if wish.location_id:
        wanted.append(DEVICES.c.location_id == wish.location_id)
    ids = list(db.execute(select(DEVICES.c.id).where(*wanted).order_by(DEVICES.c.id)).scalars())
    if len(ids) > MOST_AT_ONCE:
        raise TooWideForOnePush(field="device_ids", count=len(ids), most=MOST_AT_ONCE)
    push.push(db, caller.merchant_id, ids, revision, by=caller.actor)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.CONFIG_PUSH,
        object_id=str(revision), object_name=str(revision), after={"device_ids": ids},
    )  # fmt: skip
    return PushedOut(revision=revision, device_ids=ids)


@router.get("/devices/{device_id}/configuration")
def device_configuration(
    device_id: Annotated[str, Path(max_length=64)], caller: Viewer, db: ReadDb
) -> DeviceConfigurationOut:
    """What a box should have in force, and whether it has."""
    device = _device(db, caller, device_id)
    row = devices.desired_config(db, device_id)
    newest = revisions.newest(db, caller.merchant_id)
    revision = row.revision if row is not None else newest
    found = push.provenance(db, device, revision)
    answer = push.answers(db, caller.merchant_id, [device_id]).get(device_id)
    return DeviceConfigurationOut(
        device_id=device_id,
        version=row.version if row is not None else 0,
        revision=revision,
        newest_revision=newest,
        hash=row.hash if row is not None else "",
        document=_without_secrets(row.document) if row is not None else {},
        origins={reader_id: dict(one.origins) for reader_id, one in found.items()},
        cannot=[
            _cannot(Cannot(reader_id, name, refused))
            for reader_id, one in found.items()
            for name, refused in one.cannot
        ],
        state=answer.state if answer is not None else AnswerState.PENDING,
        errors=dict(answer.errors) if answer is not None else {},
        changed_at=row.changed_at if row is not None else None,
    )


@router.get("/devices/{device_id}/configuration/versions")
def device_configuration_versions(
    device_id: Annotated[str, Path(max_length=64)], caller: Viewer, db: ReadDb, page: PageOf
) -> Page[VersionOut]:
    """What a box was to have, the newest first."""
    _device(db, caller, device_id)
    return page.read(
        db,
        select(VERSIONS).where(VERSIONS.c.device_id == device_id),
        [VERSIONS.c.version],
        make=_version_out,
    )


@router.get("/devices/{device_id}/configuration/difference")
def device_configuration_difference(
    device_id: Annotated[str, Path(max_length=64)],
    caller: Viewer,
    db: ReadDb,
    before: Annotated[int, Query(ge=1)],
    after: Annotated[int, Query(ge=1)],
) -> DifferenceOut:
    """Where two versions of a box's configuration differ. Of a secret only that it does."""
    _device(db, caller, device_id)
    documents = dict(
        db.execute(
            select(VERSIONS.c.version, VERSIONS.c.document).where(
                VERSIONS.c.device_id == device_id, VERSIONS.c.version.in_([before, after])
            )
        ).all()
    )
    for version in (before, after):
        if version not in documents:
            raise NotFound("configuration version", str(version))
    changes = [
        Change(one.path, one.before and "•••", one.after and "•••")
        if "/secrets/" in one.path
        else one
        for one in difference(documents[before], documents[after])
    ]
    return DifferenceOut(before=before, after=after, changes=_told(changes))


def _device(db: Transaction, caller: Caller, device_id: str) -> Found:
    device = devices.device(db, caller.scope, device_id)
    if device is None:
        raise NotFound("device", device_id)
    return device


def _version_out(row: Any) -> VersionOut:
    return VersionOut(
        version=row.version,
        revision=row.revision,
        hash=row.hash,
        document=_without_secrets(row.document),
        origins=row.provenance,
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    readers = {
        reader_id: {**one, "secrets": dict.fromkeys(one.get("secrets", {}), "•••")}
        for reader_id, one in document.get("readers", {}).items()
    }
    return {**document, "readers": readers}


def _touched(revision: int, found: Radius, *, is_trial: bool = False) -> TouchedOut:
    return TouchedOut(
        revision=revision,
        dry_run=is_trial,
        devices=len(found.device_ids),
        readers=len(found.reader_ids),
        device_ids=list(found.device_ids),
        reader_ids=list(found.reader_ids),
        cannot=[_cannot(one) for one in found.cannot],
    )


def _cannot(one: Cannot) -> CannotTakeOut:
    if one.refused is None:
        return CannotTakeOut(
            reader_id=one.reader_id, setting="", code="profile_not_known",
            detail="Nobody knows the model of this reader; it keeps what is set on it.",
        )  # fmt: skip
    refused = told(one.refused)
    return CannotTakeOut(
        reader_id=one.reader_id, setting=one.setting, code=refused.code, detail=refused.detail()
    )


def _told(changes: list[Change]) -> list[ChangeOut]:
    return [ChangeOut(path=one.path, before=one.before, after=one.after) for one in changes]


def _plain(document: Any) -> dict[str, dict[str, Any]]:
    return {profile_id: dict(values) for profile_id, values in document.items()}
