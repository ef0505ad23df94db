"""Links on which payers pay: the same intent, until it is paid, given up or too old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal.errors import AttemptRunning, LinkGone, ProcessorNotReached
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.virtual_terminal.processor import Confirmation, Declined
from control_plane.virtual_terminal.views import LinkView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, LinkWish, Order
from tests.integration.virtual_terminal.conftest import PRICE, Counter
from tests.support.play_account import DECLINED, VISA


def offered(counter: Counter) -> LinkView:
    return counter.desk.offer_link(counter.cashier, LinkWish(order=Order(amount=PRICE)))


def payer_pays(counter: Counter, link: LinkView, number: str = VISA, key: str = "payer") -> None:
    """As the payer's browser does, with the provider alone."""
    processor_id = link.payment.processor_id
    assert processor_id is not None
    confirm = Confirmation(token=counter.sandbox.token(number))
    counter.connected.processor.confirm_payment(processor_id, confirm, key=key)


def test_a_link_is_paid_by_the_payer_alone(counter: Counter) -> None:
    link = offered(counter)
    opened = counter.desk.open_link(link.token)
    assert opened.is_payable
    assert opened.client_secret
    assert "secret" not in repr(opened)

    payer_pays(counter, link)
    done = counter.desk.after_link(link.token)

    assert done.payment.state is PaymentState.PAID
    assert not done.is_payable
    assert done.client_secret is None
    assert len(counter.ledger()) == 1
    assert "link_opened" in counter.kinds(link.payment.id)


def test_a_refused_card_leaves_the_link_open_and_another_pays(counter: Counter) -> None:
    link = offered(counter)
    with pytest.raises(Declined):
        payer_pays(counter, link, DECLINED, key="first")

    refused = counter.desk.after_link(link.token)
    assert refused.is_payable
    assert refused.payment.state is PaymentState.IN_PROGRESS
    payer_pays(counter, link, key="second")
    done = counter.desk.after_link(link.token)

    assert done.payment.state is PaymentState.PAID
    assert [row[1] for row in counter.ledger()] == ["declined", "approved"]
    assert len(counter.sandbox.taken()) == 1


@pytest.mark.parametrize("token", ["", "att_1", "att_1.x", "att_1.AAAAAAAAAAAAAAAAAAAAAA"])
def test_a_made_up_address_leads_nowhere(counter: Counter, token: str) -> None:
    with pytest.raises(LinkGone):
        counter.desk.open_link(token)


def test_a_link_that_was_given_up_can_no_longer_be_paid(counter: Counter) -> None:
    link = offered(counter)

    view = counter.desk.give_up_attempt(counter.cashier, link.payment.id)

    assert view.state is PaymentState.OPEN
    assert not counter.desk.open_link(link.token).is_payable
    [intent] = counter.sandbox.objects("payment_intent")
    assert intent["status"] == "canceled"


def test_a_link_gives_way_to_a_card_only_when_that_is_said(counter: Counter) -> None:
    link = offered(counter)
    token = counter.sandbox.token()

    with pytest.raises(AttemptRunning):
        counter.desk.charge(
            counter.cashier,
            ChargeWish(order=Again(payment_id=link.payment.id), method="keyed", token=token),
        )
    assert counter.sandbox.taken() == []
    order = Again(payment_id=link.payment.id, replaces=link.attempt_id)
    view = counter.desk.charge(
        counter.cashier, ChargeWish(order=order, method="keyed", token=token)
    )

    assert view.state is PaymentState.PAID
    assert len(counter.sandbox.taken()) == 1
    assert [one.method for one in counter.attempts(view.id)] == [
        AttemptMethod.LINK,
        AttemptMethod.KEYED,
    ]


def test_a_payer_who_was_quicker_than_the_cashier_has_paid(counter: Counter) -> None:
    link = offered(counter)
    payer_pays(counter, link)

    view = counter.desk.give_up_attempt(counter.cashier, link.payment.id)

    assert view.state is PaymentState.PAID
    assert len(counter.ledger()) == 1


def test_an_old_link_expires_and_leaves_the_payment_open(counter: Counter) -> None:
    link = counter.desk.offer_link(
        counter.cashier, LinkWish(order=Order(amount=PRICE), valid_for=timedelta(hours=1))
    )

    counter.clock.advance(timedelta(hours=1, minutes=20))
    counter.desk.settle_due()

    view = counter.payment(link.payment.id)
    assert view.state is PaymentState.OPEN
    assert view.attempt is not None
    assert view.attempt.state is AttemptState.CANCELED
    assert "link_expired" in counter.kinds(view.id)
    assert not counter.desk.open_link(link.token).is_payable


def test_without_the_processor_there_is_no_link(counter: Counter) -> None:
    counter.sandbox.fault(FaultKind.RATE_LIMIT, "POST /v1/payment_intents", times=99)

    with pytest.raises(ProcessorNotReached):
        offered(counter)

    [view] = counter.payments()
    assert view.state is PaymentState.OPEN
    assert counter.sandbox.objects("payment_intent") == []


def test_an_open_link_is_shown_again(counter: Counter) -> None:
    link = offered(counter)

    again = counter.desk.link_of(counter.cashier, link.payment.id)

    assert again is not None
    assert again.token == link.token
    counter.desk.give_up_attempt(counter.cashier, link.payment.id)
    assert counter.desk.link_of(counter.cashier, link.payment.id) is None
