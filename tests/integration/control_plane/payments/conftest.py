"""A shop in a real database: one merchant, one location, one device, two readers, and people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Connection, insert, update

from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.models import Location, Merchant
from control_plane.accounts.permissions import ROLES, Role
from control_plane.db.columns import table_of
from control_plane.db.engine import Database
from control_plane.db.keyring import Keyring
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Announcement
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, READERS
from control_plane.events import Handlers
from control_plane.payments import events as payment_events
from control_plane.payments import queries
from control_plane.payments.commands import claim_command
from control_plane.payments.models import COMMANDS
from control_plane.payments.reports import (
    ReportedCommandResult,
    ReportedResult,
    ReportedStep,
    apply_command_results,
    apply_results,
    apply_steps,
)
from control_plane.payments.sessions import StartSession, start_session
from control_plane.payments.views import CommandView, SessionView, StepView
from protocols.cloud.commands import Grant
from protocols.cloud.events import CommandResult, PaymentResult, SessionStep
from protocols.ids import new_id
from protocols.money import Money
from tests.fakes.clock import FakeClock

MERCHANT, LOCATION, DEVICE, READER, OTHER_READER = (
    "mer_1",
    "loc_1",
    "dev-shop1",
    "rd_counter1",
    "rd_counter2",
)
KEYRING = Keyring([b"k" * 32])


@dataclass
class Announcements:
    """Remembers what was announced after commits."""

    sent: list[Announcement] = field(default_factory=list)

    def send_many(self, messages: list[Announcement]) -> None:
        self.sent += messages


def caller_of(role: Role, *, merchant_id: str = MERCHANT, **scope: Any) -> Caller:
    return Caller(
        kind=CallerKind.USER,
        id=f"usr_{role.value}",
        name=role.value.title(),
        scope=Scope(merchant_id, permissions=frozenset(ROLES[role]), **scope),
        role=role.value,
    )


CASHIER = caller_of(Role.CASHIER)
MANAGER = caller_of(Role.MANAGER)


class Shop:
    """Does what people and devices do, each in a transaction of its own, and tells what is in the database."""

    def __init__(self, database: Database, clock: FakeClock, announcements: Announcements) -> None:
        self.database = database
        self.clock = clock
        self.announcements = announcements
        self.events: list[object] = []

    def start(self, minor: int = 12_34, reader_id: str = READER, **wish: Any) -> SessionView:
        with self.database.connection() as db:
            return start_session(
                db,
                wish.pop("caller", MANAGER),
                StartSession(reader_id=reader_id, amount=Money(minor, "EUR"), **wish),
            )

    def claim(
        self, session: SessionView, *, nonce: str = "nonce-0001", device_id: str = DEVICE
    ) -> Grant:
        with self.database.connection() as db:
            return claim_command(db, device_id, session.command_id, nonce, self.clock.now())

    def started(self, minor: int = 12_34, **wish: Any) -> SessionView:
        """A session that the device has claimed and the reader has got."""
        session = self.start(minor, **wish)
        assert self.claim(session).granted
        self.step(session, "sent")
        return self.session(session.id)

    def approved(self, minor: int = 12_34) -> SessionView:
        session = self.started(minor)
        self.result(session, "approved", receipt_number=17)
        return self.session(session.id)

    def step(
        self, session: SessionView, *steps: Any, device_id: str = DEVICE, **facts: Any
    ) -> None:
        batch = [
            ReportedStep(
                device_id, self.clock.now(), SessionStep(session_id=session.id, step=step, **facts)
            )
            for step in steps
        ]
        with self.database.connection() as db:
            apply_steps(db, batch)

    def result(
        self,
        session: SessionView,
        outcome: Any,
        *,
        device_id: str = DEVICE,
        **facts: Any,
    ) -> str:
        transaction_id = new_id("tx")
        parts: dict[str, Any] = {
            "session_id": session.id,
            "reader_id": session.reader_id,
            "kind": session.kind.value,
            "outcome": outcome,
            "amount_minor": session.amount_minor,
            "currency": session.currency,
            "decided_by": "answer",
            **facts,
        }
        with self.database.connection() as db:
            apply_results(
                db,
                [
                    ReportedResult(
                        device_id,
                        MERCHANT,
                        transaction_id,
                        self.clock.now(),
                        PaymentResult(**parts),
                    )
                ],
            )
        return transaction_id

    def command_result(
        self, command_id: str, status: Any, *, device_id: str = DEVICE, **facts: Any
    ) -> None:
        result = CommandResult(command_id=command_id, status=status, **facts)
        with self.database.connection() as db:
            apply_command_results(db, [ReportedCommandResult(device_id, self.clock.now(), result)])

    def session(self, session_id: str) -> SessionView:
        with self.database.reading_connection() as db:
            return queries.session(db, MANAGER.scope, session_id)

    def sessions(self) -> list[SessionView]:
        with self.database.reading_connection() as db:
            return queries.recent_sessions(db, MANAGER.scope)

    def steps(self, session_id: str) -> list[StepView]:
        with self.database.reading_connection() as db:
            return queries.steps(db, MANAGER.scope, session_id)

    def kinds(self, session_id: str) -> list[str]:
        return [step.kind.value for step in self.steps(session_id)]

    def command(self, command_id: str) -> CommandView:
        with self.database.reading_connection() as db:
            return queries.command(db, MANAGER.scope, command_id)

    def commands(self) -> list[CommandView]:
        with self.database.reading_connection() as db:
            rows = db.execute(queries.commands_of(MANAGER.scope).order_by(COMMANDS.c.id.desc()))
            return [queries.command_view(row) for row in rows]

    def change_device(self, **values: Any) -> None:
        with self.database.connection() as db:
            db.execute(update(DEVICES).where(DEVICES.c.id == DEVICE).values(**values))

    def change_reader(self, **values: Any) -> None:
        with self.database.connection() as db:
            db.execute(update(READERS).where(READERS.c.id == READER).values(**values))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def topics(self) -> list[str]:
        return [one.topic for one in self.announcements.sent]


@pytest.fixture
def open_database(database_url: str, clock: FakeClock) -> Iterator[Callable[..., Database]]:
    opened: list[Database] = []

    def open_it(announcements: Announcements, handlers: Handlers) -> Database:
        database = Database(
            database_url,
            keyring=KEYRING,
            clock=clock,
            announcer=announcements,
            publish=handlers,
        )
        opened.append(database)
        return database

    yield open_it
    for database in opened:
        database.close()


@pytest.fixture
def shop(open_database: Callable[..., Database], clock: FakeClock) -> Shop:
    announcements, handlers = Announcements(), Handlers()
    database = open_database(announcements, handlers)
    shop = Shop(database, clock, announcements)
    for kind in (
        payment_events.SessionDecided,
        payment_events.AnswerLost,
        payment_events.LateResult,
    ):
        handlers.on(kind, lambda _db, event: shop.events.append(event))
    now = clock.now()
    with database.connection() as db:
        db.execute(
            insert(table_of(Merchant)).values(
                id=MERCHANT, name="Bakery", currency="EUR", created_at=now
            )
        )
        db.execute(
            insert(table_of(Location)).values(
                id=LOCATION,
                merchant_id=MERCHANT,
                name="Lyon",
                time_zone="Europe/Paris",
                created_at=now,
            )
        )
        furnish(db, clock)
    announcements.sent.clear()
    return shop


def furnish(
    db: Connection, clock: FakeClock, merchant_id: str = MERCHANT, location_id: str = LOCATION
) -> None:
    """Put a device with two readers into a shop."""
    now = clock.now()
    db.execute(
        insert(DEVICES).values(
            id=DEVICE,
            merchant_id=merchant_id,
            location_id=location_id,
            name="Till box",
            state=DeviceState.ACTIVE,
            state_since=now,
            cell="00",
            presence="online",
            is_online=True,
            created_at=now,
        )
    )
    for reader_id, name in ((READER, "Counter 1"), (OTHER_READER, "Counter 2")):
        db.execute(
            insert(READERS).values(
                id=reader_id,
                merchant_id=merchant_id,
                location_id=location_id,
                device_id=DEVICE,
                name=name,
                state="ready",
                first_seen_at=now,
                reported_at=now,
            )
        )
