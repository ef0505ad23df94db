"""Keyed cards: what is typed goes to the provider and nowhere else."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.support.play_account import PlayAccount
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, open_account, type_card


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


def test_a_card_is_charged_by_keys_alone(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)
    expect(page.locator("#amount")).to_be_focused()
    page.keyboard.type("4500")
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    type_card(page)
    page.locator("#holder").focus()
    page.keyboard.type("Ada Lovelace")

    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    expect(page.locator(".outcome .sum")).to_have_text("€45.00")
    expect(page.locator(".outcome")).to_contain_text("Visa •••• 4242")
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [45_00]
