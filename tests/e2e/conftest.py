"""A real browser for tests: Debian's Chromium, driven by Playwright, looking at servers on this machine only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.support.browser import NewContext, note_troubles
from tests.support.programs import program
from tests.web.live_site import LiveSite, live_site

# A page that is waited for has this long, on a machine that does other things besides.
expect.set_options(timeout=15_000)
SCREENSHOTS = Path("test-results")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser's half of the network guard.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
_CALL_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def new_context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[NewContext]:
    """A function that opens windows. A failed test leaves a screenshot of each page.

    A script that throws, and anything that the content security policy stops, fails the test.
    """
    contexts: list[BrowserContext] = []
    troubles: list[str] = []

    def open_context(**options: Any) -> BrowserContext:  # Any: Playwright's own options
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        )
        context.set_default_timeout(10_000)
        note_troubles(context, troubles)
        contexts.append(context)
        return context

    yield open_context
    report = request.node.stash.get(_CALL_REPORT, None)
    if report is None or report.failed or troubles:
        _take_screenshots(request.node.nodeid, contexts)
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture
def context(new_context: NewContext) -> BrowserContext:
    return new_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


# What fades in has too little contrast until it is there; what turns for ever is not waited for.
_AT_REST = """async () => {
  await new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const moving = document.getAnimations().filter(a => a.effect.getComputedTiming().endTime !== Infinity);
  await Promise.allSettled(moving.map(a => a.finished));
}"""


@pytest.fixture(scope="session")
def accessibility_violations() -> Callable[[Page], list[str]]:
    """A function that lists what axe has against a page as it is now, one line a rule and place."""
    axe = Axe()

    def look(page: Page) -> list[dict[str, Any]]:
        page.evaluate(_AT_REST)
        found: list[dict[str, Any]] = axe.run(page).response["violations"]
        return found

    def violations(page: Page) -> list[str]:
        try:
            found = look(page)
        except Error as moved_on:
            # The page went on to its next address while it was looked at; what is there now counts.
            if "Execution context was destroyed" not in moved_on.message:
                raise
            page.wait_for_load_state("load")
            found = look(page)
        return [
            f"{rule['id']}: {rule['help']}: {' '.join(node['target'])}: {node['html']}"
            for rule in found
            for node in rule["nodes"]
        ]

    return violations


@pytest.fixture(scope="module")
def site(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """A control plane with a shop in which everything is acted, anew for each module."""
    folder = tmp_path_factory.mktemp("site")
    database = folder / "site.sqlite3"
    shutil.copy(sqlite_template, database)
    with live_site(folder, f"sqlite:///{database}") as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call":
        item.stash[_CALL_REPORT] = report
    return report


def _take_screenshots(test: str, contexts: list[BrowserContext]) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    name = re.sub(r"[^\w.-]+", "-", test.removeprefix("tests/e2e/"))
    pages = [page for context in contexts for page in context.pages]
    for number, page in enumerate(pages, start=1):
        page.screenshot(path=SCREENSHOTS / f"{name}-{number}.png", full_page=True)
