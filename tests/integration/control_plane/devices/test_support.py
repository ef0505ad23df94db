"""What a support person asks of a box: commands to it, its log as it comes, its bundles; and what nobody asked for."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from starlette.testclient import TestClient

from control_plane.accounts.permissions import Role
from control_plane.audit.actor import SYSTEM
from control_plane.devices import enrollment
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES
from control_plane.payments.models import COMMANDS
from control_plane.support import service
from control_plane.support.models import LOG_BUNDLES, LOG_LINES
from protocols.cloud import http
from protocols.cloud.commands import encode
from protocols.cloud.events import LogLines, Presence
from protocols.cloud.topics import Channel
from tests.fakes.clock import FakeClock
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop
from tests.fixtures.control_plane import Factory
from tests.support.certificates import csr_for

ZIP = b"PK\x03\x04 and so on"


@dataclass
class Box:
    """An enrolled device that is online."""

    client: TestClient
    shop: Shop
    key: ec.EllipticCurvePrivateKey
    id: str

    def put(self, path: str, body: bytes) -> Any:
        at = int(self.shop.clock.now().timestamp() * 1000)
        text = http.signed_text("PUT", path, at, body)
        signature = self.key.sign(text, ec.ECDSA(hashes.SHA256()))
        return self.client.put(
            path,
            content=body,
            headers={
                http.HEADER_DEVICE: self.id,
                http.HEADER_TIMESTAMP: str(at),
                http.HEADER_SIGNATURE: base64.b64encode(signature).decode(),
            },
        )

    def say(self, channel: Channel, payload: bytes) -> None:
        self.shop.say(DeviceOutbox(self.id, at=self.shop.clock.now()), channel, payload)

    def log(self, command_id: str, seq: int, *lines: str, **more: Any) -> None:
        self.say(
            Channel.LOG,
            encode(LogLines(command_id=command_id, seq=seq, lines=list(lines), **more)),
        )


@pytest.fixture
def box(shop: Shop, client: TestClient) -> Box:
    with shop.parts.database.transaction() as db:
        _, code = enrollment.issue_code(db, shop.scope, shop.location_id, by=SYSTEM)
    key = ec.generate_private_key(ec.SECP256R1())
    request = http.EnrollRequest(code=code.reveal(), csr_pem=csr_for(key), agent_version="1.0")
    answer = client.post(http.ENROLL, content=http.encode(request))
    enrolled = msgspec.json.decode(answer.content, type=http.Enrolled)
    made = Box(client, shop, key, enrolled.device_id)
    online = Presence(
        state="online", boot=1, conn=1, agent_version="1", ts=shop.clock.now().isoformat()
    )
    made.say(Channel.PRESENCE, encode(online))
    return made


@pytest.fixture
def it(shop: Shop, make: Factory, box: Box) -> TestClient:
    """The IT manager's program."""
    return make.client_as(shop.merchant_id, Role.IT)


def ask(it: TestClient, box: Box, kind: str, **more: Any) -> Any:
    return it.post(f"/v1/devices/{box.id}/commands", json={"kind": kind, **more})


def line(event: str, **more: str) -> str:
    return json.dumps({"event": event, "level": "info", **more})


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("restart", "agent.restart"),
        ("report", "agent.report"),
        ("renew_certificate", "agent.renew_certificate"),
        ("self_test", "agent.self_test"),
        ("log_tail", "agent.log_tail"),
        ("log_bundle", "agent.log_bundle"),
    ],
)
def test_a_command_waits_for_the_box_with_an_end(
    it: TestClient, box: Box, shop: Shop, kind: str, sent: str
) -> None:
    answer = ask(it, box, kind)

    assert (answer.status_code, answer.json()["kind"]) == (201, sent)
    [row] = shop.rows(select(COMMANDS).where(COMMANDS.c.device_id == box.id))
    assert timedelta(0) < row.expires_at - row.issued_at <= timedelta(minutes=5)


def test_a_box_that_is_away_is_asked_for_nothing(it: TestClient, box: Box, shop: Shop) -> None:
    with shop.parts.database.transaction() as db:
        db.execute(DEVICES.update().values(is_online=False))

    answer = ask(it, box, "restart")

    assert (answer.status_code, answer.json()["code"]) == (409, "device_offline")
    assert shop.rows(select(COMMANDS)) == []


def test_a_suspended_box_is_asked_for_nothing(it: TestClient, box: Box, shop: Shop) -> None:
    shop.set_state(box.id, DeviceState.SUSPENDED)

    answer = ask(it, box, "self_test")

    assert (answer.status_code, answer.json()["code"]) == (409, "device_may_not_work")
    assert shop.rows(select(COMMANDS)) == []


def test_the_lines_of_a_tail_can_be_read_in_their_order_and_once(it: TestClient, box: Box) -> None:
    command_id = ask(it, box, "log_tail", lines=10).json()["id"]
    box.log(command_id, 1, line("first", timestamp="2026-11-23T09:15:03Z"), line("second"))
    box.log(command_id, 1, line("first"), line("second"))
    box.log(command_id, 2, line("third"), last=True)

    found = it.get(f"/v1/devices/{box.id}/log").json()["items"]

    assert [json.loads(one["text"])["event"] for one in found] == ["third", "second", "first"]
    assert found[-1]["written_at"].startswith("2026-11-23T09:15:03")
    newer = it.get(f"/v1/devices/{box.id}/log", params={"after": found[1]["id"]}).json()["items"]
    assert [json.loads(one["text"])["event"] for one in newer] == ["third"]


