"""Releases and updates of readers: what is kept and signed, what is ordered, what is refused, and who may."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select
from starlette.testclient import TestClient

from agent.firmware.downloads import check_signature
from control_plane.accounts.permissions import Role
from control_plane.audit.actor import SYSTEM
from control_plane.devices import enrollment
from control_plane.devices.models import EVENTS
from control_plane.firmware.models import RELEASES, UPDATES
from control_plane.payments.models import COMMANDS
from protocols.cloud import http
from protocols.cloud.commands import UpdateReader, encode
from protocols.cloud.events import (
    CommandResult,
    JobProgress,
    OutboxLevel,
    ReportedConfig,
    ReportedReader,
    ReportedState,
)
from protocols.cloud.topics import Channel, Stream
from tests.fakes.clock import FakeClock
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop
from tests.fixtures.control_plane import Factory
from tests.support.certificates import csr_for

OLD, NEW = "GER-APP-v2.0.9", "GER-APP-v2.0.12"
CONTENT = b"vendor's image " * 1000
READER = "rd_0001"


@dataclass
class Box:
    """An enrolled device with one reader."""

    client: TestClient
    clock: FakeClock
    key: ec.EllipticCurvePrivateKey
    enrolled: http.Enrolled
    outbox: DeviceOutbox

    def get(self, path: str) -> Any:
        at = int(self.clock.now().timestamp() * 1000)
        signature = self.key.sign(http.signed_text("GET", path, at, b""), ec.ECDSA(hashes.SHA256()))
        return self.client.get(
            path,
            headers={
                http.HEADER_DEVICE: self.enrolled.device_id,
                http.HEADER_TIMESTAMP: str(at),
                http.HEADER_SIGNATURE: base64.b64encode(signature).decode(),
            },
        )


def enrolled_box(shop: Shop, client: TestClient, clock: FakeClock) -> Box:
    with shop.parts.database.transaction() as db:
        _, code = enrollment.issue_code(db, shop.scope, shop.location_id, by=SYSTEM)
    key = ec.generate_private_key(ec.SECP256R1())
    request = http.EnrollRequest(code=code.reveal(), csr_pem=csr_for(key), agent_version="1.0")
    answer = client.post(http.ENROLL, content=http.encode(request))
    enrolled = msgspec.json.decode(answer.content, type=http.Enrolled)
    return Box(client, clock, key, enrolled, DeviceOutbox(enrolled.device_id, at=clock.now()))


@pytest.fixture
def box(shop: Shop, client: TestClient, clock: FakeClock) -> Box:
    made = enrolled_box(shop, client, clock)
    report(shop, made)
    return made


@pytest.fixture
def it(shop: Shop, make: Factory, box: Box) -> TestClient:
    """The IT manager's program."""
    return make.client_as(shop.merchant_id, Role.IT)


def report(shop: Shop, box: Box, version: str = OLD, profile: str = "feig-cvend-plug") -> None:
    reader = ReportedReader(
        reader_id=READER, name="counter-1", profile=profile, address="tcp://1", state="ready",
        software_version=version,
    )  # fmt: skip
    state = ReportedState(
        ts=shop.clock.now().isoformat(), boot=1, agent_version="1", accepts=[], epoch=1,
        config=ReportedConfig(), outbox=OutboxLevel(pending=0, oldest_s=0), readers=[reader],
    )  # fmt: skip
    shop.say(box.outbox, Channel.STATE, encode(state))


def announce(client: TestClient, **changes: Any) -> Any:
    wanted = {
        "profile": "feig-cvend-plug",
        "component": "app",
        "version": NEW,
        "number": 16,
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "is_vendor_signed": True,
    }
    return client.post("/v1/firmware-releases", json=wanted | changes)


def a_release(client: TestClient, **changes: Any) -> str:
    release_id = str(announce(client, **changes).json()["id"])
    client.put(f"/v1/firmware-releases/{release_id}/file", content=CONTENT)
    return release_id


def order(client: TestClient, release_id: str | None, **more: Any) -> Any:
    return client.post(
        f"/v1/readers/{READER}/firmware-updates", json={"release_id": release_id, **more}
    )


def progress(shop: Shop, box: Box, job_id: str, state: str, **more: Any) -> None:
    message = JobProgress(job_id=job_id, reader_id=READER, state=state, **more)
    shop.send(box.outbox, box.outbox.put(Stream.JOBS, message), stream=Stream.JOBS)


def ordered_commands(shop: Shop) -> list[Any]:
    return shop.rows(select(COMMANDS).where(COMMANDS.c.kind == "reader.update"))


# --- releases ---


