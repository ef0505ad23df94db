"""Which ways of paying may follow now, the best first. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from control_plane.virtual_terminal.lifecycle import AttemptMethod, PaymentState


class Offer(StrEnum):
    """One way to go on with a payment that is not paid."""

    KEYED = "keyed"
    """The same or another card, typed again."""
    MOTO = "moto"
    """The card typed again, as a mail or telephone order."""
    READER = "reader"
    LINK = "link"
    SAVED = "saved"
    BANK_DEBIT = "bank_debit"


class Tried(Protocol):
    """What counts of the last attempt."""

    @property
    def method(self) -> AttemptMethod: ...
    @property
    def code(self) -> str | None: ...
    @property
    def moto(self) -> bool: ...


#: The cardholder has to confirm, so the card itself is good.
NEEDS_PAYER: Final = frozenset(
    {
        "authentication_required",
        "authentication_not_handled",
        "payment_intent_authentication_failure",
        "setup_intent_authentication_failure",
    }
)
#: Something was typed wrong, or the bank may change its mind.
TYPE_AGAIN: Final = frozenset(
    {
        "incorrect_number",
        "invalid_number",
        "incorrect_cvc",
        "invalid_cvc",
        "incorrect_zip",
        "incorrect_address",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "expired_card",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
        "issuer_not_available",
        "approve_with_id",
        "postal_code_check_failed",
        "address_check_failed",
        "cvc_check_failed",
        "not_processed",
        "not_reached",
        "moto_not_enabled",
    }
)
_FRESH: Final = (Offer.READER, Offer.KEYED, Offer.SAVED, Offer.BANK_DEBIT, Offer.LINK)


def offers_of(
    state: PaymentState, last: Tried | None, *, moto_enabled: bool | None
) -> tuple[Offer, ...]:
    """Nothing unless the payment can be tried; ``moto_enabled`` None: the account was not asked yet."""
    if not state.can_be_tried:
        return ()
    if last is None or last.code is None:
        return _FRESH
    if last.code in NEEDS_PAYER:
        # As a telephone order the bank does not ask the cardholder; else they confirm by themselves.
        moto = (Offer.MOTO,) if moto_enabled and not last.moto else ()
        return (*moto, Offer.READER, Offer.LINK, Offer.KEYED, Offer.BANK_DEBIT)
    if last.method is AttemptMethod.READER:
        return (Offer.READER, Offer.KEYED, Offer.LINK, Offer.SAVED, Offer.BANK_DEBIT)
    if last.code in TYPE_AGAIN:
        return (Offer.KEYED, Offer.READER, Offer.LINK, Offer.SAVED, Offer.BANK_DEBIT)
    # The bank said no to this card: another card, where the bank sees its owner, first.
    return (Offer.READER, Offer.LINK, Offer.KEYED, Offer.BANK_DEBIT)
