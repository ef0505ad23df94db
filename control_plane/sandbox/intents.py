"""What payment intents and setup intents have in common: which methods they take, and whose method is meant."""

from __future__ import annotations

from typing import Any

import stripe

from control_plane.sandbox import confirmation_tokens, payment_methods
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json, missing_parameter, no_such
from control_plane.sandbox.shapes import part
from control_plane.sandbox.webhooks import merged

#: Refused since 2026-09-30.endive.
GONE = {
    "payment_method_types": (
        "payment_method_types_no_longer_supported",
        "The `payment_method_types` parameter is no longer supported in this API version. Use "
        "`allowed_payment_method_types` to limit which payment methods are offered, or leave it out to use the "
        "payment methods that are enabled in your Dashboard.",
    )
}
_EXCLUSIVE = (
    "allowed_payment_method_types",
    "automatic_payment_methods",
    "excluded_payment_method_types",
    "payment_method_configuration",
)
#: Methods of the sandbox's account, with the currencies they work in (None: all).
_OFFERED: dict[str, frozenset[str] | None] = {
    "card": None,
    "card_present": None,
    "interac_present": frozenset({"cad"}),
    "us_bank_account": frozenset({"usd"}),
    "sepa_debit": frozenset({"eur"}),
}
_AUTOMATIC = ("card", "us_bank_account", "sepa_debit")


def method_types(params: Json, currency: str | None) -> tuple[list[str], Json]:
    """Which methods the intent takes, and the fields that say why. Raises ApiError when none is left."""
    given = [name for name in _EXCLUSIVE if params.get(name) is not None]
    if len(given) > 1:
        raise ApiError(
            f"You may only specify one of these parameters: {', '.join(given)}.",
            code="parameters_exclusive",
            param=given[0],
        )
    allowed = params.get("allowed_payment_method_types")
    excluded = params.get("excluded_payment_method_types") or []
    wanted = allowed or [one for one in _AUTOMATIC if one not in excluded]
    kept = [one for one in wanted if one in _OFFERED and _works_in(one, currency)]
    if not kept:
        raise ApiError(
            "No valid payment method types for this intent. None of the allowed payment method types is compatible "
            "with the intent's other parameters; try a different currency or other payment method types.",
            code="payment_intent_incompatible_payment_method",
            param="allowed_payment_method_types",
        )
    automatic = params.get("automatic_payment_methods") or {"enabled": True}
    fields: Json = {
        "allowed_payment_method_types": allowed,
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "automatic_payment_methods": None
        if allowed or not automatic["enabled"]
        else {"enabled": True, "allow_redirects": automatic.get("allow_redirects", "always")},
    }
    return kept, fields


def _about(intent: Json) -> Json:
    """The intent as errors carry it."""
    return {intent["object"]: public(intent)}


def _works_in(kind: str, currency: str | None) -> bool:
    currencies = _OFFERED[kind]
    return currency is None or currencies is None or currency in currencies


def options_of(owner: Any, types: list[str], given: Json | None) -> Json:  # a class of the SDK
    """``payment_method_options`` as the intent shows them: one branch for each of its types."""
    shown = {}
    for kind in types:
        branch = owner._inner_class_types.get(kind)  # noqa: SLF001 - the SDK's own map of nested classes
        if branch is None:
            continue
        values = dict((given or {}).get(kind) or {})
        if kind == "card":
            values = {"request_three_d_secure": "automatic", **values}
        if kind == "us_bank_account":
            values = {"verification_method": "automatic", **values}
        known = {name: value for name, value in values.items() if name in branch.__annotations__}
        shown[kind] = part(branch, **known)
    return part(owner, **shown)


def check_secret(intent: Json, params: Json, *, publishable: bool) -> None:
    """A browser shows the intent's client secret; one that is given must fit. Raises ApiError."""
    given = params.get("client_secret")
    if given is None and publishable:
        raise missing_parameter("client_secret")
    if given is not None and given != intent["client_secret"]:
        raise no_such(intent["object"], intent["id"], param="intent")


