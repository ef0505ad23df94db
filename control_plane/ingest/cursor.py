"""Which messages of a stream have been taken in: exact, for ever, in little room. Pure.

A gapless prefix, and ranges beyond its end. Each range keeps the hash that its first message names and the hash of
its last one, so that the chain is checked when the gap closes, however the messages came.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum, auto
from typing import Final

from protocols.cloud.envelope import GENESIS

#: Most ranges beyond a gap. A device that sends more of them is told to send the beginning first.
MAX_RANGES: Final = 256
#: Most numbers of one range that are asked for at once.
_RESEND_AT_ONCE: Final = 500


class Taken(Enum):
    """What became of a message."""

    NEW = auto()
    DUPLICATE = auto()
    NOT_NOW = auto()
    """It can only be taken in later: too many gaps before it."""


class Cursor:
    """One stream in one epoch. ``broken_at`` collects the numbers of messages that do not name the one before."""

    __slots__ = ("_firsts", "_ranges", "broken_at", "last_hash", "upto")

    def __init__(
        self, upto: int = 0, last_hash: str = GENESIS, beyond: list[list[object]] | None = None
    ) -> None:
        self.upto = upto
        self.last_hash = last_hash
        self.broken_at: list[int] = []
        self._ranges: list[_Range] = [_Range.load(one) for one in beyond or ()]
        self._firsts = [one.first for one in self._ranges]

    @property
    def has_gap(self) -> bool:
        """True when something came after a message that is missing."""
        return bool(self._ranges)

    def take(self, seq: int, prev: str, digest: str) -> Taken:
        """Note a message. ``prev`` is the hash it names, ``digest`` its own."""
        if seq <= self.upto:
            return Taken.DUPLICATE
        if seq == self.upto + 1:
            if prev != self.last_hash:
                self.broken_at.append(seq)
            self.upto = seq
            self.last_hash = digest
            if self._ranges and self._ranges[0].first == seq + 1:
                self._close_gap()
            return Taken.NEW
        return self._take_beyond(seq, prev, digest)

    def beyond(self) -> list[list[object]]:
        """The ranges as they are stored: ``[first, last, prev of first, hash of last]``."""
        return [one.dump() for one in self._ranges]

    def missing(self) -> list[tuple[int, int]]:
        """Ranges to ask for again, the oldest first, few at a time."""
        gaps = []
        start = self.upto + 1
        for one in self._ranges[:8]:
            gaps.append((start, min(one.first - 1, start + _RESEND_AT_ONCE - 1)))
            start = one.last + 1
        return gaps

    def _take_beyond(self, seq: int, prev: str, digest: str) -> Taken:
        at = bisect_right(self._firsts, seq)
        before = self._ranges[at - 1] if at else None
        after = self._ranges[at] if at < len(self._ranges) else None
        if before is not None and seq <= before.last:
            return Taken.DUPLICATE
        joins_before = before is not None and seq == before.last + 1
        joins_after = after is not None and seq == after.first - 1
        if joins_before and before is not None:
            if prev != before.digest:
                self.broken_at.append(seq)
            before.last, before.digest = seq, digest
        if joins_after and after is not None:
            if digest != after.prev:
                self.broken_at.append(after.first)
            if joins_before and before is not None:
                before.last, before.digest = after.last, after.digest
                self._remove(at)
            else:
                after.first, after.prev = seq, prev
                self._firsts[at] = seq
        if not joins_before and not joins_after:
            if len(self._ranges) >= MAX_RANGES:
                return Taken.NOT_NOW
            self._ranges.insert(at, _Range(seq, seq, prev, digest))
            self._firsts.insert(at, seq)
        return Taken.NEW

    def _close_gap(self) -> None:
        first = self._ranges[0]
        if first.prev != self.last_hash:
            self.broken_at.append(first.first)
        self.upto, self.last_hash = first.last, first.digest
        self._remove(0)

    def _remove(self, at: int) -> None:
        del self._ranges[at]
        del self._firsts[at]


class _Range:
    __slots__ = ("digest", "first", "last", "prev")

    def __init__(self, first: int, last: int, prev: str, digest: str) -> None:
        self.first = first
        self.last = last
        self.prev = prev
        self.digest = digest

    @classmethod
    def load(cls, stored: list[object]) -> _Range:
        first, last, prev, digest = stored
        return cls(int(str(first)), int(str(last)), str(prev), str(digest))

    def dump(self) -> list[object]:
        return [self.first, self.last, self.prev, self.digest]
