"""Mail that is owed: written in the caller's transaction, sent by a job, never twice for one key."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, delete, select, update

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed, insert_new
from control_plane.mail.mailer import Outgoing
from control_plane.mail.message import Attachment, Message, checked_message
from control_plane.mail.models import MAILBOX, MESSAGES, MailState
from control_plane.outbox import owe
from protocols.ids import new_id

#: The job; payload: id.
SEND: Final = "mail.send"
#: With the outbox's growing pauses this is about five hours.
MOST_TRIES: Final = 16
KEPT: Final = timedelta(days=90)


def queue_mail(
    db: Transaction,
    merchant_id: str,
    message: Message,
    *,
    kind: str,
    dedupe_key: str,
    related_id: str = "",
) -> str | None:
    """Owe a mail; returns its id (``mml_…``), or None when this key was used before.

    Raises AddressNotRecognised, MailTooLarge. ``kind`` names it in lists, ``related_id`` what it is about.
    """
    message = checked_message(message)
    mail_id = new_id("mml")
    is_new = insert_new(
        db,
        MESSAGES,
        {
            "id": mail_id,
            "merchant_id": merchant_id,
            "kind": kind,
            "related_id": related_id,
            "dedupe_key": dedupe_key,
            "to": message.to,
            "reply_to": message.reply_to,
            "sender_name": message.sender_name,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "headers": dict(message.headers),
            "attachments": [
                {
                    "name": one.name,
                    "media_type": one.media_type,
                    "content": base64.b64encode(one.content).decode(),
                    "content_id": one.content_id,
                }
                for one in message.attachments
            ],
            "state": MailState.QUEUED,
            "reason": "",
            "attempts": 0,
            "created_at": context_of(db).clock.now(),
        },
        unique=["merchant_id", "dedupe_key"],
    )
    if not is_new:
        return None
    owe(db, SEND, {"id": mail_id}, merchant_id=merchant_id, max_attempts=MOST_TRIES)
    return mail_id


def mails_about(
    db: Transaction, scope: Scope, related_id: str, *, limit: int = 20
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Mails about a thing, without their texts, the newest first."""
    shown = (MESSAGES.c.id, MESSAGES.c.kind, MESSAGES.c.to, MESSAGES.c.subject, MESSAGES.c.state,
             MESSAGES.c.reason, MESSAGES.c.created_at, MESSAGES.c.settled_at)  # fmt: skip
    return db.execute(
        select(*shown)
        .where(*scope.conditions(MESSAGES), MESSAGES.c.related_id == related_id)
        .order_by(MESSAGES.c.created_at.desc(), MESSAGES.c.id.desc())
        .limit(limit)
    ).all()


# --- for the job ------------------------------------------------------------------------------------------------


def take(db: Transaction, mail_id: str) -> Outgoing | None:
    """The mail, if it is to be sent now. One that an earlier run was about to hand over becomes unknown."""
    row = db.execute(
        select(MESSAGES).where(MESSAGES.c.id == mail_id).with_for_update()
    ).one_or_none()
    if row is None or row.state is not MailState.QUEUED:
        return None
    if row.handed_at is not None:
        settle(db, mail_id, MailState.UNKNOWN, "Omnitill stopped while it was handed over.")
        return None
    _set(db, mail_id, attempts=row.attempts + 1)
    return Outgoing(
        id=row.id,
        merchant_id=row.merchant_id,
        created_at=row.created_at,
        message=Message(
            to=row.to,
            reply_to=row.reply_to,
            sender_name=row.sender_name,
            subject=row.subject,
            text=row.text,
            html=row.html,
            headers=row.headers,
            attachments=tuple(
                Attachment(**{**one, "content": base64.b64decode(one["content"])})
                for one in row.attachments
            ),
        ),
    )


def note_handing(db: Transaction, mail_id: str) -> None:
    """From here on nobody knows, until it is settled or put back."""
    _set(db, mail_id, handed_at=context_of(db).clock.now())


def put_back(db: Transaction, mail_id: str, reason: str) -> None:
    """It was surely not sent; it will be tried again."""
    _set(db, mail_id, handed_at=None, reason=reason[:500])


def settle(db: Transaction, mail_id: str, state: MailState, reason: str = "") -> None:
    """How it ended."""
    now = context_of(db).clock.now()
    _set(db, mail_id, state=state, reason=reason[:500], settled_at=now)


def forget_old(db: Transaction) -> int:
    """Delete mail that nobody will ask about any more; returns how many."""
    before = context_of(db).clock.now() - KEPT
    db.execute(delete(MAILBOX).where(MAILBOX.c.received_at < before))
    return changed(db, delete(MESSAGES).where(MESSAGES.c.settled_at < before))


def _set(db: Transaction, mail_id: str, **values: Any) -> None:
    db.execute(update(MESSAGES).where(MESSAGES.c.id == mail_id).values(**values))
