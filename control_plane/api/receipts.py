"""Receipts of every channel: as a page, a PDF or text; by mail; and how they look."""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.http.dependencies import App, Db, ReadDb, WriterSlot
from control_plane.http.idempotency import Once, OnceOnly
from control_plane.http.receipts import Form, drawn
from control_plane.http.security import requires
from control_plane.mail import mail_queue
from control_plane.mail.errors import MailNotSetUp
from control_plane.mail.mailer import Mailer
from control_plane.mail.models import MailState
from control_plane.parts import Parts
from control_plane.receipts.look import (
    Look,
    ReceiptField,
    change_look,
    checked_look,
    logo_from,
    look_of,
)
from control_plane.receipts.service import prepare_mail, send_receipt, sheet_for
from control_plane.receipts.sources import receipt_of
from protocols.ids import new_id

router = APIRouter(prefix="/v1", tags=["receipts"])

Viewer = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
Manager = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]
TransactionId = Annotated[str, Path(max_length=64, pattern="^tx_[0-9a-z]+$")]
PaymentId = Annotated[str, Path(max_length=64, pattern="^pay_[0-9a-z]+$")]
Language = Annotated[
    Literal["en", "fr"] | None,
    Query(description="Else that of the customer, else that of the merchant's template."),
]

_DRAWN: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The receipt.",
        "content": {"text/html": {}, "application/pdf": {}, "text/plain": {}},
    }
}


class ReceiptMail(BaseModel):
    """Whom to send a receipt."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"email": "ada@example.com"}]}
    )

    email: str = Field(max_length=254)
    language: Literal["en", "fr"] | None = None


class MailOut(BaseModel):
    """A mail that is owed, was sent, or could not be."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["mml_06f3k8m2r4s6t8v0w2x4y6z8a0"])
    to: str = Field(examples=["ada@example.com"])
    subject: str
    state: MailState
    reason: str = Field(description="Why it is not sent (yet).")
    created_at: datetime
    settled_at: datetime | None


class OwedMail(BaseModel):
    """The mail that will be sent."""

    mail_id: str = Field(examples=["mml_06f3k8m2r4s6t8v0w2x4y6z8a0"])


class TemplateOut(BaseModel):
    """How receipts look."""

    message: str = Field(examples=["Thank you, and see you soon."])
    footer: str
    shown: list[ReceiptField]
    language: str
    reply_to: str
    has_logo: bool


class TemplateIn(BaseModel):
    """How receipts are to look; the logo is sent by itself."""

    model_config = ConfigDict(extra="forbid")

    message: str = Field(default="", max_length=500)
    footer: str = Field(default="", max_length=1000)
    shown: list[ReceiptField] = Field(max_length=50)
    language: Literal["en", "fr"] = "en"
    reply_to: str = Field(default="", max_length=254)


@router.get("/transactions/{transaction_id}/receipt.{form}", responses=_DRAWN)
def read_receipt(
    transaction_id: TransactionId, form: Form, caller: Viewer, db: ReadDb, language: Language = None
) -> Response:
    """The receipt of a row of the ledger."""
    receipt, sheet = sheet_for(db, caller.scope, transaction_id, language=language)
    return drawn(form, receipt, sheet)


@router.get("/payments/{payment_id}/receipt.{form}", responses=_DRAWN)
def read_payment_receipt(
    payment_id: PaymentId, form: Form, caller: Viewer, db: ReadDb, language: Language = None
) -> Response:
    """The receipt of a payment; of one that is not in the ledger yet it says so."""
    receipt, sheet = sheet_for(db, caller.scope, payment_id, language=language)
    return drawn(form, receipt, sheet)


@router.post("/transactions/{transaction_id}/receipt", status_code=202, response_model=OwedMail)
def send_receipt_by_mail(
    transaction_id: TransactionId,
    wish: ReceiptMail,
    caller: Viewer,
    parts: App,
    once: OnceOnly,
    _: WriterSlot,
) -> Response:
    """Send the receipt of a row of the ledger. 409 `mail_not_set_up` without a mail server."""
    return _owed(parts, caller, transaction_id, wish, once)


@router.post("/payments/{payment_id}/receipt", status_code=202, response_model=OwedMail)
def send_payment_receipt_by_mail(
    payment_id: PaymentId,
    wish: ReceiptMail,
    caller: Viewer,
    parts: App,
    once: OnceOnly,
    _: WriterSlot,
) -> Response:
    """Send the receipt of a payment. 409 `mail_not_set_up` without a mail server."""
    return _owed(parts, caller, payment_id, wish, once)


@router.get("/transactions/{transaction_id}/receipt/mails")
def list_receipt_mails(transaction_id: TransactionId, caller: Viewer, db: ReadDb) -> list[MailOut]:
    """Where the receipt went, and whether it got there; the newest first."""
    receipt_of(db, caller.scope, transaction_id)
    found = mail_queue.mails_about(db, caller.scope, transaction_id)
    return [MailOut.model_validate(row) for row in found]


@router.get("/receipt-template")
def read_receipt_template(caller: Viewer, db: ReadDb) -> TemplateOut:
    """How receipts look."""
    return _template(look_of(db, caller.merchant_id))


@router.put("/receipt-template")
def change_receipt_template(wish: TemplateIn, caller: Manager, db: Db) -> TemplateOut:
    """Change how receipts look; the logo stays."""
    logo = look_of(db, caller.merchant_id).logo
    look = checked_look(**wish.model_dump(), logo=logo)
    change_look(db, caller, look)
    return _template(look)


@router.put(
    "/receipt-template/logo",
    openapi_extra={
        "requestBody": {"required": True, "content": {"image/png": {}, "image/jpeg": {}}}
    },
)
async def upload_receipt_logo(
    request: Request, caller: Manager, parts: App, _: WriterSlot
) -> TemplateOut:
    """Upload a logo: the file itself, PNG or JPEG, at most 2 MB. It is drawn anew. 422 `logo_refused`."""
    return await to_thread(_with_logo, parts, caller, await request.body())


@router.delete("/receipt-template/logo", status_code=204)
def remove_receipt_logo(caller: Manager, db: Db) -> Response:
    """Print no logo."""
    change_look(db, caller, replace(look_of(db, caller.merchant_id), logo=None))
    return Response(status_code=204)


def _owed(parts: Parts, caller: Caller, thing_id: str, wish: ReceiptMail, once: Once) -> Response:
    if not parts.get(Mailer).is_set_up:
        raise MailNotSetUp
    with parts.database.reading_connection() as db:
        prepared = prepare_mail(db, caller.scope, thing_id, wish.email, language=wish.language)

    # A new request is a new mail; the same request, sent again, is answered without one.
    with parts.database.connection() as db:

        def made() -> OwedMail:
            key = new_id("once")
            mail_id = send_receipt(db, caller.merchant_id, caller.actor, prepared, key=key)
            return OwedMail(mail_id=mail_id or "")

        return once.answer(db, caller, made, status=202)


def _with_logo(parts: Parts, caller: Caller, upload: bytes) -> TemplateOut:
    logo = logo_from(upload)
    with parts.database.connection() as db:
        look = replace(look_of(db, caller.merchant_id), logo=logo)
        change_look(db, caller, look)
    return _template(look)


def _template(look: Look) -> TemplateOut:
    return TemplateOut(
        message=look.message,
        footer=look.footer,
        shown=sorted(look.shown),
        language=look.language,
        reply_to=look.reply_to,
        has_logo=look.logo is not None,
    )
