"""Payment methods: cards that a browser typed (what is secret goes), bank accounts, and Stripe's ready-made ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import stripe
from stripe.params import (
    CustomerListPaymentMethodsParams,
    CustomerRetrievePaymentMethodParams,
    PaymentMethodAttachParams,
    PaymentMethodCreateParams,
    PaymentMethodDetachParams,
    PaymentMethodListParams,
    PaymentMethodRetrieveParams,
    PaymentMethodUpdateParams,
)

from control_plane.sandbox import cards
from control_plane.sandbox.cards import TestCard
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json, missing_parameter, no_such
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.shapes import make, part
from control_plane.sandbox.webhooks import merged

routes = Routes()

_Method = stripe.PaymentMethod
_USED_UP = (
    "This PaymentMethod was previously used without being attached to a Customer or was detached from a Customer, and "
    "may not be used again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCard:
    """What a browser typed into the sandbox's own iframe. Never stored; see ``card_method``."""

    number: str
    exp_month: int
    exp_year: int
    cvc: str | None = None


# --- making one ---


def card_method(sandbox: Sandbox, typed: TypedCard, *, billing: Json | None = None) -> Json:
    """An unsaved payment method of a typed card, without its number. Raises ApiError (402)."""
    card = cards.of_number(typed.number)
    now = datetime.fromtimestamp(sandbox.now(), UTC)
    year = typed.exp_year + 2000 if typed.exp_year < 100 else typed.exp_year
    if not 1 <= typed.exp_month <= 12:
        raise cards.card_error(
            "invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month"
        )
    if not now.year <= year <= now.year + 50:
        raise cards.card_error(
            "invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year"
        )
    if (year, typed.exp_month) < (now.year, now.month):
        raise cards.card_error(
            "invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month"
        )
    if typed.cvc is not None and not (
        typed.cvc.isdecimal() and len(typed.cvc) == (4 if card.brand == "amex" else 3)
    ):
        raise cards.card_error("invalid_cvc", "Your card's security code is invalid.", "cvc")
    digits = typed.number.replace(" ", "").replace("-", "")
    return _of_card(
        sandbox,
        card,
        last4=digits[-4:],
        iin=digits[:6],
        expiry=(typed.exp_month, year),
        fingerprint=_fingerprint(digits),
        billing=billing,
        cvc_given=typed.cvc is not None,
    )


def ready_made(sandbox: Sandbox, identifier: str) -> Json | None:
    """A fresh unsaved copy of ``pm_card_…`` or ``pm_usBankAccount_…``, or None when it is no such id."""
    kind, _, name = identifier.removeprefix("pm_").partition("_")
    if kind == "card" and cards.has_name(name):
        card = cards.by_name(name)
        year = datetime.fromtimestamp(sandbox.now(), UTC).year + 1
        return _of_card(
            sandbox,
            card,
            last4=card.number[-4:],
            iin=card.number[:6],
            expiry=(8, year),
            fingerprint=_fingerprint(card.number),
            billing=None,
            cvc_given=False,
        )
    if kind == "usBankAccount" and (not name or cards.has_account(name)):
        account = cards.account_named(name or "success")
        return _of_account(
            sandbox,
            account.name,
            "6789",
            "individual",
            "checking",
            "110000000",
            billing=None,
            verified=bool(name),
        )
    return None


