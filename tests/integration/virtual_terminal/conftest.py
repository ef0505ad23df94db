"""The desk of a connected merchant, and who stands at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.parts import Parts
from control_plane.transactions.models import TRANSACTIONS
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.views import AttemptView, PaymentView, RefundView
from control_plane.virtual_terminal.wishes import ChargeWish, Order
from protocols.money import Money
from tests.fakes.clock import FakeClock
from tests.fixtures.virtual_terminal import Connected
from tests.support.play_account import VISA, PlayAccount

PRICE = Money(12_34, "USD")


@dataclass(frozen=True, slots=True)
class Counter:
    """A desk with its people, and what can be looked at behind it."""

    connected: Connected
    clock: FakeClock
    cashier: Caller
    manager: Caller
    owner: Caller

    @property
    def desk(self) -> Desk:
        return self.parts.get(Desk)

    @property
    def parts(self) -> Parts:
        return self.connected.parts

    @property
    def sandbox(self) -> PlayAccount:
        return self.connected.sandbox

    def keyed(
        self, number: str = VISA, *, amount: Money = PRICE, token: str | None = None, **facts: Any
    ) -> ChargeWish:
        """A typed card for a new order; ``facts`` are of the order."""
        return ChargeWish(
            order=Order(amount=amount, **facts),
            method="keyed",
            token=token or self.sandbox.token(number),
            hint_last4=number[-4:],
        )

    def paid(self, amount: Money = PRICE, **facts: Any) -> PaymentView:
        """A payment that a typed card paid."""
        return self.desk.charge(self.cashier, self.keyed(amount=amount, **facts))

    def payment(self, payment_id: str) -> PaymentView:
        with self.parts.database.reading_connection() as db:
            return queries.payment(db, self.owner.scope, payment_id)

    def attempts(self, payment_id: str) -> list[AttemptView]:
        with self.parts.database.reading_connection() as db:
            return queries.attempts(db, self.owner.scope, payment_id)

    def payments(self) -> list[PaymentView]:
        with self.parts.database.reading_connection() as db:
            return queries.recent(db, self.owner.scope)

    def refunds(self, payment_id: str) -> list[RefundView]:
        with self.parts.database.reading_connection() as db:
            return queries.refunds_of(db, self.owner.scope, payment_id)

    def kinds(self, payment_id: str) -> list[str]:
        """The timeline in words."""
        with self.parts.database.reading_connection() as db:
            found = queries.moments(db, self.owner.scope, payment_id)
        return [one.kind.value for one in found]

    def ledger(self) -> list[tuple[str, str, str, int]]:
        """Kind, status, number there and amount of each row, the oldest first."""
        with self.parts.database.reading_connection() as db:
            rows = db.execute(
                select(TRANSACTIONS)
                .where(TRANSACTIONS.c.merchant_id == self.connected.merchant_id)
                .order_by(TRANSACTIONS.c.received_at, TRANSACTIONS.c.id)
            )
            return [
                (row.kind.value, row.status.value, row.external_id, row.amount_minor)
                for row in rows
            ]


@pytest.fixture
def counter(connected: Connected, clock: FakeClock) -> Counter:
    return _counter(connected, clock)


@pytest.fixture
def sqlite_counter(sqlite_connected: Connected, clock: FakeClock) -> Counter:
    return _counter(sqlite_connected, clock)


def _counter(connected: Connected, clock: FakeClock) -> Counter:
    make, merchant_id = connected.make, connected.merchant_id
    return Counter(
        connected,
        clock,
        make.caller(merchant_id, Role.CASHIER, location_ids=[connected.location_id]),
        make.caller(merchant_id, Role.MANAGER),
        make.caller(merchant_id, Role.OWNER),
    )
