"""What issuers' response codes mean for a cashier: ISO 8583 field 39, as the schemes publish it."""

from __future__ import annotations

from typing import Final

#: Each sentence is a key of the catalogue of translations.
WORDS: Final[dict[str, str]] = {
    "01": "The bank wants to be called. Ask for another card.",
    "03": "The bank does not know this shop. Tell whoever looks after your account.",
    "04": "The bank wants to keep this card. Ask for another card.",
    "05": "The bank declined without a reason. Ask for another card.",
    "12": "The bank does not allow this payment. Ask for another card.",
    "13": "The bank does not take this amount. Ask for another card.",
    "14": "The bank does not know this card. Ask for another card.",
    "41": "The card was reported lost. Ask for another card.",
    "43": "The card was reported stolen. Ask for another card.",
    "51": "There is not enough money on the card. Ask for another card.",
    "54": "The card has expired. Ask for another card.",
    "55": "The PIN was wrong. Try again, or ask for another card.",
    "57": "The card may not be used for this. Ask for another card.",
    "61": "The amount is above the limit of the card. Ask for another card.",
    "62": "The card may not be used here. Ask for another card.",
    "65": "The card was used too often; insert it and enter the PIN.",
    "75": "The PIN was wrong too often. Ask for another card.",
    "91": "The bank of the card does not answer. Try again, or ask for another card.",
    "96": "The bank has a fault. Try again, or ask for another card.",
}
OTHER: Final = "The bank declined with the code {code}. Ask for another card."
PARTIAL: Final = (
    "The bank would give only a part of the amount, so nothing was taken. Ask for another card."
)
NO_ACCOUNT: Final = "No processor for encrypting readers is connected; Stripe does not accept readers of other makers."
NO_ANSWER: Final = "The processor did not answer in time. Nothing is taken; what it may still approve is taken back."
NOT_REACHED: Final = "The processor cannot be reached. Nothing was taken."
OVERLOADED: Final = "Too many cards are waiting for an answer. Nothing was taken. Try again."
SESSION_OVER: Final = "This payment is over, so no card is asked for any more."
NOT_THIS: Final = "This card does not belong to a payment that runs on this reader."
ANOTHER_CARD: Final = "Another card is already being asked about for this payment."


def words_of(code: str) -> str:
    """One English sentence: why, and what to do next."""
    return WORDS.get(code) or OTHER.format(code=code or "?")
