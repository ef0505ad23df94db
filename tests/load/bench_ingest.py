"""How fast sales get from devices into the ledger, against what the same database can do at most and at least.

``copy``: binary COPY of the same rows into the same table, in one transaction: the physical limit. ``naive``: one MQTT
message, one SQLModel session, one commit. ``ours``: devices with certificates publish at QoS 1 through the broker as we
configure it, ``omnitill ingest`` in a process of its own commits and acknowledges. Generator, broker, ingest and
PostgreSQL (fsync on) share the machine, as in every figure that this is compared with.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import multiprocessing
import os
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from pydantic import SecretStr
from sqlalchemy import insert
from sqlmodel import Session

from control_plane.accounts import service as accounts
from control_plane.app import build
from control_plane.clock import SystemClock
from control_plane.config import BrokerSettings, LogSettings, Settings
from control_plane.db import migrate
from control_plane.devices.lifecycle import DeviceState
from control_plane.devices.models import DEVICES
from control_plane.devices.queries import Access
from control_plane.ingest.intake import _LEDGER, Intake, Uplink
from control_plane.ingest.reading import Read, read
from control_plane.logs import configure_logs
from control_plane.mqtt.broker import BrokerAddress, Clients
from control_plane.mqtt.credentials import INGEST
from control_plane.mqtt.ingest import BATCH as BATCH_LIMIT
from control_plane.mqtt.ingest import IngestService
from control_plane.mqtt.wire import Will, WireClient, WireError, encode_publish
from control_plane.parts import Parts
from control_plane.transactions.ledger import DEVICE_COLUMNS, device_row, transaction_id
from control_plane.transactions.models import Method, SaleChannel, Transaction
from control_plane.wiring.mqtt import MqttEdge
from protocols.cloud.envelope import GENESIS, Envelope, body_hash
from protocols.cloud.events import PaymentResult
from protocols.cloud.topics import Channel, Stream, topic
from protocols.ids import uuid7
from tests.fakes.device_outbox import DeviceOutbox, sale
from tests.load.cluster import postgres
from tests.support.ports import LOOPBACK, accepts_connections, free_port
from tests.support.programs import program
from tests.support.waiting import eventually

SECRET = "dGVzdHMgb25seSwgdGVzdHMgb25seSwgdGVzdHMgb25seSE="
#: Messages that may be under way: enough to keep everyone busy, too few to fill the broker's queues.
UNDER_WAY = 6_000
BATCH = 500
#: Never set: waits without a sleep.
_PAUSE = threading.Event()


@dataclass
class Bench:
    """Everything that a measurement needs."""

    parts: Parts
    edge: MqttEdge
    conninfo: str
    merchant_id: str
    location_id: str
    devices: list[str]
    #: Connects with certificates, or without anything (``--plain``).
    clients: Clients

    def committed(self) -> int:
        """Rows in the ledger that came through devices, by the book."""
        with psycopg.connect(self.conninfo, autocommit=True) as db:
            return committed(db)

    def empty(self) -> None:
        """Take everything out again; only possible because this database is thrown away."""
        with psycopg.connect(self.conninfo, autocommit=True) as db:
            db.execute("ALTER TABLE transactions DISABLE TRIGGER ALL")
            db.execute("TRUNCATE transactions, stream_cursor, inbox, quarantine, device_event")
            db.execute("ALTER TABLE transactions ENABLE TRIGGER ALL")
            db.execute("CHECKPOINT")


def main() -> int:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python -m tests.load.bench_ingest --messages 200000"
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=40)
    parser.add_argument("--prefill", type=int, default=0, help="rows in the ledger before")
    parser.add_argument("--broker", choices=["mosquitto", "embedded_nats"], default="mosquitto")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="mosquitto without TLS and rights, as the references were measured",
    )
    parser.add_argument("--latency-rate", type=int, default=5_000, help="sales a second")
    parser.add_argument("--only", choices=["throughput", "dedupe", "latency"], action="append")
    chosen = parser.parse_args()
    chosen.only = chosen.only or ["throughput", "dedupe", "latency"]
    with bench(chosen) as ready:
        figures = measure(ready, chosen)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def measure(ready: Bench, chosen: argparse.Namespace) -> dict[str, Any]:
    """All figures, and how they stand to what they are compared with."""
    figures: dict[str, Any] = {
        "broker": chosen.broker,
        "tls": not chosen.plain,
        "messages": chosen.messages,
        "prefilled": chosen.prefill,
    }
    targets: dict[str, list[float | str | None]] = {}
    if chosen.prefill:
        prefill(ready, chosen.prefill)
    rows = [*_ledger_rows(ready, min(chosen.messages, 100_000))]
    figures["copy_rows_s"] = copy(ready, rows, len(rows), keep=bool(chosen.prefill))
    figures[f"copy_by_{BATCH}_rows_s"] = copy(ready, rows, BATCH, keep=bool(chosen.prefill))
    if "throughput" in chosen.only:
        figures["naive_tx_s"] = naive(ready)
        figures |= ours(ready, chosen)
        figures["share_of_copy"] = round(figures["ours_tx_s"] / figures["copy_rows_s"], 3)
        figures["times_naive"] = round(figures["ours_tx_s"] / figures["naive_tx_s"], 1)
        targets["share_of_copy"] = [figures["share_of_copy"], ">=", 0.40, 0.30]
        targets["times_naive"] = [figures["times_naive"], ">=", 60, 40]
        targets["worker_cpu_us"] = [figures["worker_cpu_us"], "<=", 10, None]
    if "dedupe" in chosen.only:
        figures |= dedupe(ready, figures[f"copy_by_{BATCH}_rows_s"])
        targets["written_share_of_copy"] = [figures["written_share_of_copy"], ">=", 0.85, None]
        targets["written_share_of_copy_with_duplicates"] = [
            figures["written_share_of_copy_with_duplicates"], ">=", 0.6, None,
        ]  # fmt: skip
    if "latency" in chosen.only:
        figures |= latency(ready, chosen, chosen.latency_rate, seconds=6)
        targets["p50_ms"] = [figures["p50_ms"], "<=", 1.5, None]
        targets["p99_ms"] = [figures["p99_ms"], "<=", 6, None]
    return figures | {"targets": targets}


# --- the references ------------------------------------------------------------------------------------------------


def copy(ready: Bench, rows: list[tuple[Any, ...]], batch: int, *, keep: bool) -> int:
    """Rows a second of binary COPY, committed every ``batch`` rows; ``keep`` leaves what was there before."""
    if not keep:
        ready.empty()
    began = time.perf_counter()
    for start in range(0, len(rows), batch):
        with ready.parts.database.connection() as db:
            _LEDGER.write(db, rows[start : start + batch])
    seconds = time.perf_counter() - began
    with psycopg.connect(ready.conninfo, autocommit=True) as db:
        db.execute("ALTER TABLE transactions DISABLE TRIGGER ALL")
        if keep:
            db.execute("DELETE FROM transactions WHERE id = ANY(%s)", [[row[0] for row in rows]])
            db.execute("VACUUM transactions")
        else:
            db.execute("TRUNCATE transactions")
        db.execute("ALTER TABLE transactions ENABLE TRIGGER ALL")
    return round(len(rows) / seconds)


def naive(ready: Bench, count: int = 1_500) -> int:
    """Messages a second, each with a session and a commit of its own, through the same broker."""
    arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{INGEST}-00")
    if not isinstance(ready.clients, PlainClients):
        client.tls_set_context(_service_context(ready))
    client.on_message = lambda _client, _data, message: arrived.put(bytes(message.payload))
    client.connect(ready.clients.address.host, ready.clients.address.port)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.subscribe("fl/1/00/+/up/tx", 1)
    client.loop_start()
    subscribed.wait(10)
    outbox = DeviceOutbox(ready.devices[0])
    device = _device(ready, outbox.device_id)
    payloads = [outbox.sale() for _ in range(count)]
    began = time.perf_counter()
    sender = threading.Thread(target=_send_all, args=(device, outbox.device_id, payloads))
    sender.start()
    for _ in range(count):
        message = json.loads(arrived.get(timeout=30))
        data = message["data"]
        with Session(ready.parts.database.engine) as session:
            session.add(
                Transaction(
                    id=transaction_id(message["id"]),
                    merchant_id=ready.merchant_id,
                    location_id=ready.location_id,
                    device_id=outbox.device_id,
                    reader_id=data["reader_id"],
                    session_id=data["session_id"],
                    kind=data["kind"],
                    status=data["outcome"],
                    channel=SaleChannel.IN_PERSON,
                    method=Method.CARD,
                    amount_minor=data["amount_minor"],
                    currency=data["currency"],
                    source="reader",
                    external_id=data["session_id"],
                    card_brand=data["card_brand"],
                    card_masked=data["masked_pan"],
                    authorization_code=data["authorization_code"],
                    receipt_number=data["receipt_number"],
                    trace_number=data["trace_number"],
                    terminal_id=data["terminal_id"],
                    result_text=data["result_text"],
                    occurred_at=datetime.fromisoformat(message["ts"]),
                    received_at=datetime.now(UTC),
                    epoch=message["epoch"],
                    seq=message["seq"],
                )
            )
            session.commit()
    seconds = time.perf_counter() - began
    sender.join()
    client.disconnect()
    client.loop_stop()
    device.close()
    return round(count / seconds)


# --- ours ----------------------------------------------------------------------------------------------------------


def ours(ready: Bench, chosen: argparse.Namespace) -> dict[str, Any]:
    """Messages a second from devices into the ledger, and the processor time that ingest took for each."""
    if not chosen.prefill:
        ready.empty()
    share = chosen.messages // len(ready.devices)
    with _ingest(ready) as ingest, _generators(ready, share) as go:
        before = ready.committed()
        cpu_before = _cpu_s(ingest)
        go.set()
        with psycopg.connect(ready.conninfo, autocommit=True) as db:
            began = _first_arrival(db, before)
            wanted = before + share * len(ready.devices)
            while (now := committed(db)) < wanted:
                if time.perf_counter() - began > 300:
                    raise RuntimeError(f"{now} of {wanted} messages were committed")
                _PAUSE.wait(0.005)
            seconds = time.perf_counter() - began
        cpu = _cpu_s(ingest) - cpu_before
    total = share * len(ready.devices)
    return {
        "ours_tx_s": round(total / seconds),
        "worker_cpu_us": round(cpu / total * 1e6, 1),
    }


def dedupe(ready: Bench, reference: int) -> dict[str, Any]:
    """What knowing duplicates costs: the writing part of batches without any, and with half of them duplicates."""
    ready.empty()
    outboxes = [DeviceOutbox(device) for device in ready.devices]
    count = 30_000
    uplinks = [
        Uplink(outbox.device_id, Channel.TRANSACTIONS, outbox.sale())
        for _ in range(count // len(outboxes))
        for outbox in outboxes
    ]
    intake = Intake(ready.parts.database, ready.parts.clock)
    intake.take_in(uplinks[:BATCH])
    plain = _writing(intake, [uplinks[at : at + BATCH] for at in range(BATCH, len(uplinks), BATCH)])
    ready.empty()
    intake = Intake(ready.parts.database, ready.parts.clock)
    half = BATCH // 2
    mixed = [uplinks[max(0, at - half) : at + half] for at in range(0, len(uplinks), half)]
    doubled = _writing(intake, mixed)
    return {
        "written_share_of_copy": round(plain / reference, 3),
        "written_share_of_copy_with_duplicates": round(doubled / reference, 3),
    }


def latency(ready: Bench, chosen: argparse.Namespace, rate: int, seconds: int) -> dict[str, Any]:
    """Milliseconds from publishing to the commit, as the database notes it, at a steady rate."""
    del chosen
    ready.empty()
    with _ingest(ready), _pacer(ready, rate, seconds) as process:
        process.join(seconds + 60)
        eventually(lambda: ready.committed() >= rate * seconds * 0.999, 30)
    with psycopg.connect(ready.conninfo, autocommit=True) as db:
        took = sorted(
            row[0]
            for row in db.execute(
                "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - occurred_at)::float8 * 1000 "
                "FROM transactions WHERE occurred_at > (SELECT min(occurred_at) FROM transactions) + interval '1 s'"
            )
        )
    return {
        "latency_at_tx_s": rate,
        "p50_ms": round(statistics.median(took), 2),
        "p99_ms": round(took[int(len(took) * 0.99)], 2),
        "measured": len(took),
    }


def prefill(ready: Bench, count: int) -> None:
    """Rows of other devices, spread over a year."""
    began = datetime.now(UTC) - timedelta(days=365)
    template = dict(zip(DEVICE_COLUMNS, next(_ledger_rows(ready, 1)), strict=True))
    for start in range(0, count, 50_000):
        rows = []
        for at in range(start, min(count, start + 50_000)):
            name = str(uuid7())
            row = template | {
                "id": transaction_id(name),
                "external_id": "ts_" + name.replace("-", "")[:26],
                "session_id": "ts_" + name.replace("-", "")[:26],
                "occurred_at": began + timedelta(days=365) * (at / count),
            }
            rows.append(tuple(row[column] for column in DEVICE_COLUMNS))
        with ready.parts.database.connection() as db:
            _LEDGER.write(db, rows)


# --- machinery -----------------------------------------------------------------------------------------------------


@contextmanager
def bench(chosen: argparse.Namespace) -> Iterator[Bench]:
    """A database that flushes to the disk, a broker with our configuration, and devices with certificates."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="omnitill-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        conninfo = stack.enter_context(postgres(folder / "cluster"))
        port = free_port()
        settings = Settings(
            mode="test",
            data_dir=folder / "data",
            database_url=conninfo,
            secret_key=SecretStr(SECRET),
            broker=BrokerSettings(kind=chosen.broker, port=port),
            log=LogSettings(level="error"),
        )
        configure_logs(settings.log)
        parts = build(settings)
        stack.callback(parts.close)
        migrate.upgrade(parts.database.engine)
        edge = parts.get(MqttEdge)
        devices = [f"dev-bench-{number:04d}" for number in range(chosen.devices)]
        merchant_id, location_id = _shop(parts, devices)
        clients = edge.clients()
        if chosen.plain:
            clients = PlainClients(edge.authority, BrokerAddress(LOOPBACK, port))
            stack.enter_context(_plain_mosquitto(folder, port))
        else:
            edge.broker.start(Access(tuple(devices), (), ()))
            stack.callback(edge.broker.stop)
        yield Bench(parts, edge, conninfo, merchant_id, location_id, devices, clients)


