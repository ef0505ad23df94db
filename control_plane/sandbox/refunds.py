"""Charges as they can be read, and the money that goes back."""

from __future__ import annotations

import stripe
from stripe.params import (
    ChargeListParams,
    ChargeRetrieveParams,
    ChargeSearchParams,
    ChargeUpdateParams,
    RefundCancelParams,
    RefundCreateParams,
    RefundListParams,
    RefundRetrieveParams,
    RefundUpdateParams,
)

from control_plane.sandbox import balance, payment_flow, payment_methods
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.intents import changed
from control_plane.sandbox.money import spoken
from control_plane.sandbox.routing import Call, Routes, listing
from control_plane.sandbox.search import search
from control_plane.sandbox.shapes import part

routes = Routes()

_DAY_S = 86_400
#: How long the bank takes to notice that a refund cannot be booked, or to accept a pending one.
_BANK_TAKES_S = 2 * _DAY_S


@routes.get("/v1/charges/search", ChargeSearchParams)
def search_charges(call: Call) -> Json:
    return search(call, "charge")


@routes.get("/v1/charges", ChargeListParams)
def list_charges(call: Call) -> Json:
    params = call.params
    return call.page(
        "charge", customer=params.get("customer"), payment_intent=params.get("payment_intent")
    )


@routes.get("/v1/charges/{charge}", ChargeRetrieveParams)
def retrieve_charge(call: Call, charge: str) -> Json:
    return call.sandbox.fetch("charge", charge)


@routes.post("/v1/charges/{charge}", ChargeUpdateParams)
def update_charge(call: Call, charge: str) -> Json:
    found = call.sandbox.fetch("charge", charge)
    changed(found, call.params, ("description", "receipt_email", "shipping", "transfer_group"))
    if call.params.get("fraud_details"):
        found["fraud_details"] |= call.params["fraud_details"]
    call.sandbox.save(found)
    call.sandbox.emit("charge.updated", found)
    return found


@routes.include("charge", "refunds")
def refunds_of_charge(sandbox: Sandbox, charge: Json) -> Json:
    found = sandbox.store.find("refund", charge=charge["id"])
    return listing(found[:10], f"/v1/charges/{charge['id']}/refunds", has_more=len(found) > 10)


@routes.post("/v1/refunds", RefundCreateParams)
def create(call: Call) -> Json:
    sandbox, params = call.sandbox, call.params
    charge = _charge_of(sandbox, params)
    return refund(
        sandbox,
        charge,
        params.get("amount"),
        reason=params.get("reason"),
        metadata=params.get("metadata"),
    )


