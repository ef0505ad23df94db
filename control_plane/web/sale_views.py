"""What the page of a transaction shows: plain values, with their texts in the visitor's language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from control_plane.web.words import Word
    from protocols.money import Money


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of facts. ``kind`` is ``id`` for what can be copied."""

    label: str
    value: str
    kind: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldLine:
    """A line of the order, and how much of it was not given back yet."""

    index: int
    name: str
    quantity: int
    unit: Money
    total: Money
    tax: str
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt."""

    number: int
    method: str
    word: Word
    card: str
    at: datetime
    reason: str
    advice: str
    code: str
    checks: Sequence[tuple[str, Word]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """A refund that hangs on its sale."""

    id: str
    amount: Money
    word: Word
    reason: str
    note: str
    by: str
    decided_by: str
    at: datetime
    failure: str
    href: str
    can_look: bool
    can_stop: bool = False
    """A reader asks for its card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """A dispute that hangs on its sale."""

    id: str
    amount: Money
    word: Word
    reason: str
    due_by: datetime | None
    is_open: bool
    at: datetime
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Another payment of the same card and amount."""

    id: str
    href: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundForm:
    """The dialog that gives money back."""

    key: str
    action: str
    left: Money
    amount: str
    currency: str
    by: str
    """all, amount or lines."""
    reason: str
    note: str
    reasons: Sequence[tuple[str, str]]
    lines: Sequence[SoldLine] = ()
    quantities: dict[int, str] = field(default_factory=dict)
    approval_above: Money | None = None
    """Above it, the refund waits for somebody else."""
    on_reader: bool = False
    """The customer presents the card again, on one of ``readers``: (id, label)."""
    readers: Sequence[tuple[str, str]] = ()
    reader: str = ""
    problem: str = ""
    is_open: bool = False
