"""The agent's memory: one SQLite file, one thread that writes it, and what is done when file or disk fail.

What is stored in which table is the business of `spool`, `inbox` and `sessions`; this module brings their changes to
the disk. A change is durable (WAL, synchronous FULL) before anyone hears of it.

Beside the file stand `counters.json`, which outlives a journal that has to be given up, a reserve of disk space for
the payments that are running when the disk is full, and a lock: one agent per folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import queue
import sqlite3
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from agent.errors import AgentError
from agent.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

log = structlog.get_logger()

T = TypeVar("T")

SCHEMA_VERSION: Final = 1
FILE: Final = "journal.db"
_COUNTERS: Final = "counters.json"
_RESERVE: Final = "journal.reserve"
_SUSPECT: Final = "journal.suspect"
_LOCK: Final = "lock"

#: Kept free for finishing what has begun; below it no new payment is taken.
RESERVE_BYTES: Final = 8 * 1024 * 1024
#: The journal never grows beyond this: a till's disk is not ours to fill.
LARGEST_BYTES: Final = 2 * 1024 * 1024 * 1024
#: Files up to this size are checked from end to end at every start; larger ones once a day.
_CHECKED_AT_START: Final = 16 * 1024 * 1024

#: Of `firmware.jobs`, which also makes it in a journal that was begun before there was any.
FIRMWARE_JOBS: Final = """
CREATE TABLE IF NOT EXISTS firmware_job (
  id TEXT PRIMARY KEY, reader_id TEXT NOT NULL, request BLOB NOT NULL, state TEXT NOT NULL,
  recorded_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  version_before TEXT NOT NULL DEFAULT '', text TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
"""
_SCHEMA: Final = f"""
CREATE TABLE stream (
  name TEXT PRIMARY KEY, seq INTEGER NOT NULL, prev TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE outbox (
  stream TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  id TEXT NOT NULL, payload BLOB NOT NULL, hash TEXT NOT NULL, created_at INTEGER NOT NULL,
  acked_at INTEGER, reject_code TEXT,
  PRIMARY KEY (stream, epoch, seq)
);
CREATE INDEX outbox_pending ON outbox (stream, epoch, seq) WHERE acked_at IS NULL;
CREATE INDEX outbox_acked ON outbox (acked_at) WHERE acked_at IS NOT NULL;
CREATE TABLE command (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, received_at INTEGER NOT NULL, epoch INTEGER, seq INTEGER
) WITHOUT ROWID;
CREATE INDEX command_unfinished ON command (id) WHERE seq IS NULL;
CREATE INDEX command_age ON command (received_at);
CREATE TABLE session (
  id TEXT PRIMARY KEY, reader_id TEXT NOT NULL, command_id TEXT NOT NULL, request BLOB NOT NULL,
  recorded_at INTEGER NOT NULL, baseline BLOB, began_ms INTEGER, cancels TEXT NOT NULL DEFAULT '[]',
  outcome TEXT
) WITHOUT ROWID;
CREATE INDEX session_undecided ON session (id) WHERE outcome IS NULL;
CREATE INDEX session_age ON session (recorded_at);
CREATE TABLE reader (key TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{FIRMWARE_JOBS}"""


class FolderInUse(AgentError):
    """Another agent works in this folder."""

    code = "folder_in_use"


class JournalTooNew(AgentError):
    """The journal was written by a later version of the agent."""

    code = "journal_too_new"


class JournalUnwritable(AgentError):
    """Nothing was stored: the disk is full, read-only or failing. Works again when the disk does."""

    code = "journal_unwritable"
    retryable = True


class JournalDamaged(AgentError):
    """The file is not sound any more. The next start keeps it aside and begins a new one."""

    code = "journal_damaged"


class Condition(StrEnum):
    """What was found when the journal was opened."""

    INTACT = "intact"
    FIRST = "first"
    MISSING = "missing"
    """There was one, and it is gone."""
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Opening:
    """How the journal was found, and the counters of this start."""

    condition: Condition
    epoch: int
    boot: int
    kept_as: str = ""
    """File name of a damaged journal that was put aside."""
    saved: int = 0
    """Messages not yet acknowledged that could be read from it; they keep their epoch and number."""


@dataclass(slots=True)
class Transaction:
    """What a change works on. It may be run a second time after a rollback, so it has no other effects."""

    db: sqlite3.Connection
    epoch: int
    boot: int
    _afterwards: list[Callable[[], None]] = field(default_factory=list)

    def afterwards(self, notice: Callable[[], None]) -> None:
        """Call `notice` in the event loop once this is on the disk, in the order of the changes."""
        self._afterwards.append(notice)


@dataclass(slots=True)
class _Task:
    work: Callable[[Transaction], object]
    writes: bool
    done: asyncio.Future[Any]  # of what `work` returns
    result: object = None
    error: BaseException | None = None
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    def tell(self) -> None:
        """In the event loop: hand over what came of it."""
        for notice in self.afterwards:
            notice()
        if self.done.done():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


class Journal:
    """Stores changes one after another; those that arrive together share one commit."""

    def __init__(
        self,
        folder: Path,
        *,
        now: datetime,
        first_epoch: int = 1,
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        """Open or begin the journal in `folder`; `now` names a damaged file that is put aside.

        `first_epoch` is the earliest epoch that may be used. Raises FolderInUse, JournalTooNew, JournalUnwritable.
        """
        self.folder = folder
        self._largest = largest_bytes
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = undo.enter_context(contextlib.closing(_Lock(folder / _LOCK)))
                self._db, self.opening = _open(folder, now, first_epoch, largest_bytes)
            except (OSError, sqlite3.Error) as error:
                raise JournalUnwritable(f"{folder}: {error}", folder=str(folder)) from error
            undo.pop_all()
        self._epoch = self.opening.epoch
        self._used_bytes = _used_bytes(self._db)
        self._trouble: AgentError | None = None
        self._queue: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._hold_reserve()

    @property
    def epoch(self) -> int:
        """The epoch that new messages are numbered in."""
        return self._epoch

    @property
    def boot(self) -> int:
        """Counter of starts of the agent on this device, also across lost journals."""
        return self.opening.boot

    @property
    def trouble(self) -> AgentError | None:
        """Why the last change could not be stored; `None` as soon as one could again."""
        return self._trouble

    def start(self) -> None:
        """Begin to work for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self) -> None:
        """Store what was handed in, then end."""
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
        self.abandon()

    def abandon(self) -> None:
        """Close a journal that was never started."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._lock.close()

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Run `change` in the journal's thread and return its result once it is on the disk.

        What `change` raises undoes this change alone. Raises JournalUnwritable or JournalDamaged; then nothing of it
        was stored. A caller that is cancelled meanwhile does not undo it.
        """
        return await self.submit(change)

    def submit(self, change: Callable[[Transaction], T]) -> asyncio.Future[T]:
        """Like `write`, for a caller that goes on at once: changes are stored in the order they were handed in."""
        return self._ask(change, writes=True)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query that changes nothing; it sees every change that was handed in before."""
        return await self._ask(lambda tx: query(tx.db), writes=False)

    def room_bytes(self) -> int:
        """What can still be stored, the reserve included: what the disk and the journal's own limit leave."""
        disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize + self._reserved_bytes()
        return min(free, self._largest - self._used_bytes)

    def has_room(self) -> bool:
        """Whether a new payment may begin: its outcome must surely find a place."""
        return self._trouble is None and self.room_bytes() > RESERVE_BYTES

    async def probe(self) -> None:
        """Store something small, so that `trouble` tells the present; renews the reserve when there is room again."""
        with contextlib.suppress(AgentError):
            await self.write(lambda tx: set_fact(tx, "probed", str(tx.boot)))
            await asyncio.to_thread(self._hold_reserve)

    async def check(self) -> None:
        """Read the whole file as it is on the disk; when it is damaged, `trouble` says so from now on."""
        found = await in_thread(lambda: _flaws_of(self.folder), "journal-check")
        if found and not isinstance(self._trouble, JournalDamaged):
            self._trouble = self._damaged(found[0])

    async def begin_epoch(self, epoch: int, change: Callable[[Transaction], T]) -> T:
        """Number messages in a later epoch from now on; `change` is the first thing stored in it."""
        epoch = max(epoch, self._epoch + 1)
        await asyncio.to_thread(_write_counters, self.folder, epoch, self.boot)

        def begin(tx: Transaction) -> T:
            tx.epoch = self._epoch = epoch
            tx.db.execute("DELETE FROM stream")
            set_fact(tx, "epoch", str(epoch))
            return change(tx)

        return await self.write(begin)

    def _ask(self, work: Callable[[Transaction], T], *, writes: bool) -> asyncio.Future[T]:
        if self._loop is None:
            raise RuntimeError("the journal was not started")
        done: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Task(work, writes, done))
        return done

    # --- the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        assert self._loop is not None  # noqa: S101 (started by `start`)
        ending = False
        while not ending:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    batch.append(self._queue.get_nowait())
            ending = None in batch
            tasks = [task for task in batch if task is not None]
            self._store(tasks)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_tell_all, tasks)

    def _store(self, tasks: list[_Task]) -> None:
        """Run all tasks in one transaction; one whose work raises leaves nothing behind and hinders no other."""
        if isinstance(self._trouble, JournalDamaged):
            _fail(tasks, self._trouble)
            return
        try:
            try:
                self._attempt(tasks)
            except sqlite3.OperationalError as error:
                if not _is_full(error) or not self._give_up_reserve():
                    raise
                self._attempt(tasks)
        except sqlite3.Error as error:
            self._trouble = self._diagnose(error)
            _fail(tasks, self._trouble)
        else:
            if any(task.writes for task in tasks):
                self._trouble = None

    def _attempt(self, tasks: list[_Task]) -> None:
        writes = any(task.writes for task in tasks)
        if writes:
            self._db.execute("BEGIN IMMEDIATE")
        try:
            for task in tasks:
                self._run(task)
            if writes:
                self._db.execute("COMMIT")
                self._used_bytes = _used_bytes(self._db)
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _run(self, task: _Task) -> None:
        task.error, task.result, task.afterwards = None, None, []
        tx = Transaction(self._db, self._epoch, self.boot, task.afterwards)
        if task.writes:
            self._db.execute("SAVEPOINT task")
        try:
            task.result = task.work(tx)
        except sqlite3.Error as error:
            if _is_about_the_file(error):
                raise
            task.error = error
        except Exception as error:
            task.error = error
        if task.error is not None:
            task.afterwards.clear()
        if task.writes:
            if task.error is not None:
                self._db.execute("ROLLBACK TO task")
            self._db.execute("RELEASE task")

    def _diagnose(self, error: sqlite3.Error) -> AgentError:
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            return self._damaged(str(error))
        if self._trouble is None:
            log.warning("journal_unwritable", reason=str(error))
        return JournalUnwritable(f"{self.folder / FILE}: {error}", folder=str(self.folder))

    def _damaged(self, reason: str) -> JournalDamaged:
        """Note it on the disk, for the next start."""
        with contextlib.suppress(OSError):
            (self.folder / _SUSPECT).touch()
        log.error("journal_damaged", reason=reason)
        return JournalDamaged(f"{self.folder / FILE}: {reason}", folder=str(self.folder))

    # --- the reserve -----------------------------------------------------------------------------------------

    def _reserved_bytes(self) -> int:
        try:
            return (self.folder / _RESERVE).stat().st_size
        except OSError:
            return 0

    def _hold_reserve(self) -> None:
        """Take disk space that only `_give_up_reserve` frees. Does nothing when there is none to take."""
        if self._reserved_bytes() >= RESERVE_BYTES:
            return
        path = self.folder / _RESERVE
        try:
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            path.unlink(missing_ok=True)

    def _give_up_reserve(self) -> bool:
        held = self._reserved_bytes() > 0
        with contextlib.suppress(OSError):
            (self.folder / _RESERVE).unlink(missing_ok=True)
        return held


