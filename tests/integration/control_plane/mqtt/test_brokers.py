"""Both brokers as we configure them: who gets in, who can do what, and how somebody is put out."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane.audit.actor import SYSTEM
from control_plane.clock import SystemClock
from control_plane.db.keyring import Keyring
from control_plane.devices import service
from control_plane.devices.authority import Authority
from control_plane.devices.models import DEVICES
from control_plane.devices.queries import Access
from control_plane.mqtt.embedded import EmbeddedNats
from control_plane.mqtt.keeper import BrokerKeeper, BrokerUnsafe
from control_plane.mqtt.mosquitto import Mosquitto
from control_plane.mqtt.selftest import Findings, SelfTest
from control_plane.mqtt.wire import Will, WireClient, WireError
from control_plane.parts import ProcessRole
from protocols.cloud.topics import Channel, topic
from tests.fixtures.brokers import Cell, Kind
from tests.support.programs import program
from tests.support.waiting import eventually


def is_cut(device_line: WireClient) -> bool:
    try:
        device_line.publish("fl/1/00/nobody/up/tm", b"x")
        device_line.receive(0.02)
    except WireError:
        return True
    return False


def test_a_broker_is_ready_only_after_it_was_proven_safe(
    make_cell: Callable[[Kind, str], Cell], broker_kind: Kind, sqlite_url: str
) -> None:
    cell = make_cell(broker_kind, sqlite_url)
    assert not cell.edge.keeper.is_ready()

    cell.run(ProcessRole.BROKER)

    assert cell.edge.keeper.is_ready()
    assert cell.parts.readiness["The broker"]()


def test_revoking_cuts_the_live_connection_and_nobody_elses(cell: Cell) -> None:
    revoked, other = cell.device(), cell.device()
    began = time.monotonic()

    with cell.parts.database.transaction() as db:
        service.revoke(db, cell.scope, revoked.device_id, by=SYSTEM)

    eventually(lambda: is_cut(revoked.line), 5)
    assert time.monotonic() - began < 5
    with pytest.raises(WireError):
        cell.edge.clients().connect(revoked.device_id, revoked.pair)
    other.sell(1)
    other.until_acknowledged(1)
    assert (cell.sold(other), cell.sold(revoked)) == ([1], [])


def test_a_suspended_device_stays_connected_and_is_not_heard(cell: Cell) -> None:
    device = cell.device()
    with cell.parts.database.transaction() as db:
        service.suspend(db, cell.scope, device.device_id, by=SYSTEM)
    other = cell.device()

    device.sell(1)
    device.line.settle()
    other.sell(1)
    other.until_acknowledged(1)

    assert not is_cut(device.line)
    assert device.payloads(Channel.ACK) == []
    with cell.parts.database.transaction() as db:
        service.resume(db, cell.scope, device.device_id, by=SYSTEM)
    device.until_acknowledged(1)
    assert cell.sold(device) == [1]


def test_a_hostile_device_changes_nothing_for_another(cell: Cell) -> None:
    victim, hostile = cell.device(), cell.device()
    forged = victim.outbox.sale(amount_minor=999_999)
    will = Will(
        topic("00", victim.device_id, Channel.PRESENCE), b'{"state":"offline","boot":9,"conn":9}'
    )
    hostile.line.publish(topic("00", victim.device_id, Channel.TRANSACTIONS), forged, qos=1)
    hostile.line.publish(topic("00", victim.device_id, Channel.COMMAND), b"{}", qos=0)
    with contextlib.suppress(WireError):
        cell.edge.clients().connect(hostile.device_id, hostile.pair, will=will).abandon()
    hostile.connect()

    hostile.sell(1)
    hostile.until_acknowledged(1)

    assert cell.sold(victim) == []
    assert victim.payloads(Channel.COMMAND) == []
    (row,) = cell.rows(select(DEVICES).where(DEVICES.c.id == victim.device_id))
    assert row.presence == "unknown"


def test_a_dead_broker_is_started_again_and_proven_again(cell: Cell) -> None:
    device = cell.device()
    pid = cell.pid

    os.kill(pid, signal.SIGKILL)

    eventually(lambda: cell.broker.pid not in (None, pid), 15)
    eventually(cell.edge.keeper.is_ready, 15)
    device.connect()
    device.sell(2)
    device.until_acknowledged(2)
    assert cell.sold(device) == [1, 2]


def test_a_broker_left_over_from_a_crash_gives_way(
    make_cell: Callable[[Kind, str], Cell], broker_kind: Kind, sqlite_url: str, tmp_path: Path
) -> None:
    cell = make_cell(broker_kind, sqlite_url)
    folder = cell.parts.settings.broker_folder
    cell.run(ProcessRole.BROKER)
    pid = cell.pid
    name = "nats" if broker_kind == "embedded_nats" else "mosquitto"
    # What a crash of ours leaves behind: a server and its pid file, and nobody who stops them.
    make = (
        EmbeddedNats
        if broker_kind == "embedded_nats"
        else partial(Mosquitto, program=Path(program("mosquitto")))
    )
    again = make(
        folder, cell.edge.authority, SystemClock(), host="127.0.0.1",
        port=cell.broker.address.port, names=["localhost"], cells=["00"],
    )  # fmt: skip
    assert (folder / f"{name}.pid").exists()

    cell.edge.keeper._stopping.set()  # noqa: SLF001 - the keeper of the crashed process is gone
    again.start(Access((), (), ()))

    try:
        assert again.pid not in (None, pid)
        assert not Path(f"/proc/{pid}").exists() or _is_zombie(pid)
    finally:
        again.stop()


def test_the_second_door_of_the_embedded_broker_is_locked_too(
    make_cell: Callable[[Kind, str], Cell], sqlite_url: str
) -> None:
    cell = make_cell("embedded_nats", sqlite_url)
    cell.run(ProcessRole.BROKER)
    pid = cell.pid
    ports = _listening(pid) - {cell.broker.address.port}

    answers = [_speak_nats(port) for port in ports]

    assert len(ports) == 1
    assert all("-ERR" in answer or "PONG" not in answer for answer in answers)
    assert not any("PONG" in answer for answer in answers)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "ca", Keyring([b"tests only" * 4]), SystemClock())


def run_self_test(
    authority: Authority, broker: EmbeddedNats | Mosquitto, spoil: Callable[[str], str], file: Path
) -> Findings:
    """The test against a broker whose files somebody has changed."""
    test = SelfTest(authority, broker.address, broker.profile, SystemClock(), cell="00")
    broker.start(Access(test.names, (), ()))
    try:
        before = file.read_text()
        after = spoil(before)
        assert after != before
        broker.stop()
        broker._write = lambda access: False  # type: ignore[method-assign]  # noqa: SLF001 - keep what was spoiled
        file.write_text(after)
        broker.start(Access(test.names, (), ()))
        return test.run()
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("right", "hole"),
    [
        ("pattern read fl/1/#", "received what was for another"),
        ("pattern write fl/1/+/+/up/#", "wrote in the name of another"),
        ("pattern write fl/1/+/+/dn/#", "gave another a command"),
        ("pattern write fl/1/+/%u/dn/#", "gave itself a command"),
    ],
    ids=["read", "write", "command", "own command"],
)
def test_the_self_test_finds_a_right_too_many_at_mosquitto(
    authority: Authority, tmp_path: Path, right: str, hole: str
) -> None:
    broker = Mosquitto(
        tmp_path / "broker", authority, SystemClock(), host="127.0.0.1", port=0,
        names=["localhost"], cells=["00"], program=Path(program("mosquitto")),
    )  # fmt: skip

    found = run_self_test(
        authority, broker, lambda text: f"{right}\n{text}", tmp_path / "broker" / "acl"
    )

    assert not found.is_safe
    assert any(hole in one for one in found.holes)


def test_the_self_test_finds_a_right_too_many_at_nats(authority: Authority, tmp_path: Path) -> None:
    broker = EmbeddedNats(
        tmp_path / "broker", authority, SystemClock(), host="127.0.0.1", port=0,
        names=["localhost"], cells=["00"],
    )  # fmt: skip

    found = run_self_test(
        authority, broker, lambda text: text.replace('"fl.1.*._svc.state"', '">"'),
        tmp_path / "broker" / "nats.conf",
    )  # fmt: skip

    assert any("received what was for another" in one for one in found.holes)


def test_the_self_test_finds_a_broker_that_lets_everybody_in(
    authority: Authority, tmp_path: Path
) -> None:
    broker = Mosquitto(
        tmp_path / "broker", authority, SystemClock(), host="127.0.0.1", port=0,
        names=["localhost"], cells=["00"], program=Path(program("mosquitto")),
    )  # fmt: skip

    def open_wide(text: str) -> str:
        return (
            text.replace("require_certificate true", "require_certificate false")
            .replace("use_identity_as_username true\n", "")
            .replace("use_username_as_clientid true\n", "")
            .replace("allow_anonymous false", "allow_anonymous true")
        )

    found = run_self_test(authority, broker, open_wide, tmp_path / "broker" / "mosquitto.conf")

    assert "a client without a certificate was let in" in found.holes


def test_an_unsafe_broker_is_not_kept(
    make_cell: Callable[[Kind, str], Cell], sqlite_url: str
) -> None:
    cell = make_cell("embedded_nats", sqlite_url)
    broker = cell.broker
    assert isinstance(broker, EmbeddedNats)
    text_of = broker._text  # noqa: SLF001
    broker._text = lambda access: text_of(access).replace('"fl.1.*._svc.state"', '">"')  # type: ignore[method-assign]  # noqa: SLF001
    keeper: BrokerKeeper = cell.edge.keeper

    with pytest.raises(BrokerUnsafe, match="received what was for another"):
        keeper.start()

    assert not keeper.is_ready()
    assert not broker.is_running()


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def _listening(pid: int) -> set[int]:
    """Ports on which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = str(link.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return {int(one[1].split(":")[1], 16) for one in fields if one[3] == "0A" and one[9] in inodes}


def _speak_nats(port: int) -> str:
    """What a client of the NATS protocol without a certificate, who names a device as its user, is answered."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    said = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as plain:
            said += plain.recv(4096)
            with context.wrap_socket(plain) as line:
                line.sendall(b'CONNECT {"user":"CN=svc-gateway-00","pass":""}\r\nPING\r\n')
                while piece := line.recv(4096):
                    said += piece
    except OSError as error:
        said += str(error).encode()
    return said.decode(errors="replace")
