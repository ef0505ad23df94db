"""What taking money is made of, whoever asks: an API call, a card reader, a hosted page, or the clock.

Every function works inside the caller's transaction, changes the intent that it is given and saves it.
"""

from __future__ import annotations

from dataclasses import dataclass

import stripe

from control_plane.sandbox import balance, cards, payment_methods
from control_plane.sandbox.cards import Authentication, Decline
from control_plane.sandbox.engine import Sandbox, public
from control_plane.sandbox.errors import ApiError, Json, no_such
from control_plane.sandbox.routing import Routes
from control_plane.sandbox.shapes import part

routes = Routes()

_Details = stripe.Charge.PaymentMethodDetails
_DAY_S = 86_400
_CARD_LAPSES_S = 7 * _DAY_S
_IN_PERSON_LAPSES_S = 2 * _DAY_S
#: With ``automatic_async`` the balance transaction comes after the answer.
_SETTLES_S = 1
DEBITS = ("us_bank_account", "sepa_debit")
#: What is in a bank statement's few letters.
_STATEMENT_LETTERS = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one confirmation is meant."""

    off_session: bool = False
    moto: bool = False
    error_on_requires_action: bool = False
    use_stripe_sdk: bool = False
    return_url: str | None = None
    #: 3-D Secure was passed for this attempt.
    authenticated: bool = False


# --- one attempt ---


def attempt(sandbox: Sandbox, intent: Json, method: Json, terms: Terms) -> Json:
    """Try to charge the intent by this method; returns the intent, whatever came of it.

    It becomes succeeded, requires_capture, processing, requires_action, or, declined, requires_payment_method. Nothing
    is raised for a decline (see ``raise_if_declined``), except where ``error_on_requires_action`` asks for it.
    """
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if method["type"] in DEBITS:
        if not method["_verified"]:
            return _ask_for_microdeposits(sandbox, intent)
        return _start_debit(sandbox, intent, method)
    card = payment_methods.card_of(method)
    assert card is not None  # noqa: S101 - what is no debit is a card
    if card.authentication is not Authentication.NOT_SUPPORTED and needs_authentication(
        card, method, terms, intent["payment_method_options"]
    ):
        if terms.off_session:
            return decline(sandbox, intent, method, cards.decline_of("authentication_required"))
        if terms.error_on_requires_action:
            intent |= {"status": "requires_payment_method", "payment_method": None}
            sandbox.save(intent)
            raise ApiError(
                "This payment required an authentication action to complete, but `error_on_requires_action` was set. "
                "When you're ready, you can upgrade your integration to handle actions at "
                "https://stripe.com/docs/payments/payment-intents/upgrade-to-handle-actions.",
                status=402,
                type="card_error",
                code="authentication_required",
                decline_code="authentication_not_handled",
                keeps=True,
                payment_intent=public(intent),
                payment_method=public(method),
            )
        return _ask_for_authentication(sandbox, intent, terms)
    if card.decline is not None:
        return decline(sandbox, intent, method, card.decline, terms=terms)
    settle(sandbox, intent, method, details=card_details(sandbox, intent, method, terms))
    return intent


def needs_authentication(
    card: cards.TestCard, method: Json, terms: Terms, options: Json | None
) -> bool:
    """Whether the bank wants 3-D Secure: never by phone or mail, never twice."""
    if terms.moto or terms.authenticated:
        return False
    asked = ((options or {}).get("card") or {}).get("request_three_d_secure")
    if asked in ("any", "challenge") and not terms.off_session:
        return True
    set_up = bool(method.get("_set_up"))
    return {
        Authentication.ALWAYS: True,
        Authentication.UNLESS_SET_UP: not (set_up and terms.off_session),
        Authentication.ON_SESSION: not terms.off_session,
    }.get(card.authentication, False)


def settle(
    sandbox: Sandbox, intent: Json, method: Json, *, details: Json, outcome: Json | None = None
) -> Json:
    """The bank said yes: a charge, captured or to be captured as the intent says. Returns the charge.

    ``details`` is the charge's ``payment_method_details``.
    """
    kind = details["type"]
    options = (intent["payment_method_options"] or {}).get(kind) or {}
    by_hand = intent["capture_method"] == "manual" or options.get("capture_method") in (
        "manual",
        "manual_preferred",
    )
    charge = _new_charge(sandbox, intent, method, details)
    charge |= {
        "outcome": outcome or _authorized(method),
        "paid": True,
        "receipt_url": f"{sandbox.settings.public_url}/_hosted/receipts/{charge['id']}",
        "status": "succeeded",
    }
    intent["latest_charge"] = charge["id"]
    _after_success(sandbox, intent, method)
    if by_hand:
        lapses_s = _IN_PERSON_LAPSES_S if kind.endswith("_present") else _CARD_LAPSES_S
        details[kind] |= {
            "capture_before": sandbox.now() + lapses_s,
            "amount_authorized": charge["amount"],
        }
        intent |= {"status": "requires_capture", "amount_capturable": charge["amount"]}
        sandbox.after(lapses_s, "authorization_lapses", intent["id"])
        sandbox.save(charge)
        sandbox.save(intent)
        sandbox.emit("charge.succeeded", charge)
        sandbox.emit("payment_intent.amount_capturable_updated", intent)
        return charge
    charge |= {"captured": True, "amount_captured": charge["amount"]}
    intent |= {"status": "succeeded", "amount_received": charge["amount"]}
    _bring_money(
        sandbox,
        charge,
        charge["amount"],
        method,
        delayed=intent["capture_method"] == "automatic_async",
    )
    sandbox.save(charge)
    sandbox.save(intent)
    sandbox.emit("charge.succeeded", charge)
    sandbox.emit("payment_intent.succeeded", intent)
    _promise_trouble(sandbox, charge, method)
    return charge


def decline(
    sandbox: Sandbox,
    intent: Json,
    method: Json,
    why: Decline,
    *,
    details: Json | None = None,
    terms: Terms | None = None,
) -> Json:
    """The bank said no: a failed charge, and the intent waits for another method. Returns the intent."""
    details = details or card_details(sandbox, intent, method, terms or Terms())
    charge = _new_charge(sandbox, intent, method, details)
    card = payment_methods.card_of(method)
    blocked = card is not None and card.risk == "highest"
    charge |= {
        "failure_code": why.code,
        "failure_message": why.message,
        "outcome": part(
            stripe.Charge.Outcome,
            advice_code=why.advice,
            network_advice_code=None,
            network_decline_code=why.network_code,
            network_status="not_sent_to_network" if blocked else "declined_by_network",
            reason="highest_risk_level" if blocked else why.decline_code,
            risk_level=card.risk if card else "not_assessed",
            risk_score={"normal": 20, "elevated": 70, "highest": 92}[card.risk] if card else None,
            seller_message="Stripe blocked this payment as too risky."
            if blocked
            else "The bank did not return any further details with this decline.",
            type="blocked" if blocked else "issuer_declined",
        ),
        "status": "failed",
    }
    method["_used"] = True
    sandbox.save(method)
    sandbox.save(charge)
    _fail(sandbox, intent, method, charge, why)
    return intent


def raise_if_declined(sandbox: Sandbox, intent: Json) -> None:
    """Turn a decline that was written down into the answer of the call that caused it (402)."""
    failed = intent["last_payment_error"]
    if intent["status"] != "requires_payment_method" or failed is None:
        return
    facts = {name: value for name, value in failed.items() if value is not None}
    message, code = facts.pop("message"), facts.pop("code")
    kind, param = facts.pop("type"), facts.pop("param", "")
    facts.pop("doc_url", None)
    raise ApiError(
        message,
        status=402,
        type=kind,
        code=code,
        param=param,
        keeps=True,
        **facts,
        payment_intent=public(sandbox.fetch("payment_intent", intent["id"])),
    )


def complete_authentication(sandbox: Sandbox, identifier: str, *, passed: bool) -> Json:
    """The payer passed or failed 3-D Secure; returns the intent. A setup intent works too."""
    intent = sandbox.store.get(identifier)
    if intent is None or intent["object"] not in ("payment_intent", "setup_intent"):
        raise no_such("payment_intent", identifier, param="intent")
    if intent["status"] != "requires_action":
        return intent
    method = sandbox.fetch("payment_method", intent["payment_method"])
    if intent["object"] == "setup_intent":
        return complete_setup(sandbox, intent, method, passed=passed)
    if passed:
        terms = Terms(authenticated=True)
        return attempt(sandbox, intent, method, terms)
    intent |= {"next_action": None}
    method["_used"] = True
    sandbox.save(method)
    _refuse(
        sandbox,
        intent,
        method,
        None,
        code="payment_intent_authentication_failure",
        message="We are unable to authenticate your payment method. Please choose a different payment method and try "
        "again.",
        kind="card_error",
    )
    return intent


def complete_setup(sandbox: Sandbox, intent: Json, method: Json, *, passed: bool) -> Json:
    """A setup intent's method is ready for use, or its payer could not be authenticated."""
    intent["next_action"] = None
    if passed:
        method |= {"_set_up": intent["usage"] == "off_session", "_used": True}
        sandbox.save(method)
        if intent["customer"] is not None:
            payment_methods.attach_quietly(sandbox, method, intent["customer"])
        intent |= {"status": "succeeded", "last_setup_error": None}
        end_setup_attempt(sandbox, intent, "succeeded")
        sandbox.save(intent)
        sandbox.emit("setup_intent.succeeded", intent)
        return intent
    failed = _error_of(
        method,
        code="setup_intent_authentication_failure",
        message="The latest attempt to set up the payment method has failed because authentication failed.",
        kind="invalid_request_error",
    )
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_setup_error": part(stripe.SetupIntent.LastSetupError, **failed),
    }
    end_setup_attempt(sandbox, intent, "failed")
    sandbox.save(intent)
    sandbox.emit("setup_intent.setup_failed", intent)
    return intent


