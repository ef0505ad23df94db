"""Tables of mail: what was promised, and what the demo's mailbox got."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.db.columns import Json, UtcDateTime, table_of, text_enum


class MailState(StrEnum):
    """Where a mail is."""

    QUEUED = "queued"
    SENT = "sent"
    """A mail server took it, or the mailbox did."""
    FAILED = "failed"
    """Refused for good, or for so long that we gave up."""
    UNKNOWN = "unknown"
    """The connection broke after the text was handed over: it may have arrived, so it is not sent again."""


class MailMessage(SQLModel, table=True):
    """A mail that we owe, or sent, or could not send."""

    __tablename__ = "mail_message"
    __table_args__ = (
        UniqueConstraint("merchant_id", "dedupe_key"),
        Index("ix_mail_message_merchant_time", "merchant_id", "created_at", "id"),
        Index("ix_mail_message_related", "related_id", "created_at"),
    )

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", max_length=40)
    #: What it is: ``receipt``, ``invitation``, …
    kind: str = Field(max_length=40)
    #: What it is about: ``tx_…``, ``pay_…``; empty for none.
    related_id: str = Field(default="", max_length=64)
    #: The same key sends nothing again.
    dedupe_key: str = Field(max_length=200)
    to: str = Field(max_length=254)
    reply_to: str = Field(default="", max_length=254)
    sender_name: str = Field(default="", max_length=200)
    subject: str = Field(max_length=400)
    text: str = Field(sa_type=Text)
    html: str = Field(default="", sa_type=Text)
    headers: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    #: name, media_type, and content in base64.
    attachments: list[dict[str, Any]] = Field(default_factory=list, sa_type=Json)
    state: MailState = Field(default=MailState.QUEUED, sa_type=text_enum(MailState))
    #: One English sentence: why it is not sent (yet).
    reason: str = Field(default="", max_length=500)
    attempts: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    #: While it is being handed to the server; a crash meanwhile leaves it here.
    handed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class MailboxMessage(SQLModel, table=True):
    """A mail in the mailbox of the demo, as it would have arrived."""

    __tablename__ = "mailbox_message"
    __table_args__ = (
        Index("ix_mailbox_message_merchant_time", "merchant_id", "received_at", "id"),
    )

    #: That of the ``mail_message``.
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", max_length=40)
    to: str = Field(max_length=254)
    sender: str = Field(max_length=400)
    subject: str = Field(max_length=400)
    #: The whole message, in the form in which mail travels.
    source: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


MESSAGES: Final = table_of(MailMessage)
MAILBOX: Final = table_of(MailboxMessage)
