"""Pages by keyset: as fast at the end as at the start, and stable while rows are added."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from sqlalchemy import Column, Row, Select, and_, or_

from control_plane.db.keyring import Keyring
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.errors import RequestRefused

T = TypeVar("T")

LARGEST: Final = 200
_PURPOSE: Final = "cursor"


class CursorRefused(RequestRefused):
    """A cursor that was not given out for this listing."""

    code = "cursor_refused"
    message = "This cursor is not of this listing. Start again without a cursor."


class Page(BaseModel, Generic[T]):
    """Some items, and how to get the next; ``next_cursor`` is null on the last page."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is asked for. ``listing`` keeps a cursor from being used elsewhere."""

    limit: int
    cursor: str | None
    listing: str

    def read(
        self,
        db: Transaction,
        statement: Select[*tuple[Any, ...]],
        order: Sequence[Column[Any]],
        make: Callable[[Row[*tuple[Any, ...]]], T],
        *,
        descending: bool = True,
    ) -> Page[T]:
        """The page of ``statement`` by the columns of ``order``: all are selected, the last is unique."""
        keyring = context_of(db).keyring
        if self.cursor is not None:
            values = _opened(keyring, self.cursor, self.listing, len(order))
            statement = statement.where(_after(order, values, descending=descending))
        statement = statement.order_by(
            *(column.desc() if descending else column.asc() for column in order)
        ).limit(self.limit + 1)
        rows = db.execute(statement).all()
        items = [make(row) for row in rows[: self.limit]]
        if len(rows) <= self.limit:
            return Page(items=items)
        last = rows[self.limit - 1]._mapping  # noqa: SLF001 - its public name in SQLAlchemy
        return Page(
            items=items,
            next_cursor=_sealed(keyring, [last[column.name] for column in order], self.listing),
        )


def page_request(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=LARGEST, description="Most items in the answer.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=500, description="next_cursor of the page before.")
    ] = None,
) -> PageRequest:
    """The dependency of a listing."""
    return PageRequest(limit, cursor, request.scope["route"].path)


PageOf = Annotated[PageRequest, Depends(page_request)]


def _after(order: Sequence[Column[Any]], values: Sequence[Any], *, descending: bool) -> Any:
    """Rows beyond ``values``, spelled out: row comparison is not the same in both databases."""
    alternatives = []
    for index, column in enumerate(order):
        same = [order[i] == values[i] for i in range(index)]
        beyond = column < values[index] if descending else column > values[index]
        alternatives.append(and_(*same, beyond))
    return or_(*alternatives)


def _sealed(keyring: Keyring, values: Sequence[Any], listing: str) -> str:
    plain = [
        {"at": value.isoformat()} if isinstance(value, datetime) else value for value in values
    ]
    raw = json.dumps([listing, plain], separators=(",", ":")).encode()
    text = base64.urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode()
    return f"{text.rstrip('=')}.{keyring.sign(raw, _PURPOSE)}"


def _opened(keyring: Keyring, cursor: str, listing: str, length: int) -> list[Any]:
    text, _, signature = cursor.partition(".")
    try:
        plain = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        raise CursorRefused(field="cursor", reason="") from None
    raw = json.dumps([listing, plain], separators=(",", ":")).encode()
    if not keyring.is_signed(raw, signature, _PURPOSE) or len(plain) != length:
        raise CursorRefused(field="cursor", reason="")
    return [
        datetime.fromisoformat(value["at"]) if isinstance(value, dict) else value for value in plain
    ]
