"""The words of encrypting readers and their processor; English texts, keys of the catalogues."""

from __future__ import annotations

from typing import Final

from control_plane.card_present.lifecycle import AuthorizationState, RefundState
from control_plane.web.i18n import N_
from control_plane.web.words import Word

_S = AuthorizationState

NO_PROCESSOR: Final = N_(
    "No processor takes its cards: Stripe does not accept readers of other makers. "
    "An owner can connect CyberSource under Settings, Payments."
)
TAKEN_BY: Final = N_("Its cards are taken by CyberSource.")
CONNECTED: Final = Word(N_("Connected"), "check", "good")
NOT_CONNECTED: Final = Word(N_("Not connected"), "alert", "warn")
OBJECTS: Final = Word(N_("Not accepted"), "alert", "bad")

MONEY: Final[dict[AuthorizationState, Word]] = {
    _S.ASKED: Word(N_("The bank is asked"), "bank", "wait"),
    _S.REFUSED: Word(N_("Not asked"), "cross", "off"),
    _S.DECLINED: Word(N_("Declined"), "cross", "bad"),
    _S.APPROVED: Word(N_("Reserved on the card"), "lock", "wait"),
    _S.REVERSING: Word(N_("Is being taken back"), "undo", "warn"),
    _S.REVERSED: Word(N_("Taken back"), "undo", "off"),
    _S.CAPTURING: Word(N_("Is being taken"), "bank", "wait"),
    _S.CAPTURED: Word(N_("Taken"), "check", "good"),
    _S.CAPTURE_REFUSED: Word(N_("The processor did not take it"), "alert", "bad"),
}
REFUND: Final[dict[RefundState, Word]] = {
    RefundState.ASKED: Word(N_("Being sent"), "send", "wait"),
    RefundState.DONE: Word(N_("Given back"), "check", "good"),
    RefundState.REFUSED: Word(N_("Did not arrive"), "alert", "bad"),
}
ASKED: Final[dict[RefundState, str]] = {
    RefundState.ASKED: N_("The refund is being sent. This page shows what comes of it."),
    RefundState.DONE: N_("The money is on its way back to the customer."),
    RefundState.REFUSED: N_(
        "The refund did not go through. No money has moved; give it back another way."
    ),
}
#: What `response_codes` lets devices say for us, marked for the catalogues: pages say it in the visitor's language.
SAID_BY_US: Final = frozenset(
    {
        N_("The bank wants to be called. Ask for another card."),
        N_("The bank does not know this shop. Tell whoever looks after your account."),
        N_("The bank wants to keep this card. Ask for another card."),
        N_("The bank declined without a reason. Ask for another card."),
        N_("The bank does not allow this payment. Ask for another card."),
        N_("The bank does not take this amount. Ask for another card."),
        N_("The bank does not know this card. Ask for another card."),
        N_("The card was reported lost. Ask for another card."),
        N_("The card was reported stolen. Ask for another card."),
        N_("There is not enough money on the card. Ask for another card."),
        N_("The card has expired. Ask for another card."),
        N_("The PIN was wrong. Try again, or ask for another card."),
        N_("The card may not be used for this. Ask for another card."),
        N_("The amount is above the limit of the card. Ask for another card."),
        N_("The card may not be used here. Ask for another card."),
        N_("The card was used too often; insert it and enter the PIN."),
        N_("The PIN was wrong too often. Ask for another card."),
        N_("The bank of the card does not answer. Try again, or ask for another card."),
        N_("The bank has a fault. Try again, or ask for another card."),
        N_(
            "The bank would give only a part of the amount, so nothing was taken. Ask for another card."
        ),
        N_(
            "No processor for encrypting readers is connected; Stripe does not accept readers of other makers."
        ),
        N_(
            "The processor did not answer in time. Nothing is taken; what it may still approve is taken back."
        ),
        N_("The processor cannot be reached. Nothing was taken."),
        N_("Too many cards are waiting for an answer. Nothing was taken. Try again."),
        N_("This payment is over, so no card is asked for any more."),
        N_("This card does not belong to a payment that runs on this reader."),
        N_("Another card is already being asked about for this payment."),
    }
)
