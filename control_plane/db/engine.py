"""Engines for SQLite and PostgreSQL, and the only places where a transaction begins and commits."""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from asyncio import AbstractEventLoop, Semaphore, get_running_loop, to_thread
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from control_plane.clock import Clock
from control_plane.db.columns import KEYRING_ATTRIBUTE
from control_plane.db.keyring import Keyring
from control_plane.db.unit_of_work import Announcer, Context, Transaction, attach, context_of

_BUSY_S: Final = 10
_READ_ONLY: Final = "omnitill_read_only"
_HASTY: Final = "omnitill_hasty"
_WRITES: Final = "omnitill_writes"
_POSTGRES_GLANCE: Final = {"postgresql_readonly": True, "isolation_level": "AUTOCOMMIT"}
_POSTGRES_SNAPSHOT: Final = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}


class Database:
    """One database. Opens transactions; knows which of the two kinds it is.

    ``transaction()`` and ``reading()`` give ORM sessions, ``connection()`` and ``reading_connection()`` Core
    connections for hot paths. Each is one transaction: committed at the end of the block, rolled back by an
    exception. Announcements go out after the commit only.
    """

    def __init__(
        self,
        url: str,
        *,
        keyring: Keyring,
        clock: Clock,
        announcer: Announcer,
        publish: Callable[[Transaction, object], None],
        pool_size: int = 40,
    ) -> None:
        self.keyring = keyring
        self.engine = make_engine(url, keyring=keyring, pool_size=pool_size)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._reader = self.engine.execution_options(
            **{_READ_ONLY: True}, **({} if self.is_sqlite else _POSTGRES_SNAPSHOT)
        )
        # Without a transaction there is no BEGIN and no ROLLBACK to wait for. SQLite needs no network for them.
        self._glancer = self.engine.execution_options(
            **({_READ_ONLY: True} if self.is_sqlite else _POSTGRES_GLANCE)
        )
        self._hasty = self.engine.execution_options(**{_HASTY: True})
        self._clock = clock
        self._announcer = announcer
        self._publish = publish
        # Together fewer than the threads that answer requests, and than the connections.
        turns = max(1, pool_size * 2 // 5)
        self._turns = _Turns(writers=1 if self.is_sqlite else turns, readers=turns)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session for one unit of work."""
        session = self.open_session()
        try:
            yield session
            self.commit(session)
        finally:
            session.close()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that cannot write, and sees one snapshot."""
        with Session(self._reader) as session:
            attach(session, self._context())
            yield session

    @contextmanager
    def connection(self, *, durable: bool = True) -> Iterator[Connection]:
        """A Core connection for one unit of work on a hot path.

        Without ``durable`` the commit does not wait for the disk: a power cut may undo it, wholly, later. For
        bookkeeping that can be done again, never for money.
        """
        context = self._context()
        with (self.engine if durable else self._hasty).connect() as connection:
            attach(connection, context)
            try:
                with connection.begin():
                    yield connection
            finally:
                attach(connection, None)
        self._announce(context)

    @contextmanager
    def reading_connection(self) -> Iterator[Connection]:
        """A Core connection that cannot write."""
        with self._reader.connect() as connection, connection.begin():
            attach(connection, self._context())
            try:
                yield connection
            finally:
                attach(connection, None)

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """A Core connection for one SELECT on a hot path. Two of them may see different moments; it cannot write."""
        with self._glancer.connect() as connection:
            attach(connection, self._context())
            try:
                yield connection
            finally:
                attach(connection, None)

    @asynccontextmanager
    async def request_transaction(self) -> AsyncIterator[Session]:
        """A session for one HTTP request that writes, opened on the event loop. Waits for its turn."""
        async with self.writer_slot():
            session = self.open_session()
            try:
                yield session
                await to_thread(self.commit, session)
            finally:
                await to_thread(session.close)

    @asynccontextmanager
    async def request_reading(self) -> AsyncIterator[Session]:
        """A session for one HTTP request that only reads, opened on the event loop. Waits for its turn."""
        async with self._turns.to_read():
            with self.reading() as session:
                try:
                    yield session
                finally:
                    await to_thread(session.close)

    def writer_slot(self) -> AbstractAsyncContextManager[object]:
        """The turn to write, of requests on one event loop."""
        return self._turns.to_write()

    def open_session(self) -> Session:
        """A session whose owner must ``commit`` and close it; used by ``transaction`` and test fixtures."""
        session = Session(self.engine, expire_on_commit=False)
        attach(session, self._context())
        return session

    def commit(self, session: Session) -> None:
        """Commit, then announce what the transaction wanted to be known."""
        context = context_of(session)
        session.commit()
        attach(session, self._context())
        self._announce(context)

    @property
    def conninfo(self) -> str:
        """The address for a PostgreSQL driver that is not SQLAlchemy."""
        return libpq_address(self.engine.url)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def _context(self) -> Context:
        return Context(clock=self._clock, keyring=self.keyring, publish=self._publish)

    def _announce(self, context: Context) -> None:
        if context.announcements:
            self._announcer.send_many(context.announcements)


class _Turns:
    """How many requests of one event loop may be in a transaction at a time.

    A request begins its transaction in one worker thread and may need another to go on. If all threads waited
    for a lock or a connection that such a request holds, nobody would go on; so requests wait here, holding
    neither thread nor connection, and some threads are always free. SQLite has one writer anyway.
    """

    def __init__(self, *, writers: int, readers: int) -> None:
        self._sizes = {"write": writers, "read": readers}
        self._queues: weakref.WeakKeyDictionary[AbstractEventLoop, dict[str, Semaphore]] = (
            weakref.WeakKeyDictionary()
        )

    def to_write(self) -> Semaphore:
        return self._queue("write")

    def to_read(self) -> Semaphore:
        return self._queue("read")

    def _queue(self, kind: str) -> Semaphore:
        loop = get_running_loop()
        if loop not in self._queues:
            self._queues[loop] = {name: Semaphore(size) for name, size in self._sizes.items()}
        return self._queues[loop][kind]


def libpq_address(url: URL) -> str:
    """``postgresql://…`` as libpq reads it, with its password."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def make_engine(url: str, *, keyring: Keyring, pool_size: int = 40) -> Engine:
    """An engine of either kind, with our rules for transactions."""
    parsed = make_url(url)
    arguments: dict[str, Any] = {"json_serializer": _compact_json}
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ValueError("SQLite needs a file: each connection would get a database of its own")
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        arguments |= {"connect_args": {"check_same_thread": False}}
    else:
        arguments |= {"connect_args": {"application_name": "omnitill", "connect_timeout": 5}}
    engine = create_engine(
        parsed, pool_size=pool_size, max_overflow=10, pool_timeout=_BUSY_S, **arguments
    )
    setattr(engine.dialect, KEYRING_ATTRIBUTE, keyring)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        writer = _OneWriter()
        event.listen(engine, "begin", writer.begin)
        event.listen(engine, "checkin", writer.end)
    else:
        event.listen(engine, "connect", _prepare_postgres)
        event.listen(engine, "begin", _begin_postgres)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, _record: object) -> None:
    # The driver's own BEGIN is deferred: two writers that both read first lose one update silently.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_S * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_postgres(connection: DBAPIConnection, _record: object) -> None:
    # A belt: whoever waits longer than this gets an answer that says so, and can try again.
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = '{_BUSY_S}s'")
    connection.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.autocommit = False


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get(_HASTY, False):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")


class _OneWriter:
    """Lets one thread of this process write to a SQLite file at a time.

    SQLite alone would do, but it lets waiting threads sleep up to a tenth of a second between looks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection  # a sqlite3.Connection
        options = connection.get_execution_options()
        read_only = options.get(_READ_ONLY, False)
        try:
            if not read_only and _WRITES not in connection.info:
                if not self._lock.acquire(timeout=_BUSY_S):
                    raise sqlite3.OperationalError("database is locked")
                connection.info[_WRITES] = True
            driver.execute(f"PRAGMA query_only={'ON' if read_only else 'OFF'}")
            # What was answered to a device or a cashier survives a power cut.
            driver.execute(f"PRAGMA synchronous={'NORMAL' if options.get(_HASTY) else 'FULL'}")
            driver.execute("BEGIN" if read_only else "BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise OperationalError("BEGIN", None, error) from error

    def end(self, connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        # SQLite keeps a transaction open whose COMMIT failed, and SQLAlchemy takes it for ended.
        if connection is not None and connection.in_transaction:
            connection.rollback()
        if record.info.pop(_WRITES, False):
            self._lock.release()


def _compact_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
