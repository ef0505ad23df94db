"""Products, prices, payment links and Checkout sessions."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from control_plane.sandbox import checkout
from control_plane.sandbox.errors import ApiError
from tests.support.stripe_sandbox import StripeSandbox

TEA: dict[str, Any] = {
    "price_data": {"currency": "usd", "unit_amount": 1200, "product_data": {"name": "Tea"}},
    "quantity": 2,
}


def new_link(sandbox: StripeSandbox, **params: Any) -> Any:
    """A payment link for two teas. (Any: the SDK's objects, read freely.)"""
    asked: Any = {"line_items": [TEA], "expand": ["line_items"], **params}
    return sandbox.v1.payment_links.create(asked)


def token(sandbox: StripeSandbox, method: str = "pm_card_visa") -> str:
    made = sandbox.v1.test_helpers.confirmation_tokens.create({"payment_method": method})
    return str(made.id)


def opened(sandbox: StripeSandbox, link: str) -> str:
    with sandbox.sandbox.transaction():
        return str(checkout.session_of_link(sandbox.sandbox, link)["id"])


def paid(sandbox: StripeSandbox, session: str, method: str = "pm_card_visa", **given: Any) -> Any:
    with sandbox.sandbox.transaction():
        return checkout.pay_session(
            sandbox.sandbox, session, confirmation_token=token(sandbox, method), **given
        )


def test_a_link_is_paid_with_its_fields_and_metadata(stripe_sandbox: StripeSandbox) -> None:
    field = {"key": "po", "type": "text", "label": {"type": "custom", "custom": "Order number"}}
    link = new_link(
        stripe_sandbox,
        metadata={"attempt": "a1"},
        payment_intent_data={"metadata": {"attempt": "a1"}},
        custom_fields=[field],
    )

    session = opened(stripe_sandbox, link.id)
    paid(stripe_sandbox, session, email="ann@example.com", custom_fields={"po": "77"})

    done: Any = stripe_sandbox.v1.checkout.sessions.retrieve(
        session, {"expand": ["payment_intent.latest_charge", "line_items"]}
    )
    assert (done.status, done.payment_status, done.amount_total) == ("complete", "paid", 2400)
    assert done.payment_intent.metadata.to_dict() == {"attempt": "a1"}
    assert done.payment_intent.latest_charge.amount == 2400
    assert (done.custom_fields[0].text.value, done.customer_details.email) == (
        "77",
        "ann@example.com",
    )
    assert done.line_items.data[0].description == "Tea"
    assert (done.payment_link, done.metadata.to_dict()) == (link.id, {"attempt": "a1"})


def test_a_field_that_is_needed_is_asked_for(stripe_sandbox: StripeSandbox) -> None:
    field = {"key": "po", "type": "text", "label": {"type": "custom", "custom": "Order number"}}
    session = opened(stripe_sandbox, new_link(stripe_sandbox, custom_fields=[field]).id)

    with pytest.raises(ApiError) as refused:
        paid(stripe_sandbox, session)

    assert refused.value.fields["param"] == "custom_fields[po]"
    assert stripe_sandbox.sandbox.store.find("payment_intent") == []


def test_a_link_for_one_payment_closes_after_it(stripe_sandbox: StripeSandbox) -> None:
    link = new_link(stripe_sandbox, restrictions={"completed_sessions": {"limit": 1}})
    paid(stripe_sandbox, opened(stripe_sandbox, link.id))

    with pytest.raises(ApiError):
        opened(stripe_sandbox, link.id)

    assert stripe_sandbox.v1.payment_links.retrieve(link.id).active is False


def test_a_link_is_switched_off(stripe_sandbox: StripeSandbox) -> None:
    link = new_link(stripe_sandbox)

    stripe_sandbox.v1.payment_links.update(link.id, {"active": False})

    with pytest.raises(ApiError):
        opened(stripe_sandbox, link.id)
    assert stripe_sandbox.v1.payment_links.list({"active": True}).data == []


def test_after_a_decline_the_same_intent_is_tried_again(stripe_sandbox: StripeSandbox) -> None:
    sandbox = stripe_sandbox.sandbox
    session = opened(stripe_sandbox, new_link(stripe_sandbox).id)

    bad = token(stripe_sandbox, "pm_card_chargeDeclined")
    with sandbox.transaction(), pytest.raises(ApiError) as declined:
        checkout.pay_session(sandbox, session, confirmation_token=bad)
    done = paid(stripe_sandbox, session)

    assert declined.value.keeps
    assert done["status"] == "complete"
    assert len(sandbox.store.find("payment_intent")) == 1
    assert [one["status"] for one in sandbox.store.find("charge")] == ["succeeded", "failed"]


def test_a_session_expires(stripe_sandbox: StripeSandbox) -> None:
    sessions = stripe_sandbox.v1.checkout.sessions
    asked: Any = {"mode": "payment", "success_url": "https://shop.test", "line_items": [TEA]}
    by_hand, by_time = sessions.create(asked), sessions.create(asked)

    sessions.expire(by_hand.id)
    stripe_sandbox.put_forward(days=1.1)

    assert [one.status for one in sessions.list().data] == ["expired", "expired"]
    with pytest.raises(ApiError):
        paid(stripe_sandbox, by_time.id)


@pytest.mark.parametrize("seconds", [60, 90_000])
def test_a_session_lives_between_half_an_hour_and_a_day(
    stripe_sandbox: StripeSandbox, seconds: int
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.checkout.sessions.create(
            {
                "mode": "payment",
                "success_url": "https://shop.test",
                "line_items": [TEA],
                "expires_at": stripe_sandbox.sandbox.now() + seconds,
            }
        )

    assert refused.value.param == "expires_at"


def test_a_session_saves_a_card(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    customer = v1.customers.create()
    session = v1.checkout.sessions.create(
        {
            "mode": "setup",
            "currency": "usd",
            "customer": customer.id,
            "success_url": "https://shop.test",
        }
    )

    done = paid(stripe_sandbox, session.id)

    assert (done["status"], done["payment_status"]) == ("complete", "no_payment_required")
    assert len(v1.customers.payment_methods.list(customer.id).data) == 1


def test_prices_of_products_are_sold(stripe_sandbox: StripeSandbox) -> None:
    v1 = stripe_sandbox.v1
    product = v1.products.create(
        {"name": "Tea", "default_price_data": {"currency": "usd", "unit_amount": 500}}
    )
    price = v1.prices.create({"product": product.id, "currency": "usd", "unit_amount": 700})

    link = new_link(stripe_sandbox, line_items=[{"price": price.id, "quantity": 3}])

    assert link.line_items.data[0].amount_total == 2100
    assert [one.unit_amount for one in v1.prices.list({"product": product.id}).data] == [700, 500]
    assert v1.products.retrieve(product.id).default_price is not None


def test_parts_of_a_cent_add_up(stripe_sandbox: StripeSandbox) -> None:
    price = {
        "currency": "usd",
        "unit_amount_decimal": "12.5",
        "product_data": {"name": "Screw"},
    }

    link = new_link(stripe_sandbox, line_items=[{"price_data": price, "quantity": 10}])

    (item,) = link.line_items.data
    assert item.amount_total == 125
    assert (item.price.unit_amount, str(item.price.unit_amount_decimal)) == (None, "12.5")


def test_less_than_the_least_amount_is_not_sold(stripe_sandbox: StripeSandbox) -> None:
    price = {"currency": "usd", "unit_amount": 5, "product_data": {"name": "Screw"}}
    asked = {
        "success_url": "https://shop.test",
        "line_items": [{"price_data": price, "quantity": 1}],
    }

    with pytest.raises(stripe.InvalidRequestError) as refused:
        stripe_sandbox.v1.checkout.sessions.create(asked)

    assert refused.value.code == "amount_too_small"
    assert stripe_sandbox.sandbox.store.find("product") == []
