"""Signing in and out, and knowing who sends a request.

Guessing is slowed down by counting an attempt *before* the password is looked at, in a transaction of its own,
so that many attempts at once count as many. The edge runs ``reserve_attempt``, ``check`` and ``complete`` in
three transactions (``control_plane.http.sign_in``).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import case, delete, insert, null, update

from control_plane.accounts import queries
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.errors import SignInRefused
from control_plane.accounts.passwords import Passwords
from control_plane.accounts.permissions import ROLES, Role
from control_plane.accounts.service import HASHED_AS
from control_plane.audit.actor import SYSTEM, Actor, ActorKind
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.db.upsert import insert as upsert
from control_plane.errors import NotFound
from protocols.ids import new_id
from protocols.secret import Secret

_THROTTLE: Final = "sign-in throttle"
_LONGEST_BLOCK: Final = timedelta(minutes=15)
_FIRST_BLOCK: Final = timedelta(seconds=30)
#: How exact "last seen" is; each finer step would be a write on each request.
SEEN_EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many attempts there are, and how long a sign-in lasts."""

    account_attempts: int
    address_attempts: int
    window: timedelta
    idle: timedelta
    absolute: timedelta


@dataclass(frozen=True, slots=True)
class Checked:
    """A user whose password is right."""

    user_id: str
    name: str
    merchant_id: str
    #: Set when the stored hash is of an older cost.
    new_hash: str | None


def reserve_attempt(db: Transaction, email: str, ip: str, limits: Limits) -> int | None:
    """Count an attempt for the account and the address; seconds to wait when there were too many, else None.

    Its transaction must commit before the password is looked at.
    """
    waits = []
    for kind, value, allowed in (
        ("address", ip, limits.address_attempts),
        ("account", email, limits.account_attempts),
    ):
        waits.append(_count(db, f"{kind} {value}", allowed, limits.window))
    return max((wait for wait in waits if wait), default=None)


def check(db: Transaction, email: str, password: str, passwords: Passwords) -> Checked:
    """Who signs in. Raises SignInRefused, in the same time and words for a wrong password and for nobody."""
    user = queries.user_by_email(db, email)
    stored = user.password_hash if user is not None else None
    right = passwords.matches(password, stored)
    membership = queries.first_membership(db, user.id) if user is not None else None
    if not right or user is None or membership is None:
        raise SignInRefused
    new_hash = passwords.hash(password) if passwords.is_outdated(user.password_hash) else None
    return Checked(user.id, user.name, membership.merchant_id, new_hash)


def note_refusal(db: Transaction, email: str, *, ip: str, user_agent: str) -> None:
    """Write a refused attempt into the log of the merchant that the account belongs to, if there is one."""
    user = queries.user_by_email(db, email)
    membership = queries.first_membership(db, user.id) if user is not None else None
    if user is None or membership is None:
        return
    actor = Actor(SYSTEM.kind, SYSTEM.id, SYSTEM.name, ip, user_agent)
    record(
        db, membership.merchant_id, actor, AuditTag.USER_SIGN_IN_REFUSED,
        object_id=user.id, object_name=user.name,
    )  # fmt: skip


def complete(
    db: Transaction, checked: Checked, email: str, limits: Limits, *, ip: str, user_agent: str
) -> tuple[str, Secret[str]]:
    """Begin the session: its id, and the token for the cookie. Forgets the account's failed attempts."""
    context = context_of(db)
    now = context.clock.now()
    token = secrets.token_urlsafe(32)
    session_id = new_id("ses")
    db.execute(
        insert(queries.SESSIONS).values(
            id=session_id,
            token_hash=context.keyring.hash(token, HASHED_AS),
            merchant_id=checked.merchant_id,
            user_id=checked.user_id,
            created_at=now,
            last_seen_at=now,
            expires_at=now + limits.absolute,
            ip=ip[:64],
            user_agent=user_agent[:300],
        )
    )
    if checked.new_hash is not None:
        users = queries.USERS
        db.execute(
            update(users)
            .where(users.c.id == checked.user_id)
            .values(password_hash=checked.new_hash)
        )
    throttles = queries.THROTTLES
    keys = context.keyring.hashes(f"account {email}", _THROTTLE)
    db.execute(delete(throttles).where(throttles.c.key.in_(keys)))
    actor = Actor(ActorKind.USER, checked.user_id, checked.name, ip, user_agent)
    record(db, checked.merchant_id, actor, AuditTag.USER_SIGN_IN, object_id=session_id)
    return session_id, Secret(token)


def sign_out(db: Transaction, caller: Caller) -> None:
    """End the caller's own session."""
    if caller.session_id is not None:
        _revoke(db, caller, caller.session_id)
        record(
            db, caller.merchant_id, caller.actor, AuditTag.USER_SIGN_OUT,
            object_id=caller.session_id,
        )  # fmt: skip


