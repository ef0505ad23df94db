"""Rules about merchants, locations, users and API keys. Signing in is in ``sign_in``."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from control_plane.accounts import queries
from control_plane.accounts.caller import Caller
from control_plane.accounts.errors import (
    EmailTaken,
    InvitationSpent,
    LastOwner,
    NameTaken,
    RightsNotYours,
)
from control_plane.accounts.passwords import Passwords
from control_plane.accounts.permissions import ROLES, Permission, Role
from control_plane.audit.actor import SYSTEM, Actor, ActorKind
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed, insert_new
from control_plane.errors import Forbidden, NotFound, RequestRefused
from protocols.ids import new_id
from protocols.secret import Secret

#: What session, invitation and API key tokens are hashed for.
HASHED_AS: Final = "bearer"
_KEY_PREFIX: Final = "omk_"
_CHARACTERS_SHOWN: Final = 4


def normalized_email(text: str) -> str:
    """An address as we store and compare it. Raises RequestRefused for what cannot be one."""
    email = text.strip().casefold()
    name, at, domain = email.rpartition("@")
    if not name or not at or "." not in domain or " " in email or len(email) > 254:
        raise RequestRefused(field="email", reason="Write the address like name@example.com.")
    return email


def create_merchant(db: Transaction, name: str, *, currency: str = "EUR") -> str:
    """A new organisation; returns its id."""
    merchant_id = new_id("mer")
    values = {"id": merchant_id, "name": name, "currency": currency, "created_at": _now(db)}
    db.execute(insert(queries.MERCHANTS).values(values))
    record(
        db, merchant_id, SYSTEM, AuditTag.MERCHANT_CREATE, object_id=merchant_id, object_name=name
    )
    return merchant_id


def create_location(
    db: Transaction, merchant_id: str, name: str, *, time_zone: str = "UTC", by: Actor = SYSTEM
) -> str:
    """A new shop; returns its id. Raises NameTaken."""
    location_id = new_id("loc")
    new = insert_new(
        db,
        queries.LOCATIONS,
        {
            "id": location_id,
            "merchant_id": merchant_id,
            "name": name,
            "time_zone": time_zone,
            "created_at": _now(db),
        },
        unique=["merchant_id", "name"],
    )
    if not new:
        raise NameTaken(name=name)
    record(
        db, merchant_id, by, AuditTag.LOCATION_CREATE, object_id=location_id, object_name=name
    )  # fmt: skip
    return location_id


def add_location(db: Transaction, caller: Caller, name: str, *, time_zone: str) -> str:
    """A new shop; returns its id. Raises NameTaken, and Forbidden for who sees only some locations."""
    _must_reach_everything(caller)
    return create_location(db, caller.merchant_id, name, time_zone=time_zone, by=caller.actor)


def update_location(
    db: Transaction, caller: Caller, location_id: str, *, name: str, time_zone: str
) -> None:
    """Rename a shop or move it to another time zone. Raises NotFound, NameTaken."""
    table = queries.LOCATIONS
    before = queries.location_of(db, caller.scope, location_id)
    if before is None:
        raise NotFound("location", location_id)
    try:
        with db.begin_nested():
            db.execute(
                update(table)
                .where(table.c.id == location_id)
                .values(name=name, time_zone=time_zone)
            )
    except IntegrityError:
        raise NameTaken(name=name) from None
    record(
        db, caller.merchant_id, caller.actor, AuditTag.LOCATION_UPDATE,
        object_id=location_id, object_name=name,
        before={"name": before.name, "time_zone": before.time_zone},
        after={"name": name, "time_zone": time_zone},
    )  # fmt: skip


def create_user(
    db: Transaction,
    merchant_id: str,
    *,
    email: str,
    name: str,
    role: Role,
    password_hash: str,
    location_ids: Collection[str] | None = None,
    by: Actor = SYSTEM,
) -> str:
    """A user who can sign in at once; returns the id. Raises EmailTaken.

    Somebody who already works for another merchant keeps their own password.
    """
    user_id = _join(db, merchant_id, email, name, role, location_ids, join_existing=True)
    db.execute(
        update(queries.USERS)
        .where(queries.USERS.c.id == user_id, queries.USERS.c.password_hash.is_(None))
        .values(password_hash=password_hash)
    )
    record(
        db, merchant_id, by, AuditTag.USER_CREATE,
        object_id=user_id, object_name=name, after=_rights(role, location_ids),
    )  # fmt: skip
    return user_id


def invite_user(
    db: Transaction,
    caller: Caller,
    *,
    email: str,
    name: str,
    role: Role,
    location_ids: Collection[str] | None,
    valid_for: timedelta,
) -> tuple[str, Secret[str]]:
    """A user who chooses a password with the token returned beside the id. Raises EmailTaken, RightsNotYours."""
    _must_be_able_to_give(caller, ROLES[role], location_ids)
    _must_exist(db, caller.merchant_id, location_ids)
    # Whoever invites holds the token: an account that others already trust must not come of it.
    user_id = _join(db, caller.merchant_id, email, name, role, location_ids, join_existing=False)
    token = _invitation(db, caller.merchant_id, user_id, valid_for)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.USER_INVITE,
        object_id=user_id, object_name=name, after=_rights(role, location_ids),
    )  # fmt: skip
    return user_id, token


def accept_invitation(
    db: Transaction, token: str, password_hash: str, *, ip: str, user_agent: str
) -> str:
    """Set the first password; returns the user's id. Raises InvitationSpent."""
    table = queries.INVITATIONS
    hashes = context_of(db).keyring.hashes(token, HASHED_AS)
    invitation = db.execute(
        table.select().where(table.c.token_hash.in_(hashes)).with_for_update()
    ).one_or_none()
    now = _now(db)
    if invitation is None or invitation.used_at is not None or invitation.expires_at <= now:
        raise InvitationSpent
    db.execute(update(table).where(table.c.id == invitation.id).values(used_at=now))
    users = queries.USERS
    accepted = changed(
        db,
        update(users)
        .where(users.c.id == invitation.user_id, users.c.password_hash.is_(None))
        .values(password_hash=password_hash),
    )
    if not accepted:
        raise InvitationSpent
    name = db.execute(users.select().where(users.c.id == invitation.user_id)).one().name
    actor = Actor(ActorKind.USER, invitation.user_id, name, ip, user_agent)
    record(db, invitation.merchant_id, actor, AuditTag.USER_ACCEPT, object_id=invitation.user_id)
    return str(invitation.user_id)


