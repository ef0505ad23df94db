"""Customers as a cashier meets them: found while typing, a card kept with consent, charged again in two steps."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import func, select

from control_plane.accounts.permissions import Role
from control_plane.customers.models import CUSTOMERS, METHODS
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.worker import Worker
from control_plane.mail import mail_queue
from control_plane.mail.models import MAILBOX
from tests.support.browser import NewContext
from tests.support.play_account import DECLINED, NEEDS_3DS, VISA, PlayAccount
from tests.support.waiting import eventually
from tests.web.live_site import LiveSite, live_site
from tests.web.pay_site import PaySite, fields_of, open_account

Violations = Callable[[Page], list[str]]
FRENCH = {"locale": "fr-FR", "extra_http_headers": {"Accept-Language": "fr"}}


@pytest.fixture
def untouched_site(sqlite_template: Path, tmp_path: Path) -> Iterator[LiveSite]:
    """A shop that has no customer yet, whatever the tests beside this one do."""
    database = tmp_path / "site.sqlite3"
    shutil.copy(sqlite_template, database)
    with live_site(tmp_path, f"sqlite:///{database}") as running:
        yield running


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


@pytest.fixture
def working(site: LiveSite) -> Iterator[Worker]:
    """A worker that sends mail."""
    kinds = all_jobs()
    worker = Worker(
        site.parts, {name: kinds[name] for name in (mail_queue.SEND,)}, threads=1, poll_s=0.1
    )
    worker.start()
    yield worker
    worker.stop()


def add(page: Page, address: str, **filled: str) -> str:
    """Add a customer through the form; the address of their page."""
    page.goto(f"{address}/customers/new")
    for name, text in filled.items():
        page.fill(f"#{name}", text)
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(re.compile(r"/customers/cst_"))
    return page.url


def type_card(page: Page, number: str = VISA) -> None:
    """Into the provider's fields, as fingers do."""
    fields = fields_of(page)
    fields.locator("[name=country]").select_option("US")
    for name, text in (
        ("number", number), ("expiry", "1234"), ("cvc", "123"), ("postal_code", "10001"),
    ):  # fmt: skip
        fields.locator(f"[name={name}]").press_sequentially(text)


def count(site: LiveSite, table: object) -> int:
    with site.parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]  # a table


