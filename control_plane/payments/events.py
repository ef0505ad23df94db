"""Domain events: what others may want to know of payments."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.money import Money
from protocols.session import SessionState


@dataclass(frozen=True, slots=True)
class SaleStarting:
    """A sale is about to be sent to a reader. A handler that raises keeps it from starting."""

    merchant_id: str
    reader_id: str
    reader_name: str
    profile: str


@dataclass(frozen=True, slots=True)
class SessionDecided:
    """A session reached its end."""

    session_id: str
    merchant_id: str
    state: SessionState
    amount: Money
    """What was approved; else what was asked."""
    transaction_id: str | None


@dataclass(frozen=True, slots=True)
class AnswerLost:
    """It is not known whether the card was charged; the device goes on asking."""

    session_id: str
    merchant_id: str


@dataclass(frozen=True, slots=True)
class LateResult:
    """A device reported an outcome that its session could not take. A person must look at it."""

    session_id: str
    merchant_id: str
    device_id: str
    transaction_id: str
    outcome: str
    reason: str
