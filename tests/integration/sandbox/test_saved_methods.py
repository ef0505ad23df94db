"""Customers, saved cards and bank accounts, mandates."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from control_plane.sandbox import payment_flow
from tests.support.stripe_sandbox import StripeSandbox, error_of

ACH: dict[str, Any] = {"allowed_payment_method_types": ["us_bank_account"]}
SEPA: dict[str, Any] = {"allowed_payment_method_types": ["sepa_debit"]}
BY_PHONE: dict[str, Any] = {"customer_acceptance": {"type": "offline", "offline": {}}}


def account(sandbox: StripeSandbox, number: str) -> str:
    holder = {"account_holder_type": "individual", "routing_number": "110000000"}
    asked = {
        "type": "us_bank_account",
        "us_bank_account": {**holder, "account_number": number},
        "billing_details": {"name": "Ann Example"},
    }
    return str(sandbox.v1.payment_methods.create(asked).id)


def iban(sandbox: StripeSandbox, number: str) -> str:
    asked = {
        "type": "sepa_debit",
        "sepa_debit": {"iban": number},
        "billing_details": {"name": "Ann Example", "email": "ann@example.com"},
    }
    return str(sandbox.v1.payment_methods.create(asked).id)


def debit(sandbox: StripeSandbox, method: str, **params: Any) -> Any:
    """A confirmed debit of 10.00. (Any: the SDK's objects, read freely.)"""
    asked: Any = {"amount": 1000, "confirm": True, "payment_method": method, **params}
    return sandbox.v1.payment_intents.create(asked)


def read(sandbox: StripeSandbox, intent: str) -> Any:
    return sandbox.v1.payment_intents.retrieve(intent, {"expand": ["latest_charge"]})


def test_a_card_is_saved_and_charged_later(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create({"name": "Ann", "email": "ann@example.com"})

    saved = v1.setup_intents.create(
        {
            "customer": customer.id,
            "confirm": True,
            "payment_method": "pm_card_visa",
            "usage": "off_session",
            "allowed_payment_method_types": ["card"],
            "payment_method_options": {"card": {"moto": True}},
        }
    )
    paid = debit(
        stripe_sandbox,
        str(saved.payment_method),
        currency="usd",
        customer=customer.id,
        off_session=True,
        payment_method_options={"card": {"stored_credential_usage": "unscheduled"}},
    )

    assert (saved.status, paid.status) == ("succeeded", "succeeded")
    methods = v1.customers.payment_methods.list(customer.id).data
    assert [one.id for one in methods] == [saved.payment_method]
    card = read(stripe_sandbox, paid.id).latest_charge.payment_method_details.card
    assert card.stored_credential_usage == "unscheduled"


def test_a_card_that_is_declined_is_not_saved(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()

    with pytest.raises(stripe.CardError):
        v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": customer.id})
    with pytest.raises(stripe.CardError) as declined:
        v1.setup_intents.create(
            {
                "customer": customer.id,
                "confirm": True,
                "payment_method": "pm_card_chargeDeclined",
                "allowed_payment_method_types": ["card"],
            }
        )

    intent = error_of(declined.value)["setup_intent"]["id"]
    assert v1.setup_intents.retrieve(intent).status == "requires_payment_method"
    (attempt,) = v1.setup_attempts.list({"setup_intent": intent}).data
    assert (attempt.status, attempt.setup_error.code) == ("failed", "card_declined")
    assert v1.customers.payment_methods.list(customer.id).data == []


def test_a_card_can_be_saved_and_still_be_declined_when_charged(
    stripe_sandbox: StripeSandbox,
) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()
    method = v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})

    with pytest.raises(stripe.CardError):
        debit(stripe_sandbox, method.id, currency="usd", customer=customer.id, off_session=True)


def test_authentication_while_saving(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()
    waiting = v1.setup_intents.create(
        {
            "customer": customer.id,
            "confirm": True,
            "payment_method": "pm_card_authenticationRequiredOnSetup",
            "allowed_payment_method_types": ["card"],
        }
    )
    assert (waiting.status, waiting.next_action.type) == ("requires_action", "use_stripe_sdk")

    with stripe_sandbox.sandbox.transaction():
        payment_flow.complete_authentication(stripe_sandbox.sandbox, waiting.id, passed=True)

    assert v1.setup_intents.retrieve(waiting.id).status == "succeeded"


def test_a_detached_method_is_gone_for_good(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})

    v1.payment_methods.detach(method.id)

    assert v1.customers.payment_methods.list(customer.id).data == []
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        v1.payment_methods.attach(method.id, {"customer": customer.id})


def test_details_of_a_saved_method_change(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()
    method = v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})

    changed: Any = v1.payment_methods.update(
        method.id,
        {
            "billing_details": {"address": {"postal_code": "12345"}},
            "card": {"exp_year": 2040},
            "metadata": {"note": "x"},
        },
    )

    assert changed.billing_details.address.postal_code == "12345"
    assert (changed.card.exp_year, changed.metadata.note) == (2040, "x")


def test_a_debit_needs_a_mandate(stripe_sandbox: StripeSandbox) -> None:
    method = iban(stripe_sandbox, "DE89370400440532013000")

    with pytest.raises(stripe.InvalidRequestError) as refused:
        debit(stripe_sandbox, method, currency="eur", **SEPA)

    assert refused.value.code == "payment_intent_mandate_invalid"
    assert stripe_sandbox.sandbox.store.find("charge") == []


