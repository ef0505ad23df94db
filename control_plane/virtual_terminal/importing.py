"""Takes over what happened on the account before: payments, refunds and disputes, newest first, resumable.

Everything goes through ``settle``, as a webhook would: what is ours already is only settled, what is new becomes a
payment without a cashier. So an import is safe beside live traffic, and one that runs twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from sqlalchemy import Row, insert, select, update

from control_plane import live
from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.outbox import owe
from control_plane.virtual_terminal import accounts, settle
from control_plane.virtual_terminal.errors import NotConnected
from control_plane.virtual_terminal.models import HISTORY_IMPORTS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import Past, ProcessorError
from protocols.ids import new_id
from protocols.readers.emv import redact_card_numbers

#: The job that takes the next part of an import; payload: import.
WORK: Final = "stripe.import"
#: Objects in one transaction: short enough that a till does not notice.
_BATCH: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportView:
    """An import, as far as it came."""

    id: str
    merchant_id: str
    since: datetime
    cursor: str | None
    payments: int
    refunds: int
    disputes: int
    reached_at: datetime | None
    last_error: str | None
    started_by: str
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def taken(self) -> int:
        """How many objects it has looked at."""
        return self.payments + self.refunds + self.disputes

    def progress(self) -> float:
        """0 to 1: payments make nine tenths of the bar, and go back in time evenly."""
        if self.finished_at is not None:
            return 1.0
        if self.cursor is None or self.reached_at is None:
            return 0.0
        if not self.cursor.startswith("payment:"):
            return 0.95 if self.cursor.startswith("refund:") else 0.98
        span = (self.started_at - self.since).total_seconds()
        done = (self.started_at - self.reached_at).total_seconds()
        return 0.9 * min(1.0, max(0.0, done / span if span > 0 else 1.0))


_COLUMNS: Final = [HISTORY_IMPORTS.c[name] for name in ImportView.__dataclass_fields__]


def topic(merchant_id: str) -> str:
    """Live topic: an import of this merchant went on."""
    return f"merchant:{merchant_id}:imports"


def newest(db: Transaction, merchant_id: str) -> ImportView | None:
    """The last import that was begun."""
    row = db.execute(
        select(*_COLUMNS)
        .where(HISTORY_IMPORTS.c.merchant_id == merchant_id)
        .order_by(HISTORY_IMPORTS.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _view(row)


def begin(
    db: Transaction, merchant_id: str, actor: Actor, since: datetime, *, by_job: bool
) -> ImportView:
    """Begin an import, or go on with the one that was begun for the same day and has not ended.

    ``by_job`` lets a worker do it; else the caller does, with ``Importer.run``. Raises NotConnected.
    """
    account = accounts.account_of(db, merchant_id)
    if account is None:
        raise NotConnected
    now = context_of(db).clock.now()
    known = newest(db, merchant_id)
    if known is None or known.finished_at is not None or known.since != since:
        import_id = new_id("imp")
        db.execute(
            insert(HISTORY_IMPORTS).values(
                id=import_id,
                merchant_id=merchant_id,
                since=since,
                payments=0,
                refunds=0,
                disputes=0,
                started_by=actor.id,
                started_at=now,
                updated_at=now,
            )
        )
        record(
            db, merchant_id, actor, AuditTag.HISTORY_IMPORT,
            object_id=account.id, object_name=account.account_id, after={"since": since.isoformat()},
        )  # fmt: skip
        known = _read(db, import_id)
    if by_job:
        _promise(db, known)
    live.publish(db, topic(merchant_id), key="import")
    return known


class Importer:
    """Runs imports. ``parts.get(Importer)``."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def run(self, import_id: str, *, most: int | None = None) -> Iterator[ImportView]:
        """Go on where it stands; tells after each part how far it is, until the end or ``most`` objects.

        Raises NotConnected and errors of the processor; what was taken until then stays, and the next run goes on.
        """
        with self._office.reading() as db:
            state = _read(db, import_id)
        if state.finished_at is not None:
            yield state
            return
        history = self._office.processors.of(state.merchant_id).history(
            state.since, after=state.cursor
        )
        taken = 0
        while True:
            try:
                part = list(islice(history, _BATCH))
            except ProcessorError as failure:
                self._note(state, last_error=redact_card_numbers(str(failure))[:2000])
                raise
            if not part:
                break
            state = self._take(state, part)
            taken += len(part)
            yield state
            if most is not None and taken >= most:
                return
        yield self._note(state, finished_at=self._office.clock.now(), last_error=None)

    def work(self, import_id: str) -> None:
        """A part of an import, and the promise of the next one: a worker's thread is not held for hours."""
        state = list(self.run(import_id, most=40 * _BATCH))[-1]
        if state.finished_at is None:
            with self._office.writing() as db:
                _promise(db, state)

    def _take(self, state: ImportView, part: list[Past]) -> ImportView:
        """One transaction: what was taken, and that it was."""
        with self._office.writing() as db:
            for past in part:
                if past.payment is not None:
                    settle.apply_snapshot(db, state.merchant_id, past.payment)
                if past.refund is not None:
                    settle.apply_refund(db, state.merchant_id, past.refund)
                if past.dispute is not None:
                    settle.apply_dispute(db, state.merchant_id, past.dispute)
            moments = [at for past in part if (at := _moment(past)) is not None]
            return _set(
                db,
                state,
                cursor=part[-1].cursor,
                payments=state.payments + sum(past.payment is not None for past in part),
                refunds=state.refunds + sum(past.refund is not None for past in part),
                disputes=state.disputes + sum(past.dispute is not None for past in part),
                reached_at=moments[-1] if moments else state.reached_at,
                last_error=None,
            )

    def _note(self, state: ImportView, **changes: Any) -> ImportView:
        with self._office.writing() as db:
            return _set(db, state, **changes)


def _set(db: Transaction, state: ImportView, **changes: Any) -> ImportView:
    changes["updated_at"] = context_of(db).clock.now()
    db.execute(update(HISTORY_IMPORTS).where(HISTORY_IMPORTS.c.id == state.id).values(**changes))
    live.publish(db, topic(state.merchant_id), key="import")
    return _read(db, state.id)


def _promise(db: Transaction, state: ImportView) -> None:
    owe(
        db,
        WORK,
        {"import": state.id},
        merchant_id=state.merchant_id,
        ordering_key=f"import {state.merchant_id}",
        after=timedelta(),
    )


def _moment(past: Past) -> datetime | None:
    for one in (past.payment, past.refund, past.dispute):
        if one is not None:
            return one.created_at
    return None


def _read(db: Transaction, import_id: str) -> ImportView:
    return _view(db.execute(select(*_COLUMNS).where(HISTORY_IMPORTS.c.id == import_id)).one())


def _view(row: Row[Any]) -> ImportView:
    return ImportView(**row._mapping)  # noqa: SLF001 - Row's public name for a mapping
