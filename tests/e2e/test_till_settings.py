"""Setting a till up in a browser, and meeting it again at the till."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from control_plane.accounts.permissions import Role
from control_plane.till import queries
from tests.support.browser import NewContext
from tests.support.play_account import PlayAccount
from tests.web.live_site import LiveSite
from tests.web.pay_site import open_account

PAGES = (
    "till",
    "fields",
    "fields/add",
    "items",
    "items/add",
    "presets",
    "presets/add",
    "taxes",
    "limits",
)


def opened(site: LiveSite, context: BrowserContext, path: str, role: Role = Role.OWNER) -> Page:
    site.sign_in(context, role)
    page = context.new_page()
    page.goto(f"{site.address}{path}")
    return page


def test_an_item_is_put_on_a_quick_key_without_a_mouse(
    site: LiveSite, context: BrowserContext
) -> None:
    page = opened(site, context, "/settings/items")

    page.keyboard.press("n")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Espresso")
    page.keyboard.press("Tab")
    page.keyboard.type("2.20")
    page.get_by_label("Quick key").focus()
    page.keyboard.press("ArrowDown")
    page.get_by_role("radio", name="Yellow").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Control+Enter")

    key = page.locator(".quick-key", has_text="Espresso")
    expect(key).to_contain_text("€2.20")
    expect(key).to_have_attribute("data-colour", "yellow")


def test_fields_are_put_in_order_with_the_keyboard(site: LiveSite, context: BrowserContext) -> None:
    page = opened(site, context, "/settings/fields")
    for name in ("Room", "Guest"):
        page.keyboard.press("n")
        page.get_by_label("Name in English").fill(name)
        page.keyboard.press("Control+Enter")
        expect(page.locator("tbody")).to_contain_text(name)

    page.get_by_role("button", name="Move Guest up").focus()
    page.keyboard.press("Enter")

    expect(page.locator("tbody tr").first).to_contain_text("Guest")
    expect(page.get_by_role("button", name="Move Guest up")).to_be_disabled()


def test_only_what_belongs_to_a_kind_of_field_is_asked(
    site: LiveSite, context: BrowserContext
) -> None:
    page = opened(site, context, "/settings/fields/add")
    expect(page.get_by_label("What it looks like")).to_be_visible()
    expect(page.get_by_label("Choices")).to_be_hidden()

    page.get_by_label("Kind", exact=True).select_option("choice")

    expect(page.get_by_label("Choices")).to_be_visible()
    expect(page.get_by_label("What it looks like")).to_be_hidden()


def test_the_link_of_a_preset_fills_in_the_till(
    site: LiveSite, sandbox: PlayAccount, new_context: NewContext
) -> None:
    open_account(site, sandbox)
    context = new_context(permissions=["clipboard-read", "clipboard-write"])
    page = opened(site, context, "/settings/presets/add")
    page.get_by_label("Name").fill("Monthly retainer")
    page.get_by_label("Amount").fill("150")
    page.get_by_label("Key", exact=True).select_option("1")
    page.get_by_label("Order number").fill("RET-11")
    page.keyboard.press("Control+Enter")
    expect(page.locator("kbd", has_text="F1")).to_be_visible()

    page.get_by_role("button", name="Copy the link of Monthly retainer").click()
    expect(page.locator(".toast")).to_have_text("The link is copied.")
    with site.parts.database.reading() as db:
        (preset,) = queries.presets_of(db, site.shop.merchant_id)
    copied = page.evaluate("navigator.clipboard.readText()")
    page.goto(f"{site.address}/pos?preset={preset.id}")

    assert copied.endswith(f"/pos?preset={preset.id}")
    expect(page.locator("#amount")).to_have_value("150.00")
    expect(page.locator("[name=reference]")).to_have_value("RET-11")


def test_a_wrong_file_is_told_line_by_line(site: LiveSite, context: BrowserContext) -> None:
    page = opened(site, context, "/settings/items")

    page.get_by_role("button", name="Import").click()
    page.get_by_label("File").set_input_files(
        {"name": "items.csv", "mimeType": "text/csv", "buffer": b"name,price\nTea,3\nCake,free\n"}
    )
    page.get_by_role("dialog").get_by_role("button", name="Import").click()

    expect(page.get_by_role("alert")).to_contain_text("Line 3, price")
    expect(page.locator("main")).not_to_contain_text("Tea")


def test_a_members_role_and_limits_are_changed(site: LiveSite, context: BrowserContext) -> None:
    page = opened(site, context, "/team")

    page.get_by_role("link", name="Jules Petit").click()
    page.get_by_role("group", name="Most at once").get_by_label("EUR").fill("500")
    page.get_by_role("button", name="Save the limits").click()
    expect(page.get_by_role("status").first).to_contain_text("Saved.")
    page.get_by_label("Role", exact=True).select_option("manager")
    page.get_by_role("button", name="Save the role").click()

    expect(page.get_by_label("Role", exact=True)).to_have_value("manager")
    expect(page.get_by_role("group", name="Most at once").get_by_label("EUR")).to_have_value(
        "500.00"
    )
    page.get_by_label("Role", exact=True).select_option("cashier")
    page.get_by_role("button", name="Save the role").click()
    expect(page.get_by_label("Role", exact=True)).to_have_value("cashier")


def test_a_cashier_has_no_way_into_the_settings(site: LiveSite, context: BrowserContext) -> None:
    page = opened(site, context, "/transactions", Role.CASHIER)

    page.get_by_role("button", name="Menu of").click()

    expect(page.locator("#menu")).to_be_visible()
    expect(page.get_by_role("link", name="Settings")).to_have_count(0)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_settings(
    site: LiveSite,
    new_context: NewContext,
    accessibility_violations: Callable[[Page], list[str]],
    scheme: Literal["light", "dark"],
) -> None:
    page = opened(site, new_context(color_scheme=scheme, reduced_motion="reduce"), "/settings")
    found = {}

    for path in PAGES:
        page.goto(f"{site.address}/settings/{path}")
        found[path] = accessibility_violations(page)

    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_the_settings_fit_a_phone(site: LiveSite, new_context: NewContext) -> None:
    phone: dict[str, Any] = {
        "viewport": {"width": 360, "height": 800},
        "is_mobile": True,
        "has_touch": True,
    }
    page = opened(site, new_context(**phone), "/settings")
    too_wide = []

    for path in PAGES:
        page.goto(f"{site.address}/settings/{path}")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path)

    assert too_wide == []
