"""What a shop sets on its readers: checked by the reader's profile, kept, and sent to the device that drives it.

A secret is stored sealed and leaves only sealed for the one device; it is never shown again. What a device has in force
is what it reports, see ``devices.status``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.configuration import push, queries
from control_plane.configuration.errors import (
    ReaderCannotBeSealedFor,
    ReaderModelUnknown,
    SettingNotTaken,
    told,
)
from control_plane.configuration.layers import Effective
from control_plane.configuration.models import READER_SETTINGS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert as upsert
from control_plane.devices import queries as devices
from control_plane.devices.queries import Found
from control_plane.errors import DomainError, NotFound
from firmware_profiles import ProfileError, ReaderProfile, load_profile
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from firmware_profiles.settings import Value


@dataclass(frozen=True, slots=True)
class SettingsView:
    """What may be set on a reader, and what is. ``secrets`` names those that are there."""

    reader: Found
    profile: ReaderProfile
    values: Mapping[str, Value]
    #: From the layers above it.
    inherited: Effective
    secrets: frozenset[str]
    changed_at: datetime | None
    changed_by: str


@dataclass(frozen=True, slots=True)
class Radius:
    """What a change for many readers touches: ids of readers, and of the devices that get a new configuration."""

    changed: tuple[str, ...]
    #: As they were asked to be already.
    same: tuple[str, ...]
    #: Why a reader is left as it is.
    cannot: Mapping[str, DomainError]
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a change makes of one reader; ``renewed`` are the secrets that it sets or takes away."""

    before: SettingsView
    values: Mapping[str, Value]
    secrets: Mapping[str, str]
    renewed: frozenset[str]

    @property
    def is_change(self) -> bool:
        return self.values != self.before.values or bool(self.renewed)


def settings_of(db: Transaction, scope: Scope, reader_id: str) -> SettingsView:
    """Raises NotFound, ReaderModelUnknown."""
    reader = devices.reader(db, scope, reader_id)
    if reader is None:
        raise NotFound("reader", reader_id)
    try:
        profile = load_profile(reader.profile)
    except ProfileError as error:
        raise ReaderModelUnknown(profile=reader.profile, reader=reader.name) from error
    row = queries.settings_of_reader(db, reader_id)
    offered = schema.offered(profile)
    return SettingsView(
        reader,
        profile,
        {name: value for name, value in (row.chosen if row else {}).items() if name in offered},
        push.inherited(db, reader, profile),
        frozenset(row.secrets if row else ()) & offered.keys(),
        row.changed_at if row else None,
        row.changed_by if row else "",
    )


def change(
    db: Transaction, caller: Caller, reader_id: str, given: Mapping[str, object]
) -> SettingsView:
    """Set these, and set back those that are ``None``; the others stay. The device is told after the commit.

    Raises NotFound, ReaderModelUnknown, SettingNotTaken, ReaderCannotBeSealedFor.
    """
    plan = _plan(db, settings_of(db, caller.scope, reader_id), given)
    if plan.is_change:
        _carry_out(db, caller, plan)
        _send(db, caller, plan.before.reader)
    return settings_of(db, caller.scope, reader_id)


def change_many(
    db: Transaction,
    caller: Caller,
    reader_ids: Sequence[str],
    given: Mapping[str, object],
    *,
    is_trial: bool,
) -> Radius:
    """The same change on many readers: what it touches, and who cannot take it. A trial changes nothing.

    A reader that cannot take it is left as it is and does not keep the others from it. Each device is told once,
    whatever number of its readers it is. Raises NotFound before anything is changed.
    """
    changes: list[_Plan] = []
    same: list[str] = []
    cannot: dict[str, DomainError] = {}
    for reader_id in dict.fromkeys(reader_ids):
        try:
            plan = _plan(db, settings_of(db, caller.scope, reader_id), given)
        except (ReaderModelUnknown, SettingNotTaken, ReaderCannotBeSealedFor) as refused:
            cannot[reader_id] = refused
            continue
        if plan.is_change:
            changes.append(plan)
        else:
            same.append(reader_id)
    one_a_device = {plan.before.reader.device_id: plan.before.reader for plan in changes}
    if not is_trial:
        for plan in changes:
            _carry_out(db, caller, plan)
        for reader in one_a_device.values():
            _send(db, caller, reader)
    changed = tuple(plan.before.reader.id for plan in changes)
    return Radius(changed, tuple(same), cannot, tuple(one_a_device))


def _plan(db: Transaction, before: SettingsView, given: Mapping[str, object]) -> _Plan:
    """What would stand then. Raises SettingNotTaken, ReaderCannotBeSealedFor."""
    reader_id = before.reader.id
    offered = schema.offered(before.profile)
    try:
        checked = schema.check(
            before.profile, {name: value for name, value in given.items() if value is not None}
        )
        schema.check_names(before.profile, given)
    except SettingRefused as refused:
        raise told(refused) from refused
    values = {name: value for name, value in before.values.items() if name not in given}
    stored = queries.settings_of_reader(db, reader_id)
    secrets = {
        name: sealed
        for name, sealed in (stored.secrets if stored else {}).items()
        if name in offered and name not in given
    }
    keyring = context_of(db).keyring
    for name, value in checked.items():
        if offered[name].secret:
            secrets[name] = keyring.seal(str(value).encode(), push.secret_at_rest(reader_id, name))
        else:
            values[name] = value
    plan = _Plan(before, values, secrets, frozenset(n for n in given if offered[n].secret))
    if plan.is_change:
        others = queries.settings_on_device(db, before.reader.merchant_id, before.reader.device_id)
        if secrets or any(row.secrets for row in others if row.reader_id != reader_id):
            _key(db, before.reader)
    return plan


def _carry_out(db: Transaction, caller: Caller, plan: _Plan) -> None:
    before = plan.before
    _store(db, caller, before.reader, plan.values, plan.secrets)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.READER_CONFIGURE,
        object_id=before.reader.id, object_name=before.reader.name,
        before={**before.values, **dict.fromkeys(plan.renewed & before.secrets, "•••")},
        after={**plan.values, **dict.fromkeys(plan.renewed & plan.secrets.keys(), "••• (new)")},
    )  # fmt: skip


def _store(
    db: Transaction,
    caller: Caller,
    reader: Found,
    values: Mapping[str, Value],
    secrets: Mapping[str, str],
) -> None:
    new = {
        "chosen": dict(values),
        "secrets": dict(secrets),
        "changed_at": context_of(db).clock.now(),
        "changed_by": caller.name,
    }
    statement = upsert(db, READER_SETTINGS).values(
        reader_id=reader.id, merchant_id=caller.merchant_id, **new
    )
    db.execute(statement.on_conflict_do_update(index_elements=["reader_id"], set_=new))


def _send(db: Transaction, caller: Caller, reader: Found) -> None:
    """What is set on readers of this device becomes what should be in force there, with the layers that it has."""
    device_id: str = reader.device_id
    push.settle(db, caller.merchant_id, [device_id], by=caller.actor)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.DEVICE_CONFIG_PUSH,
        object_id=device_id, object_name=reader.device_name,
    )  # fmt: skip


def _key(db: Transaction, reader: Found) -> str:
    """The public key of the device, PEM. Raises ReaderCannotBeSealedFor where no certificate counts."""
    now = context_of(db).clock.now()
    for one in devices.certificates(db, reader.device_id):
        if one.revoked_at is None and one.not_after > now:
            key: str = one.public_key
            return key
    raise ReaderCannotBeSealedFor(reader=reader.name)