def bank_method(sandbox: Sandbox, params: Json, *, verified: bool = False) -> Json:
    """An unsaved payment method of the ``us_bank_account`` or ``sepa_debit`` that these parameters describe."""
    billing = params.get("billing_details")
    if params["type"] == "sepa_debit":
        details = params.get("sepa_debit") or {}
        if "iban" not in details:
            raise missing_parameter("sepa_debit[iban]")
        _require(billing, "sepa_debit", "name", "email")
        iban = details["iban"].replace(" ", "").upper()
        account = cards.account_of_iban(iban)
        sepa = part(
            _Method.SepaDebit,
            bank_code=iban[4:12],
            branch_code="",
            country=iban[:2],
            fingerprint=_fingerprint(iban),
            generated_from={"charge": None, "setup_attempt": None},
            last4=iban[-4:],
        )
        return _unsaved(
            sandbox, "sepa_debit", sepa, billing, params, _account=account.name, _verified=True
        )
    details = params.get("us_bank_account") or {}
    if "financial_connections_account" not in details:
        for name in ("account_number", "routing_number"):
            if name not in details:
                raise missing_parameter(f"us_bank_account[{name}]")
        if len(details["routing_number"]) != 9 or not details["routing_number"].isdecimal():
            raise ApiError(
                "The routing number provided is invalid.",
                code="routing_number_invalid",
                param="us_bank_account[routing_number]",
            )
    _require(billing, "us_bank_account", "name")
    number = details.get("account_number", "000123456789")
    return _of_account(
        sandbox,
        cards.account_of(number).name,
        number[-4:],
        details.get("account_holder_type", "individual"),
        details.get("account_type", "checking"),
        details.get("routing_number", "110000000"),
        billing=billing,
        verified=verified or "financial_connections_account" in details,
        params=params,
    )


def of_parameters(sandbox: Sandbox, params: Json) -> Json:
    """An unsaved payment method of ``payment_method_data`` or of the create call's own parameters."""
    kind = params.get("type")
    if kind == "card":
        given = params.get("card") or {}
        if "number" in given or "cvc" in given:
            raise ApiError(
                "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test "
                "tokens that map to the test card you are using, see https://stripe.com/docs/testing. To enable raw "
                "card data APIs in test mode, see "
                "https://support.stripe.com/questions/enabling-access-to-raw-card-data-apis.",
                status=402,
            )
        if "token" not in given:
            raise missing_parameter("card")
        token = str(given["token"])
        found = ready_made(sandbox, f"pm_card_{token.removeprefix('tok_')}")
        if found is None:
            raise no_such("token", token, param="card[token]", status=400)
        found["billing_details"] = _billing(params.get("billing_details"))
        return found
    if kind in ("us_bank_account", "sepa_debit"):
        return bank_method(sandbox, params)
    if kind is None:
        raise missing_parameter("type")
    raise ApiError(
        f'The payment method type "{kind}" is invalid. Please ensure the provided type is activated in your '
        "dashboard (https://dashboard.stripe.com/account/payments/settings) and your account is enabled for any "
        "preview features that you are trying to use.",
        code="payment_method_unactivated",
        param="type",
    )


def keep(sandbox: Sandbox, method: Json) -> Json:
    """Store a method that was unsaved."""
    return sandbox.store.add("payment_method", method)


def named(sandbox: Sandbox, identifier: str, param: str = "payment_method") -> Json:
    """The method that a parameter names; a ready-made one is copied. Raises ApiError (400)."""
    fresh = ready_made(sandbox, identifier)
    if fresh is not None:
        return keep(sandbox, fresh)
    return sandbox.fetch("payment_method", identifier, param=param, status=400)


def check_usable(method: Json, customer: str | None) -> None:
    """Raises ApiError when the method cannot pay for this customer."""
    if method["customer"] is None:
        if method.get("_used"):
            raise ApiError(_USED_UP, code="payment_method_unexpected_state", param="payment_method")
    elif customer is None:
        raise ApiError(
            "The payment method you provided is attached to a customer so for security purposes you must provide the "
            "customer in the request.",
            param="customer",
        )
    elif method["customer"] != customer:
        raise ApiError(
            f"The customer does not have a payment method with the ID {method['id']}. The payment method must be "
            "attached to the customer.",
            code="resource_missing",
            param="payment_method",
        )


def attach(sandbox: Sandbox, method: Json, customer: str) -> Json:
    """Attach it, asking the bank as Stripe does. Raises ApiError: 402 when the bank says no."""
    if method["customer"] == customer:
        return method
    if method["customer"] is not None:
        raise ApiError(
            "The payment method you provided has already been attached to a customer.",
            param="payment_method",
        )
    if method.get("_used"):
        raise ApiError(_USED_UP, code="payment_method_unexpected_state", param="payment_method")
    if method["type"].endswith("_present"):
        raise ApiError("PaymentMethods of type `card_present` cannot be saved to customers.")
    card = card_of(method)
    if card is not None and card.decline is not None and not card.attaches:
        raise ApiError(
            card.decline.message,
            status=402,
            type="card_error",
            code=card.decline.code,
            decline_code=card.decline.decline_code,
            param="",
        )
    return attach_quietly(sandbox, method, customer)


