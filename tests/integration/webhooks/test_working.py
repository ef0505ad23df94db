"""What follows from webhooks: the same, whatever their order, however often they come, and when they never come."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from control_plane.accounts.permissions import Role
from control_plane.audit.actor import SYSTEM
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.worker import Worker
from control_plane.sandbox.faults import FaultKind
from control_plane.transactions.models import TRANSACTIONS
from control_plane.virtual_terminal import inbox, queries
from control_plane.virtual_terminal.inbox import MOST_TRIES, EventState, Inbox
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.models import MOMENTS
from control_plane.virtual_terminal.processor import ProcessorError
from control_plane.virtual_terminal.views import PaymentView
from tests.fakes.clock import FakeClock
from tests.support.play_account import DISPUTED
from tests.support.webhook_sender import WebhookSender

#: Its issuer warns of fraud after the sale.
SUSPECTED = "4000000000005423"


def work(sender: WebhookSender) -> int:
    """Run what is owed now; how many jobs."""
    parts = sender.shop.parts
    worker = Worker(parts, all_jobs(), threads=0)
    ran = 0
    while worker.run_one():
        ran += 1
    return ran


def ledger(sender: WebhookSender) -> list[tuple[str, str, int]]:
    with sender.shop.parts.database.reading_connection() as db:
        rows = db.execute(select(TRANSACTIONS).order_by(TRANSACTIONS.c.occurred_at)).all()
    return sorted((row.kind.value, row.status.value, row.amount_minor) for row in rows)


def payments(sender: WebhookSender) -> list[PaymentView]:
    owner = sender.shop.make.caller(sender.shop.merchant_id, Role.OWNER)
    with sender.shop.parts.database.reading() as db:
        return queries.recent(db, owner.scope)


def count(sender: WebhookSender, state: EventState) -> int:
    with sender.shop.parts.database.reading() as db:
        return inbox.count(db, sender.shop.merchant_id, state)


ORDERS: dict[str, Any] = {
    "as_they_happened": lambda events: events,
    "backwards": lambda events: events[::-1],
    "each_twice": lambda events: [one for event in events for one in (event, event)],
    "the_last_first_and_all_again": lambda events: [events[-1], *events, *events[::-1]],
}


@pytest.mark.parametrize("order", ORDERS)
def test_events_in_any_order_and_number_make_one_payment_and_the_same_ledger(
    sender: WebhookSender, order: str
) -> None:
    intent_id = sender.pay(1000)
    sender.refund(intent_id, 300)
    events = sender.events()
    for event in ORDERS[order](events):
        assert sender.send(event).status_code == 200
        work(sender)

    (payment,) = payments(sender)
    assert (payment.processor_id, payment.state) == (intent_id, PaymentState.PAID)
    assert payment.refunded_minor == 300
    assert ledger(sender) == [("refund", "approved", 300), ("sale", "approved", 1000)]
    assert count(sender, EventState.WAITING) == 0


def test_a_decline_is_in_the_ledger_once(sender: WebhookSender) -> None:
    with pytest.raises(Exception, match="declined"):
        sender.pay(1000, number="4000000000000002")
    for event in sender.events() * 2:
        sender.send(event)
    work(sender)

    assert ledger(sender) == [("sale", "declined", 1000)]


def test_a_dispute_hangs_on_its_sale(sender: WebhookSender) -> None:
    sender.pay(2000, number=DISPUTED)
    sender.shop.sandbox.put_forward(days=1)
    for event in sender.events():
        sender.send(event)
    work(sender)

    (payment,) = payments(sender)
    assert payment.state is PaymentState.PAID
    rows = ledger(sender)
    assert ("dispute", "approved", 2000) in rows
    assert ("sale", "approved", 2000) in rows


def test_a_warning_of_fraud_stands_once_on_the_payment(sender: WebhookSender) -> None:
    sender.pay(2000, number=SUSPECTED)
    sender.shop.sandbox.put_forward(days=1)
    for event in sender.events() * 2:
        sender.send(event)
        work(sender)

    (payment,) = payments(sender)
    with sender.shop.parts.database.reading_connection() as db:
        told = db.execute(
            select(MOMENTS.c.facts).where(
                MOMENTS.c.payment_id == payment.id, MOMENTS.c.kind == "fraud_warning"
            )
        ).all()
    assert [row.facts for row in told] == [{"reason": "made with stolen card"}]
    assert payment.state is PaymentState.PAID


def test_a_replay_changes_nothing(any_sender: WebhookSender) -> None:
    sender = any_sender
    sender.pay(1000)
    for event in sender.events():
        sender.send(event)
    work(sender)
    before = ledger(sender)
    with sender.shop.parts.database.transaction() as db:
        replayed = inbox.replay(db, SYSTEM, merchant_id=sender.shop.merchant_id)
    waiting = count(sender, EventState.WAITING)
    work(sender)

    assert before == [("sale", "approved", 1000)]
    assert replayed == len(sender.events()) == waiting
    assert ledger(sender) == before
    assert count(sender, EventState.DONE) == replayed


def test_events_about_one_payment_are_worked_on_together(sender: WebhookSender) -> None:
    sender.pay(1000)
    about = [
        event for event in sender.events() if event["data"]["object"]["object"] == "payment_intent"
    ]
    for event in about:
        sender.send(event)
    parts = sender.shop.parts
    parts.get(Inbox).work(f"{sender.shop.account_id}/{about[0]['id']}")

    assert len(about) >= 2
    assert count(sender, EventState.DONE) == len(about)


def test_a_kind_that_concerns_nothing_of_ours_is_kept_and_seen(sender: WebhookSender) -> None:
    sender.pay()
    (event,) = sender.events("payment_intent.succeeded")
    event |= {"id": "evt_new", "type": "treasury.something.happened"}
    sender.send(event)
    work(sender)

    assert count(sender, EventState.DONE) == 1
    assert ledger(sender) == []


def test_an_event_that_cannot_be_worked_on_is_parked_and_told_and_goes_on_when_replayed(
    sender: WebhookSender,
) -> None:
    intent_id = sender.pay(1000)
    (event,) = sender.events("payment_intent.succeeded")
    sender.send(event)
    sender.shop.sandbox.fault(
        FaultKind.LOST_REQUEST, f"GET /v1/payment_intents/{intent_id}", times=1000
    )
    clock = sender.shop.parts.clock
    assert isinstance(clock, FakeClock)
    for _ in range(MOST_TRIES):
        work(sender)
        clock.advance(7200)
    parked = count(sender, EventState.PARKED)
    before = ledger(sender)
    sender.shop.sandbox.engine.faults.clear()
    with sender.shop.parts.database.transaction() as db:
        inbox.replay(db, SYSTEM, merchant_id=sender.shop.merchant_id, failed=True)
    work(sender)

    assert parked == 1
    assert before == []
    assert ledger(sender) == [("sale", "approved", 1000)]
    assert count(sender, EventState.PARKED) == 0


def test_a_failure_is_written_down_with_the_event(sender: WebhookSender) -> None:
    intent_id = sender.pay(1000)
    (event,) = sender.events("payment_intent.succeeded")
    sender.send(event)
    sender.shop.sandbox.fault(
        FaultKind.LOST_REQUEST, f"GET /v1/payment_intents/{intent_id}", times=1000
    )
    with pytest.raises(ProcessorError):
        sender.shop.parts.get(Inbox).work(f"{sender.shop.account_id}/{event['id']}")

    with sender.shop.parts.database.reading() as db:
        (seen,) = inbox.newest(db, sender.shop.merchant_id)
    assert (seen.attempts, seen.state) == (1, EventState.WAITING)
    assert seen.last_error


def test_the_sweep_finds_what_webhooks_missed_and_nothing_twice(any_sender: WebhookSender) -> None:
    sender = any_sender
    sender.pay(1000)
    first = sender.events()[0]
    sender.send(first)
    worker = sender.shop.parts.get(Inbox)
    found = worker.sweep(sender.shop.merchant_id)
    again = worker.sweep(sender.shop.merchant_id)
    work(sender)

    assert found == len(sender.events()) - 1
    assert again == 0
    assert ledger(sender) == [("sale", "approved", 1000)]


def test_an_interrupted_sweep_begins_again_where_it_began(sender: WebhookSender) -> None:
    sender.pay(1000)
    sender.shop.sandbox.fault(FaultKind.LOST_REQUEST, "GET /v1/events*", times=1000)
    worker = sender.shop.parts.get(Inbox)
    with pytest.raises(ProcessorError):
        worker.sweep(sender.shop.merchant_id)
    sender.shop.sandbox.engine.faults.clear()

    assert worker.sweep(sender.shop.merchant_id) == len(sender.events())


def test_a_merchant_hears_nothing_of_another(sender: WebhookSender) -> None:
    sender.pay(1000)
    for event in sender.events():
        sender.send(event)
    work(sender)
    other = sender.shop.make.merchant("Another")
    stranger = sender.shop.make.caller(other, Role.OWNER)

    with sender.shop.parts.database.reading() as db:
        assert queries.recent(db, stranger.scope) == []
        assert inbox.newest(db, other) == []
