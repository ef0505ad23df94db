"""One box: how it is, its readers, what happened, and what can be done with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Row
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import clones, queries, service
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES
from control_plane.devices.timeline import readers_topic
from control_plane.errors import NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.http.security import requires
from control_plane.web import present, words
from control_plane.web.fleet import MOST, Act, Axis, box_rows, reach_axis, sync_axis, waiting
from control_plane.web.i18n import N_
from control_plane.web.pages.enrolment import make_code
from control_plane.web.streams import follow
from control_plane.web.views import Choice, Page
from control_plane.web.visits import Visit, site_of

router = APIRouter(prefix="/readers")

SeeingBoxes = Annotated[Caller, requires(Permission.DEVICE_VIEW)]
ManagingBoxes = Annotated[Caller, requires(Permission.DEVICE_MANAGE)]


@dataclass(frozen=True, slots=True)
class Offer:
    """A step that is offered in some states, and what is asked before it."""

    states: frozenset[str]
    text: str
    icon: str
    title: str = ""
    confirm: str = ""
    is_grave: bool = False


_ON_A_PAGE: Final = 50
#: Events that are looked at for the timeline.
_EVENTS: Final = 60
_WORKING: Final = frozenset({"enrolled", "active"})
_KNOWN: Final = _WORKING | {"suspended"}
_OFFERS: Final = {
    "suspend": Offer(
        _WORKING,
        N_("Suspend"),
        "stop",
        N_("Suspend %(name)s?"),
        N_(
            "Its readers take no payments until you let it work again. "
            "What it has still to tell is kept."
        ),
    ),
    "resume": Offer(frozenset({"suspended"}), N_("Let it work again"), "check"),
    "replace": Offer(
        _KNOWN,
        N_("Replace"),
        "sync",
        N_("Replace %(name)s by a new box?"),
        N_(
            "You get a code for the new box. As soon as it is used, the new box has this one's name, "
            "shop and settings, and this one is locked out."
        ),
    ),
    "revoke": Offer(
        _KNOWN,
        N_("Revoke"),
        "lock",
        N_("Revoke %(name)s?"),
        N_(
            "Do this when the box was lost or stolen. Its connection is cut within seconds, "
            "and it cannot come back without a new code."
        ),
        is_grave=True,
    ),
    "retire": Offer(
        _KNOWN | {"revoked", "replaced"},
        N_("Retire"),
        "stop",
        N_("Retire %(name)s?"),
        N_("It is taken out of service for good. Its history and its sales stay."),
        is_grave=True,
    ),
}


@router.get("/boxes")
def list_boxes(
    request: Request,
    caller: SeeingBoxes,
    db: ReadDb,
    q: Annotated[str, Query(max_length=100)] = "",
    location: Annotated[str, Query(max_length=64)] = "",
    reach: Annotated[str, Query(max_length=20)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """All boxes, fifty at a time, by name."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    wanted = queries.DeviceFilter(
        q.strip(),
        location or None,
        is_online={"online": True, "offline": False}.get(reach),
    )
    page = PageRequest(_ON_A_PAGE, cursor, "/readers/boxes").read(
        db,
        queries.devices_of(caller.scope, wanted),
        [DEVICES.c.name, DEVICES.c.id],
        lambda row: row,
        descending=False,
    )
    filters = {"q": q.strip(), "location": location, "reach": reach}
    text = urlencode({name: value for name, value in filters.items() if value})
    address = f"/readers/boxes?{text}"
    following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
    return site.page(
        visit,
        "readers/boxes.html",
        boxes=box_rows(db, visit, page.items),
        filters=filters,
        is_filtered=bool(text),
        choices={
            "location": [Choice(id_, name) for id_, name in visit.places.items()],
            "reach": [
                Choice(one, visit.say(words.REACH[one].text)) for one in ("online", "offline")
            ],
        },
        page=Page(
            previous=address if cursor else "",
            next=f"{address}&{following}" if following else "",
        ),
    )


@router.get("/boxes/{device_id}")
def show_box(request: Request, caller: SeeingBoxes, db: ReadDb, device_id: str) -> Response:
    """One box: how it is, its readers, what happened, what can be done."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    device = service.device_of(db, caller.scope, device_id)
    readers = queries.readers(
        db, caller.scope, queries.ReaderFilter(device_id=device_id), limit=MOST
    )
    certificate = device.certificate_expires_at
    facts = [
        (N_("Id"), device.id, "id", ""),
        (N_("Shop"), visit.places.get(device.location_id, ""), "", ""),
        (N_("Computer"), device.hostname, "", ""),
        (N_("System"), device.platform, "", ""),
        (N_("Serial number"), device.serial_number, "", ""),
        (N_("Agent"), device.agent_version, "", ""),
        (N_("Waiting to be sent"), waiting(visit, device.reported), "", ""),
        (
            N_("Certificate until"),
            visit.formats.moment(certificate, visit.zone) if certificate else "",
            "",
            "",
        ),
    ]
    return site.page(
        visit,
        "readers/detail.html",
        thing={"name": device.name, "kind": visit.say(N_("Box")), "place": visit.places.get(device.location_id, "")},
        acts=_box_acts(visit, device) if caller.can(Permission.DEVICE_MANAGE) else [],
        axes=_box_axes(db, visit, device),
        facts=[fact for fact in facts if fact[1]],
        related_title=visit.say(N_("Its readers")),
        related=[
            {"href": f"/readers/{row.id}", "text": row.name, "sub": row.model or "",
             "word": words.word(words.HEALTH, row.state if row.device_is_online else "unknown")}
            for row in readers
        ],
        moments=present.device_moments(
            queries.timeline(db, caller.scope, device_id=device_id, limit=_EVENTS),
            {row.id: row.name for row in readers},
        ),
        notice=_doubled(db, visit, device),
        notice_tone="bad",
        live=f"/readers/boxes/{device_id}/live",
    )  # fmt: skip


@router.get("/boxes/{device_id}/live", response_class=EventSourceResponse)
async def box_live(
    request: Request, caller: SeeingBoxes, parts: App, device_id: str
) -> AsyncIterator[ServerSentEvent]:
    """How the box is, as it changes."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            axes = _box_axes(db, visit, service.device_of(db, caller.scope, device_id))
            return {"#axes": site.fragment(visit, "readers/_axes.html", axes=axes)}

    async for event in follow(parts.live, [readers_topic(caller.merchant_id)], render):
        yield event


