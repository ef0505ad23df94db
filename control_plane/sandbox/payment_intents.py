"""Payment intents: one order's money from the first try to the last cent."""

from __future__ import annotations

import stripe
from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentIncrementAuthorizationParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    PaymentIntentSearchParams,
    PaymentIntentUpdateParams,
    PaymentIntentVerifyMicrodepositsParams,
)

from control_plane.sandbox import intents, money, payment_flow, payment_methods
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.payment_flow import Terms
from control_plane.sandbox.routing import Call, Gate, Routes
from control_plane.sandbox.search import search

routes = Routes()

_MOTO: dict[str, Gate] = {
    "payment_method_options[card][moto]": lambda settings: settings.moto_enabled
}
_PLAIN = (
    "description",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
_ONLY_WHEN_CONFIRMING = (
    "confirmation_token",
    "error_on_requires_action",
    "mandate",
    "mandate_data",
    "off_session",
    "return_url",
)
_BROWSER_SEES = (
    "id", "object", "amount", "amount_details", "automatic_payment_methods", "canceled_at", "cancellation_reason",
    "capture_method", "client_secret", "confirmation_method", "created", "currency", "description",
    "last_payment_error", "livemode", "next_action", "payment_method", "payment_method_types", "processing",
    "receipt_email", "setup_future_usage", "shipping", "source", "status",
)  # fmt: skip
_CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
_CHANGEABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


@routes.post("/v1/payment_intents", PaymentIntentCreateParams, gates=_MOTO, removed=intents.GONE)
def create(call: Call) -> Json:
    return create_intent(call.sandbox, call.params)


def create_intent(sandbox: Sandbox, params: Json, **private: object) -> Json:
    """A new intent from validated parameters, confirmed when they say so. Raises ApiError."""
    currency = money.check_currency(params["currency"])
    money.check_amount(params["amount"], currency)
    sandbox.named("customer", params.get("customer"), "customer")
    if not params.get("confirm"):
        _refuse_confirm_parameters(params)
    types, fields = intents.method_types(params, currency)
    identifier = sandbox.new_id("pi_3")
    intent = sandbox.create(
        "payment_intent",
        "",
        **{
            **fields,
            **private,
            "id": identifier,
            "amount": params["amount"],
            "amount_details": _amount_details(params.get("amount_details")),
            "capture_method": params.get("capture_method", "automatic_async"),
            "client_secret": f"{identifier}_secret_{sandbox.new_id('', 25)}",
            "confirmation_method": params.get("confirmation_method", "automatic"),
            "currency": currency,
            "customer": params.get("customer"),
            "on_behalf_of": params.get("on_behalf_of"),
            "payment_method_options": intents.options_of(
                stripe.PaymentIntent.PaymentMethodOptions,
                types,
                params.get("payment_method_options"),
            ),
            "payment_method_types": types,
            "status": "requires_payment_method",
        },
    )
    intent["metadata"] = {}
    intents.changed(intent, params, _PLAIN)
    _check_text(intent)
    if not params.get("confirm"):
        _set_method(sandbox, intent, params)
    sandbox.save(intent)
    sandbox.emit("payment_intent.created", intent)
    return confirm_intent(sandbox, intent, params) if params.get("confirm") else intent


@routes.get("/v1/payment_intents/search", PaymentIntentSearchParams)
def search_all(call: Call) -> Json:
    return search(call, "payment_intent")


@routes.get("/v1/payment_intents", PaymentIntentListParams)
def list_all(call: Call) -> Json:
    return call.page("payment_intent", customer=call.params.get("customer"))


@routes.get("/v1/payment_intents/{intent}", PaymentIntentRetrieveParams, publishable=True)
def retrieve(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("payment_intent", intent, param="intent")
    intents.check_secret(found, call.params, publishable=call.publishable)
    return intents.for_browser(found, _BROWSER_SEES) if call.publishable else found


@routes.post(
    "/v1/payment_intents/{intent}", PaymentIntentUpdateParams, gates=_MOTO, removed=intents.GONE
)
def update(call: Call, intent: str) -> Json:
    sandbox, params = call.sandbox, call.params
    found = sandbox.fetch("payment_intent", intent, param="intent")
    for name in (
        "amount",
        "currency",
        "customer",
        "payment_method",
        "payment_method_data",
        "capture_method",
    ):
        if name in params and found["status"] not in _CHANGEABLE:
            raise _unexpected(
                found,
                f"This PaymentIntent's {name} could not be updated because it has a status of {found['status']}. You "
                f"may only update the {name} of a PaymentIntent with one of the following statuses: "
                f"{', '.join(_CHANGEABLE)}.",
            )
    sandbox.named("customer", params.get("customer"), "customer")
    if "currency" in params:
        found["currency"] = money.check_currency(params["currency"])
    found["amount"] = params.get("amount", found["amount"])
    money.check_amount(found["amount"], found["currency"])
    intents.changed(found, params, (*_PLAIN, "customer", "capture_method"))
    if params.get("amount_details") is not None:
        found["amount_details"] = _amount_details(params["amount_details"])
    if any(
        name in params
        for name in ("allowed_payment_method_types", "excluded_payment_method_types", "currency")
    ):
        kept = {
            name: found[name]
            for name in ("allowed_payment_method_types", "excluded_payment_method_types")
        }
        types, fields = intents.method_types({**kept, **params}, found["currency"])
        found |= {**fields, "payment_method_types": types}
    _set_options(found, params)
    _check_text(found)
    _set_method(sandbox, found, params)
    if found["status"] == "requires_action":
        found |= {"status": "requires_confirmation", "next_action": None}
    return sandbox.save(found)


@routes.post(
    "/v1/payment_intents/{intent}/confirm",
    PaymentIntentConfirmParams,
    publishable=True,
    gates=_MOTO,
    removed=intents.GONE,
    extra={"client_secret": str},
)
def confirm(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("payment_intent", intent, param="intent")
    intents.check_secret(found, call.params, publishable=call.publishable)
    if call.publishable:
        _refuse_what_only_servers_may(call.params)
        confirmed = confirm_intent(call.sandbox, found, {"use_stripe_sdk": True, **call.params})
        return intents.for_browser(confirmed, _BROWSER_SEES)
    return confirm_intent(call.sandbox, found, call.params)


def confirm_intent(sandbox: Sandbox, intent: Json, params: Json) -> Json:
    """Try to charge. Raises ApiError: 402 with what was written down for a decline, 400 for what cannot be tried."""
    if intent["status"] not in _CHANGEABLE:
        said = (
            "because it has already succeeded after being previously confirmed"
            if intent["status"] == "succeeded"
            else f"because it has a status of {intent['status']}"
        )
        raise _unexpected(intent, f"You cannot confirm this PaymentIntent {said}.")
    expected = params.get("amount_to_confirm", intent["amount"])
    if expected != intent["amount"]:
        raise ApiError(
            f"The amount_to_confirm ({expected}) does not match the PaymentIntent's amount ({intent['amount']}).",
            code="payment_intent_invalid_parameter",
            param="amount_to_confirm",
        )
    if (
        params.get("error_on_requires_action")
        and params.get("off_session") is None
        and params.get("use_stripe_sdk")
    ):
        raise ApiError(
            "You may only specify one of these parameters: error_on_requires_action, use_stripe_sdk.",
            code="parameters_exclusive",
            param="error_on_requires_action",
        )
    if params.get("capture_method"):
        intent["capture_method"] = params["capture_method"]
    _set_options(intent, params)
    intents.changed(intent, params, ("receipt_email", "setup_future_usage", "shipping"))
    method, token = intents.method_of(sandbox, intent, params)
    if token is not None:
        intent["setup_future_usage"] = intent["setup_future_usage"] or token["setup_future_usage"]
        intent["shipping"] = intent["shipping"] or intents.shipping_of(token["shipping"])
    intents.redirect_check(intent, params, token)
    if method["type"] in payment_flow.DEBITS:
        reusable = intent["setup_future_usage"] == "off_session"
        intents.mandate_of(sandbox, intent, method, params, token, reusable=reusable)
    if method["type"].endswith("_present"):
        raise ApiError(
            "This PaymentIntent is for a card that is present: a reader confirms it.",
            code="payment_intent_invalid_parameter",
            param="payment_method",
        )
    options = (params.get("payment_method_options") or {}).get("card") or {}
    terms = Terms(
        off_session=bool(params.get("off_session")),
        moto=bool(options.get("moto")),
        error_on_requires_action=bool(params.get("error_on_requires_action")),
        use_stripe_sdk=bool(params.get("use_stripe_sdk"))
        or (token is not None and token["use_stripe_sdk"]),
        return_url=params.get("return_url") or (token["return_url"] if token else None),
    )
    confirmed = payment_flow.attempt(sandbox, intent, method, terms)
    payment_flow.raise_if_declined(sandbox, confirmed)
    return confirmed


@routes.post("/v1/payment_intents/{intent}/capture", PaymentIntentCaptureParams)
def capture(call: Call, intent: str) -> Json:
    sandbox, params = call.sandbox, call.params
    found = sandbox.fetch("payment_intent", intent, param="intent")
    if found["status"] != "requires_capture":
        raise _unexpected(
            found,
            f"This PaymentIntent could not be captured because it has a status of {found['status']}. Only a "
            "PaymentIntent with one of the following statuses may be captured: requires_capture.",
        )
    charge = sandbox.fetch("charge", found["latest_charge"])
    kind = charge["payment_method_details"]["type"]
    details = charge["payment_method_details"][kind]
    capturable: int = found["amount_capturable"]
    amount: int = params.get("amount_to_capture", capturable)
    most = capturable
    if kind == "card":
        most += details["overcapture"]["maximum_amount_capturable"] - charge["amount"]
    elif details.get("overcapture_supported"):
        most += charge["amount"] // 5
    if not 1 <= amount <= most:
        raise ApiError(
            f"The amount_to_capture ({amount}) is not between 1 and the amount that can be captured ({most}).",
            code="amount_too_large" if amount > most else "amount_too_small",
            param="amount_to_capture",
        )
    final = params.get("final_capture", True)
    if not final and details.get("multicapture", {}).get("status") != "available":
        raise ApiError(
            "This PaymentIntent's charge cannot be captured more than once. Ask for it with "
            "`payment_method_options[card][request_multicapture]` before you confirm.",
            code="payment_intent_invalid_parameter",
            param="final_capture",
        )
    intents.changed(found, params, ("statement_descriptor", "statement_descriptor_suffix"))
    return payment_flow.capture(sandbox, found, amount, final=final)


@routes.post("/v1/payment_intents/{intent}/cancel", PaymentIntentCancelParams)
def cancel(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("payment_intent", intent, param="intent")
    if found["status"] not in _CANCELABLE or found["status"] == "processing":
        raise _unexpected(
            found,
            f"You cannot cancel this PaymentIntent because it has a status of {found['status']}. Only a PaymentIntent "
            f"with one of the following statuses may be canceled: {', '.join(_CANCELABLE)}.",
        )
    return payment_flow.cancel(call.sandbox, found, call.params.get("cancellation_reason"))


@routes.post(
    "/v1/payment_intents/{intent}/increment_authorization",
    PaymentIntentIncrementAuthorizationParams,
)
def increment_authorization(call: Call, intent: str) -> Json:
    sandbox, params = call.sandbox, call.params
    found = sandbox.fetch("payment_intent", intent, param="intent")
    if found["status"] != "requires_capture":
        raise _unexpected(
            found,
            f"This PaymentIntent's authorization could not be incremented because it has a status of "
            f"{found['status']}.",
        )
    charge = sandbox.fetch("charge", found["latest_charge"])
    kind = charge["payment_method_details"]["type"]
    details = charge["payment_method_details"][kind]
    supported = (
        details["incremental_authorization"]["status"] == "available"
        if kind == "card"
        else details["incremental_authorization_supported"]
    )
    if not supported:
        raise ApiError(
            "This PaymentIntent's authorization cannot be incremented: its charge does not support it.",
            code="payment_intent_invalid_parameter",
        )
    if params["amount"] <= found["amount"]:
        raise ApiError(
            f"The amount ({params['amount']}) must be greater than what is already authorized ({found['amount']}).",
            code="amount_too_small",
            param="amount",
        )
    money.check_amount(params["amount"], found["currency"])
    found |= {"amount": params["amount"], "amount_capturable": params["amount"]}
    details["amount_authorized"] = params["amount"]
    if kind == "card" and details["overcapture"]["status"] == "unavailable":
        details["overcapture"]["maximum_amount_capturable"] = params["amount"]
    charge["amount"] = params["amount"]
    intents.changed(found, params, ("description", "statement_descriptor"))
    sandbox.save(charge)
    sandbox.save(found)
    sandbox.emit("payment_intent.amount_capturable_updated", found)
    return found


@routes.post(
    "/v1/payment_intents/{intent}/verify_microdeposits",
    PaymentIntentVerifyMicrodepositsParams,
    publishable=True,
    extra={"client_secret": str},
)
def verify_microdeposits(call: Call, intent: str) -> Json:
    found = call.sandbox.fetch("payment_intent", intent, param="intent")
    intents.check_secret(found, call.params, publishable=call.publishable)
    method = intents.check_microdeposits(call.sandbox, found, call.params)
    verified = payment_flow.attempt(call.sandbox, found, method, Terms())
    return intents.for_browser(verified, _BROWSER_SEES) if call.publishable else verified


# --- parts ---


def _unexpected(intent: Json, message: str) -> ApiError:
    return ApiError(message, code="payment_intent_unexpected_state", payment_intent=public(intent))


def _refuse_confirm_parameters(params: Json) -> None:
    for name in _ONLY_WHEN_CONFIRMING:
        if params.get(name) is not None:
            raise ApiError(
                f"`{name}` can only be used when creating a PaymentIntent with `confirm` = `true`.",
                code="payment_intent_invalid_parameter",
                param=name,
            )
    if ((params.get("payment_method_options") or {}).get("card") or {}).get("moto") is not None:
        raise ApiError(
            "`payment_method_options[card][moto]` is only allowed during confirmation.",
            code="payment_intent_invalid_parameter",
            param="payment_method_options[card][moto]",
        )


def _refuse_what_only_servers_may(params: Json) -> None:
    options = (params.get("payment_method_options") or {}).get("card") or {}
    for name, given in (
        ("off_session", "off_session" in params),
        ("payment_method_options[card][moto]", "moto" in options),
    ):
        if given:
            raise ApiError(
                f"The parameter {name} cannot be used with a publishable key.",
                code="secret_key_required",
                param=name,
            )


def _set_method(sandbox: Sandbox, intent: Json, params: Json) -> None:
    """Remember the method for a later confirmation."""
    if params.get("payment_method_data") is not None:
        unsaved = payment_methods.of_parameters(sandbox, params["payment_method_data"])
        method = payment_methods.keep(sandbox, unsaved)
    elif params.get("payment_method") is not None:
        method = payment_methods.named(sandbox, params["payment_method"])
    else:
        return
    intents.check_type(intent, method)
    payment_methods.check_usable(method, intent["customer"])
    intent |= {"payment_method": method["id"], "status": "requires_confirmation"}


def _set_options(intent: Json, params: Json) -> None:
    given = params.get("payment_method_options")
    if given is None:
        return
    before = intent["payment_method_options"] or {}
    together = {
        kind: {**(before.get(kind) or {}), **(given.get(kind) or {})} for kind in {*before, *given}
    }
    intent["payment_method_options"] = intents.options_of(
        stripe.PaymentIntent.PaymentMethodOptions, intent["payment_method_types"], together
    )


def _amount_details(given: Json | None) -> Json:
    known = {"tip": {}, **(given or {})}
    known.pop("enforce_arithmetic_validation", None)
    fields = stripe.PaymentIntent.AmountDetails.__annotations__
    return {name: value for name, value in known.items() if name in fields}


def _check_text(intent: Json) -> None:
    for name in ("statement_descriptor", "statement_descriptor_suffix"):
        text = intent[name]
        if text is None:
            continue
        if len(text) > 22:
            raise ApiError(f"The {name} may have at most 22 characters.", param=name)
        if any(one in text for one in "<>\\'\"*") or not any(one.isalpha() for one in text):
            raise ApiError(
                f"The {name} must contain at least one letter and none of < > \\ ' \" *.",
                param=name,
            )
    if intent["description"] is not None and len(intent["description"]) > 1000:
        raise ApiError("The description may have at most 1000 characters.", param="description")
    if intent["receipt_email"] is not None and "@" not in intent["receipt_email"]:
        raise ApiError(
            f"Invalid email address: {intent['receipt_email']}",
            code="email_invalid",
            param="receipt_email",
        )
