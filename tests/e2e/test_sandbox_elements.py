"""The sandbox's fields in a merchant's page: what a browser shows, and what never reaches the merchant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest
from playwright.sync_api import FrameLocator, Page, Request, expect

from tests.support.ports import LOOPBACK
from tests.support.stripe_sandbox import PUBLISHABLE_KEY, SandboxServer, sandbox_server

CARD = "4242424242424242"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shop</title></head>
<body><main><h1>Pay</h1><form><div id="fields"></div><button>Pay</button></form></main>
<script src="{sandbox}/sandbox-stripe.js"></script></body></html>"""


@dataclass(slots=True)
class Merchant:
    """A shop's page on an origin of its own, with all that was ever sent to it."""

    url: str
    received: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with sandbox_server() as running:
        yield running


@pytest.fixture
def merchant(sandbox: SandboxServer) -> Iterator[Merchant]:
    shop = Merchant("")

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length).decode()
            shop.received.append(f"{self.requestline}\n{self.headers}\n{body}")
            policy = (
                f"default-src 'self'; script-src 'self' {sandbox.url}; frame-src {sandbox.url}; "
                f"connect-src 'self' {sandbox.url}; style-src 'self'; img-src 'self' data:"
            )
            content = _PAGE.format(sandbox=sandbox.url).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Shop)
    thread = threading.Thread(target=server.serve_forever, name="merchant")
    thread.start()
    shop.url = f"http://{LOOPBACK}:{server.server_port}"
    yield shop
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


@pytest.fixture
def shop_page(page: Page, merchant: Merchant) -> Page:
    page.goto(merchant.url)
    return page


def mount(page: Page, **options: Any) -> FrameLocator:  # Any: options of elements()
    """Mount a payment element as `element`, of `elements`, and note its last change."""
    given = {
        "mode": "payment",
        "amount": 1234,
        "currency": "usd",
        "locale": "en",
        "allowedPaymentMethodTypes": ["card"],
        **options,
    }
    page.evaluate(
        """([key, options]) => {
            window.stripe = Stripe(key);
            window.elements = stripe.elements(options);
            window.element = elements.create("payment");
            element.on("change", (event) => { window.changed = event; });
            const ready = new Promise((resolve) => element.on("ready", resolve));
            element.mount("#fields");
            return ready.then(() => true);
        }""",
        [PUBLISHABLE_KEY, given],
    )
    return page.frame_locator("#fields iframe")


def type_card(fields: FrameLocator, number: str = CARD) -> None:
    fields.get_by_label("Card number").press_sequentially(number)
    fields.get_by_label("Expiry date").press_sequentially("1230")
    fields.get_by_label("Security code").press_sequentially("123")
    fields.get_by_label("Country").select_option("US")
    fields.get_by_label("ZIP code").fill("94107")


def submit(page: Page) -> dict[str, Any]:
    return cast("dict[str, Any]", page.evaluate("() => elements.submit()"))


def token(page: Page) -> dict[str, Any]:
    made = page.evaluate("() => stripe.createConfirmationToken({ elements })")
    assert "error" not in made, made
    return cast("dict[str, Any]", made["confirmationToken"])


def test_a_typed_card_becomes_a_token_and_its_number_never_reaches_the_shop(
    shop_page: Page, merchant: Merchant, sandbox: SandboxServer
) -> None:
    requests: list[Request] = []

    def note(request: Request) -> None:
        requests.append(request)

    shop_page.on("request", note)
    fields = mount(shop_page)

    type_card(fields)
    assert submit(shop_page) == {"selectedPaymentMethod": "card"}
    made = token(shop_page)
    shop_page.evaluate("(id) => fetch('/charge', { method: 'POST', body: id })", made["id"])

    assert made["id"].startswith("ctoken_")
    preview = made["payment_method_preview"]["card"]
    assert (preview["brand"], preview["last4"]) == ("visa", "4242")
    carrying = [one for one in requests if CARD in one.url or CARD in (one.post_data or "")]
    assert [one.url for one in carrying] == [f"{sandbox.url}/v1/confirmation_tokens"]
    assert carrying[0].frame.url.startswith(f"{sandbox.url}/_browser/frame")
    everything = "\n".join(merchant.received)
    assert made["id"] in everything
    assert CARD not in everything
    assert "4242 4242" not in everything
    assert CARD not in shop_page.content()
    assert CARD not in str(
        shop_page.evaluate("() => [changed, { ...localStorage }, document.cookie]")
    )


