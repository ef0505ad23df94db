"""The form with its five ways to pay, items, customers and fields; and what a payment's page offers to whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import insert

from control_plane.accounts.permissions import Role
from control_plane.customers.models import CUSTOMERS
from control_plane.till.models import FIELDS, ITEMS, PRESETS, SETTINGS, TAXES
from control_plane.till.values import CheckPolicy, Colour, FieldKind, TaxMode
from control_plane.virtual_terminal.models import ACCOUNTS
from tests.support.browser import NewContext
from tests.support.play_account import PlayAccount
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, open_account, type_card

CUSTOMER = "cst_01m84zyxb9f52bcc928xnc5b6b"


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


@pytest.fixture(scope="module")
def stocked(site: LiveSite) -> LiveSite:
    """The shop sells three things with tax, knows a customer, and wants to know the table."""
    merchant = {"merchant_id": site.shop.merchant_id}
    now = site.parts.clock.now()
    with site.parts.database.connection() as db:
        db.execute(
            insert(TAXES).values(
                id="tax_vat", name="VAT", percent=Decimal(20), mode=TaxMode.ADDED, position=1,
                active=True, **merchant,
            )
        )  # fmt: skip
        for key, (name, price, colour) in enumerate(
            (("Bouquet", 24_00, Colour.PINK), ("Vase", 18_50, Colour.BLUE)), start=1
        ):
            db.execute(
                insert(ITEMS).values(
                    id=f"itm_{key}", name=name, price_minor=price, currency="EUR",
                    tax_id="tax_vat", code=f"A{key}", quick_key=key, colour=colour, active=True,
                    updated_at=now, **merchant,
                )
            )  # fmt: skip
        db.execute(
            insert(PRESETS).values(
                id="pre_1", name="Deposit", amount_minor=50_00, currency="EUR", reference="DEP",
                note="", method="keyed", quick_key=1, position=1, **merchant,
            )
        )  # fmt: skip
        db.execute(
            insert(SETTINGS).values(
                currencies=[], tip_percents=["5", "10"], tips_when_keyed=True, refund_limits={},
                charge_limits={}, address_check=CheckPolicy.ACCEPT,
                postal_code_check=CheckPolicy.ASK, cvc_check=CheckPolicy.BLOCK, moto=False,
                duplicate_minutes=10, capture_later=False, link_hours=72, updated_at=now,
                **merchant,
            )
        )  # fmt: skip
        db.execute(
            insert(FIELDS).values(
                id="fld_1", key="table", label_en="Table", label_fr="Table", kind=FieldKind.TEXT,
                required_for=["link"], choices=[], pattern="", searchable=True, position=1,
                active=True, **merchant,
            )
        )  # fmt: skip
        db.execute(
            insert(CUSTOMERS).values(
                id=CUSTOMER, name="Léa Marchand", email="lea@example.com", phone="", company="",
                address={}, note="", created_at=now, updated_at=now, used_at=now, **merchant,
            )
        )  # fmt: skip
    return site


def test_items_taxes_and_a_tip_make_the_total_that_is_charged(
    stocked: LiveSite, pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)

    page.get_by_role("button", name="Bouquet").click()
    expect(page.locator("[data-amount-echo]")).to_have_text("€28.80")
    page.get_by_role("button", name="One Bouquet more").click()
    expect(page.locator("[data-amount-echo]")).to_have_text("€57.60")
    page.get_by_role("combobox", name="Find an item").fill("vase")
    page.keyboard.press("Enter")
    expect(page.locator("[data-amount-echo]")).to_have_text("€79.80")
    expect(page.get_by_role("combobox", name="Find an item")).to_have_value("")
    assert pay.payments() == []
    page.get_by_role("radio", name="10%").click(force=True)
    expect(page.locator(".bill-sum .all").last).to_have_text("€87.78")
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    type_card(page)
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome .sum")).to_have_text("€87.78")
    expect(page.locator(".outcome h1")).to_have_text("Paid")
    expect(page.locator(".facts")).to_contain_text("€7.98")
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [87_78]


def test_a_preset_fills_the_form_with_one_key(
    stocked: LiveSite, pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)

    page.keyboard.press("F1")

    expect(page.locator("#amount")).to_have_value("50.00")
    expect(page.locator("[name=method]:checked")).to_have_attribute("value", "keyed")
    expect(page.locator("#reference")).to_have_value("DEP")


def test_a_field_that_is_needed_is_asked_for_and_nothing_is_begun(
    stocked: LiveSite, pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    page.keyboard.type("1200")
    page.keyboard.press("Alt+5")
    expect(page.locator("#send_to")).to_be_visible()

    page.keyboard.press("Control+Enter")

    expect(page.locator("#field-table-said")).to_have_text("Write Table.")
    expect(page.locator("#own-table")).to_be_focused()
    assert pay.payments() == []
    page.keyboard.type("12")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#pay-link")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("12")


def test_a_customer_is_found_and_chosen_by_keys(
    stocked: LiveSite, pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    page.locator("#amount").blur()

    page.keyboard.press("/")
    expect(page.locator("#who")).to_be_focused()
    page.keyboard.type("nobody")
    expect(page.locator("#who-found")).to_contain_text("Nobody is found")
    page.fill("#who", "")
    expect(page.locator("#who-found [data-customer]")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#who")).to_have_attribute("aria-activedescendant", f"pick-{CUSTOMER}")
    page.keyboard.press("Enter")

    expect(page.locator("[data-chosen] [data-name]")).to_have_text("Léa Marchand")
    expect(page.locator("[name=customer]")).to_have_value(CUSTOMER)
    expect(page.locator("[data-forget]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("[name=customer]")).to_have_value("")
    expect(page.locator("#who")).to_be_focused()


def test_a_sale_with_a_customer_on_our_own_reader_is_a_payment(
    stocked: LiveSite, pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context, query=f"customer={CUSTOMER}")
    expect(page.locator("[data-chosen] [data-name]")).to_have_text("Léa Marchand")
    page.keyboard.type("3100")

    page.keyboard.press("Control+Enter")

    expect(page).to_have_url(re.compile(r"/pos/pay_\w+$"))
    expect(page.locator(".outcome h1")).to_have_text("Paid")
    expect(page.locator(".facts")).to_contain_text("Léa Marchand")
    expect(page.locator(".receipt")).to_contain_text("Visa •••• 4242")
    assert pay.attempts() == [("reader", "succeeded")]
    assert pay.sandbox.taken() == []


def test_a_sale_on_our_own_reader_within_a_payment_is_cancelled_by_escape(
    stocked: LiveSite, pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context, query=f"customer={CUSTOMER}")
    page.keyboard.type("3199")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".call")).to_have_text("Ask the customer to tap, insert or swipe the card.")
    address = page.url
    page.goto(f"{pay.address}/pos")
    expect(page).to_have_url(address)

    page.keyboard.press("Escape")

    expect(page.locator(".outcome")).to_be_visible()
    expect(page.locator(".rung").first).to_be_visible()
    assert pay.payments() == ["open"]


def test_ways_to_pay_without_an_account_say_who_can_connect_one(
    pay: PaySite, context: BrowserContext
) -> None:
    with pay.site.parts.database.connection() as db:
        db.execute(ACCOUNTS.delete())
    page = pay.till(context)

    page.keyboard.press("Alt+2")

    expect(page.locator("#method")).to_contain_text("No Stripe account is connected.")
    expect(page.locator("#method")).to_contain_text("An owner can connect one")


@pytest.mark.parametrize(
    ("moto", "sentence"),
    [
        (True, "Telephone or mail order (MOTO)"),
        (False, "Telephone orders (MOTO) are not enabled."),
        (None, "Stripe has not been asked yet."),
    ],
)
def test_whether_telephone_orders_are_enabled_is_said(
    site: LiveSite, sandbox: PlayAccount, context: BrowserContext, moto: bool | None, sentence: str
) -> None:
    pay = open_account(site, sandbox, moto=moto)
    page = pay.till(context)

    page.keyboard.press("Alt+2")

    expect(page.locator("#method")).to_contain_text(sentence)
    expect(page.locator("[name=moto]")).to_have_count(1 if moto else 0)


def test_money_is_held_by_a_cashier_and_taken_by_an_owner(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    page = pay.till(context)
    page.keyboard.type("2600")
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    page.locator("details.more summary").click()
    page.check("[name=later]")
    type_card(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text("Held")
    expect(page.get_by_role("button", name="Take the money")).to_have_count(0)
    expect(page.locator("#pay-live")).to_contain_text("a manager or an owner")

    owner = new_context()
    pay.site.sign_in(owner, Role.OWNER)
    other = owner.new_page()
    other.goto(page.url)
    other.keyboard.press("Control+Enter")

    expect(other.locator(".outcome h1")).to_have_text("Paid")
    expect(page.locator(".outcome h1")).to_have_text("Paid")


def test_the_keys_are_listed(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)
    page.locator("#amount").blur()

    page.keyboard.press("?")

    for label in ("Keyed card", "Payment link", "Reader Counter 1", "Find a customer"):
        expect(page.locator("#keys-list dt", has_text=label)).to_have_count(1)


def test_axe_finds_nothing_with_items_and_links(
    stocked: LiveSite,
    pay: PaySite,
    new_context: NewContext,
    accessibility_violations: Callable[[Page], list[str]],
) -> None:
    page = pay.till(new_context(reduced_motion="reduce"), role=Role.OWNER)
    page.get_by_role("button", name="Bouquet").click()
    expect(page.locator(".bill-sum")).to_be_visible()
    violations = accessibility_violations(page)
    for key in ("Alt+3", "Alt+4", "Alt+5"):
        page.keyboard.press(key)
        expect(page.locator("#method .panel")).to_be_visible()
        violations += accessibility_violations(page)

    assert violations == []
