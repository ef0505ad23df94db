"""Writes many rows at once: binary COPY on PostgreSQL, executemany on SQLite. In the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Connection, Integer, Numeric, Table, Text
from sqlalchemy.types import TypeEngine

from control_plane.db.columns import UtcDateTime
from control_plane.db.upsert import is_postgres

_SQLITE_TIME: Final = "%Y-%m-%d %H:%M:%S.%f"


class BulkTable:
    """How rows get into some columns of a table. Values are what the driver takes: text, int, aware datetime, None."""

    def __init__(self, table: Table, columns: Sequence[str]) -> None:
        names = ", ".join(columns)
        self.name = table.name
        self.columns = tuple(columns)
        self._copy = f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)"
        self._types = [_postgres_type(table.c[name].type) for name in columns]
        marks = ", ".join("?" for _ in columns)
        self._insert = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - names of our own columns
        self._times = [
            at for at, name in enumerate(columns) if isinstance(table.c[name].type, UtcDateTime)
        ]

    def write(self, db: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert all, or raise the driver's error: nothing is skipped."""
        if not rows:
            return
        driver: Any = db.connection.driver_connection
        if is_postgres(db):
            with driver.cursor() as cursor, cursor.copy(self._copy) as copy:
                copy.set_types(self._types)
                write_row = copy.write_row
                for row in rows:
                    write_row(row)
        else:
            driver.executemany(self._insert, map(self._for_sqlite, rows) if self._times else rows)

    def _for_sqlite(self, row: Sequence[Any]) -> list[Any]:
        values = list(row)
        for at in self._times:
            if values[at] is not None:
                values[at] = sqlite_time(values[at])
        return values


def sqlite_time(at: datetime) -> str:
    """A moment as SQLAlchemy writes it into SQLite."""
    return at.astimezone(UTC).strftime(_SQLITE_TIME)


def _postgres_type(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, UtcDateTime):
        return "timestamptz"
    if isinstance(kind, BigInteger):
        return "int8"
    if isinstance(kind, Integer):
        return "int4"
    if isinstance(kind, Numeric):
        return "numeric"
    return "text" if isinstance(kind, Text) else "varchar"
