"""The book of what was taken in: cursors, hashes, quarantine. Core statements, in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    String,
    Table,
    any_,
    bindparam,
    func,
    select,
    text,
    tuple_,
    update,
)

from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import insert as upsert
from control_plane.db.upsert import is_postgres
from control_plane.ingest.bulk import BulkTable
from control_plane.ingest.cursor import Cursor
from control_plane.ingest.models import CURSORS, INBOX, QUARANTINE
from control_plane.ingest.trouble import StaleCursor
from control_plane.transactions.models import TRANSACTIONS
from protocols.cloud.topics import Stream

_INBOX: Final = BulkTable(INBOX, ("device_id", "stream", "epoch", "seq", "message_hash"))
_CHUNK: Final = 500
_PLACE: Final = (TRANSACTIONS.c.device_id, TRANSACTIONS.c.epoch, TRANSACTIONS.c.seq)
#: One parameter of JSON: much cheaper for the driver than arrays.
_ADVANCE: Final = text("""
UPDATE stream_cursor AS c SET upto = u.upto, last_hash = u.last_hash, beyond = u.beyond,
  gap_since = u.gap_since, asked_at = u.asked_at, version = c.version + 1
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS u(device_id text, stream text, epoch int, version int,
  upto bigint, last_hash text, beyond jsonb, gap_since timestamptz, asked_at timestamptz)
WHERE c.device_id = u.device_id AND c.stream = u.stream AND c.epoch = u.epoch AND c.version = u.version
""")
_ADVANCE_ONE: Final = (
    update(CURSORS)
    .where(
        CURSORS.c.device_id == bindparam("new_device_id"),
        CURSORS.c.stream == bindparam("new_stream"),
        CURSORS.c.epoch == bindparam("new_epoch"),
        CURSORS.c.version == bindparam("old_version"),
    )
    .values(
        version=CURSORS.c.version + 1,
        **{
            name: bindparam(f"new_{name}")
            for name in ("upto", "last_hash", "beyond", "gap_since", "asked_at")
        },
    )
)


class CursorKey(NamedTuple):
    """Which stream."""

    device_id: str
    stream: str
    epoch: int


@dataclass(slots=True)
class Kept:
    """A cursor with what the database knows of it. ``version`` 0 is one that is not there yet."""

    cursor: Cursor
    version: int = 0
    gap_since: datetime | None = None
    asked_at: datetime | None = None


_Hashes: TypeAlias = dict[tuple[CursorKey, int], set[str]]


class Sighting(NamedTuple):
    """A message that has been here before, to be compared with what came then."""

    key: CursorKey
    seq: int
    digest: str
    #: Its row in the ledger, if it was one.
    row_id: str


def load_cursors(db: Transaction, keys: Collection[CursorKey]) -> dict[CursorKey, Kept]:
    """The cursors of these streams; a stream that never came has a fresh one."""
    wanted = set(keys)
    found = {key: Kept(Cursor()) for key in wanted}
    devices = sorted({key.device_id for key in wanted})
    for row in db.execute(
        select(
            CURSORS.c.device_id, CURSORS.c.stream, CURSORS.c.epoch, CURSORS.c.upto,
            CURSORS.c.last_hash, CURSORS.c.beyond, CURSORS.c.version, CURSORS.c.gap_since,
            CURSORS.c.asked_at,
        ).where(CURSORS.c.device_id.in_(devices))
    ):  # fmt: skip
        key = CursorKey(row.device_id, row.stream, row.epoch)
        if key in wanted:
            found[key] = Kept(
                Cursor(row.upto, row.last_hash, row.beyond),
                row.version,
                row.gap_since,
                row.asked_at,
            )
    return found


def save_cursors(db: Connection, kept: Sequence[tuple[CursorKey, Kept]]) -> None:
    """Write the cursors. Raises StaleCursor when another process has moved one of them since it was loaded."""
    fresh = [one for one in kept if one[1].version == 0]
    known = [one for one in kept if one[1].version > 0]
    if fresh:
        values = [_values(key, one) | {"version": 1} for key, one in fresh]
        statement = upsert(db, CURSORS).values(values).on_conflict_do_nothing()
        if len(db.execute(statement.returning(CURSORS.c.version)).all()) != len(fresh):
            raise StaleCursor
    if known and is_postgres(db):
        rows = [_values(key, one) | {"version": one.version} for key, one in known]
        result = db.execute(_ADVANCE, {"rows": msgspec.json.encode(rows).decode()})
        if result.rowcount != len(known):
            raise StaleCursor
    elif known:
        for key, one in known:
            new = {f"new_{name}": value for name, value in _values(key, one).items()}
            if db.execute(_ADVANCE_ONE, new | {"old_version": one.version}).rowcount != 1:
                raise StaleCursor
    for _, one in kept:
        one.version += 1


def close_former(db: Transaction, key: CursorKey, now: datetime) -> list[tuple[int, int]]:
    """A newer epoch has begun: close the older ones; (epoch, end of its gapless prefix) of each that was open."""
    closed = db.execute(
        update(CURSORS)
        .where(
            CURSORS.c.device_id == key.device_id,
            CURSORS.c.stream == key.stream,
            CURSORS.c.epoch < key.epoch,
            CURSORS.c.closed_at.is_(None),
        )
        .values(closed_at=now)
        .returning(CURSORS.c.epoch, CURSORS.c.upto)
    )
    return [(row.epoch, row.upto) for row in closed]


def close_all(db: Transaction, device_id: str, now: datetime) -> list[tuple[str, int, int]]:
    """Nothing more will come from a device: (stream, epoch, end of its gapless prefix) of what was open."""
    closed = db.execute(
        update(CURSORS)
        .where(CURSORS.c.device_id == device_id, CURSORS.c.closed_at.is_(None))
        .values(closed_at=now)
        .returning(CURSORS.c.stream, CURSORS.c.epoch, CURSORS.c.upto)
    )
    return [(row.stream, row.epoch, row.upto) for row in closed]


def streams_with_gaps(
    db: Transaction, since: datetime, asked_before: datetime, *, device_id: str | None = None
) -> list[tuple[CursorKey, Cursor]]:
    """Streams that have missed something since then, and whose device was not asked lately."""
    conditions = [
        CURSORS.c.gap_since.is_not(None),
        CURSORS.c.gap_since < since,
        CURSORS.c.closed_at.is_(None),
        CURSORS.c.asked_at.is_(None) | (CURSORS.c.asked_at < asked_before),
    ]
    if device_id is not None:
        conditions.append(CURSORS.c.device_id == device_id)
    rows = db.execute(select(CURSORS).where(*conditions).limit(1000))
    return [
        (
            CursorKey(row.device_id, row.stream, row.epoch),
            Cursor(row.upto, row.last_hash, row.beyond),
        )
        for row in rows
    ]


def note_asked(db: Transaction, keys: Iterable[CursorKey], now: datetime) -> None:
    """These devices were asked to send again."""
    for key in keys:
        db.execute(
            update(CURSORS)
            .where(
                CURSORS.c.device_id == key.device_id,
                CURSORS.c.stream == key.stream,
                CURSORS.c.epoch == key.epoch,
            )
            .values(asked_at=now)
        )


def keep_hashes(db: Connection, rows: Sequence[tuple[str, str, int, int, str]]) -> None:
    """Note messages that are not ledger rows: (device, stream, epoch, seq, hash)."""
    _INBOX.write(db, rows)


def altered(db: Connection, sightings: Sequence[Sighting]) -> set[tuple[CursorKey, int]]:
    """Which of these messages are not what came under the same key before."""
    doubtful = {(one.key, one.seq): one for one in sightings}
    for look in (_in_ledger, partial(_by_key, INBOX), partial(_by_key, QUARANTINE)):
        if doubtful:
            found = look(db, list(doubtful.values()))
            for place, one in list(doubtful.items()):
                if one.digest in found[place]:
                    del doubtful[place]
    return set(doubtful)


def known_rows(
    db: Connection, row_ids: Sequence[str], external_ids: Sequence[str], source: str
) -> tuple[dict[str, str | None], dict[str, str]]:
    """Of these ledger rows: hash by id, and id by external id."""
    by_id: dict[str, str | None] = {}
    by_external: dict[str, str] = {}
    columns = select(
        TRANSACTIONS.c.id, TRANSACTIONS.c.external_id, TRANSACTIONS.c.message_hash,
        TRANSACTIONS.c.source,
    )  # fmt: skip
    for start in range(0, len(row_ids), _CHUNK):
        for condition in (
            _among(db, TRANSACTIONS.c.id, row_ids[start : start + _CHUNK]),
            (TRANSACTIONS.c.source == source)
            & _among(db, TRANSACTIONS.c.external_id, external_ids[start : start + _CHUNK]),
        ):
            for row in db.execute(columns.where(condition)):
                by_id[row.id] = row.message_hash
                if row.source == source:
                    by_external[row.external_id] = row.id
    return by_id, by_external


def quarantine(db: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Set messages aside; the same bytes of one device once."""
    for row in rows:
        db.execute(
            upsert(db, QUARANTINE)
            .values(resolution="", **row)
            .on_conflict_do_nothing(index_elements=["device_id", "message_hash"])
        )


