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
    "AMD": (51, 2),
    "AOA": (973, 2),
    "ARS": (32, 2),
    "AUD": (36, 2),
    "AWG": (533, 2),
    "AZN": (944, 2),
    "BAM": (977, 2),
    "BBD": (52, 2),
    "BDT": (50, 2),
    "BGN": (975, 2),
    "BHD": (48, 3),
    "BIF": (108, 0),
    "BMD": (60, 2),
    "BND": (96, 2),
    "BOB": (68, 2),
    "BRL": (986, 2),
    "BSD": (44, 2),
    "BWP": (72, 2),
    "BYN": (933, 2),
    "BZD": (84, 2),
    "CAD": (124, 2),
    "CDF": (976, 2),
    "CHF": (756, 2),
    "CLP": (152, 0),
    "CNY": (156, 2),
    "COP": (170, 2),
    "CRC": (188, 2),
    "CVE": (132, 2),
    "CZK": (203, 2),
    "DJF": (262, 0),
    "DKK": (208, 2),
    "DOP": (214, 2),
    "DZD": (12, 2),
    "EGP": (818, 2),
    "ETB": (230, 2),
    "EUR": (978, 2),
    "FJD": (242, 2),
    "FKP": (238, 2),
    "GBP": (826, 2),
    "GEL": (981, 2),
    "GIP": (292, 2),
    "GMD": (270, 2),
    "GNF": (324, 0),
    "GTQ": (320, 2),
    "GYD": (328, 2),
    "HKD": (344, 2),
    "HNL": (340, 2),
    "HTG": (332, 2),
    "HUF": (348, 2),
    "IDR": (360, 2),
    "ILS": (376, 2),
    "INR": (356, 2),
    "ISK": (352, 0),
    "JMD": (388, 2),
    "JOD": (400, 3),
    "JPY": (392, 0),
    "KES": (404, 2),
    "KGS": (417, 2),
    "KHR": (116, 2),
    "KMF": (174, 0),
    "KRW": (410, 0),
    "KWD": (414, 3),
    "KYD": (136, 2),
    "KZT": (398, 2),
    "LKR": (144, 2),
    "LRD": (430, 2),
    "LSL": (426, 2),
    "MAD": (504, 2),
    "MDL": (498, 2),
    "MKD": (807, 2),
    "MNT": (496, 2),
    "MOP": (446, 2),
    "MUR": (480, 2),
    "MVR": (462, 2),
    "MWK": (454, 2),
    "MXN": (484, 2),
    "MYR": (458, 2),
    "MZN": (943, 2),
    "NAD": (516, 2),
    "NGN": (566, 2),
    "NIO": (558, 2),
    "NOK": (578, 2),
    "NPR": (524, 2),
    "NZD": (554, 2),
    "OMR": (512, 3),
    "PAB": (590, 2),
    "PEN": (604, 2),
    "PGK": (598, 2),
    "PHP": (608, 2),
    "PKR": (586, 2),
    "PLN": (985, 2),
    "PYG": (600, 0),
    "QAR": (634, 2),
    "RON": (946, 2),
    "RUB": (643, 2),
    "RWF": (646, 0),
    "SAR": (682, 2),
    "SBD": (90, 2),
    "SCR": (690, 2),
    "SEK": (752, 2),
    "SGD": (702, 2),
    "SHP": (654, 2),
    "SLE": (925, 2),
    "SRD": (968, 2),
    "SZL": (748, 2),
    "THB": (764, 2),
    "TJS": (972, 2),
    "TND": (788, 3),
    "TOP": (776, 2),
    "TRY": (949, 2),
    "TTD": (780, 2),
    "TWD": (901, 2),
    "TZS": (834, 2),
    "UAH": (980, 2),
    "UGX": (800, 0),
    "USD": (840, 2),
    "UYU": (858, 2),
    "UZS": (860, 2),
    "VND": (704, 0),
    "VUV": (548, 0),
    "WST": (882, 2),
    "XAF": (950, 0),
    "XCD": (951, 2),
    "XOF": (952, 0),
    "XPF": (953, 0),
    "ZAR": (710, 2),
    "ZMW": (967, 2),
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
