"""Settings of readers: what is kept, what is refused, what the device gets, and who may."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.configuration.models import READER_SETTINGS
from control_plane.devices.models import CERTIFICATES, CONFIGS, DEVICES
from protocols.cloud.commands import encode
from protocols.cloud.configuration import document_hash, secret_purpose
from protocols.cloud.events import OutboxLevel, ReportedConfig, ReportedReader, ReportedState
from protocols.cloud.sealing import open_sealed
from protocols.cloud.topics import Channel
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop
from tests.fixtures.control_plane import Factory

KEY = ec.generate_private_key(ec.SECP256R1())
ADDRESS = "/v1/readers/rd_0001/settings"


@pytest.fixture
def it(shop: Shop, make: Factory) -> TestClient:
    """The IT manager's program."""
    report(shop)
    return make.client_as(shop.merchant_id, Role.IT)


def device(shop: Shop) -> DeviceOutbox:
    """The one box of the shop."""
    known = shop.rows(select(DEVICES.c.id))
    return DeviceOutbox(known[0].id, at=shop.clock.now()) if known else shop.device()


def report(
    shop: Shop, profile: str = "generic-zvt-tcp", config: ReportedConfig | None = None
) -> None:
    state = ReportedState(
        ts=shop.clock.now().isoformat(), boot=1, agent_version="1", accepts=[], epoch=1,
        config=config or ReportedConfig(), outbox=OutboxLevel(pending=0, oldest_s=0),
        readers=[
            ReportedReader(
                reader_id="rd_0001", name="counter-1", profile=profile, address="tcp://1", state="ready"
            )
        ],
    )  # fmt: skip
    shop.say(device(shop), Channel.STATE, encode(state))


def give_key(shop: Shop) -> None:
    pem = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with shop.parts.database.transaction() as db:
        db.execute(
            CERTIFICATES.insert().values(
                serial="01", device_id=device(shop).device_id, merchant_id=shop.merchant_id,
                fingerprint="ab", public_key=pem.decode(), issued_at=shop.clock.now(),
                not_after=shop.clock.now().replace(year=2099),
            )
        )  # fmt: skip


def put(client: TestClient, **values: Any) -> Any:
    return client.put(ADDRESS, json={"values": values})


def document(shop: Shop) -> dict[str, Any]:
    (row,) = shop.rows(select(CONFIGS))
    assert row.hash == document_hash(row.document)
    found: dict[str, Any] = row.document
    return found


def test_a_reader_tells_what_may_be_set_on_it(it: TestClient) -> None:
    told = it.get(ADDRESS).json()

    assert told["profile"] == "generic-zvt-tcp"
    assert (told["values"], told["secrets"], told["changed_by"]) == ({}, [], "")
    assert told["json_schema"]["properties"]["password"]["writeOnly"] is True


def test_a_value_is_kept_and_sent_to_the_device(shop: Shop, make: Factory) -> None:
    report(shop, "generic-ecr17-tcp")
    it = make.client_as(shop.merchant_id, Role.IT)

    answer = put(it, lrc_mode="stx", result_timeout_s=120)

    assert answer.status_code == 200
    assert answer.json()["effective"]["lrc_mode"] == "stx"
    assert answer.json()["effective"]["cash_register_id"] == "00000001"
    assert document(shop) == {
        "readers": {
            "rd_0001": {"settings": {"lrc_mode": "stx", "result_timeout_s": 120}, "secrets": {}}
        }
    }
    assert put(it, lrc_mode=None).json()["values"] == {"result_timeout_s": 120}
    assert it.get(ADDRESS).json()["sync"] == "pending"
    (row,) = shop.rows(select(CONFIGS))
    report(
        shop,
        "generic-ecr17-tcp",
        ReportedConfig(version=row.version, hash=row.hash, status="applied"),
    )
    assert it.get(ADDRESS).json()["sync"] == "in_sync"


@pytest.mark.parametrize(
    ("values", "code", "field"),
    [
        ({"lrc_mode": "none"}, "setting_not_choice", "lrc_mode"),
        ({"result_timeout_s": 1}, "setting_out_of_range", "result_timeout_s"),
        ({"terminal_id": "1"}, "setting_not_digits", "terminal_id"),
        ({"colour": "red"}, "setting_not_known", "colour"),
        ({"colour": None}, "setting_not_known", "colour"),
        ({"lrc_mode": "stx", "result_timeout_s": True}, "setting_out_of_range", "result_timeout_s"),
    ],
)
def test_a_value_that_is_not_taken_changes_nothing(
    shop: Shop, make: Factory, values: dict[str, Any], code: str, field: str
) -> None:
    report(shop, "generic-ecr17-tcp")
    it = make.client_as(shop.merchant_id, Role.IT)

    answer = put(it, **values)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert field in answer.json()["detail"]
    assert shop.rows(select(READER_SETTINGS)) == []
    assert shop.rows(select(CONFIGS)) == []


def test_a_secret_is_sealed_and_never_told_again(shop: Shop, it: TestClient) -> None:
    give_key(shop)

    answer = put(it, password="271828")

    assert (answer.status_code, answer.json()["secrets"]) == (200, ["password"])
    assert "271828" not in answer.text + it.get(ADDRESS).text
    (row,) = shop.rows(select(READER_SETTINGS))
    sent = document(shop)
    assert "271828" not in str(row) + str(sent)
    pem = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    sealed = sent["readers"]["rd_0001"]["secrets"]["password"]
    purpose = secret_purpose(device(shop).device_id, "rd_0001", "password")
    assert open_sealed(sealed, pem, purpose) == b"271828"
    assert "271828" not in it.get("/v1/audit-events").text
    assert put(it, password=None).json()["secrets"] == []
    assert document(shop)["readers"]["rd_0001"] == {"settings": {}, "secrets": {}}


