"""Webhooks of the processor: verified, stored first, worked on afterwards, replayable.

An event is only a hint that something may have changed. Whoever works on it reads the thing itself and applies what it
finds, so that order, doubles and replays change nothing. Events about one thing are worked on together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import Counter
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select, update

from control_plane import live
from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.clock import Clock
from control_plane.customers import methods
from control_plane.customers.methods import Kept
from control_plane.customers.models import MandateStatus, MethodKind
from control_plane.db.engine import Database
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed, insert
from control_plane.errors import DomainError, NotFound
from control_plane.outbox import owe
from control_plane.virtual_terminal import accounts, settle, timeline
from control_plane.virtual_terminal.accounts import Accounts
from control_plane.virtual_terminal.models import ACCOUNTS, MOMENTS, PAYMENTS, PROCESSOR_EVENTS
from control_plane.virtual_terminal.processor import (
    Instrument,
    NotVerified,
    Processor,
    Processors,
    WebhookEvent,
)
from control_plane.virtual_terminal.timeline import MomentKind
from protocols.readers.emv import redact_card_numbers

log = structlog.get_logger()

T = TypeVar("T")

#: The job that works on an event; payload: event.
WORK: Final = "stripe.event"
#: After so many tries an event waits for a person.
MOST_TRIES: Final = 8
#: Asked for again with each sweep, as the processor may list an event a little late.
_OVERLAP: Final = timedelta(minutes=5)
#: The processor forgets events after 30 days.
_MEMORY: Final = timedelta(days=29)
_SWEPT_AT_ONCE: Final = 100
_LONGEST_ERROR: Final = 2_000
_FRAUD_WARNING: Final = "radar.early_fraud_warning.created"
_RECEIVED: Final = Counter("omnitill_webhooks_received", "Webhooks that came", ["outcome"])
_WORKED: Final = Counter("omnitill_webhooks_worked", "Events that were worked on", ["outcome"])


class EventState(StrEnum):
    """Where an event stands."""

    WAITING = "waiting"
    DONE = "done"
    PARKED = "parked"
    """Tried often enough; a person replays it."""


class WebhookNotVerified(DomainError):
    """Not signed by the processor, or too long ago."""

    code = "webhook_not_verified"
    status = 400
    message = (
        "The signature does not match the webhook secret of this account, or is older than five "
        "minutes. Check the secret under Settings, Payments, and the clock of the server."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """An event as it stands, without its content."""

    id: str
    merchant_id: str
    event_id: str
    kind: str
    object_id: str
    created_at: datetime
    received_at: datetime
    deliveries: int
    processed_at: datetime | None
    attempts: int
    last_error: str | None

    @property
    def state(self) -> EventState:
        """Where it stands."""
        if self.processed_at is not None:
            return EventState.DONE
        return EventState.PARKED if self.attempts >= MOST_TRIES else EventState.WAITING


_COLUMNS: Final = [
    PROCESSOR_EVENTS.c[name]
    for name in (
        "id", "merchant_id", "event_id", "kind", "object_id", "created_at", "received_at",
        "deliveries", "processed_at", "attempts", "last_error",
    )
]  # fmt: skip
# Built once: these run for every webhook.
_BY_ID: Final = select(*_COLUMNS).where(PROCESSOR_EVENTS.c.id == bindparam("event"))
_OPEN_OF: Final = (
    select(*_COLUMNS)
    .where(
        PROCESSOR_EVENTS.c.merchant_id == bindparam("merchant"),
        PROCESSOR_EVENTS.c.object_id == bindparam("thing"),
        PROCESSOR_EVENTS.c.processed_at.is_(None),
    )
    .order_by(PROCESSOR_EVENTS.c.created_at)
)


def topic(merchant_id: str) -> str:
    """Live topic: an event of this merchant came, or was worked on."""
    return f"merchant:{merchant_id}:processor-events"


def events_of(
    merchant_id: str | None = None,
    *,
    state: EventState | None = None,
    since: datetime | None = None,
    event_id: str | None = None,
) -> Select[*tuple[Any, ...]]:
    """Rows for ``view``; without a merchant those of all, for the operator of the installation."""
    wanted: list[ColumnElement[bool]] = []
    if merchant_id is not None:
        wanted.append(PROCESSOR_EVENTS.c.merchant_id == merchant_id)
    if since is not None:
        wanted.append(PROCESSOR_EVENTS.c.received_at >= since)
    if event_id is not None:
        wanted.append(PROCESSOR_EVENTS.c.event_id == event_id)
    match state:
        case EventState.DONE:
            wanted.append(PROCESSOR_EVENTS.c.processed_at.is_not(None))
        case EventState.WAITING:
            wanted.append(PROCESSOR_EVENTS.c.processed_at.is_(None))
            wanted.append(PROCESSOR_EVENTS.c.attempts < MOST_TRIES)
        case EventState.PARKED:
            wanted.append(PROCESSOR_EVENTS.c.processed_at.is_(None))
            wanted.append(PROCESSOR_EVENTS.c.attempts >= MOST_TRIES)
        case None:
            pass
    return select(*_COLUMNS).where(*wanted)


def newest(db: Transaction, merchant_id: str, *, limit: int = 1) -> list[EventView]:
    """The last events that came."""
    rows = db.execute(
        events_of(merchant_id).order_by(PROCESSOR_EVENTS.c.received_at.desc()).limit(limit)
    )
    return [view(row) for row in rows]


def count(db: Transaction, merchant_id: str, state: EventState) -> int:
    """How many of the merchant's events are in a state."""
    found = events_of(merchant_id, state=state).subquery()
    number: int = db.execute(select(func.count()).select_from(found)).scalar_one()
    return number


