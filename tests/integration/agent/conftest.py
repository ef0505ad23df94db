"""What tests of a connected agent share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.authority import Authority
from tests.fixtures.mosquitto import Mosquitto
from tests.support.branch import Site


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    start_mosquitto: Callable[..., Mosquitto],
) -> Iterator[Site]:
    """A broker with TLS, and a control plane behind it."""
    made = Site(tmp_path_factory.mktemp("site"), authority, start_mosquitto)
    made.join()
    yield made
    made.plane.close()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"
