"""Every SELECT on releases and updates."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from sqlalchemy import Row, Select, bindparam, select

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import DEVICES
from control_plane.errors import NotFound
from control_plane.firmware.models import RELEASES, UPDATES, ReleaseState
from control_plane.payments.models import COMMANDS

Found: TypeAlias = Row[*tuple[Any, ...]]

_FOR_DEVICE: Final = (
    select(RELEASES.c.sha256, RELEASES.c.size)
    .join(DEVICES, DEVICES.c.merchant_id == RELEASES.c.merchant_id)
    .where(
        RELEASES.c.id == bindparam("release"),
        RELEASES.c.number == bindparam("number"),
        RELEASES.c.state != ReleaseState.UPLOADING,
        DEVICES.c.id == bindparam("device"),
    )
)


def releases_of(scope: Scope, *, profile: str | None = None) -> Select[*tuple[Any, ...]]:
    """Releases of a merchant."""
    wanted = [RELEASES.c.merchant_id == scope.merchant_id]
    if profile:
        wanted.append(RELEASES.c.profile == profile)
    return select(RELEASES).where(*wanted)


def usable_releases(db: Transaction, scope: Scope, profile: str) -> list[Found]:
    """Complete releases for a profile, also withdrawn ones, the oldest first."""
    statement = releases_of(scope, profile=profile).where(
        RELEASES.c.state != ReleaseState.UPLOADING
    )
    return [*db.execute(statement.order_by(RELEASES.c.created_at, RELEASES.c.id))]


def release(db: Transaction, scope: Scope, release_id: str, *, lock: bool = False) -> Found:
    """Raises NotFound for a release that is not within the scope."""
    statement = releases_of(scope).where(RELEASES.c.id == release_id)
    found = db.execute(statement.with_for_update() if lock else statement).one_or_none()
    if found is None:
        raise NotFound("firmware release", release_id)
    return found


def file_for_device(db: Transaction, device_id: str, release_id: str, number: int) -> Found | None:
    """SHA-256 and size of a file that this device may fetch."""
    return db.execute(
        _FOR_DEVICE, {"device": device_id, "release": release_id, "number": number}
    ).one_or_none()


def updates_of(scope: Scope, reader_id: str) -> Select[*tuple[Any, ...]]:
    """Updates of a reader, with how the command to begin it ended."""
    return (
        select(
            UPDATES,
            COMMANDS.c.state.label("command_state"),
            COMMANDS.c.result_text.label("command_text"),
        )
        .outerjoin(COMMANDS, COMMANDS.c.id == UPDATES.c.command_id)
        .where(*scope.conditions(UPDATES), UPDATES.c.reader_id == reader_id)
    )


def last_update(db: Transaction, scope: Scope, reader_id: str) -> Found | None:
    """The newest update of a reader."""
    statement = updates_of(scope, reader_id).order_by(UPDATES.c.created_at.desc()).limit(1)
    return db.execute(statement).one_or_none()


def open_update(db: Transaction, reader_id: str) -> Found | None:
    """The update of a reader that has not ended."""
    statement = select(
        UPDATES,
        COMMANDS.c.state.label("command_state"),
        COMMANDS.c.result_text.label("command_text"),
    ).outerjoin(COMMANDS, COMMANDS.c.id == UPDATES.c.command_id)
    return db.execute(
        statement.where(UPDATES.c.reader_id == reader_id, UPDATES.c.finished_at.is_(None))
    ).one_or_none()
