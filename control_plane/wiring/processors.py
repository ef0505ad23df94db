"""Which processor a merchant has: Stripe, by the keys in ``processor_account``."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from control_plane.db.engine import Database
from control_plane.parts import Parts
from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.processors.stripe.client import Access, Patience
from control_plane.virtual_terminal.accounts import refuse_mismatch
from control_plane.virtual_terminal.errors import NotConnected
from control_plane.virtual_terminal.models import ACCOUNTS
from control_plane.virtual_terminal.processor import Processor, Processors
from protocols.secret import Secret

_ROW = select(ACCOUNTS.c.secret_key, ACCOUNTS.c.api_base).where(
    ACCOUNTS.c.merchant_id == bindparam("merchant")
)


def wire(parts: Parts) -> None:
    """Provide ``Processors``."""
    processors: Processors = StripeProcessors(parts.database, parts.settings.mode)
    parts.provide(Processors, processors)


@dataclass(frozen=True, slots=True)
class _Kept:
    access: Access
    processor: StripeProcessor


class StripeProcessors:
    """One client per account, kept with its connections for as long as the account's key and address stay.

    A key of real money meets no other server than Stripe's, and an installation in live mode no other server at all;
    that is checked before each new client.
    """

    def __init__(self, database: Database, mode: str, patience: Patience | None = None) -> None:
        self._database = database
        self._mode = mode
        #: Of clients that are made from now on.
        self.patience = patience
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, merchant_id: str) -> Processor:
        """Raises NotConnected, or what ``refuse_mismatch`` raises. Reads the row each time: replicas change it too."""
        with self._database.reading_connection() as db:
            row = db.execute(_ROW, {"merchant": merchant_id}).one_or_none()
        if row is None:
            raise NotConnected
        access = Access(secret_key=row.secret_key, base=row.api_base)
        with self._lock:
            kept = self._kept.get(merchant_id)
            if kept is None or kept.access != access:
                # Threads that still use the former client go on with it; it ends with them.
                kept = self._kept[merchant_id] = _Kept(access, self._open(access))
        return kept.processor

    def with_key(self, secret_key: Secret[str], api_base: str = "") -> Processor:
        """A processor that is not kept."""
        return self._open(Access(secret_key=secret_key.reveal(), base=api_base))

    def close(self) -> None:
        """Let go of all clients and their connections."""
        with self._lock:
            for kept in self._kept.values():
                kept.processor.close()
            self._kept.clear()

    def _open(self, access: Access) -> StripeProcessor:
        refuse_mismatch(access.secret_key, access.base, self._mode)
        return StripeProcessor(access, self.patience)