def test_the_server_charges_what_the_browser_tokenised(
    shop_page: Page, sandbox: SandboxServer
) -> None:
    type_card(mount(shop_page))
    submit(shop_page)

    paid = sandbox.client().v1.payment_intents.create(
        {
            "amount": 1234,
            "currency": "usd",
            "confirm": True,
            "confirmation_token": token(shop_page)["id"],
            "allowed_payment_method_types": ["card"],
            "expand": ["latest_charge"],
        }
    )

    assert paid.status == "succeeded"
    checks = paid["latest_charge"]["payment_method_details"]["card"]["checks"]
    assert (checks["cvc_check"], checks["address_postal_code_check"]) == ("pass", "pass")


def test_what_is_wrong_is_said_beside_its_field_and_told_to_the_page(shop_page: Page) -> None:
    fields = mount(shop_page)
    fields.get_by_label("Card number").press_sequentially("4242424242424241")
    fields.get_by_label("Expiry date").press_sequentially("1220")

    refused = submit(shop_page)

    wrong = "Your card number is not right. Compare it with the card."
    assert refused["error"] == {
        "type": "validation_error",
        "code": "invalid_number",
        "message": wrong,
    }
    expect(fields.get_by_text(wrong)).to_be_visible()
    expect(fields.get_by_text("in the past")).to_be_visible()
    expect(fields.get_by_text("security code is incomplete")).to_be_visible()
    expect(fields.get_by_label("Card number")).to_have_attribute("aria-invalid", "true")
    expect(fields.get_by_label("Card number")).to_be_focused()
    changed = shop_page.evaluate("() => changed")
    assert (changed["complete"], changed["error"]["code"]) == (False, "invalid_number")


def test_no_token_without_a_check_first(shop_page: Page) -> None:
    mount(shop_page)

    refused = shop_page.evaluate(
        "() => stripe.createConfirmationToken({ elements }).catch((error) => error.message)"
    )

    assert "elements.submit()" in refused


def test_changes_tell_brand_and_completeness_and_no_more(shop_page: Page) -> None:
    fields = mount(shop_page)
    fields.get_by_label("Card number").press_sequentially("3782")
    expect(fields.get_by_text("Amex", exact=True)).to_be_visible()
    assert shop_page.evaluate("() => [changed.brand, changed.complete, changed.empty]") == [
        "amex",
        False,
        False,
    ]
    fields.get_by_label("Card number").fill("")

    type_card(fields)
    shop_page.wait_for_function("() => changed.complete")

    assert shop_page.evaluate("() => changed") == {
        "elementType": "payment",
        "collapsed": False,
        "complete": True,
        "empty": False,
        "error": None,
        "value": {"type": "card"},
        "brand": "visa",
    }


def test_the_form_is_filled_and_sent_by_keyboard_alone(shop_page: Page) -> None:
    mount(shop_page)
    shop_page.evaluate(
        """() => document.querySelector("form").addEventListener("submit", (event) => {
            event.preventDefault();
            window.sent = true;
        })"""
    )
    shop_page.evaluate("() => element.focus()")
    keyboard = shop_page.keyboard
    for text in (CARD, "1230", "123"):
        keyboard.type(text)
        keyboard.press("Tab")
    keyboard.type("United S")
    keyboard.press("Tab")
    keyboard.type("94107")

    keyboard.press("Enter")

    shop_page.wait_for_function("() => window.sent")
    assert submit(shop_page) == {"selectedPaymentMethod": "card"}


def test_the_fields_speak_french(shop_page: Page) -> None:
    fields = mount(shop_page, locale="fr")

    refused = submit(shop_page)

    expect(fields.get_by_label("Numéro de carte")).to_be_visible()
    assert refused["error"]["message"] == "Le numéro de carte est incomplet."
    expect(shop_page.locator("#fields iframe")).to_have_attribute(
        "title", "Saisie sécurisée du paiement"
    )


