"""What a shop sets on its readers: checked by the reader's profile, kept, and sent to the device that drives it.

A secret is stored sealed and leaves only sealed for the one device; it is never shown again. What a device has in force
is what it reports, see ``devices.status``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.configuration import queries
from control_plane.configuration.errors import (
    ReaderCannotBeSealedFor,
    ReaderModelUnknown,
    told,
)
from control_plane.configuration.models import READER_SETTINGS
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert as upsert
from control_plane.devices import queries as devices
from control_plane.devices import service as device_service
from control_plane.devices.queries import Found
from control_plane.errors import NotFound
from firmware_profiles import ProfileError, ReaderProfile, load_profile
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from firmware_profiles.settings import Value
from protocols.cloud.configuration import ReaderConfiguration, secret_purpose
from protocols.cloud.sealing import RANDOM_BYTES, seal


@dataclass(frozen=True, slots=True)
class SettingsView:
    """What may be set on a reader, and what is. ``secrets`` names those that are there."""

    reader: Found
    profile: ReaderProfile
    values: Mapping[str, Value]
    secrets: frozenset[str]
    changed_at: datetime | None
    changed_by: str


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
    before = settings_of(db, caller.scope, reader_id)
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
            secrets[name] = keyring.seal(str(value).encode(), _at_rest(reader_id, name))
        else:
            values[name] = value
    changed_secrets = {name for name in given if offered[name].secret}
    if values == before.values and not changed_secrets:
        return before
    _store(db, caller, before.reader, values, secrets)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.READER_CONFIGURE,
        object_id=reader_id, object_name=before.reader.name,
        before={**before.values, **dict.fromkeys(changed_secrets & before.secrets, "•••")},
        after={**values, **dict.fromkeys(changed_secrets & secrets.keys(), "••• (new)")},
    )  # fmt: skip
    _send(db, caller, before.reader)
    return settings_of(db, caller.scope, reader_id)


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
    """Everything that is set on readers of this device becomes what should be in force there."""
    device_id: str = reader.device_id
    rows = queries.settings_on_device(db, caller.merchant_id, device_id)
    present = devices.desired_config(db, device_id)
    document = dict(present.document) if present else {}
    document["readers"] = {
        row.reader_id: msgspec.to_builtins(
            ReaderConfiguration(row.chosen, _sealed_for_device(db, reader, row))
        )
        for row in rows
    }
    device_service.desire_config(db, caller.scope, device_id, document, by=caller.actor)


def _sealed_for_device(db: Transaction, reader: Found, row: Found) -> dict[str, str]:
    if not row.secrets:
        return {}
    context = context_of(db)
    device_id: str = reader.device_id
    usable = devices.certificates(db, device_id)
    now = context.clock.now()
    keys = [one.public_key for one in usable if one.revoked_at is None and one.not_after > now]
    sealed: dict[str, str] = {}
    for name, at_rest in row.secrets.items():
        value = context.keyring.open(at_rest, _at_rest(row.reader_id, name))
        purpose = secret_purpose(device_id, row.reader_id, name)
        try:
            sealed[name] = seal(value, keys[0], purpose, os.urandom(RANDOM_BYTES))
        except (IndexError, ValueError) as error:
            raise ReaderCannotBeSealedFor(reader=reader.name) from error
    return sealed


def _at_rest(reader_id: str, name: str) -> str:
    return f"reader setting {reader_id} {name}"
