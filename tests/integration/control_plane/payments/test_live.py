"""The stream of everything that changed."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from control_plane.accounts.permissions import Permission, Role
from control_plane.db.unit_of_work import Announcement
from control_plane.devices.timeline import readers_topic
from control_plane.parts import Parts
from control_plane.payments.timeline import sessions_topic
from tests.fixtures.control_plane import Factory
from tests.support.waiting import eventually

PATH = "/v1/live"


def first_event(client: Any, parts: Parts, send: Any, **params: Any) -> tuple[str, Any]:
    """What the stream says first, once ``send`` was called; the hub is closed then, so the stream ends."""
    told: dict[str, str] = {}

    def act() -> None:
        eventually(lambda: parts.live.watchers == 1)
        send()
        eventually(lambda: "data" in told)
        parts.live.close()

    thread = threading.Thread(target=act)
    thread.start()
    with client.stream("GET", PATH, params=params) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name in {"event", "data"}:
                told.setdefault(name, value)
    thread.join()
    return told["event"], json.loads(told["data"])


def test_a_change_is_told_with_its_newest_hint(sqlite_parts: Parts, sqlite_make: Factory) -> None:
    merchant_id = sqlite_make.merchant()
    client = sqlite_make.client_with_key(merchant_id, list(Permission))

    def send() -> None:
        topic = sessions_topic(merchant_id)
        sqlite_parts.live.send_many(
            [
                Announcement(topic, {"session_id": "ts_1", "state": state}, "ts_1")
                for state in ("claimed", "sent")
            ]
        )

    event, data = first_event(client, sqlite_parts, send)

    assert (event, data) == ("changed", {"sessions": [{"session_id": "ts_1", "state": "sent"}]})


@pytest.mark.parametrize("role", [Role.CASHIER, Role.IT])
def test_who_may_see_payments_hears_of_them(
    sqlite_parts: Parts, sqlite_make: Factory, role: Role
) -> None:
    merchant_id = sqlite_make.merchant()
    client = sqlite_make.client_as(merchant_id, role)

    _, data = first_event(
        client,
        sqlite_parts,
        lambda: sqlite_parts.live.send(sessions_topic(merchant_id), {"session_id": "ts_1"}),
    )

    assert list(data) == ["sessions"]


def test_one_may_ask_for_readers_only(sqlite_parts: Parts, sqlite_make: Factory) -> None:
    merchant_id = sqlite_make.merchant()
    client = sqlite_make.client_with_key(merchant_id, list(Permission))

    def send() -> None:
        sqlite_parts.live.send(sessions_topic(merchant_id), {"session_id": "ts_1"})
        sqlite_parts.live.send(readers_topic(merchant_id), {"reader_id": "rd_1"})

    _, data = first_event(client, sqlite_parts, send, watch="readers")

    assert data == {"readers": [{"reader_id": "rd_1"}]}


def test_without_the_right_to_see_payments_a_program_hears_of_readers_alone(
    sqlite_parts: Parts, sqlite_make: Factory
) -> None:
    merchant_id = sqlite_make.merchant()
    client = sqlite_make.client_with_key(merchant_id, [Permission.READER_VIEW])

    def send() -> None:
        sqlite_parts.live.send(sessions_topic(merchant_id), {"session_id": "ts_1"})
        sqlite_parts.live.send(readers_topic(merchant_id), {"reader_id": "rd_1"})

    _, data = first_event(client, sqlite_parts, send)

    assert list(data) == ["readers"]


def test_nothing_of_another_merchant_is_heard(sqlite_parts: Parts, sqlite_make: Factory) -> None:
    merchant_id, other_id = sqlite_make.merchant(), sqlite_make.merchant("Other")
    client = sqlite_make.client_with_key(merchant_id, list(Permission))

    def send() -> None:
        sqlite_parts.live.send(sessions_topic(other_id), {"session_id": "ts_other"})
        sqlite_parts.live.send(sessions_topic(merchant_id), {"session_id": "ts_own"})

    _, data = first_event(client, sqlite_parts, send)

    assert data == {"sessions": [{"session_id": "ts_own"}]}