def test_a_customer_is_added_found_and_changed_with_the_keyboard(
    untouched_site: LiveSite, context: BrowserContext, accessibility_violations: Violations
) -> None:
    site = untouched_site
    site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    page.goto(f"{site.address}/customers")
    expect(page.locator(".empty")).to_contain_text("No customer yet.")
    assert accessibility_violations(page) == []
    page.locator("h1").click()
    page.keyboard.press("n")

    expect(page.locator("#name")).to_be_focused()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#name-why")).to_have_text("Write a name or a company.")
    assert accessibility_violations(page) == []
    assert count(site, CUSTOMERS) == 0
    page.keyboard.type("Jeanne-Marie Dupont")
    page.fill("#email", "jeanne@example.com")
    page.fill("#phone", "+33 6 12 34 56 78")
    page.keyboard.press("Control+Enter")
    expect(page.locator("h1")).to_have_text("Jeanne-Marie Dupont")
    assert accessibility_violations(page) == []

    add(page, site.address, company="Boulangerie Été")
    page.goto(f"{site.address}/customers")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("06 12")

    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Jeanne-Marie Dupont")
    expect(page).to_have_url(re.compile(r"q=06\+12"))
    expect(page.locator("#q")).to_be_focused()
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert accessibility_violations(page) == []

    page.locator("h1").click()
    page.keyboard.press("j")
    expect(page.locator("h1")).to_have_text("Jeanne-Marie Dupont")
    page.keyboard.press("e")
    page.fill("#note", "Rings twice.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".note-text")).to_have_text("Rings twice.")

    page.get_by_role("button", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive").click()
    expect(page.get_by_role("button", name="Bring back")).to_be_visible()
    page.goto(f"{site.address}/customers?q=zzz")
    expect(page.locator(".empty")).to_contain_text("Nobody is found by “zzz”.")


def test_a_card_is_kept_with_consent_and_charged_again_in_two_steps(
    pay: PaySite, context: BrowserContext, accessibility_violations: Violations
) -> None:
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    customer = add(page, pay.address, name="Léa Marchand", email="lea@example.com")
    page.locator("h1").click()
    page.keyboard.press("s")
    expect(page.locator("h1")).to_have_text("Save a card")
    fields_of(page)
    assert accessibility_violations(page) == []

    page.get_by_label("Léa Marchand agrees").check()
    type_card(page)
    page.get_by_role("button", name="Save").click()

    expect(page).to_have_url(customer)
    method = page.locator(".method")
    expect(method).to_contain_text("Visa •• 4242")
    method.locator("summary").click()
    expect(method).to_contain_text("I allow")
    assert pay.payments() == []
    assert accessibility_violations(page) == []

    page.fill("#amount", "45")
    page.fill("#reference", "A-1049")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Charge €45.00 to Visa •• 4242?")
    expect(page.get_by_role("button", name="Charge €45.00")).to_be_focused()
    assert accessibility_violations(page) == []
    assert pay.payments() == []

    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/pos/pay_"))
    expect(page.locator(".outcome")).to_contain_text("€45.00")
    assert pay.payments() == ["paid"]
    assert pay.attempts() == [("saved", "succeeded")]
    assert [one["amount"] for one in pay.sandbox.taken()] == [45_00]

    page.goto(customer)
    row = page.get_by_role("region", name="What they bought").locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("€45.00")
    expect(row).to_contain_text("A-1049")
    page.get_by_role("button", name="Remove Visa •• 4242").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".method")).to_have_count(0)
    expect(page.locator("#amount")).to_have_count(0)


def test_a_card_that_the_bank_refuses_is_not_kept_and_the_reason_is_told(
    pay: PaySite, context: BrowserContext, accessibility_violations: Violations
) -> None:
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    customer = add(page, pay.address, name="Marc Petit")
    page.goto(f"{customer}/methods/add")
    page.get_by_label("Marc Petit agrees").check()
    type_card(page, DECLINED)
    before = count(pay.site, METHODS)

    page.get_by_role("button", name="Save").click()

    expect(page.locator("[data-problem]")).not_to_be_empty()
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    assert accessibility_violations(page) == []
    assert count(pay.site, METHODS) == before


def test_a_payer_confirms_with_the_bank_before_a_card_is_kept(
    pay: PaySite, context: BrowserContext
) -> None:
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    customer = add(page, pay.address, name="Iris Blanc")
    page.goto(f"{customer}/methods/add")
    page.get_by_label("Iris Blanc agrees").check()
    type_card(page, NEEDS_3DS)
    before = count(pay.site, METHODS)

    page.get_by_role("button", name="Save").click()
    bank = page.frame_locator("dialog iframe")
    expect(bank.get_by_role("button", name="Complete")).to_be_visible()
    assert count(pay.site, METHODS) == before
    bank.get_by_role("button", name="Complete").click()

    expect(page).to_have_url(customer)
    expect(page.locator(".method")).to_have_count(1)
    assert count(pay.site, METHODS) == before + 1


def test_without_consent_the_form_is_not_sent(pay: PaySite, context: BrowserContext) -> None:
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    customer = add(page, pay.address, name="Nina Roux")
    page.goto(f"{customer}/methods/add")
    type_card(page)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))

    page.get_by_role("button", name="Save").click()

    expect(page.locator("[name=agreed]:invalid")).to_have_count(1)
    assert "POST" not in sent


