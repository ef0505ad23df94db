"""Two boxes with one identity: a disk that was copied, or a backup that was brought back while its original still runs.

Each start of an agent counts up its boot counter, durably, and gives itself a name made by chance. Two names under one
boot counter therefore cannot be one box. Which of them is the real one nobody can know from here, and both could send
sales under the same numbers; so the device is suspended until a person has decided. Nothing of either is lost: what is
not taken in stays in their outboxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, delete, func, or_, select

from control_plane.audit.actor import SYSTEM
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.db.upsert import insert as upsert
from control_plane.devices import service, timeline
from control_plane.devices.models import DEVICES, LIVES, Severity
from control_plane.devices.queries import Found
from protocols.cloud.events import Presence

#: A life that nobody heard of for so long no longer matters.
KEPT: Final = timedelta(days=90)
CLONED: Final = "device.cloned"
_COUNT: Final = func.count()


def watch(db: Transaction, said: Mapping[str, Sequence[Presence]], at: datetime) -> list[str]:
    """Note who lives, and suspend devices that live twice; their ids. Call it before presence is applied."""
    lives = {
        (device_id, one.boot, one.life)
        for device_id, words in said.items()
        for one in words
        if one.state == "online" and one.life and 0 <= one.boot < 2**63
    }
    if not lives:
        return []
    devices = {
        row.id: row
        for row in db.execute(
            select(
                DEVICES.c.id,
                DEVICES.c.merchant_id,
                DEVICES.c.name,
                DEVICES.c.state,
                DEVICES.c.state_since,
            ).where(DEVICES.c.id.in_(sorted({device_id for device_id, _, _ in lives})))
        )
    }
    rows = [
        {
            "device_id": device_id, "boot": boot, "life": life,
            "merchant_id": devices[device_id].merchant_id, "seen_at": at,
        }
        for device_id, boot, life in sorted(lives)
        if device_id in devices
    ]  # fmt: skip
    if not rows:
        return []
    statement = upsert(db, LIVES)
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["device_id", "boot", "life"],
            set_={"seen_at": statement.excluded.seen_at},
        ),
        rows,
    )
    doubled = {
        row.device_id
        for row in db.execute(
            select(LIVES.c.device_id, LIVES.c.boot)
            .join(DEVICES, DEVICES.c.id == LIVES.c.device_id)
            .where(
                or_(
                    *(
                        and_(LIVES.c.device_id == device_id, LIVES.c.boot == boot)
                        for device_id, boot in sorted({one[:2] for one in lives})
                    )
                ),
                # A person who lets a device work again has seen what was there until then.
                LIVES.c.seen_at >= DEVICES.c.state_since,
            )
            .group_by(LIVES.c.device_id, LIVES.c.boot)
            .having(_COUNT > 1)
        )
    }
    suspended = sorted(one for one in doubled if devices[one].state.may_speak)
    for device_id in suspended:
        _suspend(db, devices[device_id], at)
    return suspended


def lives_of(db: Transaction, device: Found) -> Sequence[Found]:
    """The lives of the newest boot of a device that lives twice, the newest first; none when it does not."""
    rows = db.execute(
        select(LIVES)
        .where(LIVES.c.device_id == device.id)
        .order_by(LIVES.c.boot.desc(), LIVES.c.seen_at.desc())
        .limit(10)
    ).all()
    newest = [row for row in rows if row.boot == rows[0].boot]
    return newest if len(newest) > 1 else []


def forget_old(db: Transaction) -> int:
    """Delete lives that no longer matter; how many."""
    before = context_of(db).clock.now() - KEPT
    return changed(db, delete(LIVES).where(LIVES.c.seen_at < before))


def _suspend(db: Transaction, device: Found, at: datetime) -> None:
    timeline.record(
        db, device.merchant_id, device.id, CLONED,
        "Two boxes use this identity, so neither is believed until somebody decides. Nothing is lost: what they have "
        "to tell stays with them. Find both boxes; replace the one that stays by itself with a new code, and set the "
        "other one up with a code of its own.",
        severity=Severity.ERROR, happened_at=at,
    )  # fmt: skip
    service.suspend(db, Scope(device.merchant_id), device.id, by=SYSTEM)
