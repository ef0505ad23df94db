"""Payment links and Checkout sessions: what they ask for, and the payment that the hosted page makes of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import stripe
from stripe import checkout
from stripe.params import (
    PaymentLinkCreateParams,
    PaymentLinkListLineItemsParams,
    PaymentLinkListParams,
    PaymentLinkRetrieveParams,
    PaymentLinkUpdateParams,
)
from stripe.params.checkout import (
    SessionCreateParams,
    SessionExpireParams,
    SessionListLineItemsParams,
    SessionListParams,
    SessionRetrieveParams,
    SessionUpdateParams,
)

from control_plane.sandbox import (
    catalogue,
    customers,
    intents,
    money,
    payment_intents,
    setup_intents,
)
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json, missing_parameter
from control_plane.sandbox.payment_flow import raise_if_declined
from control_plane.sandbox.routing import Call, Routes, listing
from control_plane.sandbox.shapes import make, part

routes = Routes()

_DAY_S = 86_400
_SOONEST_S, _LATEST_S = 30 * 60, _DAY_S
_Session = checkout.Session
_LINK_PLAIN = (
    "after_completion", "allow_promotion_codes", "billing_address_collection", "consent_collection",
    "customer_creation", "inactive_message", "name_collection", "payment_method_collection", "payment_method_types",
    "shipping_address_collection", "submit_type",
)  # fmt: skip
_SESSION_PLAIN = (
    "allow_promotion_codes", "allowed_payment_method_types", "billing_address_collection", "branding_settings",
    "cancel_url", "client_reference_id", "consent_collection", "customer", "customer_creation", "customer_email",
    "excluded_payment_method_types", "integration_identifier", "locale", "name_collection", "origin_context",
    "payment_method_collection", "redirect_on_completion", "return_url", "submit_type", "success_url",
)  # fmt: skip


# --- links ---


@routes.post("/v1/payment_links", PaymentLinkCreateParams)
def create_link(call: Call) -> Json:
    sandbox, params = call.sandbox, call.params
    items = _items(sandbox, params["line_items"])
    link = sandbox.create(
        "payment_link",
        "plink_1",
        active=True,
        after_completion={
            "type": "hosted_confirmation",
            "hosted_confirmation": {"custom_message": None},
            "redirect": None,
        },
        automatic_tax=part(stripe.PaymentLink.AutomaticTax),
        billing_address_collection="auto",
        currency=items[0]["currency"],
        custom_text=part(stripe.PaymentLink.CustomText),
        customer_creation="if_required",
        payment_method_collection="always",
        phone_number_collection={"enabled": False},
        submit_type="auto",
        tax_id_collection={"enabled": False, "required": "never"},
        _items=items,
        _completed=0,
    )
    link["url"] = f"{sandbox.settings.public_url}/_hosted/links/{link['id']}"
    return _set_link(sandbox, link, params)


@routes.get("/v1/payment_links", PaymentLinkListParams)
def list_links(call: Call) -> Json:
    return call.page("payment_link", active=call.params.get("active"))


@routes.get("/v1/payment_links/{link}", PaymentLinkRetrieveParams)
def retrieve_link(call: Call, link: str) -> Json:
    return call.sandbox.fetch("payment_link", link)


@routes.post("/v1/payment_links/{link}", PaymentLinkUpdateParams)
def update_link(call: Call, link: str) -> Json:
    found = call.sandbox.fetch("payment_link", link)
    return _set_link(call.sandbox, found, call.params)


@routes.get("/v1/payment_links/{link}/line_items", PaymentLinkListLineItemsParams)
def items_of_link(call: Call, link: str) -> Json:
    return _listed(call.sandbox.fetch("payment_link", link), call.path)


@routes.include("payment_link", "line_items")
def include_link_items(sandbox: Sandbox, link: Json) -> Json:
    found = sandbox.fetch("payment_link", link["id"])
    return _listed(found, f"/v1/payment_links/{link['id']}/line_items")


def session_of_link(sandbox: Sandbox, identifier: str) -> Json:
    """A new Checkout session for somebody who opened the link. Raises ApiError when it takes no more payments."""
    link = sandbox.fetch("payment_link", identifier)
    if not link["active"]:
        raise ApiError(
            link["inactive_message"] or "The link is no longer active.",
            code="payment_link_inactive",
        )
    data = link["payment_intent_data"] or {}
    after = link["after_completion"]["redirect"]
    return _new_session(
        sandbox,
        link["_items"],
        {
            "mode": "payment",
            "allowed_payment_method_types": link["payment_method_types"],
            "metadata": link["metadata"],
            "payment_intent_data": {
                name: value for name, value in data.items() if value is not None
            },
            "custom_fields": link["custom_fields"],
            "success_url": after and after["url"],
            "billing_address_collection": link["billing_address_collection"],
        },
        payment_link=link["id"],
    )


# --- sessions ---


@routes.post("/v1/checkout/sessions", SessionCreateParams, removed=intents.GONE)
def create_session(call: Call) -> Json:
    sandbox, params = call.sandbox, call.params
    mode = params.get("mode", "payment")
    if mode == "subscription":
        raise ApiError(
            "The sandbox sells no subscriptions. Use mode=payment or mode=setup.", param="mode"
        )
    if mode == "payment" and not params.get("line_items"):
        raise missing_parameter("line_items")
    if params.get("ui_mode", "hosted_page") == "hosted_page" and not params.get("success_url"):
        raise missing_parameter("success_url")
    sandbox.named("customer", params.get("customer"), "customer")
    if params.get("customer") and params.get("customer_email"):
        raise ApiError(
            "You may only specify one of these parameters: customer, customer_email.",
            code="parameters_exclusive",
            param="customer",
        )
    expires_at = params.get("expires_at")
    if expires_at is not None and not _SOONEST_S <= expires_at - sandbox.now() <= _LATEST_S:
        raise ApiError(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    return _new_session(sandbox, _items(sandbox, params.get("line_items") or []), params)


@routes.get("/v1/checkout/sessions", SessionListParams)
def list_sessions(call: Call) -> Json:
    params = call.params
    email = (params.get("customer_details") or {}).get("email")
    return call.page(
        "checkout.session",
        customer=params.get("customer"),
        payment_intent=params.get("payment_intent"),
        payment_link=params.get("payment_link"),
        status=params.get("status"),
        customer_details__email=email,
    )


@routes.get("/v1/checkout/sessions/{session}", SessionRetrieveParams)
def retrieve_session(call: Call, session: str) -> Json:
    return call.sandbox.fetch("checkout.session", session)


@routes.post("/v1/checkout/sessions/{session}", SessionUpdateParams)
def update_session(call: Call, session: str) -> Json:
    found = call.sandbox.fetch("checkout.session", session)
    if "line_items" in call.params:
        raise ApiError("Line items can only be updated in ui_mode elements.", param="line_items")
    intents.changed(found, call.params, ())
    return call.sandbox.save(found)


@routes.post("/v1/checkout/sessions/{session}/expire", SessionExpireParams)
def expire_session(call: Call, session: str) -> Json:
    found = call.sandbox.fetch("checkout.session", session)
    if found["status"] != "open":
        raise ApiError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status '
            f"of `{found['status']}`.",
            code="status_transition_invalid",
        )
    return _expire(call.sandbox, found)


@routes.get("/v1/checkout/sessions/{session}/line_items", SessionListLineItemsParams)
def items_of_session(call: Call, session: str) -> Json:
    return _listed(call.sandbox.fetch("checkout.session", session), call.path)


@routes.include("checkout.session", "line_items")
def include_session_items(sandbox: Sandbox, session: Json) -> Json:
    found = sandbox.fetch("checkout.session", session["id"])
    return _listed(found, f"/v1/checkout/sessions/{session['id']}/line_items")


@routes.task("expire_session")
def expire_in_time(sandbox: Sandbox, identifier: str) -> None:
    found = sandbox.fetch("checkout.session", identifier)
    if found["status"] == "open":
        _expire(sandbox, found)


def pay_session(
    sandbox: Sandbox,
    identifier: str,
    *,
    confirmation_token: str,
    email: str | None = None,
    custom_fields: dict[str, str] | None = None,
) -> Json:
    """What the hosted page does when somebody pays: returns the session.

    Its intent may want 3-D Secure (``requires_action``); call ``finish_session`` once that is done. Raises ApiError
    with ``keeps`` for a decline: the session stays open and the same intent is tried again.
    """
    session = sandbox.fetch("checkout.session", identifier)
    if session["status"] != "open":
        raise ApiError(f"This session is {session['status']}.", code="status_transition_invalid")
    if email is not None:
        session["customer_email"] = email
    _answer_fields(session, custom_fields or {})
    confirmation: Json = {
        "confirmation_token": confirmation_token,
        "return_url": f"{sandbox.settings.public_url}/_hosted/checkout/{identifier}",
        "use_stripe_sdk": True,
    }
    data = session["_intent_data"]
    if session["mode"] == "setup":
        intent = setup_intents.create_intent(
            sandbox,
            {"customer": session["customer"], "confirm": True, **data, **confirmation},
        )
        session["setup_intent"] = intent["id"]
        sandbox.save(session)
        return finish_session(sandbox, identifier)
    intent = (
        payment_intents.create_intent(sandbox, data)
        if session["payment_intent"] is None
        else sandbox.fetch("payment_intent", session["payment_intent"])
    )
    session["payment_intent"] = intent["id"]
    sandbox.save(session)
    payment_intents.confirm_intent(sandbox, intent, confirmation)
    return finish_session(sandbox, identifier)


def finish_session(sandbox: Sandbox, identifier: str) -> Json:
    """Complete the session when its intent is through; returns the session. Raises ApiError for a decline."""
    session = sandbox.fetch("checkout.session", identifier)
    kind = "setup_intent" if session["mode"] == "setup" else "payment_intent"
    intent = sandbox.fetch(kind, session[kind])
    if kind == "payment_intent":
        raise_if_declined(sandbox, intent)
    if session["status"] != "open" or intent["status"] in (
        "requires_action",
        "requires_payment_method",
    ):
        return session
    method = sandbox.fetch("payment_method", intent["payment_method"])
    billing = method["billing_details"]
    email = session["customer_email"] or billing["email"]
    if session["customer"] is None and session["customer_creation"] == "always":
        made = customers.create_customer(sandbox, {"email": email, "name": billing["name"]})
        session["customer"] = made["id"]
    session |= {
        "status": "complete",
        "url": None,
        "payment_status": {"setup_intent": "no_payment_required"}.get(
            kind, "paid" if intent["status"] in ("succeeded", "requires_capture") else "unpaid"
        ),
        "customer_details": part(
            _Session.CustomerDetails,
            address=billing["address"],
            email=email,
            name=billing["name"],
            phone=billing["phone"],
            tax_exempt="none",
            tax_ids=[],
        ),
    }
    sandbox.store.unschedule(session["id"])
    sandbox.save(session)
    sandbox.emit("checkout.session.completed", session)
    if session["payment_link"] is not None:
        _count(sandbox, session["payment_link"])
    return session


def watch_debits(sandbox: Sandbox, event: Json) -> None:
    """A listener: sessions that were paid by bank debit hear of its end."""
    outcome = {
        "payment_intent.succeeded": "async_payment_succeeded",
        "payment_intent.payment_failed": "async_payment_failed",
    }.get(event["type"])
    if outcome is None:
        return
    for session in sandbox.store.find(
        "checkout.session", payment_intent=event["data"]["object"]["id"]
    ):
        if session["status"] == "complete" and session["payment_status"] == "unpaid":
            if outcome == "async_payment_succeeded":
                session["payment_status"] = "paid"
                sandbox.save(session)
            sandbox.emit(f"checkout.session.{outcome}", session)


# --- parts ---


def _new_session(
    sandbox: Sandbox, items: list[Json], params: Json, *, payment_link: str | None = None
) -> Json:
    mode = params.get("mode", "payment")
    total = sum(one["amount_total"] for one in items)
    currency: Any = items[0]["currency"] if items else params.get("currency")  # JSON
    if mode == "payment" and total < money.least_amount(currency):
        least = money.spoken(money.least_amount(currency), currency)
        raise ApiError(
            f"The Checkout Session's total amount due must add up to at least {least}",
            code="amount_too_small",
        )
    limits = {
        name: params[name]
        for name in ("allowed_payment_method_types", "excluded_payment_method_types")
        if params.get(name) is not None
    }
    types, _ = intents.method_types(limits, currency)
    data = {
        **limits,
        **(params.get("payment_intent_data" if mode == "payment" else "setup_intent_data") or {}),
    }
    if mode == "payment":
        data |= {"amount": total, "currency": currency, "customer": params.get("customer")}
        data.setdefault("capture_method", "automatic_async")
    if params.get("payment_method_options"):
        data["payment_method_options"] = params["payment_method_options"]
    session = sandbox.create(
        "checkout.session",
        "cs_test_a1",
        **{
            **{name: params.get(name) for name in _SESSION_PLAIN},
            "amount_subtotal": total if mode == "payment" else None,
            "amount_total": total if mode == "payment" else None,
            "automatic_tax": part(_Session.AutomaticTax),
            "currency": currency,
            "custom_fields": [
                _custom_field(_Session.CustomField, one)
                for one in params.get("custom_fields") or []
            ],
            "custom_text": part(_Session.CustomText, **(params.get("custom_text") or {})),
            "customer_creation": params.get(
                "customer_creation", "if_required" if mode == "payment" else None
            ),
            "expires_at": params.get("expires_at") or sandbox.now() + _DAY_S,
            "metadata": {},
            "mode": mode,
            "payment_link": payment_link,
            "payment_method_options": {},
            "payment_method_types": types,
            "payment_status": "unpaid" if mode == "payment" else "no_payment_required",
            "shipping_options": [],
            "status": "open",
            "total_details": {
                "amount_discount": 0,
                "amount_shipping": 0,
                "amount_tax": 0,
                "breakdown": None,
            },
            "ui_mode": params.get("ui_mode", "hosted_page"),
            "_items": items,
            "_intent_data": data,
        },
    )
    intents.changed(session, params, ())
    session["url"] = f"{sandbox.settings.public_url}/_hosted/checkout/{session['id']}"
    sandbox.store.schedule(session["expires_at"], "expire_session", session["id"])
    return sandbox.save(session)


def _set_link(sandbox: Sandbox, link: Json, params: Json) -> Json:
    created = link["restrictions"] is None and not link["metadata"] and "line_items" in params
    intents.changed(link, params, (*_LINK_PLAIN, "active"))
    if params.get("custom_fields"):
        link["custom_fields"] = [
            _custom_field(stripe.PaymentLink.CustomField, one) for one in params["custom_fields"]
        ]
    if params.get("payment_intent_data") is not None:
        before = link["payment_intent_data"] or part(stripe.PaymentLink.PaymentIntentData)
        link["payment_intent_data"] = {**before, **params["payment_intent_data"]}
    if "restrictions" in params:
        given = params["restrictions"]
        link["restrictions"] = given and {
            "completed_sessions": {"count": link["_completed"], **given["completed_sessions"]}
        }
    after = link["after_completion"]
    link["after_completion"] = {"hosted_confirmation": None, "redirect": None, **after}
    sandbox.save(link)
    sandbox.emit("payment_link.created" if created else "payment_link.updated", link)
    return link


def _count(sandbox: Sandbox, identifier: str) -> None:
    link = sandbox.fetch("payment_link", identifier)
    link["_completed"] += 1
    limits = (link["restrictions"] or {}).get("completed_sessions")
    if limits is not None:
        limits["count"] = link["_completed"]
        link["active"] = link["_completed"] < limits["limit"]
    sandbox.save(link)
    if not link["active"]:
        sandbox.emit("payment_link.updated", link, {"active": True})


def _items(sandbox: Sandbox, given: list[Json]) -> list[Json]:
    """Line items as they are listed. Raises ApiError when prices do not fit together."""
    items = []
    for at, one in enumerate(given):
        if ("price" in one) == ("price_data" in one):
            raise missing_parameter(f"line_items[{at}][price]")
        price = (
            sandbox.fetch("price", one["price"], param=f"line_items[{at}][price]", status=400)
            if "price" in one
            else {**catalogue.new_price(sandbox, one["price_data"]), "active": False}
        )
        product = sandbox.fetch("product", price["product"])
        quantity = one.get("quantity", 1)
        amount = round(Decimal(price["unit_amount_decimal"] or 0) * quantity)
        items.append(
            make(
                "item",
                id=sandbox.new_id("li_1"),
                amount_subtotal=amount,
                amount_total=amount,
                currency=price["currency"],
                description=product["name"],
                price=public(price),
                quantity=quantity,
            )
        )
    if len({one["currency"] for one in items}) > 1:
        raise ApiError("All line items must have the same currency.", param="line_items")
    return items


# Any: the two classes of the SDK that have custom fields.
def _custom_field(owner: Any, given: Json) -> Json:
    kind = given["type"]
    details = part(owner._inner_class_types[kind], **(given.get(kind) or {}))  # noqa: SLF001
    label = {"custom": None, "type": "custom", **given["label"]}
    optional = given.get("optional", False)
    return part(
        owner, key=given["key"], type=kind, label=label, optional=optional, **{kind: details}
    )


def _answer_fields(session: Json, answers: dict[str, str]) -> None:
    for field in session["custom_fields"]:
        value = answers.get(field["key"])
        if value:
            field[field["type"]]["value"] = value
        elif not field["optional"]:
            raise ApiError(
                "This field is needed.",
                code="parameter_missing",
                param=f"custom_fields[{field['key']}]",
            )


def _expire(sandbox: Sandbox, session: Json) -> Json:
    session |= {"status": "expired", "url": None}
    sandbox.store.unschedule(session["id"])
    sandbox.save(session)
    sandbox.emit("checkout.session.expired", session)
    return session


def _listed(owner: Json, url: str) -> Json:
    return listing(owner["_items"], url)
