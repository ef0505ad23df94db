"""The USB transport on the real pyusb and libusb, against a bus that answers libusb's system calls."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agent.simulator.usb_bus import UsbBus, UsbDevice, cdc_interfaces, hid_interface
from tests.support.usb_bench import DYNAFLEX, Host, Puppet, usb_bus, usb_host
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

REPORT = b"\x00\x05hello".ljust(64, b"\0")
TERMINAL = UsbDevice(0x0B00, 0x0081, "Ingenico", "Desk500", interfaces=cdc_interfaces())


@pytest.fixture
async def bus() -> AsyncIterator[UsbBus]:
    async with usb_bus() as made:
        yield made


@pytest.fixture
async def host(bus: UsbBus) -> AsyncIterator[Host]:
    async with usb_host(bus) as made:
        yield made


@pytest.fixture
async def reader(bus: UsbBus) -> Puppet:
    plugged = Puppet(bus)
    await plugged.plug_in()
    return plugged


async def test_one_report_is_one_packet_both_ways(host: Host, reader: Puppet) -> None:
    assert await host.open("usb://0801:2020") == {}
    line = await reader.line()

    assert await host.write(REPORT) == {}
    assert await line.read() == REPORT
    await line.write(REPORT)
    await line.write(b"\x01".ljust(64, b"\0"))
    first, second = await host.read(), await host.read()

    assert bytes.fromhex(first["data"]) == REPORT
    assert bytes.fromhex(second["data"])[0] == 1


async def test_the_kernel_gets_its_interface_back_and_no_thread_stays(
    host: Host, reader: Puppet
) -> None:
    await host.open("usb://0801:2020")
    assert [told["bound"] for told in reader.saw("driver")] == [False]

    assert await host.ask("close") == {"threads": 0}

    async def given_back() -> bool:
        return [told["bound"] for told in reader.saw("driver")] == [False, True]

    assert await eventually_async(given_back)
    assert reader.saw("released")
    assert await host.open("usb://0801:2020") == {}


async def test_reports_without_an_endpoint_out_go_through_the_control_endpoint(
    bus: UsbBus, host: Host
) -> None:
    device = replace(DYNAFLEX, interfaces=(hid_interface(has_out=False),))
    reader = Puppet(bus, device)
    await reader.plug_in()
    await host.open("usb://0801:2020", report_id=1)

    await host.write(b"\x04" + REPORT[1:])

    line = await reader.line()
    assert await line.read() == b"\x04" + REPORT[1:]
    assert reader.saw("control")[0]["value"] == 0x0204


async def test_a_stream_comes_in_pieces_and_its_line_is_set(bus: UsbBus, host: Host) -> None:
    reader = Puppet(bus, TERMINAL)
    await reader.plug_in()
    assert await host.open("usb://0b00:0081", transfer="bulk", baud=9600) == {}
    line = await reader.line()

    await host.write(b"\x05")
    assert await line.read() == b"\x05"
    await line.write(bytes(range(256)) * 20)
    received = b""
    while len(received) < 5120:
        received += bytes.fromhex((await host.read())["data"])

    assert received == bytes(range(256)) * 20
    coding, lines = reader.saw("control")
    assert (coding["request"], coding["data"]) == (0x20, "80250000000008")
    assert (lines["request"], lines["value"]) == (0x22, 3)
    assert sorted(told["interface"] for told in reader.saw("claimed")) == [0, 1]


async def test_nothing_plugged_in_is_said_so(host: Host) -> None:
    answer = await host.open("usb://0801:2020")

    assert answer["unavailable"] == "not_found"


async def test_another_program_that_holds_it_is_named_as_the_reason(
    bus: UsbBus, host: Host, reader: Puppet
) -> None:
    async with usb_host(bus) as other:
        assert await other.open("usb://0801:2020") == {}
        assert (await host.open("usb://0801:2020"))["unavailable"] == "busy"
        await other.ask("close")

        assert await host.open("usb://0801:2020") == {}


async def test_a_missing_right_tells_the_rule_to_install(
    bus: UsbBus, host: Host, reader: Puppet
) -> None:
    reader.node().chmod(0)

    answer = await host.open("usb://0801:2020")

    assert answer["unavailable"] == "no_permission"
    assert 'ATTR{idVendor}=="0801", ATTR{idProduct}=="2020"' in answer["message"]
    assert "dialout" not in answer["message"]


async def test_two_equal_readers_are_never_mixed_up(bus: UsbBus, host: Host) -> None:
    twins = [
        Puppet(bus, replace(DYNAFLEX, serial=serial, port=port), key=port)
        for serial, port in (("B5A0001", "1.2"), ("B5A0002", "1.3"))
    ]
    for twin in twins:
        await twin.plug_in()

    unclear = await host.open("usb://0801:2020")
    assert unclear["unavailable"] == "ambiguous"
    assert "bus=1&port=1.2" in unclear["message"]
    assert not any(twin.lines for twin in twins)

    for address, twin in (("/B5A0002", twins[1]), ("?bus=1&port=1.2", twins[0])):
        assert await host.open(f"usb://0801:2020{address}") == {}
        await host.write(REPORT)
        assert await (await twin.line()).read() == REPORT
        await host.ask("close")
        assert not any(line.lost is None for twin in twins for line in twin.lines)


async def test_a_device_without_a_fitting_interface_is_not_taken(bus: UsbBus, host: Host) -> None:
    reader = Puppet(bus, TERMINAL)
    await reader.plug_in()
    stick = replace(DYNAFLEX, port="2", interfaces=({"number": 0, "class": 8, "endpoints": []},))
    await bus.plug("stick", stick, lambda _: None)

    assert (await host.open("usb://0801:2020"))["unavailable"] == "wrong_device"


@pytest.mark.parametrize("failure", [errno.EPIPE, errno.EOVERFLOW, errno.EPROTO])
async def test_one_spoilt_transfer_does_not_end_the_line(
    bus: UsbBus, host: Host, reader: Puppet, failure: int
) -> None:
    await host.open("usb://0801:2020")
    line = await reader.line()
    bus.fault(reader.key, "fail", endpoint=0x81, errno=failure)

    await line.write(REPORT)

    assert (await host.read())["data"] == REPORT.hex()


async def test_a_stall_is_cleared_in_both_directions(
    bus: UsbBus, host: Host, reader: Puppet
) -> None:
    await host.open("usb://0801:2020")
    line = await reader.line()

    bus.fault(reader.key, "stall", endpoint=0x81)
    await line.write(REPORT)
    assert (await host.read())["data"] == REPORT.hex()
    bus.fault(reader.key, "stall", endpoint=0x01)
    assert await host.write(REPORT) == {}

    assert await line.read() == REPORT
    assert [told["endpoint"] for told in reader.saw("cleared")] == [0x81, 0x01]


async def test_a_reader_that_stalls_for_ever_ends_the_line(
    bus: UsbBus, host: Host, reader: Puppet
) -> None:
    await host.open("usb://0801:2020")
    for _ in range(4):
        bus.fault(reader.key, "fail", endpoint=0x81, errno=errno.EPIPE)

    assert (await host.read())["lost"] == "failed"


async def test_a_reader_that_takes_nothing_is_told_from_one_that_is_gone(
    bus: UsbBus, host: Host, reader: Puppet
) -> None:
    await host.open("usb://0801:2020", write_timeout_s=0.3)
    bus.fault(reader.key, "hold", endpoint=0x01)

    assert (await host.write(REPORT))["lost"] == "write_timeout"
    assert (await host.read())["lost"] == "write_timeout"
    await host.ask("close")
    bus.fault(reader.key, "release", endpoint=0x01)
    assert await host.open("usb://0801:2020") == {}
    assert await host.write(REPORT) == {}


async def test_a_plug_pulled_while_reading_is_noticed_at_once(host: Host, reader: Puppet) -> None:
    await host.open("usb://0801:2020")
    host.say("read")
    await reader.unplug()

    assert (await host.answer(within_s=2))["lost"] == "unplugged"
    assert (await host.write(REPORT))["lost"] == "unplugged"


async def test_a_plug_pulled_while_writing_is_no_timeout(
    bus: UsbBus, host: Host, reader: Puppet
) -> None:
    await host.open("usb://0801:2020")
    bus.fault(reader.key, "hold", endpoint=0x01)
    host.say("write", data=REPORT.hex())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for((await reader.line()).read(), 0.2)
    await reader.unplug()

    assert (await host.answer(within_s=2))["lost"] == "unplugged"


async def test_the_boot_loader_is_another_device_until_the_reader_is_back(
    host: Host, reader: Puppet
) -> None:
    await host.open("usb://0801:2020/B5A0001")
    await reader.unplug()
    assert (await host.read())["lost"] == "unplugged"

    reader.socket.become(pid=0x2021, serial="")
    await reader.plug_in()
    assert (await host.open("usb://0801:2020/B5A0001"))["unavailable"] == "not_found"
    assert await host.open("usb://0801:2021") == {}
    await reader.unplug()
    reader.socket.become(pid=0x2020, serial="B5A0001")
    await reader.plug_in()

    async def back() -> bool:
        return await host.open("usb://0801:2020/B5A0001") == {}

    assert await eventually_async(back)