def test_an_amount_that_is_none_is_asked_for_again(pay: PaySite, context: BrowserContext) -> None:
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    customer = add(page, pay.address, name="Paul Noir")

    page.goto(f"{customer}/charge?method=smt_x&amount=abc")
    expect(page.get_by_role("alert")).to_have_text("Write the amount like 12.34.")
    assert pay.payments() == []


def test_receipts_are_set_up_with_one_to_look_at(
    site: LiveSite, context: BrowserContext, accessibility_violations: Violations
) -> None:
    site.sign_in(context, Role.OWNER)
    page = context.new_page()
    page.goto(f"{site.address}/settings/receipts")
    preview = page.frame_locator("#receipt-preview")
    expect(preview.locator(".slip")).to_contain_text("Tarte Tatin")
    assert accessibility_violations(page) == []

    page.fill("#message", "Thank you, Ada!")
    page.get_by_label("Items", exact=True).uncheck()
    expect(preview.locator(".message")).to_have_text("Thank you, Ada!")
    expect(preview.locator(".slip")).not_to_contain_text("Tarte Tatin")
    page.select_option("#language", "fr")
    expect(preview.locator(".slip")).to_contain_text("Pourboire")

    page.fill("#reply_to", "nobody")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#reply_to-why")).to_contain_text("like name@example.com")
    expect(page.locator("#message")).to_have_value("Thank you, Ada!")
    page.fill("#reply_to", "shop@example.com")
    page.keyboard.press("Control+Enter")
    expect(page).to_have_url(re.compile("saved=1"))

    out = BytesIO()
    Image.new("RGB", (300, 100), (42, 59, 183)).save(out, "PNG")
    page.set_input_files(
        "#logo", {"name": "logo.png", "mimeType": "image/png", "buffer": out.getvalue()}
    )
    page.get_by_role("button", name="Upload").click()
    expect(preview.locator(".logo img")).to_be_visible()
    assert accessibility_violations(page) == []
    page.get_by_role("button", name="Remove the logo").click()
    expect(preview.locator(".logo")).to_have_count(0)


def test_a_receipt_is_sent_and_read_in_the_demos_mailbox(
    pay: PaySite, working: Worker, context: BrowserContext, accessibility_violations: Violations
) -> None:
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    page.goto(f"{pay.address}/mailbox")
    expect(page.locator(".empty")).to_contain_text("No mail yet.")
    customer = add(page, pay.address, name="Léa Marchand", email="lea@example.com")
    page.goto(f"{customer}/methods/add")
    page.get_by_label("Léa Marchand agrees").check()
    type_card(page)
    page.get_by_role("button", name="Save").click()
    page.fill("#amount", "12.34")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Charge €12.34").click()
    expect(page.locator("#receipt_to")).to_have_value("lea@example.com")
    page.locator("form[action$='/receipt'] button").click()
    expect(page.get_by_text("The receipt is on its way.")).to_be_visible()
    eventually(lambda: count(pay.site, MAILBOX) == 1)

    page.goto(f"{pay.address}/mailbox")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert accessibility_violations(page) == []
    page.locator("tbody a").first.click()
    mail = page.frame_locator("iframe.mail")
    expect(mail.locator(".slip")).to_contain_text("12")
    expect(mail.locator(".slip")).to_contain_text("4242")
    assert accessibility_violations(page) == []
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("receipt-.*pdf")).click()
    assert download.value.path().read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("path", ["/customers", "/customers/new", "/settings/receipts", "/mailbox"])
def test_pages_fit_a_phone_in_french(
    site: LiveSite, new_context: NewContext, accessibility_violations: Violations, path: str
) -> None:
    phone = new_context(viewport={"width": 360, "height": 740}, is_mobile=True, **FRENCH)
    site.sign_in(phone, Role.OWNER)
    page = phone.new_page()

    page.goto(f"{site.address}{path}")

    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("html").get_attribute("lang") == "fr-FR"
    assert accessibility_violations(page) == []
