"""The one history of the schema, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from control_plane.db import migrate
from control_plane.db.engine import make_engine
from control_plane.db.keyring import Keyring
from control_plane.db.registry import complete_metadata
from tests.fixtures.postgres import PostgresServer

KEYRING = Keyring([b"migrations" * 4])


@pytest.fixture(params=["sqlite", "postgres"])
def empty_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    server: PostgresServer | None = None
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    else:
        server = request.getfixturevalue("postgres_server")
        url = server.create_database()
    engine = make_engine(url, keyring=KEYRING)
    yield engine
    engine.dispose()
    if server is not None:
        server.drop_database(url)


def tables_of(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def test_the_history_makes_exactly_the_tables_of_the_program(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)

    assert migrate.current(empty_engine) == migrate.newest()
    assert migrate.differences(empty_engine) == []
    assert tables_of(empty_engine) == set(complete_metadata().tables)


def test_the_newest_migration_can_be_taken_back_and_made_again(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)
    migrate.downgrade(empty_engine)
    after_downgrade = migrate.current(empty_engine)

    migrate.upgrade(empty_engine)

    assert after_downgrade != migrate.newest()
    assert migrate.differences(empty_engine) == []


def test_taking_everything_back_leaves_nothing(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)

    migrate.downgrade(empty_engine, "base")

    assert migrate.current(empty_engine) is None
    assert tables_of(empty_engine) == set()


def test_a_missing_column_is_told(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)
    with empty_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE merchant DROP COLUMN currency")

    assert any("currency" in line for line in migrate.differences(empty_engine))


def test_foreign_keys_count_again_after_a_migration(empty_engine: Engine) -> None:
    migrate.upgrade(empty_engine)

    with empty_engine.connect() as connection, pytest.raises(Exception, match="(?i)foreign key"):
        connection.exec_driver_sql(
            "INSERT INTO location (id, merchant_id, name, time_zone, created_at) "
            "VALUES ('loc_1', 'mer_none', 'x', 'UTC', '2026-01-01 00:00:00')"
        )
