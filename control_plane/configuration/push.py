"""From layers to devices: what each should have in force, what a change touches, and how devices answered.

A device is pinned to the revision that was pushed to it last. What is set on a reader itself goes to its device at
once; the layers above it go with a push. Everything here works on sets: ten thousand devices are some statements.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, and_, insert, select, update

from control_plane.audit.actor import SYSTEM, Actor
from control_plane.configuration import revisions
from control_plane.configuration.layers import Effective, Layer, LayerKind, effective
from control_plane.configuration.models import READER_SETTINGS, REVISIONS, VERSIONS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.devices import service as device_service
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import CERTIFICATES, CONFIGS, DEVICES, READERS
from control_plane.devices.presence import DevicesPlaced
from control_plane.devices.queries import Found
from control_plane.devices.service import Wanted
from firmware_profiles import ProfileError, ReaderProfile, load_profile
from firmware_profiles.errors import SettingRefused
from protocols.cloud.configuration import ReaderConfiguration, document_hash, secret_purpose
from protocols.cloud.sealing import RANDOM_BYTES, seal

_SOME: Final = 900
WORKING: Final = [state for state in DeviceState if state.may_connect]


class AnswerState(StrEnum):
    """What became of the configuration that a device should have."""

    PENDING = "pending"
    APPLIED = "applied"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    UNREACHABLE = "unreachable"
    """The device was suspended, replaced, revoked or retired."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a device stands to the configuration that it should have."""

    revision: int
    state: AnswerState
    errors: Mapping[str, str]
    reboot_required: bool
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Cannot:
    """A reader that does not take something; ``refused`` is None when nobody knows its model."""

    reader_id: str
    setting: str
    refused: SettingRefused | None


@dataclass(frozen=True, slots=True)
class Radius:
    """What going from one revision to another touches."""

    device_ids: tuple[str, ...]
    reader_ids: tuple[str, ...]
    cannot: tuple[Cannot, ...]


@dataclass(slots=True)
class _Plan:
    """What one device should have."""

    values: dict[str, Effective] = field(default_factory=dict)
    cannot: list[Cannot] = field(default_factory=list)


def push(
    db: Transaction,
    merchant_id: str,
    device_ids: Collection[str],
    revision: int,
    *,
    by: Actor,
    rollout_id: str | None = None,
) -> None:
    """Devices should have in force what the layers say at this revision. They are told after the commit.

    A device for which nothing changes is pinned to the revision and not disturbed.
    """
    del rollout_id  # what a rollout did is told by the rollout
    for some in _parts(device_ids):
        _push(db, merchant_id, some, dict.fromkeys(some, revision), by)


def settle(db: Transaction, merchant_id: str, device_ids: Collection[str], *, by: Actor) -> None:
    """Send devices what their own revision says now that their readers, places or own settings are others.

    A device that never had a push gets the newest revision.
    """
    for some in _parts(device_ids):
        at = dict.fromkeys(some, revisions.newest(db, merchant_id)) | pinned(db, merchant_id, some)
        _push(db, merchant_id, some, at, by)


def on_placed(db: Transaction, placed: DevicesPlaced) -> None:
    """Handler: devices with other readers, or in another place, get what holds there."""
    ever = select(REVISIONS.c.number).where(REVISIONS.c.merchant_id == placed.merchant_id).limit(1)
    if db.execute(ever).first() is not None:
        settle(db, placed.merchant_id, placed.device_ids, by=SYSTEM)


def pinned(db: Transaction, merchant_id: str, device_ids: Collection[str]) -> dict[str, int]:
    """The revision of each device that had a push."""
    rows = db.execute(
        select(CONFIGS.c.device_id, CONFIGS.c.revision).where(
            *_of(CONFIGS, merchant_id, device_ids)
        )
    )
    return {row.device_id: row.revision for row in rows}


