"""A shop whose box and readers are acted: the box takes commands from the database as the broker edge would, and
reports what the script of the amount says. For pages; the real agent is tested elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from control_plane.accounts import service
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import Role
from control_plane.accounts.sign_in import scope_of
from control_plane.devices import timeline
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES, READERS
from control_plane.devices.presence import apply_state
from control_plane.parts import Parts
from control_plane.payments import queries
from control_plane.payments.commands import WAKE_TOPIC, claim_command, due_commands
from control_plane.payments.reports import (
    ReportedCommandResult,
    ReportedResult,
    ReportedStep,
    apply_command_results,
    apply_results,
    apply_steps,
)
from control_plane.payments.sessions import StartSession, start_session
from control_plane.transactions.ledger import DEVICE_COLUMNS, device_row
from control_plane.transactions.models import TRANSACTIONS
from protocols.cloud.commands import (
    CancelPayment,
    DiagnoseReader,
    RebootReader,
    ReversePayment,
    StartPayment,
)
from protocols.cloud.events import (
    CommandResult,
    OutboxLevel,
    PaymentResult,
    ReportedConfig,
    ReportedReader,
    ReportedState,
    SessionStep,
)
from protocols.ids import new_id
from protocols.money import Money
from tests.support.waiting import eventually

PASSWORD = "correct horse battery"
OWNER = "owner@shop.example"
CASHIER = "cashier@shop.example"
IT = "it@shop.example"

#: What a reader does, by the cents of the amount: steps with the pause before each, then the outcome.
APPROVE: dict[str, Any] = {
    "outcome": "approved", "authorization_code": "042817", "receipt_number": 117,
    "trace_number": 96, "terminal_id": "68210437", "masked_pan": "************4242",
    "card_brand": "Visa", "entry_mode": "contactless", "aid": "A0000000031010",
    "receipt_lines": ["* CUSTOMER COPY *", "CARD PAYMENT", "APPROVED", "Thank you"],
}  # fmt: skip
DECLINE: dict[str, Any] = {
    "outcome": "declined", "result_code": 51, "result_text": "INSUFFICIENT FUNDS",
    "masked_pan": "************5100", "card_brand": "Mastercard", "entry_mode": "chip",
}  # fmt: skip
FOUND: dict[str, Any] = {
    **APPROVE, "decided_by": "recall",
    "explanation": "The reader's last receipt 117 shows this amount approved.",
}  # fmt: skip
LIVE_STEPS = ("sent", "waiting_for_card", "card_seen", "authorizing")
WAITS = 99
LOSES = 77
DECLINES = 51


@dataclass
class ActedShop:
    """One merchant with a shop, a box, readers, and people who sign in with PASSWORD."""

    parts: Parts
    merchant_id: str = ""
    location_id: str = ""
    device_id: str = "dev-lyon0001"
    readers: list[ReportedReader] = field(default_factory=list)
    pace_s: float = 0.0
    """Pause between the steps of a sale."""
    users: dict[Role, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._cancelled: set[str] = set()
        self._go_on = threading.Event()
        self._actors: list[threading.Thread] = []

    # --- putting it up -------------------------------------------------------------------------------------

    def open(self, names: Sequence[str] = ("Counter 1", "Counter 2")) -> None:
        """Put everything into the database; the box is online and its readers are ready."""
        now = self.parts.clock.now()
        with self.parts.database.transaction() as db:
            self.merchant_id = service.create_merchant(db, "Maison Perrin")
            self.location_id = service.create_location(
                db, self.merchant_id, "Lyon", time_zone="Europe/Paris"
            )
            for role, email, name in (
                (Role.OWNER, OWNER, "Ada Moreau"),
                (Role.CASHIER, CASHIER, "Jules Petit"),
                (Role.IT, IT, "Ines Roux"),
            ):
                self.users[role] = service.create_user(
                    db, self.merchant_id, email=email, name=name, role=role,
                    password_hash=self.parts.passwords.hash(PASSWORD),
                )  # fmt: skip
        self.add_box(self.device_id, "lyon-till")
        self.readers = [
            reported(f"rd_{number:08d}", name, f"{number:04d}")
            for number, name in enumerate(names, start=1)
        ]
        self.report(now)

    def add_box(self, device_id: str, name: str, *, is_online: bool = True) -> None:
        """Another box, as if it had enrolled just now."""
        now = self.parts.clock.now()
        with self.parts.database.connection() as db:
            db.execute(
                insert(DEVICES).values(
                    id=device_id, merchant_id=self.merchant_id, location_id=self.location_id,
                    name=name, state=DeviceState.ACTIVE, state_since=now, cell="00",
                    serial_number="", hostname=name, platform="Debian 12", agent_version="0.1.0",
                    boot=1, conn=1, presence="online", presence_at=now, is_online=is_online,
                    online_since=now, last_seen_at=now, reported={}, telemetry={}, epoch=1,
                    certificate_expires_at=now + timedelta(days=90), enrolled_at=now, created_at=now,
                )
            )  # fmt: skip
            timeline.record(db, self.merchant_id, device_id, "device.enrolled")

    def report(self, at: datetime | None = None) -> None:
        """What the box says of itself and its readers."""
        at = at or self.parts.clock.now()
        state = ReportedState(
            ts=at.isoformat(), boot=1, agent_version="0.1.0", accepts=["cmd.v1"], epoch=1,
            config=ReportedConfig(), readers=self.readers, outbox=OutboxLevel(pending=0, oldest_s=0),
            hostname="lyon-till", platform="Debian 12",
        )  # fmt: skip
        with self.parts.database.connection() as db:
            apply_state(db, self.device_id, state, at)

    def set_reader(self, name: str, state: Any, reason: str = "") -> None:
        """One reader is in another state, and the box tells."""
        self.readers = [
            reported(one.reader_id, one.name, str(one.terminal_id), state, reason)
            if one.name == name
            else one
            for one in self.readers
        ]
        self.report()

    def set_online(self, is_online: bool) -> None:
        """The box comes or goes, and pages are told."""
        with self.parts.database.connection() as db:
            db.execute(
                update(DEVICES)
                .where(DEVICES.c.id == self.device_id)
                .values(is_online=is_online, last_seen_at=self.parts.clock.now())
            )
            timeline.record(
                db,
                self.merchant_id,
                self.device_id,
                "device.online" if is_online else "device.offline",
            )

    # --- acting --------------------------------------------------------------------------------------------

    @contextmanager
    def acting(self) -> Iterator[ActedShop]:
        """The box takes commands until the block ends."""
        stop_listening = self.parts.live.listen(WAKE_TOPIC, self._woken.set)
        box = threading.Thread(target=self._work, name="acted-box", daemon=True)
        box.start()
        try:
            yield self
        finally:
            self._stopping.set()
            self._woken.set()
            self._go_on.set()
            box.join(timeout=5)
            for actor in self._actors:
                actor.join(timeout=5)
            stop_listening()

    def take(self, minor: int, reader: int = 0) -> str:
        """A sale from its start to its end, without a page; the id of its session."""
        with self.parts.database.connection() as db:
            caller = Caller(
                kind=CallerKind.USER,
                id=self.users[Role.OWNER],
                name="Ada Moreau",
                role=Role.OWNER.value,
                scope=scope_of(self.merchant_id, Role.OWNER, None),
            )
            wish = StartSession(
                reader_id=self.readers[reader].reader_id, amount=Money(minor, "EUR")
            )
            session = start_session(db, caller, wish)

        def is_decided() -> bool:
            with self.parts.database.reading_connection() as db:
                return queries.session(db, caller.scope, session.id).is_final

        eventually(is_decided)
        return session.id

    def go_on(self) -> None:
        """Let a sale that waits (an answer that was lost) be decided."""
        self._go_on.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(0.2)
            self._woken.clear()
            if self._stopping.is_set():
                return
            with self.parts.database.connection() as db:
                due = due_commands(db, self.parts.clock.now())
            for one in due:
                actor = threading.Thread(target=self._act, args=(one.command,), daemon=True)
                self._actors.append(actor)
                actor.start()

    def _act(self, command: Any) -> None:
        match command.body:
            case CancelPayment(session_id=session_id):
                self._cancelled.add(session_id)
            case DiagnoseReader() | RebootReader():
                self._pause()
                told = CommandResult(
                    command_id=command.id, status="succeeded", text="Host answered in 180 ms"
                )
                now = self.parts.clock.now()
                with self.parts.database.connection() as db:
                    apply_command_results(db, [ReportedCommandResult(self.device_id, now, told)])
            case StartPayment() as body:
                with self.parts.database.connection() as db:
                    now = self.parts.clock.now()
                    grant = claim_command(db, self.device_id, command.id, new_id("non"), now)
                if grant.granted:
                    self._sell(body)
            case ReversePayment() as body:
                with self.parts.database.connection() as db:
                    now = self.parts.clock.now()
                    grant = claim_command(db, self.device_id, command.id, new_id("non"), now)
                if grant.granted:
                    self._take_back(body)

    def _take_back(self, body: ReversePayment) -> None:
        """What the reader took goes back, in full."""
        self._step(body.session_id, "sent")
        self._pause()
        with self.parts.database.reading_connection() as db:
            sale = db.execute(
                select(TRANSACTIONS.c.id).where(
                    TRANSACTIONS.c.external_id == body.original_session_id
                )
            ).scalar_one()
        sold = {
            "session_id": body.session_id, "reader_id": body.reader_id, "kind": "reversal",
            "amount_minor": body.amount_minor, "currency": body.currency,
        }  # fmt: skip
        self._decide({**APPROVE, **sold, "decided_by": "answer"}, original_id=sale)

    def _sell(self, body: StartPayment) -> None:
        cents = body.amount_minor % 100
        steps = LIVE_STEPS if cents != WAITS else LIVE_STEPS[:2]
        for step in steps:
            if self._pause() or body.session_id in self._cancelled:
                break
            self._step(body.session_id, step)
        self._pause()
        match cents:
            case _ if body.session_id in self._cancelled:
                self.decide(body, outcome="cancelled", result_code=108)
            case 99:
                while not self._stopping.is_set() and body.session_id not in self._cancelled:
                    self._stopping.wait(0.02)
                if not self._stopping.is_set():
                    self.decide(body, outcome="cancelled", result_code=108)
            case 77:
                self._step(body.session_id, "unknown")
                self._step(body.session_id, "recalling")
                self._go_on.wait()
                if not self._stopping.is_set():
                    self.decide(body, **FOUND)
            case 51:
                self.decide(body, **DECLINE)
            case _:
                self.decide(body, **APPROVE)

    def _pause(self) -> bool:
        return self._stopping.wait(self.pace_s)

    def _step(self, session_id: str, step: Any) -> None:
        now = self.parts.clock.now()
        with self.parts.database.connection() as db:
            apply_steps(
                db,
                [ReportedStep(self.device_id, now, SessionStep(session_id=session_id, step=step))],
            )

    def decide(self, body: StartPayment, *, outcome: Any, **facts: Any) -> None:
        """The end of a sale: its row in the ledger, then its session."""
        told: dict[str, Any] = {
            "session_id": body.session_id, "reader_id": body.reader_id, "kind": body.transaction,
            "outcome": outcome, "amount_minor": body.amount_minor, "currency": body.currency,
            "decided_by": "answer", "reference": body.reference, "note": body.note,
            "cashier_id": body.cashier_id, **facts,
        }  # fmt: skip
        self._decide(told)

    def _decide(self, told: dict[str, Any], *, original_id: str | None = None) -> None:
        now = self.parts.clock.now()
        result = PaymentResult(**told)
        transaction_id = new_id("tx")
        values = device_row(
            transaction_id, self.merchant_id, self.location_id, self.device_id, result,
            digest="0" * 32, epoch=1, seq=1, occurred_at=now, received_at=now,
            original_id=original_id,
        )  # fmt: skip
        with self.parts.database.connection() as db:
            db.execute(insert(TRANSACTIONS).values(dict(zip(DEVICE_COLUMNS, values, strict=True))))
            apply_results(
                db,
                [ReportedResult(self.device_id, self.merchant_id, transaction_id, now, result)],
            )


def reported(
    reader_id: str, name: str, terminal: str, state: Any = "ready", reason: str = ""
) -> ReportedReader:
    """A reader as its box tells it."""
    return ReportedReader(
        reader_id=reader_id, name=name, profile="generic-zvt-tcp", address="tcp://192.0.2.7:20007",
        state=state, reason=reason, vendor="CCV", model="Base Next", serial_number=f"SN{terminal}",
        terminal_id=terminal, software_version="1.02.3", since_ts=datetime.now(UTC).isoformat(),
    )  # fmt: skip


def mark_gone(shop: ActedShop, name: str) -> None:
    """A reader is no longer listed by its box."""
    with shop.parts.database.connection() as db:
        db.execute(
            update(READERS).where(READERS.c.name == name).values(gone_at=shop.parts.clock.now())
        )
