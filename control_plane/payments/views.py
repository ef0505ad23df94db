"""What callers see of sessions and commands. Tables never leave the process; these do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from control_plane.payments.lifecycle import CommandState, SessionKind, StepKind
from protocols.money import Money
from protocols.session import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A tap session as it stands."""

    id: str
    merchant_id: str
    location_id: str
    device_id: str
    reader_id: str
    reader_name: str
    cashier_id: str
    cashier_name: str
    kind: SessionKind
    amount_minor: int
    currency: str
    reference: str
    note: str
    card_timeout_s: int
    state: SessionState
    state_since: datetime
    command_id: str
    expires_at: datetime
    claimed_at: datetime | None
    cancel_asked_at: datetime | None
    last_heard_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    explanation: str
    approved_minor: int | None
    result_code: int | None
    result_text: str
    authorization_code: str | None
    receipt_number: int | None
    terminal_id: str | None
    card_brand: str | None
    card_masked: str | None
    entry_mode: str | None
    verification: str | None
    transaction_id: str | None
    original_session_id: str | None
    original_transaction_id: str | None
    late_result: bool
    created_at: datetime
    payment_id: str | None = None
    """The payment of which it is one attempt; None for a sale of its own."""

    @property
    def amount(self) -> Money:
        """What was asked."""
        return Money(self.amount_minor, self.currency)

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen any more."""
        return self.state.is_final

    @property
    def can_cancel(self) -> bool:
        """Whether asking to cancel makes sense now."""
        return not self.is_final and self.state not in {
            SessionState.CANCELLING,
            SessionState.UNKNOWN,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One line of a timeline; ``id`` grows."""

    id: int
    session_id: str
    at: datetime
    kind: StepKind
    state: SessionState
    text: str
    code: int | None
    remaining_ms: int | None
    actor_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandView:
    """A command to a device as it stands."""

    id: str
    merchant_id: str
    device_id: str
    reader_id: str | None
    session_id: str | None
    kind: str
    body: dict[str, Any]
    state: CommandState
    issued_by: str
    issued_at: datetime
    expires_at: datetime
    attempts: int
    claimed_at: datetime | None
    finished_at: datetime | None
    result_code: str
    result_text: str
    output: dict[str, Any]

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected."""
        return self.state.is_final