def for_browser(intent: Json, fields: tuple[str, ...]) -> Json:
    """What a publishable key may see."""
    return {name: intent[name] for name in fields if name in intent}


def redirect_check(intent: Json, params: Json, token: Json | None) -> None:
    """Automatic methods may redirect, so the payer needs a way back. Raises ApiError."""
    automatic = intent["automatic_payment_methods"]
    has_way_back = params.get("return_url") or (token and token["return_url"])
    if automatic is None or automatic["allow_redirects"] == "never" or has_way_back:
        return
    if params.get("off_session") or params.get("use_stripe_sdk"):
        return
    kind = "PaymentIntent" if intent["object"] == "payment_intent" else "SetupIntent"
    raise ApiError(
        f"This {kind} is configured to accept payment methods enabled in your Dashboard. Because some of these payment "
        "methods might redirect your customer off of your page, you must provide a `return_url`. If you don't want to "
        "accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` and "
        "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents and Payment Intents.",
        param="return_url",
        **_about(intent),
    )


def method_of(sandbox: Sandbox, intent: Json, params: Json) -> tuple[Json, Json | None]:
    """The method this confirmation uses, and the confirmation token it came with. Raises ApiError."""
    given = [
        name
        for name in ("confirmation_token", "payment_method", "payment_method_data")
        if params.get(name) is not None
    ]
    if len(given) > 1:
        raise ApiError(
            f"You may only specify one of these parameters: {', '.join(given)}.",
            code="parameters_exclusive",
            param=given[0],
        )
    token = None
    if "confirmation_token" in given:
        token, method = confirmation_tokens.redeem(
            sandbox, params["confirmation_token"], intent=intent
        )
    elif "payment_method_data" in given:
        unsaved = payment_methods.of_parameters(sandbox, params["payment_method_data"])
        method = payment_methods.keep(sandbox, unsaved)
    elif given or intent["payment_method"] is not None:
        method = payment_methods.named(
            sandbox, params.get("payment_method") or intent["payment_method"]
        )
    else:
        kind = "PaymentIntent" if intent["object"] == "payment_intent" else "SetupIntent"
        raise ApiError(
            f"You cannot confirm this {kind} because it's missing a payment method. You can either update the {kind} "
            "with a payment method and then confirm it again, or confirm it again directly with a payment method or "
            "ConfirmationToken.",
            code=f"{intent['object']}_unexpected_state",
            **_about(intent),
        )
    check_type(intent, method)
    payment_methods.check_usable(method, intent["customer"])
    return method, token


def check_type(intent: Json, method: Json) -> None:
    """Raises ApiError when the intent does not take this kind of method."""
    if method["type"] in intent["payment_method_types"]:
        return
    kind = "PaymentIntent" if intent["object"] == "payment_intent" else "SetupIntent"
    raise ApiError(
        f"The PaymentMethod provided ({method['type']}) is not allowed for this {kind}. Please attach a PaymentMethod "
        f"of one of the following types: {', '.join(intent['payment_method_types'])}. Alternatively update the allowed "
        f'payment_method_types for this {kind} to include "{method["type"]}".',
        code=f"{intent['object'].split('_')[0]}_intent_incompatible_payment_method"
        if intent["object"] == "payment_intent"
        else None,
        param="payment_method",
    )


def mandate_of(
    sandbox: Sandbox,
    intent: Json,
    method: Json,
    params: Json,
    token: Json | None,
    *,
    reusable: bool,
) -> Json | None:
    """The mandate that a bank debit needs: the given one, the method's, or a new one. Raises ApiError without any."""
    if method["type"] not in ("us_bank_account", "sepa_debit"):
        return None
    if params.get("mandate") is not None:
        mandate = sandbox.named("mandate", params["mandate"], "mandate")
        if mandate is not None and mandate["status"] != "active":
            raise ApiError(
                f"The provided mandate ({mandate['id']}) is not active.",
                code=f"{intent['object']}_mandate_invalid",
                param="mandate",
            )
        return mandate
    accepted = params.get("mandate_data") or (token and token["mandate_data"])
    if accepted is None:
        known = method.get("_mandate")
        if known is not None:
            return sandbox.fetch("mandate", known)
        raise ApiError(
            "This payment method requires a mandate. Provide `mandate_data` when you confirm, or use a payment method "
            "that already has one.",
            code=f"{intent['object']}_mandate_invalid",
            param="mandate_data",
        )
    mandate = new_mandate(
        sandbox, intent, method, accepted["customer_acceptance"], reusable=reusable
    )
    method["_mandate"] = mandate["id"]
    sandbox.save(method)
    return mandate


