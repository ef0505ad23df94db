"""How receipts look, with one to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.receipts import page_alone
from control_plane.http.security import requires
from control_plane.receipts.drawing import as_page
from control_plane.receipts.look import (
    Look,
    ReceiptField,
    change_look,
    checked_look,
    logo_from,
    look_of,
)
from control_plane.receipts.sample import sample_receipt
from control_plane.receipts.sheet import sheet_of
from control_plane.web import words
from control_plane.web.filled import Form as FilledForm
from control_plane.web.i18n import LANGUAGES
from control_plane.web.views import Choice
from control_plane.web.visits import Visit, site_of

router = APIRouter(prefix="/settings/receipts")

Setting = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]


@router.get("")
def settings(
    request: Request, caller: Setting, db: ReadDb, saved: Annotated[bool, Query()] = False
) -> Response:
    """How receipts look, with one to look at."""
    look = look_of(db, caller.merchant_id)
    return _page(request, caller, db, look, _written(look), {}, saved=saved)


@router.post("")
def save_settings(request: Request, caller: Setting, db: Db, form: FilledForm) -> Response:
    """Change how receipts look."""
    before = look_of(db, caller.merchant_id)
    written = {
        name: form.text(name, 1_000) for name in ("message", "footer", "language", "reply_to")
    }
    shown = form.texts("shown")
    try:
        look = checked_look(**written, shown=shown, logo=before.logo)
    except DomainError as refused:
        return _refused(request, caller, db, before, {**written, "shown": shown}, refused)
    change_look(db, caller, look)
    return RedirectResponse("/settings/receipts?saved=1", 303)


@router.post("/logo")
def save_logo(request: Request, caller: Setting, db: Db, form: FilledForm) -> Response:
    """Change or remove the logo."""
    before = look_of(db, caller.merchant_id)
    chosen = form.file("logo")
    try:
        logo = None if form.is_on("remove") else logo_from(chosen[1] if chosen else b"")
    except DomainError as refused:
        return _refused(request, caller, db, before, _written(before), refused)
    change_look(db, caller, replace(before, logo=logo))
    return RedirectResponse("/settings/receipts?saved=1", 303)


@router.get("/preview")
def preview(
    request: Request,
    caller: Setting,
    db: ReadDb,
    shown: Annotated[list[str], Query(default_factory=list, max_length=50)],
    message: Annotated[str, Query(max_length=500)] = "",
    footer: Annotated[str, Query(max_length=1000)] = "",
    language: Annotated[str, Query(max_length=10)] = "en",
) -> Response:
    """A made-up receipt as it would look with what is typed."""
    visit = site_of(request).visit(db, request, caller)
    known = {field.value for field in ReceiptField}
    look = checked_look(
        message=message,
        footer=footer,
        shown=[one for one in shown if one in known],
        language=language if language in LANGUAGES else "en",
        reply_to="",
        logo=look_of(db, caller.merchant_id).logo,
    )
    receipt = sample_receipt(
        merchant=visit.merchant_name,
        place=next(iter(visit.places.values()), ""),
        at=visit.now,
        zone=visit.zone,
        currency=visit.currency,
        cashier=caller.name,
    )
    return page_alone(as_page(sheet_of(receipt, look, look.language)))


def _written(look: Look) -> dict[str, object]:
    return {
        "message": look.message,
        "footer": look.footer,
        "language": look.language,
        "reply_to": look.reply_to,
        "shown": sorted(look.shown),
    }


def _refused(
    request: Request,
    caller: Caller,
    db: Transaction,
    look: Look,
    written: Mapping[str, object],
    refused: DomainError,
) -> Response:
    visit = site_of(request).visit(db, request, caller)
    name = str(refused.facts.get("field", "form"))
    problems = {"reply_to" if name == "email" else name: visit.explain(refused)}
    return _page(request, caller, db, look, written, problems, status=refused.status)


def _page(
    request: Request,
    caller: Caller,
    db: Transaction,
    look: Look,
    written: Mapping[str, object],
    problems: Mapping[str, str],
    *,
    saved: bool = False,
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit: Visit = site.visit(db, request, caller)
    return site.page(
        visit,
        "settings/receipts.html",
        status=status,
        written=written,
        problems=problems,
        saved=saved,
        has_logo=look.logo is not None,
        fields=[
            (field.value, visit.say(words.RECEIPT_FIELDS[field.value])) for field in ReceiptField
        ],
        choices=[Choice(tag, name) for tag, name in LANGUAGES.items()],
    )