def attach_quietly(sandbox: Sandbox, method: Json, customer: str) -> Json:
    """Attach a method that has just paid or was set up."""
    if method["customer"] != customer:
        method["customer"] = customer
        sandbox.save(method)
        sandbox.emit("payment_method.attached", method)
    return method


def card_of(method: Json) -> TestCard | None:
    """The test card behind a method, or None for a bank account."""
    return cards.by_name(method["_card"]) if "_card" in method else None


def checks_of(method: Json) -> Json:
    """AVS and CVC as the bank answers: null for what was not given."""
    card = card_of(method)
    if card is None:
        return {}
    address = method["billing_details"]["address"] or {}
    return {
        "address_line1_check": card.address_check if address.get("line1") else None,
        "address_postal_code_check": card.postal_check if address.get("postal_code") else None,
        "cvc_check": card.cvc_check if method.get("_cvc_given") else None,
    }


def address_of(given: Json | None) -> Json:
    """An address with all its lines, null where nothing was given."""
    names = ("city", "country", "line1", "line2", "postal_code", "state")
    return {name: (given or {}).get(name) for name in names}


# --- endpoints ---


@routes.post("/v1/payment_methods", PaymentMethodCreateParams, publishable=True)
def create(call: Call) -> Json:
    if "payment_method" in call.params:
        raise ApiError(
            "You can only clone a payment method on a connected account.", param="payment_method"
        )
    return keep(call.sandbox, of_parameters(call.sandbox, call.params))


@routes.get("/v1/payment_methods/{method}", PaymentMethodRetrieveParams)
def retrieve(call: Call, method: str) -> Json:
    return call.sandbox.fetch("payment_method", method, param="payment_method")


@routes.post("/v1/payment_methods/{method}", PaymentMethodUpdateParams)
def update(call: Call, method: str) -> Json:
    found = call.sandbox.fetch("payment_method", method, param="payment_method")
    params = call.params
    if found["customer"] is None:
        raise ApiError(
            "You must save this PaymentMethod to a customer before you can update it.",
            param="payment_method",
        )
    if "billing_details" in params:
        for name, value in (params["billing_details"] or {}).items():
            found["billing_details"][name] = address_of(value) if name == "address" else value
    if "metadata" in params:
        found["metadata"] = merged(found["metadata"], params["metadata"])
    if "allow_redisplay" in params:
        found["allow_redisplay"] = params["allow_redisplay"]
    for name in ("exp_month", "exp_year"):
        if name in params.get("card", {}):
            found["card"][name] = params["card"][name]
    for name in ("account_holder_type", "account_type"):
        if name in params.get("us_bank_account", {}):
            found["us_bank_account"][name] = params["us_bank_account"][name]
    call.sandbox.save(found)
    call.sandbox.emit("payment_method.updated", found)
    return found


@routes.post("/v1/payment_methods/{method}/attach", PaymentMethodAttachParams)
def attach_to(call: Call, method: str) -> Json:
    if "customer" not in call.params:
        raise missing_parameter("customer")
    call.sandbox.named("customer", call.params["customer"], "customer")
    found = ready_made(call.sandbox, method)
    found = (
        keep(call.sandbox, found)
        if found is not None
        else call.sandbox.fetch("payment_method", method, param="payment_method")
    )
    return attach(call.sandbox, found, call.params["customer"])


@routes.post("/v1/payment_methods/{method}/detach", PaymentMethodDetachParams)
def detach(call: Call, method: str) -> Json:
    found = call.sandbox.fetch("payment_method", method, param="payment_method")
    if found["customer"] is None:
        raise ApiError(
            "The payment method you provided is not attached to a customer so detachment is impossible.",
            param="payment_method",
        )
    customer = found["customer"]
    found |= {"customer": None, "_used": True}
    call.sandbox.save(found)
    call.sandbox.emit("payment_method.detached", found, {"customer": customer})
    return found