class PlainClients(Clients):
    """Connects without TLS."""

    def connect(  # type: ignore[override]  # only what is needed here
        self, name: str, *, clean: bool = True, will: Will | None = None
    ) -> WireClient:
        return WireClient(
            self.address.host, self.address.port, client_id=name, clean=clean, will=will
        )


@contextmanager
def _plain_mosquitto(folder: Path, port: int) -> Iterator[None]:
    config = folder / "plain.conf"
    config.write_text(
        f"listener {port} {LOOPBACK}\nallow_anonymous true\nmax_inflight_messages {BATCH_LIMIT}\n"
        "max_queued_messages 100000\nset_tcp_nodelay true\nlog_type error\n"
    )
    process = subprocess.Popen([program("mosquitto"), "-c", str(config)])
    try:
        eventually(lambda: accepts_connections(port), 10)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _shop(parts: Parts, devices: list[str]) -> tuple[str, str]:
    now = datetime.now(UTC)
    with parts.database.transaction() as db:
        merchant_id = accounts.create_merchant(db, "Bench")
        location_id = accounts.create_location(db, merchant_id, "Here")
        db.execute(
            insert(DEVICES),
            [
                {
                    "id": device, "merchant_id": merchant_id, "location_id": location_id,
                    "name": device, "state": DeviceState.ACTIVE, "state_since": now, "cell": "00",
                    "serial_number": "", "hostname": "", "platform": "", "agent_version": "",
                    "boot": 0, "conn": 0, "presence": "unknown", "is_online": False,
                    "reported": {}, "telemetry": {}, "epoch": 1, "created_at": now,
                }
                for device in devices
            ],
        )  # fmt: skip
    return merchant_id, location_id


