"""Alerts of real rows: a storm is one alert each, maintenance is silent, recovery resolves."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert, select, update

from control_plane.accounts.permissions import Role
from control_plane.alerts import watching
from control_plane.alerts.models import ALERTS
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES
from control_plane.maintenance.models import PERIODS, Subject
from control_plane.maintenance.queries import silenced
from control_plane.parts import Parts
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory


def boxes(parts: Parts, clock: FakeClock, merchant: str, location: str, count: int) -> None:
    with parts.database.transaction() as db:
        db.execute(
            insert(DEVICES),
            [
                {
                    "id": f"dev-{merchant[-6:].lower()}{number:05}", "merchant_id": merchant, "location_id": location,
                    "name": f"Box {number}", "state": DeviceState.ACTIVE, "state_since": clock.now(),
                    "is_online": False, "last_seen_at": clock.now(), "created_at": clock.now(), "cell": "00",
                    "reported": {}, "telemetry": {"disk_free_mib": 9000},
                }
                for number in range(count)
            ],
        )  # fmt: skip


def look(parts: Parts) -> int:
    with parts.database.connection() as db:
        return watching.look(db)


def states(parts: Parts) -> list[tuple[str, str, int]]:
    with parts.database.reading_connection() as db:
        rows = db.execute(select(ALERTS).order_by(ALERTS.c.id)).all()
    return [(row.kind, row.state.value, row.raised) for row in rows]


def test_boxes_that_stay_away_open_one_alert_each_until_they_are_back(
    parts: Parts, make: Factory, clock: FakeClock
) -> None:
    merchant = make.merchant()
    boxes(parts, clock, merchant, make.location(merchant), 3)

    assert look(parts) == 0
    clock.advance(301)
    assert (look(parts), look(parts)) == (3, 0)
    assert states(parts) == [("device.offline", "open", 1)] * 3
    with parts.database.transaction() as db:
        db.execute(update(DEVICES).values(is_online=True))
    look(parts)
    clock.advance(121)
    look(parts)
    assert states(parts) == [("device.offline", "resolved", 1)] * 3


def test_under_maintenance_nothing_is_raised_and_others_are_not_silenced(
    parts: Parts, make: Factory, clock: FakeClock
) -> None:
    merchant = make.merchant()
    quiet, loud = make.location(merchant), make.location(merchant)
    boxes(parts, clock, merchant, quiet, 1)
    with parts.database.transaction() as db:
        ids = list(db.execute(select(DEVICES.c.id)).scalars())
        db.execute(
            insert(PERIODS).values(
                id="mnt_1", merchant_id=merchant, location_id=quiet, subject=Subject.LOCATION, object_id=quiet,
                begins_at=clock.now(), ends_at=clock.now() + timedelta(hours=1), created_at=clock.now(),
                reason="", created_by="",
            )
        )  # fmt: skip
        assert silenced(db, merchant, ids) == set(ids)
        assert silenced(db, "mer_other", ids) == set()
    look(parts)
    clock.advance(400)
    look(parts)
    assert states(parts) == []

    with parts.database.transaction() as db:
        db.execute(update(DEVICES).values(location_id=loud))
    look(parts)
    assert states(parts) == [("device.offline", "pending", 0)]


def test_an_alert_is_acknowledged_only_by_who_may_and_within_reach(
    parts: Parts, make: Factory, clock: FakeClock
) -> None:
    merchant = make.merchant()
    boxes(parts, clock, merchant, make.location(merchant), 1)
    look(parts)
    clock.advance(301)
    look(parts)
    here = make.client_as(merchant, Role.IT)
    (alert,) = here.get("/v1/alerts?state=open").json()["items"]
    wish = {"alert_ids": [alert["id"]]}
    stranger = make.client_as(make.merchant("Elsewhere"), Role.OWNER)
    other_shop = make.client_as(merchant, Role.IT, location_ids=[make.location(merchant)])

    assert make.client_as(merchant, Role.CASHIER).get("/v1/alerts").status_code == 403
    assert (
        make.client_as(merchant, Role.MANAGER).post("/v1/alerts/acknowledge", json=wish).status_code
        == 403
    )
    for client in (stranger, other_shop):
        assert client.get("/v1/alerts").json()["items"] == []
        assert client.post("/v1/alerts/acknowledge", json=wish).json() == {"alert_ids": []}
    assert states(parts) == [("device.offline", "open", 1)]

    assert here.post("/v1/alerts/acknowledge", json=wish).json() == wish
    assert here.post("/v1/alerts/acknowledge", json=wish).json() == {"alert_ids": []}
    look(parts)
    assert states(parts) == [("device.offline", "acknowledged", 1)]
