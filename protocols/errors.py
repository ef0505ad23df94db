"""The error tree of everything that speaks a protocol.

ProtocolError
├── MalformedMessage      bytes or JSON that do not follow the rules of their protocol
├── CommandNotPossible    a command given to a machine at the wrong moment, or one it has no words for
├── TransitionRefused     an event that its state machine does not take
└── MoneyMismatch         amounts of different currencies, or an amount that cannot be written
"""

from __future__ import annotations


class ProtocolError(Exception):
    """A rule of a protocol was broken. ``code`` is stable; ``facts`` name what and where, without card data."""

    code = "protocol_error"

    def __init__(self, reason: str, **facts: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts

    def __str__(self) -> str:
        if not self.facts:
            return self.reason
        return (
            f"{self.reason} ({', '.join(f'{name}={value}' for name, value in self.facts.items())})"
        )


class MalformedMessage(ProtocolError):
    """Bytes or JSON that do not follow the rules of their protocol."""

    code = "malformed_message"


class CommandNotPossible(ProtocolError):
    """The machine cannot begin this command now; nothing was sent."""

    code = "command_not_possible"


class TransitionRefused(ProtocolError):
    """The state machine does not take this event in its present state."""

    code = "transition_refused"


class MoneyMismatch(ProtocolError):
    """Amounts of different currencies, or text that is no amount."""

    code = "money_mismatch"
