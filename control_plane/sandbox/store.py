"""Every object of the sandbox as JSON in one SQLite table, and what is due when. One writer at a time.

Keys that start with ``_`` are the sandbox's own memory; they never leave in an answer.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from control_plane.sandbox.errors import Json

#: Fields that lists are filtered by.
_INDEXED = ("customer", "payment_intent", "charge", "status", "type")

_TABLES = """
CREATE TABLE IF NOT EXISTS object (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  created INTEGER NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS object_kind ON object (kind, seq);
CREATE TABLE IF NOT EXISTS task (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, due REAL NOT NULL, name TEXT NOT NULL, target TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS task_due ON task (due, seq);
CREATE INDEX IF NOT EXISTS task_target ON task (target);
"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Store:
    """Objects by id and by kind, newest first. Without a path they live as long as the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None, cached_statements=512
        )
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
        for field in _INDEXED:
            self._db.execute(
                f"CREATE INDEX IF NOT EXISTS object_by_{field} ON object (kind, body ->> '{field}', seq)"
            )
        self._depth = 0

    def close(self) -> None:
        """Forget the connection; the file stays."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing; inside another one it is a part that can fail alone. Holds the one lock."""
        with self._lock:
            name = f"level_{self._depth}"
            self._db.execute(f"SAVEPOINT {name}" if self._depth else "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._db.execute(f"ROLLBACK TO {name}" if self._depth > 1 else "ROLLBACK")
                raise
            else:
                self._db.execute(f"RELEASE {name}" if self._depth > 1 else "COMMIT")
            finally:
                self._depth -= 1

    def add(self, kind: str, value: Json) -> Json:
        """Keep a new object; it is listed before all others of its kind."""
        self._execute(
            "INSERT INTO object (id, kind, created, body) VALUES (?, ?, ?, ?)",
            (value["id"], kind, value.get("created", 0), _encode(value).decode()),
        )
        return value

    def save(self, value: Json) -> Json:
        """Keep the changed object. Raises KeyError when it was never added."""
        written = self._execute(
            "UPDATE object SET body = ? WHERE id = ?", (_encode(value).decode(), value["id"])
        )
        if written.rowcount != 1:
            raise KeyError(value["id"])
        return value

    def get(self, identifier: str, kind: str | None = None) -> Json | None:
        """The object, or None; None also when it is of another kind."""
        row = self._execute("SELECT kind, body FROM object WHERE id = ?", (identifier,)).fetchone()
        if row is None or kind not in (None, row[0]):
            return None
        found: Json = _decode(row[1])
        return found

    def remove(self, identifier: str) -> None:
        """Forget the object."""
        self._execute("DELETE FROM object WHERE id = ?", (identifier,))

    def find(self, kind: str, **equal: object) -> list[Json]:
        """All objects of a kind whose fields are equal to these, newest first."""
        return self.page(kind, limit=-1, equal=equal)[0]

    def page(
        self,
        kind: str,
        *,
        limit: int,
        equal: dict[str, object] | None = None,
        created: dict[str, int] | None = None,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> tuple[list[Json], bool]:
        """Objects newest first, and whether there are more in that direction. ``created`` has gt, gte, lt, lte.

        A ``starting_after`` or ``ending_before`` that names nothing raises KeyError.
        """
        where, values = ["kind = ?"], [kind]
        given: list[object] = list(values)
        for field, value in (equal or {}).items():
            path = ".".join(field.split("__"))
            name = f"'{field}'" if path == field else f"'$.{path}'"
            where.append(f"body ->> {name} = ?")
            given.append(int(value) if isinstance(value, bool) else value)
        for relation, moment in (created or {}).items():
            where.append(f"created {_RELATIONS[relation]} ?")
            given.append(moment)
        for anchor, relation in ((starting_after, "<"), (ending_before, ">")):
            if anchor is not None:
                where.append(f"seq {relation} ?")
                given.append(self._position(anchor))
        order = "ASC" if ending_before else "DESC"
        rows = self._execute(
            f"SELECT body FROM object WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?",  # noqa: S608
            (*given, limit + 1 if limit >= 0 else -1),
        ).fetchall()
        has_more = 0 <= limit < len(rows)
        found: list[Json] = [_decode(row[0]) for row in rows[: limit if limit >= 0 else None]]
        return (found[::-1] if ending_before else found), has_more

    def schedule(self, due: float, name: str, target: str) -> None:
        """Have the task ``name`` run on ``target`` when the clock reaches ``due``."""
        self._execute("INSERT INTO task (due, name, target) VALUES (?, ?, ?)", (due, name, target))

    def unschedule(self, target: str) -> None:
        """Nothing is due for this target any more."""
        self._execute("DELETE FROM task WHERE target = ?", (target,))

    def next_due(self) -> float | None:
        """When the next task is due."""
        row = self._execute("SELECT due FROM task ORDER BY due, seq LIMIT 1", ()).fetchone()
        return None if row is None else float(row[0])

    def take_due(self, until: float) -> tuple[float, str, str] | None:
        """Remove and return the first task due by then: when, which, on what."""
        row = self._execute(
            "DELETE FROM task WHERE seq = (SELECT seq FROM task WHERE due <= ? ORDER BY due, seq LIMIT 1)"
            " RETURNING due, name, target",
            (until,),
        ).fetchone()
        return None if row is None else (float(row[0]), row[1], row[2])

    def _position(self, identifier: str) -> int:
        row = self._execute("SELECT seq FROM object WHERE id = ?", (identifier,)).fetchone()
        if row is None:
            raise KeyError(identifier)
        return int(row[0])

    def _execute(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        with self._lock:
            return self._db.execute(statement, values)


_RELATIONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
