"""The merchant's own fields: what a payment must or may say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.till import queries, service
from control_plane.till.fields import example_of
from control_plane.till.models import FIELDS
from control_plane.till.values import Channel, FieldKind, TillField
from control_plane.web import till_words
from control_plane.web.filled import Filled, Form
from control_plane.web.i18n import N_
from control_plane.web.pages.settings import Setting, attempt, move_of
from control_plane.web.visits import site_of

router = APIRouter(prefix="/settings/fields")

_TEXTS: Final = {"label_en": 80, "label_fr": 80, "key": 40, "kind": 20, "pattern": 60}
_NEW: Final[dict[str, Any]] = {
    "label_en": "", "label_fr": "", "key": "", "kind": "text", "pattern": "", "choices": "",
    "required_for": [], "searchable": True,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field in the list."""

    id: str
    name: str
    key: str
    kind: str
    required: str
    example: str
    is_searchable: bool


@router.get("")
def fields(request: Request, caller: Setting, db: ReadDb) -> Response:
    """The fields, in the order in which a till shows them."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    rows = []
    for one in queries.settings_of(db, caller.merchant_id).fields:
        required = [
            visit.say(text) for key, text in till_words.CHANNELS.items() if key in one.required_for
        ]
        everywhere = len(required) == len(Channel)
        rows.append(
            FieldRow(
                id=one.id,
                name=one.label(visit.language),
                key=one.key,
                kind=till_words.FIELD_KINDS[one.kind],
                required=visit.say(N_("Everywhere")) if everywhere else ", ".join(required),
                example=", ".join(one.choices) or example_of(one.pattern),
                is_searchable=one.searchable,
            )
        )
    return site.page(visit, "settings/fields.html", fields=rows)


@router.get("/add")
def ask_for_field(request: Request, caller: Setting, db: ReadDb) -> Response:
    """The form for a new field."""
    return _form(request, caller, db, "", _NEW, {})


@router.get("/{field_id}")
def edit_field(request: Request, caller: Setting, db: ReadDb, field_id: str) -> Response:
    """The form of a field."""
    one = _field(db, caller, field_id)
    written = {
        "label_en": one.label_en, "label_fr": one.label_fr, "key": one.key,
        "kind": one.kind.value, "pattern": one.pattern, "choices": "\n".join(one.choices),
        "required_for": list(one.required_for), "searchable": one.searchable,
    }  # fmt: skip
    return _form(request, caller, db, field_id, written, {})


@router.post("/add")
def add_field(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """A new field."""
    return _save(request, caller, db, form, None)


@router.post("/{field_id}")
def change_field(request: Request, caller: Setting, db: Db, form: Form, field_id: str) -> Response:
    """Change a field."""
    return _save(request, caller, db, form, _field(db, caller, field_id))


@router.post("/{field_id}/{step}")
def arrange_field(caller: Setting, db: Db, field_id: str, step: str) -> Response:
    """Remove a field, or move it."""
    if step == "remove":
        service.remove_field(db, caller, field_id)
    else:
        service.move(db, caller, FIELDS, field_id, move_of(step))
    return RedirectResponse("/settings/fields", 303)


def _save(
    request: Request, caller: Caller, db: Transaction, form: Filled, before: TillField | None
) -> Response:
    visit = site_of(request).visit(db, request, caller)
    problems: dict[str, str] = {}
    written: dict[str, Any] = {name: form.text(name, most) for name, most in _TEXTS.items()}
    if before is not None:
        written["key"] = before.key
    elif not written["key"]:
        written["key"] = _key_of(written["label_en"])
    written |= {
        "choices": "\n".join(form.lines("choices")),
        "required_for": [one for one in form.texts("required_for") if one in set(Channel)],
        "searchable": form.is_on("searchable"),
    }
    if written["kind"] not in set(FieldKind):
        problems["kind"] = visit.say(N_("Choose a kind from the list."))
    else:
        wanted = TillField(
            id=before.id if before else "",
            key=written["key"],
            label_en=written["label_en"],
            label_fr=written["label_fr"],
            kind=FieldKind(written["kind"]),
            required_for=frozenset(Channel(one) for one in written["required_for"]),
            choices=tuple(form.lines("choices")),
            pattern=written["pattern"],
            searchable=written["searchable"],
        )
        attempt(db, visit, problems, lambda: service.save_field(db, caller, wanted))
    if problems:
        return _form(request, caller, db, before.id if before else "", written, problems)
    return RedirectResponse("/settings/fields", 303)


def _form(
    request: Request,
    caller: Caller,
    db: Transaction,
    field_id: str,
    written: Mapping[str, Any],
    problems: Mapping[str, str],
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(
        visit,
        "settings/field.html",
        status=422 if problems else 200,
        field_id=field_id,
        written=written,
        problems=problems,
        kinds={kind.value: text for kind, text in till_words.FIELD_KINDS.items()},
        channels={channel.value: text for channel, text in till_words.CHANNELS.items()},
    )


def _field(db: Transaction, caller: Caller, field_id: str) -> TillField:
    fields_ = queries.settings_of(db, caller.merchant_id).fields
    found = next((one for one in fields_ if one.id == field_id), None)
    if found is None:
        raise NotFound("field", field_id)
    return found


def _key_of(label: str) -> str:
    """A key made of a label: ``Order number`` is ``order_number``."""
    plain = "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in label.lower())
    return "_".join(plain.split())[:40].strip("_0123456789")
