"""What is offered after a refusal."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from control_plane.virtual_terminal.ladder import Offer, offers_of
from control_plane.virtual_terminal.lifecycle import AttemptMethod, PaymentState


@dataclass(frozen=True, slots=True)
class Tried:
    method: AttemptMethod = AttemptMethod.KEYED
    code: str | None = "card_declined"
    moto: bool = False


@pytest.mark.parametrize("state", sorted(set(PaymentState) - {PaymentState.OPEN}))
def test_nothing_is_offered_unless_the_payment_is_open(state: PaymentState) -> None:
    assert offers_of(state, Tried(), moto_enabled=True) == ()


def test_when_the_payer_would_have_to_confirm_the_telephone_order_comes_first() -> None:
    offers = offers_of(PaymentState.OPEN, Tried(code="authentication_required"), moto_enabled=True)

    assert offers[:3] == (Offer.MOTO, Offer.READER, Offer.LINK)


@pytest.mark.parametrize(("moto_enabled", "was_moto"), [(False, False), (True, True)])
def test_a_telephone_order_is_offered_only_where_it_can_help(
    moto_enabled: bool, was_moto: bool
) -> None:
    tried = Tried(code="authentication_required", moto=was_moto)

    offers = offers_of(PaymentState.OPEN, tried, moto_enabled=moto_enabled)

    assert Offer.MOTO not in offers
    assert Offer.LINK in offers


def test_a_slip_is_typed_again() -> None:
    offers = offers_of(PaymentState.OPEN, Tried(code="incorrect_cvc"), moto_enabled=True)

    assert offers[0] is Offer.KEYED


@pytest.mark.parametrize("code", ["card_declined", "incorrect_cvc", "lost_card", "of_tomorrow"])
def test_no_way_is_offered_twice(code: str) -> None:
    offers = offers_of(PaymentState.OPEN, Tried(code=code), moto_enabled=None)

    assert len(set(offers)) == len(offers)
    assert offers
