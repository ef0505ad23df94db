"""An account's history, taken over once, wherever it was interrupted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from control_plane.accounts.permissions import Role
from control_plane.audit.actor import SYSTEM
from control_plane.sandbox.faults import FaultKind
from control_plane.transactions.models import TRANSACTIONS
from control_plane.virtual_terminal import importing, queries
from control_plane.virtual_terminal.importing import Importer, ImportView
from control_plane.virtual_terminal.processor import ProcessorError
from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import counter_of
from tests.support.play_account import DISPUTED
from tests.support.webhook_sender import WebhookSender

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def begin(shop: Connected) -> ImportView:
    with shop.parts.database.connection() as db:
        return importing.begin(db, shop.merchant_id, SYSTEM, SINCE, by_job=False)


def run(shop: Connected, *, most: int | None = None) -> ImportView:
    return list(shop.parts.get(Importer).run(begin(shop).id, most=most))[-1]


def ledger(shop: Connected) -> list[tuple[str, str, int, str]]:
    with shop.parts.database.reading_connection() as db:
        rows = db.execute(select(TRANSACTIONS)).all()
    return sorted(
        (row.kind.value, row.status.value, row.amount_minor, row.channel.value) for row in rows
    )


def test_payments_refunds_and_disputes_come_with_channel_and_fee_and_without_a_cashier(
    any_sender: WebhookSender,
) -> None:
    sender, shop = any_sender, any_sender.shop
    sender.refund(sender.pay(1000), 400)
    sender.pay(2000, number=DISPUTED)
    done = run(shop)

    assert (done.payments, done.refunds, done.disputes) == (2, 1, 1)
    assert done.finished_at is not None
    assert done.progress() == 1.0
    rows = ledger(shop)
    assert ("sale", "approved", 1000, "online") in rows
    assert ("sale", "approved", 2000, "online") in rows
    assert [row[:3] for row in rows if row[0] == "refund"] == [("refund", "approved", 400)]
    owner = shop.make.caller(shop.merchant_id, Role.OWNER)
    with shop.parts.database.reading() as db:
        found = queries.recent(db, owner.scope)
    assert {one.cashier_name for one in found} == {"Stripe"}
    assert all(one.fee_minor is not None for one in found)


def test_a_second_import_changes_nothing(sender: WebhookSender) -> None:
    sender.refund(sender.pay(1000), 400)
    run(sender.shop)
    before = ledger(sender.shop)
    run(sender.shop)

    assert len(before) == 2
    assert ledger(sender.shop) == before


def test_what_is_ours_already_is_only_settled(sender: WebhookSender) -> None:
    shop = sender.shop
    counter = counter_of(shop)
    begun = counter.sell(1500)
    counter.tap()
    counter.look()
    sender.pay(700)
    run(shop)

    assert ledger(shop) == [
        ("sale", "approved", 700, "online"),
        ("sale", "approved", 1500, "in_person"),
    ]
    assert counter.payment(begun.id).cashier_name == counter.caller.name


def test_an_interrupted_import_goes_on_where_it_stood(sender: WebhookSender) -> None:
    shop = sender.shop
    for _ in range(30):
        sender.pay(1000)
    part = run(shop, most=25)
    shop.sandbox.fault(FaultKind.LOST_REQUEST, "GET /v1/payment_intents*", times=1000)
    with pytest.raises(ProcessorError):
        run(shop)
    with shop.parts.database.reading() as db:
        interrupted = importing.newest(db, shop.merchant_id)
    shop.sandbox.engine.faults.clear()
    done = run(shop)

    assert (part.payments, part.finished_at) == (25, None)
    assert interrupted is not None
    assert (interrupted.id, interrupted.payments) == (part.id, 25)
    assert interrupted.last_error
    assert (done.id, done.payments) == (part.id, 30)
    assert len(ledger(shop)) == 30
