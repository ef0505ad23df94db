"""What the page of a reader shows of its software: how its update goes, and what may be installed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row

from control_plane.db.unit_of_work import Transaction
from control_plane.errors import Conflict
from control_plane.firmware import queries, updates
from control_plane.firmware.models import ReleaseState
from control_plane.web import words
from control_plane.web.fleet import Act, Axis
from control_plane.web.i18n import N_
from control_plane.web.views import Choice
from control_plane.web.visits import Visit

#: How long an update that has ended is shown.
_SHOWN: Final = timedelta(days=1)
_OWN: Final = "own"
STATES: Final[dict[str, words.Word]] = {
    "ordered": words.Word(N_("Update ordered"), "sync", "wait"),
    "planned": words.Word(N_("Loading the update"), "sync", "wait"),
    "downloaded": words.Word(N_("Update loaded"), "sync", "wait"),
    "waiting": words.Word(N_("Update waits"), "clock", "wait"),
    "claiming": words.Word(N_("Update begins"), "sync", "wait"),
    "transferring": words.Word(N_("Being updated"), "sync", "wait"),
    "rebooting": words.Word(N_("Restarting after the update"), "undo", "wait"),
    "verifying": words.Word(N_("Checking the update"), "sync", "wait"),
    "done": words.Word(N_("Updated"), "check", "good"),
    "failed": words.Word(N_("Update failed"), "alert", "bad"),
    "unknown": words.Word(N_("Update unclear"), "question", "bad"),
}


def axes(db: Transaction, visit: Visit, reader_id: str) -> list[Axis]:
    """How the last update goes; nothing when there was none lately."""
    last = queries.last_update(db, visit.caller.scope, reader_id)
    if last is None or (last.finished_at and visit.now - last.finished_at > _SHOWN):
        return []
    state, text = updates.state_of(last)
    why = text
    if not why and last.percent is not None:
        why = visit.say(
            N_("%(version)s, %(percent)s %%"), version=last.version, percent=last.percent
        )
    return [Axis(visit.say(N_("Software update")), words.word(STATES, state), why or last.version)]


def acts(db: Transaction, visit: Visit, reader: Row[Any]) -> list[Act]:
    """The button, when there is something that may be installed now."""
    options = _options(db, visit, reader)
    if not options:
        return []
    return [
        Act(
            key="firmware",
            text=visit.say(N_("Update its software")),
            icon="sync",
            action=f"/readers/{reader.id}/firmware-update",
            title=visit.say(N_("Update %(name)s?"), name=reader.name),
            confirm=visit.say(
                N_(
                    "Its day is closed first. From then on it takes no payments until the new software runs and "
                    "was checked; that may take half an hour. A running payment is never interrupted."
                )
            ),
            field="release_id",
            field_label=visit.say(N_("Version")),
            options=tuple(options),
        )
    ]


def _options(db: Transaction, visit: Visit, reader: Row[Any]) -> list[Choice]:
    scope = visit.caller.scope
    try:
        if _may(db, visit, reader, updates.Order()):
            return [Choice(_OWN, visit.say(N_("What its own host has")))]
        return [
            Choice(one.id, one.version)
            for one in reversed(queries.usable_releases(db, scope, reader.profile))
            if one.state is ReleaseState.READY
            and _may(db, visit, reader, updates.Order(release_id=one.id))
        ]
    except Conflict:
        # Its profile is not known here.
        return []


def _may(db: Transaction, visit: Visit, reader: Row[Any], order: updates.Order) -> bool:
    """Whether the planner lets it be ordered as it is."""
    planned = updates.plan_for(db, visit.caller.scope, reader, order)
    if len(planned.steps) != 1:
        return False
    return (planned.steps[0].release is None) is (order.release_id is None)
