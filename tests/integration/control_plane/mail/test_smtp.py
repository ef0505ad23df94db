"""Handing mail to a real mail server: secured, let in, taken or not; and what is known when it goes wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from control_plane.config import MailSettings
from control_plane.mail.errors import NotSent, SendingRefused, SendingUnknown
from control_plane.mail.mailer import Outgoing
from control_plane.mail.message import Attachment, Message
from control_plane.mail.smtp import SmtpMailer
from tests.support.mail_server import (
    PASSWORD,
    USER,
    Received,
    mail_server,
    throwaway_certificate,
)
from tests.support.ports import LOOPBACK, free_port

OUTGOING = Outgoing(
    id="mml_1",
    merchant_id="mer_1",
    message=Message(
        to="ada@example.com",
        subject="Reçu",
        text="Bonjour\n.\n.. fin",
        html="<p>Bonjour</p>",
        attachments=(Attachment("r.pdf", "application/pdf", b"%PDF"),),
    ),
    created_at=datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC),
)


def mailer(port: int, **settings: object) -> SmtpMailer:
    chosen = {"security": "none", "sender": "till@shop.example", "timeout_s": 5, **settings}
    return SmtpMailer(MailSettings(host=LOOPBACK, port=port, **chosen))


class Handing:
    """Counts how often a mail was about to be handed over."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def handing() -> Handing:
    return Handing()


@pytest.fixture
def server() -> Iterator[tuple[int, Received]]:
    with mail_server() as running:
        yield running


def test_a_mail_arrives_once_as_it_was_written(
    server: tuple[int, Received], handing: Handing
) -> None:
    port, received = server

    mailer(port).send(OUTGOING, about_to_hand=handing)

    (mail,) = received.mails
    assert received.recipients == [["ada@example.com"]]
    assert received.senders == ["till@shop.example"]
    assert b"Message-ID: <mml_1@shop.example>" in mail
    assert b"Bonjour\r\n.\r\n.. fin\r\n" in mail
    assert handing.times == 1


def test_the_password_is_sent_only_over_a_secured_connection(
    tmp_path: Path, handing: Handing
) -> None:
    tls, trusted = throwaway_certificate(tmp_path)
    with mail_server(tls=tls) as (port, received):
        sender = mailer(
            port, security="starttls", ca_file=trusted, username=USER, password=SecretStr(PASSWORD)
        )

        sender.send(OUTGOING, about_to_hand=handing)

    assert received.was_secured == [True]


def test_a_server_may_be_secured_from_the_first_byte(tmp_path: Path, handing: Handing) -> None:
    tls, trusted = throwaway_certificate(tmp_path)
    with mail_server(tls=tls, implicit_tls=True) as (port, received):
        mailer(port, security="tls", ca_file=trusted).send(OUTGOING, about_to_hand=handing)

    assert len(received.mails) == 1


def test_a_wrong_password_sends_nothing_and_says_so(tmp_path: Path, handing: Handing) -> None:
    tls, trusted = throwaway_certificate(tmp_path)
    with mail_server(tls=tls) as (port, received):
        sender = mailer(
            port, security="starttls", ca_file=trusted, username=USER, password=SecretStr("guess")
        )

        with pytest.raises(NotSent, match="does not accept the user name and password") as error:
            sender.send(OUTGOING, about_to_hand=handing)

    assert "guess" not in str(error.value)
    assert (received.mails, handing.times) == ([], 0)


def test_a_certificate_that_nobody_vouches_for_ends_it(tmp_path: Path, handing: Handing) -> None:
    tls, _ = throwaway_certificate(tmp_path)
    with mail_server(tls=tls) as (port, received):
        sender = mailer(port, security="starttls", username=USER, password=SecretStr(PASSWORD))

        with pytest.raises(NotSent, match="could not be secured"):
            sender.send(OUTGOING, about_to_hand=handing)

    assert (received.mails, handing.times) == ([], 0)


def test_a_server_without_encryption_gets_nothing_when_encryption_is_asked_for(
    server: tuple[int, Received], handing: Handing
) -> None:
    port, received = server

    with pytest.raises(NotSent, match="does not offer"):
        mailer(port, security="starttls").send(OUTGOING, about_to_hand=handing)

    assert (received.mails, handing.times) == ([], 0)


def test_a_server_that_is_down_can_be_tried_again(handing: Handing) -> None:
    port = free_port()
    with pytest.raises(NotSent, match="was lost when it was called"):
        mailer(port).send(OUTGOING, about_to_hand=handing)
    assert handing.times == 0

    with mail_server(port) as (_, received):
        mailer(port).send(OUTGOING, about_to_hand=handing)

    assert len(received.mails) == 1


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(handing: Handing) -> None:
    with (
        socket.create_server((LOOPBACK, 0)) as silent,
        pytest.raises(NotSent, match="did not answer in time|was lost"),
    ):
        mailer(silent.getsockname()[1], timeout_s=0.2).send(OUTGOING, about_to_hand=handing)

    assert handing.times == 0


@pytest.mark.parametrize(
    ("command", "answer", "error", "handed"),
    [
        ("MAIL", "451 busy", NotSent, 0),
        ("MAIL", "550 not you", NotSent, 0),
        ("RCPT", "450 mailbox busy", NotSent, 0),
        ("RCPT", "550 no such user", SendingRefused, 0),
        ("DATA", "452 disk full", NotSent, 1),
        ("DATA", "554 looks like spam", SendingRefused, 1),
    ],
)
def test_an_answer_tells_whether_to_try_again(
    server: tuple[int, Received],
    handing: Handing,
    command: str,
    answer: str,
    error: type[Exception],
    handed: int,
) -> None:
    port, received = server
    received.refuse[command] = [answer]

    with pytest.raises(error, match=answer):
        mailer(port).send(OUTGOING, about_to_hand=handing)

    assert (received.mails, handing.times) == ([], handed)


def test_an_answer_that_is_lost_after_the_mail_was_taken_is_told_as_unknown(
    server: tuple[int, Received], handing: Handing
) -> None:
    port, received = server
    received.hang_up_after_data = True

    with pytest.raises(SendingUnknown, match="may have been sent"):
        mailer(port).send(OUTGOING, about_to_hand=handing)

    assert len(received.mails) == 1


def test_what_stops_it_right_before_it_is_handed_over_sends_nothing(
    server: tuple[int, Received],
) -> None:
    port, received = server

    def stop() -> None:
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError):
        mailer(port).send(OUTGOING, about_to_hand=stop)

    assert received.mails == []


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "mail.example"},
        {"host": "mail.example", "sender": "a@b.example", "security": "none", "username": "a"},
    ],
)
def test_settings_that_would_leak_or_fail_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        MailSettings(**settings)
