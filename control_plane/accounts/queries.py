"""Reads of accounts. What runs on every request is Core and one statement."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import Row, Select, Table, bindparam, func, or_, select
from sqlmodel import col

from control_plane.accounts.models import (
    ApiKey,
    Invitation,
    Location,
    Membership,
    Merchant,
    SignInThrottle,
    User,
    UserSession,
)
from control_plane.accounts.permissions import Role
from control_plane.db.columns import UtcDateTime, table_of
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction

#: A row whose columns the query names.
Found: TypeAlias = Row[*tuple[Any, ...]]

USERS: Final[Table] = table_of(User)
MEMBERSHIPS: Final[Table] = table_of(Membership)
SESSIONS: Final[Table] = table_of(UserSession)
API_KEYS: Final[Table] = table_of(ApiKey)
MERCHANTS: Final[Table] = table_of(Merchant)
LOCATIONS: Final[Table] = table_of(Location)
THROTTLES: Final[Table] = table_of(SignInThrottle)
INVITATIONS: Final[Table] = table_of(Invitation)


# Built once: these run on every request.
_SESSION_BY_TOKEN: Final = (
    select(
        SESSIONS.c.id,
        SESSIONS.c.last_seen_at,
        SESSIONS.c.expires_at,
        SESSIONS.c.merchant_id,
        USERS.c.id.label("user_id"),
        USERS.c.name,
        USERS.c.email,
        USERS.c.language,
        MEMBERSHIPS.c.role,
        MEMBERSHIPS.c.location_ids,
    )
    .join(USERS, USERS.c.id == SESSIONS.c.user_id)
    .join(
        MEMBERSHIPS,
        (MEMBERSHIPS.c.user_id == SESSIONS.c.user_id)
        & (MEMBERSHIPS.c.merchant_id == SESSIONS.c.merchant_id),
    )
    .where(
        SESSIONS.c.token_hash.in_(bindparam("hashes", expanding=True)),
        SESSIONS.c.revoked_at.is_(None),
        MEMBERSHIPS.c.disabled_at.is_(None),
    )
)
_API_KEY_BY_TOKEN: Final = select(API_KEYS).where(
    API_KEYS.c.token_hash.in_(bindparam("hashes", expanding=True)),
    API_KEYS.c.revoked_at.is_(None),
    or_(
        API_KEYS.c.expires_at.is_(None), API_KEYS.c.expires_at > bindparam("at", type_=UtcDateTime)
    ),
)


def session_by_token(db: Transaction, token_hashes: Sequence[str]) -> Found | None:
    """The sign-in with its user and what they may do."""
    return db.execute(_SESSION_BY_TOKEN, {"hashes": token_hashes}).one_or_none()


def api_key_by_token(db: Transaction, token_hashes: Sequence[str], now: datetime) -> Found | None:
    """The key that is neither revoked nor expired."""
    return db.execute(_API_KEY_BY_TOKEN, {"hashes": token_hashes, "at": now}).one_or_none()


def user_by_email(db: Transaction, email: str) -> Found | None:
    """The user with this (normalised) address, whoever they work for."""
    return db.execute(select(USERS).where(USERS.c.email == email)).one_or_none()


def first_membership(db: Transaction, user_id: str) -> Found | None:
    """The merchant a user lands in: of those that let them in, the one they have worked for longest."""
    return db.execute(
        select(MEMBERSHIPS)
        .where(MEMBERSHIPS.c.user_id == user_id, MEMBERSHIPS.c.disabled_at.is_(None))
        .order_by(MEMBERSHIPS.c.created_at, MEMBERSHIPS.c.id)
        .limit(1)
    ).one_or_none()


def user_of(db: Transaction, scope: Scope, user_id: str) -> Found | None:
    """One user of this merchant, with role and locations."""
    return db.execute(users_of(scope).where(USERS.c.id == user_id)).one_or_none()


def users_of(scope: Scope) -> Select[Any]:
    """Users of this merchant, with role and locations."""
    return (
        select(
            USERS.c.id,
            USERS.c.email,
            USERS.c.name,
            USERS.c.language,
            USERS.c.created_at,
            USERS.c.password_hash.is_not(None).label("has_password"),
            MEMBERSHIPS.c.disabled_at,
            MEMBERSHIPS.c.role,
            MEMBERSHIPS.c.location_ids,
        )
        .join(MEMBERSHIPS, MEMBERSHIPS.c.user_id == USERS.c.id)
        .where(*scope.conditions(MEMBERSHIPS))
    )


def active_owners(db: Transaction, merchant_id: str) -> list[str]:
    """Owners who can sign in; locked, with their merchant, until the transaction ends."""
    db.execute(select(MERCHANTS.c.id).where(MERCHANTS.c.id == merchant_id).with_for_update())
    return list(
        db.execute(
            select(MEMBERSHIPS.c.user_id)
            .join(USERS, USERS.c.id == MEMBERSHIPS.c.user_id)
            .where(
                MEMBERSHIPS.c.merchant_id == merchant_id,
                MEMBERSHIPS.c.role == Role.OWNER,
                MEMBERSHIPS.c.location_ids.is_(None),
                MEMBERSHIPS.c.disabled_at.is_(None),
                USERS.c.password_hash.is_not(None),
            )
        ).scalars()
    )


def locations_of(scope: Scope) -> Select[Any]:
    """Locations within reach, archived ones too."""
    statement = select(LOCATIONS).where(LOCATIONS.c.merchant_id == scope.merchant_id)
    if scope.location_ids is not None:
        statement = statement.where(LOCATIONS.c.id.in_(sorted(scope.location_ids)))
    return statement


def location_of(db: Transaction, scope: Scope, location_id: str) -> Found | None:
    """One location within reach."""
    return db.execute(locations_of(scope).where(LOCATIONS.c.id == location_id)).one_or_none()


def existing_locations(db: Transaction, merchant_id: str) -> frozenset[str]:
    """Ids of the merchant's locations that are not archived."""
    return frozenset(
        db.execute(
            select(LOCATIONS.c.id).where(
                LOCATIONS.c.merchant_id == merchant_id, LOCATIONS.c.archived_at.is_(None)
            )
        ).scalars()
    )


