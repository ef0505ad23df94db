"""Money: exact, in one currency, and written as people write it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MoneyMismatch
from protocols.money import (
    CURRENCIES,
    LARGEST_MINOR,
    Money,
    currency_number,
    currency_of_number,
    exponent,
)

currencies = st.sampled_from(sorted(CURRENCIES))
minors = st.integers(-LARGEST_MINOR, LARGEST_MINOR)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.34", "EUR", 1234),
        ("12,34", "eur", 1234),
        ("12", "EUR", 1200),
        ("12.5", "EUR", 1250),
        ("0.01", "USD", 1),
        ("1200", "JPY", 1200),
        ("1.234", "KWD", 1234),
        ("1.2", "KWD", 1200),
        ("-3.10", "EUR", -310),
    ],
)
def test_an_amount_is_read_as_written(text: str, currency: str, minor: int) -> None:
    assert Money.parse(text, currency).minor == minor


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("12.345", "EUR"),
        ("1.2", "JPY"),
        ("", "EUR"),
        ("twelve", "EUR"),
        ("1.234,50", "EUR"),
        ("1e3", "EUR"),
        ("12", "XXX"),
        ("٣", "EUR"),
        ("9999999999999", "EUR"),
    ],
)
def test_what_is_no_amount_is_refused(text: str, currency: str) -> None:
    with pytest.raises(MoneyMismatch):
        Money.parse(text, currency)


@given(minors, currencies)
def test_the_decimal_is_exact_and_reads_back(minor: int, currency: str) -> None:
    money = Money(minor, currency)

    assert money.decimal() == Decimal(minor) / 10 ** exponent(currency)
    assert Money.parse(str(money).split()[0], currency) == money


@given(minors, currencies, st.lists(st.integers(0, 1000), min_size=1).filter(any))
def test_the_parts_of_a_split_add_up_and_are_fair(
    minor: int, currency: str, weights: list[int]
) -> None:
    parts = Money(minor, currency).split(weights)

    assert sum(part.minor for part in parts) == minor
    assert all(
        abs(Decimal(part.minor) - Decimal(minor) * weight / sum(weights)) <= 1
        for part, weight in zip(parts, weights, strict=True)
    )


@pytest.mark.parametrize("weights", [[], [0, 0], [2, -1]])
def test_a_split_without_a_positive_weight_is_refused(weights: list[int]) -> None:
    with pytest.raises(MoneyMismatch):
        Money(100, "EUR").split(weights)


@given(minors, minors)
def test_two_currencies_never_mix(left: int, right: int) -> None:
    with pytest.raises(MoneyMismatch, match="do not mix"):
        _ = Money(left, "EUR") + Money(right, "USD")


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_numbers_and_letters_name_the_same_currency(currency: str) -> None:
    assert currency_of_number(currency_number(currency)) == currency


def test_sums_that_no_protocol_can_carry_are_refused() -> None:
    with pytest.raises(MoneyMismatch, match="twelve digits"):
        _ = Money(LARGEST_MINOR, "EUR") + Money(1, "EUR")
