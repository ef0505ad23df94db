"""Every SELECT on logs of boxes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import Row, Select, func, select

from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction
from control_plane.payments.models import COMMANDS
from control_plane.support.models import LOG_BUNDLES, LOG_LINES

#: A row whose columns the query names.
Found: TypeAlias = Row[*tuple[Any, ...]]

TAIL: Final = "agent.log_tail"
BUNDLE: Final = "agent.log_bundle"


def lines_of(scope: Scope, device_id: str, *, after: int = 0) -> Select[*tuple[Any, ...]]:
    """Lines that came after that one. The device itself must have been looked up before."""
    return select(LOG_LINES).where(
        *scope.conditions(LOG_LINES), LOG_LINES.c.device_id == device_id, LOG_LINES.c.id > after
    )


def last_lines(db: Transaction, scope: Scope, device_id: str, *, limit: int) -> list[Found]:
    """The newest lines, the oldest of them first."""
    rows = db.execute(lines_of(scope, device_id).order_by(LOG_LINES.c.id.desc()).limit(limit)).all()
    return list(reversed(rows))


def bundles_of(scope: Scope, device_id: str) -> Select[*tuple[Any, ...]]:
    """Bundles without their content."""
    columns = [one for one in LOG_BUNDLES.c if one.name != "content"]
    return select(*columns).where(
        *scope.conditions(LOG_BUNDLES), LOG_BUNDLES.c.device_id == device_id
    )


def bundles(db: Transaction, scope: Scope, device_id: str, *, limit: int = 10) -> Sequence[Found]:
    """The newest first."""
    wanted = bundles_of(scope, device_id).order_by(LOG_BUNDLES.c.received_at.desc()).limit(limit)
    return db.execute(wanted).all()


def bundle(db: Transaction, scope: Scope, device_id: str, command_id: str) -> Found | None:
    """One bundle with its content."""
    return db.execute(
        select(LOG_BUNDLES).where(
            *scope.conditions(LOG_BUNDLES),
            LOG_BUNDLES.c.device_id == device_id,
            LOG_BUNDLES.c.command_id == command_id,
        )
    ).one_or_none()


def asked(
    db: Transaction, kind: str, command_ids: Collection[str], since: datetime
) -> dict[str, Found]:
    """Commands of one kind that somebody gave lately, by id, with ``device_id`` and ``merchant_id``."""
    rows = db.execute(
        select(COMMANDS.c.id, COMMANDS.c.device_id, COMMANDS.c.merchant_id).where(
            COMMANDS.c.id.in_(sorted(command_ids)),
            COMMANDS.c.kind == kind,
            COMMANDS.c.issued_at > since,
        )
    )
    return {row.id: row for row in rows}


def counts(db: Transaction, command_ids: Collection[str]) -> dict[str, int]:
    """How many lines there are of each tail."""
    rows = db.execute(
        select(LOG_LINES.c.command_id, func.count().label("lines"))
        .where(LOG_LINES.c.command_id.in_(sorted(command_ids)))
        .group_by(LOG_LINES.c.command_id)
    )
    return {row.command_id: row.lines for row in rows}
