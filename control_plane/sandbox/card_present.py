"""Cards at a reader: the test card, what its chip says, and what the bank answers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import stripe

from control_plane.sandbox import cards, payment_flow, payment_methods
from control_plane.sandbox.cards import Decline, TestCard
from control_plane.sandbox.engine import Sandbox
from control_plane.sandbox.errors import ApiError, Json
from control_plane.sandbox.payment_flow import Terms
from control_plane.sandbox.payment_methods import TypedCard
from control_plane.sandbox.shapes import make, part

_Details = stripe.Charge.PaymentMethodDetails
_USUAL = {
    "card_present": "4242424242424242",
    "interac_present": "4506445006931933",
    "card": "4242424242424242",
}

#: Last two digits of the amount -> decline code. Source: docs.stripe.com/terminal/references/testing.
_BY_AMOUNT = {
    1: "call_issuer",
    2: "offline_pin_required",
    3: "online_or_offline_pin_required",
    5: "generic_decline",
    55: "incorrect_pin",
    65: "withdrawal_count_limit_exceeded",
    75: "pin_try_exceeded",
}
#: Brand -> (application identifier of the chip, its name on receipts).
_APPLICATIONS = {
    "visa": ("A0000000031010", "Visa Credit"),
    "mastercard": ("A0000000041010", "Mastercard"),
    "amex": ("A000000025010801", "American Express"),
    "discover": ("A0000001523010", "Discover"),
    "diners": ("A0000001523010", "Diners Club"),
    "jcb": ("A0000000651010", "JCB Credit"),
    "unionpay": ("A000000333010102", "UnionPay Credit"),
    "interac": ("A0000002771010", "Interac"),
    "eftpos_au": ("A00000038410", "eftpos SAV"),
    "girocard": ("A00000035910100280", "girocard"),
}
_VERIFIED_BY = {
    "offlinePin": "offline_pin",
    "offlinePinSca": "offline_pin",
    "onlinePin": "online_pin",
    "onlinePinSca": "online_pin",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A card at a reader. ``kind`` is card_present, interac_present or, typed into the reader, card."""

    kind: str = "card_present"
    #: The test card's name: numbers are not kept.
    card: str = "visa"
    tip: int | None = None
    has_cvc: bool = False
    #: A decline code that the bank answers whatever the card.
    refused: str | None = None
    #: When the reader stored the payment, cut off from the bank.
    stored_at: int | None = None

    def kept(self) -> Json:
        """What a reader remembers of it while the bank is asked."""
        return asdict(self)


def at_reader(
    kind: str = "card_present",
    number: str | None = None,
    *,
    tip: int | None = None,
    has_cvc: bool = False,
) -> Presented:
    """A test card by its number; without one the usual card of its kind. Raises ApiError for any other number."""
    card = cards.of_number(number or _USUAL[kind])
    if not card.number:
        raise ApiError(
            "Only test cards can be presented to a simulated reader.", param=f"{kind}[number]"
        )
    return Presented(kind=kind, card=card.name, tip=tip, has_cvc=has_cvc)


def card_of(presented: Presented) -> TestCard:
    """What the test card does."""
    return cards.by_name(presented.card)


def check_fits(presented: Presented, intent: Json, *, moto: bool) -> None:
    """Raises ApiError when the action does not wait for such a card."""
    card = card_of(presented)
    if moto != (presented.kind == "card"):
        wanted = "typed (`card`)" if moto else "presented (`card_present` or `interac_present`)"
        raise ApiError(f"The reader waits for a card to be {wanted}.", param="type")
    if presented.kind not in intent["payment_method_types"]:
        raise ApiError(
            f"The PaymentIntent does not allow {presented.kind}; it allows "
            f"{', '.join(intent['payment_method_types'])}.",
            param="type",
        )
    if (card.brand == "interac") != (presented.kind == "interac_present"):
        raise ApiError(
            "Interac cards are presented as `interac_present`, and only they.", param="type"
        )
    if presented.kind == "card" and not presented.has_cvc:
        raise ApiError(
            "A typed card needs its security code.", code="parameter_missing", param="card[cvc]"
        )


def charge(sandbox: Sandbox, intent: Json, presented: Presented, reader: Json) -> None:
    """Ask the bank: the intent becomes succeeded or requires_capture, or is declined and waits for another card."""
    card = card_of(presented)
    why = _refusal(card, presented, intent)
    if presented.kind == "card":
        method = _typed(sandbox, presented)
        payment_methods.keep(sandbox, method)
        intent |= {"payment_method": method["id"], "last_payment_error": None}
        terms = Terms(moto=True)
        if why is None:
            payment_flow.attempt(sandbox, intent, method, terms)
        else:
            payment_flow.decline(sandbox, intent, method, why, terms=terms)
        return
    method = payment_methods.keep(sandbox, method_of(sandbox, presented))
    intent |= {"payment_method": method["id"], "last_payment_error": None}
    details = _details(sandbox, intent, method, card, presented, reader, approved=why is None)
    if why is not None:
        payment_flow.decline(sandbox, intent, method, why, details=details)
        return
    if intent["setup_future_usage"] == "off_session" and intent["customer"] is not None:
        generated = payment_methods.keep(sandbox, generated_card(sandbox, presented, "limited"))
        payment_methods.attach_quietly(sandbox, generated, intent["customer"])
        details[presented.kind]["generated_card"] = generated["id"]
    payment_flow.settle(sandbox, intent, method, details=details)


