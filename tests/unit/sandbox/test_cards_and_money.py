"""Test cards, test accounts, amounts, fees and exchange."""

from __future__ import annotations

from decimal import Decimal

import pytest

from control_plane.sandbox import cards, money
from control_plane.sandbox.errors import ApiError


@pytest.mark.parametrize(
    ("number", "name", "decline_code"),
    [
        ("4242 4242 4242 4242", "visa", None),
        ("4000000000000002", "chargeDeclined", "generic_decline"),
        ("4000000000009995", "chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("4111111111111111", "live", "test_mode_live_card"),
    ],
)
def test_a_number_is_known_by_name(number: str, name: str, decline_code: str | None) -> None:
    card = cards.of_number(number)

    assert card.name == name
    assert (card.decline and card.decline.decline_code) == decline_code


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("4242424242424241", "incorrect_number"),
        ("4242", "invalid_number"),
        ("abc", "invalid_number"),
    ],
)
def test_what_is_no_card_number_is_refused_before_any_bank(number: str, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        cards.of_number(number)

    assert (refused.value.status, refused.value.code) == (402, code)
    assert number not in str(refused.value)


def test_an_iban_with_wrong_check_digits_is_refused() -> None:
    with pytest.raises(ApiError) as refused:
        cards.account_of_iban("DE88370400440532013000")

    assert refused.value.code == "invalid_bank_account_iban"


@pytest.mark.parametrize(
    ("iban", "outcome"),
    [
        ("DE89370400440532013000", "succeeds"),
        ("FR14 2004 1010 0505 0001 3M02 606", "succeeds"),
        ("DE62370400440532013001", "generic_could_not_process"),
        ("DE35370400440532013002", "disputes"),
    ],
)
def test_ibans_have_outcomes(iban: str, outcome: str) -> None:
    assert cards.account_of_iban(iban).outcome == outcome


@pytest.mark.parametrize(("currency", "digits"), [("jpy", 0), ("usd", 2), ("kwd", 3)])
def test_currencies_have_their_digits(currency: str, digits: int) -> None:
    assert money.digits(currency) == digits


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (0, "usd", "parameter_invalid_integer"),
        (49, "usd", "amount_too_small"),
        (29, "gbp", "amount_too_small"),
        (1005, "kwd", "parameter_invalid_integer"),
        (100_000_000, "usd", "amount_too_large"),
    ],
)
def test_amounts_that_no_payment_can_have(amount: int, currency: str, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        money.check_amount(amount, currency)

    assert refused.value.code == code


def test_the_least_amount_is_said_in_words() -> None:
    with pytest.raises(ApiError, match=r"Amount must be at least \$0.50 usd"):
        money.check_amount(1, "usd")


def test_yen_become_cents() -> None:
    assert money.exchanged(1510, "jpy", "usd") == (1000, Decimal("0.006623"))


@pytest.mark.parametrize(
    ("method", "foreign", "converted", "fee"),
    [
        ("card", False, False, 59),
        ("card", True, False, 74),
        ("card", True, True, 84),
        ("card_present", False, False, 32),
        ("us_bank_account", False, False, 8),
    ],
)
def test_fees_follow_the_method(method: str, foreign: bool, converted: bool, fee: int) -> None:
    assert money.fee_of(1000, "usd", method=method, foreign=foreign, converted=converted) == fee
