"""Hands mail to a mail server (RFC 5321), so that it is always known whether the server has it.

``smtplib`` sends a mail's text and its end in one go; here the end, which makes the server responsible, is a step of
its own. What fails before it surely did not happen, what fails after it may have.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from control_plane.config import MailSettings
from control_plane.mail.errors import NotSent, SendingRefused, SendingUnknown
from control_plane.mail.mailer import Outgoing
from control_plane.mail.message import composed

_LINE_DOT: Final = re.compile(rb"(?m)^\.")
_END: Final = b".\r\n"
_GO_ON: Final = 354


class SmtpMailer:
    """One connection for each mail: shops send few."""

    is_set_up = True

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._server = f"The mail server {settings.host}:{settings.port}"

    def send(self, outgoing: Outgoing, *, about_to_hand: Callable[[], None]) -> None:
        """Hand it over; see the port."""
        mail = composed(
            outgoing.message,
            mail_id=outgoing.id,
            sender=self._settings.sender,
            at=outgoing.created_at,
        )
        body = _LINE_DOT.sub(b"..", mail.as_bytes())
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
        with self._connection() as server:
            with self._told("before it had the mail"):
                self._taken(server.mail(self._settings.sender), "the sender", is_final=False)
                self._taken(server.rcpt(outgoing.message.to), outgoing.message.to)
                code, answer = server.docmd("DATA")
                if code != _GO_ON:
                    self._taken((code, answer), "the mail")
                server.send(body)
            about_to_hand()
            self._hand_over(server)

    def _hand_over(self, server: smtplib.SMTP) -> None:
        try:
            server.send(_END)
            reply = server.getreply()
        except (OSError, smtplib.SMTPException) as error:
            raise SendingUnknown(
                f"{self._server} was lost when it had the whole mail. It may have been sent."
            ) from error
        self._taken(reply, "the mail")

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        with self._told("when it was called"):
            # The name we go by is our sender's domain: that of the machine may be anything.
            name = settings.sender.rpartition("@")[2]
            if settings.security == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    settings.host, settings.port, local_hostname=name,
                    timeout=settings.timeout_s, context=self._tls(),
                )  # fmt: skip
            else:
                server = smtplib.SMTP(
                    settings.host, settings.port, local_hostname=name, timeout=settings.timeout_s
                )
        try:
            with self._told("before it let us in"):
                server.ehlo()
                if settings.security == "starttls":
                    server.starttls(context=self._tls())
                    server.ehlo()
                if settings.username:
                    server.login(settings.username, settings.password.get_secret_value())
            yield server
            with suppress(OSError, smtplib.SMTPException):
                server.quit()
        finally:
            server.close()

    @contextmanager
    def _told(self, when: str) -> Iterator[None]:
        """Make NotSent, in plain words, of what goes wrong before the server has the mail."""
        try:
            yield
        except smtplib.SMTPAuthenticationError as error:
            raise NotSent(
                f"{self._server} does not accept the user name and password. Check both."
            ) from error
        except smtplib.SMTPNotSupportedError as error:
            raise NotSent(
                f"{self._server} does not offer what the settings ask for: {error}"
            ) from error
        except ssl.SSLError as error:
            raise NotSent(
                f"The connection to {self._settings.host}:{self._settings.port} could not be secured: "
                f"{error.reason or error}. Check the certificate and OMNITILL_MAIL__SECURITY."
            ) from error
        except smtplib.SMTPResponseException as error:
            raise NotSent(
                f"{self._server} answered {error.smtp_code}: {_words(error.smtp_error)}"
            ) from error
        except TimeoutError as error:
            raise NotSent(f"{self._server} did not answer in time.") from error
        except (OSError, smtplib.SMTPException) as error:
            raise NotSent(f"{self._server} was lost {when}: {error}") from error

    def _taken(self, reply: tuple[int, bytes], what: str, *, is_final: bool = True) -> None:
        """Raises what an answer means that is no yes: 5xx is for good, all else for now."""
        code, text = reply
        if 200 <= code < 300:
            return
        told = f"{self._server} does not take {what}: {code} {_words(text)}"
        if code >= 500 and is_final:
            raise SendingRefused(told)
        raise NotSent(told)

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._settings.ca_file)


def _words(text: bytes | str) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join(plain.split())[:300]
