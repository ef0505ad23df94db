"""A USB bus without hardware: answers the system calls that libusb makes on usbfs, for readers simulated elsewhere.

A program of its own, started by `agent.simulator.usb_bus` with the system's Python: it needs libumockdev and its
bindings (Debian: umockdev, gir1.2-umockdev-1.0, python3-gi) and nothing of ours. What runs under `umockdev-wrapper`
with the `UMOCKDEV_DIR` that it names sees its devices in sysfs, in udev and as nodes, through unmodified libraries.

It speaks JSON lines. In: `plug`, `unplug`, `send`, `fault`, `stop`; out: `ready`, `plugged`, `unplugged`, `out`,
`control`, `claimed`, `released`, `cleared`, `driver`. Endpoints carry their direction bit, bytes are hex.
"""

from __future__ import annotations

import errno
import json
import struct
import sys
import threading
from collections import deque
from typing import Any, Final

import gi  # type: ignore[import-not-found,unused-ignore]  # the system's, not this project's

gi.require_version("UMockdev", "1.0")
from gi.repository import UMockdev  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

# linux/usbdevice_fs.h, 64 bit.
CONTROL: Final = 0xC0185500
SET_INTERFACE: Final = 0x80085504
SET_CONFIGURATION: Final = 0x80045505
GET_DRIVER: Final = 0x41045508
SUBMIT_URB: Final = 0x8038550A
DISCARD_URB: Final = 0x550B
REAP_URB: Final = 0x4008550C
REAP_URB_NO_DELAY: Final = 0x4008550D
CLAIM: Final = 0x8004550F
RELEASE: Final = 0x80045510
DRIVER_IOCTL: Final = 0xC0105512
RESET: Final = 0x5514
CLEAR_HALT: Final = 0x80045515
DISCONNECT: Final = 0x5516
CONNECT: Final = 0x5517
GET_CAPABILITIES: Final = 0x8004551A
DISCONNECT_CLAIM: Final = 0x8108551B
GET_SPEED: Final = 0x551F

URB_SIZE: Final = 56
IN: Final = 0x80
CONTROL_URB: Final = 2
#: libusb asks again at once, since a mocked node is always ready: an answer is held back this long instead.
REAP_PAUSE_S: Final = 0.004
HUB_NUMBERS: Final = 100
TYPES: Final = {"control": 0, "isochronous": 1, "bulk": 2, "interrupt": 3}


def say(event: str, **facts: object) -> None:
    """One line to who started us."""
    with _saying:
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()


_saying = threading.Lock()


class Urb:
    """A transfer that was submitted and not reaped yet."""

    def __init__(
        self, address: int, memory: Any, head: bytes
    ) -> None:  # Any: the bindings have no types
        self.address = address
        self.memory = memory
        self.kind, self.endpoint = head[0], head[1]
        self.length = struct.unpack_from("<i", head, 24)[0]
        self.buffer: Any = memory.resolve(16, self.length) if self.length else None

    def content(self) -> bytes:
        return bytes(self.buffer.retrieve()) if self.buffer is not None else b""

    def end(self, status: int, *, received: bytes = b"", taken: int = 0, offset: int = 0) -> None:
        if received and self.buffer is not None:
            self.buffer.update(offset, list(received))
        self.memory.update(4, list(struct.pack("<i", status)))
        self.memory.update(28, list(struct.pack("<i", len(received) or taken)))


