"""A device without readers: journal, outbox and cloud, as the agent puts them together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agent.clock import Clock, SystemClock
from agent.cloud import Cloud, Self, Way
from agent.identity import Identity
from agent.journal import Journal
from agent.mqtt_link import Received
from agent.spool import Spool
from agent.timekeeping import DeviceTime
from protocols.cloud.commands import DesiredConfig
from protocols.cloud.events import (
    DeviceEvent,
    OutboxLevel,
    PaymentResult,
    ReportedConfig,
    ReportedState,
    Telemetry,
)


class Device:
    """`commands` holds what came down; `model` is a word in its state that a test may change."""

    def __init__(
        self,
        identity: Identity,
        state_dir: Path,
        *,
        clock: Clock | None = None,
        way: Way = Way.AUTO,
        fallback_after_s: float = 60,
        time: DeviceTime | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.time = time or DeviceTime(self.clock)
        self.journal = Journal(state_dir, now=self.time.now())
        self.spool = Spool(self.journal, self.time)
        self.commands: list[Received] = []
        self.configs: list[DesiredConfig] = []
        self.hostname = "till-1"
        self.cloud = Cloud(
            identity,
            self.spool,
            self.time,
            self.clock,
            boot=self.journal.boot,
            about=Self(self._state, self._telemetry),
            on_command=self.commands.append,
            on_config=self.configs.append,
            way=way,
            fallback_after_s=fallback_after_s,
        )

    def _state(self) -> ReportedState:
        return ReportedState(
            ts="now",
            boot=self.journal.boot,
            agent_version="0",
            accepts=["cmd.v1"],
            epoch=self.journal.epoch,
            config=ReportedConfig(),
            readers=[],
            outbox=OutboxLevel(pending=0, oldest_s=0),
            hostname=self.hostname,
        )

    def _telemetry(self) -> Telemetry:
        return Telemetry(
            ts="now",
            boot=self.journal.boot,
            uptime_s=1,
            rss_kib=1,
            load_1m=0.0,
            disk_free_mib=1,
            outbox_pending=self.spool.pending,
        )

    async def pay(self, number: int) -> None:
        """Store the result of one payment of `number` cents."""
        await self.spool.record(
            PaymentResult(
                session_id=f"ts_{number:06}",
                reader_id="rd_0001",
                kind="sale",
                outcome="approved",
                amount_minor=number,
                currency="EUR",
                decided_by="answer",
            )
        )

    async def note(self, text: str) -> None:
        """Store an event."""
        await self.spool.record(DeviceEvent(kind="test.event", severity="info", text=text))


@asynccontextmanager
async def running(device: Device) -> AsyncIterator[Device]:
    """Let it live; afterwards it goes offline in order."""
    device.journal.start()
    await device.spool.load()
    task = asyncio.create_task(device.cloud.run())
    try:
        yield device
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await device.journal.close()


def amounts(messages: Sequence[object]) -> list[int]:
    """What was paid, in the order of the messages."""
    return [one.amount_minor for one in messages if isinstance(one, PaymentResult)]
