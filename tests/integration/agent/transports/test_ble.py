"""The Bluetooth transport on the real bleak, against a BlueZ of the simulator's."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.errors import Lost, TransportLost, TransportUnavailable, Unavailable
from agent.simulator.bluetooth import Bluez, Peripheral, private_bus
from agent.transports.ble_scan import heard
from tests.support.bluetooth import GATT, MAC, Radio, eventually, radio, within
from tests.support.programs import program

pytestmark = pytest.mark.anyio


@pytest.fixture
async def air(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Radio]:
    async with radio(monkeypatch) as made:
        yield made


async def refusal(air: Radio, **options: object) -> TransportUnavailable:
    transport = air.transport(**options)
    with pytest.raises(TransportUnavailable) as raised:
        await transport.open()
    assert transport.lost is None
    return raised.value


async def test_one_write_and_one_notification_are_one_packet_each(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    await transport.write(b"\x00\x00first")
    await transport.write(b"\x01\x00second")
    assert await within(air.line.read()) == b"\x00\x00first"
    assert await within(air.line.read()) == b"\x01\x00second"
    await air.line.write(b"one")
    await air.line.write(b"two")
    assert [await within(transport.read()), await within(transport.read())] == [b"one", b"two"]
    await transport.close()
    assert not air.device.is_connected
    assert transport.lost is Lost.CLOSED


async def test_a_packet_longer_than_the_pdu_is_split(air: Radio) -> None:
    transport = air.transport(pdu_max=20)
    await transport.open()
    await transport.write(bytes(range(45)))
    assert [len(await within(air.line.read())) for _ in range(3)] == [20, 20, 5]
    await transport.close()


async def test_an_unconfirmed_write_is_never_longer_than_the_link_takes(air: Radio) -> None:
    transport = air.transport(pdu_max=512, write_with_response=False)
    await transport.open()
    await transport.write(bytes(500))
    assert [len(await within(air.line.read())) for _ in range(3)] == [244, 244, 12]
    await transport.close()


async def test_a_write_waits_while_another_is_in_progress(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    air.bluez.tricks.in_progress = 3
    await transport.write(b"patience")
    assert await within(air.line.read()) == b"patience"
    assert air.bluez.calls["WriteValue"] == 4
    await transport.close()


async def test_a_write_that_is_in_progress_for_ever_ends_the_line(air: Radio) -> None:
    transport = air.transport(write_timeout_s=0.1)
    await transport.open()
    air.bluez.tricks.in_progress = 1_000_000
    with pytest.raises(TransportLost) as lost:
        await transport.write(b"never")
    assert lost.value.reason is Lost.WRITE_TIMEOUT
    air.bluez.tricks.in_progress = 0
    await transport.close()


async def test_a_refused_write_ends_the_line_and_names_the_reason(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    air.bluez.tricks.att_error = 0x0E
    with pytest.raises(TransportLost, match="ATT error 0x0e, unlikely_error") as lost:
        await transport.write(b"refused")
    assert lost.value.reason is Lost.FAILED
    await transport.close()


async def test_a_reader_that_wants_to_be_paired_says_how(air: Radio) -> None:
    air.bluez.tricks.wants_pairing = True
    refused = await refusal(air)
    assert f"bluetoothctl pair {MAC}" in refused.message
    assert not air.device.is_connected


async def test_a_lost_notification_is_not_made_up(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    air.bluez.tricks.lose_notifications = 1
    await air.line.write(b"lost")
    await air.line.write(b"heard")
    assert await within(transport.read()) == b"heard"
    await transport.close()


async def test_a_reader_that_leaves_ends_the_line_after_its_last_words(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    await air.line.write(b"bye")
    air.bluez.hang_up(air.device)
    await eventually(lambda: transport.lost is Lost.RADIO)
    assert await within(transport.read()) == b"bye"
    with pytest.raises(TransportLost):
        await within(transport.read())
    with pytest.raises(TransportLost):
        await transport.write(b"nobody there")
    await transport.close()
    await transport.open()
    await transport.write(b"again")
    assert await within(air.line.read()) == b"again"
    await transport.close()


async def test_bluetoothd_that_crashes_ends_the_line_and_its_return_brings_it_back(
    air: Radio,
) -> None:
    transport = air.transport()
    await transport.open()
    air.bluez.crash()
    with pytest.raises(TransportLost) as lost:
        await within(transport.read())
    assert lost.value.reason is Lost.FAILED
    assert "bluetoothd" in lost.value.message
    await transport.close()
    refused = await refusal(air)
    assert refused.reason is Unavailable.NO_BLUETOOTH
    assert "systemctl enable --now bluetooth" in refused.message
    await air.bluez.start()
    await transport.open()
    await transport.write(b"back")
    assert await within(air.line.read()) == b"back"
    await transport.close()


async def test_an_adapter_that_is_pulled_ends_the_line_and_comes_back(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    air.bluez.take_adapter_away()
    with pytest.raises(TransportLost, match="adapter was taken away"):
        await within(transport.read())
    await transport.close()
    refused = await refusal(air)
    assert refused.reason is Unavailable.NO_BLUETOOTH
    assert "plug one in" in refused.message
    air.bluez.put_adapter_back()
    await transport.open()
    await transport.write(b"back")
    assert await within(air.line.read()) == b"back"
    await transport.close()


async def test_an_adapter_that_is_switched_off_says_how_to_switch_it_on(air: Radio) -> None:
    transport = air.transport()
    await transport.open()
    air.bluez.switch(on=False)
    with pytest.raises(TransportLost):
        await within(transport.read())
    await transport.close()
    refused = await refusal(air)
    assert refused.reason is Unavailable.NO_BLUETOOTH
    assert "rfkill unblock bluetooth" in refused.message


async def test_services_that_are_never_told_end_the_attempt_in_time(air: Radio) -> None:
    air.bluez.tricks.never_resolves = True
    refused = await refusal(air, connect_timeout_s=0.3)
    assert refused.reason is Unavailable.TIMEOUT
    assert "does not tell its services" in refused.message
    await eventually(lambda: not air.device.is_connected)
    air.bluez.tricks.never_resolves = False
    transport = air.transport()
    await transport.open()
    await transport.close()


async def test_a_reader_that_is_not_heard_is_out_of_range(air: Radio) -> None:
    air.bluez.hide(air.device)
    refused = await refusal(air, connect_timeout_s=0.3)
    assert refused.reason is Unavailable.OUT_OF_RANGE
    assert air.bluez.calls["Connect"] == 0


async def test_a_device_without_the_characteristic_is_the_wrong_one(air: Radio) -> None:
    refused = await refusal(air, write="00001820-0000-1000-8000-00805f9b34fb")
    assert refused.reason is Unavailable.WRONG_DEVICE
    assert str(GATT["service"]) in refused.message
    assert not air.device.is_connected


async def test_a_connection_that_a_killed_program_left_behind_is_used(air: Radio) -> None:
    first, second = air.transport(), air.transport()
    await first.open()
    await second.open()
    assert air.bluez.calls["Connect"] == 1
    await second.write(b"taken over")
    assert await within(air.line.read()) == b"taken over"
    await second.close()
    await first.close()


async def test_without_a_bus_it_is_said_what_to_install(
    air: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
    refused = await refusal(air)
    assert refused.reason is Unavailable.NO_BLUETOOTH
    assert "install dbus bluez" in refused.message


SLOW_BUS = """#!{python}
import os, pathlib, socket, sys, time
config = next(one for one in sys.argv if one.startswith("--config-file=")).partition("=")[2]
socket.socket(socket.AF_UNIX).bind(str(pathlib.Path(config).with_name("bus")))
time.sleep(0.3)
os.execv("{real}", sys.argv)
"""


async def test_a_bus_is_given_out_no_sooner_than_it_takes_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "dbus-daemon"
    slow.write_text(SLOW_BUS.format(python=sys.executable, real=program("dbus-daemon")))
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async with private_bus() as address:
        bluez = Bluez(address)
        await bluez.start()
        was_running = bluez.is_running
        bluez.crash()

    assert was_running


async def test_the_scan_tells_who_is_there_and_connects_to_nobody(air: Radio) -> None:
    other = Peripheral(
        mac="AA:BB:CC:00:00:01",
        name="IDTECH-VP3300-00042",
        service="00001820-0000-1000-8000-00805f9b34fb",
        write=str(GATT["write"]),
        notify=str(GATT["notify"]),
        on_line=lambda _: None,
    )
    air.bluez.show(other)
    found = [one async for one in heard(0.3)]
    assert {(one.address, one.name) for one in found} == {
        (MAC, "DynaFlex II GO"),
        ("AA:BB:CC:00:00:01", "IDTECH-VP3300-00042"),
    }
    only = [one async for one in heard(0.3, services=["1820"])]
    assert [(one.address, one.services) for one in only] == [
        ("AA:BB:CC:00:00:01", ("00001820-0000-1000-8000-00805f9b34fb",))
    ]
    assert [one.manufacturer_ids for one in found if one.address == MAC] == [(0x0801,)]
    assert air.bluez.calls["Connect"] == 0


async def test_a_scan_without_bluetooth_says_what_to_do(air: Radio) -> None:
    air.bluez.switch(on=False)
    with pytest.raises(TransportUnavailable, match="rfkill"):
        [one async for one in heard(0.1)]
