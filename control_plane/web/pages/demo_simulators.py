"""The simulated readers of the demo: tap a card, pull the cable, empty the battery. They are there only in a demo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.errors import NotFound
from control_plane.http.dependencies import App, ReadDb
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.web.filled import Form
from control_plane.web.i18n import N_
from control_plane.web.simulators import Simulators
from control_plane.web.streams import LIFETIME_S, partials
from control_plane.web.visits import site_of
from protocols.money import Money

router = APIRouter(prefix="/simulated-readers")

Playing = Annotated[Caller, requires(Permission.READER_VIEW)]

#: Those that every reader has, or many; a reader's own others keep the simulator's name.
_LABELS: Final[Mapping[str, str]] = {
    "tap": N_("Tap a card"),
    "insert": N_("Insert a card"),
    "swipe": N_("Swipe a card"),
    "remove_card": N_("Take the card out"),
    "wrong_pin": N_("Wrong PIN"),
    "decline_next": N_("Decline the next payment"),
    "red_key": N_("Press the red key"),
    "battery_low": N_("Low battery"),
    "tamper": N_("Open its case"),
    "hang": N_("Let it hang"),
    "reboot": N_("Cut its power"),
    "unplug": N_("Pull the cable"),
    "plug": N_("Put the cable back"),
    "lock": N_("Lock it"),
    "unlock": N_("Unlock it"),
    "status": N_("Show its state"),
    "battery_full": N_("Full battery"),
    "encrypt": N_("Turn encryption on"),
    "clear_mode": N_("Turn encryption off"),
    "sealed_mode": N_("Turn encryption on"),
    "boot_notification": N_("Say that it started"),
    "boot_loader": N_("Stay in the boot loader"),
}


#: What customers do with their card, and what goes wrong; everything else is in between.
_CARDS: Final = ("tap", "insert", "swipe", "remove_card")
_TROUBLE: Final = (
    "decline_next",
    "wrong_pin",
    "hang",
    "reboot",
    "battery_low",
    "tamper",
    "unplug",
    "plug",
)
_ICONS: Final[Mapping[str, str]] = {
    "tap": "tap",
    "insert": "card",
    "swipe": "card",
    "remove_card": "undo",
}
#: They are chosen from a list.
_CHOICES: Final = frozenset({"script", "fault"})
#: The demo's readers take euros.
_CURRENCY: Final = "EUR"
_LAST: Final = 3
_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Button:
    """Something that can be done to a reader."""

    action: str
    label: str
    hint: str
    icon: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A payment as the reader itself has it; ``state`` and ``kind`` are the simulator's words."""

    amount: Money
    kind: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedReader:
    """One of them. ``stories`` and ``faults``: what can be chosen, with what it is."""

    number: int
    name: str
    protocol: str
    address: str
    is_there: bool
    is_up: bool
    said: str
    """What came of the last thing that was done on this page."""
    last: str
    """What was done to it last, by whomever."""
    taken: list[Taken]
    href: str
    cards: list[Button]
    others: list[Button]
    troubles: list[Button]
    stories: list[tuple[str, str]]
    faults: list[tuple[str, str]]


@router.get("")
def readers(
    request: Request,
    caller: Playing,
    db: ReadDb,
    name: Annotated[str, Query(max_length=64)] = "",
    said: Annotated[str, Query(max_length=500)] = "",
) -> Response:
    """All of them; ``said`` is what came of the last thing that was done to ``name``."""
    site = site_of(request)
    shown = _all(_simulators(site.parts), name, said)
    return site.page(site.visit(db, request, caller), "simulated_readers.html", readers=shown)


@router.get("/live", response_class=EventSourceResponse)
async def live(request: Request, caller: Playing, parts: App) -> AsyncIterator[ServerSentEvent]:
    """How each of them is, and what it has taken. Simulators tell nobody, so they are asked."""
    simulators = _simulators(parts)

    def render() -> Mapping[str, str]:
        site = site_of(request)
        shown = _all(simulators)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            return {
                f"#sim-{one.number}": site.fragment(visit, "_simulated_reader.html", one=one)
                for one in shown
            }

    sent: dict[str, str] = {}
    for _ in range(int(LIFETIME_S / _PAUSE_S)):
        fresh = await apart(render)
        changed = {target: text for target, text in fresh.items() if sent.get(target) != text}
        if changed:
            sent |= changed
            yield ServerSentEvent(raw_data=partials(changed))
        await asyncio.sleep(_PAUSE_S)


@router.post("/{name}/{action}")
async def play(
    caller: Playing,  # noqa: ARG001 (whoever sees readers may play with simulated ones)
    parts: App,
    name: str,
    action: str,
    form: Form,
) -> Response:
    """Do it, and come back to the reader."""
    simulators = _simulators(parts)
    if name not in simulators.controls:
        raise NotFound("page", name)
    facts = {"name": form.text("name")} if form.text("name") else {}
    said = await apart(simulators.play, name, action, facts)
    told = urlencode({"name": name, "said": said})
    return RedirectResponse(f"/simulated-readers?{told}#{quote(name)}", 303)


def _all(simulators: Simulators, name: str = "", said: str = "") -> list[SimulatedReader]:
    names = list(simulators.controls)
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        states = list(pool.map(simulators.state, names))
    return [
        _reader(number, one, state, said if one == name else "", simulators.controls[one])
        for number, (one, state) in enumerate(zip(names, states, strict=True), 1)
    ]


def _reader(
    number: int,
    name: str,
    state: Mapping[str, Any] | None,  # a simulator's own JSON
    said: str,
    href: str,
) -> SimulatedReader:
    told = state or {}
    actions: Mapping[str, str] = told.get("actions", {})
    rest = [one for one in actions if one not in {*_CARDS, *_TROUBLE, *_CHOICES}]
    return SimulatedReader(
        number=number,
        name=name,
        protocol=told.get("protocol", ""),
        address=told.get("address", ""),
        is_there=state is not None,
        is_up=bool(told.get("is_up")),
        said=said,
        last=told.get("said", ""),
        taken=[
            Taken(Money(one.get("amount_minor", 0), _CURRENCY), one.get("kind", ""), one["state"])
            for one in reversed(told.get("transactions", [])[-_LAST:])
        ],
        href=href,
        cards=_buttons(_CARDS, actions),
        others=_buttons(rest, actions),
        troubles=_buttons(_TROUBLE, actions),
        stories=list(told.get("scripts", {}).items()),
        faults=list(told.get("faults", {}).items()),
    )


def _buttons(wanted: Iterable[str], actions: Mapping[str, str]) -> list[Button]:
    """Those of the wanted ones that the reader knows."""
    return [
        Button(
            one,
            _LABELS.get(one, one.replace("_", " ").capitalize()),
            actions[one],
            _ICONS.get(one, ""),
        )
        for one in wanted
        if one in actions
    ]


def _simulators(parts: Parts) -> Simulators:
    found = parts.find(Simulators)
    if found is None:
        raise NotFound("page", "simulated-readers")
    return found
