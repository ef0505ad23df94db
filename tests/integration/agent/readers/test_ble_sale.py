"""A sale on an encrypting reader by radio, on the real bleak: what becomes of it when the radio fails in each state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent.clock import SystemClock
from agent.readers.connecting import reader_for
from agent.readers.reader import Reader, ReaderState
from agent.simulator.bluetooth import BleSocket, Bluez, private_bus
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from firmware_profiles import load_profile
from protocols.money import Money
from protocols.readers.protocol import (
    Finished,
    IssuerAnswer,
    OnlineWanted,
    Outcome,
    Progress,
    Purchase,
    ReaderEvent,
    Step,
)
from tests.support.bluetooth import MAC, eventually, forget_bleak
from tests.support.programs import program

if TYPE_CHECKING:
    from protocols.readers.protocol import TerminalMachine

pytestmark = pytest.mark.anyio

APPROVAL = IssuerAnswer(approved=True, response_code="00", authorization_code="123456")
Trouble = Callable[["Shop"], None]


class Shop:
    """A reader by radio and the simulated one behind it, both running."""

    def __init__(self, protocol: str, profile_id: str, bus: str) -> None:
        profile = load_profile(profile_id)
        gatt = profile.protocol.ble_gatt
        assert gatt is not None
        self.bluez = Bluez(bus)
        self.socket = BleSocket(
            self.bluez,
            mac=MAC,
            name=profile.profile.model,
            service="0cba14b7-ff24-47b0-be09-26440538530c",
            write=gatt.write,
            notify=gatt.notify,
        )
        self.machine: TerminalMachine = terminal(protocol, "ble_gatt", SystemClock(), pace=0.02)
        self.simulated = SimulatedReader(self.machine, self.socket)
        self.reader: Reader = reader_for(
            profile, f"{self.socket.address}?settle_ms=0&connect_timeout_s=3", currency="EUR"
        )
        self.events: list[ReaderEvent] = []

    def break_link(self) -> None:
        assert self.socket.peripheral is not None
        self.bluez.hang_up(self.socket.peripheral)

    async def reboot(self) -> None:
        """Somebody cuts the reader's power for a moment."""
        machine = cast("Any", self.machine)  # `control` is no part of driving one
        machine.control("reboot", SystemClock().elapsed())
        self.simulated.poke()
        await eventually(lambda: not self.simulated.is_up.is_set())
        await eventually(self.simulated.is_up.is_set)
        await self.is_ready()

    async def is_ready(self) -> None:
        await eventually(lambda: self.reader.status.state is ReaderState.READY)

    async def sell(self, at: object = None, trouble: Trouble | None = None) -> Finished:
        """A sale whose issuer approves; `trouble` comes with the event that is, or has the step, `at`."""
        waiting = [trouble]

        def on_event(event: ReaderEvent) -> None:
            self.events.append(event)
            what = event.step if isinstance(event, Progress) else type(event)
            if what is at and waiting[0] is not None:
                strike, waiting[0] = waiting[0], None
                strike(self)
            elif isinstance(event, OnlineWanted):
                self.reader.resume(APPROVAL)

        async with asyncio.timeout(20):
            return await self.reader.execute(Purchase(Money(12_00, "EUR")), on_event)


READERS = [("magtek_mms", "magtek-dynaflex-ii-go"), ("idtech_neo", "idtech-vp3300")]


@pytest.fixture(params=READERS, ids=[name for name, _ in READERS])
async def shop(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    program("dbus-daemon")
    async with private_bus() as bus:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)
        protocol, profile_id = request.param
        made = Shop(protocol, profile_id, bus)
        running = [
            asyncio.create_task(made.simulated.run()),
            asyncio.create_task(made.reader.run()),
        ]
        try:
            yield made
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            made.bluez.crash()
            await forget_bleak()


async def test_a_sale_is_approved_by_radio(shop: Shop) -> None:
    await shop.is_ready()
    finished = await shop.sell()
    wanted = [one for one in shop.events if isinstance(one, OnlineWanted)]
    assert finished.outcome is Outcome.APPROVED, finished
    assert len(wanted) == 1
    assert b"4111111111111111" not in wanted[0].tap.data


@pytest.mark.parametrize("at", [Step.WAITING_FOR_CARD, OnlineWanted], ids=["waiting", "online"])
@pytest.mark.parametrize("kind", ["link", "bluetoothd", "adapter"])
async def test_a_radio_that_fails_in_a_sale_ends_it_and_the_next_one_works(
    shop: Shop, at: object, kind: str
) -> None:
    troubles: dict[str, Trouble] = {
        "link": Shop.break_link,
        "bluetoothd": lambda shop: shop.bluez.crash(),
        "adapter": lambda shop: shop.bluez.take_adapter_away(),
    }
    await shop.is_ready()
    finished = await shop.sell(at, troubles[kind])
    assert finished.outcome in {Outcome.LOST, Outcome.FAILED}, finished
    if kind == "bluetoothd":
        await shop.bluez.start()
    if kind == "adapter":
        shop.bluez.put_adapter_back()
    # The reader's own attempt goes on without us; somebody cuts its power.
    await shop.reboot()
    assert (await shop.sell()).outcome is Outcome.APPROVED
    assert shop.reader.counts["lost"] >= 1


async def test_a_reader_that_restarts_is_found_again(shop: Shop) -> None:
    await shop.is_ready()
    shop.simulated.unplug()
    await eventually(lambda: shop.reader.status.state is ReaderState.DISCONNECTED)
    shop.simulated.plug_in()
    await shop.is_ready()
    assert (await shop.sell()).outcome is Outcome.APPROVED
