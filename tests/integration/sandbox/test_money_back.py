"""Refunds, disputes and the balance."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.support.stripe_sandbox import StripeSandbox, error_of


def charged(sandbox: StripeSandbox, method: str = "pm_card_visa", **params: Any) -> Any:
    """A paid intent of 10.00 USD with its charge. (Any: the SDK's objects, read freely.)"""
    asked: Any = {
        "amount": 1000,
        "currency": "usd",
        "confirm": True,
        "payment_method": method,
        "allowed_payment_method_types": ["card"],
        "capture_method": "automatic",
        "expand": ["latest_charge"],
        **params,
    }
    return sandbox.v1.payment_intents.create(asked)


def net(sandbox: StripeSandbox) -> int:
    """What the account has, available or not."""
    found = sandbox.sandbox.store.find("balance_transaction")
    return sum(one["net"] for one in found)


def test_a_refund_gives_back_part_then_the_rest(stripe_sandbox: StripeSandbox) -> None:
    paid = charged(stripe_sandbox)
    refunds = stripe_sandbox.v1.refunds

    part: Any = refunds.create(
        {"payment_intent": paid.id, "amount": 400, "expand": ["balance_transaction"]}
    )
    rest = refunds.create({"payment_intent": paid.id, "reason": "requested_by_customer"})

    charge = stripe_sandbox.v1.charges.retrieve(paid.latest_charge.id, {"expand": ["refunds"]})
    assert (part.status, part.balance_transaction.amount) == ("succeeded", -400)
    assert (rest.amount, rest.reason) == (600, "requested_by_customer")
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    assert [one.id for one in charge.refunds.data] == [rest.id, part.id]
    assert net(stripe_sandbox) == -59


def test_more_than_what_is_left_is_not_given_back(stripe_sandbox: StripeSandbox) -> None:
    paid = charged(stripe_sandbox)
    refunds = stripe_sandbox.v1.refunds
    refunds.create({"payment_intent": paid.id, "amount": 400})

    with pytest.raises(stripe.InvalidRequestError, match=r"\$7.00 usd.*\$6.00 usd"):
        refunds.create({"payment_intent": paid.id, "amount": 700})
    refunds.create({"payment_intent": paid.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refunds.create({"payment_intent": paid.id})

    assert refused.value.code == "charge_already_refunded"
    assert sum(one.amount for one in refunds.list().data) == 1000


def test_after_a_partial_capture_what_was_captured_can_be_given_back(
    stripe_sandbox: StripeSandbox,
) -> None:
    held = charged(stripe_sandbox, capture_method="manual")
    stripe_sandbox.v1.payment_intents.capture(held.id, {"amount_to_capture": 600})

    refund = stripe_sandbox.v1.refunds.create({"payment_intent": held.id})

    assert refund.amount == 600


@pytest.mark.parametrize("method", ["manual", "declined", "nothing"])
def test_what_was_never_taken_cannot_be_given_back(
    stripe_sandbox: StripeSandbox, method: str
) -> None:
    if method == "manual":
        intent = charged(stripe_sandbox, capture_method="manual").id
    elif method == "declined":
        with pytest.raises(stripe.CardError) as declined:
            charged(stripe_sandbox, "pm_card_chargeDeclined")
        intent = error_of(declined.value)["payment_intent"]["id"]
    else:
        intent = charged(stripe_sandbox, confirm=False).id

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.refunds.create({"payment_intent": intent})

    assert refused.value.code == "charge_not_refundable"
    assert stripe_sandbox.sandbox.store.find("refund") == []


def test_a_refund_that_fails_later_brings_the_money_back(stripe_sandbox: StripeSandbox) -> None:
    paid = charged(stripe_sandbox, "pm_card_refundFail")
    refund = stripe_sandbox.v1.refunds.create({"payment_intent": paid.id})
    assert (refund.status, net(stripe_sandbox)) == ("succeeded", -59)

    stripe_sandbox.put_forward(days=3)

    failed = stripe_sandbox.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert net(stripe_sandbox) == 941
    assert {"refund.failed", "charge.refund.updated"} < set(stripe_sandbox.event_types())
    charge = stripe_sandbox.v1.charges.retrieve(paid.latest_charge.id)
    assert (charge.amount_refunded, charge.refunded) == (0, False)


def test_a_pending_refund_arrives_later(stripe_sandbox: StripeSandbox) -> None:
    paid = charged(stripe_sandbox, "pm_card_pendingRefund")
    refund = stripe_sandbox.v1.refunds.create({"payment_intent": paid.id})

    stripe_sandbox.put_forward(days=3)

    assert refund.status == "pending"
    assert stripe_sandbox.v1.refunds.retrieve(refund.id).status == "succeeded"


@pytest.mark.parametrize(
    ("evidence", "status", "balance"),
    [("winning_evidence", "won", 941), ("losing_evidence", "lost", -1559)],
)
def test_evidence_decides_a_dispute(
    stripe_sandbox: StripeSandbox, evidence: str, status: str, balance: int
) -> None:
    paid = charged(stripe_sandbox, "pm_card_createDispute")
    stripe_sandbox.put_forward(seconds=5)
    (opened,) = stripe_sandbox.v1.disputes.list({"payment_intent": paid.id}).data
    assert (opened.status, opened.reason, net(stripe_sandbox)) == (
        "needs_response",
        "fraudulent",
        -1559,
    )

    stripe_sandbox.v1.disputes.update(
        opened.id, {"evidence": {"uncategorized_text": evidence}, "submit": True}
    )
    stripe_sandbox.put_forward(days=2)

    closed = stripe_sandbox.v1.disputes.retrieve(opened.id)
    assert (closed.status, net(stripe_sandbox)) == (status, balance)
    assert "charge.dispute.closed" in stripe_sandbox.event_types()


def test_staged_evidence_is_not_sent(stripe_sandbox: StripeSandbox) -> None:
    charged(stripe_sandbox, "pm_card_createDispute")
    stripe_sandbox.put_forward(seconds=5)
    (opened,) = stripe_sandbox.v1.disputes.list().data

    staged = stripe_sandbox.v1.disputes.update(
        opened.id, {"evidence": {"customer_name": "Ann"}, "submit": False}
    )

    assert (staged.status, staged.evidence.customer_name) == ("needs_response", "Ann")
    assert staged.evidence_details.submission_count == 0


def test_an_accepted_dispute_is_lost(stripe_sandbox: StripeSandbox) -> None:
    charged(stripe_sandbox, "pm_card_createDispute")
    stripe_sandbox.put_forward(seconds=5)
    (opened,) = stripe_sandbox.v1.disputes.list().data

    assert stripe_sandbox.v1.disputes.close(opened.id).status == "lost"
    with pytest.raises(stripe.InvalidRequestError):
        stripe_sandbox.v1.disputes.close(opened.id)


def test_disputed_money_is_not_given_back_twice(stripe_sandbox: StripeSandbox) -> None:
    paid = charged(stripe_sandbox, "pm_card_createDispute")
    stripe_sandbox.put_forward(seconds=5)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.refunds.create({"payment_intent": paid.id})

    assert refused.value.code == "charge_disputed"


def test_an_early_warning_takes_no_money(stripe_sandbox: StripeSandbox) -> None:
    paid = charged(stripe_sandbox, "pm_card_createIssuerFraudRecord")
    stripe_sandbox.put_forward(seconds=5)

    (warning,) = stripe_sandbox.v1.radar.early_fraud_warnings.list({"payment_intent": paid.id}).data

    assert warning.actionable
    assert net(stripe_sandbox) == 941


def test_money_becomes_available_after_business_days(stripe_sandbox: StripeSandbox) -> None:
    charged(stripe_sandbox)
    before = stripe_sandbox.v1.balance.retrieve()

    stripe_sandbox.put_forward(days=5)

    after = stripe_sandbox.v1.balance.retrieve()
    assert (before.available[0].amount, before.pending[0].amount) == (0, 941)
    assert (after.available[0].amount, after.pending[0].amount) == (941, 0)
