"""The words of refunds, disputes and what happened to a payment; English texts, keys of the catalogues."""

from __future__ import annotations

from typing import Final

from control_plane.virtual_terminal.lifecycle import RefundReason, RefundState
from control_plane.virtual_terminal.timeline import MomentKind
from control_plane.web.i18n import N_
from control_plane.web.words import Word

_R = RefundState
_K = MomentKind

REFUND: Final[dict[str, Word]] = {
    _R.AWAITING_APPROVAL: Word(N_("Waits for approval"), "clock", "warn"),
    _R.REJECTED: Word(N_("Rejected"), "cross", "off"),
    _R.CREATED: Word(N_("Being sent"), "send", "wait"),
    _R.AT_READER: Word(N_("The reader asks for the card"), "tap", "wait"),
    _R.PENDING: Word(N_("On its way back"), "bank", "wait"),
    _R.SUCCEEDED: Word(N_("Given back"), "check", "good"),
    _R.FAILED: Word(N_("Did not arrive"), "alert", "bad"),
    _R.CANCELED: Word(N_("Cancelled"), "stop", "off"),
    _R.UNKNOWN: Word(N_("Not known yet"), "question", "warn"),
}
#: What is said right after a refund was asked for.
ASKED: Final[dict[str, str]] = {
    _R.AWAITING_APPROVAL: N_(
        "The refund waits for approval. It is above the limit, so somebody else decides; no money has moved."
    ),
    _R.REJECTED: N_("The refund was rejected. No money has moved."),
    _R.CREATED: N_("The refund is being sent. This page shows what comes of it."),
    _R.AT_READER: N_("Let the customer present the same card on the reader."),
    _R.PENDING: N_("The bank has the refund. It takes a few days to arrive."),
    _R.SUCCEEDED: N_("The money is on its way back to the customer."),
    _R.FAILED: N_("The refund did not go through. No money has moved; give it back another way."),
    _R.CANCELED: N_("The refund was cancelled. No money has moved."),
    _R.UNKNOWN: N_("The answer was lost. It is found out; do not refund again."),
}
REASONS: Final[dict[str, str]] = {
    RefundReason.REQUESTED_BY_CUSTOMER: N_("The customer asked for it"),
    RefundReason.DUPLICATE: N_("It was charged twice"),
    RefundReason.FRAUDULENT: N_("It was not the cardholder"),
    RefundReason.OTHER: N_("Another reason"),
}

DISPUTE: Final[dict[str, Word]] = {
    "needs_response": Word(N_("Needs an answer"), "alert", "bad"),
    "under_review": Word(N_("The bank decides"), "clock", "wait"),
    "won": Word(N_("Won"), "check", "good"),
    "lost": Word(N_("Lost"), "cross", "bad"),
    "warning_needs_response": Word(N_("The bank asks"), "question", "warn"),
    "warning_under_review": Word(N_("The bank looks at it"), "clock", "wait"),
    "warning_closed": Word(N_("The bank let it go"), "check", "good"),
    "prevented": Word(N_("Prevented"), "check", "good"),
}
#: Those that somebody should answer.
DISPUTES_OPEN: Final = ("needs_response", "warning_needs_response")
DISPUTE_REASONS: Final[dict[str, str]] = {
    "bank_cannot_process": N_("The bank cannot process it"),
    "check_returned": N_("The check was returned"),
    "credit_not_processed": N_("A refund did not arrive"),
    "customer_initiated": N_("The customer objects"),
    "debit_not_authorized": N_("The debit was not allowed"),
    "duplicate": N_("Charged twice"),
    "fraudulent": N_("Not the cardholder"),
    "general": N_("No reason given"),
    "incorrect_account_details": N_("The account details are wrong"),
    "insufficient_funds": N_("Not enough money on the account"),
    "noncompliant": N_("Against the rules of the card scheme"),
    "product_not_received": N_("Nothing was delivered"),
    "product_unacceptable": N_("What was delivered is not right"),
    "subscription_canceled": N_("The subscription had ended"),
    "unrecognized": N_("The cardholder does not know the charge"),
}
CHECKED: Final[dict[str, Word]] = {
    "3-D Secure": Word(N_("confirmed by the payer"), "check", "good"),
    "normal": Word(N_("normal"), "check", "good"),
    "elevated": Word(N_("elevated"), "alert", "warn"),
    "highest": Word(N_("high"), "alert", "bad"),
    "not_assessed": Word(N_("not assessed"), "question", "off"),
}

_GOOD: Final = ("check", "good")
_BAD: Final = ("alert", "bad")
_WARN: Final = ("question", "warn")
_WAIT: Final = ("clock", "wait")
_BACK: Final = ("undo", "off")
#: Icon and tone of what happened.
MOMENTS: Final[dict[str, tuple[str, str]]] = {
    _K.CREATED: ("till", "wait"),
    _K.IMPORTED: ("sync", "off"),
    _K.ATTEMPT_STARTED: ("send", "wait"),
    _K.DUPLICATE_CONFIRMED: _WARN,
    _K.DUPLICATE_FOUND: _WARN,
    _K.REQUIRES_ACTION: ("pin", "warn"),
    _K.PROCESSING: ("bank", "wait"),
    _K.AUTHORIZED: ("lock", "good"),
    _K.CHECKS_ASKED: _WARN,
    _K.CHECKS_ACCEPTED: _GOOD,
    _K.CHECKS_BLOCKED: ("cross", "bad"),
    _K.PAID: _GOOD,
    _K.DECLINED: ("cross", "bad"),
    _K.FAILED: _BAD,
    _K.UNKNOWN: _WARN,
    _K.FOUND_OUT: ("info", "good"),
    _K.LATE_ANSWER: _BAD,
    _K.SECOND_CHARGE: _BAD,
    _K.INCREMENTED: ("plus", "wait"),
    _K.CAPTURE_LAPSING: ("clock", "warn"),
    _K.CANCEL_ASKED: ("stop", "warn"),
    _K.CANCELED: ("stop", "off"),
    _K.ATTEMPT_CANCELED: ("stop", "off"),
    _K.LINK_OFFERED: ("send", "wait"),
    _K.LINK_OPENED: ("info", "wait"),
    _K.LINK_EXPIRED: ("clock", "off"),
    _K.REFUND_ASKED: _WAIT,
    _K.REFUND_APPROVED: _GOOD,
    _K.REFUND_REJECTED: ("cross", "off"),
    _K.REFUND_BEGUN: _BACK,
    _K.REFUND_AT_READER: ("tap", "wait"),
    _K.REFUND_PENDING: ("bank", "wait"),
    _K.REFUND_SUCCEEDED: ("undo", "good"),
    _K.REFUND_FAILED: _BAD,
    _K.REFUND_CANCELED: ("stop", "off"),
    _K.REFUND_UNKNOWN: _WARN,
    _K.DISPUTE_OPENED: _BAD,
    _K.DISPUTE_CHANGED: ("info", "warn"),
    _K.FRAUD_WARNING: _BAD,
    _K.RECEIPT_SENT: ("mail", "good"),
}
