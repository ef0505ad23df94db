"""Every answer and every event of the sandbox against the schemas that Stripe publishes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import stripe

from control_plane.sandbox.app import SandboxApi
from control_plane.sandbox.settings import SandboxSettings
from tests.support.stripe_sandbox import SECRET_KEY, InProcessHttpClient
from tests.support.stripe_schema import (
    RequestJudge,
    answer_problems,
    decoded,
    event_problems,
    fields_of,
)

Json = dict[str, Any]  # parameters and answers of any call
ADDRESS = {
    "country": "US",
    "line1": "1 Main Street",
    "city": "San Francisco",
    "state": "CA",
    "postal_code": "94107",
}
CARD: Json = {
    "amount": 1234,
    "currency": "usd",
    "confirm": True,
    "allowed_payment_method_types": ["card"],
}
BANK: Json = {
    "type": "us_bank_account",
    "billing_details": {"name": "Sam", "email": "sam@example.com"},
    "us_bank_account": {
        "account_number": "000123456789",
        "routing_number": "110000000",
        "account_holder_type": "individual",
    },
}
IBAN = {
    "type": "sepa_debit",
    "billing_details": {"name": "Sam", "email": "sam@example.com"},
    "sepa_debit": {"iban": "DE89370400440532013000"},
}
OFFLINE = {"customer_acceptance": {"type": "offline", "offline": {}}}


class Recorder(InProcessHttpClient):
    """Keeps each call with its answer."""

    def __init__(self, api: SandboxApi) -> None:
        super().__init__(api)
        self.api = api
        #: method, path, form, status, body
        self.calls: list[tuple[str, str, str, int, Json]] = []

    # Any: the SDK's signature.
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        answered = super().request(method, url, headers, post_data, _usage=_usage)
        path, _, query = url.removeprefix("http://sandbox.local").partition("?")
        form = query if method.upper() in ("GET", "DELETE") else (post_data or "")
        if isinstance(form, str):
            self.calls.append((method.upper(), path, form, answered[1], json.loads(answered[0])))
        return answered


class Shop:
    """Calls the sandbox through the SDK, by path."""

    def __init__(self) -> None:
        self.api = SandboxApi(SandboxSettings())
        self.http = Recorder(self.api)
        self.client = stripe.StripeClient(
            SECRET_KEY,
            http_client=self.http,
            base_addresses={"api": "http://sandbox.local", "files": "http://sandbox.local"},
            max_network_retries=0,
        )

    def post(self, path: str, **params: Any) -> Json:
        self.client.raw_request("post", f"/v1/{path}", **params)
        return self.http.calls[-1][4]

    def get(self, path: str, **params: Any) -> Json:
        self.client.raw_request("get", f"/v1/{path}", **params)
        return self.http.calls[-1][4]

    def delete(self, path: str) -> Json:
        self.client.raw_request("delete", f"/v1/{path}")
        return self.http.calls[-1][4]

    def declined(self, path: str, **params: Any) -> None:
        with pytest.raises(stripe.CardError):
            self.post(path, **params)

    def reader(self) -> str:
        location = self.post("terminal/locations", display_name="Shop", address=ADDRESS)
        made = self.post(
            "terminal/readers", registration_code="simulated-s700", location=location["id"]
        )
        return str(made["id"])

    def events(self) -> list[Json]:
        return self.api.sandbox.store.find("event")


# --- everyday scenarios, which between them touch every endpoint ---


def customers(shop: Shop) -> None:
    made = shop.post(
        "customers", name="Sam", email="sam@example.com", address=ADDRESS, metadata={"a": "b"}
    )
    shop.post(f"customers/{made['id']}", phone="+15555550123")
    shop.get(f"customers/{made['id']}")
    shop.get("customers")
    shop.get("customers/search", query="email:'sam@example.com'")
    method = shop.post("payment_methods", **BANK)
    shop.get(f"payment_methods/{method['id']}")
    card = shop.post("payment_methods", type="card", card={"token": "tok_visa"})
    shop.post(f"payment_methods/{card['id']}/attach", customer=made["id"])
    shop.post(
        f"payment_methods/{card['id']}", billing_details={"name": "Sam Doe"}, metadata={"x": "y"}
    )
    shop.get("payment_methods", customer=made["id"], type="card")
    shop.get(f"customers/{made['id']}/payment_methods")
    shop.get(f"customers/{made['id']}/payment_methods/{card['id']}")
    shop.post(
        "customer_sessions",
        customer=made["id"],
        components={
            "payment_element": {"enabled": True, "features": {"payment_method_save": "enabled"}}
        },
    )
    shop.post(f"payment_methods/{card['id']}/detach")
    shop.delete(f"customers/{made['id']}")


def card_payments(shop: Shop) -> None:
    token = shop.post("test_helpers/confirmation_tokens", payment_method="pm_card_visa")
    shop.get(f"confirmation_tokens/{token['id']}")
    paid = shop.post(
        "payment_intents",
        **CARD,
        confirmation_token=token["id"],
        expand=["latest_charge.balance_transaction", "payment_method"],
    )
    charge = paid["latest_charge"]["id"]
    shop.get(f"charges/{charge}")
    shop.post(f"charges/{charge}", description="Tea")
    shop.get("charges", payment_intent=paid["id"])
    shop.get("charges/search", query=f"payment_intent:'{paid['id']}'")
    shop.get("payment_intents/search", query="amount:1234")
    shop.get("payment_intents")
    refund = shop.post(
        "refunds", payment_intent=paid["id"], amount=234, reason="requested_by_customer"
    )
    shop.get(f"refunds/{refund['id']}")
    shop.post(f"refunds/{refund['id']}", metadata={"a": "b"})
    shop.get("refunds", charge=charge)
    shop.get(f"payment_intents/{paid['id']}", expand=["latest_charge.refunds"])
    shop.post(
        "payment_intents",
        **CARD,
        payment_method="pm_card_mastercard",
        payment_method_options={"card": {"moto": True}},
    )


def refunds_that_wait_or_fail(shop: Shop) -> None:
    pending = shop.post("payment_intents", **CARD, payment_method="pm_card_pendingRefund")
    refund = shop.post("refunds", payment_intent=pending["id"])
    shop.get(f"refunds/{refund['id']}")
    with pytest.raises(stripe.InvalidRequestError):
        shop.post(f"refunds/{refund['id']}/cancel")
    failing = shop.post("payment_intents", **CARD, payment_method="pm_card_refundFail")
    shop.post("refunds", payment_intent=failing["id"])
    shop.api.sandbox.put_forward(8 * 86_400)
    shop.get("refunds")


def declines(shop: Shop) -> None:
    shop.declined("payment_intents", **CARD, payment_method="pm_card_visa_chargeDeclined")
    shop.declined("payment_intents", **CARD, payment_method="pm_card_radarBlock")
    shop.get("payment_intents")
    shop.get("charges")


def holding(shop: Shop) -> None:
    options = {"card": {"request_incremental_authorization": "if_available"}}
    held = {
        **CARD,
        "capture_method": "manual",
        "payment_method": "pm_card_visa",
        "payment_method_options": options,
    }
    first = shop.post("payment_intents", **held)
    shop.post(f"payment_intents/{first['id']}/increment_authorization", amount=2000)
    shop.post(f"payment_intents/{first['id']}/capture", amount_to_capture=1500)
    second = shop.post("payment_intents", **held)
    shop.post(f"payment_intents/{second['id']}/cancel", cancellation_reason="requested_by_customer")
    opened = shop.post("payment_intents", amount=500, currency="eur", description="Tea")
    shop.post(f"payment_intents/{opened['id']}", amount=600, receipt_email="sam@example.com")
    shop.post(
        f"payment_intents/{opened['id']}/confirm",
        payment_method="pm_card_visa",
        return_url="https://example.com",
    )
    shop.get("balance")
    booked = shop.get("balance_transactions")
    shop.get(f"balance_transactions/{booked['data'][0]['id']}")
    shop.get("exchange_rates")
    shop.get("exchange_rates/usd")


def authentication(shop: Shop) -> None:
    three = {**CARD, "payment_method": "pm_card_authenticationRequired"}
    shop.post("payment_intents", **three, return_url="https://example.com")
    shop.post("payment_intents", **three, use_stripe_sdk=True)
    customer = shop.post("customers")["id"]
    shop.post(
        "setup_intents",
        customer=customer,
        confirm=True,
        payment_method="pm_card_authenticationRequired",
        allowed_payment_method_types=["card"],
        return_url="https://example.com",
    )


def saving(shop: Shop) -> None:
    customer = shop.post("customers")["id"]
    made = shop.post("setup_intents", customer=customer, allowed_payment_method_types=["card"])
    shop.post(f"setup_intents/{made['id']}", description="Card on file")
    shop.post(f"setup_intents/{made['id']}/confirm", payment_method="pm_card_visa")
    shop.get(f"setup_intents/{made['id']}", expand=["latest_attempt"])
    shop.get("setup_intents")
    shop.get("setup_attempts", setup_intent=made["id"])
    other = shop.post("setup_intents", allowed_payment_method_types=["card"])
    shop.post(f"setup_intents/{other['id']}/cancel")
    shop.post(
        "payment_intents",
        **CARD,
        customer=customer,
        payment_method=shop.get(f"customers/{customer}/payment_methods")["data"][0]["id"],
        off_session=True,
    )


def bank_debits(shop: Shop) -> None:
    debit = {
        "amount": 5000,
        "currency": "usd",
        "confirm": True,
        "allowed_payment_method_types": ["us_bank_account"],
    }
    waiting = shop.post("payment_intents", **debit, payment_method_data=BANK, mandate_data=OFFLINE)
    shop.post(f"payment_intents/{waiting['id']}/verify_microdeposits", amounts=[32, 45])
    setup = shop.post(
        "setup_intents",
        confirm=True,
        allowed_payment_method_types=["us_bank_account"],
        payment_method_data=BANK,
        mandate_data=OFFLINE,
    )
    verified = shop.post(
        f"setup_intents/{setup['id']}/verify_microdeposits", descriptor_code="SM11AA"
    )
    shop.get(f"mandates/{verified['mandate']}")
    failing = {
        **BANK,
        "us_bank_account": {**BANK["us_bank_account"], "account_number": "000222222227"},
    }
    bad = shop.post("payment_intents", **debit, payment_method_data=failing, mandate_data=OFFLINE)
    shop.post(f"payment_intents/{bad['id']}/verify_microdeposits", amounts=[32, 45])
    shop.post(
        "payment_intents",
        amount=5000,
        currency="eur",
        confirm=True,
        allowed_payment_method_types=["sepa_debit"],
        payment_method_data=IBAN,
        mandate_data=OFFLINE,
    )
    shop.api.sandbox.put_forward(10 * 86_400)
    shop.get("payment_intents")
    shop.get("charges")
    shop.get("balance_transactions")


def disputes(shop: Shop) -> None:
    first = shop.post("payment_intents", **CARD, payment_method="pm_card_createDispute")
    shop.post("payment_intents", **CARD, payment_method="pm_card_createDisputeInquiry")
    shop.post("payment_intents", **CARD, payment_method="pm_card_createIssuerFraudRecord")
    shop.api.sandbox.put_forward(3600)
    found = shop.get("disputes", payment_intent=first["id"])["data"][0]["id"]
    shop.get(f"disputes/{found}")
    shop.post(f"disputes/{found}", evidence={"uncategorized_text": "losing_evidence"}, submit=True)
    shop.api.sandbox.put_forward(90 * 86_400)
    other = shop.post("payment_intents", **CARD, payment_method="pm_card_createDispute")
    shop.api.sandbox.put_forward(3600)
    second = shop.get("disputes", payment_intent=other["id"])["data"][0]["id"]
    shop.post(f"disputes/{second}/close")
    warnings = shop.get("radar/early_fraud_warnings")["data"]
    shop.get(f"radar/early_fraud_warnings/{warnings[0]['id']}")


def catalogue_and_links(shop: Shop) -> None:
    product = shop.post("products", name="Tea")
    shop.post(f"products/{product['id']}", description="Green")
    shop.get(f"products/{product['id']}")
    shop.get("products")
    price = shop.post("prices", product=product["id"], unit_amount=500, currency="usd")
    shop.post(f"prices/{price['id']}", nickname="Cup")
    shop.get(f"prices/{price['id']}")
    shop.get("prices")
    shop.delete(f"products/{shop.post('products', name='Gone')['id']}")
    items = [{"price": price["id"], "quantity": 2}]
    link = shop.post(
        "payment_links",
        line_items=items,
        restrictions={"completed_sessions": {"limit": 1}},
        custom_fields=[
            {"key": "room", "label": {"type": "custom", "custom": "Room"}, "type": "text"}
        ],
    )
    shop.get(f"payment_links/{link['id']}", expand=["line_items"])
    shop.get(f"payment_links/{link['id']}/line_items")
    shop.post(f"payment_links/{link['id']}", active=False)
    shop.get("payment_links")
    session = shop.post(
        "checkout/sessions", mode="payment", line_items=items, success_url="https://example.com"
    )
    shop.get(f"checkout/sessions/{session['id']}", expand=["line_items"])
    shop.get(f"checkout/sessions/{session['id']}/line_items")
    shop.post(f"checkout/sessions/{session['id']}", metadata={"a": "b"})
    shop.post(f"checkout/sessions/{session['id']}/expire")
    shop.get("checkout/sessions")


def the_account(shop: Shop) -> None:
    account = shop.get("account")
    shop.get(f"accounts/{account['id']}")
    hook = shop.post("webhook_endpoints", url="http://127.0.0.1:1/hook", enabled_events=["*"])
    shop.post(f"webhook_endpoints/{hook['id']}", description="Till")
    shop.get(f"webhook_endpoints/{hook['id']}")
    shop.get("webhook_endpoints")
    shop.post("payment_intents", **CARD, payment_method="pm_card_visa")
    events = shop.get("events", type="charge.succeeded")
    shop.get(f"events/{events['data'][0]['id']}")
    shop.delete(f"webhook_endpoints/{hook['id']}")


def places(shop: Shop) -> None:
    default = shop.post(
        "terminal/configurations", name="All", tipping={"usd": {"percentages": [10, 15, 20]}}
    )
    own = shop.post(
        "terminal/configurations",
        reboot_window={"start_hour": 2, "end_hour": 4},
        offline={"enabled": True},
        wifi={"type": "personal_psk", "personal_psk": {"ssid": "shop", "password": "long enough"}},
    )
    shop.post(f"terminal/configurations/{default['id']}", tipping="")
    shop.get(f"terminal/configurations/{default['id']}")
    shop.get("terminal/configurations")
    shop.delete(f"terminal/configurations/{own['id']}")
    location = shop.post("terminal/locations", display_name="Shop", address=ADDRESS)
    shop.post(f"terminal/locations/{location['id']}", display_name="Other")
    shop.get(f"terminal/locations/{location['id']}")
    shop.get("terminal/locations")
    shop.post("terminal/connection_tokens", location=location["id"])
    shop.post(
        "terminal/onboarding_links",
        link_type="apple_terms_and_conditions",
        link_options={"apple_terms_and_conditions": {"merchant_display_name": "Shop"}},
    )
    shop.delete(f"terminal/locations/{location['id']}")


def readers(shop: Shop) -> None:
    reader = shop.reader()
    at = f"terminal/readers/{reader}"
    helper = f"test_helpers/{at}"
    shop.post(at, label="Counter")
    shop.get(at)
    shop.get("terminal/readers")
    shop.post(
        f"{at}/set_reader_display",
        type="cart",
        cart={
            "currency": "usd",
            "total": 5,
            "line_items": [{"amount": 5, "description": "Tea", "quantity": 1}],
        },
    )
    shop.post(f"{at}/cancel_action")
    in_person = {
        "amount": 1000,
        "currency": "usd",
        "allowed_payment_method_types": ["card_present"],
    }
    customer = shop.post("customers")["id"]
    paid = shop.post(
        "payment_intents", **in_person, customer=customer, setup_future_usage="off_session"
    )
    shop.post(
        f"{at}/process_payment_intent",
        payment_intent=paid["id"],
        process_config={"enable_customer_cancellation": True},
    )
    shop.post(f"{helper}/present_payment_method")
    shop.get(f"payment_intents/{paid['id']}", expand=["latest_charge"])
    shop.post(f"{at}/refund_payment", payment_intent=paid["id"], amount=300)
    shop.post(f"{helper}/present_payment_method")
    collected = shop.post("payment_intents", **{**in_person, "amount": 1055})
    shop.post(f"{at}/collect_payment_method", payment_intent=collected["id"])
    shop.post(f"{helper}/present_payment_method")
    shop.post(f"{at}/confirm_payment_intent", payment_intent=collected["id"])
    setup = shop.post(
        "setup_intents", customer=customer, allowed_payment_method_types=["card_present"]
    )
    shop.post(f"{at}/process_setup_intent", setup_intent=setup["id"], allow_redisplay="limited")
    shop.post(f"{helper}/present_payment_method")
    inputs: list[Json] = [
        {"type": kind, "custom_text": {"title": kind}, "required": False}
        for kind in ("text", "numeric", "email", "phone", "signature")
    ]
    shop.post(f"{at}/collect_inputs", inputs=inputs)
    shop.post(f"{helper}/succeed_input_collection")
    files = shop.get("files")["data"]
    shop.get(f"files/{files[0]['id']}")
    choice = {
        "type": "selection",
        "custom_text": {"title": "Bag?"},
        "selection": {"choices": [{"id": "y", "text": "Yes"}]},
    }
    shop.post(
        f"{at}/collect_inputs",
        inputs=[{**choice, "toggles": [{"title": "News", "default_value": "enabled"}]}],
    )
    shop.post(f"{helper}/timeout_input_collection")
    canadian = shop.post(
        "payment_intents",
        amount=1000,
        currency="cad",
        allowed_payment_method_types=["interac_present", "card_present"],
    )
    shop.post(f"{at}/process_payment_intent", payment_intent=canadian["id"])
    shop.post(f"{helper}/present_payment_method", type="interac_present")
    shop.get(f"payment_intents/{canadian['id']}", expand=["latest_charge"])
    shop.delete(at)


SCENARIOS: list[Callable[[Shop], None]] = [
    customers, card_payments, refunds_that_wait_or_fail, declines, holding, authentication, saving, bank_debits,
    disputes, catalogue_and_links, the_account, places, readers,
]  # fmt: skip


@pytest.fixture
def shop() -> Iterator[Shop]:
    opened = Shop()
    yield opened
    opened.api.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_answers_and_events_have_the_published_shape(
    shop: Shop, scenario: Callable[[Shop], None]
) -> None:
    scenario(shop)

    found = {
        f"{method} {path.split('?')[0]} {problem}"
        for method, path, _, status, body in shop.http.calls
        if status == 200
        for problem in answer_problems(method, path, body)
    }
    assert sorted(found) == []
    assert sorted({one for event in shop.events() for one in event_problems(event)}) == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.__name__)
def test_what_these_scenarios_send_is_what_the_document_takes(
    shop: Shop, scenario: Callable[[Shop], None]
) -> None:
    scenario(shop)
    judge = RequestJudge(shop.api)

    found = {
        f"{method} {path} {problem}"
        for method, path, form, _, _ in shop.http.calls
        for problem in judge.problems(method, path, form)
    }

    assert sorted(found) == []


def test_the_scenarios_touch_every_endpoint(shop: Shop) -> None:
    for scenario in SCENARIOS:
        scenario(shop)

    table = shop.api.api._table  # noqa: SLF001 - all there is
    touched = {
        (matched[0].method, matched[0].path)
        for method, path, *_ in shop.http.calls
        if (matched := table.match(method, path)) is not None
    }
    # Uploads are multipart, which the recorder does not keep; fields in a browser have their own tests.
    apart = {
        ("POST", "/v1/files"),
        ("POST", "/v1/confirmation_tokens"),
        ("POST", "/v1/elements/payment_methods"),
        ("GET", "/v1/elements/sessions"),
    }
    assert sorted(_endpoints(table._root) - touched - apart) == []  # noqa: SLF001 - all there is


def _endpoints(branch: Json) -> set[tuple[str, str]]:
    here = {(one.method, one.path) for one in branch.get("", {}).values()}
    return here.union(*(_endpoints(inner) for step, inner in branch.items() if step))


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ("amount=5&currency=usd&colour=red", "Received unknown parameter: colour"),
        ("amount=five&currency=usd", "Invalid integer: five"),
        ("amount=500", "Missing required param: currency."),
        ("amount=500&currency=usd&payment_method_types[]=card", "payment_method_types"),
        ("amount=500&currency=usd&shipping[address][city]=X", "shipping[name]"),
    ],
)
def test_a_request_that_stripe_would_refuse_is_found(shop: Shop, form: str, problem: str) -> None:
    found = RequestJudge(shop.api).problems("POST", "/v1/payment_intents", form)

    assert any(problem in one for one in found), found


def test_an_answer_that_is_not_stripes_is_found(shop: Shop) -> None:
    paid = shop.post("payment_intents", **CARD, payment_method="pm_card_visa")
    broken = {**paid, "status": "paid", "amount": "12.34", "colour": "red", "livemode": None}
    del broken["created"]

    found = answer_problems("POST", "/v1/payment_intents", broken)

    assert sorted(found) == [
        ".amount: str instead of integer",
        ".colour: unknown",
        ".created: missing",
        ".livemode: null",
        ".status: 'paid' is none of its values",
    ]


def test_nested_forms_are_decoded() -> None:
    form = "inputs[0][type]=text&inputs[1][type]=email&metadata[a]=b&expand[]=x&expand[]=y"

    assert decoded(form) == {
        "inputs": [{"type": "text"}, {"type": "email"}],
        "metadata": {"a": "b"},
        "expand": ["x", "y"],
    }
    assert fields_of("a%5B0%5D=b") == {"a[0]": "b"}
