"""Money as whole minor units with its currency; ISO 4217 numbers and exponents.

Source of the numbers and minor digits: ISO 4217 list one, as far as the reader protocols and processors here use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from protocols.errors import MoneyMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

#: alphabetic code -> (numeric code, minor digits)
CURRENCIES: Final[dict[str, tuple[int, int]]] = {
    "AED": (784, 2),
    "AUD": (36, 2),
    "BGN": (975, 2),
    "BHD": (48, 3),
    "BRL": (986, 2),
    "CAD": (124, 2),
    "CHF": (756, 2),
    "CLP": (152, 0),
    "CNY": (156, 2),
    "CZK": (203, 2),
    "DKK": (208, 2),
    "EUR": (978, 2),
    "GBP": (826, 2),
    "HKD": (344, 2),
    "HUF": (348, 2),
    "ILS": (376, 2),
    "INR": (356, 2),
    "ISK": (352, 0),
    "JOD": (400, 3),
    "JPY": (392, 0),
    "KRW": (410, 0),
    "KWD": (414, 3),
    "MXN": (484, 2),
    "MYR": (458, 2),
    "NOK": (578, 2),
    "NZD": (554, 2),
    "OMR": (512, 3),
    "PLN": (985, 2),
    "RON": (946, 2),
    "SEK": (752, 2),
    "SGD": (702, 2),
    "THB": (764, 2),
    "TND": (788, 3),
    "TRY": (949, 2),
    "USD": (840, 2),
    "ZAR": (710, 2),
}
_BY_NUMBER: Final = {number: code for code, (number, _) in CURRENCIES.items()}

#: Twelve digits are what ISO 8583 field 4 and every reader protocol here can carry.
LARGEST_MINOR: Final = 999_999_999_999

_AMOUNT = re.compile(r"(?P<sign>-?)(?P<whole>[0-9]{1,12})(?:[.,](?P<fraction>[0-9]{1,3}))?")


def exponent(currency: str) -> int:
    """Number of minor digits of a currency. Raises MoneyMismatch for one that is not known here."""
    return _facts(currency)[1]


def currency_number(currency: str) -> int:
    """ISO 4217 numeric code, e.g. 978. Raises MoneyMismatch for a currency that is not known here."""
    return _facts(currency)[0]


def currency_of_number(number: int) -> str:
    """Alphabetic code of an ISO 4217 number. Raises MoneyMismatch for a number that is not known here."""
    try:
        return _BY_NUMBER[number]
    except KeyError:
        raise MoneyMismatch("currency number is not known", number=number) from None


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount: ``minor`` whole minor units (cents, yen, fils) of ``currency`` (ISO 4217 alphabetic).

    Raises MoneyMismatch when the currency is not known or the amount has more than twelve digits.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        _facts(self.currency)
        if abs(self.minor) > LARGEST_MINOR:
            raise MoneyMismatch("amount has more than twelve digits", minor=self.minor)

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """Read ``12.34`` or ``12,34``. Raises MoneyMismatch for anything else, such as more minor digits than exist."""
        currency = currency.upper()
        digits = exponent(currency)
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            raise MoneyMismatch("write the amount like 12.34", text=text[:32])
        fraction = match["fraction"] or ""
        if len(fraction) > digits:
            raise MoneyMismatch(f"{currency} has {digits} minor digits", text=text[:32])
        minor = int(match["whole"]) * 10**digits + int(fraction.ljust(digits, "0") or 0)
        return cls(-minor if match["sign"] else minor, currency)

    def decimal(self) -> Decimal:
        """The amount in whole units, exact."""
        return Decimal(self.minor).scaleb(-exponent(self.currency))

    def split(self, weights: Sequence[int]) -> list[Money]:
        """Parts in proportion to ``weights``, each within one minor unit of its share; they add up to the whole.

        Raises MoneyMismatch when no weight is positive or one is negative.
        """
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise MoneyMismatch("weights are whole numbers, none negative, at least one positive")
        parts, given, seen = [], 0, 0
        for weight in weights:
            seen += weight
            upto = self.minor * seen // total
            parts.append(Money(upto - given, self.currency))
            given = upto
        return parts

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other).minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other).minor, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other).minor

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other).minor

    def __gt__(self, other: Money) -> bool:
        return self.minor > self._same(other).minor

    def __ge__(self, other: Money) -> bool:
        return self.minor >= self._same(other).minor

    def __str__(self) -> str:
        return f"{self.decimal():f} {self.currency}"

    def _same(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise MoneyMismatch(
                "amounts of two currencies do not mix", left=self.currency, right=other.currency
            )
        return other


def _facts(currency: str) -> tuple[int, int]:
    try:
        return CURRENCIES[currency]
    except KeyError:
        raise MoneyMismatch(
            "currency is not known; write three letters like EUR", currency=currency[:8]
        ) from None
