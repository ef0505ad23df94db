"""What holds for every page: accessible in both colour schemes, light, installable, fit for a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from control_plane.accounts.permissions import Role
from tests.support.browser import NewContext
from tests.web.live_site import LiveSite

PHONE = {"viewport": {"width": 360, "height": 800}, "has_touch": True, "is_mobile": True}
#: Pages that are reached by asking for what is not there, or only without a connection.
BY_ADDRESS = [
    "/nowhere",
    "/offline",
    "/readers?q=nobody",
    "/transactions?q=nothing&from=2020-01-01",
]


@pytest.fixture(scope="module")
def sold(site: LiveSite) -> LiveSite:
    """The shop after a few sales, so that no list is empty."""
    for minor in (12_34, 20_51, 8_00):
        site.shop.take(minor)
    site.shop.set_reader("Counter 2", "failing", "Out of paper")
    return site


def owner(site: LiveSite, new_context: NewContext, **options: Any) -> Page:
    context: BrowserContext = new_context(**options)
    site.sign_in(context, Role.OWNER)
    return context.new_page()


def crawl(site: LiveSite, page: Page) -> list[str]:
    """One address of each kind that links lead to from the overview."""
    waiting, found = ["/", *BY_ADDRESS], dict[str, str]()
    while waiting:
        path = waiting.pop(0)
        shape = re.sub(r"/(ts|tx|rd|dev|enc)[_-]\w+", r"/\1", path)
        if shape in found:
            continue
        found[shape] = path
        page.goto(urljoin(site.address, path))
        for href in page.eval_on_selector_all(
            "a[href]:not([download])", "links => links.map(link => link.href)"
        ):
            parts = urlsplit(href)
            if href.startswith(site.address) and not parts.fragment:
                waiting.append(parts.path)
    return list(found.values())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.timeout(240)
def test_axe_finds_nothing_on_any_page(
    sold: LiveSite,
    new_context: NewContext,
    accessibility_violations: Callable[[Page], list[str]],
    scheme: Literal["light", "dark"],
) -> None:
    page = owner(sold, new_context, color_scheme=scheme, reduced_motion="reduce")
    paths = crawl(sold, page)
    violations: dict[str, list[str]] = {}

    for path in paths:
        page.goto(urljoin(sold.address, path))
        if found := accessibility_violations(page):
            violations[path] = found

    assert len(paths) >= 15
    assert violations == {}


@pytest.mark.timeout(120)
def test_no_page_is_wider_than_a_phone(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context, **PHONE)
    too_wide = []

    for path in crawl(sold, page):
        page.goto(urljoin(sold.address, path))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path)

    assert too_wide == []


def test_what_is_touched_is_large_enough(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context, **PHONE)
    small: list[str] = []

    for path in ("/pos?new=1", "/transactions", "/readers"):
        page.goto(urljoin(sold.address, path))
        small += page.evaluate(
            """() => [...document.querySelectorAll('button, .btn, .input, summary, .pick, .nav a, .tab')]
                 .filter(e => e.checkVisibility() && Math.min(e.offsetHeight, e.offsetWidth) < 44)
                 .map(e => e.outerHTML.slice(0, 90))"""
        )

    assert small == []


def test_the_console_stays_silent(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context)
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))

    for path in ("/", "/pos?new=1", "/transactions", "/readers", "/team", "/activity"):
        page.goto(urljoin(sold.address, path))
        page.wait_for_load_state("load")

    assert said == []


@dataclass(frozen=True, slots=True)
class Weight:
    """What a page costs: bytes on the wire, requests, and nodes of its document."""

    kilobytes: float
    requests: int
    nodes: int


def weigh(site: LiveSite, page: Page, path: str) -> Weight:
    """By the browser's own count, with nothing kept from before. Its live stream is open and counts as a request."""
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: dict[str, float] = {}
    asked: list[str] = []
    client.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    client.on(
        "Network.loadingFinished",
        lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}),
    )
    page.goto(urljoin(site.address, path))
    page.wait_for_load_state("load")
    page.wait_for_function("document.querySelector('[hx-sse\\\\:connect]') === null || window.htmx")
    nodes = page.evaluate("document.querySelectorAll('*').length")
    pages = [url for url in asked if url.startswith("http")]
    return Weight(round(sum(sizes.values()) / 1000, 1), len(pages), nodes)


@pytest.mark.parametrize(
    ("path", "most"),
    [
        # Five ways to pay, a customer and quick keys beside the amount; what a way needs comes when it is chosen.
        ("/pos?new=1", Weight(kilobytes=52, requests=10, nodes=300)),
        ("/readers", Weight(kilobytes=45, requests=9, nodes=274)),
        ("/transactions", Weight(kilobytes=45, requests=9, nodes=274)),
    ],
)
def test_a_page_stays_within_its_budget(
    sold: LiveSite, new_context: NewContext, path: str, most: Weight
) -> None:
    page = owner(sold, new_context, service_workers="block")

    weight = weigh(sold, page, path)

    assert weight.kilobytes <= most.kilobytes
    assert weight.requests <= most.requests
    assert weight.nodes <= most.nodes


