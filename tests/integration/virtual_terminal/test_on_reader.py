"""A sale on one of our own readers as an attempt of a payment: the session decides, and nobody pays twice."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.payments import queries as sessions
from control_plane.payments import sessions as sessions_service
from control_plane.payments.commands import claim_command
from control_plane.payments.errors import ReaderBusy
from control_plane.payments.reports import ReportedResult, ReportedStep, apply_results, apply_steps
from control_plane.payments.sessions import StartSession
from control_plane.transactions import ledger
from control_plane.virtual_terminal.errors import (
    AttemptRunning,
    PaymentPaid,
    PaymentUnknown,
    PossibleDuplicate,
)
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, LinkWish, Order, ReaderWish
from protocols.cloud.events import PaymentResult, SessionStep
from protocols.ids import new_id
from tests.integration.control_plane.payments.conftest import DEVICE, READER, furnish
from tests.integration.virtual_terminal.conftest import PRICE, Counter
from tests.integration.virtual_terminal.test_links import payer_pays
from tests.support.play_account import DECLINED


@pytest.fixture
def shop(counter: Counter) -> Counter:
    """The counter, with a reader of ours on it."""
    with counter.parts.database.connection() as db:
        connected = counter.connected
        furnish(db, counter.clock, connected.merchant_id, connected.location_id)
    return counter


def on_reader(shop: Counter, order: Order | Again | None = None) -> PaymentView:
    wish = ReaderWish(order=order or Order(amount=PRICE, reference="order 9"), reader_id=READER)
    return shop.desk.start_on_reader(shop.cashier, wish)


def says(shop: Counter, view: PaymentView, outcome: Any, **facts: Any) -> str:
    """What the device reports in the end; the number of its row in the ledger."""
    return says_of(shop, session_of(view), outcome, **facts)


def says_of(shop: Counter, session_id: str, outcome: Any, **facts: Any) -> str:
    row_id = new_id("tx")
    with shop.parts.database.connection() as db:
        session = sessions.session(db, shop.owner.scope, session_id)
        if session.claimed_at is None:
            claim_command(db, DEVICE, session.command_id, "nonce-0001", shop.clock.now())
            step = SessionStep(session_id=session_id, step="sent")
            apply_steps(db, [ReportedStep(DEVICE, shop.clock.now(), step)])
        result = PaymentResult(
            session_id=session_id,
            reader_id=READER,
            kind="sale",
            outcome=outcome,
            amount_minor=session.amount_minor,
            currency=session.currency,
            decided_by="answer",
            **facts,
        )
        merchant_id = shop.connected.merchant_id
        apply_results(db, [ReportedResult(DEVICE, merchant_id, row_id, shop.clock.now(), result)])
    return row_id


def session_of(view: PaymentView) -> str:
    assert view.attempt is not None
    assert view.attempt.session_id is not None
    return view.attempt.session_id


def test_an_approved_session_pays_the_payment(shop: Counter) -> None:
    view = on_reader(shop)
    assert view.state is PaymentState.IN_PROGRESS
    with shop.parts.database.reading_connection() as db:
        session = sessions.session(db, shop.owner.scope, session_of(view))
    assert (session.payment_id, session.reference) == (view.id, "order 9")

    row_id = says(shop, view, "approved", card_brand="visa", masked_pan="************4242")

    paid = shop.payment(view.id)
    assert (paid.state, paid.captured_minor) == (PaymentState.PAID, 12_34)
    assert (paid.transaction_id, paid.card_last4) == (row_id, "4242")
    assert shop.sandbox.objects("payment_intent") == []


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("declined", AttemptState.DECLINED),
        ("cancelled", AttemptState.CANCELED),
        ("failed", AttemptState.FAILED),
    ],
)
def test_a_session_without_money_leaves_the_payment_open(
    shop: Counter, outcome: str, state: AttemptState
) -> None:
    view = on_reader(shop)

    says(shop, view, outcome)

    found = shop.payment(view.id)
    assert found.state is PaymentState.OPEN
    assert found.attempt is not None
    assert found.attempt.state is state
    assert found.offers


def test_a_declined_typed_card_goes_to_the_reader_and_its_intent_is_gone(shop: Counter) -> None:
    refused = shop.desk.charge(shop.cashier, shop.keyed(DECLINED))

    view = on_reader(shop, Again(payment_id=refused.id))
    says(shop, view, "approved")

    paid = shop.payment(refused.id)
    assert paid.state is PaymentState.PAID
    assert [one.method for one in shop.attempts(refused.id)] == [
        AttemptMethod.KEYED,
        AttemptMethod.READER,
    ]
    assert [one["status"] for one in shop.sandbox.objects("payment_intent")] == ["canceled"]
    assert shop.sandbox.taken() == []


def test_a_link_that_the_payer_has_paid_keeps_the_reader_out(shop: Counter) -> None:
    link = shop.desk.offer_link(shop.cashier, LinkWish(order=Order(amount=PRICE)))
    payer_pays(shop, link)

    with pytest.raises(PaymentPaid):
        on_reader(shop, Again(payment_id=link.payment.id, replaces=link.attempt_id))

    assert shop.payment(link.payment.id).state is PaymentState.PAID
    with shop.parts.database.reading_connection() as db:
        assert sessions.recent_sessions(db, shop.owner.scope) == []


def test_while_the_reader_has_it_no_card_is_charged(shop: Counter) -> None:
    view = on_reader(shop)
    wish = ChargeWish(order=Again(payment_id=view.id), method="keyed", token=shop.sandbox.token())

    with pytest.raises(AttemptRunning):
        shop.desk.charge(shop.cashier, wish)

    assert shop.sandbox.objects("payment_intent") == []


def test_a_lost_answer_of_the_reader_blocks_until_the_device_knows(shop: Counter) -> None:
    view = on_reader(shop)
    with shop.parts.database.connection() as db:
        session = sessions.session(db, shop.owner.scope, session_of(view))
        claim_command(db, DEVICE, session.command_id, "nonce-0001", shop.clock.now())
        steps = [
            ReportedStep(DEVICE, shop.clock.now(), SessionStep(session_id=session.id, step=step))
            for step in ("sent", "unknown")
        ]
        apply_steps(db, steps)
    assert shop.payment(view.id).state is PaymentState.UNKNOWN
    wish = ChargeWish(order=Again(payment_id=view.id), method="keyed", token=shop.sandbox.token())
    with pytest.raises(PaymentUnknown):
        shop.desk.charge(shop.cashier, wish)
    shop.clock.advance(3600)
    shop.desk.settle_due()
    assert shop.payment(view.id).state is PaymentState.UNKNOWN

    says(shop, view, "approved")

    assert shop.payment(view.id).state is PaymentState.PAID
    assert shop.sandbox.objects("payment_intent") == []


def test_a_busy_reader_leaves_no_payment_behind(shop: Counter) -> None:
    on_reader(shop)

    with pytest.raises(ReaderBusy):
        on_reader(shop, Order(amount=PRICE, reference="order 10"))

    assert len(shop.payments()) == 1


def test_a_card_that_a_reader_took_is_asked_about_before_it_is_typed(shop: Counter) -> None:
    with shop.parts.database.connection() as db:
        ledger.append(
            db,
            {
                "id": "tx_reader",
                "merchant_id": shop.connected.merchant_id,
                "kind": "sale",
                "status": "approved",
                "channel": "in_person",
                "method": "card",
                "amount_minor": 12_34,
                "currency": "USD",
                "source": "reader",
                "external_id": "ts_1",
                "card_last4": "4242",
                "occurred_at": shop.clock.now(),
            },
        )

    with pytest.raises(PossibleDuplicate) as asked:
        shop.paid()

    assert asked.value.facts["other"] == "tx_reader"
    assert shop.sandbox.taken() == []


def test_a_typed_card_that_is_tapped_as_well_is_marked(shop: Counter) -> None:
    typed = shop.paid()
    tapped = start_session(shop)

    row_id = says_of(shop, tapped, "approved", masked_pan="************4242")

    assert shop.payment(typed.id).duplicate_of == row_id
    assert "duplicate_found" in shop.kinds(typed.id)


def start_session(shop: Counter) -> str:
    """A sale of its own on the reader; its number."""
    with shop.parts.database.connection() as db:
        wish = StartSession(reader_id=READER, amount=PRICE)
        return sessions_service.start_session(db, shop.cashier, wish).id
