"""Sends the receipts that were promised with payments."""

from __future__ import annotations

import structlog

from control_plane.audit.actor import SYSTEM
from control_plane.db.scope import Scope
from control_plane.jobs.catalog import JobRun, job
from control_plane.mail.errors import AddressNotRecognised
from control_plane.receipts.service import prepare_mail, send_receipt

log = structlog.get_logger()


@job("receipts.send_promised")
def send_promised(run: JobRun) -> None:
    """Owe the mail; an address that is none is logged and left at that."""
    if run.merchant_id is None:
        return
    payment_id: str = run.payload["payment_id"]
    try:
        with run.parts.database.reading_connection() as db:
            prepared = prepare_mail(db, Scope(run.merchant_id), payment_id, run.payload["email"])
    except AddressNotRecognised:
        log.warning("receipt_address_not_recognised", payment_id=payment_id)
        return
    with run.transaction() as db:
        send_receipt(db, run.merchant_id, SYSTEM, prepared, key="with the payment")
