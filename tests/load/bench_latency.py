"""How long a command takes: to the device and back, and from the click to the reader.

``raw``: one MQTT message to an echo in another process and its answer, over the same broker, rights and TLS, with the
leanest client we have; what no program can beat. ``command``: a command to a real agent until its claim is back; the
agent has made the command durable before. ``click``: from before the HTTP request until the first byte of the payment
leaves for the terminal; in it are the request with its commit, the command, claim and grant, and their commits.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx2

from control_plane.db.scope import Scope
from control_plane.demo import history
from control_plane.demo.stage import Options, Stage, opened
from control_plane.devices.link import BrokerDirectory
from control_plane.mqtt.credentials import PROBE
from control_plane.mqtt.wire import Message, WireClient
from control_plane.payments import queries
from control_plane.wiring.mqtt import MqttEdge
from protocols.cloud.commands import Command, StartPayment, encode
from protocols.cloud.topics import Channel, topic
from protocols.ids import new_id
from tests.support.tcp_proxy import TcpProxy

CELL = "00"
ROUNDS, CLICKS, WARM_UP = 400, 60, 20
#: The class and instruction of an authorisation, as the till sends it.
AUTHORISE = b"\x06\x01"


def main() -> int:
    """Measure on every broker that is here; one JSON object on standard output."""
    if sys.argv[1:2] == ["--echo"]:
        return echo(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="postgresql://… (default: SQLite)")
    database = parser.parse_args().database
    brokers: list[Literal["nats", "mosquitto"]] = ["nats"]
    if shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists():
        brokers.append("mosquitto")
    figures: dict[str, Any] = {}
    targets: dict[str, Any] = {}
    for broker in brokers:
        figures[broker] = measured = measure(broker, database)
        targets[f"{broker}.command_p50_vs_raw"] = [measured["command_p50_vs_raw"], "<=", 5, 10]
        targets[f"{broker}.command_p99_ms"] = [measured["command_ms"]["p99"], "<=", 3, 12]
    print(json.dumps({**figures, "targets": targets}, indent=2))  # noqa: T201 - it is a program
    return 0


def measure(broker: Literal["nats", "mosquitto"], database: str) -> dict[str, Any]:
    with opened(
        Options(port=18_000, broker=broker, database_url=database, pace=0, with_history=False)
    ) as stage:
        stage.wait_until_ready()
        with rewired(stage) as first_bytes, probe(stage) as line:
            raw = spread(raw_round_trips(stage, line))
            command = spread(command_round_trips(stage, line))
            click, answered = clicks(stage, first_bytes)
    return {
        "raw_ms": raw,
        "command_ms": command,
        "click_to_reader_ms": spread(click),
        "click_to_answer_ms": spread(answered),
        "command_p50_vs_raw": round(command["p50"] / raw["p50"], 2),
        "click_p50_vs_raw": round(statistics.median(click) * 1000 / raw["p50"], 1),
    }


def spread(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(one * 1000 for one in seconds)
    return {
        "p50": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        "count": len(ordered),
    }


# --- raw -------------------------------------------------------------------------------------------------------


@contextmanager
def probe(stage: Stage) -> Iterator[Line]:
    """A client that may say what the gateway says, and hear what devices say."""
    client = stage.parts.get(MqttEdge).clients().connect(f"{PROBE}-{CELL}")
    try:
        yield Line(client)
    finally:
        client.close()


def raw_round_trips(stage: Stage, line: Line) -> list[float]:
    directory = stage.parts.get(BrokerDirectory)
    device_id = history.enrol_box(stage.parts.database, directory.authority(), stage.shop)
    directory.look_now()
    pair = directory.authority().make_client(device_id)
    address = stage.parts.get(MqttEdge).clients().address
    with tempfile.TemporaryDirectory() as folder:
        secrets = Path(folder) / "pair.json"
        secrets.write_text(json.dumps([pair.certificate_pem, pair.key_pem]))
        words = [str(address.host), str(address.port), address.server_name, device_id, str(secrets)]
        ca = Path(folder) / "ca.pem"
        ca.write_text(directory.authority().ca_pem)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.bench_latency", "--echo", *words, str(ca)],
            stdout=subprocess.PIPE,
        )
        try:
            process.stdout.readline()  # type: ignore[union-attr]  # it is piped
            claims = topic(CELL, device_id, Channel.CLAIM)
            line.client.subscribe([(claims, 0)])
            command = topic(CELL, device_id, Channel.COMMAND)
            payload = b"x" * 300
            return timed(line, claims, lambda: line.client.publish(command, payload))
        finally:
            process.kill()
            process.wait()


def echo(host: str, port: str, server_name: str, device_id: str, pair: str, ca: str) -> int:
    """Stands in for a device: answers every command with as many bytes as a claim has."""
    certificate_pem, key_pem = json.loads(Path(pair).read_text())
    both = Path(pair).with_name("both.pem")
    both.write_text(certificate_pem + key_pem)
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(both)
    client = WireClient(host, int(port), client_id=device_id, tls=context, server_name=server_name)
    client.subscribe([(topic(CELL, device_id, Channel.COMMAND), 0)])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    answer_to, answer = topic(CELL, device_id, Channel.CLAIM), b"y" * 100
    while True:
        for _ in client.receive(5):
            client.publish(answer_to, answer)


def timed(
    line: Line,
    answers: str,
    ask: Callable[[], object],
    *,
    after: Callable[[], None] = lambda: None,
) -> list[float]:
    """Seconds from each question until a message on the topic of the answers."""
    took = []
    for _ in range(WARM_UP + ROUNDS):
        began = time.perf_counter()
        ask()
        line.wait_for(answers)
        took.append(time.perf_counter() - began)
        after()
    return took[WARM_UP:]


class Line:
    """A connection on which one can wait for a topic without losing what comes on another."""

    def __init__(self, client: WireClient) -> None:
        self.client = client
        self._unread: list[Message] = []

    def wait_for(self, name: str, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for at, message in enumerate(self._unread):
                if message.topic == name:
                    del self._unread[at]
                    return
            self._unread += self.client.receive(1.0)
        raise TimeoutError(f"nothing came on {name}")


# --- a command -------------------------------------------------------------------------------------------------


def command_round_trips(stage: Stage, line: Line) -> list[float]:
    """Commands that the server does not know: the agent claims them, is refused, and says so."""
    reader = stage.readers()[1]
    device_id = device_of(stage)
    claims = topic(CELL, device_id, Channel.CLAIM)
    results = topic(CELL, device_id, Channel.RESULT)
    line.client.subscribe([(claims, 0), (results, 0)])

    def ask() -> None:
        command = Command(
            id=new_id("cmd"),
            ttl_ms=5_000,
            issued_at="",
            expires_at="",
            body=StartPayment(
                session_id=new_id("ts"), reader_id=reader.id, amount_minor=1234, currency="EUR"
            ),
        )
        line.client.publish(topic(CELL, device_id, Channel.COMMAND), encode(command))

    return timed(line, claims, ask, after=lambda: line.wait_for(results))


def device_of(stage: Stage) -> str:
    enrolment = (stage.folder / "logs" / "enrolment.log").read_text()
    device_id: str = json.loads(enrolment)["device_id"]
    return device_id


# --- a click ---------------------------------------------------------------------------------------------------


@contextmanager
def rewired(stage: Stage) -> Iterator[list[float]]:
    """Look at the network terminal's cable: when payments pass towards it."""
    terminal = stage.terminals[1]
    host, _, port = terminal.address.removeprefix("tcp://").rpartition(":")
    passed: list[float] = []

    def note(towards_terminal: bool, data: bytes) -> None:
        if towards_terminal and data.startswith(AUTHORISE):
            passed.append(time.perf_counter())

    with TcpProxy(int(port), target_host=host, on_bytes=note) as cable:
        config = stage.folder / "agent.toml"
        config.write_text(
            config.read_text().replace(terminal.address, f"tcp://127.0.0.1:{cable.port}")
        )
        pid = stage.children.pid("agent")
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: stage.children.pid("agent") not in (None, pid))
        wait_until(lambda: cable.connections == 1)
        stage.wait_until_ready()
        yield passed


def clicks(stage: Stage, first_bytes: list[float]) -> tuple[list[float], list[float]]:
    reader = stage.readers()[1]
    to_reader, to_answer = [], []
    headers = {"Authorization": f"Bearer {stage.make_api_key().reveal()}"}
    with httpx2.Client(base_url=stage.url, headers=headers) as api:
        for number in range(WARM_UP + CLICKS):
            first_bytes.clear()
            wish = {
                "reader_id": reader.id,
                "amount_minor": 10_000 + number * 100,
                "currency": "EUR",
            }
            began = time.perf_counter()
            session = api.post("/v1/sessions", json=wish).raise_for_status().json()
            to_answer.append(time.perf_counter() - began)
            wait_until(lambda: bool(first_bytes))
            to_reader.append(first_bytes[0] - began)
            wait_until(partial(is_over, stage, session["id"]))
    return to_reader[WARM_UP:], to_answer[WARM_UP:]


def is_over(stage: Stage, session_id: str) -> bool:
    with stage.parts.database.reading_connection() as db:
        return queries.session(db, Scope(stage.shop.merchant_id), session_id).is_final


def wait_until(is_so: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        pause.wait(0.002)


if __name__ == "__main__":
    sys.exit(main())