@routes.get("/v1/payment_methods", PaymentMethodListParams)
def list_all(call: Call) -> Json:
    params = call.params
    if "customer" not in params:
        # Without a customer Stripe lists what belongs to none of them as well.
        return call.page("payment_method", type=params.get("type"))
    return call.page("payment_method", customer=params["customer"], type=params.get("type"))


@routes.get("/v1/customers/{customer}/payment_methods", CustomerListPaymentMethodsParams)
def list_of_customer(call: Call, customer: str) -> Json:
    call.sandbox.fetch("customer", customer)
    return call.page(
        "payment_method",
        customer=customer,
        type=call.params.get("type"),
        allow_redisplay=call.params.get("allow_redisplay"),
    )


@routes.get(
    "/v1/customers/{customer}/payment_methods/{method}", CustomerRetrievePaymentMethodParams
)
def retrieve_of_customer(call: Call, customer: str, method: str) -> Json:
    found = call.sandbox.fetch("payment_method", method, param="payment_method")
    if found["customer"] != customer:
        raise no_such("PaymentMethod", method, param="payment_method")
    return found


# --- parts ---


def _of_card(
    sandbox: Sandbox,
    card: TestCard,
    *,
    last4: str,
    iin: str,
    expiry: tuple[int, int],
    fingerprint: str,
    billing: Json | None,
    cvc_given: bool,
) -> Json:
    details = part(
        _Method.Card,
        brand=card.brand,
        checks={
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "unchecked" if cvc_given else None,
        },
        country=card.country,
        display_brand=card.brand,
        exp_month=expiry[0],
        exp_year=expiry[1],
        fingerprint=fingerprint,
        funding=card.funding,
        iin=iin,
        last4=last4,
        networks={"available": [card.brand], "preferred": None},
        regulated_status="unregulated",
        three_d_secure_usage={
            "supported": card.authentication is not cards.Authentication.NOT_SUPPORTED
        },
    )
    return _unsaved(sandbox, "card", details, billing, {}, _card=card.name, _cvc_given=cvc_given)


def _of_account(
    sandbox: Sandbox,
    account: str,
    last4: str,
    holder: str,
    kind: str,
    routing: str,
    *,
    billing: Json | None,
    verified: bool,
    params: Json | None = None,
) -> Json:
    details = part(
        _Method.UsBankAccount,
        account_holder_type=holder,
        account_type=kind,
        bank_name="STRIPE TEST BANK",
        fingerprint=_fingerprint(routing + account + last4),
        last4=last4,
        networks={"preferred": "ach", "supported": ["ach"]},
        routing_number=routing,
    )
    return _unsaved(
        sandbox,
        "us_bank_account",
        details,
        billing,
        params or {},
        _account=account,
        _verified=verified,
    )


def _unsaved(
    sandbox: Sandbox,
    kind: str,
    details: Json,
    billing: Json | None,
    params: Json,
    **private: object,
) -> Json:
    return make(
        "payment_method",
        id=sandbox.new_id("pm_1"),
        created=sandbox.now(),
        allow_redisplay=params.get("allow_redisplay", "unspecified"),
        billing_details=_billing(billing),
        metadata=merged({}, params.get("metadata")),
        type=kind,
        **{kind: details},
        **private,
    )


def _billing(given: Json | None) -> Json:
    billing = {**(given or {})}
    billing["address"] = address_of(billing.get("address"))
    return part(_Method.BillingDetails, **billing)


def _require(billing: Json | None, kind: str, *names: str) -> None:
    for name in names:
        if not (billing or {}).get(name):
            raise ApiError(
                f"Missing required param: billing_details[{name}]. {kind} needs it.",
                code="parameter_missing",
                param=f"billing_details[{name}]",
            )


def _fingerprint(number: str) -> str:
    """The same for the same number; nobody gets from it to the number without trying all, which test numbers allow."""
    return hashlib.blake2b(number.encode(), digest_size=8, key=b"sandbox").hexdigest()
