"""The words of payments that a processor takes: states, methods, checks, and what to do next.

Texts are English and the keys of the catalogues, as in ``words``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from control_plane.virtual_terminal.ladder import Offer
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.web.i18n import N_
from control_plane.web.pay_views import MethodChoice
from control_plane.web.words import Call, Word

_M = AttemptMethod
_P = PaymentState
_A = AttemptState

#: In the order of their keys, Alt with 1 to 5.
METHODS: Final[list[MethodChoice]] = [
    MethodChoice(_M.READER, N_("Reader"), "tap", N_("Charge")),
    MethodChoice(_M.KEYED, N_("Keyed card"), "keyboard", N_("Charge the card")),
    MethodChoice(_M.SAVED, N_("Saved card"), "card", N_("Charge the saved card")),
    MethodChoice(_M.BANK_DEBIT, N_("Bank debit"), "bank", N_("Debit the account")),
    MethodChoice(_M.LINK, N_("Payment link"), "send", N_("Make a link for")),
]
METHOD_NAMES: Final[dict[str, str]] = {one.value: one.text for one in METHODS}

PAYMENT: Final[dict[str, Word]] = {
    _P.OPEN: Word(N_("Not charged"), "clock", "off"),
    _P.IN_PROGRESS: Word(N_("Asking the bank"), "bank", "wait"),
    _P.REQUIRES_ACTION: Word(N_("The payer must confirm"), "pin", "warn"),
    _P.PROCESSING: Word(N_("On its way"), "bank", "wait"),
    _P.AUTHORIZED: Word(N_("Held"), "lock", "wait"),
    _P.PAID: Word(N_("Paid"), "check", "good"),
    _P.UNKNOWN: Word(N_("Not known yet"), "question", "warn"),
    _P.CANCELED: Word(N_("Cancelled"), "stop", "off"),
    "declined": Word(N_("Declined"), "cross", "bad"),
    "failed": Word(N_("Not taken"), "alert", "bad"),
    "link": Word(N_("Waiting for the payer"), "send", "wait"),
}
#: In lists, where no way to pay is told.
LISTED: Final[dict[str, Word]] = PAYMENT | {
    _P.IN_PROGRESS: Word(N_("Under way"), "clock", "wait"),
}

CALLS: Final[dict[str, Call]] = {
    _P.IN_PROGRESS: Call(
        N_("The bank is being asked."),
        N_("This takes a few seconds. You may leave this page; the answer is kept."),
    ),
    "reader": Call(
        N_("Ask the customer to tap, insert or swipe the card."),
        N_("The reader shows the amount."),
    ),
    _P.REQUIRES_ACTION: Call(
        N_("The payer’s bank wants the payer to confirm."),
        N_("If the payer stands here, open the bank’s page. If not, send a link instead."),
    ),
    "microdeposits": Call(
        N_("The bank account is checked with small deposits."),
        N_("They arrive within two days. Ask the payer for them, and write them here."),
    ),
    _P.PROCESSING: Call(
        N_("The debit is on its way."),
        N_("It takes a few days, and it can still fail. Nothing is to be done until then."),
    ),
    _P.AUTHORIZED: Call(
        N_("The money is held on the card."),
        N_("Take it when you deliver. What nobody takes goes back to the customer."),
    ),
    "checks": Call(
        N_("A check of the card failed. The money is held until you decide."),
        N_("Read what was typed back to the customer before you accept it."),
    ),
    _P.UNKNOWN: Call(
        N_("We are asking Stripe. Do not charge again."),
        N_("The answer got lost on its way, so the card may have been charged. It is found out."),
    ),
    "link": Call(
        N_("Let the payer scan the code, or send the link."),
        N_("This page says so as soon as it is paid."),
    ),
    _P.OPEN: Call(
        N_("Nothing was charged."),
        N_("Choose how to go on. It stays the same payment, so nothing is charged twice."),
    ),
    _P.CANCELED: Call(N_("The payment was cancelled. No money moved.")),
}

OFFERS: Final[dict[str, tuple[str, str, str, str]]] = {
    #: method, text, more, icon
    Offer.MOTO: (
        _M.KEYED,
        N_("Type it as a telephone order"),
        N_("The bank will not ask the payer to confirm."),
        "keyboard",
    ),
    Offer.KEYED: (
        _M.KEYED,
        N_("Type a card"),
        N_("The same one again, or another."),
        "keyboard",
    ),
    Offer.READER: (_M.READER, N_("Use a reader"), N_("The customer is here with the card."), "tap"),
    Offer.LINK: (
        _M.LINK,
        N_("Send a link"),
        N_("The payer pays by themselves, on their own phone."),
        "send",
    ),
    Offer.SAVED: (
        _M.SAVED,
        N_("Charge a saved card"),
        N_("One that the customer let you keep."),
        "card",
    ),
    Offer.BANK_DEBIT: (
        _M.BANK_DEBIT,
        N_("Debit a bank account"),
        N_("It takes a few days."),
        "bank",
    ),
}

CHECKS: Final[dict[str, str]] = {
    "address": N_("Address"),
    "postal_code": N_("Postal code"),
    "cvc": N_("Security code"),
}
VERDICTS: Final[dict[str, Word]] = {
    "pass": Word(N_("matches"), "check", "good"),
    "fail": Word(N_("does not match"), "cross", "bad"),
    "unavailable": Word(N_("the bank does not say"), "question", "off"),
    "unchecked": Word(N_("not checked"), "question", "off"),
}
CHECK_ADVICE: Final[dict[str, str]] = {
    "address": N_("The address is not the one that the bank knows. Ask for the billing address."),
    "postal_code": N_(
        "The postal code does not match the card. Read it back to the customer before you go on."
    ),
    "cvc": N_("The security code does not match. Ask the customer to read it from the card again."),
}
ATTEMPT: Final[dict[str, Word]] = {
    _A.CREATED: Word(N_("Begun"), "clock", "wait"),
    _A.SENT: Word(N_("Asking the bank"), "bank", "wait"),
    _A.REQUIRES_ACTION: Word(N_("The payer must confirm"), "pin", "warn"),
    _A.PROCESSING: Word(N_("On its way"), "bank", "wait"),
    _A.AUTHORIZED: Word(N_("Held"), "lock", "good"),
    _A.SUCCEEDED: Word(N_("Paid"), "check", "good"),
    _A.DECLINED: Word(N_("Declined"), "cross", "bad"),
    _A.FAILED: Word(N_("Not taken"), "alert", "bad"),
    _A.CANCELED: Word(N_("Given up"), "stop", "off"),
    _A.UNKNOWN: Word(N_("Not known yet"), "question", "warn"),
}


@dataclass(frozen=True, slots=True)
class Face:
    """What a payer is told who has nothing to type."""

    text: str
    more: str
    icon: str
    tone: str


LINK_FACES: Final[dict[str, Face]] = {
    "paid": Face(
        N_("Paid. Thank you."),
        N_("The shop has been told. You may close this page."),
        "check",
        "good",
    ),
    "processing": Face(
        N_("Your bank has the payment."),
        N_("It takes a few days. The shop has been told. You may close this page."),
        "bank",
        "wait",
    ),
    "held": Face(
        N_("The amount is reserved. Thank you."),
        N_("The shop takes it later. You may close this page."),
        "lock",
        "good",
    ),
    "expired": Face(
        N_("This link is not good any more."), N_("Ask the shop for a new one."), "clock", "off"
    ),
    "elsewhere": Face(
        N_("The shop takes this payment another way."),
        N_("Ask the shop how to go on."),
        "info",
        "off",
    ),
    "checking": Face(
        N_("We are finding out what became of the payment."),
        N_("Do not pay again. Look at this page in a minute."),
        "question",
        "warn",
    ),
    "gone": Face(
        N_("There is no payment behind this link."),
        N_("Check the address, or ask the shop for a new link."),
        "question",
        "off",
    ),
}
