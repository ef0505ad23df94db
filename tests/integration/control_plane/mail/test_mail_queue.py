"""Mail that is owed, on both databases: sent once, tried again, given up, and never sent twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.app import build
from control_plane.config import MailSettings, Settings
from control_plane.db.scope import Scope
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.worker import Worker
from control_plane.mail import mail_queue, mailbox_mailer
from control_plane.mail.errors import AddressNotRecognised, NotSent, SendingRefused, SendingUnknown
from control_plane.mail.mailbox_mailer import MailboxMailer
from control_plane.mail.mailer import Mailer, NoMailer, Outgoing
from control_plane.mail.message import Attachment, Message
from control_plane.mail.models import MAILBOX, MESSAGES, MailState
from control_plane.mail.smtp import SmtpMailer
from control_plane.outbox import JOBS
from control_plane.parts import Parts
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory
from tests.support.mail_server import mail_server
from tests.support.ports import LOOPBACK, free_port

HELLO = Message(
    to="ada@example.com",
    subject="Reçu",
    text="Bonjour",
    html="<p>Bonjour</p>",
    attachments=(Attachment("r.pdf", "application/pdf", b"%PDF\x00\xff"),),
)


@dataclass
class ScriptedMailer:
    """A mailer that does as it is told: None takes a mail, an error is raised; ``dies`` hands over and falls."""

    script: list[Exception | None] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    dies: bool = False
    is_set_up: bool = True

    def send(self, outgoing: Outgoing, *, about_to_hand: Callable[[], None]) -> None:
        error = self.script.pop(0) if self.script else None
        if isinstance(error, NotSent):
            raise error
        about_to_hand()
        if self.dies:
            raise KeyboardInterrupt
        if error is not None:
            raise error
        self.taken.append(outgoing.id)


@pytest.fixture
def merchant_id(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def mailer(parts: Parts) -> ScriptedMailer:
    scripted = ScriptedMailer()
    use(parts, scripted)
    return scripted


def use(parts: Parts, mailer: Mailer) -> None:
    parts.provide(Mailer, mailer)


def owe(parts: Parts, merchant_id: str, *, key: str = "first", message: Message = HELLO) -> str:
    with parts.database.transaction() as db:
        mail_id = mail_queue.queue_mail(
            db, merchant_id, message, kind="receipt", dedupe_key=key, related_id="tx_1"
        )
    assert mail_id is not None
    return mail_id


def work(parts: Parts) -> int:
    """Run what is due; how many runs that took."""
    kinds = {mail_queue.SEND: all_jobs()[mail_queue.SEND]}
    worker = Worker(parts, kinds, threads=0)
    runs = 0
    while worker.run_one():
        runs += 1
    return runs


def mail(parts: Parts, mail_id: str) -> Any:  # a row
    with parts.database.reading_connection() as db:
        return db.execute(select(MESSAGES).where(MESSAGES.c.id == mail_id)).one()


def count(parts: Parts, table: Any) -> int:
    with parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()


def test_an_owed_mail_is_sent_once(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str, clock: FakeClock
) -> None:
    mail_id = owe(parts, merchant_id)

    work(parts)

    row = mail(parts, mail_id)
    assert mailer.taken == [mail_id]
    assert (row.state, row.attempts, row.settled_at) == (MailState.SENT, 1, clock.now())


def test_the_same_key_owes_nothing_again(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str, make: Factory
) -> None:
    first = owe(parts, merchant_id)
    with parts.database.transaction() as db:
        again = mail_queue.queue_mail(db, merchant_id, HELLO, kind="receipt", dedupe_key="first")
    other = owe(parts, make.merchant("Elsewhere"))
    work(parts)

    assert again is None
    assert sorted(mailer.taken) == sorted([first, other])


def test_a_transaction_that_fails_owes_nothing(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str
) -> None:
    def owe_and_fail() -> None:
        with parts.database.transaction() as db:
            mail_queue.queue_mail(db, merchant_id, HELLO, kind="receipt", dedupe_key="first")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        owe_and_fail()

    assert work(parts) == 0
    assert (count(parts, MESSAGES), mailer.taken) == (0, [])


def test_an_address_that_is_none_is_refused_before_anything_is_owed(
    parts: Parts, merchant_id: str
) -> None:
    with pytest.raises(AddressNotRecognised), parts.database.transaction() as db:
        mail_queue.queue_mail(
            db, merchant_id, Message(to="nobody", subject="", text=""), kind="x", dedupe_key="x"
        )

    assert count(parts, JOBS) == 0


def test_a_mail_that_was_surely_not_sent_is_tried_until_it_goes(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str, clock: FakeClock
) -> None:
    mailer.script = [NotSent("The server is down."), NotSent("The server is down.")]
    mail_id = owe(parts, merchant_id)

    work(parts)
    assert mail(parts, mail_id).state is MailState.QUEUED
    assert mail(parts, mail_id).reason == "The server is down."
    assert work(parts) == 0
    clock.advance(timedelta(hours=1))
    work(parts)
    clock.advance(timedelta(hours=1))
    work(parts)

    row = mail(parts, mail_id)
    assert mailer.taken == [mail_id]
    assert (row.state, row.attempts, row.reason) == (MailState.SENT, 3, "")


def test_after_many_tries_it_is_given_up_and_says_why(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str, clock: FakeClock
) -> None:
    mailer.script = [NotSent("The server is down.")] * (mail_queue.MOST_TRIES + 5)
    mail_id = owe(parts, merchant_id)

    for _ in range(mail_queue.MOST_TRIES + 3):
        work(parts)
        clock.advance(timedelta(hours=2))

    row = mail(parts, mail_id)
    assert (row.state, row.reason) == (MailState.FAILED, "The server is down.")
    assert row.attempts == mail_queue.MOST_TRIES
    assert count(parts, JOBS) == 0


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (SendingRefused("550 no such user"), MailState.FAILED),
        (SendingUnknown("It may have been sent."), MailState.UNKNOWN),
    ],
)
def test_what_cannot_or_may_not_be_tried_again_is_not(
    parts: Parts,
    mailer: ScriptedMailer,
    merchant_id: str,
    clock: FakeClock,
    error: Exception,
    state: MailState,
) -> None:
    mailer.script = [error]
    mail_id = owe(parts, merchant_id)

    work(parts)
    clock.advance(timedelta(days=1))

    assert work(parts) == 0
    assert (mail(parts, mail_id).state, mail(parts, mail_id).reason) == (state, str(error))
    assert mailer.taken == []


def test_a_worker_that_dies_while_it_hands_a_mail_over_does_not_send_it_twice(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str, clock: FakeClock
) -> None:
    mailer.dies = True
    mail_id = owe(parts, merchant_id)
    with pytest.raises(KeyboardInterrupt):
        work(parts)

    mailer.dies = False
    clock.advance(timedelta(hours=1))
    work(parts)

    assert mailer.taken == []
    assert mail(parts, mail_id).state is MailState.UNKNOWN


def test_a_mail_reaches_a_server_that_was_down_at_first(
    parts: Parts, merchant_id: str, clock: FakeClock
) -> None:
    port = free_port()
    settings = MailSettings(
        host=LOOPBACK, port=port, security="none", sender="till@shop.example", timeout_s=5
    )
    use(parts, SmtpMailer(settings))
    mail_id = owe(parts, merchant_id)
    work(parts)
    assert "was lost when it was called" in mail(parts, mail_id).reason

    clock.advance(timedelta(hours=1))
    with mail_server(port) as (_, received):
        work(parts)
        clock.advance(timedelta(hours=1))
        work(parts)

    assert len(received.mails) == 1
    assert f"<{mail_id}@shop.example>".encode() in received.mails[0]


def test_the_demos_mailbox_keeps_what_came_whole(parts: Parts, merchant_id: str) -> None:
    mail_id = owe(parts, merchant_id)
    assert isinstance(parts.get(Mailer), MailboxMailer)

    work(parts)

    with parts.database.reading_connection() as db:
        received = mailbox_mailer.read_mail(db, Scope(merchant_id), mail_id)
        assert mailbox_mailer.read_mail(db, Scope("mer_other"), mail_id) is None
    assert received is not None
    assert (received.to, received.subject) == ("ada@example.com", "Reçu")
    assert received.text.strip() == "Bonjour"
    assert received.html.strip() == "<p>Bonjour</p>"
    assert [one.content for one in received.attachments] == [b"%PDF\x00\xff"]


def test_mails_about_a_thing_are_listed_for_its_merchant_only(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str
) -> None:
    first, second = owe(parts, merchant_id), owe(parts, merchant_id, key="second")

    with parts.database.reading_connection() as db:
        mine = mail_queue.mails_about(db, Scope(merchant_id), "tx_1")
        others = mail_queue.mails_about(db, Scope("mer_other"), "tx_1")

    assert {row.id for row in mine} == {first, second}
    assert others == []


def test_old_mail_is_forgotten(
    parts: Parts, mailer: ScriptedMailer, merchant_id: str, clock: FakeClock
) -> None:
    owe(parts, merchant_id)
    work(parts)
    clock.advance(mail_queue.KEPT + timedelta(days=1))
    waiting = owe(parts, merchant_id, key="second")

    with parts.database.transaction() as db:
        assert mail_queue.forget_old(db) == 1

    assert mail(parts, waiting).state is MailState.QUEUED


@pytest.fixture
def built(
    make_settings: Callable[[str], Settings], sqlite_url: str
) -> Iterator[Callable[..., Parts]]:
    """Builds the parts with some settings."""
    opened: list[Parts] = []

    def with_settings(**changes: object) -> Parts:
        opened.append(build(make_settings(sqlite_url).model_copy(update=changes)))
        return opened[-1]

    yield with_settings
    for parts in opened:
        parts.close()


def test_the_settings_choose_who_takes_the_mail(built: Callable[..., Parts]) -> None:
    server = MailSettings(host="mail.example", sender="till@shop.example")

    assert isinstance(built(mode="demo").get(Mailer), MailboxMailer)
    assert isinstance(built(mode="demo", mail=server).get(Mailer), SmtpMailer)
    assert isinstance(built(mode="live", mail=server).get(Mailer), SmtpMailer)
    assert isinstance(built(mode="live").get(Mailer), NoMailer)


def test_a_live_world_without_a_server_says_so_and_keeps_no_mailbox(
    parts: Parts, merchant_id: str
) -> None:
    use(parts, NoMailer())
    mail_id = owe(parts, merchant_id)

    work(parts)

    assert mail(parts, mail_id).state is MailState.FAILED
    assert "No mail server is set up" in mail(parts, mail_id).reason
    assert count(parts, MAILBOX) == 0
