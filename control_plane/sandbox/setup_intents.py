"""Setup intents: saving a method for later without taking money."""

from __future__ import annotations

import stripe
from stripe.params import (
    MandateRetrieveParams,
    SetupAttemptListParams,
    SetupIntentCancelParams,
    SetupIntentConfirmParams,
    SetupIntentCreateParams,
    SetupIntentListParams,
    SetupIntentRetrieveParams,
    SetupIntentUpdateParams,
    SetupIntentVerifyMicrodepositsParams,
)

from control_plane.sandbox import intents, payment_flow, payment_methods
from control_plane.sandbox.cards import Authentication, Decline
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.payment_flow import Terms
from control_plane.sandbox.routing import Call, Gate, Routes
from control_plane.sandbox.shapes import part

routes = Routes()

_MOTO: dict[str, Gate] = {
    "payment_method_options[card][moto]": lambda settings: settings.moto_enabled
}
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_ONLY_WHEN_CONFIRMING = ("confirmation_token", "mandate_data", "return_url", "single_use")
_BROWSER_SEES = (
    "id", "object", "automatic_payment_methods", "cancellation_reason", "client_secret", "created", "description",
    "last_setup_error", "livemode", "next_action", "payment_method", "payment_method_types", "status", "usage",
)  # fmt: skip


@routes.post("/v1/setup_intents", SetupIntentCreateParams, gates=_MOTO, removed=intents.GONE)
def create(call: Call) -> Json:
    return create_intent(call.sandbox, call.params)


def create_intent(sandbox: Sandbox, params: Json) -> Json:
    """A new intent from validated parameters, confirmed when they say so. Raises ApiError."""
    sandbox.named("customer", params.get("customer"), "customer")
    if not params.get("confirm"):
        for name in _ONLY_WHEN_CONFIRMING:
            if params.get(name) is not None:
                raise ApiError(
                    f"`{name}` can only be used when creating a SetupIntent with `confirm` = `true`.",
                    code="setup_intent_invalid_parameter",
                    param=name,
                )
    types, fields = intents.method_types(params, None)
    identifier = sandbox.new_id("seti_1")
    intent = sandbox.create(
        "setup_intent",
        "",
        **{
            **fields,
            "id": identifier,
            "attach_to_self": params.get("attach_to_self"),
            "client_secret": f"{identifier}_secret_{sandbox.new_id('', 31)}",
            "customer": params.get("customer"),
            "description": params.get("description"),
            "metadata": {},
            "payment_method_options": intents.options_of(
                stripe.SetupIntent.PaymentMethodOptions, types, params.get("payment_method_options")
            ),
            "payment_method_types": types,
            "status": "requires_payment_method",
            "usage": params.get("usage", "off_session"),
        },
    )
    intents.changed(intent, params, ())
    if not params.get("confirm"):
        _set_method(sandbox, intent, params)
    sandbox.save(intent)
    sandbox.emit("setup_intent.created", intent)
    return confirm_intent(sandbox, intent, params) if params.get("confirm") else intent


@routes.get("/v1/setup_intents", SetupIntentListParams)
def list_all(call: Call) -> Json:
    params = call.params
    return call.page(
        "setup_intent",
        customer=params.get("customer"),
        payment_method=params.get("payment_method"),
    )


