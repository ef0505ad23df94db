"""Values of merchants' own fields, by which payments are found."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Select, select

from control_plane.db.unit_of_work import Transaction
from control_plane.db.upsert import insert
from control_plane.transactions.models import PAYMENT_FIELDS

_LONGEST: Final = 200
#: Sorts after every sign that can follow.
_LAST: Final = "\U0010ffff"


def folded(text: str) -> str:
    """As it is compared: without case, accents and doubled blanks."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return " ".join(letters.split())[:_LONGEST]


def remember(db: Transaction, merchant_id: str, payment_id: str, values: Mapping[str, str]) -> None:
    """Let a payment be found by these values (by their field's key); once more changes them."""
    rows = [
        {"payment_id": payment_id, "key": key, "merchant_id": merchant_id, "folded": folded(value)}
        for key, value in values.items()
        if folded(value)
    ]
    if not rows:
        return
    statement = insert(db, PAYMENT_FIELDS).values(rows)
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["payment_id", "key"], set_={"folded": statement.excluded.folded}
        )
    )


def payments_with(merchant_id: str, text: str) -> Select[str]:
    """Ids of payments with a value that begins with a text."""
    start = folded(text)
    columns = PAYMENT_FIELDS.c
    return select(columns.payment_id).where(
        columns.merchant_id == merchant_id,
        columns.folded >= start,
        columns.folded < start + _LAST,
    )