def view(row: Row[Any]) -> EventView:
    """A row of ``events_of``."""
    return EventView(**row._mapping)  # noqa: SLF001 - Row's public name for a mapping


def keep(db: Transaction, account_id: str, merchant_id: str, event: WebhookEvent) -> bool:
    """Store an event and promise to work on it; False when it was there, whose deliveries are counted."""
    now = context_of(db).clock.now()
    key = f"{account_id}/{event.id}"
    stored = insert(db, PROCESSOR_EVENTS).values(
        id=key,
        merchant_id=merchant_id,
        event_id=event.id,
        kind=event.kind[:80],
        object_id=thing_of(event)[:200],
        created_at=event.created_at,
        payload=_without_card_numbers(dict(event.payload)),
        received_at=now,
        deliveries=1,
        attempts=0,
    )
    counted = stored.on_conflict_do_update(
        index_elements=["id"], set_={"deliveries": PROCESSOR_EVENTS.c.deliveries + 1}
    )
    deliveries = db.execute(counted.returning(PROCESSOR_EVENTS.c.deliveries)).scalar_one()
    if deliveries > 1:
        return False
    _promise(db, key, merchant_id, thing_of(event))
    live.publish(db, topic(merchant_id), {"kind": event.kind}, key="event")
    return True


def replay(
    db: Transaction,
    actor: Actor,
    *,
    merchant_id: str | None = None,
    since: datetime | None = None,
    event_id: str | None = None,
    failed: bool = False,
) -> int:
    """Work on events once more, with all their tries; how many. Harmless: each thing is only read again."""
    chosen = events_of(
        merchant_id,
        since=since,
        event_id=event_id,
        state=EventState.PARKED if failed else None,
    )
    rows = db.execute(chosen.order_by(PROCESSOR_EVENTS.c.created_at)).all()
    for some in _batches(rows, 500):
        db.execute(
            update(PROCESSOR_EVENTS)
            .where(PROCESSOR_EVENTS.c.id.in_([row.id for row in some]))
            .values(processed_at=None, attempts=0, last_error=None)
        )
        for row in some:
            _promise(db, row.id, row.merchant_id, row.object_id)
    for merchant in sorted({row.merchant_id for row in rows}):
        account = accounts.account_of(db, merchant)
        record(
            db, merchant, actor, AuditTag.WEBHOOK_REPLAY,
            object_id=account.id if account else merchant,
            object_name=account.account_id if account else merchant,
            after={"events": sum(row.merchant_id == merchant for row in rows)},
        )  # fmt: skip
    return len(rows)


def thing_of(event: WebhookEvent) -> str:
    """The id of what must be read because of an event: of a charge or a warning about one, its payment."""
    if event.object_kind in {"charge", "radar.early_fraud_warning"}:
        payment = _object(event.payload).get("payment_intent")
        if isinstance(payment, Mapping):
            payment = payment.get("id")
        if isinstance(payment, str) and payment:
            return payment
    return event.object_id


