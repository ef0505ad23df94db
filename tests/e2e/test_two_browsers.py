"""Two windows charge at the same moment: the same form, or two forms of one order. There is one charge."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from control_plane.accounts.permissions import Role
from tests.support.browser import NewContext
from tests.support.play_account import PlayAccount
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, open_account, type_card

SEND = "() => document.querySelector('.till-form').requestSubmit()"


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


def prepared(pay: PaySite, new_context: NewContext, amount: str, order: str) -> Page:
    """A window in which only Charge is left to be pressed."""
    page = pay.till(new_context())
    page.keyboard.type(amount)
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    page.locator("details.more summary").click()
    page.fill("#reference", order)
    type_card(page)
    return page


def meet(*pages: Page) -> list[Route]:
    """From now on what these windows send waits; the list fills as it arrives."""
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    for page in pages:
        page.route("**/pos/payments", hold)
    return waiting


def let_go(pages: list[Page], waiting: list[Route]) -> None:
    """Once each window has sent its wish, let all of them go on together."""
    for page in pages:
        with page.expect_request("**/pos/payments"):
            page.evaluate(SEND)
    for page in pages:
        page.wait_for_function("document.querySelector('[data-said]').textContent !== ''")
    assert len(waiting) == len(pages)
    for route in waiting:
        route.continue_()


def test_the_same_form_in_two_windows_is_charged_once(
    pay: PaySite, new_context: NewContext
) -> None:
    first = prepared(pay, new_context, "5100", "A-1")
    second = prepared(pay, new_context, "5100", "A-1")
    key = first.locator("[name=key]").get_attribute("value")
    second.evaluate("key => { document.querySelector('[name=key]').value = key; }", key)

    let_go([first, second], meet(first, second))

    expect(first.locator(".outcome h1")).to_have_text("Paid")
    expect(second.locator(".outcome h1")).to_have_text("Paid")
    assert first.url == second.url
    assert len(pay.sandbox.taken()) == 1
    assert pay.payments() == ["paid"]


def test_one_order_in_two_forms_is_charged_once_and_asked_about(
    pay: PaySite, new_context: NewContext
) -> None:
    pages = [prepared(pay, new_context, "5200", "A-2") for _ in range(2)]

    let_go(pages, meet(*pages))

    for page in pages:
        expect(page.locator("dialog.duplicate[open], .outcome h1")).to_be_visible()
    asked = [page for page in pages if page.locator("dialog.duplicate[open]").count()]
    assert len(asked) == 1
    assert len(pay.sandbox.taken()) == 1
    expect(asked[0].locator("dialog.duplicate")).to_contain_text(
        "€52.00 was charged to Visa •••• 4242"
    )
    expect(asked[0].get_by_role("button", name="Do not charge")).to_be_focused()
    asked[0].keyboard.press("Escape")
    expect(asked[0].locator("dialog.duplicate")).to_be_hidden()
    assert len(pay.sandbox.taken()) == 1


def test_who_means_it_charges_again(pay: PaySite, new_context: NewContext) -> None:
    first = prepared(pay, new_context, "5300", "A-3")
    first.evaluate(SEND)
    expect(first.locator(".outcome h1")).to_have_text("Paid")
    second = prepared(pay, new_context, "5300", "A-3")
    second.evaluate(SEND)
    expect(second.locator("dialog.duplicate")).to_be_visible()
    assert len(pay.sandbox.taken()) == 1

    second.get_by_role("button", name="Charge again").click()

    expect(second.locator(".outcome h1")).to_have_text("Paid")
    assert len(pay.sandbox.taken()) == 2


def test_two_windows_on_one_declined_payment_charge_it_once(
    pay: PaySite, new_context: NewContext
) -> None:
    first = pay.till(new_context())
    first.keyboard.type("5400")
    first.keyboard.press("Alt+2")
    expect(first.locator("card-fields[data-ready]")).to_be_visible()
    type_card(first, "4000000000000002")
    first.evaluate(SEND)
    expect(first.locator(".outcome h1")).to_have_text("Declined")
    context = new_context()
    pay.site.sign_in(context, Role.CASHIER)
    second = context.new_page()
    second.goto(first.url)
    for page in (first, second):
        page.get_by_role("link", name="Type a card").click()
        expect(page.locator("card-fields[data-ready]")).to_be_visible()
        type_card(page)

    for page in (first, second):
        page.evaluate(SEND)

    expect(first.locator(".outcome h1")).to_have_text("Paid")
    expect(second.locator(".outcome h1")).to_have_text("Paid")
    assert len(pay.sandbox.taken()) == 1
