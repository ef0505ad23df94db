"""Walks a chain of the activity log and tells what was altered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import RowMapping, select

from control_plane.audit.service import EVENTS, GENESIS, HEADS, hash_of, is_sealed
from control_plane.db.unit_of_work import Transaction

_CHUNK = 1_000
#: A chain that is wrong from the start is wrong everywhere; nobody reads a million lines.
_MOST_FINDINGS = 50


class Tampering(StrEnum):
    """What was done to a chain."""

    CHANGED = "changed"
    MISSING = "missing"
    MOVED = "moved"
    TRUNCATED = "truncated"
    ADDED = "added"
    HEAD_FORGED = "head_forged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a chain is not as it was written. ``seq`` counts from 1 within the merchant."""

    kind: Tampering
    seq: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the walk along one chain showed."""

    merchant_id: str
    events: int
    findings: tuple[Finding, ...]

    @property
    def is_intact(self) -> bool:
        """Whether the chain is as it was written."""
        return not self.findings


def merchants_with_events(db: Transaction) -> list[str]:
    """Every merchant that has a chain, or what is left of one."""
    heads = select(HEADS.c.merchant_id)
    return sorted(db.execute(heads.union(select(EVENTS.c.merchant_id))).scalars())


def verify(db: Transaction, merchant_id: str) -> Verdict:
    """Read a whole chain, in pieces, and compare every hash, the order, the count and the sealed end.

    ``db`` is one snapshot (``Database.reading``), so that what is appended meanwhile does not count.
    """
    head = db.execute(select(HEADS).where(HEADS.c.merchant_id == merchant_id)).mappings().first()
    upto: int = head["count"] if head else 0
    walk = _Walk()
    for event in _events(db, merchant_id):
        walk.step(event)
    walk.end(upto)
    if head is None:
        walk.found(Tampering.HEAD_FORGED, walk.count, "The record of the end of the chain is gone.")
    else:
        if not walk.findings and walk.last_hash != head["last_hash"]:
            walk.found(Tampering.TRUNCATED, upto, "The last event is not the one that was last.")
        if not is_sealed(db, merchant_id, upto, head["last_hash"], head["seal"]):
            walk.found(
                Tampering.HEAD_FORGED, upto, "The end of the chain was not written by Omnitill."
            )
    return Verdict(merchant_id, walk.count, tuple(walk.findings[:_MOST_FINDINGS]))


class _Walk:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.count = 0
        self.last_hash = GENESIS
        self._next = 1

    def step(self, event: RowMapping) -> None:
        seq: int = event["seq"]
        if seq > self._next:
            gap = (
                f"event {self._next}"
                if seq == self._next + 1
                else f"events {self._next} to {seq - 1}"
            )
            self.found(Tampering.MISSING, self._next, f"Missing: {gap}.")
        elif event["previous_hash"] != self.last_hash:
            self.found(
                Tampering.MOVED, seq, f"Event {seq} does not follow the one that stands before it."
            )
        if hash_of(dict(event), event["previous_hash"]) != event["hash"]:
            self.found(Tampering.CHANGED, seq, f"Event {seq} is not as it was written.")
        self.count += 1
        self._next = seq + 1
        self.last_hash = event["hash"]

    def end(self, upto: int) -> None:
        last = self._next - 1
        if last < upto:
            self.found(
                Tampering.TRUNCATED, last + 1, f"{upto - last} events are missing at the end."
            )
        elif last > upto:
            self.found(Tampering.ADDED, upto + 1, f"{last - upto} events stand after the end.")

    def found(self, kind: Tampering, seq: int, sentence: str) -> None:
        self.findings.append(Finding(kind, seq, sentence))


def _events(db: Transaction, merchant_id: str) -> Iterator[RowMapping]:
    after = 0
    while True:
        chunk = (
            db.execute(
                select(EVENTS)
                .where(EVENTS.c.merchant_id == merchant_id, EVENTS.c.seq > after)
                .order_by(EVENTS.c.seq)
                .limit(_CHUNK)
            )
            .mappings()
            .all()
        )
        yield from chunk
        if len(chunk) < _CHUNK:
            return
        after = chunk[-1]["seq"]