@contextmanager
def _ingest(ready: Bench) -> Iterator[int]:
    """Ingest in a process of its own, connected; its process id."""
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(ready,), daemon=True)
    watcher = _device(ready, ready.devices[-1])
    watcher.subscribe([("fl/1/00/_svc/state", 0)])
    process.start()
    try:
        eventually(lambda: any(b'"up":true' in one.payload for one in watcher.receive(0.1)), 20)
        watcher.close()
        if process.pid is None:
            raise RuntimeError("ingest did not start")
        yield process.pid
    finally:
        process.terminate()
        process.join(20)


def _serve(ready: Bench) -> None:
    """What ``omnitill ingest`` does, without its command line."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    # The connections of the parent are not ours.
    ready.parts.database.engine.dispose(close=False)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    service = IngestService(
        "00", lambda: ready.clients, ready.parts.database, SystemClock(), AlwaysLeads()
    )
    service.start()
    stopping.wait()
    service.stop()
    os._exit(0)


class AlwaysLeads:
    """There is only one ingest here."""

    def is_mine(self) -> bool:
        return True

    def give_up(self) -> None:
        """Nothing to give up."""


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def committed(db: psycopg.Connection[Any]) -> int:
    """Messages that the book knows."""
    row = db.execute("SELECT coalesce(sum(upto), 0) FROM stream_cursor").fetchone()
    return int(row[0]) if row else 0


def _first_arrival(db: psycopg.Connection[Any], before: int) -> float:
    while committed(db) == before:
        _PAUSE.wait(0.001)
    return time.perf_counter()


def _writing(intake: Intake, batches: list[list[Uplink]]) -> float:
    """Messages a second of the transactions alone; reading the messages is outside of the measure."""
    sorted_batches = [intake._sort(batch) for batch in batches]  # noqa: SLF001
    gc.collect()
    count = sum(len(batch) for batch in batches)
    began = time.perf_counter()
    for batch in sorted_batches:
        with intake._database.connection() as db:  # noqa: SLF001
            intake._write(db, batch, careful=False, fit=False)  # noqa: SLF001
    return count / (time.perf_counter() - began)


def _ledger_rows(ready: Bench, count: int) -> Iterator[tuple[Any, ...]]:
    outbox = DeviceOutbox("dev-copy-0000")
    now = datetime.now(UTC)
    for seq in range(1, count + 1):
        found = read(Stream.TRANSACTIONS, outbox.sale())
        if not isinstance(found, Read) or not isinstance(found.envelope.data, PaymentResult):
            raise TypeError("the outbox made something else than a sale")
        outbox.sent.clear()
        yield device_row(
            transaction_id(found.envelope.id), ready.merchant_id, ready.location_id,
            outbox.device_id, found.envelope.data, digest=found.digest, epoch=1, seq=seq,
            occurred_at=now, received_at=now, original_id=None,
        )  # fmt: skip


def _service_context(ready: Bench) -> Any:
    authority = ready.edge.authority
    return authority.client_context(authority.make_client(f"{INGEST}-00"))


def _device(ready: Bench, device: str) -> WireClient:
    return ready.clients.connect(device)


def _send_all(client: WireClient, device: str, payloads: list[bytes]) -> None:
    for payload in payloads:
        client.publish(topic("00", device, Channel.TRANSACTIONS), payload, qos=1)
        client.receive(0)


@contextmanager
def _generators(ready: Bench, share: int) -> Iterator[Any]:
    """Devices in a process of their own, messages ready to be sent; they start when the event is set."""
    context = multiprocessing.get_context("fork")
    go, armed = context.Event(), context.Event()
    process = context.Process(target=_generate, args=(ready, share, go, armed), daemon=True)
    process.start()
    armed.wait(300)
    try:
        yield go
    finally:
        process.terminate()
        process.join(10)


def _generate(ready: Bench, share: int, go: Any, armed: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    packets = []
    for device in ready.devices:
        outbox = DeviceOutbox(device)
        name = topic("00", device, Channel.TRANSACTIONS)
        packets.append(
            [
                encode_publish(name, outbox.sale(), packet_id=number % 65_535 + 1)
                for number in range(share)
            ]
        )
    clients = [_device(ready, device) for device in ready.devices]
    for client, device in zip(clients, ready.devices, strict=True):
        client.subscribe([(topic("00", device, Channel.ACK), 0)])
        client.socket.setblocking(False)
    gc.disable()
    armed.set()
    go.wait()
    piece = 16
    with psycopg.connect(ready.conninfo, autocommit=True) as db:
        sent = 0
        for at in range(0, share, piece):
            while sent - committed(db) > UNDER_WAY:
                _drain(clients)
                _PAUSE.wait(0.002)
            for client, mine in zip(clients, packets, strict=True):
                client._send(b"".join(mine[at : at + piece]))  # noqa: SLF001
            sent += piece * len(clients)
            _drain(clients)
    while True:
        _drain(clients)
        _PAUSE.wait(0.05)


def _drain(clients: list[WireClient]) -> None:
    """Throw away what came, unread: a device is faster than this, but here all share one core."""
    for client in clients:
        with contextlib.suppress(OSError):
            while client.socket.recv(65_536):
                pass


@contextmanager
def _pacer(ready: Bench, rate: int, seconds: int) -> Iterator[Any]:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_pace, args=(ready, rate, seconds), daemon=True)
    process.start()
    yield process
    process.terminate()


def _pace(ready: Bench, rate: int, seconds: int) -> None:
    """Send at an even pace, each message with the moment of its sending."""
    clients = [_device(ready, device) for device in ready.devices]
    names = [topic("00", device, Channel.TRANSACTIONS) for device in ready.devices]
    last = [(0, GENESIS) for _ in ready.devices]
    encoder = msgspec.json.Encoder()
    sales = [sale() for _ in range(rate * seconds)]
    gc.disable()
    for client in clients:
        client.socket.setblocking(False)
    began = time.perf_counter()
    for number, result in enumerate(sales):
        due = began + number / rate
        while (left := due - time.perf_counter()) > 0:
            if left > 0.001:
                _drain(clients[:8])
                _PAUSE.wait(0.0005)
        at = number % len(clients)
        seq, prev = last[at][0] + 1, last[at][1]
        payload = encoder.encode(
            Envelope(
                id=str(uuid7()), ts=datetime.now(UTC).isoformat(), boot=1, mono_ms=seq,
                clk_unc_ms=0, stream="tx", epoch=1, seq=seq, prev=prev, data=result,
            )
        )  # fmt: skip
        last[at] = (seq, body_hash(payload))
        clients[at]._send(  # noqa: SLF001
            encode_publish(names[at], payload, packet_id=seq % 65_535 + 1)
        )
        if number % 200 == 0:
            _drain(clients)
    with contextlib.suppress(WireError):
        for client in clients:
            client.close()


if __name__ == "__main__":
    sys.exit(main())