def test_the_fields_look_like_the_page(shop_page: Page) -> None:
    fields = mount(
        shop_page,
        appearance={
            "theme": "night",
            "variables": {"colorBackground": "rgb(1, 2, 3)", "fontSizeBase": "20px"},
            "rules": {".Input": {"borderTopWidth": "5px"}, "body": {"display": "none"}},
        },
    )
    number = fields.get_by_label("Card number")

    expect(number).to_have_css("background-color", "rgb(1, 2, 3)")
    expect(number).to_have_css("font-size", "20px")
    expect(number).to_have_css("border-top-width", "5px")
    expect(number).to_be_visible()


@pytest.mark.parametrize("theme", ["stripe", "night"])
def test_axe_finds_nothing_in_the_fields(
    shop_page: Page, accessibility_violations: Callable[[Page], list[str]], theme: str
) -> None:
    mount(
        shop_page,
        allowedPaymentMethodTypes=["card", "us_bank_account"],
        appearance={
            "theme": theme,
            "variables": {"colorBackground": "#fff" if theme == "stripe" else "#111"},
        },
    )
    submit(shop_page)

    frame = shop_page.frames[1]
    # The page behind the frame, which axe cannot see from inside it.
    behind = "#fff" if theme == "stripe" else "#111"
    frame.evaluate("(colour) => { document.body.style.background = colour; }", behind)

    # A frame answers what axe asks of a page; the heading is the embedding page's.
    found = accessibility_violations(cast("Page", frame))
    assert [one for one in found if not one.startswith("page-has-heading-one")] == []


def test_bank_debits_are_offered_where_the_currency_has_them(shop_page: Page) -> None:
    fields = mount(shop_page, allowedPaymentMethodTypes=["card", "us_bank_account", "sepa_debit"])
    fields.get_by_text("US bank account").click()
    expect(fields.get_by_text("you authorise")).to_be_visible()
    fields.get_by_label("Full name").fill("Sam Doe")
    fields.get_by_label("E-mail").fill("sam@example.com")
    fields.get_by_label("Routing number").fill("110000001")
    fields.get_by_label("Account number").fill("000123456789")
    refused = submit(shop_page)
    fields.get_by_label("Routing number").fill("110000000")

    assert refused["error"]["code"] == "incomplete_routing"
    assert submit(shop_page) == {"selectedPaymentMethod": "us_bank_account"}
    made = token(shop_page)
    assert made["payment_method_preview"]["us_bank_account"]["last4"] == "6789"
    assert made["mandate_data"]["customer_acceptance"]["type"] == "online"
    expect(fields.get_by_text("SEPA")).to_have_count(0)


def test_an_iban_is_checked_before_it_is_sent(shop_page: Page) -> None:
    fields = mount(shop_page, currency="eur", allowedPaymentMethodTypes=["sepa_debit"])
    fields.get_by_label("Full name").fill("Sam Doe")
    fields.get_by_label("E-mail").fill("sam@example.com")
    fields.get_by_label("IBAN").fill("DE89370400440532013001")
    refused = submit(shop_page)
    fields.get_by_label("IBAN").fill("DE89 3704 0044 0532 0130 00")

    assert refused["error"]["code"] == "invalid_iban"
    assert submit(shop_page) == {"selectedPaymentMethod": "sepa_debit"}
    assert token(shop_page)["payment_method_preview"]["sepa_debit"]["last4"] == "3000"


def test_what_the_page_keeps_from_the_fields_it_has_to_give_itself(shop_page: Page) -> None:
    mount(shop_page)
    refused = shop_page.evaluate(
        """async () => {
            element.destroy();
            element = elements.create("payment", { fields: { billingDetails: { address: "never" } } });
            const ready = new Promise((resolve) => element.on("ready", resolve));
            element.mount("#fields");
            await ready;
            elements.submitted = true;
            return stripe.createConfirmationToken({ elements }).catch((error) => error.message);
        }"""
    )

    assert 'You specified "never" for fields.billing_details.address.line1' in refused
    expect(shop_page.frame_locator("#fields iframe").get_by_label("Country")).to_have_count(0)


