"""``omnitill doctor``: what is not right, and how to mend it."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import ValidationError
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from control_plane.config import Settings
from control_plane.db import migrate
from control_plane.db.engine import make_engine
from control_plane.db.keyring import KEY_FILE, Keyring, SecretKeyUnusable, load_keyring

_LEAST_SPACE: Final = 500 * 1024 * 1024
_MOST_SKEW: Final = timedelta(seconds=5)
#: No machine that runs this was made before.
_BUILT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_EXAMPLE = """\
Example:
  omnitill doctor
"""


class Health(StrEnum):
    """How a thing is."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``fix`` is what to do; empty when it is good."""

    health: Health
    what: str
    fix: str = ""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="look at everything that Omnitill needs, and say what is not right",
        description=(
            "Look at the settings, the data folder, the database, the clock and the broker. Each line "
            "that is not good says how to mend it. Exits with 1 when something is bad."
        ),
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print what was found; 1 when something is bad."""
    del chosen
    findings = list(examine())
    signs = {Health.GOOD: "✓", Health.WARNING: "!", Health.BAD: "✗"}
    for finding in findings:
        print(f"{signs[finding.health]} {finding.what}")
        if finding.fix:
            print(f"    {finding.fix}")
    return 1 if any(finding.health is Health.BAD for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; what depends on a bad one is left out."""
    try:
        settings = Settings()
    except (ValidationError, OSError, ValueError) as error:
        yield Finding(
            Health.BAD, f"The settings cannot be read: {error}", "Mend OMNITILL_… or the file."
        )
        return
    yield Finding(Health.GOOD, f"The settings are readable; mode {settings.mode}.")
    yield from _data_dir(settings)
    yield from _secret_key(settings)
    # Nothing sealed is read here: any key will do.
    engine = make_engine(settings.effective_database_url, keyring=Keyring([os.urandom(32)]))
    try:
        yield from _database(engine)
    finally:
        engine.dispose()
    yield from _broker(settings)
    yield from _address(settings)


def _data_dir(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    fix = f"Make it, owned by the user that runs Omnitill: install -d -m 700 {folder}"
    if not folder.is_dir():
        yield Finding(Health.WARNING, f"The data folder {folder} is not there yet.", fix)
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(Health.BAD, f"The data folder {folder} cannot be written to.", fix)
        return
    if folder.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield Finding(
            Health.WARNING,
            f"Other users can look into the data folder {folder}.",
            f"Run: chmod 700 {folder}",
        )
    free = shutil.disk_usage(folder).free
    if free < _LEAST_SPACE:
        yield Finding(
            Health.BAD,
            f"Only {free // 1024 // 1024} MiB are free where {folder} lies.",
            "Make room, or move the folder with OMNITILL_DATA_DIR.",
        )
    else:
        yield Finding(Health.GOOD, f"The data folder {folder} is there and has room.")


def _secret_key(settings: Settings) -> Iterator[Finding]:
    file = settings.data_dir / KEY_FILE
    given = settings.secret_key.get_secret_value()
    if not given and not file.exists():
        yield Finding(Health.WARNING, "The secret key will be made at the first start.")
        return
    try:
        load_keyring(given, [], settings.data_dir)
    except (SecretKeyUnusable, OSError) as error:
        yield Finding(
            Health.BAD,
            f"The secret key cannot be used: {error}.",
            "Restore it from a backup: without it, sealed values are lost. New: openssl rand -base64 32",
        )
        return
    if not given and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding(
            Health.BAD, f"Others can read the secret key {file}.", f"Run: chmod 600 {file}"
        )
    yield Finding(
        Health.GOOD, "The secret key is there. Keep a copy of it apart from the database."
    )


def _database(engine: Engine) -> Iterator[Finding]:
    name = engine.url.render_as_string(hide_password=True)
    try:
        current = migrate.current(engine)
        skew = _skew(engine)
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        yield Finding(
            Health.BAD,
            f"The database {name} does not answer: {reason}",
            "Start it, or correct OMNITILL_DATABASE_URL.",
        )
        return
    yield Finding(Health.GOOD, f"The database {name} answers.")
    newest = migrate.newest()
    if current == newest:
        yield Finding(Health.GOOD, f"Its schema is at {current}, as it should be.")
    else:
        yield Finding(
            Health.BAD,
            f"Its schema is at {current or 'nothing'}; {newest} is needed.",
            "Run: omnitill db upgrade",
        )
    if datetime.now(UTC) < _BUILT:
        yield Finding(
            Health.BAD,
            "The clock of this machine is years behind.",
            "Run: timedatectl set-ntp true",
        )
    elif abs(skew) > _MOST_SKEW:
        yield Finding(
            Health.WARNING,
            f"The clocks of this machine and of the database are {abs(skew).total_seconds():.0f} s apart.",
            "Let both follow the same time server: timedatectl set-ntp true",
        )
    else:
        yield Finding(Health.GOOD, "The clock is right, as far as can be told.")


def _skew(engine: Engine) -> timedelta:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            return timedelta()
        theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return theirs - datetime.now(UTC)


def _broker(settings: Settings) -> Iterator[Finding]:
    broker = settings.broker
    if broker.kind == "none":
        yield Finding(
            Health.WARNING, "There is no broker: devices use the HTTPS fallback only.",
            "Set OMNITILL_BROKER__KIND to embedded_nats or mosquitto.",
        )  # fmt: skip
        return
    where = f"{broker.host}:{broker.port}"
    began = time.monotonic()
    context = ssl.create_default_context()
    context.check_hostname = False
    # Only whether something speaks TLS there; who it is, is proved by the start-up self-test.
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((broker.host, broker.port), timeout=3) as connection,
            context.wrap_socket(connection),
        ):
            pass
    except ssl.SSLError as error:
        # A broker that asks for a client certificate may hang up on us; it speaks TLS all the same.
        if "certificate required" not in str(error).lower():
            yield Finding(Health.BAD, f"What listens on {where} does not speak TLS: {error.reason}.",
                          "Correct OMNITILL_BROKER__PORT.")  # fmt: skip
            return
    except OSError as error:
        yield Finding(
            Health.WARNING if broker.kind == "embedded_nats" else Health.BAD,
            f"The broker does not answer on {where}: {error}.",
            "It runs inside `omnitill serve --all`."
            if broker.kind == "embedded_nats"
            else "Start mosquitto: systemctl start mosquitto",
        )
        return
    took = (time.monotonic() - began) * 1000
    yield Finding(Health.GOOD, f"The broker answers on {where} ({took:.0f} ms).")


def _address(settings: Settings) -> Iterator[Finding]:
    if settings.mode == "live" and not settings.is_https:
        yield Finding(
            Health.WARNING,
            f"Browsers reach Omnitill at {settings.base_url}, without TLS.",
            "Put a proxy with TLS before it, and set OMNITILL_PUBLIC_URL=https://…",
        )
    else:
        yield Finding(Health.GOOD, f"Browsers reach Omnitill at {settings.base_url}.")
