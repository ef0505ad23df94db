"""Taking a payment in a browser, from the first key to the receipt."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import func, select

from control_plane.accounts.permissions import Role
from control_plane.payments.models import SESSIONS
from tests.support.browser import NewContext
from tests.web.acted_shop import CASHIER, PASSWORD
from tests.web.live_site import LiveSite

RUNNING = re.compile(r"/pos/ts_\w+$")


@pytest.fixture
def till(site: LiveSite, context: BrowserContext) -> Page:
    """The cashier's page, signed in."""
    site.shop.pace_s = 0.0
    site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    page.goto(f"{site.address}/pos?new=1")
    return page


def count_sessions(site: LiveSite) -> int:
    with site.parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(SESSIONS)).scalar_one()


def sell(page: Page, digits: str, reader: int = 1) -> None:
    """Only keys: the amount has the focus."""
    expect(page.locator("#amount")).to_be_focused()
    page.keyboard.type(digits)
    page.keyboard.press(f"Alt+Shift+{reader}")
    page.keyboard.press("Control+Enter")
    expect(page).to_have_url(RUNNING)


def test_a_cashier_signs_in_and_lands_at_the_till(site: LiveSite, page: Page) -> None:
    page.goto(f"{site.address}/pos")

    page.keyboard.type(CASHIER)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{site.address}/pos")
    expect(page.locator("#amount")).to_be_focused()


def test_a_wrong_password_is_said_in_words_and_keeps_the_address(
    site: LiveSite, page: Page
) -> None:
    page.goto(f"{site.address}/sign-in")

    page.fill("#email", CASHIER)
    page.fill("#password", "wrong")
    page.keyboard.press("Enter")

    expect(page.get_by_role("alert")).to_contain_text("do not match")
    expect(page.locator("#email")).to_have_value(CASHIER)


def test_a_sale_is_charged_by_keys_alone_and_approved(till: Page) -> None:
    sell(till, "1234")

    expect(till.locator(".outcome h1")).to_have_text("Approved")
    expect(till.locator(".outcome .sum")).to_have_text("€12.34")
    expect(till.locator(".receipt")).to_contain_text("042817")
    expect(till.locator(".receipt")).to_contain_text("Visa •••• 4242")

    expect(till.get_by_role("link", name="New sale")).to_be_focused()
    till.keyboard.press("Enter")

    expect(till.locator("#amount")).to_be_focused()
    expect(till.locator("#amount")).to_have_value("")
    expect(till.locator("#recent li").first).to_contain_text("€12.34")


def test_each_step_is_seen_as_it_happens(site: LiveSite, till: Page) -> None:
    site.shop.pace_s = 0.4
    seen: list[str] = []

    def note(text: str) -> None:
        seen.append(text)

    till.expose_function("noteCall", note)
    till.evaluate(
        """() => new MutationObserver(() => noteCall(document.querySelector('.call')?.textContent ?? ''))
             .observe(document.querySelector('#till'), {subtree: true, childList: true, characterData: true})"""
    )

    sell(till, "700")

    expect(till.locator(".outcome h1")).to_have_text("Approved")
    steps = list(dict.fromkeys(seen))
    order = [
        "The reader has the amount.",
        "Ask the customer to tap, insert or swipe the card.",
        "The card is being read.",
        "The bank is being asked.",
    ]
    assert [step for step in steps if step in order] == order


@pytest.mark.parametrize(
    ("keys", "shown"),
    [("5", "0.05"), ("12.5", "12.5"), ("12,50", "12.50"), ("100", "1.00"), ("7.", "7.")],
)
def test_digits_fill_from_the_right_until_a_separator_is_typed(
    till: Page, keys: str, shown: str
) -> None:
    till.keyboard.type(keys)

    expect(till.locator("#amount")).to_have_value(shown)


def test_a_digit_too_much_is_taken_back(till: Page) -> None:
    till.keyboard.type("12345")
    till.keyboard.press("Backspace")

    expect(till.locator("#amount")).to_have_value("12.34")
    expect(till.locator("[data-amount-echo]")).to_have_text("€12.34")


