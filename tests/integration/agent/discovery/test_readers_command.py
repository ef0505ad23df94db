"""`omnitill-agent readers` on the real udev and libusb: what is plugged in, what may be behind it, who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agent.simulator.usb_bus import UsbBus, UsbDevice, hid_interface
from tests.support.usb_bench import DYNAFLEX, Puppet, plugged_in, run_agent_on, usb_bus

pytestmark = pytest.mark.anyio

VP3300 = UsbDevice(0x0ACD, 0x3530, "ID TECH", "VP3300", port="4")
STICK = UsbDevice(0x0781, 0x5567, "SanDisk", "Cruzer", "4C53", port="3")


@pytest.fixture
async def bus() -> AsyncIterator[UsbBus]:
    async with usb_bus() as made:
        yield made


async def test_whatever_is_plugged_in_is_matched_and_asked(bus: UsbBus) -> None:
    await Puppet(bus, STICK, "stick").plug_in()
    async with (
        plugged_in(bus, "magtek_mms", DYNAFLEX, "magtek", serial_number="B5A0001"),
        plugged_in(bus, "idtech_neo", VP3300, "idtech", serial_number="Z9001"),
    ):
        code, (magtek, idtech), err = await run_agent_on(bus, "readers", "--probe", "--json")

    assert (code, err) == (0, "")
    assert magtek["seen"] == "0801:2020 MagTek DynaFlex II, number B5A0001, at usb 1-1"
    assert magtek["address"] == "usb://0801:2020/B5A0001"
    assert magtek["confirmed"]["serial_number"] == "B5A0001"
    assert magtek["confirmed"]["profile"] == magtek["candidates"][0]["profile"]
    points = [one["points"] for one in magtek["candidates"]]
    assert points == sorted(points, reverse=True)
    assert idtech["address"] == "usb://0acd:3530?bus=1&port=4"
    assert idtech["confirmed"]["profile"] == "idtech-vp3300"
    assert idtech["confirmed"]["serial_number"] == "Z9001"


async def test_what_does_not_answer_is_shown_with_what_was_tried(bus: UsbBus) -> None:
    silent = Puppet(bus, replace(DYNAFLEX, interfaces=(hid_interface(),)))
    await silent.plug_in()

    code, (seen,), _ = await run_agent_on(bus, "readers", "--probe", "--json", within_s=90)

    assert code == 0
    assert "confirmed" not in seen
    # Who is silent to one question of a protocol is not asked again by the next profile of it.
    assert [one["profile"] for one in seen["tried"]] == [seen["candidates"][0]["profile"]]
    assert len(seen["candidates"]) > 1
    assert all(one["says"] for one in seen["tried"])
    assert silent.lines
    assert all(line.lost is not None for line in silent.lines)


async def test_the_kernel_s_other_devices_are_left_alone(bus: UsbBus) -> None:
    stick = Puppet(bus, STICK, "stick")
    await stick.plug_in()

    assert (await run_agent_on(bus, "readers", "--probe", "--json"))[:2] == (1, [])
    _, (seen,), _ = await run_agent_on(bus, "readers", "--all", "--probe", "--json")

    assert seen["candidates"] == []
    assert stick.socket.seen == []


async def test_a_reader_in_its_boot_loader_is_named_and_not_asked(bus: UsbBus) -> None:
    loader = Puppet(bus, UsbDevice(0x0801, 0x2021, "MagTek", "Boot"))
    await loader.plug_in()

    _, (seen,), _ = await run_agent_on(bus, "readers", "--probe", "--json")

    assert seen["boot_loader_of"].startswith("magtek-")
    assert "tried" not in seen
    assert loader.socket.seen == []