class Inbox:
    """Takes events in, works on them, and asks for those that never came."""

    def __init__(
        self,
        database: Database,
        processors: Processors,
        account_book: Accounts,
        clock: Clock,
        *,
        hear_reader: Callable[[str, str], None],
    ) -> None:
        """``hear_reader(merchant_id, tmr_…)`` looks at a reader of which something was said."""
        self._database = database
        self._processors = processors
        self._accounts = account_book
        self._clock = clock
        self._hear_reader = hear_reader

    def verify(self, account_id: str, body: bytes, signature: str) -> tuple[str, WebhookEvent]:
        """Whose event it is, and the event. Raises NotFound for an unknown account, WebhookNotVerified."""
        with self._database.reading_connection() as db:
            found = accounts.webhook_secrets(db, account_id)
        if found is None:
            _RECEIVED.labels("unknown_account").inc()
            raise NotFound("webhook address", account_id)
        merchant_id, secrets = found
        try:
            event = self._processors.of(merchant_id).verify_webhook(body, signature, secrets)
        except NotVerified as refused:
            _RECEIVED.labels("not_verified").inc()
            log.warning("webhook_not_verified", account_id=account_id, reason=str(refused))
            raise WebhookNotVerified from refused
        return merchant_id, event

    def store(self, account_id: str, merchant_id: str, event: WebhookEvent) -> bool:
        """Keep it, in a transaction of its own; False when it was there."""
        with self._database.connection() as db:
            is_new = keep(db, account_id, merchant_id, event)
        _RECEIVED.labels("new" if is_new else "again").inc()
        return is_new

    def work(self, event_key: str) -> None:
        """Read what an event is about and apply it; with it, all open events about the same thing.

        Raises what kept it from being read; it is then tried again, and parked after ``MOST_TRIES``.
        """
        with self._database.reading_connection() as db:
            row = db.execute(_BY_ID, {"event": event_key}).one_or_none()
            if row is None or row.processed_at is not None:
                return
            about = {"merchant": row.merchant_id, "thing": row.object_id}
            found = [view(one) for one in db.execute(_OPEN_OF, about)]
        keys = [one.id for one in found]
        try:
            self._apply(row.merchant_id, row.object_id, {one.kind for one in found})
        except Exception as failure:
            self._note_failure(row.merchant_id, keys, failure)
            raise
        with self._database.connection() as db:
            done = update(PROCESSOR_EVENTS).where(
                PROCESSOR_EVENTS.c.id.in_(keys), PROCESSOR_EVENTS.c.processed_at.is_(None)
            )
            worked = changed(db, done.values(processed_at=self._clock.now(), last_error=None))
            live.publish(db, topic(row.merchant_id), key="event")
        _WORKED.labels("done").inc(worked)

    def sweep(self, merchant_id: str) -> int:
        """Ask for the events since the last sweep and keep those that never came; how many."""
        with self._database.reading_connection() as db:
            account = accounts.account_of(db, merchant_id)
            if account is None:
                return 0
        started = self._clock.now()
        since = max((account.swept_until or account.connected_at) - _OVERLAP, started - _MEMORY)
        missed = 0
        events = self._processors.of(merchant_id).events_since(since)
        for some in _batches(events, _SWEPT_AT_ONCE):
            missed += self._keep_unknown(account.id, merchant_id, some)
        with self._database.connection() as db:
            db.execute(
                update(ACCOUNTS).where(ACCOUNTS.c.id == account.id).values(swept_until=started)
            )
        if missed:
            log.warning("webhooks_missed", account_id=account.id, events=missed)
            _RECEIVED.labels("swept").inc(missed)
        return missed

    def _keep_unknown(
        self, account_id: str, merchant_id: str, events: Collection[WebhookEvent]
    ) -> int:
        """Those that came are left alone: a sweep is no delivery."""
        keys = [f"{account_id}/{event.id}" for event in events]
        with self._database.connection() as db:
            known = set(
                db.execute(
                    select(PROCESSOR_EVENTS.c.id).where(PROCESSOR_EVENTS.c.id.in_(keys))
                ).scalars()
            )
            unknown = [event for event in events if f"{account_id}/{event.id}" not in known]
            return sum(keep(db, account_id, merchant_id, event) for event in unknown)

    def _note_failure(self, merchant_id: str, keys: list[str], failure: Exception) -> None:
        told = f"{type(failure).__name__}: {failure}"[:_LONGEST_ERROR]
        with self._database.connection() as db:
            db.execute(
                update(PROCESSOR_EVENTS)
                .where(PROCESSOR_EVENTS.c.id.in_(keys))
                .values(attempts=PROCESSOR_EVENTS.c.attempts + 1, last_error=told)
            )
            live.publish(db, topic(merchant_id), key="event")
        _WORKED.labels("failed").inc(len(keys))

    def _apply(self, merchant_id: str, thing: str, kinds: Collection[str]) -> None:
        """Read the thing, then say in a transaction what it is like. Nothing follows from kinds that we do not know."""
        processor = self._processors.of(merchant_id)
        for part in sorted({_part(kind) for kind in kinds}):
            match part:
                case "payment":
                    self._apply_payment(processor, merchant_id, thing, kinds)
                case "refund":
                    refund = processor.read_refund(thing)
                    with self._database.connection() as db:
                        settle.apply_refund(db, merchant_id, refund)
                case "dispute":
                    dispute = processor.read_dispute(thing)
                    with self._database.connection() as db:
                        settle.apply_dispute(db, merchant_id, dispute)
                case "reader":
                    self._hear_reader(merchant_id, thing)
                case "method":
                    self._apply_method(processor, merchant_id, thing, kinds)
                case "mandate":
                    mandate = processor.read_mandate(thing)
                    with self._database.connection() as db:
                        methods.note_mandate(db, merchant_id, thing, _mandate(mandate.status))
                case "account":
                    self._accounts.refresh(merchant_id)
                case _:
                    log.debug("webhook_seen", kinds=sorted(kinds))

    def _apply_payment(
        self, processor: Processor, merchant_id: str, thing: str, kinds: Collection[str]
    ) -> None:
        if not thing.startswith("pi_"):
            return  # A charge without a payment: older than anything we make.
        snapshot = processor.read_payment(thing)
        refunds = processor.refunds_of(thing) if "charge.refunded" in kinds else []
        with self._database.connection() as db:
            settle.apply_snapshot(db, merchant_id, snapshot)
            for refund in refunds:
                settle.apply_refund(db, merchant_id, refund)
            if _FRAUD_WARNING in kinds:
                _note_warning(db, merchant_id, thing)

    def _apply_method(
        self, processor: Processor, merchant_id: str, thing: str, kinds: Collection[str]
    ) -> None:
        if "payment_method.detached" in kinds:
            with self._database.connection() as db:
                methods.note_detached(db, merchant_id, thing)
            return
        kept = _kept(processor.read_instrument(thing))
        if kept is not None:
            with self._database.connection() as db:
                methods.note_updated(db, merchant_id, kept)


