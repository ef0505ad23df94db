"""The payer's own page, and the cashier who watches it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browser import NewContext
from tests.support.play_account import INSUFFICIENT, NEEDS_3DS, PlayAccount
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, fields_of, open_account, type_card

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


def make_link(page: Page, digits: str = "2500") -> str:
    """The address of a new link, on the cashier's page."""
    expect(page.locator("#amount")).to_be_focused()
    page.keyboard.type(digits)
    page.keyboard.press("Alt+5")
    expect(page.locator("#send_to")).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#pay-link")).to_be_visible()
    return page.locator("#pay-link").inner_text()


def test_a_payer_pays_on_their_phone_while_the_cashier_watches(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    till = pay.till(context)
    address = make_link(till)
    expect(till.locator(".outcome h1")).to_have_text("Waiting for the payer")
    expect(till.locator(".qr svg")).to_be_visible()
    phone = new_context(**PHONE).new_page()

    answer = phone.goto(address)

    assert answer is not None
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    expect(phone.locator("h1")).to_contain_text("€25.00")
    type_card(phone)
    # The intent takes cards only, so no other way is offered.
    expect(fields_of(phone).get_by_role("radio")).to_have_count(0)
    phone.get_by_role("button", name="Pay €25.00").click()
    expect(phone.locator(".outcome")).to_contain_text("Paid. Thank you.")
    expect(till.locator(".outcome h1")).to_have_text("Paid")
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [25_00]
    assert pay.attempts()[-1] == ("link", "succeeded")


def test_a_payer_answers_their_bank(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    till = pay.till(context)
    address = make_link(till, "3300")
    payer = new_context().new_page()
    payer.goto(address)
    type_card(payer, NEEDS_3DS)

    payer.get_by_role("button", name="Pay €33.00").click()
    bank = payer.frame_locator("dialog iframe")
    bank.get_by_role("button", name=re.compile("Approve|Confirm|Complete", re.IGNORECASE)).click()

    expect(payer.locator(".outcome")).to_contain_text("Paid. Thank you.")
    expect(till.locator(".outcome h1")).to_have_text("Paid")


def test_a_declined_payer_is_told_and_pays_with_another_card(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    till = pay.till(context)
    payer = new_context().new_page()
    payer.goto(make_link(till, "4400"))
    type_card(payer, INSUFFICIENT)

    payer.get_by_role("button", name="Pay €44.00").click()

    expect(payer.locator("[data-why]")).to_be_visible()
    assert pay.sandbox.taken() == []
    fields = fields_of(payer)
    fields.locator("[name=number]").fill("4242424242424242")
    payer.get_by_role("button", name="Pay €44.00").click()
    expect(payer.locator(".outcome")).to_contain_text("Paid. Thank you.")
    assert len(pay.sandbox.taken()) == 1


def test_a_link_that_was_given_up_takes_nothing(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    till = pay.till(context)
    address = make_link(till, "5500")
    payer = new_context().new_page()
    payer.goto(address)
    type_card(payer)

    till.get_by_role("button", name="Cancel the payment").click()
    expect(till.locator(".outcome h1")).to_have_text("Cancelled")
    payer.get_by_role("button", name="Pay €55.00").click()

    expect(payer.locator("[data-why]")).to_be_visible()
    payer.goto(address)
    expect(payer.locator(".outcome")).to_contain_text("not good any more")
    assert pay.sandbox.taken() == []


def test_a_link_speaks_the_payers_language(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    address = make_link(pay.till(context), "6600")
    payer = new_context(locale="fr-FR").new_page()

    payer.goto(address)

    expect(payer.get_by_role("button", name="Payer 66,00")).to_be_visible()
    expect(fields_of(payer).get_by_label("Numéro de carte")).to_be_visible()


def test_an_address_that_somebody_made_up_leads_to_nothing(pay: PaySite, page: Page) -> None:
    answer = page.goto(f"{pay.address}/pay/att_01m84zyxb9f52bcc928xnc5b6b.Zm9v")

    assert answer is not None
    assert answer.status == 404
    expect(page.locator(".outcome")).to_contain_text("no payment behind this link")
