"""The page of alerts: what is open is shown with where it is, and a person takes what was chosen, once."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from control_plane.accounts.permissions import Role
from control_plane.alerts.models import ALERTS
from control_plane.alerts.stepping import AlertState
from control_plane.parts import Parts
from tests.fixtures.control_plane import Factory
from tests.web.acted_shop import ActedShop


@pytest.fixture
def shop(parts: Parts) -> ActedShop:
    opened = ActedShop(parts)
    opened.open()
    with parts.database.transaction() as db:
        for number, state in enumerate((AlertState.OPEN, AlertState.OPEN, AlertState.RESOLVED)):
            db.execute(
                insert(ALERTS).values(
                    id=f"alr_{number}", merchant_id=opened.merchant_id,
                    location_id=opened.location_id, device_id=opened.device_id,
                    object_id=opened.device_id, raised=number + 1,
                    kind=("device.offline", "device.disk_full", "device.certificate")[number],
                    state=state, changed_at=parts.clock.now(),
                )
            )  # fmt: skip
    return opened


def states(parts: Parts) -> dict[str, str]:
    with parts.database.reading() as db:
        rows = db.execute(select(ALERTS.c.id, ALERTS.c.state)).all()
        return {row.id: row.state.value for row in rows}


def test_open_alerts_are_shown_and_those_that_are_over_have_their_own_place(
    shop: ActedShop, make: Factory
) -> None:
    browser = make.client_as(shop.merchant_id, Role.IT)

    opened, over = browser.get("/alerts").text, browser.get("/alerts?state=resolved").text

    assert "Box offline" in opened
    assert "Its disk is nearly full" in opened
    assert "Its certificate ends soon" not in opened
    assert "Its certificate ends soon" in over
    assert f'href="/readers/boxes/{shop.device_id}"' in opened


def test_what_was_chosen_is_being_looked_after_and_nothing_else(
    shop: ActedShop, parts: Parts, make: Factory
) -> None:
    browser = make.client_as(shop.merchant_id, Role.IT)

    answer = browser.post("/alerts/acknowledge", data={"alert": ["alr_0", "alr_2"]})

    assert states(parts) == {"alr_0": "acknowledged", "alr_1": "open", "alr_2": "resolved"}
    assert "1 alert is being looked after now." in answer.text


def test_a_manager_sees_alerts_and_takes_none(shop: ActedShop, parts: Parts, make: Factory) -> None:
    browser = make.client_as(shop.merchant_id, Role.MANAGER)

    page = browser.get("/alerts").text
    answer = browser.post("/alerts/acknowledge", data={"alert": ["alr_0"]})

    assert "Box offline" in page
    assert "I look after" not in page
    assert answer.status_code == 403
    assert states(parts)["alr_0"] == "open"


def test_another_merchants_alert_is_neither_seen_nor_taken(
    shop: ActedShop, parts: Parts, make: Factory
) -> None:
    stranger = make.client_as(make.merchant("Elsewhere"), Role.OWNER)

    page = stranger.get("/alerts").text
    stranger.post("/alerts/acknowledge", data={"alert": ["alr_0"]})

    assert shop.device_id not in page
    assert "Nothing is wrong." in page
    assert states(parts)["alr_0"] == "open"
