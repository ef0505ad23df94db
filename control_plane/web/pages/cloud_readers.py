"""Stripe's own readers and phones that take cards: registering, naming, removing, pairing."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

import segno
from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.timeline import readers_topic
from control_plane.errors import DomainError, NotFound
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.virtual_terminal import accounts, cloud_readers, pairing
from control_plane.virtual_terminal.cloud_readers import (
    ADDRESS_PARTS,
    CloudReaderView,
    ReaderFleet,
)
from control_plane.virtual_terminal.pairing import Phones, PhoneView
from control_plane.web import pay_words, words
from control_plane.web.filled import Filled, Form
from control_plane.web.fleet import Act, Axis
from control_plane.web.i18n import N_
from control_plane.web.model_words import CAN, LOOKS, READS
from control_plane.web.streams import follow
from control_plane.web.views import Choice
from control_plane.web.visits import Visit, site_of

router = APIRouter(prefix="/readers")

Seeing = Annotated[Caller, requires(Permission.READER_VIEW)]
Managing = Annotated[Caller, requires(Permission.READER_MANAGE)]
Owning = Annotated[Caller, requires(Permission.PROCESSOR_MANAGE)]

_FIELDS: Final = ("code", "name", "location", *ADDRESS_PARTS)
_ONLINE: Final = N_("It can take payments.")
_OFFLINE: Final = N_("Check its power and its network. Stripe has not heard of it for two minutes.")
_FREE: Final = N_("No payment is running on it.")
_TAKEN: Final = N_("A payment is running on it.")


@dataclass(frozen=True, slots=True)
class PhoneRow:
    """A phone in the list."""

    phone: PhoneView
    place: str
    state: str


@dataclass(frozen=True, slots=True)
class Invitation:
    """A code that was just made."""

    phone: PhoneView
    code: str
    qr: Markup
    expires_at: datetime


# --- readers ---


@router.get("/add/stripe")
def ask_for_reader(request: Request, caller: Managing, db: ReadDb) -> Response:
    """The form: the words on the screen, the shop, and once its address."""
    return _form(request, caller, db, None, {})


@router.post("/add/stripe")
async def add_reader(request: Request, caller: Managing, parts: App, form: Form) -> Response:
    """Register the reader that shows these words."""

    def act() -> CloudReaderView:
        return parts.get(ReaderFleet).register(
            caller,
            code=form.text("code"),
            name=form.text("name"),
            location_id=form.text("location"),
            address={part: form.text(part) for part in ADDRESS_PARTS},
        )

    if not form.text("code"):
        return await to_thread(_again, request, caller, parts, form, None)
    try:
        kept = await apart(act)
    except DomainError as refused:
        return await to_thread(_again, request, caller, parts, form, refused)
    return RedirectResponse(f"/readers/stripe/{kept.id}", 303)


@router.get("/stripe/{reader_id}")
def show_reader(request: Request, caller: Seeing, db: ReadDb, reader_id: str) -> Response:
    """One reader of Stripe."""
    return _reader_page(request, caller, db, reader_id)


@router.get("/stripe/{reader_id}/live", response_class=EventSourceResponse)
async def reader_live(
    request: Request, caller: Seeing, parts: App, reader_id: str
) -> AsyncIterator[ServerSentEvent]:
    """How the reader is, as it changes."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            axes = _axes(visit, cloud_readers.reader(db, caller.scope, reader_id))
            return {"#axes": site.fragment(visit, "readers/_axes.html", axes=axes)}

    async for event in follow(parts.live, [readers_topic(caller.merchant_id)], render):
        yield event


@router.post("/stripe/{reader_id}/rename")
async def rename(
    request: Request, caller: Managing, parts: App, form: Form, reader_id: str
) -> Response:
    """Give it another name."""
    fleet = parts.get(ReaderFleet)
    return await _act(
        request,
        caller,
        parts,
        reader_id,
        lambda: fleet.rename(caller, reader_id, form.text("name")),
    )


@router.post("/stripe/{reader_id}/clear")
async def clear(request: Request, caller: Managing, parts: App, reader_id: str) -> Response:
    """Take off what it shows."""
    fleet = parts.get(ReaderFleet)
    return await _act(
        request, caller, parts, reader_id, lambda: fleet.clear_display(caller, reader_id)
    )


@router.post("/stripe/{reader_id}/remove")
async def remove(request: Request, caller: Managing, parts: App, reader_id: str) -> Response:
    """Take it away."""
    fleet = parts.get(ReaderFleet)
    return await _act(
        request,
        caller,
        parts,
        reader_id,
        lambda: fleet.remove(caller, reader_id),
        then="/readers",
    )


# --- phones ---


@router.get("/phones")
def show_phones(request: Request, caller: Seeing, db: ReadDb) -> Response:
    """All phones, and how to add one."""
    return _phones(request, caller, db)


