"""A mailbox in the database instead of a mail server, for the demo and for trying things out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_string
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, Final

from sqlalchemy import Row, Select, select, update

from control_plane.db.engine import Database
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from control_plane.mail.mailer import Outgoing
from control_plane.mail.message import Attachment, composed
from control_plane.mail.models import MAILBOX

_SENDER: Final = "till@omnitill.example"


class MailboxMailer:
    """Puts mail where the page ``/mailbox`` shows it."""

    is_set_up = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def send(self, outgoing: Outgoing, *, about_to_hand: Callable[[], None]) -> None:
        """Store it, once however often it comes."""
        mail = composed(
            outgoing.message, mail_id=outgoing.id, sender=_SENDER, at=outgoing.created_at
        )
        about_to_hand()
        with self._database.connection() as db:
            insert_new(
                db,
                MAILBOX,
                {
                    "id": outgoing.id,
                    "merchant_id": outgoing.merchant_id,
                    "to": outgoing.message.to,
                    "sender": str(mail["From"])[:400],
                    "subject": outgoing.message.subject,
                    "source": mail.as_string(),
                    "received_at": context_of(db).clock.now(),
                },
                unique=["id"],
            )


@dataclass(frozen=True, slots=True)
class Received:
    """A mail, taken apart again."""

    id: str
    to: str
    sender: str
    subject: str
    received_at: datetime
    text: str
    html: str
    attachments: tuple[Attachment, ...]


def mails_of(scope: Scope) -> Select[*tuple[Any, ...]]:
    """All mail of a merchant, without the text; order by (received_at, id)."""
    columns = [column for column in MAILBOX.c if column.name != "source"]
    return select(*columns).where(*scope.conditions(MAILBOX))


def read_mail(db: Transaction, scope: Scope, mail_id: str) -> Received | None:
    """One mail of a merchant."""
    row = db.execute(
        select(MAILBOX).where(*scope.conditions(MAILBOX), MAILBOX.c.id == mail_id)
    ).one_or_none()
    return None if row is None else _taken_apart(row)


def note_seen(db: Transaction, scope: Scope, mail_id: str) -> None:
    """Somebody looked at it."""
    db.execute(
        update(MAILBOX)
        .where(*scope.conditions(MAILBOX), MAILBOX.c.id == mail_id, MAILBOX.c.seen_at.is_(None))
        .values(seen_at=context_of(db).clock.now())
    )


def _taken_apart(row: Row[*tuple[Any, ...]]) -> Received:
    # The policy makes it an EmailMessage.
    mail: EmailMessage = message_from_string(row.source, policy=SMTP)
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    pictures = [part for part in mail.walk() if part.get("Content-ID")]
    return Received(
        id=row.id,
        to=row.to,
        sender=row.sender,
        subject=row.subject,
        received_at=row.received_at,
        text=plain.get_content() if plain is not None else "",
        html=_with_pictures(html.get_content(), pictures) if html is not None else "",
        attachments=tuple(
            Attachment(
                one.get_filename() or "attachment",
                one.get_content_type(),
                _bytes_of(one),
            )
            for one in mail.iter_attachments()
        ),
    )


def _with_pictures(html: str, parts: Sequence[EmailMessage]) -> str:
    """A page that stands alone: what it shows by ``cid:`` is put into it."""
    for part in parts:
        content = base64.b64encode(_bytes_of(part)).decode()
        address = f"data:{part.get_content_type()};base64,{content}"
        html = html.replace(f"cid:{str(part['Content-ID']).strip('<> ')}", address)
    return html


def _bytes_of(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