def test_fields_that_were_named_another_page_stay_empty(
    shop_page: Page, sandbox: SandboxServer
) -> None:
    heard = shop_page.evaluate(
        """async (sandbox) => {
            const heard = [];
            window.addEventListener("message", (event) => heard.push(event.data));
            const frame = document.createElement("iframe");
            frame.src = `${sandbox}/_browser/frame#id=x&origin=http://127.0.0.1:1`;
            const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
            document.body.append(frame);
            await loaded;
            const init = { frame: "x", type: "init", role: "payment", key: "pk_test_x", elements: {}, options: {} };
            frame.contentWindow.postMessage(init, "*");
            await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
            return heard;
        }""",
        sandbox.url,
    )

    assert heard == []
    expect(shop_page.frame_locator("iframe").locator("input")).to_have_count(0)


def test_a_live_key_is_refused_before_anything_is_shown(shop_page: Page) -> None:
    refused = shop_page.evaluate(
        "() => { try { Stripe('pk_live_x'); } catch (error) { return error.name; } }"
    )

    assert refused == "IntegrationError"


@pytest.mark.parametrize(
    ("press", "status", "error"),
    [
        ("Complete", "succeeded", None),
        ("Fail", "requires_payment_method", "payment_intent_authentication_failure"),
        ("Escape", "requires_payment_method", "payment_intent_authentication_failure"),
    ],
)
def test_the_bank_asks_in_a_window_above_the_page(
    shop_page: Page, sandbox: SandboxServer, press: str, status: str, error: str | None
) -> None:
    intent = sandbox.client().v1.payment_intents.create(
        {
            "amount": 1234,
            "currency": "usd",
            "confirm": True,
            "payment_method": "pm_card_authenticationRequired",
            "allowed_payment_method_types": ["card"],
            "use_stripe_sdk": True,
        }
    )
    shop_page.evaluate(
        """([key, clientSecret]) => {
            window.outcome = Stripe(key, { locale: "en" }).handleNextAction({ clientSecret });
        }""",
        [PUBLISHABLE_KEY, intent.client_secret],
    )
    bank = shop_page.frame_locator("dialog iframe")
    expect(bank.get_by_role("button", name="Complete")).to_be_focused()

    if press == "Escape":
        shop_page.keyboard.press("Escape")
    else:
        bank.get_by_role("button", name=press).click()
    outcome = shop_page.evaluate("() => outcome")

    assert (outcome.get("error") or {}).get("code") == error
    assert sandbox.client().v1.payment_intents.retrieve(intent.id).status == status
    expect(shop_page.locator("dialog")).to_have_count(0)


def test_a_browser_confirms_with_the_client_secret(shop_page: Page, sandbox: SandboxServer) -> None:
    intent = sandbox.client().v1.payment_intents.create(
        {"amount": 1234, "currency": "usd", "allowed_payment_method_types": ["card"]}
    )
    type_card(mount(shop_page))
    submit(shop_page)

    outcome = shop_page.evaluate(
        """(clientSecret) => stripe.confirmPayment({
            elements, clientSecret, confirmParams: { return_url: location.href }, redirect: "if_required",
        })""",
        intent.client_secret,
    )

    assert outcome["paymentIntent"]["status"] == "succeeded"
    assert "customer" not in outcome["paymentIntent"]


def test_a_decline_comes_back_as_an_error(shop_page: Page, sandbox: SandboxServer) -> None:
    intent = sandbox.client().v1.payment_intents.create(
        {"amount": 1234, "currency": "usd", "allowed_payment_method_types": ["card"]}
    )
    type_card(mount(shop_page), "4000000000009995")
    submit(shop_page)

    outcome = shop_page.evaluate(
        """(clientSecret) => stripe.confirmPayment({
            elements, clientSecret, confirmParams: { return_url: location.href }, redirect: "if_required",
        })""",
        intent.client_secret,
    )

    assert outcome["error"]["type"] == "card_error"
    assert outcome["error"]["decline_code"] == "insufficient_funds"
    assert (
        sandbox.client().v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"
    )


