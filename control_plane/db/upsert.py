"""INSERT … ON CONFLICT, for whichever database a transaction is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import CursorResult, Executable, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from control_plane.db.unit_of_work import Transaction


def is_postgres(db: Transaction) -> bool:
    """Which of the two this transaction is on."""
    dialect = db.get_bind().dialect if isinstance(db, Session) else db.dialect
    return dialect.name == "postgresql"


def insert(db: Transaction, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return postgresql.insert(table) if is_postgres(db) else sqlite.insert(table)


def insert_new(db: Transaction, table: Table, values: dict[str, Any], *, unique: list[str]) -> bool:
    """Insert, unless a row with the same ``unique`` columns is there; True when it was inserted."""
    statement = insert(db, table).values(values).on_conflict_do_nothing(index_elements=unique)
    # Not the row count: PostgreSQL's driver does not know it when the key is counted up.
    return db.execute(statement.returning(table.c[unique[0]])).first() is not None


def changed(db: Transaction, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
    """Run an INSERT, UPDATE or DELETE; the number of rows that it touched."""
    result = db.execute(statement, values)
    if not isinstance(result, CursorResult):
        raise TypeError(f"{type(statement).__name__} changes nothing")
    return result.rowcount
