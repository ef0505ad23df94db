"""Interac's cards in a browser: the customer presents the card again, and the page follows the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import update

from control_plane.accounts.permissions import Role
from control_plane.jobs.stripe_readers import ReaderWatch
from control_plane.sandbox import reader_actions, readers
from control_plane.sandbox.card_present import at_reader
from control_plane.till import queries as till
from control_plane.till import service
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.cloud_readers import CloudReaderView, ReaderFleet
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.models import ACCOUNTS, PROCESSOR_LOCATIONS
from control_plane.virtual_terminal.reader_desk import CloudReaderWish, ReaderDesk
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Order
from protocols.money import Money
from tests.e2e.test_refunds import given_back, opened, person
from tests.support.browser import NewContext
from tests.support.counter_reader import ADDRESS
from tests.support.play_account import PlayAccount
from tests.support.waiting import eventually
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, open_account


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> Iterator[PaySite]:
    """A shop in Canada, with the watch over its readers running."""
    opened = open_account(site, sandbox)
    with site.parts.database.connection() as db:
        db.execute(PROCESSOR_LOCATIONS.delete())
        db.execute(update(ACCOUNTS).values(country="CA"))
    owner = person(opened, Role.OWNER)
    with site.parts.database.transaction() as db:
        before = till.settings_of(db, owner.merchant_id)
        service.update_settings(db, owner, replace(before, currencies=("EUR", "CAD")))
    watch = ReaderWatch(site.parts, site.parts.get(ReaderDesk))
    watch.start()
    yield opened
    watch.stop()
    with site.parts.database.transaction() as db:
        service.update_settings(db, owner, before)


@pytest.fixture
def reader(pay: PaySite) -> CloudReaderView:
    return pay.site.parts.get(ReaderFleet).register(
        person(pay, Role.OWNER), code="simulated-wpe", name="Window",
        location_id=pay.site.shop.location_id, address=ADDRESS,
    )  # fmt: skip


def tap(pay: PaySite, reader: CloudReaderView) -> None:
    engine = pay.sandbox.engine
    with engine.transaction():
        found = readers.find(engine, reader.processor_id)
        reader_actions.present(engine, found, at_reader("interac_present"))


def paid(pay: PaySite, reader: CloudReaderView) -> PaymentView:
    owner = person(pay, Role.OWNER)
    order = Order(
        amount=Money(25_00, "CAD"), location_id=reader.location_id, confirm_duplicate=True
    )
    begun = pay.site.parts.get(ReaderDesk).start(
        owner, CloudReaderWish(order=order, reader_id=reader.id)
    )
    tap(pay, reader)

    def current() -> PaymentView:
        with pay.site.parts.database.reading() as db:
            return queries.payment(db, owner.scope, begun.id)

    eventually(lambda: current().state is PaymentState.PAID, deadline_s=15)
    return current()


def test_a_card_is_presented_again_and_the_page_follows_by_itself(
    pay: PaySite,
    reader: CloudReaderView,
    context: BrowserContext,
    accessibility_violations: Callable[[Page], list[str]],
) -> None:
    payment = paid(pay, reader)
    page = opened(pay, context, f"/transactions/{payment.id}")
    page.keyboard.press("f")
    expect(page.get_by_label("On which reader?")).to_have_value(reader.id)
    in_dialog = accessibility_violations(page)
    page.keyboard.press("Control+Enter")

    expect(page.locator("#asked")).to_contain_text("present the same card on the reader")
    expect(page.locator("#asked")).to_contain_text("Window")
    expect(page.locator("#refunds")).to_contain_text("The reader asks for the card")
    waiting = accessibility_violations(page)
    before = given_back(pay)
    tap(pay, reader)

    expect(page.locator("#asked")).to_contain_text("The money is on its way back")
    expect(page.locator("#refunds")).to_contain_text("Given back")
    expect(page.get_by_role("button", name="Stop the refund")).to_have_count(0)
    assert in_dialog == waiting == []
    assert (before, given_back(pay)) == ([], [25_00])


def test_escape_takes_the_refund_off_the_reader_in_french(
    pay: PaySite, reader: CloudReaderView, new_context: NewContext
) -> None:
    payment = paid(pay, reader)
    page = opened(pay, new_context(locale="fr-FR"), f"/transactions/{payment.id}")
    page.keyboard.press("f")
    expect(page.get_by_label("Sur quel lecteur ?")).to_have_value(reader.id)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#asked")).to_contain_text("la même carte")
    page.keyboard.press("Escape")

    expect(page.locator("#asked")).to_contain_text("Arrêté avant la lecture d’une carte")
    found = readers.find(pay.sandbox.engine, reader.processor_id)
    assert found["action"] is None
    assert given_back(pay) == []
