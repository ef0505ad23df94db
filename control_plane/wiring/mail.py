"""Who takes our mail."""

from __future__ import annotations

from control_plane.mail.mailbox_mailer import MailboxMailer
from control_plane.mail.mailer import Mailer, NoMailer
from control_plane.mail.smtp import SmtpMailer
from control_plane.parts import Parts


def wire(parts: Parts) -> None:
    """A server when there is one; else the demo's mailbox, which no live world has."""
    parts.provide(Mailer, mailer_of(parts))


def mailer_of(parts: Parts) -> Mailer:
    """The adapter that the settings choose."""
    settings = parts.settings
    if settings.mail.host:
        return SmtpMailer(settings.mail)
    return NoMailer() if settings.mode == "live" else MailboxMailer(parts.database)
