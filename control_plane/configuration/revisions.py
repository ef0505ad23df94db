"""The history of the layers: one line of revisions for each merchant. Nothing of it is ever changed or forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, select

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.configuration.errors import (
    LayerChangedMeanwhile,
    LayerObjectUnknown,
    ProfileNotKnown,
    RevisionUnknown,
    SecretNotInherited,
    SettingNotTaken,
    WholeOrganisationOnly,
    told,
)
from control_plane.configuration.layers import EVERY_MODEL, Layer, LayerKind
from control_plane.configuration.models import REVISIONS
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.devices import queries as devices
from control_plane.devices.queries import Found
from control_plane.errors import DomainError
from firmware_profiles import ProfileError, ReaderProfile, load_profile
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from firmware_profiles.loading import load_all


def newest(db: Transaction, merchant_id: str) -> int:
    """Number of the newest revision; 0 when nothing was ever set."""
    highest = select(func.max(REVISIONS.c.number)).where(REVISIONS.c.merchant_id == merchant_id)
    return db.execute(highest).scalar_one() or 0


def known(db: Transaction, merchant_id: str, revision: int | None) -> int:
    """The revision, or the newest for None. Raises RevisionUnknown."""
    last = newest(db, merchant_id)
    if revision is None:
        return last
    if not 0 <= revision <= last:
        raise RevisionUnknown(field="revision", revision=revision, newest=last)
    return revision


def layers_at(
    db: Transaction, merchant_id: str, revision: int
) -> dict[tuple[LayerKind, str], Layer]:
    """Every layer as it stood at a revision; those that were emptied are not there."""
    return {
        (row.kind, row.object_id): Layer(row.kind, row.object_id, row.document)
        for row in db.execute(_rows_at(merchant_id, revision))
        if row.document
    }


def layer_row(
    db: Transaction, merchant_id: str, kind: LayerKind, object_id: str, revision: int
) -> Found | None:
    """The change that made a layer what it was at a revision."""
    its = and_(REVISIONS.c.kind == kind, REVISIONS.c.object_id == object_id)
    return db.execute(_rows_at(merchant_id, revision).where(its)).one_or_none()


def history_of(merchant_id: str) -> Select[*tuple[Any, ...]]:
    """Every change."""
    return select(REVISIONS).where(REVISIONS.c.merchant_id == merchant_id)


def set_layer(
    db: Transaction,
    caller: Caller,
    kind: LayerKind,
    object_id: str,
    document: Mapping[str, Mapping[str, object]],
    *,
    note: str = "",
    expected: int | None = None,
) -> int:
    """Make a layer this document; the revision that it is from now on. Nothing is sent to devices yet.

    ``expected`` is the newest revision that the caller knew. Raises LayerObjectUnknown, ProfileNotKnown,
    SettingNotTaken, SecretNotInherited, LayerChangedMeanwhile, WholeOrganisationOnly.
    """
    object_id, name = _object(db, caller, kind, object_id)
    checked = checked_document(document)
    # Two who change at once take their turns here.
    db.execute(
        select(accounts.MERCHANTS.c.id)
        .where(accounts.MERCHANTS.c.id == caller.merchant_id)
        .with_for_update()
    )
    last = newest(db, caller.merchant_id)
    if expected is not None and expected != last:
        raise LayerChangedMeanwhile(revision=last)
    before = layer_row(db, caller.merchant_id, kind, object_id, last)
    if (before.document if before else {}) == checked:
        return last
    db.execute(
        insert(REVISIONS).values(
            merchant_id=caller.merchant_id,
            number=last + 1,
            kind=kind,
            object_id=object_id,
            document=checked,
            note=note[:500],
            created_by=caller.name[:200],
            created_at=context_of(db).clock.now(),
        )
    )
    record(
        db, caller.merchant_id, caller.actor, AuditTag.CONFIG_LAYER_CHANGE,
        object_id=object_id, object_name=name,
        before=dict(before.document) if before else {}, after={**checked, "revision": last + 1},
    )  # fmt: skip
    return last + 1


def drafted(
    db: Transaction,
    caller: Caller,
    kind: LayerKind,
    object_id: str,
    document: Mapping[str, Mapping[str, object]],
) -> Layer:
    """The layer that ``set_layer`` would store. Raises as that does."""
    object_id, _ = _object(db, caller, kind, object_id)
    return Layer(kind, object_id, checked_document(document))


def restore(db: Transaction, caller: Caller, revision: int, *, note: str = "") -> int:
    """Make every layer again what it was at a revision, as new revisions; the newest of them.

    Raises RevisionUnknown, and what ``set_layer`` raises.
    """
    wanted = layers_at(db, caller.merchant_id, known(db, caller.merchant_id, revision))
    last = newest(db, caller.merchant_id)
    present = layers_at(db, caller.merchant_id, last)
    for key in sorted(wanted.keys() | present.keys()):
        document = wanted[key].document if key in wanted else {}
        last = set_layer(db, caller, *key, document, note=note or f"As at revision {revision}")
    return last


def checked_document(document: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, Any]]:
    """The same without empty parts. Raises ProfileNotKnown, SettingNotTaken, SecretNotInherited."""
    checked = {}
    for profile_id, values in document.items():
        for name, value in values.items():
            _check(profile_id, name, value)
        if values:
            checked[profile_id] = dict(values)
    return checked


def _check(profile_id: str, name: str, value: object) -> None:
    """For every model, one that takes it is enough."""
    profiles: Sequence[ReaderProfile]
    if profile_id == EVERY_MODEL:
        profiles = [one for one in load_all()[0].values() if name in schema.offered(one)] or list(
            load_all()[0].values()
        )[:1]
    else:
        try:
            profiles = [load_profile(profile_id)]
        except ProfileError as error:
            raise ProfileNotKnown(field=profile_id) from error
    refused: DomainError | None = None
    for profile in profiles:
        try:
            schema.check(profile, {name: value})
        except SettingRefused as error:
            refused = told(error)
            continue
        if schema.offered(profile)[name].secret:
            raise SecretNotInherited(field=name)
        return
    raise refused or SettingNotTaken(field=name)


def _object(db: Transaction, caller: Caller, kind: LayerKind, object_id: str) -> tuple[str, str]:
    """Id and name of what the layer belongs to. Raises LayerObjectUnknown, WholeOrganisationOnly."""
    found: Found | None = None
    if kind in (LayerKind.ORGANISATION, LayerKind.GROUP) and not caller.scope.covers(None):
        raise WholeOrganisationOnly
    if kind is LayerKind.ORGANISATION:
        object_id = object_id or caller.merchant_id
        if object_id == caller.merchant_id:
            found = db.execute(
                accounts.MERCHANTS.select().where(accounts.MERCHANTS.c.id == object_id)
            ).one_or_none()
    elif kind is LayerKind.LOCATION and caller.scope.covers(object_id):
        found = db.execute(
            accounts.LOCATIONS.select().where(
                accounts.LOCATIONS.c.id == object_id,
                accounts.LOCATIONS.c.merchant_id == caller.merchant_id,
            )
        ).one_or_none()
    elif kind is LayerKind.DEVICE:
        found = devices.device(db, caller.scope, object_id)
    if found is None:
        raise LayerObjectUnknown(field="object_id", kind=kind.value, object_id=object_id)
    return object_id, found.name


def _rows_at(merchant_id: str, revision: int) -> Select[*tuple[Any, ...]]:
    upto: ColumnElement[bool] = and_(
        REVISIONS.c.merchant_id == merchant_id, REVISIONS.c.number <= revision
    )
    last = (
        select(func.max(REVISIONS.c.number).label("number"))
        .where(upto)
        .group_by(REVISIONS.c.kind, REVISIONS.c.object_id)
        .subquery()
    )
    return (
        select(REVISIONS)
        .join(last, last.c.number == REVISIONS.c.number)
        .where(REVISIONS.c.merchant_id == merchant_id)
    )
