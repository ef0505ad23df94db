"""A PostgreSQL of a measurement's own, that keeps what it commits."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import LOOPBACK, accepts_connections, free_port
from tests.support.programs import program
from tests.support.waiting import eventually


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A cluster in ``folder``; yields its address."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    folder.mkdir(mode=0o700)
    user = None
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        user = "postgres"
    port = free_port()

    def run(*command: str) -> None:
        subprocess.run(
            command, user=user, group=user, extra_groups=[] if user else None, cwd="/", check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    run(
        initdb, "-D", str(folder), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"
    )
    with (folder / "postgresql.conf").open("a") as settings:
        settings.write(
            f"port = {port}\nlisten_addresses = '{LOOPBACK}'\nunix_socket_directories = '{folder}'\n"
            "shared_buffers = 512MB\nmax_wal_size = 8GB\ntrack_commit_timestamp = on\n"
            "checkpoint_timeout = 30min\n"
        )
    run(pg_ctl, "start", "-D", str(folder), "-l", str(folder / "log"), "-w")
    try:
        eventually(lambda: accepts_connections(port), 10)
        yield f"postgresql://postgres@{LOOPBACK}:{port}/postgres"
    finally:
        run(pg_ctl, "stop", "-D", str(folder), "-m", "immediate")
