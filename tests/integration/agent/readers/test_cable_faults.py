"""Sales over real cables that fail in each state: pyserial on a pty, libusb on a bus; the outcome is what happened.

The till is a process of its own with the real transport; the reader is simulated behind a real plug, and the test does
to the plug what shops do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.simulator.reader import SimulatedReader
from agent.simulator.script import terminal
from agent.simulator.sockets import PtySocket, Socket
from agent.simulator.usb_bus import UsbBus, UsbDevice, UsbSocket, cdc_interfaces
from tests.support.usb_bench import DYNAFLEX, usb_bus
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

STATES = ["begun", "waiting_for_card", "authorizing"]
PROGRAM = Path(__file__).parents[3] / "support" / "sale_program.py"
KEY = "reader"


@dataclass(frozen=True)
class Lane:
    """A protocol, the profile that drives it, and what it is plugged into."""

    protocol: str
    profile: str
    framing: str
    device: UsbDevice | None = None
    """None: a serial port."""

    settings: tuple[tuple[str, Any], ...] = ()
    """Of the simulated reader."""
    script: str = "approve"

    @property
    def settles_by_itself(self) -> bool:
        return self.protocol == "zvt"


PASSWORD = (("password", "000000"),)
LANES = {
    "zvt on a serial port": Lane("zvt", "generic-zvt-serial", "serial", None, PASSWORD),
    "zvt on a usb stream": Lane(
        "zvt",
        "generic-zvt-serial",
        "serial",
        UsbDevice(0x11CA, 0x0207, "Verifone", "VX 810", "77", interfaces=cdc_interfaces()),
        PASSWORD,
    ),
    "magtek on usb": Lane(
        "magtek_mms", "magtek-dynaflex", "usb_hid", DYNAFLEX, (("answer_wait_s", 1.0),)
    ),
    "id tech on usb": Lane(
        "idtech_neo",
        "idtech-vp3300",
        "usb_hid",
        replace(DYNAFLEX, vid=0x0ACD, pid=0x3530, serial="Z9001"),
        script="tap",
    ),
}


CONCERT = Lane(
    "concert",
    "generic-concert-cdc",
    "serial",
    UsbDevice(0x0B00, 0x0081, "Ingenico", "Desk500", interfaces=cdc_interfaces()),
)


@dataclass
class Shop:
    """One reader, its plug, and a till."""

    lane: Lane
    reader: SimulatedReader
    process: asyncio.subprocess.Process
    bus: UsbBus | None
    steps: list[str] = field(default_factory=list)

    def charged(self) -> list[int]:
        """What a terminal's own books say was paid, in minor units."""
        told: Any = self.reader.machine.snapshot().get("transactions", [])
        return [one["amount_minor"] for one in told if one["state"] == "done"]

    async def sell(
        self, minor: int, state: str = "", trouble: Trouble | None = None
    ) -> dict[str, Any]:
        """How a sale ends when `trouble` comes in a state of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"sell": minor}).encode() + b"\n")
        self.steps.clear()
        while True:
            line = await asyncio.wait_for(self.process.stdout.readline(), 15)
            told: dict[str, Any] = json.loads(line)
            if "outcome" in told:
                assert trouble is None, f"never {state}: {self.steps}"
                return told
            step = told.get("step", "")
            self.steps.append(step)
            if step == state and trouble is not None:
                await trouble(self)
                trouble = None


Trouble = Callable[[Shop], Awaitable[None]]


async def pull_and_plug(shop: Shop) -> None:
    shop.reader.unplug()
    await _until(lambda: not shop.reader.is_up.is_set())
    shop.reader.plug_in()
    await _until(shop.reader.is_up.is_set)


async def cut_the_power(shop: Shop) -> None:
    machine: Any = shop.reader.machine
    machine.control("reboot", SystemClock().elapsed())
    shop.reader.poke()
    await _until(lambda: not shop.reader.is_up.is_set())
    await _until(shop.reader.is_up.is_set)


async def send_garbage(shop: Shop) -> None:
    line: Any = shop.reader._line  # noqa: SLF001 (the line's noise is nobody's interface)
    for noise in (b"\xff" * 64, bytes(range(64)), b"\x00" * 64):
        await line.write(noise)


async def dribble(shop: Shop) -> None:
    """The reader's next bytes come one by one, with a pause after each."""
    line: Any = shop.reader._line  # noqa: SLF001 (as above)
    write = line.write
    left = 60

    async def slowly(outgoing: bytes) -> None:
        nonlocal left
        for byte in outgoing[:left]:
            await write(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                # Nothing is awaited: this is the pace of the wire.
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        await write(outgoing[left:])
        left = max(0, left - len(outgoing))

    line.write = slowly


async def stall(shop: Shop) -> None:
    assert shop.bus is not None
    shop.bus.fault(KEY, "stall", endpoint=0x81)


async def babble(shop: Shop) -> None:
    assert shop.bus is not None
    shop.bus.fault(KEY, "fail", endpoint=0x81, errno=75)


async def take_nothing_for_a_while(shop: Shop) -> None:
    assert shop.bus is not None
    shop.bus.fault(KEY, "hold", endpoint=0x81)
    release = partial(shop.bus.fault, KEY, "release", endpoint=0x81)
    asyncio.get_running_loop().call_later(1.0, release)


async def _until(probe: Callable[[], object]) -> None:
    async def seen() -> object:
        return probe()

    await eventually_async(seen, deadline_s=20)


@contextlib.asynccontextmanager
async def opened(lane: Lane, folder: Path) -> AsyncIterator[Shop]:
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(usb_bus()) if lane.device else None
        socket: Socket = (
            UsbSocket(bus, KEY, lane.device)
            if bus and lane.device
            else PtySocket(folder / "ttyPOS")
        )
        machine = terminal(
            lane.protocol,
            lane.framing,
            SystemClock(),
            pace=0.03,
            script=lane.script,
            **dict(lane.settings),
        )
        reader = SimulatedReader(machine, socket)
        running = asyncio.create_task(reader.run())
        await asyncio.wait_for(reader.is_up.wait(), 20)
        log = stack.enter_context((folder / "till.log").open("wb"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            lane.profile,
            socket.address,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={
                **os.environ,
                **(bus.environment if bus else {}),
                "PYTHONPATH": str(PROGRAM.parents[2]),
            },
        )
        try:
            yield Shop(lane, reader, process, bus)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            if process.returncode is None:
                process.kill()
                await process.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def check(shop: Shop, minor: int, state: str, trouble: Trouble) -> None:
    """One sale: charged once or not at all, as its outcome says; and the next one is as good as any."""
    ended = await shop.sell(minor, state, trouble)

    assert ended["outcome"] in {"approved", "declined", "failed", "cancelled"}, ended
    if shop.lane.settles_by_itself:
        assert shop.charged().count(minor) == (ended["outcome"] == "approved"), ended
    else:
        assert ended["issuer"] <= 1
        assert ended["issuer"] or ended["outcome"] != "approved", ended


async def test_a_sale_that_a_pulled_cable_ended_does_not_keep_the_reader_busy(
    tmp_path: Path,
) -> None:
    async def tap(shop: Shop) -> None:
        machine: Any = shop.reader.machine
        machine.control("tap", SystemClock().elapsed())
        shop.reader.poke()

    # Nobody presents a card: without a cancel the reader would wait for one until its own timeout, a minute.
    async with opened(replace(LANES["magtek on usb"], script="manual"), tmp_path) as shop:
        broken = await shop.sell(12_00, "waiting_for_card", pull_and_plug)
        ended = await shop.sell(1_00, "waiting_for_card", tap)

    assert broken["outcome"] == "failed"
    assert ended["outcome"] == "approved"


async def test_a_french_terminal_sells_over_its_usb_stream(tmp_path: Path) -> None:
    async with opened(CONCERT, tmp_path) as shop:
        ended = await shop.sell(12_00)

    assert (ended["outcome"], ended["by"]) == ("approved", "answer")


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("zvt on a usb stream", pull_and_plug),
        ("zvt on a usb stream", dribble),
        ("zvt on a serial port", dribble),
        *(
            (name, trouble)
            for name in ("zvt on a serial port", "magtek on usb", "id tech on usb")
            for trouble in (pull_and_plug, cut_the_power, send_garbage)
        ),
    ],
)
async def test_trouble_in_any_state_of_a_sale_hides_nothing(
    name: str, trouble: Trouble, tmp_path: Path
) -> None:
    async with opened(LANES[name], tmp_path) as shop:
        for number, state in enumerate(STATES):
            await check(shop, 12_00 + number, state, trouble)
        ended = await shop.sell(1_00)

    assert ended["outcome"] == "approved"
    assert ended["by"] == "answer"


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("zvt on a usb stream", stall),
        ("zvt on a usb stream", babble),
        ("magtek on usb", stall),
        ("magtek on usb", take_nothing_for_a_while),
        ("id tech on usb", stall),
        ("id tech on usb", babble),
        ("id tech on usb", take_nothing_for_a_while),
    ],
)
async def test_a_usb_cable_in_trouble_hides_nothing(
    name: str, trouble: Trouble, tmp_path: Path
) -> None:
    async with opened(LANES[name], tmp_path) as shop:
        for number, state in enumerate(STATES[1:]):
            await check(shop, 12_00 + number, state, trouble)
        ended = await shop.sell(1_00)

    assert ended["outcome"] == "approved"
