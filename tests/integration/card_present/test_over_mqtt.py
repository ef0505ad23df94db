"""A device asks for a card over a real broker, while claims are answered as ever."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from control_plane.card_present.processor import Approved, AuthorizationRequest
from control_plane.card_present.service import CardPresent
from protocols.cloud.commands import AuthorizationAnswer, Grant, encode
from protocols.cloud.events import AuthorizationAsk, Claim
from protocols.cloud.topics import Channel
from tests.fakes.card_processor import FakeCardProcessor, FakeCardProcessors, approve
from tests.fakes.mqtt_device import MqttDevice
from tests.fixtures.brokers import Cell, Kind
from tests.support.card_sessions import add_account, add_reader, add_session, ask_for
from tests.support.waiting import eventually

MakeCell = Callable[[Kind, str], Cell]


def started(make_cell: MakeCell, kind: Kind, url: str, processor: FakeCardProcessor) -> Cell:
    cell = make_cell(kind, url)
    parts = cell.parts
    parts.provide(
        CardPresent, CardPresent(parts.database, FakeCardProcessors(processor), parts.clock)
    )
    cell.run()
    return cell


def a_sale(cell: Cell, device: MqttDevice) -> AuthorizationAsk:
    now = cell.parts.clock.now()
    with cell.parts.database.connection() as db:
        add_account(db, cell.merchant_id, now)
        add_reader(db, cell.merchant_id, cell.location_id, device.device_id, now)
        session = add_session(db, cell.merchant_id, cell.location_id, device.device_id, now)
    return ask_for(session)


def answers(device: MqttDevice) -> list[AuthorizationAnswer]:
    found = device.payloads(Channel.AUTHORIZATION)
    return [msgspec.json.decode(one, type=AuthorizationAnswer) for one in found]


def test_a_card_gets_its_answer_and_the_same_one_again(
    make_cell: MakeCell, broker_kind: Kind, sqlite_url: str
) -> None:
    processor = FakeCardProcessor()
    cell = started(make_cell, broker_kind, sqlite_url, processor)
    device = cell.device()
    ask = a_sale(cell, device)

    device.publish(Channel.AUTHORIZE, encode(ask))
    eventually(lambda: len(answers(device)) == 1, 15)
    device.publish(Channel.AUTHORIZE, encode(ask))
    eventually(lambda: len(answers(device)) == 2, 15)

    first, second = answers(device)
    assert first == second
    assert (first.status, first.response_code) == ("approved", "00")
    assert first.issuer_data == bytes.fromhex("910A00112233445566773030")
    assert len(processor.asked) == 1


def test_claims_are_answered_while_the_processor_thinks(
    make_cell: MakeCell, sqlite_url: str
) -> None:
    may_answer = threading.Event()

    def slowly(request: AuthorizationRequest) -> Approved:
        may_answer.wait(30)
        return approve(request)

    processor = FakeCardProcessor(answer=slowly)
    cell = started(make_cell, "embedded_nats", sqlite_url, processor)
    device = cell.device()
    device.publish(Channel.AUTHORIZE, encode(a_sale(cell, device)))
    eventually(lambda: len(processor.asked) == 1, 15)

    claim = Claim(command_id="cmd_nobodys", nonce="nonce-0001")
    device.publish(Channel.CLAIM, encode(claim))
    eventually(lambda: bool(device.payloads(Channel.GRANT)), 15)

    grant = msgspec.json.decode(device.payloads(Channel.GRANT)[-1], type=Grant)
    assert grant.reason == "unknown_command"
    assert answers(device) == []
    may_answer.set()
    eventually(lambda: [one.status for one in answers(device)] == ["approved"], 15)
