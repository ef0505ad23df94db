"""The SDK's objects as values of the port.

An object of the SDK is no dict and has only the fields that were sent, so everything is read with ``_get``, which
answers None for a field that is not there. Functions take ``object`` because the SDK's types promise
more than answers hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from control_plane.processors.stripe.amounts import minor_of, of_wire
from control_plane.virtual_terminal.processor import (
    Checks,
    Decline,
    Instrument,
    NextAction,
    ProcessorCharge,
    ProcessorCustomer,
    ProcessorDispute,
    ProcessorMandate,
    ProcessorPayment,
    ProcessorReader,
    ProcessorRefund,
    ProcessorSetup,
    ReaderAction,
    Settlement,
)

#: ``card_present.receipt``: what card schemes want on a receipt.
_EMV: Final = (
    "account_type",
    "application_cryptogram",
    "application_preferred_name",
    "authorization_code",
    "authorization_response_code",
    "cardholder_verification_method",
    "dedicated_file_name",
    "terminal_verification_results",
    "transaction_status_information",
)
#: Values that a customer gave on a reader, by the type of the input.
_SAID: Final = ("text", "numeric", "email", "phone", "signature")


def payment(intent: object) -> ProcessorPayment:
    """A PaymentIntent; its charge when it was expanded."""
    currency = _get(intent, "currency")
    latest = _get(intent, "latest_charge")
    action = _get(intent, "next_action")
    tip = _get(intent, "amount_details", "tip", "amount")
    return ProcessorPayment(
        id=_get(intent, "id"),
        status=_get(intent, "status"),
        amount=of_wire(_get(intent, "amount"), currency),
        received_minor=minor_of(_get(intent, "amount_received") or 0, currency),
        capturable_minor=minor_of(_get(intent, "amount_capturable") or 0, currency),
        created_at=_moment(_get(intent, "created")),
        livemode=bool(_get(intent, "livemode")),
        client_secret=_get(intent, "client_secret"),
        customer_id=_id(_get(intent, "customer")),
        instrument_id=_id(_get(intent, "payment_method")),
        tip_minor=None if tip is None else minor_of(tip, currency),
        next_action=None if action is None else next_action(action),
        last_error=decline(_get(intent, "last_payment_error")),
        charge=None if latest is None or isinstance(latest, str) else charge(latest),
        cancellation_reason=_get(intent, "cancellation_reason"),
        description=_get(intent, "description") or "",
        receipt_email=_get(intent, "receipt_email"),
        metadata=_texts(_get(intent, "metadata")),
    )


def charge(made: object) -> ProcessorCharge:
    """A charge; its settlement when the balance transaction was expanded."""
    currency = _get(made, "currency")
    details = _get(made, "payment_method_details")
    branch = _branch(details)
    checks = _get(branch, "checks")
    return ProcessorCharge(
        id=_get(made, "id"),
        status=_get(made, "status"),
        amount=of_wire(_get(made, "amount"), currency),
        captured=bool(_get(made, "captured")),
        captured_minor=minor_of(_get(made, "amount_captured") or 0, currency),
        refunded_minor=minor_of(_get(made, "amount_refunded") or 0, currency),
        instrument=instrument(details, processor_id=_id(_get(made, "payment_method"))),
        created_at=_moment(_get(made, "created")),
        checks=Checks(
            address=_get(checks, "address_line1_check"),
            postal_code=_get(checks, "address_postal_code_check"),
            cvc=_get(checks, "cvc_check"),
        ),
        decline=_decline_of_charge(made),
        risk_level=_get(made, "outcome", "risk_level"),
        authorization_code=_get(branch, "authorization_code")
        or _get(branch, "receipt", "authorization_code")
        or _get(made, "authorization_code"),
        moto=_get(branch, "moto"),
        three_d_secure=_get(branch, "three_d_secure", "result"),
        disputed=bool(_get(made, "disputed")),
        capture_before=_optional_moment(_get(branch, "capture_before")),
        can_increment=bool(_get(branch, "incremental_authorization_supported"))
        or _get(branch, "incremental_authorization", "status") == "available",
        settlement=settlement(_get(made, "balance_transaction")),
        receipt_url=_get(made, "receipt_url"),
    )


def instrument(details: object, *, processor_id: str | None = None) -> Instrument:
    """Of ``payment_method_details`` of a charge, or of a PaymentMethod."""
    branch = _branch(details)
    exp_month, exp_year = _get(branch, "exp_month"), _get(branch, "exp_year")
    receipt = _get(branch, "receipt")
    emv = {name: str(value) for name in _EMV if (value := _get(receipt, name)) is not None}
    return Instrument(
        kind=_get(details, "type") or "",
        processor_id=processor_id or _get(details, "id"),
        brand=_get(branch, "brand"),
        last4=_get(branch, "last4"),
        exp_month=exp_month,
        exp_year=exp_year,
        fingerprint=_get(branch, "fingerprint"),
        funding=_get(branch, "funding"),
        country=_get(branch, "country"),
        bank_name=_get(branch, "bank_name") or _get(branch, "bank_code"),
        wallet=_get(branch, "wallet", "type"),
        entry_mode=_get(branch, "read_method"),
        generated_card=_get(branch, "generated_card"),
        emv=emv,
        mandate_id=_id(_get(branch, "mandate")),
    )


def settlement(moved: object) -> Settlement | None:
    """A balance transaction; None when it was not expanded or is not there yet."""
    if moved is None or isinstance(moved, str):
        return None
    currency = _get(moved, "currency")
    rate = _get(moved, "exchange_rate")
    return Settlement(
        id=_get(moved, "id"),
        amount=of_wire(_get(moved, "amount"), currency),
        fee_minor=minor_of(_get(moved, "fee"), currency),
        net_minor=minor_of(_get(moved, "net"), currency),
        rate=None if rate is None else f"{Decimal(str(rate)):f}",
        available_on=_optional_moment(_get(moved, "available_on")),
    )


def decline(said: object) -> Decline | None:
    """``last_payment_error``, ``last_setup_error``, an action's ``api_error``, or an error's body."""
    if said is None:
        return None
    return Decline(
        code=_get(said, "decline_code") or _get(said, "code") or _get(said, "type") or "",
        message=_get(said, "message") or "",
        network_code=_get(said, "network_decline_code"),
        advice=_get(said, "advice_code"),
        param=_get(said, "param") or None,
        charge_id=_id(_get(said, "charge")),
    )


def next_action(action: object) -> NextAction:
    """What the payer must do, and where when it is a page."""
    return NextAction(
        kind=_get(action, "type"),
        url=_get(action, "redirect_to_url", "url")
        or _get(action, "verify_with_microdeposits", "hosted_verification_url"),
    )


def refund(given: object) -> ProcessorRefund:
    """A refund; its settlement when the balance transaction was expanded."""
    return ProcessorRefund(
        id=_get(given, "id"),
        status=_get(given, "status") or "pending",
        amount=of_wire(_get(given, "amount"), _get(given, "currency")),
        payment_id=_id(_get(given, "payment_intent")),
        charge_id=_id(_get(given, "charge")),
        created_at=_moment(_get(given, "created")),
        reason=_get(given, "reason"),
        failure_reason=_get(given, "failure_reason"),
        settlement=settlement(_get(given, "balance_transaction")),
        metadata=_texts(_get(given, "metadata")),
    )


def dispute(raised: object) -> ProcessorDispute:
    """A dispute, with what it took and gave back so far."""
    moved = [settlement(one) for one in _get(raised, "balance_transactions") or []]
    details = _get(raised, "evidence_details")
    return ProcessorDispute(
        id=_get(raised, "id"),
        charge_id=_id(_get(raised, "charge")) or "",
        payment_id=_id(_get(raised, "payment_intent")),
        amount=of_wire(_get(raised, "amount"), _get(raised, "currency")),
        reason=_get(raised, "reason") or "",
        status=_get(raised, "status"),
        due_by=_optional_moment(_get(details, "due_by")),
        has_evidence=bool(_get(details, "has_evidence")),
        created_at=_moment(_get(raised, "created")),
        movements=tuple(one for one in moved if one is not None),
    )


def customer(known: object) -> ProcessorCustomer:
    """A customer; one that was deleted has only its id."""
    return ProcessorCustomer(
        id=_get(known, "id"),
        name=_get(known, "name"),
        email=_get(known, "email"),
        phone=_get(known, "phone"),
        deleted=bool(_get(known, "deleted")),
    )


def mandate(given: object) -> ProcessorMandate:
    """A mandate, with the reference that a payer's bank statement shows."""
    return ProcessorMandate(
        id=_get(given, "id"),
        status=_get(given, "status"),
        accepted_at=_optional_moment(_get(given, "customer_acceptance", "accepted_at")),
        reference=_get(given, "payment_method_details", "sepa_debit", "reference")
        or _get(given, "payment_method_details", "bacs_debit", "reference"),
    )


