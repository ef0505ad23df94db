"""Transactions on both databases: lost updates, read-only sessions, announcements, sealed columns."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from control_plane import live
from control_plane.accounts import queries
from control_plane.accounts.service import create_merchant
from control_plane.db.unit_of_work import context_of
from control_plane.events import publish
from control_plane.http.idempotency import KEYS
from control_plane.http.models import IdempotencyKey
from control_plane.outbox import JOBS, owe
from control_plane.parts import Parts
from tests.fixtures.control_plane import Factory


def test_no_update_is_lost_when_many_threads_read_and_then_write(parts: Parts) -> None:
    with parts.database.transaction() as db:
        merchant_id = create_merchant(db, "0")
    merchants = queries.MERCHANTS
    mine = merchants.c.id == merchant_id

    def increment() -> None:
        for _ in range(25):
            with parts.database.transaction() as db:
                name = db.execute(
                    select(merchants.c.name).where(mine).with_for_update()
                ).scalar_one()
                db.execute(update(merchants).where(mine).values(name=str(int(name) + 1)))

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with parts.database.reading() as db:
        assert db.execute(select(merchants.c.name).where(mine)).scalar_one() == "100"


def test_a_reading_session_cannot_write(parts: Parts) -> None:
    with pytest.raises(DBAPIError, match="(?i)read.?only"), parts.database.reading() as db:
        db.execute(text("DELETE FROM merchant"))


def test_the_connection_of_a_reader_can_write_for_the_next(parts: Parts) -> None:
    with parts.database.reading() as db:
        db.execute(select(queries.MERCHANTS))

    with parts.database.transaction() as db:
        merchant_id = create_merchant(db, "x")

    with parts.database.reading() as db:
        assert queries.merchant(db, merchant_id).name == "x"


def test_a_reading_session_sees_one_snapshot(parts: Parts) -> None:
    with parts.database.reading() as db:
        before = queries.merchants(db)
        with parts.database.transaction() as writer:
            create_merchant(writer, "new")
        after = queries.merchants(db)

    assert before == after == []


@pytest.mark.parametrize("opened", ["transaction", "connection"])
def test_what_is_announced_goes_out_after_the_commit_only(parts: Parts, opened: str) -> None:
    heard: list[bool] = []

    def listener() -> None:
        with parts.database.reading() as reader:
            heard.append(bool(queries.merchants(reader)))

    parts.live.listen("topic", listener)
    with getattr(parts.database, opened)() as db:
        create_merchant(db, "x")
        live.publish(db, "topic", {"n": 1})
        live.publish(db, "topic", {"n": 2})
        assert heard == []

    assert heard == [True]


@pytest.mark.parametrize("opened", ["transaction", "connection"])
def test_what_is_rolled_back_is_neither_stored_nor_announced_nor_owed(
    parts: Parts, opened: str
) -> None:
    heard: list[str] = []
    parts.live.listen("topic", lambda: heard.append("topic"))
    parts.live.listen("jobs", lambda: heard.append("jobs"))

    def work_and_fail() -> None:
        with getattr(parts.database, opened)() as db:
            create_merchant(db, "x")
            live.publish(db, "topic")
            owe(db, "some.job")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work_and_fail()

    with parts.database.reading() as db:
        assert queries.merchants(db) == []
        assert db.execute(select(JOBS)).all() == []
    assert heard == []


def test_a_domain_event_reaches_its_handlers_in_the_same_transaction(parts: Parts) -> None:
    class Happened:
        pass

    class Other:
        pass

    seen: list[Any] = []
    parts.handlers.on(Happened, lambda db, event: seen.append((db, event)))
    parts.handlers.on(Other, lambda db, event: seen.append("other"))
    event = Happened()

    with parts.database.transaction() as db:
        publish(db, event)

    assert seen == [(db, event)]


def test_a_job_is_owed_once_for_its_dedupe_key(parts: Parts) -> None:
    with parts.database.transaction() as db:
        first = owe(db, "some.job", dedupe_key="slot")
    with parts.database.connection() as db:
        second = owe(db, "some.job", dedupe_key="slot")

    with parts.database.reading() as db:
        assert [row.id for row in db.execute(select(JOBS))] == [first]
    assert second is None


def test_a_transaction_of_another_engine_is_refused(parts: Parts) -> None:
    with (
        parts.database.engine.connect() as connection,
        pytest.raises(LookupError, match="Database"),
    ):
        context_of(connection)


def test_a_sealed_column_is_not_readable_in_the_database(parts: Parts, make: Factory) -> None:
    merchant_id = make.merchant()
    with parts.database.transaction() as db:
        db.add(
            IdempotencyKey(
                merchant_id=merchant_id,
                route="/v1/x",
                key="k",
                request_hash="h",
                status=201,
                answer='{"key":"omk_secret"}',
                created_at=parts.clock.now(),
            )
        )

    with parts.database.reading() as db:
        raw = db.execute(text("SELECT answer FROM idempotency_key")).scalar_one()
        opened = db.execute(select(KEYS.c.answer)).scalar_one()

    assert "omk_secret" not in raw
    assert opened == '{"key":"omk_secret"}'
