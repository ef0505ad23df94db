"""What the iframes ask of the API with the publishable key, beyond what pages and servers may ask."""

from __future__ import annotations

from typing import TypedDict

from stripe.params import (
    PaymentMethodCreateParams,
    PaymentMethodCreateParamsBillingDetails,
    PaymentMethodCreateParamsSepaDebit,
    PaymentMethodCreateParamsUsBankAccount,
)
from stripe.params.test_helpers import ConfirmationTokenCreateParams

from control_plane.sandbox import confirmation_tokens, payment_methods
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.payment_methods import TypedCard
from control_plane.sandbox.routing import Call, Routes

routes = Routes()


class _CardFields(TypedDict, total=False):
    number: str
    exp_month: int
    exp_year: int
    cvc: str


class _SessionParams(TypedDict):
    client_secret: str


class _MethodFields(TypedDict, total=False):
    type: str
    allow_redisplay: str
    billing_details: PaymentMethodCreateParamsBillingDetails
    card: _CardFields
    metadata: dict[str, str]
    sepa_debit: PaymentMethodCreateParamsSepaDebit
    us_bank_account: PaymentMethodCreateParamsUsBankAccount


@routes.post(
    "/v1/confirmation_tokens",
    ConfirmationTokenCreateParams,
    publishable=True,
    extra={"payment_method_data": _MethodFields},
)
def create_token(call: Call) -> Json:
    """A token for what was typed, or for a saved method that was picked."""
    _for_browsers(call)
    sandbox, params = call.sandbox, call.params
    if "payment_method" in params:
        method = payment_methods.named(sandbox, params["payment_method"])
    else:
        method = _typed(sandbox, params.get("payment_method_data") or {})
    return confirmation_tokens.issue(
        sandbox,
        method,
        return_url=params.get("return_url"),
        setup_future_usage=params.get("setup_future_usage"),
        shipping=params.get("shipping"),
        mandate_data=_consent(method),
    )


@routes.post(
    "/v1/elements/payment_methods",
    PaymentMethodCreateParams,
    publishable=True,
    extra={"card": _CardFields},
)
def create_method(call: Call) -> Json:
    """A payment method of what was typed."""
    _for_browsers(call)
    return payment_methods.keep(call.sandbox, _typed(call.sandbox, call.params))


@routes.get("/v1/elements/sessions", _SessionParams, publishable=True)
def read_session(call: Call) -> Json:
    """What a customer session shows: the customer's saved methods that may be shown again, and what may be done."""
    sandbox = call.sandbox
    secret = call.params["client_secret"]
    session = sandbox.fetch("customer_session", secret, param="customer_session_client_secret")
    element = session["components"]["payment_element"]
    if session["expires_at"] <= sandbox.now() or not element["enabled"]:
        return {"features": None, "payment_methods": []}
    features = element.get("features") or {}
    shown = features.get("payment_method_allow_redisplay_filters") or ["always"]
    saved = sandbox.store.find("payment_method", customer=session["customer"])
    if features.get("payment_method_redisplay") != "enabled":
        saved = []
    methods = [public(one) for one in saved if one["allow_redisplay"] in shown]
    return {"features": features, "payment_methods": methods}


def _typed(sandbox: Sandbox, params: Json) -> Json:
    card = params.get("card") or {}
    if params.get("type") != "card" or "number" not in card:
        return payment_methods.of_parameters(sandbox, params)
    typed = TypedCard(
        number=card["number"],
        exp_month=card.get("exp_month", 0),
        exp_year=card.get("exp_year", 0),
        cvc=card.get("cvc"),
    )
    method = payment_methods.card_method(sandbox, typed, billing=params.get("billing_details"))
    method["allow_redisplay"] = params.get("allow_redisplay", "unspecified")
    return method


def _consent(method: Json) -> Json | None:
    """Whoever typed an account read the mandate beside it."""
    if method["type"] == "card":
        return None
    online = {"ip_address": "127.0.0.1", "user_agent": "Sandbox elements"}
    return {"customer_acceptance": {"type": "online", "online": online}}


def _for_browsers(call: Call) -> None:
    if not call.publishable:
        raise ApiError(
            "This is for the fields in a browser, with the publishable key. Card numbers never come from a server.",
            status=403,
        )