def test_a_currency_without_cents_has_none(till: Page) -> None:
    till.keyboard.type("1500")
    till.select_option("[name=currency]", "JPY")
    expect(till.locator("#amount")).to_have_value("15")

    till.locator("#amount").focus()
    till.keyboard.press("End")
    till.keyboard.type("00")

    expect(till.locator("#amount")).to_have_value("1500")
    expect(till.locator("[data-amount-echo]")).to_have_text("JP¥1,500")


def test_a_decline_says_why_and_what_to_do(till: Page) -> None:
    sell(till, "2051")

    expect(till.locator(".outcome h1")).to_have_text("Declined")
    expect(till.locator(".outcome")).to_contain_text("There is not enough money on the account.")
    expect(till.locator(".outcome")).to_contain_text("Ask for another card")
    expect(till.locator(".receipt")).to_have_count(0)

    till.keyboard.press("t")

    expect(till.locator("#amount")).to_have_value("20.51")


def test_escape_cancels_a_sale_that_waits_for_its_card(till: Page) -> None:
    sell(till, "1099")
    expect(till.locator(".call")).to_have_text("Ask the customer to tap, insert or swipe the card.")
    expect(till.locator("count-down")).to_have_text(re.compile(r"^(60|59|58) s$"))

    till.keyboard.press("Escape")

    expect(till.locator(".outcome h1")).to_have_text("Cancelled")
    expect(till.locator(".outcome")).to_contain_text("No money moved.")


def test_an_answer_that_was_lost_is_never_guessed(site: LiveSite, till: Page) -> None:
    sell(till, "3077", reader=2)

    expect(till.locator(".call")).to_have_text("We are asking the reader. Do not charge again.")
    expect(till.get_by_role("button", name="Cancel the sale")).to_have_count(0)

    site.shop.go_on()

    expect(till.locator(".outcome h1")).to_have_text("Approved")
    expect(till.locator("#till")).to_contain_text("the reader repeated its last receipt")
    expect(till.locator("#till")).to_contain_text("last receipt 117 shows this amount approved")


def test_a_reader_that_is_taken_is_named_and_nothing_is_started(site: LiveSite, till: Page) -> None:
    sell(till, "4099")
    expect(till.locator(".call")).to_contain_text("Ask the customer")
    before = count_sessions(site)

    second = till.context.new_page()
    second.goto(f"{site.address}/pos?new=1")
    second.keyboard.type("500")
    second.keyboard.press("Alt+Shift+1")
    second.keyboard.press("Control+Enter")

    expect(second.locator("#reader-why")).to_contain_text("Another payment is running on Counter 1")
    expect(second.locator("#amount")).to_have_value("5.00")
    assert count_sessions(site) == before
    till.keyboard.press("Escape")
    expect(till.locator(".outcome h1")).to_have_text("Cancelled")


def test_an_amount_that_is_none_is_said_at_its_field(site: LiveSite, till: Page) -> None:
    before = count_sessions(site)

    till.evaluate("localStorage.setItem('omnitill.fill', 'left')")
    till.keyboard.type("12.345")
    till.keyboard.press("Alt+Shift+1")
    till.keyboard.press("Control+Enter")

    expect(till.locator("#amount-why")).to_have_text("Write the amount like 12.34.")
    expect(till.locator("#amount")).to_have_attribute("aria-invalid", "true")
    assert count_sessions(site) == before


def test_a_closed_tab_comes_back_to_its_sale(site: LiveSite, till: Page) -> None:
    sell(till, "6099")
    expect(till.locator(".call")).to_contain_text("Ask the customer")
    address = till.url
    till.close()

    again = till.context.new_page()
    again.goto(f"{site.address}/pos")

    expect(again).to_have_url(address)
    expect(again.locator(".call")).to_contain_text("Ask the customer")
    again.keyboard.press("Escape")
    expect(again.locator(".outcome h1")).to_have_text("Cancelled")


