"""``Idempotency-Key``: a creating POST that is sent again gets the first answer again, and creates nothing.

The stored answer commits with what was created. A request that failed stores nothing, so it can be sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request
from sqlalchemy import BigInteger, bindparam, delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from control_plane.accounts.caller import Caller
from control_plane.db.columns import table_of
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed, is_postgres
from control_plane.errors import Conflict
from control_plane.http.encoding import json_bytes
from control_plane.http.models import IdempotencyKey

KEYS: Final = table_of(IdempotencyKey)
KEPT: Final = timedelta(hours=48)
_REPLAYED: Final = {"Idempotency-Replayed": "true"}


# Built once: these run on every creating request.
_STORE: Final = insert(KEYS)
_TRY_LOCK: Final = select(func.pg_try_advisory_xact_lock(bindparam("number", type_=BigInteger)))
_LOOK_UP: Final = select(KEYS.c.request_hash, KEYS.c.status, KEYS.c.answer).where(
    KEYS.c.merchant_id == bindparam("whose"),
    KEYS.c.route == bindparam("where"),
    KEYS.c.key == bindparam("which"),
)


class KeyReused(Conflict):
    """The same key came with another request."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another request. Use a new key for a new request."


class RequestInFlight(Conflict):
    """The first request with this key is still being worked on."""

    code = "request_in_flight"
    retryable = True
    message = "The first request with this Idempotency-Key is not finished. Ask again in a moment."


class Once:
    """Answers a creating request once for its key."""

    def __init__(self, key: str | None, route: str, request_hash: str) -> None:
        self.key = key
        self._route = route
        self._request_hash = request_hash

    def answer(
        self, db: Transaction, caller: Caller, make: Callable[[], Any], *, status: int = 201
    ) -> Response:
        """What ``make`` returns (a pydantic model or plain values), as JSON; or the stored answer, without ``make``.

        ``db`` must be the transaction in which ``make`` creates. Raises KeyReused, RequestInFlight.
        """
        if self.key is None:
            return _json(json_bytes(make()), status)
        stored = self._stored(db, caller.merchant_id)
        if stored is not None:
            return stored
        body = json_bytes(make())
        try:
            db.execute(
                _STORE,
                {
                    "merchant_id": caller.merchant_id,
                    "route": self._route,
                    "key": self.key,
                    "request_hash": self._request_hash,
                    "status": status,
                    "answer": body.decode(),
                    "created_at": context_of(db).clock.now(),
                },
            )
        except IntegrityError:
            # Someone had the lock, finished and let go between our look and our insert.
            raise RequestInFlight from None
        return _json(body, status)

    def _stored(self, db: Transaction, merchant_id: str) -> Response | None:
        if is_postgres(db):
            # SQLite needs none: there, a second writer waits until the first has committed.
            name = f"{merchant_id} {self._route} {self.key}".encode()
            number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
            if not db.execute(_TRY_LOCK, {"number": number}).scalar_one():
                raise RequestInFlight
        row = db.execute(
            _LOOK_UP, {"whose": merchant_id, "where": self._route, "which": self.key}
        ).one_or_none()
        if row is None:
            return None
        if row.request_hash != self._request_hash:
            raise KeyReused
        return _json(row.answer.encode(), row.status, _REPLAYED)


async def once(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Any text that is new for each new request; sent again, it gets the same answer.",
            examples=["sale-2026-11-23-0042"],
        ),
    ] = None,
) -> Once:
    """The dependency of a creating POST."""
    seen = f"{request.url.path}?{request.url.query}\n".encode() + await request.body()
    return Once(idempotency_key, request.scope["route"].path, hashlib.sha256(seen).hexdigest())


OnceOnly = Annotated[Once, Depends(once)]


def forget_old_keys(db: Transaction) -> int:
    """Delete stored answers that nobody will ask for any more; returns how many."""
    before = context_of(db).clock.now() - KEPT
    return changed(db, delete(KEYS).where(KEYS.c.created_at < before))


def _json(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