def change_rights(
    db: Transaction, caller: Caller, user_id: str, role: Role, location_ids: list[str] | None
) -> None:
    """Give a user another role or other locations. Raises NotFound, RightsNotYours, LastOwner."""
    owners = queries.active_owners(db, caller.merchant_id)
    user = user_to_change(db, caller, user_id)
    _must_be_able_to_give(caller, ROLES[role], location_ids)
    _must_exist(db, caller.merchant_id, location_ids)
    if owners == [user_id] and (role is not Role.OWNER or location_ids is not None):
        raise LastOwner(name=user.name)
    table = queries.MEMBERSHIPS
    db.execute(
        update(table)
        .where(*_whole(caller).conditions(table), table.c.user_id == user_id)
        .values(role=role, location_ids=location_ids)
    )
    record(
        db, caller.merchant_id, caller.actor, AuditTag.USER_ROLE_CHANGE,
        object_id=user_id, object_name=user.name,
        before=_rights(user.role, user.location_ids), after=_rights(role, location_ids),
    )  # fmt: skip


def user_to_change(db: Transaction, caller: Caller, user_id: str) -> queries.Found:
    """A user of this merchant with no more rights than the caller. Raises NotFound, RightsNotYours."""
    user = queries.user_of(db, _whole(caller), user_id)
    if user is None:
        raise NotFound("user", user_id)
    _must_be_able_to_give(caller, ROLES[user.role], user.location_ids)
    return user


def set_enabled(db: Transaction, caller: Caller, user_id: str, *, enabled: bool) -> None:
    """Let a user sign in again, or no longer, which also ends their sign-ins. Raises NotFound, LastOwner."""
    owners = queries.active_owners(db, caller.merchant_id)
    user = user_to_change(db, caller, user_id)
    if not enabled and owners == [user_id]:
        raise LastOwner(name=user.name)
    table = queries.MEMBERSHIPS
    db.execute(
        update(table)
        .where(*_whole(caller).conditions(table), table.c.user_id == user_id)
        .values(disabled_at=None if enabled else _now(db))
    )
    if not enabled:
        end_sessions(db, user_id, merchant_id=caller.merchant_id)
    record(
        db, caller.merchant_id, caller.actor,
        AuditTag.USER_ENABLE if enabled else AuditTag.USER_DISABLE,
        object_id=user_id, object_name=user.name,
    )  # fmt: skip


def change_password(
    db: Transaction, caller: Caller, passwords: Passwords, *, current: str, new: str
) -> None:
    """Set a new password, and end the user's other sign-ins. Raises RequestRefused when ``current`` is wrong."""
    users = queries.USERS
    stored = db.execute(users.select().where(users.c.id == caller.id)).one().password_hash
    if not passwords.matches(current, stored):
        raise RequestRefused(field="current", reason="This is not your present password.")
    db.execute(
        update(users).where(users.c.id == caller.id).values(password_hash=passwords.hash(new))
    )
    end_sessions(db, caller.id, but=caller.session_id)
    record(db, caller.merchant_id, caller.actor, AuditTag.USER_PASSWORD_CHANGE, object_id=caller.id)


def end_sessions(
    db: Transaction, user_id: str, *, merchant_id: str | None = None, but: str | None = None
) -> int:
    """End the sign-ins of a user, for one merchant or all, except one; returns how many."""
    table = queries.SESSIONS
    statement = update(table).where(table.c.user_id == user_id, table.c.revoked_at.is_(None))
    if merchant_id is not None:
        statement = statement.where(table.c.merchant_id == merchant_id)
    if but is not None:
        statement = statement.where(table.c.id != but)
    return changed(db, statement.values(revoked_at=_now(db)))


