"""Webhooks of the processor, its account, its readers and phones."""

from __future__ import annotations

from control_plane.parts import Parts, ProcessRole
from control_plane.virtual_terminal.accounts import Accounts
from control_plane.virtual_terminal.cloud_readers import ReaderFleet
from control_plane.virtual_terminal.inbox import Inbox
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import Processors


def wire(parts: Parts) -> None:
    """Provide what edges call, and look at the stored accounts before anybody is served."""
    processors = parts.get(Processors)
    office = Office(parts.database, processors, parts.clock)
    accounts = Accounts(parts.database, processors, parts.clock, parts.settings.mode)
    fleet = ReaderFleet(office)
    parts.provide(Accounts, accounts)
    parts.provide(ReaderFleet, fleet)
    parts.provide(
        Inbox,
        Inbox(parts.database, processors, accounts, parts.clock, hear_reader=fleet.hear),
    )
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
