"""A shop with devices, and what the database says of what they sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from control_plane.accounts import service as accounts
from control_plane.db.scope import Scope
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, EVENTS
from control_plane.ingest.intake import Answer, Intake, Uplink
from control_plane.ingest.models import CURSORS, QUARANTINE
from control_plane.parts import Parts
from control_plane.transactions.models import TRANSACTIONS
from protocols.cloud.topics import Channel, Stream
from tests.fakes.clock import FakeClock
from tests.fakes.device_outbox import DeviceOutbox


@dataclass
class Shop:
    """One merchant with one location and some devices."""

    parts: Parts
    clock: FakeClock
    merchant_id: str
    location_id: str

    def __post_init__(self) -> None:
        self.intake = self.new_intake()

    @property
    def scope(self) -> Scope:
        return Scope(self.merchant_id)

    def new_intake(self, **options: Any) -> Intake:
        """Another process that takes in."""
        return Intake(self.parts.database, self.clock, **options)

    def device(
        self, name: str = "dev-aaaa", state: DeviceState = DeviceState.ACTIVE
    ) -> DeviceOutbox:
        """A device and its outbox."""
        now = self.clock.now()
        with self.parts.database.connection() as db:
            db.execute(
                insert(DEVICES).values(
                    id=name, merchant_id=self.merchant_id, location_id=self.location_id, name=name,
                    state=state, state_since=now, cell="00", serial_number="", hostname="",
                    platform="", agent_version="", boot=0, conn=0, presence="unknown",
                    is_online=False, reported={}, telemetry={}, epoch=1, created_at=now,
                )
            )  # fmt: skip
        return DeviceOutbox(name, at=now)

    def set_state(self, device_id: str, state: DeviceState) -> None:
        """As an administrator would."""
        with self.parts.database.connection() as db:
            db.execute(update(DEVICES).where(DEVICES.c.id == device_id).values(state=state))

    def send(
        self,
        outbox: DeviceOutbox,
        *payloads: bytes,
        stream: Stream = Stream.TRANSACTIONS,
        intake: Intake | None = None,
    ) -> list[Answer]:
        """Take in messages of one stream as one batch."""
        channel = outbox.channel(stream)
        return (intake or self.intake).take_in(
            [Uplink(outbox.device_id, channel, payload) for payload in payloads]
        )

    def say(self, outbox: DeviceOutbox, channel: Channel, payload: bytes) -> list[Answer]:
        """Take in one message that is not numbered."""
        return self.intake.take_in([Uplink(outbox.device_id, channel, payload)])

    def ledger(self) -> list[Any]:
        """All rows, by device, epoch and seq."""
        order = (TRANSACTIONS.c.device_id, TRANSACTIONS.c.epoch, TRANSACTIONS.c.seq)
        return self.rows(select(TRANSACTIONS).order_by(*order))

    def seqs(self) -> list[int]:
        """The numbers of the messages in the ledger."""
        return [row.seq for row in self.ledger()]

    def cursors(self) -> list[Any]:
        return self.rows(select(CURSORS).order_by(CURSORS.c.stream, CURSORS.c.epoch))

    def quarantined(self) -> list[Any]:
        return self.rows(select(QUARANTINE).order_by(QUARANTINE.c.id))

    def alarms(self) -> list[str]:
        """Kinds of what was written into the timeline as an error."""
        return [row.kind for row in self.events() if row.severity == "error"]

    def events(self) -> list[Any]:
        return self.rows(select(EVENTS).order_by(EVENTS.c.id))

    def device_row(self, device_id: str = "dev-aaaa") -> Any:
        return self.rows(select(DEVICES).where(DEVICES.c.id == device_id))[0]

    def rows(self, statement: Any) -> list[Any]:
        """What the database says."""
        with self.parts.database.reading() as db:
            return list(db.execute(statement).all())


def acked(answers: Iterable[Answer]) -> list[tuple[str, int, int, list[int]]]:
    """Stream, epoch, end of the prefix and what is beyond it, of each acknowledgement."""
    return [(one.ack.stream, one.ack.epoch, one.ack.upto, one.ack.also) for one in answers]


def make_shop(parts: Parts, clock: FakeClock) -> Shop:
    """A shop without devices."""
    with parts.database.transaction() as db:
        merchant_id = accounts.create_merchant(db, "Café Lumière")
        location_id = accounts.create_location(db, merchant_id, "Lyon")
    return Shop(parts, clock, merchant_id, location_id)
