"""What a member may charge and give back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.till.errors import (
    AboveTheShops,
    AboveYourCharge,
    AboveYourDay,
    CurrencyNotOffered,
    MethodNotYours,
)
from control_plane.till.limits import NO_LIMITS, MemberLimits, needs_approval
from control_plane.till.values import Channel, CheckPolicy, TillSettings
from protocols.money import Money

SETTINGS = TillSettings(merchant_id="mer_1", currency="EUR", currencies=("EUR", "USD", "JPY"))


def euros(amount: int) -> Money:
    return Money(amount * 100, "EUR")


def test_without_limits_everything_that_is_offered_goes() -> None:
    assert NO_LIMITS.objection(SETTINGS, euros(1_000_000), method="keyed") is None
    assert not NO_LIMITS.are_set


def test_a_currency_that_is_not_offered_is_refused() -> None:
    objection = NO_LIMITS.objection(SETTINGS, Money(1, "GBP"), method="keyed")

    assert isinstance(objection, CurrencyNotOffered)


def test_exactly_the_limit_is_allowed_and_a_cent_more_is_not() -> None:
    limits = MemberLimits(charge={"EUR": 5_000})

    assert limits.objection(SETTINGS, Money(5_000, "EUR"), method="keyed") is None
    assert isinstance(
        limits.objection(SETTINGS, Money(5_001, "EUR"), method="keyed"), AboveYourCharge
    )


def test_another_currency_is_no_way_around_a_limit() -> None:
    limits = MemberLimits(charge={"EUR": 5_000})

    assert isinstance(limits.objection(SETTINGS, Money(1, "USD"), method="keyed"), AboveYourCharge)


def test_nobody_charges_more_than_the_shop_allows() -> None:
    settings = TillSettings(
        merchant_id="mer_1", currency="EUR", currencies=("EUR",), charge_limits={"EUR": 10_000}
    )

    objection = NO_LIMITS.objection(settings, Money(10_001, "EUR"), method="reader")

    assert isinstance(objection, AboveTheShops)
    assert objection.facts["limit"] == Money(10_000, "EUR")


def test_a_day_counts_what_was_charged_before() -> None:
    limits = MemberLimits(day={"EUR": 10_000})

    refused = limits.objection(SETTINGS, euros(31), method="keyed", charged_today=euros(70))

    assert limits.counts_the_day
    assert isinstance(refused, AboveYourDay)
    assert refused.facts["left"] == euros(30)
    assert limits.objection(SETTINGS, euros(30), method="keyed", charged_today=euros(70)) is None


def test_a_method_that_is_not_given_is_refused() -> None:
    limits = MemberLimits(methods=frozenset({Channel.READER}))

    assert isinstance(limits.objection(SETTINGS, euros(1), method="keyed"), MethodNotYours)
    assert limits.objection(SETTINGS, euros(1), method="reader") is None


def test_a_refund_waits_above_either_limit() -> None:
    settings = TillSettings(
        merchant_id="mer_1", currency="EUR", currencies=("EUR",), refund_limits={"EUR": 10_000}
    )

    assert not needs_approval(settings, NO_LIMITS, euros(100))
    assert needs_approval(settings, NO_LIMITS, Money(10_001, "EUR"))
    assert needs_approval(settings, MemberLimits(refund={"EUR": 500}), euros(6))
    assert needs_approval(settings, NO_LIMITS, Money(1, "USD"))
    assert not needs_approval(SETTINGS, NO_LIMITS, euros(1_000_000))


@given(
    amount=st.integers(1, 10**9),
    before=st.integers(0, 10**9),
    one=st.integers(1, 10**9),
    day=st.integers(1, 10**9),
)
def test_what_is_let_through_never_exceeds_any_limit(
    amount: int, before: int, one: int, day: int
) -> None:
    limits = MemberLimits(charge={"EUR": one}, day={"EUR": day})

    objection = limits.objection(
        SETTINGS, Money(amount, "EUR"), method="keyed", charged_today=Money(before, "EUR")
    )

    assert (objection is None) == (amount <= one and before + amount <= day)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ({}, CheckPolicy.ACCEPT),
        ({"address": "pass", "postal_code": "unavailable", "cvc": "unchecked"}, CheckPolicy.ACCEPT),
        ({"address": "fail"}, CheckPolicy.ACCEPT),
        ({"postal_code": "fail"}, CheckPolicy.ASK),
        ({"cvc": "fail", "postal_code": "fail"}, CheckPolicy.BLOCK),
    ],
)
def test_the_strictest_policy_of_the_failed_checks_holds(
    checks: dict[str, str], verdict: CheckPolicy
) -> None:
    assert SETTINGS.verdict(**checks) is verdict
