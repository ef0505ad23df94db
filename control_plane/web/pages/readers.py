"""Readers and the boxes that drive them: the fleet, one of them, and setting up a new box."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from control_plane.accounts import queries as accounts
from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.alerts import queries as alerts
from control_plane.card_present.accounts import account_of as card_account_of
from control_plane.card_present.encrypting import is_encrypting_reader
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries
from control_plane.devices.models import READERS
from control_plane.devices.timeline import readers_topic
from control_plane.errors import Conflict, NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.payments import commands
from control_plane.payments import queries as payments
from control_plane.payments.models import COMMANDS
from control_plane.virtual_terminal import cloud_readers
from control_plane.virtual_terminal.cloud_readers import CloudReaderView
from control_plane.web import card_words, present, reader_software, words
from control_plane.web.fleet import (
    Act,
    Axis,
    BoxRow,
    box_rows,
    open_codes,
    reach_axis,
    sync_axis,
)
from control_plane.web.i18n import N_
from control_plane.web.streams import follow
from control_plane.web.views import Choice, Moment, Page
from control_plane.web.visits import Site, Visit, site_of
from protocols.cloud.commands import DiagnoseReader, RebootReader

router = APIRouter(prefix="/readers")

Seeing = Annotated[Caller, requires(Permission.READER_VIEW)]
Managing = Annotated[Caller, requires(Permission.READER_MANAGE)]

_ON_A_PAGE: Final = 50
#: Boxes that are shown beside the readers; all of them have a page of their own.
_BOXES: Final = 10
#: Events that are looked at for the timeline.
_EVENTS: Final = 60
#: Tests and restarts that are looked at for it.
_ORDERED: Final = 10
_REACHES: Final = ("online", "offline")
_HEALTHS: Final = tuple(health for health in words.HEALTH if health != "unknown")
_ORDERS: Final[dict[str, type[DiagnoseReader | RebootReader]]] = {
    "diagnose": DiagnoseReader,
    "reboot": RebootReader,
}


@dataclass(frozen=True, slots=True)
class Tab:
    """A count that is also a filter; no word for all."""

    href: str
    count: int
    word: words.Word | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class Filters:
    """What the address asks for."""

    q: str
    location: str
    reach: str
    health: str
    cursor: str = ""

    @property
    def query(self) -> str:
        """The address again, as far as it filters."""
        chosen = {name: getattr(self, name) for name in ("q", "location", "reach", "health")}
        text = urlencode({name: value for name, value in chosen.items() if value})
        return f"?{text}" if text else ""

    def at(self, cursor: str) -> str:
        """The query of another page."""
        joint = "&" if self.query else "?"
        return f"{self.query}{joint}{urlencode({'cursor': cursor})}" if cursor else self.query

    def wanted(self) -> queries.ReaderFilter:
        """The filter of the query."""
        return queries.ReaderFilter(
            text=self.q,
            location_id=self.location or None,
            state=self.health or None,
            is_online={"online": True, "offline": False}.get(self.reach),
        )


def filters(
    q: Annotated[str, Query(max_length=100)] = "",
    location: Annotated[str, Query(max_length=64)] = "",
    reach: Annotated[str, Query(max_length=20)] = "",
    health: Annotated[str, Query(max_length=20)] = "",
    cursor: Annotated[str, Query(max_length=500)] = "",
) -> Filters:
    """Unknown values filter nothing."""
    return Filters(
        q.strip(),
        location,
        reach if reach in _REACHES else "",
        health if health in _HEALTHS else "",
        cursor,
    )


@router.get("")
def fleet(
    request: Request,
    caller: Seeing,
    db: ReadDb,
    chosen: Annotated[Filters, Depends(filters)],
) -> Response:
    """All readers and boxes, and the codes that still wait for one."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(
        visit,
        "readers/list.html",
        **_fleet(db, visit, chosen),
        filters={"q": chosen.q, "location": chosen.location, "health": chosen.health, "reach": chosen.reach},
        choices={
            "location": [Choice(id_, name) for id_, name in visit.places.items()],
            "health": [Choice(state, visit.say(words.HEALTH[state].text)) for state in _HEALTHS],
        },
        codes=open_codes(db, visit) if caller.can(Permission.DEVICE_ENROLL) else [],
        query=chosen.at(chosen.cursor),
        alerts_open=alerts.count_open(db, caller.scope),
    )  # fmt: skip