def test_a_second_visit_asks_only_for_the_page(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/transactions"))
    page.wait_for_load_state("networkidle")
    fetched: list[str] = []
    page.on("requestfinished", lambda request: fetched.append(request.url))

    page.goto(urljoin(sold.address, "/transactions"))
    page.wait_for_load_state("load")

    kept = page.evaluate(
        """() => performance.getEntriesByType('resource')
             .filter(entry => entry.name.includes('/static/'))
             .map(entry => entry.transferSize)"""
    )
    assert fetched
    assert kept
    assert set(kept) == {0}


def test_it_can_be_installed_and_says_so_when_there_is_no_connection(
    sold: LiveSite, new_context: NewContext
) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/pos?new=1"))
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")

    errors = page.context.new_cdp_session(page).send("Page.getInstallabilityErrors")
    page.context.set_offline(True)
    page.goto(urljoin(sold.address, "/transactions"))

    # A private window, which tests use, can never install anything.
    reasons = {error["errorId"] for error in errors["installabilityErrors"]} - {"in-incognito"}
    assert reasons == set()
    expect(page.locator("h1")).to_have_text("This till has no connection")


def test_no_page_with_money_is_kept_by_the_browser(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/pos?new=1"))
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")

    kept = page.evaluate(
        """async () => {
             const found = [];
             for (const name of await caches.keys())
               for (const request of await (await caches.open(name)).keys())
                 found.push(new URL(request.url).pathname);
             return found; }"""
    )

    assert [path for path in kept if not path.startswith("/static/")] == ["/offline"]


def test_language_and_colours_are_chosen_in_the_menu(
    sold: LiveSite, new_context: NewContext
) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/transactions"))

    page.get_by_role("button", name="Menu of").click()
    page.locator("button[value=fr]").click()
    expect(page.locator("h1")).to_have_text("Transactions")
    expect(page.locator("html")).to_have_attribute("lang", "fr-FR")
    expect(page.get_by_role("link", name="Encaisser")).to_be_visible()

    page.get_by_role("button", name="Menu de").click()
    page.locator("button[value=dark]").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(241, 237, 227)"


def test_the_keys_of_a_page_are_listed_and_single_ones_can_be_switched_off(
    sold: LiveSite, new_context: NewContext
) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/transactions"))

    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_contain_text("Take a payment")
    expect(dialog).to_contain_text("Search")
    page.locator("#single-keys").uncheck()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    page.keyboard.press("g")
    page.keyboard.press("r")
    page.locator("body").press("g")
    expect(page).to_have_url(urljoin(sold.address, "/transactions"))


def test_pages_are_reached_by_two_keys(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/transactions"))

    page.keyboard.press("g")
    page.keyboard.press("r")

    expect(page).to_have_url(urljoin(sold.address, "/readers"))


def test_the_book_is_searched_while_typing_and_keeps_it_in_the_address(
    sold: LiveSite, new_context: NewContext
) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/transactions"))
    expect(page.locator("#result tbody tr")).to_have_count(3)

    page.keyboard.press("/")
    page.keyboard.type("5100")

    expect(page.locator("#result tbody tr")).to_have_count(1)
    expect(page.locator("#result")).to_contain_text("€20.51")
    expect(page).to_have_url(re.compile("q=5100"))

    page.fill("#q", "")
    page.select_option("#f-status", "approved")
    expect(page.locator("#result tbody tr")).to_have_count(2)
    expect(page.locator(".totals")).to_contain_text("€20.34")
    expect(page).to_have_url(re.compile("status=approved"))


def test_a_transaction_tells_its_whole_story(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/transactions?q=5100"))

    page.locator("a.row-link").click()

    expect(page.locator("main")).to_contain_text("There is not enough money on the account.")
    expect(page.locator(".timeline li")).to_have_count(7)
    expect(page.locator(".timeline")).to_contain_text("Waiting for the card")
    expect(page.locator(".receipt")).to_have_count(0)
    expect(page.get_by_role("link", name="Counter 1")).to_be_visible()


def test_a_page_for_nothing_and_one_for_others_say_where_to_go(
    sold: LiveSite, new_context: NewContext
) -> None:
    context = new_context()
    sold.sign_in(context, Role.CASHIER)
    page = context.new_page()

    missing = page.goto(urljoin(sold.address, "/nowhere"))
    assert missing is not None
    assert missing.status == 404
    expect(page.locator("h1")).to_have_text("There is no such page")

    refused = page.goto(urljoin(sold.address, "/activity"))
    assert refused is not None
    assert refused.status == 403
    expect(page.locator("main")).to_contain_text("audit:view")
    expect(page.locator("main")).to_contain_text("An owner can give it to you.")


def test_signing_out_ends_it(sold: LiveSite, new_context: NewContext) -> None:
    page = owner(sold, new_context)
    page.goto(urljoin(sold.address, "/"))

    page.get_by_role("button", name="Menu of").click()
    page.get_by_role("button", name="Sign out").click()

    expect(page).to_have_url(urljoin(sold.address, "/sign-in"))
    answer = page.goto(urljoin(sold.address, "/transactions"))
    assert answer is not None
    assert answer.status == 401
    expect(page.locator("h1")).to_have_text("Sign in to your till")
