"""The columns that a device's payment fills, and one-by-one entries of the other channels.

Nothing updates or deletes a row: the databases refuse it, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import DDL, event

from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from control_plane.transactions.models import TRANSACTIONS, Method
from protocols.cloud.events import PaymentResult

#: ``source`` of rows whose number is a session of a reader.
READER: Final = "reader"

#: In this order ``device_row`` gives its values; the other columns stay NULL.
DEVICE_COLUMNS: Final = (
    "id", "merchant_id", "location_id", "device_id", "reader_id", "session_id", "cashier_id",
    "kind", "status", "channel", "method", "amount_minor", "currency", "original_id", "source",
    "external_id", "card_brand", "card_last4", "card_masked", "entry_mode", "verification", "aid",
    "application_label", "authorization_code", "receipt_number", "trace_number", "terminal_id",
    "merchant_number", "result_code", "result_text", "reference", "note", "receipt",
    "merchant_receipt", "occurred_at",
    "received_at", "decided_by", "explanation", "message_hash", "epoch", "seq",
)  # fmt: skip

_BASE32: Final = "0123456789abcdefghjkmnpqrstvwxyz"
#: Two characters for each ten bits: thirteen look-ups make an id.
_PAIRS: Final = [first + second for first in _BASE32 for second in _BASE32]


def transaction_id(envelope_id: str) -> str:
    """The ledger id of a device's message: its UUID in the form of our other ids, so that the same one is the same."""
    return transaction_id_of(int(envelope_id.replace("-", ""), 16))


def transaction_id_of(number: int) -> str:
    """The same, of the UUID as a number of 128 bits."""
    p = _PAIRS
    return (
        f"tx_{p[number >> 120]}{p[number >> 110 & 1023]}{p[number >> 100 & 1023]}"
        f"{p[number >> 90 & 1023]}{p[number >> 80 & 1023]}{p[number >> 70 & 1023]}"
        f"{p[number >> 60 & 1023]}{p[number >> 50 & 1023]}{p[number >> 40 & 1023]}"
        f"{p[number >> 30 & 1023]}{p[number >> 20 & 1023]}{p[number >> 10 & 1023]}"
        f"{p[number & 1023]}"
    )


def device_row(
    row_id: str,
    merchant_id: str,
    location_id: str,
    device_id: str,
    result: PaymentResult,
    *,
    digest: str,
    epoch: int,
    seq: int,
    occurred_at: datetime,
    received_at: datetime,
    original_id: str | None,
) -> tuple[Any, ...]:
    """The ledger row of a decided session, as values for DEVICE_COLUMNS."""
    masked = result.masked_pan
    return (
        row_id, merchant_id, location_id, device_id, result.reader_id, result.session_id,
        result.cashier_id, result.kind, result.outcome, result.channel, _CARD, result.amount_minor,
        result.currency, original_id, READER, result.session_id, result.card_brand,
        masked[-4:] if masked and masked[-4:].isdecimal() else None, masked, result.entry_mode,
        result.verification, result.aid, result.application_label, result.authorization_code,
        result.receipt_number, result.trace_number, result.terminal_id, result.merchant_number,
        result.result_code, result.result_text or None, result.reference or None,
        result.note or None, "\n".join(result.receipt_lines) or None,
        "\n".join(result.merchant_receipt_lines) or None, occurred_at, received_at,
        result.decided_by, result.explanation or None, digest, epoch, seq,
    )  # fmt: skip


def append(db: Transaction, values: dict[str, Any]) -> bool:
    """One row of another channel; False when its (source, external_id) is already there."""
    complete = {"received_at": context_of(db).clock.now(), **values}
    return insert_new(db, TRANSACTIONS, complete, unique=["source", "external_id"])


_CARD: Final = Method.CARD.value

#: What makes the databases refuse changes; also in the migrations.
REFUSE_CHANGES: Final = {
    "postgresql": (
        """CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is append-only: add a row that corrects the other'; END $$""",
        """CREATE TRIGGER transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transactions
FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()""",
    ),
    "sqlite": (
        """CREATE TRIGGER transactions_no_update BEFORE UPDATE ON transactions
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a row that corrects the other'); END""",
        """CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: add a row that corrects the other'); END""",
    ),
}

for _dialect, _statements in REFUSE_CHANGES.items():
    for _statement in _statements:
        _ddl = DDL(_statement)  # type: ignore[no-untyped-call]  # SQLAlchemy left its arguments without types
        event.listen(TRANSACTIONS, "after_create", _ddl.execute_if(dialect=_dialect))