def setup(intent: object) -> ProcessorSetup:
    """A SetupIntent; its instrument when the payment method was expanded."""
    method = _get(intent, "payment_method")
    action = _get(intent, "next_action")
    return ProcessorSetup(
        id=_get(intent, "id"),
        status=_get(intent, "status"),
        client_secret=_get(intent, "client_secret"),
        instrument=None if method is None or isinstance(method, str) else instrument(method),
        next_action=None if action is None else next_action(action),
        last_error=decline(_get(intent, "last_setup_error")),
        mandate_id=_id(_get(intent, "mandate")),
    )


def reader(known: object) -> ProcessorReader:
    """A reader, with what it does or did last."""
    action = _get(known, "action")
    seen = _get(known, "last_seen_at")
    return ProcessorReader(
        id=_get(known, "id"),
        device_type=_get(known, "device_type") or "",
        label=_get(known, "label") or "",
        serial_number=_get(known, "serial_number") or "",
        status=_get(known, "status"),
        location_id=_id(_get(known, "location")),
        software_version=_get(known, "device_sw_version"),
        ip_address=_get(known, "ip_address"),
        # Since 2025-10-29 in milliseconds, unlike every other time.
        last_seen_at=None if seen is None else _moment(seen / 1000 if seen > 10**11 else seen),
        action=None if action is None else _action(action),
    )


