"""New software for a reader on USB, over the real libusb: it leaves, comes as its boot loader, then as itself."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from protocols.readers.magtek_mms.machine import make_host
from protocols.readers.protocol import (
    Connect,
    Finished,
    InstallSoftware,
    Outcome,
    ReaderCommand,
    ReaderEvent,
    SoftwareFile,
    TransferProgress,
)
from tests.support.usb_bench import DYNAFLEX, Host, plugged_in, usb_bus, usb_host
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

IMAGE = b"version 2000009373-B7-PCI\x00" + bytes(20_000)
INSTALL = InstallSoftware(
    (
        SoftwareFile(
            1,
            len(IMAGE),
            sha256(IMAGE).digest(),
            lambda offset, length: IMAGE[offset : offset + length],
        ),
    )
)


async def run(host: Host, machine: Any, command: ReaderCommand) -> list[ReaderEvent]:
    """Carry reports between the till's machine and the line until the command ends; time stands still."""
    events: list[ReaderEvent] = []
    machine.start(command, 0.0)
    while not any(isinstance(event, Finished) for event in events):
        while report := machine.outgoing():
            assert await host.write(report) == {}
        deadline = machine.deadline()
        if deadline is not None and deadline <= 0.0:
            events += machine.expired(0.0)
            continue
        events += machine.feed(bytes.fromhex((await host.read())["data"]), 0.0)
    return events


async def opened(host: Host, address: str) -> None:
    async def can_be_opened() -> bool:
        return await host.open(address) == {}

    assert await eventually_async(can_be_opened, deadline_s=20)


async def test_an_update_by_usb_goes_through_the_boot_loader() -> None:
    async with (
        usb_bus() as bus,
        usb_host(bus) as host,
        plugged_in(bus, "magtek_mms", DYNAFLEX, reboot_s=4.0) as reader,
    ):
        machine = make_host("usb_hid", {"currency": "EUR"})
        machine.connected(0.0)
        await opened(host, "usb://0801:2020")
        events = await run(host, machine, INSTALL)
        await host.ask("close")

        await opened(host, "usb://0801:2021")
        boot_loader = reader.socket.address
        await host.ask("close")
        await opened(host, f"usb://0801:2020/{DYNAFLEX.serial}")
        machine.connected(0.0)
        finished = (await run(host, machine, Connect()))[-1]

    assert [event.outcome for event in events if isinstance(event, Finished)] == [Outcome.DONE]
    assert len([event for event in events if isinstance(event, TransferProgress)]) >= 2
    assert boot_loader == "usb://0801:2021?bus=1&port=1"
    assert isinstance(finished, Finished)
    assert finished.identity is not None
    assert finished.identity.software_version == "2000009373-B7-PCI"
