"""Amounts and times as each language writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from control_plane.formats import Formats
from protocols.money import Money

NOW = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.parametrize(
    ("language", "amount", "text"),
    [
        ("en", Money(12_34, "EUR"), "€12.34"),
        ("fr", Money(1_234_56, "EUR"), "1\u202f234,56\u00a0€"),
        ("en", Money(1_500, "JPY"), "JP¥1,500"),
        ("en", Money(1_234, "KWD"), "KWD\u00a01.234"),
        ("fr", Money(-5, "EUR"), "-0,05\u00a0€"),
    ],
)
def test_an_amount_has_as_many_digits_as_its_currency(
    language: str, amount: Money, text: str
) -> None:
    assert Formats(language).money(amount) == text


def test_a_time_is_shown_where_the_shop_is() -> None:
    formats = Formats("en")

    assert formats.clock(NOW, PARIS) == "16:04"
    assert formats.moment(NOW, PARIS) == "23 Nov 2026, 16:04:12"
    assert Formats("fr").moment(NOW, PARIS) == "23 nov. 2026, 16:04:12"


def test_a_day_is_named_unless_it_is_today() -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)

    # In Paris that was already half past midnight of the same day as NOW.
    assert Formats("en").when(late, PARIS, NOW) == "00:30"
    assert Formats("en").when(late, UTC, NOW) == "22 Nov, 23:30"


def test_spans_are_words() -> None:
    assert Formats("en").ago(NOW - timedelta(minutes=3), NOW) == "3 minutes ago"
    assert Formats("fr").ago(NOW + timedelta(days=2), NOW) == "dans 2 jours"
    assert Formats("en").span(timedelta(hours=1)) == "60 minutes"
    assert Formats("fr").day(date(2026, 11, 23)) == "lun. 23 nov."
