"""Every reader protocol on every line it has, as the registry finds them, ready to be tested alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers import registry
from protocols.readers.protocol import IssuerAnswer, OnlineWanted, Purchase
from protocols.readers.staging import CARDS
from protocols.secret import Secret
from tests.support.reader_wire import Wire

FRAMINGS = ("serial", "tcp", "usb_hid", "ble_gatt")
AMOUNT = Money(12_34, "EUR")
PURCHASE = Purchase(AMOUNT)
APPROVES = IssuerAnswer(approved=True, response_code="00", authorization_code="123456")
DECLINES = IssuerAnswer(approved=False, response_code="05")
#: Test numbers of the simulated terminals; none of them may ever be seen.
NUMBERS = (*CARDS.values(), "6725904411001000019")
_SETTINGS: dict[str, Any] = {"currency": "EUR", "password": Secret("123456")}


@dataclass(frozen=True)
class Case:
    """One protocol on one line."""

    protocol: str
    framing: str

    def __str__(self) -> str:
        return f"{self.protocol}-{self.framing}"

    def wire(
        self,
        *,
        issuer: IssuerAnswer | None = APPROVES,
        piece: int | None = None,
        **settings: Any,  # of make_terminal
    ) -> Wire:
        """A till and a terminal, not connected."""
        return Wire(
            registry.host_machine(self.protocol, self.framing, _SETTINGS),
            registry.terminal_machine(self.protocol, self.framing, settings),
            self.framing,
            issuer=issuer,
            piece=piece,
        )

    def opened(self, **settings: Any) -> Wire:  # as wire
        """The same, connected and registered."""
        wire = self.wire(**settings)
        wire.open()
        return wire

    @property
    def repertoire(self) -> registry.Repertoire:
        return registry.repertoire(self.protocol)


@cache
def cases() -> tuple[Case, ...]:
    """All there are."""
    return tuple(
        Case(name, framing)
        for name in registry.names()
        for framing in FRAMINGS
        if _has(name, framing)
    )


@cache
def encrypts(protocol: str) -> bool:
    """Whether the reader seals cards and leaves the decision to a processor."""
    case = next(one for one in cases() if one.protocol == protocol)
    wire = case.opened()
    wire.do(PURCHASE)
    return any(isinstance(event, OnlineWanted) for event in wire.events)


def payments(wire: Wire) -> list[tuple[str, int]]:
    """State and amount of the purchases in the terminal's own books, as they stand for good."""
    rows: Any = wire.terminal.snapshot().get(
        "transactions", []
    )  # each protocol keeps its own columns
    return [(one["state"], one["amount_minor"]) for one in rows if one["kind"] == "purchase"]


def _has(name: str, framing: str) -> bool:
    try:
        registry.host_machine(name, framing, _SETTINGS)
    except CommandNotPossible:
        return False
    return True
