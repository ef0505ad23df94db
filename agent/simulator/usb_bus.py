"""Simulated readers on a USB bus that needs no hardware: `UsbBus` runs the server, `UsbSocket` is a reader's plug.

A host sees the bus when it is started with `UsbBus.environment`; see `agent.simulator.usb_server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.errors import Lost
from agent.simulator.sockets import SocketUnavailable
from agent.transports.transport import Inbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.simulator.sockets import Line

_SERVER: Final = Path(__file__).with_name("usb_server.py")
#: The one that Debian's bindings are made for, whatever Python this is.
_PYTHON: Final = "/usr/bin/python3"
_PRELOAD: Final = "libumockdev-preload.so.0"
_ANSWER_S: Final = 20.0
HID: Final = 3


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """What a device says of itself. `interfaces` as `agent.simulator.usb_server` takes them."""

    vid: int
    pid: int
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    bus: int = 1
    port: str = "1"
    interfaces: Sequence[Mapping[str, Any]] = field(default_factory=lambda: (hid_interface(),))

    @property
    def address(self) -> str:
        """How a host names it: by its serial number, or else by where it is plugged in."""
        numbers = f"usb://{self.vid:04x}:{self.pid:04x}"
        return (
            f"{numbers}/{self.serial}"
            if self.serial
            else f"{numbers}?bus={self.bus}&port={self.port}"
        )


def hid_interface(number: int = 0, *, has_out: bool = True, size: int = 64) -> dict[str, Any]:
    """An interface with interrupt endpoints, held by the kernel's usbhid at first, as on every Linux."""
    endpoints = [{"address": 0x81 + number, "type": "interrupt", "size": size}]
    if has_out:
        endpoints.append({"address": 0x01 + number, "type": "interrupt", "size": size})
    return {"number": number, "class": HID, "driver": "usbhid", "endpoints": endpoints}


def cdc_interfaces() -> tuple[dict[str, Any], ...]:
    """A CDC-ACM pair, held by the kernel's cdc_acm at first."""
    return (
        {
            "number": 0,
            "class": 2,
            "subclass": 2,
            "driver": "cdc_acm",
            "endpoints": [{"address": 0x83, "type": "interrupt", "size": 8}],
        },
        {
            "number": 1,
            "class": 10,
            "driver": "cdc_acm",
            "endpoints": [
                {"address": 0x81, "type": "bulk", "size": 64},
                {"address": 0x02, "type": "bulk", "size": 64},
            ],
        },
    )


