"""A reader closes its day: its totals are held against the ledger, and differences lead to transactions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from control_plane.accounts.permissions import Role
from control_plane.devices.models import EVENTS, EventSource, Severity
from control_plane.end_of_day import closings
from control_plane.end_of_day.errors import ClosingTimeUnreadable
from control_plane.end_of_day.models import DAYS
from control_plane.payments.models import COMMANDS
from control_plane.transactions import ledger
from tests.integration.control_plane.payments.conftest import (
    DEVICE,
    LOCATION,
    MERCHANT,
    READER,
    Shop,
    caller_of,
)


def book(
    shop: Shop,
    name: str,
    minor: int,
    receipt: int,
    kind: str = "sale",
    at: datetime | None = None,
) -> None:
    with shop.database.transaction() as db:
        ledger.append(
            db,
            {
                "id": name,
                "merchant_id": MERCHANT,
                "location_id": LOCATION,
                "device_id": DEVICE,
                "reader_id": READER,
                "kind": kind,
                "status": "approved",
                "channel": "in_person",
                "method": "card",
                "amount_minor": minor,
                "currency": "EUR",
                "source": "reader",
                "external_id": name,
                "receipt_number": receipt,
                "occurred_at": at or shop.clock.now(),
            },
        )


def close(shop: Shop, count: int, minor: int, first: int, last: int, settled_s: int = 60) -> None:
    shop.wait(1)
    now = shop.clock.now()
    facts = {
        "reader_id": READER,
        "closed": True,
        "currency": "EUR",
        "per_scheme": [["visa", count, minor]],
        "receipt_from": first,
        "receipt_to": last,
    }
    with shop.database.connection() as db:
        db.execute(
            insert(EVENTS).values(
                merchant_id=MERCHANT,
                device_id=DEVICE,
                reader_id=READER,
                source=EventSource.DEVICE,
                kind="reader.totals",
                severity=Severity.INFO,
                text="",
                facts=facts,
                happened_at=now,
                recorded_at=now,
            )
        )
    shop.wait(settled_s)


def compared(shop: Shop) -> list[Any]:
    with shop.database.transaction() as db:
        closings.take_in(db)
    with shop.database.reading_connection() as db:
        return list(db.execute(select(DAYS).order_by(DAYS.c.closed_at)))


def test_totals_that_agree_are_kept_once(shop: Shop) -> None:
    book(shop, "tx_a", 1000, 1)
    book(shop, "tx_b", 300, 2, kind="refund")
    close(shop, 2, 700, 1, 2)

    (day,) = compared(shop)

    assert (day.status, day.ledger_count, day.ledger_minor) == ("matches", 2, 700)
    assert compared(shop) == [day]


def test_totals_are_not_compared_before_the_results_had_time_to_come(shop: Shop) -> None:
    close(shop, 1, 700, 1, 1, settled_s=5)

    assert compared(shop) == []


def test_each_day_counts_what_came_since_the_one_before(shop: Shop) -> None:
    book(shop, "tx_a", 1000, 1)
    close(shop, 1, 1000, 1, 1)
    assert [day.status for day in compared(shop)] == ["matches"]
    book(shop, "tx_b", 500, 2)
    close(shop, 1, 500, 2, 2)

    assert [day.status for day in compared(shop)] == ["matches", "matches"]


def test_a_difference_names_its_transaction_and_goes_when_a_late_result_explains_it(
    shop: Shop,
) -> None:
    book(shop, "tx_a", 1000, 1)
    at = shop.clock.now()
    close(shop, 2, 1700, 1, 2)
    (day,) = compared(shop)
    assert day.status == "differs"
    assert [(one["why"], one["minor"]) for one in day.differences] == [("unexplained", 700)]

    book(shop, "tx_b", 700, 2, at=at)
    with shop.database.transaction() as db:
        assert closings.look_again(db) == 1

    assert [one.status for one in compared(shop)] == ["matches"]


def asked(shop: Shop) -> int:
    with shop.database.transaction() as db:
        closings.ask_due(db)
    with shop.database.reading_connection() as db:
        kinds = db.execute(select(COMMANDS.c.kind)).scalars().all()
    return kinds.count("reader.end_of_day")


def schedule(shop: Shop, at: str) -> None:
    with shop.database.transaction() as db:
        closings.set_schedule(db, caller_of(Role.MANAGER), LOCATION, at)


def test_readers_are_asked_at_their_shops_time_once(shop: Shop) -> None:
    shop.change_reader(profile="generic-zvt-tcp", state="ready")
    assert asked(shop) == 0
    schedule(shop, (shop.clock.now() - timedelta(minutes=2)).strftime("%H:%M"))

    readers = asked(shop)

    assert readers >= 1
    assert asked(shop) == readers
    shop.wait(20 * 60)
    assert asked(shop) == 2 * readers


def test_a_reader_that_has_no_end_of_day_is_not_asked(shop: Shop) -> None:
    shop.change_reader(profile="generic-concert-cdc", state="ready")
    schedule(shop, (shop.clock.now() - timedelta(minutes=2)).strftime("%H:%M"))

    assert asked(shop) == 0


def test_a_time_that_is_none_is_refused_and_changes_nothing(shop: Shop) -> None:
    with pytest.raises(ClosingTimeUnreadable):
        schedule(shop, "25:00")

    with shop.database.reading_connection() as db:
        (one,) = closings.schedules(db, caller_of(Role.MANAGER).scope)
    assert one.at == ""
