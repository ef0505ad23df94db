"""A shop with an encrypting reader, in a real database, in front of a sandbox acquirer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from control_plane.card_present.clearing import Clearing
from control_plane.card_present.models import AUTHORIZATIONS
from control_plane.card_present.processor import CardPresentProcessor
from control_plane.card_present.service import CardPresent
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, EVENTS
from control_plane.parts import Parts
from control_plane.payments.reports import ReportedResult, apply_results
from control_plane.transactions import ledger
from control_plane.transactions.models import TRANSACTIONS
from protocols.cloud.commands import AuthorizationAnswer
from protocols.cloud.events import AuthorizationAsk, PaymentResult
from protocols.ids import new_id
from protocols.session import SessionState
from tests.fakes.card_processor import FakeCardProcessor, FakeCardProcessors
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory
from tests.support.acquirer import AcquirerServer, acquirer_server
from tests.support.card_sessions import READER, add_account, add_reader, add_session

DEVICE = "dev-shop1"


@dataclass
class CardShop:
    """Does what device, reader and clock do, each in a transaction of its own."""

    parts: Parts
    clock: FakeClock
    merchant_id: str
    location_id: str
    processors: FakeCardProcessors

    @property
    def service(self) -> CardPresent:
        return CardPresent(self.parts.database, self.processors, self.clock)

    @property
    def clearing(self) -> Clearing:
        return Clearing(self.parts.database, self.processors, self.clock)

    def sale(self, minor: int = 12_50, *, state: SessionState = SessionState.CARD_SEEN) -> str:
        with self.parts.database.connection() as db:
            return add_session(
                db, self.merchant_id, self.location_id, DEVICE, self.clock.now(),
                amount_minor=minor, state=state,
            )  # fmt: skip

    def ask(self, ask: AuthorizationAsk, device: str = DEVICE) -> AuthorizationAnswer:
        answer = self.service.answer(device, ask, wait_s=5)
        assert answer is not None
        return answer

    def end(self, ask: AuthorizationAsk, outcome: str = "approved") -> str:
        """The reader's own word for the sale, as ingest takes it in; the id of its ledger row."""
        result = PaymentResult(
            session_id=ask.session_id, reader_id=READER, kind="sale", outcome=outcome,  # type: ignore[arg-type]  # one of its words
            amount_minor=ask.amount_minor, currency=ask.currency, decided_by="answer",
            masked_pan=ask.card.masked_pan, card_brand=ask.card.card_brand,
        )  # fmt: skip
        now, row_id = self.clock.now(), new_id("tx")
        with self.parts.database.connection() as db:
            ledger.append(
                db,
                {
                    "id": row_id, "merchant_id": self.merchant_id, "location_id": self.location_id,
                    "device_id": DEVICE, "reader_id": READER, "session_id": ask.session_id,
                    "kind": "sale", "status": outcome, "channel": "in_person", "method": "card",
                    "amount_minor": ask.amount_minor, "currency": ask.currency, "source": "reader",
                    "external_id": ask.session_id, "occurred_at": now,
                },
            )  # fmt: skip
            apply_results(db, [ReportedResult(DEVICE, self.merchant_id, row_id, now, result)])
        return row_id

    def settle(self, *, hours: float = 0, seconds: float = 0) -> None:
        """Time passes, and the clock looks at what is due, until nothing is."""
        self.clock.advance(timedelta(hours=hours, seconds=seconds))
        while self.clearing.settle_due():
            """Each look puts the next one off, so this ends."""

    def row(self, tap_id: str) -> Any:
        with self.parts.database.reading_connection() as db:
            found = db.execute(select(AUTHORIZATIONS).where(AUTHORIZATIONS.c.tap_id == tap_id))
            return found.one_or_none()

    def rows(self) -> list[Any]:
        with self.parts.database.reading_connection() as db:
            return [*db.execute(select(AUTHORIZATIONS))]

    def ledger(self) -> list[tuple[str, str, int]]:
        """Kind, status and amount of each row."""
        with self.parts.database.reading_connection() as db:
            rows = db.execute(select(TRANSACTIONS).order_by(TRANSACTIONS.c.id))
            return [(row.kind.value, row.status.value, row.amount_minor) for row in rows]

    def alarms(self) -> list[str]:
        with self.parts.database.reading_connection() as db:
            return [row.kind for row in db.execute(select(EVENTS).order_by(EVENTS.c.id))]


def card_shop(
    parts: Parts, make: Factory, clock: FakeClock, processor: CardPresentProcessor | None
) -> CardShop:
    merchant_id = make.merchant()
    location_id = make.location(merchant_id)
    now = clock.now()
    with parts.database.connection() as db:
        db.execute(
            insert(DEVICES).values(
                id=DEVICE, merchant_id=merchant_id, location_id=location_id, name="Till",
                cell="00", state=DeviceState.ACTIVE, state_since=now, is_online=True, epoch=1,
                created_at=now, reported={}, telemetry={},
            )
        )  # fmt: skip
        add_reader(db, merchant_id, location_id, DEVICE, now)
        if processor is not None:
            add_account(db, merchant_id, now)
    return CardShop(parts, clock, merchant_id, location_id, FakeCardProcessors(processor))


@pytest.fixture
def processor() -> FakeCardProcessor:
    return FakeCardProcessor()


@pytest.fixture
def shop(parts: Parts, make: Factory, clock: FakeClock, processor: FakeCardProcessor) -> CardShop:
    """On each kind of database, with a processor in memory."""
    return card_shop(parts, make, clock, processor)


@pytest.fixture
def acquirer() -> Iterator[AcquirerServer]:
    with acquirer_server() as server:
        yield server


@pytest.fixture
def acquired_shop(
    sqlite_parts: Parts, clock: FakeClock, acquirer: AcquirerServer, sqlite_make: Factory
) -> CardShop:
    """In front of the sandbox acquirer, over HTTP."""
    return card_shop(sqlite_parts, sqlite_make, clock, acquirer.adapter())