def revoke_session(db: Transaction, caller: Caller, session_id: str) -> None:
    """End one of the caller's own sign-ins. Raises NotFound."""
    if not _revoke(db, caller, session_id):
        raise NotFound("sign-in", session_id)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.USER_SESSION_REVOKE,
        object_id=session_id, object_name=caller.name,
    )  # fmt: skip


def caller_by_session(
    db: Transaction, token: str, idle: timedelta, *, ip: str, user_agent: str
) -> tuple[Caller, bool] | None:
    """Who has this cookie, and whether ``touch_session`` is due; None when it no longer counts."""
    context = context_of(db)
    now = context.clock.now()
    row = queries.session_by_token(db, context.keyring.hashes(token, HASHED_AS))
    if row is None or row.expires_at <= now or row.last_seen_at + idle <= now:
        return None
    caller = Caller(
        kind=CallerKind.USER,
        id=row.user_id,
        name=row.name,
        email=row.email,
        role=row.role.value,
        language=row.language,
        session_id=row.id,
        scope=scope_of(row.merchant_id, row.role, row.location_ids),
        ip=ip,
        user_agent=user_agent,
    )
    return caller, now - row.last_seen_at >= SEEN_EVERY


def caller_by_api_key(
    db: Transaction, token: str, *, ip: str, user_agent: str
) -> tuple[Caller, bool] | None:
    """Who has this key, and whether ``touch_api_key`` is due; None when it no longer counts."""
    context = context_of(db)
    now = context.clock.now()
    row = queries.api_key_by_token(db, context.keyring.hashes(token, HASHED_AS), now)
    if row is None:
        return None
    caller = Caller(
        kind=CallerKind.API_KEY,
        id=row.id,
        name=row.name,
        scope=Scope(
            row.merchant_id,
            None if row.location_ids is None else frozenset(row.location_ids),
            frozenset(row.permissions),
        ),
        ip=ip,
        user_agent=user_agent,
    )
    return caller, row.last_used_at is None or now - row.last_used_at >= SEEN_EVERY


def touch(db: Transaction, caller: Caller) -> None:
    """Note that the session or key was used just now."""
    now = context_of(db).clock.now()
    if caller.session_id is not None:
        table = queries.SESSIONS
        db.execute(update(table).where(table.c.id == caller.session_id).values(last_seen_at=now))
    else:
        table = queries.API_KEYS
        db.execute(update(table).where(table.c.id == caller.id).values(last_used_at=now))


def scope_of(merchant_id: str, role: Role, location_ids: list[str] | None) -> Scope:
    """What a member with this role may see and do."""
    return Scope(
        merchant_id,
        None if location_ids is None else frozenset(location_ids),
        frozenset(permission.value for permission in ROLES[role]),
    )


def forget_old(db: Transaction) -> int:
    """Delete sign-ins and counters that no longer matter; returns how many."""
    now = context_of(db).clock.now()
    sessions, throttles = queries.SESSIONS, queries.THROTTLES
    return changed(
        db, delete(sessions).where(sessions.c.expires_at < now - timedelta(days=30))
    ) + changed(db, delete(throttles).where(throttles.c.window_ends_at < now - timedelta(days=1)))


def _count(db: Transaction, what: str, allowed: int, window: timedelta) -> int | None:
    """Count an attempt, unless there must be none now: then the seconds until there may be one."""
    context = context_of(db)
    now = context.clock.now()
    table = queries.THROTTLES
    key = context.keyring.hash(what, _THROTTLE)
    over = table.c.window_ends_at <= now
    statement = upsert(db, table).values(key=key, attempts=1, window_ends_at=now + window)
    # One statement, whose row stays locked, so that attempts at the same moment come one by one.
    row = db.execute(
        statement.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "attempts": case(
                    (over, 1),
                    (table.c.blocked_until > now, table.c.attempts),
                    else_=table.c.attempts + 1,
                ),
                "window_ends_at": case((over, now + window), else_=table.c.window_ends_at),
                "blocked_until": case((over, null()), else_=table.c.blocked_until),
            },
        ).returning(table.c.attempts, table.c.blocked_until)
    ).one()
    if row.blocked_until is not None and row.blocked_until > now:
        return _seconds(row.blocked_until - now)
    if row.attempts >= allowed:
        # This one may pass; the next waits, twice as long each time.
        blocked_until = now + min(
            _FIRST_BLOCK * 2 ** min(row.attempts - allowed, 10), _LONGEST_BLOCK
        )
        db.execute(
            update(table)
            .where(table.c.key == key)
            .values(blocked_until=blocked_until, window_ends_at=blocked_until + window)
        )
    return None


def _seconds(duration: timedelta) -> int:
    return max(1, int(duration.total_seconds() + 0.999))


def _revoke(db: Transaction, caller: Caller, session_id: str) -> bool:
    table = queries.SESSIONS
    statement = update(table).where(
        *caller.scope.conditions(table),
        table.c.id == session_id,
        table.c.user_id == caller.id,
        table.c.revoked_at.is_(None),
    )
    return changed(db, statement.values(revoked_at=context_of(db).clock.now())) == 1
