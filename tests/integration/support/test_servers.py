"""The servers that fixtures start are real, apart from each other, and gone afterwards."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.fixtures.mosquitto import Mosquitto
from tests.fixtures.postgres import PostgresServer
from tests.support.ports import accepts_connections


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def test_a_database_is_a_copy_of_its_template(postgres_server: PostgresServer) -> None:
    original = postgres_server.create_database("template_of_a_test")
    with connect(original) as db:
        db.execute("CREATE TABLE sale (amount_minor bigint)")
        db.execute("INSERT INTO sale VALUES (1234)")

    copy = postgres_server.create_database(template="template_of_a_test")
    with connect(copy) as db:
        copied = db.execute("SELECT amount_minor FROM sale").fetchall()
        db.execute("DELETE FROM sale")

    with connect(original) as db:
        assert db.execute("SELECT amount_minor FROM sale").fetchall() == [(1234,)] == copied
    postgres_server.drop_database(copy)
    postgres_server.drop_database(original)
    assert not postgres_server.has_database("template_of_a_test")


def test_a_killed_broker_is_gone_and_comes_back_on_its_port(mosquitto: Mosquitto) -> None:
    mosquitto.kill()
    was_gone = not accepts_connections(mosquitto.port)
    mosquitto.start()

    assert was_gone
    assert accepts_connections(mosquitto.port)


def test_two_brokers_do_not_share_a_port(start_mosquitto: Callable[..., Mosquitto]) -> None:
    first, second = start_mosquitto(), start_mosquitto()

    assert first.port != second.port
    assert first.pid != second.pid


def test_a_broker_that_cannot_start_says_why(start_mosquitto: Callable[..., Mosquitto]) -> None:
    with pytest.raises(RuntimeError, match="(?s)stopped at once.*no_such_option"):
        start_mosquitto("no_such_option true")
