"""How amounts, dates and spans of time are written in each language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from babel import Locale
from babel.dates import format_date, format_datetime, format_time, format_timedelta
from babel.numbers import format_compact_decimal, format_currency, format_decimal, format_percent

from protocols.money import CURRENCIES

if TYPE_CHECKING:
    from datetime import date, datetime, tzinfo
    from decimal import Decimal

    from protocols.money import Money

#: English dates are written so that nobody can read a month as a day: 23 Nov 2026, 16:04.
_LOCALES = {"en": "en_GB", "fr": "fr_FR"}
#: What a browser is told for the same effect.
TAGS = {"en": "en-GB", "fr": "fr-FR"}
#: CLDR wants a space there, and Babel leaves it out: CHF 12.00.
_LETTER_BEFORE_DIGIT = re.compile(r"([A-Z])(?=\d)")


@dataclass(frozen=True, slots=True)
class Formats:
    """Writes values for one language. Times are given aware, and shown in `zone`."""

    language: str

    @property
    def locale(self) -> Locale:
        """Babel's locale."""
        return Locale.parse(_LOCALES[self.language])

    def money(self, amount: Money) -> str:
        """`€12.34`, `12,34 €`: with as many digits as the currency has."""
        text = format_currency(
            amount.decimal(), amount.currency, locale=self.locale, currency_digits=True
        )
        return _LETTER_BEFORE_DIGIT.sub("\\1\u00a0", text)

    def symbol(self, currency: str) -> str:
        """`€`, `CHF`."""
        return str(self.locale.currency_symbols.get(currency, currency))

    def currency_name(self, currency: str) -> str:
        """`euro`, `Swiss franc`."""
        return str(self.locale.currencies.get(currency, currency))

    def number(self, value: int | float | Decimal) -> str:
        """`1,234` or `1 234`."""
        return str(format_decimal(value, locale=self.locale))

    def short_number(self, value: int | float | Decimal) -> str:
        """`1.2K`, for axes."""
        return str(format_compact_decimal(value, locale=self.locale, fraction_digits=1))

    def percent(self, share: float | Decimal) -> str:
        """`97%` of a share of 0.97."""
        return str(format_percent(share, locale=self.locale))

    def percent_points(self, points: Decimal) -> str:
        """`5.5%` of 5.5 points."""
        pattern = self.locale.percent_formats[None].pattern.replace("0%", "0.####%")
        pattern = pattern.replace("0\u202f%", "0.####\u202f%").replace("0\xa0%", "0.####\xa0%")
        return str(format_percent(points / 100, pattern, locale=self.locale))

    def rate(self, rate: Decimal) -> str:
        """`1.076371`: to six places."""
        return str(format_decimal(rate, "#,##0.######", locale=self.locale))

    def calendar_day(self, at: date) -> str:
        """`23 Nov 2026`."""
        return format_date(at, "d MMM y", locale=self.locale)

    def moment(self, at: datetime, zone: tzinfo) -> str:
        """`23 Nov 2026, 16:04:05`."""
        return format_datetime(at, "d MMM y, HH:mm:ss", tzinfo=zone, locale=self.locale)

    def clock(self, at: datetime, zone: tzinfo) -> str:
        """`16:04`."""
        return format_time(at, "HH:mm", tzinfo=zone, locale=self.locale)

    def day(self, at: date) -> str:
        """`Mon 23 Nov`."""
        return format_date(at, "EEE d MMM", locale=self.locale)

    def when(self, at: datetime, zone: tzinfo, now: datetime) -> str:
        """The time alone for today, else the day with it."""
        same_day = at.astimezone(zone).date() == now.astimezone(zone).date()
        pattern = "HH:mm" if same_day else "d MMM, HH:mm"
        return format_datetime(at, pattern, tzinfo=zone, locale=self.locale)

    def ago(self, at: datetime, now: datetime) -> str:
        """`3 minutes ago`, `in 2 days`."""
        return format_timedelta(at - now, add_direction=True, locale=self.locale)

    def span(self, length: timedelta) -> str:
        """`15 minutes`."""
        return format_timedelta(length, locale=self.locale, threshold=1.2)


def known_currencies() -> list[str]:
    """Every currency an amount can be in."""
    return sorted(CURRENCIES)