def refund(
    sandbox: Sandbox,
    charge: Json,
    amount: int | None,
    *,
    reason: str | None = None,
    metadata: Json | None = None,
) -> Json:
    """Give back ``amount``, or what is left. Returns the refund. Raises ApiError when more is asked than is left."""
    left = _check_refundable(charge)
    asked = left if amount is None else amount
    if asked < 1:
        raise ApiError(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if asked > left:
        raise ApiError(
            f"Refund amount ({spoken(asked, charge['currency'])}) is greater than unrefunded amount on charge "
            f"({spoken(left, charge['currency'])})",
            code="charge_already_refunded" if left == 0 else None,
            param="amount",
        )
    method = sandbox.fetch("payment_method", charge["payment_method"])
    card = payment_methods.card_of(method)
    fate = card.refund if card else "pending"
    status = "pending" if fate == "pending" else "succeeded"
    booked = balance.book(
        sandbox,
        kind="refund" if card else "payment_refund",
        category="refund",
        source="",
        amount=-asked,
        currency=charge["currency"],
        description=f"REFUND FOR CHARGE ({charge['description']})"
        if charge["description"]
        else "REFUND FOR CHARGE",
    )
    made = sandbox.create(
        "refund",
        "re_3",
        amount=asked,
        balance_transaction=booked["id"],
        charge=charge["id"],
        currency=charge["currency"],
        customer=charge["customer"],
        destination_details=_destination(charge["payment_method_details"]["type"]),
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        pending_reason="processing" if status == "pending" else None,
        reason=reason,
        status=status,
    )
    changed(made, {"metadata": metadata} if metadata else {}, ())
    sandbox.save({**booked, "source": made["id"]})
    charge["amount_refunded"] += asked
    charge["refunded"] = _left(charge) == 0
    sandbox.save(made)
    sandbox.save(charge)
    sandbox.emit("refund.created", made)
    sandbox.emit("charge.refunded", charge)
    if fate in ("pending", "fails"):
        sandbox.after(_BANK_TAKES_S, "decide_refund", made["id"])
    return made


@routes.get("/v1/refunds", RefundListParams)
def list_all(call: Call) -> Json:
    params = call.params
    return call.page(
        "refund", charge=params.get("charge"), payment_intent=params.get("payment_intent")
    )


@routes.get("/v1/refunds/{refund}", RefundRetrieveParams)
def retrieve(call: Call, refund: str) -> Json:
    return call.sandbox.fetch("refund", refund)


@routes.post("/v1/refunds/{refund}", RefundUpdateParams)
def update(call: Call, refund: str) -> Json:
    found = call.sandbox.fetch("refund", refund)
    before = found["metadata"]
    changed(found, call.params, ())
    call.sandbox.save(found)
    call.sandbox.emit("refund.updated", found, {"metadata": before})
    call.sandbox.emit("charge.refund.updated", found, {"metadata": before})
    return found


@routes.post("/v1/refunds/{refund}/cancel", RefundCancelParams)
def cancel(call: Call, refund: str) -> Json:
    found = call.sandbox.fetch("refund", refund)
    if found["status"] != "requires_action":
        raise ApiError(
            f"You cannot cancel this refund because it has a status of {found['status']}. Only a refund with a status "
            "of requires_action may be canceled.",
            code="status_transition_invalid",
        )
    _give_up(call.sandbox, found, "canceled", None)
    return found


@routes.task("decide_refund")
def decide_refund(sandbox: Sandbox, identifier: str) -> None:
    """A pending refund arrives, or one that seemed to have arrived comes back."""
    found = sandbox.fetch("refund", identifier)
    method = sandbox.fetch("payment_method", found["payment_method"])
    card = payment_methods.card_of(method)
    if card is not None and card.refund == "fails":
        _give_up(sandbox, found, "failed", "expired_or_canceled_card")
        return
    found |= {"status": "succeeded", "pending_reason": None}
    sandbox.save(found)
    sandbox.emit("refund.updated", found, {"status": "pending"})
    sandbox.emit("charge.refund.updated", found, {"status": "pending"})


def _give_up(sandbox: Sandbox, found: Json, status: str, reason: str | None) -> None:
    before = found["status"]
    booked = balance.book(
        sandbox,
        kind="refund_failure",
        source=found["id"],
        amount=found["amount"],
        currency=found["currency"],
        description="REFUND FAILURE",
    )
    found |= {
        "status": status,
        "failure_reason": reason,
        "failure_balance_transaction": booked["id"],
        "pending_reason": None,
    }
    charge = sandbox.fetch("charge", found["charge"])
    charge["amount_refunded"] -= found["amount"]
    charge["refunded"] = False
    sandbox.save(found)
    sandbox.save(charge)
    if status == "failed":
        sandbox.emit("refund.failed", found, {"status": before})
    sandbox.emit("refund.updated", found, {"status": before})
    sandbox.emit("charge.refund.updated", found, {"status": before})


def _charge_of(sandbox: Sandbox, params: Json) -> Json:
    if params.get("payment_intent") is None and params.get("charge") is None:
        raise ApiError(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    if params.get("payment_intent") is None:
        return sandbox.fetch("charge", params["charge"], param="charge", status=400)
    intent = sandbox.fetch(
        "payment_intent", params["payment_intent"], param="payment_intent", status=400
    )
    if params.get("charge") not in (None, intent["latest_charge"]):
        raise ApiError(
            "The provided charge does not belong to the provided payment_intent.", param="charge"
        )
    if intent["latest_charge"] is None:
        raise ApiError(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            code="charge_not_refundable",
            param="payment_intent",
        )
    if intent["status"] == "requires_capture":
        # Giving back what was never taken is letting it go.
        raise ApiError(
            f"This PaymentIntent ({intent['id']}) has not been captured. Cancel it instead of refunding it.",
            code="charge_not_refundable",
            param="payment_intent",
        )
    return sandbox.fetch("charge", intent["latest_charge"])


def _check_refundable(charge: Json) -> int:
    """What is left to give back. Raises ApiError when there is nothing."""
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise ApiError(
            f"This charge ({charge['id']}) cannot be refunded: it is {charge['status']}.",
            code="charge_not_refundable",
        )
    if charge["disputed"] and charge.get("_funds_withdrawn"):
        raise ApiError(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    left = _left(charge)
    if left == 0:
        raise ApiError(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    return left


def _left(charge: Json) -> int:
    released = charge["_released"]
    return int(charge["amount_captured"] - (charge["amount_refunded"] - released))


def _destination(kind: str) -> Json:
    if kind in payment_flow.DEBITS:
        return part(
            stripe.Refund.DestinationDetails,
            type={"us_bank_account": "us_bank_transfer", "sepa_debit": "eu_bank_transfer"}[kind],
        )
    card = part(
        stripe.Refund.DestinationDetails.Card,
        reference_status="pending",
        reference_type="acquirer_reference_number",
        type="refund",
    )
    return part(stripe.Refund.DestinationDetails, type="card", card=card)