class Device(UMockdev.IoctlBase):  # type: ignore[misc,unused-ignore]  # the bindings have no types
    """One plugged device: its descriptors, and the transfers on its endpoints."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__()
        self.key: str = asked["device"]
        self.bus, self.number, self.port = int(asked["bus"]), int(asked["number"]), asked["port"]
        self.vid, self.pid = int(asked["vid"]), int(asked["pid"])
        self.texts = [asked.get(name, "") for name in ("manufacturer", "product", "serial")]
        self.kind = int(asked.get("class", 0))
        self.interfaces: list[dict[str, Any]] = asked["interfaces"]
        self.drivers = {one["number"]: one.get("driver", "") for one in self.interfaces}
        self.claimed: dict[int, Any] = {}
        self.lock = threading.RLock()
        self.is_gone = False
        self.pending: list[Urb] = []
        self.done: deque[Urb] = deque()
        self.waiting: deque[tuple[Any, int]] = deque()
        self.token = 0
        self.queued: dict[int, deque[bytes]] = {}
        self.halted: set[int] = set()
        self.held: set[int] = set()
        self.failing: dict[int, deque[int]] = {}
        self.refusals: dict[str, int] = {}

    @property
    def node(self) -> str:
        return f"bus/usb/{self.bus:03}/{self.number:03}"

    @property
    def syspath(self) -> str:
        chain = self.port.split(".")
        hubs = [f"{self.bus}-{'.'.join(chain[:end])}" for end in range(1, len(chain) + 1)]
        return "/".join(["/sys/devices/pci0000:00/0000:00:14.0", f"usb{self.bus}", *hubs])

    # --- descriptors ---------------------------------------------------------------------------------------

    def descriptors(self) -> bytes:
        """The device descriptor and its one configuration, as sysfs has them."""
        indexes = [index + 1 if text else 0 for index, text in enumerate(self.texts)]
        head = struct.pack(
            "<BBHBBBBHHHBBBB",
            18,
            1,
            0x0200,
            self.kind,
            0,
            0,
            64,
            self.vid,
            self.pid,
            0x0100,
            *indexes,
            1,
        )
        body = b""
        for one in self.interfaces:
            endpoints = one.get("endpoints", [])
            classes = one.get("class", 0xFF), one.get("subclass", 0), one.get("protocol", 0)
            body += struct.pack("<BBBBBBBBB", 9, 4, one["number"], 0, len(endpoints), *classes, 0)
            body += bytes.fromhex(one.get("extra", ""))
            for end in endpoints:
                body += struct.pack(
                    "<BBBBHB", 7, 5, end["address"], TYPES[end["type"]], end.get("size", 64), 1
                )
        total = 9 + len(body)
        return (
            head
            + struct.pack("<BBHBBBBB", 9, 2, total, len(self.interfaces), 1, 0, 0x80, 50)
            + body
        )

    def recorded(self) -> str:
        """The device and its interfaces in umockdev's own format."""
        raw = self.descriptors()
        lines = [
            f"P: {self.syspath.removeprefix('/sys')}",
            f"N: {self.node}={raw.hex().upper()}",
            "E: SUBSYSTEM=usb",
            "E: DEVTYPE=usb_device",
            "E: DRIVER=usb",
            f"E: DEVNAME=/dev/{self.node}",
            f"E: BUSNUM={self.bus:03}",
            f"E: DEVNUM={self.number:03}",
            "E: MAJOR=189",
            f"E: MINOR={(self.bus - 1) * 128 + self.number - 1}",
            f"E: PRODUCT={self.vid:x}/{self.pid:x}/100",
            f"E: ID_VENDOR_ID={self.vid:04x}",
            f"E: ID_MODEL_ID={self.pid:04x}",
            f"A: busnum={self.bus}\\n",
            f"A: devnum={self.number}\\n",
            f"A: devpath={self.port}\\n",
            "A: speed=12\\n",
            "A: bConfigurationValue=1\\n",
            "A: bNumConfigurations=1\\n",
            f"A: bDeviceClass={self.kind:02x}\\n",
            f"A: idVendor={self.vid:04x}\\n",
            f"A: idProduct={self.pid:04x}\\n",
            f"H: descriptors={raw.hex().upper()}",
        ]
        for name, text in zip(("manufacturer", "product", "serial"), self.texts, strict=True):
            if text:
                lines.append(f"A: {name}={text}\\n")
        return "\n".join(lines) + "\n\n"

    # --- what the host asks ----------------------------------------------------------------------------------

    def do_handle_ioctl(self, client: Any) -> bool:
        """Called in umockdev's thread; the host's call returns when `complete` was called, here or later."""
        try:
            with self.lock:
                self.answer(client, client.get_request())
        except Exception as fault:
            sys.stderr.write(f"usb_server: {fault!r}\n")
            client.complete(-1, errno.EIO)
        return True

    def answer(self, client: Any, request: int) -> None:
        if request in (REAP_URB, REAP_URB_NO_DELAY):
            self.reap(client, may_wait=request == REAP_URB)
        elif self.is_gone:
            client.complete(-1, errno.ENODEV)
        elif request == SUBMIT_URB:
            self.submit(client)
        elif request == DISCARD_URB:
            self.discard(client)
        elif request == GET_CAPABILITIES:
            client.get_arg().resolve(0, 4).update(0, [0, 0, 0, 0])
            client.complete(0, 0)
        elif request == GET_SPEED:
            client.complete(2, 0)
        elif request == GET_DRIVER:
            asked = client.get_arg().resolve(0, 260)
            number = struct.unpack_from("<I", bytes(asked.retrieve()))[0]
            driver = "usbfs" if number in self.claimed else self.drivers.get(number, "")
            if driver:
                asked.update(4, [*driver.encode(), 0])
                client.complete(0, 0)
            else:
                client.complete(-1, errno.ENODATA)
        elif request == DRIVER_IOCTL:
            number, code = struct.unpack("<iiQ", bytes(client.get_arg().resolve(0, 16).retrieve()))[
                :2
            ]
            say("driver", device=self.key, interface=number, bound=code == CONNECT)
            self.drivers[number] = (
                self.interface(number).get("driver", "") if code == CONNECT else ""
            )
            client.complete(1 if code == CONNECT else 0, 0)
        elif request in (CLAIM, RELEASE):
            number = struct.unpack("<I", bytes(client.get_arg().resolve(0, 4).retrieve()))[0]
            self.claim(client, number, is_claim=request == CLAIM)
        elif request == CLEAR_HALT:
            endpoint = struct.unpack("<I", bytes(client.get_arg().resolve(0, 4).retrieve()))[0]
            self.halted.discard(endpoint)
            say("cleared", device=self.key, endpoint=endpoint)
            client.complete(0, 0)
        elif request in (SET_CONFIGURATION, SET_INTERFACE, RESET):
            client.complete(0, 0)
        else:
            client.complete(-1, errno.ENOTTY)

    def interface(self, number: int) -> dict[str, Any]:
        return next((one for one in self.interfaces if one["number"] == number), {})

    def claim(self, client: Any, number: int, *, is_claim: bool) -> None:
        if not is_claim:
            self.claimed.pop(number, None)
            say("released", device=self.key, interface=number)
            client.complete(0, 0)
        elif refusal := self.refusals.get("claim"):
            client.complete(-1, refusal)
        elif self.drivers.get(number) or self.claimed.get(number, client) is not client:
            client.complete(-1, errno.EBUSY)
        else:
            self.claimed[number] = client
            say("claimed", device=self.key, interface=number)
            client.complete(0, 0)

    def do_client_vanished(self, client: Any) -> None:
        """The host closed the node, or died: the kernel would take its interfaces and transfers away."""
        with self.lock:
            for number in [number for number, who in self.claimed.items() if who is client]:
                del self.claimed[number]
                say("released", device=self.key, interface=number)
            self.pending.clear()
            self.done.clear()
            self.waiting.clear()

    def submit(self, client: Any) -> None:
        memory = client.get_arg().resolve(0, URB_SIZE)
        urb = Urb(memory.client_addr, memory, bytes(memory.retrieve()))
        if urb.kind == CONTROL_URB:
            self.control(urb)
        else:
            self.pending.append(urb)
            self.move()
        client.complete(0, 0)
        self.wake()

    def control(self, urb: Urb) -> None:
        raw = urb.content()
        kind, request, value, index, length = struct.unpack_from("<BBHHH", raw)
        answer: bytes | None = None
        if (kind, request) == (0x80, 6) and value >> 8 == 3:
            text = (["", *self.texts, *[""] * 16])[value & 0xFF]
            body = text.encode("utf-16-le")
            answer = bytes([len(body) + 2, 3]) + body if value & 0xFF else bytes([4, 3, 9, 4])
        elif (kind, request) == (0x80, 6) and value >> 8 in (1, 2):
            whole = self.descriptors()
            answer = whole[:18] if value >> 8 == 1 else whole[18:]
        elif not kind & IN:
            data = raw[8 : 8 + length]
            say(
                "control",
                device=self.key,
                kind=kind,
                request=request,
                value=value,
                index=index,
                data=data.hex(),
            )
            urb.end(0, taken=length)
            self.done.append(urb)
            return
        if answer is None:
            urb.end(-errno.EPIPE)
        else:
            urb.end(0, received=answer[:length], offset=8)
        self.done.append(urb)

    def discard(self, client: Any) -> None:
        address = struct.unpack("<Q", bytes(client.get_arg().retrieve()))[0]
        found = next((urb for urb in self.pending if urb.address == address), None)
        if found is None:
            client.complete(-1, errno.EINVAL)
            return
        self.pending.remove(found)
        found.end(-errno.ENOENT)
        self.done.append(found)
        client.complete(0, 0)
        self.wake()

    def move(self) -> None:
        """Complete what can be completed."""
        for urb in list(self.pending):
            if urb.endpoint in self.held:
                continue
            if self.is_gone:
                urb.end(-errno.ESHUTDOWN)
            elif failure := self.failing.get(urb.endpoint):
                urb.end(-failure.popleft())
            elif urb.endpoint in self.halted:
                urb.end(-errno.EPIPE)
            elif not urb.endpoint & IN:
                sent = urb.content()
                urb.end(0, taken=len(sent))
                say("out", device=self.key, endpoint=urb.endpoint, data=sent.hex())
            elif queue := self.queued.get(urb.endpoint):
                first = queue.popleft()
                if len(first) > urb.length:
                    # A stream goes on in the next transfer.
                    queue.appendleft(first[urb.length :])
                urb.end(0, received=first[: urb.length])
            else:
                continue
            self.pending.remove(urb)
            self.done.append(urb)

    def reap(self, client: Any, *, may_wait: bool) -> None:
        if self.done:
            urb = self.done.popleft()
            client.get_arg().resolve(0, 8).set_ptr(0, urb.memory)
            client.complete(0, 0)
        elif self.is_gone:
            client.complete(-1, errno.ENODEV)
        elif may_wait:
            self.waiting.append((client, 0))
        else:
            self.token += 1
            self.waiting.append((client, self.token))
            threading.Timer(REAP_PAUSE_S, self.give_up, (client, self.token)).start()

    def give_up(self, client: Any, token: int) -> None:
        with self.lock:
            if (client, token) in self.waiting:
                self.waiting.remove((client, token))
                client.complete(-1, errno.EAGAIN)

    def wake(self) -> None:
        while self.waiting and (self.done or self.is_gone):
            client, _ = self.waiting.popleft()
            self.reap(client, may_wait=False)

    # --- what the test asks ----------------------------------------------------------------------------------

    def send(self, endpoint: int, packet: bytes) -> None:
        with self.lock:
            self.queued.setdefault(endpoint, deque()).append(packet)
            self.move()
            self.wake()

    def fault(self, asked: dict[str, Any]) -> None:
        with self.lock:
            endpoint = int(asked.get("endpoint", 0))
            match asked["kind"]:
                case "stall":
                    self.halted.add(endpoint)
                case "hold":
                    self.held.add(endpoint)
                case "release":
                    self.held.discard(endpoint)
                case "fail":
                    self.failing.setdefault(endpoint, deque()).append(int(asked["errno"]))
                case "refuse":
                    self.refusals[asked["call"]] = int(asked["errno"])
                case "allow":
                    self.refusals.clear()
            self.move()
            self.wake()

    def vanish(self) -> None:
        with self.lock:
            self.is_gone = True
            self.held.clear()
            self.move()
            self.wake()


