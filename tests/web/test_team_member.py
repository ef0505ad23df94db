"""A member's page: role, shops and limits, and who may change them."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from control_plane.accounts import queries as accounts
from control_plane.accounts.permissions import Role
from control_plane.db.scope import Scope
from control_plane.parts import Parts
from control_plane.till import queries
from control_plane.till.limits import NO_LIMITS, MemberLimits
from control_plane.till.values import Channel
from tests.fixtures.control_plane import Factory


@pytest.fixture
def merchant(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def manager(make: Factory, merchant: str) -> TestClient:
    return make.client_as(merchant, Role.MANAGER)


def rights(parts: Parts, merchant: str, user_id: str) -> tuple[Role, list[str] | None]:
    with parts.database.reading() as db:
        row = accounts.user_of(db, Scope(merchant), user_id)
    assert row is not None
    return row.role, row.location_ids


def limits(parts: Parts, merchant: str, user_id: str) -> MemberLimits:
    with parts.database.reading() as db:
        return queries.limits_of(db, merchant, user_id)


def test_a_manager_gives_a_member_another_role_and_shop(
    make: Factory, parts: Parts, merchant: str, manager: TestClient
) -> None:
    user_id, shop = make.user(merchant, Role.CASHIER), make.location(merchant, "Lyon")

    answer = manager.post(f"/team/{user_id}/rights", data={"role": "manager", "location": [shop]})

    assert answer.status_code == 200
    assert "Saved." in answer.text
    assert rights(parts, merchant, user_id) == (Role.MANAGER, [shop])


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"role": "owner", "location": [""]}, 403),
        ({"role": "it", "location": [""]}, 403),
        ({"role": "chief", "location": [""]}, 422),
        ({"role": "cashier"}, 422),
        ({"role": "cashier", "location": ["loc_9"]}, 404),
    ],
    ids=["above one's own", "beside one's own", "no role", "no shop", "another's shop"],
)
def test_rights_that_cannot_be_given_are_refused_and_stay(
    make: Factory, parts: Parts, merchant: str, manager: TestClient, form: dict[str, object], status: int
) -> None:  # fmt: skip
    user_id = make.user(merchant, Role.CASHIER)

    answer = manager.post(f"/team/{user_id}/rights", data=form)

    assert answer.status_code == status
    assert rights(parts, merchant, user_id) == (Role.CASHIER, None)


def test_an_owner_is_shown_to_a_manager_without_forms(
    make: Factory, parts: Parts, merchant: str, manager: TestClient
) -> None:
    owner = make.user(merchant, Role.OWNER)

    page = manager.get(f"/team/{owner}")
    rights_sent = manager.post(f"/team/{owner}/rights", data={"role": "cashier", "location": [""]})
    limits_sent = manager.post(
        f"/team/{owner}/limits", data={"charge:EUR": "1", "methods": ["reader"]}
    )

    assert page.status_code == 200
    assert "An owner can change it." in page.text
    assert f"/team/{owner}/rights" not in page.text
    assert (rights_sent.status_code, limits_sent.status_code) == (403, 422)
    assert rights(parts, merchant, owner) == (Role.OWNER, None)
    assert limits(parts, merchant, owner) == NO_LIMITS


def test_limits_are_set_and_shown(
    make: Factory, parts: Parts, merchant: str, manager: TestClient
) -> None:
    user_id = make.user(merchant, Role.CASHIER)
    form = {"charge:EUR": "500", "day:EUR": "2000", "methods": ["reader", "keyed"]}

    page = manager.post(f"/team/{user_id}/limits", data=form)

    assert limits(parts, merchant, user_id) == MemberLimits(
        charge={"EUR": 50_000}, day={"EUR": 200_000},
        methods=frozenset({Channel.READER, Channel.KEYED}),
    )  # fmt: skip
    assert (
        'name="charge:EUR" inputmode="decimal" maxlength="20" autocomplete="off" value="500.00"'
        in page.text
    )
    assert "€500.00 at once" in manager.get("/settings/limits").text


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"charge:EUR": "much", "methods": ["reader"]}, "charge"),
        ({"charge:EUR": "5"}, "methods"),
    ],
)
def test_limits_without_sense_are_told_and_not_kept(
    make: Factory, parts: Parts, merchant: str, manager: TestClient, form: dict[str, object], field: str
) -> None:  # fmt: skip
    user_id = make.user(merchant, Role.CASHIER)

    answer = manager.post(f"/team/{user_id}/limits", data=form)

    assert answer.status_code == 422
    assert f'id="{field}-why"' in answer.text
    assert limits(parts, merchant, user_id) == NO_LIMITS


def test_nobody_limits_themselves(make: Factory, parts: Parts, merchant: str) -> None:
    user_id = make.user(merchant, Role.OWNER)
    owner = make.client_of(user_id, merchant)

    page = owner.get(f"/team/{user_id}")
    answer = owner.post(f"/team/{user_id}/limits", data={"charge:EUR": "5", "methods": ["reader"]})

    assert "Nobody changes their own rights or limits." in page.text
    assert answer.status_code == 422
    assert limits(parts, merchant, user_id) == NO_LIMITS


def test_a_cashier_neither_sees_nor_changes_a_member(
    make: Factory, parts: Parts, merchant: str
) -> None:
    user_id = make.user(merchant, Role.CASHIER)
    cashier = make.client_as(merchant, Role.CASHIER)

    answers = [
        cashier.get(f"/team/{user_id}"),
        cashier.post(f"/team/{user_id}/rights", data={"role": "manager", "location": [""]}),
        cashier.post(f"/team/{user_id}/limits", data={"methods": ["reader"]}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert rights(parts, merchant, user_id) == (Role.CASHIER, None)
    assert limits(parts, merchant, user_id) == NO_LIMITS


def test_a_member_of_another_merchant_is_not_there(make: Factory, manager: TestClient) -> None:
    stranger = make.user(make.merchant("Other"), Role.CASHIER)

    assert manager.get(f"/team/{stranger}").status_code == 404
    assert (
        manager.post(
            f"/team/{stranger}/rights", data={"role": "cashier", "location": [""]}
        ).status_code
        == 404
    )
