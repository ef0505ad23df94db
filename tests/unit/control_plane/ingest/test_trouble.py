"""Whose fault a failed batch is: a message's, or nobody's."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.ingest.trouble import StaleCursor, Trouble, trouble_of


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (psycopg.errors.UniqueViolation(), Trouble.CONFLICT),
        (psycopg.errors.DeadlockDetected(), Trouble.CONFLICT),
        (sqlite3.IntegrityError(), Trouble.CONFLICT),
        (StaleCursor(), Trouble.CONFLICT),
        (psycopg.errors.NumericValueOutOfRange(), Trouble.DATA),
        (psycopg.DataError(), Trouble.DATA),
        (psycopg.ProgrammingError("cannot adapt type"), Trouble.DATA),
        (OverflowError(), Trouble.DATA),
        (psycopg.OperationalError(), Trouble.AWAY),
        (sqlite3.OperationalError("database is locked"), Trouble.AWAY),
        (PoolTimeout(), Trouble.AWAY),
        (ValueError(), None),
    ],
    ids=repr,
)
def test_each_failure_has_one_answer(error: Exception, trouble: Trouble | None) -> None:
    assert trouble_of(error) is trouble


@pytest.mark.parametrize(
    "error",
    [
        psycopg.errors.UndefinedColumn(),
        psycopg.errors.UndefinedTable(),
        psycopg.errors.InsufficientPrivilege(),
        sqlite3.OperationalError("no such column: tip"),
    ],
    ids=repr,
)
def test_a_schema_of_another_release_sets_no_payment_aside(error: Exception) -> None:
    assert trouble_of(DBAPIError("INSERT", {}, error)) is Trouble.AWAY
