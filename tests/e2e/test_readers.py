"""The fleet in a browser: live rows, filters in the address, setting up a box, and what needs a second look."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import select

from control_plane.accounts.permissions import Role
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import CODES, DEVICES
from tests.support.browser import NewContext
from tests.web.live_site import LiveSite


@pytest.fixture
def it_page(site: LiveSite, context: BrowserContext) -> Page:
    """A page of somebody in IT; all is well in the shop."""
    site.shop.set_online(True)
    for name in ("Counter 1", "Counter 2"):
        site.shop.set_reader(name, "ready")
    site.sign_in(context, Role.IT)
    return context.new_page()


def test_a_reader_that_is_unplugged_shows_so_without_a_reload(
    site: LiveSite, it_page: Page
) -> None:
    it_page.goto(f"{site.address}/readers")
    row = it_page.locator("#fleet tr", has_text="Counter 2")
    expect(row).to_contain_text("Ready")
    it_page.evaluate("document.body.dataset.mark = 'same page'")

    site.shop.set_reader("Counter 2", "disconnected", "The cable was pulled")

    expect(row).to_contain_text("Unplugged")
    expect(row).to_contain_text("The cable was pulled")
    assert it_page.evaluate("document.body.dataset.mark") == "same page"
    site.shop.set_reader("Counter 2", "ready")
    expect(row).to_contain_text("Ready")


def test_reach_and_health_are_told_apart(site: LiveSite, it_page: Page) -> None:
    it_page.goto(f"{site.address}/readers")

    site.shop.set_online(False)

    row = it_page.locator("#fleet tr", has_text="Counter 1")
    expect(row).to_contain_text("Offline")
    expect(row).to_contain_text("Not heard of")
    expect(it_page.locator("#tabs .tab", has_text="Offline").locator("b")).to_have_text("2")
    site.shop.set_online(True)
    expect(row).to_contain_text("Online")


def test_filters_are_in_the_address(site: LiveSite, it_page: Page) -> None:
    it_page.goto(f"{site.address}/readers")

    it_page.keyboard.press("/")
    it_page.keyboard.type("counter 1")

    expect(it_page.locator("#fleet tbody tr")).to_have_count(1)
    expect(it_page).to_have_url(re.compile(r"[?&]q=counter(\+|%20)1"))
    site.shop.set_reader("Counter 2", "busy")
    site.shop.set_reader("Counter 1", "busy")
    expect(it_page.locator("#fleet tbody tr")).to_contain_text(["Taking a payment"])
    copied = it_page.context.new_page()
    copied.goto(it_page.url)
    expect(copied.locator("#fleet tbody tr")).to_have_count(1)
    expect(copied.locator("#q")).to_have_value("counter 1")


def test_a_filter_that_matches_nothing_offers_the_way_back(site: LiveSite, it_page: Page) -> None:
    it_page.goto(f"{site.address}/readers?q=nowhere")

    expect(it_page.locator("#fleet")).to_contain_text("No reader matches.")
    it_page.get_by_role("link", name="Clear the filters").click()

    expect(it_page.locator("#fleet tbody tr")).to_have_count(2)


def test_a_box_is_set_up_with_a_code_and_appears_by_itself(site: LiveSite, it_page: Page) -> None:
    it_page.goto(f"{site.address}/readers")
    it_page.keyboard.press("n")
    it_page.select_option("#validity", "15")
    it_page.get_by_role("button", name="Make the code").click()

    code = it_page.locator(".code-big")
    expect(code).to_have_text(re.compile(r"^[A-Z0-9]{4}-[A-Z0-9]{4}$"))
    expect(it_page.locator(".command code")).to_have_text(
        f"omnitill-agent enroll --url {site.address} --code {code.text_content()}"
    )
    expect(it_page.get_by_role("img", name="The command as a QR code")).to_be_visible()
    expect(it_page.locator("#arrivals")).to_contain_text("Waiting for the box.")

    with site.parts.database.connection() as db:
        db.execute(CODES.update().values(used=1))
    site.shop.add_box("dev-lyon0002", "lyon-back")

    expect(it_page.locator("#arrivals")).to_contain_text("The box is here.")
    it_page.get_by_role("link", name="lyon-back").click()
    expect(it_page.locator("h1")).to_have_text("lyon-back")


def test_a_code_is_shown_once_and_never_again(site: LiveSite, it_page: Page) -> None:
    it_page.goto(f"{site.address}/readers/add")
    it_page.get_by_role("button", name="Make the code").click()
    text = it_page.locator(".code-big").text_content() or ""
    with site.parts.database.reading_connection() as db:
        code_id = db.execute(select(CODES.c.id).order_by(CODES.c.created_at.desc())).scalar()

    it_page.goto(f"{site.address}/readers/codes/{code_id}")

    expect(it_page.locator("main")).to_contain_text("was shown once")
    assert text not in it_page.content()


def test_a_box_is_revoked_only_after_a_second_look(site: LiveSite, it_page: Page) -> None:
    site.shop.add_box("dev-lyon0003", "lyon-spare")
    it_page.goto(f"{site.address}/readers/boxes/dev-lyon0003")

    it_page.get_by_role("button", name="Revoke").click()
    dialog = it_page.get_by_role("dialog", name="Revoke lyon-spare?")
    expect(dialog).to_contain_text("lost or stolen")
    it_page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert _state(site, "dev-lyon0003") is DeviceState.ACTIVE

    it_page.get_by_role("button", name="Revoke").click()
    dialog.get_by_role("button", name="Revoke").click()

    expect(it_page.locator("#axes")).to_contain_text("Revoked")
    assert _state(site, "dev-lyon0003") is DeviceState.REVOKED


def test_a_test_of_the_line_tells_its_result_without_a_reload(
    site: LiveSite, it_page: Page
) -> None:
    site.shop.pace_s = 1.0
    it_page.goto(f"{site.address}/readers/rd_00000001")

    it_page.get_by_role("button", name="Test the line").click()

    newest = it_page.locator("#moments li").first
    expect(newest).to_contain_text("Testing the line")
    it_page.evaluate("document.body.dataset.mark = 'same page'")
    expect(newest).to_contain_text("Tested the line: it works")
    expect(newest).to_contain_text("Host answered in 180 ms")
    expect(newest).to_contain_text("Ines Roux")
    assert it_page.evaluate("document.body.dataset.mark") == "same page"
    site.shop.pace_s = 0.0


def test_a_restart_that_cannot_be_sent_says_so_on_the_page_of_the_reader(
    site: LiveSite, it_page: Page
) -> None:
    it_page.goto(f"{site.address}/readers/rd_00000002")
    site.shop.set_online(False)

    it_page.get_by_role("button", name="Restart the reader").click()
    it_page.get_by_role("dialog").get_by_role("button", name="Restart the reader").click()

    expect(it_page.locator("h1")).to_have_text("Counter 2")
    expect(it_page.locator(".note")).to_contain_text("Counter 2 is offline. Check its power")
    expect(it_page.locator("#moments")).not_to_contain_text("Restart")
    site.shop.set_online(True)


def test_a_cashier_sees_readers_but_nothing_to_change(
    site: LiveSite, new_context: NewContext
) -> None:
    context = new_context()
    site.sign_in(context, Role.CASHIER)
    page = context.new_page()

    page.goto(f"{site.address}/readers/rd_00000001")
    expect(page.locator("h1")).to_have_text("Counter 1")
    expect(page.get_by_role("button", name="Restart the reader")).to_have_count(0)

    page.goto(f"{site.address}/readers/add")
    expect(page.locator("h1")).to_have_text("You may not do this")
    expect(page.locator("main")).to_contain_text("device:enroll")


def _state(site: LiveSite, device_id: str) -> DeviceState:
    with site.parts.database.reading_connection() as db:
        state: DeviceState = db.execute(
            select(DEVICES.c.state).where(DEVICES.c.id == device_id)
        ).scalar_one()
    return state
