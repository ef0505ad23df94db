"""Receipts as a simulated terminal prints them: lines of 24 characters, in German as in the shops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.money import Money, currency_of_number
from protocols.readers.zvt import codes
from protocols.readers.zvt.store import Kind, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.readers.zvt.store import TerminalStore, Transaction

_WIDTH = 24
_TITLES = {
    Kind.PURCHASE: "KARTENZAHLUNG",
    Kind.REFUND: "GUTSCHRIFT",
    Kind.REVERSAL: "STORNO",
    Kind.PREAUTHORIZATION: "RESERVIERUNG",
    Kind.BOOKING: "BUCHUNG",
    Kind.RELEASE: "FREIGABE",
}


def payment_receipt(transaction: Transaction, store: TerminalStore, kind: int) -> list[str]:
    """The merchant's (1) or the customer's (2) copy."""
    amount = Money(transaction.amount_minor, currency_of_number(transaction.currency))
    date, time = transaction.date, transaction.time
    lines = [
        "** HÄNDLERBELEG **" if kind == 1 else "** KUNDENBELEG **",
        _TITLES[transaction.kind],
        _columns("Terminal-ID:", store.terminal_id),
        _columns("VU-Nr:", store.merchant_number),
        _columns("Beleg-Nr:", f"{transaction.receipt:04d}"),
        _columns("Trace-Nr:", f"{transaction.trace:06d}"),
        _columns(f"{date[2:]}.{date[:2]}.", f"{time[:2]}:{time[2:4]}:{time[4:]}"),
    ]
    if transaction.masked_pan:
        lines += [
            codes.card_type_text(transaction.card_type),
            _columns("Nr:", transaction.masked_pan),
            _columns("gültig bis:", f"{transaction.expiry_yymm[2:]}/{transaction.expiry_yymm[:2]}"),
        ]
    lines.append(_columns("Betrag:", str(amount).replace(".", ",")))
    approved = transaction.result == codes.APPROVED and transaction.state is not State.REVERSED
    lines.append("Zahlung erfolgt" if approved else f"Abgelehnt {transaction.result:02X}")
    if approved and transaction.verification == 1 and kind == 1:
        lines += ["", "Unterschrift", "_" * _WIDTH]
    return lines


def administration_receipt(title: str, lines: Sequence[str], store: TerminalStore) -> list[str]:
    """What a terminal prints about itself."""
    return [f"** {title} **", _columns("Terminal-ID:", store.terminal_id), *lines]


def _columns(left: str, right: str) -> str:
    return left + right.rjust(_WIDTH - len(left))
