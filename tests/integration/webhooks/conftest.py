"""A sender of webhooks, on both databases and on SQLite alone."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.fixtures.virtual_terminal import Connected
from tests.support.webhook_sender import WebhookSender


@pytest.fixture
def sender(sqlite_connected: Connected, sqlite_client: TestClient) -> WebhookSender:
    return WebhookSender(sqlite_connected, sqlite_client)


@pytest.fixture
def any_sender(connected: Connected, client: TestClient) -> WebhookSender:
    """On SQLite and on PostgreSQL in turn."""
    return WebhookSender(connected, client)