def test_two_tabs_show_the_same_sale(site: LiveSite, till: Page) -> None:
    other = till.context.new_page()
    other.goto(f"{site.address}/pos?new=1")

    sell(till, "8800")

    expect(till.locator(".outcome h1")).to_have_text("Approved")
    expect(other.locator("#recent li").first).to_contain_text("€88.00")
    expect(other.locator("#recent li").first).to_contain_text("Approved")


def test_a_form_that_is_sent_twice_charges_once(site: LiveSite, till: Page) -> None:
    before = count_sessions(site)
    form = till.evaluate(
        """() => { const data = new FormData(document.querySelector('.till-form'));
                   data.set('amount', '3.00'); data.set('reader', 'rd_00000001');
                   return new URLSearchParams(data).toString(); }"""
    )

    answers = [
        till.request.post(
            f"{site.address}/pos",
            data=form,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            max_redirects=0,
        )
        for _ in range(3)
    ]

    assert {answer.status for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert count_sessions(site) == before + 1


def test_the_till_remembers_its_reader(site: LiveSite, till: Page) -> None:
    sell(till, "100", reader=2)
    expect(till.locator(".outcome h1")).to_have_text("Approved")

    till.goto(f"{site.address}/pos?new=1")

    expect(till.locator("input[name=reader]:checked")).to_have_attribute("value", "rd_00000002")


def test_a_new_till_charges_on_the_first_reader_that_is_ready(site: LiveSite, till: Page) -> None:
    site.shop.set_reader("Counter 1", "disconnected")
    till.reload()
    expect(till.locator("input[name=reader]:checked")).to_have_attribute("value", "rd_00000002")

    till.keyboard.type("12.34")
    site.shop.set_reader("Counter 1", "ready")
    expect(till.locator("#pick-rd_00000001")).to_contain_text("Ready")
    till.keyboard.press("Control+Enter")

    expect(till.locator(".outcome .sum")).to_have_text("€12.34")
    expect(till.locator("#till")).to_contain_text("Counter 2")


@pytest.mark.parametrize(
    ("locale", "sentence"), [("en-GB", "Choose a reader."), ("fr-FR", "Choisissez un lecteur.")]
)
def test_with_no_reader_ready_the_page_itself_asks_for_one(
    site: LiveSite, new_context: NewContext, locale: str, sentence: str
) -> None:
    for name in ("Counter 1", "Counter 2"):
        site.shop.set_reader(name, "disconnected")
    before = count_sessions(site)
    context = new_context(locale=locale)
    site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    page.goto(f"{site.address}/pos?new=1")

    page.keyboard.type("12.34")
    expect(page.locator("input[name=reader]:checked")).to_have_count(0)
    page.keyboard.press("Control+Enter")

    expect(page.locator("#reader-why")).to_have_text(sentence)
    expect(page.locator("input[value=rd_00000001]")).to_be_focused()
    assert count_sessions(site) == before
    for name in ("Counter 1", "Counter 2"):
        site.shop.set_reader(name, "ready")


def test_the_page_works_without_scripts(site: LiveSite, new_context: NewContext) -> None:
    context = new_context(java_script_enabled=False)
    site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    page.goto(f"{site.address}/pos?new=1")

    page.fill("#amount", "12.34")
    page.check("input[value=rd_00000001]", force=True)
    page.get_by_role("button", name="Charge").click()

    expect(page).to_have_url(RUNNING)
    expect(page.locator("#till")).to_contain_text("€12.34")


def test_the_till_speaks_french(site: LiveSite, new_context: NewContext) -> None:
    context = new_context(locale="fr-FR")
    site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    page.goto(f"{site.address}/pos?new=1")

    page.keyboard.type("1251")
    expect(page.locator("#amount")).to_have_value("12,51")
    page.keyboard.press("Alt+Shift+1")
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Refusé")
    expect(page.locator(".outcome")).to_contain_text("Il n’y a pas assez d’argent sur le compte.")
    expect(page.locator(".outcome .sum")).to_have_text("12,51\u00a0€")
