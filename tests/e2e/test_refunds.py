"""Giving money back in a browser: by keyboard, by line, with a second person, once only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import Role
from control_plane.accounts.service import create_user
from control_plane.accounts.sign_in import scope_of
from control_plane.till import queries as till
from control_plane.till import service
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import ChargeWish, Order
from protocols.money import Money
from tests.support.browser import NewContext
from tests.support.play_account import PlayAccount
from tests.support.waiting import eventually
from tests.web.acted_shop import PASSWORD
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, open_account

ITEMS = (
    {"name": "Chair", "quantity": 3, "unit_minor": 15_00, "tax_rate": None, "total_minor": 45_00},
    {"name": "Lamp", "quantity": 1, "unit_minor": 15_00, "tax_rate": None, "total_minor": 15_00},
)


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> Iterator[PaySite]:
    opened = open_account(site, sandbox)
    shop = site.shop
    if Role.MANAGER not in shop.users:
        with site.parts.database.transaction() as db:
            shop.users[Role.MANAGER] = create_user(
                db, shop.merchant_id, email="manager@shop.example", name="Lea Blanc",
                role=Role.MANAGER, password_hash=site.parts.passwords.hash(PASSWORD),
            )  # fmt: skip
    yield opened
    limit_refunds(opened, {})


def person(pay: PaySite, role: Role) -> Caller:
    shop = pay.site.shop
    return Caller(
        kind=CallerKind.USER, id=shop.users[role], name=role.value, role=role.value,
        scope=scope_of(shop.merchant_id, role, None),
    )  # fmt: skip


def charged(pay: PaySite, minor: int = 60_00, **facts: Any) -> PaymentView:
    """A payment by a typed card."""
    wish = ChargeWish(
        order=Order(
            amount=Money(minor, "EUR"),
            location_id=pay.site.shop.location_id,
            confirm_duplicate=True,
            **facts,
        ),
        method="keyed",
        token=pay.sandbox.token(),
    )
    return pay.site.parts.get(Desk).charge(person(pay, Role.CASHIER), wish)


def limit_refunds(pay: PaySite, limits: dict[str, int]) -> None:
    with pay.site.parts.database.transaction() as db:
        owner = person(pay, Role.OWNER)
        present = till.settings_of(db, owner.merchant_id)
        service.update_settings(db, owner, replace(present, refund_limits=limits))


def given_back(pay: PaySite) -> list[int]:
    return [refund["amount"] for refund in pay.sandbox.objects("refund")]


def opened(pay: PaySite, context: BrowserContext, path: str, role: Role = Role.OWNER) -> Page:
    pay.site.sign_in(context, role)
    page = context.new_page()
    page.goto(f"{pay.address}{path}")
    return page


def test_a_part_goes_back_with_the_keyboard_alone(pay: PaySite, context: BrowserContext) -> None:
    payment = charged(pay)
    page = opened(pay, context, f"/transactions/{payment.transaction_id}")

    page.keyboard.press("f")
    expect(page.get_by_role("dialog", name="Give money back")).to_be_visible()
    expect(page.get_by_label("All that is left: €60.00")).to_be_focused()
    expect(page.get_by_role("button", name="Give back €60.00")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Amount in EUR")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("12.50")
    expect(page.get_by_role("button", name="Give back €12.50")).to_be_visible()
    page.keyboard.press("Control+Enter")

    expect(page.locator(".note[role=status]")).to_contain_text("€12.50: The money is on its way")
    expect(page.locator("main")).to_contain_text("€47.50 is left")
    assert given_back(pay) == [12_50]


def test_escape_gives_nothing_back(pay: PaySite, context: BrowserContext) -> None:
    payment = charged(pay)
    page = opened(pay, context, f"/transactions/{payment.id}")

    page.keyboard.press("f")
    page.keyboard.press("Escape")

    expect(page.get_by_role("dialog", name="Give money back")).to_be_hidden()
    assert given_back(pay) == []


def test_lines_add_up_on_the_button_and_go_back(pay: PaySite, context: BrowserContext) -> None:
    payment = charged(pay, items=ITEMS)
    page = opened(pay, context, f"/transactions/{payment.id}")

    page.get_by_role("button", name="Refund", exact=True).click()
    page.get_by_label("Some of what was sold").check()
    page.locator("[name=line-0]").fill("2")
    page.locator("[name=line-1]").fill("1")
    page.get_by_role("button", name="Give back €45.00").click()

    expect(page.locator(".note[role=status]")).to_contain_text("€45.00")
    expect(page.locator("main")).to_contain_text("2 given back")
    assert given_back(pay) == [45_00]


def test_a_nervous_finger_gives_back_once(pay: PaySite, context: BrowserContext) -> None:
    payment = charged(pay)
    page = opened(pay, context, f"/transactions/{payment.id}")

    page.get_by_role("button", name="Refund", exact=True).click()
    page.locator("#refund").get_by_role("button", name="Give back €60.00").dblclick()

    expect(page.locator(".note[role=status]")).to_contain_text("€60.00")
    assert given_back(pay) == [60_00]


def test_too_much_is_told_in_the_open_dialog(pay: PaySite, context: BrowserContext) -> None:
    payment = charged(pay)
    page = opened(pay, context, f"/transactions/{payment.id}")

    page.get_by_role("button", name="Refund", exact=True).click()
    page.get_by_label("A part of it").check()
    page.get_by_label("Amount in EUR").fill("60.01")
    page.keyboard.press("Control+Enter")

    dialog = page.get_by_role("dialog", name="Give money back")
    expect(dialog).to_contain_text("€60.00 of this payment can still be given back")
    expect(dialog.get_by_label("Amount in EUR")).to_have_value("60.01")
    assert given_back(pay) == []


def test_above_the_limit_a_second_person_decides(
    pay: PaySite, new_context: NewContext, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    limit_refunds(pay, {"EUR": 50_00})
    payment = charged(pay)
    asking = opened(pay, new_context(), f"/transactions/{payment.id}", Role.OWNER)
    asking.keyboard.press("f")
    expect(asking.locator("[data-approval]")).to_be_visible()
    assert accessibility_violations(asking) == []
    asking.get_by_role("button", name="Ask to give back €60.00").click()
    expect(asking.locator(".note[role=status]")).to_contain_text("waits for approval")
    asking.goto(f"{pay.address}/approvals")
    expect(asking.locator("main")).to_contain_text("You asked for it, so somebody else decides.")
    assert given_back(pay) == []

    deciding = opened(pay, new_context(), "/transactions", Role.MANAGER)
    expect(deciding.locator(".nav .count")).to_have_text("1")
    deciding.locator(".nav").get_by_role("link", name=re.compile("Approvals")).click()
    deciding.wait_for_url("**/approvals", wait_until="load")
    deciding.keyboard.press("y")
    expect(deciding.get_by_role("dialog", name="Give back €60.00?")).to_be_visible()
    assert accessibility_violations(deciding) == []
    deciding.keyboard.press("Control+Enter")

    expect(deciding.locator(".note[role=status]")).to_contain_text("€60.00")
    expect(deciding.locator("main")).to_contain_text("Nothing waits for you.")
    assert given_back(pay) == [60_00]


def test_a_cashier_sees_who_can_give_it_back(pay: PaySite, context: BrowserContext) -> None:
    payment = charged(pay)
    page = opened(pay, context, f"/transactions/{payment.id}", Role.CASHIER)

    expect(page.locator("main")).to_contain_text("A manager or an owner can give this money back.")
    expect(page.get_by_role("button", name="Refund", exact=True)).to_have_count(0)
    page.keyboard.press("f")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert given_back(pay) == []


def test_a_sale_of_a_reader_goes_back_on_the_reader(pay: PaySite, context: BrowserContext) -> None:
    session_id = pay.site.shop.take(23_00)
    page = opened(pay, context, f"/transactions?q={session_id}")
    page.locator("a.row-link").click()
    page.wait_for_url("**/transactions/tx_*", wait_until="load")
    sale = page.url

    page.keyboard.press("f")
    expect(page.get_by_role("dialog", name="Give back €23.00 on the reader?")).to_be_visible()
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Approved")
    page.goto(sale)
    expect(page.locator(".timeline")).to_contain_text("Reversal")
    expect(page.get_by_role("button", name="Refund on the reader")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_a_payment(
    pay: PaySite,
    new_context: NewContext,
    accessibility_violations: Callable[[Page], list[str]],
    scheme: Any,
) -> None:
    payment = charged(pay, items=ITEMS, reference="1042", note="By phone", tip_minor=0)
    held = charged(pay, 20_00, capture_later=True)
    page = opened(
        pay, new_context(color_scheme=scheme, reduced_motion="reduce"), f"/transactions/{payment.id}"
    )  # fmt: skip

    found = {"payment": accessibility_violations(page)}
    for path in (f"/transactions/{held.id}", "/transactions/open", "/disputes", "/approvals"):
        page.goto(f"{pay.address}{path}")
        found[path] = accessibility_violations(page)

    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_the_page_fits_a_phone_and_speaks_french(pay: PaySite, new_context: NewContext) -> None:
    payment = charged(pay, items=ITEMS)
    phone = {"viewport": {"width": 360, "height": 800}, "has_touch": True, "is_mobile": True}
    page = opened(pay, new_context(**phone, locale="fr-FR"), f"/transactions/{payment.id}")

    page.locator("[data-dialog=refund]").tap()
    expect(page.get_by_role("dialog", name="Rembourser")).to_be_visible()
    page.get_by_role("button", name=re.compile("Rembourser 60,00")).tap()

    expect(page.locator(".note[role=status]")).to_contain_text("60,00")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    eventually(lambda: given_back(pay) == [60_00])
