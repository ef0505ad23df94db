"""A counter with a reader of the processor, on both databases and on SQLite alone."""

from __future__ import annotations

import pytest

from tests.fixtures.virtual_terminal import Connected
from tests.support.counter_reader import Counter, counter_of


@pytest.fixture
def counter(sqlite_connected: Connected) -> Counter:
    return counter_of(sqlite_connected)


@pytest.fixture
def any_counter(connected: Connected) -> Counter:
    """On SQLite and on PostgreSQL in turn."""
    return counter_of(connected)
