"""The outbox: every durable message is numbered, sealed and stored here before anything of it is sent.

A row is released only by the server's acknowledgement, and kept for a while after it, because the server may ask for
it again. Nothing here knows how messages travel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from agent.card_data import CardNet
from agent.journal import fact, set_fact
from agent.timekeeping import rfc3339
from protocols.cloud.commands import Ack
from protocols.cloud.envelope import GENESIS, Envelope, body_hash, open_envelope, seal
from protocols.cloud.events import (
    CommandResult,
    CurrencySum,
    DailyClosing,
    DeviceEvent,
    JobProgress,
    PaymentResult,
    ReaderTotals,
    SessionStep,
    StreamData,
)
from protocols.cloud.topics import Stream
from protocols.errors import MalformedMessage
from protocols.ids import uuid7

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from agent.journal import Journal, Transaction
    from agent.timekeeping import DeviceTime

#: How long an acknowledged message can be asked for again.
KEPT_S: Final = 30 * 86_400

_STREAM_OF: Final[dict[type, Stream]] = {
    PaymentResult: Stream.TRANSACTIONS,
    DailyClosing: Stream.TRANSACTIONS,
    SessionStep: Stream.EVENTS,
    ReaderTotals: Stream.EVENTS,
    DeviceEvent: Stream.EVENTS,
    JobProgress: Stream.JOBS,
    CommandResult: Stream.RESULTS,
}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a message stands in its stream; later ones are greater."""

    epoch: int
    seq: int