def end_setup_attempt(sandbox: Sandbox, intent: Json, status: str) -> None:
    """What became of a setup intent's latest attempt."""
    attempted = sandbox.fetch("setup_attempt", intent["latest_attempt"])
    sandbox.save({**attempted, "status": status, "setup_error": intent["last_setup_error"]})


# --- after the authorisation ---


def capture(sandbox: Sandbox, intent: Json, amount: int, *, final: bool = True) -> Json:
    """Take this much of what is held; the rest is given back when ``final``. Returns the intent."""
    charge = sandbox.fetch("charge", intent["latest_charge"])
    kind = charge["payment_method_details"]["type"]
    captured = charge["amount_captured"] + amount
    left = 0 if final else max(0, intent["amount_capturable"] - amount)
    charge |= {
        "captured": True,
        "amount_captured": captured,
        # Stripe counts what was never taken as refunded.
        "amount_refunded": 0 if not final else max(0, charge["amount"] - captured),
        "_released": 0 if not final else max(0, charge["amount"] - captured),
    }
    intent |= {"amount_received": captured, "amount_capturable": left}
    booked = balance.book_charge(sandbox, charge, amount, method=kind)
    charge["balance_transaction"] = booked["id"]
    if not left:
        intent["status"] = "succeeded"
        sandbox.store.unschedule(intent["id"])
    sandbox.save(charge)
    sandbox.save(intent)
    sandbox.emit("charge.captured", charge)
    sandbox.emit(
        "payment_intent.succeeded" if not left else "payment_intent.amount_capturable_updated",
        intent,
    )
    if not left:
        _promise_trouble(sandbox, charge, sandbox.fetch("payment_method", charge["payment_method"]))
    return intent


