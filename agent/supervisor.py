"""Keeps every reader running: one task each, started again after a crash, without harm to the others.

Configured readers have their place for good; for those that were found, places come and go (`agent.discovery`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import structlog
from msgspec import structs

from agent.config import ConfigUnreadable, ReaderConfig
from agent.errors import AddressUnreadable
from agent.payment import PaymentDesk
from agent.reader_health import ReaderHealth
from agent.reader_settings import NOTHING_SET
from agent.readers.connecting import reader_for
from agent.readers.reader import ReaderState, ReaderStatus
from agent.tap import ReaderSlot
from agent.timekeeping import rfc3339
from firmware_profiles import ProfileError, load_profile
from protocols.cloud.events import DeviceEvent, ReportedReader
from protocols.errors import ProtocolError
from protocols.ids import new_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from agent.clock import Clock
    from agent.journal import Journal, Transaction
    from agent.reader_health import Told
    from agent.reader_settings import SetOnReader
    from agent.readers.reader import Reader
    from agent.spool import Position, Spool
    from agent.tap import Taps
    from agent.timekeeping import DeviceTime
    from firmware_profiles import ReaderProfile
    from protocols.cloud.events import StreamData
    from protocols.readers.protocol import Identity, ReaderEvent

log = structlog.get_logger()

FIRST_RESTART_S: Final = 1.0
LONGEST_RESTART_S: Final = 60.0
#: A misconfigured reader is looked at again this seldom: a file may have been put in place.
_MISFIT_AGAIN_S: Final = 60.0
#: How often a reader of which nothing is heard is looked at.
_LOOK_EVERY_S: Final = 30.0
#: How often is looked whether a reader on which something else was set is free.
_IDLE_AGAIN_S: Final = 0.2
#: A plug that is loose is told once in this time.
_TOLD_AGAIN_S: Final = 30.0

Severity = Literal["info", "warning", "error"]


#: Of a reader that cannot even be started.
_MISFIT: Final = ReaderStatus(ReaderState.FAILING)


@dataclass(frozen=True, slots=True)
class Stranger:
    """A device that nobody could identify, and what was seen of it and tried."""

    reason: str
    vendor: str = ""
    model: str = ""
    serial_number: str = ""


@dataclass(slots=True)
class _Place:
    """One reader and what is known about who stands there."""

    config: ReaderConfig
    reader_id: str = ""
    slot: ReaderSlot | None = None
    profile: ReaderProfile | None = None
    misfit: str = ""
    """Why it cannot even be started."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    since_ts: str = ""
    seen: tuple[str, str, str] = ("", "", "")
    is_identified: bool = False
    """Its id comes from what the reader itself said, not from its place."""
    told_at: dict[str, float] = field(default_factory=dict)
    health: ReaderHealth | None = None
    losses: int = 0
    was_ready: bool = False
    stranger: Stranger | None = None
    """Something is here that no profile describes: it is shown, and never talked to."""
    remark: str = ""
    """Why it is away, when more is known than that."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    in_force: SetOnReader = NOTHING_SET
    """What the shop has set on who stands here, as the reader was connected with it."""
    anew: asyncio.Event = field(default_factory=asyncio.Event)
    """Something else is set now: connect again as soon as nothing runs."""


class Supervisor:
    """Runs the readers of this device."""

    def __init__(
        self,
        configs: Sequence[ReaderConfig],
        journal: Journal,
        spool: Spool,
        taps: Taps,
        time: DeviceTime,
        clock: Clock,
        *,
        changed: Callable[[], None],
        settings: Callable[[str], SetOnReader] = lambda _: NOTHING_SET,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._places = [_Place(config) for config in configs]
        self._journal = journal
        self._spool = spool
        self._taps = taps
        self._time = time
        self._clock = clock
        self._changed = changed
        self._settings = settings
        self._jitter = jitter
        # One place after the other: who is recognised here decides who may be recognised there.
        self._identifying = asyncio.Lock()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for place in self._places:
                self._start(place)
            await asyncio.Event().wait()

    # --- places that come and go -------------------------------------------------------------------------------

    def add(self, config: ReaderConfig) -> None:
        """Run a reader that was found. One that has a place of this name goes on there, at its new address."""
        known = self._place(config.name)
        if known is None or known.stranger is not None or self._group is None:
            self.remove(config.name)
            self._found(_Place(config))
            return
        # The slot stays: what is not settled with this reader is settled at its new address.
        known.config, known.remark = config, ""
        known.tasks[0].cancel()
        known.tasks[0] = self._group.create_task(self._keep(known))

    def show(self, name: str, address: str, stranger: Stranger) -> None:
        """Report something that was found and not identified; nothing is sent to it."""
        known = self._place(name)
        if known is not None and known.stranger == stranger:
            return
        self.remove(name)
        config = ReaderConfig(name=name, profile="", address=address)
        self._found(_Place(config, stranger=stranger))

    def remove(self, name: str) -> None:
        """Forget a place that was found; its reader keeps its id, should it come back."""
        place = self._place(name)
        if place is None:
            return
        self._places.remove(place)
        for task in place.tasks:
            task.cancel()
        if place.slot is not None:
            place.slot.desk.close()
            self._taps.forget(place.slot)
        self._changed()

    def retry(self, name: str) -> None:
        """The reader of a place may be back: do not wait before the line is opened."""
        place = self._place(name)
        if place is not None and place.slot is not None:
            place.slot.desk.reader.retry()

    def remark(self, name: str, words: str) -> None:
        """Say why a reader is away, as long as it is; without words, nothing is known any more."""
        place = self._place(name)
        if place is not None and place.remark != words:
            place.remark = words
            place.news.set()

    def tell(self, name: str, kind: str, severity: Severity, text: str) -> None:
        """An event of the reader of a place."""
        if (place := self._place(name)) is not None:
            self._tell(_event(place, kind, severity, text))

    def settings_changed(self, reader_ids: frozenset[str]) -> None:
        """Something else is set on these readers: connect them with it as soon as nothing runs there."""
        for place in self._places:
            if place.reader_id in reader_ids:
                self._look_at_settings(place)

    def profile_of(self, reader_id: str) -> ReaderProfile | None:
        """The profile of a reader that stands here, as its file says."""
        place = next((one for one in self._places if one.reader_id == reader_id), None)
        try:
            return load_profile(place.config.profile) if place and place.config.profile else None
        except ProfileError:
            return None

    def may_forget(self, name: str) -> bool:
        """Whether nothing is lost with a place: its reader is away, and no payment waits for what it knows."""
        place = self._place(name)
        if place is None or place.slot is None:
            return True
        slot = place.slot
        is_away = slot.desk.reader.status.state is ReaderState.DISCONNECTED
        return is_away and slot.payment is None and slot.unsettled is None

    def _place(self, name: str) -> _Place | None:
        return next((place for place in self._places if place.config.name == name), None)

    def _found(self, place: _Place) -> None:
        self._places.append(place)
        place.news.set()
        self._start(place)

    def _start(self, place: _Place) -> None:
        if self._group is None:
            return  # it is started with the others
        work = [self._mind(place)] if place.stranger else [self._keep(place), self._mind(place)]
        place.tasks = [self._group.create_task(one) for one in work]

    def reported(self) -> list[ReportedReader]:
        """Every reader as it is now."""
        return [_report(place) for place in self._places if place.reader_id]

    # --- running -----------------------------------------------------------------------------------------------

    async def _keep(self, place: _Place) -> None:
        """Run one reader; whatever it does, it is started again."""
        pause_s = 0.0
        while True:
            started_at = self._clock.elapsed()
            await self._expect(place)
            try:
                reader = self._connect(place)
            except (ConfigUnreadable, AddressUnreadable, ProfileError, ProtocolError) as misfit:
                self._note_misfit(place, str(misfit))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MISFIT_AGAIN_S):
                        await place.anew.wait()
                continue
            place.misfit = ""
            stop_watching = reader.watch(lambda _: place.news.set())
            if place.profile is not None:
                place.health = health = ReaderHealth(place.profile.health)
                reader.watch_events(partial(self._examine, place, health))
            place.news.set()
            try:
                await self._run_until_anew(place, reader)
            except Exception:
                # One reader's crash is its own; its payment, if one ran, was told that the answer is lost.
                log.exception("reader_crashed", reader=place.config.name)
                self._tell(_crashed(place))
            finally:
                stop_watching()
            if place.anew.is_set():
                pause_s = 0.0
                continue
            if self._clock.elapsed() - started_at > LONGEST_RESTART_S:
                pause_s = 0.0
            pause_s = min(max(FIRST_RESTART_S, pause_s * 2), LONGEST_RESTART_S)
            await asyncio.sleep(pause_s * (0.5 + self._jitter() / 2))

    def _note_misfit(self, place: _Place, reason: str) -> None:
        log.error("reader_misconfigured", reader=place.config.name, reason=reason)
        place.misfit = reason
        place.news.set()

    async def _expect(self, place: _Place) -> None:
        """Who stood here last is likely to stand here now: begin with what is set on that reader."""
        if not place.reader_id:
            by_name = f"name:{place.config.name}"
            place.reader_id = await self._journal.read(lambda db: _id_of(db, by_name) or "")

    async def _run_until_anew(self, place: _Place, reader: Reader) -> None:
        """Run a reader until it crashes, or something else is set on it and nothing runs there."""
        running = asyncio.create_task(reader.run())
        waiting = asyncio.create_task(self._anew_and_idle(place))
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, waiting):
                task.cancel()
            await asyncio.gather(running, waiting, return_exceptions=True)

    async def _anew_and_idle(self, place: _Place) -> None:
        await place.anew.wait()
        slot = place.slot
        while slot is not None and (slot.payment or slot.occupied_by or slot.turn.locked()):  # noqa: ASYNC110 (several parts, seldom)
            await asyncio.sleep(_IDLE_AGAIN_S)

    def _look_at_settings(self, place: _Place) -> None:
        if place.stranger is None and self._settings(place.reader_id) != place.in_force:
            log.info("reader_settings_changed", reader=place.config.name)
            place.anew.set()

    def _connect(self, place: _Place) -> Reader:
        """Raises ConfigUnreadable, AddressUnreadable, ProfileError, ProtocolError."""
        config = place.config
        place.anew.clear()
        chosen = place.in_force = self._settings(place.reader_id)
        place.profile = chosen.configured(load_profile(config.profile))
        reader = reader_for(
            place.profile,
            config.address,
            currency=config.currency,
            password=chosen.password() or config.secret(),
            clock=self._clock,
        )
        desk = PaymentDesk(
            reader,
            clock=self._clock,
            authorises=place.profile.can("authorises"),
            most_minor=chosen.most_minor(place.profile),
        )
        if place.slot is None:
            place.slot = ReaderSlot(config.name, desk)
        else:
            place.slot.desk.close()
            place.slot.desk = desk
        place.slot.profile = place.profile
        place.slot.ksn_remaining_warn = place.profile.health.ksn_remaining_warn or 0
        return reader

    # --- watching ----------------------------------------------------------------------------------------------

    async def _mind(self, place: _Place) -> None:
        """Whenever a reader's status changes: who is it, is its id known, and does anybody need to hear of it."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await place.news.wait()
            place.news.clear()
            try:
                await self._look(place)
                self._look_at_health(place)
            except Exception:
                log.exception("reader_watch_fault", reader=place.config.name)

    async def _look(self, place: _Place) -> None:
        status = place.slot.desk.reader.status if place.slot and not place.misfit else _MISFIT
        reason = _reason(place, status)
        if place.seen != (status.state.value, reason, place.misfit):
            place.seen = (status.state.value, reason, place.misfit)
            place.since_ts = rfc3339(self._time.now())
        await self._identify(place, status.identity)
        if place.slot is not None:
            await self._notice_plug(place, place.slot, status)
        self._changed()

    async def _identify(self, place: _Place, identity: Identity) -> None:
        """Learn the id of who stands here. Only a change is written."""
        async with self._identifying:
            await self._learn_id(place, identity)

    async def _learn_id(self, place: _Place, identity: Identity) -> None:
        name = place.config.name
        keys = _keys(place.profile.profile.vendor if place.profile else "", identity)
        others = {
            other.reader_id for other in self._places if other is not place and other.is_identified
        }
        reader_id = await self._journal.read(lambda db: _lookup(db, name, keys))
        if reader_id is None or reader_id in others:
            reader_id = await self._journal.write(lambda tx: _resolve(tx, name, keys, others))
        place.is_identified = bool(keys)
        if reader_id != place.reader_id:
            log.info("reader_identified", reader=name, reader_id=reader_id)
            place.reader_id = reader_id
            self._look_at_settings(place)
        if place.slot is not None:
            self._taps.assign(place.slot, reader_id)

    async def _notice_plug(self, place: _Place, slot: ReaderSlot, status: ReaderStatus) -> None:
        is_ready = status.state is ReaderState.READY
        if is_ready and not place.was_ready:
            place.was_ready = True
            self._tell_plug(place, "reader.connected", "info", "It is connected and ready.")
            self._taps.prepare(slot)
        elif status.state is ReaderState.DISCONNECTED and place.was_ready:
            place.was_ready = False
            self._tell_plug(place, "reader.disconnected", "warning", status.reason)

    def _examine(self, place: _Place, health: ReaderHealth, event: ReaderEvent) -> None:
        self._tell_health(place, health.happened(event, self._clock.elapsed()))

    def _look_at_health(self, place: _Place) -> None:
        if place.health is None or place.slot is None:
            return
        reader, now = place.slot.desk.reader, self._clock.elapsed()
        if reader.counts["lost"] > place.losses:
            self._tell_health(place, place.health.lost(now))
        place.losses = reader.counts["lost"]
        told = place.health.looked_at(
            now,
            is_busy=reader.status.state is ReaderState.BUSY,
            clock=reader.clock_seen,
            wall=self._time.now().astimezone(),
        )
        self._tell_health(place, told)

    def _tell_health(self, place: _Place, told: Sequence[Told]) -> None:
        for one in told:
            event = _event(place, f"reader.{one.kind}", one.severity, one.text)
            self._tell(structs.replace(event, facts=dict(one.facts)))

    def _tell_plug(self, place: _Place, kind: str, severity: Severity, text: str) -> None:
        now = self._clock.elapsed()
        if now - place.told_at.get(kind, float("-inf")) < _TOLD_AGAIN_S:
            return
        place.told_at[kind] = now
        self._tell(_event(place, kind, severity, text))

    def _tell(self, event: StreamData) -> None:
        self._journal.submit(lambda tx: self._spool.append(tx, event)).add_done_callback(_ignore)


