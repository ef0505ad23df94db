"""Layers over the API on both databases: what is kept, what reaches devices, and that a refusal changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.audit.actor import SYSTEM
from control_plane.configuration import push
from control_plane.configuration.models import REVISIONS, VERSIONS
from control_plane.db.scope import Scope
from control_plane.devices import service as devices
from control_plane.devices.models import CONFIGS
from protocols.cloud.commands import encode
from protocols.cloud.configuration import document_hash
from protocols.cloud.events import OutboxLevel, ReportedConfig, ReportedReader, ReportedState
from protocols.cloud.topics import Channel
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop
from tests.fixtures.control_plane import Factory

LAYERS = "/v1/configuration/layers"
ECR = "generic-ecr17-tcp"


@pytest.fixture
def it(shop: Shop, make: Factory) -> TestClient:
    return make.client_as(shop.merchant_id, Role.IT)


def box(shop: Shop, name: str = "dev-aaaa", **readers: str) -> DeviceOutbox:
    """A box with these readers by their profiles."""
    found = shop.device(name)
    report(shop, found, None, **readers)
    return found


def report(
    shop: Shop, found: DeviceOutbox, config: ReportedConfig | None = None, **readers: str
) -> None:
    shop.clock.advance(1)
    state = ReportedState(
        ts=shop.clock.now().isoformat(), boot=1, agent_version="1", accepts=[], epoch=1,
        config=config or ReportedConfig(), outbox=OutboxLevel(pending=0, oldest_s=0),
        readers=[
            ReportedReader(
                reader_id=reader_id, name=reader_id, profile=profile, address="tcp://1", state="ready"
            )
            for reader_id, profile in readers.items()
        ],
    )  # fmt: skip
    shop.say(found, Channel.STATE, encode(state))


def put(
    it: TestClient, kind: str, object_id: str = "", *, dry_run: bool = False, **settings: Any
) -> Any:
    answer = it.put(
        LAYERS,
        json={
            "kind": kind,
            "object_id": object_id,
            "profiles": {ECR: settings},
            "dry_run": dry_run,
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(it: TestClient, **wish: Any) -> Any:
    answer = it.post("/v1/configuration/push", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()


def settings_of(shop: Shop, device_id: str = "dev-aaaa") -> dict[str, Any]:
    rows = shop.rows(select(CONFIGS).where(CONFIGS.c.device_id == device_id))
    return {
        reader_id: one["settings"]
        for row in rows
        for reader_id, one in row.document["readers"].items()
    }


def counts(shop: Shop) -> tuple[int, int]:
    (revisions,) = shop.rows(select(func.count()).select_from(REVISIONS))
    (configs,) = shop.rows(select(func.coalesce(func.sum(CONFIGS.c.version), 0)))
    return revisions[0], configs[0]


def test_a_layer_reaches_a_device_when_it_is_pushed_and_not_before(
    shop: Shop, it: TestClient
) -> None:
    box(shop, rd_1=ECR)

    told = put(it, "organisation", result_timeout_s=60)

    assert (told["revision"], told["reader_ids"], told["device_ids"]) == (1, ["rd_1"], ["dev-aaaa"])
    assert settings_of(shop) == {}
    assert send(it) == {"revision": 1, "device_ids": ["dev-aaaa"]}
    assert settings_of(shop) == {"rd_1": {"result_timeout_s": 60}}


def test_the_nearer_layer_holds_and_the_device_page_says_from_where(
    shop: Shop, it: TestClient
) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", result_timeout_s=60, lrc_mode="std")
    put(it, "location", shop.location_id, result_timeout_s=70)
    put(it, "device", "dev-aaaa", lrc_mode="noext")
    it.put("/v1/readers/rd_1/settings", json={"values": {"result_timeout_s": 80}})
    send(it)

    found = it.get("/v1/devices/dev-aaaa/configuration").json()

    assert settings_of(shop) == {"rd_1": {"lrc_mode": "noext", "result_timeout_s": 80}}
    assert found["origins"] == {
        "rd_1": {"result_timeout_s": "reader:rd_1", "lrc_mode": "device:dev-aaaa"}
    }
    assert (found["revision"], found["state"], found["cannot"]) == (3, "pending", [])
    effective = it.get("/v1/readers/rd_1/settings").json()
    assert effective["effective"]["lrc_mode"] == "noext"
    assert effective["origins"]["result_timeout_s"] == f"location:{shop.location_id}"


def test_a_setting_on_a_reader_goes_at_once_and_takes_no_unsent_layer_along(
    shop: Shop, it: TestClient
) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")
    send(it)
    put(it, "organisation", lrc_mode="noext")

    it.put("/v1/readers/rd_1/settings", json={"values": {"result_timeout_s": 80}})

    assert settings_of(shop) == {"rd_1": {"lrc_mode": "std", "result_timeout_s": 80}}


def test_a_trial_tells_what_it_touches_and_changes_nothing(shop: Shop, it: TestClient) -> None:
    box(shop, rd_1=ECR, rd_2="generic-zvt-tcp")
    before = counts(shop)

    told = put(it, "organisation", dry_run=True, result_timeout_s=60)

    assert (told["dry_run"], told["devices"], told["reader_ids"]) == (True, 1, ["rd_1"])
    assert counts(shop) == before


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"kind": "organisation", "profiles": {ECR: {"lrc_mode": "none"}}}, "setting_not_choice"),
        ({"kind": "organisation", "profiles": {ECR: {"colour": "red"}}}, "setting_not_known"),
        ({"kind": "organisation", "profiles": {"*": {"colour": "red"}}}, "setting_not_known"),
        ({"kind": "organisation", "profiles": {"no-model": {"lrc_mode": "std"}}}, "profile_not_known"),
        ({"kind": "organisation", "profiles": {"generic-zvt-tcp": {"password": "111111"}}}, "secret_not_inherited"),
        ({"kind": "location", "object_id": "loc_other", "profiles": {}}, "layer_object_unknown"),
        ({"kind": "device", "object_id": "dev-other", "profiles": {}}, "layer_object_unknown"),
        ({"kind": "organisation", "profiles": {}, "expected_revision": 7}, "layer_changed_meanwhile"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(
    shop: Shop, it: TestClient, wish: dict[str, Any], code: str
) -> None:
    box(shop, rd_1=ECR)
    before = counts(shop)

    answer = it.put(LAYERS, json=wish)

    assert (answer.status_code in (409, 422), answer.json()["code"]) == (True, code)
    assert counts(shop) == before


def test_the_same_again_is_no_new_revision(shop: Shop, it: TestClient) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")

    assert put(it, "organisation", lrc_mode="std")["revision"] == 1
    assert counts(shop)[0] == 1


def test_a_push_that_changes_nothing_disturbs_nobody(shop: Shop, it: TestClient) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")
    send(it)
    before = shop.rows(select(CONFIGS))[0]
    put(it, "location", shop.location_id, lrc_mode="std")

    send(it)

    after = shop.rows(select(CONFIGS))[0]
    assert (after.version, after.hash, after.revision) == (before.version, before.hash, 2)


def test_every_past_state_can_be_seen_compared_and_brought_back(shop: Shop, it: TestClient) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")
    put(it, "organisation", lrc_mode="noext")
    put(it, "device", "dev-aaaa", result_timeout_s=70)
    send(it)

    changed = it.get("/v1/configuration/revisions/2").json()["changes"]
    back = it.post("/v1/configuration/revisions/1/restore", json={"note": "too slow"})

    assert changed == [{"path": f"{ECR}/lrc_mode", "before": "std", "after": "noext"}]
    assert (back.status_code, back.json()["revision"]) == (200, 5)
    assert it.get(LAYERS).json()["layers"] == it.get(f"{LAYERS}?revision=1").json()["layers"]
    send(it)
    assert settings_of(shop) == {"rd_1": {"lrc_mode": "std"}}
    versions = it.get("/v1/devices/dev-aaaa/configuration/versions").json()["items"]
    assert [one["revision"] for one in versions] == [5, 3]
    difference = it.get("/v1/devices/dev-aaaa/configuration/difference?before=1&after=2").json()
    assert difference["changes"] == [
        {"path": "readers/rd_1/settings/lrc_mode", "before": "noext", "after": "std"},
        {"path": "readers/rd_1/settings/result_timeout_s", "before": 70, "after": None},
    ]


def test_a_reader_that_comes_later_gets_what_holds_there(shop: Shop, it: TestClient) -> None:
    found = box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")
    send(it)

    report(shop, found, rd_1=ECR, rd_2=ECR)

    assert settings_of(shop) == {"rd_1": {"lrc_mode": "std"}, "rd_2": {"lrc_mode": "std"}}


def test_a_box_that_moves_gets_what_holds_in_its_new_place(
    shop: Shop, make: Factory, it: TestClient
) -> None:
    box(shop, rd_1=ECR)
    other = make.location(shop.merchant_id, "Lille")
    put(it, "location", other, lrc_mode="noext")
    put(it, "location", shop.location_id, lrc_mode="std")
    send(it)

    moved = it.patch("/v1/devices/dev-aaaa", json={"location_id": other})

    assert moved.status_code == 200, moved.text
    assert settings_of(shop) == {"rd_1": {"lrc_mode": "noext"}}


def test_of_many_boxes_each_gets_its_own_and_answers_for_itself(shop: Shop, it: TestClient) -> None:
    first = box(shop, "dev-aaaa", rd_1=ECR)
    second = box(shop, "dev-bbbb", rd_2=ECR)
    put(it, "organisation", lrc_mode="std")
    put(it, "device", "dev-bbbb", result_timeout_s=70)
    send(it)
    rows = {row.device_id: row for row in shop.rows(select(CONFIGS))}
    said = {
        "dev-aaaa": ReportedConfig(version=1, hash=rows["dev-aaaa"].hash, status="applied"),
        "dev-bbbb": ReportedConfig(
            version=1, hash=rows["dev-bbbb"].hash, status="rejected", errors={"rd_2": "no"}
        ),
    }
    report(shop, first, said["dev-aaaa"], rd_1=ECR)
    report(shop, second, said["dev-bbbb"], rd_2=ECR)

    with shop.parts.database.reading_connection() as db:
        found = push.answers(db, shop.merchant_id, ["dev-aaaa", "dev-bbbb"])
        at = push.pinned(db, shop.merchant_id, ["dev-aaaa", "dev-bbbb"])

    assert {name: one.state for name, one in found.items()} == {
        "dev-aaaa": "applied", "dev-bbbb": "rejected",
    }  # fmt: skip
    assert found["dev-bbbb"].errors == {"rd_2": "no"}
    assert at == {"dev-aaaa": 2, "dev-bbbb": 2}
    assert all(row.hash == document_hash(row.document) for row in shop.rows(select(VERSIONS)))


def test_a_secret_that_did_not_change_is_not_sealed_anew(shop: Shop, it: TestClient) -> None:
    from tests.integration.control_plane.test_reader_settings import give_key  # noqa: PLC0415

    box(shop, rd_1="generic-zvt-tcp")
    give_key(shop)
    it.put("/v1/readers/rd_1/settings", json={"values": {"password": "271828"}})
    before = shop.rows(select(CONFIGS))[0]
    assert "271828" not in str(before.document)
    put(it, "organisation", lrc_mode="std")

    send(it)

    assert shop.rows(select(CONFIGS))[0].hash == before.hash
    seen = it.get("/v1/devices/dev-aaaa/configuration").json()
    assert seen["document"]["readers"]["rd_1"]["secrets"] == {"password": "•••"}


def test_other_merchants_and_cashiers_see_and_change_nothing(
    shop: Shop, make: Factory, it: TestClient
) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")
    stranger = make.client_as(make.merchant("Other"), Role.IT)
    cashier = make.client_as(shop.merchant_id, Role.CASHIER)
    before = counts(shop)

    assert stranger.get(LAYERS).json()["layers"] == []
    assert stranger.get("/v1/devices/dev-aaaa/configuration").status_code == 404
    assert (
        stranger.post("/v1/configuration/push", json={"device_ids": ["dev-aaaa"]}).status_code
        == 404
    )
    assert cashier.put(LAYERS, json={"kind": "organisation", "profiles": {}}).status_code == 403
    assert counts(shop) == before


def test_a_device_that_is_gone_is_not_sent_anything(shop: Shop, it: TestClient) -> None:
    box(shop, rd_1=ECR)
    put(it, "organisation", lrc_mode="std")
    with shop.parts.database.connection() as db:
        devices.revoke(db, Scope(shop.merchant_id), "dev-aaaa", by=SYSTEM)

    assert send(it)["device_ids"] == []
    assert settings_of(shop) == {}