def set_fact(tx: Transaction, name: str, value: str) -> None:
    """Remember one small thing by name."""
    tx.db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))


def fact(db: sqlite3.Connection, name: str) -> str | None:
    """What was remembered under this name."""
    row = db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def is_in_use(folder: Path) -> bool:
    """Whether an agent works in this folder now. Leaves no trace there."""
    try:
        with (folder / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def open_read_only(folder: Path) -> sqlite3.Connection:
    """The journal as it is now, also while an agent works with it. Raises JournalUnwritable when there is none."""
    path = folder / FILE
    if not path.exists():
        raise JournalUnwritable(
            f"{path} is not there; name the agent's folder with --state-dir", folder=str(folder)
        )
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        db.execute("SELECT 1 FROM stream")
    except sqlite3.Error as error:
        raise JournalUnwritable(f"{path} cannot be read: {error}", folder=str(folder)) from error
    return db


def _flaws_of(folder: Path) -> list[str]:
    try:
        with contextlib.closing(open_read_only(folder)) as db:
            return flaws(db)
    except JournalUnwritable as error:
        return [error.message]


def flaws(db: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the file, up to ten findings; empty when it is sound. Reads all of it."""
    try:
        found = [str(row[0]) for row in db.execute("PRAGMA quick_check(10)")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return [] if found == ["ok"] else found


# --- opening ---------------------------------------------------------------------------------------------------

_FULL: Final = 13
_DAMAGED: Final = frozenset({11, 26})
#: READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB
_ABOUT_THE_FILE: Final = frozenset({8, 10, 11, 13, 14, 26})


def _open(
    folder: Path, now: datetime, first_epoch: int, largest: int
) -> tuple[sqlite3.Connection, Opening]:
    epoch, boot = _read_counters(folder)
    path = folder / FILE
    existed = path.exists()
    kept_as, saved = "", 0
    condition = Condition.INTACT if existed else Condition.MISSING if boot else Condition.FIRST
    if existed and not _is_sound(folder):
        condition, kept_as = Condition.DAMAGED, _put_aside(folder, now)
    if condition is not Condition.INTACT:
        epoch = max(first_epoch, epoch + 1)
    db = _connect(path, largest)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        db.close()
        raise JournalTooNew(
            f"{path} was written by a later agent (format {version}, this one knows {SCHEMA_VERSION}); "
            "install that version again",
            folder=str(folder),
        )
    if version == 0:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        saved = _salvage(folder / kept_as, db) if kept_as else 0
    else:
        epoch = max(epoch, int(fact(db, "epoch") or 0))
        boot = max(boot, int(fact(db, "boot") or 0))
    boot += 1
    _write_counters(folder, epoch, boot)
    db.execute(
        "INSERT OR REPLACE INTO fact VALUES ('epoch', ?), ('boot', ?)", (str(epoch), str(boot))
    )
    (folder / _SUSPECT).unlink(missing_ok=True)
    return db, Opening(condition, epoch, boot, kept_as, saved)


def _connect(path: Path, largest: int) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Only takes effect in an empty file: space that months offline took can be given back.
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA busy_timeout = 5000")
    db.execute("PRAGMA cache_size = -1024")
    db.execute("PRAGMA journal_size_limit = 4194304")
    page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {max(1, largest // page_bytes)}")
    return db


def _is_sound(folder: Path) -> bool:
    path = folder / FILE
    if (folder / _SUSPECT).exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path)) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                return False
            if path.stat().st_size <= _CHECKED_AT_START:
                return not flaws(db)
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            return False
        raise
    return True


def _put_aside(folder: Path, now: datetime) -> str:
    name = f"journal-damaged-{now:%Y%m%dT%H%M%S}.db"
    # The write-ahead log is part of the file: what was committed last may be only there.
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            (folder / f"{FILE}{suffix}").rename(folder / f"{name}{suffix}")
    return name


_SALVAGED: Final = (
    ("reader", "SELECT * FROM reader"),
    ("session", "SELECT * FROM session"),
    ("command", "SELECT * FROM command"),
    # Whose software was under way: nothing may be sent again, and nothing paid before it is known what runs.
    ("firmware_job", "SELECT * FROM firmware_job"),
    ("outbox", "SELECT * FROM outbox NOT INDEXED WHERE acked_at IS NULL"),
    # How far the keys of readers came: without it a number that is played again would look new.
    ("fact", "SELECT * FROM fact WHERE name LIKE 'ksn:%'"),
)


def _salvage(damaged: Path, db: sqlite3.Connection) -> int:
    """Copy what can still be read; returns how many unacknowledged messages were."""
    for table, query in _SALVAGED:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(damaged)) as old,
        ):
            for row in old.execute(query):
                marks = ", ".join("?" * len(row))
                db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 (our own names)
    return int(db.execute("SELECT count(*) FROM outbox").fetchone()[0])


def _read_counters(folder: Path) -> tuple[int, int]:
    """(epoch, boot); zeros when this is the first start."""
    try:
        stored = json.loads((folder / _COUNTERS).read_bytes())
        return int(stored["epoch"]), int(stored["boot"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0, 0


def _write_counters(folder: Path, epoch: int, boot: int) -> None:
    replace_file(folder / _COUNTERS, json.dumps({"epoch": epoch, "boot": boot}).encode())


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file so that a power cut leaves either the old or the new one, never half of it."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring new and renamed names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Lock:
    """Held as long as the process lives, however it ends."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read(20).strip()
            self._file.close()
            raise FolderInUse(
                f"another agent works in {path.parent}"
                + (f" (process {pid})" if pid else "")
                + "; stop it first",
                folder=str(path.parent),
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _tell_all(tasks: list[_Task]) -> None:
    for task in tasks:
        task.tell()


def _fail(tasks: list[_Task], error: AgentError) -> None:
    for task in tasks:
        task.error, task.afterwards = error, []


def _used_bytes(db: sqlite3.Connection) -> int:
    pages = (
        db.execute("PRAGMA page_count").fetchone()[0]
        - db.execute("PRAGMA freelist_count").fetchone()[0]
    )
    return int(pages * db.execute("PRAGMA page_size").fetchone()[0])


def _is_full(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF == _FULL


def _is_about_the_file(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode & 0xFF in _ABOUT_THE_FILE
