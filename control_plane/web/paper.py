"""The receipt on the page of a sale: the same that is mailed, in the customer's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.errors import NotFound
from control_plane.receipts.service import sheet_for

if TYPE_CHECKING:
    from control_plane.db.unit_of_work import Transaction
    from control_plane.receipts.sheet import Sheet
    from control_plane.web.visits import Visit


def paper_of(db: Transaction, visit: Visit, transaction_id: str) -> Sheet | None:
    """How the receipt of a row of the ledger reads; None for one that the visitor may not see."""
    try:
        _, sheet = sheet_for(db, visit.caller.scope, transaction_id)
    except NotFound:
        return None
    return sheet
