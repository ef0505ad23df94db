"""Sends the mail that is owed."""

from __future__ import annotations

from datetime import timedelta

import structlog

from control_plane.jobs.catalog import JobRun, job
from control_plane.mail import mail_queue
from control_plane.mail.errors import MailDelayed, NotSent, SendingRefused, SendingUnknown
from control_plane.mail.mail_queue import MOST_TRIES, SEND
from control_plane.mail.mailer import Mailer
from control_plane.mail.models import MailState

log = structlog.get_logger()


@job(SEND, max_attempts=MOST_TRIES)
def send(run: JobRun) -> None:
    """Hand one mail over. Raises MailDelayed, to be tried again."""
    mail_id: str = run.payload["id"]
    with run.transaction() as db:
        outgoing = mail_queue.take(db, mail_id)
    if outgoing is None:
        return

    def about_to_hand() -> None:
        with run.transaction() as db:
            mail_queue.note_handing(db, mail_id)

    state, reason = MailState.SENT, ""
    try:
        run.parts.get(Mailer).send(outgoing, about_to_hand=about_to_hand)
    except NotSent as error:
        if run.attempt < MOST_TRIES:
            with run.transaction() as db:
                mail_queue.put_back(db, mail_id, str(error))
            raise MailDelayed(reason=str(error)) from error
        state, reason = MailState.FAILED, str(error)
    except SendingRefused as error:
        state, reason = MailState.FAILED, str(error)
    except SendingUnknown as error:
        state, reason = MailState.UNKNOWN, str(error)
    with run.transaction() as db:
        mail_queue.settle(db, mail_id, state, reason)
    log.info("mail_settled", mail_id=mail_id, state=state.value, reason=reason)


@job("mail.forget", every=timedelta(days=1))
def forget(run: JobRun) -> None:
    """Delete old mail."""
    with run.transaction() as db:
        log.info("old_mail_forgotten", mails=mail_queue.forget_old(db))