def _values(key: CursorKey, one: Kept) -> dict[str, Any]:
    return {
        "device_id": key.device_id,
        "stream": key.stream,
        "epoch": key.epoch,
        "upto": one.cursor.upto,
        "last_hash": one.cursor.last_hash,
        "beyond": one.cursor.beyond(),
        "gap_since": one.gap_since,
        "asked_at": one.asked_at,
    }


def _in_ledger(db: Connection, doubtful: Sequence[Sighting]) -> _Hashes:
    found: _Hashes = defaultdict(set)
    ids = [one.row_id for one in doubtful if one.row_id]
    for start in range(0, len(ids), _CHUNK):
        among = _among(db, TRANSACTIONS.c.id, ids[start : start + _CHUNK])
        for row in db.execute(select(*_PLACE, TRANSACTIONS.c.message_hash).where(among)):
            key = CursorKey(row.device_id, Stream.TRANSACTIONS.value, row.epoch)
            found[key, row.seq].add(row.message_hash)
    return found


def _among(db: Connection, column: Column[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """One of these ids. On PostgreSQL one text whatever their number: the driver takes long over arrays."""
    if is_postgres(db):
        return column == any_(func.string_to_array(",".join(values), ",", type_=ARRAY(String)))
    return column.in_(values)


def _by_key(table: Table, db: Connection, doubtful: Sequence[Sighting]) -> _Hashes:
    found: _Hashes = defaultdict(set)
    columns = table.c
    parts = (columns.device_id, columns.stream, columns.epoch, columns.seq)
    for start in range(0, len(doubtful), _CHUNK):
        keys = [(*one.key, one.seq) for one in doubtful[start : start + _CHUNK]]
        for row in db.execute(select(*parts, columns.message_hash).where(tuple_(*parts).in_(keys))):
            found[CursorKey(row.device_id, row.stream, row.epoch), row.seq].add(row.message_hash)
    return found
