"""Reads of the activity log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, select

from control_plane.audit.service import EVENTS
from control_plane.db.scope import Scope


def events(
    scope: Scope,
    *,
    tag: str | None = None,
    actor_id: str | None = None,
    object_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Select[*tuple[Any, ...]]:
    """Events of the merchant. ``tag`` may be the beginning of one: ``user`` or ``user:session``."""
    statement = select(EVENTS).where(*scope.conditions(EVENTS))
    if tag:
        statement = statement.where(
            (EVENTS.c.tag == tag) | EVENTS.c.tag.startswith(f"{tag}:", autoescape=True)
        )
    if actor_id:
        statement = statement.where(EVENTS.c.actor_id == actor_id)
    if object_id:
        statement = statement.where(EVENTS.c.object_id == object_id)
    if since:
        statement = statement.where(EVENTS.c.at >= since)
    if until:
        statement = statement.where(EVENTS.c.at < until)
    return statement
