"""A mail as a value, checked where it is made: addresses, single-line headers, no card number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from control_plane.mail.errors import AddressNotRecognised, MailTooLarge
from protocols.readers.emv import redact_card_numbers

LIMIT_MB: Final = 8
_POLICY: Final = SMTP.clone(cte_type="7bit")
#: RFC 5321: a local part of dot-separated atoms; quoted ones are legal, and never anybody's.
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_CONTENT_ID: Final = re.compile(r"[a-z0-9.-]{1,60}@[a-z0-9.-]{1,60}|")
_HEADER: Final = re.compile(r"X-[A-Za-z0-9-]{1,60}|List-Unsubscribe")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that comes along."""

    name: str
    media_type: str
    content: bytes = field(repr=False)
    content_id: str = ""
    """The HTML shows it in place, as ``cid:…``, instead of its being listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What somebody is to read. Made by ``checked_message``."""

    to: str
    subject: str
    text: str
    html: str = ""
    reply_to: str = ""
    sender_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()


def checked_message(message: Message) -> Message:
    """The same, fit to be sent. Raises AddressNotRecognised, MailTooLarge; ValueError for a header of ours."""
    if refused := [name for name in message.headers if not _HEADER.fullmatch(name)]:
        raise ValueError(f"mail has no headers of its own called {refused}")
    if not all(_CONTENT_ID.fullmatch(one.content_id) for one in message.attachments):
        raise ValueError("a content id is like logo@omnitill")
    size = len(message.text) + len(message.html)
    size += sum(len(one.content) for one in message.attachments)
    if size > LIMIT_MB * 1024 * 1024:
        raise MailTooLarge(limit_mb=LIMIT_MB)
    return Message(
        to=checked_address(message.to),
        reply_to=checked_address(message.reply_to) if message.reply_to else "",
        sender_name=_one_line(message.sender_name)[:200],
        subject=_one_line(message.subject)[:300],
        text=redact_card_numbers(message.text),
        html=redact_card_numbers(message.html),
        headers={name: _one_line(value) for name, value in message.headers.items()},
        attachments=tuple(
            Attachment(_file_name(one.name), one.media_type, one.content, one.content_id)
            for one in message.attachments
        ),
    )


def checked_address(text: str) -> str:
    """One address, its domain in lower case and ASCII. Raises AddressNotRecognised."""
    local, at, domain = text.strip().rpartition("@")
    try:
        ascii_domain = domain.lower().encode("idna").decode()
    except UnicodeError:
        ascii_domain = ""
    labels = ascii_domain.split(".")
    is_address = (
        at
        and len(local) <= 64
        and len(local) + len(ascii_domain) < 254
        and _LOCAL.fullmatch(local)
        and len(labels) > 1
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdecimal()
    )
    if not is_address or redact_card_numbers(text) != text:
        raise AddressNotRecognised(field="email")
    return f"{local}@{ascii_domain}"


def composed(message: Message, *, mail_id: str, sender: str, at: datetime) -> EmailMessage:
    """The mail in the form in which it travels. The same mail has the same Message-ID, however often it is made."""
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address(message.sender_name, addr_spec=sender)
    mail["To"] = Address(addr_spec=message.to)
    if message.reply_to:
        mail["Reply-To"] = Address(addr_spec=message.reply_to)
    mail["Subject"] = message.subject
    mail["Date"] = at
    mail["Message-ID"] = f"<{mail_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in message.headers.items():
        mail[name] = value
    mail.set_content(message.text)
    if message.html:
        mail.add_alternative(message.html, subtype="html")
    for one in message.attachments:
        _attach(mail, one)
    return mail


def _attach(mail: EmailMessage, one: Attachment) -> None:
    kind, _, subtype = one.media_type.partition("/")
    page = mail.get_body(("html",)) if one.content_id else None
    if page is None:
        mail.add_attachment(one.content, maintype=kind, subtype=subtype, filename=one.name)
        return
    page.add_related(
        one.content, maintype=kind, subtype=subtype, cid=f"<{one.content_id}>",
        filename=one.name, disposition="inline",
    )  # fmt: skip


def _one_line(text: str) -> str:
    """Without line ends and control characters, so that nothing becomes a header of its own."""
    signs = (sign if sign.isprintable() else " " for sign in text)
    return redact_card_numbers(" ".join("".join(signs).split()))


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.() -]", "-", _one_line(name))[:100] or "attachment"
