"""Webhooks of the processor, its account, its readers and phones."""

from __future__ import annotations

from control_plane.jobs.stripe_readers import ReaderWatch
from control_plane.parts import Parts, ProcessRole
from control_plane.virtual_terminal import reader_refunds
from control_plane.virtual_terminal.accounts import Accounts
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.importing import Importer
from control_plane.virtual_terminal.inbox import Inbox
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.pairing import Phones
from control_plane.virtual_terminal.processor import Processors
from control_plane.virtual_terminal.reader_desk import ReaderDesk


def wire(parts: Parts) -> None:
    """Provide what edges call, and look at the stored accounts before anybody is served."""
    processors = parts.get(Processors)
    office = Office(parts.database, processors, parts.clock)
    accounts = Accounts(parts.database, processors, parts.clock, parts.settings.mode)
    fleet = ReaderFleet(office)
    desk = ReaderDesk(office)

    def hear_reader(merchant_id: str, reader_id: str) -> None:
        fleet.hear(merchant_id, reader_id)
        desk.hear(merchant_id, reader_id)
        reader_refunds.hear(office, merchant_id, reader_id)

    parts.provide(Accounts, accounts)
    parts.provide(ReaderFleet, fleet)
    parts.provide(ReaderDesk, desk)
    parts.provide(Phones, Phones(office, desk))
    parts.provide(Importer, Importer(office))
    parts.provide(
        Inbox,
        Inbox(parts.database, processors, accounts, parts.clock, hear_reader=hear_reader),
    )
    parts.add_service(ProcessRole.WORKER, "stripe readers", lambda: ReaderWatch(parts, desk))
    for role in (ProcessRole.WEB, ProcessRole.WORKER):
        parts.add_service(role, "processor accounts", lambda: AccountGuard(accounts))


class AccountGuard:
    """Keeps a program from starting that would send a key where it must not go."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def start(self) -> None:
        self._accounts.refuse_mismatches()

    def stop(self) -> None:
        """Nothing runs."""
