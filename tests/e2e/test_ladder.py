"""From a refused card to money, on one page and with one charge."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.support.browser import NewContext
from tests.support.play_account import DECLINED, INSUFFICIENT, NEEDS_3DS, PlayAccount
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, open_account, type_card

# Several payments by several ways, one after the other.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


def key_in(page: Page, number: str, digits: str = "4500") -> None:
    """A keyed charge from an empty form."""
    expect(page.locator("#amount")).to_be_focused()
    page.keyboard.type(digits)
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    type_card(page, number)
    page.keyboard.press("Control+Enter")


def test_a_refused_card_leads_by_reader_and_link_to_one_charge(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    page = pay.till(context)
    key_in(page, DECLINED, "2051")
    expect(page.locator(".outcome h1")).to_have_text("Declined")
    address = page.url
    assert pay.attempts() == [("keyed", "declined")]

    page.get_by_role("link", name="Type a card").click()
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    if page.locator("[name=moto]").count():
        page.check("[name=moto]")
    type_card(page, INSUFFICIENT)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome")).to_contain_text("enough")

    page.get_by_role("link", name="Use a reader").click()
    page.check("input[value=rd_00000001]", force=True)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text("Declined")
    expect(page.locator(".outcome .sum")).to_have_text("€20.51")

    page.get_by_role("link", name="Send a link").click()
    expect(page.locator("#send_to")).to_be_visible()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#pay-link")).to_be_visible()
    payer = new_context().new_page()
    payer.goto(page.locator("#pay-link").inner_text())
    type_card(payer)
    payer.get_by_role("button", name="Pay €20.51").click()

    expect(payer.locator(".outcome")).to_contain_text("Paid. Thank you.")
    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert page.url == address
    assert pay.attempts() == [
        ("keyed", "declined"),
        ("keyed", "declined"),
        ("reader", "declined"),
        ("link", "succeeded"),
    ]
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [20_51]


def test_a_payer_who_is_here_answers_the_bank_at_the_till(
    site: LiveSite, sandbox: PlayAccount, context: BrowserContext
) -> None:
    pay = open_account(site, sandbox, moto=False)
    page = pay.till(context)
    key_in(page, NEEDS_3DS, "1700")
    expect(page.locator(".outcome h1")).to_have_text("The payer must confirm")

    page.keyboard.press("Enter")
    page.frame_locator("dialog iframe").locator("button").first.click()

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [17_00]


def test_a_payer_who_is_away_gets_a_link_instead(
    site: LiveSite, sandbox: PlayAccount, context: BrowserContext
) -> None:
    pay = open_account(site, sandbox, moto=False)
    page = pay.till(context)
    key_in(page, NEEDS_3DS, "1800")
    expect(page.locator(".outcome h1")).to_have_text("The payer must confirm")

    page.get_by_role("button", name="Another way to pay").click()
    page.get_by_role("link", name="Send a link").click()
    expect(page.locator("#send_to")).to_be_visible()
    page.keyboard.press("Control+Enter")

    expect(page.locator("#pay-link")).to_be_visible()
    assert pay.sandbox.taken() == []
