"""What the demo finds in its shop: people who can sign in, and a month that came in through ingest."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from control_plane.accounts.permissions import Role
from control_plane.demo import history, seed
from control_plane.devices.authority import Authority
from control_plane.devices.models import READERS
from control_plane.http.sign_in import sign_in
from control_plane.ingest.models import QUARANTINE
from control_plane.parts import Parts
from control_plane.transactions.models import TRANSACTIONS
from tests.fakes.clock import FakeClock


def furnish(parts: Parts) -> seed.Shop:
    with parts.database.transaction() as db:
        return seed.furnish(db, parts.passwords)


def test_there_is_somebody_in_each_role_who_can_sign_in(sqlite_parts: Parts) -> None:
    furnish(sqlite_parts)

    assert {person.role for person in seed.PEOPLE} == set(Role)
    for person in seed.PEOPLE:
        sign_in(sqlite_parts, person.email, seed.PASSWORD, ip="127.0.0.1", user_agent="tests")


def test_a_second_run_finds_the_shop_of_the_first(sqlite_parts: Parts) -> None:
    first, second = furnish(sqlite_parts), furnish(sqlite_parts)

    assert (first.is_new, second.is_new) == (True, False)
    assert second.merchant_id == first.merchant_id
    assert second.location_id == first.location_id


def test_the_past_month_is_in_the_ledger_as_it_was_reported(
    sqlite_parts: Parts, clock: FakeClock, tmp_path: Path
) -> None:
    shop = furnish(sqlite_parts)
    authority = Authority.open(tmp_path / "ca", sqlite_parts.keyring, clock)

    told = history.tell(sqlite_parts.database, authority, shop, clock.now())

    with sqlite_parts.database.reading_connection() as db:
        count, first, last = db.execute(
            select(
                func.count(),
                func.min(TRANSACTIONS.c.occurred_at),
                func.max(TRANSACTIONS.c.occurred_at),
            )
        ).one()
        kinds = set(db.execute(select(TRANSACTIONS.c.kind).distinct()).scalars())
        statuses = set(db.execute(select(TRANSACTIONS.c.status).distinct()).scalars())
        names = set(db.execute(select(READERS.c.name)).scalars())
        quarantined = db.execute(select(func.count()).select_from(QUARANTINE)).scalar()
    assert (count, quarantined) == (told, 0)
    assert told > 120
    assert (clock.now() - first).days in range(28, 31)
    assert last < clock.now()
    assert {"sale", "reversal"} <= kinds
    assert {"approved", "declined", "cancelled"} <= statuses
    assert names == {"Salon", "Hall"}
