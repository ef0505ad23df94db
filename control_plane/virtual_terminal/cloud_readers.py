"""Readers that the processor drives from its cloud: registering them, how they are, what they show.

Sales on them are in ``reader_desk``. No function talks to the processor inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import structlog
from sqlalchemy import Row, Select, bindparam, func, select, update

from control_plane import live
from control_plane.accounts import queries as account_queries
from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed, insert_new
from control_plane.devices.timeline import readers_topic
from control_plane.errors import NotFound, Unavailable
from control_plane.virtual_terminal import accounts, queries
from control_plane.virtual_terminal.errors import (
    AddressNeeded,
    AddressRefused,
    CloudReaderDrivenElsewhere,
    CloudReaderHeld,
    CloudReaderRefused,
    NotConnected,
    ReaderNotRegistered,
)
from control_plane.virtual_terminal.lifecycle import OPEN_ATTEMPTS, RefundState
from control_plane.virtual_terminal.models import (
    ACCOUNTS,
    ATTEMPTS,
    CLOUD_READERS,
    PAYMENTS,
    PROCESSOR_LOCATIONS,
    REFUNDS,
)
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    CartLine,
    NotReached,
    ProcessorReader,
    ReaderInput,
    Refused,
)
from control_plane.virtual_terminal.views import PaymentView
from firmware_profiles import ReaderProfile, load_all
from protocols.ids import new_id
from protocols.money import Money
from protocols.readers.emv import redact_card_numbers

log = structlog.get_logger()

#: The processor's own measure: without a sign of life for so long, a reader is offline.
STALE_AFTER: Final = timedelta(minutes=2)
ADDRESS_PARTS: Final = ("line1", "line2", "city", "state", "postal_code", "country")
_SIMULATED: Final = "simulated_"
#: Why a reader does not take a command, in words with what to do next.
REFUSALS: Final[Mapping[str, str]] = {
    "terminal_reader_offline": "it is offline. Check its power and network, or pick another reader.",
    "terminal_reader_busy": (
        "it is busy: with another payment, an update, its settings, or a card was left in it. "
        "Look at its screen, then try again."
    ),
    "terminal_reader_hardware_fault": (
        "its hardware reports a fault. Restart it, or pick another reader."
    ),
    "terminal_reader_timeout": "it did not answer in time. It is being asked again.",
    "terminal_reader_invalid_location_for_payment": (
        "it is registered for a place where this payment cannot be taken. Pick another reader."
    ),
    "terminal_location_country_unsupported": (
        "payments are not possible in the country of its place. Pick another reader."
    ),
}
_OTHER_MODE: Final = "different integration"
OTHER_MODE_WORDS: Final = (
    "another program drives it directly. Close that program, or pick another reader."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudReaderView:
    """A reader of the processor, as it was when last looked at."""

    id: str
    merchant_id: str
    location_id: str
    processor_id: str
    name: str
    device_type: str
    serial_number: str
    software_version: str | None
    status: str
    last_seen_at: datetime | None
    checked_at: datetime | None
    shows_cart: bool
    removed_at: datetime | None
    created_at: datetime
    held_by: str | None
    """The payment that has it now, for itself or for its refund."""

    @property
    def model(self) -> str:
        """What people call it."""
        profile = self.profile
        about = profile.profile if profile else None
        name = f"{about.vendor} {about.model}" if about else self.device_type
        return f"{name} (simulated)" if self.is_simulated else name

    @property
    def profile(self) -> ReaderProfile | None:
        """What is known of its model; None for one that nobody has described."""
        known = _profiles()
        return known.get(self.device_type) or known.get(self.device_type.removeprefix(_SIMULATED))

    @property
    def is_simulated(self) -> bool:
        """Whether it is software."""
        return self.device_type.startswith(_SIMULATED)

    @property
    def is_driven_by_app(self) -> bool:
        """Whether only an app beside it can start payments."""
        return self.profile is not None and not self.profile.can("cloud_commands")

    @property
    def is_online(self) -> bool:
        """As the processor last said."""
        return self.status == "online"


@cache
def _profiles() -> Mapping[str, ReaderProfile]:
    """The models that a processor drives, by its name of them."""
    return {
        rule.device_type: profile
        for profile in load_all()[0].values()
        for rule in profile.match.cloud
    }


_VIEW_NAMES: Final = [name for name in CloudReaderView.__dataclass_fields__ if name != "held_by"]
_HELD_BY: Final = func.coalesce(
    select(ATTEMPTS.c.payment_id)
    .where(
        ATTEMPTS.c.cloud_reader_id == CLOUD_READERS.c.id,
        ATTEMPTS.c.state.in_(sorted(OPEN_ATTEMPTS)),
    )
    .limit(1)
    .scalar_subquery(),
    select(REFUNDS.c.payment_id)
    .where(
        REFUNDS.c.cloud_reader_id == CLOUD_READERS.c.id,
        REFUNDS.c.state.in_(sorted(state for state in RefundState if state.holds_reader)),
    )
    .limit(1)
    .scalar_subquery(),
).label("held_by")
_VIEWS: Final = select(*(CLOUD_READERS.c[name] for name in _VIEW_NAMES), _HELD_BY)
_READER: Final = _VIEWS.where(
    CLOUD_READERS.c.id == bindparam("reader"), CLOUD_READERS.c.merchant_id == bindparam("merchant")
)
_BY_PROCESSOR_ID: Final = _VIEWS.where(
    CLOUD_READERS.c.processor_id == bindparam("reader"),
    CLOUD_READERS.c.merchant_id == bindparam("merchant"),
)


#: Those that the account knows which is connected now.
_KNOWN_PLACES: Final = select(PROCESSOR_LOCATIONS).join(
    ACCOUNTS,
    (ACCOUNTS.c.merchant_id == PROCESSOR_LOCATIONS.c.merchant_id)
    & (ACCOUNTS.c.account_id == PROCESSOR_LOCATIONS.c.account_id),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderLocation:
    """A shop; without ``processor_id`` the processor does not know it yet."""

    location_id: str
    name: str
    processor_id: str | None
    address: Mapping[str, str]


def readers_of(scope: Scope, *, location_id: str | None = None) -> Select[*tuple[Any, ...]]:
    """Rows for ``view``, without those that were removed."""
    wanted = [*scope.conditions(CLOUD_READERS), CLOUD_READERS.c.removed_at.is_(None)]
    if location_id is not None:
        wanted.append(CLOUD_READERS.c.location_id == location_id)
    return _VIEWS.where(*wanted)


def readers(
    db: Transaction, scope: Scope, *, location_id: str | None = None
) -> list[CloudReaderView]:
    """All that are within reach, by name."""
    rows = db.execute(readers_of(scope, location_id=location_id).order_by(CLOUD_READERS.c.name))
    return [view(row) for row in rows]


def readers_for_payment(db: Transaction, scope: Scope) -> list[CloudReaderView]:
    """Those on which a sale can be started from here, by name; with how they are and who has them."""
    return [one for one in readers(db, scope) if not one.is_driven_by_app]


def reader(db: Transaction, scope: Scope, reader_id: str) -> CloudReaderView:
    """One reader, also a removed one. Raises NotFound outside of the scope."""
    row = db.execute(_READER, {"reader": reader_id, "merchant": scope.merchant_id}).one_or_none()
    if row is None or not scope.covers(row.location_id):
        raise NotFound("reader", reader_id)
    return view(row)


def reader_by_processor_id(
    db: Transaction, merchant_id: str, processor_id: str
) -> CloudReaderView | None:
    """The reader that the processor calls ``tmr_…``."""
    row = db.execute(
        _BY_PROCESSOR_ID, {"reader": processor_id, "merchant": merchant_id}
    ).one_or_none()
    return None if row is None else view(row)


def sales_on(db: Transaction, scope: Scope, reader_id: str, *, limit: int) -> list[PaymentView]:
    """The newest payments of which an attempt was made on a reader."""
    tried = select(ATTEMPTS.c.payment_id).where(ATTEMPTS.c.cloud_reader_id == reader_id)
    rows = db.execute(
        queries.payments_of(scope)
        .where(PAYMENTS.c.id.in_(tried))
        .order_by(PAYMENTS.c.id.desc())
        .limit(limit)
    )
    return [queries.payment_view(row) for row in rows]


def merchants_with_readers(db: Transaction) -> list[str]:
    """Whose readers are looked at by the clock."""
    rows = db.execute(
        select(CLOUD_READERS.c.merchant_id).where(CLOUD_READERS.c.removed_at.is_(None)).distinct()
    )
    return sorted(rows.scalars())


def locations(db: Transaction, scope: Scope) -> list[ReaderLocation]:
    """The shops within reach, with what the processor knows of them."""
    known = {
        row.location_id: row
        for row in db.execute(
            _KNOWN_PLACES.where(*scope.conditions(PROCESSOR_LOCATIONS)),
        )
    }
    found = db.execute(account_queries.locations_of(scope)).all()
    return [
        ReaderLocation(
            location_id=row.id,
            name=row.name,
            processor_id=known[row.id].processor_id if row.id in known else None,
            address=known[row.id].address if row.id in known else {},
        )
        for row in sorted(found, key=lambda row: row.name)
        if row.archived_at is None
    ]


def view(row: Row[*tuple[Any, ...]]) -> CloudReaderView:
    """A row of ``readers_of``."""
    return CloudReaderView(**row._mapping)  # noqa: SLF001 - Row's public name for a mapping


def words_of_refusal(refused: Refused) -> str:
    """Why a reader did not take a command, in a sentence that says what to do next."""
    if _OTHER_MODE in str(refused).lower():
        return OTHER_MODE_WORDS
    told = redact_card_numbers(str(refused)).strip().rstrip(".")
    return REFUSALS.get(refused.code) or f"{told or refused.code}. Pick another reader."


def is_silent(told: ProcessorReader, now: datetime) -> bool:
    """Whether a reader is offline, or has given no sign of life for as long."""
    is_stale = told.last_seen_at is not None and now - told.last_seen_at > STALE_AFTER
    return is_stale or told.status == "offline"


def note(db: Transaction, known: CloudReaderView, told: ProcessorReader) -> None:
    """Write down how a reader is, and tell the pages when that is news."""
    now = context_of(db).clock.now()
    status = "offline" if is_silent(told, now) else told.status or "offline"
    fresh: dict[str, Any] = {
        "name": (told.label or told.serial_number or told.id)[:200],
        "device_type": told.device_type[:60],
        "serial_number": told.serial_number[:100],
        "software_version": told.software_version,
        "status": status,
        "removed_at": None,
    }
    db.execute(
        update(CLOUD_READERS)
        .where(CLOUD_READERS.c.id == known.id)
        .values(**fresh, last_seen_at=told.last_seen_at, checked_at=now)
    )
    if any(getattr(known, name) != value for name, value in fresh.items()):
        tell(db, known.merchant_id, known.id)


def tell(db: Transaction, merchant_id: str, reader_id: str) -> None:
    """Let pages that show this reader read again, after the commit."""
    live.publish(db, readers_topic(merchant_id), {"reader_id": reader_id}, key=reader_id)


class ReaderFleet:
    """What is done with readers besides sales, in transactions of its own."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def register(
        self,
        caller: Caller,
        *,
        code: str,
        name: str,
        location_id: str,
        address: Mapping[str, str] | None = None,
    ) -> CloudReaderView:
        """Register a reader by the words on its screen, in a shop that the processor then knows too.

        Raises NotFound for the shop, AddressNeeded, AddressRefused, ReaderNotRegistered, NotConnected, Unavailable.
        """
        place = self._place(caller, location_id, address)
        reader_id = new_id("rd")
        label = redact_card_numbers(name.strip())[:200] or place.name
        try:
            told = self._office.processors.of(caller.merchant_id).register_reader(
                "-".join(code.split()).strip("-").lower(),
                label=label,
                location_id=str(place.processor_id),
                metadata={"reader": reader_id, "location": location_id},
                key=f"{reader_id}:register",
            )
        except Refused as refused:
            raise ReaderNotRegistered(told=_told(refused)) from refused
        except (NotReached, AnswerUnknown) as silent:
            # Should it be registered all the same, the next look at the list brings it.
            raise Unavailable(what="Stripe") from silent
        with self._office.writing() as db:
            _keep(db, caller.merchant_id, location_id, told, reader_id)
            kept = reader_by_processor_id(db, caller.merchant_id, told.id)
            if kept is None:
                raise NotFound("reader", reader_id)
            record(
                db, caller.merchant_id, caller.actor, AuditTag.CLOUD_READER_REGISTER,
                object_id=kept.id, object_name=kept.name,
                after={"location_id": location_id, "serial_number": told.serial_number},
            )  # fmt: skip
        return kept

    def rename(self, caller: Caller, reader_id: str, name: str) -> CloudReaderView:
        """Give a reader another name, here and at the processor. Raises NotFound, Unavailable."""
        known = self._reader(caller, reader_id)
        label = redact_card_numbers(name.strip())[:200] or known.name
        try:
            told = self._office.processors.of(caller.merchant_id).rename_reader(
                known.processor_id, label
            )
        except Refused as refused:
            raise CloudReaderRefused(reader=known.name, why=_told(refused)) from refused
        except (NotReached, AnswerUnknown) as silent:
            raise Unavailable(what="Stripe") from silent
        with self._office.writing() as db:
            note(db, known, told)
            record(
                db, caller.merchant_id, caller.actor, AuditTag.CLOUD_READER_RENAME,
                object_id=reader_id, object_name=label,
                before={"name": known.name}, after={"name": label},
            )  # fmt: skip
            return reader(db, caller.scope, reader_id)

    def remove(self, caller: Caller, reader_id: str) -> None:
        """Take a reader away; its sales stay. Raises NotFound, CloudReaderHeld, Unavailable."""
        known = self._reader(caller, reader_id)
        if known.held_by is not None:
            raise CloudReaderHeld(reader=known.name, reader_id=known.id, payment_id=known.held_by)
        try:
            self._office.processors.of(caller.merchant_id).remove_reader(known.processor_id)
        except Refused as refused:
            if refused.code != "resource_missing":
                raise CloudReaderRefused(reader=known.name, why=_told(refused)) from refused
        except (NotReached, AnswerUnknown) as silent:
            raise Unavailable(what="Stripe") from silent
        with self._office.writing() as db:
            _mark_removed(db, [known])
            record(
                db, caller.merchant_id, caller.actor, AuditTag.CLOUD_READER_REMOVE,
                object_id=reader_id, object_name=known.name,
            )  # fmt: skip

    def sync(self, merchant_id: str) -> int:
        """Look at all readers of the account: how they are, which are new, which are gone; how many there are.

        New ones are taken in when their place is one of our shops. Raises NotConnected and errors of the processor.
        """
        told = {one.id: one for one in self._office.processors.of(merchant_id).readers()}
        everywhere = Scope(merchant_id=merchant_id)
        with self._office.writing() as db:
            known = {one.processor_id: one for one in readers(db, everywhere)}
            shops = {
                row.processor_id: row.location_id
                for row in db.execute(
                    _KNOWN_PLACES.where(PROCESSOR_LOCATIONS.c.merchant_id == merchant_id)
                )
            }
            for one in told.values():
                if one.id in known:
                    note(db, known[one.id], one)
                elif one.location_id in shops:
                    _keep(db, merchant_id, shops[one.location_id], one, new_id("rd"))
            _mark_removed(db, [one for one in known.values() if one.processor_id not in told])
        return len(told)

    def hear(self, merchant_id: str, processor_id: str) -> None:
        """Something was said of a reader: look at it. Raises NotConnected and errors of the processor."""
        with self._office.reading() as db:
            known = reader_by_processor_id(db, merchant_id, processor_id)
        if known is None or known.removed_at is not None:
            return
        told = self._office.processors.of(merchant_id).read_reader(processor_id)
        with self._office.writing() as db:
            note(db, known, told)

    def show_cart(
        self,
        caller: Caller,
        reader_id: str,
        lines: Iterable[CartLine],
        total: Money,
        tax_minor: int = 0,
    ) -> CloudReaderView:
        """Put what is being bought on the reader's screen. Raises what ``start`` on a reader raises."""
        known = self._idle(caller, reader_id)
        with self._office.writing() as db:
            # Before the call: a cart that may be there is taken off after the next sale.
            _set_shows_cart(db, known, shows=True)
        self._told(
            known,
            lambda: self._office.processors.of(caller.merchant_id).show_cart(
                known.processor_id, tuple(lines), total, tax_minor
            ),
        )
        return self._reader(caller, reader_id)

    def clear_display(self, caller: Caller, reader_id: str) -> CloudReaderView:
        """Take the cart off, or end what the reader asks."""
        known = self._idle(caller, reader_id)
        self._told(
            known,
            lambda: self._office.processors.of(caller.merchant_id).cancel_on_reader(
                known.processor_id
            ),
        )
        with self._office.writing() as db:
            _set_shows_cart(db, known, shows=False)
        return self._reader(caller, reader_id)

    def ask(
        self, caller: Caller, reader_id: str, inputs: tuple[ReaderInput, ...], *, key: str
    ) -> None:
        """Ask the customer something on the reader; ``answers`` tells what they said. ``key``: of this question."""
        known = self._idle(caller, reader_id)
        self._told(
            known,
            lambda: self._office.processors.of(caller.merchant_id).ask_on_reader(
                known.processor_id, inputs, key=key
            ),
        )

    def answers(self, caller: Caller, reader_id: str) -> ProcessorReader:
        """The reader as it is now, with its action: its status, and the answers in ``action.inputs``."""
        known = self._reader(caller, reader_id)
        told = self._told(
            known,
            lambda: self._office.processors.of(caller.merchant_id).read_reader(known.processor_id),
        )
        with self._office.writing() as db:
            note(db, known, told)
        return told

    def _told(self, known: CloudReaderView, ask: Callable[[], ProcessorReader]) -> ProcessorReader:
        try:
            return ask()
        except Refused as refused:
            raise CloudReaderRefused(
                reader=known.name, reader_id=known.id, why=words_of_refusal(refused),
                told=refused.code,
            ) from refused  # fmt: skip
        except (NotReached, AnswerUnknown) as silent:
            raise Unavailable(what=known.name) from silent

    def _reader(self, caller: Caller, reader_id: str) -> CloudReaderView:
        with self._office.reading() as db:
            found = reader(db, caller.scope, reader_id)
        if found.removed_at is not None:
            raise NotFound("reader", reader_id)
        return found

    def _idle(self, caller: Caller, reader_id: str) -> CloudReaderView:
        known = self._reader(caller, reader_id)
        if known.is_driven_by_app:
            raise CloudReaderDrivenElsewhere(reader=known.name, model=known.model)
        if known.held_by is not None:
            raise CloudReaderHeld(reader=known.name, reader_id=known.id, payment_id=known.held_by)
        return known

    def _place(
        self, caller: Caller, location_id: str, address: Mapping[str, str] | None
    ) -> ReaderLocation:
        """The shop as the processor knows it; made there when it is new."""
        with self._office.reading() as db:
            account = accounts.account_of(db, caller.merchant_id)
            place = next(
                (one for one in locations(db, caller.scope) if one.location_id == location_id), None
            )
        if place is None:
            raise NotFound("location", location_id)
        if account is None:
            raise NotConnected
        if place.processor_id is not None:
            return place
        given = {
            part: text
            for part in ADDRESS_PARTS
            if (text := redact_card_numbers((address or {}).get(part, "").strip())[:200])
        }
        if not given.get("line1") or not given.get("country"):
            raise AddressNeeded(location=place.name)
        try:
            processor_id = self._office.processors.of(caller.merchant_id).create_location(
                place.name, given, key=f"{location_id}:{new_id('tml')}"
            )
        except Refused as refused:
            raise AddressRefused(told=_told(refused)) from refused
        except (NotReached, AnswerUnknown) as silent:
            # A place that was made all the same stays empty there, and harms nobody.
            raise Unavailable(what="Stripe") from silent
        with self._office.writing() as db:
            values = {
                "account_id": account.account_id,
                "location_id": location_id,
                "merchant_id": caller.merchant_id,
                "processor_id": processor_id,
                "address": given,
                "created_at": self._office.clock.now(),
            }
            insert_new(db, PROCESSOR_LOCATIONS, values, unique=["account_id", "location_id"])
            return next(
                one for one in locations(db, caller.scope) if one.location_id == location_id
            )