def new_mandate(
    sandbox: Sandbox, intent: Json, method: Json, acceptance: Json, *, reusable: bool
) -> Json:
    """The payer's permission to debit, as the bank wants it written down."""
    kind = method["type"]
    reference = sandbox.new_id("", 16).upper()
    details: Json = {"collection_method": None}
    if kind == "sepa_debit":
        url = f"{sandbox.settings.public_url}/_hosted/mandates/{reference}"
        details = {"reference": reference, "url": url}
    single = {"amount": intent.get("amount"), "currency": intent.get("currency")}
    return sandbox.create(
        "mandate",
        "mandate_1",
        customer_acceptance=part(
            stripe.Mandate.CustomerAcceptance,
            accepted_at=acceptance.get("accepted_at") or sandbox.now(),
            type=acceptance["type"],
            offline={} if acceptance["type"] == "offline" else None,
            online=acceptance.get("online"),
        ),
        multi_use={} if reusable else None,
        single_use=None if reusable else single,
        payment_method=method["id"],
        payment_method_details=part(
            stripe.Mandate.PaymentMethodDetails, type=kind, **{kind: details}
        ),
        status="active",
        type="multi_use" if reusable else "single_use",
    )


def check_microdeposits(sandbox: Sandbox, intent: Json, params: Json) -> Json:
    """The method whose account was proven by two amounts or a code. Raises ApiError (400) for wrong ones."""
    if (intent["next_action"] or {}).get("type") != "verify_with_microdeposits":
        raise ApiError(
            f"You cannot verify microdeposits for this {intent['object']} because it has a status of "
            f"{intent['status']}.",
            code=f"{intent['object']}_unexpected_state",
            **_about(intent),
        )
    if ("amounts" in params) == ("descriptor_code" in params):
        raise ApiError(
            "You must provide either `amounts` or `descriptor_code`.",
            code="parameter_missing",
            param="amounts",
        )
    method = sandbox.fetch("payment_method", intent["payment_method"])
    amounts, word = params.get("amounts"), params.get("descriptor_code")
    if amounts in ([32, 45], [45, 32]) or word == "SM11AA":
        method["_verified"] = True
        return sandbox.save(method)
    if amounts is not None and len(amounts) != 2:
        code = "payment_method_microdeposit_verification_amounts_invalid"
    elif amounts in ([10, 11], [11, 10]) or word == "SM33CC":
        code = "payment_method_microdeposit_verification_attempts_exceeded"
    elif amounts is not None:
        code = "payment_method_microdeposit_verification_amounts_mismatch"
    else:
        code = "payment_method_microdeposit_verification_descriptor_code_mismatch"
    raise ApiError(
        "The values that you gave are not those that were sent to the account.", code=code
    )


def shipping_of(given: Json | None) -> Json | None:
    """Where goods go, with every line of the address."""
    if given is None:
        return None
    address = payment_methods.address_of(given.get("address"))
    return part(stripe.PaymentIntent.Shipping, **{**given, "address": address})


def changed(before: Json, params: Json, plain: tuple[str, ...]) -> Json:
    """The object with the plain fields and the metadata that were sent; null where they were unset."""
    for name in plain:
        if name in params:
            before[name] = shipping_of(params[name]) if name == "shipping" else params[name]
    if "metadata" in params:
        before["metadata"] = merged(before["metadata"] or {}, params["metadata"])
    return before
