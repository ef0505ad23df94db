"""Disputes and early fraud warnings: they follow charges of certain test cards, and evidence decides them."""

from __future__ import annotations

import stripe
from stripe.params import (
    DisputeCloseParams,
    DisputeListParams,
    DisputeRetrieveParams,
    DisputeUpdateParams,
)
from stripe.params.radar import EarlyFraudWarningListParams, EarlyFraudWarningRetrieveParams

from control_plane.sandbox import balance, payment_methods
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.intents import changed
from control_plane.sandbox.routing import Call, Routes
from control_plane.sandbox.shapes import part

routes = Routes()

_FEE = 1500
_ANSWER_WITHIN_S = 7 * 86_400
_BANK_DECIDES_S = 86_400
_LONGEST_EVIDENCE = 150_000
_NETWORK_CODES = {"fraudulent": "10.4", "product_not_received": "13.1"}
#: Test evidence that wins or loses. Source: docs.stripe.com/testing, "Evidence".
_WINS = "winning_evidence"
_LOSES = "losing_evidence"
_OPEN = ("needs_response", "warning_needs_response")


@routes.task("open_dispute")
def open_dispute(sandbox: Sandbox, identifier: str) -> None:
    """What a charge's test card or test account leads to."""
    charge = sandbox.fetch("charge", identifier)
    method = sandbox.fetch("payment_method", charge["payment_method"])
    card = payment_methods.card_of(method)
    if card is not None and card.dispute == "early_fraud_warning":
        warn(sandbox, charge)
        return
    dispute(
        sandbox, charge, reason=card.dispute if card and card.dispute else "debit_not_authorized"
    )


def warn(sandbox: Sandbox, charge: Json) -> Json:
    """An early fraud warning on a charge."""
    warning = sandbox.create(
        "radar.early_fraud_warning",
        "issfr_1",
        actionable=True,
        charge=charge["id"],
        fraud_type="made_with_stolen_card",
        payment_intent=charge["payment_intent"],
    )
    sandbox.emit("radar.early_fraud_warning.created", warning)
    return warning


