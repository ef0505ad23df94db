"""From what is seen to readers that run: match, ask, give a place, and follow who comes, goes and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from agent.config import ReaderConfig
from agent.discovery.probing import Probed, ask_in_turn, probe
from agent.discovery.sighting import Gone, Sighting, loader_of, may_be_reader, ranked
from agent.errors import AgentError
from agent.supervisor import Stranger
from agent.transports import Address
from firmware_profiles import load_all
from firmware_profiles.matching import BleSeen, UsbSeen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from agent.clock import Clock
    from agent.config import DiscoveryConfig
    from agent.supervisor import Severity
    from firmware_profiles import ReaderProfile
    from protocols.readers.protocol import Identity

log = structlog.get_logger()

#: A reader that was just plugged in may still be starting: it is asked again after these pauses, then left alone.
_ASK_AGAIN_S: Final = (3.0, 10.0, 30.0)
_AFTER_FAULT_S: Final = 1.0
_WATCH_AGAIN_S: Final = 30.0
_NAME: Final = re.compile(r"[^A-Za-z0-9 ._-]+")
_LONGEST_NAME: Final = 60


class Places(Protocol):
    """What the supervisor offers; see there."""

    def add(self, config: ReaderConfig) -> None: ...

    def show(self, name: str, address: str, stranger: Stranger) -> None: ...

    def remove(self, name: str) -> None: ...

    def retry(self, name: str) -> None: ...

    def remark(self, name: str, words: str) -> None: ...

    def tell(self, name: str, kind: str, severity: Severity, text: str) -> None: ...

    def may_forget(self, name: str) -> bool: ...


@dataclass(slots=True)
class _Found:
    """One unit that was found, wherever it is now."""

    sighting: Sighting
    name: str
    profile: ReaderProfile | None = None
    key: tuple[str, str] = ("", "")
    """Vendor and serial number, as the protocol told them."""
    away_since: float | None = None
    asked: int = 0
    ask_again_at: float | None = None
    loader: ReaderProfile | None = None
    """Whose boot loader it entered; None when it came back from there."""
    loader_since: float = 0.0
    loader_left_at: float | None = None
    is_stuck: bool = False


@dataclass(slots=True)
class Discovery:
    """Runs the watches that are configured. `run` does the work and is cancelled to stop.

    One thing is looked into after the other, so two probes never run at once.
    """

    config: DiscoveryConfig
    configured: Sequence[ReaderConfig]
    places: Places
    clock: Clock
    profiles: Mapping[str, ReaderProfile] = field(default_factory=lambda: load_all()[0])
    ask: Callable[[ReaderProfile, str], Awaitable[Probed]] | None = None
    _found: list[_Found] = field(default_factory=list)
    _news: asyncio.Queue[Sighting | Gone] = field(default_factory=asyncio.Queue)

    async def run(self) -> None:
        """Work until cancelled; what cannot be watched on this machine is left out."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches():
                group.create_task(self._listen(watch))
            await self.follow()

    async def follow(self) -> None:
        """Take what `saw` was told, and whatever is due, until cancelled."""
        while True:
            seen: Sighting | Gone | None = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    seen = await self._news.get()
            try:
                await (self._look_at_the_clock() if seen is None else self._take(seen))
            except Exception:
                # One device's oddity is its own: the others are still found.
                log.exception("discovery_failed", place=seen.place if seen else "")
                await asyncio.sleep(_AFTER_FAULT_S)

    def saw(self, seen: Sighting | Gone) -> None:
        """Something is there, or no longer."""
        self._news.put_nowait(seen)

    # --- watching ----------------------------------------------------------------------------------------------

    def _watches(self) -> list[Callable[[], AsyncIterator[Sighting | Gone]]]:
        watches: list[Callable[[], AsyncIterator[Sighting | Gone]]] = []
        if self.config.usb:
            # Imported here: each brings a library that only those need who look there.
            from agent.discovery import usb_watch  # noqa: PLC0415

            watches.append(partial(usb_watch.watch, bridges(self.profiles.values())))
        if self.config.ble:
            from agent.discovery import ble_watch  # noqa: PLC0415

            rules = [one for profile in self.profiles.values() for one in profile.match.ble]
            services = sorted({one.service for one in rules if one.service and one.enabled})
            watches.append(partial(ble_watch.watch, services))
        return watches

    async def _listen(self, watch: Callable[[], AsyncIterator[Sighting | Gone]]) -> None:
        while True:
            try:
                async for seen in watch():
                    self.saw(seen)
                return
            except AgentError as error:
                log.warning("discovery_not_possible", reason=error.message)
                return
            except Exception:
                # What was seen before is seen again, which changes nothing.
                log.exception("discovery_watch_failed")
                await asyncio.sleep(_WATCH_AGAIN_S)

    # --- what comes ----------------------------------------------------------------------------------------------

    async def _take(self, seen: Sighting | Gone) -> None:
        if isinstance(seen, Gone):
            self._leave(seen.place)
        elif (name := self._configured_name(seen)) is not None:
            self.places.retry(name)
        elif (profile := loader_of(self.profiles.values(), seen)) is not None:
            self._enter_loader(seen, profile)
        elif (known := self._known(seen)) is not None:
            self._come_back(known, seen)
        elif not any(one.sighting == seen for one in self._found):
            # Whoever was here before has left without a word.
            self._leave(seen.place)
            await self._identify(_Found(seen, ""))

    def _known(self, seen: Sighting) -> _Found | None:
        """Who this is, when it is back, or still there: it looks the same, or comes out of its boot loader."""
        for one in self._found:
            if one.profile is None:
                continue
            is_here = one.sighting.place == seen.place
            has_number = isinstance(seen.seen, UsbSeen) and bool(seen.seen.serial)
            may_have_moved = has_number and one.sighting.address == seen.address
            if one.loader is not None and is_here and one.profile in self._candidates(seen):
                return one
            if one.sighting.is_same_unit(seen) and (is_here or may_have_moved):
                return one
        return None

    def _come_back(self, known: _Found, seen: Sighting) -> None:
        known.away_since = self._away_from_now(seen)
        known.loader, known.is_stuck = None, False
        has_moved = known.sighting.address != seen.address
        known.sighting = seen
        self.places.remark(known.name, "")
        if has_moved and known.profile is not None:
            self.places.add(self._place(known.name, known.profile, seen))
        self.places.retry(known.name)

    def _away_from_now(self, seen: Sighting) -> float | None:
        """A radio tells nobody when it leaves: it counts as away, unless its reader is connected when that matters."""
        return self.clock.elapsed() if isinstance(seen.seen, BleSeen) else None

    def _left(self, one: _Found) -> bool:
        if isinstance(one.sighting.seen, BleSeen):
            return self.places.may_forget(one.name)
        return one.away_since is not None

    def _leave(self, place: str) -> None:
        now = self.clock.elapsed()
        for one in [one for one in self._found if one.sighting.place == place]:
            if one.profile is None:
                self._forget(one)
                continue
            one.away_since = one.away_since or now
            if one.loader is not None:
                one.loader_left_at = now

    def _enter_loader(self, seen: Sighting, profile: ReaderProfile) -> None:
        """The boot loader has another number and says nothing of who it is: it belongs to who was in this place."""
        now = self.clock.elapsed()
        family = profile.profile.family
        unit = next(
            (
                one
                for one in self._found
                if one.sighting.place == seen.place
                and (one.profile or one.loader or profile).profile.family == family
            ),
            None,
        )
        if unit is None:
            unit = _Found(seen, self._free_name("Boot loader", seen))
            self._found.append(unit)
            self._show(unit, f"A reader in its boot loader: {seen.words()}.")
        max_s = _loader_max_s(profile)
        is_same_stay = unit.loader_left_at is None or now - unit.loader_left_at < max_s
        if unit.loader is None or not is_same_stay:
            # A boot loader may hand over to a second one: that is one stay.
            unit.loader_since, unit.is_stuck = now, False
        unit.loader, unit.loader_left_at = unit.profile or profile, None
        self.places.remark(unit.name, "It is in its boot loader, as during an update.")

    # --- who is it -------------------------------------------------------------------------------------------------

    async def _identify(self, one: _Found) -> None:
        """Ask the candidates' questions, best first, until one is answered as its profile expects."""
        seen = one.sighting
        candidates = self._candidates(seen)
        if not candidates and not may_be_reader(self.profiles.values(), seen):
            return
        tried = await ask_in_turn(
            candidates if seen.address else [], lambda profile: self._ask(profile, seen.address)
        )
        for answer in tried:
            log.info(
                "reader_probed",
                place=seen.place,
                profile=answer.profile_id,
                confirmed=answer.is_confirmed,
                said=answer.words,
            )
        if tried and tried[-1].identity is not None:
            self._bind(one, self.profiles[tried[-1].profile_id], tried[-1].identity)
            return
        if one not in self._found:
            self._found.append(one)
        one.name = one.name or self._free_name("Unknown", seen)
        if tried and one.asked < len(_ASK_AGAIN_S):
            one.ask_again_at = self.clock.elapsed() + _ASK_AGAIN_S[one.asked]
            one.asked += 1
        else:
            one.ask_again_at = None
        self._show(one, f"{seen.words()}. {_tried(tried)}")

    async def _ask(self, profile: ReaderProfile, address: str) -> Probed:
        if self.ask is not None:
            return await self.ask(profile, address)
        return await probe(profile, address, currency=self.config.currency, clock=self.clock)

    def _candidates(self, seen: Sighting) -> list[ReaderProfile]:
        if isinstance(seen.seen, UsbSeen) and seen.seen.is_serial_bridge:
            # Anything may be behind it: only what a person allowed is asked.
            wanted = [self.profiles[name] for name in self.config.serial if name in self.profiles]
            return [profile for profile in wanted if seen.port]
        return [
            profile
            for _, profile in ranked(self.profiles.values(), seen)
            if profile.profile.kind in ("card_reader", "payment_terminal")
        ]

    def _bind(self, one: _Found, profile: ReaderProfile, identity: Identity) -> None:
        """It is known who it is; it may be somebody who was in another place before."""
        seen = one.sighting
        if one.profile is None and one in self._found:
            self._forget(one)
        serial = identity.serial_number or ""
        key = (profile.profile.vendor, serial)
        before = [
            other for other in self._found if serial and other.key == key and self._left(other)
        ]
        for number, other in enumerate(before):
            self._found.remove(other)
            if number:
                self.places.remove(other.name)
        base = f"{profile.profile.model} {serial or seen.place}"
        name = before[0].name if before else self._free_name(base, seen, is_exact=True)
        self._found.append(_Found(seen, name, profile, key, self._away_from_now(seen)))
        log.info("reader_found", reader=name, profile=profile.id, address=seen.address)
        self.places.add(self._place(name, profile, seen))

    def _place(self, name: str, profile: ReaderProfile, seen: Sighting) -> ReaderConfig:
        return ReaderConfig(
            name=name, profile=profile.id, address=seen.address, currency=self.config.currency
        )

    def _show(self, one: _Found, reason: str) -> None:
        seen = one.sighting.seen
        texts = (
            ("", seen.name, "")
            if isinstance(seen, BleSeen)
            else (seen.manufacturer, seen.product, seen.serial)
        )
        address = one.sighting.address or one.sighting.place
        self.places.show(one.name, address, Stranger(reason, *texts))

    def _free_name(self, base: str, seen: Sighting, *, is_exact: bool = False) -> str:
        taken = {one.name for one in self._found} | {one.name for one in self.configured}
        wanted = base if is_exact else f"{base} {seen.place}"
        name = _NAME.sub("-", wanted).strip(" ._-")[:_LONGEST_NAME] or "reader"
        if name not in taken:
            return name
        return _NAME.sub("-", f"{name[:40]} {seen.place}")[:_LONGEST_NAME]

    def _configured_name(self, seen: Sighting) -> str | None:
        return next((one.name for one in self.configured if is_meant(one.address, seen)), None)

    # --- time ------------------------------------------------------------------------------------------------------

    def _wait_s(self) -> float | None:
        now = self.clock.elapsed()
        times = [at for one in self._found if (at := self._due(one)) is not None]
        return max(0.0, min(times) - now) if times else None

    def _due(self, one: _Found) -> float | None:
        times = [] if one.ask_again_at is None else [one.ask_again_at]
        if one.loader is not None and one.loader_left_at is None and not one.is_stuck:
            times.append(one.loader_since + _loader_max_s(one.loader))
        if one.away_since is not None:
            times.append(one.away_since + self.config.forget_after_h * 3600)
        return min(times, default=None)

    async def _look_at_the_clock(self) -> None:
        now = self.clock.elapsed()
        for one in [one for one in self._found if (self._due(one) or now + 1) <= now]:
            if one.ask_again_at is not None and one.ask_again_at <= now:
                one.ask_again_at = None
                await self._identify(one)
            elif one.loader is not None and one.loader_left_at is None and not one.is_stuck:
                self._note_stuck(one, one.loader)
            elif self.places.may_forget(one.name):
                self._forget(one)
            else:
                one.away_since = now

    def _note_stuck(self, one: _Found, loader: ReaderProfile) -> None:
        one.is_stuck = True
        words = (
            f"It has been in its boot loader for more than {_loader_max_s(loader):.0f} s. "
            "Unplug it for ten seconds; if it stays there, its firmware must be installed again."
        )
        self.places.remark(one.name, words)
        self.places.tell(one.name, "reader.stuck_in_bootloader", "error", words)

    def _forget(self, one: _Found) -> None:
        self._found.remove(one)
        self.places.remove(one.name)


