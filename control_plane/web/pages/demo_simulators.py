"""The simulated readers of the demo: tap a card, pull the cable, empty the battery. They are there only in a demo."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
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
from control_plane.web.visits import site_of

router = APIRouter(prefix="/simulated-readers")

Playing = Annotated[Caller, requires(Permission.READER_VIEW)]

#: Those that every reader has, or many; a reader's own others keep the simulator's name.
_LABELS: Final = {
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
}


@dataclass(frozen=True, slots=True)
class Button:
    """Something that can be done to a reader."""

    action: str
    label: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedReader:
    """One of them. ``stories`` and ``faults``: what can be chosen, with what it is."""

    name: str
    protocol: str
    address: str
    is_there: bool
    is_up: bool
    said: str
    href: str
    buttons: list[Button]
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
    simulators = _simulators(site.parts)
    with ThreadPoolExecutor(len(simulators.controls)) as pool:
        states = list(pool.map(simulators.state, simulators.controls))
    shown = [
        _reader(one, state, said if one == name else "", simulators.controls[one])
        for one, state in zip(simulators.controls, states, strict=True)
    ]
    return site.page(site.visit(db, request, caller), "simulated_readers.html", readers=shown)


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
    return RedirectResponse(f"/simulated-readers?{urlencode({'name': name, 'said': said})}", 303)


def _reader(
    name: str,
    state: Mapping[str, Any] | None,  # a simulator's own JSON
    said: str,
    href: str,
) -> SimulatedReader:
    told = state or {}
    choices = {"script", "fault"}
    return SimulatedReader(
        name=name,
        protocol=told.get("protocol", ""),
        address=told.get("address", ""),
        is_there=state is not None,
        is_up=bool(told.get("is_up")),
        said=said,
        href=href,
        buttons=[
            Button(action, _LABELS.get(action, action.replace("_", " ").capitalize()), hint)
            for action, hint in told.get("actions", {}).items()
            if action not in choices
        ],
        stories=list(told.get("scripts", {}).items()),
        faults=list(told.get("faults", {}).items()),
    )


def _simulators(parts: Parts) -> Simulators:
    found = parts.find(Simulators)
    if found is None:
        raise NotFound("page", "simulated-readers")
    return found
