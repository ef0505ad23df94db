"""The acquirer's books, in a database of its own: every entry once, by its kind and the merchant's identifier."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS entry (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  organization TEXT NOT NULL,
  kind TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  parent TEXT,
  status TEXT NOT NULL,
  amount_minor INTEGER NOT NULL,
  currency TEXT NOT NULL,
  code TEXT NOT NULL DEFAULT '',
  approval TEXT NOT NULL DEFAULT '',
  reference TEXT NOT NULL DEFAULT '',
  masked TEXT NOT NULL DEFAULT '',
  fingerprint TEXT NOT NULL DEFAULT '',
  ksn TEXT NOT NULL DEFAULT '',
  terminal TEXT NOT NULL DEFAULT '',
  UNIQUE (organization, kind, transaction_id)
);
CREATE INDEX IF NOT EXISTS entry_parent ON entry (parent);
CREATE TABLE IF NOT EXISTS secret (value BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Minor units of one currency: what is held on cards, what was taken and given back, and what the shop gets."""

    currency: str
    reserved: int
    captured: int
    refunded: int

    @property
    def net(self) -> int:
        """What the shop is paid, before any fee."""
        return self.captured - self.refunded


class Books:
    """One writer at a time. Without a path they live as long as the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None
        )
        self._db.row_factory = sqlite3.Row
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES)
        kept = self._db.execute("SELECT value FROM secret").fetchone()
        #: Makes fingerprints: without it they tell nothing of a card number.
        self.secret: bytes = kept[0] if kept else secrets.token_bytes(32)
        if kept is None:
            self._db.execute("INSERT INTO secret VALUES (?)", (self.secret,))

    def close(self) -> None:
        """Forget the connection; the file stays."""
        with self._lock:
            self._db.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All of it, or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def add(self, **values: Any) -> sqlite3.Row:
        """A new entry, with an id of 22 digits as CyberSource's are."""
        values["id"] = str(secrets.randbelow(9 * 10**21) + 10**21)
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        self._db.execute(f"INSERT INTO entry ({names}) VALUES ({marks})", values)  # noqa: S608 - our own names
        found = self.get(values["organization"], values["id"])
        if found is None:
            raise LookupError(values["id"])
        return found

    def get(self, organization: str, identifier: str) -> sqlite3.Row | None:
        """An entry by its id."""
        return self._one("id = ? AND organization = ?", identifier, organization)

    def said(self, organization: str, kind: str, transaction_id: str) -> sqlite3.Row | None:
        """The entry of this kind with the merchant's own identifier."""
        return self._one(
            "organization = ? AND kind = ? AND transaction_id = ?",
            organization,
            kind,
            transaction_id,
        )

    def children(self, identifier: str, kind: str) -> list[sqlite3.Row]:
        """What was done to an entry."""
        return self._all("parent = ? AND kind = ?", identifier, kind)

    def set_status(self, identifier: str, status: str) -> None:
        """Where an entry stands now."""
        self._db.execute("UPDATE entry SET status = ? WHERE id = ?", (status, identifier))

    def entries(self) -> list[dict[str, Any]]:
        """Everything, the newest first."""
        with self._lock:
            return [dict(row) for row in self._db.execute("SELECT * FROM entry ORDER BY seq DESC")]

    def balances(self) -> list[Balance]:
        """By currency."""
        with self._lock:
            rows = self._db.execute(
                "SELECT currency,"
                " SUM(CASE WHEN kind = 'authorization' AND status = 'AUTHORIZED' THEN amount_minor ELSE 0 END),"
                " SUM(CASE WHEN kind = 'capture' THEN amount_minor ELSE 0 END),"
                " SUM(CASE WHEN kind = 'refund' THEN amount_minor ELSE 0 END)"
                " FROM entry GROUP BY currency ORDER BY currency"
            )
            return [
                Balance(currency=row[0], reserved=row[1], captured=row[2], refunded=row[3])
                for row in rows
            ]

    def _one(self, condition: str, *values: str) -> sqlite3.Row | None:
        found = self._all(condition, *values)
        return found[0] if found else None

    def _all(self, condition: str, *values: str) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(
                f"SELECT * FROM entry WHERE {condition} ORDER BY seq",  # noqa: S608 - our own conditions
                values,
            ).fetchall()
