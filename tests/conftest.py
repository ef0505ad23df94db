"""What all tests share: the network guard, real servers as fixtures, and a word on what could not run."""

from __future__ import annotations

import re
from typing import Any

import pytest
import structlog
from hypothesis import settings

from tests.fakes.clock import FakeClock
from tests.support import network_guard
from tests.support.programs import NOT_HERE

pytest_plugins = [
    "tests.fixtures.mosquitto",
    "tests.fixtures.postgres",
    # After those that it imports, so that pytest rewrites their asserts.
    "tests.fixtures.control_plane",
    "tests.fixtures.fleet",
    "tests.fixtures.brokers",
    "tests.fixtures.card_scan",
    "tests.fixtures.stripe_sandbox",
    "tests.fixtures.virtual_terminal",
]

network_guard.install()

# How long one example takes says more about what else runs on the machine than about the code.
settings.register_profile("omnitill", deadline=None, print_blob=True)
settings.load_profile("omnitill")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the agent does."""
    return "asyncio"


@pytest.fixture(scope="session")
def first_log_configuration() -> dict[str, Any]:
    """How logs are written before any test."""
    return structlog.get_config()


@pytest.fixture(autouse=True)
def logs_of_another_test(first_log_configuration: dict[str, Any]) -> None:
    """A command configures logs for its process; to the next test its standard error is a closed file."""
    structlog.configure(**first_log_configuration)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the programs whose absence made tests skip."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    missing = sorted(
        {name for reason in reasons for name in re.findall(f"{NOT_HERE}(\\w+)", reason)}
    )
    if missing:
        count = sum(NOT_HERE in reason for reason in reasons)
        terminalreporter.write_line(
            f"{count} tests did not run because these programs are {NOT_HERE}{', '.join(missing)}. "
            "Run `make system` to get them.",
            yellow=True,
        )