def test_a_file_comes_in_pieces_and_is_signed_when_it_is_complete(
    it: TestClient, shop: Shop, box: Box
) -> None:
    release_id = announce(it).json()["id"]
    address = f"/v1/firmware-releases/{release_id}/file"

    first = it.put(address, content=CONTENT[:9000])
    doubled = it.put(address, content=CONTENT[:9000])
    last = it.put(f"{address}?offset=9000", content=CONTENT[9000:])

    assert first.json() == {"received": 9000, "size": len(CONTENT), "state": "uploading"}
    assert (doubled.status_code, doubled.json()["facts"]["expected"]) == (409, 9000)
    assert last.json()["state"] == "ready"
    (row,) = shop.rows(select(RELEASES))
    assert row.signature
    assert [one["version"] for one in it.get("/v1/firmware-releases").json()["items"]] == [NEW]


def test_another_file_than_was_announced_is_thrown_away(
    it: TestClient, shop: Shop, box: Box
) -> None:
    release_id = announce(it).json()["id"]
    address = f"/v1/firmware-releases/{release_id}/file"

    answer = it.put(address, content=CONTENT[:-1] + b"!")

    assert (answer.status_code, answer.json()["code"]) == (422, "firmware_file_altered")
    assert it.put(address, content=CONTENT).json()["state"] == "ready"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"profile": "no-such-model"}, 422, "firmware_release_refused"),
        ({"profile": "generic-zvt-tcp"}, 422, "firmware_release_refused"),
        ({"size": 200_000_000}, 422, "firmware_release_refused"),
        ({"channel": "nightly"}, 422, "firmware_release_refused"),
    ],
)
def test_what_no_reader_could_take_is_not_kept(
    it: TestClient, shop: Shop, changes: dict[str, Any], status: int, code: str
) -> None:
    answer = announce(it, **changes)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert shop.rows(select(RELEASES)) == []


def test_the_same_version_twice_is_refused(it: TestClient, shop: Shop) -> None:
    announce(it)

    assert announce(it).json()["code"] == "firmware_release_known"
    assert len(shop.rows(select(RELEASES))) == 1


# --- updates ---


def test_an_order_reaches_the_device_with_a_release_that_it_believes(
    it: TestClient, shop: Shop, box: Box
) -> None:
    release_id = a_release(it)

    answer = order(it, release_id, end_of_day=True)

    assert answer.status_code == 201
    ordered = answer.json()
    assert (ordered["state"], ordered["version_before"], ordered["version"]) == (
        "ordered",
        OLD,
        NEW,
    )
    (command,) = ordered_commands(shop)
    body = msgspec.convert(command.body, UpdateReader)
    assert (body.job_id, body.reader_id, body.end_of_day) == (ordered["id"], READER, True)
    assert body.release is not None
    check_signature(body.release, box.enrolled.ca_pem.encode())
    (file,) = body.release.files
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()
    pieces = [
        box.get(f"{file.path}?offset={at}&length=4000") for at in range(0, len(CONTENT), 4000)
    ]
    assert b"".join(piece.content for piece in pieces) == CONTENT


def test_a_device_of_another_merchant_gets_no_file(
    it: TestClient, shop: Shop, client: TestClient, clock: FakeClock, make: Factory
) -> None:
    release_id = a_release(it)
    merchant = make.merchant()
    other = Shop(shop.parts, clock, merchant, make.location(merchant))
    stranger = enrolled_box(other, client, clock)

    answer = stranger.get(f"/v1/device/firmware/{release_id}/16?offset=0&length=10")
    unsigned = client.get(f"/v1/device/firmware/{release_id}/16?offset=0&length=10")

    assert answer.status_code == 404
    assert unsigned.status_code in {401, 403}


def test_what_the_device_tells_is_shown_until_it_ends(it: TestClient, shop: Shop, box: Box) -> None:
    job_id = order(it, a_release(it)).json()["id"]
    address = f"/v1/readers/{READER}/firmware-updates"

    progress(shop, box, job_id, "transferring", percent=40)
    halfway = it.get(address).json()["items"][0]
    progress(shop, box, job_id, "done", percent=100, text=f"It runs {NEW} now.")
    progress(shop, box, job_id, "transferring", percent=50)
    last = it.get(address).json()["items"][0]

    assert (halfway["state"], halfway["percent"], halfway["finished_at"]) == (
        "transferring",
        40,
        None,
    )
    assert (last["state"], last["text"]) == ("done", f"It runs {NEW} now.")
    assert last["finished_at"] is not None
    # How far it is, is no event.
    kinds = shop.rows(select(EVENTS).where(EVENTS.c.kind == "job.progress"))
    assert [row.facts["state"] for row in kinds] == ["done"]


def test_a_strangers_progress_changes_nothing(it: TestClient, shop: Shop, box: Box) -> None:
    job_id = order(it, a_release(it)).json()["id"]
    other = shop.device("dev-other")

    message = JobProgress(job_id=job_id, reader_id=READER, state="done")
    shop.send(other, other.put(Stream.JOBS, message), stream=Stream.JOBS)

    (row,) = shop.rows(select(UPDATES))
    assert row.state == "ordered"