def method_of(sandbox: Sandbox, presented: Presented) -> Json:
    """An unsaved ``card_present`` or ``interac_present`` payment method."""
    card = card_of(presented)
    owner = {
        "card_present": stripe.PaymentMethod.CardPresent,
        "interac_present": stripe.PaymentMethod.InteracPresent,
    }.get(presented.kind, stripe.PaymentMethod.CardPresent)
    facts = {
        **_facts(sandbox, presented, card),
        "networks": {"available": [card.brand], "preferred": None},
    }
    known = {name: value for name, value in facts.items() if name in owner.__annotations__}
    kind = presented.kind
    return make(
        "payment_method",
        id=sandbox.new_id("pm_1"),
        created=sandbox.now(),
        allow_redisplay="unspecified",
        billing_details=_nobody(),
        metadata={},
        type=kind,
        **{kind: part(owner, **known)},
        _card=card.name,
    )


def generated_card(sandbox: Sandbox, presented: Presented, allow_redisplay: str) -> Json:
    """The ``card`` that a presented card leaves for later payments, unsaved."""
    method = _typed(sandbox, presented)
    method |= {"allow_redisplay": allow_redisplay, "_set_up": True, "_cvc_given": False}
    return method


def fingerprint_of(presented: Presented) -> str:
    """The same for the same card, however it was read."""
    digits = card_of(presented).number
    return hashlib.blake2b(digits.encode(), digest_size=8, key=b"sandbox").hexdigest()


def _refusal(card: TestCard, presented: Presented, intent: Json) -> Decline | None:
    if presented.refused is not None:
        return cards.decline_of(presented.refused)
    if card.decline is not None:
        return card.decline
    # Zero-decimal currencies too: the last two digits, whatever they count.
    by_amount = _BY_AMOUNT.get(intent["amount"] % 100)
    return cards.decline_of(by_amount) if by_amount else None


def _typed(sandbox: Sandbox, presented: Presented) -> Json:
    expiry = _expiry(sandbox)
    typed = TypedCard(
        number=card_of(presented).number, exp_month=expiry[0], exp_year=expiry[1], cvc=None
    )
    method = payment_methods.card_method(sandbox, typed)
    method["_cvc_given"] = presented.has_cvc
    return method


def _expiry(sandbox: Sandbox) -> tuple[int, int]:
    return 8, datetime.fromtimestamp(sandbox.now(), UTC).year + 1


def _facts(sandbox: Sandbox, presented: Presented, card: TestCard) -> Json:
    month, year = _expiry(sandbox)
    return {
        "brand": card.brand,
        "cardholder_name": None,
        "country": card.country,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": fingerprint_of(presented),
        "funding": card.funding,
        "iin": card.number[:6],
        "last4": card.number[-4:],
        "preferred_locales": ["en"],
        "read_method": "contact_emv" if card.name in _VERIFIED_BY else "contactless_emv",
    }


def _details(
    sandbox: Sandbox,
    intent: Json,
    method: Json,
    card: TestCard,
    presented: Presented,
    reader: Json,
    *,
    approved: bool,
) -> Json:
    """``payment_method_details``, with what has to stand on the receipt."""
    kind = presented.kind
    owner = {"card_present": _Details.CardPresent, "interac_present": _Details.InteracPresent}[kind]
    seed = hashlib.sha256(f"{method['id']}{intent['id']}".encode()).hexdigest().upper()
    application, spoken = _APPLICATIONS[card.brand]
    code = str(100_000 + int(seed[:8], 16) % 900_000)
    verified = _VERIFIED_BY.get(card.name, "no_cvm" if card.brand != "interac" else "online_pin")
    receipt = {
        "account_type": {"debit": "checking", "prepaid": "prepaid"}.get(card.funding, "credit"),
        "application_cryptogram": seed[16:32],
        "application_preferred_name": spoken,
        "authorization_code": code if approved else None,
        # "00" and "05" as the chip writes them: two characters in hexadecimal.
        "authorization_response_code": "3030" if approved else "3035",
        "cardholder_verification_method": verified,
        "dedicated_file_name": application,
        "terminal_verification_results": "0000000000" if approved else "0000008000",
        "transaction_status_information": "E800" if card.name in _VERIFIED_BY else "0000",
    }
    options = (intent["payment_method_options"] or {}).get("card_present") or {}
    stored = presented.stored_at
    facts = {
        **_facts(sandbox, presented, card),
        "amount_authorized": intent["amount"] if approved else None,
        "incremental_authorization_supported": bool(
            options.get("request_incremental_authorization_support")
        ),
        "location": reader["location"],
        "network": card.brand,
        "network_transaction_id": str(int(seed[:14], 16))[:15],
        "offline": {"stored_at": stored, "type": "deferred"} if stored else None,
        "overcapture_supported": card.brand in ("visa", "mastercard", "amex"),
        "reader": reader["id"],
        "receipt": receipt,
    }
    known = {name: value for name, value in facts.items() if name in owner.__annotations__}
    return part(_Details, type=kind, **{kind: part(owner, **known)})


def _nobody() -> Json:
    return part(
        stripe.PaymentMethod.BillingDetails,
        address=dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
    )