def test_lines_that_nobody_asked_for_are_not_kept(it: TestClient, box: Box, shop: Shop) -> None:
    other = shop.device("dev-other")
    command_id = ask(it, box, "log_tail").json()["id"]

    box.log("cmd_made_up", 1, line("gossip"))
    shop.say(
        other, Channel.LOG, encode(LogLines(command_id=command_id, seq=1, lines=[line("forged")]))
    )
    shop.clock.advance(timedelta(minutes=21))
    box.log(command_id, 1, line("late"))

    assert shop.rows(select(LOG_LINES)) == []


def test_a_card_number_in_a_line_is_not_kept(it: TestClient, box: Box, shop: Shop) -> None:
    command_id = ask(it, box, "log_tail").json()["id"]

    box.log(command_id, 1, line("card 4111111111111111"), "no json at all \x00")

    kept = [row.text for row in shop.rows(select(LOG_LINES).order_by(LOG_LINES.c.id))]
    assert len(kept) == 2
    assert "4111111111111111" not in kept[0]
    assert kept[1] == "no json at all "


def test_lines_that_the_box_left_out_are_told(it: TestClient, box: Box, shop: Shop) -> None:
    command_id = ask(it, box, "log_tail").json()["id"]

    box.log(command_id, 1, line("after"), dropped=7)

    first, second = shop.rows(select(LOG_LINES).order_by(LOG_LINES.c.id))
    assert json.loads(first.text) == {"level": "warning", "event": "lines_left_out", "count": 7}
    assert json.loads(second.text)["event"] == "after"


def test_a_tail_that_never_ends_fills_nothing(
    it: TestClient, box: Box, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_LINES", 3)
    command_id = ask(it, box, "log_tail").json()["id"]

    for seq in range(1, 6):
        box.log(command_id, seq, line(f"{seq}"), line(f"{seq}"))

    assert len(shop.rows(select(LOG_LINES))) == 3


def test_a_bundle_that_was_asked_for_can_be_fetched_and_is_kept_once(
    it: TestClient, box: Box, shop: Shop
) -> None:
    command_id = ask(it, box, "log_bundle").json()["id"]

    assert box.put(f"{http.BUNDLE}/{command_id}", ZIP).status_code == 204
    assert box.put(f"{http.BUNDLE}/{command_id}", ZIP + b"again").status_code == 204

    [listed] = it.get(f"/v1/devices/{box.id}/log-bundles").json()["items"]
    assert listed["size"] == len(ZIP)
    fetched = it.get(f"/v1/devices/{box.id}/log-bundles/{command_id}")
    assert (fetched.content, fetched.headers["content-type"]) == (ZIP, "application/zip")


@pytest.mark.parametrize(
    ("command", "body", "status", "code"),
    [
        ("cmd_made_up", ZIP, 409, "bundle_not_wanted"),
        ("", b"<html>", 422, "bundle_unreadable"),
        ("", b"PK" + bytes(http.MAX_BUNDLE_BYTES), 422, "malformed_request"),
    ],
)
def test_a_bundle_that_is_none_is_not_kept(
    it: TestClient, box: Box, shop: Shop, command: str, body: bytes, status: int, code: str
) -> None:
    command = command or ask(it, box, "log_bundle").json()["id"]

    answer = box.put(f"{http.BUNDLE}/{command}", body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert shop.rows(select(LOG_BUNDLES)) == []


def test_a_bundle_for_another_box_is_not_taken(it: TestClient, box: Box, shop: Shop) -> None:
    command_id = ask(it, box, "log_bundle").json()["id"]
    with shop.parts.database.transaction() as db:
        db.execute(
            COMMANDS.update().where(COMMANDS.c.id == command_id).values(device_id="dev-other")
        )

    answer = box.put(f"{http.BUNDLE}/{command_id}", ZIP)

    assert answer.json()["code"] == "bundle_not_wanted"
    assert shop.rows(select(LOG_BUNDLES)) == []


def test_another_merchant_sees_neither_log_nor_bundle(
    it: TestClient, box: Box, make: Factory, clock: FakeClock
) -> None:
    command_id = ask(it, box, "log_bundle").json()["id"]
    box.put(f"{http.BUNDLE}/{command_id}", ZIP)
    stranger = make.client_as(make.merchant(), Role.OWNER)

    for path in ("log", "log-bundles", f"log-bundles/{command_id}"):
        assert stranger.get(f"/v1/devices/{box.id}/{path}").status_code == 404
    assert (
        stranger.post(f"/v1/devices/{box.id}/commands", json={"kind": "restart"}).status_code == 404
    )


def test_logs_are_forgotten_after_a_week(it: TestClient, box: Box, shop: Shop) -> None:
    tail = ask(it, box, "log_tail").json()["id"]
    bundle = ask(it, box, "log_bundle").json()["id"]
    box.log(tail, 1, line("old"))
    box.put(f"{http.BUNDLE}/{bundle}", ZIP)

    shop.clock.advance(timedelta(days=8))
    with shop.parts.database.transaction() as db:
        forgotten = service.forget_old(db)

    assert forgotten == 2
    assert shop.rows(select(LOG_LINES)) == shop.rows(select(LOG_BUNDLES)) == []