def test_the_devices_refusal_is_shown_and_another_order_may_follow(
    it: TestClient, shop: Shop, box: Box
) -> None:
    release_id = a_release(it)
    order(it, release_id)
    running = order(it, release_id)
    (command,) = ordered_commands(shop)

    result = CommandResult(
        command_id=command.id, status="refused", code="quarantined", text="It failed before."
    )
    shop.send(box.outbox, box.outbox.put(Stream.RESULTS, result), stream=Stream.RESULTS)
    shown = it.get(f"/v1/readers/{READER}/firmware-updates").json()["items"][0]
    again = order(it, release_id, despite_failure=True)

    assert running.json()["code"] == "firmware_update_running"
    assert (shown["state"], shown["text"]) == ("failed", "It failed before.")
    assert again.status_code == 201
    assert [row.state for row in shop.rows(select(UPDATES).order_by(UPDATES.c.id))] == [
        "failed",
        "ordered",
    ]


@pytest.mark.parametrize(
    ("version", "changes", "reason"),
    [
        (NEW, {}, "current"),
        ("GER-APP-v2.1.0", {}, "downgrade_denied"),
        ("no version at all", {}, "unknown_version"),
        ("FRA-APP-v2.0.9", {}, "other_variant"),
        (OLD, {"is_vendor_signed": False}, "not_vendor_signed"),
        (OLD, {"min_current": "GER-APP-v2.0.11"}, "no_path"),
    ],
)
def test_the_planner_refuses_with_its_reasons_and_nothing_is_sent(
    it: TestClient, shop: Shop, box: Box, version: str, changes: dict[str, Any], reason: str
) -> None:
    report(shop, box, version)
    release_id = a_release(it, **changes)

    answer = order(it, release_id)

    assert (answer.status_code, answer.json()["code"]) == (409, "firmware_update_refused")
    assert reason in answer.json()["facts"]["reasons"]
    assert ordered_commands(shop) == []
    assert shop.rows(select(UPDATES)) == []


def test_a_withdrawn_release_is_not_ordered(it: TestClient, shop: Shop) -> None:
    release_id = a_release(it)
    it.post(f"/v1/firmware-releases/{release_id}/withdraw")

    assert order(it, release_id).json()["facts"]["reasons"] == "withdrawn"
    assert ordered_commands(shop) == []


def test_a_release_is_nobody_elses(it: TestClient, shop: Shop, make: Factory) -> None:
    release_id = a_release(it)
    other = make.client_as(make.merchant(), Role.OWNER)

    assert other.get("/v1/firmware-releases").json()["items"] == []
    assert other.post(f"/v1/firmware-releases/{release_id}/withdraw").status_code == 404
    assert order(other, release_id).status_code == 404


@pytest.mark.parametrize("role", [Role.CASHIER, Role.MANAGER, Role.ACCOUNTANT])
def test_only_those_who_manage_devices_may(
    it: TestClient, shop: Shop, make: Factory, role: Role
) -> None:
    release_id = a_release(it)
    client = make.client_as(shop.merchant_id, role)

    assert order(client, release_id).status_code == 403
    assert announce(client, version="GER-APP-v3.0.0").status_code == 403
    assert ordered_commands(shop) == []


# --- the reader's page ---


def test_the_readers_page_offers_what_may_be_installed_and_shows_how_it_goes(
    it: TestClient, shop: Shop, box: Box, make: Factory
) -> None:
    release_id = a_release(it)
    a_release(it, version="GER-APP-v2.0.8")
    page = it.get(f"/readers/{READER}").text
    cashier = make.client_as(shop.merchant_id, Role.CASHIER).get(f"/readers/{READER}").text

    answer = it.post(
        f"/readers/{READER}/firmware-update",
        data={"release_id": release_id},
        follow_redirects=False,
    )
    ordered = it.get(f"/readers/{READER}").text
    (command,) = ordered_commands(shop)
    progress(shop, box, command.body["job_id"], "transferring", percent=40)
    halfway = it.get(f"/readers/{READER}").text

    assert f'<option value="{release_id}">{NEW}</option>' in page
    assert "GER-APP-v2.0.8" not in page
    assert "firmware-update" not in cashier
    assert (answer.status_code, answer.headers["location"]) == (303, f"/readers/{READER}")
    assert command.body["end_of_day"] is True
    assert "Update ordered" in ordered
    assert f"{NEW}, 40 %" in halfway


def test_a_refused_order_says_why_on_the_readers_page(it: TestClient, shop: Shop, box: Box) -> None:
    release_id = a_release(it)
    report(shop, box, "GER-APP-v2.1.0")

    answer = it.post(f"/readers/{READER}/firmware-update", data={"release_id": release_id})

    assert answer.status_code == 409
    assert "is not set back" in answer.text
    assert ordered_commands(shop) == []
