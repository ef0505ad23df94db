"""Every answer is what the SDK's classes declare, for the objects of a shop's whole day."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe.params import PaymentIntentCreateParams, RefundCreateParams

from control_plane.sandbox import checkout, payment_flow
from control_plane.sandbox.engine import public
from control_plane.sandbox.schema import parameter_names
from control_plane.sandbox.shapes import make
from tests.support import stripe_sandbox as support
from tests.support.stripe_sandbox import StripeSandbox
from tests.support.stripe_shapes import complaints

KINDS = [
    "balance_transaction",
    "charge",
    "checkout.session",
    "confirmation_token",
    "customer",
    "dispute",
    "event",
    "mandate",
    "payment_intent",
    "payment_link",
    "payment_method",
    "price",
    "product",
    "radar.early_fraud_warning",
    "refund",
    "setup_attempt",
    "setup_intent",
    "webhook_endpoint",
]
CARD: dict[str, Any] = {"allowed_payment_method_types": ["card"]}
ACCEPTED: dict[str, Any] = {"customer_acceptance": {"type": "offline", "offline": {}}}


@pytest.fixture(scope="module")
def busy_day() -> Iterator[StripeSandbox]:
    """A sandbox in which everything happened at least once."""
    with support.stripe_sandbox() as sandbox:
        v1: Any = sandbox.v1
        v1.webhook_endpoints.create({"url": "https://shop.test", "enabled_events": ["*"]})
        customer = v1.customers.create({"name": "Ann", "address": {"line1": "1 Main St"}})
        asked = {"amount": 1000, "currency": "eur", "confirm": True, **CARD}
        for method in ("visa", "amex", "createDispute", "createIssuerFraudRecord", "refundFail"):
            paid = v1.payment_intents.create({**asked, "payment_method": f"pm_card_{method}"})
            if "create" not in method:
                v1.refunds.create({"payment_intent": paid.id, "amount": 300})
        for method in ("chargeDeclined", "authenticationRequired"):
            token = v1.test_helpers.confirmation_tokens.create(
                {"payment_method": f"pm_card_{method}"}
            )
            try:
                waiting = v1.payment_intents.create({**asked, "confirmation_token": token.id})
            except stripe.CardError:
                continue
            with sandbox.sandbox.transaction():
                payment_flow.complete_authentication(sandbox.sandbox, waiting.id, passed=False)
        shipping = {"name": "Ann", "address": {"line1": "1 Main St"}}
        kept = {"payment_method": "pm_card_visa", "capture_method": "manual"}
        held = v1.payment_intents.create({**asked, **kept, "shipping": shipping})
        v1.payment_intents.capture(held.id, {"amount_to_capture": 400})
        saved = {"confirm": True, "customer": customer.id, **CARD}
        v1.setup_intents.create({**saved, "payment_method": "pm_card_visa"})
        v1.setup_intents.create({**saved, "payment_method": "pm_card_authenticationRequired"})
        debit = {**asked, "allowed_payment_method_types": ["us_bank_account"], "currency": "usd"}
        for method in ("success", "insufficientFunds"):
            v1.payment_intents.create(
                {**debit, "payment_method": f"pm_usBankAccount_{method}", "mandate_data": ACCEPTED}
            )
        price = {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Tea"}}
        link = v1.payment_links.create(
            {
                "line_items": [{"price_data": price, "quantity": 1}],
                "restrictions": {"completed_sessions": {"limit": 2}},
            }
        )
        token = v1.test_helpers.confirmation_tokens.create({"payment_method": "pm_card_visa"})
        with sandbox.sandbox.transaction():
            session = checkout.session_of_link(sandbox.sandbox, link.id)
            checkout.pay_session(sandbox.sandbox, session["id"], confirmation_token=token.id)
        sandbox.put_forward(days=10)
        yield sandbox


@pytest.mark.parametrize("kind", KINDS)
def test_objects_have_every_field_of_their_class(busy_day: StripeSandbox, kind: str) -> None:
    found = busy_day.sandbox.store.find(kind)

    assert found
    assert [one for value in found for one in complaints(public(value))] == []


def test_the_check_sees_what_is_missing_wrong_or_null(busy_day: StripeSandbox) -> None:
    charge = public(busy_day.sandbox.store.find("charge")[0])
    del charge["refunded"]
    charge |= {"amount": "ten", "billing_details": None, "tea": 1}

    assert sorted(complaints(charge)) == [
        "charge.amount: 'ten'",
        "charge.billing_details: null",
        "charge: refunded is missing",
        "charge: tea is not declared",
    ]


def test_only_the_branch_of_a_methods_type_is_sent(busy_day: StripeSandbox) -> None:
    method = make("payment_method", id="pm_1", type="card")

    assert "sepa_debit" not in method
    card = busy_day.sandbox.store.find("payment_method", type="card")[0]
    assert "us_bank_account" not in card


def test_an_object_without_such_a_field_cannot_be_made() -> None:
    with pytest.raises(KeyError, match="tea"):
        make("charge", tea=1)


def test_account_and_balance_are_complete(busy_day: StripeSandbox) -> None:
    v1 = busy_day.v1
    answers = [
        v1.accounts.retrieve_current(),
        v1.balance.retrieve(),
        v1.exchange_rates.retrieve("eur"),
    ]

    assert [one for answer in answers for one in complaints(answer.to_dict())] == []


def test_the_balance_is_the_sum_of_what_was_booked(busy_day: StripeSandbox) -> None:
    balance = busy_day.v1.balance.retrieve()
    booked = busy_day.v1.balance_transactions.list({"limit": 100}).data

    assert balance.available[0].amount + balance.pending[0].amount == sum(one.net for one in booked)


@pytest.mark.parametrize(
    ("params", "required"),
    [(PaymentIntentCreateParams, {"amount", "currency"}), (RefundCreateParams, set())],
)
def test_what_is_required_is_the_sdks_own_word(params: type, required: set[str]) -> None:
    names = parameter_names(params)

    assert {name for name, is_required in names.items() if is_required} == required
    assert "api_key" not in names
