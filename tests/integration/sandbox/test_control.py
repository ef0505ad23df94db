"""What people and tests do to the sandbox from outside: the control calls, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from starlette.testclient import TestClient

from control_plane.sandbox.app import create_sandbox
from tests.support.stripe_sandbox import client_of

ADDRESS: Any = {
    "country": "US",
    "line1": "1 Main Street",
    "city": "San Francisco",
    "state": "CA",
    "postal_code": "94107",
}
CARD: Any = {
    "amount": 1234,
    "currency": "usd",
    "confirm": True,
    "payment_method": "pm_card_visa",
    "allowed_payment_method_types": ["card"],
}


@pytest.fixture
def outside() -> Iterator[TestClient]:
    app = create_sandbox(pump=False)
    with TestClient(app, base_url="http://127.0.0.1:12111") as opened:
        yield opened
    app.state.sandbox.close()


@pytest.fixture
def api(outside: TestClient) -> stripe.StripeClient:
    return client_of(outside.app.state.sandbox)  # type: ignore[attr-defined] # a FastAPI


@pytest.fixture
def reader(api: stripe.StripeClient) -> str:
    location = api.v1.terminal.locations.create({"display_name": "Shop", "address": ADDRESS})
    made = api.v1.terminal.readers.create(
        {"registration_code": "simulated-wpe", "location": location.id}
    )
    return made.id


def waiting(api: stripe.StripeClient, reader: str) -> stripe.PaymentIntent:
    intent = api.v1.payment_intents.create(
        {"amount": 1000, "currency": "usd", "allowed_payment_method_types": ["card_present"]}
    )
    api.v1.terminal.readers.process_payment_intent(
        reader,
        {"payment_intent": intent.id, "process_config": {"enable_customer_cancellation": True}},
    )
    return intent


def test_the_clock_is_put_forward_and_what_is_due_happens(
    outside: TestClient, api: stripe.StripeClient
) -> None:
    by_hand: Any = {**CARD, "capture_method": "manual"}
    held = api.v1.payment_intents.create(by_hand)
    before = outside.post("/_sandbox/clock/advance", json={}).json()["now"]

    after = outside.post("/_sandbox/clock/advance", json={"days": 7, "seconds": 1}).json()

    assert 7 * 86_400 <= after["now"] - before <= 7 * 86_400 + 60
    assert after["ran"] >= 1
    assert api.v1.payment_intents.retrieve(held.id).status == "canceled"


def test_the_clock_never_goes_back(outside: TestClient) -> None:
    assert outside.post("/_sandbox/clock/advance", json={"seconds": -1}).status_code == 422


@pytest.mark.parametrize(
    ("kind", "error", "charged"),
    [
        ("lost_request", stripe.APIConnectionError, 0),
        ("lost_answer", stripe.APIConnectionError, 1),
        ("timeout_after_success", stripe.APIConnectionError, 1),
        ("server_error", stripe.APIError, 0),
        ("server_error_after_success", stripe.APIError, 1),
        ("conflict", stripe.APIError, 0),
        ("rate_limit", stripe.RateLimitError, 0),
    ],
)
def test_a_fault_hits_the_next_call_and_no_other(
    outside: TestClient,
    api: stripe.StripeClient,
    kind: str,
    error: type[stripe.StripeError],
    charged: int,
) -> None:
    fault = {"kind": kind, "on": "POST /v1/payment_intents"}
    outside.post("/_sandbox/faults", json=fault).raise_for_status()

    with pytest.raises(error):
        api.v1.payment_intents.create(CARD)

    assert outside.get("/_sandbox/faults").json() == []
    assert len(api.v1.charges.list().data) == charged
    assert api.v1.payment_intents.create(CARD).status == "succeeded"


def test_faults_are_listed_and_taken_back(outside: TestClient, api: stripe.StripeClient) -> None:
    first = outside.post("/_sandbox/faults", json={"kind": "server_error", "times": 3}).json()
    outside.post("/_sandbox/faults", json={"kind": "rate_limit"})

    outside.delete(f"/_sandbox/faults/{first['id']}")
    left = [one["kind"] for one in outside.get("/_sandbox/faults").json()]
    outside.delete("/_sandbox/faults")

    assert left == ["rate_limit"]
    assert api.v1.payment_intents.create(CARD).status == "succeeded"


def test_an_unknown_fault_is_refused(outside: TestClient) -> None:
    assert outside.post("/_sandbox/faults", json={"kind": "earthquake"}).status_code == 422
    assert outside.post("/_sandbox/faults", json={"kind": "slow", "how": 1}).status_code == 422
    assert outside.get("/_sandbox/faults").json() == []


def test_moto_is_opened_and_closed_for_the_account(
    outside: TestClient, api: stripe.StripeClient
) -> None:
    keyed: Any = {**CARD, "payment_method_options": {"card": {"moto": True}}}
    outside.post("/_sandbox/account", json={"moto_enabled": False})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.v1.payment_intents.create(keyed)
    outside.post("/_sandbox/account", json={"moto_enabled": True})

    assert refused.value.code == "parameter_unknown"
    assert api.v1.payment_intents.create(keyed).status == "succeeded"
    assert len(api.v1.charges.list().data) == 1


def test_a_reader_of_any_type_shows_three_words(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    code = outside.post("/_sandbox/registration_codes", json={"device_type": "stripe_t600"}).json()
    location = str(api.v1.terminal.readers.retrieve(reader).location)

    made = api.v1.terminal.readers.create(
        {"registration_code": code["registration_code"], "location": location}
    )

    assert made.device_type == "stripe_t600"
    assert len(code["registration_code"].split("-")) == 3


def test_somebody_taps_a_card(outside: TestClient, api: stripe.StripeClient, reader: str) -> None:
    intent = waiting(api, reader)

    (shown,) = outside.get("/_sandbox/readers").json()
    tapped = outside.post(f"/_sandbox/readers/{reader}/tap", json={"number": "5555555555554444"})

    assert shown["sandbox"]["asks"] == {"amount": 1000, "currency": "usd"}
    assert tapped.json()["action"]["status"] == "succeeded"
    assert api.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_a_card_at_a_reader_that_waits_for_none_is_refused(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    refused = outside.post(f"/_sandbox/readers/{reader}/tap", json={})

    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "intent_invalid_state"
    assert api.v1.charges.list().data == []


def test_somebody_presses_cancel(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    intent = waiting(api, reader)

    pressed = outside.post(f"/_sandbox/readers/{reader}/cancel").json()

    assert pressed["action"]["failure_code"] == "customer_canceled"
    assert api.v1.payment_intents.retrieve(intent.id).status == "requires_payment_method"


def test_a_virtual_customer_comes_by_itself_when_told(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    virtual = {"auto_present_s": 3, "authorization_s": 1}
    outside.post(f"/_sandbox/readers/{reader}/customer", json=virtual).raise_for_status()
    intent = waiting(api, reader)

    outside.post("/_sandbox/clock/advance", json={"seconds": 4})

    assert api.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_readers_that_are_registered_later_have_the_accounts_customer(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    outside.post("/_sandbox/account", json={"auto_present_s": 3, "authorization_s": 1})
    location = str(api.v1.terminal.readers.retrieve(reader).location)
    later = api.v1.terminal.readers.create(
        {"registration_code": "simulated-s700", "location": location}
    )
    intent = waiting(api, later.id)

    outside.post("/_sandbox/clock/advance", json={"seconds": 4})

    assert api.v1.payment_intents.retrieve(intent.id).status == "succeeded"


def test_a_reader_is_silenced_and_comes_back(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    outside.post(f"/_sandbox/readers/{reader}/silence")
    outside.post("/_sandbox/clock/advance", json={"minutes": 2})
    away = api.v1.terminal.readers.retrieve(reader).status
    outside.post(f"/_sandbox/readers/{reader}/resume")

    assert (away, api.v1.terminal.readers.retrieve(reader).status) == ("offline", "online")


def test_a_readers_fault_is_set_from_outside(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    set_ = outside.post(f"/_sandbox/readers/{reader}/fault", json={"kind": "ack_lost"}).json()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        waiting(api, reader)

    assert [one["kind"] for one in set_["sandbox"]["faults"]] == ["ack_lost"]
    assert refused.value.code == "terminal_reader_timeout"


def test_webhooks_are_listed_and_sent_again(outside: TestClient, api: stripe.StripeClient) -> None:
    api.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:1/hook", "enabled_events": ["charge.succeeded"]}
    )
    api.v1.payment_intents.create(CARD)

    (owed,) = outside.get("/_sandbox/webhooks/deliveries").json()
    again = outside.post(f"/_sandbox/webhooks/events/{owed['event']}/resend").json()

    assert (owed["type"], owed["status"], again) == (
        "charge.succeeded",
        "pending",
        {"deliveries": 1},
    )
    assert len(outside.get("/_sandbox/webhooks/deliveries").json()) == 2


def test_pages_of_other_origins_control_nothing(
    outside: TestClient, api: stripe.StripeClient, reader: str
) -> None:
    intent = waiting(api, reader)

    strange = outside.post(
        f"/_sandbox/readers/{reader}/tap", json={}, headers={"Origin": "http://127.0.0.1:8080"}
    )
    own = outside.post(
        f"/_sandbox/readers/{reader}/tap", json={}, headers={"Origin": "http://127.0.0.1:12111"}
    )

    assert (strange.status_code, own.status_code) == (403, 200)
    assert api.v1.payment_intents.retrieve(intent.id).status == "succeeded"


@pytest.mark.parametrize("path", ["/_browser/frame", "/_sandbox/", "/sandbox-stripe.js"])
def test_pages_run_nothing_inline_and_are_framed_on_this_machine_only(
    outside: TestClient, path: str
) -> None:
    policy = outside.get(path).headers["content-security-policy"]

    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self' http://127.0.0.1:* http://localhost:*" in policy


@pytest.mark.parametrize("name", ["frame.html", "..%2fcalls.py", "nothing.js"])
def test_only_scripts_and_styles_are_served_by_name(outside: TestClient, name: str) -> None:
    assert outside.get(f"/_browser/{name}").status_code == 404


# --- what fields in a browser send ---


def test_a_number_typed_in_a_browser_is_refused_from_a_server(
    outside: TestClient, api: stripe.StripeClient
) -> None:
    typed = {
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": "4242424242424242",
        "payment_method_data[card][exp_month]": "12",
        "payment_method_data[card][exp_year]": "2030",
    }

    server = outside.post("/v1/confirmation_tokens", data={**typed, "key": "sk_test_omnitill"})
    browser = outside.post("/v1/confirmation_tokens", data={**typed, "key": "pk_test_omnitill"})

    assert server.status_code == 403
    assert browser.json()["payment_method_preview"]["card"]["last4"] == "4242"
    assert "4242424242424242" not in browser.text
    token = browser.json()["id"]
    keyed: Any = {**CARD, "confirmation_token": token}
    del keyed["payment_method"]
    paid = api.v1.payment_intents.create(keyed)
    assert paid.status == "succeeded"


def test_saved_methods_are_shown_as_far_as_the_session_allows(
    outside: TestClient, api: stripe.StripeClient
) -> None:
    customer = api.v1.customers.create().id
    shown = api.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    api.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer})
    api.v1.payment_methods.update(shown.id, {"allow_redisplay": "always"})
    session = api.v1.customer_sessions.create(
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
    asked = {"client_secret": session.client_secret, "key": "pk_test_omnitill"}

    read = outside.get("/v1/elements/sessions", params=asked).json()
    outside.post("/_sandbox/clock/advance", json={"days": 1})
    late = outside.get("/v1/elements/sessions", params=asked).json()

    assert [one["id"] for one in read["payment_methods"]] == [shown.id]
    assert late["payment_methods"] == []