def _ignore(stored: asyncio.Future[Position]) -> None:
    """An event that could not be stored is in the log of the journal's own trouble."""
    if not stored.cancelled():
        stored.exception()


# --- who is who ------------------------------------------------------------------------------------------------


def _keys(vendor: str, identity: Identity) -> list[str]:
    """What a reader can be recognised by, the surest first."""
    serial, terminal = identity.serial_number, identity.terminal_id
    found = []
    if serial and terminal:
        # Some makers give every device the same serial number.
        found.append(f"both:{vendor}:{serial}:{terminal}")
    if serial:
        found.append(f"serial:{vendor}:{serial}")
    if terminal:
        found.append(f"terminal:{vendor}:{terminal}")
    return found


def _lookup(db: sqlite3.Connection, name: str, keys: Sequence[str]) -> str | None:
    """The id under which all of these stand; `None` when something is new or they disagree."""
    ids = {_id_of(db, key) for key in (f"name:{name}", *keys)}
    return ids.pop() if len(ids) == 1 else None


def _resolve(tx: Transaction, name: str, keys: Sequence[str], taken: set[str]) -> str:
    """The id of whoever stands at a place now: a reader that moved keeps its id, another reader gets another.

    `taken`: ids of readers that were recognised at other places; two with the same number are two all the same.
    """
    by_name = f"name:{name}"
    known = [reader_id for key in keys if (reader_id := _id_of(tx.db, key))]
    stood_here = _id_of(tx.db, by_name)
    recognised = next((reader_id for reader_id in known if reader_id not in taken), None)
    if recognised is not None:
        reader_id = recognised
    elif (
        stood_here is not None
        and stood_here not in taken
        and _may_stay(tx, stood_here, keys, known)
    ):
        reader_id = stood_here
    else:
        reader_id = new_id("rd")
    for key in (by_name, *keys):
        if key == by_name or _id_of(tx.db, key) not in taken:
            tx.db.execute("INSERT OR REPLACE INTO reader VALUES (?, ?)", (key, reader_id))
    return reader_id


