"""Which ways of paying may follow now, the best first. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

from control_plane.virtual_terminal.declines import Rung, explain
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


_FRESH: Final = (Offer.READER, Offer.KEYED, Offer.SAVED, Offer.BANK_DEBIT, Offer.LINK)
_OF_RUNG: Final = {
    Rung.OTHER_CARD: Offer.KEYED,
    Rung.MOTO: Offer.MOTO,
    Rung.READER: Offer.READER,
    Rung.LINK: Offer.LINK,
}


def offers_of(
    state: PaymentState, last: Tried | None, *, moto_enabled: bool | None
) -> tuple[Offer, ...]:
    """What ``declines`` advises after the last attempt, as far as the account can do it.

    Nothing unless the payment can be tried. ``moto_enabled`` None: the account was not asked yet, so it may be tried.
    """
    if not state.can_be_tried:
        return ()
    if last is None or last.code is None:
        return _FRESH
    offers: list[Offer] = []
    for rung in explain(last.code).offers:
        offer = Offer(last.method.value) if rung is Rung.RETRY else _OF_RUNG[rung]
        if offer is Offer.MOTO and (moto_enabled is False or last.moto):
            continue
        if offer not in offers:
            offers.append(offer)
    # The payer may always pay from a bank account instead.
    return (*offers, *(() if Offer.BANK_DEBIT in offers else (Offer.BANK_DEBIT,)))