def cancel(sandbox: Sandbox, intent: Json, reason: str | None) -> Json:
    """Nothing more is taken; what is held is let go. Returns the intent."""
    if intent["status"] == "requires_capture":
        charge = sandbox.fetch("charge", intent["latest_charge"])
        lapsed = reason == "automatic"
        charge |= {
            "amount_refunded": charge["amount"],
            "refunded": True,
            "_released": charge["amount"],
        }
        sandbox.save(charge)
        sandbox.emit("charge.expired" if lapsed else "charge.refunded", charge)
    intent |= {
        "status": "canceled",
        "canceled_at": sandbox.now(),
        "cancellation_reason": reason,
        "amount_capturable": 0,
        "next_action": None,
    }
    sandbox.store.unschedule(intent["id"])
    sandbox.save(intent)
    sandbox.emit("payment_intent.canceled", intent)
    return intent


@routes.task("authorization_lapses")
def authorization_lapses(sandbox: Sandbox, identifier: str) -> None:
    intent = sandbox.fetch("payment_intent", identifier)
    if intent["status"] == "requires_capture":
        cancel(sandbox, intent, "automatic")


@routes.task("settle_charge")
def settle_charge(sandbox: Sandbox, identifier: str) -> None:
    """The balance transaction of an ``automatic_async`` payment."""
    charge = sandbox.fetch("charge", identifier)
    method = sandbox.fetch("payment_method", charge["payment_method"])
    _bring_money(sandbox, charge, charge["amount_captured"], method, delayed=False)
    sandbox.save(charge)
    sandbox.emit("charge.updated", charge, {"balance_transaction": None})