class UsbBus:
    """The server of the bus, as a process. Use it as an async context."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._awaited: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._numbers = 1
        self.folder = ""

    async def __aenter__(self) -> UsbBus:
        """Raises SocketUnavailable where the programs for it are missing."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                _PYTHON,
                str(_SERVER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={"LD_PRELOAD": _PRELOAD, "PATH": "/usr/bin:/bin"},
            )
        except OSError as error:
            raise SocketUnavailable(f"{_PYTHON}: {error.strerror}") from error
        assert self._process.stdout is not None  # noqa: S101 (asked for above)
        first = await asyncio.wait_for(self._process.stdout.readline(), _ANSWER_S)
        if not first:
            await self._process.wait()
            raise SocketUnavailable(
                "a USB bus needs the packages umockdev, gir1.2-umockdev-1.0 and python3-gi; install them"
            )
        self.folder = json.loads(first)["folder"]
        self._hearing = asyncio.create_task(self._hear(self._process.stdout))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 5)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._hearing is not None:
            await self._hearing

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to see this bus and no other."""
        return {"LD_PRELOAD": _PRELOAD, "UMOCKDEV_DIR": self.folder}

    async def plug(
        self, key: str, device: UsbDevice, listener: Callable[[dict[str, Any]], None]
    ) -> None:
        """Plug a device in; `listener` gets what hosts do with it. Each time it has another number on the bus."""
        self._numbers += 1
        self._listeners[key] = listener
        await self._ask(
            ("plugged", key),
            do="plug",
            device=key,
            number=self._numbers,
            vid=device.vid,
            pid=device.pid,
            manufacturer=device.manufacturer,
            product=device.product,
            serial=device.serial,
            bus=device.bus,
            port=device.port,
            interfaces=list(device.interfaces),
        )

    async def unplug(self, key: str) -> None:
        """Pull the plug."""
        if key in self._listeners:
            await self._ask(("unplugged", key), do="unplug", device=key)
            self._listeners.pop(key, None)

    def send(self, key: str, endpoint: int, content: bytes) -> None:
        """Give a host the next packet, or piece of a stream, of an endpoint."""
        self._say(do="send", device=key, endpoint=endpoint, data=content.hex())

    def fault(self, key: str, kind: str, **facts: object) -> None:
        """Spoil what comes next.

        `stall` (endpoint; until the host clears it), `fail` (endpoint, errno; one transfer), `hold` and `release`
        (endpoint; transfers do not end), `refuse` (call `claim`, errno) and `allow`.
        """
        self._say(do="fault", device=key, kind=kind, **facts)

    async def _ask(self, awaited: tuple[str, str], **asked: object) -> None:
        answered = asyncio.get_running_loop().create_future()
        self._awaited[awaited] = answered
        self._say(**asked)
        await asyncio.wait_for(answered, _ANSWER_S)

    def _say(self, **asked: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")

    async def _hear(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            told = json.loads(line)
            if (answered := self._awaited.pop((told["event"], told["device"]), None)) is not None:
                answered.set_result(None)
            elif (listener := self._listeners.get(told["device"])) is not None:
                listener(told)


class UsbSocket:
    """A simulated reader's plug in a bus. A host that claims its interface is a line."""

    def __init__(self, bus: UsbBus, key: str, device: UsbDevice) -> None:
        self._bus = bus
        self._key = key
        self.device = device
        self._line: UsbLine | None = None
        self._on_line: Callable[[Line], None] | None = None
        self.seen: list[dict[str, Any]] = []
        """Everything else that hosts did: `driver`, `control`, `cleared`, `claimed`, `released`."""
        talking = next(one for one in device.interfaces if _ins(one))
        self._number: int = talking["number"]
        self._in: int = _ins(talking)[0]

    @property
    def address(self) -> str:
        return self.device.address

    async def plug_in(self, on_line: Callable[[Line], None]) -> None:
        self._on_line = on_line
        await self._bus.plug(self._key, self.device, self._hear)

    async def unplug(self) -> None:
        await self._bus.unplug(self._key)
        self._end(Lost.UNPLUGGED)

    def become(self, **changed: Any) -> None:
        """What it says of itself when it is plugged in next, such as another `pid`."""
        self.device = replace(self.device, **changed)

    def _hear(self, told: dict[str, Any]) -> None:
        if told["event"] == "out":
            if self._line is not None:
                self._line.inbox.put(bytes.fromhex(told["data"]))
            return
        self.seen.append(told)
        match told["event"]:
            case "control" if (told["kind"], told["request"]) == (0x21, 0x09):
                if self._line is not None:
                    self._line.inbox.put(bytes.fromhex(told["data"]))
            case "claimed" if told["interface"] == self._number and self._on_line is not None:
                self._end(Lost.CLOSED_BY_PEER)
                is_stream = not any(one["class"] == HID for one in self.device.interfaces)
                self._line = UsbLine(
                    self._bus, self._key, self._in, self.address, packets=not is_stream
                )
                self._on_line(self._line)
            case "released" if told["interface"] == self._number:
                self._end(Lost.CLOSED_BY_PEER)

    def _end(self, lost: Lost) -> None:
        if self._line is not None:
            self._line.inbox.end(lost)
            self._line = None


class UsbLine:
    """The reader's end of a claimed interface."""

    def __init__(
        self, bus: UsbBus, key: str, endpoint: int, address: str, *, packets: bool
    ) -> None:
        self._bus = bus
        self._key = key
        self._endpoint = endpoint
        self.inbox = Inbox(address, packets=packets)

    @property
    def lost(self) -> Lost | None:
        return self.inbox.lost

    async def read(self) -> bytes:
        return await self.inbox.take()

    async def write(self, outgoing: bytes) -> None:
        self.inbox.check()
        self._bus.send(self._key, self._endpoint, outgoing)

    async def close(self) -> None:
        """A device cannot end a line but by leaving the bus."""
        self.inbox.end(Lost.CLOSED)


def _ins(interface: Mapping[str, Any]) -> list[int]:
    """Its endpoints towards the host that carry a conversation: of packets for HID, of a stream otherwise."""
    wanted = "interrupt" if interface["class"] == HID else "bulk"
    return [
        one["address"]
        for one in interface.get("endpoints", ())
        if one["address"] & 0x80 and one["type"] == wanted
    ]
