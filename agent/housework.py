"""What is looked after now and then: disk, journal, the closing of a day, what is old enough to be forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Final

import structlog

from agent import inbox, sessions
from agent.errors import AgentError
from agent.journal import JournalDamaged
from protocols.cloud.events import DeviceEvent, OutboxLevel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.clock import Clock
    from agent.journal import Journal
    from agent.spool import Spool
    from agent.timekeeping import DeviceTime

log = structlog.get_logger()

LOOK_S: Final = 30.0
FORGET_S: Final = 3600.0
CHECK_S: Final = 86_400.0


class Housework:
    """`run` does it until cancelled; `on_damage` is called when the journal is not sound any more."""

    def __init__(
        self,
        journal: Journal,
        spool: Spool,
        time: DeviceTime,
        clock: Clock,
        *,
        on_damage: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._spool = spool
        self._time = time
        self._clock = clock
        self._on_damage = on_damage
        self._had_room = True
        self._forget_at = clock.elapsed()
        # Somewhere in the first day, so that the devices of a shop do not all read their disks at once.
        self._check_at = clock.elapsed() + CHECK_S * random.uniform(0.1, 1)  # noqa: S311 (spreads the load)
        self._oldest_s = 0

    def level(self) -> OutboxLevel:
        """How much waits now, and how old the oldest was when it was last looked at."""
        pending = self._spool.pending
        return OutboxLevel(pending=pending, oldest_s=self._oldest_s if pending else 0)

    async def run(self) -> None:
        """Look around now and then."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Do what is due."""
        if self._clock.elapsed() >= self._check_at:
            self._check_at = self._clock.elapsed() + CHECK_S
            await self._journal.check()
        if self._journal.trouble is not None or not self._journal.has_room():
            await self._journal.probe()
        if isinstance(self._journal.trouble, JournalDamaged):
            self._on_damage()
            return
        for work in (
            self._tell_room,
            self._spool.tell_caught,
            self._spool.close_day,
            self._measure,
            self._forget,
        ):
            await _another_time_if_it_must(work)

    async def _tell_room(self) -> None:
        has_room = self._journal.has_room()
        if has_room == self._had_room:
            return
        free_mib = self._journal.room_bytes() // (1024 * 1024)
        log.warning("disk_room_changed", has_room=has_room, free_mib=free_mib)
        await self._spool.record(_about_room(has_room, free_mib))
        self._had_room = has_room

    async def _measure(self) -> None:
        _, self._oldest_s = await self._spool.level()

    async def _forget(self) -> None:
        if self._clock.elapsed() < self._forget_at:
            return
        self._forget_at = self._clock.elapsed() + FORGET_S
        now = int(self._time.now().timestamp())
        while await self._spool.forget_old():
            continue
        while await self._journal.write(
            lambda tx: (
                inbox.forget_old(tx, now - inbox.KEPT_S)
                + sessions.forget_old(tx, now - sessions.KEPT_S)
            )
        ):
            continue


async def _another_time_if_it_must(work: Callable[[], Awaitable[object]]) -> None:
    """What the journal cannot take now is done another time; its trouble is looked after by itself."""
    with contextlib.suppress(AgentError):
        await work()


def _about_room(has_room: bool, free_mib: int) -> DeviceEvent:
    facts = {"free_mib": str(free_mib)}
    if has_room:
        return DeviceEvent(
            kind="disk.room",
            severity="info",
            text="There is room on the device's disk again; payments are taken.",
            facts=facts,
        )
    return DeviceEvent(
        kind="disk.full",
        severity="error",
        text=f"Only {free_mib} MiB are left on the device's disk, the reserve included. "
        "No payment is taken until there is room.",
        facts=facts,
    )