@routes.task("decide_debit")
def decide_debit(sandbox: Sandbox, identifier: str) -> None:
    """A bank debit settles or comes back."""
    intent = sandbox.fetch("payment_intent", identifier)
    if intent["status"] != "processing":
        return
    charge = sandbox.fetch("charge", intent["latest_charge"])
    method = sandbox.fetch("payment_method", charge["payment_method"])
    account = cards.account_named(method["_account"])
    if account.outcome in ("succeeds", "disputes"):
        charge |= {
            "status": "succeeded",
            "paid": True,
            "captured": True,
            "amount_captured": charge["amount"],
            "receipt_url": f"{sandbox.settings.public_url}/_hosted/receipts/{charge['id']}",
        }
        intent |= {"status": "succeeded", "amount_received": charge["amount"]}
        _bring_money(sandbox, charge, charge["amount"], method, delayed=False)
        sandbox.save(charge)
        sandbox.save(intent)
        sandbox.emit("charge.succeeded", charge)
        sandbox.emit("payment_intent.succeeded", intent)
        if account.outcome == "disputes":
            sandbox.after(_SETTLES_S, "open_dispute", charge["id"])
        return
    charge |= {
        "status": "failed",
        "paid": False,
        "captured": False,
        "failure_code": account.outcome,
        "failure_message": account.message,
    }
    sandbox.save(charge)
    _fail(
        sandbox, intent, method, charge, Decline(account.outcome, None, None, None, account.message)
    )


# --- parts ---


def card_details(sandbox: Sandbox, intent: Json, method: Json, terms: Terms) -> Json:
    """``payment_method_details`` of a card that was not present."""
    card = payment_methods.card_of(method)
    assert card is not None  # noqa: S101 - callers have a card
    shown = method["card"]
    options = (intent["payment_method_options"] or {}).get("card") or {}
    available = {
        feature: {
            "status": "available"
            if options.get(f"request_{feature}") == "if_available"
            else "unavailable"
        }
        for feature in ("multicapture", "overcapture")
    }
    held = intent["amount"]
    over = available["overcapture"]["status"] == "available"
    available["overcapture"]["maximum_amount_capturable"] = held * 6 // 5 if over else held
    asked = options.get("request_incremental_authorization") == "if_available"
    authenticated = part(
        _Details.Card.ThreeDSecure,
        authentication_flow="challenge",
        electronic_commerce_indicator="05",
        result="authenticated",
        version="2.2.0",
        transaction_id=sandbox.new_id("", 32),
    )
    details = part(
        _Details.Card,
        authorization_code=str(100_000 + sum(map(ord, intent["id"])) * 7919 % 900_000),
        brand=shown["brand"],
        checks=payment_methods.checks_of(method),
        country=shown["country"],
        electronic_commerce_indicator="05" if terms.authenticated else None,
        exp_month=shown["exp_month"],
        exp_year=shown["exp_year"],
        extended_authorization={"status": "disabled"},
        fingerprint=shown["fingerprint"],
        funding=shown["funding"],
        iin=shown["iin"],
        incremental_authorization={"status": "available" if asked else "unavailable"},
        last4=shown["last4"],
        moto=True if terms.moto else None,
        network=shown["brand"],
        network_token={"used": False},
        network_transaction_id=str(sum(map(ord, intent["id"])) ** 5)[:15],
        regulated_status="unregulated",
        stored_credential_usage=options.get("stored_credential_usage"),
        three_d_secure=authenticated if terms.authenticated else None,
        **available,
    )
    return part(_Details, type="card", card=details)


