"""Money: whole minor units, exact in and out, never lost in a split."""

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
amounts = st.builds(Money, minors, currencies)


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("12.34", "EUR", 12_34),
        ("12,34", "EUR", 12_34),
        ("12.3", "EUR", 12_30),
        ("12", "EUR", 12_00),
        (" 0.05 ", "eur", 5),
        ("-7.00", "EUR", -7_00),
        ("1200", "JPY", 1_200),
        ("1.234", "KWD", 1_234),
        ("1.2", "KWD", 1_200),
    ],
)
def test_an_amount_is_read_as_people_write_it(text: str, currency: str, minor: int) -> None:
    assert Money.parse(text, currency) == Money(minor, currency.upper())


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("", "EUR"),
        ("12.345", "EUR"),
        ("12.5", "JPY"),
        ("1.2345", "KWD"),
        ("1.234,56", "EUR"),
        ("1e3", "EUR"),
        ("12.", "EUR"),
        (".5", "EUR"),
        ("+1", "EUR"),
        ("١٢", "EUR"),
        ("12 34", "EUR"),
        ("99999999999.99", "EUR"),
        ("12.34", "XXX"),
    ],
)
def test_anything_else_is_refused(text: str, currency: str) -> None:
    with pytest.raises(MoneyMismatch):
        Money.parse(text, currency)


@given(amounts)
def test_what_is_written_is_read_back(amount: Money) -> None:
    assert Money.parse(f"{amount.decimal():f}", amount.currency) == amount


@given(amounts)
def test_the_decimal_is_exact(amount: Money) -> None:
    assert amount.decimal() * 10 ** exponent(amount.currency) == Decimal(amount.minor)


@given(amounts, st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any))
def test_a_split_loses_nothing_and_is_fair_to_one_unit(amount: Money, weights: list[int]) -> None:
    parts = amount.split(weights)

    assert sum(part.minor for part in parts) == amount.minor
    total = sum(weights)
    shares = [Decimal(amount.minor) * weight / total for weight in weights]
    assert all(abs(part.minor - share) < 1 for part, share in zip(parts, shares, strict=True))


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [3, -1]])
def test_weights_that_share_nothing_out_are_refused(weights: list[int]) -> None:
    with pytest.raises(MoneyMismatch):
        Money(1_00, "EUR").split(weights)


@given(currencies, st.integers(-(10**11), 10**11), st.integers(-(10**11), 10**11))
def test_sums_and_order_are_those_of_the_minor_units(currency: str, left: int, right: int) -> None:
    a, b = Money(left, currency), Money(right, currency)

    assert (a + b).minor == left + right
    assert a - b == -(b - a)
    assert (a < b, a <= b, a > b, a >= b) == (
        left < right,
        left <= right,
        left > right,
        left >= right,
    )


@pytest.mark.parametrize(
    "operation", ["__add__", "__sub__", "__lt__", "__le__", "__gt__", "__ge__"]
)
def test_two_currencies_do_not_mix(operation: str) -> None:
    with pytest.raises(MoneyMismatch, match="two currencies"):
        getattr(Money(1, "EUR"), operation)(Money(1, "USD"))


def test_amounts_of_two_currencies_are_not_equal() -> None:
    assert Money(1, "EUR") != Money(1, "USD")


@pytest.mark.parametrize("minor", [LARGEST_MINOR + 1, -LARGEST_MINOR - 1])
def test_more_than_twelve_digits_are_refused(minor: int) -> None:
    with pytest.raises(MoneyMismatch, match="twelve digits"):
        Money(minor, "EUR")


def test_a_sum_that_grows_too_large_is_refused() -> None:
    with pytest.raises(MoneyMismatch, match="twelve digits"):
        Money(LARGEST_MINOR, "EUR") + Money(1, "EUR")


@pytest.mark.parametrize("code", sorted(CURRENCIES))
def test_a_currency_is_found_by_its_number(code: str) -> None:
    assert currency_of_number(currency_number(code)) == code
    assert exponent(code) in {0, 2, 3}


def test_a_number_of_no_currency_is_refused() -> None:
    with pytest.raises(MoneyMismatch, match="number"):
        currency_of_number(999)


def test_an_amount_is_shown_with_its_digits_and_currency() -> None:
    assert [str(Money(5, "EUR")), str(Money(-1_234, "KWD")), str(Money(7, "JPY"))] == [
        "0.05 EUR",
        "-1.234 KWD",
        "7 JPY",
    ]