def answers(db: Transaction, merchant_id: str, device_ids: Collection[str]) -> dict[str, Answer]:
    """How each of the devices stands to what it should have; those that should have nothing are missing."""
    found: dict[str, Answer] = {}
    for some in _parts(device_ids):
        rows = db.execute(
            select(
                CONFIGS.c.device_id, CONFIGS.c.revision, CONFIGS.c.hash, CONFIGS.c.version,
                DEVICES.c.state, DEVICES.c.reported, DEVICES.c.reported_at,
            )
            .join(DEVICES, DEVICES.c.id == CONFIGS.c.device_id)
            .where(*_of(CONFIGS, merchant_id, some))
        )  # fmt: skip
        found |= {row.device_id: _answer(row) for row in rows}
    return found


def radius(
    db: Transaction,
    scope: Scope,
    revision: int,
    *,
    since: int | None = None,
    draft: Layer | None = None,
) -> Radius:
    """What going to ``revision`` touches: from ``since``, or (None) from what each device is pinned to.

    ``draft`` is a layer that is not stored yet and stands for the one of the revision.
    """
    wanted = [*scope.conditions(DEVICES), DEVICES.c.state.in_(WORKING)]
    ids = db.execute(select(DEVICES.c.id).where(*wanted).order_by(DEVICES.c.id)).scalars().all()
    device_ids: list[str] = []
    reader_ids: list[str] = []
    cannot: list[Cannot] = []
    for some in _parts(ids):
        before_at = dict.fromkeys(some, since if since is not None else 0)
        if since is None:
            before_at |= pinned(db, scope.merchant_id, some)
        before = _plans(db, scope.merchant_id, some, before_at)
        after = _plans(db, scope.merchant_id, some, dict.fromkeys(some, revision), draft)
        for device_id, plan in after.items():
            was = before[device_id].values
            touched = [
                reader_id
                for reader_id, one in plan.values.items()
                if one.values != (was[reader_id].values if reader_id in was else {})
            ]
            if touched:
                device_ids.append(device_id)
                reader_ids += touched
            known = {(one.reader_id, one.setting) for one in before[device_id].cannot}
            cannot += [one for one in plan.cannot if (one.reader_id, one.setting) not in known]
    return Radius(tuple(device_ids), tuple(reader_ids), tuple(cannot))


def provenance(db: Transaction, device: Found, revision: int) -> dict[str, Effective]:
    """What holds for each reader of a device at a revision, and where each value is from."""
    return _plans(db, device.merchant_id, [device.id], {device.id: revision})[device.id].values


def inherited(db: Transaction, reader: Found, profile: ReaderProfile) -> Effective:
    """What holds for a reader where nothing is set on it: from the layers that its device has."""
    at = pinned(db, reader.merchant_id, [reader.device_id])
    revision = at.get(reader.device_id) if at else revisions.newest(db, reader.merchant_id)
    layers = revisions.layers_at(db, reader.merchant_id, revision or 0)
    return effective(
        profile, _above(layers, reader.merchant_id, reader.location_id, reader.device_id)
    )


def _push(
    db: Transaction, merchant_id: str, device_ids: Sequence[str], at: Mapping[str, int], by: Actor
) -> None:
    plans = _plans(db, merchant_id, device_ids, at)
    present = {
        row.device_id: row
        for row in db.execute(
            select(CONFIGS).where(*_of(CONFIGS, merchant_id, device_ids)).with_for_update()
        )
    }
    sealer = _Sealer(db, merchant_id, device_ids)
    wanted: dict[str, Wanted] = {}
    same: dict[int, list[str]] = defaultdict(list)
    for device_id, plan in plans.items():
        row = present.get(device_id)
        document = dict(row.document) if row is not None else {}
        readers = {
            reader_id: ReaderConfiguration(
                dict(one.values), sealer.secrets(device_id, reader_id, document)
            )
            for reader_id, one in plan.values.items()
            if one.values or reader_id in sealer.rows
        }
        document["readers"] = msgspec.to_builtins(readers)
        if row is not None and document_hash(document) == row.hash:
            same[at[device_id]].append(device_id)
        else:
            wanted[device_id] = Wanted(document, at[device_id])
    for revision, ids in same.items():
        db.execute(update(CONFIGS).where(CONFIGS.c.device_id.in_(ids)).values(revision=revision))
    versions = device_service.desire_configs(db, merchant_id, wanted)
    if versions:
        now = context_of(db).clock.now()
        db.execute(
            insert(VERSIONS),
            [
                {
                    "device_id": device_id,
                    "version": version,
                    "merchant_id": merchant_id,
                    "revision": at[device_id],
                    "hash": document_hash(wanted[device_id].document),
                    "document": wanted[device_id].document,
                    "provenance": {
                        reader_id: dict(one.origins)
                        for reader_id, one in plans[device_id].values.items()
                        if one.origins
                    },
                    "sealed": sealer.marks[device_id],
                    "created_by": by.name[:200],
                    "created_at": now,
                }
                for device_id, version in versions.items()
            ],
        )


