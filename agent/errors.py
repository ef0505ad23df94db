"""The error tree of the agent.

AgentError
├── TransportUnavailable   the line to a reader cannot be opened; `reason` says why
├── TransportLost          an open line is gone; `reason` says how
├── AddressUnreadable      an address that no transport understands
└── ReaderBusy             the reader is doing something else; nothing was sent
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class AgentError(Exception):
    """Something the agent could not do. ``code`` is stable, ``facts`` name what and where, without card data."""

    code: ClassVar[str] = "agent_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return self.message


class Unavailable(StrEnum):
    """Why a line cannot be opened."""

    NOT_FOUND = "not_found"
    """No such port or host name: unplugged, or misspelt."""
    NO_PERMISSION = "no_permission"
    BUSY = "busy"
    """Another program holds the port."""
    REFUSED = "refused"
    """The host is there, nothing listens on the port."""
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    NOT_A_PORT = "not_a_port"
    """The path is no serial port, or it cannot be set as the profile asks."""
    NO_BLUETOOTH = "no_bluetooth"
    """This machine's Bluetooth is missing, switched off or not running."""
    OUT_OF_RANGE = "out_of_range"
    """Nothing with this radio address is heard."""
    WRONG_DEVICE = "wrong_device"
    """Something answers there, but it does not offer what the profile describes."""
    AMBIGUOUS = "ambiguous"
    """Several devices fit; none is taken, because money must not go to the wrong one."""
    FAILED = "failed"
    """Anything else; the message has the system's words."""


class Lost(StrEnum):
    """How an open line ended."""

    CLOSED = "closed"
    """We closed it."""
    CLOSED_BY_PEER = "closed_by_peer"
    UNPLUGGED = "unplugged"
    NO_ANSWER = "no_answer"
    """The peer's machine no longer answers (keepalive, or bytes that were never taken)."""
    WRITE_TIMEOUT = "write_timeout"
    RADIO = "radio"
    """The reader left the radio's range, fell asleep or was switched off."""
    FAILED = "failed"


class TransportUnavailable(AgentError):
    """The line cannot be opened now. Trying again later may help."""

    code = "transport_unavailable"
    retryable = True

    def __init__(
        self, address: str, reason: Unavailable, detail: str = "", *, advice: str = ""
    ) -> None:
        """`advice` stands for the sentence that belongs to the reason, where a line knows a better one."""
        super().__init__(
            f"{address}: {advice or _UNAVAILABLE[reason]}" + (f" ({detail})" if detail else ""),
            address=address,
            reason=reason.value,
        )
        self.reason = reason


class TransportLost(AgentError):
    """The line was open and is gone; what was written last may or may not have arrived."""

    code = "transport_lost"
    retryable = True

    def __init__(self, address: str, reason: Lost, detail: str = "") -> None:
        super().__init__(
            f"{address}: {_LOST[reason]}" + (f" ({detail})" if detail else ""),
            address=address,
            reason=reason.value,
        )
        self.reason = reason


class AddressUnreadable(AgentError):
    """An address that no transport understands; the message shows a good one."""

    code = "address_unreadable"


class ReaderBusy(AgentError):
    """The reader is running another command, or is not ready for one. Nothing was sent."""

    code = "reader_busy"
    retryable = True


_UNAVAILABLE = {
    Unavailable.NOT_FOUND: "not there; check the cable and the name",
    Unavailable.NO_PERMISSION: "this user may not open it; add it to the group dialout",
    Unavailable.BUSY: "another program holds it; stop that program",
    Unavailable.REFUSED: "the machine is there, but nothing listens on this port; check the port number",
    Unavailable.UNREACHABLE: "there is no way to it; check network and address",
    Unavailable.TIMEOUT: "no answer; check power, network and address",
    Unavailable.NOT_A_PORT: "it is no serial port, or it cannot be set this way",
    Unavailable.NO_BLUETOOTH: "Bluetooth does not work on this machine",
    Unavailable.OUT_OF_RANGE: "not heard by radio; switch the reader on, wake it and bring it nearer",
    Unavailable.WRONG_DEVICE: "it is not what its profile describes; check address and profile",
    Unavailable.AMBIGUOUS: "several devices fit",
    Unavailable.FAILED: "it could not be opened",
}
_LOST = {
    Lost.CLOSED: "closed",
    Lost.CLOSED_BY_PEER: "the reader closed the line",
    Lost.UNPLUGGED: "the cable was pulled, or the reader lost its power",
    Lost.NO_ANSWER: "the reader's machine no longer answers",
    Lost.WRITE_TIMEOUT: "the reader takes no more bytes",
    Lost.RADIO: "the reader left the radio's range, fell asleep or was switched off",
    Lost.FAILED: "the line broke",
}
