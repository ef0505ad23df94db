"""The browser fixtures show what is wrong with a page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.support.browser import note_troubles

GOOD = "<!doctype html><html lang=en><title>Till</title><main><h1>Ready</h1></main></html>"
UNNAMED = GOOD.replace("</main>", "<button id=pay></button></main>")


def test_a_page_without_faults_is_clean(
    page: Page, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    page.set_content(GOOD)

    assert accessibility_violations(page) == []


def test_a_button_without_a_name_is_found(
    page: Page, accessibility_violations: Callable[[Page], list[str]]
) -> None:
    page.set_content(UNNAMED)

    (violation,) = accessibility_violations(page)

    assert violation.startswith("button-name: ")
    assert "#pay" in violation


def test_the_browser_stays_on_this_machine(page: Page) -> None:
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto("http://shop.example/")


def test_a_script_that_throws_and_one_that_the_policy_stops_are_noted(browser: Browser) -> None:
    troubles: list[str] = []
    context = browser.new_context()
    note_troubles(context, troubles)
    page = context.new_page()

    page.set_content("<script>throw new Error('no reader')</script>")
    page.set_content(
        "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><script>1</script>"
    )
    context.close()

    thrown, stopped = troubles
    assert thrown == "script: no reader"
    assert stopped.startswith("policy: ")