def test_a_sepa_debit_is_on_its_way_for_days(stripe_sandbox: StripeSandbox) -> None:
    method = iban(stripe_sandbox, "DE89370400440532013000")

    sent = debit(stripe_sandbox, method, currency="eur", mandate_data=BY_PHONE, **SEPA)
    stripe_sandbox.put_forward(days=3.9)
    before = read(stripe_sandbox, sent.id)
    stripe_sandbox.put_forward(days=0.2)
    after = read(stripe_sandbox, sent.id)

    assert (sent.status, before.status, before.latest_charge.status) == (
        "processing",
        "processing",
        "pending",
    )
    assert (after.status, after.amount_received) == ("succeeded", 1000)
    mandate = stripe_sandbox.v1.mandates.retrieve(
        after.latest_charge.payment_method_details.sepa_debit.mandate
    )
    assert (mandate.status, mandate.customer_acceptance.type) == ("active", "offline")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("000111111113", "account_closed"),
        ("000111111116", "no_account"),
        ("000222222227", "insufficient_funds"),
        ("000333333335", "debit_not_authorized"),
    ],
)
def test_an_account_that_cannot_pay_sends_the_debit_back(
    stripe_sandbox: StripeSandbox, number: str, code: str
) -> None:
    method = account(stripe_sandbox, number)
    waiting = debit(stripe_sandbox, method, currency="usd", mandate_data=BY_PHONE, **ACH)
    assert waiting.next_action.type == "verify_with_microdeposits"
    verified = stripe_sandbox.v1.payment_intents.verify_microdeposits(
        waiting.id, {"amounts": [32, 45]}
    )
    assert verified.status == "processing"

    stripe_sandbox.put_forward(days=5)

    failed = read(stripe_sandbox, waiting.id)
    assert (failed.status, failed.last_payment_error.code) == ("requires_payment_method", code)
    assert (failed.latest_charge.status, failed.latest_charge.failure_code) == ("failed", code)
    assert stripe_sandbox.sandbox.store.find("balance_transaction") == []


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"amounts": [1, 2]}, "payment_method_microdeposit_verification_amounts_mismatch"),
        ({"amounts": [1]}, "payment_method_microdeposit_verification_amounts_invalid"),
        (
            {"descriptor_code": "SM99ZZ"},
            "payment_method_microdeposit_verification_descriptor_code_mismatch",
        ),
    ],
)
def test_wrong_microdeposits_prove_nothing(
    stripe_sandbox: StripeSandbox, given: Any, code: str
) -> None:
    method = account(stripe_sandbox, "000123456789")
    waiting = debit(stripe_sandbox, method, currency="usd", mandate_data=BY_PHONE, **ACH)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.payment_intents.verify_microdeposits(waiting.id, given)

    assert refused.value.code == code
    assert read(stripe_sandbox, waiting.id).status == "requires_action"


def test_an_account_is_saved_with_a_mandate_and_debited_later(
    stripe_sandbox: StripeSandbox,
) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()
    setup = v1.setup_intents.create(
        {
            "customer": customer.id,
            "confirm": True,
            "payment_method": account(stripe_sandbox, "000123456789"),
            "mandate_data": BY_PHONE,
            **ACH,
        }
    )
    saved = v1.setup_intents.verify_microdeposits(setup.id, {"descriptor_code": "SM11AA"})

    sent = debit(
        stripe_sandbox,
        str(saved.payment_method),
        currency="usd",
        customer=customer.id,
        off_session=True,
        **ACH,
    )

    assert (setup.status, saved.status, sent.status) == (
        "requires_action",
        "succeeded",
        "processing",
    )
    assert saved.mandate is not None


def test_customers_are_found_changed_and_deleted(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create({"name": "Ann Example", "email": "ann@example.com"})
    v1.customers.create({"name": "Bob"})

    v1.customers.update(customer.id, {"phone": "+41", "metadata": {"vip": "yes"}})

    found = v1.customers.search({"query": "name~'ann' AND metadata['vip']:'yes'"}).data
    assert [one.id for one in found] == [customer.id]
    assert [one.id for one in v1.customers.list({"email": "ann@example.com"}).data] == [customer.id]
    v1.customers.delete(customer.id)
    assert v1.customers.retrieve(customer.id)["deleted"] is True
    assert [one.name for one in v1.customers.list().data] == ["Bob"]


def test_lists_walk_through_all_pages(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    for number in range(7):
        v1.customers.create({"name": f"Customer {number}"})

    names = [one.name for one in v1.customers.list({"limit": 3}).auto_paging_iter()]

    assert names == [f"Customer {number}" for number in reversed(range(7))]


def test_a_customer_session_names_what_it_opens(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()

    session = v1.customer_sessions.create(
        {
            "customer": customer.id,
            "components": {
                "payment_element": {
                    "enabled": True,
                    "features": {"payment_method_redisplay": "enabled"},
                }
            },
        }
    )

    assert session.client_secret.startswith("cuss_secret_")
    components: Any = session.components
    assert components.payment_element.enabled is True
    assert components.buy_button.enabled is False