@router.post("/boxes/{device_id}/change")
def change_box(
    caller: ManagingBoxes,
    db: Db,
    device_id: str,
    name: Annotated[str | None, Form(max_length=100)] = None,
    location: Annotated[str | None, Form(max_length=64)] = None,
) -> Response:
    """Rename it or move it."""
    service.change(db, caller.scope, device_id, by=caller.actor, name=name, location_id=location)
    return RedirectResponse(f"/readers/boxes/{device_id}", 303)


@router.post("/boxes/{device_id}/replace")
def replace_box(request: Request, caller: ManagingBoxes, db: Db, device_id: str) -> Response:
    """A code for a new box that takes this one's name and place."""
    device = service.device_of(db, caller.scope, device_id)
    return make_code(request, caller, db, device.location_id, 60, 1, device_id)


@router.post("/boxes/{device_id}/{step}")
def step_box(caller: ManagingBoxes, db: Db, device_id: str, step: str) -> Response:
    """Suspend, resume, revoke or retire it."""
    match step:
        case "suspend":
            service.suspend(db, caller.scope, device_id, by=caller.actor)
        case "resume":
            service.resume(db, caller.scope, device_id, by=caller.actor)
        case "revoke":
            service.revoke(db, caller.scope, device_id, by=caller.actor)
        case "retire":
            service.retire(db, caller.scope, device_id, by=caller.actor)
        case _:
            raise NotFound("page", step)
    return RedirectResponse(f"/readers/boxes/{device_id}", 303)


def _doubled(db: Transaction, visit: Visit, device: Row[Any]) -> str:
    """What to do when two boxes use one identity."""
    if device.state is not DeviceState.SUSPENDED or not clones.lives_of(db, device):
        return ""
    return visit.say(
        N_(
            "Two boxes use the identity of %(name)s, so neither is believed. Nothing is lost: what they have to "
            "tell stays with them. Find both. Choose Replace for the one that stays, and add the other one as a "
            "new box. If only one is left, let it work again."
        ),
        name=device.name,
    )


def _box_axes(db: Transaction, visit: Visit, device: Row[Any]) -> list[Axis]:
    row = box_rows(db, visit, [device])[0]
    return [
        reach_axis(visit, row.reach, device.last_seen_at),
        sync_axis(visit, row.sync, device.reported),
        Axis(
            visit.say(N_("In service")),
            words.word(words.DEVICE_STATES, device.state.value),
            visit.say(
                N_("Since %(when)s."),
                when=visit.formats.when(device.state_since, visit.zone, visit.now),
            ),
        ),
    ]


def _box_acts(visit: Visit, device: Row[Any]) -> list[Act]:
    base = f"/readers/boxes/{device.id}"
    name = device.name
    acts = [
        Act(
            key="change",
            text=visit.say(N_("Rename")),
            icon="info",
            action=f"{base}/change",
            title=visit.say(N_("Rename %(name)s"), name=name),
            confirm=visit.say(N_("The name is how people find it. Its id stays.")),
            field="name",
            field_label=visit.say(N_("Name")),
            value=name,
        ),
        Act(
            key="move",
            text=visit.say(N_("Move")),
            icon="place",
            action=f"{base}/change",
            title=visit.say(N_("Move %(name)s to another shop"), name=name),
            confirm=visit.say(N_("Its readers move with it.")),
            field="location",
            field_label=visit.say(N_("Shop")),
            options=tuple(Choice(id_, place) for id_, place in visit.places.items()),
        ),
    ]
    if device.state.may_speak:
        acts.insert(
            0,
            Act(
                key="support",
                text=visit.say(N_("From afar")),
                icon="search",
                href=f"{base}/support",
            ),
        )
    acts += [
        Act(
            key=key,
            text=visit.say(offer.text),
            icon=offer.icon,
            action=f"{base}/{key}",
            title=visit.say(offer.title, name=name) if offer.title else "",
            confirm=visit.say(offer.confirm) if offer.confirm else "",
            is_grave=offer.is_grave,
        )
        for key, offer in _OFFERS.items()
        if device.state.value in offer.states
    ]
    return acts
