"""What a reader printed during one payment, told apart into the customer's copy and the shop's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from protocols.readers.emv import redact_card_numbers

if TYPE_CHECKING:
    from protocols.readers.protocol import Printed

_CUSTOMER: Final = "customer"
#: More lines than any receipt has.
_MOST_LINES: Final = 500


@dataclass(slots=True)
class _Receipt:
    kind: str | None
    lines: list[str] = field(default_factory=list)
    is_whole: bool = False


class Receipts:
    """Collects printed pieces. Card numbers are masked as they come in, whatever the reader's decoder let through."""

    def __init__(self) -> None:
        self._receipts: list[_Receipt] = []

    def add(self, piece: Printed) -> None:
        """Take the next piece: of the receipt that is being printed, or of a new one."""
        current = self._receipts[-1] if self._receipts else None
        if current is None or current.is_whole or (piece.kind and piece.kind != current.kind):
            current = _Receipt(piece.kind)
            self._receipts.append(current)
        room = _MOST_LINES - sum(len(receipt.lines) for receipt in self._receipts)
        current.lines += [redact_card_numbers(line) for line in piece.lines[: max(room, 0)]]
        current.is_whole = piece.complete

    def copies(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Lines for the customer, lines for the shop.

        A reader that does not say which is which prints the customer's copy last; a single receipt is the customer's.
        """
        customer = next((each for each in self._receipts if each.kind == _CUSTOMER), None)
        if customer is None and self._receipts:
            customer = self._receipts[-1]
        shop = [line for each in self._receipts if each is not customer for line in each.lines]
        return tuple(customer.lines if customer else ()), tuple(shop)
