"""The mailbox of the demo: what customers would have got. It is there only while no mail server is set up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.errors import NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.receipts import page_alone
from control_plane.http.security import requires
from control_plane.mail import mailbox_mailer
from control_plane.mail.mailbox_mailer import Received
from control_plane.mail.models import MAILBOX
from control_plane.web.views import Page
from control_plane.web.visits import has_mailbox, site_of

router = APIRouter(prefix="/mailbox")

Seeing = Annotated[Caller, requires(Permission.TRANSACTION_VIEW)]
_ON_A_PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class MailRow:
    """A mail in the list."""

    href: str
    to: str
    subject: str
    at: datetime
    is_new: bool


@router.get("")
def mails(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Fifty mails, the newest first."""
    _must_be_here(request)
    site = site_of(request)
    visit = site.visit(db, request, caller)
    page = PageRequest(_ON_A_PAGE, cursor, "/mailbox").read(
        db,
        mailbox_mailer.mails_of(caller.scope),
        [MAILBOX.c.received_at, MAILBOX.c.id],
        lambda row: MailRow(
            f"/mailbox/{row.id}", row.to, row.subject, row.received_at, row.seen_at is None
        ),
    )
    return site.page(
        visit,
        "mailbox/list.html",
        mails=page.items,
        page=Page(
            previous="/mailbox" if cursor else "",
            next=f"/mailbox?cursor={page.next_cursor}" if page.next_cursor else "",
        ),
    )


@router.get("/{mail_id}")
def show(request: Request, caller: Seeing, db: Db, mail_id: str) -> Response:
    """One mail, as it arrived."""
    mail = _mail(request, caller, db, mail_id)
    mailbox_mailer.note_seen(db, caller.scope, mail_id)
    site = site_of(request)
    return site.page(site.visit(db, request, caller), "mailbox/detail.html", mail=mail)


@router.get("/{mail_id}/html")
def html(request: Request, caller: Seeing, db: ReadDb, mail_id: str) -> Response:
    """The HTML of a mail, for a frame: no script runs in it, nothing is loaded from elsewhere."""
    return page_alone(_mail(request, caller, db, mail_id).html)


@router.get("/{mail_id}/files/{number}")
def file(request: Request, caller: Seeing, db: ReadDb, mail_id: str, number: int) -> Response:
    """An attachment, to save."""
    files = _mail(request, caller, db, mail_id).attachments
    if not 0 <= number < len(files):
        raise NotFound("page", str(number))
    chosen = files[number]
    ascii_name = chosen.name.encode("ascii", "replace").decode().replace("?", "-")
    return Response(
        chosen.content,
        headers={"Content-Disposition": f'attachment; filename="{ascii_name}"'},
        media_type=chosen.media_type,
    )


def _mail(request: Request, caller: Caller, db: ReadDb, mail_id: str) -> Received:
    _must_be_here(request)
    mail = mailbox_mailer.read_mail(db, caller.scope, mail_id)
    if mail is None:
        raise NotFound("page", mail_id)
    return mail


def _must_be_here(request: Request) -> None:
    if not has_mailbox(site_of(request).parts):
        raise NotFound("page", "mailbox")
