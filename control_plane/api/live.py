"""One stream of what changed, for pages and programs that show many things at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Announcement
from control_plane.devices.timeline import readers_topic
from control_plane.http.dependencies import App
from control_plane.http.security import requires
from control_plane.payments.timeline import sessions_topic

router = APIRouter(prefix="/v1", tags=["live"])

#: At most one message in this time: a slow phone chokes on more.
_PAUSE_S: Final = 1.0
#: How soon a stream of a closed hub ends.
_PATIENCE_S: Final = 15.0

Viewer = Annotated[Caller, requires(Permission.READER_VIEW)]


class Watched(StrEnum):
    """What can be watched."""

    SESSIONS = "sessions"
    READERS = "readers"


@router.get("/live", response_class=EventSourceResponse)
async def follow(
    caller: Viewer,
    parts: App,
    watch: Annotated[
        list[Watched] | None, Query(description="What to hear of; everything when left out.")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """What changed since the message before, at most one message a second.

    Each message `changed` holds `{"sessions": [...], "readers": [...]}` with the newest hint of each thing; read the
    things themselves for the rest. A message `reload` says that some were missed. Sessions also need the permission
    `payment:session:view`.
    """
    chosen = set(watch or Watched)
    if not caller.can(Permission.PAYMENT_SESSION_VIEW):
        chosen.discard(Watched.SESSIONS)
    topics = {
        sessions_topic(caller.merchant_id): Watched.SESSIONS,
        readers_topic(caller.merchant_id): Watched.READERS,
    }
    wanted = [topic for topic, thing in topics.items() if thing in chosen]
    with parts.live.subscribe(*wanted) as watching:
        while (batch := await watching.next(_PATIENCE_S)) is not None:
            if watching.missed:
                watching.missed = False
                yield ServerSentEvent(data={}, event="reload")
            elif batch:
                yield ServerSentEvent(data=_changes(batch, topics), event="changed")
                await asyncio.sleep(_PAUSE_S)


def _changes(
    batch: list[Announcement], topics: dict[str, Watched]
) -> dict[str, list[dict[str, Any]]]:
    changes: dict[str, list[dict[str, Any]]] = {}
    for one in batch:
        changes.setdefault(topics[one.topic].value, []).append(one.message)
    return changes
