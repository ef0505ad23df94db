"""How the box is: memory, load, disk; as telemetry and for the doctor."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from agent.timekeeping import rfc3339
from protocols.cloud.events import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.clock import Clock
    from agent.timekeeping import DeviceTime

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def rss_kib(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * _PAGE_KIB


def disk_free_mib(folder: Path) -> int:
    """What an ordinary user may still write where `folder` is."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize // (1024 * 1024)


def host_name() -> str:
    """As the box calls itself."""
    return socket.gethostname()[:255]


def platform_name() -> str:
    """System and processor, such as `Linux-6.1 x86_64`."""
    about = os.uname()
    return f"{about.sysname} {about.release} {about.machine}, Python {platform.python_version()}"[
        :255
    ]


def measure(
    time: DeviceTime,
    clock: Clock,
    *,
    boot: int,
    started_at: float,
    state_dir: Path,
    pending: int,
    readers: Mapping[str, Mapping[str, float]],
) -> Telemetry:
    """One message of telemetry. `started_at`: `elapsed()` when the agent started."""
    return Telemetry(
        ts=rfc3339(time.now()),
        boot=boot,
        uptime_s=int(clock.elapsed() - started_at),
        rss_kib=rss_kib(),
        load_1m=round(os.getloadavg()[0], 2),
        disk_free_mib=disk_free_mib(state_dir),
        outbox_pending=pending,
        readers={reader_id: dict(values) for reader_id, values in readers.items()},
    )