def test_a_bank_account_is_collected_confirmed_and_verified(
    shop_page: Page, sandbox: SandboxServer
) -> None:
    intent = sandbox.client().v1.setup_intents.create(
        {"allowed_payment_method_types": ["us_bank_account"]}
    )
    shop_page.evaluate(
        """([key, clientSecret]) => {
            window.stripe = Stripe(key, { locale: "en" });
            window.collected = stripe.collectBankAccountForSetup({ clientSecret, params: {
                payment_method_type: "us_bank_account", payment_method_data: { billing_details: { name: "Sam Doe" } },
            } });
        }""",
        [PUBLISHABLE_KEY, intent.client_secret],
    )
    window = shop_page.frame_locator("dialog iframe")
    window.get_by_label("Routing number").fill("110000000")
    window.get_by_label("Account number").fill("000123456789")
    window.get_by_role("button", name="Continue").click()

    steps = shop_page.evaluate(
        """async (secret) => {
            const collected = await collected_;
            const confirmed = await stripe.confirmUsBankAccountSetup(secret);
            const verified = await stripe.verifyMicrodepositsForSetup(secret, { amounts: [32, 45] });
            return [collected, confirmed, verified].map((one) => one.setupIntent.status);
        }""".replace("collected_", "window.collected"),
        intent.client_secret,
    )

    assert steps == ["requires_confirmation", "requires_action", "succeeded"]


def test_a_card_element_makes_a_payment_method(shop_page: Page, sandbox: SandboxServer) -> None:
    shop_page.evaluate(
        """([key]) => {
            window.stripe = Stripe(key, { locale: "en" });
            window.card = stripe.elements().create("card", { hidePostalCode: true });
            const ready = new Promise((resolve) => card.on("ready", resolve));
            card.mount(document.querySelector("#fields"));
            return ready.then(() => true);
        }""",
        [PUBLISHABLE_KEY],
    )
    fields = shop_page.frame_locator("#fields iframe")
    expect(fields.get_by_label("Country")).to_have_count(0)
    fields.get_by_label("Card number").press_sequentially("5555555555554444")
    fields.get_by_label("Expiry date").press_sequentially("1230")
    fields.get_by_label("Security code").press_sequentially("123")

    made = shop_page.evaluate(
        """() => stripe.createPaymentMethod({ type: "card", card, billing_details: { name: "Sam Doe" } })"""
    )

    method = sandbox.client().v1.payment_methods.retrieve(made["paymentMethod"]["id"])
    assert method.card is not None
    assert (method.card.brand, method.billing_details.name) == ("mastercard", "Sam Doe")


def test_a_saved_card_is_picked_where_the_session_shows_it(
    shop_page: Page, sandbox: SandboxServer
) -> None:
    api = sandbox.client().v1
    customer = api.customers.create().id
    saved = api.payment_methods.attach("pm_card_visa", {"customer": customer})
    api.payment_methods.update(saved.id, {"allow_redisplay": "always"})
    session = api.customer_sessions.create(
        {
            "customer": customer,
            "components": {
                "payment_element": {
                    "enabled": True,
                    "features": {"payment_method_redisplay": "enabled"},
                }
            },
        }
    )

    fields = mount(shop_page, customerSessionClientSecret=session.client_secret)

    expect(fields.get_by_label("Visa ending in 4242")).to_be_checked()
    expect(fields.get_by_label("Card number")).to_have_count(0)
    assert submit(shop_page) == {"selectedPaymentMethod": "card"}
    paid = api.payment_intents.create(
        {
            "amount": 1234,
            "currency": "usd",
            "confirm": True,
            "customer": customer,
            "confirmation_token": token(shop_page)["id"],
            "allowed_payment_method_types": ["card"],
        }
    )
    assert (paid.status, paid.payment_method) == ("succeeded", saved.id)
    fields.get_by_label("Use another one").check()
    expect(fields.get_by_label("Card number")).to_be_visible()
