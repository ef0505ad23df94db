"""How sending fails, and what can be refused about a mail."""

from __future__ import annotations

from control_plane.errors import Conflict, RequestRefused, Unavailable


class AddressNotRecognised(RequestRefused):
    """What was written cannot be an address."""

    code = "email_not_recognised"
    message = "Write the e-mail address like name@example.com."


class MailTooLarge(RequestRefused):
    """Mail servers refuse it."""

    code = "mail_too_large"
    message = "The mail with its attachments is larger than {limit_mb} MB. Leave something out."


class MailNotSetUp(Conflict):
    """There is no server to hand mail to."""

    code = "mail_not_set_up"
    message = "No mail server is set up. Print the receipt, or ask who runs Omnitill to set one up."


class MailDelayed(Unavailable):
    """A mail that will be tried again."""

    code = "mail_delayed"
    message = "{reason}"


class MailError(Exception):
    """A mail that was not (surely) handed over. The text is one English sentence for people."""


class NotSent(MailError):
    """Surely not sent; it can be tried again."""


class SendingRefused(MailError):
    """Surely not sent, and trying again brings nothing: the server will not have this mail."""


class SendingUnknown(MailError):
    """It was handed over, and the answer got lost: it may have arrived."""
