"""Who takes cards of encrypting readers, and what the end of a session does with their money."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from control_plane.card_present import clearing
from control_plane.card_present.accounts import CardAccounts, access_of, base_of, refuse_mismatch
from control_plane.card_present.clearing import Clearing
from control_plane.card_present.encrypting import refuse_without_processor
from control_plane.card_present.errors import CardPresentNotConnected
from control_plane.card_present.processor import (
    Access,
    CardPresentProcessor,
    CardPresentProcessors,
)
from control_plane.card_present.service import CardPresent
from control_plane.db.engine import Database
from control_plane.jobs.card_clearing import CardClearing
from control_plane.parts import Parts, ProcessRole
from control_plane.payments.events import LateResult, SaleStarting, SessionDecided
from control_plane.processors.cybersource.adapter import CyberSource


def wire(parts: Parts) -> None:
    """Provide what edges call, and look at the stored accounts before anybody is served."""
    processors: CardPresentProcessors = Accounts(parts.database, parts.settings.mode)
    accounts = CardAccounts(parts.database, processors, parts.clock, parts.settings.mode)
    parts.provide(CardPresentProcessors, processors)
    parts.provide(CardAccounts, accounts)
    parts.provide(CardPresent, CardPresent(parts.database, processors, parts.clock))
    parts.provide(Clearing, Clearing(parts.database, processors, parts.clock))
    parts.handlers.on(SaleStarting, refuse_without_processor)
    parts.handlers.on(SessionDecided, clearing.session_decided)
    parts.handlers.on(LateResult, clearing.late_result)
    parts.add_service(ProcessRole.WORKER, "card clearing", lambda: CardClearing(parts))
    for role in (ProcessRole.WEB, ProcessRole.WORKER, ProcessRole.INGEST):
        parts.add_service(role, "accounts of encrypting readers", lambda: AccountGuard(accounts))


@dataclass(frozen=True, slots=True)
class _Kept:
    access: Access
    processor: CyberSource


class Accounts:
    """One client per account, kept with its connections for as long as its key and address stay."""

    def __init__(self, database: Database, mode: str) -> None:
        self._database = database
        self._mode = mode
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, merchant_id: str) -> CardPresentProcessor:
        """Reads the row each time: replicas change it too."""
        with self._database.reading_connection() as db:
            access = access_of(db, merchant_id)
        if access is None:
            raise CardPresentNotConnected
        with self._lock:
            kept = self._kept.get(merchant_id)
            if kept is None or kept.access != access:
                # Threads that still use the former client go on with it; it ends with them.
                kept = self._kept[merchant_id] = _Kept(access, self._open(access))
        return kept.processor

    def with_access(self, access: Access) -> CardPresentProcessor:
        """One that is not kept."""
        return self._open(access)

    def _open(self, access: Access) -> CyberSource:
        refuse_mismatch(access, self._mode)
        return CyberSource(access, base_of(access.livemode, access.base))


class AccountGuard:
    """Keeps a program from starting that would send a key where it must not go."""

    def __init__(self, accounts: CardAccounts) -> None:
        self._accounts = accounts

    def start(self) -> None:
        self._accounts.refuse_mismatches()

    def stop(self) -> None:
        """Nothing runs."""