def _plans(
    db: Transaction,
    merchant_id: str,
    device_ids: Collection[str],
    at: Mapping[str, int],
    draft: Layer | None = None,
) -> dict[str, _Plan]:
    by_revision = {
        revision: revisions.layers_at(db, merchant_id, revision) for revision in set(at.values())
    }
    if draft is not None:
        for layers in by_revision.values():
            layers[draft.kind, draft.object_id] = draft
    places = dict(
        db.execute(
            select(DEVICES.c.id, DEVICES.c.location_id).where(
                DEVICES.c.merchant_id == merchant_id, DEVICES.c.id.in_(sorted(device_ids))
            )
        ).all()
    )
    plans = {device_id: _Plan() for device_id in sorted(places)}
    rows = db.execute(
        select(
            READERS.c.id, READERS.c.device_id, READERS.c.profile, READERS.c.gone_at,
            READER_SETTINGS.c.chosen,
        )
        .outerjoin(READER_SETTINGS, READER_SETTINGS.c.reader_id == READERS.c.id)
        .where(READERS.c.device_id.in_(sorted(places)))
        .order_by(READERS.c.id)
    ).all()  # fmt: skip
    profiles: dict[str, ReaderProfile | None] = {}
    for row in rows:
        plan = plans[row.device_id]
        if row.profile not in profiles:
            profiles[row.profile] = _profile(row.profile)
        profile = profiles[row.profile]
        if profile is None:
            if row.chosen:
                own = dict.fromkeys(row.chosen, f"{LayerKind.READER.value}:{row.id}")
                plan.values[row.id] = Effective(row.chosen, own)
            if row.gone_at is None and row.profile:
                plan.cannot.append(Cannot(row.id, "", None))
            continue
        layers = by_revision[at[row.device_id]]
        chain = _above(layers, merchant_id, places[row.device_id], row.device_id)
        chain.append(Layer(LayerKind.READER, row.id, {row.profile: row.chosen or {}}))
        one = effective(profile, chain)
        plan.values[row.id] = one
        if row.gone_at is None:
            plan.cannot += [Cannot(row.id, name, refused) for name, refused in one.cannot]
    return plans


def _above(
    layers: Mapping[tuple[LayerKind, str], Layer],
    merchant_id: str,
    location_id: str,
    device_id: str,
) -> list[Layer]:
    """Layers of the readers of a device, from the general to the particular."""
    keys = (
        (LayerKind.ORGANISATION, merchant_id),
        (LayerKind.LOCATION, location_id),
        (LayerKind.DEVICE, device_id),
    )
    return [layers[key] for key in keys if key in layers]


