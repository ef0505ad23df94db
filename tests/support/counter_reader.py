"""A reader of the processor as tests use it: what a customer does at it, and how it misbehaves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.sandbox import control, reader_actions, readers
from control_plane.sandbox.card_present import at_reader
from control_plane.sandbox.readers import ReaderFault
from control_plane.virtual_terminal import queries
from control_plane.virtual_terminal.cloud_readers import CloudReaderView, ReaderFleet
from control_plane.virtual_terminal.reader_desk import CloudReaderWish, ReaderDesk
from control_plane.virtual_terminal.views import AttemptView, MomentView, PaymentView
from control_plane.virtual_terminal.wishes import Again, Order
from protocols.money import Money
from tests.fakes.clock import FakeClock
from tests.fixtures.virtual_terminal import Connected

ADDRESS = {
    "line1": "1 Main Street",
    "city": "New York",
    "state": "NY",
    "postal_code": "10001",
    "country": "US",
}


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of a connected merchant: a cashier, and a reader beside the till."""

    shop: Connected
    caller: Caller
    reader: CloudReaderView

    @property
    def desk(self) -> ReaderDesk:
        return self.shop.parts.get(ReaderDesk)

    @property
    def clock(self) -> FakeClock:
        clock = self.shop.parts.clock
        assert isinstance(clock, FakeClock)
        return clock

    # --- what the cashier does

    def sell(self, minor: int = 1000, currency: str = "USD", **wish: Any) -> PaymentView:
        """Start a sale on the reader."""
        order = Order(amount=Money(minor, currency), location_id=self.reader.location_id)
        return self.desk.start(
            self.caller, CloudReaderWish(order=order, reader_id=self.reader.id, **wish)
        )

    def sell_again(self, payment_id: str, *, reader_id: str | None = None) -> PaymentView:
        """Try the same payment again, here or on another reader."""
        wish = CloudReaderWish(
            order=Again(payment_id=payment_id), reader_id=reader_id or self.reader.id
        )
        return self.desk.start(self.caller, wish)

    def look(self, *, seconds: float = 6) -> int:
        """Let time pass, and look at the sales that are due; how many there were."""
        self.clock.advance(timedelta(seconds=seconds))
        due = self.desk.due()
        for attempt_id in due:
            self.desk.look(attempt_id)
        return len(due)

    def payment(self, payment_id: str) -> PaymentView:
        with self.shop.parts.database.reading() as db:
            return queries.payment(db, self.caller.scope, payment_id)

    def attempts(self, payment_id: str) -> list[AttemptView]:
        with self.shop.parts.database.reading() as db:
            return queries.attempts(db, self.caller.scope, payment_id)

    def moments(self, payment_id: str) -> list[MomentView]:
        with self.shop.parts.database.reading() as db:
            return queries.moments(db, self.caller.scope, payment_id)

    # --- what the customer does at the reader, and what goes wrong there

    def tap(self, number: str | None = None, *, tip: int | None = None) -> None:
        """Present a card."""
        with self._engine.transaction():
            card = at_reader("card_present", number, tip=tip, has_cvc=True)
            reader_actions.present(self._engine, self._found(), card)

    def press_cancel(self) -> None:
        with self._engine.transaction():
            reader_actions.press_cancel(self._engine, self._found())

    def answer(self) -> None:
        """Answer what the reader asks."""
        with self._engine.transaction():
            reader_actions.give_inputs(self._engine, self._found())

    def unplug(self) -> None:
        """No signal from now on, and for so long already that it counts as offline."""
        with self._engine.transaction():
            found = self._found()
            found["_silent_since"] = self._engine.now() - readers.OFFLINE_AFTER_S - 1
            self._engine.save(readers.seen(self._engine, found))

    def plug_in(self) -> None:
        with self._engine.transaction():
            found = self._found()
            found["_silent_since"] = None
            self._engine.save(readers.seen(self._engine, found))

    def fault(self, kind: ReaderFault, *, delay_s: float = 0) -> None:
        """What goes wrong next."""
        with self._engine.transaction():
            found = self._found()
            control.set_fault(self._engine, found, kind, delay_s)
            self._engine.save(found)

    def bank_takes(self, seconds: float) -> None:
        with self._engine.transaction():
            found = self._found()
            found["_authorization_s"] = seconds
            self._engine.save(found)

    def action(self) -> dict[str, Any] | None:
        """What the reader does, or did last."""
        found: dict[str, Any] | None = self._found()["action"]
        return found

    # --- what really happened

    def intents(self) -> list[dict[str, Any]]:
        return self.shop.sandbox.objects("payment_intent")

    def captured(self) -> int:
        """Money that was taken, in minor units."""
        return sum(one["amount_captured"] for one in self.shop.sandbox.taken())

    @property
    def _engine(self) -> Any:  # control_plane.sandbox.engine.Sandbox
        return self.shop.sandbox.engine

    def _found(self) -> dict[str, Any]:
        found: dict[str, Any] = readers.find(self._engine, self.reader.processor_id)
        return found


def counter_of(shop: Connected, *, code: str = "simulated-wpe", name: str = "Counter 1") -> Counter:
    """A counter whose reader was registered by its code."""
    owner = shop.make.caller(shop.merchant_id, Role.OWNER)
    reader = shop.parts.get(ReaderFleet).register(
        owner, code=code, name=name, location_id=shop.location_id, address=ADDRESS
    )
    return Counter(shop, shop.make.caller(shop.merchant_id, Role.CASHIER), reader)
