"""Which readers give sealed cards away instead of asking a bank themselves."""

from __future__ import annotations

from functools import cache
from typing import Final

from control_plane.card_present import queries
from control_plane.card_present.errors import ReaderNeedsProcessor
from control_plane.db.unit_of_work import Transaction
from control_plane.payments.events import SaleStarting
from firmware_profiles import ProfileError, load_profile

#: Protocols of such readers. Those whose makers' clouds ask the bank are not among them.
PROTOCOLS: Final = frozenset({"magtek_mms", "idtech_neo"})


@cache
def is_encrypting_reader(profile_id: str) -> bool:
    """Whether readers of this profile need a processor of ours; of an unknown model, no."""
    try:
        return load_profile(profile_id).protocol.name in PROTOCOLS
    except ProfileError:
        return False


def refuse_without_processor(db: Transaction, event: SaleStarting) -> None:
    """Raises ReaderNeedsProcessor when nobody would take the card that the customer shows."""
    if lacks_processor(db, event.merchant_id, event.profile):
        raise ReaderNeedsProcessor(reader=event.reader_name, reader_id=event.reader_id)


def lacks_processor(db: Transaction, merchant_id: str, profile_id: str) -> bool:
    """Whether a reader of this profile cannot take money because no processor is connected."""
    return is_encrypting_reader(profile_id) and queries.account_row(db, merchant_id) is None
