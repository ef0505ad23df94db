"""A box from afar: restart it, test it, read its log as it is written, fetch everything that explains a fault."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.service import device_of
from control_plane.devices.timeline import readers_topic
from control_plane.errors import NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.security import requires
from control_plane.payments import commands
from control_plane.payments import queries as payments
from control_plane.payments.models import COMMANDS
from control_plane.payments.views import CommandView
from control_plane.support import queries
from control_plane.support.service import log_topic
from control_plane.web import words
from control_plane.web.i18n import N_
from control_plane.web.streams import follow
from control_plane.web.views import Choice
from control_plane.web.visits import Visit, site_of
from protocols.cloud.commands import (
    FetchLogs,
    RenewCertificate,
    ReportNow,
    RestartAgent,
    SelfTest,
    TailLog,
)

router = APIRouter(prefix="/readers/boxes/{device_id}/support")

Managing = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]

#: Lines of the log that a page has.
_LINES: Final = 200
_ORDERS: Final = 12
#: How long a page that follows the log hears new lines.
_FOLLOW_S: Final = 300
_LEVELS: Final = {
    "info": N_("All lines"),
    "warning": N_("Warnings and errors"),
    "error": N_("Errors only"),
}
_ASK: Final[dict[str, commands.AgentCommand]] = {
    "self_test": SelfTest(),
    "log_bundle": FetchLogs(),
    "report": ReportNow(),
    "renew_certificate": RenewCertificate(),
    "restart": RestartAgent(),
}
#: Fields of a line that have a place of their own.
_OWN_PLACE: Final = frozenset({"timestamp", "level", "event"})


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a self-test looked at."""

    name: str
    word: words.Word
    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """A command to the box and what came of it."""

    name: str
    word: words.Word
    at: datetime
    text: str
    checks: tuple[Check, ...]
    href: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log, taken apart."""

    id: int
    at: datetime
    tone: str
    level: str
    event: str
    rest: str


@router.get("")
def show_support(request: Request, caller: Managing, db: ReadDb, device_id: str) -> Response:
    """What can be asked, what was asked, the log."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    device = device_of(db, caller.scope, device_id)
    return site.page(
        visit,
        "readers/support.html",
        box={"id": device.id, "name": device.name, "is_online": device.is_online},
        levels=[Choice(value, visit.say(text)) for value, text in _LEVELS.items()],
        follow_minutes=_FOLLOW_S // 60,
        **_fragments(db, visit, device_id),
    )


@router.get("/live", response_class=EventSourceResponse)
async def support_live(
    request: Request, caller: Managing, parts: App, device_id: str
) -> AsyncIterator[ServerSentEvent]:
    """Commands and log as they change."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            device_of(db, caller.scope, device_id)
            values = _fragments(db, visit, device_id)
            return {
                "#orders": site.fragment(visit, "readers/_orders.html", **values),
                "#log": site.fragment(visit, "readers/_log.html", **values),
            }

    topics = [log_topic(device_id), readers_topic(caller.merchant_id)]
    async for event in follow(parts.live, topics, render):
        yield event


@router.post("/log")
def tail_log(
    caller: Managing,
    db: Db,
    device_id: str,
    level: Annotated[Literal["info", "warning", "error"], Form()] = "info",
) -> Response:
    """Show the log, and follow it for some minutes."""
    body = TailLog(lines=_LINES, level=level, seconds=_FOLLOW_S)
    commands.command_device(db, caller, device_id, body)
    return RedirectResponse(f"/readers/boxes/{device_id}/support#log-title", 303)


@router.post("/{order}")
def ask_box(caller: Managing, db: Db, device_id: str, order: str) -> Response:
    """Ask the box for one of the other things."""
    if (body := _ASK.get(order)) is None:
        raise NotFound("page", order)
    commands.command_device(db, caller, device_id, body)
    return RedirectResponse(f"/readers/boxes/{device_id}/support", 303)


def _fragments(db: Transaction, visit: Visit, device_id: str) -> dict[str, Any]:
    scope = visit.caller.scope
    wanted = payments.commands_of(scope, device_id=device_id).where(
        COMMANDS.c.kind.in_(sorted(words.BOX_ORDERS))
    )
    rows = db.execute(wanted.order_by(COMMANDS.c.id.desc()).limit(_ORDERS)).all()
    there = {row.command_id for row in queries.bundles(db, scope, device_id, limit=_ORDERS)}
    return {
        "orders": [_order(visit, payments.command_view(row), there) for row in rows],
        "lines": [
            _line(visit, row) for row in queries.last_lines(db, scope, device_id, limit=_LINES)
        ],
    }


def _order(visit: Visit, command: CommandView, bundles: set[str]) -> Order:
    href = f"/v1/devices/{command.device_id}/log-bundles/{command.id}"
    is_test = command.kind == "agent.self_test"
    return Order(
        visit.say(words.BOX_ORDERS[command.kind]),
        words.word(words.COMMAND_STATES, command.state.value),
        command.issued_at,
        command.result_text,
        tuple(_check(name, str(text)) for name, text in command.output.items()) if is_test else (),
        href if command.id in bundles else "",
    )


def _check(name: str, said: str) -> Check:
    health, _, text = said.partition(": ")
    return Check(name, words.word(words.CHECKS, health), text)


def _line(visit: Visit, row: Row[Any]) -> Line:
    try:
        said = json.loads(row.text)
    except ValueError:
        said = {"event": row.text}
    if not isinstance(said, dict):
        said = {"event": row.text}
    rest = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in said.items()
        if name not in _OWN_PLACE and value not in ("", None)
    )
    tone = {"warning": "warn", "error": "bad", "critical": "bad"}.get(row.level, "off")
    at = (row.written_at or row.received_at).astimezone(visit.zone)
    return Line(row.id, at, tone, row.level, str(said.get("event", "")), rest)