@router.post("/phones")
def invite_phone(request: Request, caller: Managing, db: Db, form: Form) -> Response:
    """Make a code and draw it, the only time that it can be shown."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    try:
        with db.begin_nested():
            phone, code = pairing.invite(
                db, caller, name=form.text("name"), location_id=form.text("location")
            )
    except DomainError as refused:
        return _phones(request, caller, db, problem=visit.explain(refused), status=refused.status)
    address = pairing.address(site.parts.settings.base_url, code.reveal())
    drawn = segno.make(address, error="m").svg_inline(border=2, omitsize=True)
    # segno writes nothing of the text into the drawing but its squares.
    shown = Invitation(phone, code.reveal(), Markup(drawn), phone.code_expires_at)  # noqa: S704
    return _phones(request, caller, db, invitation=shown)


@router.get("/phones/live", response_class=EventSourceResponse)
async def phones_live(
    request: Request, caller: Seeing, parts: App
) -> AsyncIterator[ServerSentEvent]:
    """Tells when a phone has paired."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            return {
                "#phones": site.fragment(
                    visit, "readers/_phones.html", phones=phone_rows(db, visit)
                )
            }

    async for event in follow(parts.live, [readers_topic(caller.merchant_id)], render):
        yield event


@router.post("/phones/terms")
async def open_terms(request: Request, caller: Owning, parts: App) -> Response:
    """To Apple's terms, which an owner accepts once."""
    try:
        link = await apart(parts.get(Phones).terms_link, caller)
    except DomainError as refused:
        return await to_thread(_phones_again, request, caller, parts, refused)
    return RedirectResponse(link, 303)


@router.post("/phones/{phone_id}/revoke")
def revoke_phone(caller: Managing, db: Db, phone_id: str) -> Response:
    """From now on the phone is let in no more."""
    pairing.revoke(db, caller, phone_id)
    return RedirectResponse("/readers/phones", 303)


def phone_rows(db: Transaction, visit: Visit) -> list[PhoneRow]:
    """Those that are or may come, then the others."""
    rows = [
        PhoneRow(one, visit.places.get(one.location_id, ""), one.state(visit.now))
        for one in pairing.phones(db, visit.caller.scope)
    ]
    order = {"waiting": 0, "paired": 1}
    return sorted(rows, key=lambda row: order.get(row.state, 2))


# --- pages ---


def _again(
    request: Request, caller: Caller, parts: Parts, form: Filled, refused: DomainError | None
) -> Response:
    with parts.database.reading() as db:
        if refused is None:
            visit = site_of(request).visit(db, request, caller)
            problems = {"code": visit.say(N_("Write the words that the reader shows."))}
            return _form(request, caller, db, form, problems, status=422)
        visit = site_of(request).visit(db, request, caller)
        field = str(refused.facts.get("field", "form"))
        return _form(
            request, caller, db, form, {field: visit.explain(refused)}, status=refused.status
        )


def _phones_again(request: Request, caller: Caller, parts: Parts, refused: DomainError) -> Response:
    with parts.database.reading() as db:
        visit = site_of(request).visit(db, request, caller)
        problem = visit.explain(refused)
        return _phones(request, caller, db, problem=problem, status=refused.status)


