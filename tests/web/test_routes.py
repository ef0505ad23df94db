"""Pages over HTTP on both databases: who may see what, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.devices.models import CODES, READERS
from control_plane.parts import Parts
from control_plane.payments.models import SESSIONS
from control_plane.web.visits import own_path
from tests.fixtures.control_plane import PASSWORD, Factory
from tests.web.acted_shop import ActedShop

PAGES = {
    "/": set(Role),
    "/pos?new=1": {Role.CASHIER, Role.MANAGER, Role.OWNER},
    "/transactions": {Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/customers": {Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/customers/new": {Role.CASHIER, Role.MANAGER, Role.OWNER},
    "/customers/expiring": {Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/customers/pick?q=": {Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/mailbox": {Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/settings/receipts": {Role.MANAGER, Role.OWNER},
    "/settings/receipts/preview": {Role.MANAGER, Role.OWNER},
    "/readers": {Role.CASHIER, Role.MANAGER, Role.IT, Role.OWNER},
    "/readers/add": {Role.IT, Role.OWNER},
    "/alerts": {Role.MANAGER, Role.IT, Role.OWNER},
    "/readers/boxes": {Role.MANAGER, Role.IT, Role.OWNER},
    "/readers/boxes/dev-lyon0001": {Role.MANAGER, Role.IT, Role.OWNER},
    "/readers/boxes/dev-lyon0001/support": {Role.IT, Role.OWNER},
    "/readers/rd_00000001/settings": {Role.MANAGER, Role.IT, Role.OWNER},
    "/readers/rd_00000001": {Role.CASHIER, Role.MANAGER, Role.IT, Role.OWNER},
    "/team": {Role.MANAGER, Role.OWNER},
    "/team/add": {Role.MANAGER, Role.OWNER},
    "/transactions/open": {Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/approvals": {Role.MANAGER, Role.OWNER},
    "/end-of-day": {Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/disputes": {Role.MANAGER, Role.ACCOUNTANT, Role.OWNER},
    "/settings": {Role.MANAGER, Role.OWNER},
    "/keys": {Role.IT, Role.OWNER},
    "/keys/add": {Role.IT, Role.OWNER},
    "/activity": {Role.MANAGER, Role.IT, Role.ACCOUNTANT, Role.OWNER},
}


@pytest.fixture
def shop(parts: Parts) -> ActedShop:
    """A shop in the database; nobody acts in it."""
    opened = ActedShop(parts)
    opened.open()
    return opened


def count(parts: Parts, table: object) -> int:
    with parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]  # a table


@pytest.mark.parametrize("role", Role)
def test_each_role_gets_its_pages_and_no_others(shop: ActedShop, make: Factory, role: Role) -> None:
    client = make.client_as(shop.merchant_id, role)

    answers = {path: client.get(path).status_code for path in PAGES}

    assert answers == {path: 200 if role in roles else 403 for path, roles in PAGES.items()}


@pytest.mark.parametrize("role", Role)
def test_what_a_role_may_not_see_is_not_in_its_navigation(
    shop: ActedShop, make: Factory, role: Role
) -> None:
    text = make.client_as(shop.merchant_id, role).get("/").text
    offered = set(re.findall(r'<a href="(/[a-z-]*)"[^>]* data-shortcut="g-', text))

    allowed = {path.partition("?")[0] for path, roles in PAGES.items() if role in roles}
    assert offered == allowed & {
        "/",
        "/pos",
        "/transactions",
        "/customers",
        "/mailbox",
        "/readers",
        "/team",
        "/activity",
        "/approvals",
        "/end-of-day",
        "/disputes",
        "/settings",
        "/keys",
    }


@pytest.mark.parametrize(("role", "is_shown"), [(Role.IT, False), (Role.CASHIER, True)])
def test_the_overview_lists_sales_only_for_who_may_see_them(
    shop: ActedShop, make: Factory, role: Role, is_shown: bool
) -> None:
    text = make.client_as(shop.merchant_id, role).get("/").text

    assert ("Recent sales" in text) is is_shown
    assert "Needs attention" in text


def test_a_stranger_is_asked_to_sign_in_and_comes_back(client: TestClient, shop: ActedShop) -> None:
    answers = {path: client.get(path) for path in PAGES}

    assert {answer.status_code for answer in answers.values()} == {401}
    assert 'value="/transactions"' in answers["/transactions"].text
    assert "Lyon" not in "".join(answer.text for answer in answers.values())


def test_a_stream_of_a_stranger_leads_to_the_sign_in(client: TestClient, shop: ActedShop) -> None:
    answer = client.get(
        "/pos/live", headers={"HX-Request": "true", "HX-Current-URL": "http://t/pos?new=1"}
    )

    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/sign-in?next=/pos%3Fnew%3D1"


def test_nothing_of_another_merchant_is_shown(parts: Parts, shop: ActedShop, make: Factory) -> None:
    stranger = make.client_as(make.merchant("Elsewhere"), Role.OWNER)

    assert stranger.get("/readers/rd_00000001").status_code == 404
    assert stranger.get("/readers/boxes/dev-lyon0001").status_code == 404
    assert "Counter 1" not in stranger.get("/readers").text
    answer = stranger.post(
        "/pos", data={"amount": "1.00", "currency": "EUR", "reader": "rd_00000001"}
    )
    assert answer.status_code == 404
    assert count(parts, SESSIONS) == 0


def test_a_form_without_its_token_starts_nothing(
    parts: Parts, shop: ActedShop, make: Factory
) -> None:
    client = make.client_as(shop.merchant_id, Role.CASHIER)
    del client.headers["X-CSRF-Token"]

    answer = client.post(
        "/pos", data={"amount": "1.00", "currency": "EUR", "reader": "rd_00000001"}
    )

    assert answer.status_code == 403
    assert "earlier sign-in" in answer.text
    assert count(parts, SESSIONS) == 0


def test_a_role_without_the_right_makes_no_code(
    parts: Parts, shop: ActedShop, make: Factory
) -> None:
    client = make.client_as(shop.merchant_id, Role.CASHIER)

    answer = client.post("/readers/add", data={"location": shop.location_id})

    assert answer.status_code == 403
    assert "device:enroll" in answer.text
    assert count(parts, CODES) == 0


def test_too_many_attempts_are_told_how_long_to_wait(client: TestClient, shop: ActedShop) -> None:
    answers = [
        client.post("/sign-in", data={"email": "owner@shop.example", "password": "guess"})
        for _ in range(7)
    ]

    assert answers[0].status_code == 401
    assert answers[-1].status_code == 429
    assert "Too many attempts to sign in. Try again in " in answers[-1].text
    assert int(answers[-1].headers["retry-after"]) > 0


def test_a_sign_in_from_another_site_is_refused(client: TestClient, shop: ActedShop) -> None:
    answer = client.post(
        "/sign-in",
        data={"email": "owner@shop.example", "password": PASSWORD},
        headers={"Sec-Fetch-Site": "cross-site"},
    )

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/transactions?q=1", "/transactions?q=1"),
        ("https://evil.example/x", "/x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/sign-out", "/"),
        ("", "/"),
    ],
)
def test_one_is_led_back_to_our_own_pages_only(address: str, path: str) -> None:
    assert own_path(address) == path


def test_every_page_declares_who_may_see_it(client: TestClient) -> None:
    app = client.app
    undeclared = [
        route.path
        for route in app.routes  # type: ignore[attr-defined]  # it is a FastAPI
        if isinstance(route, APIRoute)
        and route.endpoint.__module__.startswith("control_plane.web.")
        and not any(
            type(dependency.call).__name__ in {"Requirement", "PublicRoute"}
            for dependency in route.dependant.dependencies
        )
    ]

    assert undeclared == []


def test_a_state_that_a_box_makes_up_is_text_and_nothing_else(
    parts: Parts, shop: ActedShop, make: Factory
) -> None:
    with parts.database.connection() as db:
        db.execute(update(READERS).values(state="<b>odd</b>", reason="<i>why</i>"))

    text = make.client_as(shop.merchant_id, Role.OWNER).get("/readers").text

    assert "<b>odd" not in text
    assert "&lt;b&gt;odd" in text
    assert "<i>why" not in text


def test_a_template_escapes_what_people_write(parts: Parts, make: Factory) -> None:
    merchant = make.merchant("<script>alert(1)</script>")
    make.location(merchant, '"><img src=x onerror=alert(1)>')

    text = make.client_as(merchant, Role.OWNER).get("/transactions").text

    assert "&lt;img src=x" in text

    assert "<script>alert(1)" not in text
    assert "<img src=x" not in text
