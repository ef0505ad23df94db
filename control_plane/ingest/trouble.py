"""What went wrong with a batch, whichever driver said so."""

from __future__ import annotations

import sqlite3
from enum import Enum, auto

import psycopg
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class StaleCursor(Exception):
    """Another process has taken in messages of the same stream meanwhile."""


class Trouble(Enum):
    """What to do about it."""

    CONFLICT = auto()
    """Something is there already: look first, then write."""
    DATA = auto()
    """A value that the database does not take: find the message and set it aside."""
    AWAY = auto()
    """The database is not there, or busy: try the same again."""


def trouble_of(error: BaseException) -> Trouble | None:
    """None for what is no trouble of a database."""
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else error
    match cause:
        case StaleCursor() | psycopg.IntegrityError() | sqlite3.IntegrityError():
            return Trouble.CONFLICT
        case psycopg.errors.DeadlockDetected() | psycopg.errors.SerializationFailure():
            return Trouble.CONFLICT
        case psycopg.ProgrammingError(sqlstate=str()):
            # A column, table or right that is missing while a release is rolled out: no message's fault.
            return Trouble.AWAY
        case psycopg.DataError() | psycopg.ProgrammingError() | sqlite3.DataError():
            return Trouble.DATA
        case OverflowError() | UnicodeEncodeError():
            return Trouble.DATA
        case psycopg.Error() | sqlite3.Error() | PoolTimeout() | PendingRollbackError():
            return Trouble.AWAY
        case _:
            return None
