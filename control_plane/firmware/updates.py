"""Updates of single readers: planned, ordered, and what their devices tell of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, update

from control_plane import live
from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.devices import queries as devices
from control_plane.devices.timeline import readers_topic
from control_plane.errors import NotFound
from control_plane.firmware import queries
from control_plane.firmware.errors import UpdateRefused, UpdateRunning
from control_plane.firmware.models import UPDATES, ReleaseState
from control_plane.firmware.queries import Found
from control_plane.firmware.releases import manifest
from control_plane.payments.commands import issue_command
from control_plane.payments.lifecycle import CommandState
from firmware_profiles import ProfileError, load_profile
from firmware_profiles.planner import Release, UpdatePlan, plan
from protocols.cloud.commands import UpdateReader
from protocols.cloud.events import JobProgress
from protocols.ids import new_id

#: How long a device may be away before the order is forgotten.
_TTL: Final = timedelta(hours=24)
#: A device that told nothing of an update for so long has lost it.
_SILENT: Final = timedelta(hours=48)
_FINAL: Final = frozenset({"done", "failed", "unknown"})
_REFUSED: Final = frozenset(
    {CommandState.FAILED, CommandState.REFUSED, CommandState.REJECTED, CommandState.EXPIRED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants. Without a release the reader fetches what its own host has."""

    release_id: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    end_of_day: bool = False
    despite_failure: bool = False
    approvals: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class ReportedProgress:
    """What a device told of a job, and when."""

    device_id: str
    merchant_id: str
    at: datetime
    progress: JobProgress


def plan_for(db: Transaction, scope: Scope, reader: Found, order: Order) -> UpdatePlan:
    """How to bring a reader to a release, or why not. Raises NotFound, UpdateRefused for an unknown profile."""
    try:
        profile = load_profile(reader.profile)
    except ProfileError as unknown:
        raise UpdateRefused(f"{unknown.message}.", [unknown.code]) from unknown
    known = [
        Release(
            version=one.version,
            position=position,
            component=one.component,
            channel=one.channel,
            min_current=one.min_current,
            size=one.size,
            sha256=one.sha256,
            is_vendor_signed=one.is_vendor_signed,
            is_withdrawn=one.state is ReleaseState.WITHDRAWN,
        )
        for position, one in enumerate(queries.usable_releases(db, scope, reader.profile))
    ]
    wanted = queries.release(db, scope, order.release_id) if order.release_id else None
    return plan(
        profile,
        reader.software_version,
        known,
        channel=wanted.channel if wanted else "stable",
        target=wanted.version if wanted else None,
        component=wanted.component if wanted else "",
        approvals=order.approvals,
    )


def order_update(db: Transaction, caller: Caller, reader_id: str, order: Order) -> Found:
    """Order it; the device is told until it answers. Raises NotFound, UpdateRefused, UpdateRunning."""
    scope = caller.scope
    reader = devices.reader(db, scope, reader_id)
    if reader is None:
        raise NotFound("reader", reader_id)
    release = queries.release(db, scope, order.release_id) if order.release_id else None
    if release is not None and release.profile != reader.profile:
        reason = f"The release is for {release.profile}, and {reader.name} is {reader.profile}."
        raise UpdateRefused(reason, ["other_profile"])
    _check(plan_for(db, scope, reader, order), release)
    now = context_of(db).clock.now()
    if (before := queries.open_update(db, reader_id)) is not None and not _close(db, before, now):
        raise UpdateRunning(reader=reader.name, reader_id=reader_id)
    job_id = new_id("job")
    body = UpdateReader(
        job_id=job_id,
        reader_id=reader_id,
        release=manifest(release) if release is not None else None,
        not_before_ms=_ms(order.not_before),
        not_after_ms=_ms(order.not_after),
        end_of_day=order.end_of_day,
        despite_failure=order.despite_failure,
    )
    command_id = issue_command(
        db,
        merchant_id=scope.merchant_id,
        device_id=reader.device_id,
        body=body,
        issued_by=caller.id,
        reader_id=reader_id,
        ttl=_TTL,
    )
    db.execute(
        insert(UPDATES).values(
            id=job_id,
            merchant_id=scope.merchant_id,
            location_id=reader.location_id,
            device_id=reader.device_id,
            reader_id=reader_id,
            release_id=release.id if release is not None else None,
            command_id=command_id,
            version=release.version if release is not None else "",
            version_before=reader.software_version or "",
            state="ordered",
            text="",
            ordered_by=caller.id,
            created_at=now,
            changed_at=now,
        )
    )
    record(
        db,
        scope.merchant_id,
        caller.actor,
        AuditTag.FIRMWARE_UPDATE_ORDER,
        object_id=reader_id,
        object_name=reader.name,
        before={"version": reader.software_version or ""},
        after={"job_id": job_id, "version": body.release.version if body.release else ""},
    )
    live.publish(db, readers_topic(scope.merchant_id), {"reader_id": reader_id}, key=reader_id)
    found = queries.last_update(db, scope, reader_id)
    if found is None:
        raise NotFound("firmware update", job_id)
    return found


def apply_progress(db: Transaction, reported: Sequence[ReportedProgress]) -> None:
    """Note what devices told. What is not a firmware job of that device is nobody's business here."""
    told: set[tuple[str, str]] = set()
    for one in reported:
        progress = one.progress
        statement = (
            update(UPDATES)
            .where(
                UPDATES.c.id == progress.job_id,
                UPDATES.c.device_id == one.device_id,
                UPDATES.c.finished_at.is_(None),
            )
            .values(
                state=progress.state,
                percent=progress.percent,
                text=progress.text,
                changed_at=one.at,
                finished_at=one.at if progress.state in _FINAL else None,
            )
        )
        if changed(db, statement):
            told.add((one.merchant_id, progress.reader_id or ""))
    for merchant_id, reader_id in told:
        live.publish(db, readers_topic(merchant_id), {"reader_id": reader_id}, key=reader_id)


def state_of(found: Found) -> tuple[str, str]:
    """State and text of an update as people are shown; a refusal of the device counts as its end."""
    if found.state == "ordered" and found.command_state in _REFUSED:
        return "failed", found.command_text or "The device did not answer in time."
    return found.state, found.text


def _check(planned: UpdatePlan, release: Found | None) -> None:
    """Raises UpdateRefused."""
    if planned.refusals:
        reason = " ".join(refusal.text for refusal in planned.refusals)
        raise UpdateRefused(reason, [refusal.code for refusal in planned.refusals])
    if planned.is_current:
        raise UpdateRefused(f"It runs {planned.installed} already.", ["current"])
    first = planned.steps[0].release
    if release is not None and first is None:
        raise UpdateRefused("It fetches its software by itself.", ["fetches_itself"])
    if first is not None and release is None:
        raise UpdateRefused("Choose a release.", ["release_missing"])
    if release is not None and first is not None and first.version != release.version:
        reason = (
            f"{release.version} cannot follow {planned.installed}. Install {first.version} first."
        )
        raise UpdateRefused(reason, ["stepping_stone"])


def _close(db: Transaction, before: Found, now: datetime) -> bool:
    """End an update that has ended without saying so; False when it may still run."""
    state, text = state_of(before)
    if state not in _FINAL:
        if now - before.changed_at < _SILENT:
            return False
        state, text = "unknown", "The device told nothing more of it."
    db.execute(
        update(UPDATES)
        .where(UPDATES.c.id == before.id, UPDATES.c.finished_at.is_(None))
        .values(state=state, text=text, changed_at=now, finished_at=now)
    )
    return True


def _ms(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
