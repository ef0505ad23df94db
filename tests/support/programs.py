"""Programs besides Python that tests start, such as a broker or a browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# Where Debian keeps server programs, off the PATH of ordinary users. The newest PostgreSQL wins.
_FOLDERS = [
    "/usr/sbin",
    *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)),
]
NOT_HERE = "not on this machine: "


def program(name: str) -> str:
    """The path of a program; a test that needs a missing one is skipped, and fails where CI=true."""
    path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{NOT_HERE}{name}", pytrace=False)
        pytest.skip(f"{NOT_HERE}{name}")
    return path


def programs_that_name(text: str) -> list[str]:
    """Running programs with this text in their command line, other than this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in command and int(folder.name) != os.getpid():
            found.append(command)
    return found