def test_a_secret_for_a_box_that_cannot_open_it_is_refused(shop: Shop, it: TestClient) -> None:
    answer = put(it, password="271828")

    assert (answer.status_code, answer.json()["code"]) == (409, "reader_cannot_be_sealed_for")
    assert shop.rows(select(READER_SETTINGS)) == []


def test_an_unknown_model_has_nothing_to_set(shop: Shop, make: Factory) -> None:
    report(shop, "homemade")
    it = make.client_as(shop.merchant_id, Role.IT)

    assert it.get(ADDRESS).json()["code"] == "reader_model_unknown"
    assert put(it, password="271828").status_code == 409


def test_the_same_again_sends_nothing(shop: Shop, make: Factory) -> None:
    report(shop, "generic-ecr17-tcp")
    it = make.client_as(shop.merchant_id, Role.IT)
    put(it, lrc_mode="stx")
    (before,) = shop.rows(select(CONFIGS))

    put(it, lrc_mode="stx")

    (after,) = shop.rows(select(CONFIGS))
    assert after.version == before.version


def test_who_did_it_is_in_the_activity_log(it: TestClient, shop: Shop, make: Factory) -> None:
    give_key(shop)
    put(it, password="271828")

    owner = make.client_as(shop.merchant_id, Role.OWNER)
    tags = [one["tag"] for one in owner.get("/v1/audit-events").json()["items"]]
    assert "reader:settings:change" in tags


def test_a_cashier_may_look_and_not_change(shop: Shop, it: TestClient, make: Factory) -> None:
    cashier = make.client_as(shop.merchant_id, Role.CASHIER)
    stranger = make.client_as(make.merchant("Other"), Role.OWNER)

    assert it.get(ADDRESS).status_code == 200
    assert put(cashier, password="271828").status_code == 403
    assert (stranger.get(ADDRESS).status_code, put(stranger, password="271828").status_code) == (
        404,
        404,
    )
    assert shop.rows(select(READER_SETTINGS)) == []


def several(shop: Shop, profiles: dict[str, str]) -> None:
    """Readers of one box, by id."""
    shop.say(
        device(shop),
        Channel.STATE,
        encode(
            ReportedState(
                ts=shop.clock.now().isoformat(), boot=1, agent_version="1", accepts=[], epoch=1,
                config=ReportedConfig(), outbox=OutboxLevel(pending=0, oldest_s=0),
                readers=[
                    ReportedReader(
                        reader_id=reader_id, name=reader_id, profile=profile, address=reader_id, state="ready"
                    )
                    for reader_id, profile in profiles.items()
                ],
            )
        ),
    )  # fmt: skip


FOUR = {
    "rd_0001": "generic-ecr17-tcp",
    "rd_0002": "generic-ecr17-tcp",
    "rd_0003": "generic-zvt-tcp",
    "rd_0004": "homemade",
}


def put_many(client: TestClient, *reader_ids: str, dry_run: bool = False, **values: Any) -> Any:
    wish = {"reader_ids": reader_ids, "values": values, "dry_run": dry_run}
    return client.post("/v1/readers/settings", json=wish)


def test_a_change_for_many_tells_first_whom_it_touches_and_who_cannot_take_it(
    shop: Shop, it: TestClient
) -> None:
    several(shop, FOUR)

    told = put_many(it, *FOUR, dry_run=True, lrc_mode="stx").json()

    assert (told["changed"], told["same"]) == (["rd_0001", "rd_0002"], [])
    assert told["device_ids"] == [device(shop).device_id]
    assert [(one["reader_id"], one["code"]) for one in told["cannot"]] == [
        ("rd_0003", "setting_not_known"),
        ("rd_0004", "reader_model_unknown"),
    ]
    assert shop.rows(select(READER_SETTINGS)) == []
    assert shop.rows(select(CONFIGS)) == []


def test_a_change_for_many_is_one_configuration_for_their_box(shop: Shop, it: TestClient) -> None:
    several(shop, FOUR)
    put(it, lrc_mode="stx")

    told = put_many(it, *FOUR, "rd_0002", lrc_mode="stx").json()

    assert (told["changed"], told["same"]) == (["rd_0002"], ["rd_0001"])
    set_so = {"settings": {"lrc_mode": "stx"}, "secrets": {}}
    assert document(shop) == {"readers": {"rd_0001": set_so, "rd_0002": set_so}}
    (row,) = shop.rows(select(CONFIGS))
    assert row.version == 2


def test_a_box_that_can_open_no_secret_does_not_keep_the_others_from_it(
    shop: Shop, it: TestClient
) -> None:
    told = put_many(it, "rd_0001", password="271828").json()

    assert told["changed"] == []
    assert [one["code"] for one in told["cannot"]] == ["reader_cannot_be_sealed_for"]
    assert shop.rows(select(READER_SETTINGS)) == []


def test_one_reader_of_somebody_else_and_nothing_is_changed(
    shop: Shop, it: TestClient, make: Factory
) -> None:
    several(shop, FOUR)
    cashier = make.client_as(shop.merchant_id, Role.CASHIER)

    answer = put_many(it, "rd_0001", "rd_9999", lrc_mode="stx")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert put_many(cashier, "rd_0001", lrc_mode="stx").status_code == 403
    assert put_many(it, "rd_0001").status_code == 422
    assert shop.rows(select(READER_SETTINGS)) == []
    assert shop.rows(select(CONFIGS)) == []