@router.get("/live", response_class=EventSourceResponse)
async def fleet_live(
    request: Request,
    caller: Seeing,
    parts: App,
    chosen: Annotated[Filters, Depends(filters)],
) -> AsyncIterator[ServerSentEvent]:
    """Rows and counts as they change."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            values = _fleet(db, visit, chosen)
            return {
                "#tabs": site.fragment(visit, "readers/_tabs.html", **values),
                "#fleet": site.fragment(visit, "readers/_fleet.html", **values),
                "#boxes": site.fragment(visit, "readers/_boxes.html", **values),
                "#cloud": site.fragment(visit, "readers/_cloud.html", **values),
            }

    async for event in follow(parts.live, [readers_topic(caller.merchant_id)], render):
        yield event


@router.get("/{reader_id}")
def show_reader(request: Request, caller: Seeing, db: ReadDb, reader_id: str) -> Response:
    """One reader: how it is and why, its latest sales, what happened."""
    site = site_of(request)
    return reader_page(site, site.visit(db, request, caller), db, reader_id)


@router.get("/{reader_id}/live", response_class=EventSourceResponse)
async def reader_live(
    request: Request, caller: Seeing, parts: App, reader_id: str
) -> AsyncIterator[ServerSentEvent]:
    """How the reader is, as it changes."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            axes = _reader_axes(db, visit, _reader(db, caller, reader_id))
            moments = _moments(db, visit, reader_id)
            return {
                "#axes": site.fragment(visit, "readers/_axes.html", axes=axes),
                "#moments": site.fragment(visit, "readers/_moments.html", moments=moments),
            }

    async for event in follow(parts.live, [readers_topic(caller.merchant_id)], render):
        yield event


@router.post("/{reader_id}/{order}")
def order_reader(
    request: Request, caller: Managing, db: Db, reader_id: str, order: str
) -> Response:
    """Let a reader test its line or restart; its page tells what came of it."""
    if order not in _ORDERS:
        raise NotFound("page", order)
    try:
        with db.begin_nested():
            commands.command_reader(db, caller, reader_id, _ORDERS[order](reader_id=reader_id))
    except Conflict as refused:
        site = site_of(request)
        visit = site.visit(db, request, caller)
        return reader_page(
            site, visit, db, reader_id, notice=visit.explain(refused), status=refused.status
        )
    return RedirectResponse(f"/readers/{reader_id}", 303)


def reader_page(
    site: Site,
    visit: Visit,
    db: Transaction,
    reader_id: str,
    *,
    notice: str = "",
    status: int = 200,
) -> Response:
    """The page of one reader, with a notice above it where something was refused."""
    caller = visit.caller
    reader = _reader(db, caller, reader_id)
    row = present.reader_row(reader, visit.places)
    can_see_box = caller.can(Permission.DEVICE_VIEW)
    facts = [
        (N_("Id"), reader.id, "id", ""),
        (N_("Shop"), row.place, "", ""),
        (N_("Box"), reader.device_name, "", row.device_href if can_see_box else ""),
        (N_("Model"), row.model, "", ""),
        (N_("Profile"), reader.profile, "", ""),
        (N_("Serial number"), reader.serial_number or "", "", ""),
        (N_("Terminal"), reader.terminal_id or "", "", ""),
        (N_("Software"), row.software, "", ""),
        (N_("Connected by"), reader.address, "", ""),
        (N_("First seen"), visit.formats.moment(reader.first_seen_at, visit.zone), "", ""),
    ]
    sales = (
        payments.recent_sessions(db, caller.scope, reader_id=reader_id, limit=10)
        if caller.can(Permission.PAYMENT_SESSION_VIEW)
        else []
    )
    return site.page(
        visit,
        "readers/detail.html",
        status=status,
        thing={"name": row.name, "kind": row.model or visit.say(N_("Reader")), "place": row.place},
        acts=[
            *(_reader_acts(visit, reader) if caller.can(Permission.READER_MANAGE) else []),
            *(reader_software.acts(db, visit, reader) if caller.can(Permission.DEVICE_MANAGE) else []),
        ],
        axes=_reader_axes(db, visit, reader),
        facts=[fact for fact in facts if fact[1]],
        related_title=visit.say(N_("Latest sales")),
        related=[
            {"href": f"/pos/{sale.id}", "text": visit.formats.money(sale.amount),
             "sub": visit.formats.when(sale.created_at, visit.zone, visit.now),
             "word": words.word(words.SESSION, sale.state.value)}
            for sale in sales
        ],
        moments=_moments(db, visit, reader_id),
        notice=notice,
        notice_tone="warn",
        live=f"/readers/{reader_id}/live",
    )  # fmt: skip


