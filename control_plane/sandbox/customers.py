"""Customers, and the sessions that show their saved methods in a browser."""

from __future__ import annotations

import stripe
from stripe.params import (
    CustomerCreateParams,
    CustomerDeleteParams,
    CustomerListParams,
    CustomerRetrieveParams,
    CustomerSearchParams,
    CustomerSessionCreateParams,
    CustomerUpdateParams,
)

from control_plane.sandbox import payment_methods
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.intents import changed
from control_plane.sandbox.routing import Call, Routes, listing
from control_plane.sandbox.search import search
from control_plane.sandbox.shapes import make, part

routes = Routes()

_PLAIN = (
    "balance", "business_name", "description", "email", "individual_name", "invoice_prefix", "name", "phone",
    "preferred_locales", "shipping", "tax_exempt",
)  # fmt: skip
_SESSION_LIVES_S = 1800


@routes.post("/v1/customers", CustomerCreateParams)
def create(call: Call) -> Json:
    return create_customer(call.sandbox, call.params)


def create_customer(sandbox: Sandbox, params: Json) -> Json:
    """A new customer from validated parameters."""
    customer = sandbox.create(
        "customer",
        "cus_",
        balance=0,
        delinquent=False,
        invoice_prefix=sandbox.new_id("", 8).upper(),
        invoice_settings=part(stripe.Customer.InvoiceSettings),
        metadata={},
        next_invoice_sequence=1,
        preferred_locales=[],
        tax_exempt="none",
    )
    _set(sandbox, customer, params)
    if params.get("payment_method") is not None:
        method = payment_methods.named(sandbox, params["payment_method"])
        payment_methods.attach(sandbox, method, customer["id"])
    sandbox.save(customer)
    sandbox.emit("customer.created", customer)
    return customer


@routes.get("/v1/customers/search", CustomerSearchParams)
def search_all(call: Call) -> Json:
    return search(call, "customer")


@routes.get("/v1/customers", CustomerListParams)
def list_all(call: Call) -> Json:
    return call.page("customer", email=call.params.get("email"))


@routes.get("/v1/customers/{customer}", CustomerRetrieveParams)
def retrieve(call: Call, customer: str) -> Json:
    gone = call.sandbox.store.get(f"_gone_{customer}")
    return gone["customer"] if gone else call.sandbox.fetch("customer", customer)


@routes.post("/v1/customers/{customer}", CustomerUpdateParams)
def update(call: Call, customer: str) -> Json:
    found = call.sandbox.fetch("customer", customer)
    _set(call.sandbox, found, call.params)
    call.sandbox.save(found)
    call.sandbox.emit("customer.updated", found)
    return found


@routes.delete("/v1/customers/{customer}", CustomerDeleteParams)
def delete(call: Call, customer: str) -> Json:
    """The methods are detached; a later retrieve says that it is deleted."""
    sandbox = call.sandbox
    found = sandbox.fetch("customer", customer)
    for method in sandbox.store.find("payment_method", customer=customer):
        sandbox.save({**method, "customer": None, "_used": True})
    sandbox.store.remove(customer)
    sandbox.emit("customer.deleted", found)
    gone: Json = {"id": customer, "object": "customer", "deleted": True}
    sandbox.store.add("_gone", {"id": f"_gone_{customer}", "customer": gone})
    return gone


#: What the payment element may do when it is not told.
_FEATURES = {
    "payment_method_allow_redisplay_filters": ["always"],
    "payment_method_redisplay": "disabled",
    "payment_method_remove": "disabled",
    "payment_method_save": "disabled",
}


@routes.post("/v1/customer_sessions", CustomerSessionCreateParams)
def create_session(call: Call) -> Json:
    """Components that were not asked for are there, disabled."""
    sandbox, params = call.sandbox, call.params
    if params.get("customer") is None:
        raise ApiError(
            "Missing required param: customer.", code="parameter_missing", param="customer"
        )
    sandbox.named("customer", params["customer"], "customer")
    components = part(stripe.CustomerSession.Components)
    for name, given in components.items():
        asked = params["components"].get(name) or {}
        if isinstance(given, dict):
            components[name] = {**given, "enabled": False, **asked}
    element = components["payment_element"]
    if element["enabled"]:
        element["features"] = part(
            stripe.CustomerSession.Components.PaymentElement.Features,
            **{**_FEATURES, **(element["features"] or {})},
        )
    session = make(
        "customer_session",
        client_secret=f"cuss_secret_{sandbox.new_id('', 40)}",
        components=components,
        created=sandbox.now(),
        customer=params["customer"],
        expires_at=sandbox.now() + _SESSION_LIVES_S,
    )
    # It has no id of its own; a browser names it by its secret.
    sandbox.store.add("customer_session", {**session, "id": session["client_secret"]})
    return session


@routes.include("customer", "sources")
def sources(sandbox: Sandbox, customer: Json) -> Json:
    del sandbox
    return listing([], f"/v1/customers/{customer['id']}/sources")


def _set(sandbox: Sandbox, customer: Json, params: Json) -> None:
    changed(customer, params, _PLAIN)
    if "address" in params:
        given = params["address"]
        customer["address"] = given and payment_methods.address_of(given)
    email = customer["email"]
    if email is not None and "@" not in email:
        raise ApiError(f"Invalid email address: {email}", code="email_invalid", param="email")
    settings = params.get("invoice_settings") or {}
    default = settings.get("default_payment_method")
    if default is not None:
        method = sandbox.named(
            "payment_method", default, "invoice_settings[default_payment_method]"
        )
        if method is None or method["customer"] != customer["id"]:
            raise ApiError(
                f"The customer does not have a payment method with the ID {default}. The payment method must be "
                "attached to the customer.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    for name, value in settings.items():
        customer["invoice_settings"][name] = value