def _keep(
    db: Transaction, merchant_id: str, location_id: str, told: ProcessorReader, reader_id: str
) -> None:
    """A row for a reader, unless there is one; one that was removed comes back."""
    now = context_of(db).clock.now()
    values = {
        "id": reader_id,
        "merchant_id": merchant_id,
        "location_id": location_id,
        "processor_id": told.id,
        "name": (told.label or told.serial_number or told.id)[:200],
        "device_type": told.device_type[:60],
        "serial_number": told.serial_number[:100],
        "software_version": told.software_version,
        "status": told.status or "offline",
        "last_seen_at": told.last_seen_at,
        "checked_at": now,
        "shows_cart": False,
        "created_at": now,
    }
    if insert_new(db, CLOUD_READERS, values, unique=["merchant_id", "processor_id"]):
        tell(db, merchant_id, reader_id)
        return
    known = reader_by_processor_id(db, merchant_id, told.id)
    if known is not None:
        note(db, known, told)


def _mark_removed(db: Transaction, gone: Collection[CloudReaderView]) -> None:
    now = context_of(db).clock.now()
    for one in gone:
        ended = update(CLOUD_READERS).where(
            CLOUD_READERS.c.id == one.id, CLOUD_READERS.c.removed_at.is_(None)
        )
        if changed(db, ended.values(removed_at=now, status="offline")):
            tell(db, one.merchant_id, one.id)


def _set_shows_cart(db: Transaction, known: CloudReaderView, *, shows: bool) -> None:
    db.execute(update(CLOUD_READERS).where(CLOUD_READERS.c.id == known.id).values(shows_cart=shows))


def _told(refused: Refused) -> str:
    """The processor's own words, as a sentence."""
    text = redact_card_numbers(str(refused)).strip().rstrip(".")
    return f"{text or refused.code}."