def _moments(db: Transaction, visit: Visit, reader_id: str) -> list[Moment]:
    """What happened to a reader and what it was asked to do, newest first."""
    scope = visit.caller.scope
    events = queries.timeline(db, scope, reader_id=reader_id, limit=_EVENTS)
    orders = db.execute(
        payments.commands_of(scope)
        .where(COMMANDS.c.reader_id == reader_id, COMMANDS.c.kind.in_(words.ORDERS))
        .order_by(COMMANDS.c.id.desc())
        .limit(_ORDERED)
    ).all()
    people = accounts.user_names(db, scope, {row.issued_by for row in orders})
    moments = present.device_moments(events, {}) + present.order_moments(orders, people)
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def _fleet(db: Transaction, visit: Visit, chosen: Filters) -> dict[str, Any]:
    scope = visit.caller.scope
    page = PageRequest(_ON_A_PAGE, chosen.cursor or None, "/readers").read(
        db,
        queries.readers_of(scope, chosen.wanted()),
        [READERS.c.name, READERS.c.id],
        lambda row: present.reader_row(row, visit.places),
        descending=False,
    )
    everything = replace(chosen, reach="")
    tabs = [
        Tab(f"/readers{everything.query}", _count(db, visit, everything), None, not chosen.reach)
    ]
    for reach in _REACHES:
        one = replace(chosen, reach=reach)
        tab = Tab(
            f"/readers{one.query}",
            _count(db, visit, one),
            words.REACH[reach],
            chosen.reach == reach,
        )
        tabs.append(tab)
    boxes: list[BoxRow] = []
    if visit.caller.can(Permission.DEVICE_VIEW):
        wanted = queries.DeviceFilter(location_id=chosen.location or None)
        boxes = box_rows(db, visit, queries.devices(db, scope, wanted, limit=_BOXES))
    return {
        "readers": page.items,
        "page": Page(
            previous=f"/readers{chosen.query}" if chosen.cursor else "",
            next=f"/readers{chosen.at(page.next_cursor)}" if page.next_cursor else "",
        ),
        "has_more_boxes": len(boxes) == _BOXES,
        "tabs": tabs,
        "boxes": boxes,
        "cloud": _of_the_processor(db, visit, chosen),
        "is_filtered": bool(chosen.query),
    }


def _of_the_processor(
    db: Transaction, visit: Visit, chosen: Filters
) -> list[tuple[CloudReaderView, str]]:
    """Readers that Stripe drives, with their shop; filtered by what they have in common with the others."""
    found = cloud_readers.readers(db, visit.caller.scope, location_id=chosen.location or None)
    wanted = chosen.q.casefold()
    return [
        (one, visit.places.get(one.location_id, ""))
        for one in found
        if wanted in f"{one.name} {one.model} {one.serial_number} {one.id}".casefold()
        and (not chosen.reach or one.is_online is (chosen.reach == "online"))
    ]


def _count(db: Transaction, visit: Visit, chosen: Filters) -> int:
    return queries.count_readers(db, visit.caller.scope, chosen.wanted())


def _reader(db: Transaction, caller: Caller, reader_id: str) -> Row[Any]:
    reader = queries.reader(db, caller.scope, reader_id)
    if reader is None:
        raise NotFound("reader", reader_id)
    return reader


def _reader_axes(db: Transaction, visit: Visit, reader: Row[Any]) -> list[Axis]:
    row = present.reader_row(reader, visit.places)
    health = words.word(words.HEALTH, row.health)
    why = visit.health_next(row.health, reader.reason)
    return [
        reach_axis(visit, row.reach, reader.device_last_seen_at),
        Axis(visit.say(N_("Health")), health, why),
        sync_axis(visit, row.sync, reader.device_reported),
        *_processor_axis(db, visit, reader.profile),
        *reader_software.axes(db, visit, reader.id),
    ]


def _processor_axis(db: Transaction, visit: Visit, profile: str) -> list[Axis]:
    """Of an encrypting reader: whether anybody takes its cards."""
    if not is_encrypting_reader(profile):
        return []
    account = card_account_of(db, visit.caller.merchant_id)
    if account is None:
        word, why = card_words.NOT_CONNECTED, visit.say(card_words.NO_PROCESSOR)
    elif account.problem:
        word, why = card_words.OBJECTS, account.problem
    else:
        word, why = card_words.CONNECTED, visit.say(card_words.TAKEN_BY)
    return [Axis(visit.say(N_("Processor")), word, why)]


def _reader_acts(visit: Visit, reader: Row[Any]) -> list[Act]:
    base = f"/readers/{reader.id}"
    return [
        Act(key="settings", text=visit.say(N_("Settings")), icon="edit", href=f"{base}/settings"),
        Act(key="diagnose", text=visit.say(N_("Test the line")), icon="bank", action=f"{base}/diagnose"),
        Act(
            key="reboot",
            text=visit.say(N_("Restart the reader")),
            icon="undo",
            action=f"{base}/reboot",
            title=visit.say(N_("Restart %(name)s?"), name=reader.name),
            confirm=visit.say(
                N_(
                    "It cannot take payments for about a minute. "
                    "While a payment runs on it, the restart is refused."
                )
            ),
        ),
    ]  # fmt: skip