def _may_stay(tx: Transaction, stood_here: str, keys: Sequence[str], known: Sequence[str]) -> bool:
    """Whether who stands at a place may be who stood there: it says nothing of itself, or nothing new."""
    return not keys or bool(known) or not _is_recognisable(tx.db, stood_here)


def _id_of(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT id FROM reader WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _is_recognisable(db: sqlite3.Connection, reader_id: str) -> bool:
    return (
        db.execute(
            "SELECT 1 FROM reader WHERE id = ? AND key NOT LIKE 'name:%'", (reader_id,)
        ).fetchone()
        is not None
    )


# --- what is told ----------------------------------------------------------------------------------------------


def _report(place: _Place) -> ReportedReader:
    config = place.config
    if place.stranger is not None:
        return ReportedReader(
            reader_id=place.reader_id,
            name=config.name,
            profile="",
            address=config.address,
            state="unidentified",
            reason=place.stranger.reason[:200],
            vendor=place.stranger.vendor or None,
            model=place.stranger.model or None,
            serial_number=place.stranger.serial_number or None,
            since_ts=place.since_ts,
        )
    if place.slot is None or place.misfit:
        return ReportedReader(
            reader_id=place.reader_id,
            name=config.name,
            profile=config.profile,
            address=config.address,
            state="failing",
            reason=place.misfit[:200],
            since_ts=place.since_ts,
        )
    reader = place.slot.desk.reader
    identity = reader.status.identity
    return ReportedReader(
        reader_id=place.reader_id,
        name=config.name,
        profile=config.profile,
        address=config.address,
        state=reader.status.state.value,
        reason=_reason(place, reader.status)[:200],
        vendor=place.profile.profile.vendor if place.profile else None,
        model=identity.model,
        serial_number=identity.serial_number,
        terminal_id=identity.terminal_id,
        software_version=identity.software_version,
        since_ts=place.since_ts,
        health={name: str(count) for name, count in sorted(reader.counts.items())}
        | (place.health.measured if place.health else {}),
    )


def _reason(place: _Place, status: ReaderStatus) -> str:
    is_away = status.state is ReaderState.DISCONNECTED
    return place.remark if is_away and place.remark else status.reason


def _event(place: _Place, kind: str, severity: Severity, text: str) -> DeviceEvent:
    return DeviceEvent(
        kind=kind,
        severity=severity,
        reader_id=place.reader_id or None,
        text=f"{place.config.name}: {text}"[:2000],
    )


def _crashed(place: _Place) -> DeviceEvent:
    return _event(
        place,
        "reader.crashed",
        "error",
        "The part of the agent that drives it failed and was started again; the log has the details.",
    )
