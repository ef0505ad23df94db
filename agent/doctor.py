"""Examines everything an agent needs, one thing after the other, and says in plain words what is wrong and what helps.

It changes nothing, and never gets in the way of an agent that is running: what that one holds is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from agent import identity as identities
from agent.errors import AddressUnreadable, AgentError
from agent.health import disk_free_mib
from agent.https_client import ControlPlaneRefused, ControlPlaneUnreachable, HttpsClient
from agent.identity import NotEnrolled
from agent.journal import FILE, RESERVE_BYTES, JournalUnwritable, flaws, is_in_use, open_read_only
from agent.reader_diagnosis import remarks, silence_fix, support_line
from agent.readers.connecting import reader_for
from agent.readers.reader import ReaderState
from agent.threads import in_thread
from agent.timekeeping import DeviceTime
from firmware_profiles import ProfileError, load_profile
from protocols.cloud.http import OUTBOX, OutboxUpload
from protocols.errors import ProtocolError
from protocols.readers.protocol import AskStatus, Outcome

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from agent.clock import Clock
    from agent.config import AgentConfig, ReaderConfig
    from agent.identity import Identity
    from protocols.readers.protocol import Finished
    from protocols.readers.protocol import Identity as ReaderIdentity

#: A clock within this needs no mention.
_GOOD_CLOCK_S: Final = 2.0
#: Beyond this, signed requests and certificates fail.
_BAD_CLOCK_S: Final = 300.0
_CONNECT_S: Final = 5.0
#: A broker that refuses a certificate says so within this; one that waits for us to speak is content.
_OBJECTION_S: Final = 0.7
#: How long a reader may take to say how it is.
READER_S = 15.0
_OLD_OUTBOX: Final = timedelta(minutes=15)


class Health(StrEnum):
    """How a thing is."""

    GOOD = "good"
    WARNING = "warning"
    """It works, and somebody should look at it."""
    BAD = "bad"
    SKIPPED = "skipped"
    """It could not be examined; the words say why."""


class Finding(msgspec.Struct, frozen=True):
    """What was seen of one thing. `fix` says what to do, where something is to be done."""

    name: str
    health: Health
    words: str
    fix: str = ""
    about: str = ""
    """Facts on one line, for whoever is called about it."""


async def examine(config: AgentConfig, clock: Clock) -> AsyncIterator[Finding]:
    """Findings as they come, in an order that names causes before their effects."""
    runs = is_in_use(config.state_path)
    async for finding in examine_box(config.state_path, DeviceTime(clock), clock):
        yield finding
    for reader in config.readers:
        for finding in await _reader(reader, clock, runs=runs):
            yield finding


async def examine_box(state_dir: Path, time: DeviceTime, clock: Clock) -> AsyncIterator[Finding]:
    """The same without the readers."""
    runs = is_in_use(state_dir)
    yield Finding(
        "agent",
        Health.GOOD,
        "It is running." if runs else "It is not running now.",
    )
    for finding in _folder(state_dir):
        yield finding
    for finding in _journal(state_dir, time):
        yield finding
    identity = None
    try:
        identity = identities.load(state_dir)
    except NotEnrolled as missing:
        yield Finding(
            "identity", Health.BAD, missing.message, "omnitill-agent enroll --url … --code …"
        )
    if identity is not None:
        for finding in _identity(identity, time):
            yield finding
        yield await _control_plane(identity, time, clock)
        yield _clock(time)
        yield await _broker(identity)


# --- the box ---------------------------------------------------------------------------------------------------


def _folder(state_dir: Path) -> Iterator[Finding]:
    try:
        about = state_dir.stat()
    except OSError as error:
        yield Finding(
            "folder",
            Health.BAD,
            f"{state_dir} cannot be read: {error.strerror}.",
            "Name the agent's folder with --state-dir, or run this as the agent's user: sudo -u omnitill-agent …",
        )
        return
    others_may = stat.S_IMODE(about.st_mode) & 0o077
    if not os.access(state_dir, os.W_OK | os.X_OK):
        yield Finding(
            "folder",
            Health.BAD,
            f"This user may not write in {state_dir}.",
            "Run this as the agent's user, or give it the folder: chown -R omnitill-agent: "
            + str(state_dir),
        )
    elif others_may:
        yield Finding(
            "folder",
            Health.WARNING,
            f"Other users of this machine may look into {state_dir}.",
            f"chmod 700 {state_dir}",
        )
    else:
        yield Finding("folder", Health.GOOD, f"{state_dir} is the agent's own.")
    free_mib = disk_free_mib(state_dir)
    if free_mib * 1024 * 1024 <= RESERVE_BYTES:
        yield Finding(
            "disk",
            Health.BAD,
            f"Only {free_mib} MiB are free; no payment is taken.",
            "Make room on the disk; the agent notices by itself.",
        )
    else:
        yield Finding("disk", Health.GOOD, f"{free_mib} MiB are free.")


def _journal(state_dir: Path, time: DeviceTime) -> Iterator[Finding]:
    if not (state_dir / FILE).exists():
        yield Finding(
            "journal", Health.GOOD, "There is none yet; the agent begins it at its first start."
        )
        return
    try:
        db = open_read_only(state_dir)
    except JournalUnwritable as error:
        yield Finding(
            "journal",
            Health.BAD,
            error.message,
            "Restart the agent: it keeps the damaged file aside and saves what can be read.",
        )
        return
    with contextlib.closing(db):
        if found := flaws(db):
            yield Finding(
                "journal",
                Health.BAD,
                f"The file is damaged: {found[0]}.",
                "Restart the agent: it keeps the damaged file aside and saves what can be read. Then look at the disk.",
            )
            return
        yield _outbox(db, time)
        undecided = db.execute("SELECT count(*) FROM session WHERE outcome IS NULL").fetchone()[0]
        if undecided:
            yield Finding(
                "payments",
                Health.WARNING,
                f"Of {undecided} payments it is not known how they ended; the agent asks their readers.",
                "See that the readers are connected.",
            )


def _outbox(db: sqlite3.Connection, time: DeviceTime) -> Finding:
    pending, oldest = db.execute(
        "SELECT count(*), min(created_at) FROM outbox WHERE acked_at IS NULL"
    ).fetchone()
    age = timedelta(seconds=max(0, int(time.now().timestamp()) - oldest)) if oldest else timedelta()
    if age > _OLD_OUTBOX:
        return Finding(
            "journal",
            Health.WARNING,
            f"It is sound; {pending} messages wait to be sent, the oldest for {_length(age)}.",
            "See what is said about the control plane and the broker.",
        )
    return Finding("journal", Health.GOOD, f"It is sound; {pending} messages wait to be sent.")


def _identity(identity: Identity, time: DeviceTime) -> Iterator[Finding]:
    member = identity.membership
    yield Finding(
        "identity",
        Health.GOOD,
        f"Device {member.device_id} of {member.merchant_name}, {member.location_name}.",
    )
    try:
        rights = stat.S_IMODE(identity.key_file.stat().st_mode)
    except OSError as error:
        yield Finding(
            "key",
            Health.BAD,
            f"The key cannot be read: {error.strerror}.",
            "Enrol anew with --force.",
        )
        return
    if rights & 0o077:
        yield Finding(
            "key",
            Health.BAD,
            "Other users of this machine may read the device's key.",
            f"chmod 600 {identity.key_file}; if others used the machine, enrol anew with --force",
        )
    else:
        yield Finding("key", Health.GOOD, "Only its owner may read it.")
    yield _certificate(identity, time)


def _certificate(identity: Identity, time: DeviceTime) -> Finding:
    try:
        problem = _misfit(identity)
    except (ValueError, OSError) as error:
        problem = str(error)
    if problem:
        return Finding(
            "certificate", Health.BAD, f"It cannot be used: {problem}.", "Enrol anew with --force."
        )
    now, until = time.now(), identity.membership.valid_until
    left = until - now
    if left <= timedelta(0):
        return Finding(
            "certificate",
            Health.BAD,
            f"It ended on {until:%d %B %Y}.",
            "Look at the clock first. If it is right, enrol anew with --force.",
        )
    if now > identity.renewal_due_at() + (until - identity.renewal_due_at()) / 2:
        return Finding(
            "certificate",
            Health.WARNING,
            f"It ends in {left.days} days and should have been renewed by now.",
            "See what is said about the control plane: renewal goes that way.",
        )
    return Finding(
        "certificate", Health.GOOD, f"It is good for {left.days} days and renewed by itself."
    )


def _misfit(identity: Identity) -> str:
    """What is wrong with the certificate, apart from its dates. Raises ValueError, OSError."""
    from cryptography import x509  # noqa: PLC0415 (12 MiB)
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    from agent.https_client import load_key  # noqa: PLC0415

    certificate = x509.load_pem_x509_certificate(identity.certificate_file.read_bytes())
    if certificate.public_key() != load_key(identity.key_file.read_bytes()).public_key():
        return "it belongs to another key"
    for authority in x509.load_pem_x509_certificates(identity.ca_file.read_bytes()):
        with contextlib.suppress(ValueError, TypeError, InvalidSignature):
            certificate.verify_directly_issued_by(authority)
            return ""
    return "no authority that is trusted here has signed it"


# --- the network -----------------------------------------------------------------------------------------------


async def _control_plane(identity: Identity, time: DeviceTime, clock: Clock) -> Finding:
    member = identity.membership
    client = HttpsClient(
        member.control_url, time, clock, ca_pem=member.control_ca, identity=identity
    )
    try:
        # Signed, and there is nothing in it.
        await client.request(
            "POST", OUTBOX, msgspec.json.encode(OutboxUpload(messages=[])), timeout_s=_CONNECT_S
        )
    except ControlPlaneUnreachable as error:
        return Finding(
            "control plane",
            Health.BAD,
            error.message,
            "Payments go on as long as the broker is reached; certificates are not renewed.",
        )
    except ControlPlaneRefused as error:
        return Finding(
            "control plane",
            Health.BAD,
            f"{member.control_url} answers, but refuses this device: {error.message}",
            "Look at the device in the console; it may be suspended, revoked or replaced.",
        )
    except (ValueError, OSError) as error:
        return Finding(
            "control plane",
            Health.BAD,
            f"No request can be signed: {error}.",
            "Enrol anew with --force.",
        )
    finally:
        client.close()
    return Finding(
        "control plane", Health.GOOD, f"{member.control_url} answers and knows this device."
    )


def _clock(time: DeviceTime) -> Finding:
    offset_ms = time.offset_ms()
    if offset_ms is None:
        return Finding(
            "clock", Health.SKIPPED, "It can be compared only when the control plane answers."
        )
    behind_s = offset_ms / 1000
    words = f"It is {abs(behind_s):.1f} s {'behind' if behind_s > 0 else 'ahead of'} the control plane's."
    fix = "Set it, and let it be kept right: timedatectl set-ntp true"
    if abs(behind_s) > _BAD_CLOCK_S:
        return Finding("clock", Health.BAD, words, fix)
    if abs(behind_s) > _GOOD_CLOCK_S:
        return Finding("clock", Health.WARNING, words, fix)
    return Finding("clock", Health.GOOD, words)


async def _broker(identity: Identity) -> Finding:
    """Name, TCP and TLS with our certificate; not MQTT, which would push out an agent that runs."""
    broker = identity.membership.broker
    where = f"{broker.host}:{broker.port}"
    fix = "A firewall may block the port; the agent then uses HTTPS by itself, which is slower."
    try:
        objection = await in_thread(lambda: _shake_hands(identity), "doctor")
    except ssl.SSLCertVerificationError as error:
        return Finding(
            "broker",
            Health.BAD,
            f"The certificate of {where} is not accepted: {error.verify_message}.",
            "Look at the clock first. If it is right, somebody sits between this box and the broker.",
        )
    except ssl.SSLError as error:
        return Finding(
            "broker", Health.BAD, f"{where} does not speak TLS with us: {error.reason}.", fix
        )
    except socket.gaierror:
        return Finding(
            "broker",
            Health.BAD,
            f"The name {broker.host} is not known.",
            "Look at the network's DNS.",
        )
    except ConnectionRefusedError:
        return Finding(
            "broker", Health.BAD, f"Nothing listens on {where}.", "The broker may be down."
        )
    except TimeoutError:
        return Finding("broker", Health.BAD, f"{where} does not answer.", fix)
    except OSError as error:
        return Finding(
            "broker", Health.BAD, f"There is no way to {where}: {error.strerror or error}.", fix
        )
    if objection:
        return Finding(
            "broker",
            Health.BAD,
            f"{where} does not take this device's certificate: {objection}.",
            "Look at the device in the console; it may be revoked.",
        )
    return Finding("broker", Health.GOOD, f"{where} takes this device's certificate.")


def _shake_hands(identity: Identity) -> str:
    """Blocking: what the broker has against our certificate, or nothing. Raises OSError."""
    broker = identity.membership.broker
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(identity.ca_file)
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    with (
        socket.create_connection((broker.host, broker.port), timeout=_CONNECT_S) as line,
        context.wrap_socket(line, server_hostname=broker.server_name) as tls,
    ):
        tls.settimeout(_OBJECTION_S)
        try:
            # With TLS 1.3 a refused certificate shows only at the first word.
            return "it closes the connection" if tls.recv(1) == b"" else ""
        except TimeoutError:
            return ""
        except ssl.SSLError as error:
            return str(error.reason or error).replace("_", " ").lower()


# --- readers ---------------------------------------------------------------------------------------------------


async def _reader(config: ReaderConfig, clock: Clock, *, runs: bool) -> list[Finding]:
    name = f"reader {config.name}"
    if runs:
        words = "The agent is running and holds it; the console shows its state."
        fix = "To examine it here, stop the agent first: systemctl stop omnitill-agent"
        return [Finding(name, Health.SKIPPED, words, fix)]
    try:
        profile = load_profile(config.profile)
        reader = reader_for(
            profile,
            config.address,
            currency=config.currency,
            password=config.secret(),
            clock=clock,
        )
    except (AgentError, AddressUnreadable, ProfileError, ProtocolError) as misfit:
        words = f"It cannot be started: {misfit}"
        return [Finding(name, Health.BAD, words, "Correct it in the configuration.")]
    running = asyncio.ensure_future(reader.run())
    told: Finished | None = None
    try:
        async with asyncio.timeout(READER_S):
            status = await reader.until(
                ReaderState.READY, ReaderState.LOCKED, ReaderState.UNIDENTIFIED
            )
            asked = await reader.execute(AskStatus())
            # Without a status of its own, BUSY says that it was not asked.
            told = None if asked.outcome is Outcome.BUSY and asked.code is None else asked
    except TimeoutError:
        status = reader.status
        if status.state is ReaderState.BUSY:
            words = f"It answers, and is busy: {status.reason}."
            fix = "Look at what it shows, wait some minutes, and examine it again."
            return [Finding(name, Health.WARNING, words, fix)]
        if status.state is not ReaderState.READY:
            heard = any(quirk.startswith("quirk:") for quirk in reader.counts)
            return [
                Finding(
                    name,
                    Health.BAD,
                    f"No answer within {READER_S:.0f} s: {status.reason or status.state.value}.",
                    silence_fix(config.address, config.profile, heard=heard),
                )
            ]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    protocol = profile.protocol.name
    about = support_line(protocol, status.identity, told)
    # A reader's clock shows the wall time of the shop, which is this box's.
    local = datetime.now()  # noqa: DTZ005
    found = remarks(protocol, told, local) if told is not None else ()
    more = [
        Finding(f"{name} {one.subject}", Health(one.weight), one.words, one.fix) for one in found
    ]
    if status.state is ReaderState.READY:
        known = _known(status.identity) or config.address
        return [
            Finding(name, Health.GOOD, f"It answers and is ready ({known}).", about=about),
            *more,
        ]
    if status.state is ReaderState.UNIDENTIFIED:
        fix = "Choose the profile of its model in the configuration."
    else:
        fix = next((one.fix for one in found), "Do at the reader what it asks for.")
    words = f"It answers, but takes no payments: {status.reason}."
    return [Finding(name, Health.BAD, words, fix, about), *more]


def _known(identity: ReaderIdentity) -> str:
    return ", ".join(
        part
        for part in (
            identity.model,
            f"terminal {identity.terminal_id}" if identity.terminal_id else None,
            f"serial number {identity.serial_number}" if identity.serial_number else None,
            f"software {identity.software_version}" if identity.software_version else None,
        )
        if part
    )


def _length(span: timedelta) -> str:
    if span >= timedelta(days=2):
        return f"{span.days} days"
    if span >= timedelta(hours=2):
        return f"{span // timedelta(hours=1)} hours"
    return f"{span // timedelta(minutes=1)} minutes"