def debit_details(method: Json, mandate: str | None) -> Json:
    """``payment_method_details`` of a bank debit."""
    kind = method["type"]
    owner = {"us_bank_account": _Details.UsBankAccount, "sepa_debit": _Details.SepaDebit}[kind]
    known = {name: value for name, value in method[kind].items() if name in owner.__annotations__}
    return part(_Details, type=kind, **{kind: part(owner, **known, mandate=mandate)})


def _new_charge(sandbox: Sandbox, intent: Json, method: Json, details: Json) -> Json:
    business = sandbox.settings.business_name.upper()
    suffix = intent["statement_descriptor_suffix"]
    statement = f"{business}* {suffix.upper()}" if suffix else business
    return sandbox.create(
        "charge",
        "ch_3",
        amount=intent["amount"],
        authorization_code=details[details["type"]].get("authorization_code"),
        billing_details=method["billing_details"],
        calculated_statement_descriptor=(intent["statement_descriptor"] or statement)[
            :_STATEMENT_LETTERS
        ],
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        fraud_details={},
        metadata=intent["metadata"],
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=details,
        radar_options={},
        receipt_email=intent["receipt_email"],
        shipping=intent["shipping"],
        statement_descriptor=intent["statement_descriptor"],
        statement_descriptor_suffix=suffix,
        transfer_group=intent["transfer_group"],
        _released=0,
    )


def _authorized(method: Json) -> Json:
    card = payment_methods.card_of(method)
    return part(
        stripe.Charge.Outcome,
        network_status="approved_by_network",
        risk_level=card.risk if card else "not_assessed",
        risk_score={"normal": 20, "elevated": 70, "highest": 92}[card.risk] if card else None,
        seller_message="Payment complete.",
        type="authorized",
    )


def _after_success(sandbox: Sandbox, intent: Json, method: Json) -> None:
    """The method has been used: it is kept for the customer, or spent."""
    if "_card" in method and method["type"] == "card":
        method["card"]["checks"] = payment_methods.checks_of(method)
        # The security code is gone after its one use.
        method["_cvc_given"] = False
    keeps = intent["setup_future_usage"] or _usage_of_option(intent, method["type"])
    if keeps in ("off_session", "on_session") and method["type"] != "card_present":
        method["_set_up"] = keeps == "off_session"
        sandbox.save(method)
        if intent["customer"] is not None:
            payment_methods.attach_quietly(sandbox, method, intent["customer"])
        return
    method["_used"] = True
    sandbox.save(method)


def _usage_of_option(intent: Json, kind: str) -> str | None:
    usage = ((intent["payment_method_options"] or {}).get(kind) or {}).get("setup_future_usage")
    return str(usage) if usage else None


def _bring_money(
    sandbox: Sandbox, charge: Json, amount: int, method: Json, *, delayed: bool
) -> None:
    if delayed:
        sandbox.after(_SETTLES_S, "settle_charge", charge["id"])
        return
    card = payment_methods.card_of(method)
    booked = balance.book_charge(
        sandbox,
        charge,
        amount,
        method=charge["payment_method_details"]["type"],
        at_once=card is not None and card.available_at_once,
    )
    charge["balance_transaction"] = booked["id"]


def _promise_trouble(sandbox: Sandbox, charge: Json, method: Json) -> None:
    card = payment_methods.card_of(method)
    if card is not None and card.dispute is not None:
        sandbox.after(_SETTLES_S, "open_dispute", charge["id"])