@routes.get("/v1/setup_intents/{intent}", SetupIntentRetrieveParams, publishable=True)
def retrieve(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("setup_intent", intent, param="intent")
    intents.check_secret(found, call.params, publishable=call.publishable)
    return intents.for_browser(found, _BROWSER_SEES) if call.publishable else found


@routes.post("/v1/setup_intents/{intent}", SetupIntentUpdateParams, removed=intents.GONE)
def update(call: Call, intent: str) -> Json:
    sandbox, params = call.sandbox, call.params
    found = sandbox.fetch("setup_intent", intent, param="intent")
    if found["status"] not in _OPEN:
        raise _unexpected(
            found,
            f"You cannot update this SetupIntent because it has a status of {found['status']}.",
        )
    sandbox.named("customer", params.get("customer"), "customer")
    intents.changed(found, params, ("customer", "description"))
    _set_method(sandbox, found, params)
    return sandbox.save(found)


@routes.post(
    "/v1/setup_intents/{intent}/confirm",
    SetupIntentConfirmParams,
    publishable=True,
    gates=_MOTO,
    removed=intents.GONE,
    extra={"client_secret": str},
)
def confirm(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("setup_intent", intent, param="intent")
    intents.check_secret(found, call.params, publishable=call.publishable)
    if call.publishable:
        confirmed = confirm_intent(call.sandbox, found, {"use_stripe_sdk": True, **call.params})
        return intents.for_browser(confirmed, _BROWSER_SEES)
    return confirm_intent(call.sandbox, found, call.params)


def confirm_intent(sandbox: Sandbox, intent: Json, params: Json) -> Json:
    """Ask the bank whether the method may be kept. Raises ApiError: 402 for a decline, which is written down."""
    if intent["status"] not in _OPEN:
        raise _unexpected(
            intent,
            f"You cannot confirm this SetupIntent because it has already {intent['status']}."
            if intent["status"] == "succeeded"
            else f"You cannot confirm this SetupIntent because it has a status of {intent['status']}.",
        )
    method, token = intents.method_of(sandbox, intent, params)
    intents.redirect_check(intent, params, token)
    mandate = intents.mandate_of(sandbox, intent, method, params, token, reusable=True)
    options = (params.get("payment_method_options") or {}).get("card") or {}
    terms = Terms(
        moto=bool(options.get("moto")),
        use_stripe_sdk=bool(params.get("use_stripe_sdk"))
        or (token is not None and token["use_stripe_sdk"]),
        return_url=params.get("return_url") or (token["return_url"] if token else None),
    )
    intent |= {
        "payment_method": method["id"],
        "mandate": mandate and mandate["id"],
        "last_setup_error": None,
        "next_action": None,
    }
    intent["latest_attempt"] = _begin_attempt(sandbox, intent, method)["id"]
    if method["type"] in payment_flow.DEBITS and not method["_verified"]:
        return _wait(sandbox, intent, payment_flow.microdeposit_action(sandbox, intent))
    card = payment_methods.card_of(method)
    if (
        card is not None
        and card.authentication is not Authentication.NOT_SUPPORTED
        and payment_flow.needs_authentication(card, method, terms, intent["payment_method_options"])
    ):
        return _wait(sandbox, intent, payment_flow.authentication_action(sandbox, intent, terms))
    if card is not None and card.decline is not None and not card.attaches:
        _decline(sandbox, intent, method, card.decline)
    return payment_flow.complete_setup(sandbox, intent, method, passed=True)


@routes.post("/v1/setup_intents/{intent}/cancel", SetupIntentCancelParams)
def cancel(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("setup_intent", intent, param="intent")
    if found["status"] not in _OPEN:
        raise _unexpected(
            found,
            f"You cannot cancel this SetupIntent because it has a status of {found['status']}. Only a SetupIntent with "
            f"one of the following statuses may be canceled: {', '.join(_OPEN)}.",
        )
    found |= {
        "status": "canceled",
        "cancellation_reason": call.params.get("cancellation_reason"),
        "next_action": None,
    }
    call.sandbox.save(found)
    call.sandbox.emit("setup_intent.canceled", found)
    return found


@routes.post(
    "/v1/setup_intents/{intent}/verify_microdeposits",
    SetupIntentVerifyMicrodepositsParams,
    publishable=True,
    extra={"client_secret": str},
)
def verify_microdeposits(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("setup_intent", intent, param="intent")
    intents.check_secret(found, call.params, publishable=call.publishable)
    method = intents.check_microdeposits(call.sandbox, found, call.params)
    verified = payment_flow.complete_setup(call.sandbox, found, method, passed=True)
    return intents.for_browser(verified, _BROWSER_SEES) if call.publishable else verified


@routes.get("/v1/setup_attempts", SetupAttemptListParams)
def list_attempts(call: Call) -> Json:
    intent = call.params["setup_intent"]
    call.sandbox.named("setup_intent", intent, "setup_intent")
    return call.page("setup_attempt", setup_intent=intent)


@routes.get("/v1/mandates/{mandate}", MandateRetrieveParams)
def retrieve_mandate(call: Call, mandate: str) -> Json:
    return call.sandbox.fetch("mandate", mandate)


def _set_method(sandbox: Sandbox, intent: Json, params: Json) -> None:
    if params.get("payment_method_data") is not None:
        unsaved = payment_methods.of_parameters(sandbox, params["payment_method_data"])
        method = payment_methods.keep(sandbox, unsaved)
    elif params.get("payment_method") is not None:
        method = payment_methods.named(sandbox, params["payment_method"])
    else:
        return
    intents.check_type(intent, method)
    intent |= {"payment_method": method["id"], "status": "requires_confirmation"}


def _begin_attempt(sandbox: Sandbox, intent: Json, method: Json) -> Json:
    details = stripe.SetupAttempt.PaymentMethodDetails
    kind = method["type"]
    branch: Json = {}
    if kind == "card":
        known = details.Card.__annotations__
        branch = part(
            details.Card, **{name: value for name, value in method["card"].items() if name in known}
        )
    return sandbox.create(
        "setup_attempt",
        "setatt_1",
        attach_to_self=intent["attach_to_self"],
        customer=intent["customer"],
        payment_method=method["id"],
        payment_method_details=part(details, type=kind, **{kind: branch}),
        setup_intent=intent["id"],
        status="processing",
        usage=intent["usage"],
    )


def _wait(sandbox: Sandbox, intent: Json, action: Json) -> Json:
    intent |= {"status": "requires_action", "next_action": action}
    payment_flow.end_setup_attempt(sandbox, intent, "requires_action")
    sandbox.save(intent)
    sandbox.emit("setup_intent.requires_action", intent)
    return intent


def _decline(sandbox: Sandbox, intent: Json, method: Json, why: Decline) -> None:
    method["_used"] = True
    sandbox.save(method)
    facts: Json = {
        "advice_code": why.advice,
        "decline_code": why.decline_code,
        "network_decline_code": why.network_code,
        "payment_method": public(method),
        "payment_method_type": method["type"],
    }
    failed = part(
        stripe.SetupIntent.LastSetupError,
        code=why.code,
        message=why.message,
        type="card_error",
        **facts,
    )
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_setup_error": failed,
    }
    payment_flow.end_setup_attempt(sandbox, intent, "failed")
    sandbox.save(intent)
    sandbox.emit("setup_intent.setup_failed", intent)
    raise ApiError(
        why.message,
        status=402,
        type="card_error",
        code=why.code,
        param="",
        keeps=True,
        setup_intent=public(intent),
        **facts,
    )


def _unexpected(intent: Json, message: str) -> ApiError:
    return ApiError(message, code="setup_intent_unexpected_state", setup_intent=public(intent))
