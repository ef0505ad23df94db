"""Items that are sold: a list, a board of quick keys, and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError, NotFound
from control_plane.http.dependencies import Db, ReadDb
from control_plane.http.pagination import PageRequest
from control_plane.till import item_files, queries, service
from control_plane.till.item_files import Imported
from control_plane.till.models import ITEMS
from control_plane.till.values import QUICK_KEYS, Colour, TillItem
from control_plane.web import till_words
from control_plane.web.filled import Filled, Form
from control_plane.web.i18n import N_
from control_plane.web.pages.settings import Setting, attempt
from control_plane.web.views import Choice, Page
from control_plane.web.visits import Visit, site_of
from protocols.errors import MoneyMismatch
from protocols.money import Money

router = APIRouter(prefix="/settings/items")

_TEXTS: Final = {
    "name": 120,
    "price": 20,
    "currency": 3,
    "code": 60,
    "tax_id": 40,
    "quick_key": 4,
    "colour": 20,
}
_ON_A_PAGE: Final = 50
_SHOWN_PROBLEMS: Final = 20
_SHOWN_KEYS: Final = 8


@router.get("")
def items(
    request: Request,
    caller: Setting,
    db: ReadDb,
    q: Annotated[str, Query(max_length=100)] = "",
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """What is sold, by name, under the board of quick keys."""
    return _list_page(request, caller, db, q=q.strip(), cursor=cursor)


@router.get("/file")
def export(caller: Setting, db: ReadDb) -> Response:
    """Every item as a CSV file."""
    settings = queries.settings_of(db, caller.merchant_id)
    catalogue = queries.catalogue_of(db, caller.merchant_id)
    return Response(
        # The mark lets spreadsheets read accents.
        b"\xef\xbb\xbf" + item_files.export(settings, catalogue.items).encode(),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="items.csv"'},
    )


@router.post("/file")
def import_file(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """Take a CSV file, whole or not at all."""
    visit = site_of(request).visit(db, request, caller)
    sent = form.file("file")
    if sent is None:
        notice = visit.say(N_("Choose a file first."))
        return _list_page(request, caller, db, notice=notice, status=422)
    name, content = sent
    try:
        with db.begin_nested():
            done = item_files.import_items(db, caller, content, name=name)
    except DomainError as refused:
        return _list_page(request, caller, db, notice=visit.explain(refused), status=422)
    return _list_page(request, caller, db, imported=done, status=422 if done.problems else 200)


@router.get("/add")
def ask_for_item(
    request: Request, caller: Setting, db: ReadDb, key: Annotated[str, Query(max_length=4)] = ""
) -> Response:
    """The form for a new item, perhaps on a quick key."""
    currency = queries.settings_of(db, caller.merchant_id).currency
    written = {
        **dict.fromkeys(_TEXTS, ""),
        "currency": currency,
        "quick_key": key,
        "colour": "plain",
    }
    return _form(request, caller, db, "", written, {})


@router.get("/{item_id}")
def edit_item(request: Request, caller: Setting, db: ReadDb, item_id: str) -> Response:
    """The form of an item."""
    item = _item(db, caller, item_id)
    written = {
        "name": item.name,
        "price": f"{item.price.decimal():f}",
        "currency": item.price.currency,
        "code": item.code,
        "tax_id": item.tax_id or "",
        "quick_key": str(item.quick_key or ""),
        "colour": item.colour.value,
    }
    return _form(request, caller, db, item_id, written, {})


@router.post("/add")
def add_item(request: Request, caller: Setting, db: Db, form: Form) -> Response:
    """A new item."""
    return _save(request, caller, db, form, "")


@router.post("/{item_id}")
def change_item(request: Request, caller: Setting, db: Db, form: Form, item_id: str) -> Response:
    """Change an item."""
    _item(db, caller, item_id)
    return _save(request, caller, db, form, item_id)


@router.post("/{item_id}/remove")
def remove_item(caller: Setting, db: Db, item_id: str) -> Response:
    """Sell it no longer."""
    service.remove_item(db, caller, item_id)
    return RedirectResponse("/settings/items", 303)


def _save(
    request: Request, caller: Caller, db: Transaction, form: Filled, item_id: str
) -> Response:
    visit = site_of(request).visit(db, request, caller)
    written = {name: form.text(name, most) for name, most in _TEXTS.items()}
    problems: dict[str, str] = {}
    settings = queries.settings_of(db, caller.merchant_id)
    price = Money(0, settings.currency)
    if written["currency"] not in settings.currencies:
        problems["currency"] = visit.say(N_("Choose a currency from the list."))
    else:
        try:
            price = Money.parse(written["price"], written["currency"])
        except MoneyMismatch:
            problems["price"] = visit.say(N_("Write the price like 12.34."))
    if not problems:
        wanted = TillItem(
            id=item_id,
            name=written["name"],
            price=price,
            tax_id=written["tax_id"] or None,
            code=written["code"],
            quick_key=form.number("quick_key"),
            colour=Colour(written["colour"]) if written["colour"] in set(Colour) else Colour.PLAIN,
        )
        attempt(db, visit, problems, lambda: service.save_item(db, caller, wanted))
    if problems:
        return _form(request, caller, db, item_id, written, problems)
    return RedirectResponse("/settings/items", 303)


def _list_page(
    request: Request,
    caller: Caller,
    db: Transaction,
    *,
    q: str = "",
    cursor: str | None = None,
    notice: str = "",
    imported: Imported | None = None,
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    page = PageRequest(_ON_A_PAGE, cursor, "/settings/items").read(
        db,
        queries.items_of(caller.merchant_id, q),
        [ITEMS.c.name, ITEMS.c.id],
        queries.item_of_row,
        descending=False,
    )
    taxes = {tax.id: tax.name for tax in queries.settings_of(db, caller.merchant_id).taxes}
    board: list[TillItem | None] = [None] * QUICK_KEYS
    for item in queries.board_of(db, caller.merchant_id):
        board[(item.quick_key or 1) - 1] = item
    return site.page(
        visit,
        "settings/items.html",
        status=status,
        items=page.items,
        taxes=taxes,
        board=_trimmed(board),
        q=q,
        notice=notice,
        imported=imported,
        problems=_told(visit, imported),
        problems_left=max(0, len(imported.problems) - _SHOWN_PROBLEMS) if imported else 0,
        page=Page(
            previous=f"/settings/items?q={q}" if cursor else "",
            next=f"/settings/items?q={q}&cursor={page.next_cursor}" if page.next_cursor else "",
        ),
    )


def _trimmed(board: Sequence[TillItem | None]) -> Sequence[TillItem | None]:
    """Up to the first free key behind the last that is taken; nothing when none is."""
    last = max((key for key, item in enumerate(board, 1) if item is not None), default=0)
    return board[: max(_SHOWN_KEYS, last + 1)] if last else []


def _told(visit: Visit, imported: Imported | None) -> Sequence[tuple[int, str, str]]:
    problems = imported.problems if imported else ()
    return [
        (one.line, one.column, visit.say(one.message).format(value=one.value, known=one.known))
        for one in problems[:_SHOWN_PROBLEMS]
    ]


def _form(
    request: Request,
    caller: Caller,
    db: Transaction,
    item_id: str,
    written: Mapping[str, Any],
    problems: Mapping[str, str],
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    settings = queries.settings_of(db, caller.merchant_id)
    usual = settings.default_tax
    taken = {
        item.quick_key: item.name
        for item in queries.board_of(db, caller.merchant_id)
        if item.id != item_id
    }
    keys = [
        Choice(str(key), f"{key} · {taken[key]}" if key in taken else str(key))
        for key in range(1, QUICK_KEYS + 1)
    ]
    return site.page(
        visit,
        "settings/item.html",
        status=422 if problems else 200,
        item_id=item_id,
        written=written,
        problems=problems,
        currencies=[Choice(one, one) for one in settings.currencies],
        taxes=[Choice(tax.id, tax.name) for tax in settings.taxes],
        usual=usual.name if usual else "",
        keys=keys,
        colours={colour.value: text for colour, text in till_words.COLOURS.items()},
    )


def _item(db: Transaction, caller: Caller, item_id: str) -> TillItem:
    found = queries.items_by_id(db, caller.merchant_id, [item_id])
    if not found or not found[0].active:
        raise NotFound("item", item_id)
    return found[0]