def api_keys_of(scope: Scope) -> Select[Any]:
    """The merchant's keys, without what they are looked up by."""
    hidden = {"token_hash"}
    columns = [column for column in API_KEYS.c if column.name not in hidden]
    return select(*columns).where(*scope.conditions(API_KEYS))


def api_key_of(db: Transaction, scope: Scope, key_id: str) -> Found | None:
    """One key, without what it is looked up by."""
    return db.execute(api_keys_of(scope).where(API_KEYS.c.id == key_id)).one_or_none()


def open_sessions_of(scope: Scope, user_id: str, now: datetime) -> Select[Any]:
    """Sign-ins of a user that still count."""
    return select(SESSIONS).where(
        *scope.conditions(SESSIONS),
        SESSIONS.c.user_id == user_id,
        SESSIONS.c.revoked_at.is_(None),
        SESSIONS.c.expires_at > now,
    )


def merchant(db: Transaction, merchant_id: str) -> Found:
    """The merchant itself."""
    return db.execute(select(MERCHANTS).where(MERCHANTS.c.id == merchant_id)).one()


def merchants(db: Transaction) -> Sequence[Found]:
    """All merchants, for commands on the server."""
    return db.execute(select(MERCHANTS).order_by(MERCHANTS.c.created_at, MERCHANTS.c.id)).all()


def count_users(db: Transaction) -> int:
    """How many users there are at all."""
    return db.execute(select(func.count(col(User.id)))).scalar_one()


def user_names(db: Transaction, scope: Scope, user_ids: Collection[str]) -> dict[str, str]:
    """Names of users and of API keys of this merchant, also of those that may no longer act."""
    found: dict[str, str] = {}
    ids = sorted(user_ids)
    members = select(USERS.c.id, USERS.c.name).join(
        MEMBERSHIPS, MEMBERSHIPS.c.user_id == USERS.c.id
    )
    for statement in (
        members.where(USERS.c.id.in_(ids), MEMBERSHIPS.c.merchant_id == scope.merchant_id),
        select(API_KEYS.c.id, API_KEYS.c.name).where(
            API_KEYS.c.id.in_(ids), API_KEYS.c.merchant_id == scope.merchant_id
        ),
    ):
        found |= {row.id: row.name for row in db.execute(statement)}
    return found
