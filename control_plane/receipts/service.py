"""Receipts as people ask for them: a form of one, or a mail with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.formats import Formats
from control_plane.mail import mail_queue
from control_plane.mail.message import Attachment, Message, checked_address
from control_plane.receipts.document import Receipt
from control_plane.receipts.drawing import LOGO_ID, as_mail, as_text, greeting
from control_plane.receipts.look import Look, look_of
from control_plane.receipts.pdf import as_pdf
from control_plane.receipts.sheet import Sheet, sheet_of
from control_plane.receipts.sources import receipt_of
from control_plane.receipts.wording import known_language, say

#: ``kind`` of the mails.
MAIL_KIND: Final = "receipt"


def sheet_for(
    db: Transaction, scope: Scope, thing_id: str, *, language: str | None = None
) -> tuple[Receipt, Sheet]:
    """The receipt of ``tx_…`` or ``pay_…``, and how it reads. Raises NotFound.

    In ``language``, else that of the customer, else that of the merchant's template.
    """
    receipt = receipt_of(db, scope, thing_id)
    look = look_of(db, scope.merchant_id)
    return receipt, sheet_of(receipt, look, _language(receipt, look, language))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A receipt, drawn, and the mail that brings it."""

    receipt: Receipt
    message: Message


def prepare_mail(
    db: Transaction, scope: Scope, thing_id: str, email: str, *, language: str | None = None
) -> Prepared:
    """Draw the receipt for a mail. Takes a tenth of a second, so ``db`` is one that only reads.

    Raises NotFound, AddressNotRecognised.
    """
    address = checked_address(email)
    receipt = receipt_of(db, scope, thing_id)
    look = look_of(db, scope.merchant_id)
    sheet = sheet_of(receipt, look, _language(receipt, look, language))
    subject = subject_of(receipt, sheet)
    files = [Attachment(file_name(receipt, "pdf"), "application/pdf", as_pdf(sheet, receipt.at))]
    if sheet.logo is not None:
        files.append(Attachment("logo.png", "image/png", sheet.logo.png, LOGO_ID))
    message = Message(
        to=address,
        subject=subject,
        text=f"{greeting(sheet, receipt.customer)}\n\n{as_text(sheet)}",
        html=as_mail(sheet, subject=subject, customer=receipt.customer),
        reply_to=look.reply_to,
        sender_name=receipt.merchant,
        attachments=tuple(files),
    )
    return Prepared(receipt, message)


def send_receipt(
    db: Transaction, merchant_id: str, actor: Actor, prepared: Prepared, *, key: str
) -> str | None:
    """Owe the mail; its id, or None when it was owed to this address with this ``key`` before."""
    receipt, message = prepared.receipt, prepared.message
    mail_id = mail_queue.queue_mail(
        db,
        merchant_id,
        message,
        kind=MAIL_KIND,
        dedupe_key=f"receipt {receipt.id} {message.to} {key}"[:200],
        related_id=receipt.id,
    )
    if mail_id is not None:
        record(
            db, merchant_id, actor, AuditTag.RECEIPT_SEND,
            object_id=receipt.id, object_name=Formats("en").money(receipt.total),
            after={"mail_id": mail_id},
        )  # fmt: skip
    return mail_id


def file_name(receipt: Receipt, form: str) -> str:
    """What a saved receipt is called."""
    day = receipt.at.astimezone(receipt.zone).date()
    return f"receipt-{day}-{receipt.id[-6:]}.{form}"


def subject_of(receipt: Receipt, sheet: Sheet) -> str:
    """``Receipt from Café Lumière: €12.34``."""
    text = "Receipt from %s: %s" if receipt.kind == "sale" else "Refund from %s: %s"
    amount = Formats(sheet.language).money(receipt.total)
    return say(text, sheet.language) % (receipt.merchant, amount)


def _language(receipt: Receipt, look: Look, wish: str | None) -> str:
    return known_language(wish, receipt.customer_language, look.language)
