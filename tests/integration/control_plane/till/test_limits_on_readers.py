"""What a member may charge and give back on readers of ours, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.parts import Parts
from control_plane.payments.models import SESSIONS
from control_plane.payments.sessions import StartSession, start_session
from control_plane.till import queries, service
from control_plane.till.errors import (
    AboveTheShops,
    AboveYourCharge,
    AboveYourDay,
    AboveYourRefund,
    LimitReached,
    MethodNotYours,
)
from control_plane.till.limits import MemberLimits
from control_plane.till.values import Channel
from protocols.money import Money
from tests.fixtures.control_plane import Factory
from tests.web.acted_shop import ActedShop

READER = "rd_00000001"


@pytest.fixture
def shop(parts: Parts) -> ActedShop:
    opened = ActedShop(parts)
    opened.open()
    return opened


@pytest.fixture
def owner(make: Factory, shop: ActedShop) -> Caller:
    return make.caller(shop.merchant_id, Role.OWNER)


@pytest.fixture
def cashier(make: Factory, shop: ActedShop) -> Caller:
    return make.caller(shop.merchant_id, Role.CASHIER)


def limit(shop: ActedShop, owner: Caller, who: Caller, **limits: Any) -> None:
    with shop.parts.database.transaction() as db:
        service.set_limits(db, owner, who.id, MemberLimits(**limits))


def limit_all(shop: ActedShop, owner: Caller, **limits: Any) -> None:
    with shop.parts.database.transaction() as db:
        present = queries.settings_of(db, shop.merchant_id)
        service.update_settings(db, owner, replace(present, **limits))


def start(shop: ActedShop, who: Caller, minor: int, *, reader: str = READER, **wish: Any) -> str:
    asked = StartSession(reader_id=reader, amount=Money(minor, "EUR"), **wish)
    with shop.parts.database.transaction() as db:
        return start_session(db, who, asked).id


def sessions(shop: ActedShop) -> int:
    with shop.parts.database.reading() as db:
        return len(db.execute(SESSIONS.select()).all())


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({"charge": {"EUR": 49_99}}, AboveYourCharge),
        ({"charge": {"USD": 100_00}}, AboveYourCharge),
        ({"day": {"EUR": 49_99}}, AboveYourDay),
        ({"methods": frozenset({Channel.KEYED})}, MethodNotYours),
    ],
)
def test_more_than_a_member_may_never_gets_to_the_reader(
    shop: ActedShop, owner: Caller, cashier: Caller, limits: dict[str, Any], refusal: type[LimitReached]
) -> None:  # fmt: skip
    limit(shop, owner, cashier, **limits)

    with pytest.raises(refusal):
        start(shop, cashier, 50_00)

    assert sessions(shop) == 0


def test_what_a_member_may_is_sent(shop: ActedShop, owner: Caller, cashier: Caller) -> None:
    limit(shop, owner, cashier, charge={"EUR": 50_00}, day={"EUR": 50_00})

    start(shop, cashier, 50_00)

    assert sessions(shop) == 1


def test_a_day_counts_what_is_under_way_on_another_reader(
    shop: ActedShop, owner: Caller, cashier: Caller
) -> None:
    limit(shop, owner, cashier, day={"EUR": 80_00})
    start(shop, cashier, 50_00)

    with pytest.raises(AboveYourDay) as refused:
        start(shop, cashier, 30_01, reader="rd_00000002")

    assert refused.value.facts["left"] == Money(30_00, "EUR")
    assert sessions(shop) == 1


def test_nobody_charges_more_than_the_shop_allows(shop: ActedShop, owner: Caller) -> None:
    limit_all(shop, owner, charge_limits={"EUR": 10_00})

    with pytest.raises(AboveTheShops):
        start(shop, owner, 10_01)

    assert sessions(shop) == 0


def test_giving_back_on_a_reader_stays_within_the_members_limit(
    shop: ActedShop, make: Factory, owner: Caller
) -> None:
    manager = make.caller(shop.merchant_id, Role.MANAGER)
    limit(shop, owner, manager, refund={"EUR": 20_00})

    with pytest.raises(AboveYourRefund):
        start(shop, manager, 20_01, kind="refund")
    refused = sessions(shop)
    start(shop, manager, 20_00, kind="refund")

    assert (refused, sessions(shop)) == (0, 1)
