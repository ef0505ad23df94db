"""The pages on which a till is set up: what they keep, what they refuse, and who may open them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.parts import Parts
from control_plane.till import queries
from control_plane.till.values import Channel, FieldKind
from protocols.money import Money
from tests.fixtures.control_plane import Factory

PAGES = [
    "/settings/till",
    "/settings/fields",
    "/settings/fields/add",
    "/settings/items",
    "/settings/items/add",
    "/settings/presets",
    "/settings/presets/add",
    "/settings/taxes",
    "/settings/limits",
]
TILL = {
    "currencies": ["USD"],
    "tip_percents": "15  5.5",
    "default_tax": "",
    "cvc_check": "ask",
    "postal_code_check": "accept",
    "address_check": "block",
    "duplicate_minutes": "5",
    "link_hours": "48",
    "moto": "1",
}
ITEM = {"name": "Coffee", "price": "2,50", "currency": "EUR", "quick_key": "3", "colour": "pink"}
PRESET = {
    "name": "Monthly retainer",
    "amount": "150",
    "currency": "EUR",
    "quick_key": "1",
    "method": "keyed",
}
FIELD = {
    "label_en": "Order number",
    "kind": "order_number",
    "required_for": ["keyed"],
    "searchable": "1",
}
TAX = {"name": "VAT 20", "percent": "20", "mode": "inclusive"}


@pytest.fixture
def merchant(sqlite_make: Factory) -> str:
    return sqlite_make.merchant()


@pytest.fixture
def manager(sqlite_make: Factory, merchant: str) -> TestClient:
    client = sqlite_make.client_as(merchant, Role.MANAGER)
    client.follow_redirects = True
    return client


@pytest.fixture
def read(sqlite_parts: Parts, merchant: str) -> Any:  # settings and catalogue, read anew each time
    def now() -> tuple[Any, Any]:
        with sqlite_parts.database.reading() as db:
            return queries.settings_of(db, merchant), queries.catalogue_of(db, merchant)

    return now


def ids_in(page: str, kind: str) -> list[str]:
    return list(dict.fromkeys(re.findall(rf"{kind}_[0-9a-z]{{26}}", page)))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_page_of_an_empty_till_shows(manager: TestClient, page: str, language: str) -> None:
    answer = manager.get(page, headers={"Accept-Language": language})

    assert answer.status_code == 200
    assert '<nav class="areas"' in answer.text or 'class="crumb"' in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_a_cashier_opens_none_of_them(sqlite_make: Factory, merchant: str, page: str) -> None:
    cashier = sqlite_make.client_as(merchant, Role.CASHIER)

    assert cashier.get(page).status_code == 403


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("/settings/till", TILL),
        ("/settings/limits", {"charge_limits:EUR": "1"}),
        ("/settings/fields/add", FIELD),
        ("/settings/items/add", ITEM),
        ("/settings/presets/add", PRESET),
        ("/settings/taxes", TAX),
        ("/settings/items/file", {}),
    ],
)
def test_a_cashier_changes_nothing_by_sending_the_form(
    sqlite_make: Factory, merchant: str, read: Any, address: str, form: dict[str, Any]
) -> None:
    before = read()

    answer = sqlite_make.client_as(merchant, Role.CASHIER).post(address, data=form)

    assert answer.status_code == 403
    assert read() == before


def test_the_till_is_set_and_shown_as_it_was_set(manager: TestClient, read: Any) -> None:
    answer = manager.post("/settings/till", data=TILL)

    settings, _ = read()
    assert answer.url.path == "/settings/till"
    assert "Saved." in answer.text
    assert settings.currencies == ("EUR", "USD")
    assert [str(percent) for percent in settings.tip_percents] == ["5.5", "15"]
    assert (settings.cvc_check, settings.address_check) == ("ask", "block")
    assert (settings.moto, settings.capture_later) == (True, False)
    assert 'value="5.5  15"' in answer.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tip_percents": "many"}, "tip_percents"),
        ({"tip_percents": "1 2 3 4 5"}, "tip_percents"),
        ({"duplicate_minutes": ""}, "duplicate_minutes"),
        ({"link_hours": "99999"}, "link_hours"),
        ({"default_tax": "tax_9"}, "default_tax"),
        ({"currencies": ["XXX"]}, "currencies"),
    ],
)
def test_what_makes_no_sense_is_told_beside_its_field_and_not_kept(
    manager: TestClient, read: Any, change: dict[str, Any], field: str
) -> None:
    before = read()

    answer = manager.post("/settings/till", data={**TILL, **change})

    assert answer.status_code == 422
    assert f'id="{field}-why"' in answer.text
    assert read() == before


def test_limits_are_set_by_currency_and_taken_away_again(manager: TestClient, read: Any) -> None:
    manager.post("/settings/till", data=TILL)

    set_ = manager.post(
        "/settings/limits", data={"refund_limits:EUR": "100", "refund_limits:USD": "120,50"}
    )
    limits = dict(read()[0].refund_limits)
    manager.post("/settings/limits", data={})

    assert 'value="120.50"' in set_.text
    assert limits == {"EUR": 10000, "USD": 12050}
    assert read()[0].refund_limits == {}


def test_a_limit_that_is_no_amount_is_told(manager: TestClient, read: Any) -> None:
    answer = manager.post("/settings/limits", data={"charge_limits:EUR": "-5"})

    assert answer.status_code == 422
    assert 'id="charge_limits-why"' in answer.text
    assert read()[0].charge_limits == {}


def test_a_field_gets_its_key_from_its_name_and_keeps_it(manager: TestClient, read: Any) -> None:
    page = manager.post("/settings/fields/add", data=FIELD)
    (field_id,) = ids_in(page.text, "fld")

    manager.post(
        f"/settings/fields/{field_id}",
        data={**FIELD, "label_en": "Order", "label_fr": "Commande", "key": "x"},
    )

    (field,) = read()[0].fields
    assert (field.key, field.label_en, field.label_fr) == ("order_number", "Order", "Commande")
    assert (field.kind, field.required_for) == (FieldKind.ORDER_NUMBER, {Channel.KEYED})


def test_fields_are_moved_and_removed(manager: TestClient, read: Any) -> None:
    manager.post("/settings/fields/add", data=FIELD)
    page = manager.post("/settings/fields/add", data={**FIELD, "label_en": "Room", "kind": "text"})
    first, second = ids_in(page.text, "fld")

    manager.post(f"/settings/fields/{second}/up")
    moved = [one.key for one in read()[0].fields]
    manager.post(f"/settings/fields/{first}/remove")

    assert moved == ["room", "order_number"]
    assert [one.key for one in read()[0].fields] == ["room"]
    assert manager.post(f"/settings/fields/{second}/sideways").status_code == 404
    assert manager.get(f"/settings/fields/{first}").status_code == 404


def test_a_list_needs_choices(manager: TestClient, read: Any) -> None:
    answer = manager.post(
        "/settings/fields/add", data={**FIELD, "kind": "choice", "choices": "Shop"}
    )

    assert answer.status_code == 422
    assert 'id="choices-why"' in answer.text
    assert read()[0].fields == ()


def test_an_item_lands_on_the_board_of_quick_keys(manager: TestClient, read: Any) -> None:
    page = manager.post("/settings/items/add", data=ITEM)

    (item,) = read()[1].board
    assert (item.name, item.price, item.quick_key) == ("Coffee", Money(250, "EUR"), 3)
    assert 'class="quick-key" data-colour="pink"' in page.text
    assert 'href="/settings/items/add?key=4"' in page.text


def test_an_item_is_changed_and_removed(manager: TestClient, read: Any) -> None:
    (item_id,) = ids_in(manager.post("/settings/items/add", data=ITEM).text, "itm")

    edited = manager.get(f"/settings/items/{item_id}")
    manager.post(f"/settings/items/{item_id}", data={**ITEM, "price": "2.80", "quick_key": ""})
    price = read()[1].items[0].price
    manager.post(f"/settings/items/{item_id}/remove")

    assert 'value="2.50"' in edited.text
    assert price == Money(280, "EUR")
    assert read()[1].items == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": "free"}, "price"),
        ({"price": "0"}, "price"),
        ({"name": " "}, "name"),
        ({"currency": "JPY"}, "currency"),
    ],
)
def test_an_item_without_sense_is_told(
    manager: TestClient, read: Any, change: dict[str, str], field: str
) -> None:
    manager.post("/settings/till", data=TILL)

    answer = manager.post("/settings/items/add", data={**ITEM, **change})

    assert answer.status_code == 422
    assert f'id="{field}-why"' in answer.text
    assert read()[1].items == ()


def test_a_file_of_items_goes_in_and_out(manager: TestClient, read: Any) -> None:
    file = ("items.csv", b"name;price\r\nTea;3,00\r\n", "text/csv")

    taken = manager.post("/settings/items/file", files={"file": file})
    out = manager.get("/settings/items/file")

    assert "1 new, 0 changed, 0 as they were" in taken.text
    assert [one.name for one in read()[1].items] == ["Tea"]
    assert out.text.splitlines()[1] == ",Tea,3.00,EUR,,,plain,yes"


def test_each_wrong_line_of_a_file_is_told_in_the_language_of_the_visitor(
    manager: TestClient, read: Any
) -> None:
    file = ("items.csv", b"name,price\nTea,free\n,1\n", "text/csv")

    answer = manager.post(
        "/settings/items/file", files={"file": file}, headers={"Accept-Language": "fr"}
    )

    assert answer.status_code == 422
    assert "Ligne 2, price" in answer.text
    assert "Ligne 3, name" in answer.text
    assert read()[1].items == ()


def test_a_preset_has_a_link_that_can_be_copied(manager: TestClient, read: Any) -> None:
    page = manager.post("/settings/presets/add", data=PRESET)

    (preset,) = read()[1].presets
    assert (preset.amount, preset.quick_key, preset.method) == (Money(15000, "EUR"), 1, "keyed")
    assert f'/pos?preset={preset.id}"' in page.text
    assert "<kbd>F1</kbd>" in page.text


def test_a_preset_is_for_a_customer_that_exists(manager: TestClient, read: Any) -> None:
    answer = manager.post("/settings/presets/add", data={**PRESET, "customer": "cst_9"})

    assert answer.status_code == 422
    assert read()[1].presets == ()


def test_a_tax_becomes_the_usual_one_and_is_removed(manager: TestClient, read: Any) -> None:
    (tax_id,) = ids_in(manager.post("/settings/taxes", data=TAX).text, "tax")
    manager.post("/settings/till", data={**TILL, "default_tax": tax_id})
    usual = read()[0].default_tax
    manager.post(f"/settings/taxes/{tax_id}", data={**TAX, "percent": "5,5"})
    changed = read()[0].default_tax
    manager.post(f"/settings/taxes/{tax_id}/remove")

    assert (usual.id, str(changed.percent)) == (tax_id, "5.5")
    assert read()[0].default_tax is None
    assert read()[0].taxes == ()


def test_what_people_write_is_never_markup(manager: TestClient) -> None:
    evil = "<script>alert(1)</script>"

    manager.post("/settings/items/add", data={**ITEM, "name": evil})
    manager.post("/settings/presets/add", data={**PRESET, "name": evil, "reference": evil})
    manager.post("/settings/taxes", data={**TAX, "name": evil})
    manager.post("/settings/fields/add", data={**FIELD, "label_en": evil, "key": "evil"})

    pages = [manager.get(page).text for page in PAGES]
    assert [page for page in pages if "<script>alert" in page] == []
    assert sum("&lt;script&gt;alert" in page for page in pages) >= 4
