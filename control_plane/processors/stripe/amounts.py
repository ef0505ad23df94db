"""Amounts on the wire: minor units, but for currencies that Stripe counts in other units than ISO 4217.

The króna and Uganda's shilling have no minor unit any more; Stripe still writes them with two digits, which are zeros
(https://docs.stripe.com/currencies#special-cases). Answers in them are read; nothing is asked in them, because calls
that name an amount alone would then depend on a currency that they do not know.
"""

from __future__ import annotations

from typing import Final

from control_plane.virtual_terminal.processor import Refused
from protocols.money import Money

_HUNDREDFOLD: Final = frozenset({"ISK", "UGX"})


def to_wire(amount: Money) -> int:
    """``amount`` of a request. Raises Refused for a currency that is only read."""
    if amount.currency in _HUNDREDFOLD:
        raise Refused(
            f"{amount.currency} is not taken here", code="currency_not_supported", param="currency"
        )
    return amount.minor


def of_wire(amount: int, currency: str) -> Money:
    """An answer's amount in its currency (``eur``). Raises MoneyMismatch for a currency that is not known here."""
    return Money(minor_of(amount, currency), currency.upper())


def minor_of(amount: int, currency: str) -> int:
    """Minor units of an answer's amount. A fee may have a fraction, which is cut off."""
    return int(amount / 100) if currency.upper() in _HUNDREDFOLD else amount
