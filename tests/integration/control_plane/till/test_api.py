"""The till's settings over the API."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Permission, Role
from tests.fixtures.control_plane import Factory

TAX = {"name": "VAT 20", "percent": "20", "mode": "inclusive"}
FIELD = {
    "key": "order_number",
    "label_en": "Order number",
    "kind": "order_number",
    "required_for": ["keyed"],
}
ITEM = {"name": "Coffee", "price_minor": 250, "currency": "EUR", "quick_key": 1, "colour": "pink"}
PRESET = {"name": "Monthly retainer", "amount_minor": 15000, "currency": "EUR", "quick_key": 1}
#: A request of each route that changes something.
CHANGES: list[tuple[str, str, dict[str, Any] | None]] = [
    ("put", "/v1/till/settings", {}),
    ("post", "/v1/till/taxes", TAX),
    ("put", "/v1/till/taxes/tax_1", TAX),
    ("delete", "/v1/till/taxes/tax_1", None),
    ("post", "/v1/till/fields", FIELD),
    ("put", "/v1/till/fields/fld_1", FIELD),
    ("delete", "/v1/till/fields/fld_1", None),
    ("post", "/v1/till/items", ITEM),
    ("put", "/v1/till/items/itm_1", ITEM),
    ("delete", "/v1/till/items/itm_1", None),
    ("put", "/v1/till/items/file", None),
    ("post", "/v1/till/presets", PRESET),
    ("put", "/v1/till/presets/pre_1", PRESET),
    ("delete", "/v1/till/presets/pre_1", None),
    ("put", "/v1/till/order/fields", {"ids": []}),
    ("put", "/v1/till/limits/usr_1", {}),
]


@pytest.fixture
def merchant(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def manager(make: Factory, merchant: str) -> TestClient:
    return make.client_as(merchant, Role.MANAGER)


def test_settings_are_read_and_put_back_whole(manager: TestClient) -> None:
    tax = manager.post("/v1/till/taxes", json=TAX).json()
    present = manager.get("/v1/till/settings").json()
    body = {key: present[key] for key in present if key not in ("currency", "taxes")}
    body |= {"currencies": ["EUR", "USD"], "tip_percents": ["10", "12.5"], "default_tax_id": tax["id"],
             "refund_limits": {"EUR": 10000}, "cvc_check": "ask"}  # fmt: skip

    answer = manager.put("/v1/till/settings", json=body)

    assert answer.status_code == 200
    assert manager.get("/v1/till/settings").json() == {
        **body,
        "currency": "EUR",
        "taxes": [{**TAX, "id": tax["id"]}],
    }


@pytest.mark.parametrize(
    ("thing", "body", "change"),
    [
        ("taxes", TAX, {"percent": "5.5"}),
        ("fields", FIELD, {"label_fr": "N° de commande"}),
        ("items", ITEM, {"price_minor": 280}),
        ("presets", PRESET, {"method": "keyed"}),
    ],
)
def test_a_thing_is_made_changed_and_removed(
    manager: TestClient, thing: str, body: dict[str, Any], change: dict[str, Any]
) -> None:
    made = manager.post(f"/v1/till/{thing}", json=body)
    made_id = made.json()["id"]
    changed = manager.put(f"/v1/till/{thing}/{made_id}", json={**body, **change})
    listed = manager.get(f"/v1/till/{thing}").json()
    removed = manager.delete(f"/v1/till/{thing}/{made_id}")
    left = manager.get(f"/v1/till/{thing}").json()

    assert (made.status_code, changed.status_code, removed.status_code) == (201, 200, 204)
    assert changed.json() == {**made.json(), **change}
    assert (listed["items"] if thing == "items" else listed) == [changed.json()]
    assert (left["items"] if thing == "items" else left) == []


def test_the_same_creation_twice_makes_one(manager: TestClient) -> None:
    headers = {"Idempotency-Key": "one"}

    first = manager.post("/v1/till/presets", json=PRESET, headers=headers)
    again = manager.post("/v1/till/presets", json=PRESET, headers=headers)

    assert first.json() == again.json()
    assert len(manager.get("/v1/till/presets").json()) == 1


def test_an_order_is_kept(manager: TestClient) -> None:
    ids = [
        manager.post("/v1/till/presets", json={**PRESET, "name": name}).json()["id"]
        for name in ("A", "B", "C")
    ]

    answer = manager.put("/v1/till/order/presets", json={"ids": [ids[2], ids[0]]})

    assert answer.status_code == 204
    assert [one["name"] for one in manager.get("/v1/till/presets").json()] == ["C", "A", "B"]


def test_items_go_out_and_in_as_csv(manager: TestClient) -> None:
    manager.post("/v1/till/items", json=ITEM)

    file = manager.get("/v1/till/items/file")
    back = manager.put(
        "/v1/till/items/file", content=file.content, headers={"Content-Type": "text/csv"}
    )
    wrong = manager.put(
        "/v1/till/items/file", content=b"name,price\nTea,\n", headers={"Content-Type": "text/csv"}
    )

    assert file.headers["content-type"].startswith("text/csv")
    assert back.json() == {"new": 0, "changed": 0, "same": 1, "problems": []}
    assert wrong.json()["problems"] == [
        {
            "line": 2,
            "column": "price",
            "text": "“” is no price above zero in EUR. Write it like 12.34.",
        }
    ]
    assert [one["name"] for one in manager.get("/v1/till/items").json()["items"]] == ["Coffee"]


def test_items_are_found_by_name_and_code(manager: TestClient) -> None:
    manager.post("/v1/till/items", json={**ITEM, "code": "C-1"})
    manager.post("/v1/till/items", json={**ITEM, "name": "Tea", "quick_key": None})

    assert [one["name"] for one in manager.get("/v1/till/items?q=cof").json()["items"]] == [
        "Coffee"
    ]
    assert [one["name"] for one in manager.get("/v1/till/items?q=C-1").json()["items"]] == [
        "Coffee"
    ]
    assert manager.get("/v1/till/items?q=%25").json()["items"] == []


def test_limits_are_set_by_who_manages_the_team_and_read_by_who_has_them(
    manager: TestClient, make: Factory, merchant: str
) -> None:
    cashier_id = make.user(merchant, Role.CASHIER)
    cashier = make.client_of(cashier_id, merchant)

    answer = manager.put(
        f"/v1/till/limits/{cashier_id}", json={"charge": {"EUR": 5000}, "methods": ["reader"]}
    )

    assert answer.status_code == 200
    assert cashier.get("/v1/till/limits/mine").json() == {
        "user_id": cashier_id, "charge": {"EUR": 5000}, "refund": {}, "day": {}, "methods": ["reader"],
    }  # fmt: skip
    assert manager.get("/v1/till/limits").json() == [answer.json()]
    assert cashier.get("/v1/till/limits").status_code == 403


@pytest.mark.parametrize(("method", "address", "body"), CHANGES)
def test_a_cashier_reads_the_till_and_changes_nothing_of_it(
    make: Factory, merchant: str, manager: TestClient, method: str, address: str, body: Any
) -> None:
    cashier = make.client_as(merchant, Role.CASHIER)
    before = cashier.get("/v1/till/settings").json()

    answer = cashier.request(method, address, json=body)

    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert cashier.get("/v1/till/settings").json() == before
    assert manager.get("/v1/till/fields").json() == []
    assert manager.get("/v1/till/presets").json() == []
    assert manager.get("/v1/till/items").json()["items"] == []


def test_a_key_without_the_permission_reads_nothing(make: Factory, merchant: str) -> None:
    program = make.client_with_key(merchant, [Permission.READER_VIEW])

    assert program.get("/v1/till/settings").status_code == 403
    assert program.get("/v1/till/items/file").status_code == 403


@pytest.mark.parametrize(
    ("thing", "body"),
    [
        ("items", {**ITEM, "currency": "XXX"}),
        ("items", {**ITEM, "price_minor": 0}),
        ("items", {**ITEM, "name": "a\u0000b"}),
        ("fields", {**FIELD, "key": "Order"}),
        ("fields", {**FIELD, "kind": "choice", "choices": ["one"]}),
        ("taxes", {**TAX, "percent": "101"}),
        ("presets", {**PRESET, "quick_key": 9}),
        ("presets", {**PRESET, "colour": "pink"}),
    ],
)
def test_what_makes_no_sense_is_told_and_not_kept(
    manager: TestClient, thing: str, body: dict[str, Any]
) -> None:
    answer = manager.post(f"/v1/till/{thing}", json=body)

    assert answer.status_code == 422
    listed = manager.get(f"/v1/till/{thing}").json()
    assert (listed["items"] if thing == "items" else listed) == []