def _ask_for_authentication(sandbox: Sandbox, intent: Json, terms: Terms) -> Json:
    intent |= {
        "status": "requires_action",
        "next_action": authentication_action(sandbox, intent, terms),
    }
    sandbox.save(intent)
    sandbox.emit(f"{intent['object']}.requires_action", intent)
    return intent


def authentication_action(sandbox: Sandbox, intent: Json, terms: Terms) -> Json:
    """``next_action`` that leads the payer to the bank's page."""
    page = f"{sandbox.settings.public_url}/_hosted/authenticate/{intent['id']}?client_secret={intent['client_secret']}"
    owner = (
        stripe.PaymentIntent.NextAction
        if intent["object"] == "payment_intent"
        else stripe.SetupIntent.NextAction
    )
    if terms.return_url is not None and not terms.use_stripe_sdk:
        redirect = {"return_url": terms.return_url, "url": page}
        return part(owner, type="redirect_to_url", redirect_to_url=redirect)
    for_browser = {
        "type": "three_d_secure_redirect",
        "stripe_js": page,
        "source": sandbox.new_id("payatt_3"),
    }
    return part(owner, type="use_stripe_sdk", use_stripe_sdk=for_browser)


def microdeposit_action(sandbox: Sandbox, intent: Json) -> Json:
    """``next_action`` that waits for the payer to say what arrived."""
    owner = (
        stripe.PaymentIntent.NextAction
        if intent["object"] == "payment_intent"
        else stripe.SetupIntent.NextAction
    )
    verify = {
        "arrival_date": sandbox.now() + 2 * _DAY_S,
        "hosted_verification_url": f"{sandbox.settings.public_url}/_hosted/microdeposits/{intent['id']}",
        "microdeposit_type": "descriptor_code",
    }
    return part(owner, type="verify_with_microdeposits", verify_with_microdeposits=verify)


def _ask_for_microdeposits(sandbox: Sandbox, intent: Json) -> Json:
    intent |= {"status": "requires_action", "next_action": microdeposit_action(sandbox, intent)}
    sandbox.save(intent)
    sandbox.emit("payment_intent.requires_action", intent)
    return intent


def _start_debit(sandbox: Sandbox, intent: Json, method: Json) -> Json:
    charge = _new_charge(sandbox, intent, method, debit_details(method, method.get("_mandate")))
    charge |= {"outcome": _authorized(method), "status": "pending"}
    intent |= {"status": "processing", "latest_charge": charge["id"]}
    _after_success(sandbox, intent, method)
    sandbox.save(charge)
    sandbox.save(intent)
    sandbox.emit("charge.pending", charge)
    sandbox.emit("payment_intent.processing", intent)
    if cards.account_named(method["_account"]).outcome != "stays_processing":
        sandbox.after(sandbox.settings.debit_days * _DAY_S, "decide_debit", intent["id"])
    return intent


def _fail(sandbox: Sandbox, intent: Json, method: Json, charge: Json, why: Decline) -> None:
    intent["latest_charge"] = charge["id"]
    sandbox.emit("charge.failed", charge)
    _refuse(
        sandbox,
        intent,
        method,
        charge["id"],
        code=why.code,
        message=why.message,
        kind="card_error" if "_card" in method else "invalid_request_error",
        decline=why,
    )


def _refuse(
    sandbox: Sandbox,
    intent: Json,
    method: Json,
    charge: str | None,
    *,
    code: str,
    message: str,
    kind: str,
    decline: Decline | None = None,
) -> None:
    failed = _error_of(method, code=code, message=message, kind=kind)
    failed |= {
        "charge": charge,
        "advice_code": decline and decline.advice,
        "decline_code": decline and decline.decline_code,
        "network_decline_code": decline and decline.network_code,
        "param": {"expired_card": "exp_month", "incorrect_cvc": "cvc"}.get(code),
    }
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "last_payment_error": part(stripe.PaymentIntent.LastPaymentError, **failed),
    }
    sandbox.save(intent)
    sandbox.emit("payment_intent.payment_failed", intent)


def _error_of(method: Json, *, code: str, message: str, kind: str) -> Json:
    return {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "message": message,
        "payment_method": public(method),
        "payment_method_type": method["type"],
        "type": kind,
    }