def _part(kind: str) -> str:
    """Which part of ours a kind of event concerns; ``""`` for none."""
    match kind.split("."):
        case ["charge", "dispute", *_]:
            return "dispute"
        case ["charge", "refund", *_] | ["refund", *_]:
            return "refund"
        case ["charge" | "payment_intent", *_] | ["radar", "early_fraud_warning", "created"]:
            return "payment"
        case ["terminal", "reader", *_]:
            return "reader"
        case ["payment_method", *_]:
            return "method"
        case ["mandate", *_]:
            return "mandate"
        case ["account", "updated"]:
            return "account"
        case _:
            return ""


def _note_warning(db: Transaction, merchant_id: str, thing: str) -> None:
    """Say once on the payment's timeline that the issuer suspects fraud, and what kind."""
    mine = (PROCESSOR_EVENTS.c.merchant_id == merchant_id, PROCESSOR_EVENTS.c.object_id == thing)
    warning = db.execute(
        select(PROCESSOR_EVENTS.c.payload).where(*mine, PROCESSOR_EVENTS.c.kind == _FRAUD_WARNING)
    ).first()
    payment = db.execute(
        select(PAYMENTS.c.id).where(
            PAYMENTS.c.merchant_id == merchant_id, PAYMENTS.c.processor_id == thing
        )
    ).first()
    if warning is None or payment is None:
        return
    kind = MomentKind.FRAUD_WARNING
    said = select(MOMENTS.c.id).where(
        MOMENTS.c.payment_id == payment.id, MOMENTS.c.kind == kind.value
    )
    if db.execute(said).first() is None:
        reason = str(_object(warning.payload).get("fraud_type") or "unknown").replace("_", " ")
        timeline.add(db, merchant_id, payment.id, kind, facts={"reason": reason[:80]})


def _kept(instrument: Instrument) -> Kept | None:
    """What our customers keep; None for kinds that are not kept."""
    if instrument.processor_id is None or instrument.kind not in set(MethodKind):
        return None
    return Kept(
        kind=MethodKind(instrument.kind),
        processor_id=instrument.processor_id,
        last4=instrument.last4 or "",
        brand=instrument.brand or "",
        exp_month=instrument.exp_month,
        exp_year=instrument.exp_year,
        fingerprint=instrument.fingerprint or "",
        funding=instrument.funding or "",
        bank_name=instrument.bank_name or "",
    )


def _mandate(status: str) -> MandateStatus:
    """Only an explicit end is an end."""
    return MandateStatus(status) if status in set(MandateStatus) else MandateStatus.PENDING


def _promise(db: Transaction, key: str, merchant_id: str, thing: str) -> None:
    owe(
        db,
        WORK,
        {"event": key},
        merchant_id=merchant_id,
        ordering_key=f"stripe {thing}"[:200],
        max_attempts=MOST_TRIES,
    )


def _object(payload: Mapping[str, object]) -> Mapping[str, Any]:
    data = payload.get("data", payload)
    found = data.get("object", data) if isinstance(data, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _without_card_numbers(value: Any) -> Any:
    """JSON with every card number in its texts masked."""
    match value:
        case str():
            return redact_card_numbers(value)
        case Mapping():
            return {str(name): _without_card_numbers(one) for name, one in value.items()}
        case list() | tuple():
            return [_without_card_numbers(one) for one in value]
        case _:
            return value


def _batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(things)
    while batch := list(islice(rest, size)):
        yield batch
