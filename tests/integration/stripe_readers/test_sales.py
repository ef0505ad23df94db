"""Sales on the processor's readers, from the first call to the captured money."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from control_plane.accounts.permissions import Role
from control_plane.customers import queries as customers
from control_plane.customers.service import Details, create_customer
from control_plane.transactions.models import TRANSACTIONS
from control_plane.virtual_terminal import cloud_readers
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.errors import CloudReaderHeld
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.processor import CartLine
from control_plane.virtual_terminal.reader_desk import CloudReaderWish, ReaderAuthorizing
from control_plane.virtual_terminal.wishes import Order
from protocols.money import Money
from tests.support.counter_reader import Counter, counter_of


def test_a_sale_is_paid_once_the_money_was_taken(any_counter: Counter) -> None:
    counter = any_counter
    begun = counter.sell(1234)
    counter.tap()
    counter.look()

    paid = counter.payment(begun.id)
    assert begun.state is PaymentState.IN_PROGRESS
    assert paid.state is PaymentState.PAID
    assert paid.captured_minor == 1234
    assert paid.method_kind == "card_present"
    assert counter.captured() == 1234
    with counter.shop.parts.database.reading_connection() as db:
        rows = db.execute(select(TRANSACTIONS).where(TRANSACTIONS.c.payment_id == begun.id)).all()
    assert [(row.amount_minor, row.status.value, row.channel.value) for row in rows] == [
        (1234, "approved", "in_person")
    ]
    assert rows[0].reader_id == counter.reader.id


def test_a_declined_card_leaves_the_payment_open_and_the_next_card_uses_the_same_intent(
    counter: Counter,
) -> None:
    begun = counter.sell()
    counter.tap("4000000000009995")
    counter.look()
    declined = counter.payment(begun.id)
    counter.sell_again(begun.id)
    counter.tap()
    counter.look()

    first, second = counter.attempts(begun.id)
    assert declined.state is PaymentState.OPEN
    assert (first.state, first.code) == (AttemptState.DECLINED, "insufficient_funds")
    assert second.state is AttemptState.SUCCEEDED
    assert counter.payment(begun.id).state is PaymentState.PAID
    assert len(counter.intents()) == 1
    assert counter.captured() == 1000


def test_held_money_stays_held_when_it_is_to_be_captured_later(counter: Counter) -> None:
    order = Order(
        amount=Money(5000, "USD"), location_id=counter.reader.location_id, capture_later=True
    )
    begun = counter.desk.start(
        counter.caller, CloudReaderWish(order=order, reader_id=counter.reader.id)
    )
    counter.tap()
    counter.look()

    held = counter.payment(begun.id)
    assert (held.state, held.authorized_minor) == (PaymentState.AUTHORIZED, 5000)
    assert counter.captured() == 0
    assert counter.look() == 0


def test_the_customer_may_cancel_on_the_reader(counter: Counter) -> None:
    begun = counter.sell()
    counter.press_cancel()
    counter.look()

    payment = counter.payment(begun.id)
    assert payment.state is PaymentState.OPEN
    assert payment.attempt is not None
    assert payment.attempt.code == "customer_canceled"
    assert counter.captured() == 0


def test_the_cashier_stops_a_sale_that_waits_for_a_card(counter: Counter) -> None:
    begun = counter.sell()
    stopped = counter.desk.cancel(counter.caller, begun.id)

    assert stopped.state is PaymentState.OPEN
    assert stopped.attempt is not None
    assert stopped.attempt.state is AttemptState.CANCELED
    assert counter.action() is None
    assert counter.captured() == 0


def test_a_sale_cannot_be_stopped_while_the_bank_is_asked(counter: Counter) -> None:
    counter.bank_takes(30)
    begun = counter.sell()
    counter.tap()
    with pytest.raises(ReaderAuthorizing):
        counter.desk.cancel(counter.caller, begun.id)
    counter.shop.sandbox.put_forward(seconds=31)
    counter.look()

    assert counter.payment(begun.id).state is PaymentState.PAID
    assert counter.captured() == 1000


def test_one_reader_has_one_sale(counter: Counter) -> None:
    begun = counter.sell()
    with pytest.raises(CloudReaderHeld) as refused:
        counter.sell(700)

    assert refused.value.facts["payment_id"] == begun.id
    assert len(counter.intents()) == 1


def test_a_sale_moves_to_another_reader_with_the_same_intent(counter: Counter) -> None:
    other = counter_of(counter.shop, code="simulated-s700", name="Counter 2")
    begun = counter.sell()
    counter.sell_again(begun.id, reader_id=other.reader.id)
    other.tap()
    counter.look()

    first, second = counter.attempts(begun.id)
    assert first.state is AttemptState.CANCELED
    assert (second.state, second.cloud_reader_id) == (AttemptState.SUCCEEDED, other.reader.id)
    assert counter.action() is None
    assert len(counter.intents()) == 1
    assert counter.captured() == 1000


def test_a_tip_given_on_the_reader_is_part_of_the_payment(counter: Counter) -> None:
    stripe = counter.shop.sandbox.server.client().v1
    tipping = stripe.terminal.configurations.create({"tipping": {"usd": {"percentages": [15]}}})
    place = stripe.terminal.locations.list().data[0]
    stripe.terminal.locations.update(place.id, {"configuration_overrides": tipping.id})
    begun = counter.sell(2000, ask_tip=True)
    counter.tap(tip=300)
    counter.look()

    paid = counter.payment(begun.id)
    assert (paid.amount_minor, paid.tip_minor, paid.captured_minor) == (2300, 300, 2300)


def test_what_the_reader_showed_before_is_taken_off_after_the_sale(counter: Counter) -> None:
    fleet = counter.shop.parts.get(ReaderFleet)
    owner = counter.shop.make.caller(counter.shop.merchant_id, Role.OWNER)
    shown = fleet.show_cart(
        owner,
        counter.reader.id,
        [CartLine(description="Tea", amount_minor=1000)],
        Money(1000, "USD"),
    )
    counter.sell()
    counter.tap()
    counter.look()

    with counter.shop.parts.database.reading() as db:
        after = cloud_readers.reader(db, counter.caller.scope, counter.reader.id)
    assert shown.shows_cart
    assert not after.shows_cart
    assert counter.action() is None


def test_a_card_read_by_the_reader_is_kept_with_the_customer_who_agreed(counter: Counter) -> None:
    with counter.shop.parts.database.transaction() as db:
        customer_id = create_customer(db, counter.caller, Details(name="Ada Lovelace"))
    order = Order(
        amount=Money(1000, "USD"),
        location_id=counter.reader.location_id,
        customer_id=customer_id,
    )
    counter.desk.start(
        counter.caller,
        CloudReaderWish(order=order, reader_id=counter.reader.id, save_card=True),
    )
    counter.tap()
    counter.look()

    with counter.shop.parts.database.reading() as db:
        kept = customers.methods(db, counter.caller.scope, customer_id)
    assert [(one.last4, one.consent_how.value) for one in kept] == [("4242", "in_person")]


def test_an_event_of_the_reader_ends_the_sale_without_waiting_for_the_next_look(
    counter: Counter,
) -> None:
    begun = counter.sell()
    counter.tap()
    counter.desk.hear(counter.shop.merchant_id, counter.reader.processor_id)

    assert counter.payment(begun.id).state is PaymentState.PAID


def test_the_same_form_sent_twice_is_one_sale(counter: Counter) -> None:
    order = Order(
        amount=Money(1000, "USD"), location_id=counter.reader.location_id, form_key="form_1"
    )
    wish = CloudReaderWish(order=order, reader_id=counter.reader.id)
    begun = counter.desk.start(counter.caller, wish)
    with pytest.raises(CloudReaderHeld):
        counter.desk.start(counter.caller, replace(wish, order=replace(order, form_key="form_2")))
    again = counter.desk.start(counter.caller, wish)

    assert again.id == begun.id
    assert len(counter.intents()) == 1


def test_a_sale_of_somebody_who_works_everywhere_is_of_the_readers_shop(counter: Counter) -> None:
    owner = counter.shop.make.caller(counter.shop.merchant_id, Role.OWNER)
    order = Order(amount=Money(1000, "USD"))
    begun = counter.desk.start(owner, CloudReaderWish(order=order, reader_id=counter.reader.id))

    assert owner.scope.location_ids is None
    assert begun.location_id == counter.reader.location_id
