"""Devices, readers, codes and the ledger, for programs."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from protocols.cloud.commands import encode
from protocols.cloud.events import OutboxLevel, ReportedConfig, ReportedReader, ReportedState
from protocols.cloud.topics import Channel
from tests.fakes.fleet import Shop
from tests.fixtures.control_plane import Factory


@pytest.fixture
def it(shop: Shop, make: Factory) -> TestClient:
    """The IT manager's program."""
    return make.client_as(shop.merchant_id, Role.IT)


@pytest.fixture
def owner(shop: Shop, make: Factory) -> TestClient:
    return make.client_as(shop.merchant_id, Role.OWNER)


@pytest.fixture
def stranger(make: Factory) -> TestClient:
    """The owner of another merchant."""
    return make.client_as(make.merchant("Other"), Role.OWNER)


def report_reader(shop: Shop, name: str = "counter-1", reader_id: str = "rd_0001") -> None:
    state = ReportedState(
        ts=shop.clock.now().isoformat(), boot=1, agent_version="1", accepts=[], epoch=1,
        config=ReportedConfig(), outbox=OutboxLevel(pending=0, oldest_s=0),
        readers=[ReportedReader(reader_id=reader_id, name=name, profile="zvt", address="tcp://1", state="ready")],
    )  # fmt: skip
    shop.say(shop.device(), Channel.STATE, encode(state))


def ids(answer: Any) -> list[str]:
    return [one["id"] for one in answer.json()["items"]]


def test_a_code_is_made_once_for_its_key_and_shown_then_only(shop: Shop, it: TestClient) -> None:
    wish = {"location_id": shop.location_id, "note": "counter 2", "max_uses": 3}
    headers = {"Idempotency-Key": "wish-1"}

    first = it.post("/v1/enrollment-codes", json=wish, headers=headers)
    again = it.post("/v1/enrollment-codes", json=wish, headers=headers)

    assert first.status_code == 201
    assert again.json() == first.json()
    (listed,) = it.get("/v1/enrollment-codes").json()["items"]
    assert "code" not in listed
    assert (listed["hint"], listed["max_uses"], listed["used"]) == (first.json()["code"][-2:], 3, 0)


def test_a_withdrawn_code_says_so(shop: Shop, it: TestClient) -> None:
    made = it.post("/v1/enrollment-codes", json={"location_id": shop.location_id}).json()

    assert it.delete(f"/v1/enrollment-codes/{made['id']}").status_code == 204

    (listed,) = it.get("/v1/enrollment-codes").json()["items"]
    assert listed["revoked_at"] is not None


def test_a_code_for_a_shop_out_of_reach_is_refused(shop: Shop, make: Factory) -> None:
    elsewhere = make.location(shop.merchant_id)
    client = make.client_as(shop.merchant_id, Role.IT, location_ids=[elsewhere])

    answer = client.post("/v1/enrollment-codes", json={"location_id": shop.location_id})

    assert (answer.status_code, answer.json()["code"]) == (422, "location_unknown")


def test_devices_are_listed_in_pages_by_name(shop: Shop, it: TestClient) -> None:
    for name in ("dev-cccc", "dev-aaaa", "dev-bbbb"):
        shop.device(name)

    first = it.get("/v1/devices?limit=2")
    rest = it.get(f"/v1/devices?limit=2&cursor={first.json()['next_cursor']}")

    assert (ids(first), ids(rest)) == (["dev-aaaa", "dev-bbbb"], ["dev-cccc"])
    assert ids(it.get("/v1/devices?q=CCC")) == ["dev-cccc"]
    assert ids(it.get("/v1/devices?is_online=true")) == []


@pytest.mark.parametrize(
    ("step", "state"),
    [("suspend", "suspended"), ("revoke", "revoked"), ("retire", "retired")],
)
def test_a_device_is_put_out_of_service(shop: Shop, it: TestClient, step: str, state: str) -> None:
    shop.device()

    answer = it.post(f"/v1/devices/dev-aaaa/{step}")

    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert shop.device_row().state.value == state
    refused = it.post("/v1/devices/dev-aaaa/resume") if step != "suspend" else None
    assert refused is None or refused.json()["code"] == "device_not_in_state"


def test_a_device_is_renamed_and_moved_with_its_readers(
    shop: Shop, it: TestClient, make: Factory
) -> None:
    report_reader(shop)
    there = make.location(shop.merchant_id)

    answer = it.patch("/v1/devices/dev-aaaa", json={"name": "Bar", "location_id": there})

    assert (answer.json()["name"], answer.json()["location_id"]) == ("Bar", there)
    assert it.get("/v1/readers/rd_0001").json()["location_id"] == there
    assert it.get("/v1/devices/dev-aaaa/timeline").json()["items"][0]["kind"] == "device.changed"


def test_readers_are_found_and_shown_on_two_axes(shop: Shop, owner: TestClient) -> None:
    report_reader(shop)

    (found,) = owner.get("/v1/readers?q=counter").json()["items"]

    assert (found["id"], found["state"], found["reach"], found["sync"]) == (
        "rd_0001", "ready", "offline", "in_sync",
    )  # fmt: skip
    (event,) = owner.get("/v1/readers/rd_0001/timeline").json()["items"]
    assert event["kind"] == "reader.seen"


def test_the_ledger_is_searched_and_one_row_is_shown_with_its_receipt(
    shop: Shop, owner: TestClient
) -> None:
    outbox = shop.device()
    for at in range(3):
        outbox.at = shop.clock.now()
        shop.send(outbox, outbox.sale(reference=f"order {at}", amount_minor=100 + at))
        shop.clock.advance(1)

    first = owner.get("/v1/transactions?limit=2").json()
    rest = owner.get(f"/v1/transactions?limit=2&cursor={first['next_cursor']}").json()
    found = owner.get("/v1/transactions?q=order 1&status=approved&status=declined").json()["items"]
    one = owner.get(f"/v1/transactions/{found[0]['id']}").json()

    amounts = [row["amount_minor"] for row in first["items"] + rest["items"]]
    assert amounts == [102, 101, 100]
    assert [row["reference"] for row in found] == ["order 1"]
    assert one["receipt"].startswith("Café Lumière")
    assert one["related"] == []
    assert owner.get("/v1/transactions/totals?amount_from=101").json() == [
        {"currency": "EUR", "count": 2, "net_minor": 203}
    ]


def test_nothing_of_it_is_there_for_another_merchant(shop: Shop, stranger: TestClient) -> None:
    report_reader(shop)
    outbox = shop.device("dev-bbbb")
    shop.send(outbox, outbox.sale())
    row_id = shop.ledger()[0].id

    missing = [
        stranger.get(f"/v1/{path}").status_code
        for path in (
            "devices/dev-aaaa", "devices/dev-aaaa/timeline", "readers/rd_0001",
            "readers/rd_0001/timeline", f"transactions/{row_id}",
        )
    ]  # fmt: skip
    acted = [
        stranger.post(f"/v1/devices/dev-aaaa/{step}").status_code
        for step in ("suspend", "resume", "revoke", "retire")
    ]
    listed = [ids(stranger.get(f"/v1/{path}")) for path in ("devices", "readers", "transactions")]

    assert missing == [404] * 5
    assert acted == [404] * 4
    assert listed == [[], [], []]
    assert shop.device_row().state.value == "active"
