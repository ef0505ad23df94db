"""What a command can be in, and what the timeline of a session is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from protocols.cloud.events import CommandResult


class SessionKind(StrEnum):
    """Which way the money is to go."""

    SALE = "sale"
    REFUND = "refund"
    REVERSAL = "reversal"


class CommandState(StrEnum):
    """Where a command stands."""

    ISSUED = "issued"
    """Sent, again and again, until the device answers or it expires."""
    CLAIMED = "claimed"
    """A device holds the lease; only kinds that can move money are claimed."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    """The device did not understand it."""
    REFUSED = "refused"
    """The device understood and may not do it now."""
    TOO_LATE = "too_late"
    """The lease was over before the reader could be asked."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """True when nothing more is expected."""
        return self not in _OPEN


_OPEN: Final = frozenset({CommandState.ISSUED, CommandState.CLAIMED})

#: What a device reports, as the state that it leads to.
REPORTED: Final[dict[str, CommandState]] = {
    "succeeded": CommandState.SUCCEEDED,
    "failed": CommandState.FAILED,
    "rejected": CommandState.REJECTED,
    "refused": CommandState.REFUSED,
    "too_late": CommandState.TOO_LATE,
    "expired": CommandState.EXPIRED,
}

#: Results after which it is certain that the reader was never asked.
NEVER_RAN: Final = frozenset(
    {
        CommandState.REJECTED,
        CommandState.REFUSED,
        CommandState.TOO_LATE,
        CommandState.EXPIRED,
    }
)


def after_report(state: CommandState, result: CommandResult) -> CommandState | None:
    """The state after a device's report; None when the report changes nothing any more.

    A report after our own expiry counts, because a device that is not claimed to has its own idea of the time.
    """
    if state.is_final and state is not CommandState.EXPIRED:
        return None
    target = REPORTED[result.status]
    return None if target is state else target


class StepKind(StrEnum):
    """One line of a session's timeline: what the device said, what people did, what we concluded."""

    CREATED = "created"
    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    SENT = "sent"
    WAITING_FOR_CARD = "waiting_for_card"
    CARD_SEEN = "card_seen"
    ENTER_PIN = "enter_pin"
    AUTHORIZING = "authorizing"
    REMOVE_CARD = "remove_card"
    REVERSING = "reversing"
    BUSY = "busy"
    CANCEL_ASKED = "cancel_asked"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"
    RECALLING = "recalling"
    SILENT = "silent"
    NOT_BEGUN = "not_begun"
    """The device says that it did not ask the reader."""
    APPROVED = "approved"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"
    LATE_RESULT = "late_result"
    """A result that the session could not take; it is kept beside it and raises an alarm."""
