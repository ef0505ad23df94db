"""Payment intents from the first try to the last cent."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from control_plane.sandbox import confirmation_tokens, payment_flow, payment_methods
from control_plane.sandbox.payment_methods import TypedCard
from control_plane.sandbox.settings import SandboxSettings
from tests.support import stripe_sandbox as support
from tests.support.stripe_sandbox import StripeSandbox, error_of

CARD: dict[str, Any] = {"allowed_payment_method_types": ["card"]}


def pay(sandbox: StripeSandbox, method: str = "pm_card_visa", **params: Any) -> Any:
    """A confirmed intent of 10.00 USD. (Any: the SDK's objects, read freely.)"""
    asked = {"amount": 1000, "currency": "usd", "confirm": True, "payment_method": method, **CARD}
    return sandbox.v1.payment_intents.create({**asked, **params})


def token_of(sandbox: StripeSandbox, number: str, **billing: Any) -> str:
    """A confirmation token as the card fields in a browser make it."""
    typed = TypedCard(number=number, exp_month=12, exp_year=2034, cvc="123")
    with sandbox.sandbox.transaction():
        method = payment_methods.card_method(sandbox.sandbox, typed, billing=billing or None)
        return str(confirmation_tokens.issue(sandbox.sandbox, method)["id"])


def by_token(sandbox: StripeSandbox, number: str, **params: Any) -> Any:
    token = token_of(sandbox, number)
    asked = {
        "amount": 1000,
        "currency": "usd",
        "confirm": True,
        "confirmation_token": token,
        **CARD,
    }
    return sandbox.v1.payment_intents.create({**asked, **params})


def read(sandbox: StripeSandbox, intent: str, *expand: str) -> Any:
    return sandbox.v1.payment_intents.retrieve(intent, {"expand": list(expand)})


def test_a_card_pays_and_its_money_comes_with_a_fee(stripe_sandbox: StripeSandbox) -> None:
    paid = pay(
        stripe_sandbox, capture_method="automatic", expand=["latest_charge.balance_transaction"]
    )

    booked = paid.latest_charge.balance_transaction
    assert (paid.status, paid.amount_received) == ("succeeded", 1000)
    assert (booked.amount, booked.fee, booked.net, booked.status) == (1000, 59, 941, "pending")
    assert stripe_sandbox.event_types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


def test_with_async_capture_the_fee_is_known_a_little_later(stripe_sandbox: StripeSandbox) -> None:
    paid = pay(stripe_sandbox, expand=["latest_charge"])
    assert (paid.status, paid.latest_charge.balance_transaction) == ("succeeded", None)

    stripe_sandbox.put_forward(seconds=2)

    later = read(stripe_sandbox, paid.id, "latest_charge.balance_transaction")
    assert later.latest_charge.balance_transaction.net == 941
    assert stripe_sandbox.event_types()[-1] == "charge.updated"


def test_another_currency_is_exchanged(stripe_sandbox: StripeSandbox) -> None:
    paid = pay(
        stripe_sandbox,
        amount=1510,
        currency="jpy",
        capture_method="automatic",
        expand=["latest_charge.balance_transaction"],
    )

    booked = paid.latest_charge.balance_transaction
    assert (booked.currency, booked.amount, booked.exchange_rate) == ("usd", 1000, 0.006623)
    assert booked.fee == 69


@pytest.mark.parametrize(
    ("number", "code", "decline_code", "advice"),
    [
        ("4000000000000002", "card_declined", "generic_decline", "try_again_later"),
        ("4000000000009995", "card_declined", "insufficient_funds", "try_again_later"),
        ("4000000000009987", "card_declined", "lost_card", "do_not_try_again"),
        ("4000000000009979", "card_declined", "stolen_card", "do_not_try_again"),
        ("4000000000000069", "expired_card", "expired_card", "do_not_try_again"),
        ("4000000000000127", "incorrect_cvc", "incorrect_cvc", "confirm_card_data"),
        ("4000000000000119", "processing_error", "processing_error", "try_again_later"),
        ("4000000000006975", "card_declined", "card_velocity_exceeded", "try_again_later"),
        ("4100000000000019", "card_declined", "fraudulent", "do_not_try_again"),
    ],
)
def test_each_decline_says_why_and_takes_nothing(
    stripe_sandbox: StripeSandbox, number: str, code: str, decline_code: str, advice: str
) -> None:
    with pytest.raises(stripe.CardError) as declined:
        by_token(stripe_sandbox, number)

    error = error_of(declined.value)
    assert (declined.value.http_status, error["code"]) == (402, code)
    assert (error["decline_code"], error["advice_code"]) == (decline_code, advice)
    intent = read(stripe_sandbox, error["payment_intent"]["id"], "latest_charge")
    assert (intent.status, intent.amount_received) == ("requires_payment_method", 0)
    assert intent.payment_method is None
    assert intent.latest_charge.status == "failed"
    assert stripe_sandbox.sandbox.store.find("balance_transaction") == []


def test_a_declined_intent_is_paid_by_another_card(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(stripe.CardError) as declined:
        pay(stripe_sandbox, "pm_card_chargeDeclined")
    intent = error_of(declined.value)["payment_intent"]["id"]

    paid = stripe_sandbox.v1.payment_intents.confirm(
        intent, {"payment_method": "pm_card_mastercard"}
    )

    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    statuses = [
        one.status for one in stripe_sandbox.v1.charges.list({"payment_intent": intent}).data
    ]
    assert statuses == ["succeeded", "failed"]


def test_a_paid_intent_is_not_charged_again(stripe_sandbox: StripeSandbox) -> None:
    paid = pay(stripe_sandbox)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.payment_intents.confirm(paid.id, {"payment_method": "pm_card_visa"})

    assert refused.value.code == "payment_intent_unexpected_state"
    assert error_of(refused.value)["payment_intent"]["status"] == "succeeded"
    assert len(stripe_sandbox.sandbox.store.find("charge")) == 1


def test_a_card_number_in_a_server_side_call_is_refused_and_kept_nowhere(
    stripe_sandbox: StripeSandbox,
) -> None:
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2034, "cvc": "123"}

    with pytest.raises(stripe.StripeError, match="generally unsafe"):
        stripe_sandbox.v1.payment_methods.create(
            {"type": "card", "card": card},
            {"idempotency_key": "one"},
        )

    assert stripe_sandbox.sandbox.store.find("payment_method") == []
    assert stripe_sandbox.sandbox.store.find("_answer")[0]["body"].count("4242") == 0


def test_a_typed_card_leaves_no_number_in_the_database(stripe_sandbox: StripeSandbox) -> None:
    by_token(stripe_sandbox, "5200828282828210")

    store = stripe_sandbox.sandbox.store
    kinds = ("confirmation_token", "payment_method", "charge", "payment_intent", "event", "_answer")
    texts = [str(one) for kind in kinds for one in store.find(kind)]
    assert len(texts) > 6
    assert not any("5200828282828210" in text or "828282821" in text for text in texts)


def test_a_token_is_used_once(stripe_sandbox: StripeSandbox) -> None:
    token = token_of(stripe_sandbox, "4242424242424242")
    asked: Any = {
        "amount": 1000,
        "currency": "usd",
        "confirm": True,
        "confirmation_token": token,
        **CARD,
    }
    stripe_sandbox.v1.payment_intents.create(asked)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.payment_intents.create(asked)

    assert refused.value.param == "confirmation_token"
    assert len(stripe_sandbox.sandbox.store.find("charge")) == 1


def test_checks_are_those_of_what_was_typed(stripe_sandbox: StripeSandbox) -> None:
    with_address = token_of(
        stripe_sandbox, "4000000000000036", address={"line1": "1 Main St", "postal_code": "12345"}
    )

    asked: Any = {
        "amount": 1000,
        "currency": "usd",
        "confirm": True,
        "confirmation_token": with_address,
    }
    paid: Any = stripe_sandbox.v1.payment_intents.create(
        {**asked, **CARD, "expand": ["latest_charge"]}
    )

    checks = paid.latest_charge.payment_method_details.card.checks
    assert (checks.address_line1_check, checks.address_postal_code_check) == ("pass", "fail")
    assert checks.cvc_check == "pass"


def test_moto_is_shown_on_the_charge_and_needs_no_authentication(
    stripe_sandbox: StripeSandbox,
) -> None:
    paid = by_token(
        stripe_sandbox,
        "4000002760003184",
        payment_method_options={"card": {"moto": True}},
        expand=["latest_charge"],
    )

    assert paid.status == "succeeded"
    assert paid.latest_charge.payment_method_details.card.moto is True


def test_without_the_gate_moto_is_an_unknown_parameter() -> None:
    with support.stripe_sandbox(SandboxSettings(moto_enabled=False)) as closed:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            pay(closed, payment_method_options={"card": {"moto": True}})

        assert (refused.value.code, refused.value.param) == (
            "parameter_unknown",
            "payment_method_options[card][moto]",
        )
        assert closed.sandbox.store.find("payment_intent") == []


def test_moto_belongs_to_the_confirmation(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="only allowed during confirmation"):
        pay(stripe_sandbox, confirm=False, payment_method_options={"card": {"moto": True}})


def test_a_browser_cannot_ask_for_moto(stripe_sandbox: StripeSandbox) -> None:
    intent = pay(stripe_sandbox, confirm=False)
    browser = stripe_sandbox.as_browser()

    with pytest.raises(stripe.StripeError) as refused:
        browser.raw_request(
            "post",
            f"/v1/payment_intents/{intent.id}/confirm",
            client_secret=intent.client_secret,
            payment_method_options={"card": {"moto": True}},
        )

    assert refused.value.code == "secret_key_required"
    assert stripe_sandbox.sandbox.store.find("charge") == []


def test_a_browser_confirms_with_the_client_secret_and_sees_less(
    stripe_sandbox: StripeSandbox,
) -> None:
    intent = pay(stripe_sandbox, confirm=False, metadata={"order": "7"})
    path = f"/v1/payment_intents/{intent.id}/confirm"
    browser = stripe_sandbox.as_browser()

    with pytest.raises(stripe.InvalidRequestError):
        browser.raw_request("post", path, client_secret="pi_wrong_secret")
    answer = browser.raw_request("post", path, client_secret=intent.client_secret)

    assert answer.data["status"] == "succeeded"
    assert "metadata" not in answer.data


def test_three_d_secure_waits_then_pays(stripe_sandbox: StripeSandbox) -> None:
    waiting = by_token(stripe_sandbox, "4000002760003184")
    assert (waiting.status, waiting.next_action.type) == ("requires_action", "use_stripe_sdk")
    assert stripe_sandbox.sandbox.store.find("charge") == []

    with stripe_sandbox.sandbox.transaction():
        payment_flow.complete_authentication(stripe_sandbox.sandbox, waiting.id, passed=True)

    paid = read(stripe_sandbox, waiting.id, "latest_charge")
    assert paid.status == "succeeded"
    assert paid.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"


def test_failed_three_d_secure_asks_for_another_method(stripe_sandbox: StripeSandbox) -> None:
    waiting = by_token(stripe_sandbox, "4000002760003184")

    with stripe_sandbox.sandbox.transaction():
        payment_flow.complete_authentication(stripe_sandbox.sandbox, waiting.id, passed=False)

    failed = read(stripe_sandbox, waiting.id)
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error.code == "payment_intent_authentication_failure"
    assert stripe_sandbox.sandbox.store.find("charge") == []


def test_a_server_side_confirmation_redirects_to_the_bank(stripe_sandbox: StripeSandbox) -> None:
    waiting = pay(
        stripe_sandbox, "pm_card_authenticationRequired", return_url="https://shop.test/back"
    )

    assert waiting.next_action.type == "redirect_to_url"
    assert waiting.next_action.redirect_to_url.return_url == "https://shop.test/back"
    assert f"/_hosted/authenticate/{waiting.id}" in waiting.next_action.redirect_to_url.url


def test_error_on_requires_action_fails_at_once(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(stripe.CardError) as refused:
        pay(stripe_sandbox, "pm_card_authenticationRequired", error_on_requires_action=True)

    assert refused.value.code == "authentication_required"
    intent = error_of(refused.value)["payment_intent"]
    assert read(stripe_sandbox, intent["id"]).status == "requires_payment_method"
    assert stripe_sandbox.sandbox.store.find("charge") == []


def test_off_session_a_card_that_was_set_up_pays_and_another_is_declined(
    stripe_sandbox: StripeSandbox,
) -> None:
    customer = stripe_sandbox.v1.customers.create()
    first = pay(
        stripe_sandbox,
        "pm_card_authenticationRequiredOnSetup",
        customer=customer.id,
        setup_future_usage="off_session",
        return_url="https://shop.test/back",
    )
    with stripe_sandbox.sandbox.transaction():
        payment_flow.complete_authentication(stripe_sandbox.sandbox, first.id, passed=True)

    again = pay(stripe_sandbox, first.payment_method, customer=customer.id, off_session=True)
    with pytest.raises(stripe.CardError) as declined:
        pay(stripe_sandbox, "pm_card_authenticationRequiredOnSetup", off_session=True)

    assert again.status == "succeeded"
    assert declined.value.code == "authentication_required"


def test_a_method_is_spent_unless_it_is_kept(stripe_sandbox: StripeSandbox) -> None:
    spent = pay(stripe_sandbox).payment_method

    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        pay(stripe_sandbox, spent)

    assert len(stripe_sandbox.sandbox.store.find("charge")) == 1


def test_a_customers_method_needs_the_customer(stripe_sandbox: StripeSandbox) -> None:
    customer = stripe_sandbox.v1.customers.create()
    method = stripe_sandbox.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})

    with pytest.raises(stripe.InvalidRequestError, match="security purposes"):
        pay(stripe_sandbox, method.id)

    assert pay(stripe_sandbox, method.id, customer=customer.id).status == "succeeded"
    assert pay(stripe_sandbox, method.id, customer=customer.id).status == "succeeded"


