"""The sandbox's own pages: a payment link, its Checkout, a receipt, and readers with a person as the customer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.stripe_sandbox import SandboxServer, sandbox_server

ADDRESS: Any = {
    "country": "US",
    "line1": "1 Main Street",
    "city": "San Francisco",
    "state": "CA",
    "postal_code": "94107",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with sandbox_server() as running:
        yield running


def link(sandbox: SandboxServer, **more: Any) -> str:  # Any: parameters of the SDK
    params: Any = {
        "line_items": [
            {
                "quantity": 2,
                "price_data": {
                    "currency": "usd",
                    "unit_amount": 600,
                    "product_data": {"name": "Tea"},
                },
            }
        ],
        **more,
    }
    return sandbox.client().v1.payment_links.create(params).url


def type_card(page: Page, number: str) -> None:
    fields = page.frame_locator("#fields iframe")
    for label, text in (
        ("Card number", number),
        ("Expiry date", "1230"),
        ("Security code", "123"),
    ):
        fields.get_by_label(label).fill("")
        fields.get_by_label(label).press_sequentially(text)
    fields.get_by_label("Country").select_option("US")
    fields.get_by_label("ZIP code").fill("94107")


def test_a_link_is_paid_after_a_first_card_was_declined(
    page: Page, sandbox: SandboxServer, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    page.goto(link(sandbox))
    expect(page.get_by_role("heading", name="Pay Sandbox Shop")).to_be_visible()
    assert accessibility_violations(page) == []
    pay = page.get_by_role("button", name="Pay $12.00 usd")
    expect(pay).to_be_enabled()
    page.get_by_label("E-mail").fill("sam@example.com")
    type_card(page, "4000000000009995")
    pay.click()
    expect(page.get_by_role("alert")).to_have_text("Your card has insufficient funds.")

    type_card(page, "4242424242424242")
    pay.click()

    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    (session,) = sandbox.client().v1.checkout.sessions.list({"limit": 1}).data
    assert (session.status, session.payment_status, session.amount_total) == (
        "complete",
        "paid",
        1200,
    )
    intents = sandbox.client().v1.payment_intents.list({"limit": 100}).data
    assert [one.status for one in intents if one.id == session.payment_intent] == ["succeeded"]


def test_a_link_asks_the_bank_and_the_merchants_own_questions(
    page: Page, sandbox: SandboxServer
) -> None:
    asked = [{"key": "room", "label": {"type": "custom", "custom": "Room"}, "type": "text"}]
    page.goto(link(sandbox, custom_fields=asked))
    page.get_by_label("E-mail").fill("sam@example.com")
    page.get_by_label("Room").fill("12b")
    pay = page.get_by_role("button", name="Pay $12.00 usd")
    expect(pay).to_be_enabled()
    type_card(page, "4000002760003184")
    pay.click()

    page.frame_locator("dialog iframe").get_by_role("button", name="Complete").click()

    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    (session,) = sandbox.client().v1.checkout.sessions.list({"limit": 1}).data
    assert session.custom_fields[0].text is not None
    assert session.custom_fields[0].text.value == "12b"


def test_a_link_that_is_switched_off_takes_no_money(page: Page, sandbox: SandboxServer) -> None:
    address = link(sandbox)
    identifier = address.rpartition("/")[2]
    sandbox.client().v1.payment_links.update(identifier, {"active": False})

    page.goto(address)

    expect(page.get_by_role("heading", name="takes no more payments")).to_be_visible()
    expect(page.locator("form")).to_have_count(0)


def test_a_receipt_shows_what_was_paid(
    page: Page, sandbox: SandboxServer, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    paid = sandbox.client().v1.payment_intents.create(
        {
            "amount": 1234,
            "currency": "usd",
            "confirm": True,
            "payment_method": "pm_card_visa",
            "allowed_payment_method_types": ["card"],
            "expand": ["latest_charge"],
        }
    )

    page.goto(paid["latest_charge"]["receipt_url"])

    expect(page.get_by_text("$12.34 usd")).to_be_visible()
    expect(page.get_by_text("visa •••• 4242")).to_be_visible()
    assert accessibility_violations(page) == []


def test_a_redirect_to_the_bank_leads_back_with_the_outcome(
    page: Page, sandbox: SandboxServer
) -> None:
    intent = sandbox.client().v1.payment_intents.create(
        {
            "amount": 1234,
            "currency": "usd",
            "confirm": True,
            "payment_method": "pm_card_authenticationRequired",
            "allowed_payment_method_types": ["card"],
            "return_url": f"{sandbox.url}/_sandbox/?order=7",
        }
    )
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None

    page.goto(str(intent.next_action.redirect_to_url.url))
    page.get_by_role("button", name="Fail").click()
    page.wait_for_url("**/_sandbox/?**")

    assert "order=7" in page.url
    assert f"payment_intent={intent.id}" in page.url
    assert "redirect_status=failed" in page.url


def test_small_deposits_are_checked_on_the_hosted_page(page: Page, sandbox: SandboxServer) -> None:
    intent = sandbox.client().v1.setup_intents.create(
        {
            "allowed_payment_method_types": ["us_bank_account"],
            "confirm": True,
            "payment_method_data": {
                "type": "us_bank_account",
                "billing_details": {"name": "Sam"},
                "us_bank_account": {
                    "account_number": "000123456789",
                    "routing_number": "110000000",
                    "account_holder_type": "individual",
                },
            },
            "mandate_data": {"customer_acceptance": {"type": "offline", "offline": {}}},
        }
    )
    assert intent.next_action is not None
    assert intent.next_action.verify_with_microdeposits is not None
    page.goto(intent.next_action.verify_with_microdeposits.hosted_verification_url)

    page.get_by_label("Code").fill("SM11AB")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status")).to_have_class("bad")
    page.get_by_label("Code").fill("SM11AA")
    page.get_by_role("button", name="Check").click()

    expect(page.get_by_role("status")).to_have_text("Done. You can close this page.")
    assert sandbox.client().v1.setup_intents.retrieve(intent.id).status == "succeeded"


def test_a_person_presents_a_card_to_a_reader(
    page: Page, sandbox: SandboxServer, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    api = sandbox.client().v1
    location = api.terminal.locations.create({"display_name": "Shop", "address": ADDRESS})
    reader = api.terminal.readers.create(
        {"registration_code": "simulated-s700", "location": location.id, "label": "Counter 3"}
    )
    page.goto(f"{sandbox.url}/_sandbox/")
    counter = page.get_by_role("region", name="Counter 3")
    expect(counter.get_by_role("button", name="Present card")).to_be_disabled()
    intent = api.payment_intents.create(
        {"amount": 1200, "currency": "usd", "allowed_payment_method_types": ["card_present"]}
    )
    api.terminal.readers.process_payment_intent(reader.id, {"payment_intent": intent.id})
    expect(counter.get_by_text("$12.00")).to_be_visible()
    assert accessibility_violations(page) == []

    counter.get_by_role("button", name="Present card").click()

    expect(counter.get_by_text("process payment intent: succeeded")).to_be_visible()
    assert api.payment_intents.retrieve(intent.id).status == "succeeded"
    before = sandbox.sandbox.now()
    with page.expect_response("**/clock/advance"):
        page.get_by_role("button", name="A day later").click()
    assert sandbox.sandbox.now() - before >= 86_400
