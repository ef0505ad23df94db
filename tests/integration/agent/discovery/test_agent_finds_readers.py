"""The agent as a process on a USB bus: readers come, go, restart and move while it runs, and the cloud knows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.simulator.usb_bus import UsbBus, UsbDevice, UsbSocket
from protocols.cloud.events import ReportedReader
from tests.support.branch import DEVICE, Site
from tests.support.usb_bench import DYNAFLEX, Puppet, plugged_in, start_agent_on, usb_bus
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

VP3300 = UsbDevice(0x0ACD, 0x3530, "ID TECH", "VP3300", port="1.4")
SWIPE = UsbDevice(0x0801, 0x0002, "MagTek", "Swipe Reader", port="3")
HERE, THERE = replace(DYNAFLEX, port="1.2"), replace(DYNAFLEX, port="1.3", serial="B5A0002")


@pytest.fixture
async def bus() -> AsyncIterator[UsbBus]:
    async with usb_bus() as made:
        yield made


class Box:
    """A running agent, and what the cloud was told last."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def readers(self) -> dict[str, ReportedReader]:
        states = self._site.plane.taken(DEVICE).states
        return {one.name: one for one in states[-1].readers} if states else {}

    async def until(self, probe: Callable[[dict[str, ReportedReader]], object]) -> None:
        async def seen() -> bool:
            return bool(probe(self.readers()))

        try:
            await eventually_async(seen, deadline_s=20)
        except AssertionError as failure:
            raise AssertionError(self.readers()) from failure

    async def until_states(self, **states: str) -> dict[str, ReportedReader]:
        wanted = sorted(states.items())
        await self.until(
            lambda readers: (
                sorted(
                    ((one.serial_number or one.model or "").replace(" ", "_"), one.state)
                    for one in readers.values()
                )
                == wanted
            )
        )
        return {
            (one.serial_number or one.model or "").replace(" ", "_"): one
            for one in self.readers().values()
        }


@pytest.fixture
async def box(bus: UsbBus, site: Site, state_dir: Path, tmp_path: Path) -> AsyncIterator[Box]:
    site.enrolled(state_dir)
    config = tmp_path / "agent.toml"
    config.write_text(f'state_dir = "{state_dir}"\ncloud = "mqtt"\nfinish_within_s = 1\n')
    process = await start_agent_on(bus, "run", "--config", str(config))
    assert process.stdout is not None
    assert process.stderr is not None
    draining = [asyncio.create_task(one.read()) for one in (process.stdout, process.stderr)]
    try:
        yield Box(site)
    finally:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 15)
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.gather(*draining)


async def test_readers_that_come_and_go_are_known_by_their_own_numbers(
    bus: UsbBus, box: Box
) -> None:
    async with plugged_in(bus, "magtek_mms", HERE, "one", serial_number="B5A0001", pace=0.02):
        first = await box.until_states(B5A0001="ready")
        async with (
            plugged_in(bus, "magtek_mms", THERE, "two", serial_number="B5A0002", pace=0.02),
            plugged_in(bus, "idtech_neo", VP3300, "three", serial_number="Z9001", pace=0.02),
        ):
            three = await box.until_states(B5A0001="ready", B5A0002="ready", Z9001="ready")
            assert len({one.reader_id for one in three.values()}) == 3
            assert three["B5A0001"].reader_id == first["B5A0001"].reader_id
            assert three["Z9001"].profile == "idtech-vp3300"
        await box.until_states(B5A0001="ready", B5A0002="disconnected", Z9001="disconnected")

    moved = replace(HERE, port="1.1")
    async with plugged_in(bus, "magtek_mms", moved, "four", serial_number="B5A0001", pace=0.02):
        again = await box.until_states(
            B5A0001="ready", B5A0002="disconnected", Z9001="disconnected"
        )
        assert again["B5A0001"].reader_id == first["B5A0001"].reader_id


async def test_a_boot_loader_is_not_a_new_reader_and_a_stranger_is_shown(
    bus: UsbBus, box: Box
) -> None:
    async with plugged_in(
        bus, "magtek_mms", HERE, "one", serial_number="B5A0001", pace=0.02
    ) as reader:
        before = await box.until_states(B5A0001="ready")
        reader.unplug()
        await box.until_states(B5A0001="disconnected")
        loader = Puppet(bus, replace(HERE, pid=0x2021, serial="", product="Boot"), "loader")
        await loader.plug_in()
        await box.until(
            lambda readers: any("boot loader" in one.reason for one in readers.values())
        )
        assert len(box.readers()) == 1
        await loader.unplug()
        assert isinstance(reader.socket, UsbSocket)
        reader.plug_in()
        after = await box.until_states(B5A0001="ready")
        assert after["B5A0001"].reader_id == before["B5A0001"].reader_id
        assert loader.socket.seen == [], "somebody opened the boot loader"

        stranger = Puppet(bus, SWIPE, "swipe")
        await stranger.plug_in()
        seen = await box.until_states(B5A0001="ready", Swipe_Reader="unidentified")
        assert "0801:0002 MagTek Swipe Reader, at usb 1-3" in seen["Swipe_Reader"].reason
        assert stranger.socket.seen == []
        await stranger.unplug()
        await box.until_states(B5A0001="ready")