def dispute(sandbox: Sandbox, charge: Json, *, reason: str) -> Json:
    """The payer's bank takes the money back. ``inquiry`` only asks. Returns the dispute."""
    inquiry = reason == "inquiry"
    kind = charge["payment_method_details"]["type"]
    details: Json = {}
    if kind == "card":
        details = {
            "card": part(
                stripe.Dispute.PaymentMethodDetails.Card,
                brand=charge["payment_method_details"]["card"]["brand"],
                case_type="inquiry" if inquiry else "chargeback",
                network=charge["payment_method_details"]["card"]["network"],
                network_reason_code=_NETWORK_CODES.get(reason, "10.4"),
            )
        }
    opened = sandbox.create(
        "dispute",
        "du_1",
        amount=charge["amount_captured"],
        charge=charge["id"],
        currency=charge["currency"],
        evidence_details=_evidence_details(sandbox),
        is_charge_refundable=inquiry,
        metadata={},
        network_reason_code=_NETWORK_CODES.get(reason),
        payment_intent=charge["payment_intent"],
        payment_method_details=part(stripe.Dispute.PaymentMethodDetails, type=kind, **details),
        reason="general" if inquiry else reason,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    charge["disputed"] = True
    sandbox.emit("charge.dispute.created", opened)
    if not inquiry:
        taken = balance.book(
            sandbox,
            kind="adjustment",
            category="dispute",
            source=opened["id"],
            amount=-opened["amount"],
            currency=opened["currency"],
            description=f"Chargeback withdrawal for {charge['id']}",
            fee=_FEE,
            fee_description="Dispute fee",
        )
        opened["balance_transactions"] = [public(taken)]
        charge["_funds_withdrawn"] = True
        sandbox.emit("charge.dispute.funds_withdrawn", opened)
        sandbox.emit("charge.updated", charge)
    sandbox.save(charge)
    return sandbox.save(opened)


@routes.get("/v1/disputes", DisputeListParams)
def list_all(call: Call) -> Json:
    params = call.params
    return call.page(
        "dispute", charge=params.get("charge"), payment_intent=params.get("payment_intent")
    )


@routes.get("/v1/disputes/{dispute}", DisputeRetrieveParams)
def retrieve(call: Call, dispute: str) -> Json:
    return call.sandbox.fetch("dispute", dispute)


@routes.post("/v1/disputes/{dispute}", DisputeUpdateParams)
def update(call: Call, dispute: str) -> Json:
    """Evidence is staged until ``submit``; ``winning_evidence`` and ``losing_evidence`` decide, as in test mode."""
    sandbox, params = call.sandbox, call.params
    found = sandbox.fetch("dispute", dispute)
    if found["status"] not in _OPEN and "evidence" in params:
        raise ApiError(
            f"This dispute's evidence can no longer be changed: it is {found['status']}.",
            code="status_transition_invalid",
        )
    given = params.get("evidence") or {}
    if sum(len(value) for value in given.values() if isinstance(value, str)) > _LONGEST_EVIDENCE:
        raise ApiError("The evidence has more than 150000 characters in all.", param="evidence")
    for name, value in given.items():
        found["evidence"][name] = value
    changed(found, params, ())
    details = found["evidence_details"]
    staged = {
        name: value for name, value in found["evidence"].items() if value not in (None, {}, [])
    }
    details["has_evidence"] = bool(staged)
    if params.get("submit", bool(given)) and given:
        details |= {
            "submission_count": details["submission_count"] + 1,
            "submission_method": "manual",
        }
        warned = found["status"].startswith("warning")
        found["status"] = "warning_under_review" if warned else "under_review"
        sandbox.after(_BANK_DECIDES_S, "decide_dispute", found["id"])
    sandbox.save(found)
    sandbox.emit("charge.dispute.updated", found)
    return found


@routes.post("/v1/disputes/{dispute}/close", DisputeCloseParams)
def close(call: Call, dispute: str) -> Json:
    """Accepting it: lost at once."""
    found = call.sandbox.fetch("dispute", dispute)
    if found["status"] not in _OPEN:
        raise ApiError("This dispute is already closed.", code="status_transition_invalid")
    return _end(call.sandbox, found, "lost")


@routes.task("decide_dispute")
def decide_dispute(sandbox: Sandbox, identifier: str) -> None:
    found = sandbox.fetch("dispute", identifier)
    text = " ".join(value for value in found["evidence"].values() if isinstance(value, str))
    if found["status"] == "warning_under_review":
        _end(sandbox, found, "warning_closed")
    elif found["status"] == "under_review":
        _end(sandbox, found, "won" if _WINS in text or _LOSES not in text else "lost")


@routes.get("/v1/radar/early_fraud_warnings", EarlyFraudWarningListParams)
def list_warnings(call: Call) -> Json:
    params = call.params
    return call.page(
        "radar.early_fraud_warning",
        charge=params.get("charge"),
        payment_intent=params.get("payment_intent"),
    )


@routes.get("/v1/radar/early_fraud_warnings/{warning}", EarlyFraudWarningRetrieveParams)
def retrieve_warning(call: Call, warning: str) -> Json:
    return call.sandbox.fetch("radar.early_fraud_warning", warning)


def _end(sandbox: Sandbox, found: Json, status: str) -> Json:
    found["status"] = status
    if status == "won":
        back = balance.book(
            sandbox,
            kind="adjustment",
            category="dispute_reversal",
            source=found["id"],
            amount=found["amount"],
            currency=found["currency"],
            description=f"Chargeback reversal for {found['charge']}",
            fee=-_FEE,
            fee_description="Dispute fee refund",
        )
        found["balance_transactions"] = [*found["balance_transactions"], public(back)]
        charge = sandbox.fetch("charge", found["charge"])
        charge["_funds_withdrawn"] = False
        sandbox.save(charge)
    sandbox.save(found)
    if status == "won":
        sandbox.emit("charge.dispute.funds_reinstated", found)
    sandbox.emit("charge.dispute.closed", found)
    return found


def _evidence_details(sandbox: Sandbox) -> Json:
    return part(
        stripe.Dispute.EvidenceDetails,
        due_by=sandbox.now() + _ANSWER_WITHIN_S,
        submission_method="not_submitted",
    )
