"""Writes the activity log, in the transaction of what it tells of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Table as SqlTable
from sqlalchemy import bindparam, insert, select, update

from control_plane.audit.actor import Actor
from control_plane.audit.models import AuditEvent, AuditHead
from control_plane.audit.tags import AuditTag
from control_plane.db.columns import table_of
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from protocols.ids import new_id

EVENTS: Final[SqlTable] = table_of(AuditEvent)
HEADS: Final[SqlTable] = table_of(AuditHead)
#: What the first event of a chain follows.
GENESIS: Final = "0" * 64
_SEAL: Final = "audit head"
#: What the hash of an event covers, besides the hash before it.
_HASHED: Final = (
    "id", "merchant_id", "seq", "at", "tag", "actor_kind", "actor_id", "actor_name", "object_id",
    "object_name", "before", "after", "ip", "user_agent",
)  # fmt: skip

# Built once: to build one takes longer than to run it.
_APPEND: Final = insert(EVENTS).inline()
_LOCK_END: Final = (
    select(HEADS.c.count.label("events"), HEADS.c.last_hash)
    .where(HEADS.c.merchant_id == bindparam("whose"))
    .with_for_update()
)
_MOVE_END: Final = (
    update(HEADS)
    .where(HEADS.c.merchant_id == bindparam("whose"))
    .values(count=bindparam("count"), last_hash=bindparam("last_hash"), seal=bindparam("seal"))
)


def record(
    db: Transaction,
    merchant_id: str,
    actor: Actor,
    tag: AuditTag,
    *,
    object_id: str,
    object_name: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> str:
    """Write an action into the merchant's chain; returns the id of the event.

    ``before`` and ``after`` hold what changed, in JSON values; never a secret, never card data. Locks the end of
    the chain until the transaction ends, so call it as the last thing.
    """
    context = context_of(db)
    count, last_hash = _lock_head(db, merchant_id)
    event: dict[str, Any] = {
        "id": new_id("aud"),
        "merchant_id": merchant_id,
        "seq": count + 1,
        "at": context.clock.now(),
        "tag": tag.value,
        "actor_kind": actor.kind,
        "actor_id": actor.id[:64],
        "actor_name": _plain(actor.name, 200),
        "object_id": object_id[:64],
        "object_name": _plain(object_name or object_id, 200),
        "before": _plain_json(before),
        "after": _plain_json(after),
        "ip": _plain(actor.ip, 64),
        "user_agent": _plain(actor.user_agent, 300),
    }
    digest = hash_of(event, last_hash)
    db.execute(_APPEND, {**event, "previous_hash": last_hash, "hash": digest})
    seal = context.keyring.sign(sealed_text(merchant_id, count + 1, digest), _SEAL)
    db.execute(
        _MOVE_END, {"whose": merchant_id, "count": count + 1, "last_hash": digest, "seal": seal}
    )
    return str(event["id"])


def hash_of(event: Mapping[str, Any], previous_hash: str) -> str:
    """SHA-256 over the event in canonical JSON and the hash of the one before it, in hex."""
    values = {name: event[name] for name in _HASHED}
    at = values["at"]
    if isinstance(at, datetime):
        values["at"] = at.astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(
        [previous_hash, values], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def sealed_text(merchant_id: str, count: int, last_hash: str) -> bytes:
    """What the seal of a chain's end is over."""
    return f"{merchant_id} {count} {last_hash}".encode()


def is_sealed(db: Transaction, merchant_id: str, count: int, last_hash: str, seal: str) -> bool:
    """Whether we wrote this end of the chain."""
    text = sealed_text(merchant_id, count, last_hash)
    return context_of(db).keyring.is_signed(text, seal, _SEAL)


def _lock_head(db: Transaction, merchant_id: str) -> tuple[int, str]:
    whose = {"whose": merchant_id}
    found = db.execute(_LOCK_END, whose).one_or_none()
    if found is None:
        new = {"merchant_id": merchant_id, "count": 0, "last_hash": GENESIS, "seal": ""}
        insert_new(db, HEADS, new, unique=["merchant_id"])
        found = db.execute(_LOCK_END, whose).one()
    return found.events, found.last_hash


def _plain(text: str, length: int) -> str:
    """Text that every database stores as it is: without NUL and without halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:length]


def _plain_json(value: Mapping[str, Any] | None) -> Any:
    """The value as JSON gives it back. Raises TypeError for what JSON has no word for."""
    if value is None:
        return None
    return _normal(json.loads(json.dumps(value, allow_nan=False)))


def _normal(value: Any) -> Any:
    match value:
        case float():
            # A database may write a float differently than it got it, and the hash would differ.
            return repr(value)
        case str():
            return _plain(value, 10_000)
        case dict():
            return {_plain(key, 200): _normal(one) for key, one in value.items()}
        case list():
            return [_normal(one) for one in value]
        case _:
            return value