def _loader_max_s(profile: ReaderProfile) -> float:
    return profile.bootloader.max_s if profile.bootloader else 600.0


def bridges(profiles: Iterable[ReaderProfile]) -> frozenset[tuple[int, int]]:
    """The numbers of USB-serial chips that profiles know."""
    return frozenset(
        (one.vid, one.pid)
        for profile in profiles
        for rule in profile.match.serial
        for one in rule.usb
    )


def is_meant(address: str, seen: Sighting) -> bool:
    """Whether a configured address may mean this device; then it is never asked anything else."""
    try:
        meant = Address.parse(address, {})
    except AgentError:
        return False
    if meant.scheme == "serial":
        return bool(seen.port) and meant.path == seen.port
    if meant.scheme == "ble":
        return seen.address.upper() == f"BLE://{meant.host}"
    if meant.scheme != "usb" or not isinstance(seen.seen, UsbSeen):
        return False
    bus, _, port = seen.place.removeprefix("usb ").partition("-")
    facts = (
        (meant.host.upper(), f"{seen.seen.vid:04X}:{seen.seen.pid:04X}"),
        (meant.path.strip("/"), seen.seen.serial),
        (meant.options.get("bus", ""), bus),
        (meant.options.get("port", ""), port),
    )
    return all(wanted in ("", found) for wanted, found in facts)


def _tried(tried: Sequence[Probed]) -> str:
    if not tried:
        return "No profile fits."
    return "Tried: " + "; ".join(f"{one.profile_id}: {one.words}" for one in tried)
