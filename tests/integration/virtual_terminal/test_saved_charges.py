"""Methods that customers let us keep: kept with a charge, and charged again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control_plane.customers import queries as customers
from control_plane.customers import service
from control_plane.virtual_terminal.errors import MethodIncomplete, PossibleDuplicate
from control_plane.virtual_terminal.ladder import Offer
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.wishes import Again, ChargeWish, Order
from protocols.money import Money
from tests.integration.virtual_terminal.conftest import PRICE, Counter
from tests.support.play_account import DECLINED


def customer(counter: Counter) -> str:
    with counter.parts.database.transaction() as db:
        return service.create_customer(
            db, counter.cashier, service.Details(name="Ada Lovelace", email="ada@example.com")
        )


def kept(counter: Counter, customer_id: str, number: str = "4242424242424242") -> str:
    """A card that was kept while it paid; its id here."""
    wish = replace(counter.keyed(number, customer_id=customer_id), save_for_later=True)
    view = counter.desk.charge(counter.cashier, replace(wish, moto=True))
    assert view.state is PaymentState.PAID
    with counter.parts.database.reading_connection() as db:
        [method] = customers.methods(db, counter.cashier.scope, customer_id)
    return str(method.id)


def test_a_card_is_kept_while_it_pays_and_charged_again(counter: Counter) -> None:
    ada = customer(counter)
    method_id = kept(counter, ada)
    wish = ChargeWish(
        order=Order(amount=Money(5_00, "USD"), customer_id=ada),
        method="saved",
        saved_method_id=method_id,
    )

    view = counter.desk.charge(counter.cashier, wish)

    assert view.state is PaymentState.PAID
    assert view.customer_name == "Ada Lovelace"
    assert [one["amount"] for one in counter.sandbox.taken()] == [12_34, 5_00]
    with counter.parts.database.reading_connection() as db:
        [method] = customers.methods(db, counter.cashier.scope, ada)
    assert method.used_at is not None
    assert method.last4 == "4242"


def test_a_saved_card_takes_over_a_declined_payment(counter: Counter) -> None:
    ada = customer(counter)
    method_id = kept(counter, ada)
    refused = counter.desk.charge(
        counter.cashier, counter.keyed(DECLINED, amount=Money(7_00, "USD"), customer_id=ada)
    )
    assert refused.state is PaymentState.OPEN

    view = counter.desk.charge(
        counter.cashier,
        ChargeWish(order=Again(payment_id=refused.id), method="saved", saved_method_id=method_id),
    )

    assert view.state is PaymentState.PAID
    assert [one["amount"] for one in counter.sandbox.taken()] == [12_34, 7_00]


def test_a_saved_card_whose_owner_must_confirm_is_declined_and_the_ladder_offered(
    counter: Counter,
) -> None:
    ada = customer(counter)
    method_id = kept(counter, ada, "4000002760003184")

    view = counter.desk.charge(
        counter.cashier,
        ChargeWish(
            order=Order(amount=Money(5_00, "USD")), method="saved", saved_method_id=method_id
        ),
    )

    assert view.state is PaymentState.OPEN
    assert view.attempt is not None
    assert (view.attempt.state, view.attempt.code) == (
        AttemptState.DECLINED,
        "authentication_required",
    )
    assert view.customer_id == ada
    assert Offer.LINK in view.offers
    assert len(counter.sandbox.taken()) == 1


def test_nothing_is_kept_without_a_customer(counter: Counter) -> None:
    with pytest.raises(MethodIncomplete):
        counter.desk.charge(counter.cashier, replace(counter.keyed(), save_for_later=True))

    assert counter.payments() == []
    assert counter.sandbox.taken() == []


def test_a_refused_card_is_not_kept(counter: Counter) -> None:
    ada = customer(counter)

    wish = replace(counter.keyed(DECLINED, customer_id=ada), save_for_later=True)
    counter.desk.charge(counter.cashier, wish)

    with counter.parts.database.reading_connection() as db:
        assert customers.methods(db, counter.cashier.scope, ada) == []


def test_a_saved_method_charged_twice_within_minutes_is_asked_about(counter: Counter) -> None:
    ada = customer(counter)
    method_id = kept(counter, ada)
    wish = ChargeWish(order=Order(amount=PRICE), method="saved", saved_method_id=method_id)

    with pytest.raises(PossibleDuplicate):
        counter.desk.charge(counter.cashier, wish)

    assert len(counter.sandbox.taken()) == 1
