"""Confirmation tokens: what a browser typed, handed to the server once and without the card number."""

from __future__ import annotations

import stripe
from stripe.params import ConfirmationTokenRetrieveParams
from stripe.params.test_helpers import ConfirmationTokenCreateParams

from control_plane.sandbox import payment_methods
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.shapes import part

routes = Routes()

_LIVES_S = 12 * 3600
_Token = stripe.ConfirmationToken


def issue(
    sandbox: Sandbox,
    method: Json,
    *,
    return_url: str | None = None,
    setup_future_usage: str | None = None,
    mandate_data: Json | None = None,
    shipping: Json | None = None,
    use_stripe_sdk: bool = True,
) -> Json:
    """A token for an unsaved payment method (``payment_methods.card_method`` or ``bank_method``), or a saved one."""
    shown = public(method)
    kind = method["type"]
    preview = part(
        _Token.PaymentMethodPreview,
        allow_redisplay=shown["allow_redisplay"],
        billing_details=shown["billing_details"],
        customer=shown["customer"],
        type=kind,
        **{kind: shown[kind]},
    )
    return sandbox.create(
        "confirmation_token",
        "ctoken_1",
        expires_at=sandbox.now() + _LIVES_S,
        mandate_data=mandate_data,
        payment_method_preview=preview,
        return_url=return_url,
        setup_future_usage=setup_future_usage,
        shipping=shipping
        and {
            "address": payment_methods.address_of(shipping.get("address")),
            "name": shipping.get("name"),
            "phone": shipping.get("phone"),
        },
        use_stripe_sdk=use_stripe_sdk,
        _method=method,
    )


def redeem(sandbox: Sandbox, identifier: str, *, intent: Json) -> tuple[Json, Json]:
    """The token and its payment method, now stored. Raises ApiError for one that is gone, used or too old."""
    token = sandbox.fetch("confirmation_token", identifier, param="confirmation_token", status=400)
    field = intent["object"]
    if (token["payment_intent"] or token["setup_intent"]) is not None:
        raise ApiError(
            f"The provided ConfirmationToken {identifier} has already been used to confirm an intent. Create a new "
            "one.",
            code="resource_already_exists",
            param="confirmation_token",
        )
    if token["expires_at"] <= sandbox.now():
        raise ApiError(
            f"The provided ConfirmationToken {identifier} has expired.", param="confirmation_token"
        )
    token[field] = intent["id"]
    sandbox.save(token)
    method = token["_method"]
    stored = sandbox.store.get(method["id"])
    return token, stored or payment_methods.keep(sandbox, method)


@routes.get("/v1/confirmation_tokens/{token}", ConfirmationTokenRetrieveParams, publishable=True)
def retrieve(call: Call, token: str) -> Json:
    return call.sandbox.fetch("confirmation_token", token, param="confirmation_token")


@routes.post("/v1/test_helpers/confirmation_tokens", ConfirmationTokenCreateParams)
def create_for_test(call: Call) -> Json:
    params = call.params
    if ("payment_method" in params) == ("payment_method_data" in params):
        raise ApiError(
            "You must provide one of `payment_method` or `payment_method_data`.",
            code="parameter_missing",
            param="payment_method_data",
        )
    if "payment_method" in params:
        identifier = params["payment_method"]
        method = payment_methods.ready_made(call.sandbox, identifier) or call.sandbox.fetch(
            "payment_method", identifier, param="payment_method", status=400
        )
        # A card that a browser tokenised came with its security code.
        method["_cvc_given"] = True
    else:
        method = payment_methods.of_parameters(call.sandbox, params["payment_method_data"])
    return issue(
        call.sandbox,
        method,
        return_url=params.get("return_url"),
        setup_future_usage=params.get("setup_future_usage"),
        shipping=params.get("shipping"),
        mandate_data=_accepted_online(method),
    )


def _accepted_online(method: Json) -> Json | None:
    if method["type"] not in ("us_bank_account", "sepa_debit"):
        return None
    online = {"ip_address": "127.0.0.1", "user_agent": "Sandbox"}
    return {"customer_acceptance": {"type": "online", "online": online}}