def create_api_key(
    db: Transaction,
    caller: Caller,
    *,
    name: str,
    permissions: Iterable[Permission],
    location_ids: Collection[str] | None = None,
    expires_at: datetime | None = None,
    mode: str = "live",
) -> tuple[str, Secret[str]]:
    """A key with some of the caller's own permissions: its id, and the key, which is shown only now."""
    granted = frozenset(permissions)
    _must_be_able_to_give(caller, granted, location_ids)
    _must_exist(db, caller.merchant_id, location_ids)
    if not granted:
        raise RequestRefused(field="permissions", reason="Name at least one permission.")
    key_id = new_id("key")
    token = f"{_KEY_PREFIX}{mode}_{secrets.token_urlsafe(32)}"
    db.execute(
        insert(queries.API_KEYS).values(
            id=key_id,
            merchant_id=caller.merchant_id,
            name=name,
            prefix=token[: len(_KEY_PREFIX) + len(mode) + 1 + _CHARACTERS_SHOWN],
            token_hash=context_of(db).keyring.hash(token, HASHED_AS),
            permissions=sorted(granted),
            location_ids=None if location_ids is None else sorted(location_ids),
            created_by=caller.id,
            created_at=_now(db),
            expires_at=expires_at,
        )
    )
    record(
        db, caller.merchant_id, caller.actor, AuditTag.APIKEY_CREATE,
        object_id=key_id, object_name=name, after={"permissions": sorted(granted)},
    )  # fmt: skip
    return key_id, Secret(token)


def revoke_api_key(db: Transaction, caller: Caller, key_id: str) -> None:
    """Let a key no longer work. Raises NotFound; revoking twice changes nothing."""
    table = queries.API_KEYS
    key = db.execute(
        queries.api_keys_of(caller.scope).where(table.c.id == key_id).with_for_update()
    ).one_or_none()
    if key is None:
        raise NotFound("API key", key_id)
    if key.revoked_at is not None:
        return
    db.execute(update(table).where(table.c.id == key_id).values(revoked_at=_now(db)))
    record(
        db, caller.merchant_id, caller.actor, AuditTag.APIKEY_REVOKE,
        object_id=key_id, object_name=key.name,
    )  # fmt: skip


def _join(
    db: Transaction,
    merchant_id: str,
    email: str,
    name: str,
    role: Role,
    location_ids: Collection[str] | None,
    *,
    join_existing: bool,
) -> str:
    email = normalized_email(email)
    now = _now(db)
    new = insert_new(
        db,
        queries.USERS,
        {
            "id": new_id("usr"),
            "email": email,
            "name": name,
            "created_at": now,
        },
        unique=["email"],
    )
    if not new and not join_existing:
        raise EmailTaken(email=email)
    user = queries.user_by_email(db, email)
    if user is None:
        raise NotFound("user", email)
    joined = insert_new(
        db,
        queries.MEMBERSHIPS,
        {
            "id": new_id("mem"),
            "merchant_id": merchant_id,
            "user_id": user.id,
            "role": role,
            "location_ids": None if location_ids is None else sorted(location_ids),
            "created_at": now,
        },
        unique=["merchant_id", "user_id"],
    )
    if not joined:
        raise EmailTaken(email=email)
    return str(user.id)


def _invitation(
    db: Transaction, merchant_id: str, user_id: str, valid_for: timedelta
) -> Secret[str]:
    token = secrets.token_urlsafe(32)
    db.execute(
        insert(queries.INVITATIONS).values(
            id=new_id("inv"),
            token_hash=context_of(db).keyring.hash(token, HASHED_AS),
            merchant_id=merchant_id,
            user_id=user_id,
            expires_at=_now(db) + valid_for,
        )
    )
    return Secret(token)


def _must_be_able_to_give(
    caller: Caller, permissions: frozenset[Permission], location_ids: Collection[str] | None
) -> None:
    lacking = sorted(one for one in permissions if not caller.can(one))
    if lacking:
        raise RightsNotYours(permissions=", ".join(lacking))
    if not caller.scope.covers_all(location_ids):
        raise Forbidden(permission="access to these locations")


def _must_reach_everything(caller: Caller) -> None:
    if caller.scope.location_ids is not None:
        raise Forbidden(permission="access to every location")


def _must_exist(db: Transaction, merchant_id: str, location_ids: Collection[str] | None) -> None:
    if location_ids is None:
        return
    if not location_ids:
        raise RequestRefused(
            field="location_ids", reason="Name a location, or leave it out for all."
        )
    unknown = set(location_ids) - queries.existing_locations(db, merchant_id)
    if unknown:
        raise NotFound("location", sorted(unknown)[0])


def _whole(caller: Caller) -> Scope:
    return Scope(caller.merchant_id, None, caller.scope.permissions)


def _rights(role: Role, location_ids: Collection[str] | None) -> dict[str, object]:
    return {
        "role": role.value,
        "location_ids": None if location_ids is None else sorted(location_ids),
    }


def _now(db: Transaction) -> datetime:
    return context_of(db).clock.now()