def hubs_above(asked: dict[str, Any], known: set[str]) -> list[Device]:
    """The hubs of its port path that are not there yet; libusb tells a device's place by them."""
    chain = asked["port"].split(".")
    hubs = []
    for end in range(1, len(chain)):
        hub = Device(
            {
                "device": f"hub {asked['bus']}-{'.'.join(chain[:end])}",
                "bus": asked["bus"],
                "number": HUB_NUMBERS + len(known),
                "port": ".".join(chain[:end]),
                "vid": 0x05E3,
                "pid": 0x0608,
                "product": "USB2.0 Hub",
                "class": 9,
                "interfaces": [{"number": 0, "class": 9, "driver": "hub"}],
            }
        )
        if hub.key not in known:
            known.add(hub.key)
            hubs.append(hub)
    return hubs


def main() -> None:
    """Serve until the input ends."""
    bed = UMockdev.Testbed.new()
    devices: dict[str, Device] = {}
    hubs: set[str] = set()
    say("ready", folder=bed.get_root_dir())
    for line in sys.stdin:
        asked = json.loads(line)
        match asked["do"]:
            case "plug":
                for hub in hubs_above(asked, hubs):
                    bed.add_from_string(hub.recorded())
                    bed.uevent(hub.syspath, "add")
                device = devices[asked["device"]] = Device(asked)
                bed.add_from_string(device.recorded())
                bed.attach_ioctl(f"/dev/{device.node}", device)
                bed.uevent(device.syspath, "add")
                say("plugged", device=device.key)
            case "unplug":
                device = devices.pop(asked["device"])
                device.vanish()
                bed.uevent(device.syspath, "remove")
                bed.detach_ioctl(f"/dev/{device.node}")
                bed.remove_device(device.syspath)
                say("unplugged", device=device.key)
            case "send":
                devices[asked["device"]].send(int(asked["endpoint"]), bytes.fromhex(asked["data"]))
            case "fault":
                devices[asked["device"]].fault(asked)
            case "stop":
                break


if __name__ == "__main__":
    main()
