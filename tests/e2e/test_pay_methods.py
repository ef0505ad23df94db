"""Saved cards, bank debits, the processor's readers, checks, lost answers, receipts: each from the form to its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import insert, select

from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import Role
from control_plane.accounts.sign_in import scope_of
from control_plane.customers.models import CUSTOMERS
from control_plane.jobs.stripe_readers import ReaderWatch
from control_plane.mail.models import MESSAGES
from control_plane.sandbox import reader_actions, readers
from control_plane.sandbox.card_present import at_reader
from control_plane.sandbox.faults import FaultKind
from control_plane.till.queries import settings_of
from control_plane.till.service import update_settings
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.reader_desk import ReaderDesk
from protocols.ids import new_id
from tests.support.browser import NewContext
from tests.support.counter_reader import ADDRESS
from tests.support.play_account import PlayAccount
from tests.support.waiting import eventually
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, fields_of, open_account, type_card

POSTAL_FAILS = "4000000000000036"
IBAN = "AT611904300234573201"


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


@pytest.fixture
def customer(pay: PaySite) -> str:
    """Somebody with an address, known to this shop."""
    customer_id = new_id("cst")
    now = pay.site.parts.clock.now()
    with pay.site.parts.database.connection() as db:
        db.execute(
            insert(CUSTOMERS).values(
                id=customer_id, merchant_id=pay.site.shop.merchant_id, name="Léa Marchand",
                email="lea@example.com", phone="", company="", address={}, note="",
                created_at=now, updated_at=now, used_at=now,
            )
        )  # fmt: skip
    return customer_id


def key_in(page: Page, digits: str, **card: str) -> None:
    page.locator("#amount").focus()
    page.keyboard.type(digits)
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    type_card(page, **card)


def test_a_card_that_was_kept_is_charged_again_once_the_customer_agreed(
    pay: PaySite, context: BrowserContext, customer: str
) -> None:
    page = pay.till(context, query=f"customer={customer}")
    key_in(page, "1900")
    page.check("[name=keep]")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text("Paid")

    page.goto(f"{pay.address}/pos?customer={customer}")
    page.locator("#amount").focus()
    page.keyboard.type("2900")
    page.keyboard.press("Alt+3")
    expect(page.locator(".saved")).to_contain_text("Visa •••• 4242")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#agreed-said")).to_have_text("Ask the customer, then tick this.")
    assert len(pay.sandbox.taken()) == 1

    page.check("[name=agreed]")
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [19_00, 29_00]
    assert pay.attempts()[-1] == ("saved", "succeeded")


def test_a_bank_debit_is_on_its_way_and_never_called_paid(
    pay: PaySite, context: BrowserContext, customer: str
) -> None:
    page = pay.till(context, query=f"customer={customer}")
    page.locator("#amount").focus()
    page.keyboard.type("8800")
    page.keyboard.press("Alt+4")
    fields = fields_of(page)
    fields.locator("[name=name]").fill("Léa Marchand")
    fields.locator("[name=email]").fill("lea@example.com")
    fields.locator("[name=iban]").press_sequentially(IBAN)
    page.locator("#amount").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#mandate-said")).to_have_text("Ask the account holder, then tick this.")
    assert pay.payments() == []

    page.check("[name=mandate]")
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("On its way")
    expect(page.locator(".outcome")).to_contain_text("It takes a few days")
    assert pay.attempts() == [("bank_debit", "processing")]


@pytest.fixture
def stripe_reader(pay: PaySite) -> Iterator[str]:
    """A reader of the processor in the shop, and a worker that follows it."""
    shop, parts = pay.site.shop, pay.site.parts
    owner = Caller(
        kind=CallerKind.USER,
        id=shop.users[Role.OWNER],
        name="Ada Moreau",
        role=Role.OWNER.value,
        scope=scope_of(shop.merchant_id, Role.OWNER, None),
    )
    # The sandbox's account is in the United States, where readers take dollars.
    with parts.database.transaction() as db:
        settings = settings_of(db, shop.merchant_id)
        update_settings(db, owner, replace(settings, currencies=("EUR", "USD")))
    reader = parts.get(ReaderFleet).register(
        owner, code="simulated-wpe", name="Stripe counter", location_id=shop.location_id,
        address=ADDRESS,
    )  # fmt: skip
    watch = ReaderWatch(parts, parts.get(ReaderDesk), pause_s=0.1)
    watch.start()
    yield reader.processor_id
    watch.stop()


def test_a_reader_of_the_processor_stands_beside_ours_and_takes_a_payment(
    pay: PaySite, context: BrowserContext, stripe_reader: str
) -> None:
    page = pay.till(context, query="currency=USD")
    page.locator("#amount").focus()
    page.keyboard.type("3700")
    page.get_by_role("radio", name="Stripe counter").check(force=True)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".call")).to_have_text("Ask the customer to tap, insert or swipe the card.")
    engine = pay.sandbox.engine

    eventually(lambda: readers.find(engine, stripe_reader)["action"] is not None)
    with engine.transaction():
        card = at_reader("card_present", None, tip=None, has_cvc=True)
        reader_actions.present(engine, readers.find(engine, stripe_reader), card)

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert pay.attempts() == [("reader", "succeeded")]
    assert len(pay.sandbox.taken()) == 1


def test_a_check_that_fails_holds_the_money_until_somebody_accepts_it(
    pay: PaySite, context: BrowserContext, new_context: NewContext
) -> None:
    page = pay.till(context)
    key_in(page, "4300", number=POSTAL_FAILS)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome")).to_contain_text("A check of the card failed.")
    expect(page.locator(".checks")).to_contain_text("The postal code does not match the card.")
    assert pay.payments() == ["authorized"]

    owner = new_context()
    pay.site.sign_in(owner, Role.OWNER)
    other = owner.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Accept and charge").click()

    expect(other.locator(".outcome h1")).to_have_text("Paid")
    expect(page.locator(".outcome h1")).to_have_text("Paid")


def test_money_behind_a_failed_check_is_let_go(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context, role=Role.OWNER)
    key_in(page, "4400", number=POSTAL_FAILS)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome")).to_contain_text("A check of the card failed.")

    page.keyboard.press("Escape")

    expect(page.locator(".outcome h1")).to_have_text("Cancelled")
    assert [charge["captured"] for charge in pay.sandbox.taken()] == [False]


def test_an_answer_of_the_processor_that_was_lost_is_looked_up(
    pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    key_in(page, "4600")
    pay.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/payment_intents*", times=20)
    pay.sandbox.fault(FaultKind.LOST_REQUEST, "GET /v1/payment_intents*", times=20)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".call")).to_have_text(
        "We are asking Stripe. Do not charge again.", timeout=30_000
    )
    expect(page.locator(".rung")).to_have_count(0)

    pay.sandbox.engine.faults.clear()
    page.get_by_role("button", name="Look it up now").click()

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert len(pay.sandbox.taken()) == 1


def test_a_receipt_and_a_link_are_mailed(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)
    key_in(page, "4700")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text("Paid")
    page.keyboard.press("e")
    page.keyboard.type("guest@example.com")
    page.keyboard.press("Enter")
    expect(page.locator("#till")).to_contain_text("The receipt is on its way.")

    page.goto(f"{pay.address}/pos?new=1&method=link")
    page.locator("#amount").focus()
    page.keyboard.type("4800")
    page.fill("#send_to", "payer@example.com")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#pay-live")).to_contain_text("Sent to payer@example.com.")
    link = page.locator("#pay-link").inner_text()

    with pay.site.parts.database.reading_connection() as db:
        mails = {row.to: row for row in db.execute(select(MESSAGES))}
    assert set(mails) >= {"guest@example.com", "payer@example.com"}
    assert link in mails["payer@example.com"].text
    assert re.search("Maison Perrin: €48.00$", mails["payer@example.com"].subject)
