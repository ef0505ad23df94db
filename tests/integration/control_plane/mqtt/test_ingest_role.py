"""Ingest and gateway between a real broker and a real database, while either end dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from control_plane.audit.actor import SYSTEM
from control_plane.clock import SystemClock
from control_plane.devices import service
from control_plane.mqtt.broker import Clients
from control_plane.mqtt.ingest import IngestService
from control_plane.mqtt.wire import Message, WireClient, WireError
from control_plane.parts import ProcessRole
from control_plane.payments.commands import issue_command
from protocols.cloud.commands import (
    Ack,
    Command,
    DesiredConfig,
    Grant,
    ReportNow,
    TimeAnswer,
    encode,
)
from protocols.cloud.events import Claim, CommandResult, SessionStep, TimeAsk
from protocols.cloud.topics import Channel, Stream
from tests.fakes.mqtt_device import MqttDevice
from tests.fixtures.brokers import Cell, Kind
from tests.fixtures.control_plane import SECRET
from tests.support.waiting import eventually

BOTH_OF_BOTH = pytest.mark.parametrize("database", ["sqlite", "postgres"])


def has_more_than(cell: Cell, count: int) -> bool:
    return cell.count() > count


def hears_ingest(device: MqttDevice) -> bool:
    device.listen()
    states = [one.payload for one in device.heard if one.topic == "fl/1/00/_svc/state"]
    return bool(states) and b'"up":true' in states[-1]


class Leader:
    """Leads from the start until it is told not to."""

    def __init__(self) -> None:
        self.leads = True

    def is_mine(self) -> bool:
        return self.leads

    def give_up(self) -> None:
        self.leads = False


@pytest.fixture
def any_cell(broker_kind: Kind, database: str, request: pytest.FixtureRequest) -> Cell:
    """Each kind of broker with each kind of database."""
    # The database first, so that it is taken away last.
    url = request.getfixturevalue(f"{database}_url")
    make: Callable[[Kind, str], Cell] = request.getfixturevalue("make_cell")
    return make(broker_kind, url)


@contextmanager
def ingest_process(cell: Cell) -> Iterator[subprocess.Popen[bytes]]:
    """``omnitill ingest`` as it is started in production, in a process that can be killed."""
    settings = cell.parts.settings
    environment = {
        **os.environ,
        "OMNITILL_MODE": "test",
        "OMNITILL_DATA_DIR": str(settings.data_dir),
        "OMNITILL_DATABASE_URL": settings.effective_database_url,
        "OMNITILL_SECRET_KEY": SECRET,
        "OMNITILL_BROKER__KIND": settings.broker.kind,
        "OMNITILL_BROKER__PORT": str(settings.broker.port),
        "OMNITILL_LOG__LEVEL": "warning",
    }
    code = "import sys; from control_plane.cli import main; sys.exit(main(['ingest']))"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@BOTH_OF_BOTH
def test_sales_go_through_the_broker_into_the_ledger_and_are_acknowledged(any_cell: Cell) -> None:
    any_cell.run()
    device = any_cell.device()

    device.sell(50)
    device.until_acknowledged(50)

    assert any_cell.sold(device) == list(range(1, 51))


@pytest.mark.slow
@pytest.mark.timeout(240)
@BOTH_OF_BOTH
def test_sales_are_taken_in_once_though_ingest_is_killed_again_and_again(any_cell: Cell) -> None:
    any_cell.run(ProcessRole.BROKER)
    devices = [any_cell.device() for _ in range(3)]
    for round_ in range(4):
        with ingest_process(any_cell) as process:
            # Before its first time the broker keeps nothing for ingest.
            eventually(partial(hears_ingest, devices[0]), 30)
            for device in devices:
                device.sell(40)
            # Killed in the middle of it, at another place each time.
            eventually(partial(has_more_than, any_cell, round_ * 130), 30)
            process.send_signal(signal.SIGKILL)
            process.wait(10)

    with ingest_process(any_cell):
        for device in devices:
            device.until_acknowledged(160, deadline_s=40)

    assert [any_cell.sold(device) for device in devices] == [list(range(1, 161))] * 3


class DyingClient(WireClient):
    """A process that dies between its commit and its acknowledgement to the broker, twice."""

    deaths = 0

    def acknowledge(self, messages: Sequence[Message]) -> None:  # type: ignore[override]  # a list is enough here
        if messages and DyingClient.deaths < 2:
            DyingClient.deaths += 1
            self.abandon()
            raise WireError("killed between commit and acknowledgement")
        super().acknowledge(messages)


class DyingClients(Clients):
    """Connects clients that die."""

    client = DyingClient


def test_what_was_committed_and_not_acknowledged_comes_again_and_changes_nothing(
    make_cell: Callable[[Kind, str], Cell], broker_kind: Kind, sqlite_url: str
) -> None:
    cell = make_cell(broker_kind, sqlite_url)
    cell.run(ProcessRole.BROKER)
    DyingClient.deaths = 0
    clients = DyingClients(cell.edge.authority, cell.broker.address)
    ingest = IngestService("00", lambda: clients, cell.parts.database, SystemClock(), Leader())
    ingest.start()
    cell.stack.callback(ingest.stop)
    eventually(ingest.is_connected, 10)
    device = cell.device()

    device.sell(5)
    device.until_acknowledged(5)
    eventually(lambda: DyingClient.deaths == 2, 20)
    eventually(ingest.is_connected, 10)
    device.sell(5)
    device.until_acknowledged(10)

    assert cell.sold(device) == list(range(1, 11))


def test_without_the_database_the_broker_keeps_what_comes(cell: Cell) -> None:
    device = cell.device()
    device.sell(1)
    device.until_acknowledged(1)
    with cell.parts.database.connection() as db:
        db.execute(text("ALTER TABLE stream_cursor RENAME TO stream_cursor_away"))

    device.sell(20)
    device.line.settle()
    device.listen(0.5)
    assert device.acked == {"tx": 1}
    with cell.parts.database.connection() as db:
        db.execute(text("ALTER TABLE stream_cursor_away RENAME TO stream_cursor"))

    # Nothing is sent again by the device: what the broker kept is enough.
    def all_there() -> bool:
        device.listen()
        return device.acked == {"tx": 21}

    eventually(all_there, 30)
    assert cell.sold(device) == list(range(1, 22))


def test_a_standby_takes_over_when_the_leader_ends(
    make_cell: Callable[[Kind, str], Cell], broker_kind: Kind, sqlite_url: str
) -> None:
    cell = make_cell(broker_kind, sqlite_url)
    cell.run(ProcessRole.BROKER)
    with ingest_process(cell) as leader:
        device = cell.device()
        device.sell(3)
        device.until_acknowledged(3)
        with ingest_process(cell):
            leader.send_signal(signal.SIGKILL)
            leader.wait(10)

            device.sell(3)
            device.until_acknowledged(6, deadline_s=30)

    assert cell.sold(device) == [1, 2, 3, 4, 5, 6]


def test_a_gap_is_asked_for_and_heals(
    make_cell: Callable[[Kind, str], Cell], broker_kind: Kind, sqlite_url: str
) -> None:
    cell = make_cell(broker_kind, sqlite_url)
    cell.run(ProcessRole.BROKER)
    ingest = IngestService(
        "00", cell.edge.clients, cell.parts.database, SystemClock(), Leader(), gap_s=0.2
    )
    ingest.start()
    cell.stack.callback(ingest.stop)
    device = cell.device()
    for _ in range(4):
        device.outbox.sale()

    device.send(1, 4)

    def asked() -> list[tuple[int, int]]:
        acks = [msgspec.json.decode(one, type=Ack) for one in device.payloads(Channel.ACK)]
        return [span for ack in acks for span in ack.resend]

    assert eventually(asked, 20)[0] == (2, 3)
    device.send(2, 3)
    eventually(lambda: device.listen() is not None and device.acked == {"tx": 4}, 10)
    assert cell.sold(device) == [1, 2, 3, 4]


def test_devices_are_told_when_ingest_comes_and_goes(
    make_cell: Callable[[Kind, str], Cell], broker_kind: Kind, sqlite_url: str
) -> None:
    cell = make_cell(broker_kind, sqlite_url)
    cell.run(ProcessRole.BROKER)
    device = cell.device()

    for number in (signal.SIGKILL, signal.SIGTERM):
        with ingest_process(cell) as process:
            eventually(lambda: hears_ingest(device), 20)
            process.send_signal(number)
            eventually(lambda: not hears_ingest(device), 20)


def a_command(cell: Cell, device_id: str) -> str:
    with cell.parts.database.transaction() as db:
        return issue_command(
            db,
            merchant_id=cell.merchant_id,
            device_id=device_id,
            body=ReportNow(),
            issued_by="usr_1",
        )


def test_a_command_goes_out_at_once_and_again_until_it_is_answered(cell: Cell) -> None:
    device, other = cell.device(), cell.device()

    command_id = a_command(cell, device.device_id)

    first = eventually(lambda: device.payloads(Channel.COMMAND), 5)
    assert msgspec.json.decode(first[0], type=Command).id == command_id
    again = eventually(lambda: device.payloads(Channel.COMMAND)[1:], 10)
    assert msgspec.json.decode(again[0], type=Command).id == command_id
    device.outbox.put(Stream.RESULTS, CommandResult(command_id=command_id, status="succeeded"))
    device.send(1, stream=Stream.RESULTS)
    device.until_acknowledged(1, stream=Stream.RESULTS)
    count = len(device.payloads(Channel.COMMAND))
    device.listen(3.5)
    assert len(device.payloads(Channel.COMMAND)) == count
    assert other.payloads(Channel.COMMAND) == []


def test_claims_and_the_time_are_answered_on_the_spot(cell: Cell) -> None:
    device = cell.device()

    device.publish(Channel.CLAIM, encode(Claim(command_id="cmd_none", nonce="12345678")))
    device.publish(Channel.TIME_ASK, encode(TimeAsk(t0_mono_ms=77)), qos=0)

    grant = msgspec.json.decode(
        eventually(lambda: device.payloads(Channel.GRANT), 5)[0], type=Grant
    )
    answer = msgspec.json.decode(
        eventually(lambda: device.payloads(Channel.TIME_ANSWER), 5)[0], type=TimeAnswer
    )
    assert (grant.granted, grant.reason, grant.nonce) == (False, "unknown_command", "12345678")
    assert answer.t0_mono_ms == 77
    assert abs(answer.server_ms - time.time() * 1000) < 5_000


def test_garbage_on_the_gateways_topics_does_not_stop_it(cell: Cell) -> None:
    device = cell.device()

    for payload in (b"", b"{", b"\xff\xfe", b'{"command_id":1}', b"[]" * 1000):
        device.publish(Channel.CLAIM, payload)
        device.publish(Channel.TIME_ASK, payload, qos=0)
    device.publish(Channel.CLAIM, encode(Claim(command_id="cmd_none", nonce="12345678")))

    assert eventually(lambda: device.payloads(Channel.GRANT), 5)


def test_garbage_on_every_channel_of_ingest_does_not_stop_it(cell: Cell) -> None:
    device = cell.device()

    for channel in (
        Channel.PRESENCE, Channel.STATE, Channel.TRANSACTIONS, Channel.EVENTS, Channel.JOBS,
        Channel.TELEMETRY, Channel.RESULT, Channel.LOG,
    ):  # fmt: skip
        for payload in (b"", b"{", b"\x00\xff", b'{"v":1}', b"9" * 20_000):
            device.publish(channel, payload)
    device.sell(1)
    device.until_acknowledged(1)

    assert cell.sold(device) == [1]


def test_a_configuration_is_published_and_waits_for_a_device_that_is_away(cell: Cell) -> None:
    here, away = cell.device(), cell.device()
    away.line.abandon()
    for device in (here, away):
        with cell.parts.database.transaction() as db:
            service.desire_config(db, cell.scope, device.device_id, {"volume": 3}, by=SYSTEM)

    seen = eventually(lambda: here.payloads(Channel.CONFIG), 5)
    away.connect()
    later = eventually(lambda: away.payloads(Channel.CONFIG), 5)

    documents = [msgspec.json.decode(one[-1], type=DesiredConfig).document for one in (seen, later)]
    assert documents == [{"volume": 3}] * 2


def test_the_sockets_of_our_services_do_not_wait_to_be_filled(cell: Cell) -> None:
    client = cell.edge.clients().connect("svc-probe-00")

    try:
        assert client.socket.getsockopt(6, 1) == 1
    finally:
        client.close()


def test_steps_of_a_session_that_nobody_knows_are_taken_in_and_forgotten(cell: Cell) -> None:
    device = cell.device()
    device.outbox.put(Stream.EVENTS, SessionStep(session_id="ts_none", step="sent"))

    device.send(1, stream=Stream.EVENTS)
    device.until_acknowledged(1, stream=Stream.EVENTS)

    assert cell.rows(text("SELECT count(*) FROM session_step"))[0][0] == 0
    assert Path(cell.parts.settings.data_dir).exists()
