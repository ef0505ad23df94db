"""What is set on a reader: a form made from the model's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.configuration import service
from control_plane.configuration.errors import told
from control_plane.configuration.service import SettingsView
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.status import sync_of
from control_plane.errors import Conflict, DomainError, RequestRefused
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.security import requires
from control_plane.web import present
from control_plane.web.filled import Filled
from control_plane.web.filled import Form as FilledForm
from control_plane.web.fleet import sync_axis
from control_plane.web.i18n import N_
from control_plane.web.setting_words import SETTINGS
from control_plane.web.views import Choice
from control_plane.web.visits import Visit, sentence, site_of
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from firmware_profiles.profile import Setting

router = APIRouter(prefix="/readers")

Managing = Annotated[Caller, requires(Permission.READER_MANAGE)]


@dataclass(frozen=True, slots=True)
class SettingField:
    """One field. `standard` is what counts while it is empty."""

    name: str
    kind: str
    label: str
    note: str
    value: str
    standard: str
    choices: list[Choice]
    is_secret: bool
    is_set: bool
    is_number: bool
    most: int


@router.get("/{reader_id}/settings")
def show_settings(
    request: Request,
    caller: Managing,
    db: ReadDb,
    reader_id: str,
    saved: Annotated[bool, Query()] = False,
) -> Response:
    """What may be set, what is, and whether the box works with it."""
    view = service.settings_of(db, caller.scope, reader_id)
    return _page(request, caller, db, view, _written(view), {}, saved=saved)


@router.post("/{reader_id}/settings")
def save_settings(
    request: Request, caller: Managing, db: Db, reader_id: str, form: FilledForm
) -> Response:
    """Set what was filled in; an empty field goes back to the model's own value, an empty secret stays."""
    view = service.settings_of(db, caller.scope, reader_id)
    visit = site_of(request).visit(db, request, caller)
    offered = schema.offered(view.profile)
    given, problems = _given(visit, form, offered)
    written = {name: form.text(name) for name, setting in offered.items() if not setting.secret}
    if problems:
        return _page(request, caller, db, view, written, problems, status=RequestRefused.status)
    try:
        with db.begin_nested():
            service.change(db, caller, reader_id, given)
    except Conflict as refused:
        return _page(
            request, caller, db, view, written, {"form": visit.explain(refused)},
            status=refused.status,
        )  # fmt: skip
    return RedirectResponse(f"/readers/{reader_id}/settings?saved=1", 303)


def _given(
    visit: Visit, form: Filled, offered: Mapping[str, Setting]
) -> tuple[dict[str, object], dict[str, str]]:
    given: dict[str, object] = {}
    problems: dict[str, str] = {}
    for name, setting in offered.items():
        text = form.text(name)
        if not text:
            if not setting.secret or form.is_on(f"{name}:remove"):
                given[name] = None
            continue
        try:
            given[name] = schema.from_text(name, setting, text)
        except SettingRefused as refused:
            problems[name] = _explain(visit, told(refused), name)
    return given, problems


def _explain(visit: Visit, refused: DomainError, name: str) -> str:
    """With the name that people see."""
    return sentence(
        visit.language, refused.message, {**refused.facts, "field": visit.say(SETTINGS[name][0])}
    )


def _written(view: SettingsView) -> dict[str, str]:
    return {name: _text(value) for name, value in view.values.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _page(
    request: Request,
    caller: Caller,
    db: Transaction,
    view: SettingsView,
    written: Mapping[str, str],
    problems: Mapping[str, str],
    *,
    saved: bool = False,
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    row = present.reader_row(view.reader, visit.places)
    profile = view.profile.profile
    return site.page(
        visit,
        "readers/settings.html",
        status=status,
        reader={"id": view.reader.id, "name": row.name, "place": row.place},
        model=f"{profile.vendor} {profile.model}",
        fields=[_field(visit, view, name, written.get(name, "")) for name in schema.offered(view.profile)],
        axes=[sync_axis(visit, sync_of(view.reader).value, view.reader.device_reported)],
        problems=problems,
        saved=saved,
        changed=(
            visit.say(
                N_("Last changed by %(name)s, %(when)s."),
                name=view.changed_by,
                when=visit.formats.moment(view.changed_at, visit.zone),
            )
            if view.changed_at
            else ""
        ),
    )  # fmt: skip


def _field(visit: Visit, view: SettingsView, name: str, value: str) -> SettingField:
    setting = view.profile.settings[name]
    label, note = SETTINGS[name]
    choices = [Choice(one, one) for one in setting.values]
    if setting.type == "bool":
        choices = [Choice("true", visit.say(N_("Yes"))), Choice("false", visit.say(N_("No")))]
    usual = view.inherited.values.get(name, setting.default)
    standard = "" if setting.secret or usual is None else _text(usual)
    return SettingField(
        name=name,
        kind=setting.type,
        label=visit.say(label),
        note=visit.say(note),
        value=value,
        standard=next((one.text for one in choices if one.value == standard), standard),
        choices=choices,
        is_secret=setting.secret,
        is_set=name in view.secrets,
        is_number=setting.type in ("int", "digits"),
        most=setting.length or 200,
    )