def _form(
    request: Request,
    caller: Caller,
    db: Transaction,
    form: Filled | None,
    problems: Mapping[str, str],
    *,
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    account = accounts.account_of(db, caller.merchant_id)
    places = cloud_readers.locations(db, caller.scope)
    written = {name: form.text(name) if form else "" for name in _FIELDS}
    if form is None and account is not None:
        written["country"] = account.country
    return site.page(
        visit,
        "readers/add_stripe.html",
        status=status,
        account=account,
        places=[Choice(one.location_id, one.name) for one in places],
        # Of these shops Stripe knows the address.
        known=[one.location_id for one in places if one.processor_id is not None],
        written=written,
        problems=problems,
    )


def _reader_page(
    request: Request,
    caller: Caller,
    db: Transaction,
    reader_id: str,
    *,
    notice: str = "",
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    reader = cloud_readers.reader(db, caller.scope, reader_id)
    if reader.removed_at is not None:
        raise NotFound("reader", reader_id)
    place = visit.places.get(reader.location_id, "")
    facts = [
        (N_("Id"), reader.id, "id", ""),
        (N_("Stripe’s id"), reader.processor_id, "id", ""),
        (N_("Shop"), place, "", ""),
        (N_("Model"), reader.model, "", ""),
        *_model_facts(visit, reader),
        (N_("Serial number"), reader.serial_number, "", ""),
        (N_("Software"), reader.software_version or "", "", ""),
        (N_("First seen"), visit.formats.moment(reader.created_at, visit.zone), "", ""),
    ]
    return site.page(
        visit,
        "readers/detail.html",
        status=status,
        thing={"name": reader.name, "kind": reader.model, "place": place},
        acts=_acts(visit, reader) if caller.can(Permission.READER_MANAGE) else [],
        axes=_axes(visit, reader),
        facts=[fact for fact in facts if fact[1]],
        related_title=visit.say(N_("Latest sales")),
        related=_sales(db, visit, reader) if caller.can(Permission.PAYMENT_VIEW) else [],
        moments=[],
        notice=notice,
        notice_tone="warn",
        live=f"/readers/stripe/{reader_id}/live",
    )


def _model_facts(visit: Visit, reader: CloudReaderView) -> list[tuple[str, str, str, str]]:
    """What its profile says of it."""
    profile = reader.profile
    if profile is None:
        return []
    reads = profile.capabilities.get("reads", [])
    read = [visit.say(READS[one]) for one in READS if isinstance(reads, list) and one in reads]
    can = [visit.say(CAN[one]) for one in CAN if profile.can(one)]
    return [
        (
            N_("Looks like"),
            visit.say(LOOKS.get(profile.id, "")) if profile.id in LOOKS else "",
            "",
            "",
        ),
        (N_("Reads"), ", ".join(read), "", ""),
        (N_("Can"), ", ".join(can), "", ""),
    ]


def _sales(db: Transaction, visit: Visit, reader: CloudReaderView) -> list[dict[str, Any]]:
    return [
        {
            "href": f"/pos/{one.id}",
            "text": visit.formats.money(one.amount),
            "sub": visit.formats.when(one.created_at, visit.zone, visit.now),
            "word": words.word(pay_words.PAYMENT, one.state.value),
        }
        for one in cloud_readers.sales_on(db, visit.caller.scope, reader.id, limit=10)
    ]


def _axes(visit: Visit, reader: CloudReaderView) -> list[Axis]:
    reach = "online" if reader.is_online else "offline"
    seen = ""
    if reader.last_seen_at is not None:
        seen = visit.formats.when(reader.last_seen_at, visit.zone, visit.now)
    why = visit.say(_ONLINE if reader.is_online else _OFFLINE)
    health = "busy" if reader.held_by else "ready" if reader.is_online else "unknown"
    return [
        Axis(visit.say(N_("Reach")), words.REACH[reach], f"{why} {seen}".strip()),
        Axis(
            visit.say(N_("Health")),
            words.HEALTH[health],
            visit.say(_TAKEN if reader.held_by else _FREE),
        ),
    ]


def _acts(visit: Visit, reader: CloudReaderView) -> list[Act]:
    base = f"/readers/stripe/{reader.id}"
    acts = [
        Act(
            key="rename",
            text=visit.say(N_("Rename")),
            icon="edit",
            action=f"{base}/rename",
            title=visit.say(N_("Rename %(name)s"), name=reader.name),
            confirm=visit.say(N_("The name is shown at the till, and at Stripe.")),
            field="name",
            field_label=visit.say(N_("Name")),
            value=reader.name,
        )
    ]
    if reader.shows_cart:
        acts.append(
            Act(
                key="clear",
                text=visit.say(N_("Clear the screen")),
                icon="cross",
                action=f"{base}/clear",
            )
        )
    acts.append(
        Act(
            key="remove",
            text=visit.say(N_("Remove")),
            icon="stop",
            action=f"{base}/remove",
            title=visit.say(N_("Remove %(name)s?"), name=reader.name),
            confirm=visit.say(
                N_(
                    "Stripe forgets the reader. Register it again to use it here or in another shop."
                )
            ),
            is_grave=True,
        )
    )
    return acts


async def _act(
    request: Request,
    caller: Caller,
    parts: Parts,
    reader_id: str,
    act: Callable[[], object],
    *,
    then: str = "",
) -> Response:
    try:
        await apart(act)
    except NotFound:
        raise
    except DomainError as refused:
        return await to_thread(_reader_again, request, caller, parts, reader_id, refused)
    return RedirectResponse(then or f"/readers/stripe/{reader_id}", 303)


def _reader_again(
    request: Request, caller: Caller, parts: Parts, reader_id: str, refused: DomainError
) -> Response:
    with parts.database.reading() as db:
        visit = site_of(request).visit(db, request, caller)
        notice = visit.explain(refused)
        return _reader_page(request, caller, db, reader_id, notice=notice, status=refused.status)


def _phones(
    request: Request,
    caller: Caller,
    db: Transaction,
    *,
    invitation: Invitation | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(
        visit,
        "readers/phones.html",
        status=status,
        account=accounts.account_of(db, caller.merchant_id),
        phones=phone_rows(db, visit),
        places=[Choice(id_, name) for id_, name in visit.places.items()],
        invitation=invitation,
        problem=problem,
    )
