"""The demo as a visitor sees it: real broker, real agent, simulated terminals on a serial line and on the network."""

from __future__ import annotations

import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from control_plane.demo.stage import Options, Stage, opened
from tests.support.waiting import eventually

#: A sale on a real line takes a few seconds; a busy machine takes longer.
PATIENCE_MS = 20_000


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The whole shop, with terminals that answer quickly."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with opened(Options(port=8000, data_dir=folder, pace=0.1, with_history=True)) as running:
        running.wait_until_ready(60)
        yield running


@pytest.fixture
def till(stage: Stage, context: BrowserContext) -> Page:
    """The cashier of the demo, stepped in by one click."""
    page = context.new_page()
    page.goto(f"{stage.url}/pos?new=1")
    page.get_by_role("button", name="Cashier").click()
    expect(page.locator("#amount")).to_be_visible()
    return page


def sell(page: Page, digits: str, reader: str) -> None:
    page.locator("#amount").focus()
    page.keyboard.type(digits)
    page.locator(".pick", has_text=reader).click()
    page.keyboard.press("Control+Enter")
    expect(page).to_have_url(re.compile(r"/pos/ts_\w+$"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("reader", ["Counter", "Terrace"])
def test_a_sale_goes_to_a_terminal_and_comes_back_approved(till: Page, reader: str) -> None:
    sell(till, "1234", reader)

    expect(till.locator(".outcome h1")).to_have_text("Approved", timeout=PATIENCE_MS)
    expect(till.locator(".receipt")).to_contain_text("€12.34")
    expect(till.locator(".receipt")).to_contain_text(re.compile(r"•••• \d{4}"))


@pytest.mark.timeout(180)
def test_a_terminal_that_declines_is_explained(till: Page) -> None:
    sell(till, "551", "Counter")

    expect(till.locator(".outcome h1")).to_have_text("Declined", timeout=PATIENCE_MS)
    expect(till.locator(".outcome")).to_contain_text("not enough money")


@pytest.mark.timeout(180)
def test_a_lost_answer_is_found_out_by_asking_the_terminal(till: Page) -> None:
    sell(till, "997", "Terrace")

    expect(till.locator(".outcome h1")).to_have_text("Approved", timeout=60_000)
    expect(till.locator("#till")).to_contain_text("The answer was lost")
    till.get_by_role("link", name="Open the transaction").click()
    expect(till.locator(".timeline")).to_contain_text("The answer was lost")
    expect(till.locator("h1")).to_have_text("€9.97")


@pytest.mark.timeout(180)
def test_a_card_is_tapped_on_the_page_of_simulated_readers(till: Page, stage: Stage) -> None:
    tricks = till.context.new_page()
    tricks.goto(f"{stage.url}/simulated-readers")
    terrace = tricks.locator("section", has=tricks.get_by_role("heading", name="Terrace"))
    terrace.get_by_label("Next payment").select_option("manual")
    terrace.get_by_role("button", name="Do it").first.click()
    expect(terrace.get_by_role("status")).to_have_text("the next payment: manual")
    sell(till, "1500", "Terrace")
    expect(till.locator("#till")).to_contain_text("Waiting for the card", timeout=PATIENCE_MS)

    terrace.get_by_role("button", name="Tap a card").click()

    expect(till.locator(".outcome h1")).to_have_text("Approved", timeout=PATIENCE_MS)
    expect(till.locator(".receipt")).to_contain_text("€15.00")


@pytest.mark.timeout(180)
def test_a_box_is_tested_from_afar_and_its_log_is_followed(
    stage: Stage, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{stage.url}/readers")
    page.get_by_role("button", name="IT").click()
    page.locator("#boxes").get_by_role("link", name=socket.gethostname()).click()
    page.get_by_role("link", name="From afar").click()

    page.get_by_role("button", name="Test everything").click()
    expect(page.locator("#orders li").first).to_contain_text("Done", timeout=PATIENCE_MS)
    expect(page.locator("#orders li").first).to_contain_text("takes this device's certificate")
    page.get_by_role("button", name="Fetch a bundle").click()
    expect(page.get_by_role("link", name="Save the bundle")).to_be_visible(timeout=PATIENCE_MS)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save the bundle").click()
    with zipfile.ZipFile(saved.value.path()) as bundle:
        assert {"agent.log", "self-test.json", "state.json"} <= set(bundle.namelist())
    page.get_by_role("button", name="Follow for").click()
    expect(page.locator("#log")).to_contain_text("command_begun", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Report now").click()

    expect(page.locator("#log li").last).to_contain_text("command_done", timeout=PATIENCE_MS)
    expect(page.locator("#log")).to_contain_text("kind=agent.report", timeout=PATIENCE_MS)


@pytest.mark.timeout(180)
def test_settings_of_a_reader_reach_its_box_and_count_there(
    stage: Stage, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(f"{stage.url}/readers")
    page.get_by_role("button", name="IT").click()
    page.locator("#fleet").get_by_role("link", name="Counter", exact=True).click()
    address = f"{page.url.split('?')[0]}/settings"
    page.goto(address)
    labels = page.locator("form.sheet label").all_inner_texts()
    password = page.get_by_label("Password of the terminal")
    most = page.get_by_label("Largest payment, in cents")

    most.fill("0")
    password.fill("271828")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#max_amount_minor-why")).to_contain_text("takes a whole number from 1 to")
    expect(most).to_have_attribute("aria-invalid", "true")
    expect(password).to_have_value("")
    refused = page.content()
    page.goto(address)
    expect(most).to_have_value("")
    assert password.get_attribute("placeholder") is None

    most.fill("5000")
    password.fill("000000")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".note[role=status]")).to_contain_text("Saved.")
    expect(password).to_have_value("")
    expect(password).to_have_attribute("placeholder", "Is set; leave empty to keep it")
    expect(most).to_have_value("5000")
    saved = page.content()
    in_force(page)

    till = context.browser.new_context(locale="en-GB").new_page() if context.browser else page
    till.goto(f"{stage.url}/pos?new=1")
    till.get_by_role("button", name="Cashier").click()
    sell(till, "5001", "Counter")
    expect(till.locator(".outcome h1")).to_have_text("Not taken", timeout=PATIENCE_MS)
    till.context.close()

    most.fill("")
    page.get_by_label("Forget it, and use the one on the box").check()
    page.keyboard.press("Control+Enter")
    expect(page.locator(".note[role=status]")).to_contain_text("Saved.")
    in_force(page)
    assert labels[:2] == ["Password of the terminal", "Largest payment, in cents"]
    assert len(labels) == 3
    assert "271828" not in refused
    assert 'value="000000"' not in saved
    assert password.get_attribute("placeholder") is None


def in_force(page: Page) -> None:
    """The box has told that it works with what is set."""

    def told() -> bool:
        page.reload()
        return page.locator(".axes").get_by_text("In sync").count() > 0

    eventually(told, 30, poll_s=0.5)