def _action(action: object) -> ReaderAction:
    kind = _get(action, "type")
    doing = _get(action, kind)
    return ReaderAction(
        kind=kind,
        status=_get(action, "status"),
        payment_id=_id(_get(doing, "payment_intent")),
        charge_id=_id(_get(doing, "charge")),
        refund_id=_id(_get(doing, "refund")),
        failure_code=_get(action, "failure_code"),
        failure_message=_get(action, "failure_message"),
        decline=decline(_get(action, "api_error")),
        inputs=tuple(map(_input, _get(doing, "inputs") or [])),
        metadata=_texts(_get(doing, "metadata")),
    )


def _input(asked: object) -> Mapping[str, str]:
    kind = _get(asked, "type")
    said = _get(asked, kind, "value") if kind in _SAID else _get(asked, kind, "text")
    return {
        "kind": kind,
        "title": _get(asked, "custom_text", "title") or "",
        "value": said or "",
        "skipped": "yes" if _get(asked, "skipped") else "",
    }


def _decline_of_charge(made: object) -> Decline | None:
    if _get(made, "status") != "failed":
        return None
    outcome = _get(made, "outcome")
    return Decline(
        code=_get(outcome, "reason") or _get(made, "failure_code") or "",
        message=_get(made, "failure_message") or _get(outcome, "seller_message") or "",
        network_code=_get(outcome, "network_decline_code"),
        advice=_get(outcome, "advice_code"),
        charge_id=_get(made, "id"),
    )


def _branch(details: object) -> object:
    """The part of a method's or charge's details that is of its type."""
    kind = _get(details, "type")
    return None if kind is None else _get(details, kind)


def _get(value: object, *names: str) -> Any:  # whatever the answer holds
    for name in names:
        value = getattr(value, name, None)
        if value is None:
            return None
    return value


def _id(value: object) -> str | None:
    """Of an expandable field."""
    if value is None or isinstance(value, str):
        return value
    found = _get(value, "id")
    return None if found is None else str(found)


def _texts(value: object) -> dict[str, str]:
    if value is None:
        return {}
    pairs: dict[str, str] = value.to_dict()  # type: ignore[attr-defined]  # metadata is an object of the SDK
    return pairs


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
