"""Runs guests on a kernel of their own: `python -m tests.kernel.lane FOLDER [GUEST...]`; `make test-kernel` does.

FOLDER holds Debian's kernel and daemons, as `deploy/dev/unpack-system.sh` puts them there. Each guest sees the files
of this machine, read-only; what it proves it prints as JSON lines. The exit code is 0 when all guests proved what they
had to.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GUESTS = ("usb", "ble")
LONGEST_S = 240.0
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
#: What a guest needs to see this machine's files.
FILES_MODULES = ("virtio_pci", "9pnet_virtio", "9p")


@dataclass(frozen=True)
class Kernel:
    """A kernel image, its version, and the tree that its modules are in."""

    image: Path
    version: str
    system: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Kernel:
        images = sorted(folder.glob("root/boot/vmlinuz-*"))
        if not images:
            raise SystemExit(f"{folder} holds no kernel: make test-kernel fetches one")
        return cls(images[-1], images[-1].name.removeprefix("vmlinuz-"), folder / "root")

    def modules(self, *names: str) -> list[Path]:
        """The files of modules and of what they need, in the order in which they are loaded."""
        files: list[Path] = []
        for name in names:
            told = subprocess.run(
                ["modprobe", "-d", self.system, "-S", self.version, "--show-depends", name],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            found = (Path(row.split()[1]) for row in told.splitlines() if row.startswith("insmod"))
            files += [one for one in found if one not in files]
        return files


def main(arguments: list[str]) -> int:
    folder, *wanted = arguments
    unknown = set(wanted) - set(GUESTS)
    if unknown:
        raise SystemExit(f"no such guest: {', '.join(unknown)}; there are {', '.join(GUESTS)}")
    kernel = Kernel.in_folder(Path(folder).resolve())
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="omnitill-kernel-") as room:
        guests = [Guest(name, kernel, Path(room)) for name in wanted or GUESTS]
        for guest in guests:
            guest.start()
        codes = {guest.name: guest.wait() for guest in guests}
    for name, code in codes.items():
        say(name, "all proved" if code == 0 else f"failed with {code}")
    say("lane", f"Linux {kernel.version}, {time.monotonic() - began:.0f} s")
    return 0 if not any(codes.values()) else 1


class Guest(threading.Thread):
    """One machine that boots, works and is gone."""

    def __init__(self, name: str, kernel: Kernel, room: Path) -> None:
        super().__init__(name=name)
        self._kernel = kernel
        self._console = room / f"{name}.console"
        self._initramfs = room / f"{name}.cpio"
        self._code = -1
        """Until it is told otherwise, what a machine does that died."""
        self._pack(room / name)

    def wait(self) -> int:
        """Its exit code, once it is gone. What a failed one's kernel said is printed."""
        self.join()
        if self._code != 0 and self._console.exists():
            for line in self._console.read_text(errors="replace").splitlines()[-40:]:
                say(f"{self.name} console", line)
        return self._code

    def run(self) -> None:
        with self._machine() as machine:
            assert machine.stdout is not None
            for line in machine.stdout:
                said = line.strip()
                if said.startswith("exit "):
                    self._code = int(said.removeprefix("exit "))
                elif said:
                    say(self.name, said)

    @contextlib.contextmanager
    def _machine(self) -> Iterator[subprocess.Popen[str]]:
        machine = subprocess.Popen(
            [
                # Emulated, so that it is the same wherever it runs.
                "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", str(self._kernel.image), "-initrd", str(self._initramfs),
                "-append", "console=ttyS0 panic=-1 quiet",
                "-serial", f"file:{self._console}", "-serial", "stdio",
                "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )  # fmt: skip
        too_long = threading.Timer(LONGEST_S, machine.kill)
        too_long.start()
        try:
            yield machine
        finally:
            too_long.cancel()
            machine.kill()
            machine.wait()

    def _pack(self, root: Path) -> None:
        """The guest's first files: busybox, modules, and where it goes on."""
        (root / "bin").mkdir(parents=True)
        (root / "modules").mkdir()
        busybox = shutil.which("busybox")
        assert busybox is not None
        shutil.copy(busybox, root / "bin/busybox")
        shutil.copy(HERE / "init.sh", root / "init")
        modules = self._kernel.modules(*FILES_MODULES)
        for module in modules:
            shutil.copy(module, root / "modules")
        (root / "modules/order").write_text("\n".join(one.name for one in modules))
        settings = {
            "GUEST": self.name,
            "PYTHON": sys.executable,
            "REPOSITORY": REPOSITORY,
            "SYSTEM": self._kernel.system,
        }
        (root / "settings").write_text(
            "".join(f"{name}='{value}'\n" for name, value in settings.items())
        )
        names = [str(one.relative_to(root)) for one in root.rglob("*")]
        with self._initramfs.open("wb") as archive:
            subprocess.run(
                [busybox, "cpio", "-o", "-H", "newc"],
                input="\n".join(names).encode() + b"\n",
                stdout=archive,
                stderr=subprocess.DEVNULL,
                cwd=root,
                check=True,
            )


def say(who: str, what: str) -> None:
    sys.stdout.write(f"{who}: {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
