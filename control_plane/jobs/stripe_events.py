"""Works on webhooks that came, and asks for those that did not."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog

from control_plane.jobs.catalog import JobRun, job
from control_plane.virtual_terminal import accounts
from control_plane.virtual_terminal.errors import NotConnected
from control_plane.virtual_terminal.inbox import MOST_TRIES, WORK, Inbox
from control_plane.virtual_terminal.processor import ProcessorError

log = structlog.get_logger()

#: How often the account is asked for events that never came; the sandbox is near and costs nothing.
_EVERY: Final = timedelta(minutes=5)
_EVERY_OF_SANDBOX: Final = timedelta(seconds=30)


@job(WORK, max_attempts=MOST_TRIES)
def work_on_event(run: JobRun) -> None:
    """Read what an event is about, and apply it."""
    run.parts.get(Inbox).work(run.payload["event"])


@job("stripe.sweep", every=_EVERY_OF_SANDBOX)
def sweep(run: JobRun) -> None:
    """Ask each account that is due for what its webhooks may have missed."""
    now = run.parts.clock.now()
    with run.parts.database.reading_connection() as db:
        due = [
            account.merchant_id
            for account in accounts.accounts(db)
            if account.swept_until is None
            or now - account.swept_until
            >= (_EVERY_OF_SANDBOX if account.is_sandbox else _EVERY) - timedelta(seconds=1)
        ]
    inbox = run.parts.get(Inbox)
    for merchant_id in due:
        try:
            inbox.sweep(merchant_id)
        except (ProcessorError, NotConnected) as failure:
            # The cursor did not move: the next sweep begins where this one did.
            log.warning("sweep_failed", merchant_id=merchant_id, reason=str(failure))
