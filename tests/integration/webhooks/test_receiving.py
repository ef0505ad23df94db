"""Webhooks as they come: believed only when signed, stored first, counted when they come again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.accounts.permissions import Role
from control_plane.outbox import JOBS
from control_plane.virtual_terminal.accounts import Accounts
from control_plane.virtual_terminal.inbox import WORK
from control_plane.virtual_terminal.models import PROCESSOR_EVENTS
from protocols.secret import Secret
from tests.support.webhook_sender import WebhookSender


def stored(sender: WebhookSender) -> list[Any]:
    with sender.shop.parts.database.reading_connection() as db:
        return list(db.execute(select(PROCESSOR_EVENTS)).all())


def owed(sender: WebhookSender) -> int:
    with sender.shop.parts.database.reading_connection() as db:
        counted = select(func.count()).select_from(JOBS).where(JOBS.c.kind == WORK)
        return int(db.execute(counted).scalar_one())


def test_an_event_is_stored_and_answered_at_once_and_worked_on_later(
    any_sender: WebhookSender,
) -> None:
    sender = any_sender
    intent_id = sender.pay()
    (event,) = sender.events("payment_intent.succeeded")
    answer = sender.send(event)

    (row,) = stored(sender)
    assert answer.status_code == 200
    assert (row.event_id, row.kind, row.object_id) == (
        event["id"],
        "payment_intent.succeeded",
        intent_id,
    )
    assert row.processed_at is None
    assert owed(sender) == 1


def test_an_event_that_comes_again_is_counted_and_owed_once(any_sender: WebhookSender) -> None:
    sender = any_sender
    sender.pay()
    (event,) = sender.events("payment_intent.succeeded")
    answers = [sender.send(event).status_code for _ in range(3)]

    (row,) = stored(sender)
    assert answers == [200, 200, 200]
    assert row.deliveries == 3
    assert owed(sender) == 1


@pytest.mark.parametrize(
    ("secret", "age_s"),
    [("whsec_of_somebody_else_0000", 0), ("whsec_tests_only_0123456789", 301)],
    ids=["another_secret", "too_old"],
)
def test_what_is_not_signed_now_is_refused_and_not_stored(
    sender: WebhookSender, secret: str, age_s: float
) -> None:
    sender.pay()
    (event,) = sender.events("payment_intent.succeeded")
    answer = sender.send(event, secret=secret, age_s=age_s)

    assert answer.status_code == 400
    assert answer.json()["code"] == "webhook_not_verified"
    assert stored(sender) == []
    assert owed(sender) == 0


def test_a_body_that_was_changed_on_its_way_is_refused(sender: WebhookSender) -> None:
    sender.pay()
    (event,) = sender.events("payment_intent.succeeded")
    answer = sender.client.post(
        f"/webhooks/stripe/{sender.shop.account_id}",
        json=event,
        headers={"Stripe-Signature": "t=1,v1=00"},
    )

    assert answer.status_code == 400
    assert stored(sender) == []


def test_an_unknown_address_takes_nothing(sender: WebhookSender) -> None:
    sender.pay()
    (event,) = sender.events("payment_intent.succeeded")

    assert sender.send(event, account_id="acc_nobody").status_code == 404
    assert stored(sender) == []


def test_a_body_that_no_event_has_is_not_read(sender: WebhookSender) -> None:
    answer = sender.send({"id": "evt_1", "filler": "x" * 600_000})

    assert answer.status_code == 413
    assert stored(sender) == []


def test_two_secrets_are_accepted_while_one_takes_over(sender: WebhookSender) -> None:
    accounts = sender.shop.parts.get(Accounts)
    owner = sender.shop.make.caller(sender.shop.merchant_id, Role.OWNER).actor
    fresh = "whsec_fresh_0123456789abcdef"
    accounts.rotate_webhook_secret(sender.shop.merchant_id, owner, Secret(fresh))
    sender.pay()
    first, second = sender.events("payment_intent.created", "payment_intent.succeeded")
    during = [sender.send(first).status_code, sender.send(second, secret=fresh).status_code]
    accounts.retire_webhook_secrets(sender.shop.merchant_id, owner)
    after = [sender.send(first).status_code, sender.send(second, secret=fresh).status_code]

    assert during == [200, 200]
    assert after == [400, 200]


def test_a_card_number_in_an_event_is_not_stored(sender: WebhookSender) -> None:
    sender.pay()
    (event,) = sender.events("payment_intent.succeeded")
    event["data"]["object"]["description"] = "card 4242 4242 4242 4242 of Ada"
    sender.send(event)

    (row,) = stored(sender)
    assert "4242 4242 4242" not in str(row.payload)
    assert row.payload["data"]["object"]["amount"] == 1000