START: Final = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One message of the outbox: exactly these bytes are sent, as often as it takes."""

    stream: Stream
    position: Position
    payload: bytes


@dataclass(frozen=True, slots=True)
class Released:
    """What an acknowledgement did."""

    count: int
    """Rows that were still open and are released now."""
    rejected: int = 0
    is_from_later: bool = False
    """The server has messages that this journal does not know: it is an older copy of itself."""


class Spool:
    """Appends messages and releases them. `on_appended` hears of each row, in order, once it is on the disk.

    Every message goes through `net` before it is sealed.
    """

    def __init__(self, journal: Journal, time: DeviceTime, net: CardNet | None = None) -> None:
        self._journal = journal
        self._time = time
        self.net = net or CardNet()
        self._pending: dict[Stream, int] = dict.fromkeys(Stream, 0)
        self.on_appended: Callable[[Row], None] = _nobody

    async def load(self) -> None:
        """Count what is waiting. Called once, before anything is appended."""
        self._pending = await self._journal.read(_count_pending)

    @property
    def pending(self) -> int:
        """Messages that the server has not acknowledged."""
        return sum(self._pending.values())

    def append(self, tx: Transaction, message: StreamData) -> Position:
        """Number, seal and store a message as part of a larger change."""
        position = self._append(tx, self.net.masked(message))
        for event in self.net.take_events():
            self._append(tx, event)
        return position

    async def tell_caught(self) -> None:
        """Store what the net caught elsewhere, in a log or a report."""
        if events := self.net.take_events():
            await self.record(*events)

    def _append(self, tx: Transaction, message: StreamData) -> Position:
        now = self._time.now()
        row = _store(
            tx,
            Envelope(
                id="",
                ts=rfc3339(now),
                boot=tx.boot,
                mono_ms=self._time.elapsed_ms(),
                clk_unc_ms=self._time.uncertainty_ms(),
                stream=_STREAM_OF[type(message)].value,
                epoch=0,
                seq=0,
                prev="",
                data=message,
            ),
            now,
        )
        tx.afterwards(lambda: self._notice(row))
        return row.position

    async def record(self, *messages: StreamData) -> None:
        """Store messages in one change; returns once they are on the disk."""

        def change(tx: Transaction) -> None:
            for message in messages:
                self.append(tx, message)

        await self._journal.write(change)

    async def waiting(self, stream: Stream, after: Position, limit: int) -> list[Row]:
        """The oldest rows behind a position that are not acknowledged, in order."""
        return await self._journal.read(lambda db: _waiting(db, stream, after, limit))

    async def again(
        self, stream: Stream, epoch: int, first: int, last: int, limit: int
    ) -> list[Row]:
        """Rows of a range, acknowledged or not, as far as they are still kept."""
        return await self._journal.read(lambda db: _range(db, stream, epoch, first, last, limit))

    async def acknowledge(self, ack: Ack) -> Released:
        """Release what the server has committed or put into quarantine."""
        try:
            stream = Stream(ack.stream)
        except ValueError:
            return Released(0)
        released = await self._journal.write(lambda tx: self._release(tx, stream, ack))
        self._pending[stream] -= released.count
        return released

    async def level(self) -> tuple[int, int]:
        """(messages waiting, age of the oldest in seconds)"""
        if self.pending == 0:
            return 0, 0
        oldest = await self._journal.read(
            lambda db: db.execute(
                "SELECT min(created_at) FROM outbox WHERE acked_at IS NULL"
            ).fetchone()[0]
        )
        return self.pending, max(0, int(self._time.now().timestamp()) - oldest) if oldest else 0

    async def forget_old(self, limit: int = 1000) -> int:
        """Drop rows that were acknowledged long ago, a piece at a time; returns how many."""
        before = int(self._time.now().timestamp()) - KEPT_S

        def change(tx: Transaction) -> int:
            gone = tx.db.execute(
                "DELETE FROM outbox WHERE rowid IN (SELECT rowid FROM outbox WHERE acked_at < ? LIMIT ?)",
                (before, limit),
            ).rowcount
            # Some pages at a time, so that a payment never waits for the clean-up.
            tx.db.execute("PRAGMA incremental_vacuum(256)").fetchall()
            return gone

        return await self._journal.write(change)

    async def start_over(self, epoch: int, notice: StreamData) -> None:
        """Begin a later epoch: after `notice`, what is still waiting is numbered and sealed anew.

        For a journal whose numbers cannot be continued: another device id, or an older copy of itself. Nothing is
        announced to `on_appended`; whoever sends begins from the start.
        """

        def change(tx: Transaction) -> None:
            self.append(tx, notice)
            while rows := tx.db.execute(
                "SELECT rowid, payload, created_at FROM outbox WHERE acked_at IS NULL AND epoch < ?"
                " ORDER BY stream, epoch, seq LIMIT 500",
                (tx.epoch,),
            ).fetchall():
                for rowid, payload, created_at in rows:
                    try:
                        draft = open_envelope(payload)
                    except MalformedMessage:
                        # Sealed by a later agent that knew more: it stays under its old number, out of the way.
                        tx.db.execute(
                            "UPDATE outbox SET acked_at = ?, reject_code = 'unreadable' WHERE rowid = ?",
                            (created_at, rowid),
                        )
                        continue
                    tx.db.execute("DELETE FROM outbox WHERE rowid = ?", (rowid,))
                    _store(tx, draft, datetime.fromtimestamp(created_at, UTC))

        await self._journal.begin_epoch(epoch, change)
        await self.load()

    async def close_day(self) -> bool:
        """Record the closing of the last day that has ended, if one has; returns whether it was."""
        return await self._journal.write(self._close_day)

    def _close_day(self, tx: Transaction) -> bool:
        today = self._time.now().date().isoformat()
        day = fact(tx.db, "day") or today
        if fact(tx.db, "day") is None:
            set_fact(tx, "day", today)
        if day >= today:
            return False
        set_fact(tx, "day", today)
        return self._append_closing(tx, day)

    def _append_closing(self, tx: Transaction, day: str) -> bool:
        stream = Stream.TRANSACTIONS
        rows = [
            (int(seq), bytes(payload), str(digest))
            for seq, payload, digest in tx.db.execute(
                "SELECT seq, payload, hash FROM outbox WHERE stream = ? AND epoch = ? AND seq > ? ORDER BY seq",
                (stream, tx.epoch, _closed_up_to(tx)),
            )
        ]
        if not rows:
            return False
        position = self.append(
            tx,
            DailyClosing(
                day=day,
                first_seq=rows[0][0],
                last_seq=rows[-1][0],
                sums=_sums(payload for _, payload, _ in rows),
                last_hash=rows[-1][2],
            ),
        )
        set_fact(tx, "closed", f"{position.epoch}.{position.seq}")
        return True

    def _notice(self, row: Row) -> None:
        self._pending[row.stream] += 1
        self.on_appended(row)

    def _release(self, tx: Transaction, stream: Stream, ack: Ack) -> Released:
        head = tx.db.execute("SELECT seq FROM stream WHERE name = ?", (stream,)).fetchone()
        newest = Position(tx.epoch, head[0] if head else 0)
        if Position(ack.epoch, max([ack.upto, *ack.also, 0])) > newest:
            return Released(0, is_from_later=True)
        now = int(self._time.now().timestamp())
        rejected = 0
        for refusal in ack.reject:
            rejected += tx.db.execute(
                "UPDATE outbox SET acked_at = ?, reject_code = ?"
                " WHERE stream = ? AND epoch = ? AND seq = ? AND acked_at IS NULL",
                (now, refusal.code, stream, ack.epoch, refusal.seq),
            ).rowcount
        count = (
            rejected
            + tx.db.execute(
                "UPDATE outbox SET acked_at = ? WHERE stream = ? AND epoch = ? AND seq <= ? AND acked_at IS NULL",
                (now, stream, ack.epoch, ack.upto),
            ).rowcount
        )
        for seq in ack.also:
            count += tx.db.execute(
                "UPDATE outbox SET acked_at = ? WHERE stream = ? AND epoch = ? AND seq = ? AND acked_at IS NULL",
                (now, stream, ack.epoch, seq),
            ).rowcount
        return Released(count, rejected)


def _nobody(row: Row) -> None:  # noqa: ARG001 (the shape of `on_appended`)
    return


def _store(tx: Transaction, draft: Envelope, created_at: datetime) -> Row:
    """Number and seal a message: it keeps its times and content, and gets id, epoch, number and link anew."""
    stream = Stream(draft.stream)
    head = tx.db.execute("SELECT seq, prev FROM stream WHERE name = ?", (stream,)).fetchone()
    seq, prev = (head[0] + 1, head[1]) if head else (1, GENESIS)
    envelope = msgspec.structs.replace(draft, id=str(uuid7()), epoch=tx.epoch, seq=seq, prev=prev)
    payload = seal(envelope)
    digest = body_hash(payload)
    tx.db.execute(
        "INSERT INTO outbox (stream, epoch, seq, id, payload, hash, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (stream, tx.epoch, seq, envelope.id, payload, digest, int(created_at.timestamp())),
    )
    tx.db.execute("INSERT OR REPLACE INTO stream VALUES (?, ?, ?)", (stream, seq, digest))
    return Row(stream, Position(tx.epoch, seq), payload)


def _count_pending(db: sqlite3.Connection) -> dict[Stream, int]:
    counts = dict(
        db.execute("SELECT stream, count(*) FROM outbox WHERE acked_at IS NULL GROUP BY stream")
    )
    return {stream: int(counts.get(stream.value, 0)) for stream in Stream}


def _waiting(db: sqlite3.Connection, stream: Stream, after: Position, limit: int) -> list[Row]:
    rows = db.execute(
        "SELECT epoch, seq, payload FROM outbox WHERE stream = ? AND (epoch, seq) > (?, ?) AND acked_at IS NULL"
        " ORDER BY epoch, seq LIMIT ?",
        (stream, after.epoch, after.seq, limit),
    )
    return [Row(stream, Position(epoch, seq), payload) for epoch, seq, payload in rows]


def _range(
    db: sqlite3.Connection, stream: Stream, epoch: int, first: int, last: int, limit: int
) -> list[Row]:
    rows = db.execute(
        "SELECT seq, payload FROM outbox WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?",
        (stream, epoch, first, last, limit),
    )
    return [Row(stream, Position(epoch, seq), payload) for seq, payload in rows]


def _closed_up_to(tx: Transaction) -> int:
    """The last number of the present epoch that a closing has counted, or that is a closing itself."""
    epoch, _, seq = (fact(tx.db, "closed") or "0.0").partition(".")
    return int(seq) if int(epoch) == tx.epoch else 0


def _sums(payloads: Iterable[bytes]) -> list[CurrencySum]:
    """Approved results by currency: how many, and sales less refunds and reversals."""
    counts: dict[str, int] = {}
    sums: dict[str, int] = {}
    for payload in payloads:
        try:
            result = open_envelope(payload).data
        except MalformedMessage:
            # The server could not read it either; the closing shows that it is missing.
            continue
        if not isinstance(result, PaymentResult) or result.outcome != "approved":
            continue
        signed = result.amount_minor if result.kind == "sale" else -result.amount_minor
        counts[result.currency] = counts.get(result.currency, 0) + 1
        sums[result.currency] = sums.get(result.currency, 0) + signed
    return [
        CurrencySum(currency=one, count=counts[one], sum_minor=sums[one]) for one in sorted(counts)
    ]