class _Sealer:
    """Secrets of readers, sealed each for its device; what did not change stays as it was sealed."""

    def __init__(self, db: Transaction, merchant_id: str, device_ids: Collection[str]) -> None:
        self._db = db
        self.rows = {
            row.reader_id: row
            for row in db.execute(
                select(READER_SETTINGS)
                .join(READERS, READERS.c.id == READER_SETTINGS.c.reader_id)
                .where(
                    READERS.c.device_id.in_(sorted(device_ids)),
                    READER_SETTINGS.c.merchant_id == merchant_id,
                )
            )
        }
        #: From what each sealed text was made, by device.
        self.marks: dict[str, dict[str, str]] = defaultdict(dict)
        self._keys: dict[str, str | None] = {}
        self._former: dict[str, Mapping[str, str]] = {}
        if any(row.secrets for row in self.rows.values()):
            self._former = dict(
                db.execute(
                    select(VERSIONS.c.device_id, VERSIONS.c.sealed)
                    .join(
                        CONFIGS,
                        and_(
                            CONFIGS.c.device_id == VERSIONS.c.device_id,
                            CONFIGS.c.version == VERSIONS.c.version,
                        ),
                    )
                    .where(VERSIONS.c.device_id.in_(sorted(device_ids)))
                ).all()
            )

    def secrets(self, device_id: str, reader_id: str, before: Mapping[str, Any]) -> dict[str, str]:
        """Secrets of a reader. A device without a certificate that counts keeps what it has."""
        row = self.rows.get(reader_id)
        former: dict[str, str] = before.get("readers", {}).get(reader_id, {}).get("secrets", {})
        if row is None or not row.secrets:
            return {}
        key = self._key(device_id)
        if key is None:
            return former
        sealed: dict[str, str] = {}
        for name, at_rest in row.secrets.items():
            where, mark = f"{reader_id}/{name}", _mark(at_rest, key)
            self.marks[device_id][where] = mark
            if name in former and self._former.get(device_id, {}).get(where) == mark:
                sealed[name] = former[name]
                continue
            value = context_of(self._db).keyring.open(at_rest, secret_at_rest(reader_id, name))
            purpose = secret_purpose(device_id, reader_id, name)
            sealed[name] = seal(value, key, purpose, os.urandom(RANDOM_BYTES))
        return sealed

    def _key(self, device_id: str) -> str | None:
        """The public key of the device, PEM; None where no certificate counts."""
        if device_id not in self._keys:
            self._keys[device_id] = self._db.execute(
                select(CERTIFICATES.c.public_key)
                .where(
                    CERTIFICATES.c.device_id == device_id,
                    CERTIFICATES.c.revoked_at.is_(None),
                    CERTIFICATES.c.not_after > context_of(self._db).clock.now(),
                )
                .order_by(CERTIFICATES.c.not_after.desc())
                .limit(1)
            ).scalar_one_or_none()
        return self._keys[device_id]


def secret_at_rest(reader_id: str, name: str) -> str:
    """What a secret is sealed for while it lies in the database."""
    return f"reader setting {reader_id} {name}"


def _mark(at_rest: str, key: str) -> str:
    return hashlib.sha256(f"{at_rest}\n{key}".encode()).hexdigest()[:16]


def _answer(row: Any) -> Answer:
    said = (row.reported or {}).get("config", {})
    state = AnswerState.PENDING
    if not row.state.may_connect:
        state = AnswerState.UNREACHABLE
    elif said.get("hash") == row.hash:
        state = {
            "applied": AnswerState.APPLIED,
            "rejected": AnswerState.REJECTED,
            "rolled_back": AnswerState.ROLLED_BACK,
        }.get(said.get("status", ""), AnswerState.PENDING)
    is_its = state is not AnswerState.PENDING
    return Answer(
        revision=row.revision,
        state=state,
        errors=dict(said.get("errors", {})) if is_its else {},
        reboot_required=is_its and "reboot_required" in said.get("keys", {}).values(),
        at=row.reported_at,
    )


def _profile(profile_id: str) -> ReaderProfile | None:
    try:
        return load_profile(profile_id)
    except ProfileError:
        return None


def _of(table: Any, merchant_id: str, device_ids: Collection[str]) -> list[ColumnElement[bool]]:
    return [table.c.merchant_id == merchant_id, table.c.device_id.in_(sorted(device_ids))]


def _parts(device_ids: Collection[str]) -> list[list[str]]:
    """A statement takes so many values at a time."""
    ids = sorted(set(device_ids))
    return [ids[at : at + _SOME] for at in range(0, len(ids), _SOME)]
