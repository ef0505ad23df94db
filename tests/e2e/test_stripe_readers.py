"""Stripe's readers in a browser: from the keys of an account to the money, with every process there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from control_plane.accounts.permissions import Role
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.stripe_readers import ReaderWatch
from control_plane.jobs.worker import Worker
from control_plane.sandbox import reader_actions, readers
from control_plane.sandbox.card_present import at_reader
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.models import ACCOUNTS, PROCESSOR_LOCATIONS
from control_plane.virtual_terminal.reader_desk import ReaderDesk
from tests.support.browser import NewContext
from tests.support.play_account import PlayAccount
from tests.support.stripe_sandbox import PUBLISHABLE_KEY, SECRET_KEY
from tests.web.live_site import LiveSite


@contextmanager
def working(site: LiveSite) -> Iterator[None]:
    """What a worker process runs for readers: owed jobs, and the watch over sales."""
    worker = Worker(site.parts, all_jobs(), threads=1)
    watch = ReaderWatch(site.parts, site.parts.get(ReaderDesk))
    worker.start()
    watch.start()
    try:
        yield
    finally:
        watch.stop()
        worker.stop()


@pytest.fixture
def owner(site: LiveSite, context: BrowserContext) -> Iterator[Page]:
    """An owner's page; nothing is connected."""
    with site.parts.database.connection() as db:
        db.execute(ACCOUNTS.delete())
        # Each sandbox is new, and plays the same account.
        db.execute(PROCESSOR_LOCATIONS.delete())
    site.sign_in(context, Role.OWNER)
    with working(site):
        yield context.new_page()


def connect(site: LiveSite, page: Page, sandbox: PlayAccount) -> None:
    page.goto(f"{site.address}/settings/payments")
    page.get_by_label("Secret key", exact=True).fill(SECRET_KEY)
    page.get_by_label("Publishable key").fill(PUBLISHABLE_KEY)
    page.locator("#api_base").fill(sandbox.url)
    page.locator("button[data-shortcut='ctrl+enter']").click()
    expect(page.get_by_role("heading", name="Connected")).to_be_visible()


def register(site: LiveSite, page: Page, name: str) -> None:
    page.goto(f"{site.address}/readers/add/stripe")
    page.get_by_label("Which three words does the reader show?").fill("simulated-wpe")
    page.get_by_label("What is it called at the till?").fill(name)
    page.get_by_label("Street and number").fill("1 Main Street")
    page.get_by_label("Postal code").fill("10001")
    page.get_by_label("City").fill("New York")
    page.get_by_label("State or region").fill("NY")
    page.get_by_role("button", name="Register").click()
    expect(page).to_have_url(re.compile(r"/readers/stripe/rd_"))


def tap(sandbox: PlayAccount) -> None:
    """The customer holds a card to the only reader."""
    engine = sandbox.engine
    with engine.transaction():
        found = readers.find(engine, sandbox.objects("terminal.reader")[-1]["id"])
        reader_actions.present(engine, found, at_reader("card_present"))


def test_from_the_keys_to_the_money(
    site: LiveSite,
    owner: Page,
    sandbox: PlayAccount,
    accessibility_violations: Callable[[Page], list[str]],
) -> None:
    owner.goto(f"{site.address}/settings/payments")
    blank = accessibility_violations(owner)
    connect(site, owner, sandbox)
    expect(owner.get_by_text("This is the sandbox")).to_be_visible()
    expect(owner.get_by_text("Cards can be typed in")).to_be_visible()
    connected = accessibility_violations(owner)

    register(site, owner, "Window")
    on_reader = accessibility_violations(owner)
    owner.goto(f"{site.address}/readers")
    expect(owner.locator("#cloud")).to_contain_text("Window")
    expect(owner.locator("#cloud")).to_contain_text("Online")
    in_list = accessibility_violations(owner)

    owner.goto(f"{site.address}/pos?new=1")
    owner.locator(".pick", has_text="Window").click()
    owner.locator("#amount").focus()
    owner.keyboard.type("1234")
    owner.keyboard.press("Control+Enter")
    expect(owner).to_have_url(re.compile(r"/pos/pay_"))
    tap(sandbox)
    expect(owner.locator(".outcome h1")).to_have_text("Paid")

    assert blank == connected == on_reader == in_list == []
    assert [one["amount_captured"] for one in sandbox.taken()] == [1234]
    owner.goto(f"{site.address}/settings/payments")
    expect(owner.locator("#events")).to_contain_text("payment_intent.succeeded")


def test_a_reader_that_goes_offline_shows_so_without_a_reload(
    site: LiveSite, owner: Page, sandbox: PlayAccount
) -> None:
    connect(site, owner, sandbox)
    register(site, owner, "Door")
    expect(owner.locator("#axes")).to_contain_text("Online")
    engine = sandbox.engine
    with engine.transaction():
        found = readers.find(engine, sandbox.objects("terminal.reader")[-1]["id"])
        found["_silent_since"] = engine.now() - 500
        engine.save(found)
    site.parts.get(ReaderFleet).sync(site.shop.merchant_id)

    expect(owner.locator("#axes")).to_contain_text("Offline")


def test_a_phone_is_paired_with_a_code_that_is_drawn_once(
    site: LiveSite,
    owner: Page,
    accessibility_violations: Callable[[Page], list[str]],
) -> None:
    owner.goto(f"{site.address}/readers/phones")
    owner.get_by_label("Name of the phone").fill("Terrace")
    owner.get_by_role("button", name="Make the code").click()

    expect(owner.locator(".code-big")).to_have_text(re.compile(r"^\w{4}-\w{4}-\w{4}$"))
    expect(owner.get_by_role("img", name="The code as a QR picture")).to_be_visible()
    assert accessibility_violations(owner) == []
    owner.goto(f"{site.address}/readers/phones")
    expect(owner.locator(".code-big")).to_have_count(0)
    expect(owner.locator("#phones")).to_contain_text("Waiting for its code")


def test_the_pages_fit_on_a_phone_in_french_in_the_dark(
    site: LiveSite,
    new_context: NewContext,
    sandbox: PlayAccount,
    owner: Page,
    accessibility_violations: Callable[[Page], list[str]],
) -> None:
    connect(site, owner, sandbox)
    small = new_context(viewport={"width": 390, "height": 844}, locale="fr-FR", color_scheme="dark")
    site.sign_in(small, Role.OWNER)
    page = small.new_page()
    found: list[str] = []
    for path in ("/settings/payments", "/readers/add/stripe", "/readers/phones", "/readers"):
        page.goto(f"{site.address}{path}")
        found += accessibility_violations(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{path} is {width} wide"] if width > 390 else []

    assert found == []