def test_automatic_methods_need_a_way_back(stripe_sandbox: StripeSandbox) -> None:
    automatic: Any = {
        "amount": 1000,
        "currency": "usd",
        "confirm": True,
        "payment_method": "pm_card_visa",
    }
    create = stripe_sandbox.v1.payment_intents.create

    with pytest.raises(stripe.InvalidRequestError) as refused:
        create(automatic)
    never = {"enabled": True, "allow_redirects": "never"}
    paid = create({**automatic, "automatic_payment_methods": never})

    assert refused.value.param == "return_url"
    assert paid.status == "succeeded"


@pytest.mark.parametrize("path", ["payment_intents", "setup_intents", "checkout/sessions"])
def test_payment_method_types_are_no_longer_supported(
    stripe_sandbox: StripeSandbox, path: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.client.raw_request(
            "post", f"/v1/{path}", amount=1000, currency="usd", payment_method_types=["card"]
        )

    assert refused.value.code == "payment_method_types_no_longer_supported"
    assert refused.value.param == "payment_method_types"


def test_allowed_methods_are_filtered_to_what_fits(stripe_sandbox: StripeSandbox) -> None:
    intent: Any = stripe_sandbox.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "eur",
            "allowed_payment_method_types": ["card", "us_bank_account", "sepa_debit"],
        }
    )

    assert intent.payment_method_types == ["card", "sepa_debit"]
    assert intent.allowed_payment_method_types == ["card", "us_bank_account", "sepa_debit"]


