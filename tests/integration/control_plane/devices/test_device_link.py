"""What devices ask over HTTPS, as a device would ask it."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from httpx2 import Response
from sqlalchemy import select
from starlette.testclient import TestClient

from control_plane.audit.actor import SYSTEM
from control_plane.card_present.service import CardPresent
from control_plane.devices import enrollment, service
from control_plane.devices.models import DEVICES
from control_plane.payments.commands import issue_command
from protocols.cloud import http
from protocols.cloud.commands import ReportNow, encode
from protocols.cloud.events import Claim
from tests.fakes.card_processor import FakeCardProcessor, FakeCardProcessors
from tests.fakes.clock import FakeClock
from tests.fakes.device_outbox import DeviceOutbox
from tests.fakes.fleet import Shop
from tests.support.card_sessions import add_account, add_reader, add_session, ask_for
from tests.support.certificates import csr_for


@dataclass
class Box:
    """A device that speaks HTTPS: signs what it asks."""

    client: TestClient
    clock: FakeClock
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    enrolled: http.Enrolled | None = None

    @property
    def device_id(self) -> str:
        return self.enrolled.device_id if self.enrolled else "dev-nobody"

    def enrol(self, code: str) -> Response:
        request = http.EnrollRequest(code=code, csr_pem=csr_for(self.key), agent_version="1.0")
        answer = self.client.post(http.ENROLL, content=http.encode(request))
        if answer.status_code == 201:
            self.enrolled = msgspec.json.decode(answer.content, type=http.Enrolled)
        return answer

    def ask(self, method: str, path: str, body: bytes = b"", **changed: Any) -> Response:
        """A signed request; ``changed`` are what a forger would change after signing."""
        at = int(self.clock.now().timestamp() * 1000) + changed.get("skew_ms", 0)
        signature = self.key.sign(
            http.signed_text(method, path, at, body), ec.ECDSA(hashes.SHA256())
        )
        return self.client.request(
            changed.get("other_method", method),
            changed.get("other_path", path),
            content=changed.get("other_body", body),
            headers={
                http.HEADER_DEVICE: changed.get("device_id", self.device_id),
                http.HEADER_TIMESTAMP: str(changed.get("timestamp", at)),
                http.HEADER_SIGNATURE: base64.b64encode(signature).decode(),
            },
        )

    def upload(self, *payloads: bytes, channel: str = "up/tx", **changed: Any) -> Response:
        messages = [http.UpMessage(channel=channel, payload=one.decode()) for one in payloads]
        return self.ask(
            "POST", http.OUTBOX, http.encode(http.OutboxUpload(messages=messages)), **changed
        )

    def outbox(self) -> DeviceOutbox:
        return DeviceOutbox(self.device_id, at=self.clock.now())


def problem(answer: Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


def a_code(shop: Shop) -> str:
    with shop.parts.database.transaction() as db:
        _, code = enrollment.issue_code(db, shop.scope, shop.location_id, by=SYSTEM)
    return code.reveal()


@pytest.fixture
def box(shop: Shop, client: TestClient, clock: FakeClock) -> Box:
    """A box that is enrolled."""
    made = Box(client, clock)
    assert made.enrol(a_code(shop)).status_code == 201
    return made


def test_a_card_gets_its_answer_over_https(box: Box, shop: Shop, clock: FakeClock) -> None:
    processor = FakeCardProcessor()
    shop.parts.provide(
        CardPresent, CardPresent(shop.parts.database, FakeCardProcessors(processor), clock)
    )
    merchant_id, now = shop.scope.merchant_id, clock.now()
    with shop.parts.database.connection() as db:
        add_account(db, merchant_id, now)
        add_reader(db, merchant_id, shop.location_id, box.device_id, now)
        session_id = add_session(db, merchant_id, shop.location_id, box.device_id, now)
    ask = encode(ask_for(session_id))

    answers = [box.ask("POST", http.AUTHORIZATION, ask) for _ in range(2)]

    replies = [msgspec.json.decode(one.content, type=http.AuthorizationReply) for one in answers]
    assert [one.answer.status for one in replies] == ["approved", "approved"]
    assert replies[0].answer == replies[1].answer
    assert len(processor.asked) == 1
    assert problem(box.ask("POST", http.AUTHORIZATION, ask, other_body=b"{}"))[0] == 401


def test_a_code_and_a_request_give_a_box_all_that_it_needs(
    box: Box, shop: Shop, clock: FakeClock
) -> None:
    enrolled = box.enrolled

    assert enrolled is not None
    certificate = x509.load_pem_x509_certificate(enrolled.certificate_pem.encode())
    ca = x509.load_pem_x509_certificate(enrolled.ca_pem.encode())
    certificate.verify_directly_issued_by(ca)
    assert (enrolled.merchant_name, enrolled.location_name) == ("Café Lumière", "Lyon")
    assert (enrolled.cell, enrolled.epoch) == ("00", 1)
    assert enrolled.server_ms == int(clock.now().timestamp() * 1000)
    assert [row.id for row in shop.rows(select(DEVICES))] == [enrolled.device_id]


def test_a_wrong_code_is_refused_with_a_reason(
    shop: Shop, client: TestClient, clock: FakeClock
) -> None:
    answer = Box(client, clock).enrol("AAAA-AAAA")

    assert problem(answer) == (403, "enrollment_code_refused")
    assert answer.json()["facts"]["why"] == "unknown"
    assert shop.rows(select(DEVICES)) == []


def test_a_body_that_is_no_request_is_refused_by_name(client: TestClient) -> None:
    answer = client.post(http.ENROLL, content=b'{"code":"x"}')

    assert problem(answer) == (422, "malformed_request")
    assert "code" in answer.json()["detail"]


def test_messages_over_https_are_taken_in_as_over_mqtt(box: Box, shop: Shop) -> None:
    outbox = box.outbox()
    payloads = [outbox.sale(), outbox.sale()]

    first = box.upload(*payloads)
    again = box.upload(*payloads)

    answers = [msgspec.json.decode(one.content, type=http.OutboxAnswer) for one in (first, again)]
    assert [(one.acks[0].stream, one.acks[0].upto) for one in answers] == [("tx", 2), ("tx", 2)]
    assert shop.seqs() == [1, 2]
    assert first.headers[http.HEADER_TIME] == str(answers[0].server_ms)


@pytest.mark.parametrize(
    "changed",
    [
        {"other_body": b'{"messages":[]}'},
        {"other_method": "GET"},
        {"other_path": http.OUTBOX + "?x=1"},
        {"timestamp": 1},
        {"device_id": "dev-somebody-else"},
        {"device_id": ""},
    ],
    ids=["body", "method", "path", "time", "device", "nobody"],
)
def test_what_was_not_signed_is_not_believed(box: Box, shop: Shop, changed: dict[str, Any]) -> None:
    answer = box.upload(box.outbox().sale(), **changed)

    assert answer.status_code in (401, 405)
    assert shop.ledger() == []


def test_a_request_without_a_signature_is_not_believed(client: TestClient, shop: Shop) -> None:
    answer = client.post(http.OUTBOX, content=b'{"messages":[]}')

    assert problem(answer) == (401, "device_not_trusted")
    assert shop.ledger() == []


def test_a_device_speaks_only_for_itself(box: Box, shop: Shop, clock: FakeClock) -> None:
    other = Box(box.client, clock)
    other.enrol(a_code(shop))

    answer = box.upload(other.outbox().sale(), device_id=other.device_id)

    assert problem(answer) == (401, "device_not_trusted")
    assert shop.ledger() == []


@pytest.mark.parametrize("skew_ms", [-301_000, 301_000])
def test_a_clock_that_is_off_is_told_our_time(
    box: Box, shop: Shop, skew_ms: int, clock: FakeClock
) -> None:
    answer = box.upload(box.outbox().sale(), skew_ms=skew_ms)

    assert problem(answer) == (401, "clock_skew")
    assert answer.headers[http.HEADER_TIME] == str(int(clock.now().timestamp() * 1000))
    assert shop.ledger() == []
    assert box.upload(box.outbox().sale(), skew_ms=skew_ms // 2).status_code == 200


def test_a_revoked_device_is_not_believed_any_more(box: Box, shop: Shop) -> None:
    with shop.parts.database.transaction() as db:
        service.revoke(db, shop.scope, box.device_id, by=SYSTEM)

    answer = box.upload(box.outbox().sale())

    assert problem(answer) == (401, "device_not_trusted")
    assert shop.ledger() == []


def test_a_certificate_that_has_run_out_signs_nothing(
    box: Box, shop: Shop, clock: FakeClock
) -> None:
    clock.advance(timedelta(days=91))

    assert problem(box.upload(box.outbox().sale())) == (401, "device_not_trusted")
    assert shop.ledger() == []


def test_a_device_renews_with_a_new_key_and_both_count(
    box: Box, shop: Shop, clock: FakeClock
) -> None:
    renewed = Box(box.client, clock, enrolled=box.enrolled)
    body = http.encode(http.RenewRequest(csr_pem=csr_for(renewed.key)))

    answer = msgspec.json.decode(box.ask("POST", http.RENEW, body).content, type=http.Renewed)

    fresh = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
    assert fresh.public_key() == renewed.key.public_key()
    outbox = box.outbox()
    assert box.upload(outbox.sale()).status_code == 200
    assert renewed.upload(outbox.sale()).status_code == 200
    assert shop.seqs() == [1, 2]


@pytest.mark.parametrize("channel", ["dn/cmd", "up/nothing", "up/tx/../../x"])
def test_a_device_sends_only_what_goes_up(box: Box, shop: Shop, channel: str) -> None:
    answer = box.upload(box.outbox().sale(), channel=channel)

    assert problem(answer) == (422, "malformed_request")
    assert shop.ledger() == []


def test_a_message_that_is_too_large_is_refused(box: Box, shop: Shop) -> None:
    answer = box.upload(b"x" * 40_000)

    assert problem(answer) == (422, "malformed_request")
    assert shop.quarantined() == []


def a_command(shop: Shop, device_id: str) -> str:
    with shop.parts.database.transaction() as db:
        return issue_command(
            db,
            merchant_id=shop.merchant_id,
            device_id=device_id,
            body=ReportNow(),
            issued_by="usr_1",
        )


def desired(answer: Response) -> http.Desired:
    return msgspec.json.decode(answer.content, type=http.Desired)


def test_a_device_is_told_what_it_should_do_and_be(box: Box, shop: Shop) -> None:
    command_id = a_command(shop, box.device_id)
    a_command(shop, shop.device("dev-other").device_id)
    with shop.parts.database.transaction() as db:
        service.desire_config(db, shop.scope, box.device_id, {"volume": 3}, by=SYSTEM)

    told = desired(box.ask("GET", http.DESIRED))

    assert [one.id for one in told.commands] == [command_id]
    assert told.config is not None
    assert told.config.document == {"volume": 3}
    known = desired(box.ask("GET", f"{http.DESIRED}?config_hash={told.config.hash}"))
    assert known.config is None


def test_a_device_that_waits_is_told_at_once(
    sqlite_shop: Shop, sqlite_client: TestClient, clock: FakeClock
) -> None:
    box = Box(sqlite_client, clock)
    box.enrol(a_code(sqlite_shop))
    answers: list[http.Desired] = []
    waiting = threading.Thread(
        target=lambda: answers.append(desired(box.ask("GET", f"{http.DESIRED}?wait=30")))
    )
    began = time.monotonic()
    waiting.start()
    while not sqlite_shop.parts.live.watchers:
        assert time.monotonic() - began < 10

    command_id = a_command(sqlite_shop, box.device_id)
    waiting.join(10)

    assert [one.id for one in answers[0].commands] == [command_id]
    assert time.monotonic() - began < 10


def test_a_device_that_waits_for_nothing_gets_nothing_in_time(box: Box) -> None:
    began = time.monotonic()

    told = desired(box.ask("GET", f"{http.DESIRED}?wait=1"))

    assert (told.commands, told.config, told.resend) == ([], None, [])
    assert 0.9 < time.monotonic() - began < 5


def test_what_is_missing_is_asked_for_over_https_too(
    box: Box, shop: Shop, clock: FakeClock
) -> None:
    outbox = box.outbox()
    outbox.sale()
    box.upload(outbox.sale())
    clock.advance(61)

    told = desired(box.ask("GET", http.DESIRED))

    assert [(one.stream, one.upto, one.resend) for one in told.resend] == [("tx", 0, [(1, 1)])]
    assert desired(box.ask("GET", http.DESIRED)).resend == []


def test_a_claim_of_a_command_that_nobody_issued_is_not_granted(box: Box) -> None:
    answer = box.ask("POST", http.CLAIM, encode(Claim(command_id="cmd_none", nonce="12345678")))

    grant = msgspec.json.decode(answer.content, type=http.ClaimAnswer).grant
    assert (grant.granted, grant.reason) == (False, "unknown_command")


def test_the_device_link_is_not_described_to_programs(sqlite_app: FastAPI) -> None:
    assert not [path for path in sqlite_app.openapi()["paths"] if path.startswith("/v1/device/")]
