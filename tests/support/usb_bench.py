"""A USB bus without hardware for tests: the bus, devices that say what they are told, and a host under it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.simulator.reader import SimulatedReader
from agent.simulator.sockets import Line, SocketUnavailable
from agent.simulator.usb_bus import UsbBus, UsbDevice, UsbSocket
from protocols.readers.registry import terminal_machine
from tests.support.agent_program import PROGRAM
from tests.support.programs import NOT_HERE, program
from tests.support.waiting import eventually_async

DYNAFLEX = UsbDevice(0x0801, 0x2020, "MagTek", "DynaFlex II", "B5A0001")


@contextlib.asynccontextmanager
async def usb_bus() -> AsyncIterator[UsbBus]:
    """A bus; the test is skipped, or fails where CI=true, without the programs for it."""
    program("umockdev-wrapper")
    bus = UsbBus()
    try:
        await bus.__aenter__()
    except SocketUnavailable:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{NOT_HERE}python3-gi")
    try:
        yield bus
    finally:
        await bus.__aexit__()


class Puppet:
    """A device whose words are the test's."""

    def __init__(self, bus: UsbBus, device: UsbDevice = DYNAFLEX, key: str = "puppet") -> None:
        self.bus = bus
        self.key = key
        self.socket = UsbSocket(bus, key, device)
        self.lines: list[Line] = []

    async def plug_in(self) -> None:
        await self.socket.plug_in(self.lines.append)

    async def unplug(self) -> None:
        await self.socket.unplug()

    async def line(self) -> Line:
        """The host's present line."""

        async def present() -> Line | None:
            return self.lines[-1] if self.lines and self.lines[-1].lost is None else None

        found = await eventually_async(present)
        assert found is not None
        return found

    def node(self) -> Path:
        """The file that stands for the device."""
        (found,) = Path(self.bus.folder, f"dev/bus/usb/{self.socket.device.bus:03}").glob("???")
        return found

    def saw(self, event: str) -> list[dict[str, Any]]:
        return [told for told in self.socket.seen if told["event"] == event]


@contextlib.asynccontextmanager
async def plugged_in(
    bus: UsbBus, protocol: str, device: UsbDevice, key: str = "reader", **settings: object
) -> AsyncIterator[SimulatedReader]:
    """A simulated reader of a protocol on the bus."""
    machine = terminal_machine(protocol, "usb_hid", settings)
    reader = SimulatedReader(machine, UsbSocket(bus, key, device))
    running = asyncio.create_task(reader.run())
    await asyncio.wait_for(reader.is_up.wait(), 10)
    try:
        yield reader
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def run_agent_on(
    bus: UsbBus, *arguments: str, within_s: float = 30
) -> tuple[int, list[dict[str, Any]], str]:
    """Run `omnitill-agent` under the bus to its end: exit code, JSON lines, complaints."""
    process = await start_agent_on(bus, *arguments)
    try:
        out, err = await asyncio.wait_for(process.communicate(), within_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code = process.returncode
    assert code is not None
    return code, [json.loads(line) for line in out.splitlines()], err.decode()


async def start_agent_on(bus: UsbBus, *arguments: str) -> asyncio.subprocess.Process:
    """Start `omnitill-agent` under the bus, with pipes; the caller ends it."""
    return await asyncio.create_subprocess_exec(
        str(PROGRAM),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **bus.environment},
    )


class Host:
    """A process with the real transport that sees the bus."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, do: str, within_s: float = 10, **asked: object) -> dict[str, Any]:
        self.say(do, **asked)
        return await self.answer(within_s)

    def say(self, do: str, **asked: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **asked}).encode() + b"\n")

    async def answer(self, within_s: float = 10) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), within_s)
        answered: dict[str, Any] = json.loads(line)
        return answered

    async def open(self, address: str, **defaults: object) -> dict[str, Any]:
        return await self.ask("open", address=address, defaults=defaults)

    async def write(self, content: bytes) -> dict[str, Any]:
        return await self.ask("write", data=content.hex())

    async def read(self, within_s: float = 10) -> dict[str, Any]:
        return await self.ask("read", within_s)


#: Root may open everything; without these rights it is like anybody else.
_AS_ANYBODY = [
    "--inh-caps=-dac_override,-dac_read_search",
    "--bounding-set=-dac_override,-dac_read_search",
]


@contextlib.asynccontextmanager
async def usb_host(bus: UsbBus) -> AsyncIterator[Host]:
    as_anybody = [program("setpriv"), *_AS_ANYBODY] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        *as_anybody,
        sys.executable,
        str(Path(__file__).with_name("line_program.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **bus.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield Host(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:
            process.kill()
            await process.wait()