def test_two_ways_to_choose_methods_exclude_each_other(stripe_sandbox: StripeSandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        pay(stripe_sandbox, automatic_payment_methods={"enabled": True})

    assert refused.value.code == "parameters_exclusive"


def test_held_money_is_captured_in_part_and_the_rest_let_go(stripe_sandbox: StripeSandbox) -> None:
    held = pay(stripe_sandbox, capture_method="manual", expand=["latest_charge"])
    assert (held.status, held.amount_capturable) == ("requires_capture", 1000)
    assert held.latest_charge.payment_method_details.card.capture_before > held.created

    paid: Any = stripe_sandbox.v1.payment_intents.capture(
        held.id, {"amount_to_capture": 600, "expand": ["latest_charge.balance_transaction"]}
    )

    charge = paid.latest_charge
    assert (paid.status, paid.amount_received, paid.amount_capturable) == ("succeeded", 600, 0)
    assert (charge.amount_captured, charge.amount_refunded, charge.refunded) == (600, 400, False)
    assert charge.balance_transaction.amount == 600


def test_more_than_what_is_held_is_not_captured(stripe_sandbox: StripeSandbox) -> None:
    held = pay(stripe_sandbox, capture_method="manual")

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.payment_intents.capture(held.id, {"amount_to_capture": 1001})

    assert refused.value.code == "amount_too_large"
    assert read(stripe_sandbox, held.id).status == "requires_capture"


def test_several_captures_where_they_were_asked_for(stripe_sandbox: StripeSandbox) -> None:
    held = pay(
        stripe_sandbox,
        capture_method="manual",
        payment_method_options={"card": {"request_multicapture": "if_available"}},
    )
    capture = stripe_sandbox.v1.payment_intents.capture

    first = capture(held.id, {"amount_to_capture": 300, "final_capture": False})
    last = capture(held.id, {"amount_to_capture": 200})

    assert (first.status, first.amount_capturable) == ("requires_capture", 700)
    assert (last.status, last.amount_received) == ("succeeded", 500)


def test_held_money_lapses_by_itself(stripe_sandbox: StripeSandbox) -> None:
    held = pay(stripe_sandbox, capture_method="manual")

    stripe_sandbox.put_forward(days=7.1)

    lapsed = read(stripe_sandbox, held.id)
    assert (lapsed.status, lapsed.cancellation_reason) == ("canceled", "automatic")
    assert "charge.expired" in stripe_sandbox.event_types()
    assert stripe_sandbox.sandbox.store.find("balance_transaction") == []


def test_a_cancelled_intent_takes_nothing_more(stripe_sandbox: StripeSandbox) -> None:
    held = pay(stripe_sandbox, capture_method="manual")

    cancelled = stripe_sandbox.v1.payment_intents.cancel(held.id)

    assert (cancelled.status, cancelled.amount_capturable) == ("canceled", 0)
    with pytest.raises(stripe.InvalidRequestError):
        stripe_sandbox.v1.payment_intents.capture(held.id)
    with pytest.raises(stripe.InvalidRequestError):
        stripe_sandbox.v1.payment_intents.confirm(held.id)


def test_a_paid_intent_cannot_be_cancelled(stripe_sandbox: StripeSandbox) -> None:
    paid = pay(stripe_sandbox)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.payment_intents.cancel(paid.id)

    assert refused.value.code == "payment_intent_unexpected_state"
    assert read(stripe_sandbox, paid.id).status == "succeeded"


def test_an_authorisation_grows_where_it_was_asked_for(stripe_sandbox: StripeSandbox) -> None:
    held = pay(
        stripe_sandbox,
        capture_method="manual",
        payment_method_options={"card": {"request_incremental_authorization": "if_available"}},
    )

    grown = stripe_sandbox.v1.payment_intents.increment_authorization(held.id, {"amount": 1500})
    with pytest.raises(stripe.InvalidRequestError):
        stripe_sandbox.v1.payment_intents.increment_authorization(held.id, {"amount": 1500})

    assert (grown.amount, grown.amount_capturable) == (1500, 1500)


def test_amount_and_currency_change_until_it_is_paid(stripe_sandbox: StripeSandbox) -> None:
    intent = pay(stripe_sandbox, confirm=False, payment_method="pm_card_visa")
    update = stripe_sandbox.v1.payment_intents.update

    changed = update(intent.id, {"amount": 2000, "metadata": {"order": "7"}})
    stripe_sandbox.v1.payment_intents.confirm(intent.id)
    with pytest.raises(stripe.InvalidRequestError):
        update(intent.id, {"amount": 3000})
    noted = update(intent.id, {"metadata": {"order": "", "note": "x"}})

    assert changed.amount == 2000
    assert noted.metadata.to_dict() == {"note": "x"}
    assert read(stripe_sandbox, intent.id).amount_received == 2000
