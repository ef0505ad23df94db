"""Letting people and programs in, and keeping them out again, in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import BrowserContext, Page, expect
from sqlalchemy import func, select

from control_plane.accounts.permissions import Role
from control_plane.accounts.queries import API_KEYS, USERS
from tests.support.browser import NewContext
from tests.web.acted_shop import PASSWORD
from tests.web.live_site import LiveSite

Violations = Callable[[Page], list[str]]


def test_a_member_is_invited_chooses_a_password_and_is_switched_off(
    site: LiveSite,
    context: BrowserContext,
    new_context: NewContext,
    accessibility_violations: Violations,
) -> None:
    site.sign_in(context, Role.OWNER)
    page = context.new_page()
    page.goto(f"{site.address}/team")
    page.keyboard.press("n")
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("Lina Roy")
    page.keyboard.press("Tab")
    page.keyboard.type("lina@")
    page.keyboard.press("Enter")

    expect(page.locator("#email-why")).to_have_text("Write the address like name@example.com.")
    expect(page.locator("#name")).to_have_value("Lina Roy")
    assert _count(site, USERS.c.name == "Lina Roy") == 0
    assert accessibility_violations(page) == []

    page.fill("#email", "lina@shop.example")
    page.select_option("#role", "cashier")
    page.get_by_role("button", name="Make the invitation").click()
    link = page.locator(".command code").text_content() or ""
    assert link.startswith(f"{site.address}/invitation#")
    assert accessibility_violations(page) == []

    theirs = new_context().new_page()
    theirs.goto(link)
    theirs.keyboard.type("short")
    theirs.keyboard.press("Enter")
    expect(theirs.locator("#password-why")).to_contain_text("10 to 256 characters")
    assert accessibility_violations(theirs) == []
    theirs.keyboard.type(PASSWORD)
    theirs.keyboard.press("Enter")
    expect(theirs).to_have_url(f"{site.address}/sign-in")
    theirs.fill("#email", "lina@shop.example")
    theirs.fill("#password", PASSWORD)
    theirs.keyboard.press("Enter")
    expect(theirs).to_have_url(f"{site.address}/pos")

    page.goto(f"{site.address}/team")
    row = page.locator("tr", has_text="Lina Roy")
    expect(row).to_contain_text("Can sign in")
    row.get_by_role("button", name="Switch Lina Roy off").click()
    dialog = page.get_by_role("dialog", name="Switch Lina Roy off?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    row.get_by_role("button", name="Switch Lina Roy off").click()
    dialog.get_by_role("button", name="Switch off").click()

    expect(row).to_contain_text("Switched off")
    theirs.reload()
    expect(theirs.locator("h1")).to_have_text("Sign in to your till")


def test_a_key_is_shown_once_works_and_is_revoked(
    site: LiveSite, context: BrowserContext, accessibility_violations: Violations
) -> None:
    site.sign_in(context, Role.IT)
    page = context.new_page()
    page.goto(f"{site.address}/keys")
    expect(page.locator(".empty")).to_contain_text("No key yet.")
    assert accessibility_violations(page) == []
    page.keyboard.press("n")
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("Stock")
    page.keyboard.press("Enter")

    expect(page.locator("#scopes-why")).to_have_text("Choose what the key may do.")
    assert accessibility_violations(page) == []
    with site.parts.database.reading_connection() as db:
        assert db.execute(select(func.count()).select_from(API_KEYS)).scalar_one() == 0

    expect(page.get_by_label("user:manage")).to_have_count(0)
    page.get_by_label("reader:view").check()
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator(".command code").text_content() or ""
    assert re.fullmatch(r"omk_demo_\S{40,}", secret)
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_focused()
    assert accessibility_violations(page) == []

    use = {"Authorization": f"Bearer {secret}"}
    readers, transactions = f"{site.address}/v1/readers", f"{site.address}/v1/transactions"
    assert page.request.get(readers, headers=use).status == 200
    assert page.request.get(transactions, headers=use).status == 403

    page.goto(f"{site.address}/keys")
    row = page.locator("tr", has_text="Stock")
    expect(row).to_contain_text("reader:view")
    expect(row).not_to_contain_text("Never")
    assert secret not in page.content()
    row.get_by_role("button", name="Revoke Stock").click()
    page.get_by_role("dialog", name="Revoke Stock?").get_by_role("button", name="Revoke").click()

    expect(row).to_contain_text("Revoked")
    assert page.request.get(readers, headers=use).status == 401


def _count(site: LiveSite, condition: object) -> int:
    with site.parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(USERS).where(condition)).scalar_one()  # type: ignore[arg-type]  # a condition
